"""Both doses round one tumour, on the Monte Carlo's voxels.

A Monte Carlo scores the mean over a voxel. The TPS dose is therefore averaged over each Monte Carlo voxel before
anything is compared: what voxels and interpolation do to a falling dose is then done to both and drops out of their
difference. What is left is that of the TPS's own grid, and is measured (`read_otherwise`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.sampling import VoxelGrid

FloatArray = npt.NDArray[np.float64]

_GAUSS_PLACES = np.sqrt(3 / 5) * np.array([-0.5, 0.0, 0.5])
_GAUSS_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18
"""Gauss and Legendre's three points for a mean over a voxel's edge: exact to the fifth power."""


@dataclass(frozen=True, slots=True)
class RegionDoses:
    """Doses on a window of the Monte Carlo's grid, Gy.

    Attributes
    ----------
    grid : VoxelGrid
        The window.
    batches_zyx : ndarray of shape (n, nz, ny, nx)
        Each batch as the dose of the whole course by itself; their mean is the Monte Carlo's dose.
    tps_zyx, tps_otherwise_zyx : ndarray of shape (nz, ny, nx), or None
        The TPS's, averaged over these voxels, and the same with its own grid read the other way.
    """

    grid: VoxelGrid
    batches_zyx: FloatArray
    tps_zyx: FloatArray | None
    tps_otherwise_zyx: FloatArray | None


@dataclass(frozen=True, slots=True)
class SampledDoses:
    """The doses of `RegionDoses` at points: (n, points) of the batches, (points,) of the others."""

    batches: FloatArray
    tps: FloatArray | None
    tps_otherwise: FloatArray | None

    @property
    def mc(self) -> FloatArray:
        """Mean of the batches."""
        mean: FloatArray = self.batches.mean(axis=0)
        return mean


def window_round(points_xyz: FloatArray, margin: float, grid: VoxelGrid) -> tuple[slice, slice, slice] | None:
    """Voxels (z, y, x) of a grid within a margin of points' extent; None for fewer than four along an axis."""
    slices = []
    for axis in (2, 1, 0):
        low = (points_xyz[:, axis].min() - margin - grid.origin[axis]) / grid.spacing[axis]
        high = (points_xyz[:, axis].max() + margin - grid.origin[axis]) / grid.spacing[axis]
        first = max(0, int(np.floor(low)))
        last = min(grid.size[axis] - 1, int(np.ceil(high)))
        if last - first < 3:
            return None
        slices.append(slice(first, last + 1))
    return slices[0], slices[1], slices[2]


def cropped(image: DoseImage, window: tuple[slice, slice, slice]) -> DoseImage:
    """Part of a dose image."""
    return DoseImage(np.asarray(image.values_zyx[window], dtype=np.float64), cropped_grid(image.grid, window))


def cropped_grid(grid: VoxelGrid, window: tuple[slice, slice, slice]) -> VoxelGrid:
    """Part of a grid."""
    x, y, z = window[::-1]
    starts = (x.start, y.start, z.start)
    origin = tuple(o + s * start for o, s, start in zip(grid.origin, grid.spacing, starts, strict=True))
    size = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
    return VoxelGrid(size, grid.spacing, (origin[0], origin[1], origin[2]))


def finite_box(values_zyx: FloatArray) -> tuple[slice, slice, slice] | None:
    """The voxels (z, y, x) between the first and the last along each axis that hold numbers; None without any."""
    finite = np.isfinite(values_zyx)
    if not finite.any():
        return None
    box = [np.flatnonzero(finite.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    z, y, x = (slice(int(along[0]), int(along[-1]) + 1) for along in box)
    return z, y, x


def averaged_over_voxels(image: DoseImage, grid: VoxelGrid) -> FloatArray:
    """Mean over each voxel of another grid, Gy, of a cubic spline through an image's values; NaN beyond its centres."""
    coefficients = scipy.ndimage.spline_filter(np.asarray(image.values_zyx, dtype=np.float64), order=3, mode="nearest")
    # Both grids lie along the same axes: the mean over a voxel is one along each of them in turn.
    z, y, x = (_means_along(axis, image.grid, grid) for axis in range(3))
    total = np.einsum("za,yb,xc,abc->zyx", z, y, x, coefficients, optimize=True)
    fits_along = []
    for axis, along in enumerate(_places(image.grid, grid, (0.0, 0.0, 0.0))):
        fits: npt.NDArray[np.bool_] = (along > -1e-3) & (along < image.values_zyx.shape[axis] - 1 + 1e-3)
        fits_along.append(np.expand_dims(fits, tuple({0, 1, 2} - {axis})))
    return np.where(fits_along[0] & fits_along[1] & fits_along[2], total, np.nan)


def _means_along(axis_zyx: int, of: VoxelGrid, at: VoxelGrid) -> FloatArray:
    """Weights, shape (n_at, n_of), of one grid's spline coefficients in the means over another's voxels."""
    unit_vectors = np.eye(of.size[2 - axis_zyx])
    weights: FloatArray = np.zeros((at.size[2 - axis_zyx], len(unit_vectors)))
    for place, weight in zip(_GAUSS_PLACES, _GAUSS_WEIGHTS, strict=True):
        along = _places(of, at, (place, place, place))[axis_zyx]
        weights += weight * np.stack(
            [
                scipy.ndimage.map_coordinates(unit, [along], order=3, mode="nearest", prefilter=False)
                for unit in unit_vectors
            ],
            axis=1,
        )
    return weights


def _places(of: VoxelGrid, at: VoxelGrid, offset_zyx: tuple[float, float, float]) -> list[FloatArray]:
    """Places along z, y, x, in voxels of one grid, of another's voxels with an offset in its own voxels."""
    places: list[FloatArray] = [
        (at.origin[a] + at.spacing[a] * (np.arange(at.size[a], dtype=np.float64) + offset_zyx[2 - a]) - of.origin[a])
        / of.spacing[a]
        for a in (2, 1, 0)
    ]
    return places


def read_otherwise(image: DoseImage, *, at_centres: bool = False) -> DoseImage:
    """A dose whose voxels are taken as means over them, not as values at their centres, and interpolated twice.

    An RTDOSE does not say which of the two its values are. The mean over a voxel of edge h differs from the value at
    its centre by h^2 / 24 of the second derivative along each axis. On top comes the spline's own error, by going to
    a grid shifted by half a voxel and back.

    Parameters
    ----------
    at_centres : bool
        The TPS is known to give values at the centres: the spline's error alone is left.
    """
    values = np.asarray(image.values_zyx, dtype=np.float64)
    sharper = values.copy()
    for axis in () if at_centres else range(3):
        sharper -= scipy.ndimage.correlate1d(values, [1.0, -2.0, 1.0], axis=axis, mode="nearest") / 24
    there = scipy.ndimage.shift(sharper, 0.5, order=3, mode="nearest")
    return DoseImage(scipy.ndimage.shift(there, -0.5, order=3, mode="nearest"), image.grid)


def sampled(doses: RegionDoses, points_xyz: FloatArray) -> SampledDoses:
    """All doses at points (n, 3) by cubic splines through the voxels' means."""
    place = places_in(doses.grid, points_xyz)
    batches = SplineFields.of(np.moveaxis(doses.batches_zyx, 0, -1))
    return SampledDoses(
        batches=batches.at(np.ascontiguousarray(place, dtype=np.float32)).astype(np.float64),
        tps=None if doses.tps_zyx is None else at_places(doses.tps_zyx, place),
        tps_otherwise=None if doses.tps_otherwise_zyx is None else at_places(doses.tps_otherwise_zyx, place),
    )


def places_in(grid: VoxelGrid, points_xyz: FloatArray) -> FloatArray:
    """Points (n, 3) as places (3, n) in voxels z, y, x of a grid."""
    places: FloatArray = ((points_xyz - np.array(grid.origin)) / np.array(grid.spacing))[:, ::-1].T
    return places


def is_within(grid: VoxelGrid, points_xyz: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether points (n, 3) lie between the outermost centres of a grid."""
    place = places_in(grid, points_xyz)
    last = np.array(grid.size[::-1])[:, None] - 1
    within: npt.NDArray[np.bool_] = np.logical_and.reduce((place >= -1e-6) & (place <= last + 1e-6), axis=0)
    return within


def at_places(values_zyx: FloatArray, place_zyx: FloatArray) -> FloatArray:
    """A cubic spline through values, at places (3, n) in voxels."""
    found: FloatArray = scipy.ndimage.map_coordinates(values_zyx, place_zyx, order=3, mode="nearest")
    return found
