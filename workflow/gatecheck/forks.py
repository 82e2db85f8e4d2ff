"""Work shared among forks of this process: for what keeps the interpreter to itself, so that threads gain nothing."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from gatecheck.compiled import processors
from gatecheck.errors import GatecheckError

ResultT = TypeVar("ResultT")

_MOST_AT_A_TIME = 4
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
# What forks call: they find it in their memory, so that it need not be picklable.
_functions: list[Callable[[], Any]] = []


def in_forks(functions: Sequence[Callable[[], ResultT]]) -> list[ResultT]:
    """What each function gives, in their order; each is called in a fork, as many at a time as there are processors.

    What they give is handed back pickled; what they change is lost. No other thread may be at work.

    Raises
    ------
    GatecheckError
        When a fork is killed.
    Exception
        What the first function to fail raised.
    """
    at_a_time = min(processors(), len(functions), _MOST_AT_A_TIME)
    if at_a_time < 2 or sys.platform != "linux":
        return [function() for function in functions]
    _functions[:] = functions
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(at_a_time, context, initializer=die_with, initargs=(os.getpid(),)) as pool:
            return list(pool.map(_call, range(len(functions))))
    except BrokenProcessPool as error:
        raise GatecheckError(
            "A process that shared the work ended without a result: it was killed, or ran out of memory. "
            "Run the same command again."
        ) from error
    finally:
        _functions.clear()


def _call(number: int) -> Any:
    return _functions[number]()


def die_with(parent: int) -> None:
    """Be killed when this process's parent ends: nobody would wait for this child any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            os._exit(1)
