"""Children of a process that has everything ready: each does one task from where the parent stands.

Geant4 takes some seconds to build its tables. A process that has built them forks once for every chunk, so that the
tables are built once for all of them; a child's memory is the parent's until it writes to it.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from gatecheck.errors import GatecheckError, SimulationError
from gatecheck.forks import die_with

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.2
_LARGEST_MESSAGE = 32_000  # bytes; a pipe holds 65536


@dataclass(frozen=True, slots=True)
class ChildOf:
    """What a child is, seen from inside.

    Attributes
    ----------
    number : int
        Which of the tasks it does.
    messages : int
        File descriptor that takes its error to the parent.
    born_at : float
        `time.perf_counter` at the fork.
    """

    number: int
    messages: int
    born_at: float


def can_fork() -> bool:
    """Whether this system forks processes."""
    return hasattr(os, "fork")


def fork_each(tasks: int, *, at_a_time: int = 1, longest_seconds: float = math.inf) -> ChildOf | None:
    """Fork a child for each task; a child gets what it is, and the parent None when all have ended.

    A child ends with `end_child`, and by SIGKILL when its parent dies. After an error no more children are forked, and
    the error is raised when those that run have ended: what they finish is kept.

    Parameters
    ----------
    longest_seconds : float
        A child that runs longer is killed, by a clock that nobody sets.

    Raises
    ------
    GatecheckError
        What the first child to fail raised; SimulationError when it was killed.
    """
    parent = os.getpid()
    running: dict[int, _Running] = {}
    error: GatecheckError | None = None
    waiting = list(range(tasks))
    while running or (waiting and error is None):
        if waiting and error is None and len(running) < at_a_time:
            child = _fork(waiting.pop(0), parent, [one.messages for one in running.values()])
            if isinstance(child, ChildOf):
                return child
            running[child[0]] = _Running(child[1], time.monotonic() + longest_seconds)
            continue
        ended = _next_to_end(running)
        if ended is None:
            continue
        process, code = ended
        one = running.pop(process)
        found = _error_of(one.messages, code)
        if found is not None and time.monotonic() > one.until:
            found = SimulationError(
                f"A chunk did not end within {longest_seconds / 60:.3g} minutes, and was stopped. If the machine was "
                "only slow, raise execution.longest_chunk_minutes and run the same command again."
            )
        error = error or found
    if error is not None:
        raise error
    return None


@dataclass(frozen=True, slots=True)
class _Running:
    messages: int
    until: float


def _next_to_end(running: dict[int, _Running]) -> tuple[int, int] | None:
    """The child that ends next and its exit code; kills those that run for too long. None: it was no child of these."""
    if all(math.isinf(one.until) for one in running.values()):
        process, status = os.waitpid(-1, 0)
    else:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            for late, one in running.items():
                if time.monotonic() > one.until:
                    os.kill(late, signal.SIGKILL)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    return (process, os.waitstatus_to_exitcode(status)) if process in running else None


def _fork(number: int, parent: int, of_others: Sequence[int]) -> ChildOf | tuple[int, int]:
    """What it is in the child; process and descriptor to read from in the parent."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process != 0:
        os.close(writing)
        return process, reading
    for descriptor in (reading, *of_others):
        os.close(descriptor)
    die_with(parent)
    return ChildOf(number, writing, time.perf_counter())


def _error_of(messages: int, code: int) -> GatecheckError | None:
    with os.fdopen(messages, "rb") as stream:
        content = stream.read()
    if code == 0:
        return None
    try:
        error = pickle.loads(content)
    except (EOFError, pickle.UnpicklingError):
        error = None
    if isinstance(error, GatecheckError):
        return error
    return SimulationError(
        "A simulation process ended without a result: it was killed, ran out of memory or Geant4 stopped it. "
        "Its messages are above; run the same command again."
    )


def end_child(child: ChildOf, error: BaseException | None = None) -> NoReturn:
    """End this child at once, nothing of the parent's cleaned up, and tell the parent of an error."""
    if error is not None:
        if not isinstance(error, GatecheckError):
            logger.error("a simulation process failed", exc_info=error)
            error = SimulationError(f"A simulation process failed: {type(error).__name__}: {error}")
        content = pickle.dumps(error)
        if len(content) > _LARGEST_MESSAGE:  # the parent reads when this process has ended: nothing may wait for it
            content = pickle.dumps(SimulationError(str(error)[: _LARGEST_MESSAGE // 8]))
        with os.fdopen(child.messages, "wb") as stream:
            stream.write(content)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if error is None else 1)
