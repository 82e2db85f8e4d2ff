# Functions that rules use as input.
from pathlib import Path

from gatecheck.files import read_json
from gatecheck.transport.jobs import job_file, jobs_of
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
