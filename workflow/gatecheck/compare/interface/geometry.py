"""The surface of a structure, and how far points lie from it.

A structure is given as the fraction of each CT voxel inside. Reading its surface where interpolated fractions pass one
half misplaces it by up to 9 % of a voxel; here each voxel that the surface cuts gives its own plane (see
`cut_voxels`), the planes give the distance at voxel centres, and a cubic spline through these gives the surface
between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import scipy.spatial
import SimpleITK as sitk

from gatecheck.compare.interface.cut_voxels import plane_offsets
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.errors import ResultError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_SMALLEST_STEP, _STEPS_ACROSS = 0.5, 30
"""mm, about, between points of a surface, and how many such steps a structure is wide where that is more."""

_AT_ONCE = 100_000

_WHOLE = 1e-3
_OWN_SIDE = 0.6
"""Part of its distance from the nearest voxel cut that a voxel's distance from the surface is at least."""

_NEAREST_PLANES = 6
_FAR = 3.0
"""Steps from the surface beyond which the distance to the nearest point will do."""

_GRID_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Surface:
    """A structure's surface as points with outward normals.

    Attributes
    ----------
    points_xyz, normals_xyz : ndarray of shape (n, 3)
        LPS mm; unit vectors out of the structure.
    areas : ndarray of shape (n,)
        mm2 that each point stands for.
    volume : float
        mm3 within, by the mask.
    step : float
        mm, about, between the points.
    tree : scipy.spatial.cKDTree
        Of the points.
    """

    points_xyz: FloatArray
    normals_xyz: FloatArray
    areas: FloatArray
    volume: float
    step: float
    tree: scipy.spatial.cKDTree

    def signed_distance(self, points_xyz: FloatArray) -> FloatArray:
        """Distance to the surface in mm, negative inside, of points (n, 3).

        Near the surface that to the plane through the nearest of its points; further away that to the point itself.
        """
        distance, nearest = self.tree.query(points_xyz)
        along = np.einsum("ij,ij->i", points_xyz - self.points_xyz[nearest], self.normals_xyz[nearest])
        far = distance > _FAR * self.step
        signed: FloatArray = np.where(far, np.copysign(distance, along), along)
        return signed


@dataclass(frozen=True, slots=True)
class Fractions:
    """Inside fractions of voxels, indexed [z, y, x], on an axis-aligned grid."""

    values_zyx: FloatArray
    grid: VoxelGrid


def fractions_around(mask: sitk.Image, window: VoxelGrid | None = None, *, name: str) -> Fractions:
    """Inside fractions of a mask with three empty voxels round it, or on a window of the same lattice.

    Raises
    ------
    ResultError
        When the fractions are not within 0 and 1, or the window's voxels are not those of the mask.
    """
    inside = np.asarray(sitk.GetArrayFromImage(mask), dtype=np.float64)
    if not (np.isfinite(inside).all() and inside.min() > -1e-3 and inside.max() < 1 + 1e-3):
        raise ResultError(f"Mask of {name}: inside fractions beyond 0 to 1 found. Run ingest again.")
    grid = VoxelGrid.of(mask)
    if window is None:
        window = VoxelGrid(
            (grid.size[0] + 6, grid.size[1] + 6, grid.size[2] + 6),
            grid.spacing,
            tuple(o - 3 * s for o, s in zip(grid.origin, grid.spacing, strict=True)),  # type: ignore[arg-type]
        )
    offset = (np.array(grid.origin) - np.array(window.origin)) / np.array(window.spacing)
    same = np.allclose(grid.spacing, window.spacing, atol=_GRID_TOLERANCE)
    if not same or np.abs(offset - np.rint(offset)).max() > 0.01:
        raise ResultError(f"Mask of {name}: not on the voxels of the tumour's mask (one CT). Run ingest again.")
    values = np.zeros(window.size[::-1])
    first = np.rint(offset).astype(int)[::-1]
    low, high = np.maximum(first, 0), np.minimum(first + inside.shape, values.shape)
    if (high > low).all():
        to = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        source = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
        values[to] = inside[source].clip(0.0, 1.0)
    return Fractions(values, window)


def is_outside(points_xyz: FloatArray, tumours: Sequence[Surface]) -> npt.NDArray[np.bool_]:
    """Whether points (n, 3) lie outside of every tumour."""
    outside = np.ones(len(points_xyz), dtype=np.bool_)
    for tumour in tumours:
        outside[outside] = tumour.signed_distance(points_xyz[outside]) > 0
    return outside


def surface_of(fractions: Fractions, *, is_closed: bool = True) -> Surface | None:
    """The surface of a structure; None when no surface crosses the window.

    A closed surface is moved, by at most a tenth of a voxel, until it encloses the mask's volume.

    The points lie within 0.05 mm of the surface of spheres of 3 mm radius and more on 1 mm voxels; edges sharper than
    a voxel come out rounded.
    """
    f, grid = fractions.values_zyx, fractions.grid
    spacing = np.array(grid.spacing)
    cut = _cut_voxels(f)
    if not cut.any():
        return None
    level = _distance_at_centres(f, cut, spacing)
    volume = float(f.sum() * spacing.prod())
    step = max(_SMALLEST_STEP, math.cbrt(volume) / _STEPS_ACROSS)
    places, normals, areas = _crossings(level, spacing, step)
    if len(places) == 0:
        return None
    points = places * spacing + np.array(grid.origin)
    if is_closed:
        points = _with_volume(points, normals, areas, volume, largest_move=0.1 * float(spacing.mean()))
    return Surface(
        points_xyz=points,
        normals_xyz=normals,
        areas=areas,
        volume=volume,
        step=step,
        tree=scipy.spatial.cKDTree(points),
    )


def _with_volume(
    points: FloatArray, normals: FloatArray, areas: FloatArray, volume: float, *, largest_move: float
) -> FloatArray:
    """Points moved along their normals so that the divergence theorem gives the volume."""
    enclosed = float((areas * np.einsum("ij,ij->i", points - points.mean(axis=0), normals)).sum() / 3)
    move = np.clip((volume - enclosed) / areas.sum(), -largest_move, largest_move)
    moved: FloatArray = points + move * normals
    return moved


def _cut_voxels(f: FloatArray) -> BoolArray:
    """Voxels that the surface passes through, and those on either side of a face that it lies in."""
    partial = (f > _WHOLE) & (f < 1 - _WHOLE)
    full, empty = f >= 1 - _WHOLE, f <= _WHOLE
    cut = partial
    for axis in range(3):
        for step in (1, -1):
            ahead = _neighbour(full, axis, step)
            behind = _neighbour(empty, axis, step)
            cut = cut | (empty & ahead) | (full & behind)
    return cut


def _neighbour(values: BoolArray, axis: int, step: int) -> BoolArray:
    """Each voxel's neighbour; those at the window's rim are their own."""
    padding = [(1, 1) if a == axis else (0, 0) for a in range(3)]
    padded = np.pad(values, padding, mode="edge")
    start = 1 + step
    found: BoolArray = np.take(padded, np.arange(start, start + values.shape[axis]), axis=axis)
    return found


def _distance_at_centres(f: FloatArray, cut: BoolArray, spacing_xyz: FloatArray) -> FloatArray:
    """Signed distance, mm, at voxel centres."""
    cut_zyx = np.argwhere(cut)
    normals = _normals(f, cut_zyx, spacing_xyz)
    offsets = plane_offsets(f[cut], normals, spacing_xyz)
    centres = cut_zyx[:, ::-1] * spacing_xyz
    feet = centres + offsets[:, None] * normals
    centres_of_all = np.argwhere(np.ones_like(cut))[:, ::-1] * spacing_xyz
    parts = np.array_split(centres_of_all, len(centres_of_all) // _AT_ONCE + 1)
    level = np.concatenate([_from_planes(part, feet, normals, spacing_xyz) for part in parts]).reshape(f.shape)
    # A voxel that the surface does not cut lies on its own side of it, whatever planes of coarse voxels say.
    least = np.maximum(
        spacing_xyz.min() / 2, _OWN_SIDE * scipy.ndimage.distance_transform_edt(~cut, sampling=spacing_xyz[::-1])
    )
    level = np.where(f <= _WHOLE, np.maximum(level, least), np.where(f >= 1 - _WHOLE, np.minimum(level, -least), level))
    level[cut] = -offsets
    return level


def _normals(f: FloatArray, cut_zyx: npt.NDArray[np.int_], spacing_xyz: FloatArray) -> FloatArray:
    """Unit vectors down the gradient of the inside fraction, averaged over neighbours."""
    average = np.array([1.0, 2.0, 1.0]) / 4
    gradient = []
    for axis in (2, 1, 0):
        along = scipy.ndimage.correlate1d(f, [-0.5, 0.0, 0.5], axis=axis, mode="nearest") / spacing_xyz[2 - axis]
        for other in {0, 1, 2} - {axis}:
            along = scipy.ndimage.correlate1d(along, average, axis=other, mode="nearest")
        gradient.append(-along[tuple(cut_zyx.T)])
    normals = np.stack(gradient, axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    # A voxel by itself, or a plate one voxel thick, has no side to which it falls.
    return np.where(length > 1e-9, normals / np.maximum(length, 1e-9), np.array([0.0, 0.0, 1.0]))


def _from_planes(points: FloatArray, feet: FloatArray, normals: FloatArray, spacing_xyz: FloatArray) -> FloatArray:
    """Distance to the surface from the planes nearest to a point, weighted by their nearness."""
    count = min(_NEAREST_PLANES, len(feet))
    distance, nearest = scipy.spatial.cKDTree(feet).query(points, k=count)
    distance, nearest = distance.reshape(len(points), count), nearest.reshape(len(points), count)
    along = np.einsum("ijk,ijk->ij", points[:, None, :] - feet[nearest], normals[nearest])
    width = (0.35 * float(spacing_xyz.mean())) ** 2
    weights = np.exp(-(distance**2 - distance[:, :1] ** 2) / (2 * width) / (1 + distance[:, :1]))
    found: FloatArray = (weights * along).sum(axis=1) / weights.sum(axis=1)
    return found


def _crossings(level: FloatArray, spacing_xyz: FloatArray, step: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Places (n, 3) in voxels x, y, z where the level passes zero along lines of a fine lattice, normals, and areas.

    Lines along one axis meet the surface as often as its projection on that axis says; each crossing is weighted by
    the normal's component along its line, so that the sum over the three axes is the area.
    """
    parts = np.maximum(1, np.rint(spacing_xyz / step)).astype(int)
    steps = spacing_xyz / parts
    coefficients = scipy.ndimage.spline_filter(level, order=3, mode="nearest")
    lines = [np.arange((n - 1) * p + 1) / p for n, p in zip(level.shape[::-1], parts, strict=True)]
    mesh = np.meshgrid(lines[2], lines[1], lines[0], indexing="ij")
    fine = scipy.ndimage.map_coordinates(coefficients, mesh, order=3, mode="nearest", prefilter=False)
    places, areas = [], []
    for axis in range(3):
        ahead = np.take(fine, np.arange(1, fine.shape[axis]), axis=axis)
        here = np.take(fine, np.arange(fine.shape[axis] - 1), axis=axis)
        index = np.argwhere((here < 0) != (ahead < 0)).astype(np.float64)
        chosen = tuple(index.astype(int).T)
        index[:, axis] += here[chosen] / (here[chosen] - ahead[chosen])
        places.append(index[:, ::-1] / parts)
        face = np.delete(steps, 2 - axis).prod()
        areas.append(np.stack([np.full(len(index), face), np.full(len(index), 2.0 - axis)], axis=1))
    place = np.concatenate(places)
    kind = np.concatenate(areas)
    place, normal = _settled(coefficients, place, spacing_xyz)
    area = kind[:, 0] * np.abs(normal[np.arange(len(normal)), kind[:, 1].astype(int)])
    kept = np.isfinite(normal).all(axis=1)
    return place[kept], normal[kept], area[kept]


def _settled(coefficients: FloatArray, place: FloatArray, spacing_xyz: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Move places onto the surface by Newton's method, and the unit normals there."""
    normal = np.zeros_like(place)
    for _ in range(2):
        value, gradient = _value_and_gradient(coefficients, place, spacing_xyz)
        length = np.linalg.norm(gradient, axis=1, keepdims=True)
        normal = gradient / np.maximum(length, 1e-9)
        move = np.clip(value[:, None] / np.maximum(length, 0.3), -0.3, 0.3) * normal
        place = place - move / spacing_xyz
    return place, normal


def _value_and_gradient(
    coefficients: FloatArray, place_xyz: FloatArray, spacing_xyz: FloatArray
) -> tuple[FloatArray, FloatArray]:
    def at(shifted: FloatArray) -> FloatArray:
        found: FloatArray = scipy.ndimage.map_coordinates(
            coefficients, shifted[:, ::-1].T, order=3, mode="nearest", prefilter=False
        )
        return found

    gradient = np.empty_like(place_xyz)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 0.05
        gradient[:, axis] = (at(place_xyz + step) - at(place_xyz - step)) / (0.1 * spacing_xyz[axis])
    return at(place_xyz), gradient
