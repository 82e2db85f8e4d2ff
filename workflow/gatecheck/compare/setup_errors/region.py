"""The part of the dose grid that displaced structures can reach."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.sampling import VoxelGrid
from gatecheck.errors import ResultError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Region:
    """A box of whole voxels of a dose grid."""

    grid: VoxelGrid
    part: tuple[slice, slice, slice]

    def cut(self, dose_zyx: npt.NDArray[np.floating]) -> Float32Array:
        """The region of a dose, a copy."""
        return np.ascontiguousarray(dose_zyx[self.part], dtype=np.float32)


def region_around(points: Sequence[Float32Array], affines: FloatArray, grid: VoxelGrid) -> Region:
    """The smallest region that holds what every displaced point is interpolated from.

    Parameters
    ----------
    points : sequence of ndarray of shape (n, 3)
        LPS mm, as planned.
    affines : ndarray of shape (courses, fractions, 3, 4)
        Where points come to lie, LPS mm.

    Raises
    ------
    ResultError
        When the grid is a single voxel thick.
    """
    if min(grid.size) < 2:
        raise ResultError("mc_dose.mha: one voxel thick, expected at least 2 along each axis. Run voxelise again.")
    low = np.min([one.min(axis=0) for one in points], axis=0)
    high = np.max([one.max(axis=0) for one in points], axis=0)
    # An affine map takes the box to the hull of its corners.
    corners = np.array(list(itertools.product(*zip(low, high, strict=True))), dtype=np.float64)
    moved = np.einsum("cfij,nj->cfni", affines[..., :3], corners) + affines[..., np.newaxis, :, 3]
    reached = np.concatenate([moved.reshape(-1, 3), corners])
    origin, spacing, size = np.array(grid.origin), np.array(grid.spacing), np.array(grid.size)
    first = np.clip(np.floor((reached.min(axis=0) - origin) / spacing).astype(int), 0, size - 2)
    last = np.clip(np.floor((reached.max(axis=0) - origin) / spacing).astype(int) + 2, first + 2, size)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    place = origin + first * spacing
    lengths = last - first
    return Region(
        VoxelGrid(
            (int(lengths[0]), int(lengths[1]), int(lengths[2])),
            grid.spacing,
            (float(place[0]), float(place[1]), float(place[2])),
        ),
        (z, y, x),
    )
