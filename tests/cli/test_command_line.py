"""What a user types, and what it answers when it can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatecheck.config import project_folder

VERBS = (
    "verify",
    "batch",
    "listen",
    "phantom",
    "ingest",
    "deliver",
    "trajectory-log",
    "voxelise",
    "calibrate",
    "plan-chunks",
    "simulate",
    "merge",
    "compare",
    "gamma",
    "report",
    "export",
    "beams-eye-view",
    "commission",
    "accept-machine",
    "dvh",
    "config",
    "geant4-data",
)


def gatecheck(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "gatecheck.cli.main", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(project_folder() / "workflow")} | environment,
    )


def _refusal(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_help_names_one_verb_per_room_and_verify_first() -> None:
    text = gatecheck("--help").stdout
    for verb in VERBS:
        assert f" {verb} " in text
    assert "gatecheck verify DICOM_DIR" in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    result = gatecheck(verb, "--help")
    assert result.returncode == 0
    assert "Usage:" in result.stdout


def test_help_answers_without_loading_the_engine() -> None:
    code = "import sys, gatecheck.cli.main as m; sys.exit('opengate_core' in sys.modules or 'numba' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, env=os.environ | {"PYTHONPATH": str(project_folder() / "workflow")}
    )
    assert result.returncode == 0


def test_verify_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "not a folder" in _refusal(gatecheck("verify", str(tmp_path / "nowhere"), cwd=tmp_path))


def test_verify_names_the_wrong_key_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("patient: {coarse_voxels: 3}\n", encoding="utf-8")
    message = _refusal(gatecheck("verify", "--config", "mine.yaml", cwd=tmp_path))
    assert message == "gatecheck: mine.yaml: patient.coarse_voxels: unknown key, did you mean coarse_voxel_size."


def test_a_sigma_and_a_number_of_photons_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("transport: {source_photons: 1000000}\n", encoding="utf-8")
    message = _refusal(gatecheck("verify", "--config", "mine.yaml", "--target-sigma", "0.01", cwd=tmp_path))
    assert "transport.source_photons asks for a number of photons instead" in message


def test_config_prints_a_schema_in_which_every_key_is_explained(tmp_path: Path) -> None:
    schema = json.loads(gatecheck("config", "--schema", cwd=tmp_path).stdout)
    assert (
        "half the maximum" in schema["$defs"]["TransportConfig"]["properties"]["target_relative_sigma"]["description"]
    )


def test_a_refusal_is_left_where_verify_looks_for_it(tmp_path: Path) -> None:
    error_file = tmp_path / "error.json"
    empty = tmp_path / "empty"
    empty.mkdir()
    result = gatecheck("config", str(tmp_path / "no.yaml"), GATECHECK_ERROR_FILE=str(error_file))
    assert json.loads(error_file.read_text(encoding="utf-8"))["message"] in _refusal(result)
