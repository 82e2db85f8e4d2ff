"""Points that stand for a structure's volume, and the dose at them.

A structure is given as the fraction of each CT voxel that lies inside. Voxels are divided into
points where the structure is small, and the points of a voxel that is partly inside are weighted
from the side on which the structure lies, so that the surface of a structure of a few voxels is
not smeared over a voxel (a tumour of 0.3 ml is 8 mm wide; its dose falls by several per cent a mm).
Each point lies at a random place of its part of the voxel, the same in every run: points in planes
would turn the edge of a field along an axis into steps of the histogram.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import SimpleITK as sitk

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

AIMED_POINTS = 100_000
SMALLEST_STEP = 0.25
"""mm between points; they are never closer."""

MOST_POINTS = 1_000_000
"""Of one structure; a larger one (the body on a fine CT) has points further apart."""

_PARTS_AT_ONCE = 200_000
_SEED_OF_PLACES = 20000


@dataclass(frozen=True, slots=True)
class VoxelGrid:
    """An axis-aligned grid of voxels: numbers along x, y, z; origin is the centre of the first voxel, LPS mm."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]

    @classmethod
    def of(cls, image: sitk.Image) -> VoxelGrid:
        """The grid of an image."""
        size, spacing, origin = image.GetSize(), image.GetSpacing(), image.GetOrigin()
        return cls((size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]))

    def holds(self, points_xyz: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Whether points, LPS mm, shape (n, 3), lie within the voxels, to their outer faces."""
        index_xyz = (points_xyz - np.array(self.origin)) / np.array(self.spacing)
        within: npt.NDArray[np.bool_] = ((index_xyz >= -0.5) & (index_xyz <= np.array(self.size) - 0.5)).all(axis=1)
        return within


@dataclass(frozen=True, slots=True)
class StructurePoints:
    """A structure as points with volumes.

    Attributes
    ----------
    points_xyz : ndarray of shape (n, 3), float32
        LPS mm.
    volumes : ndarray of shape (n,), float32
        mm3 inside the structure that each point stands for.
    whole : float
        mm3 of a point that is wholly inside.
    inside_zyx : ndarray of shape (nz, ny, nx), bool
        Voxels of the mask of which more than half lies inside.
    mask_grid : VoxelGrid
        Where they are.
    """

    points_xyz: Float32Array
    volumes: Float32Array
    whole: float
    inside_zyx: npt.NDArray[np.bool_]
    mask_grid: VoxelGrid

    @property
    def total_volume(self) -> float:
        """mm3."""
        return float(self.volumes.sum(dtype=np.float64))


def points_of(mask: sitk.Image, *, largest_step: float) -> StructurePoints:
    """Represent a mask by points.

    Parameters
    ----------
    mask : image of float, 0 to 1
        Part of each voxel that lies inside, axis-aligned.
    largest_step : float
        mm between points that must not be exceeded: half a dose voxel.

    Returns
    -------
    StructurePoints
        Their volumes sum to that of the mask.
    """
    inside: Float32Array = np.asarray(sitk.GetArrayFromImage(mask), dtype=np.float32).clip(0.0, 1.0)
    spacing, corner = np.array(mask.GetSpacing()), np.array(mask.GetOrigin())
    corner -= spacing / 2
    volume = float(inside.sum(dtype=np.float64) * spacing.prod())
    mostly_inside = inside > 0.5
    factors_xyz, parts_xyz = _division(volume, spacing, largest_step)
    inside, spacing = _merged(inside, factors_xyz), spacing * factors_xyz
    used = np.argwhere(inside > 0)
    # Neighbours of a voxel at the rim of the mask are outside.
    padded = np.pad(inside, 1)
    generator = np.random.default_rng(_SEED_OF_PLACES)
    points, volumes = [], []
    whole = float(spacing.prod() / parts_xyz.prod())
    at_once = max(1, _PARTS_AT_ONCE // int(parts_xyz.prod()))
    for start in range(0, len(used), at_once):
        voxels = used[start : start + at_once]
        centres = voxels[:, None, :] + _parts_zyx(parts_xyz)[None, :, :]
        place_zyx = centres + generator.uniform(-0.5, 0.5, centres.shape) / parts_xyz[::-1]
        shares = _shares(padded, inside[tuple(voxels.T)], place_zyx)
        kept = shares > 0
        points.append((corner + (place_zyx[kept] + 0.5)[:, ::-1] * spacing).astype(np.float32))
        volumes.append((shares[kept] * whole).astype(np.float32))
    return StructurePoints(
        points_xyz=np.concatenate(points) if points else np.zeros((0, 3), np.float32),
        volumes=np.concatenate(volumes) if volumes else np.zeros(0, np.float32),
        whole=whole,
        inside_zyx=mostly_inside,
        mask_grid=VoxelGrid.of(mask),
    )


def _division(
    volume: float, spacing: FloatArray, largest_step: float
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """How many voxels are merged along x, y, z, and into how many parts such a block is divided."""
    step = min(max(math.cbrt(volume / AIMED_POINTS), SMALLEST_STEP), largest_step)
    while True:
        factors = np.maximum(1, np.floor(step / spacing + 1e-6)).astype(int)
        parts = np.maximum(1, np.ceil(spacing * factors / step - 1e-6)).astype(int)
        if volume / float((spacing * factors / parts).prod()) <= MOST_POINTS:
            return factors, parts
        step *= 1.1


def _merged(inside: Float32Array, factors_xyz: npt.NDArray[np.int_]) -> Float32Array:
    """Average blocks of whole voxels."""
    factors = tuple(int(f) for f in factors_xyz[::-1])
    if max(factors) == 1:
        return inside
    padding = [(0, -n % f) for n, f in zip(inside.shape, factors, strict=True)]
    padded = np.pad(inside, padding)
    split = [length for n, f in zip(padded.shape, factors, strict=True) for length in (n // f, f)]
    merged: Float32Array = padded.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)
    return merged


def _parts_zyx(parts_xyz: npt.NDArray[np.int_]) -> FloatArray:
    """Centres of a voxel's parts relative to its centre, in voxels, shape (n, 3)."""
    along = [(np.arange(n) + 0.5) / n - 0.5 for n in parts_xyz[::-1]]
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)


def _shares(padded: Float32Array, fractions: Float32Array, place_zyx: FloatArray) -> FloatArray:
    """How much of each part of each voxel is inside, summing to the voxel's fraction.

    The parts are filled one after the other by falling interpolated inside fraction, which falls
    from the inside to the outside across the surface.
    """
    n_voxels, n_parts = place_zyx.shape[:2]
    shares = np.ones((n_voxels, n_parts))
    partial = np.flatnonzero(fractions < 1)
    if n_parts == 1 or partial.size == 0:
        shares[partial] = fractions[partial, None]
        return shares
    place = np.moveaxis(place_zyx[partial] + 1, -1, 0)
    level = scipy.ndimage.map_coordinates(padded, place, order=1, mode="nearest")
    order = np.argsort(-level, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(n_parts)[None, :], axis=1)
    shares[partial] = np.clip(fractions[partial, None] * n_parts - rank, 0.0, 1.0)
    return shares


@dataclass(frozen=True, slots=True)
class PlacedPoints:
    """A structure's points within one dose grid.

    Attributes
    ----------
    place_zyx : ndarray of shape (3, n), float32
        In voxels of the grid, 0 at the centre of the first.
    volumes : ndarray of shape (n,), float32
        mm3.
    inside : ndarray of shape (n,), bool
        More than half of the point's part of a voxel is in the structure.
    centres_zyx : ndarray of shape (3, m), float32
        Dose voxels, as places, whose centre lies in a CT voxel of which more than half is in the structure.
    covered_fraction : float
        Part of the structure's volume that lies within the grid's voxels.
    """

    place_zyx: Float32Array
    volumes: Float32Array
    inside: npt.NDArray[np.bool_]
    centres_zyx: Float32Array
    covered_fraction: float

    def equal_parts(self, most: int) -> npt.NDArray[np.int64]:
        """Indices of points that stand for equal volumes: all if they are few, else `most` spread evenly."""
        reached = np.cumsum(self.volumes, dtype=np.float64)
        wanted = min(most, len(self.volumes))
        ticks = (np.arange(wanted) + 0.5) / wanted * reached[-1]
        chosen: npt.NDArray[np.int64] = np.minimum(np.searchsorted(reached, ticks), len(reached) - 1).astype(np.int64)
        return chosen

    def equal_places_zyx(self, most: int) -> Float32Array:
        """The places of `equal_parts`, shape (3, n)."""
        return np.ascontiguousarray(self.place_zyx[:, self.equal_parts(most)])


def place(points: StructurePoints, grid: VoxelGrid) -> PlacedPoints:
    """Keep the points that lie within a dose grid's voxels."""
    index_xyz = (points.points_xyz - np.array(grid.origin)) / np.array(grid.spacing)
    within = grid.holds(points.points_xyz)
    volumes = points.volumes[within]
    inside = volumes > 0.5 * points.whole
    # A structure of less than half a voxel has a maximum too.
    inside = inside if inside.any() else np.ones_like(inside)
    total = points.total_volume
    return PlacedPoints(
        place_zyx=np.ascontiguousarray(index_xyz[within][:, ::-1].T, dtype=np.float32),
        volumes=volumes,
        inside=inside,
        centres_zyx=_centres_inside(points, grid),
        covered_fraction=float(volumes.sum(dtype=np.float64) / total) if total > 0 else 0.0,
    )


def _centres_inside(points: StructurePoints, grid: VoxelGrid) -> Float32Array:
    mask = points.mask_grid
    dose_indices, mask_indices = [], []
    for axis in range(3):
        centres = grid.origin[axis] + grid.spacing[axis] * np.arange(grid.size[axis])
        nearest = np.floor((centres - mask.origin[axis]) / mask.spacing[axis] + 0.5).astype(np.int64)
        within = np.flatnonzero((nearest >= 0) & (nearest < mask.size[axis]))
        dose_indices.append(within)
        mask_indices.append(nearest[within])
    z, y, x = np.nonzero(points.inside_zyx[np.ix_(*mask_indices[::-1])])
    return np.stack([dose_indices[2][z], dose_indices[1][y], dose_indices[0][x]]).astype(np.float32)


def part_round(mask: sitk.Image, points_xyz: FloatArray, *, part: float) -> sitk.Image:
    """A mask with only the voxels that lie round some of its points; all else is outside.

    Parameters
    ----------
    points_xyz : ndarray of shape (n_points, 3)
        LPS mm, some of those that `points_of` made from the mask.
    part : float
        mm3 that each of them stands for.
    """
    spacing = np.array(mask.GetSpacing())
    index_xyz = np.floor((points_xyz - np.array(mask.GetOrigin())) / spacing + 0.5).astype(np.int64)
    values: Float32Array = np.asarray(sitk.GetArrayFromImage(mask), dtype=np.float32)
    index_xyz = np.clip(index_xyz, 0, np.array(values.shape[::-1]) - 1)
    kept = np.zeros(values.shape, dtype=np.bool_)
    kept[tuple(index_xyz[:, ::-1].T)] = True
    # A point stands for as much as this to each side of it.
    reach = np.ceil(0.5 * math.cbrt(part) / spacing).astype(int)
    kept = scipy.ndimage.maximum_filter(kept, size=tuple(2 * reach[::-1] + 1))
    partly: sitk.Image = sitk.GetImageFromArray(np.where(kept, values, np.float32(0)))
    partly.CopyInformation(mask)
    return partly
