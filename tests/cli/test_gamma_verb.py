"""`gatecheck gamma`, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

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
    assert refusal(gatecheck(dose, tmp_path / "none.mha")) == "gatecheck: none.mha: not found."
    (tmp_path / "text.dcm").write_text("no dose")
    assert refusal(gatecheck(dose, tmp_path / "text.dcm")) == "gatecheck: text.dcm: not DICOM found, RTDOSE expected."
    oblique = sitk.ReadImage(str(dose))
    oblique.SetDirection((0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(oblique, str(tmp_path / "oblique.mha"))
    assert "oblique.mha: its grid is oblique" in refusal(gatecheck(dose, tmp_path / "oblique.mha"))
    assert "--map dose.mha: is one of the files compared" in refusal(gatecheck(dose, dose, "--map", dose))
    assert "cap of 1 found" in refusal(gatecheck(dose, dose, "--cap", "1"))


def test_grids_apart_are_refused(dose: Path, tmp_path: Path) -> None:
    moved = sitk.ReadImage(str(dose))
    moved.SetOrigin((500.0, -8.0, -7.0))
    sitk.WriteImage(moved, str(tmp_path / "moved.mha"))
    assert "grids do not overlap: along x" in refusal(gatecheck(dose, tmp_path / "moved.mha"))
