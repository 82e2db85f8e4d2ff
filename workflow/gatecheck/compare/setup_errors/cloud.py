"""Points of a displaced patient in a dose that stands still, compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compare.sampling import VoxelGrid
from gatecheck.compiled import blocks_of, run_blocks

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

_BLOCK = 4  # courses that a thread takes at a time


def to_voxels(affines: FloatArray, grid: VoxelGrid) -> FloatArray:
    """Affine maps from LPS mm to LPS mm, as maps to places in a grid's voxels (0 at the centre of the first).

    Parameters
    ----------
    affines : ndarray of shape (..., 3, 4)

    Returns
    -------
    ndarray of shape (..., 3, 4)
        Rows give x, y and z.
    """
    scaled = affines.copy()
    scaled[..., 3] -= np.array(grid.origin)
    mapped: FloatArray = scaled / np.array(grid.spacing)[:, np.newaxis]
    return mapped


def course_doses(values_zyx: Float32Array, points_xyz: Float32Array, maps: FloatArray) -> Float32Array:
    """Doses of whole courses at the points of a patient that lies elsewhere in each fraction.

    The dose of the course is the mean over its fractions of the dose where the points lie, by trilinear interpolation;
    beyond the outermost nodes it is that of the outermost. At the peak of a Gaussian of standard deviation s that
    loses up to 3 h^2 / (8 s^2) for nodes h apart: the dose is to be put on fine ones first, see `Region.refined`.

    Parameters
    ----------
    values_zyx : ndarray of shape (nz, ny, nx, k)
        k doses of the whole course on the nodes of one grid, Gy.
    points_xyz : ndarray of shape (n, 3)
        LPS mm, as planned.
    maps : ndarray of shape (courses, fractions, 3, 4)
        From `to_voxels`.

    Returns
    -------
    ndarray of shape (courses, n, k)
        Gy.
    """
    total = np.zeros((len(maps), len(points_xyz), values_zyx.shape[-1]), dtype=np.float32)
    values, added = np.ascontiguousarray(values_zyx), _compiled()

    def add(block: slice) -> None:
        added(values, points_xyz, maps[block], total[block])

    run_blocks(add, blocks_of(len(maps), _BLOCK))
    return total


def _added(values: Float32Array, points: Float32Array, maps: FloatArray, total: Float32Array) -> None:
    nz, ny, nx, count = values.shape
    courses, fractions = maps.shape[:2]
    share = np.float32(1.0 / fractions)
    for course in range(courses):
        for fraction in range(fractions):
            a = maps[course, fraction]
            for point in range(len(points)):
                px, py, pz = points[point, 0], points[point, 1], points[point, 2]
                x = min(max(a[0, 0] * px + a[0, 1] * py + a[0, 2] * pz + a[0, 3], 0.0), nx - 1.0)
                y = min(max(a[1, 0] * px + a[1, 1] * py + a[1, 2] * pz + a[1, 3], 0.0), ny - 1.0)
                z = min(max(a[2, 0] * px + a[2, 1] * py + a[2, 2] * pz + a[2, 3], 0.0), nz - 1.0)
                i, j, k = min(int(x), nx - 2), min(int(y), ny - 2), min(int(z), nz - 2)
                fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
                one = np.float32(1.0)
                w00, w01 = (one - fz) * (one - fy) * share, (one - fz) * fy * share
                w10, w11 = fz * (one - fy) * share, fz * fy * share
                gx = one - fx
                for n in range(count):
                    total[course, point, n] += (
                        w00 * (gx * values[k, j, i, n] + fx * values[k, j, i + 1, n])
                        + w01 * (gx * values[k, j + 1, i, n] + fx * values[k, j + 1, i + 1, n])
                        + w10 * (gx * values[k + 1, j, i, n] + fx * values[k + 1, j, i + 1, n])
                        + w11 * (gx * values[k + 1, j + 1, i, n] + fx * values[k + 1, j + 1, i + 1, n])
                    )


@functools.cache
def _compiled() -> Callable[..., Any]:
    """Kept on disk; numba's key is this file, which holds all of it."""
    kernel: Callable[..., Any] = numba.njit(cache=True, error_model="numpy", fastmath=False, nogil=True)(_added)
    return kernel
