"""Names of structures and beams that name the patient: what is taken out, and what must stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from synthetic_dicom import DicomSet

from gatecheck.case.identity import _pattern, _secrets, without_identity
from gatecheck.case.ingest import ingest
from gatecheck.case.model import Case

Ingested = Callable[[], Case]


def patient(**attributes: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def cleaned(given: str, **attributes: str) -> str:
    return without_identity(given, _pattern(_secrets(patient(**attributes))))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("GTV Müller", "GTV [removed]"),
        ("MÜLLER_PTV", "[removed]_PTV"),
        ("ptv-anna-boost", "ptv-[removed]-boost"),
        ("GTV 4711-08 old", "GTV [removed] old"),
        ("PTV_20240312", "PTV_[removed]"),
        ("CTV 12.03.2024", "CTV [removed]"),
        ("CTV 3/12/2024", "CTV [removed]"),
        ("CTV 2024-03-12 b", "CTV [removed] b"),
    ],
)
def test_name_id_and_dates_are_taken_out(given: str, wanted: str) -> None:
    assert cleaned(given, PatientName="Müller^Anna^J^^Dr", PatientID="4711-08") == wanted


@pytest.mark.parametrize(
    "given",
    [
        "SpinalCord",
        "Okonite",  # of which Okon is a part
        "Cord",  # what a structure is, whoever is called so
        "Mueller",  # another name
        "PTV5040",
        "PTV_50.4_60",
        "Ring 20-40",
        "PTV 20245017",  # no day of a calendar
        "LiverR",  # Li is too short to be a secret
        "Jaw",  # J is an initial
        "GTV",
        "",
    ],
)
def test_names_that_do_not_tell_who_it_is_stay(given: str) -> None:
    assert cleaned(given, PatientName="Okon^Cord^Li^J", PatientID="50") == given


def test_several_ids_and_other_names_count() -> None:
    attributes = {"OtherPatientNames": "Schmidt^Anna", "AccessionNumber": "AB-1234"}
    assert cleaned("Schmidt AB-1234 GTV", **attributes) == "[removed] [removed] GTV"


def test_nothing_known_removes_nothing_but_dates() -> None:
    assert cleaned("GTV Anna 20240312") == "GTV Anna [removed]"


@pytest.fixture
def named(dicom_set: DicomSet) -> DicomSet:
    def name(dataset: Dataset) -> None:
        dataset.PatientName, dataset.PatientID = "Okonkwo^Ada", "HOSP-99812"

    def draw(dataset: Dataset) -> None:
        name(dataset)
        dataset.StructureSetROISequence[1].ROIName = "GTV Okonkwo"

    for path in sorted(dicom_set.folder.glob("*.dcm")):
        dicom_set.edit(path.stem, draw if path.stem == "RTSTRUCT" else name)
    dicom_set.edit_beam(lambda beam: setattr(beam, "BeamName", "arc HOSP-99812"))
    return dicom_set


def test_a_case_holds_no_name_of_a_structure_or_beam_that_identifies(named: DicomSet, tmp_path: Path) -> None:
    case = ingest(named.folder, tmp_path / "case")
    assert [one.name for one in case.structures] == ["BODY", "GTV [removed]"]
    assert case.beams[0].name == "arc [removed]"
    (warning,) = [one for one in case.warnings if one.code == "identity-in-names"]
    assert warning.message.startswith("2 names of structures or beams")
    written = b"".join(path.read_bytes() for path in (tmp_path / "case").glob("*.json"))
    assert b"Okonkwo" not in written
    assert b"99812" not in written


def test_names_stay_where_the_configuration_asks_for_identities(named: DicomSet, tmp_path: Path) -> None:
    case = ingest(named.folder, tmp_path / "case", show_identity=True)
    assert [one.name for one in case.structures] == ["BODY", "GTV Okonkwo"]
    assert case.beams[0].name == "arc HOSP-99812"
