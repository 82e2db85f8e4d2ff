"""Work shared among forks gives what it gives without them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from gatecheck import forks
from gatecheck.errors import GatecheckError, ResultError
from gatecheck.forks import in_forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "processors", lambda: 2)


def test_results_come_in_the_order_of_the_functions_from_other_processes() -> None:
    offset = 10  # what a function closes over needs no pickling
    functions = [lambda number=number: (number + offset, os.getpid()) for number in range(5)]
    found = in_forks(functions)
    assert [number for number, _ in found] == [10, 11, 12, 13, 14]
    processes = {process for _, process in found}
    assert os.getpid() not in processes
    assert len(processes) <= 2


@pytest.mark.parametrize("count", [0, 1])
def test_what_cannot_be_shared_is_done_here(count: int) -> None:
    assert in_forks([os.getpid] * count) == [os.getpid()] * count


def test_one_processor_does_it_all_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "processors", lambda: 1)
    assert in_forks([os.getpid, os.getpid]) == [os.getpid()] * 2


def test_a_refusal_comes_back_as_it_was() -> None:
    def refuse() -> int:
        raise ResultError("dose.mha: damaged")

    with pytest.raises(ResultError, match=r"^dose.mha: damaged$"):
        in_forks([lambda: 1, refuse, lambda: 2])


def test_a_fork_that_is_killed_is_said() -> None:
    def killed() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    with pytest.raises(GatecheckError, match="killed, or ran out of memory"):
        in_forks([killed, lambda: 1])


def test_forks_end_with_the_process_that_made_them() -> None:
    code = "import time; from gatecheck import forks; forks.processors = lambda: 2; "
    code += "forks.in_forks([lambda: time.sleep(600)] * 2)"
    process = psutil.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while len(children := process.children()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait(timeout=10)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert len(children) == 2
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_the_command_line_leaves_sharing_out_to_gatecheck() -> None:
    """Snakemake gives OpenBLAS as many threads as a rule has."""
    code = "import gatecheck.cli, os; print(os.environ['OPENBLAS_NUM_THREADS'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1"
