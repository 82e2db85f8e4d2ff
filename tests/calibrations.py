"""Calibrations that tests of whole workflows lend each other: the same one takes each of them half a core-minute."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from gatecheck.layout import linac_results_folder

# Relative sigma of those that all have in common.
RELATIVE_SIGMA = 0.015


@dataclass(frozen=True)
class Calibrations:
    """Those that this run of the tests has made, by their keys; every process of the run sees them."""

    folder: Path

    def lend(self, results: Path) -> None:
        """Those of a folder of results for the others, and the others' for it."""
        own = linac_results_folder(results)
        _copy_finished(own, self.folder)
        _copy_finished(self.folder, own)


def _copy_finished(source: Path, target: Path) -> None:
    for path in source.glob("*/calibration.json"):
        wanted = target / path.parent.name / path.name
        if not wanted.exists():
            wanted.parent.mkdir(parents=True, exist_ok=True)
            part = wanted.with_name(f"{uuid.uuid4()}.part")
            shutil.copyfile(path, part)
            part.replace(wanted)
