"""Checks that the files belong together, and says the way round each broken link."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from pydicom.dataset import Dataset

from gatecheck.case.attributes import Notes, called, items, numbers, references, text
from gatecheck.case.contours import DrawnStructure
from gatecheck.case.ct import CtVolume
from gatecheck.case.folder import DicomFile
from gatecheck.case.grid import Grid
from gatecheck.case.model import Beam, PatientPosition
from gatecheck.case.plan import Plan
from gatecheck.errors import InputError, UnsupportedPlanError

_PLACE = "RTSTRUCT"
_ROUNDING = 0.05  # mm
_ON_A_SLICE = 0.1  # of the slice spacing: a contour nearer than this was drawn on the slice that is there

# Structures without which a plan cannot be judged, by RT ROI interpreted type, or by name where there is none.
_NEEDED_WHOLE = ("GTV", "CTV", "PTV", "EXTERNAL", "BODY", "SKIN")


def check_plan_against_ct(plan: Plan, ct: CtVolume, notes: Notes) -> None:
    """The plan's isocentres are given in the CT's frame of reference.

    Raises
    ------
    InputError
        When the plan's frame of reference is another one, or when neither it nor the patient ID links the two.
    """
    own, of_ct = _patient_id(plan.file), _patient_id(ct.files[0])
    if not plan.frame_of_reference:
        if own != of_ct:
            raise InputError(
                "RTPLAN has no Frame of Reference UID (0020,0052) and not the CT's Patient ID (0010,0020): "
                "nothing says that they belong together. Export both together."
            )
        notes.add(
            "plan-without-frame-of-reference",
            "The plan does not say its frame of reference; the CT's was taken for its isocentres.",
        )
    elif plan.frame_of_reference != ct.frame_of_reference:
        raise InputError(
            "The RTPLAN's Frame of Reference UID (0020,0052) is not the CT's, so its isocentres mean other places. "
            "Export the plan with the CT that it was planned on."
        )
    if own and of_ct and own != of_ct:
        notes.add(
            "patient-ids-differ",
            "CT and plan carry different Patient IDs (0010,0020); they were taken to belong together because they "
            "share the frame of reference. Check that they are of one patient.",
        )


def check_one_patient(ct: CtVolume, plan: Plan, structure_set: DicomFile, doses: Sequence[DicomFile]) -> None:
    """Structure set and dose are of the patient of the CT or of the plan; an empty Patient ID contradicts nothing.

    Raises
    ------
    InputError
        Without showing an ID.
    """
    known = {_patient_id(file) for file in (*ct.files, plan.file)} - {""}
    for kind, file in [("RTSTRUCT", structure_set), *(("RTDOSE", dose) for dose in doses)]:
        own = _patient_id(file)
        if own and known and own not in known:
            raise InputError(
                f"The {kind} has another Patient ID (0010,0020) than the other files: it is of another patient, or was "
                "de-identified apart from them. Export CT, RTSTRUCT, RTPLAN and RTDOSE of the plan together."
            )
        known |= {own} - {""}


def _patient_id(file: DicomFile) -> str:
    return text(file.dataset, "PatientID")


def check_isocentres_against_ct(beams: Sequence[Beam], ct: Grid, notes: Notes) -> None:
    """Say of each beam whose isocentre is not where the CT was taken how far away it is."""
    for beam in beams:
        distance = max(_distance_from(ct, point.isocentre) for point in beam.control_points)
        if distance > _ROUNDING:
            notes.add(
                "isocentre-outside-ct",
                f"Beam {beam.number}: its isocentre ({called('IsocenterPosition')}) lies {distance:.1f} mm outside of "
                "the CT, inside expected. Check that the CT is the one planned on.",
            )


def _distance_from(grid: Grid, point: tuple[float, float, float]) -> float:
    """Distance of a point from the box of all voxels, mm; 0 inside."""
    return math.hypot(
        *(max(grid.low_face(axis) - point[axis], point[axis] - grid.high_face(axis), 0.0) for axis in range(3))
    )


def treatment_position(plan: Plan, ct: CtVolume, notes: Notes) -> PatientPosition:
    """The patient position in treatment: the plan's, else the CT's.

    Raises
    ------
    InputError
        When neither says.
    UnsupportedPlanError
        When one is supine and the other prone: the CT does not show the patient as treated.
    """
    if plan.patient_position is None:
        if ct.patient_position is None:
            raise InputError(
                "Neither the plan nor the CT says the Patient Position (0018,5100). Export the plan again with it."
            )
        notes.add(
            "plan-without-patient-position",
            f"The plan does not say the patient position; the CT's, {ct.patient_position}, was taken.",
        )
        return ct.patient_position
    if ct.patient_position is None:
        notes.add(
            "ct-without-patient-position",
            f"The CT does not say the patient position; the plan's, {plan.patient_position}, was taken.",
        )
    elif ct.patient_position[2] != plan.patient_position[2]:
        raise UnsupportedPlanError(
            f"The CT was taken {ct.patient_position}, but the plan treats {plan.patient_position}: the patient lies on "
            "the other side. Plan on a CT in treatment position."
        )
    elif ct.patient_position != plan.patient_position:
        notes.add(
            "patient-positions-differ",
            f"The CT was taken {ct.patient_position}, but the plan treats {plan.patient_position}; the beams were "
            "placed by the plan's position.",
        )
    return plan.patient_position


def choose_structure_set(files: Sequence[DicomFile], plan: Plan, ct: CtVolume, notes: Notes) -> DicomFile:
    """The structure set that the plan names, else the only one drawn in the CT's frame of reference.

    Raises
    ------
    InputError
        When there is none, or several and nothing says which.
    """
    if not files:
        raise InputError("No RTSTRUCT in the folder. Export the plan's structure set with it.")
    named = [file for file in files if plan.structure_set_uid and file.sop_instance_uid == plan.structure_set_uid]
    sharing = [file for file in files if ct.frame_of_reference in frames_of(file.dataset)]
    if named:
        if frames_of(named[0].dataset) == {""}:
            raise InputError(
                "The RTSTRUCT that the plan names states no frame of reference "
                f"({called('ReferencedFrameOfReferenceUID')}, {called('FrameOfReferenceUID')}), the CT's expected: "
                "nothing says where its contours lie. Export it again with it."
            )
        if named[0] not in sharing:
            raise InputError(
                "The RTSTRUCT that the plan names is drawn in another frame of reference (0020,0052) than the CT's. "
                "Export the CT that it was drawn on."
            )
        if len(files) > 1:
            notes.add(
                "structure-sets-not-used", f"{len(files) - 1} structure sets that the plan does not name ignored."
            )
        return named[0]
    if not sharing:
        raise InputError(
            f"{len(files)} RTSTRUCT found, none in the CT's frame of reference (0020,0052) and none that the plan "
            "names. Export the plan's own structure set."
        )
    if len(sharing) > 1:
        raise InputError(
            f"{len(sharing)} structure sets share the CT's frame of reference, and the plan names none of them. "
            "Keep the right one in the folder."
        )
    why = "is not the one that the plan names" if plan.structure_set_uid else "is not named by the plan"
    notes.add(
        "rtstruct-not-the-one-of-the-plan",
        f"The structure set {why}; it was used because it is the only one that shares the CT's frame of reference. "
        "Check that its structures are those of the plan.",
    )
    return sharing[0]


def frames_of(dataset: Dataset) -> set[str]:
    """Frames of reference that a structure set says it is drawn in."""
    rois = {text(roi, "ReferencedFrameOfReferenceUID") for roi in items(dataset, "StructureSetROISequence", _PLACE)}
    frames = {
        text(frame, "FrameOfReferenceUID") for frame in items(dataset, "ReferencedFrameOfReferenceSequence", _PLACE)
    }
    return (rois - {""}) or (frames - {""}) or {text(dataset, "FrameOfReferenceUID")}


def check_structures_against_ct(
    dataset: Dataset, structures: Sequence[DrawnStructure], ct: CtVolume, notes: Notes
) -> None:
    """Say which of the structure set's links to the CT series and its images are missing or broken.

    Raises
    ------
    InputError
        When slices are missing between others, or where a target or the body goes on past the scan.
    """
    series = _referenced_series(dataset)
    drawn_on = frozenset[str]().union(*(structure.image_uids for structure in structures)) - {""}
    if not series:
        notes.add(
            "rtstruct-names-no-series",
            "The structure set names no image series; it was taken to be drawn on the CT because it shares its frame "
            "of reference.",
        )
    elif ct.series not in {text(item, "SeriesInstanceUID") for item in series}:
        notes.add(
            "rtstruct-names-another-series",
            "The structure set names another image series than the CT's; it was used because it shares the CT's frame "
            "of reference. Check that the CT is the one planned on.",
        )
    else:
        listed = _images_of(series, ct.series, is_own=True)
        of_others = _images_of(series, ct.series, is_own=False)
        missing = {*listed, *drawn_on} - {*of_others} - ct.sop_instance_uids
        _refuse_missing_slices(dataset, listed, missing, ct)
        _refuse_cut_structures(structures, missing, ct)
        _note_missing_images(listed, ct, notes)
    strangers = len(drawn_on - ct.sop_instance_uids)
    if strangers:
        notes.add(
            "contours-name-other-images",
            f"Contours name {strangers} images that are not among the CT slices; they were placed by coordinates.",
        )


def _referenced_series(dataset: Dataset) -> list[Dataset]:
    return [
        series
        for frame in items(dataset, "ReferencedFrameOfReferenceSequence", _PLACE)
        for study in items(frame, "RTReferencedStudySequence", _PLACE)
        for series in items(study, "RTReferencedSeriesSequence", _PLACE)
    ]


def _images_of(series: Sequence[Dataset], uid: str, *, is_own: bool) -> list[str]:
    """Images listed of the series of that UID, or of all the others, each once and in the order of the list."""
    chosen = [item for item in series if (text(item, "SeriesInstanceUID") == uid) == is_own]
    listed = dict.fromkeys(image for item in chosen for image in references(item, "ContourImageSequence", _PLACE))
    return [image for image in listed if image]


def _refuse_missing_slices(dataset: Dataset, listed: Sequence[str], missing: set[str], ct: CtVolume) -> None:
    """Slices taken out evenly leave an even series, which cannot show it; the structure set can."""
    between = max(_missing_by_order(listed, ct), _missing_by_place(dataset, missing, ct))
    if between:
        raise InputError(
            f"CT missing a slice: images of the CT's series that the RTSTRUCT names ({called('ContourImageSequence')}) "
            f"and that should lie between the {len(ct.files)} slices found: {between}. Export the whole CT series."
        )


def _missing_by_order(listed: Sequence[str], ct: CtVolume) -> int:
    """Images left out between slices that are there, when the list runs up or down the scan."""
    index = {file.sop_instance_uid: number for number, file in enumerate(ct.files)}
    there = [(place, index[uid]) for place, uid in enumerate(listed) if uid in index]
    steps = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(there)]
    if not (all(slices > 0 for _, slices in steps) or all(slices < 0 for _, slices in steps)):
        return 0
    return sum(max(0, places - abs(slices)) for places, slices in steps)


def _missing_by_place(dataset: Dataset, missing: set[str], ct: CtVolume) -> int:
    """Missing images that contours were drawn on, between slices that are there and on none of them."""
    between = set()
    for uid, z in _drawn_on(dataset, missing):
        place = (z - ct.grid.origin[2]) / ct.grid.spacing[2]
        if 0 < place < ct.grid.size[2] - 1 and abs(place - round(place)) > _ON_A_SLICE:
            between.add(uid)
    return len(between)


def _drawn_on(dataset: Dataset, images: set[str]) -> Iterator[tuple[str, float]]:
    """Of the axial contours that name one of some images alone: the image and z, mm."""
    for roi in items(dataset, "ROIContourSequence", _PLACE) if images else []:
        for contour in items(roi, "ContourSequence", _PLACE):
            named = references(contour, "ContourImageSequence", _PLACE)
            if len(named) == 1 and named[0] in images:
                z = numbers(contour, "ContourData", _PLACE)[2::3]
                if len(z) and np.ptp(z) <= _ROUNDING:
                    yield named[0], float(z[0])


def _refuse_cut_structures(structures: Sequence[DrawnStructure], missing: set[str], ct: CtVolume) -> None:
    """A contour further than half a slice from the first or last slice was drawn on a slice that is not there."""
    for structure in structures if missing else ():
        kind = structure.interpreted_type or structure.name.strip().upper()
        if not structure.planes or not kind.startswith(_NEEDED_WHOLE):
            continue
        first = ct.grid.origin[2]
        last = first + (ct.grid.size[2] - 1) * ct.grid.spacing[2]
        beyond = max(structure.planes[-1].z - last, first - structure.planes[0].z)
        if beyond > 0.5 * ct.grid.spacing[2] + _ROUNDING:
            raise InputError(
                f"CT missing a slice: structure {structure.name} is drawn {beyond:g} mm past the end slice of the CT, "
                f"0 to {0.5 * ct.grid.spacing[2]:g} mm expected. Images that the RTSTRUCT names "
                f"({called('ContourImageSequence')}) and that are not among the {len(ct.files)} slices found: "
                f"{len(missing)}. Export the whole CT series."
            )


def _note_missing_images(listed: Sequence[str], ct: CtVolume, notes: Notes) -> None:
    missing = len(set(listed) - ct.sop_instance_uids)
    if missing:
        notes.add(
            "ct-images-missing",
            f"The structure set names {missing} images that are not among the {len(ct.files)} CT slices; the "
            "slices that are there are evenly spaced and were used.",
        )
