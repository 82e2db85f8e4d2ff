"""A whole folder becomes one case."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_dicom import (
    ORIGIN,
    SECRETS,
    SHAPE,
    SPACING,
    DicomSet,
    hu_zyx,
    rectangle,
    slice_positions,
    structures,
)

from gatecheck.case.ingest import ingest, read_case, read_mask
from gatecheck.case.model import Case
from gatecheck.errors import InputError, ResultError, WriteError
from gatecheck.files import array_zyx, read_image
from gatecheck.phantoms.dicom_writer import StructureDrawing

Ingested = Callable[[], Case]


def test_a_whole_set_becomes_a_case_without_warnings_but_the_beam_without_meterset(ingested: Ingested) -> None:
    case = ingested()
    assert [warning.code for warning in case.warnings] == ["beams-without-meterset"]
    assert "Beam 3" in case.warnings[0].message
    assert [beam.number for beam in case.beams] == [1, 2]
    assert [beam.meterset for beam in case.beams] == [101.0, 102.0]
    assert [beam.technique for beam in case.beams] == ["static", "static"]
    assert case.beams[1].control_points[1].gantry_angle == 90.0
    assert case.fractions == 5
    assert case.target_prescription_gy == 20.0
    assert case.patient_position == "HFS"
    assert [structure.name for structure in case.structures] == ["BODY", "GTV"]
    assert set(case.files) == {f"ct-{index:03d}" for index in range(1, 8)} | {"rtplan", "rtstruct", "rtdose"}


def test_the_images_written_are_those_of_the_files(ingested: Ingested, out: Path) -> None:
    case = ingested()
    ct = read_image(out / case.ct.file)
    np.testing.assert_array_equal(array_zyx(ct), hu_zyx())
    assert array_zyx(ct).dtype == np.int16
    np.testing.assert_allclose(ct.GetOrigin(), ORIGIN, atol=1e-9)
    np.testing.assert_allclose(ct.GetSpacing(), SPACING, atol=1e-9)
    assert case.ct.size == SHAPE[::-1]
    assert case.tps_dose is not None
    dose = array_zyx(read_image(out / case.tps_dose.image.file))
    z, y, x = np.indices((4, 5, 6))
    assert dose.dtype == np.float32
    np.testing.assert_allclose(dose, 1.0 + x + 10.0 * y + 100.0 * z, rtol=1e-6)
    assert case.tps_dose.maximum_gy == pytest.approx(346.0, rel=1e-6)


def test_masks_lie_on_the_grid_of_the_ct(ingested: Ingested, out: Path) -> None:
    case = ingested()
    gtv = case.structures[1]
    mask = read_mask(out, gtv)
    voxel = np.prod(SPACING) / 1000
    assert array_zyx(mask).sum() * voxel == pytest.approx(gtv.volume_ml, rel=1e-5)
    assert gtv.volume_ml == pytest.approx(np.pi * 8**2 * 12 / 1000, rel=2e-3)
    index = (np.array(mask.GetOrigin()) - ORIGIN) / SPACING
    np.testing.assert_allclose(index, np.round(index), atol=1e-9)
    z, y, x = np.indices(array_zyx(mask).shape)
    weights = array_zyx(mask)
    centre = [
        (weights * axis).sum() / weights.sum() * step + start
        for axis, step, start in zip((x, y, z), SPACING, mask.GetOrigin(), strict=True)
    ]
    np.testing.assert_allclose(centre, (3.0, -2.0, 0.0), atol=0.01)


def test_order_nesting_strangers_and_copies_do_not_change_the_case(
    dicom_set: DicomSet, ingested: Ingested, tmp_path: Path, codes: Callable[[Case], set[str]]
) -> None:
    first = ingested()
    other = tmp_path / "other"
    for index, path in enumerate(sorted(dicom_set.folder.iterdir(), reverse=True)):
        target = other / f"level{index % 3}" / "deep" / f"{index:03d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(dicom_set.file("CT_003"), other / "copy of a slice.dcm")
    (other / "notes.txt").write_text("Planted text about Plantedname")
    (other / "empty").write_bytes(b"")
    (other / "like dicom").write_bytes(b"\x08\x00\x05\x00" + bytes(range(256)))
    second = ingest(other, tmp_path / "second")
    assert second.content_sha256 == first.content_sha256
    assert second.case_id == first.case_id
    assert (tmp_path / "second" / "ct.mha").read_bytes() == (tmp_path / "case" / "ct.mha").read_bytes()
    assert codes(second) == codes(first) | {"files-not-used"}
    assert "3 not DICOM" in next(w.message for w in second.warnings if w.code == "files-not-used")


def test_other_dicom_files_are_strangers_and_named_by_kind(dicom_set: DicomSet, ingested: Ingested) -> None:
    shutil.copy(dicom_set.file("CT_001"), dicom_set.file("other"))

    def become_mr(dataset: object) -> None:
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.SOPInstanceUID = "1.2.3.4"
        dataset.Modality = "MR"

    dicom_set.edit("other", become_mr)
    shutil.copy(dicom_set.file("CT_001"), dicom_set.file("scout"))

    def become_scout(dataset: object) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.SOPInstanceUID = "1.2.3.5"
        dataset.SeriesInstanceUID = "1.2.3.6"

    dicom_set.edit("scout", become_scout)
    message = next(w.message for w in ingested().warnings if w.code == "files-not-used")
    assert "1 MR Image" in message
    assert "1 CT localizer" in message


def test_a_case_reads_back_and_tells_a_changed_image(ingested: Ingested, out: Path) -> None:
    case = ingested()
    assert read_case(out, check_images=True) == case
    with (out / "ct.mha").open("ab") as file:
        file.write(b"x")
    assert read_case(out) == case
    with pytest.raises(ResultError, match=r"ct\.mha: changed"):
        read_case(out, check_images=True)


def test_a_second_ingest_leaves_nothing_of_the_first(dicom_set: DicomSet, ingested: Ingested, out: Path) -> None:
    assert ingested().tps_dose is not None
    dicom_set.file("RTDOSE").unlink()
    (out / "structures" / "09-gone.mha").write_bytes(b"")
    case = ingested()
    assert case.tps_dose is None
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "case.json",
        "ct.mha",
        *(structure.mask for structure in case.structures),
    }


def spoil_every_volume(dicom_set: DicomSet) -> None:
    far = [rectangle(500, 520, 500, 520, at) for at in slice_positions()]
    dicom_set.draw([StructureDrawing(1, "FAR", "ORGAN", (1, 2, 3), far)])


def spoil_the_plan(dicom_set: DicomSet) -> None:
    dicom_set.file("RTPLAN").unlink()


@pytest.mark.parametrize("spoil", [spoil_every_volume, spoil_the_plan])
def test_a_refused_second_ingest_leaves_no_case_and_writes_nothing(
    dicom_set: DicomSet, ingested: Ingested, out: Path, spoil: Callable[[DicomSet], None]
) -> None:
    ingested()
    spoil(dicom_set)
    with pytest.raises(InputError):
        ingested()
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_an_output_folder_that_is_a_file_is_refused_in_one_line(ingested: Ingested, out: Path) -> None:
    out.write_text("results")
    with pytest.raises(WriteError, match=r"^The folder to write the case to is a file\. Give a folder.*$"):
        ingested()
    assert out.read_text() == "results"


@pytest.mark.parametrize("name", ["case.json", "ct.mha", "tps_dose.mha", "structures/02.mha"])
def test_a_folder_in_the_place_of_a_file_is_refused_in_one_line(ingested: Ingested, out: Path, name: str) -> None:
    (out / name).mkdir(parents=True)
    with pytest.raises(WriteError, match=rf"^{Path(name).name}: cannot be replaced .*\(it is a folder\)\..*$"):
        ingested()
    assert not (out / "case.json").is_file()


def test_a_file_in_the_place_of_the_folder_of_structures_is_refused_in_one_line(ingested: Ingested, out: Path) -> None:
    out.mkdir()
    (out / "structures").write_text("")
    with pytest.raises(WriteError, match=r"^01\.mha: cannot be written \(.*\)\.$"):
        ingested()
    assert not (out / "case.json").exists()


def test_masks_are_named_by_number_alone(dicom_set: DicomSet, ingested: Ingested, out: Path) -> None:
    body, gtv = structures()
    dicom_set.draw([body, replace(gtv, name="PTV Plantedname")])
    case = ingested()
    assert [structure.mask for structure in case.structures] == ["structures/01.mha", "structures/02.mha"]
    assert not any("plantedname" in path.name.lower() for path in out.rglob("*"))


def test_nobody_is_named_in_what_is_written_or_logged(
    dicom_set: DicomSet,
    ingested: Ingested,
    out: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def plant(dataset: object) -> None:
        dataset.StudyDescription = "Planted text"
        dataset.ReferringPhysicianName = "Plantedname^Doctor"
        dataset.PatientComments = "Planted text"

    for path in list(dicom_set.folder.glob("*.dcm")):
        dicom_set.edit(path.stem, plant)
        path.rename(path.with_name(f"Plantedname_{path.name}"))
    dicom_set.edit("Plantedname_RTPLAN", lambda plan: setattr(plan, "RTPlanName", "PLANTEDLABEL"))
    dicom_set.edit("Plantedname_RTDOSE", lambda dose: setattr(dose, "DoseComment", "Planted text"))
    dicom_set.folder.rename(dicom_set.folder.with_name("Plantedname"))
    dicom_set.folder = dicom_set.folder.with_name("Plantedname")
    with caplog.at_level(logging.DEBUG):
        ingested()
    printed = capfd.readouterr()
    texts = [caplog.text, printed.out, printed.err]
    for path in out.rglob("*"):
        texts.append(path.name)
        if path.is_file():
            texts.append(path.read_bytes().decode("latin-1"))
    for secret in SECRETS:
        assert not any(secret.lower() in text.lower() for text in texts), secret


def test_the_plan_label_is_kept_only_when_asked_for(dicom_set: DicomSet, out: Path) -> None:
    assert ingest(dicom_set.folder, out).plan_label == ""
    assert ingest(dicom_set.folder, out, show_identity=True).plan_label == "PLANTEDLABEL"
    assert "Plantedname" not in (out / "case.json").read_text()


def test_text_of_deidentification_in_dates_codes_and_numbers_trips_nothing(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    def replace(dataset: object) -> None:
        for keyword in ("StudyDate", "PatientBirthDate", "PatientSex", "InstanceCreationDate", "StudyTime"):
            setattr(dataset, keyword, "8c222fed-planted-uuid-9873-7e3408aa4ab7")
        dataset.SeriesNumber = None

    for path in dicom_set.folder.glob("*.dcm"):
        dicom_set.edit(path.stem, replace)
    assert codes(ingested()) == {"beams-without-meterset"}
