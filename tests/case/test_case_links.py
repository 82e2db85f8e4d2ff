"""Links between the files: the way round each broken one is said; structures as they are drawn."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from synthetic_dicom import DicomSet, circle, rectangle, slice_positions, structures

from gatecheck.case.model import Case
from gatecheck.phantoms.dicom_writer import StructureDrawing

Ingested = Callable[[], Case]
Refusal = Callable[[], str]
Codes = Callable[[Case], set[str]]


def another_structure_set(dicom_set: DicomSet, *, frame: str | None = None) -> None:
    shutil.copy(dicom_set.file("RTSTRUCT"), dicom_set.file("RTSTRUCT_2"))

    def change(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = "1.2.7"
        dataset.StructureSetROISequence[1].ROIName = "OTHER"
        if frame is not None:
            for roi in dataset.StructureSetROISequence:
                roi.ReferencedFrameOfReferenceUID = frame

    dicom_set.edit("RTSTRUCT_2", change)


def name_another(plan: Dataset) -> None:
    plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def test_of_several_structure_sets_the_one_that_the_plan_names_is_used(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes
) -> None:
    another_structure_set(dicom_set)
    case = ingested()
    assert [structure.name for structure in case.structures] == ["BODY", "GTV"]
    assert "structure-sets-not-used" in codes(case)


def test_a_structure_set_that_the_plan_does_not_name_is_used_with_a_warning(
    dicom_set: DicomSet, ingested: Ingested
) -> None:
    dicom_set.edit("RTPLAN", name_another)
    case = ingested()
    message = next(w.message for w in case.warnings if w.code == "rtstruct-not-the-one-of-the-plan")
    assert "is not the one that the plan names" in message
    assert "the only one that shares the CT's frame of reference" in message


def test_of_several_unnamed_structure_sets_the_only_one_in_the_frame_of_the_ct_is_used(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes
) -> None:
    dicom_set.edit("RTPLAN", lambda plan: delattr(plan, "ReferencedStructureSetSequence"))
    another_structure_set(dicom_set, frame="1.2.99")
    case = ingested()
    assert [structure.name for structure in case.structures] == ["BODY", "GTV"]
    assert "rtstruct-not-the-one-of-the-plan" in codes(case)


def test_several_structure_sets_of_which_the_plan_names_none_are_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit("RTPLAN", name_another)
    another_structure_set(dicom_set)
    assert "2 structure sets share the CT's frame of reference, and the plan names none of them" in refusal()


def test_a_structure_set_of_another_frame_of_reference_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    def move(dataset: Dataset) -> None:
        for roi in dataset.StructureSetROISequence:
            roi.ReferencedFrameOfReferenceUID = "1.2.99"

    dicom_set.edit("RTSTRUCT", move)
    assert "drawn in another frame of reference" in refusal()


def test_one_structure_of_another_frame_of_reference_is_left_out(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes
) -> None:
    dicom_set.edit(
        "RTSTRUCT", lambda data: setattr(data.StructureSetROISequence[0], "ReferencedFrameOfReferenceUID", "1.2.99")
    )
    case = ingested()
    assert [structure.name for structure in case.structures] == ["GTV"]
    assert "structure-of-another-frame" in codes(case)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: delattr(data, "ReferencedFrameOfReferenceSequence"), "rtstruct-names-no-series"),
        (
            lambda data: setattr(
                data.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0],
                "SeriesInstanceUID",
                "1.2.3",
            ),
            "rtstruct-names-another-series",
        ),
        (
            lambda data: (
                data.ReferencedFrameOfReferenceSequence[0]
                .RTReferencedStudySequence[0]
                .RTReferencedSeriesSequence[0]
                .ContourImageSequence[0]
                .__setattr__("ReferencedSOPInstanceUID", "1.2.3")
            ),
            "ct-images-missing",
        ),
        (
            lambda data: (
                data.ROIContourSequence[0]
                .ContourSequence[0]
                .ContourImageSequence[0]
                .__setattr__("ReferencedSOPInstanceUID", "1.2.3")
            ),
            "contours-name-other-images",
        ),
        (lambda data: delattr(data, "RTROIObservationsSequence"), "rtstruct-without-types"),
    ],
)
def test_a_broken_link_of_the_structure_set_is_said(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes, change: Callable[[Dataset], None], code: str
) -> None:
    dicom_set.edit("RTSTRUCT", change)
    assert codes(ingested()) == {"beams-without-meterset", code}


def test_a_ct_whose_last_slice_is_missing_is_said(dicom_set: DicomSet, ingested: Ingested, codes: Codes) -> None:
    """An even series cannot show that an end is missing, but the structure set's list of images can."""
    dicom_set.file("CT_007").unlink()
    case = ingested()
    assert {"ct-images-missing", "contours-name-other-images", "structure-beyond-ct"} <= codes(case)


def test_a_plan_without_frame_of_reference_needs_the_patient_id(
    dicom_set: DicomSet, ingested: Ingested, refusal: Refusal, codes: Codes
) -> None:
    dicom_set.edit("RTPLAN", lambda plan: delattr(plan, "FrameOfReferenceUID"))
    assert "plan-without-frame-of-reference" in codes(ingested())
    (dicom_set.folder.parent / "case" / "case.json").unlink()
    dicom_set.edit("RTPLAN", lambda plan: setattr(plan, "PatientID", "PLANTED-ID-2"))
    assert "nothing says that they belong together" in refusal()


def test_different_patient_ids_in_one_frame_of_reference_are_said(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes
) -> None:
    dicom_set.edit("RTPLAN", lambda plan: setattr(plan, "PatientID", "PLANTED-ID-2"))
    assert "patient-ids-differ" in codes(ingested())


def test_structures_of_one_name_are_told_apart_by_number(dicom_set: DicomSet, ingested: Ingested, codes: Codes) -> None:
    z = slice_positions()
    ring = StructureDrawing(7, "GTV", "", (1, 2, 3), [circle(4.0, z[3])])
    nameless = StructureDrawing(9, "", "", (1, 2, 3), [circle(4.0, z[3])])
    dicom_set.draw([*structures(), ring, nameless])
    case = ingested()
    assert [structure.name for structure in case.structures] == ["BODY", "GTV #2", "GTV #7", "structure #9"]
    assert "structure-names-repeated" in codes(case)
    assert len({structure.mask for structure in case.structures}) == 4


def test_empty_point_and_tilted_structures_do_not_stop_the_case(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes
) -> None:
    z = slice_positions()
    tilted = circle(5.0, 0.0)
    tilted[:, 2] = 0.1 * tilted[:, 0]
    dicom_set.draw(
        [
            *structures(),
            StructureDrawing(3, "EMPTY", "ORGAN", (1, 2, 3), []),
            StructureDrawing(4, "POINT", "ISOCENTER", (1, 2, 3), [np.array([[0.0, 0.0, z[3]]])]),
            StructureDrawing(5, "TILTED", "ORGAN", (1, 2, 3), [tilted]),
        ]
    )
    dicom_set.edit(
        "RTSTRUCT",
        lambda data: setattr(data.ROIContourSequence[3].ContourSequence[0], "ContourGeometricType", "POINT"),
    )
    case = ingested()
    assert [structure.mask is None for structure in case.structures] == [False, False, True, True, True]
    assert [structure.volume_ml for structure in case.structures[2:]] == [0.0, 0.0, 0.0]
    assert {"structure-empty", "contours-not-closed", "structure-not-axial"} <= codes(case)


def test_a_structure_set_without_any_volume_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    far = [rectangle(500, 520, 500, 520, at) for at in slice_positions()]
    dicom_set.draw([StructureDrawing(1, "FAR", "ORGAN", (1, 2, 3), far)])
    assert "No structure of the RTSTRUCT has a volume inside the CT" in refusal()


def test_contours_with_fewer_numbers_than_points_are_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit(
        "RTSTRUCT",
        lambda data: setattr(data.ROIContourSequence[1].ContourSequence[0], "NumberOfContourPoints", 401),
    )
    assert "Structure GTV, contour 1 of 3: Contour Data (3006,0050) has 1200 numbers" in refusal()


def test_a_structure_set_without_structures_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit("RTSTRUCT", lambda data: setattr(data, "StructureSetROISequence", Sequence([])))
    assert "RTSTRUCT has no structures" in refusal()
