"""Two runs, and steps that outlive theirs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gatecheck.errors import PREPARED_VARIABLE, GatecheckError
from gatecheck.layout import CaseLayout
from gatecheck.locking import locked, token_of_run, wait_until_left_alone, work_on

_STEP = """
import sys
from pathlib import Path
from gatecheck.layout import CaseLayout
from gatecheck.locking import work_on
work_on(CaseLayout(Path(sys.argv[1])))
sys.stdout.write("working\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def step(folder: Path) -> subprocess.Popen[str]:
    """A process that works on the case until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _STEP, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


def test_a_second_run_is_refused_and_names_the_first(tmp_path: Path) -> None:
    layout = CaseLayout(tmp_path)
    with locked(layout):
        with (
            pytest.raises(GatecheckError, match=r"another gatecheck works on this case \(process \d+\)"),
            locked(layout),
        ):
            pass
        token = token_of_run(layout)
    with locked(layout):
        assert token_of_run(layout) not in ("", token)


def test_nothing_is_waited_for_where_nothing_works(tmp_path: Path) -> None:
    said: list[str] = []
    wait_until_left_alone(CaseLayout(tmp_path), said.append)
    assert not said


def test_steps_share_a_case_and_the_next_run_waits_for_all_of_them(tmp_path: Path) -> None:
    steps = [step(tmp_path), step(tmp_path)]
    said: list[str] = []
    waiting = threading.Thread(target=wait_until_left_alone, args=(CaseLayout(tmp_path), said.append))
    waiting.start()
    steps[0].communicate()
    time.sleep(1.0)
    assert waiting.is_alive()
    steps[1].kill()
    steps[1].communicate()
    waiting.join(timeout=20)
    assert not waiting.is_alive()
    assert len(said) == 1


def test_a_step_of_a_run_that_has_ended_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = CaseLayout(tmp_path)
    with locked(layout):
        monkeypatch.setenv(PREPARED_VARIABLE, token_of_run(layout))
        work_on(layout)
    work_on(layout)  # nobody has begun since
    with locked(layout), pytest.raises(GatecheckError, match="belongs to a run that has ended"):
        work_on(layout)
    monkeypatch.delenv(PREPARED_VARIABLE)
    work_on(layout)
