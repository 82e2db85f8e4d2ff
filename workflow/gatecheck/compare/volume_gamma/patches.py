"""Small blocks of a dose round points, laid side by side, so that gamma is found there again and again at little cost.

The search of gamma needs the evaluated dose within its distance of a point and nothing else. Blocks of just that, one
above the other in one image with a layer of no dose between, are searched as a dose of their own: what is found is
what the whole dose would give, and a batch of it is a few megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.sampling import VoxelGrid

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]

_OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class Patches:
    """Blocks of voxels round points.

    Attributes
    ----------
    voxels : ndarray of shape (n, nz, ny, nx), int64
        Flat index of each block's voxels in the dose; -1 beyond it.
    points_xyz : ndarray of shape (n, 3)
        The points in the image of `image_of`, mm.
    spacing : (x, y, z)
        mm.
    """

    voxels: IndexArray
    points_xyz: FloatArray
    spacing: tuple[float, float, float]

    @classmethod
    def round(cls, points_xyz: FloatArray, grid: VoxelGrid, *, reach: float) -> Patches:
        """Blocks that hold every voxel of a grid within `reach` mm of the points (LPS mm, shape (n, 3))."""
        spacing, size = np.array(grid.spacing), np.array(grid.size)
        places = (points_xyz - np.array(grid.origin)) / spacing
        number = np.floor(2 * reach / spacing).astype(np.int64) + 3
        first = np.floor(places - reach / spacing).astype(np.int64)
        x, y, z = (first[:, axis, None] + np.arange(number[axis]) for axis in range(3))
        inside = [(index >= 0) & (index < size[axis]) for axis, index in enumerate((x, y, z))]
        flat = (z[:, :, None, None] * size[1] + y[:, None, :, None]) * size[0] + x[:, None, None, :]
        is_inside = inside[2][:, :, None, None] & inside[1][:, None, :, None] & inside[0][:, None, None, :]
        within = places - first
        within[:, 2] += np.arange(len(points_xyz)) * (number[2] + 1)
        return cls(np.where(is_inside, flat, _OUTSIDE), within * spacing, grid.spacing)

    def taken_from(self, dose_zyx: npt.NDArray[np.floating]) -> Float32Array:
        """The blocks' doses, shape of `voxels`; NaN beyond the dose."""
        taken = dose_zyx.ravel()[np.maximum(self.voxels, 0)].astype(np.float32)
        taken[self.voxels == _OUTSIDE] = np.nan
        return taken

    def image_of(self, blocks: npt.NDArray[np.floating]) -> DoseImage:
        """Blocks (shape of `voxels`) as one dose, to be searched at `points_xyz`."""
        n, nz, ny, nx = blocks.shape
        values = np.full((n, nz + 1, ny, nx), np.nan)
        values[:, :nz] = blocks
        grid = VoxelGrid((nx, ny, n * (nz + 1)), self.spacing, (0.0, 0.0, 0.0))
        return DoseImage(values.reshape(-1, ny, nx), grid)
