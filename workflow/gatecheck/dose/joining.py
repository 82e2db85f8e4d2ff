"""Boxes of different voxels on one grid: each joined voxel takes the value of the box voxel that it lies in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatecheck.patient.model import Grid, VoxelBox
from gatecheck.transport.patient_files import placement

Float32Array = npt.NDArray[np.float32]


def empty(grid: Grid) -> Float32Array:
    """Zeros on the joined grid, indexed [z, y, x]."""
    return np.zeros(grid.size[::-1], dtype=np.float32)


def put(joined_zyx: Float32Array, grid: Grid, box: VoxelBox, values_zyx: npt.NDArray[np.floating]) -> None:
    """Write a box's values into the joined grid, piecewise constant.

    Parameters
    ----------
    joined_zyx : ndarray of the grid's shape, indexed [z, y, x]
    values_zyx : ndarray of the box's shape, indexed [z, y, x]
    """
    (fx, fy, fz), (x, y, z) = placement(box, grid)
    nx, ny, nz = box.size
    part = joined_zyx[z : z + nz * fz, y : y + ny * fy, x : x + nx * fx]
    # A view of the part as (box voxel, voxel within it) along each axis: one assignment, no copy.
    repeated = np.lib.stride_tricks.as_strided(
        part,
        shape=(nz, fz, ny, fy, nx, fx),
        strides=tuple(
            step
            for stride, factor in zip(part.strides, (fz, fy, fx), strict=True)
            for step in (stride * factor, stride)
        ),
    )
    repeated[...] = values_zyx[:, None, :, None, :, None]
