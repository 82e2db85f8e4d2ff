"""Labels as GATE gets them: every axis where it was, with its own spacing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.config_transport import TransportConfig
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.gate import _label_image
from gatecheck.transport.process import run_in_process
from gatecheck.transport.volumes import VoxelVolume

pytestmark = pytest.mark.gate


def _as_gate_gets_it(volume: VoxelVolume) -> tuple[npt.NDArray[np.uint16], tuple[float, ...]]:
    """Voxels by x, y, z, and their spacing, in a process where opengate comes first, as it does in a chunk."""
    describe_engine(TransportConfig())
    import opengate  # noqa: F401

    image = _label_image(volume)
    nx, ny, nz = volume.scoring_size
    voxels = np.array([[[image.GetPixel([x, y, z]) for z in range(nz)] for y in range(ny)] for x in range(nx)])
    return voxels.astype(np.uint16), tuple(image.GetSpacing())


def test_axes_and_spacing_stay_what_they_are() -> None:
    labels = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
    volume = VoxelVolume("a", labels_zyx=labels, spacing=(1.0, 2.0, 3.0), origin=(-4.0, 10.0, 0.5))
    voxels, spacing = run_in_process(_as_gate_gets_it, volume=volume)
    np.testing.assert_array_equal(voxels, labels.transpose(2, 1, 0))
    assert spacing == (1.0, 2.0, 3.0)
