"""Two runs, and steps that outlive theirs."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gatecheck.errors import PREPARED_VARIABLE, GatecheckError, WriteError
from gatecheck.file_locks import one_at_a_time
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


def _no_locks(_descriptor: int, _operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_file_system_without_locks_is_said_and_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    layout = CaseLayout(tmp_path)
    with locked(layout):
        assert "nothing keeps a second gatecheck off this case" in caplog.text
        monkeypatch.setenv(PREPARED_VARIABLE, token_of_run(layout))
        work_on(layout)
        assert "would not wait for this step" in caplog.text
        wait_until_left_alone(layout, pytest.fail)
    with one_at_a_time(tmp_path / "lock", lambda: pytest.fail("waited")) as is_alone:
        assert not is_alone
    # What is no lack of locks is an error all the same.
    monkeypatch.setattr(fcntl, "flock", _broken)
    for block in (locked(layout), one_at_a_time(tmp_path / "lock", lambda: None)):
        with pytest.raises(OSError, match=re.escape(os.strerror(errno.EIO))), block:
            pass


def _broken(_descriptor: int, _operation: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_one_at_a_time_goes_through_and_the_next_is_told_that_it_waits(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "lock"
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        with one_at_a_time(lock, waits.set):
            order.append("second")

    with one_at_a_time(lock, lambda: pytest.fail("waited")) as is_alone:
        assert is_alone
        other = threading.Thread(target=second)
        other.start()
        assert waits.wait(20)
        order.append("first")
    other.join(20)
    assert order == ["first", "second"]


def test_a_folder_that_takes_no_lock_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file in its place", encoding="utf-8")
    with (
        pytest.raises(WriteError, match=r"^folder: cannot be written to \(.+\)\.$"),
        one_at_a_time(tmp_path / "folder" / "lock", lambda: None),
    ):
        pass
