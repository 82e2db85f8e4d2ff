"""Links between the files: the way round each broken one is said; structures as they are drawn."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from synthetic_dicom import DicomSet, beam, circle, control_point, rectangle, slice_positions, structures

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


def shortened_body() -> list[StructureDrawing]:
    """A body that ends one slice before the CT does, and an organ that goes on."""
    body, gtv = structures()
    organ = StructureDrawing(3, "LUNG", "ORGAN", (1, 2, 3), body.contours)
    return [StructureDrawing(1, "BODY", "EXTERNAL", (0, 255, 0), body.contours[:-1]), gtv, organ]


def test_a_ct_whose_last_slice_is_missing_is_said(dicom_set: DicomSet, ingested: Ingested, codes: Codes) -> None:
    """An even series cannot show that an end is missing, but the structure set's list of images can."""
    dicom_set.draw(shortened_body())
    dicom_set.file("CT_007").unlink()
    case = ingested()
    assert {"ct-images-missing", "contours-name-other-images", "structure-beyond-ct"} <= codes(case)


@pytest.mark.parametrize(("slices", "past"), [((7,), 4), ((6, 7), 8), ((1,), 4)])
def test_a_ct_that_ends_before_the_body_or_a_target_does_is_refused(
    dicom_set: DicomSet, refusal: Refusal, slices: tuple[int, ...], past: int
) -> None:
    for index in slices:
        dicom_set.file(f"CT_{index:03d}").unlink()
    message = refusal()
    assert f"CT missing a slice: structure BODY is drawn {past} mm past the end slice of the CT" in message
    assert "(Contour Image Sequence (3006,0016))" in message
    assert f"slices found: {len(slices)}. Export the whole CT series" in message


@pytest.mark.parametrize(("interpreted_type", "name"), [("PTV", "target"), ("", "CTVp"), ("", "Body")])
def test_a_target_or_body_past_the_scan_is_known_by_type_or_by_name(
    dicom_set: DicomSet, refusal: Refusal, interpreted_type: str, name: str
) -> None:
    body, gtv = structures()
    tall = StructureDrawing(3, name, interpreted_type, (1, 2, 3), body.contours)
    dicom_set.draw([gtv, tall])
    dicom_set.file("CT_007").unlink()
    assert f"structure {name} is drawn 4 mm past the end slice" in refusal()


def keep_every_second_slice(dicom_set: DicomSet) -> None:
    for index in (2, 4, 6):
        dicom_set.file(f"CT_{index:03d}").unlink()


def test_a_ct_without_every_second_slice_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    """What is left is evenly spaced; only the structure set knows."""
    keep_every_second_slice(dicom_set)
    message = refusal()
    assert "CT missing a slice: images of the CT's series that the RTSTRUCT names (Contour Image Sequence" in message
    assert "between the 4 slices found: 3. Export the whole CT series" in message


def images_of_series(dataset: Dataset) -> Sequence:
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    return study.RTReferencedSeriesSequence[0].ContourImageSequence


def test_missing_slices_are_placed_by_the_order_of_the_list_where_no_contour_was_drawn_on_them(
    dicom_set: DicomSet, refusal: Refusal
) -> None:
    z = slice_positions()
    dicom_set.draw([StructureDrawing(1, "GTV", "GTV", (1, 2, 3), [circle(8.0, z[2])])])
    keep_every_second_slice(dicom_set)
    assert "between the 4 slices found: 3" in refusal()
    dicom_set.edit("RTSTRUCT", lambda data: images_of_series(data).reverse())
    assert "between the 4 slices found: 3" in refusal()


def test_missing_slices_are_placed_by_contours_where_the_list_is_in_no_order(
    dicom_set: DicomSet, refusal: Refusal
) -> None:
    def shuffle(dataset: Dataset) -> None:
        images = images_of_series(dataset)
        images[:] = [images[index] for index in (4, 1, 6, 3, 0, 5, 2)]

    dicom_set.edit("RTSTRUCT", shuffle)
    keep_every_second_slice(dicom_set)
    assert "between the 4 slices found: 3" in refusal()


def test_missing_images_of_another_series_do_not_stop_the_case(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes
) -> None:
    """As an MR on which the contours were drawn too."""

    def add_series(dataset: Dataset) -> None:
        series = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence
        other, image = Dataset(), Dataset()
        image.ReferencedSOPInstanceUID = "1.2.3.4"
        other.SeriesInstanceUID = "1.2.3"
        other.ContourImageSequence = Sequence([image])
        series.append(other)

    dicom_set.edit("RTSTRUCT", add_series)
    assert codes(ingested()) == {"beams-without-meterset"}


def test_a_named_structure_set_that_states_no_frame_of_reference_is_refused_as_such(
    dicom_set: DicomSet, refusal: Refusal
) -> None:
    def state_none(dataset: Dataset) -> None:
        for roi in dataset.StructureSetROISequence:
            del roi.ReferencedFrameOfReferenceUID
        del dataset.ReferencedFrameOfReferenceSequence
        del dataset.FrameOfReferenceUID

    dicom_set.edit("RTSTRUCT", state_none)
    message = refusal()
    assert "states no frame of reference (Referenced Frame of Reference UID (3006,0024)" in message
    assert "drawn in another frame" not in message


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


@pytest.mark.parametrize("kind", ["RTSTRUCT", "RTDOSE"])
def test_a_structure_set_or_dose_of_another_patient_is_refused_without_an_id(
    dicom_set: DicomSet, refusal: Refusal, kind: str
) -> None:
    dicom_set.edit(kind, lambda data: setattr(data, "PatientID", "PLANTED-ID-2"))
    assert f"The {kind} has another Patient ID (0010,0020) than the other files" in refusal()


@pytest.mark.parametrize("kind", ["RTSTRUCT", "RTDOSE", "RTPLAN", "CT"])
def test_an_empty_patient_id_contradicts_nothing(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes, kind: str
) -> None:
    names = [path.stem for path in dicom_set.folder.glob("CT_*.dcm")] if kind == "CT" else [kind]
    for name in names:
        dicom_set.edit(name, lambda data: setattr(data, "PatientID", ""))
    assert codes(ingested()) == {"beams-without-meterset"}


def test_structure_set_and_dose_of_two_patients_are_refused_where_ct_and_plan_say_none(
    dicom_set: DicomSet, refusal: Refusal
) -> None:
    for path in dicom_set.folder.glob("*.dcm"):
        if path.stem not in ("RTSTRUCT", "RTDOSE"):
            dicom_set.edit(path.stem, lambda data: setattr(data, "PatientID", ""))
    dicom_set.edit("RTDOSE", lambda data: setattr(data, "PatientID", "PLANTED-ID-2"))
    assert "The RTDOSE has another Patient ID (0010,0020)" in refusal()


def test_an_isocentre_outside_of_the_ct_is_said_with_beam_and_distance(dicom_set: DicomSet, ingested: Ingested) -> None:
    far = tuple(control_point(weight, isocentre=(1.0, 2.0, 3014.0)) for weight in (0.0, 1.0))
    dicom_set.plan([beam(1), beam(2, control_points=far)])
    (message,) = [w.message for w in ingested().warnings if w.code == "isocentre-outside-ct"]
    assert message.startswith("Beam 2: its isocentre (Isocenter Position (300A,012C)) lies 3000.0 mm outside of the CT")


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
