"""The verb `trajectory-log`, on a clinical case and logs of its arcs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatecheck.case.ingest import ingest
from gatecheck.cli.main import app
from gatecheck.delivery.timeline import deliver
from gatecheck.errors import GatecheckError
from gatecheck.layout import CaseLayout
from gatecheck.phantoms.clinical_case import write_clinical_case
from gatecheck.phantoms.clinical_case_1 import CASE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "delivery"))
from made_logs import LogOfBeam, MadeLog


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case, `case`, and a log of each of its arcs, `arc-1.bin` and so on, the gantry half a degree ahead."""
    folder = tmp_path_factory.mktemp("JANE-DOE")
    # With fewer control points: the dose of the full plan takes a minute.
    write_clinical_case(CASE, folder / "dicom", control_points=24)
    case = ingest(folder / "dicom", CaseLayout(folder / "case").case)
    for beam in deliver(case).beams:
        made = LogOfBeam(beam, snapshots=600, error={"gantry": 0.5})
        (folder / f"arc-{beam.number}.bin").write_bytes(made.content())
    (folder / "other.bin").write_bytes(MadeLog().content())
    return folder


def run(*words: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, ["trajectory-log", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_each_log_says_its_beam_and_how_the_machine_followed(folder: Path) -> None:
    logs = sorted(folder.glob("arc-*.bin"), reverse=True)
    rows = run(*map(str, logs), "--case", str(folder / "case"))
    assert [row["beam"] for row in rows] == [int(path.stem.split("-")[1]) for path in logs]
    for row in rows:
        assert row["actual_minus_expected"]["gantry"]["root_mean_square"] == pytest.approx(0.5, abs=1e-3)  # type: ignore[index]
        assert row["expected_minus_planned"]["leaf"] < 0.2  # type: ignore[index]


def test_without_a_case_no_beam_is_named(folder: Path) -> None:
    (row,) = run(str(folder / "other.bin"))
    assert "beam" not in row
    assert row["mlc"] == "HD120"


def test_a_log_of_something_else_is_refused_by_its_place(folder: Path) -> None:
    logs = [str(folder / "arc-1.bin"), str(folder / "other.bin")]
    with pytest.raises(GatecheckError, match=r"LOG 2: belongs to no beam of the plan\. Nearest is beam") as refused:
        CliRunner().invoke(app, ["trajectory-log", *logs, "--case", str(folder / "case")], catch_exceptions=False)
    assert "JANE" not in str(refused.value)
