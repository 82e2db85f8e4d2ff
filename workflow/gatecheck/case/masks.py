"""Contours become masks of inside fractions that keep partial volumes.

In its plane, a pixel's inside fraction is found by even-odd along many lines through the pixel row,
exactly along each line. Even-odd makes holes of inner contours, and a keyhole's channel, walked there
and back, encloses nothing.

Between planes, each plane stands for a slab of constant cross-section, from half-way to the plane
before to half-way to the plane after; the first and last plane end half a contour spacing outwards.
This is what planning systems take as the volume of contours. No shape is invented between planes, so
the volume does not depend on the CT's slices: contours that lie between slices or skip them fill the
slices by the part of the slab in each. Only planes that are too far apart and too few to show a spacing
of their own are islands, each as thick as a CT slice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.case.attributes import FloatArray, Notes
from gatecheck.case.contours import PLANE_TOLERANCE, DrawnStructure, Plane, grouped, without_cancelling
from gatecheck.case.grid import Grid, commonest_gap

_LINE_SPACING = 0.05  # mm between the lines of one pixel row, at most
_FEWEST_LINES = 8
# Contours further apart than both are believed to be drawn at that spacing only when it shows often enough.
_NEAR_SLICES = 3.01  # CT slice spacings
_NEAR = 5.01  # mm
_FEWEST_FAR_GAPS = 3  # between 4 planes
_FILLED_GAP = 2.01  # contour spacings: one plane left out is filled by its neighbours, more is a gap
_BEYOND = 0.05  # mm outside the CT that is rounding
_NOTHING = 1e-6


@dataclass(frozen=True)
class Mask:
    """Inside fractions on the CT's grid, cropped to a structure.

    Attributes
    ----------
    values_zyx : ndarray of shape (nz, ny, nx), float32
        0 outside to 1 inside.
    """

    values_zyx: npt.NDArray[np.float32]
    grid: Grid

    @property
    def volume_ml(self) -> float:
        """Volume, ml."""
        return float(self.values_zyx.sum(dtype=np.float64)) * math.prod(self.grid.spacing) / 1000.0


@dataclass(frozen=True)
class _Slab:
    low: float
    high: float
    plane: Plane


def make_mask(structure: DrawnStructure, ct: Grid, notes: Notes) -> Mask | None:
    """Inside fractions of a structure; None when it has no volume inside the CT."""
    if not structure.planes:
        notes.add("structure-empty", f"Structure {structure.name} is empty.")
        return None
    slabs = _slabs(structure, ct, notes)
    crop = _crop(slabs, ct)
    if _reaches_beyond(slabs, ct):
        notes.add(
            "structure-beyond-ct",
            f"Structure {structure.name} reaches beyond the CT; the part outside is not in its volume.",
        )
    if min(crop.size) <= 0:
        notes.add("structure-empty", f"Structure {structure.name} lies outside of the CT and counts as empty.")
        return None
    values = np.zeros(crop.size[::-1], dtype=np.float32)
    for slab in slabs:
        shares = _shares(slab, crop)
        touched = np.flatnonzero(shares)
        if len(touched):
            coverage = plane_coverage(slab.plane.contours, crop)
            for slice_index in touched:
                values[slice_index] += shares[slice_index] * coverage
    mask = Mask(np.clip(values, 0.0, 1.0, out=values), crop)
    if mask.volume_ml < _NOTHING:
        notes.add("structure-empty", f"Structure {structure.name} encloses no volume and counts as empty.")
        return None
    return mask


def plane_coverage(contours: Sequence[FloatArray], grid: Grid) -> FloatArray:
    """Inside fraction of each pixel of an axial plane, by even-odd over all contours.

    Parameters
    ----------
    contours : sequence of ndarray of shape (n_points, 2)
        x and y, mm, closed.

    Returns
    -------
    ndarray of shape (ny, nx)
    """
    columns, rows, _ = grid.size
    lines_per_row = max(_FEWEST_LINES, math.ceil(grid.spacing[1] / _LINE_SPACING))
    line, x = _crossings(contours, grid, lines_per_row)
    order = np.lexsort((x, line))
    line, x = line[order], x[order]
    # Each line crosses closed contours an even number of times, so inside begins at every other crossing.
    sign = np.where(np.arange(len(line)) % 2 == 0, 1.0, -1.0)
    x = np.clip(x, 0.0, columns)
    column = np.minimum(x.astype(np.int64), columns - 1)
    within = x - column
    # Right of a crossing in column c the pixel c keeps 1 - within, all later ones 1: a running sum along the row.
    flat = (line // lines_per_row) * (columns + 1) + column
    steps = np.bincount(flat, sign * (1.0 - within), minlength=rows * (columns + 1))
    steps += np.bincount(flat + 1, sign * within, minlength=rows * (columns + 1))
    covered = np.cumsum(steps.reshape(rows, columns + 1), axis=1)[:, :columns] / lines_per_row
    clean: FloatArray = np.clip(np.round(covered, 9), 0.0, 1.0)  # running sums leave crumbs of 1e-16
    return clean


def _crossings(
    contours: Sequence[FloatArray], grid: Grid, lines_per_row: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Where lines of constant y cross the contours: line number, and x in pixels from the grid's low face.

    Line j lies at y = j + 1/2 in units of the line spacing. An edge takes the lines of its half-open
    range of y, so that a vertex on a line counts once where the contour passes and twice or never
    where it turns.
    """
    start = np.concatenate(contours)
    end = np.concatenate([np.roll(contour, -1, axis=0) for contour in contours])
    x0, x1 = ((points[:, 0] - grid.low_face(0)) / grid.spacing[0] for points in (start, end))
    y0, y1 = ((points[:, 1] - grid.low_face(1)) / grid.spacing[1] * lines_per_row - 0.5 for points in (start, end))
    lines = grid.size[1] * lines_per_row
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, lines).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y0, y1)), 0, lines).astype(np.int64)
    count = last - first
    edge = np.repeat(np.arange(len(start)), count)
    line = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    x: FloatArray = x0[edge] + (line - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    return line, x


def _slabs(structure: DrawnStructure, ct: Grid, notes: Notes) -> list[_Slab]:
    on_slices = grouped(Plane(_snapped(plane.z, ct), plane.contours, plane.is_xor) for plane in structure.planes)
    planes = without_cancelling(on_slices, structure.name, notes)
    gaps = np.diff([plane.z for plane in planes])
    usual = _usual_gap(gaps, ct)
    thickness = ct.spacing[2] if usual is None else usual
    is_filled = gaps <= _FILLED_GAP * thickness
    if usual is not None:
        _say_gaps(structure, gaps, is_filled, usual, notes)
    elif len(gaps):
        notes.add(
            "contours-far-apart",
            f"Structure {structure.name} has contours in {len(planes)} planes, {gaps.min():g} mm or more apart on CT "
            f"slices of {ct.spacing[2]:g} mm; each was taken to be one slice thick. Check the structure's volume.",
        )
    half = 0.5 * thickness
    below = [half, *np.where(is_filled, 0.5 * gaps, half)]
    above = [*np.where(is_filled, 0.5 * gaps, half), half]
    return [_Slab(plane.z - low, plane.z + high, plane) for plane, low, high in zip(planes, below, above, strict=True)]


def _usual_gap(gaps: FloatArray, ct: Grid) -> float | None:
    """The spacing that contours are drawn at; None when they show none, being alone or few and far apart."""
    near = gaps[gaps <= max(_NEAR_SLICES * ct.spacing[2], _NEAR)]
    if len(gaps) > len(near):
        usual = commonest_gap(gaps)
        if int((np.abs(gaps - usual) <= PLANE_TOLERANCE).sum()) >= _FEWEST_FAR_GAPS:
            return usual
    return commonest_gap(near) if len(near) else None


def _say_gaps(
    structure: DrawnStructure, gaps: FloatArray, is_filled: npt.NDArray[np.bool_], usual: float, notes: Notes
) -> None:
    skipped = int((is_filled & (gaps > 1.5 * usual)).sum())
    if skipped:
        notes.add(
            "contours-skip-planes",
            f"Structure {structure.name}: {skipped} planes without contours lie between planes {usual:g} mm apart; "
            "the neighbouring contours were extended half-way.",
        )
    if not is_filled.all():
        notes.add(
            "structure-in-parts",
            f"Structure {structure.name} has {int((~is_filled).sum())} gaps between contours that are usually "
            f"{usual:g} mm apart; nothing was filled in there.",
        )


def _snapped(z: float, ct: Grid) -> float:
    """A contour's z; that of the CT slice that it was drawn on, when it is this near to one."""
    nearest = ct.origin[2] + round((z - ct.origin[2]) / ct.spacing[2]) * ct.spacing[2]
    return nearest if abs(z - nearest) <= PLANE_TOLERANCE else z


def _crop(slabs: Sequence[_Slab], ct: Grid) -> Grid:
    points = np.concatenate([contour for slab in slabs for contour in slab.plane.contours])
    low = (*points.min(axis=0), min(slab.low for slab in slabs))
    high = (*points.max(axis=0), max(slab.high for slab in slabs))
    first, size = [], []
    for axis in range(3):
        begin = math.floor((low[axis] - ct.low_face(axis)) / ct.spacing[axis] + _NOTHING)
        end = math.ceil((high[axis] - ct.low_face(axis)) / ct.spacing[axis] - _NOTHING)
        begin, end = max(begin, 0), min(end, ct.size[axis])
        first.append(begin)
        size.append(end - begin)
    x, y, z = (ct.origin[axis] + first[axis] * ct.spacing[axis] for axis in range(3))
    return Grid((size[0], size[1], size[2]), ct.spacing, (x, y, z))


def _reaches_beyond(slabs: Sequence[_Slab], ct: Grid) -> bool:
    points = np.concatenate([contour for slab in slabs for contour in slab.plane.contours])
    low = (*points.min(axis=0), min(slab.low for slab in slabs))
    high = (*points.max(axis=0), max(slab.high for slab in slabs))
    return any(
        low[axis] < ct.low_face(axis) - _BEYOND or high[axis] > ct.high_face(axis) + _BEYOND for axis in range(3)
    )


def _shares(slab: _Slab, grid: Grid) -> FloatArray:
    """Part of each slice's thickness that a slab fills, shape (nz,)."""
    low = grid.low_face(2) + np.arange(grid.size[2]) * grid.spacing[2]
    overlap = np.minimum(low + grid.spacing[2], slab.high) - np.maximum(low, slab.low)
    shares: FloatArray = np.clip(overlap, 0.0, None) / grid.spacing[2]
    return shares
