"""Doses as RTDOSE files: read back by two libraries and by gatecheck itself, and checked by a validator."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from gatecheck.case.ingest import ingest
from gatecheck.case.loose_files import read_loose_dose
from gatecheck.case.model import Beam, Case
from gatecheck.compare.model import Comparison, DoseMetrics, DvhCurve, Metric, StructureComparison
from gatecheck.config import ReportConfig
from gatecheck.errors import ResultError
from gatecheck.files import image_from_zyx
from gatecheck.phantoms.dicom_writer import (
    Identity,
    StructureDrawing,
    Uids,
    write_ct,
    write_plan,
    write_structures,
)
from gatecheck.report.dicom_dose import DoseToExport, find_plan_files, write_dose

IDENTITY = Identity("Plantedname^Jane", "PLANTED-ID", "19230405", "F", "PLANTEDLABEL", "PLANTEDLABEL")
SECRETS = ("Plantedname", "PLANTED-ID", "19230405", "PLANTEDLABEL")
UIDS = Uids("dicom dose")
ORIGIN, SPACING = (-20.0, -12.0, -6.0), (2.0, 2.0, 3.0)


def beam() -> Beam:
    point: dict[str, Any] = {
        "gantry_angle": 0.0,
        "gantry_rotation_direction": "NONE",
        "collimator_angle": 0.0,
        "couch_angle": 0.0,
        "jaw_x": (-20.0, 20.0),
        "jaw_y": (-20.0, 20.0),
        "leaf_positions": None,
        "isocentre": (0.0, 0.0, 0.0),
    }
    return Beam.model_validate(
        {
            "number": 1,
            "name": "static",
            "machine_name": "TEST",
            "radiation_type": "PHOTON",
            "nominal_energy_mv": 6.0,
            "fluence_mode": "STANDARD",
            "beam_type": "STATIC",
            "technique": "static",
            "source_axis_distance": 1000.0,
            "meterset": 100.0,
            "final_cumulative_meterset_weight": 1.0,
            "leaf_boundaries": None,
            "control_points": [point | {"cumulative_meterset_weight": weight} for weight in (0.0, 1.0)],
        }
    )


def write_set(folder: Path, position: str) -> None:
    folder.mkdir()
    hu = np.zeros((8, 20, 24), np.int16)
    slices = write_ct(
        folder,
        hu,
        origin=(-23, -19, -9),
        spacing=(2, 2, 3),
        patient_position=position,
        identity=IDENTITY,
        uids=UIDS,  # type: ignore[arg-type]
    )
    square = np.array([(-10, -10), (10, -10), (10, 10), (-10, 10)], float)
    contours = [np.column_stack([square, np.full(4, one.z)]) for one in slices[1:-1]]
    drawing = StructureDrawing(3, "BODY", "EXTERNAL", (255, 0, 0), contours)
    write_structures(folder, [drawing], ct_slices=slices, identity=IDENTITY, uids=UIDS)
    write_plan(
        folder,
        [beam()],
        fractions=5,
        prescription_gy=20.0,
        patient_position=position,
        identity=IDENTITY,
        uids=UIDS,  # type: ignore[arg-type]
    )


def made_dose(*, signed: bool = False) -> sitk.Image:
    z, y, x = np.indices((5, 7, 9))
    values = 1.0 + 0.1 * x + 1.0 * y + 10.0 * z
    return image_from_zyx((values - 20.0 if signed else values).astype(np.float32), origin=ORIGIN, spacing=SPACING)


def made_comparison(case: Case) -> Comparison:
    dose = tuple(np.linspace(0.0, 50.0, 101))
    metric = Metric(value=1.0, sigma=None)
    metrics = DoseMetrics.model_validate(dict.fromkeys(DoseMetrics.model_fields, metric))
    one = StructureComparison(
        name="BODY",
        interpreted_type="EXTERNAL",
        volume_ml=7.2,
        covered_fraction=1.0,
        mc=metrics,
        tps=None,
        mc_dvh=DvhCurve(dose_gy=dose, volume_fraction=tuple(1 - np.array(dose) / 50.0), volume_fraction_sigma=None),
        tps_dvh=None,
    )
    assert case.structures[0].name == "BODY"
    return Comparison(made_from={}, structures=(one,), has_tps_dose=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_set(tmp_path / "dicom", "HFS")
    return tmp_path


def written(folder: Path, dose: DoseToExport | None = None, **options: Any) -> Path:
    case = ingest(folder / "dicom", folder / "case")
    dose = dose or DoseToExport("dose", made_dose(), "a" * 64, "Monte Carlo.", made_comparison(case))
    path = folder / f"{dose.kind}.dcm"
    write_dose(path, dose, case, find_plan_files(folder / "dicom", case), **options)
    return path


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP"])
@pytest.mark.parametrize("bits", [16, 32])
def test_dose_comes_back_where_it_was(tmp_path: Path, position: str, bits: int) -> None:
    write_set(tmp_path / "dicom", position)
    path = written(tmp_path, bits=bits)
    expected = sitk.GetArrayFromImage(made_dose())
    most = 1e-4 * float(expected.max())
    by_gatecheck = read_loose_dose(path, "RTDOSE")
    np.testing.assert_allclose(by_gatecheck.values_zyx, expected, atol=most)
    assert by_gatecheck.grid.origin == pytest.approx(ORIGIN)
    assert by_gatecheck.grid.spacing == pytest.approx(SPACING)
    # SimpleITK turns the image to its own axes; it gives what is stored.
    image, scaling = sitk.ReadImage(str(path)), float(dcmread(path).DoseGridScaling)
    for index in ((0, 0, 0), (8, 6, 4), (3, 1, 2)):
        there = image.TransformPhysicalPointToIndex(made_dose().TransformIndexToPhysicalPoint(index))
        assert image[there] * scaling == pytest.approx(float(expected[index[::-1]]), abs=most)


def test_file_says_what_it_is_and_of_what(folder: Path) -> None:
    file = dcmread(written(folder))
    plan = dcmread(folder / "dicom" / "RTPLAN.dcm")
    assert file.SOPClassUID.name == "RT Dose Storage"
    assert (file.DoseUnits, file.DoseType, file.DoseSummationType) == ("GY", "PHYSICAL", "PLAN")
    assert file.FrameOfReferenceUID == plan.FrameOfReferenceUID
    assert file.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    structures = dcmread(folder / "dicom" / "RTSTRUCT.dcm")
    assert file.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == structures.SOPInstanceUID
    histogram = file.DVHSequence[0]
    assert histogram.DVHReferencedROISequence[0].ReferencedROINumber == 3
    pairs = np.array(histogram.DVHData, float).reshape(-1, 2)
    assert len(pairs) == histogram.DVHNumberOfBins == 100
    assert pairs[0] == pytest.approx([0.5, 7.2])
    assert pairs[:, 0].sum() == pytest.approx(50.0)


def test_uids_are_new_the_same_for_the_same_result_and_under_one_root(folder: Path) -> None:
    first, again = (dcmread(written(folder)) for _ in range(2))
    assert first.SOPInstanceUID == again.SOPInstanceUID
    other = dcmread(written(folder, DoseToExport("dose", made_dose(), "b" * 64, "")))
    sigma = dcmread(written(folder, DoseToExport("sigma", made_dose(), "a" * 64, "")))
    uids = [one[name].value for one in (first, other, sigma) for name in ("SOPInstanceUID", "SeriesInstanceUID")]
    assert len(set(uids)) == 6
    for options in ({"show_identity": True}, {"bits": 32}):
        assert dcmread(written(folder, **options)).SOPInstanceUID != first.SOPInstanceUID  # type: ignore[arg-type]
    assert all(uid.startswith("2.25.") for uid in uids)
    rooted = dcmread(written(folder, uid_root="1.2.826.0.1.3680043.10.999"))
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        uid = rooted[name].value
        assert uid.is_valid
        assert uid.startswith("1.2.826.0.1.3680043.10.999.")


def test_identity_is_there_only_where_it_is_wanted(folder: Path) -> None:
    path = written(folder)
    content = path.read_bytes()
    assert not [secret for secret in SECRETS if secret.encode() in content]
    assert dcmread(path).PatientIdentityRemoved == "YES"
    plan, file = dcmread(folder / "dicom" / "RTPLAN.dcm"), dcmread(written(folder, show_identity=True))
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID"):
        assert file[name].value == plan[name].value


def test_a_difference_keeps_its_sign(folder: Path) -> None:
    path = written(folder, DoseToExport("difference", made_dose(signed=True), "a" * 64, ""))
    file = dcmread(path)
    assert file.DoseType == "ERROR"
    values = file.pixel_array * float(file.DoseGridScaling)
    np.testing.assert_allclose(values, sitk.GetArrayFromImage(made_dose(signed=True)), atol=1e-4 * 32.8)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of dicom3tools is not installed")
@pytest.mark.parametrize("kind", ["dose", "sigma", "gamma", "difference"])
@pytest.mark.parametrize("show_identity", [False, True])
def test_validator_finds_no_error(folder: Path, kind: Any, show_identity: bool) -> None:
    """Of a difference it wants unsigned values, against PS3.3, C.8.8.3.4.2, for a Dose Type of ERROR.

    16 bits: of any file of 32 its own assertion fails.
    """
    dose = None if kind == "dose" else DoseToExport(kind, made_dose(signed=kind == "difference"), "a" * 64, "words")
    path = written(folder, dose, show_identity=show_identity)
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    if kind == "difference":
        errors = [line for line in errors if "Pixel Representation" not in line]
    assert errors == []
    assert "RTDose" in done.stderr


def test_a_plan_that_is_gone_or_changed_is_named(folder: Path) -> None:
    case = ingest(folder / "dicom", folder / "case")
    plan = folder / "dicom" / "RTPLAN.dcm"
    content = plan.read_bytes()
    plan.write_bytes(content + b"\0\0")
    with pytest.raises(ResultError, match="The RTPLAN of the case is not in its DICOM folder as it was read"):
        find_plan_files(folder / "dicom", case)


def test_gatechecks_own_doses_are_no_tps_dose(folder: Path) -> None:
    """As they were written, and as a planning system hands one on that has imported it."""
    path = folder / "dicom" / "RTDOSE.dcm"
    for change in ({}, {"Manufacturer": "A planning system", "ManufacturerModelName": "1"}):
        file = dcmread(written(folder, show_identity=True))
        for name, value in change.items():
            setattr(file, name, value)
        file.save_as(path)
        case = ingest(folder / "dicom", folder / "again")
        assert case.tps_dose is None
        assert "own-dose" in {warning.code for warning in case.warnings}
        path.unlink()


def test_histograms_are_of_whole_structures_alone(folder: Path) -> None:
    case = ingest(folder / "dicom", folder / "case")
    comparison = made_comparison(case)
    (one,) = comparison.structures
    for change in ({"covered_fraction": 0.9}, {"note": "Of what lies in the TPS's grid."}, {"mc_dvh": None}):
        part = comparison.model_copy(update={"structures": (one.model_copy(update=change),)})
        file = dcmread(written(folder, DoseToExport("dose", made_dose(), "a" * 64, "", part)))
        assert "DVHSequence" not in file
        assert "ReferencedStructureSetSequence" not in file


def test_files_without_a_preamble_are_found(folder: Path) -> None:
    """As ingest reads them."""
    for path in (folder / "dicom").glob("*.dcm"):
        path.write_bytes(path.read_bytes()[132:])
    assert dcmread(written(folder)).DoseUnits == "GY"


@pytest.mark.parametrize("root", ["3.1", "1.02", "1", "1.2.", "a.b"])
def test_a_root_that_is_none_is_refused(root: str) -> None:
    with pytest.raises(ValueError, match="dicom_uid_root"):
        ReportConfig(dicom_uid_root=root)
