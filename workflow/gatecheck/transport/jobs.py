"""Jobs: chunks that one process simulates one after the other, or several at a time, on one machine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from gatecheck.errors import InputError, ResultError
from gatecheck.files import HandedOn, read_json, write_json
from gatecheck.transport.model import Chunk, ChunkPlan, ChunkResult, TopUp
from gatecheck.transport.rounds import chunk_plan_file, forget_top_ups, read_plan

_MEMORY_MB = 1500.0
# Of a chunk's own for each source photon, as in a plan of large fields; a pilot has too few to show it.
_MEGABYTES_PER_PHOTON = 1.1e-4


class JobResult(HandedOn):
    """Written as transport/job-0001.json when every chunk of the job is done: what the workflow waits for."""

    number: int
    chunks: tuple[int, ...]


def job_file(transport_folder: Path, number: int) -> Path:
    """Where a job says that it is done."""
    return transport_folder / f"job-{number:04d}.json"


def jobs_of(plan: ChunkPlan, chunks_per_job: int) -> list[tuple[Chunk, ...]]:
    """The plan's chunks shared out to as few jobs as can be, evenly, in their order; no job is of two rounds."""
    jobs, start = [], 0
    for count in plan.chunks_of_rounds or (len(plan.chunks),):
        number = -(-count // chunks_per_job)
        each, more = divmod(count, number)
        for index in range(number):
            size = each + (index < more)
            jobs.append(plan.chunks[start : start + size])
            start += size
    return jobs


def round_of_job(transport_folder: Path, chunks_per_job: int, number: int) -> int:
    """The round that a job's chunks belong to, 0 for the pilot's; 0 too before there is a plan with such a job."""
    if not chunk_plan_file(transport_folder).exists():
        return 0
    plan = read_plan(transport_folder)
    jobs = jobs_of(plan, chunks_per_job)
    if number > len(jobs):
        return 0
    before = sum(len(job) for job in jobs[: number - 1])
    ends = itertools.accumulate(plan.chunks_of_rounds or (len(plan.chunks),))
    return sum(end <= before for end in ends)


def chunks_of_job(plan: ChunkPlan, chunks_per_job: int, number: int) -> tuple[Chunk, ...]:
    """The chunks of a job, from 1.

    Raises
    ------
    InputError
        When the plan has no such job.
    """
    jobs = jobs_of(plan, chunks_per_job)
    if not 1 <= number <= len(jobs):
        raise InputError(f"--job {number}: the plan has jobs 1 to {len(jobs)}.")
    return jobs[number - 1]


def missing_chunks(transport_folder: Path, plan: ChunkPlan, chunks: Sequence[Chunk]) -> list[Chunk]:
    """Those of a plan's chunks that are not there, or are there from another plan or without an image."""
    return [chunk for chunk in chunks if not _is_done(transport_folder, plan, chunk)]


def _is_done(folder: Path, plan: ChunkPlan, chunk: Chunk) -> bool:
    path = folder / f"chunk-{chunk.index:04d}.json"
    if not path.exists():
        return False
    try:
        result = read_json(path, ChunkResult)
    except ResultError:
        return False
    return is_of(plan, chunk, result) and all((folder / box.file).exists() for box in result.boxes)


def is_of(plan: ChunkPlan, chunk: Chunk, result: ChunkResult) -> bool:
    """Whether a result is what a plan asked for as this chunk."""
    of_all = (result.inputs_sha256, result.electron_steps_sha256) == (plan.inputs_sha256, plan.electron_steps_sha256)
    return of_all and (result.index, result.histories, result.seed) == (chunk.index, chunk.histories, chunk.seed)


def write_job(transport_folder: Path, number: int, chunks: Sequence[Chunk]) -> None:
    """Say that a job is done."""
    result = JobResult(number=number, chunks=tuple(chunk.index for chunk in chunks))
    write_json(job_file(transport_folder, number), result)


def forget_jobs(transport_folder: Path, chunk: int | None = None) -> None:
    """Remove what says that jobs are done: all of them, or those that a chunk belongs to, which is simulated anew.

    For a chunk that is found missing it is all of them. Which job has it changes with `execution.chunks_per_job`: a job
    that was done with fewer may stand for the one that is asked for it, and does not name it. A job whose chunks are
    there is done again in a moment.
    """
    for path in transport_folder.glob("job-*.json"):
        if chunk is None or chunk in _chunks_in(path):
            path.unlink(missing_ok=True)


def remove_damaged_plans(transport_folder: Path) -> list[str]:
    """Remove what asks for chunks and cannot be read, with the rounds behind it; the names of the damaged files.

    The workflow reads these files before any step could say what is wrong with them. Their chunks stay.
    """
    removed = []
    plan = chunk_plan_file(transport_folder)
    if plan.exists() and not _is_readable(plan, ChunkPlan):
        plan.unlink()
        removed.append(plan.name)
    for path in sorted(transport_folder.glob("top-up-*.json")):
        if path.exists() and not _is_readable(path, TopUp):
            forget_top_ups(transport_folder, int(path.stem.removeprefix("top-up-")))
            removed.append(path.name)
    return removed


def _is_readable(path: Path, kind: type[HandedOn]) -> bool:
    try:
        read_json(path, kind)
    except ResultError:
        return False
    return True


def _chunks_in(path: Path) -> tuple[int, ...]:
    try:
        return read_json(path, JobResult).chunks
    except ResultError:  # damaged: it says nothing, and is written anew
        path.unlink(missing_ok=True)
        return ()


def memory_mb(transport_folder: Path, at_a_time: int) -> float:
    """What so many chunks of a job hold at a time, by the pilot of a plan; a guess before there is one."""
    if not chunk_plan_file(transport_folder).exists():
        return at_a_time * _MEMORY_MB
    plan = read_plan(transport_folder)
    shared = plan.shared_memory_mb
    of_photons = _MEGABYTES_PER_PHOTON * max(chunk.histories for chunk in plan.chunks)
    return shared + at_a_time * ((plan.peak_memory_mb or _MEMORY_MB) - shared + of_photons)


def seconds_of_job(
    transport_folder: Path, chunks_per_job: int, number: int, *, at_a_time: int, has_one_start: bool
) -> float:
    """How long a job of a plan takes with so many chunks at a time, by the pilot; nothing before there is one.

    A chunk is one core's, and cores that have none left wait for the last: it takes whole goes, each as long as the
    longest chunk. Without one start for all, each chunk has its own.
    """
    if not chunk_plan_file(transport_folder).exists():
        return 0.0
    plan = read_plan(transport_folder)
    return _seconds_of(plan, chunks_of_job(plan, chunks_per_job, number), at_a_time, has_one_start)


def seconds_of_first(transport_folder: Path, count: int, *, at_a_time: int, has_one_start: bool) -> float:
    """How long a plan's first chunks take, which a recalculation simulates again; as `seconds_of_job`."""
    if not chunk_plan_file(transport_folder).exists():
        return 0.0
    plan = read_plan(transport_folder)
    return _seconds_of(plan, plan.chunks[:count], at_a_time, has_one_start)


def _seconds_of(plan: ChunkPlan, chunks: Sequence[Chunk], at_a_time: int, has_one_start: bool) -> float:
    goes = math.ceil(len(chunks) / at_a_time)
    starts = 1 if has_one_start else goes
    longest = max(chunk.histories for chunk in chunks)
    return starts * plan.seconds_start_up + goes * plan.seconds_per_history * longest


def longest_seconds(plan: ChunkPlan, minutes: float | None) -> float:
    """How long a chunk of a plan may take: so many minutes, or an hour and ten times what the pilot's speed says."""
    if minutes is not None:
        return 60 * minutes
    of_longest = plan.seconds_per_history * max(chunk.histories for chunk in plan.chunks)
    return 3600 + 10 * (plan.seconds_start_up + of_longest)
