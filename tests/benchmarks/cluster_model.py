"""A batch of plans on a cluster, on paper: what limits it, and what it costs in core-hours.

    python tests/benchmarks/cluster_model.py --plans 1000 --cores 2000

Simulates the scheduler event by event: jobs wait in one queue, first come first served, for as many cores as they ask
for; a plan's jobs come one after the other as its workflow submits them. Two ways to run a batch are compared:

one job a plan
    The whole workflow is one job of so many cores. Only its simulation uses more than one of them.
a workflow a plan
    Each plan's own `gatecheck verify --profile` submits jobs: a small one to prepare, one for the pilot, those that
    simulate, and a small one to finish. No core idles, but each job waits for the scheduler, and a workflow
    process a plan has to run somewhere.

Times are those measured for clinical case 1 (2 mm voxels round the tumour, 4 mm elsewhere, 60 million photons, sigma
1.1 %), and --simulate gives another. No shared disk grows slow here.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlanWork:
    """Seconds of one core that a plan takes, by what can be shared out and what not.

    Attributes
    ----------
    prepare, pilot, finish : float
        Ingest, check, delivery, voxels; the pilot; merge, comparison, report. One core each.
    simulate : float
        All chunks together.
    start : float
        Of Geant4, once for each job that simulates.
    """

    prepare: float = 10.0
    pilot: float = 25.0
    finish: float = 88.0
    simulate: float = 790.0
    start: float = 12.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """What plans run on.

    Attributes
    ----------
    cores : int
    launch : float
        Seconds from cores that are free to the next job's start on them, in which nobody has them.
    polling : float
        Seconds between a workflow's looks at its jobs: it goes on so much later.
    """

    cores: int
    launch: float = 5.0
    polling: float = 20.0


@dataclass(frozen=True, slots=True)
class Step:
    """One job, or several of one kind that a workflow submits together."""

    jobs: int
    cores: int
    seconds: float


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


def one_job_a_plan(work: PlanWork, cores: int) -> tuple[Step, ...]:
    """The whole plan on so many cores."""
    alone = work.prepare + work.pilot + work.finish + work.start
    return (Step(1, cores, alone + work.simulate / cores),)


def a_workflow_a_plan(work: PlanWork, cores: int, jobs: int) -> tuple[Step, ...]:
    """Small jobs, and so many that simulate on so many cores each."""
    return (
        Step(1, 1, work.prepare),
        Step(1, 1, work.pilot),
        Step(jobs, cores, work.start + work.simulate / jobs / cores),
        Step(1, 1, work.finish),
    )


@dataclass(order=True, slots=True)
class _Event:
    time: float
    order: int
    plan: int = field(compare=False)
    step: int = field(compare=False)
    cores: int = field(compare=False)  # given back; 0: a plan's step is submitted


def run_batch(
    steps: Sequence[Step], *, plans: int, cluster: Cluster, work: PlanWork, most_workflows: int | None = None
) -> Outcome:
    """Run a batch of equal plans.

    Parameters
    ----------
    most_workflows : int, optional
        Plans under way at a time; the next is begun when one has ended. Without it all are begun at once.
    """
    if max(step.cores for step in steps) > cluster.cores:
        raise ValueError("a job asks for more cores than there are")
    under_way = min(plans, most_workflows or plans)
    events: list[_Event] = []
    numbers = iter(range(10**9))
    for plan in range(under_way):
        heapq.heappush(events, _Event(0.0, next(numbers), plan, 0, 0))
    begun, free, now = under_way, cluster.cores, 0.0
    waiting: list[tuple[int, int]] = []  # (plan, step) of single jobs, in the order that they came
    left: dict[tuple[int, int], int] = {}
    while events:
        event = heapq.heappop(events)
        now = event.time
        if event.cores == 0:
            left[event.plan, event.step] = steps[event.step].jobs
            waiting += [(event.plan, event.step)] * steps[event.step].jobs
        else:
            free += event.cores
            left[event.plan, event.step] -= 1
            if left[event.plan, event.step] == 0:
                for next_plan, next_step in _what_follows(event, len(steps), begun, plans):
                    begun = max(begun, next_plan + 1)
                    delay = cluster.polling if len(steps) > 1 and next_step > 0 else 0.0
                    heapq.heappush(events, _Event(now + delay, next(numbers), next_plan, next_step, 0))
        while waiting and steps[waiting[0][1]].cores <= free:
            plan, step = waiting.pop(0)
            free -= steps[step].cores
            end = now + cluster.launch + steps[step].seconds
            heapq.heappush(events, _Event(end, next(numbers), plan, step, steps[step].cores))
    jobs = plans * sum(step.jobs for step in steps)
    held = plans * sum(step.jobs * step.cores * step.seconds for step in steps)
    used = plans * (work.prepare + work.pilot + work.finish + work.simulate + _starts(steps) * work.start)
    return Outcome(now, held, used, jobs, under_way)


def _starts(steps: Sequence[Step]) -> int:
    """How many jobs of a plan start Geant4 to simulate."""
    return 1 if len(steps) == 1 else steps[2].jobs


def _what_follows(event: _Event, steps: int, begun: int, plans: int) -> Iterator[tuple[int, int]]:
    if event.step + 1 < steps:
        yield event.plan, event.step + 1
    elif begun < plans:
        yield begun, 0


def _row(name: str, cores: int, found: Outcome, *, has_workflows: bool) -> str:
    used = 100 * found.core_seconds_used / found.core_seconds_held
    return (
        f"| {name} | {cores} | {found.seconds / 60:.1f} | {found.core_seconds_held / 3600:.0f} | {used:.0f} % | "
        f"{found.jobs} | {found.most_workflows if has_workflows else 'none'} |\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of both ways for several numbers of cores a job."""
    parser = argparse.ArgumentParser(description="A batch of plans on a cluster, on paper.")
    parser.add_argument("--plans", type=int, default=1000)
    parser.add_argument("--cores", type=int, default=2000)
    parser.add_argument("--simulate", type=float, default=PlanWork().simulate, help="core-seconds of a plan's chunks")
    options = parser.parse_args(arguments)
    work, cluster = PlanWork(simulate=options.simulate), Cluster(options.cores)
    least = options.plans * (work.prepare + work.pilot + work.finish + work.simulate) / options.cores
    sys.stdout.write(
        f"{options.plans} plans, {options.cores} cores; {work}\n"
        f"all cores busy without a pause: {least / 60:.1f} min, {least * options.cores / 3600:.0f} core-hours\n\n"
        "| way | cores a job | batch, min | core-hours held | of these used | jobs | workflows at a time |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    for cores in (1, 2, 4, 8, 16, 32):
        for name, steps, most in (
            ("one job a plan", one_job_a_plan(work, cores), None),
            ("a workflow a plan", a_workflow_a_plan(work, cores, 1), None),
            ("a workflow a plan", a_workflow_a_plan(work, cores, 1), 200),
        ):
            found = run_batch(steps, plans=options.plans, cluster=cluster, work=work, most_workflows=most)
            sys.stdout.write(_row(name, cores, found, has_workflows=len(steps) > 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
