# Functions that rules use as input.
from pathlib import Path

from gatecheck.config_recalculation import CHANGES
from gatecheck.files import read_json
from gatecheck.transport.jobs import (
    job_file,
    jobs_of,
    memory_mb,
    round_of_job,
    seconds_of_first,
    seconds_of_job,
)
from gatecheck.transport.model import TopUp
from gatecheck.transport.rounds import most_rounds, read_plan

ROUNDS = most_rounds(settings.transport)


def megabytes(first):
    """So much memory, and half as much again at each attempt."""
    return lambda wildcards, attempt: round(first * 1.5 ** (attempt - 1))


def minutes(first):
    """So long, and twice as long at each attempt."""
    return lambda wildcards, attempt: first * 2 ** (attempt - 1)


def inputs_of(room):
    """What a room's result depends on besides the rooms before it: changes when, and only when, that does."""
    return f"{FOLDER}/inputs/{room}.json"


def jobs_up_to(last_round):
    """What the jobs write that simulate the chunks of the pilot's round and those after it, as far as any asks."""
    checkpoints.plan_chunks.get()
    for number in range(1, last_round + 1):
        asked = checkpoints.top_up.get(round=number).output[0]
        if not read_json(Path(asked), TopUp).chunks:
            break
    jobs = jobs_of(
        read_plan(CASE.transport, last_round), settings.execution.chunks_per_job
    )
    return [
        job_file(CASE.transport, number).as_posix()
        for number in range(1, len(jobs) + 1)
    ]


def job_results(wildcards):
    """What the jobs of all rounds write."""
    return jobs_up_to(ROUNDS)


def jobs_before_round(wildcards):
    """What is there before a round asks for more."""
    return jobs_up_to(int(wildcards.round) - 1)


def plans_of_job(wildcards):
    """The file that asks for a job's chunks, and those before it, so that a job of a changed round is done again."""
    number = int(wildcards.job)
    rounds = round_of_job(CASE.transport, settings.execution.chunks_per_job, number)
    return [
        rules.plan_chunks.output[0],
        *(rules.top_up.output[0].format(round=one) for one in range(1, rounds + 1)),
    ]


def memory_of_job(wildcards, threads, attempt):
    """MB for a job's chunks that run at a time, by the pilot's, with room; more at each attempt."""
    of_chunks = memory_mb(CASE.transport, threads)
    return round((500 + 1.2 * of_chunks) * 1.5 ** (attempt - 1))


def minutes_for(seconds, attempt):
    """Minutes for so many seconds by the pilot's speed, twice over; more at each attempt."""
    return round((5 + 2 * seconds / 60) * 2 ** (attempt - 1))


# One start serves all chunks of a job where they are forked from it.
HAS_ONE_START = settings.transport.tracks_photons and settings.machine.head == "fast"


def minutes_of_job(wildcards, threads, attempt):
    """Minutes for a job."""
    seconds = seconds_of_job(
        CASE.transport,
        settings.execution.chunks_per_job,
        int(wildcards.job),
        at_a_time=threads,
        has_one_start=HAS_ONE_START,
    )
    return minutes_for(seconds, attempt)


def memory_of_recalculation(wildcards, threads, attempt):
    """MB: as of a job of the case's own chunks, and doses of pairs on the joined grid."""
    return memory_of_job(wildcards, threads, attempt) + 1000


def minutes_of_recalculation(wildcards, threads, attempt):
    """Minutes for as many chunks as are simulated again."""
    seconds = seconds_of_first(
        CASE.transport,
        settings.recalculation.chunks,
        at_a_time=threads,
        has_one_start=HAS_ONE_START,
    )
    return minutes_for(seconds, attempt)
