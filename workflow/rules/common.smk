# Functions that rules use as input.
from pathlib import Path

from gatecheck.files import read_json
from gatecheck.transport.jobs import core_seconds, job_file, jobs_of, memory_mb
from gatecheck.transport.model import ChunkPlan


def inputs_of(room):
    """What a room's result depends on besides the rooms before it: changes when, and only when, that does."""
    return f"{FOLDER}/inputs/{room}.json"


def job_results(wildcards):
    """What the jobs write that simulate the chunks that plan_chunks asked for."""
    plan = read_json(Path(checkpoints.plan_chunks.get().output[0]), ChunkPlan)
    jobs = jobs_of(plan, settings.execution.chunks_per_job)
    return [
        job_file(CASE.transport, number).as_posix()
        for number in range(1, len(jobs) + 1)
    ]


def memory_of_job(wildcards, threads, attempt):
    """MB for a job's chunks that run at a time, by the pilot's, with room; more at each attempt."""
    of_one = memory_mb(CASE.chunk_plan)
    return round((500 + 1.2 * of_one * threads) * 1.5 ** (attempt - 1))


def minutes_of_job(wildcards, threads, attempt):
    """Minutes for a job, by the pilot's speed, twice over; more at each attempt."""
    seconds = (
        core_seconds(
            CASE.chunk_plan, settings.execution.chunks_per_job, int(wildcards.job)
        )
        / threads
    )
    return round((5 + 2 * seconds / 60) * 2 ** (attempt - 1))
