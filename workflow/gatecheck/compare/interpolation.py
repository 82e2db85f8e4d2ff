"""Dose between the centres of voxels, by cubic splines.

A trilinear dose is cut off at every maximum: half-way between voxels h apart, a Gaussian of standard deviation s is
lowered by h^2 / (8 s^2) along each axis, in all by 4 % for a hot spot of 6 mm on voxels of 2 mm. The interpolating
cubic spline (Unser et al., IEEE Trans. Signal Process. 41 (1993) 821) has the voxels' values at their centres and an
error of the order (h / s)^4. It is linear in the dose, so that noise passes through it as it is. At a step it
overshoots by about a tenth of the step within a voxel; trilinear interpolation would smear the step instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import blocks_of, run_blocks

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SplineFields:
    """Several fields on one grid, as coefficients of cubic B-splines.

    Attributes
    ----------
    coefficients_zyxf : ndarray of shape (nz, ny, nx, n_fields), float32
    """

    coefficients_zyxf: Float32Array

    @classmethod
    def of(cls, fields_zyxf: npt.NDArray[np.floating]) -> SplineFields:
        """Fit splines to fields, shape (nz, ny, nx, n_fields); beyond the outermost centres they are mirrored."""
        return cls.in_place(np.array(fields_zyxf, dtype=np.float32, order="C"))

    @classmethod
    def in_place(cls, fields_zyxf: Float32Array) -> SplineFields:
        """Likewise, of contiguous fields that are no longer needed and hold the coefficients afterwards."""
        coefficients = fields_zyxf
        for axis in range(3):
            number = coefficients.shape[axis]
            if number > 1:
                _filter(coefficients.reshape(-1, number, math.prod(coefficients.shape[axis + 1 :])))
        return cls(coefficients)

    def at(self, place_zyx: Float32Array) -> Float32Array:
        """Values at points, shape (n_fields, n_points).

        Parameters
        ----------
        place_zyx : ndarray of shape (3, n_points), float32
            In voxels, 0 at the centre of the first; beyond the outermost centres the value at the nearest of these
            planes is taken.
        """
        values = np.zeros((place_zyx.shape[1], self.coefficients_zyxf.shape[3]), dtype=np.float32)

        def sample(block: slice) -> None:
            _sample(self.coefficients_zyxf, place_zyx, block.start, block.stop, values)

        run_blocks(sample, blocks_of(len(values), _BLOCK))
        return np.ascontiguousarray(values.T)

    def weighted_sum(self, place_zyx: Float32Array, weights: npt.NDArray[np.floating]) -> FloatArray:
        """Sum over points of weight times value, shape (n_fields,), without the values at each: some tenth of the work.

        Parameters
        ----------
        place_zyx : ndarray of shape (3, n_points), float32
            As in `at`.
        weights : ndarray of shape (n_points,)
        """
        fields = self.coefficients_zyxf.shape[3]
        shares = np.zeros(self.coefficients_zyxf.shape[:3])
        _add_shares(place_zyx, np.ascontiguousarray(weights, dtype=np.float64), shares)
        touched = np.flatnonzero(shares)
        total = np.zeros(fields)
        for block in blocks_of(len(touched), _BLOCK):
            chosen = touched[block]
            total += shares.reshape(-1)[chosen] @ self.coefficients_zyxf.reshape(-1, fields)[chosen]
        return total

    def on_grid(self, along_zyx: Sequence[Float32Array]) -> Float32Array:
        """Values at all combinations of places along z, y and x, shape (len(z), len(y), len(x), n_fields).

        A tenth of the work of `at`: what planes and rows of points have in common is added up once for all of them.

        Parameters
        ----------
        along_zyx : sequence of three ndarray, float32
            Places as in `at`.
        """
        sizes = self.coefficients_zyxf.shape[:3]
        along = [np.ascontiguousarray(places, dtype=np.float32) for places in along_zyx]
        z, y, x = (_taps(places, size - 1) for places, size in zip(along, sizes, strict=True))
        found = np.empty((*(len(places) for places in along), self.coefficients_zyxf.shape[3]), dtype=np.float32)

        def sample(block: slice) -> None:
            _sample_grid(self.coefficients_zyxf, (z, y, x), block.start, block.stop, found)

        run_blocks(sample, blocks_of(len(found), 1))
        return found


def interpolated(dose_zyx: npt.NDArray[np.floating], place_zyx: Float32Array) -> FloatArray:
    """One dose at points, shape (n_points,); places as in `SplineFields.at`."""
    values: FloatArray = SplineFields.of(dose_zyx[..., None]).at(place_zyx)[0].astype(np.float64)
    return values


_POLE = math.sqrt(3) - 2
"""Of the filter that gives the coefficients of cubic B-splines (Unser et al., IIB)."""
_REACH = 24
"""Voxels after which what the pole carries on is below the rounding of float32."""
_FILTER_BLOCKS = 16
"""Parts that threads take one after the other."""
_BLOCK = 8_000
"""Points that a thread samples at a time."""
_TOGETHER = 4096
"""Neighbours handled together: their lines fit into a core's own cache."""


def _filter(values: Float32Array) -> None:
    """In place along the middle axis."""
    tiles = len(values) * math.ceil(values.shape[2] / _TOGETHER)

    def filter_block(block: slice) -> None:
        _to_coefficients(values, block.start, block.stop)

    run_blocks(filter_block, blocks_of(tiles, max(1, math.ceil(tiles / _FILTER_BLOCKS))))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _to_coefficients(values: Float32Array, first_tile: int, last_tile: int) -> None:
    """Along the middle axis forwards and backwards through the filter's pole, mirrored at the ends."""
    _, number, inner = values.shape
    pole = np.float32(_POLE)
    period = 2 * number - 2
    reach = min(period, _REACH)
    powers = _POLE ** np.arange(reach) * 6 / (1 - _POLE**period)
    at_end = np.float32(_POLE / (_POLE * _POLE - 1))
    in_a_block = -(-inner // _TOGETHER)
    for tile in range(first_tile, last_tile):
        block, start = tile // in_a_block, tile % in_a_block * _TOGETHER
        lines = values[block, :, start : min(start + _TOGETHER, inner)]
        first = np.zeros(lines.shape[1], dtype=np.float32)
        for step in range(reach):
            source = lines[step if step < number else period - step]
            power = np.float32(powers[step])
            for k in range(len(first)):
                first[k] += power * source[k]
        lines[0] = first
        for at in range(1, number):
            before, line = lines[at - 1], lines[at]
            for k in range(len(line)):
                line[k] = np.float32(6) * line[k] + pole * before[k]
        before, line = lines[number - 2], lines[number - 1]
        for k in range(len(line)):
            line[k] = at_end * (line[k] + pole * before[k])
        for back in range(1, number):
            after, line = lines[number - back], lines[number - 1 - back]
            for k in range(len(line)):
                line[k] = pole * (after[k] - line[k])


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _set_taps(place: np.float32, last: int, index: IntArray, weight: Float32Array) -> None:
    """The four coefficients along an axis that a place is made of, and how much of each."""
    at = min(max(float(place), 0.0), float(last))
    first = min(int(at), max(last - 1, 0))
    f = at - first
    weight[0] = (1 - f) ** 3 / 6
    weight[1] = (4 - 6 * f**2 + 3 * f**3) / 6
    weight[2] = (1 + 3 * f + 3 * f**2 - 3 * f**3) / 6
    weight[3] = f**3 / 6
    for step in range(4):
        reflected = abs(first + step - 1)
        if reflected > last:
            reflected = 2 * last - reflected
        # Grids of one or two voxels are narrower than the spline.
        index[step] = min(max(reflected, 0), last)


@numba.njit(cache=True, error_model="numpy", nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _taps(places: Float32Array, last: int) -> tuple[IntArray, Float32Array]:
    index = np.empty((len(places), 4), dtype=np.int64)
    weight = np.empty((len(places), 4), dtype=np.float32)
    for point in range(len(places)):
        _set_taps(places[point], last, index[point], weight[point])
    return index, weight


@numba.njit(cache=True, error_model="numpy", nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _sample_grid(
    coefficients: Float32Array,
    taps_zyx: tuple[tuple[IntArray, Float32Array], tuple[IntArray, Float32Array], tuple[IntArray, Float32Array]],
    begin: int,
    end: int,
    found: Float32Array,
) -> None:
    _, ny, nx, fields = coefficients.shape
    along_z, along_y, along_x = taps_zyx
    plane = np.empty((ny, nx * fields), dtype=np.float32)
    row = np.empty(nx * fields, dtype=np.float32)
    for slab in range(begin, end):
        plane[:] = 0.0
        for tap in range(4):
            w, source = along_z[1][slab, tap], coefficients[along_z[0][slab, tap]].reshape((ny, nx * fields))
            for j in range(ny):
                for k in range(nx * fields):
                    plane[j, k] += w * source[j, k]
        for j in range(found.shape[1]):
            row[:] = 0.0
            for tap in range(4):
                w, line = along_y[1][j, tap], plane[along_y[0][j, tap]]
                for k in range(nx * fields):
                    row[k] += w * line[k]
            for i in range(found.shape[2]):
                for field in range(fields):
                    value = np.float32(0.0)
                    for tap in range(4):
                        value += along_x[1][i, tap] * row[along_x[0][i, tap] * fields + field]
                    found[slab, j, i, field] = value


@numba.njit(cache=True, error_model="numpy", nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _sample(coefficients: Float32Array, place: Float32Array, begin: int, end: int, values: Float32Array) -> None:
    index = np.zeros((3, 4), dtype=np.int64)
    weight = np.zeros((3, 4), dtype=np.float32)
    for point in range(begin, end):
        for axis in range(3):
            _set_taps(place[axis, point], coefficients.shape[axis] - 1, index[axis], weight[axis])
        of_point = values[point]
        for a in range(4):
            plane = coefficients[index[0, a]]
            for c in range(4):
                w, column = weight[0, a] * weight[2, c], index[2, c]
                # Four voxels at a time: the values of the point are read and written a quarter as often.
                w0, w1, w2, w3 = w * weight[1, 0], w * weight[1, 1], w * weight[1, 2], w * weight[1, 3]
                row0, row1 = plane[index[1, 0], column], plane[index[1, 1], column]
                row2, row3 = plane[index[1, 2], column], plane[index[1, 3], column]
                for field in range(len(of_point)):
                    of_point[field] += w0 * row0[field] + w1 * row1[field] + w2 * row2[field] + w3 * row3[field]


@numba.njit(cache=True, error_model="numpy", nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_shares(place: Float32Array, weights: FloatArray, shares: FloatArray) -> None:
    """What each coefficient counts for in a weighted sum of the values at points."""
    index = np.zeros((3, 4), dtype=np.int64)
    weight = np.zeros((3, 4), dtype=np.float32)
    for point in range(len(weights)):
        for axis in range(3):
            _set_taps(place[axis, point], shares.shape[axis] - 1, index[axis], weight[axis])
        for a in range(4):
            for b in range(4):
                w = weights[point] * weight[0, a] * weight[1, b]
                for c in range(4):
                    shares[index[0, a], index[1, b], index[2, c]] += w * weight[2, c]
