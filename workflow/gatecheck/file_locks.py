"""Files that keep processes apart, on one machine or on several that see the same file system."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gatecheck.errors import WriteError

NO_LOCKS = frozenset([errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
"""What a file system says that has none, such as Lustre mounted without them."""


@contextlib.contextmanager
def one_at_a_time(lock: Path, say: Callable[[], object]) -> Iterator[bool]:
    """A block that one process at a time goes through, on all machines that see the file; on a file system without
    locks, any number.

    Parameters
    ----------
    lock : Path
        A file of no content, made where there is none, and left there.
    say : callable
        Called once when another process is in it, before this one waits.

    Raises
    ------
    WriteError
        When the file cannot be made.

    Yields
    ------
    bool
        Whether this process is alone in it, for sure.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise WriteError(f"{lock.parent.name}: cannot be written to ({error.strerror}).") from error
    is_alone = True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            is_alone = False
        yield is_alone
    finally:
        os.close(descriptor)
