"""The chunks of a plan, read one at a time and refused unless they belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.errors import RemovedResultError, ResultError
from gatecheck.files import array_zyx, read_image, read_json, sha256_of_file
from gatecheck.patient.model import VoxelBox
from gatecheck.transport.chunk_files import chunk_name, remove_chunk
from gatecheck.transport.jobs import forget_jobs
from gatecheck.transport.model import Chunk, ChunkPlan, ChunkResult, ScoredBox
from gatecheck.transport.rounds import chunk_plan_file, read_plan

FloatArray = npt.NDArray[np.float64]

MERGE_FILE = "merge.json"
"""In the folder of a dose, written last."""


@dataclass(frozen=True, slots=True)
class BoxScore:
    """One chunk's score in one box: sum of dose (Gy) and of squared dose (Gy²), each indexed [z, y, x]."""

    dose_zyx: FloatArray
    dose_squared_zyx: FloatArray


def read_chunks(transport_folder: Path) -> tuple[ChunkResult, ...]:
    """All chunks of the plan in chunks.json, in its order.

    Raises
    ------
    ResultError
        When chunks are missing, damaged or not what was planned (these are removed), do not belong together, or two of
        them have the same seed.
    """
    plan = read_plan(transport_folder)
    missing = [c.index for c in plan.chunks if not (transport_folder / f"{chunk_name(c.index)}.json").exists()]
    if missing:
        for index in missing:
            remove_chunk(transport_folder, index)
        forget_jobs(transport_folder)  # so that none is taken for done that should have simulated them
        raise RemovedResultError(
            f"{len(missing)} of {len(plan.chunks)} chunks are not there, the first is {chunk_name(missing[0])}. "
            "The same command simulates them again; the chunks that are there are kept."
        )
    results = tuple(_read_result(transport_folder, chunk.index) for chunk in plan.chunks)
    _remove_unplanned(transport_folder, plan, results)
    check_belong_together(results)
    return results


def check_chunks(transport_folder: Path, dose_folder: Path, indices: Collection[int]) -> None:
    """Refuse a merged dose's chunks that are to be used again and cannot be, before an hour is spent on it.

    What is missing or damaged is removed, and so is what says that there is a dose: Snakemake does not ask for chunks
    that lie behind a result.

    Raises
    ------
    RemovedResultError
        When one of all chunks is missing, damaged or not what was planned, or an image of these chunks is.
    ResultError
        As `read_chunks`.
    """
    try:
        for result in read_chunks(transport_folder):
            for scored in result.boxes if result.index in indices else ():
                _refuse_unless_whole(transport_folder, result, scored)
    except RemovedResultError:
        forget_merge(dose_folder)
        raise


def check_plan_is_there(transport_folder: Path, dose_folder: Path) -> None:
    """Refuse to use the chunks of a merged dose again where what had asked for them is gone; as `check_chunks`.

    Raises
    ------
    RemovedResultError
    """
    plan = chunk_plan_file(transport_folder)
    if not plan.exists():
        forget_merge(dose_folder)
        raise RemovedResultError(
            f"{plan.name}: not there, the dose's chunks are. The same command plans them again and keeps them."
        )


def forget_merge(dose_folder: Path) -> None:
    """Remove what says that chunks were merged, so that the workflow asks for those that are missing."""
    (dose_folder / MERGE_FILE).unlink(missing_ok=True)


def _read_result(transport_folder: Path, index: int) -> ChunkResult:
    path = transport_folder / f"{chunk_name(index)}.json"
    try:
        return read_json(path, ChunkResult)
    except ResultError as error:
        _remove_damaged(transport_folder)
        forget_jobs(transport_folder)
        raise RemovedResultError(
            f"{error} {chunk_name(index)} was removed; the same command simulates it again."
        ) from error


def _remove_unplanned(transport_folder: Path, plan: ChunkPlan, results: tuple[ChunkResult, ...]) -> None:
    """Refuse what the plan did not ask for, and remove it, so that the same command simulates what it asks for."""
    unplanned = [
        (chunk_name(planned.index), what)
        for planned, result in zip(plan.chunks, results, strict=True)
        for what in _other_than_planned(plan, planned, result)
    ]
    if not unplanned:
        return
    for name in {name for name, _ in unplanned}:
        remove_chunk(transport_folder, int(name.removeprefix("chunk-")))
    forget_jobs(transport_folder)
    said = "; ".join(f"{name}: {what}" for name, what in unplanned)
    raise RemovedResultError(f"{said}. They were removed; the same command simulates them again, and nothing else.")


def _other_than_planned(plan: ChunkPlan, planned: Chunk, result: ChunkResult) -> Iterator[str]:
    if result.inputs_sha256 != plan.inputs_sha256:
        yield f"simulated from other inputs ({result.inputs_sha256[:8]}) than planned ({plan.inputs_sha256[:8]})"
    elif (result.index, result.seed, result.histories) != (planned.index, planned.seed, planned.histories):
        yield "seed or photons differ from chunks.json"
    elif result.electron_steps_sha256 != plan.electron_steps_sha256:
        yield "simulated along other recorded electron steps than the pilot"


def check_belong_together(results: tuple[ChunkResult, ...]) -> None:
    """Refuse chunks of different inputs, engines or machines, and equal seeds.

    Raises
    ------
    ResultError
    """
    if len(results) < 2:
        raise ResultError(
            f"{len(results)} chunk found, expected at least 2: the standard deviation comes from their spread. "
            "Raise transport.minimum_chunks."
        )
    seeds = Counter(result.seed for result in results)
    seed, times = seeds.most_common(1)[0]
    if times > 1:
        twins = [chunk_name(result.index) for result in results if result.seed == seed]
        raise ResultError(
            f"{' and '.join(twins)} have the same seed: they hold the same photons, and counting them twice would make "
            "the standard deviation too small. Delete them and run again from plan_chunks."
        )
    first = results[0]
    for other in results[1:]:
        same = {
            "inputs": other.inputs_sha256 == first.inputs_sha256,
            "engine or physics": other.engine == first.engine,
            "recorded electron steps": other.electron_steps_sha256 == first.electron_steps_sha256,
            "machine model": other.linac_sha256 == first.linac_sha256,
            "dose quantity": other.dose_to == first.dose_to,
            "boxes": [box.name for box in other.boxes] == [box.name for box in first.boxes],
        }
        for what, equal in same.items():
            if not equal:
                raise ResultError(
                    f"{chunk_name(first.index)} and {chunk_name(other.index)} were simulated with different {what}. "
                    "Delete the chunks and run again."
                )


def read_score(transport_folder: Path, result: ChunkResult, box: VoxelBox) -> BoxScore:
    """Read one chunk's score in one box.

    A damaged chunk is removed, with all others that are, so that the next run simulates them again.

    Raises
    ------
    RemovedResultError
        When the image is missing, cut short or changed.
    ResultError
        When it is not of this box.
    """
    scored = next((part for part in result.boxes if part.name == box.name), None)
    if scored is None:
        raise ResultError(f"{chunk_name(result.index)}: no score for box {box.name}. Delete the chunks and run again.")
    _refuse_unless_whole(transport_folder, result, scored)
    path = transport_folder / scored.file
    both = array_zyx(read_image(path)).astype(np.float64)
    if both.shape != (*box.size[::-1], 2):
        raise ResultError(f"{scored.file}: its grid differs from box {box.name}. Delete the chunks and run again.")
    return BoxScore(both[..., 0], both[..., 1])


def _refuse_unless_whole(transport_folder: Path, result: ChunkResult, scored: ScoredBox) -> None:
    path = transport_folder / scored.file
    if not _is_whole(path, scored):
        found = "missing" if not path.exists() else f"cut short or changed ({path.stat().st_size} bytes)"
        remove_chunk(transport_folder, result.index)
        others = _remove_damaged(transport_folder)
        forget_jobs(transport_folder)
        more = f", and {len(others)} more chunks ({', '.join(others)})" if others else ""
        raise RemovedResultError(
            f"{scored.file}: {found}, so {chunk_name(result.index)} cannot be used and was removed{more}. The same "
            "command simulates what was removed again, and nothing else."
        )


def _is_whole(path: Path, scored: ScoredBox) -> bool:
    return path.exists() and sha256_of_file(path) == scored.sha256


def _remove_damaged(transport_folder: Path) -> list[str]:
    """All chunks that cannot be used, so that one more run is enough; their names."""
    removed = []
    for path in sorted(transport_folder.glob("chunk-*.json")):
        try:
            is_whole = all(_is_whole(transport_folder / one.file, one) for one in read_json(path, ChunkResult).boxes)
        except ResultError:
            is_whole = False
        if not is_whole:
            removed.append(path.stem)
            remove_chunk(transport_folder, int(path.stem.removeprefix("chunk-")))
    return removed
