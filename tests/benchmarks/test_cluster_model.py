"""The model of a cluster against what can be worked out by hand."""

from __future__ import annotations

import pytest
from cluster_model import Cluster, PlanWork, Step, a_workflow_a_plan, one_job_a_plan, run_batch

WORK = PlanWork(prepare=10.0, pilot=20.0, finish=70.0, simulate=800.0, start=10.0)
AT_ONCE = {"launch": 0.0, "polling": 0.0}


def test_one_plan_takes_its_steps_one_after_the_other() -> None:
    cluster = Cluster(cores=16, launch=5.0, polling=20.0)
    steps = a_workflow_a_plan(WORK, cores=8, jobs=2)
    found = run_batch(steps, plans=1, cluster=cluster, work=WORK)
    assert found.seconds == pytest.approx(10 + 20 + (10 + 800 / 16) + 70 + 4 * 5 + 3 * 20)
    assert found.jobs == 5
    assert found.core_seconds_held == pytest.approx(10 + 20 + 16 * (10 + 800 / 16) + 70)


def test_plans_on_one_core_each_fill_the_machine() -> None:
    steps = one_job_a_plan(WORK, cores=1)
    found = run_batch(steps, plans=1000, cluster=Cluster(cores=100, **AT_ONCE), work=WORK)
    assert found.seconds == pytest.approx(1000 * 910 / 100)
    assert found.core_seconds_used == pytest.approx(found.core_seconds_held)


def test_cores_of_a_plans_job_idle_while_one_alone_works() -> None:
    """Amdahl's law: 110 of 910 s can not be shared out."""
    steps = one_job_a_plan(WORK, cores=10)
    found = run_batch(steps, plans=10, cluster=Cluster(cores=100, **AT_ONCE), work=WORK)
    assert found.seconds == pytest.approx(110 + 80)
    assert found.core_seconds_used / found.core_seconds_held == pytest.approx(910 / 1900)


def test_jobs_come_one_after_the_other_where_there_is_room_for_one() -> None:
    steps = (Step(3, 4, 10.0),)
    found = run_batch(steps, plans=2, cluster=Cluster(cores=7, launch=1.0, polling=0.0), work=WORK)
    assert found.seconds == pytest.approx(6 * 11)


def test_fewer_workflows_at_a_time_take_longer_and_hold_no_more() -> None:
    cluster, steps = Cluster(cores=2000), a_workflow_a_plan(WORK, cores=4, jobs=1)
    all_at_once = run_batch(steps, plans=300, cluster=cluster, work=WORK)
    ten = run_batch(steps, plans=300, cluster=cluster, work=WORK, most_workflows=10)
    assert ten.most_workflows == 10
    assert ten.seconds == pytest.approx(30 * all_at_once.seconds)  # there is room for all: each waits for its own jobs
    assert ten.core_seconds_held == all_at_once.core_seconds_held


def test_a_job_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="more cores than there are"):
        run_batch(one_job_a_plan(WORK, cores=32), plans=1, cluster=Cluster(cores=16), work=WORK)
