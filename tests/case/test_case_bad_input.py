"""Bad input: each ends in one clear message that says what was found and what to do, and names nobody."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from synthetic_dicom import DicomSet, beam, control_point

from gatecheck.case.ingest import ingest
from gatecheck.errors import GatecheckError, InputError, UnsupportedPlanError

Refusal = Callable[[], str]


def test_an_empty_folder_is_refused(tmp_path: Path, out: Path) -> None:
    (tmp_path / "Plantedname").mkdir()
    with pytest.raises(InputError, match="The DICOM folder is empty") as caught:
        ingest(tmp_path / "Plantedname", out)
    assert "Plantedname" not in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path: Path, out: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        ingest(tmp_path / "Plantedname", out)
    assert "Plantedname" not in str(caught.value)


def test_a_folder_without_dicom_is_refused(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "Plantedname.dcm").write_text("Plantedname is not DICOM")
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(InputError, match="None of the 2 files of the folder is DICOM") as caught:
        ingest(folder, out)
    assert "Plantedname" not in str(caught.value)


def test_no_plan_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.file("RTPLAN").unlink()
    assert "No RTPLAN in the folder" in refusal()


def test_no_ct_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    for path in dicom_set.folder.glob("CT_*.dcm"):
        path.unlink()
    assert "No CT slice in the folder" in refusal()


def test_no_structure_set_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.file("RTSTRUCT").unlink()
    assert "No RTSTRUCT in the folder" in refusal()


def test_two_plans_are_refused_by_count_and_place(dicom_set: DicomSet, refusal: Refusal) -> None:
    shutil.copy(dicom_set.file("RTPLAN"), dicom_set.file("ZPlantedname"))
    dicom_set.edit("ZPlantedname", lambda plan: setattr(plan, "SOPInstanceUID", "1.2.3"))
    message = refusal()
    assert "2 plans found (RTPLAN), 1 expected" in message
    assert "File 9 of 11" in message
    assert "File 11 of 11" in message


def test_two_files_of_one_uid_and_different_content_are_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    shutil.copy(dicom_set.file("RTPLAN"), dicom_set.file("again"))
    dicom_set.edit("again", lambda plan: setattr(plan.FractionGroupSequence[0], "NumberOfFractionsPlanned", 6))
    assert "same SOP Instance UID" in refusal()


def test_a_missing_slice_is_refused_with_its_place(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.file("CT_004").unlink()
    message = refusal()
    assert "CT slices 3 and 4 of 6 (from the feet) are 8 mm apart (z = -4 and 4 mm), 4 mm expected" in message
    assert "1 slice is missing between them" in message


def test_slices_of_uneven_spacing_are_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit("CT_004", lambda ct: setattr(ct, "ImagePositionPatient", [-29, -33, 1.0]))
    assert "not spaced uniformly: gaps from 3 to 5 mm" in refusal()


def test_a_slice_twice_at_one_position_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    shutil.copy(dicom_set.file("CT_004"), dicom_set.file("CT_008"))
    dicom_set.edit("CT_008", lambda ct: setattr(ct, "SOPInstanceUID", "1.2.3"))
    assert "CT slices 4 and 5 of 8 (from the feet) lie at the same position" in refusal()


def test_two_ct_series_are_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    for index in range(1, 8):
        shutil.copy(dicom_set.file(f"CT_{index:03d}"), dicom_set.file(f"second_{index}"))

        def of_another_series(ct: Dataset, index: int = index) -> None:
            ct.SOPInstanceUID = f"1.2.3.{index}"
            ct.SeriesInstanceUID = "1.2.4"

        dicom_set.edit(f"second_{index}", of_another_series)
    assert "2 CT series found (Series Instance UID (0020,000E)), 1 expected" in refusal()


def test_a_ct_of_two_frames_of_reference_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit("CT_002", lambda ct: setattr(ct, "FrameOfReferenceUID", "1.2.3"))
    assert "2 different frames of reference" in refusal()


@pytest.mark.parametrize(
    "cosines",
    [(1, 0, 0, 0, 0.9848, 0.1736), (1, 0, 0, 0, 0, -1), (0, 1, 0, 1, 0, 0)],
    ids=["tilt", "coronal", "turned"],
)
def test_a_ct_that_is_not_axial_is_refused(dicom_set: DicomSet, refusal: Refusal, cosines: tuple[float, ...]) -> None:
    dicom_set.edit_ct(lambda ct: setattr(ct, "ImageOrientationPatient", list(cosines)))
    assert "oblique, coronal or sagittal" in refusal()


def test_a_sheared_stack_of_axial_slices_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    def shear(ct: Dataset) -> None:
        x, y, z = ct.ImagePositionPatient
        ct.ImagePositionPatient = [x, y + 0.2 * z, z]

    dicom_set.edit_ct(shear)
    assert "tilted or moving stack" in refusal()


def test_a_dose_of_another_frame_of_reference_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit("RTDOSE", lambda dose: setattr(dose, "FrameOfReferenceUID", "1.2.3"))
    message = refusal()
    assert "The RTDOSE's Frame of Reference UID (0020,0052) is not the CT's" in message
    assert "take the RTDOSE out" in message


def test_a_plan_of_another_frame_of_reference_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit("RTPLAN", lambda plan: setattr(plan, "FrameOfReferenceUID", "1.2.3"))
    assert "The RTPLAN's Frame of Reference UID (0020,0052) is not the CT's" in refusal()


@pytest.mark.parametrize(("radiation", "name"), [("ELECTRON", "electrons"), ("PROTON", "protons"), ("", "no photons")])
def test_a_beam_that_is_no_photon_beam_is_refused_by_name(
    dicom_set: DicomSet, refusal: Refusal, radiation: str, name: str
) -> None:
    dicom_set.edit_beam(lambda item: setattr(item, "RadiationType", radiation), index=1)
    assert f"Beam 2 uses {name}" in refusal()


def test_a_dual_layer_mlc_is_refused_by_name(dicom_set: DicomSet, refusal: Refusal) -> None:
    """As Halcyon plans have it: fixed jaws X and Y, and two layers of leaves."""

    def become_dual_layer(item: Dataset) -> None:
        x, y, _mlc = item.BeamLimitingDeviceSequence
        x.RTBeamLimitingDeviceType, y.RTBeamLimitingDeviceType = "X", "Y"
        layers = []
        for layer, pairs in (("MLCX1", 28), ("MLCX2", 29)):
            device = Dataset()
            device.RTBeamLimitingDeviceType = layer
            device.NumberOfLeafJawPairs = pairs
            device.LeafPositionBoundaries = [str(value) for value in np.linspace(-140, 140, pairs + 1)]
            layers.append(device)
        item.BeamLimitingDeviceSequence = Sequence([x, y, *layers])

    dicom_set.edit_beam(become_dual_layer)
    assert "Beam 1 uses a dual-layer MLC (MLCX1, MLCX2)" in refusal()


def test_a_plan_without_any_meterset_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.plan([beam(1, meterset=0.0), beam(2, meterset=0.0)])
    assert "none of its 2 beams has a meterset (Beam Meterset (300A,0086))" in refusal()


@pytest.mark.parametrize("name", ["CT_003", "RTPLAN", "RTSTRUCT", "RTDOSE"])
@pytest.mark.parametrize("undefined_length", [False, True])
def test_a_file_truncated_anywhere_is_refused(
    dicom_set: DicomSet, out: Path, name: str, undefined_length: bool
) -> None:
    """Cut at 25 places, from within the header to the last byte, with a fixed seed."""

    def with_delimiters(dataset: Dataset) -> None:
        for element in dataset.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True

    if undefined_length:
        dicom_set.edit(name, with_delimiters)
    whole = dicom_set.file(name).read_bytes()
    cuts = np.random.default_rng(4711).integers(200, len(whole) - 1, size=24)
    for cut in [*cuts.tolist(), len(whole) - 1]:
        dicom_set.file(name).write_bytes(whole[:cut])
        with pytest.raises(GatecheckError) as caught:
            ingest(dicom_set.folder, out)
        assert "truncated" in str(caught.value) or "damaged" in str(caught.value), cut
        assert "Plantedname" not in str(caught.value)


def test_pixels_that_end_early_are_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit("CT_003", lambda ct: setattr(ct, "PixelData", ct.PixelData[:-100]))
    assert "CT slice 3 of 7 (from the feet): Pixel Data (7FE0,0010) is truncated" in refusal()


def test_damage_at_random_places_ends_in_a_case_or_a_refusal(dicom_set: DicomSet, out: Path) -> None:
    """Up to three bytes changed in one file, 120 times with a fixed seed: never another error, never a name."""
    generator = np.random.default_rng(11)
    cases, messages = 0, []
    for trial in range(120):
        path = dicom_set.file(("RTPLAN", "RTSTRUCT", "RTDOSE", "CT_002")[trial % 4])
        whole = path.read_bytes()
        spoilt = bytearray(whole)
        for place in generator.integers(132, min(len(whole), 3500), size=3):
            spoilt[place] = generator.integers(256)
        path.write_bytes(spoilt)
        try:
            ingest(dicom_set.folder, out)
            cases += 1
        except GatecheckError as error:
            messages.append(str(error))
        path.write_bytes(whole)
    assert cases > 10
    assert len(messages) > 10
    assert not any("Plantedname" in message for message in messages)


def test_an_unknown_compression_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    whole = dicom_set.file("CT_002").read_bytes()
    dicom_set.file("CT_002").write_bytes(whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"))
    assert "compression of Pixel Data (7FE0,0010) cannot be read" in refusal()


def test_an_ion_plan_is_refused_by_name(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit("RTPLAN", lambda plan: setattr(plan, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.481.8"))
    assert "RT Ion Plan (protons or ions)" in refusal()


def test_a_brachytherapy_plan_is_refused_by_name(dicom_set: DicomSet, refusal: Refusal) -> None:
    def become_brachytherapy(plan: Dataset) -> None:
        del plan.BeamSequence
        plan.ApplicationSetupSequence = Sequence([Dataset()])

    dicom_set.edit("RTPLAN", become_brachytherapy)
    assert "brachytherapy plan" in refusal()


def test_a_number_that_is_none_is_named_and_not_quoted(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit_beam(lambda item: setattr(item.ControlPointSequence[1], "GantryAngle", None))
    raw = dicom_set.file("RTPLAN").read_bytes()
    dicom_set.file("RTPLAN").write_bytes(raw.replace(b"101.0 ", b"planme"))
    assert "Beam 1: Beam Meterset (300A,0086) is not a number" in refusal()


def test_a_cumulative_weight_that_does_not_reach_the_final_one_is_refused(
    dicom_set: DicomSet, refusal: Refusal
) -> None:
    dicom_set.plan([beam(1, control_points=(control_point(0.0), control_point(0.9)))])
    message = refusal()
    assert "Beam 1: Cumulative Meterset Weight (300A,0134) ends at 0.9" in message
    assert "Final Cumulative Meterset Weight (300A,010E) 1 expected" in message


def test_a_refusal_is_one_line_and_exit_code_2_on_the_command_line(dicom_set: DicomSet, out: Path) -> None:
    dicom_set.file("RTPLAN").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "gatecheck.cli.main", "ingest", str(dicom_set.folder), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert lines == ["gatecheck: No RTPLAN in the folder. Export the plan with its CT, RTSTRUCT and RTDOSE."]


def test_unsupported_plans_are_a_kind_of_input_error() -> None:
    assert issubclass(UnsupportedPlanError, InputError)
