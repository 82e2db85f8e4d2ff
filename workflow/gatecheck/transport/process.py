"""A process of its own for each simulation: GATE runs one simulation per process."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, TypeVar

from gatecheck.errors import SimulationError
from gatecheck.forks import die_with

ResultT = TypeVar("ResultT")
LONGEST_WITHOUT_PLAN = 6 * 3600.0
"""Seconds that a process may run whose length no pilot has foretold: the longest take a fraction of an hour."""


def run_in_processes(
    function: Callable[..., ResultT],
    arguments: Sequence[dict[str, Any]],
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
    longest_seconds: float = math.inf,
) -> list[ResultT]:
    """Call a function once per set of keyword arguments, each call in a fresh process.

    Function, arguments and results must be picklable. At most `processes` run at a time. `progress` is called at
    the start and after each call, with the number of finished calls and of all. A process that runs longer than
    `longest_seconds` ends itself, by a clock that nobody sets, and all end with this one.

    Raises
    ------
    SimulationError
        When a process dies (killed, out of memory, out of time, a fatal exception of Geant4).
    """
    setting = "" if longest_seconds == LONGEST_WITHOUT_PLAN else "(execution.longest_chunk_minutes) "
    limit = "" if math.isinf(longest_seconds) else f" within {longest_seconds / 60:.3g} minutes"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=processes, mp_context=context, max_tasks_per_child=1) as pool:
        futures = [pool.submit(_called, function, keywords, os.getpid(), longest_seconds) for keywords in arguments]
        try:
            if progress is not None:
                progress(0, len(futures))
                for done, _ in enumerate(as_completed(futures), start=1):
                    progress(done, len(futures))
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise SimulationError(
                f"A simulation process ended without a result{limit}: it was killed, ran out of memory "
                f"{f'or of time {setting}' if limit else ''}or Geant4 stopped it. "
                "Its messages are above; run the same command again."
            ) from error


def _called(function: Callable[..., ResultT], keywords: dict[str, Any], parent: int, longest_seconds: float) -> ResultT:
    die_with(parent)
    # Once the result is sent, which is before this: taking Geant4 and Python down piece by piece takes seconds.
    Finalize(None, _leave, exitpriority=-1000)
    if not math.isinf(longest_seconds):
        # From a thread of its own, which what is compiled cannot hold up; it says where the process stood.
        faulthandler.dump_traceback_later(longest_seconds, exit=True)
    return function(**keywords)


def _leave() -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def run_in_process(function: Callable[..., ResultT], **keywords: Any) -> ResultT:
    """Call a function in a fresh process and give its result."""
    return run_in_processes(function, [keywords])[0]


def age_of_process() -> float | None:
    """Seconds since this process was started, its imports included; None where the system does not say."""
    try:
        # Behind the command's name, which may hold blanks and brackets; field 22 counts from the state, the third.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return None


@contextlib.contextmanager
def called_every_second(watch: Callable[[], None]) -> Iterator[None]:
    """Call a function every second, from a thread beside this one, and once at the end."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(1.0):
            watch()

    beside = threading.Thread(target=look, daemon=True)
    beside.start()
    try:
        yield
    finally:
        ended.set()
        beside.join()
    watch()
