"""What a waiting person sees: the step, photons done and an honest time left."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gatecheck.config import load_config
from gatecheck.errors import ResultError
from gatecheck.layout import CaseLayout
from gatecheck.transport.progress import read_calibration_progress, read_progress
from gatecheck.transport.rounds import read_plan

STEPS = (
    "phantom",
    "ingest",
    "deliver",
    "voxelise",
    "calibrate",
    "plan_chunks",
    "simulate",
    "top_up",
    "merge",
    "compare",
    "recalculate",
    "report",
)
_SECONDS_BETWEEN_LINES = 60.0
_STEP_PATTERN = re.compile(rf"^(?:Job \d+: )?({'|'.join(STEPS)}): (.+)$", re.MULTILINE)
# Below this share of the work a rate says more of start-up than of speed.
_LEAST_SHARE_FOR_A_FORECAST = 0.02


@dataclass(frozen=True, slots=True)
class PhotonCount:
    """Source photons of the chunks, done and asked for."""

    done: int
    total: int
    chunks_done: int
    chunks: int


def count_photons(layout: CaseLayout, change: str = "", chunks: int | None = None) -> PhotonCount | None:
    """Photons done so far, from finished chunks and the progress of those that run; None before there is a plan.

    Parameters
    ----------
    change : str
        Of the recalculation whose photons are counted; empty: of the case's own chunks.
    chunks : int, optional
        The first so many of the plan; without it all.
    """
    if not layout.chunk_plan.exists():
        return None
    try:
        plan = read_plan(layout.transport)
    except ResultError:
        return None
    folder = layout.recalculations / change if change else layout.transport
    done = finished = 0
    counted = plan.chunks[:chunks]
    for chunk in counted:
        if (folder / layout.chunk(chunk.index).name).exists():
            finished += 1
            done += chunk.histories
        else:
            done += min(read_progress(folder, chunk.index), chunk.histories)
    return PhotonCount(done, sum(chunk.histories for chunk in counted), finished, len(counted))


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class ProgressDisplay:
    """One live line on a terminal; elsewhere a line at each step and one a minute."""

    def __init__(self, layout: CaseLayout, log_file: Path) -> None:
        self._layout = layout
        self._log_file = log_file
        self._console = Console(file=sys.stderr)
        self._live = Live(console=self._console, refresh_per_second=2) if self._console.is_terminal else None
        self._started = time.monotonic()
        config = load_config(layout.config, check_inputs=False)
        self._steps = tuple(step for step in STEPS if step != "recalculate" or config.changes)
        self._recalculated_chunks = config.recalculation.chunks
        self._first_count: dict[str, tuple[float, int]] = {}
        self._last_line = 0.0
        self._last_step = ""

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self) -> None:
        """Look at what there is and say it."""
        step, detail = self._current_step()
        if not step:
            return
        text = f"[{self._steps.index(step) + 1}/{len(self._steps)}] {step}: "
        if step == "simulate":
            text += self._photons()
        elif step == "recalculate":
            change = detail.split(",", maxsplit=1)[0]
            text += f"{detail}: {self._photons(change, self._recalculated_chunks)}"
        else:
            text += detail
        if step == "calibrate":
            text += self._calibration()
        text += f", {duration(time.monotonic() - self._started)} so far"
        if self._live:
            self._live.update(Text(text))
            return
        now = time.monotonic()
        if step != self._last_step or now - self._last_line > _SECONDS_BETWEEN_LINES:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
            self._last_line, self._last_step = now, step

    def _current_step(self) -> tuple[str, str]:
        try:
            log = self._log_file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "", ""
        found = _STEP_PATTERN.findall(log)
        return found[-1] if found else ("", "")

    def _calibration(self) -> str:
        progress = read_calibration_progress(self._layout.transport)
        if progress is None:
            return ""
        return (
            f", {progress.photons / 1e6:.2f} of about {progress.photons_expected / 1e6:.2f} million photons, sigma "
            f"{100 * progress.relative_sigma:.2f} % of {100 * progress.wanted:.2f} % wanted, when last looked at about "
            f"{duration(progress.seconds_left)} left"
        )

    def _photons(self, change: str = "", chunks: int | None = None) -> str:
        count = count_photons(self._layout, change, chunks)
        if count is None:
            return "planning"
        now = time.monotonic()
        text = (
            f"{count.done / 1e6:.2f} of {count.total / 1e6:.2f} million photons, "
            f"{count.chunks_done} of {count.chunks} chunks"
        )
        since, before = self._first_count.setdefault(change, (now, count.done))
        gained = count.done - before
        if gained > _LEAST_SHARE_FOR_A_FORECAST * count.total:
            left = (count.total - count.done) * (now - since) / gained
            return f"{text}, about {duration(left)} left"
        return f"{text}, time left not known yet"
