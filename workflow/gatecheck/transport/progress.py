"""How far a chunk is, for those who wait; never used for a result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gatecheck.files import write_atomically

_CALIBRATION = ".calibration.progress"


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


@dataclass(frozen=True, slots=True)
class CalibrationProgress:
    """How far the reference field is, after a round of it.

    Attributes
    ----------
    relative_sigma, wanted : float
    photons, photons_expected : int
        Source photons done, and done at the end as far as is known.
    seconds_left : float
        At the speed so far.
    """

    relative_sigma: float
    wanted: float
    photons: int
    photons_expected: int
    seconds_left: float


def write_calibration_progress(folder: Path, progress: CalibrationProgress) -> None:
    """Replace the file that says how far the calibration is."""
    with write_atomically(folder / _CALIBRATION) as temporary:
        temporary.write_text(json.dumps(asdict(progress)), encoding="ascii")


def read_calibration_progress(folder: Path) -> CalibrationProgress | None:
    """What the calibration said last; None before its first round and after its end."""
    try:
        return CalibrationProgress(**json.loads((folder / _CALIBRATION).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def remove_calibration_progress(folder: Path) -> None:
    """The calibration has ended."""
    (folder / _CALIBRATION).unlink(missing_ok=True)
