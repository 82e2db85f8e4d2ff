"""The verb `batch`: every plan of a folder, one after another or several at a time, whatever becomes of the others.

Each plan is verified by `gatecheck verify` in a process of its own, which goes on where it stood and does nothing
twice: so a batch that was stopped goes on when the same command is given again.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from gatecheck.errors import GatecheckError, InputError
from gatecheck.report.overview import OVERVIEW_PAGE, BatchEntry, earlier_entries, entry_of, write_overview

OWN_SETTINGS = "gatecheck.yaml"
"""In a plan's folder: its configuration, in place of the batch's."""

_SAYS_REPORT, _SAYS_ERROR = "Report: ", "gatecheck: "
_SECONDS_TO_STOP = 60.0


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What the command line says.

    Attributes
    ----------
    folder : Path
        With a folder for each plan.
    cores : int
        For all plans that are worked on at a time.
    at_a_time : int
    show_folders : bool
        Say the folders' names, which may be patients'.
    """

    folder: Path
    config_file: Path | None
    results_folder: Path
    cores: int
    at_a_time: int
    profile: Path | None
    show_folders: bool


def run_batch(options: BatchOptions) -> bool:
    """Verify all plans and write the overview after each.

    Returns
    -------
    bool
        Whether every plan could be verified.

    Raises
    ------
    InputError
        When the folder holds no plans' folders.
    GatecheckError
        When it is stopped by a signal.
    """
    folders = plan_folders(options.folder, leave_out=options.results_folder)
    options.results_folder.mkdir(parents=True, exist_ok=True)
    entries = [BatchEntry(number=number, state="waiting") for number in range(1, len(folders) + 1)]
    earlier = earlier_entries(options.results_folder)
    runs = _Runs(options)
    with _stopped_by_signals(runs):
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(len(folders)):
            waiting.put(index)
        done: queue.SimpleQueue[tuple[int, BatchEntry]] = queue.SimpleQueue()
        for _ in range(min(options.at_a_time, len(folders))):
            threading.Thread(target=_work, args=(runs, folders, waiting, done), daemon=True).start()
        for ended in range(1, len(folders) + 1):
            index, entry = done.get()
            runs.check()
            entries[index] = entry
            write_overview(options.results_folder, entries, earlier)
            typer.echo(_line(entry, ended, len(folders), folders[index] if options.show_folders else None))
    typer.echo(f"Overview: {options.results_folder / OVERVIEW_PAGE}")
    return all(entry.state == "verified" for entry in entries)


def plan_folders(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """The folders of the plans, in the order of the alphabet: those directly below, but hidden ones and the results'.

    Raises
    ------
    InputError
        When there are none.
    """
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [path for path in found if leave_out is None or path.resolve() != leave_out.resolve()]
    if not found:
        raise InputError("FOLDER: no folder in it found, one for each plan expected. For one plan: gatecheck verify.")
    return found


def _work(
    runs: _Runs,
    folders: Sequence[Path],
    waiting: queue.SimpleQueue[int],
    done: queue.SimpleQueue[tuple[int, BatchEntry]],
) -> None:
    while True:
        try:
            index = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            entry = runs.verify(index + 1, folders[index])
        except GatecheckError as error:
            entry = BatchEntry(number=index + 1, state="refused", message=str(error))
        except Exception as error:
            entry = BatchEntry(
                number=index + 1, state="refused", message=f"{type(error).__name__}. Please report this."
            )
        done.put((index, entry))


@dataclass
class _Runs:
    """The processes that are at work."""

    options: BatchOptions
    running: set[subprocess.Popen[str]] = field(default_factory=set)
    stopped_by: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def verify(self, number: int, folder: Path) -> BatchEntry:
        """One plan, to its end."""
        with self._lock:
            if self.stopped_by:
                return BatchEntry(number=number, state="waiting")
            process = subprocess.Popen(
                self._command(folder),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                env=_environment(),
                text=True,
                start_new_session=True,
            )
            self.running.add(process)
            if self.stopped_by:  # between the question above and now
                process.send_signal(signal.SIGTERM)
        output, errors = process.communicate()
        with self._lock:
            self.running.discard(process)
        reports = [line for line in output.splitlines() if line.startswith(_SAYS_REPORT)]
        if process.returncode == 0 and reports:
            case = Path(reports[-1].removeprefix(_SAYS_REPORT)).parents[1].name
            return entry_of(number, self.options.results_folder, case)
        told = [line.removeprefix(_SAYS_ERROR) for line in errors.splitlines() if line.startswith(_SAYS_ERROR)]
        message = told[-1] if told else f"gatecheck verify ended with {process.returncode} and without a message."
        return BatchEntry(number=number, state="refused", message=message)

    def _command(self, folder: Path) -> list[str]:
        options = self.options
        own = folder / OWN_SETTINGS
        config = own if own.exists() else options.config_file
        return [
            *(sys.executable, "-m", "gatecheck.cli.main", "verify", str(folder)),
            *(() if config is None else ("--config", str(config))),
            *("--results", str(options.results_folder)),
            *("--cores", str(max(1, options.cores // options.at_a_time))),
            *(() if options.profile is None else ("--profile", str(options.profile))),
        ]

    def stop(self, number: int) -> None:
        """Have all end, and start none."""
        self.stopped_by = number
        for process in list(self.running):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def check(self) -> None:
        """Raise when a signal came, once all have ended."""
        if not self.stopped_by:
            return
        for process in list(self.running):
            try:
                process.wait(timeout=_SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        raise GatecheckError(
            f"stopped by signal {self.stopped_by}. What was finished is kept: run the same command again to go on."
        )


def _environment() -> dict[str, str]:
    # gatecheck may be run from a folder of its source.
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@contextlib.contextmanager
def _stopped_by_signals(runs: _Runs) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _frame: runs.stop(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _line(entry: BatchEntry, ended: int, total: int, folder: Path | None) -> str:
    named = f" ({folder.name})" if folder is not None else ""
    what = f"{entry.case}: {entry.outcome}" if entry.state == "verified" else f"not verified: {entry.message}"
    return f"{ended} of {total}: plan {entry.number}{named}, {what}"
