"""The TPS dose: any axial grid, either form of frame offsets, the plan's sum or all its beams."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from synthetic_dicom import IDENTITY, UIDS, DicomSet

from gatecheck.case.model import Case
from gatecheck.files import array_zyx, read_image
from gatecheck.phantoms.dicom_writer import write_dose

Ingested = Callable[[], Case]
Refusal = Callable[[], str]


def expected_zyx() -> np.ndarray:
    z, y, x = np.indices((4, 5, 6))
    return 1.0 + x + 10.0 * y + 100.0 * z


def dose_of(case: Case, out: Path) -> np.ndarray:
    assert case.tps_dose is not None
    np.testing.assert_allclose(case.tps_dose.image.origin, (-10, -8, -6), atol=1e-9)
    np.testing.assert_allclose(case.tps_dose.image.spacing, (4, 4, 4), atol=1e-9)
    return array_zyx(read_image(out / case.tps_dose.image.file))


@pytest.mark.parametrize(("bits", "tolerance"), [(16, 346 / 65534), (32, 1e-4)])
def test_doses_of_16_and_32_bits_are_read(
    dicom_set: DicomSet, ingested: Ingested, out: Path, bits: int, tolerance: float
) -> None:
    write_dose(
        dicom_set.folder,
        expected_zyx(),
        origin=(-10, -8, -6),
        spacing=(4, 4, 4),
        identity=IDENTITY,
        uids=UIDS,
        bits=bits,
    )
    np.testing.assert_allclose(dose_of(ingested(), out), expected_zyx(), atol=tolerance)


def absolute(dose: Dataset) -> None:
    dose.GridFrameOffsetVector = ["-6", "-2", "2", "6"]


def downwards(dose: Dataset) -> None:
    dose.PixelData = np.ascontiguousarray(dose.pixel_array[::-1]).tobytes()
    dose.GridFrameOffsetVector = ["0", "-4", "-8", "-12"]
    dose.ImagePositionPatient = ["-10", "-8", "6"]


def feet_first_supine(dose: Dataset) -> None:
    """Rows along -x, so that the frames' normal, row times column, is -z and positive offsets go to the feet."""
    dose.PixelData = np.ascontiguousarray(dose.pixel_array[::-1, :, ::-1]).tobytes()
    dose.ImageOrientationPatient = ["-1", "0", "0", "0", "1", "0"]
    dose.ImagePositionPatient = ["10", "-8", "6"]


def prone(dose: Dataset) -> None:
    dose.PixelData = np.ascontiguousarray(dose.pixel_array[:, ::-1, ::-1]).tobytes()
    dose.ImageOrientationPatient = ["-1", "0", "0", "0", "-1", "0"]
    dose.ImagePositionPatient = ["10", "8", "-6"]


@pytest.mark.parametrize("change", [absolute, downwards, feet_first_supine, prone])
def test_every_way_to_store_a_grid_gives_the_same_dose(
    dicom_set: DicomSet, ingested: Ingested, out: Path, change: Callable[[Dataset], None]
) -> None:
    dicom_set.edit("RTDOSE", change)
    np.testing.assert_allclose(dose_of(ingested(), out), expected_zyx(), atol=1e-4)


def of_beam(number: int, factor: float) -> Callable[[Dataset], None]:
    def change(dose: Dataset) -> None:
        beam = Dataset()
        beam.ReferencedBeamNumber = number
        group = Dataset()
        group.ReferencedFractionGroupNumber = 1
        group.ReferencedBeamSequence = Sequence([beam])
        dose.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence = Sequence([group])
        dose.DoseSummationType = "BEAM"
        dose.SOPInstanceUID = f"1.2.{number}"
        dose.DoseGridScaling = f"{float(dose.DoseGridScaling) * factor:.9e}"

    return change


def split_into_beams(dicom_set: DicomSet, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        shutil.copy(dicom_set.file("RTDOSE"), dicom_set.file(f"RTDOSE_{number}"))
        dicom_set.edit(f"RTDOSE_{number}", of_beam(number, 0.25 * number))
    dicom_set.file("RTDOSE").unlink()


def test_doses_of_all_beams_are_added(dicom_set: DicomSet, ingested: Ingested, out: Path) -> None:
    split_into_beams(dicom_set, (1, 2))
    case = ingested()
    assert case.tps_dose is not None
    assert case.tps_dose.summation_type == "BEAM"
    assert {"rtdose-01", "rtdose-02"} <= set(case.files)
    np.testing.assert_allclose(dose_of(case, out), 0.75 * expected_zyx(), rtol=1e-6)


def test_a_beam_without_its_dose_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    split_into_beams(dicom_set, (2,))
    assert "no dose of the whole plan, and none of beam 1" in refusal()


def test_beams_on_different_grids_are_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    split_into_beams(dicom_set, (1, 2))
    dicom_set.edit("RTDOSE_2", lambda dose: setattr(dose, "ImagePositionPatient", ["-9", "-8", "-6"]))
    assert "different grids" in refusal()


def test_the_sum_of_the_plan_is_preferred_to_its_beams(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    shutil.copy(dicom_set.file("RTDOSE"), dicom_set.file("RTDOSE_1"))
    dicom_set.edit("RTDOSE_1", of_beam(1, 0.25))
    case = ingested()
    assert case.tps_dose is not None
    assert case.tps_dose.summation_type == "PLAN"
    assert case.tps_dose.maximum_gy == pytest.approx(346)
    assert "rtdose-not-used" in codes(case)


def second_dose(dicom_set: DicomSet, change: Callable[[Dataset], None]) -> None:
    shutil.copy(dicom_set.file("RTDOSE"), dicom_set.file("RTDOSE_second"))
    dicom_set.edit("RTDOSE_second", lambda dose: (setattr(dose, "SOPInstanceUID", "1.2.9"), change(dose)))


def test_two_sums_of_the_plan_are_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    second_dose(dicom_set, lambda dose: None)
    assert "2 RTDOSE of the whole plan found, 1 expected" in refusal()


def test_an_effective_dose_beside_the_physical_one_is_not_used(dicom_set: DicomSet, ingested: Ingested) -> None:
    second_dose(dicom_set, lambda dose: setattr(dose, "DoseType", "EFFECTIVE"))
    assert ingested().tps_dose is not None


def test_the_dose_of_another_plan_is_not_used(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    second_dose(dicom_set, lambda dose: setattr(dose.ReferencedRTPlanSequence[0], "ReferencedSOPInstanceUID", "1.2"))
    case = ingested()
    assert case.tps_dose is not None
    assert case.tps_dose.maximum_gy == pytest.approx(346)
    assert "rtdose-of-other-plans" in codes(case)


def name_plans(*uids: str) -> Callable[[Dataset], None]:
    def change(dose: Dataset) -> None:
        plans = []
        for uid in uids:
            plan = Dataset()
            plan.ReferencedSOPInstanceUID = uid
            plans.append(plan)
        dose.ReferencedRTPlanSequence = Sequence(plans)

    return change


@pytest.mark.parametrize(
    ("uids", "code", "expected"),
    [
        (("1.2.3",), "rtdose-of-other-plans", "(300C,0002) names another plan than the RTPLAN"),
        ((UIDS.plan, "1.2.3"), "rtdose-of-several-plans", "(300C,0002) names other plans beside the RTPLAN"),
    ],
)
def test_the_only_dose_is_left_out_when_it_is_of_another_plan_too(
    dicom_set: DicomSet, ingested: Ingested, uids: tuple[str, ...], code: str, expected: str
) -> None:
    dicom_set.edit("RTDOSE", name_plans(*uids))
    case = ingested()
    assert case.tps_dose is None
    assert "rtdose" not in case.files
    messages = {warning.code: warning.message for warning in case.warnings}
    assert expected in messages[code]
    assert "No RTDOSE of the plan" in messages["no-tps-dose"]


def test_a_dose_that_names_the_plan_twice_is_its_dose(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.edit("RTDOSE", name_plans(UIDS.plan, UIDS.plan))
    case = ingested()
    assert case.tps_dose is not None
    assert codes(case) == {"beams-without-meterset"}


def test_a_dose_of_several_plans_does_not_stand_in_the_way_of_the_plans_own(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    second_dose(dicom_set, name_plans(UIDS.plan, "1.2.3"))
    case = ingested()
    assert case.tps_dose is not None
    assert codes(case) == {"beams-without-meterset", "rtdose-of-several-plans"}


def test_a_dose_that_names_no_plan_is_ignored_beside_one_that_does(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    second_dose(dicom_set, lambda dose: delattr(dose, "ReferencedRTPlanSequence"))
    case = ingested()
    assert case.tps_dose is not None
    assert codes(case) == {"beams-without-meterset", "rtdose-without-plan"}


def test_a_dose_that_names_no_plan_is_used_where_the_others_are_of_other_plans(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.edit("RTDOSE", name_plans("1.2.3"))
    second_dose(dicom_set, lambda dose: delattr(dose, "ReferencedRTPlanSequence"))
    case = ingested()
    assert case.tps_dose is not None
    assert codes(case) == {"beams-without-meterset", "rtdose-of-other-plans", "rtdose-does-not-name-the-plan"}


def test_one_dose_that_names_no_plan_is_used_with_a_warning_and_two_are_refused(
    dicom_set: DicomSet, ingested: Ingested, refusal: Refusal, out: Path, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.edit("RTDOSE", lambda dose: delattr(dose, "ReferencedRTPlanSequence"))
    assert "rtdose-does-not-name-the-plan" in codes(ingested())
    (out / "case.json").unlink()
    second_dose(dicom_set, lambda dose: None)
    assert "2 RTDOSE found, and none names the plan" in refusal()


def test_without_a_dose_the_case_says_so(
    dicom_set: DicomSet, ingested: Ingested, out: Path, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.file("RTDOSE").unlink()
    case = ingested()
    assert case.tps_dose is None
    assert not (out / "tps_dose.mha").exists()
    assert "no-tps-dose" in codes(case)


def test_a_dose_with_histograms_only_is_not_a_dose(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    def keep_histograms(dose: Dataset) -> None:
        for keyword in ("PixelData", "Rows", "Columns", "GridFrameOffsetVector"):
            delattr(dose, keyword)
        dose.DVHSequence = Sequence([Dataset()])

    dicom_set.edit("RTDOSE", keep_histograms)
    assert {"rtdose-without-grid", "no-tps-dose"} <= codes(ingested())


def test_a_dose_far_below_the_prescription_is_said(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.edit(
        "RTDOSE", lambda dose: setattr(dose, "DoseGridScaling", f"{float(dose.DoseGridScaling) * 4 / 346:.9e}")
    )
    assert "tps-dose-below-prescription" in codes(ingested())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda dose: setattr(dose, "DoseUnits", "RELATIVE"), "Dose Units (3004,0002) is not GY"),
        (lambda dose: setattr(dose, "DoseType", "EFFECTIVE"), "Dose Type (3004,0004) is not PHYSICAL"),
        (
            lambda dose: setattr(dose, "DoseSummationType", "FRACTION"),
            "Dose Summation Type (3004,000A) PLAN is expected",
        ),
        (lambda dose: setattr(dose, "GridFrameOffsetVector", ["0", "4", "8"]), "4 frames and 3 values"),
        (lambda dose: setattr(dose, "GridFrameOffsetVector", ["0", "4", "8", "13"]), "not evenly spaced (4 to 5 mm)"),
        (lambda dose: setattr(dose, "GridFrameOffsetVector", ["1", "5", "9", "13"]), "begins neither at 0"),
        (lambda dose: setattr(dose, "PixelData", bytes(len(dose.PixelData))), "the dose is zero everywhere"),
        (lambda dose: setattr(dose, "ImagePositionPatient", ["-10", "-8", "600"]), "its grid lies outside of the CT"),
        (lambda dose: setattr(dose, "ImageOrientationPatient", ["1", "0", "0", "0", "0", "-1"]), "oblique, coronal"),
        (lambda dose: delattr(dose, "DoseGridScaling"), "Dose Grid Scaling (3004,000E) is missing"),
    ],
)
def test_a_dose_that_cannot_be_compared_is_refused(
    dicom_set: DicomSet, refusal: Refusal, change: Callable[[Dataset], None], expected: str
) -> None:
    dicom_set.edit("RTDOSE", change)
    assert expected in refusal()
