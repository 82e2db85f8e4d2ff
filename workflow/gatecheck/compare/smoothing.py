"""Doses of voxels made smooth, and made from means over voxels into values at their centres."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import blocks_of, run_blocks

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

SMOOTHED_OVER = 2.0
"""mm to each side; no more than the penumbra of a 6 MV beam (standard deviation 2 to 3 mm) is wide."""


def values_at_centres(means_zyxf: Float32Array, spacing_zyx: tuple[float, float, float]) -> Float32Array:
    """Values at the centres of voxels from the means over them, which is what a Monte Carlo scores.

    Along each axis the mean of a dose over an edge h differs from the value in its middle by h^2 / 24 of the second
    derivative (Taylor's series): by 1.9 % at the top of a Gaussian of 3 mm on voxels of 2 mm, so that a tumour's D95
    and a maximum would be too low. The second derivatives are those of the smoothed dose, which keeps curvatures: the
    noise of a voxel rises by 4 % (of independent voxels of 2 mm). It is linear: noise passes through it as dose does.

    Parameters
    ----------
    means_zyxf : ndarray of shape (nz, ny, nx, n_fields)
        Beyond the outermost voxels they go on as these are.
    spacing_zyx : mm
    """
    smooth = smoothed(means_zyxf, spacing_zyx)
    means, values = np.ascontiguousarray(means_zyxf, dtype=np.float32), np.empty_like(smooth)

    def centre(planes: slice) -> None:
        _centre(_in_rows(means), _in_rows(smooth), means.shape[3], _in_rows(values), planes.start, planes.stop)

    run_blocks(centre, _blocks_of_planes(means))
    return values


def smoothed(fields_zyxf: Float32Array, spacing_zyx: tuple[float, float, float]) -> Float32Array:
    """Each voxel's value of the parabola (without mixed terms) fitted to the voxels round it by least squares.

    Savitzky and Golay's filter (Anal. Chem. 36 (1964) 1627) in three dimensions: it leaves constants, slopes and
    curvatures as they are. Along each axis it reaches SMOOTHED_OVER and at least one voxel to each side.
    """
    fields = np.ascontiguousarray(fields_zyxf, dtype=np.float32)
    weights = tuple(_weights(spacing) for spacing in spacing_zyx)
    smooth = np.empty_like(fields)

    def smooth_planes(planes: slice) -> None:
        _smooth(_in_rows(fields), fields.shape[3], weights, _in_rows(smooth), planes.start, planes.stop)

    run_blocks(smooth_planes, _blocks_of_planes(fields))
    return smooth


_BLOCKS = 16
"""Parts that threads take one after the other."""


def _in_rows(fields_zyxf: Float32Array) -> Float32Array:
    """All fields of all voxels of a row one after the other: what is done along z and y is done to all of them."""
    return fields_zyxf.reshape(*fields_zyxf.shape[:2], -1)


def _blocks_of_planes(fields_zyxf: Float32Array) -> list[slice]:
    return blocks_of(len(fields_zyxf), max(1, math.ceil(len(fields_zyxf) / _BLOCKS)))


@numba.njit(inline="always")  # type: ignore[untyped-decorator,unused-ignore]
def _within(at: int, number: int) -> int:
    """Beyond the outermost voxel it goes on as this is."""
    return min(max(at, 0), number - 1)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _smooth(  # noqa: PLR0917 - compiled code knows arguments by place
    fields: Float32Array,
    count: int,
    weights_zyx: tuple[tuple[Float32Array, Float32Array], ...],
    smooth: Float32Array,
    first: int,
    last: int,
) -> None:
    """Plane by plane, so that what is between the axes stays in a core's own cache."""
    nz, ny, length = fields.shape
    (mean_weights_z, bend_weights_z), (mean_weights_y, bend_weights_y), (mean_weights_x, bend_weights_x) = weights_zyx
    mean_z, bend_z = np.empty((ny, length), dtype=np.float32), np.empty((ny, length), dtype=np.float32)
    mean, rest = np.empty(length, dtype=np.float32), np.empty(length, dtype=np.float32)
    for z in range(first, last):
        mean_z[:], bend_z[:] = 0.0, 0.0
        for step in range(len(mean_weights_z)):
            plane = fields[_within(z + step - len(mean_weights_z) // 2, nz)]
            weight, bend = mean_weights_z[step], bend_weights_z[step]
            for y in range(ny):
                for k in range(length):
                    mean_z[y, k] += weight * plane[y, k]
                    bend_z[y, k] += bend * plane[y, k]
        for y in range(ny):
            mean[:], rest[:] = 0.0, 0.0
            for step in range(len(mean_weights_y)):
                at = _within(y + step - len(mean_weights_y) // 2, ny)
                weight, bend = mean_weights_y[step], bend_weights_y[step]
                for k in range(length):
                    mean[k] += weight * mean_z[at, k]
                    rest[k] -= bend * mean_z[at, k] + weight * bend_z[at, k]
            for k in range(length):
                rest[k] += mean[k]
            _smooth_row(mean, rest, count, mean_weights_x, bend_weights_x, smooth[z, y])


@numba.njit(nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _smooth_row(  # noqa: PLR0917 - compiled code knows arguments by place
    mean: Float32Array,
    rest: Float32Array,
    count: int,
    mean_weights: Float32Array,
    bend_weights: Float32Array,
    smooth: Float32Array,
) -> None:
    voxels = len(mean) // count
    smooth[:] = 0.0
    for step in range(len(mean_weights)):
        weight, bend = mean_weights[step], bend_weights[step]
        shift = step - len(mean_weights) // 2
        begin = min(max(-shift, 0), voxels)
        end = max(voxels - max(shift, 0), begin)
        for k in range(begin * count, end * count):
            smooth[k] += weight * rest[k + shift * count] - bend * mean[k + shift * count]
        for x in range(voxels):
            if begin <= x < end:
                continue
            at = _within(x + shift, voxels) * count
            for field in range(count):
                smooth[x * count + field] += weight * rest[at + field] - bend * mean[at + field]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _centre(  # noqa: PLR0917 - compiled code knows arguments by place
    means: Float32Array, smooth: Float32Array, count: int, values: Float32Array, first: int, last: int
) -> None:
    """Means less a 24th of the second differences along all axes."""
    nz, ny, length = means.shape
    part = np.float32(1 / 24)
    for z in range(first, last):
        below, above = smooth[_within(z - 1, nz)], smooth[_within(z + 1, nz)]
        for y in range(ny):
            here, before, behind = smooth[z, y], smooth[z, _within(y - 1, ny)], smooth[z, _within(y + 1, ny)]
            for k in range(length):
                left, right = here[k - count if k >= count else k], here[k + count if k + count < length else k]
                around = below[y, k] + above[y, k] + before[k] + behind[k] + left + right
                values[z, y, k] = means[z, y, k] - part * (around - np.float32(6) * here[k])


def _weights(spacing: float) -> tuple[Float32Array, Float32Array]:
    """Along an axis: weights of the mean, and of what a parabola's middle lies above its mean."""
    half = max(1, math.floor(SMOOTHED_OVER / spacing + 0.5))
    square = np.arange(-half, half + 1.0) ** 2
    number = len(square)
    mean = np.full(number, 1 / number)
    bend = (square - square.mean()) / square.var() * square.mean() / number
    return mean.astype(np.float32), bend.astype(np.float32)
