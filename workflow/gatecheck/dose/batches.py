"""The dose with one batch left out at a time, for the standard deviation of anything computed from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.compiled import processors
from gatecheck.dose.chunks import read_chunks, read_score
from gatecheck.dose.joining import Float32Array, empty, put
from gatecheck.dose.merge import course_factor
from gatecheck.dose.model import MergeResult
from gatecheck.errors import ResultError
from gatecheck.patient.model import VoxelBox
from gatecheck.transport.model import ChunkResult
from gatecheck.transport.patient_files import read_patient

FloatArray = npt.NDArray[np.float64]

MOST_KEPT = 1e9
"""Bytes of batches that are kept between the two times that they are needed; more are read twice."""


def leave_one_out_doses(transport_folder: Path, patient_folder: Path, merged: MergeResult) -> Iterator[Float32Array]:
    """Dose of the course on the joined grid with each chunk left out in turn.

    Jackknife: of n such values t_i of any quantity, sigma^2 = (n - 1) / n * sum((t_i - mean(t))^2)
    (Efron and Stein, Ann. Stat. 9:586, 1981).

    Yields
    ------
    ndarray of shape (nz, ny, nx), float32, Gy
        A new array each time.

    Raises
    ------
    ResultError
        When the chunks are not those that were merged, or are damaged.
    """
    results = read_chunks(transport_folder)
    files = {box.file: box.sha256 for result in results for box in result.boxes}
    if files != merged.chunk_sha256:
        raise ResultError("The chunks differ from those in merge.json. Run the merge step again.")
    patient = read_patient(patient_folder)
    factor = course_factor(merged)
    totals = [np.zeros(box.size[::-1]) for box in patient.boxes]
    fit_in_memory = 4 * len(results) * sum(total.size for total in totals) <= MOST_KEPT
    kept: list[list[Float32Array]] = []
    for doses in _doses_of_each(transport_folder, results, patient.boxes):
        for index, dose_zyx in enumerate(doses):
            totals[index] += dose_zyx
        if fit_in_memory:
            kept.append([dose_zyx.astype(np.float32) for dose_zyx in doses])  # as they are in the files
    again: Iterable[Sequence[npt.NDArray[np.floating]]] = (
        kept if fit_in_memory else _doses_of_each(transport_folder, results, patient.boxes)
    )
    for result, batch in zip(results, again, strict=True):
        photons = merged.nominal_photons - result.nominal_photons
        joined = empty(patient.joined_grid)
        for box, total, own_zyx in zip(patient.boxes, totals, batch, strict=True):
            put(joined, patient.joined_grid, box, np.maximum(total - own_zyx, 0.0) * (factor / photons))
        yield joined


def _doses_of_each(
    transport_folder: Path, results: Sequence[ChunkResult], boxes: Sequence[VoxelBox]
) -> Iterator[list[FloatArray]]:
    """Doses of each chunk in all boxes, while the next chunk's are read."""

    def read(result: ChunkResult, box: VoxelBox) -> FloatArray:
        return read_score(transport_folder, result, box).dose_zyx

    with ThreadPoolExecutor(processors()) as threads:  # reading, unpacking and hashing let others run
        ahead: list[Future[FloatArray]] = []
        for result in [*results, None]:
            ready, ahead = ahead, [] if result is None else [threads.submit(read, result, box) for box in boxes]
            if ready:
                yield [one.result() for one in ready]
