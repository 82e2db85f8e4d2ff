"""The TPS dose: one RTDOSE of the whole plan, or one for each of its beams, in Gy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from gatecheck.case.attributes import (
    FloatArray,
    Notes,
    called,
    code,
    items,
    numbers,
    references,
    required_integer,
    required_number,
    text,
)
from gatecheck.case.axial_plane import AxialPlane, axial_plane
from gatecheck.case.ct import CtVolume
from gatecheck.case.folder import DicomFile
from gatecheck.case.grid import Grid
from gatecheck.case.pixels import stored_values
from gatecheck.case.plan import Plan
from gatecheck.errors import InputError, UnsupportedPlanError

_PLACE = "RTDOSE"
_SPACING_TOLERANCE = 0.01  # mm
_SAME_GRID = 0.01  # mm


@dataclass(frozen=True)
class PlannedDose:
    """Physical dose of the whole course.

    Attributes
    ----------
    values_zyx : ndarray of shape (nz, ny, nx), float32
        Gy.
    summation_type : str
        PLAN, or BEAM where the beams' doses were added up here.
    """

    values_zyx: npt.NDArray[np.float32]
    grid: Grid
    summation_type: Literal["PLAN", "BEAM"]
    files: tuple[DicomFile, ...]


def read_dose(files: Sequence[DicomFile], plan: Plan, ct: CtVolume, notes: Notes) -> PlannedDose | None:
    """Read the plan's dose; None when the folder has no RTDOSE of the plan.

    Raises
    ------
    InputError
        For a dose of another frame of reference, or when several doses could be meant.
    UnsupportedPlanError
        For doses that are not physical doses in Gy of the whole plan.
    """
    foreign = [file for file in files if not _is_gatechecks_own(file.dataset)]
    if len(foreign) < len(files):
        notes.add("own-dose", "RTDOSE files that gatecheck itself wrote ignored: a dose is not compared with itself.")
    files = foreign
    with_grid = [file for file in files if "PixelData" in file.dataset or "Rows" in file.dataset]
    if len(with_grid) < len(files):
        notes.add("rtdose-without-grid", "RTDOSE files without a dose grid (dose-volume histograms only) ignored.")
    chosen = _of_plan(with_grid, plan, notes)
    if not chosen:
        notes.add(
            "no-tps-dose", "No RTDOSE of the plan: the Monte Carlo dose is reported without a TPS dose beside it."
        )
        return None
    for file in chosen:
        _check_frame(file.dataset, ct)
    whole = [file for file in chosen if code(file.dataset, "DoseSummationType") == "PLAN"]
    if len(whole) > 1:
        whole = [file for file in whole if code(file.dataset, "DoseType") == "PHYSICAL"]
    if len(whole) > 1:
        raise InputError(
            f"{len(whole)} RTDOSE of the whole plan found, 1 expected. Keep the one to be compared with in the folder."
        )
    used = tuple(whole) or _one_for_each_beam(chosen, plan)
    if len(used) < len(chosen):
        notes.add(
            "rtdose-not-used", f"{len(chosen) - len(used)} more RTDOSE of the plan ignored: the plan's sum is used."
        )
    values, grid = _summed(used)
    _check_plausible(values, grid, plan, ct, notes)
    return PlannedDose(values.astype(np.float32), grid, "PLAN" if whole else "BEAM", used)


def _is_gatechecks_own(dataset: Dataset) -> bool:
    """Of `gatecheck export`, as it was written or as another system hands it on."""
    made_by = (text(dataset, "Manufacturer"), text(dataset, "ManufacturerModelName"))
    return made_by == ("gatecheck", "gatecheck") or text(dataset, "DoseComment").startswith("gatecheck ")


def _of_plan(files: list[DicomFile], plan: Plan, notes: Notes) -> list[DicomFile]:
    """The doses that name the plan and no other; else the only dose that names none."""
    named = [_named_plans(file) for file in files]
    own = {plan.file.sop_instance_uid}
    naming = [file for file, plans in zip(files, named, strict=True) if plans == own]
    silent = [file for file, plans in zip(files, named, strict=True) if not plans]
    _note_doses_of_other_plans(named, own, notes)
    if naming:
        if silent:
            notes.add(
                "rtdose-without-plan",
                f"{len(silent)} RTDOSE that name no plan ({called('ReferencedRTPlanSequence')}) ignored.",
            )
        return naming
    if len(silent) > 1:
        raise InputError(
            f"{len(silent)} RTDOSE found, and none names the plan ({called('ReferencedRTPlanSequence')}). "
            "Keep the plan's dose in the folder, or export it again."
        )
    if silent:
        notes.add(
            "rtdose-does-not-name-the-plan",
            f"The RTDOSE does not name the plan ({called('ReferencedRTPlanSequence')}); it was used because no other "
            "can be meant. Check that it is the plan's dose.",
        )
    return silent


def _named_plans(file: DicomFile) -> set[str]:
    """SOP Instance UIDs of the plans that a dose says it is of."""
    return set(references(file.dataset, "ReferencedRTPlanSequence", _PLACE)) - {""}


def _note_doses_of_other_plans(named: Sequence[set[str]], own: set[str], notes: Notes) -> None:
    """A dose that says it is of something else is never compared with, even when there is no other."""
    others = sum(1 for plans in named if plans and not plans & own)
    if others:
        notes.add(
            "rtdose-of-other-plans",
            f"{others} RTDOSE left out: {called('ReferencedRTPlanSequence')} names another plan than the RTPLAN of the "
            "folder. Export the dose of this plan if it is to be compared with.",
        )
    sums = sum(1 for plans in named if plans > own)
    if sums:
        notes.add(
            "rtdose-of-several-plans",
            f"{sums} RTDOSE left out: {called('ReferencedRTPlanSequence')} names other plans beside the RTPLAN of the "
            "folder. Export the dose of this plan alone if it is to be compared with.",
        )


def _check_frame(dataset: Dataset, ct: CtVolume) -> None:
    if text(dataset, "FrameOfReferenceUID") != ct.frame_of_reference:
        raise InputError(
            "The RTDOSE's Frame of Reference UID (0020,0052) is not the CT's, so its grid lies elsewhere. "
            "Export the dose of this plan, or take the RTDOSE out of the folder to verify without a TPS dose."
        )


def _one_for_each_beam(files: Sequence[DicomFile], plan: Plan) -> tuple[DicomFile, ...]:
    """The beams' doses, each beam of the plan exactly once."""
    by_beam: dict[int, DicomFile] = {}
    for file in files:
        summation = code(file.dataset, "DoseSummationType")
        beams = _referenced_beams(file.dataset)
        if summation != "BEAM" or len(beams) != 1 or beams[0] in by_beam:
            raise UnsupportedPlanError(
                f"{_PLACE}: {called('DoseSummationType')} PLAN is expected, or one RTDOSE of type BEAM for each beam; "
                "found is neither. Export the dose of the plan's sum."
            )
        by_beam[beams[0]] = file
    missing = [beam.number for beam in plan.beams if beam.number not in by_beam]
    if missing:
        raise InputError(
            f"{_PLACE}: no dose of the whole plan, and none of beam {', '.join(map(str, missing))}. "
            "Export the dose of the plan's sum."
        )
    return tuple(by_beam[beam.number] for beam in plan.beams)


def _referenced_beams(dataset: Dataset) -> list[int]:
    return [
        required_integer(beam, "ReferencedBeamNumber", _PLACE)
        for plan in items(dataset, "ReferencedRTPlanSequence", _PLACE)
        for group in items(plan, "ReferencedFractionGroupSequence", _PLACE)
        for beam in items(group, "ReferencedBeamSequence", _PLACE)
    ]


def _summed(files: Sequence[DicomFile]) -> tuple[FloatArray, Grid]:
    values, grid = dose_grid(files[0].dataset)
    for file in files[1:]:
        more, other = dose_grid(file.dataset)
        if not _is_same_grid(grid, other):
            raise InputError(f"{_PLACE}: the beams' doses lie on different grids. Export the dose of the plan's sum.")
        values = values + more
    return values, grid


def _is_same_grid(a: Grid, b: Grid) -> bool:
    close = np.allclose([a.origin, a.spacing], [b.origin, b.spacing], rtol=0, atol=_SAME_GRID)
    return a.size == b.size and bool(close)


def dose_grid(dataset: Dataset, place: str = _PLACE) -> tuple[FloatArray, Grid]:
    """Dose of one RTDOSE in Gy, shape (nz, ny, nx), with x, y and z increasing.

    Parameters
    ----------
    place : str
        What messages call the file.

    Raises
    ------
    InputError, UnsupportedPlanError
        When it is damaged, or no physical dose in Gy on an even axial grid.
    """
    if code(dataset, "DoseUnits") != "GY":
        raise UnsupportedPlanError(
            f"{place}: {called('DoseUnits')} is not GY: a relative dose cannot be compared. Export absolute dose."
        )
    if code(dataset, "DoseType") != "PHYSICAL":
        raise UnsupportedPlanError(
            f"{place}: {called('DoseType')} is not PHYSICAL; effective doses and errors are not supported. "
            "Export the physical dose."
        )
    plane = axial_plane(dataset, place)
    stored = stored_values(dataset, place)
    if stored.ndim == 2:
        stored = stored[np.newaxis]
    z = _frame_positions(dataset, plane, len(stored), place)
    values = np.asarray(plane.to_lps(stored), dtype=float) * required_number(dataset, "DoseGridScaling", place)
    if z[-1] < z[0]:
        values, z = values[::-1], z[::-1]
    spacing_z = (z[-1] - z[0]) / (len(z) - 1)
    gaps = np.diff(z)
    if np.abs(gaps - spacing_z).max() > _SPACING_TOLERANCE or spacing_z <= 0:
        raise UnsupportedPlanError(
            f"{place}: {called('GridFrameOffsetVector')} is not evenly spaced ({gaps.min():g} to {gaps.max():g} mm). "
            "Export the dose on an even grid."
        )
    x, y = plane.first_xy
    grid = Grid(
        (plane.columns, plane.rows, len(z)), (plane.spacing_x, plane.spacing_y, float(spacing_z)), (x, y, float(z[0]))
    )
    return values, grid


def _frame_positions(dataset: Dataset, plane: AxialPlane, frames: int, place: str) -> FloatArray:
    """Position z of each frame (PS3.3 C.8.8.3.2).

    Offsets that begin at 0 count from the first frame along the cross product of row and column
    direction; offsets that begin at the first frame's z are positions themselves.
    """
    offsets = numbers(dataset, "GridFrameOffsetVector", place)
    if len(offsets) != frames or frames < 2:
        raise InputError(
            f"{place}: {frames} frames and {len(offsets)} values of {called('GridFrameOffsetVector')} found; as many "
            "of each, and at least 2, expected. Export the dose again as one multi-frame file."
        )
    first = plane.position[2]
    if offsets[0] == 0.0:
        return first + plane.normal_sign * offsets
    is_plain = plane.row_sign == plane.column_sign == 1
    if abs(offsets[0] - first) <= _SAME_GRID and is_plain:
        return offsets
    raise InputError(
        f"{place}: {called('GridFrameOffsetVector')} begins neither at 0 nor at the first frame's position. "
        "Export the dose again."
    )


def _check_plausible(values: FloatArray, grid: Grid, plan: Plan, ct: CtVolume, notes: Notes) -> None:
    if values.max() <= 0:
        raise InputError(f"{_PLACE}: the dose is zero everywhere. Calculate the plan's dose and export it again.")
    for axis in range(3):
        if grid.high_face(axis) <= ct.grid.low_face(axis) or grid.low_face(axis) >= ct.grid.high_face(axis):
            raise InputError(f"{_PLACE}: its grid lies outside of the CT. Export the dose of this plan.")
    prescription = plan.target_prescription_gy
    if prescription is not None and values.max() < 0.5 * prescription:
        notes.add(
            "tps-dose-below-prescription",
            f"The TPS dose reaches {values.max():.2f} Gy, less than half of the {prescription:g} Gy prescribed. "
            "It is taken as the dose of all fractions; check that it is not the dose of one.",
        )
