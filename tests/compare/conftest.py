"""Structures and doses of which everything is known by formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from gatecheck.files import image_from_zyx

Field = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]

_SUBVOXELS = 10


def _mask_of(
    inside: Callable[..., npt.NDArray[np.bool_]],
    *,
    lower: tuple[float, float, float],
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> sitk.Image:
    """Inside fractions by 10 x 10 x 10 subvoxels."""
    n = _SUBVOXELS
    x, y, z = (
        low + (np.arange(count * n) + 0.5) * step / n for low, count, step in zip(lower, size, spacing, strict=True)
    )
    fine = inside(x[None, None, :], y[None, :, None], z[:, None, None])
    fraction = fine.reshape(size[2], n, size[1], n, size[0], n).mean(axis=(1, 3, 5)).astype(np.float32)
    origin = tuple(low + step / 2 for low, step in zip(lower, spacing, strict=True))
    return image_from_zyx(fraction, origin=origin, spacing=spacing)


@pytest.fixture
def sphere() -> Callable[..., sitk.Image]:
    """Make the mask of a sphere round the origin of coordinates, cropped to it."""

    def make(
        radius: float, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), centre: tuple[float, ...] = (0, 0, 0)
    ) -> sitk.Image:
        # The voxels' faces lie at no special place of the sphere.
        counts = [int(np.ceil(2 * radius / step)) + 1 for step in spacing]
        lower = tuple(c - radius - 0.37 * step for c, step in zip(centre, spacing, strict=True))
        return _mask_of(
            lambda x, y, z: (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < radius**2,
            lower=lower,
            size=tuple(counts),
            spacing=spacing,
        )

    return make


@pytest.fixture
def dose_image() -> Callable[..., sitk.Image]:
    """Make a dose image of a field of x, y, z at voxel centres."""

    def make(field: Field, *, half: float = 30.0, spacing: float = 2.0) -> sitk.Image:
        count = round(2 * half / spacing)
        along = -half + spacing * (np.arange(count) + 0.5)
        dose = np.broadcast_to(
            field(along[None, None, :], along[None, :, None], along[:, None, None]), (count, count, count)
        )
        origin = (along[0],) * 3
        return image_from_zyx(dose.astype(np.float32), origin=origin, spacing=(spacing,) * 3)

    return make
