"""Which steps wait for which, by the rules alone: nothing is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gatecheck.config import project_folder
from gatecheck.errors import PREPARED_VARIABLE


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Pairs of a rule and one that waits for it, of a case where nothing is done yet."""
    folder = tmp_path_factory.mktemp("rules")
    config = folder / "config.yaml"
    content = {"results_folder": str(folder / "results"), "case": {"name": "new"}}
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    wanted = folder / "results" / "new" / "compare" / "comparison.json"
    words = ["--snakefile", str(project_folder() / "Snakefile"), "--configfile", str(config), "--cores", "1"]
    environment = os.environ | {"PYTHONPATH": str(project_folder() / "workflow")}
    # A test of the front door in the same process may have left word that a case is prepared: this one is not.
    environment.pop(PREPARED_VARIABLE, None)
    found = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "--rulegraph", "--", str(wanted)],
        env=environment,
        cwd=Path(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', found.stdout, re.MULTILINE))
    return {(names[one], names[other]) for one, other in re.findall(r"(\d+) -> (\d+)", found.stdout)}


def test_the_comparison_waits_until_the_configuration_is_held_against_the_case(waits: set[tuple[str, str]]) -> None:
    assert ("check_comparison", "compare") in waits


def test_no_step_takes_a_file_without_running_after_it_was_made_anew() -> None:
    """Snakemake skips what lies behind an `ancient` input whose job has to run, and ends with 0."""
    rules = [project_folder() / "Snakefile", *(project_folder() / "workflow" / "rules").glob("*.smk")]
    assert len(rules) > 5
    assert not [path.name for path in rules if re.search(r"\bancient\((?!\))", path.read_text(encoding="utf-8"))]
