"""Processes that start anew: each ends in time, and with the one that started it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gatecheck.errors import SimulationError
from gatecheck.transport.process import run_in_process, run_in_processes

_PARENT = """
from pathlib import Path
import sys
sys.path.insert(0, sys.argv[2])
from test_processes import sleep_and_write
from gatecheck.transport.process import run_in_process
if __name__ == "__main__":
    run_in_process(sleep_and_write, path=Path(sys.argv[1]), seconds=600.0)
"""


def sleep_and_write(path: Path, seconds: float) -> None:
    path.with_suffix(".begun").write_text("")
    time.sleep(seconds)
    path.write_text("")


def say(words: str) -> str:
    sys.stdout.write(words)  # into a buffer, without a line's end
    return words.upper()


def test_what_a_process_says_last_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    """It leaves at once when its result is there, and takes nothing down; its output is not lost."""
    assert run_in_process(say, words="farewell") == "FAREWELL"
    assert capfd.readouterr().out == "farewell"


def test_a_process_that_runs_for_too_long_is_ended_and_said(tmp_path: Path) -> None:
    requests = [{"path": tmp_path / "short", "seconds": 0.0}, {"path": tmp_path / "long", "seconds": 600.0}]
    started = time.monotonic()
    with pytest.raises(SimulationError, match=r"within 0.05 minutes: .*execution\.longest_chunk_minutes"):
        run_in_processes(sleep_and_write, requests, processes=2, longest_seconds=3.0)
    assert time.monotonic() - started < 120
    assert (tmp_path / "short").exists()
    assert not (tmp_path / "long").exists()


def test_where_no_setting_decides_how_long_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatecheck.transport.process.LONGEST_WITHOUT_PLAN", 2.0)
    with pytest.raises(SimulationError, match=r"ran out of memory or of time or Geant4 stopped it"):
        run_in_processes(sleep_and_write, [{"path": tmp_path / "long", "seconds": 600.0}], longest_seconds=2.0)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path / "never"), str(Path(__file__).parent)])
    deadline = time.monotonic() + 120
    while not (tmp_path / "never.begun").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children
    parent.kill()
    parent.wait()
    assert not psutil.wait_procs(children, timeout=60)[1]
