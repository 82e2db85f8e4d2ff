"""`gatecheck gamma`, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from gatecheck.config import project_folder
from gatecheck.files import image_from_zyx
from gatecheck.phantoms.dicom_writer import Identity, Uids, write_dose

SHAPE, ORIGIN, SPACING = (8, 9, 10), (-9.0, -8.0, -7.0), (2.0, 2.0, 2.0)


def gatecheck(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gatecheck.cli.main", "gamma", *map(str, words), "--dose", "2", "--distance", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(project_folder() / "workflow")},
    )


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def dose(tmp_path: Path) -> Path:
    path = tmp_path / "dose.mha"
    values = np.full(SHAPE, 50.0, dtype=np.float32)
    sitk.WriteImage(image_from_zyx(values, origin=ORIGIN, spacing=SPACING), str(path))
    return path


def test_a_meta_image_and_an_rtdose_give_one_json_object_and_a_map(dose: Path, tmp_path: Path) -> None:
    write_dose(
        tmp_path, np.full(SHAPE, 50.5), origin=ORIGIN, spacing=SPACING, identity=Identity(), uids=Uids("gamma verb")
    )
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[:4] = 1
    sitk.WriteImage(image_from_zyx(mask, origin=ORIGIN, spacing=SPACING), str(tmp_path / "body.mha"))
    result = gatecheck(
        dose,
        tmp_path / "RTDOSE.dcm",
        "--body",
        tmp_path / "body.mha",
        "--map",
        tmp_path / "gamma.mha",
        "--cutoff",
        "10",
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["points"] == found["passed"] == 4 * 9 * 10
    assert (found["pass_rate"], found["unreachable"]) == (1.0, 0)
    assert found["mean"] == pytest.approx(0.5, abs=1e-5)
    assert found["p99"] == pytest.approx(0.5, abs=1e-5)
    assert found["criteria"] == {
        "dose_percent": 2.0,
        "distance": 1.0,
        "is_local": False,
        "cutoff_percent": 10.0,
        "cap": 2.0,
        "normalisation": 50.0,
    }
    written = sitk.ReadImage(str(tmp_path / "gamma.mha"))
    assert written.GetOrigin() == ORIGIN
    assert (np.isfinite(sitk.GetArrayFromImage(written)) == mask.astype(bool)).all()


def test_bad_input_is_refused_in_one_line_that_names_the_file(dose: Path, tmp_path: Path) -> None:
    assert refusal(gatecheck(dose, tmp_path / "none.mha")) == "gatecheck: EVALUATED: not found."
    (tmp_path / "text.dcm").write_text("no dose")
    assert refusal(gatecheck(dose, tmp_path / "text.dcm")) == "gatecheck: EVALUATED: not DICOM found, RTDOSE expected."
    oblique = sitk.ReadImage(str(dose))
    oblique.SetDirection((0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(oblique, str(tmp_path / "oblique.mha"))
    assert "EVALUATED: its grid is oblique" in refusal(gatecheck(dose, tmp_path / "oblique.mha"))
    assert "--map dose.mha: is one of the files compared" in refusal(gatecheck(dose, dose, "--map", dose))
    sitk.WriteImage(sitk.ReadImage(str(dose)) * 0, str(tmp_path / "nothing.mha"))
    assert "--body: 0 in every voxel" in refusal(gatecheck(dose, dose, "--body", tmp_path / "nothing.mha"))
    assert "REFERENCE: there is no such file" in refusal(gatecheck(tmp_path, dose))
    assert "cap of 1 found" in refusal(gatecheck(dose, dose, "--cap", "1"))


def _rtdose(folder: Path, name: str, change: Callable[[Dataset], None]) -> Path:
    dose_zyx = np.full(SHAPE, 50.0)
    write_dose(folder, dose_zyx, origin=ORIGIN, spacing=SPACING, identity=Identity(), uids=Uids("gamma verb"))
    dataset = pydicom.dcmread(folder / "RTDOSE.dcm")
    change(dataset)
    dataset.save_as(folder / name)
    return folder / name


def test_two_rtdose_of_different_things_are_refused(tmp_path: Path) -> None:
    plan = _rtdose(tmp_path, "plan.dcm", lambda dataset: None)
    moved = _rtdose(tmp_path, "frame.dcm", lambda dataset: setattr(dataset, "FrameOfReferenceUID", "1.2.3"))
    beam = _rtdose(tmp_path, "beam.dcm", lambda dataset: setattr(dataset, "DoseSummationType", "BEAM"))
    assert json.loads(gatecheck(plan, plan).stdout)["pass_rate"] == 1.0
    assert "another Frame of Reference (0020,0052)" in refusal(gatecheck(plan, moved))
    assert "Dose Summation Type (3004,000A) BEAM found, PLAN as in REFERENCE" in refusal(gatecheck(plan, beam))


def test_a_local_tolerance_is_stricter_at_low_dose(dose: Path, tmp_path: Path) -> None:
    """0.6 Gy more at 10 Gy: 1.2 % of the largest dose, 6 % of its own."""
    values = np.full(SHAPE, 50.0, dtype=np.float32)
    values[4:] = 10.0
    paths = [tmp_path / "low.mha", tmp_path / "more.mha"]
    for path, more in zip(paths, (0.0, 0.6), strict=True):
        image = image_from_zyx(np.where(values == 10, values + more, values), origin=ORIGIN, spacing=SPACING)
        sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32), str(path))
    assert json.loads(gatecheck(*paths).stdout)["pass_rate"] == 1.0
    assert json.loads(gatecheck(*paths, "--local").stdout)["pass_rate"] < 0.8


def test_grids_apart_are_refused(dose: Path, tmp_path: Path) -> None:
    moved = sitk.ReadImage(str(dose))
    moved.SetOrigin((500.0, -8.0, -7.0))
    sitk.WriteImage(moved, str(tmp_path / "moved.mha"))
    assert "grids do not overlap: along x" in refusal(gatecheck(dose, tmp_path / "moved.mha"))
