"""Who took a machine model for which machine: what is kept, and what a report has to warn of."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gatecheck.cli.main import app
from gatecheck.errors import ResultError
from gatecheck.linac.acceptance import (
    Acceptance,
    acceptance_path,
    acceptance_warning,
    accepted_machine,
    read_acceptance,
)
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import LinacModel

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
BEAM = "beam_6x"


@pytest.fixture(scope="module")
def linac() -> LinacModel:
    return load_linac_model(MODELS / "truebeam_stx")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A configuration of a site with machine models of its own."""
    shutil.copytree(MODELS, tmp_path / "models")
    settings = {"machine": {"models_folder": str(tmp_path / "models")}, "results_folder": str(tmp_path / "results")}
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def acceptance_of(linac: LinacModel, *machines: str) -> Acceptance:
    return Acceptance(
        machines=machines,
        accepted_by="A. Physicist",
        accepted_on=datetime.date(2026, 5, 4),
        content_sha256=linac.content_sha256,
    )


def warning(linac: LinacModel, acceptance: Acceptance | None, *planned: str) -> tuple[str, str] | None:
    return acceptance_warning(linac, accepted_machine(linac, acceptance), planned)


def test_no_model_that_comes_with_gatecheck_stands_for_anyones_machine() -> None:
    assert not list(MODELS.glob("*/accepted_*"))


def test_a_model_that_nobody_took_is_warned_of_with_its_sources_words(linac: LinacModel) -> None:
    found = warning(linac, None, "LINAC2")
    assert found is not None
    assert found[0] == "machine-not-accepted"
    assert "Med. Phys. 39 (2012) 6981-7018" in found[1]


def test_a_model_taken_for_the_plans_machine_is_not_warned_of(linac: LinacModel) -> None:
    assert warning(linac, acceptance_of(linac, "LINAC1", "LINAC2"), "LINAC2", "LINAC2") is None


def test_a_plan_for_a_machine_of_another_name_is_warned_of(linac: LinacModel) -> None:
    found = warning(linac, acceptance_of(linac, "LINAC1"), "LINAC1", "LINAC2", "")
    assert found is not None
    assert found[0] == "machine-of-another-name"
    assert "accepted for LINAC1, and the plan is for a machine without a name, LINAC2" in found[1]


def test_a_model_changed_since_it_was_taken_is_warned_of(linac: LinacModel) -> None:
    changed = linac.model_copy(update={"content_sha256": "0" * 64})
    found = warning(changed, acceptance_of(linac, "LINAC2"), "LINAC2")
    assert found is not None
    assert found[0] == "machine-changed"


def test_the_verb_writes_what_a_report_reads(site: Path) -> None:
    words = ["accept-machine", "truebeam_stx", "--treats", "LINAC1", "--treats", "LINAC2", "--by", "A. Physicist"]
    result = CliRunner().invoke(app, [*words, "--config", str(site)])
    assert result.exit_code == 0, result.output
    folder = site.parent / "models" / "truebeam_stx"
    linac, acceptance = load_linac_model(folder, BEAM), read_acceptance(folder, BEAM)
    assert acceptance is not None
    assert acceptance.machines == ("LINAC1", "LINAC2")
    assert acceptance.accepted_on == datetime.datetime.now(datetime.UTC).date()
    assert warning(linac, acceptance, "LINAC2") is None
    assert read_acceptance(site.parent / "models" / "truebeam_m120", BEAM) is None


def test_changing_a_value_after_acceptance_is_seen_and_changing_words_is_not(site: Path) -> None:
    words = ["accept-machine", "truebeam_stx", "--treats", "LINAC2", "--by", "A. Physicist"]
    assert CliRunner().invoke(app, [*words, "--config", str(site)]).exit_code == 0
    folder = site.parent / "models" / "truebeam_stx"
    path = folder / f"{BEAM}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(content), encoding="utf-8")  # laid out otherwise, without its comments
    assert accepted_machine(load_linac_model(folder), read_acceptance(folder, BEAM)).is_current
    content["focal_spot"]["sigma_minor"] += 0.01
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert not accepted_machine(load_linac_model(folder), read_acceptance(folder, BEAM)).is_current


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--treats", "", "--by", "A. Physicist"], "machines.0"),
        (["--treats", "LINAC2", "--by", ""], "accepted_by"),
        (["--treats", "LINAC2", "--by", "A. Physicist", "--grounds", "x" * 1001], "grounds"),
    ],
)
def test_empty_or_endless_words_are_refused_and_nothing_is_written(site: Path, words: list[str], named: str) -> None:
    result = CliRunner().invoke(app, ["accept-machine", "truebeam_stx", *words, "--config", str(site)])
    assert result.exit_code != 0
    assert named in str(result.exception)
    assert not list((site.parent / "models").glob("*/accepted_*"))


def test_a_damaged_acceptance_is_an_error_and_not_taken_for_none(tmp_path: Path, linac: LinacModel) -> None:
    content = json.loads(acceptance_of(linac, "LINAC2").model_dump_json())
    del content["content_sha256"]
    acceptance_path(tmp_path, BEAM).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ResultError, match=r"accepted_beam_6x\.json.*content_sha256"):
        read_acceptance(tmp_path, BEAM)
