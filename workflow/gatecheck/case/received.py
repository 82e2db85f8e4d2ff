"""Files that arrive one by one, kept by study until that is complete, then handed on as a folder.

incoming/<study>/<kind>-<instance>.dcm    what has arrived; <study> and <instance> are hashes of UIDs, no names
queue/<study>/                            a complete study, moved there whole
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from gatecheck.errors import InputError, WriteError
from gatecheck.files import write_atomically

logger = logging.getLogger(__name__)

_DIGITS = 16
INCOMING, QUEUE = "incoming", "queue"
NEEDED = ("CT", "RTSTRUCT", "RTPLAN")
"""Kinds of files without which a study is not complete; a dose may be missing."""


class Kept(Enum):
    """What became of a file."""

    NEW = "new"
    SAME = "there already, the same"
    DIFFERENT = "there already, with another content"


def hashed(uid: str) -> str:
    """A name that says nothing of whom it belongs to."""
    return hashlib.sha256(uid.encode("utf-8")).hexdigest()[:_DIGITS]


@dataclass
class Studies:
    """Received studies in a folder; what an earlier run kept there is taken up.

    Attributes
    ----------
    folder : Path
    quiet_seconds : float
        Without a new file, after which a study is taken for complete.
    clock : callable
        Seconds that only rise.

    Raises
    ------
    InputError
        When another process receives into the folder.
    WriteError
        When it cannot be made.
    """

    folder: Path
    quiet_seconds: float
    clock: Callable[[], float] = time.monotonic
    _last: dict[str, float] = field(default_factory=dict)
    _kinds: dict[str, set[str]] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _held: int | None = None

    def __post_init__(self) -> None:
        for name in (INCOMING, QUEUE):
            try:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise WriteError(f"{name}: cannot be made ({error.strerror}).") from error
        self._hold()
        for study in (self.folder / INCOMING).iterdir():
            for partial in study.glob(".*"):
                partial.unlink()  # of a run that was killed while it wrote: the sender never had an answer
            self._last[study.name] = self.clock()
            self._kinds[study.name] = {path.name.split("-")[0] for path in study.glob("*-*.dcm")}

    def _hold(self) -> None:
        """Have the folder for this process alone, until it ends or gives it back.

        A second one would take what the first is about to write for left over.
        """
        held = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise InputError(
                f"{self.folder.name}: another gatecheck receives into this folder. Stop it, or give another folder."
            ) from None
        self._held = held

    def give_back(self) -> None:
        """Let another have the folder."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def keep(self, study_uid: str, instance_uid: str, content: bytes, *, kind: str) -> Kept:
        """Write a file, whole or not at all; one that is there is never written again.

        Parameters
        ----------
        kind : "CT", "RTSTRUCT", "RTPLAN" or "RTDOSE"

        Raises
        ------
        WriteError
            When it cannot be written.
        """
        study = hashed(study_uid)
        path = self.folder / INCOMING / study / f"{kind}-{hashed(instance_uid)}.dcm"
        with self._lock:
            self._last[study] = self.clock()
            path.parent.mkdir(exist_ok=True)
            if path.exists():
                return Kept.SAME if path.read_bytes() == content else Kept.DIFFERENT
            with write_atomically(path) as temporary:
                temporary.write_bytes(content)
            self._kinds.setdefault(study, set()).add(kind)
            self._last[study] = self.clock()
        return Kept.NEW

    def queue_complete(self, is_busy: bool = False) -> list[Path]:
        """Move studies that have all kinds and have been quiet for long enough; gives their new folders.

        Parameters
        ----------
        is_busy : bool
            A sender is still connected: nothing is complete.
        """
        moved: list[Path] = []
        with self._lock:
            now = self.clock()
            if is_busy:
                return moved
            for study, last in list(self._last.items()):
                if now - last < self.quiet_seconds:
                    continue
                missing = [kind for kind in NEEDED if kind not in self._kinds.get(study, ())]
                if missing:
                    self._warn(study, missing)
                    continue
                try:
                    moved.append(self._move(study))
                except OSError as error:  # taken away by hand, or a disk that fails: the others go on
                    logger.error("study %s cannot be moved to the queue (%s)", study, error.strerror)
                    if (self.folder / INCOMING / study).exists():
                        self._last[study] = now
                        continue
                del self._last[study]
                self._kinds.pop(study, None)
                self._warned.discard(study)
        return moved

    def _move(self, study: str) -> Path:
        target, number = self.folder / QUEUE / study, 1
        while target.exists():  # sent again: another folder beside it
            number += 1
            target = self.folder / QUEUE / f"{study}-{number}"
        (self.folder / INCOMING / study).rename(target)
        logger.info("study %s is complete: %d files", target.name, sum(1 for _ in target.iterdir()))
        return target

    def _warn(self, study: str, missing: list[str]) -> None:
        if study not in self._warned:
            self._warned.add(study)
            logger.warning("study %s waits: it is quiet, and has no %s", study, " and no ".join(missing))
