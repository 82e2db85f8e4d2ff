"""Labels as GATE gets them: every axis where it was, with its own spacing."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from gatecheck.transport.gate import _label_image
from gatecheck.transport.volumes import VoxelVolume


def test_axes_and_spacing_are_those_of_an_image_written_to_a_file() -> None:
    import itk

    labels = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
    volume = VoxelVolume("a", labels_zyx=labels, spacing=(1.0, 2.0, 3.0), origin=(-4.0, 10.0, 0.5))
    image = _label_image(volume)
    written = sitk.GetImageFromArray(labels)
    for x, y, z in np.ndindex(4, 3, 2):
        assert image.GetPixel([x, y, z]) == written.GetPixel(x, y, z) == labels[z, y, x]
    assert tuple(image.GetSpacing()) == (1.0, 2.0, 3.0)
    assert itk.array_from_image(image).dtype == np.uint16
