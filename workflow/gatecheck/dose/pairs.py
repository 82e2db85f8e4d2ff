"""Chunks and their counterparts of the same photons: what a change does, without most of the noise of either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatecheck.dose.chunks import read_score
from gatecheck.dose.joining import Float32Array, empty, put
from gatecheck.errors import ResultError
from gatecheck.files import read_json
from gatecheck.patient.model import PatientModel
from gatecheck.transport.chunk_files import chunk_name
from gatecheck.transport.model import Chunk, ChunkResult


@dataclass(frozen=True, slots=True)
class PairOfDoses:
    """One chunk's photons with and without the change: dose of the course if all were like it, Gy, [z, y, x]."""

    planned_zyx: Float32Array
    changed_zyx: Float32Array


@dataclass(frozen=True, slots=True)
class ChunkFolder:
    """Where chunks lie, what they were simulated from, and Gy for the course per Gy per nominal photon."""

    folder: Path
    inputs_sha256: str
    gray_per_unit: float


def pairs_of_doses(
    planned: ChunkFolder, changed: ChunkFolder, patient: PatientModel, chunks: Sequence[Chunk]
) -> Iterator[PairOfDoses]:
    """Each chunk with its counterpart, on the joined grid.

    Raises
    ------
    ResultError
        When one is missing, damaged, of other inputs, or not of the same photons.
    """
    for chunk in chunks:
        results = [_read(where, chunk) for where in (planned, changed)]
        for what in ("engine", "linac_sha256", "dose_to"):
            if getattr(results[0], what) != getattr(results[1], what):
                raise ResultError(
                    f"{chunk_name(chunk.index)} in {changed.folder.name}/: simulated with another {what} than the "
                    f"plan's. Remove {changed.folder.name}/ and run again."
                )
        photons = [result.nominal_photons for result in results]
        if photons[0] != photons[1]:
            raise ResultError(
                f"{chunk_name(chunk.index)}: {photons[1]:.8g} nominal photons in {changed.folder.name}/, "
                f"{photons[0]:.8g} expected. Remove {changed.folder.name}/ and run again."
            )
        doses = []
        for where, result in zip((planned, changed), results, strict=True):
            joined = empty(patient.joined_grid)
            for box in patient.boxes:
                score = read_score(where.folder, result, box)
                put(
                    joined,
                    patient.joined_grid,
                    box,
                    score.dose_zyx * (where.gray_per_unit / result.nominal_photons),
                )
            doses.append(joined)
        yield PairOfDoses(doses[0], doses[1])


def _read(where: ChunkFolder, chunk: Chunk) -> ChunkResult:
    result = read_json(where.folder / f"{chunk_name(chunk.index)}.json", ChunkResult)
    if result.inputs_sha256 != where.inputs_sha256 or (result.seed, result.histories) != (chunk.seed, chunk.histories):
        raise ResultError(
            f"{chunk_name(chunk.index)} in {where.folder.name}/: simulated from other inputs or photons than planned. "
            "Run the same command again."
        )
    return result
