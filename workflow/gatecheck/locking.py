"""Who works on a case: one run at a time, and nothing of a run before it.

A run holds the case's lock from its start to its end. Its steps are processes of their own, perhaps on other machines,
and may outlive it: Snakemake or the command may be killed, a cluster's jobs wait in its queue. Two things keep such a
step and the next run apart. Every step holds a second lock, shared with the run's other steps, and the next run waits
until nobody does: what still works finishes its chunks, which are then there. And every run leaves a token in the lock
file and gives it to its steps: a step that starts after another run has begun finds another one, and refuses.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator

from gatecheck.errors import PREPARED_VARIABLE, GatecheckError
from gatecheck.file_locks import NO_LOCKS
from gatecheck.layout import CaseLayout

_POLL_SECONDS = 0.5

logger = logging.getLogger(__name__)


def lock_case(layout: CaseLayout) -> int:
    """Take the case for this process until the descriptor is closed; a process that inherits it keeps it too.

    Raises
    ------
    GatecheckError
        When another process has it, which is named.
    """
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder, _ = _content(layout)
        os.close(descriptor)
        raise GatecheckError(
            f"{layout.folder.name}: another gatecheck works on this case"
            f"{f' (process {holder})' if holder else ''}. Wait for it to end, or stop it first."
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            os.close(descriptor)
            raise
        logger.warning(
            "this file system has no locks: nothing keeps a second gatecheck off this case while this one works on it"
        )
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()} {secrets.token_hex(8)}\n".encode("ascii"))
    return descriptor


@contextlib.contextmanager
def locked(layout: CaseLayout) -> Iterator[int]:
    """`lock_case` for the length of a block."""
    descriptor = lock_case(layout)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def token_of_run(layout: CaseLayout) -> str:
    """Of the run that has the case, or had it last; its steps find it in the environment (PREPARED_VARIABLE)."""
    return _content(layout)[1]


def _content(layout: CaseLayout) -> tuple[str, str]:
    """Process and token in the lock file; empty where there are none."""
    try:
        words = layout.lock.read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        words = []
    process, token = (*words, "", "")[:2]
    return process, token


def work_on(layout: CaseLayout) -> None:
    """Be seen to work on the case until this process ends.

    Raises
    ------
    GatecheckError
        When this is a step of a run that has ended, and another one has begun since.
    """
    try:
        # Never closed: the lock goes with the process. A run that looks holds it for a moment only.
        fcntl.flock(os.open(layout.working, os.O_RDWR | os.O_CREAT, 0o644), fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning("this file system has no locks: a run that begins now would not wait for this step")
    token = os.environ.get(PREPARED_VARIABLE)
    if token and token != token_of_run(layout):
        raise GatecheckError(
            f"{layout.folder.name}: this step belongs to a run that has ended, and a newer one has the case. Nothing "
            "was done."
        )


def wait_until_left_alone(layout: CaseLayout, say: Callable[[str], object]) -> None:
    """Wait for steps that have outlived their run; for the holder of the case's lock.

    Parameters
    ----------
    say : callable
        Gets one sentence when there is something to wait for.
    """
    descriptor = os.open(layout.working, os.O_RDWR | os.O_CREAT, 0o644)
    waits = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waits:
                    say("A step of an earlier run still works on this case: waiting for it, what it finishes is used.")
                waits = True
                time.sleep(_POLL_SECONDS)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                return
            else:
                return
    finally:
        os.close(descriptor)
