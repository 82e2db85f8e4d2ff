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
    """Pairs of a rule and one that waits for it, up to the plan of the chunks, of a case where nothing is done yet."""
    folder = tmp_path_factory.mktemp("rules")
    config = folder / "config.yaml"
    content = {"results_folder": str(folder / "results"), "case": {"name": "new"}}
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    chunks = folder / "results" / "new" / "transport" / "chunks.json"
    words = ["--snakefile", str(project_folder() / "Snakefile"), "--configfile", str(config), "--cores", "1"]
    environment = os.environ | {"PYTHONPATH": str(project_folder() / "workflow")}
    # A test of the front door in the same process may have left word that a case is prepared: this one is not.
    environment.pop(PREPARED_VARIABLE, None)
    found = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "--rulegraph", "--", str(chunks)],
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


@pytest.mark.parametrize("rule", ["calibrate", "plan_chunks"])
def test_what_takes_long_waits_until_the_configuration_is_held_against_the_case(
    waits: set[tuple[str, str]], rule: str
) -> None:
    assert ("check_comparison", rule) in waits
