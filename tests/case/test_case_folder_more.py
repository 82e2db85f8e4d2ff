"""Bytes behind a whole file, and damaged files that have nothing to do with the plan."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from synthetic_dicom import DicomSet

from gatecheck.case.model import Case

Ingested = Callable[[], Case]
Refusal = Callable[[], str]
Codes = Callable[[Case], set[str]]


@pytest.mark.parametrize("name", ["CT_003", "RTPLAN", "RTSTRUCT", "RTDOSE"])
@pytest.mark.parametrize("tail", [b"\0", b"\n", b"\r\n", 7 * b"\0"])
def test_a_few_bytes_of_filling_behind_a_whole_file_are_ignored(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes, name: str, tail: bytes
) -> None:
    with dicom_set.file(name).open("ab") as file:
        file.write(tail)
    case = ingested()
    assert codes(case) == {"beams-without-meterset"}
    assert case.tps_dose is not None


def test_filling_is_ignored_behind_implicit_vr_too(dicom_set: DicomSet, ingested: Ingested, codes: Codes) -> None:
    dicom_set.edit("RTPLAN", lambda plan: setattr(plan.file_meta, "TransferSyntaxUID", ImplicitVRLittleEndian))
    with dicom_set.file("RTPLAN").open("ab") as file:
        file.write(b"\0\0\0")
    assert codes(ingested()) == {"beams-without-meterset"}


@pytest.mark.parametrize("name", ["CT_003", "RTDOSE"])
def test_any_few_bytes_behind_the_pixels_are_ignored(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes, name: str
) -> None:
    with dicom_set.file(name).open("ab") as file:
        file.write(b"\xfc\xffend")
    assert codes(ingested()) == {"beams-without-meterset"}


@pytest.mark.parametrize("left", range(1, 8))
def test_a_plan_that_ends_within_the_header_of_an_element_is_still_truncated(
    dicom_set: DicomSet, refusal: Refusal, left: int
) -> None:
    whole = dicom_set.file("RTPLAN").read_bytes()
    header = whole.rindex(b"\x0e\x30\x02\x00CS")  # Approval Status, the last one
    dicom_set.file("RTPLAN").write_bytes(whole[: header + left])
    assert "truncated or damaged" in refusal()


def become_mr(dataset: Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality = "MR"


@pytest.mark.parametrize("length", [132, 150, 300, 700, -1])
def test_a_damaged_file_of_another_kind_is_a_stranger(dicom_set: DicomSet, ingested: Ingested, length: int) -> None:
    """From the preamble alone to all but the last byte."""
    shutil.copy(dicom_set.file("CT_001"), dicom_set.file("other"))
    dicom_set.edit("other", become_mr)
    dicom_set.file("other").write_bytes(dicom_set.file("other").read_bytes()[:length])
    (message,) = [w.message for w in ingested().warnings if w.code == "files-not-used"]
    assert message == "1 files of the folder were not used: 1 damaged DICOM of another kind."


def test_a_damaged_file_without_preamble_of_another_kind_is_a_stranger(
    dicom_set: DicomSet, ingested: Ingested, codes: Codes
) -> None:
    shutil.copy(dicom_set.file("CT_001"), dicom_set.file("other"))
    dicom_set.edit("other", become_mr)
    content = dicom_set.file("other").read_bytes()
    dicom_set.file("other").write_bytes(content[132:-1])
    assert codes(ingested()) == {"beams-without-meterset", "files-not-used"}


def test_a_truncated_ion_plan_is_not_passed_over(dicom_set: DicomSet, refusal: Refusal) -> None:
    def become_ion_plan(plan: Dataset) -> None:
        plan.SOPClassUID = plan.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.8"

    shutil.copy(dicom_set.file("RTPLAN"), dicom_set.file("other"))
    dicom_set.edit("other", become_ion_plan)
    dicom_set.file("other").write_bytes(dicom_set.file("other").read_bytes()[:-1])
    assert "truncated or damaged" in refusal()


def test_hidden_files_are_no_part_of_an_export(dicom_set: DicomSet, ingested: Ingested, codes: Codes) -> None:
    (dicom_set.file("RTPLAN").parent / ".workflow_timestamp").write_bytes(b"")
    assert codes(ingested()) == {"beams-without-meterset"}
