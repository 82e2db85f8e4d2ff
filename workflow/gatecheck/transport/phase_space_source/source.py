"""A phase space as the machine's source: histories counted out, each used a stated number of times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.config import PhaseSpaceConfig
from gatecheck.errors import InputError, ResultError
from gatecheck.files import read_json, sha256_of_json, write_json
from gatecheck.linac.model import LinacModel
from gatecheck.transport.phase_space_source.frame import Frame, frame_of
from gatecheck.transport.phase_space_source.inspection import (
    INDEX_STRIDE,
    FileSummary,
    SourceSummary,
    history_starts,
    inspect_phase_space,
    is_of,
)
from gatecheck.transport.phase_space_source.records import BLOCK, PhaseSpaceFile, Records, open_phase_space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SUMMARY_NAME = "phase_space.json"


@dataclass(frozen=True, slots=True)
class HistoryRun:
    """Successive histories, numbered over all files of a source from 0."""

    first: int
    count: int

    @property
    def end(self) -> int:
        """The first history after the run."""
        return self.first + self.count


@dataclass(frozen=True, slots=True)
class HistoryBlock:
    """Particles of a run, in the order of the files.

    Attributes
    ----------
    history : ndarray of shape (n,), int64
        The history of each particle, never falling. A history may go on in the next block.
    record : ndarray of shape (n,), int64
        The particle's own number over all files.
    frame : Frame
    """

    records: Records
    history: IntArray
    record: IntArray
    frame: Frame


@dataclass(frozen=True, slots=True)
class PhaseSpaceSource:
    """The files of `machine.phase_space` as one source.

    Files add up: N1 original histories in one and N2 in another are N1 + N2 of the same beam. A history that left no
    particle has no number, but counts: in each file, one history that did stands for original_histories / histories.
    """

    config: PhaseSpaceConfig
    files: tuple[PhaseSpaceFile, ...]
    summary: SourceSummary

    @property
    def uses(self) -> int:
        """Histories times the number of times that each may be used."""
        return self.summary.histories * self.config.recycle

    @property
    def typical_weight(self) -> float:
        """The weight of most photons, in the file where it is least."""
        return min(file.typical_weight for file in self.summary.files)

    @property
    def content_sha256(self) -> str:
        """Over all that a dose from this source depends on: particles, frame, recycling and rotation."""
        settings = self.config.model_dump(mode="json", exclude={"files"})
        return sha256_of_json({"files": self.summary.content_sha256, "settings": settings})

    def latent_relative_sigma(self, histories: int) -> dict[str, float | None]:
        """The latent uncertainty of so many of its histories, however often each is used (see `latent`).

        Returns
        -------
        dict of str to float or None
            Relative sigma (k = 1) by the side of the square, mm at the isocentre plane.
        """
        grown = math.sqrt(self.summary.histories / histories)
        whole = self.summary.latent_relative_sigma
        return {side: None if sigma is None else grown * sigma for side, sigma in whole.items()}

    def run_from(self, first: int, histories: int) -> HistoryRun:
        """The run from history `first` on that serves so many histories, each used `recycle` times on the spot.

        The next run begins at its `end`, so that no two share a history.

        Raises
        ------
        InputError
            When there are not as many: the files are never begun again.
        """
        run = HistoryRun(first, math.ceil(histories / self.config.recycle))
        if run.end > self.summary.histories:
            self._refuse(run.end * self.config.recycle)
        return run

    def run_of_chunk(self, index: int, histories: int) -> HistoryRun:
        """The run of a chunk, counted from 1, of chunks of equal `histories`; the pilot, 0, begins with chunk 1."""
        return self.run_from(max(index - 1, 0) * math.ceil(histories / self.config.recycle), histories)

    def check_enough(self, chunks: int, histories: int) -> None:
        """Refuse to plan more chunks than the files serve.

        Raises
        ------
        InputError
        """
        self.run_of_chunk(chunks, histories)

    def _refuse(self, wanted: int) -> None:
        recycle, there = self.config.recycle, self.summary.histories
        raise InputError(
            f"machine.phase_space: {wanted} histories asked for, but its {len(self.files)} "
            f"{'file holds' if len(self.files) == 1 else 'files hold'} {there} that left particles, each to be used "
            f"{recycle} {'time' if recycle == 1 else 'times'}: {self.uses} in all. Set machine.phase_space.recycle to "
            f"{math.ceil(wanted / there)} or more, name more files, or ask for less (transport.source_photons, a "
            "larger transport.target_relative_sigma, a larger calibration.relative_sigma)."
        )

    def original_histories(self, run: HistoryRun) -> float:
        """Original histories that a run stands for."""
        place = self._original_place(np.array([run.first, run.end], dtype=np.int64))
        return float(place[1] - place[0])

    def moments(self, history: IntArray, offset: FloatArray, use: int, run: HistoryRun) -> FloatArray:
        """Moments of histories as shares of the delivery, 0 to 1: strata in the order of the run.

        A history's stratum is as wide as the original histories that it stands for. Its uses lie 1 / recycle of the
        delivery apart.

        Parameters
        ----------
        offset : ndarray of shape (n,)
            Where in its stratum each lies, from 0 to 1.
        """
        begin, end = self._original_place(history), self._original_place(history + 1)
        start = self._original_place(np.array([run.first], dtype=np.int64))[0]
        share = (begin - start + offset * (end - begin)) / self.original_histories(run)
        return np.asarray((share + use / self.config.recycle) % 1.0)

    def _original_place(self, history: IntArray) -> FloatArray:
        """Original histories before each history."""
        starts = np.cumsum([0, *(file.histories for file in self.summary.files)])
        originals = np.cumsum([0.0, *(float(file.original_histories) for file in self.summary.files)])
        return np.asarray(np.interp(history.astype(np.float64), starts.astype(np.float64), originals))

    def blocks(self, run: HistoryRun) -> Iterator[HistoryBlock]:
        """The particles of a run."""
        first_history = first_record = 0
        for file, summary in zip(self.files, self.summary.files, strict=True):
            first, last = max(run.first - first_history, 0), min(run.end - first_history, summary.histories)
            if first < last:
                frame = frame_of(self.config, flies_up_z=summary.flies_up_z)
                for records, history, record in _records_of(file, summary, first, last):
                    yield HistoryBlock(records, history + first_history, record + first_record, frame)
            first_history += summary.histories
            first_record += summary.particles


def _records_of(
    file: PhaseSpaceFile, summary: FileSummary, first: int, last: int
) -> Iterator[tuple[Records, IntArray, IntArray]]:
    """Particles of one file's histories `first` to `last` - 1, with the numbers of history and record."""
    entry = first // INDEX_STRIDE
    place = summary.index[entry]
    before = entry * INDEX_STRIDE - 1
    at_index = True
    while place < summary.particles:
        records = file.read(place, min(place + BLOCK, summary.particles))
        starts = history_starts(records, summary.marks).copy()
        # The index points at beginnings of histories; at that of a file, the mark may be missing.
        starts[0] |= at_index
        at_index = False
        history = before + np.cumsum(starts)
        inside = (history >= first) & (history < last)
        if inside.any():
            yield records.chosen(inside), history[inside], place + np.flatnonzero(inside)
        if history[-1] >= last:
            return
        place += len(records)
        before = int(history[-1])


def open_source(config: PhaseSpaceConfig, linac: LinacModel, folder: Path | None = None) -> PhaseSpaceSource:
    """Open the files of a phase-space source, with what one look at all their particles told.

    Parameters
    ----------
    folder : Path, optional
        Where that is kept as phase_space.json. It is read where it is of these files and written where not, so that
        the files are read through once and not by every chunk.

    Raises
    ------
    InputError
        As `inspect_phase_space`.
    """
    if not config.files:
        raise InputError("machine.phase_space.files: none are named, expected one IAEA phase space or more.")
    summary = None if folder is None else _kept_summary(folder / SUMMARY_NAME, config, linac)
    if summary is None:
        summary = inspect_phase_space(config, linac)
        if folder is not None:
            write_json(folder / SUMMARY_NAME, summary)
    return PhaseSpaceSource(config, tuple(open_phase_space(path) for path in config.files), summary)


def _kept_summary(path: Path, config: PhaseSpaceConfig, linac: LinacModel) -> SourceSummary | None:
    if not path.exists():
        return None
    try:
        summary = read_json(path, SourceSummary)
    except ResultError:
        return None
    return summary if is_of(summary, config, linac) else None
