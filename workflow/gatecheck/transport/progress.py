"""How far a chunk is, for those who wait; never used for a result."""

from __future__ import annotations

import json
from pathlib import Path

from gatecheck.files import write_atomically


def progress_file(transport_folder: Path, index: int) -> Path:
    """Where chunk `index` says how far it is, while it runs."""
    return transport_folder / f".chunk-{index:04d}.progress"


def write_progress(transport_folder: Path, index: int, histories_done: int) -> None:
    """Say how many source photons of a running chunk are done."""
    with write_atomically(progress_file(transport_folder, index)) as temporary:
        temporary.write_text(json.dumps({"histories": histories_done}), encoding="ascii")


def read_progress(transport_folder: Path, index: int) -> int:
    """Source photons done in a running chunk; 0 where it has said nothing."""
    try:
        content = json.loads(progress_file(transport_folder, index).read_text(encoding="ascii"))
        return int(content["histories"])
    except (FileNotFoundError, ValueError, KeyError):
        return 0
