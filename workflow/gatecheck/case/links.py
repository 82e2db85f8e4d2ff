"""Checks that the files belong together, and says the way round each broken link."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from gatecheck.case.attributes import Notes, items, references, text
from gatecheck.case.contours import DrawnStructure
from gatecheck.case.ct import CtVolume
from gatecheck.case.folder import DicomFile
from gatecheck.case.model import PatientPosition
from gatecheck.case.plan import Plan
from gatecheck.errors import InputError, UnsupportedPlanError

_PLACE = "RTSTRUCT"


def check_plan_against_ct(plan: Plan, ct: CtVolume, notes: Notes) -> None:
    """The plan's isocentres are given in the CT's frame of reference.

    Raises
    ------
    InputError
        When the plan's frame of reference is another one, or when neither it nor the patient ID links the two.
    """
    same_patient = text(plan.file.dataset, "PatientID") == text(ct.files[0].dataset, "PatientID")
    if not plan.frame_of_reference:
        if not same_patient:
            raise InputError(
                "RTPLAN has no Frame of Reference UID (0020,0052) and another Patient ID (0010,0020) than the CT: "
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
    if not same_patient:
        notes.add(
            "patient-ids-differ",
            "CT and plan carry different Patient IDs (0010,0020); they were taken to belong together because they "
            "share the frame of reference. Check that they are of one patient.",
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
    sharing = [file for file in files if ct.frame_of_reference in _frames(file.dataset)]
    if named:
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


def _frames(dataset: Dataset) -> set[str]:
    """Frames of reference that a structure set says it is drawn in."""
    rois = {text(roi, "ReferencedFrameOfReferenceUID") for roi in items(dataset, "StructureSetROISequence", _PLACE)}
    frames = {
        text(frame, "FrameOfReferenceUID") for frame in items(dataset, "ReferencedFrameOfReferenceSequence", _PLACE)
    }
    return (rois - {""}) or (frames - {""}) or {text(dataset, "FrameOfReferenceUID")}


def check_structures_against_ct(
    dataset: Dataset, structures: Sequence[DrawnStructure], ct: CtVolume, notes: Notes
) -> None:
    """Say which of the structure set's links to the CT series and its images are missing or broken."""
    series = list(_referenced_series(dataset))
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
        listed = {uid for item in series for uid in references(item, "ContourImageSequence", _PLACE)}
        missing = len(listed - ct.sop_instance_uids)
        if missing:
            notes.add(
                "ct-images-missing",
                f"The structure set names {missing} images that are not among the {len(ct.files)} CT slices; the "
                "slices that are there are evenly spaced and were used.",
            )
    drawn_on = frozenset[str]().union(*(structure.image_uids for structure in structures)) - {""}
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
