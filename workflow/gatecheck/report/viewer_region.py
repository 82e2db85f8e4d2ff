"""Which part of the dose grid the slice viewer holds: as much as a page and a telephone can carry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.patient.model import Grid, PatientModel
from gatecheck.report.inputs import ReportImages
from gatecheck.report.numbers import number
from gatecheck.report.planes import Vector, bounds

MOST_VOXELS = 8_000_000
"""Six quantities of 16 bit each: some 100 MB in the browser, what a telephone still gives to a page."""

DOSE_PERCENT = 10.0
"""Of what 100 % is: where a smaller part must do, that of at least so much dose."""

_MARGIN = 10.0  # mm round that dose, and round the fine voxels
_MOST_STRIDE = 64

Index = tuple[int, int, int]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Region:
    """A block of the dose grid, of which every `stride`-th voxel along each axis is held.

    Attributes
    ----------
    start, stop : (i, j, k)
        First voxel, and the first beyond, along x, y, z.
    words : str
        What it is, for a caption.
    """

    start: Index
    stop: Index
    stride: int
    words: str

    @property
    def voxels(self) -> int:
        """How many are held."""
        return math.prod(self._size)

    @property
    def _size(self) -> Index:
        nx, ny, nz = (
            max(1, math.ceil((stop - start) / self.stride)) for start, stop in zip(self.start, self.stop, strict=True)
        )
        return nx, ny, nz

    def grid_in(self, image: sitk.Image) -> Grid:
        """Where the voxels held lie, of the image whose block it is, LPS mm."""
        spacing, origin = image.GetSpacing(), image.GetOrigin()
        x, y, z = (o + s * first for o, s, first in zip(origin, spacing, self.start, strict=True))
        dx, dy, dz = (self.stride * s for s in spacing)
        return Grid(size=self._size, spacing=(dx, dy, dz), origin=(x, y, z))

    def thinned(self, stride: int) -> Region:
        """The same with fewer voxels."""
        return Region(self.start, self.stop, stride, self.words)


def regions(images: ReportImages, patient: PatientModel, hundred_percent_gy: float) -> Iterator[Region]:
    """Parts of the dose grid from the largest to the smallest, none of more than `MOST_VOXELS` voxels.

    The body; the part of it that has dose; the fine voxels round tumour and cord, all with every voxel; then the
    smallest of these with every second, third ... voxel.

    Parameters
    ----------
    hundred_percent_gy : Gy
        Of which `DOSE_PERCENT` are.
    """
    body_zyx: BoolArray = sitk.GetArrayFromImage(images.body) > 0
    boxes = [_box(body_zyx, "the body", images.body, margin=0.0)]
    dose_zyx = sitk.GetArrayViewFromImage(images.dose)
    with_dose = body_zyx & (dose_zyx >= DOSE_PERCENT / 100 * hundred_percent_gy)
    words = (
        f"the part of the body with a Monte Carlo dose of {number(DOSE_PERCENT)} % of {number(hundred_percent_gy, 2)} "
        f"Gy and more, with {number(_MARGIN)} mm round it"
    )
    if with_dose.any():
        boxes.append(_box(with_dose, words, images.body, margin=_MARGIN))
    fine = _fine_box(images.dose, patient)
    if fine is not None:
        boxes.append(fine)
    yield from (box for box in boxes if box.voxels <= MOST_VOXELS)
    smallest = min(boxes, key=lambda box: box.voxels)
    thinned = (smallest.thinned(stride) for stride in range(2, _MOST_STRIDE))
    yield from (box for box in thinned if box.voxels <= MOST_VOXELS)


def _box(inside_zyx: BoolArray, words: str, image: sitk.Image, *, margin: float) -> Region:
    """The box round voxels; of the whole image where there are none."""
    size, spacing = image.GetSize(), image.GetSpacing()
    start, stop = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != 2 - axis)
        there = np.flatnonzero(inside_zyx.any(axis=others))
        beyond = math.ceil(margin / spacing[axis])
        start.append(max(0, int(there[0]) - beyond) if there.size else 0)
        stop.append(min(size[axis], int(there[-1]) + 1 + beyond) if there.size else size[axis])
    return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), 1, words)


def _fine_box(dose: sitk.Image, patient: PatientModel) -> Region | None:
    fine = [box for box in patient.boxes if box.role == "fine"]
    if not fine:
        return None
    low = [min(box.origin[axis] - box.spacing[axis] / 2 for box in fine) - _MARGIN for axis in range(3)]
    high = [
        max(box.origin[axis] + (box.size[axis] - 0.5) * box.spacing[axis] for box in fine) + _MARGIN
        for axis in range(3)
    ]
    edge, spacing, size = bounds(dose)[0], dose.GetSpacing(), dose.GetSize()
    start = [max(0, math.floor((low[axis] - edge[axis]) / spacing[axis])) for axis in range(3)]
    stop = [min(size[axis], math.ceil((high[axis] - edge[axis]) / spacing[axis])) for axis in range(3)]
    words = f"the fine voxels round tumour and cord, with {number(_MARGIN)} mm round them"
    return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), 1, words)


def nearest_voxel(grid: Grid, point: Vector) -> Index:
    """The voxel of a grid that lies nearest to a point (LPS mm)."""
    i, j, k = (
        min(max(round((p - o) / s), 0), n - 1)
        for p, o, s, n in zip(point, grid.origin, grid.spacing, grid.size, strict=True)
    )
    return i, j, k
