"""The model of a cluster against what can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cluster_model import (
    Cluster,
    PlanWork,
    Step,
    a_workflow_a_plan,
    batch_on_paper,
    makespan,
    measured_work,
    one_job_a_plan,
    run_batch,
)

# 100 s of one core, 800 s that can be shared out.
WORK = PlanWork(
    prepare=10.0,
    pilot=20.0,
    rounds=(16 * (50.0,),),
    questions=(10.0,),
    finish=40.0,
    report=20.0,
    start=10.0,
    between=0.0,
)
AT_ONCE = {"launch": 0.0, "job_start": 0.0, "polling": 0.0}


def test_one_plan_takes_its_steps_one_after_the_other() -> None:
    cluster = Cluster(cores=16, launch=5.0, job_start=3.0, polling=20.0)
    steps = a_workflow_a_plan(WORK, cores=4, chunks_per_job=8, job_start=3.0)  # two jobs simulate
    found = run_batch(steps, plans=1, cluster=cluster)
    assert found.seconds == pytest.approx(100 + (10 + 2 * 50) + 6 * (5 + 3) + 5 * 20)
    assert found.jobs == 7
    assert found.core_seconds_held == pytest.approx(100 + 5 * 3 + 8 * (3 + 10 + 2 * 50))
    assert found.core_seconds_used == pytest.approx(100 + 7 * 3 + 2 * 10 + 800)


def test_a_second_round_is_simulated_after_the_question() -> None:
    work = PlanWork(10.0, 20.0, (WORK.rounds[0], (50.0, 50.0)), (10.0, 12.0), 40.0, 20.0, 10.0, 0.0)
    steps = a_workflow_a_plan(work, cores=8, chunks_per_job=50, job_start=0.0)
    assert [(step.cores, step.seconds) for step in steps] == [
        (1, (10.0,)),
        (1, (20.0,)),
        (8, (10.0 + 100.0,)),
        (1, (10.0,)),
        (8, (10.0 + 50.0,)),
        (1, (12.0,)),
        (1, (40.0,)),
        (1, (20.0,)),
    ]


def test_each_core_that_is_free_takes_the_next_chunk() -> None:
    assert makespan([4.0, 1.0, 2.0, 3.0], 2) == 6.0  # 4 alone until the other has done 1 and 2, then 3 on the other
    assert makespan([4.0, 1.0, 2.0, 3.0], 1) == 10.0
    assert makespan([4.0, 1.0], 8) == 4.0


def test_plans_on_one_core_each_fill_the_machine() -> None:
    found = run_batch(one_job_a_plan(WORK, cores=1), plans=1000, cluster=Cluster(cores=100, **AT_ONCE))
    assert found.seconds == pytest.approx(1000 * 910 / 100)
    assert found.core_seconds_used == pytest.approx(found.core_seconds_held)


def test_cores_of_a_plans_job_idle_while_one_alone_works() -> None:
    """Amdahl's law: 110 of 910 s can not be shared out; the ten cores have 16 chunks in two goes."""
    found = run_batch(one_job_a_plan(WORK, cores=10), plans=10, cluster=Cluster(cores=100, **AT_ONCE))
    assert found.seconds == pytest.approx(110 + 2 * 50)
    assert found.core_seconds_used / found.core_seconds_held == pytest.approx(910 / 2100)


def test_jobs_come_one_after_the_other_where_there_is_room_for_one() -> None:
    steps = (Step(4, (10.0, 10.0, 10.0), 120.0),)
    found = run_batch(steps, plans=2, cluster=Cluster(cores=7, launch=1.0, polling=0.0))
    assert found.seconds == pytest.approx(6 * 11)


def test_fewer_workflows_at_a_time_take_longer_and_hold_no_more() -> None:
    cluster, steps = Cluster(cores=2000), a_workflow_a_plan(WORK, cores=4, chunks_per_job=50, job_start=5.0)
    all_at_once = run_batch(steps, plans=300, cluster=cluster)
    ten = run_batch(steps, plans=300, cluster=cluster, most_workflows=10)
    assert ten.most_workflows == 10
    assert ten.seconds == pytest.approx(30 * all_at_once.seconds)  # there is room for all: each waits for its own jobs
    assert ten.core_seconds_held == all_at_once.core_seconds_held


def test_a_job_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="more cores than there are"):
        run_batch(one_job_a_plan(WORK, cores=32), plans=1, cluster=Cluster(cores=16))


def measured(folder: Path) -> Path:
    """A page's data with one case: 5 min, of which 200 s are steps."""
    steps = {"ingest": 1.0, "check_comparison": 2.0, "deliver": 3.0, "voxelise": 4.0, "plan_chunks": 20.0}
    steps |= {
        "calibrate": 50.0,
        "simulate-0001": 60.0,
        "top_up-1": 10.0,
        "merge": 15.0,
        "compare": 25.0,
        "report": 10.0,
    }
    row: dict[str, object] = {"case": "one", "minutes": 5.0, "start_of_job_seconds": 5.0, "seconds_of_steps": steps}
    row["chunk_seconds_of_rounds"] = [[27.0, 27.0, 27.0, 27.0]]
    file = folder / "benchmarks.json"
    file.write_text(json.dumps({"cases": {"rows": [row]}}), encoding="utf-8")
    return file


def test_a_plans_times_are_those_measured(tmp_path: Path) -> None:
    work = measured_work(measured(tmp_path), "one")
    assert (work.prepare, work.pilot, work.questions, work.finish, work.report) == (10.0, 20.0, (10.0,), 40.0, 10.0)
    assert work.alone == 90.0
    assert work.simulate == 108.0
    assert work.between == 100.0  # of 300 s
    with pytest.raises(ValueError, match="no times of other"):
        measured_work(measured(tmp_path), "other")


def test_ten_times_the_photons_cost_ten_times_the_chunks_alone(tmp_path: Path) -> None:
    rows = batch_on_paper(measured_work(measured(tmp_path), "one"), plans=20, cores=2000)
    on_one = [row for row in rows if row["way"] == "one job a plan" and row["cores_of_a_job"] == 1]
    assert [row["core_hours"] for row in on_one] == pytest.approx(
        [20 * (90 + 100 + 5 + 108) / 3600, 20 * (90 + 100 + 5 + 1080) / 3600]
    )
