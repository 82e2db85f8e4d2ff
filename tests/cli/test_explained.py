"""What `gatecheck verify` says when Snakemake ended and no step left a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatecheck.cli.verify import _explained

WHAT = "ResultError: chunks.json: cannot be read."


@pytest.mark.parametrize(
    "log",
    [
        f"WorkflowError in rule simulate in file rules.smk, line 3:\n{WHAT}\n",
        f"InputFunctionException in rule simulate in file rules.smk, line 3:\nError:\n  {WHAT}\nWildcards:\n",
    ],
)
def test_what_stopped_snakemake_itself_is_said(tmp_path: Path, log: str) -> None:
    log_file = tmp_path / "snakemake.log"
    log_file.write_text(f"Building DAG of jobs...\n{log}", encoding="utf-8")
    assert str(_explained(tmp_path / "error.json", log_file)).startswith(f"{WHAT} See logs")
