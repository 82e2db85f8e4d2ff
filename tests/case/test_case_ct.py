"""The CT: every patient position and storage lands on the same LPS grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless
from synthetic_dicom import IDENTITY, ORIGIN, SPACING, UIDS, DicomSet, hu_zyx

from gatecheck.case.attributes import Notes, quiet_dicom
from gatecheck.case.ct import CtVolume, read_ct
from gatecheck.case.folder import read_folder
from gatecheck.case.model import Case, PatientPosition
from gatecheck.files import array_zyx, read_image
from gatecheck.phantoms.dicom_writer import write_ct

Ingested = Callable[[], Case]


def volume_of(folder: Path) -> CtVolume:
    with quiet_dicom():
        return read_ct(read_folder(folder, Notes()).ct, Notes())


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_every_patient_position_gives_the_same_patient(tmp_path: Path, position: PatientPosition) -> None:
    write_ct(
        tmp_path, hu_zyx(), origin=ORIGIN, spacing=SPACING, patient_position=position, identity=IDENTITY, uids=UIDS
    )
    ct = volume_of(tmp_path)
    assert ct.patient_position == position
    np.testing.assert_array_equal(ct.values_zyx, hu_zyx())
    np.testing.assert_allclose(ct.grid.origin, ORIGIN, atol=1e-9)
    np.testing.assert_allclose(ct.grid.spacing, SPACING, atol=1e-9)


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_a_voxel_lies_where_dicom_puts_it(tmp_path: Path, position: PatientPosition) -> None:
    """Second implementation: equation C.7.6.2.1-1 of PS3.3 on the file itself."""
    write_ct(
        tmp_path, hu_zyx(), origin=ORIGIN, spacing=SPACING, patient_position=position, identity=IDENTITY, uids=UIDS
    )
    ct = volume_of(tmp_path)
    dataset = dcmread(tmp_path / "CT_003.dcm")
    row, column = 4, 21
    along_row, along_column = np.split(np.array(dataset.ImageOrientationPatient, dtype=float), 2)
    spacing = np.array(dataset.PixelSpacing, dtype=float)
    point = np.array(dataset.ImagePositionPatient, dtype=float)
    point = point + along_row * spacing[1] * column + along_column * spacing[0] * row
    x, y, z = np.round((point - ct.grid.origin) / ct.grid.spacing).astype(int)
    stored = dataset.pixel_array[row, column]
    assert ct.values_zyx[z, y, x] == stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def test_each_slice_is_rescaled_by_its_own_numbers(dicom_set: DicomSet) -> None:
    def store_otherwise(ct: Dataset) -> None:
        stored = ct.pixel_array.astype(np.uint16)
        ct.RescaleIntercept = "-2048"
        ct.RescaleSlope = "0.5"
        ct.PixelData = (2 * stored + 2048).astype("<u2").tobytes()

    dicom_set.edit("CT_002", store_otherwise)
    np.testing.assert_array_equal(volume_of(dicom_set.folder).values_zyx, hu_zyx())


def test_fractional_ct_numbers_are_kept(dicom_set: DicomSet) -> None:
    dicom_set.edit("CT_002", lambda ct: setattr(ct, "RescaleSlope", "1.25"))
    values = volume_of(dicom_set.folder).values_zyx
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[1], (hu_zyx()[1] + 1024.0) * 1.25 - 1024.0, rtol=1e-6)


def test_signed_values_of_12_bits_are_read_with_their_sign(dicom_set: DicomSet) -> None:
    """Bits above the high bit may hold anything."""

    def become_signed(ct: Dataset) -> None:
        values = ct.pixel_array.astype(np.int64) - 1024
        ct.RescaleIntercept = "0"
        ct.BitsStored, ct.HighBit, ct.PixelRepresentation = 12, 11, 1
        ct.PixelData = ((values & 0x0FFF) | 0x5000).astype("<u2").tobytes()

    dicom_set.edit("CT_001", become_signed)
    np.testing.assert_array_equal(volume_of(dicom_set.folder).values_zyx, hu_zyx())


@pytest.mark.parametrize("implicit", [False, True])
def test_padding_outside_the_scan_becomes_air(dicom_set: DicomSet, implicit: bool) -> None:
    def pad(ct: Dataset) -> None:
        stored = ct.pixel_array.copy()
        stored[:3, :3] = 63536
        ct.PixelData = stored.tobytes()
        ct.add_new("PixelPaddingValue", "US", 63536)

    dicom_set.edit("CT_001", pad)
    if implicit:
        dataset = dcmread(dicom_set.file("CT_001"))
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dcmwrite(dicom_set.file("CT_001"), dataset, implicit_vr=True, little_endian=True)
    values = volume_of(dicom_set.folder).values_zyx
    assert (values[0, :3, :3] == -1024).all()
    np.testing.assert_array_equal(values[0, 3:], hu_zyx()[0, 3:])
    np.testing.assert_array_equal(values[1:], hu_zyx()[1:])


def pad_with(stored_value: int) -> Callable[[Dataset], None]:
    def change(ct: Dataset) -> None:
        stored = ct.pixel_array.copy()
        stored[:3, :3] = stored_value
        ct.PixelData = stored.tobytes()
        ct.add_new("PixelPaddingValue", "US", stored_value)

    return change


@pytest.mark.parametrize(("stored_value", "ct_number"), [(1024, 0), (124, -900)])
def test_padding_with_a_ct_number_of_tissue_is_not_applied_and_said(
    dicom_set: DicomSet, ingested: Ingested, out: Path, stored_value: int, ct_number: int
) -> None:
    dicom_set.edit_ct(pad_with(stored_value))
    case = ingested()
    values = array_zyx(read_image(out / case.ct.file))
    assert (values[:, :3, :3] == ct_number).all()
    np.testing.assert_array_equal(values[:, 3:], hu_zyx()[:, 3:])
    (message,) = [w.message for w in case.warnings if w.code == "ct-padding-not-applied"]
    assert message.startswith(
        f"Pixel Padding Value (0028,0120) of 7 CT slices stands for {ct_number} HU, which tissue may have"
    )


def test_padding_below_every_tissue_becomes_air_without_a_word(
    dicom_set: DicomSet, ingested: Ingested, out: Path, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.edit_ct(pad_with(100))
    case = ingested()
    assert (array_zyx(read_image(out / case.ct.file))[:, :3, :3] == -1024).all()
    assert codes(case) == {"beams-without-meterset"}


def test_a_padding_value_that_no_voxel_has_is_nothing_to_say(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.edit_ct(lambda ct: ct.add_new("PixelPaddingValue", "US", 5000))
    assert codes(ingested()) == {"beams-without-meterset"}


def become_multi_frame(ct: Dataset) -> None:
    ct.NumberOfFrames = 3
    ct.PixelData = 3 * ct.PixelData


@pytest.mark.parametrize("alone", [False, True])
def test_a_multi_frame_ct_is_refused(dicom_set: DicomSet, refusal: Callable[[], str], alone: bool) -> None:
    dicom_set.edit("CT_002", become_multi_frame)
    if alone:
        for index in (1, 3, 4, 5, 6, 7):
            dicom_set.file(f"CT_{index:03d}").unlink()
    message = refusal()
    assert "Number of Frames (0028,0008) of the CT is 3, 1 expected" in message
    assert "multi-frame CT is not supported. Export it as single-frame slices" in message


def test_compressed_slices_and_files_without_preamble_are_read(dicom_set: DicomSet) -> None:
    dicom_set.edit("CT_001", lambda ct: ct.compress(RLELossless))
    dataset = dcmread(dicom_set.file("CT_002"))
    dataset.file_meta = type(dataset.file_meta)()
    dataset.preamble = None
    dcmwrite(dicom_set.file("CT_002"), dataset, implicit_vr=True, little_endian=True)
    assert dicom_set.file("CT_002").read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(volume_of(dicom_set.folder).values_zyx, hu_zyx())


def test_positions_rounded_by_the_scanner_are_still_even(dicom_set: DicomSet) -> None:
    for index, z in enumerate((-12.0, -8.1, -3.9, 0.0, 4.1, 8.0, 12.0)):
        dicom_set.edit(f"CT_{index + 1:03d}", lambda ct, z=z: setattr(ct, "ImagePositionPatient", [-29, -33, z]))
    assert volume_of(dicom_set.folder).grid.spacing[2] == pytest.approx(4.0)


def test_ct_and_plan_may_differ_head_to_feet_with_a_warning_but_not_front_to_back(
    dicom_set: DicomSet, ingested: Ingested, refusal: Callable[[], str], codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.edit_ct(lambda ct: setattr(ct, "PatientPosition", "FFS"))
    case = ingested()
    assert case.patient_position == "HFS"
    assert "patient-positions-differ" in codes(case)
    (dicom_set.folder.parent / "case" / "case.json").unlink()
    dicom_set.edit_ct(lambda ct: setattr(ct, "PatientPosition", "HFP"))
    assert "The CT was taken HFP, but the plan treats HFS" in refusal()


def test_a_position_that_one_file_leaves_out_is_taken_from_the_other(
    dicom_set: DicomSet, ingested: Ingested, refusal: Callable[[], str], codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.edit_ct(lambda ct: setattr(ct, "PatientPosition", ""))
    assert "ct-without-patient-position" in codes(ingested())
    (dicom_set.folder.parent / "case" / "case.json").unlink()
    dicom_set.edit("RTPLAN", lambda plan: delattr(plan, "PatientSetupSequence"))
    assert "Neither the plan nor the CT says the Patient Position" in refusal()


def test_a_decubitus_position_is_refused(dicom_set: DicomSet, refusal: Callable[[], str]) -> None:
    dicom_set.edit_ct(lambda ct: setattr(ct, "PatientPosition", "HFDL"))
    assert "none of HFS, HFP, FFS, FFP" in refusal()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda ct: delattr(ct, "RescaleSlope"),
            "CT slice 2 of 7 (from the feet): Rescale Slope (0028,1053) is missing",
        ),
        (lambda ct: setattr(ct, "RescaleType", "ED"), "Rescale Type (0028,1054) is not HU"),
        (lambda ct: setattr(ct, "PhotometricInterpretation", "RGB"), "MONOCHROME2"),
        (lambda ct: setattr(ct, "PixelSpacing", ["3", "2.5"]), "Pixel Spacing (0028,0030) differs from slice 1"),
        (lambda ct: setattr(ct, "Rows", 22), "has 22 rows and 30 columns, 23 and 30 expected"),
        (lambda ct: setattr(ct, "ImageOrientationPatient", [-1, 0, 0, 0, 1, 0]), "differs from slice 1"),
    ],
)
def test_a_slice_that_does_not_fit_is_named_by_its_place(
    dicom_set: DicomSet, refusal: Callable[[], str], change: Callable[[Dataset], None], expected: str
) -> None:
    dicom_set.edit("CT_002", change)
    assert expected in refusal()
