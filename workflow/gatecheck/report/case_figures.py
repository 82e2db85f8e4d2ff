"""Which planes, structures and curves a case's report shows, in which order and style."""

from __future__ import annotations

import functools
import logging
import math
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import SimpleITK as sitk

from gatecheck.case.model import Structure
from gatecheck.compare.model import StructureComparison
from gatecheck.compare.profiles import point_of_planes
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.files import read_image
from gatecheck.forks import in_forks
from gatecheck.report import style
from gatecheck.report.figures import (
    ColourScale,
    DvhSeries,
    Overlay,
    Scene,
    dvh_figure,
    end_of_curve,
    isodose_figure,
    map_figure,
)
from gatecheck.report.gamma_figures import gamma_figure
from gatecheck.report.inputs import ReportImages, ReportInputs
from gatecheck.report.planes import Plane, Vector, bounds, planes_through
from gatecheck.report.style import Normalisation
from gatecheck.report.summary import Summary, named_structures, unique_names

_logger = logging.getLogger(__name__)

TARGET_TYPES = ("GTV", "CTV", "PTV")
_OUTLINE_TYPES = ("EXTERNAL", "SUPPORT", "FIXATION")
_ORGAN = 2  # rank, after preferred structures and targets
_MARGIN = 10.0  # mm round the dose grid, and round the targets in a close-up
_SMALLEST_CLOSE_UP = 50.0  # mm
_CLOSE_UP_WORTH_IT = 0.55  # of the full window
STAMP = "not for clinical use"


@dataclass(frozen=True, slots=True)
class PlaneFigure:
    """One plane's image with its words."""

    title: str
    image: str
    description: str


@dataclass(frozen=True, slots=True)
class PlaneSet:
    """Three planes of one quantity, one window."""

    title: str
    figures: tuple[PlaneFigure, ...]


@dataclass(frozen=True, slots=True)
class DvhLegend:
    """One structure's entry beneath a chart."""

    name: str
    colour: str
    marker: str
    has_mc: bool
    has_tps: bool


@dataclass(frozen=True, slots=True)
class DvhChart:
    """Up to seven structures' histograms, drawn for a wide and for a narrow screen."""

    title: str
    wide: str
    narrow: str
    legend: tuple[DvhLegend, ...]


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """All drawings of one report and what has to be said beside them."""

    isodoses: tuple[PlaneSet, ...]
    difference: tuple[PlaneSet, ...]
    sigma: tuple[PlaneSet, ...]
    gamma: tuple[PlaneSet, ...]
    difference_scale: str
    delivered: tuple[PlaneSet, ...]
    delivered_scale: str
    overlays: tuple[Overlay, ...]
    not_drawn: tuple[str, ...]
    notes: tuple[str, ...]
    dvhs: tuple[DvhChart, ...]


class _Drawn(NamedTuple):
    """What one fork draws, and what has to be said of its colours."""

    sets: tuple[PlaneSet, ...]
    scale: str = ""


def draw_figures(
    inputs: ReportInputs, images: ReportImages, summary: Summary, scale: Normalisation, preferred: Sequence[str]
) -> CaseFigures:
    """Draw every figure of a case.

    Parameters
    ----------
    preferred : names of the structures that come first
    """
    point, notes = _point_of_planes(inputs, images)
    window_planes = planes_through(point, *_whole_window(images))
    overlays, not_drawn = _overlays(inputs, window_planes, preferred)
    stamp = "" if summary.clinical else STAMP
    scene = Scene(overlays, images.body, point, stamp)
    windows = {"Whole dose grid": window_planes}
    close_up = _close_up(inputs, point, window_planes[0].side)
    if close_up:
        windows[f"Close-up, {close_up[0].side:.0f} mm wide"] = close_up
    to_draw: list[Callable[[], _Drawn]] = [
        lambda: _difference_sets(
            windows,
            images.difference,
            scene,
            style.DIFFERENCE_RANGE_PERCENT / 100 * scale.gray,
            "Monte Carlo \N{MINUS SIGN} TPS",
        ),
        lambda: _difference_sets(
            windows,
            images.delivered,
            scene,
            style.DELIVERED_RANGE_PERCENT / 100 * scale.gray,
            "Delivered \N{MINUS SIGN} planned",
        ),
        lambda: _Drawn(_gamma_sets(windows, inputs, images, scene)),
        lambda: _Drawn((_sigma_set(window_planes, images, scene, scale, summary),)),
    ]
    for title, planes in windows.items():
        to_draw.append(functools.partial(_isodose_set, title, planes, images, scene, scale))
    difference, delivered, gamma, sigma, *isodoses = in_forks(to_draw)
    return CaseFigures(
        isodoses=tuple(one for of_window in isodoses for one in of_window.sets),
        difference=difference.sets,
        sigma=sigma.sets,
        gamma=gamma.sets,
        difference_scale=difference.scale,
        delivered=delivered.sets,
        delivered_scale=delivered.scale,
        overlays=overlays,
        not_drawn=not_drawn,
        notes=notes,
        dvhs=_dvh_charts(inputs, preferred, stamp),
    )


def in_reading_order(
    structures: Iterable[tuple[str, StructureComparison]], preferred: Sequence[str]
) -> list[tuple[str, StructureComparison]]:
    """Structures that the configuration names first, then targets, then organs, then outlines."""

    def rank(entry: tuple[str, StructureComparison]) -> tuple[int, int]:
        return _rank(entry[1].name, entry[1].interpreted_type, preferred)

    return sorted(structures, key=rank)


def _rank(name: str, interpreted_type: str, preferred: Sequence[str]) -> tuple[int, int]:
    if name in preferred:
        return (0, list(preferred).index(name))
    if interpreted_type in TARGET_TYPES:
        return (1, TARGET_TYPES.index(interpreted_type))
    return (_ORGAN + 1 if interpreted_type in _OUTLINE_TYPES else _ORGAN, 0)


def _point_of_planes(inputs: ReportInputs, images: ReportImages) -> tuple[Vector, tuple[str, ...]]:
    """Through which the profiles go too."""
    return point_of_planes(inputs.delivery, VoxelGrid.of(images.ct), VoxelGrid.of(images.dose))


def _whole_window(images: ReportImages) -> tuple[Vector, float]:
    low, high = bounds(images.dose)
    centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    side = max(b - a for a, b in zip(low, high, strict=True)) + 2 * _MARGIN
    return (centre[0], centre[1], centre[2]), side


def _close_up(inputs: ReportInputs, point: Vector, whole_side: float) -> tuple[Plane, ...]:
    """Planes round the targets, where these are small in the whole window; else none."""
    reach = 0.0
    for structure in inputs.case.structures:
        if structure.interpreted_type in TARGET_TYPES and structure.mask is not None:
            low, high = bounds(read_image(inputs.layout.case / structure.mask))
            reach = max(reach, *(abs(edge - p) for face in (low, high) for edge, p in zip(face, point, strict=True)))
    side = max(_SMALLEST_CLOSE_UP, 10 * math.ceil(2 * (reach + _MARGIN) / 10))
    if reach == 0.0 or side > _CLOSE_UP_WORTH_IT * whole_side:
        return ()
    return planes_through(point, point, side)


def _overlays(
    inputs: ReportInputs, planes: Sequence[Plane], preferred: Sequence[str]
) -> tuple[tuple[Overlay, ...], tuple[str, ...]]:
    """Structures that cross one of the planes, the first few in drawing order, and those left out."""
    ordered = structures_in_drawing_order(inputs.case.structures, preferred)
    drawn: list[Overlay] = []
    left_out: list[str] = []
    for name, structure in ordered:
        mask = _crossing_mask(inputs, structure, planes)
        if mask is None:
            continue
        if len(drawn) == style.STRUCTURES_ON_CT:
            left_out.append(name)
            continue
        index = len(drawn)
        drawn.append(Overlay(name, string.ascii_uppercase[index], style.DASHES[index], mask))
    return tuple(drawn), tuple(left_out)


def structures_in_drawing_order(
    structures: Sequence[Structure], preferred: Sequence[str]
) -> list[tuple[str, Structure]]:
    """Structures worth drawing under names of their own: those preferred, then targets, then organs.

    Of organs the smaller come first: a cord between the lungs says more than the lungs' outline,
    which the CT shows anyway. Outlines of the body and of supports are left out unless preferred.
    """
    named = zip(unique_names(structure.name for structure in structures), structures, strict=True)

    def order(entry: tuple[str, Structure]) -> tuple[int, int, float]:
        rank = _rank(entry[1].name, entry[1].interpreted_type, preferred)
        return (*rank, 0.0 if rank[0] < _ORGAN else entry[1].volume_ml)

    return sorted((entry for entry in named if not _is_outline(entry[1], preferred)), key=order)


def _is_outline(structure: Structure, preferred: Sequence[str]) -> bool:
    return structure.interpreted_type in _OUTLINE_TYPES and structure.name not in preferred


def _crossing_mask(inputs: ReportInputs, structure: Structure, planes: Sequence[Plane]) -> sitk.Image | None:
    if structure.mask is None:
        return None
    # A layer of nothing round the mask closes the contour of a structure cropped to its last voxel.
    padded: sitk.Image = sitk.ConstantPad(read_image(inputs.layout.case / structure.mask), (1, 1, 1), (1, 1, 1), 0.0)
    low, high = bounds(padded)
    for plane in planes:
        normal = plane.axes[2]
        if low[normal] <= plane.point[normal] <= high[normal] and plane.sample(padded, outside=0.0).max() > 0.5:
            return padded
    return None


def _isodose_set(
    title: str, planes: Sequence[Plane], images: ReportImages, scene: Scene, scale: Normalisation
) -> _Drawn:
    figures = tuple(
        _captioned(plane, isodose_figure(plane, images.ct, images.dose, scene, scale), "Isodoses on CT")
        for plane in planes
    )
    return _Drawn((PlaneSet(title, figures),))


def _difference_sets(
    windows: dict[str, tuple[Plane, ...]], difference: sitk.Image | None, scene: Scene, limit: float, what: str
) -> _Drawn:
    if difference is None:
        return _Drawn(())
    colours = ColourScale(style.DIFFERENCE_MAP, -limit, limit, f"{what} (Gy, whole course)")
    sets = tuple(
        PlaneSet(
            title,
            tuple(
                _captioned(plane, map_figure(plane, difference, scene, colours), "Dose difference") for plane in planes
            ),
        )
        for title, planes in windows.items()
    )
    return _Drawn(sets, f"±{limit:.2f} Gy")


def _sigma_set(
    planes: Sequence[Plane], images: ReportImages, scene: Scene, scale: Normalisation, summary: Summary
) -> PlaneSet:
    highest = max(1.0, math.ceil(200 * summary.mean_relative_sigma))
    label = f"\N{GREEK SMALL LETTER SIGMA} of dose (% of {scale.gray:.2f} Gy, k = 1)"
    colours = ColourScale(style.SIGMA_MAP, 0.0, highest, label)
    drawn = (map_figure(plane, images.sigma, scene, colours, factor=100 / scale.gray) for plane in planes)
    figures = (_captioned(plane, one, "Standard deviation") for plane, one in zip(planes, drawn, strict=True))
    return PlaneSet("Whole dose grid", tuple(figures))


def _gamma_sets(
    windows: dict[str, tuple[Plane, ...]], inputs: ReportInputs, images: ReportImages, scene: Scene
) -> tuple[PlaneSet, ...]:
    return tuple(
        PlaneSet(
            f"{one.reference} dose as reference, {one.criteria}: {title[0].lower()}{title[1:]}",
            tuple(_captioned(plane, gamma_figure(plane, images.gamma[one.file], scene), "Gamma") for plane in planes),
        )
        for one in inputs.compared.gamma.maps
        for title, planes in windows.items()
    )


def _captioned(plane: Plane, image: str, what: str) -> PlaneFigure:
    title = f"{plane.orientation.capitalize()}, {plane.position}, {plane.seen_from}"
    description = f"{what}, {plane.orientation} plane at {plane.position}, window {plane.side:.0f} mm wide"
    return PlaneFigure(title, image, description)


def _dvh_charts(inputs: ReportInputs, preferred: Sequence[str], stamp: str) -> tuple[DvhChart, ...]:
    listed = in_reading_order(named_structures(inputs), preferred)
    ordered = [entry for entry in listed if entry[1].mc_dvh or entry[1].tps_dvh]
    if not ordered:
        _logger.warning("no structure has a dose-volume histogram")
        return ()
    curves = [curve for _, one in ordered for curve in (one.mc_dvh, one.tps_dvh) if curve is not None]
    maximum = 1.02 * max(map(end_of_curve, curves)) or 1.0
    size = _even_chart_size(len(ordered))
    groups = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return tuple(_dvh_chart(group, maximum, stamp, f"{n} of {len(groups)}") for n, group in enumerate(groups, 1))


def _even_chart_size(structures: int) -> int:
    """Structures per chart, such that no chart is nearly empty."""
    return math.ceil(structures / math.ceil(structures / style.CURVES_PER_CHART))


def _dvh_chart(group: Sequence[tuple[str, StructureComparison]], maximum: float, stamp: str, which: str) -> DvhChart:
    series = [
        DvhSeries(style.OKABE_ITO[index], style.MARKERS[index], one.mc_dvh, one.tps_dvh)
        for index, (_, one) in enumerate(group)
    ]
    legend = tuple(
        DvhLegend(name, drawn.colour, drawn.marker, drawn.mc is not None, drawn.tps is not None)
        for (name, _), drawn in zip(group, series, strict=True)
    )
    return DvhChart(
        title=f"Chart {which}",
        wide=dvh_figure(series, maximum, stamp, narrow=False),
        narrow=dvh_figure(series, maximum, stamp, narrow=True),
        legend=legend,
    )
