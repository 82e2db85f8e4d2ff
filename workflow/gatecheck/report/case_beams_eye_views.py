"""Which control points of a case are drawn as the source sees them, for the report and for files."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Case
from gatecheck.case.storage import read_case, read_mask
from gatecheck.delivery.model import BeamTimeline, Delivery, MachineState
from gatecheck.delivery.projection import patient_axes_in_view, shadow_of_mask, state_at_control_point
from gatecheck.delivery.storage import read_delivery
from gatecheck.delivery.timeline import state_at
from gatecheck.errors import InputError, ResultError
from gatecheck.files import sha256_of_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.aperture import aperture, light_edges
from gatecheck.linac.model import LinacModel
from gatecheck.report import style
from gatecheck.report.beams_eye_view import BeamsEyeView, Shadow, Window, view_as_data_uri, write_view
from gatecheck.report.case_figures import PlaneFigure, PlaneSet, structures_in_drawing_order
from gatecheck.report.figures import Overlay
from gatecheck.report.numbers import number

FloatArray = npt.NDArray[np.float64]

SUFFIXES = (".png", ".svg")
_PIXELS = 250
_PIXELS_OF_SHADOWS = 160  # an outline runs between them by linear interpolation
_MARGIN = 10.0  # mm round the jaws' openings
_SMALLEST_SIDE = 60.0
_THIRDS = (1 / 6, 1 / 2, 5 / 6)


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant of a beam that is drawn.

    Attributes
    ----------
    control_point : int or None
        None for an instant between control points.
    """

    control_point: int | None
    state: MachineState


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """What the command line asked for; None leaves it to the program."""

    beam: int | None = None
    control_point: int | None = None
    meterset: float | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class WrittenViews:
    """Files that were drawn, and the names of the structures behind the letters in them."""

    files: tuple[Path, ...]
    letters: dict[str, str]


def views_of_beam(
    beam: BeamTimeline, delivery: Delivery, linac: LinacModel, overlays: Sequence[Overlay], stamp: str
) -> PlaneSet:
    """Three drawings of a beam for the report, fewer where the machine stands still.

    Each stands for a third of the beam's meterset: it shows the control point nearest to the middle of that third.
    The first and the last control point would often show closed leaves.
    """
    moments = moments_of_thirds(beam)
    figures = []
    for moment, view in zip(moments, _views(beam, moments, delivery, linac, overlays), strict=True):
        title = f"{_where(beam, moment)}, {_meterset_and_angles(beam, moment)}"
        description = f"Beam {beam.number} as the source sees it, {title}, window {view.window.side:.0f} mm wide"
        figures.append(PlaneFigure(title[0].upper() + title[1:], view_as_data_uri(view, stamp), description))
    return PlaneSet(f"Beam {beam.number} · {beam.name}", tuple(figures))


def write_views(
    layout: CaseLayout, linac: LinacModel, request: ViewRequest, preferred: Sequence[str] = ()
) -> WrittenViews:
    """Draw control points of a case into files; without wishes the first, middle and last of every beam.

    Parameters
    ----------
    preferred : names of structures to be drawn first

    Raises
    ------
    InputError
        When the request names what the plan does not have, or a file that is neither PNG nor SVG.
    ResultError
        When the case's files are missing or do not belong together.
    WriteError
        When a file cannot be written.
    """
    _check_out(request)
    case, delivery = read_case(layout.case), read_delivery(layout.delivery)
    if delivery.made_from_sha256 != sha256_of_json(case.model_dump(mode="json")):
        raise ResultError(
            "timeline.parquet: made from another case.json than the one that is there. Run deliver again."
        )
    chosen = [(beam, _moments_asked_for(beam, request)) for beam in _beams_asked_for(delivery, request)]
    overlays = _overlays(layout, case, preferred)
    files = []
    for beam, moments in chosen:
        for moment, view in zip(moments, _views(beam, moments, delivery, linac, overlays), strict=True):
            path = request.out or layout.report / f"beams-eye-view-beam-{beam.number}-{_file_part(moment)}.png"
            write_view(view, path)
            files.append(path)
    return WrittenViews(tuple(files), {overlay.letter: overlay.name for overlay in overlays})


def _views(
    beam: BeamTimeline, moments: Sequence[Moment], delivery: Delivery, linac: LinacModel, overlays: Sequence[Overlay]
) -> list[BeamsEyeView]:
    """One drawing for each moment, all of one window."""
    window = window_of([moment.state for moment in moments])
    position = delivery.patient_position
    return [
        view_of(beam, moment, window, linac=linac, overlays=overlays, patient_position=position) for moment in moments
    ]


def moments_of_thirds(beam: BeamTimeline) -> tuple[Moment, ...]:
    """The control points nearest to the middle of each third of the meterset; once where they show the same."""
    nearest = [int(np.argmin(np.abs(beam.meterset - share * beam.total_meterset))) for share in _THIRDS]
    return _without_repetitions(beam, nearest)


def moments_first_middle_last(beam: BeamTimeline) -> tuple[Moment, ...]:
    """The first, middle and last control point; once where they show the same."""
    last = len(beam.meterset) - 1
    return _without_repetitions(beam, [0, (last + 1) // 2, last])


def _without_repetitions(beam: BeamTimeline, control_points: Sequence[int]) -> tuple[Moment, ...]:
    moments: list[Moment] = []
    for index in control_points:
        state = state_at_control_point(beam, index)
        if not any(_look_alike(state, moment.state) for moment in moments):
            moments.append(Moment(index, state))
    return tuple(moments)


def _look_alike(one: MachineState, other: MachineState) -> bool:
    """Whether everything but the meterset is the same."""
    if (one.leaf_positions is None) != (other.leaf_positions is None):
        return False
    return (
        (one.gantry, one.collimator, one.couch, one.jaw_x, one.jaw_y, one.isocentre)
        == (other.gantry, other.collimator, other.couch, other.jaw_x, other.jaw_y, other.isocentre)
    ) and (
        one.leaf_positions is None
        or other.leaf_positions is None
        or bool(np.array_equal(one.leaf_positions, other.leaf_positions))
    )


def window_of(states: Sequence[MachineState]) -> Window:
    """A square round the jaws' openings of all states."""
    low = np.array([min(s.jaw_x[0] for s in states), min(s.jaw_y[0] for s in states)])
    high = np.array([max(s.jaw_x[1] for s in states), max(s.jaw_y[1] for s in states)])
    centre = (low + high) / 2
    side = max(_SMALLEST_SIDE, float((high - low).max()) + 2 * _MARGIN)
    return Window((float(centre[0]), float(centre[1])), side)


def view_of(
    beam: BeamTimeline,
    moment: Moment,
    window: Window,
    *,
    linac: LinacModel,
    overlays: Sequence[Overlay],
    patient_position: str,
) -> BeamsEyeView:
    """Everything that the drawing of one instant shows."""
    state = moment.state
    x, y = window.pixel_centres(_PIXELS)
    across, up = window.pixel_centres(_PIXELS_OF_SHADOWS)
    distance = linac.machine.source_axis_distance

    def shadow(mask: sitk.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return shadow_of_mask(
            mask, state, x=across, y=up, patient_position=patient_position, source_axis_distance=distance
        )

    return BeamsEyeView(
        title=(f"Beam {beam.number}, {_where(beam, moment)}", _meterset_and_angles(beam, moment)),
        window=window,
        aperture=aperture(state, linac, x=x, y=y),
        edges=light_edges(state, linac),
        shadows=tuple(Shadow(one.letter, one.dashes, across, up, shadow(one.mask)) for one in overlays),
        patient_axes=patient_axes_in_view(state, patient_position=patient_position),
        opening_radius=linac.machine.primary_collimator.opening_radius,
    )


def _where(beam: BeamTimeline, moment: Moment) -> str:
    if moment.control_point is None:
        return "between control points"
    return f"control point {moment.control_point} of 0 to {len(beam.meterset) - 1}"


def _meterset_and_angles(beam: BeamTimeline, moment: Moment) -> str:
    state = moment.state
    named = (("gantry", state.gantry), ("collimator", state.collimator), ("couch", state.couch))
    angles = ", ".join(f"{name} {number(round(angle, 1) % 360, 1)}°" for name, angle in named)
    return f"{number(state.meterset, 1)} of {number(beam.total_meterset, 1)} MU, {angles}"


def _file_part(moment: Moment) -> str:
    if moment.control_point is not None:
        return f"control-point-{moment.control_point:03d}"
    return f"{moment.state.meterset:.2f}-mu"


def _overlays(layout: CaseLayout, case: Case, preferred: Sequence[str]) -> tuple[Overlay, ...]:
    """The first few structures in drawing order."""
    ordered = structures_in_drawing_order(case.structures, preferred)
    filled = [(name, structure) for name, structure in ordered if structure.mask is not None]
    return tuple(
        Overlay(name, string.ascii_uppercase[index], style.DASHES[index], read_mask(layout.case, structure))
        for index, (name, structure) in enumerate(filled[: style.STRUCTURES_ON_CT])
    )


def _check_out(request: ViewRequest) -> None:
    if request.control_point is not None and request.meterset is not None:
        raise InputError("--control-point and --meterset: both found, expected one of them.")
    one_instant = request.control_point is not None or request.meterset is not None
    if one_instant and request.beam is None:
        raise InputError("--control-point or --meterset without --beam: say of which beam.")
    if request.out is None:
        return
    if not one_instant:
        raise InputError("--out: a file holds one drawing. Say which with --beam and --control-point or --meterset.")
    if request.out.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out: {request.out.name!r} found, expected a name that ends in {' or '.join(SUFFIXES)}.")


def _beams_asked_for(delivery: Delivery, request: ViewRequest) -> tuple[BeamTimeline, ...]:
    if request.beam is None:
        return delivery.beams
    found = tuple(beam for beam in delivery.beams if beam.number == request.beam)
    if not found:
        known = ", ".join(str(beam.number) for beam in delivery.beams)
        raise InputError(f"--beam {request.beam}: the plan's beams with meterset are {known}.")
    return found


def _moments_asked_for(beam: BeamTimeline, request: ViewRequest) -> tuple[Moment, ...]:
    if request.control_point is not None:
        try:
            state = state_at_control_point(beam, request.control_point)
        except IndexError as error:
            raise InputError(f"--control-point {request.control_point}: {error}.") from None
        return (Moment(request.control_point, state),)
    if request.meterset is not None:
        if not 0 <= request.meterset <= beam.total_meterset:
            raise InputError(
                f"--meterset {request.meterset:g}: beam {beam.number} runs from 0 to {beam.total_meterset:g} MU."
            )
        return (Moment(None, state_at(beam, request.meterset)),)
    return moments_first_middle_last(beam)
