"""The verb `listen`: a DICOM receiver that runs until it is stopped."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import typer

from gatecheck.case.listen import Listener
from gatecheck.case.received import Studies
from gatecheck.config import ListenConfig
from gatecheck.errors import InputError

_SECONDS_BETWEEN_LOOKS = 0.5


def run_listen(folder: Path, settings: ListenConfig) -> None:
    """Receive, and queue what is complete, until SIGINT or SIGTERM; what has arrived by then stays.

    Raises
    ------
    InputError
        When nobody may send, or the port is taken.
    """
    if not settings.callers:
        raise InputError("listen.callers: no caller found, the AE title of each sender that is known expected.")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    studies = Studies(folder, settings.quiet_seconds)
    listener = Listener(settings, studies)
    with listener.listening() as port:
        typer.echo(f"listening at {settings.address}, port {port}, as {settings.ae_title}")
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            for study in studies.queue_complete(listener.is_busy):
                typer.echo(f"complete: {study.name}")
    typer.echo("stopped; what has arrived is kept")
