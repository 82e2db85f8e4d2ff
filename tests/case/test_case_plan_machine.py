"""What lies in the beam or moves with the couch is refused; another machine than the modelled one is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset
from synthetic_dicom import SECRETS, DicomSet, beam, control_point

from gatecheck.case.model import Case

Ingested = Callable[[], Case]
Refusal = Callable[[], str]


def warning_of(case: Case, code: str) -> str:
    (message,) = (warning.message for warning in case.warnings if warning.code == code)
    assert not any(secret in message for secret in SECRETS)
    return message


TABLE_TOP = [
    ("TableTopVerticalPosition", "Table Top Vertical Position (300A,0128)"),
    ("TableTopLongitudinalPosition", "Table Top Longitudinal Position (300A,0129)"),
    ("TableTopLateralPosition", "Table Top Lateral Position (300A,012A)"),
]


def table_top(keyword: str, positions: list[str | None]) -> Callable[[Dataset], None]:
    def move(item: Dataset) -> None:
        for point, position in zip(item.ControlPointSequence, positions, strict=True):
            setattr(point, keyword, position)

    return move


@pytest.mark.parametrize(("keyword", "name"), TABLE_TOP)
def test_a_couch_that_moves_within_a_beam_is_refused(
    dicom_set: DicomSet, refusal: Refusal, keyword: str, name: str
) -> None:
    dicom_set.plan([beam(1, control_points=tuple(control_point(weight) for weight in (0.0, 0.5, 1.0)))])
    dicom_set.edit_beam(table_top(keyword, ["-155.5", None, "-154.8"]))
    assert f"Beam 1, control point 2: {name} has changed by 0.7 mm since control point 0" in refusal()


@pytest.mark.parametrize(("keyword", "_name"), TABLE_TOP)
def test_where_the_couch_stands_does_not_matter(
    dicom_set: DicomSet, ingested: Ingested, keyword: str, _name: str
) -> None:
    dicom_set.edit_beam(table_top(keyword, ["1239.4", "1239.8"]))
    dicom_set.edit_beam(table_top(keyword, ["12.0", None]), index=1)
    assert len(ingested().beams) == 2


@pytest.mark.parametrize(
    ("keyword", "value", "name"),
    [
        ("TotalBlockTrayFactor", "0.97", "a block tray (Total Block Tray Factor (300A,00F2) is 0.97, 1 expected)"),
        (
            "TotalCompensatorTrayFactor",
            "0.96",
            "a compensator tray (Total Compensator Tray Factor (300A,00E2) is 0.96, 1 expected)",
        ),
        (
            "TotalWedgeTrayWaterEquivalentThickness",
            5.0,
            "a wedge tray (Total Wedge Tray Water-Equivalent Thickness (300A,00D7) is 5, 0 expected)",
        ),
        (
            "TotalBlockTrayWaterEquivalentThickness",
            6.5,
            "a block tray (Total Block Tray Water-Equivalent Thickness (300A,00F3) is 6.5, 0 expected)",
        ),
        (
            "TotalCompensatorTrayWaterEquivalentThickness",
            4.0,
            "a compensator tray (Total Compensator Tray Water-Equivalent Thickness (300A,02E3) is 4, 0 expected)",
        ),
    ],
)
def test_a_tray_without_anything_on_it_is_refused(
    dicom_set: DicomSet, refusal: Refusal, keyword: str, value: str | float, name: str
) -> None:
    dicom_set.edit_beam(lambda item: setattr(item, keyword, value), index=1)
    assert f"Beam 2 uses {name}" in refusal()


def test_tray_attributes_that_mean_no_tray_pass(dicom_set: DicomSet, ingested: Ingested) -> None:
    def without_tray(item: Dataset) -> None:
        item.TotalBlockTrayFactor = "1.0"
        item.TotalCompensatorTrayFactor = None
        item.TotalWedgeTrayWaterEquivalentThickness = 0.0

    dicom_set.edit_beam(without_tray)
    assert len(ingested().beams) == 2


def test_beams_of_several_machines_are_said(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.plan([beam(1), beam(2, machine_name="PLANTED-ID"), beam(3)])
    message = warning_of(ingested(), "several-machines")
    assert "name 2 machines (Treatment Machine Name (300A,00B2)): Beam 1, Beam 3; Beam 2" in message
    dicom_set.plan([beam(1), beam(2, machine_name="")])
    assert "several-machines" not in codes(ingested())


def test_a_fluence_mode_that_is_not_stated_is_assumed_flattened_and_said(
    dicom_set: DicomSet, ingested: Ingested
) -> None:
    dicom_set.edit_beam(lambda item: delattr(item, "PrimaryFluenceModeSequence"), index=1)
    case = ingested()
    assert case.beams[1].fluence_mode == "STANDARD"
    message = warning_of(case, "fluence-mode-not-stated")
    assert message.startswith("Beam 2: Primary Fluence Mode Sequence (3002,0050) is missing; a flattened beam")


@pytest.mark.parametrize(("identifier", "is_refused"), [("FFF", True), ("6x-srs", True), ("Flat", False), ("", False)])
def test_a_standard_fluence_mode_by_the_name_of_another_is_refused(
    dicom_set: DicomSet, ingested: Ingested, refusal: Refusal, identifier: str, is_refused: bool
) -> None:
    dicom_set.edit_beam(lambda item: setattr(item.PrimaryFluenceModeSequence[0], "FluenceModeID", identifier))
    if is_refused:
        expected = "Beam 1: Fluence Mode (3002,0051) is STANDARD, but Fluence Mode ID (3002,0052) says FFF or SRS"
        assert expected in refusal()
    else:
        assert ingested().beams[0].fluence_mode == "STANDARD"


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ("Clinac iX", "Clinac"),
        ("21iX", "iX"),
        ("Trilogy", "Trilogy"),
        ("HALCYON", "Halcyon"),
        ("Ethos", "Ethos"),
        ("Elekta Synergy", "Synergy"),
        ("VersaHD", "Versa"),
        ("Infinity", "Infinity"),
        ("UNIQUE", "Unique"),
    ],
)
def test_a_model_that_is_no_truebeam_is_said(dicom_set: DicomSet, ingested: Ingested, model: str, word: str) -> None:
    dicom_set.edit_beam(lambda item: setattr(item, "ManufacturerModelName", model))
    message = warning_of(ingested(), "not-a-truebeam")
    assert message.startswith(f"Beam 1: Manufacturer's Model Name (0008,1090) says {word}")


@pytest.mark.parametrize("model", ["TDS", "", "TrueBeam STx", "Edge", "VitalBeam", "Phoenix", "Matrixx"])
def test_a_model_that_may_be_a_truebeam_passes_without_a_word(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]], model: str
) -> None:
    dicom_set.edit_beam(lambda item: setattr(item, "ManufacturerModelName", model))
    assert "not-a-truebeam" not in codes(ingested())
