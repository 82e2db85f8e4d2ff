"""A batch of plans on a cluster, on paper: what limits it, and what it costs in core-hours.

    python tests/benchmarks/cluster_model.py --plans 1000 --cores 2000

Simulates the scheduler event by event: jobs wait in one queue, first come first served, for as many cores as they ask
for; a plan's jobs come one after the other as its workflow submits them. Two ways to run a batch are compared:

one job a plan
    The whole workflow is one job of so many cores. Only its simulation uses more than one of them.
a workflow a plan
    Each plan's own `gatecheck verify --profile` submits jobs: a small one to prepare, one for the pilot, after each
    round's that simulate one that asks whether it was enough, and small ones to finish and to report. Few cores idle,
    but each job waits for the scheduler, and a workflow process a plan has to run somewhere.

Seconds of steps, and of every chunk, are those measured by section `cases` of docs/benchmarks.json. No shared disk
grows slow here.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

Round = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PlanWork:
    """Seconds that a plan takes, by what can be shared out and what not.

    Attributes
    ----------
    prepare, pilot, finish, report : float
        Ingest, checks, delivery, voxels; the pilot; merge and comparison; the report. Of one core each.
    rounds : tuple of tuple of float
        Of one core, for each chunk of each round.
    questions : tuple of float
        Whether a round's chunks were enough, of one core: the last round may go without.
    start : float
        Of Geant4, once for each job that simulates.
    between : float
        Of a workflow that runs it all in one job, and is not in a step.
    """

    prepare: float
    pilot: float
    rounds: tuple[Round, ...]
    questions: tuple[float, ...]
    finish: float
    report: float
    start: float
    between: float

    @property
    def alone(self) -> float:
        """What one core does while others have nothing to do, starts left out."""
        return self.prepare + self.pilot + sum(self.questions) + self.finish + self.report

    @property
    def simulate(self) -> float:
        """Core-seconds of all chunks."""
        return sum(sum(chunks) for chunks in self.rounds)

    def with_photons(self, times: int) -> PlanWork:
        """So many times the photons, in as many chunks more."""
        return replace(self, rounds=tuple(chunks * times for chunks in self.rounds))


def of_measured(row: Mapping[str, Any]) -> PlanWork:
    """A plan like the clinical case of a row of section `cases`."""
    steps = row["seconds_of_steps"]
    questions = tuple(seconds for step, seconds in sorted(steps.items()) if step.startswith("top_up"))
    work = PlanWork(
        prepare=sum(steps[step] for step in ("ingest", "check_comparison", "deliver", "voxelise")),
        pilot=steps["plan_chunks"],
        rounds=tuple(tuple(chunks) for chunks in row["chunk_seconds_of_rounds"]),
        questions=questions,
        finish=steps["merge"] + steps["compare"],
        report=steps["report"],
        start=row["start_of_job_seconds"],
        between=0.0,
    )
    simulated = sum(seconds for step, seconds in steps.items() if step.startswith("simulate"))
    between = 60 * row["minutes"] - work.alone - simulated - steps["calibrate"]
    return replace(work, between=max(0.0, between))


@dataclass(frozen=True, slots=True)
class Cluster:
    """What plans run on.

    Attributes
    ----------
    cores : int
    launch : float
        Seconds from cores that are free to the next job's start on them, in which nobody has them.
    job_start : float
        Seconds in which a job has its cores and its own Snakemake starts.
    polling : float
        Seconds between a workflow's looks at its jobs: it goes on so much later.
    """

    cores: int
    launch: float = 5.0
    job_start: float = 5.0
    polling: float = 20.0


@dataclass(frozen=True, slots=True)
class Step:
    """Jobs that a workflow submits together: cores of each, the seconds of each, and core-seconds of work in all."""

    cores: int
    seconds: tuple[float, ...]
    used: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch took.

    Attributes
    ----------
    seconds : float
        From the first submission to the last end.
    core_seconds_held, core_seconds_used : float
        What jobs had, and what of it they computed on.
    jobs : int
    most_workflows : int
        Plans under way at a time: so many workflow processes, where each plan has one.
    """

    seconds: float
    core_seconds_held: float
    core_seconds_used: float
    jobs: int
    most_workflows: int


def makespan(chunks: Sequence[float], cores: int) -> float:
    """Seconds until the last chunk is done, where each core that is free takes the next."""
    free = [0.0] * min(cores, len(chunks))
    for seconds in chunks:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def one_job_a_plan(work: PlanWork, cores: int) -> tuple[Step, ...]:
    """The whole plan on so many cores."""
    simulate = sum(work.start + makespan(chunks, cores) for chunks in work.rounds)
    used = work.alone + work.between + work.simulate + len(work.rounds) * work.start
    return (Step(cores, (work.alone + work.between + simulate,), used),)


def a_workflow_a_plan(work: PlanWork, cores: int, chunks_per_job: int, job_start: float) -> tuple[Step, ...]:
    """Small jobs, and some that simulate so many chunks each on so many cores."""

    def small(seconds: float) -> Step:
        return Step(1, (job_start + seconds,), job_start + seconds)

    steps = [small(work.prepare), small(work.pilot)]
    for number, chunks in enumerate(work.rounds):
        steps.append(_simulate(work, chunks, cores, chunks_per_job, job_start))
        steps += [small(seconds) for seconds in work.questions[number : number + 1]]
    return (*steps, small(work.finish), small(work.report))


def _simulate(work: PlanWork, chunks: Round, cores: int, chunks_per_job: int, job_start: float) -> Step:
    jobs = math.ceil(len(chunks) / chunks_per_job)
    shares = [chunks[job * chunks_per_job : (job + 1) * chunks_per_job] for job in range(jobs)]
    start = job_start + work.start
    return Step(cores, tuple(start + makespan(share, cores) for share in shares), jobs * start + sum(chunks))


@dataclass(order=True, slots=True)
class _Event:
    time: float
    order: int
    plan: int = field(compare=False)
    step: int = field(compare=False)
    cores: int = field(compare=False)  # given back; 0: a plan's step is submitted


def run_batch(steps: Sequence[Step], *, plans: int, cluster: Cluster, most_workflows: int | None = None) -> Outcome:
    """Run a batch of equal plans.

    Parameters
    ----------
    most_workflows : int, optional
        Plans under way at a time; the next is begun when one has ended. Without it all are begun at once.

    Raises
    ------
    ValueError
        When a job asks for more cores than there are.
    """
    if max(step.cores for step in steps) > cluster.cores:
        raise ValueError("a job asks for more cores than there are")
    under_way = min(plans, most_workflows or plans)
    events: list[_Event] = []
    numbers = iter(range(10**9))
    for plan in range(under_way):
        heapq.heappush(events, _Event(0.0, next(numbers), plan, 0, 0))
    begun, free, now = under_way, cluster.cores, 0.0
    waiting: list[tuple[int, int, float]] = []  # (plan, step, seconds) of single jobs, in the order that they came
    left: dict[tuple[int, int], int] = {}
    while events:
        event = heapq.heappop(events)
        now = event.time
        if event.cores == 0:
            jobs = steps[event.step].seconds
            left[event.plan, event.step] = len(jobs)
            waiting += [(event.plan, event.step, seconds) for seconds in jobs]
        else:
            free += event.cores
            left[event.plan, event.step] -= 1
            if left[event.plan, event.step] == 0:
                for next_plan, next_step in _what_follows(event, len(steps), begun, plans):
                    begun = max(begun, next_plan + 1)
                    delay = cluster.polling if len(steps) > 1 and next_step > 0 else 0.0
                    heapq.heappush(events, _Event(now + delay, next(numbers), next_plan, next_step, 0))
        while waiting and steps[waiting[0][1]].cores <= free:
            plan, step, seconds = waiting.pop(0)
            free -= steps[step].cores
            end = now + cluster.launch + seconds
            heapq.heappush(events, _Event(end, next(numbers), plan, step, steps[step].cores))
    jobs_of_all = plans * sum(len(step.seconds) for step in steps)
    held = plans * sum(step.cores * sum(step.seconds) for step in steps)
    return Outcome(now, held, plans * sum(step.used for step in steps), jobs_of_all, under_way)


def _what_follows(event: _Event, steps: int, begun: int, plans: int) -> Iterator[tuple[int, int]]:
    if event.step + 1 < steps:
        yield event.plan, event.step + 1
    elif begun < plans:
        yield begun, 0


def batch_on_paper(work: PlanWork, plans: int, cores: int) -> list[dict[str, Any]]:
    """A row for each way to run a batch, with the photons of one verification and with ten times as many."""
    cluster = Cluster(cores)
    rows = []
    for photons in (1, 10):
        of_one = work.with_photons(photons)
        for of_job in (1, 2, 4, 16):
            whole = one_job_a_plan(of_one, of_job)
            steps = a_workflow_a_plan(of_one, of_job, 50, cluster.job_start)
            for name, taken, most in (
                ("one job a plan", whole, None),
                ("a workflow a plan", steps, None),
                ("a workflow a plan", steps, 200),
            ):
                found = run_batch(taken, plans=plans, cluster=cluster, most_workflows=most)
                rows.append(_row(name, photons, of_job, found, of_one, has_workflows=taken is steps))
    return rows


def _row(name: str, photons: int, cores: int, found: Outcome, work: PlanWork, *, has_workflows: bool) -> dict[str, Any]:
    return {
        "way": name,
        "photons": photons,
        "cores_of_a_job": cores,
        "core_seconds_of_chunks": work.simulate,
        "seconds_of_one_core": work.alone,
        "minutes": found.seconds / 60,
        "core_hours": found.core_seconds_held / 3600,
        "used_share": found.core_seconds_used / found.core_seconds_held,
        "jobs": found.jobs,
        "workflows": found.most_workflows if has_workflows else 0,
    }


def measured_work(benchmarks: Path, case: str) -> PlanWork:
    """What the clinical case took that section `cases` of benchmarks.json has.

    Raises
    ------
    ValueError
        When it was not measured.
    """
    found = json.loads(benchmarks.read_text(encoding="utf-8")) if benchmarks.exists() else {}
    rows = [row for row in found.get("cases", {}).get("rows", []) if row["case"] == case]
    if not rows or "chunk_seconds_of_rounds" not in rows[-1]:
        raise ValueError(
            f"{benchmarks.name}: there are no times of {case} with its chunks'; speed.py --only cases measures them"
        )
    return of_measured(rows[-1])  # steps were recorded before it


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of both ways for several numbers of cores a job."""
    parser = argparse.ArgumentParser(description="A batch of plans on a cluster, on paper.")
    parser.add_argument("--plans", type=int, default=1000)
    parser.add_argument("--cores", type=int, default=2000)
    parser.add_argument("--case", default="clinical_case_1", help="the clinical case that all plans are like")
    parser.add_argument(
        "--measured", type=Path, default=Path(__file__).parents[2] / "docs" / "benchmarks.json", help="its times"
    )
    options = parser.parse_args(arguments)
    work = measured_work(options.measured, options.case)
    rows = batch_on_paper(work, options.plans, options.cores)
    sys.stdout.write(
        f"{options.plans} plans like {options.case}, {options.cores} cores: {work.simulate:.0f} core-seconds of chunks "
        f"a plan, {work.alone:.0f} s of one core\n\n"
        "| way | photons | cores a job | batch, min | core-hours held | of these used | jobs | workflows at a time |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    for row in rows:
        sys.stdout.write(
            "| {way} | {photons} | {cores_of_a_job} | {minutes:.1f} | {core_hours:.0f} | {used_share:.0%} | {jobs} | "
            "{workflows} |\n".format(**row)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
