"""The workflow on a real SLURM, undisturbed and disturbed: the same dose, bit for bit, as on this machine alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from gatecheck.config import project_folder
from gatecheck.files import read_json, sha256_of_file
from gatecheck.report.overview import Batch

from .conftest import SETTINGS, Bench
from .slurm_here import Slurm, slurm, why_not

pytestmark = [pytest.mark.gate, pytest.mark.cluster, pytest.mark.skipif(why_not() != "", reason=why_not())]

# Two jobs of two chunks each; or one of four, of which two are done when the others begin.
HEAD_DONE = "Fast head: "  # in a job's log: its first chunk has begun, and takes some seconds more
ON_CLUSTER: dict[str, Any] = {"execution": {"chunks_per_job": 2, "scratch_folder": "/tmp"}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile as it is, but for jobs of two cores, as there are no more here, and asking for them more often."""
    folder = tmp_path_factory.mktemp("profile")
    shutil.copy(project_folder() / "workflow" / "profiles" / "slurm" / "config.yaml", folder)
    content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    content["set-threads"]["simulate"] = 2
    content["slurm-init-seconds-before-status-checks"] = 5
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


class OnCluster:
    """Verifies a plan on the cluster, beside the one verified here."""

    def __init__(self, bench: Bench, cluster: Slurm, profile: Path, water_plan: Path) -> None:
        self.bench, self.cluster, self.profile, self.plan = bench, cluster, profile, water_plan

    def command(self, name: str, chunks_per_job: int) -> list[str]:
        """As of the bench, with the profile and settings of the cluster."""
        words = self.bench.command(self.plan, name, "--profile", str(self.profile))
        settings = self.bench.folder / f"on_cluster_{chunks_per_job}.yaml"
        execution = ON_CLUSTER["execution"] | {"chunks_per_job": chunks_per_job}
        settings.write_text(yaml.safe_dump(SETTINGS | {"execution": execution}), encoding="utf-8")
        words[words.index("--config") + 1] = str(settings)
        return words

    def environment(self) -> dict[str, str]:
        """The bench's with the cluster's commands."""
        path = f"{self.bench.environment()['PATH']}:{self.cluster.environment['PATH']}"
        return self.cluster.environment | self.bench.environment() | {"PATH": path}

    def start(self, name: str, chunks_per_job: int = 2) -> subprocess.Popen[str]:
        """Begin it."""
        return subprocess.Popen(
            self.command(name, chunks_per_job),
            env=self.environment(),
            cwd=self.bench.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def verify(self, name: str, chunks_per_job: int = 2) -> str:
        """Verify it, and give Snakemake's log."""
        process = self.start(name, chunks_per_job)
        _, stderr = process.communicate(timeout=900)
        assert process.returncode == 0, f"{stderr}\n{self.log(name)}"
        return self.log(name)

    def log(self, name: str) -> str:
        """What Snakemake said last."""
        return (self.bench.layout(name).logs / "snakemake.log").read_text(encoding="utf-8")

    def job_at_work(self, name: str, process: subprocess.Popen[str], *, finished: int = 0) -> str:
        """Number of a job that simulates, once it has begun a chunk, or finished so many."""
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and process.poll() is None:
            logs = self.bench.layout(name).logs.glob("simulate-*.log")
            if any(HEAD_DONE in log.read_text(encoding="utf-8") for log in logs) and (
                len(_finished(self.bench, name)) >= finished
            ):
                at_work = [job for job, state, rule in self.cluster.jobs() if state == "RUNNING" and "simulate" in rule]
                if at_work:
                    return at_work[-1]
            time.sleep(0.05)
        process.kill()
        raise AssertionError(f"no job simulated: {process.communicate()[1]}")


@pytest.fixture(scope="module")
def on_cluster(bench: Bench, cluster: Slurm, profile: Path, water_plan: Path) -> OnCluster:
    return OnCluster(bench, cluster, profile, water_plan)


def _finished(bench: Bench, name: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in bench.layout(name).transport.glob("chunk-*.json")}


def test_jobs_that_outlive_the_command_are_waited_for(bench: Bench, verified: str, on_cluster: OnCluster) -> None:
    """The command and its Snakemake are killed; the job at work goes on, and the next command uses what it finishes."""
    process = on_cluster.start("submitter_killed", 4)
    on_cluster.job_at_work("submitter_killed", process, finished=1)
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        one.kill()
    process.communicate(timeout=60)
    finished = _finished(bench, "submitter_killed")
    again = on_cluster.start("submitter_killed", 4)
    _, stderr = again.communicate(timeout=900)
    assert again.returncode == 0, f"{stderr}\n{on_cluster.log('submitter_killed')}"
    assert "still works on this case: waiting for it" in stderr
    assert finished.items() <= _finished(bench, "submitter_killed").items()
    assert _same_dose(bench, "submitter_killed", verified)


def _same_dose(bench: Bench, one: str, other: str) -> bool:
    names = ("mc_dose.mha", "mc_sigma.mha")
    return all(
        sha256_of_file(bench.layout(one).dose / name) == sha256_of_file(bench.layout(other).dose / name)
        for name in names
    )


def test_a_plan_is_a_handful_of_jobs_and_its_dose_is_that_of_one_machine(
    bench: Bench, verified: str, on_cluster: OnCluster
) -> None:
    log = on_cluster.verify("on_slurm")
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", log)
    # Preparation, calibration, plan of chunks, two of chunks, what they add up to with its export, the report.
    assert len(submitted) == len(set(submitted)) == 7, log
    assert _same_dose(bench, "on_slurm", verified)


def test_a_cancelled_job_is_run_again(bench: Bench, verified: str, on_cluster: OnCluster) -> None:
    process = on_cluster.start("cancelled", 4)
    job = on_cluster.job_at_work("cancelled", process, finished=1)
    finished = _finished(bench, "cancelled")
    on_cluster.cluster.command("scancel", job)
    _, stderr = process.communicate(timeout=900)
    log = on_cluster.log("cancelled")
    assert process.returncode == 0, f"{stderr}\n{log}"
    assert 1 <= len(finished) < 4
    assert len(re.findall(r"submitted with SLURM jobid \d+ \(log: .*/rule_simulate/0001/", log)) == 2, log
    assert re.search(r"Error in rule simulate|failed|CANCELLED", log), log
    assert finished.items() <= _finished(bench, "cancelled").items(), "a finished chunk was simulated again"
    assert _same_dose(bench, "cancelled", verified)


def test_a_node_that_goes_down_costs_its_jobs_alone(bench: Bench, verified: str, on_cluster: OnCluster) -> None:
    process = on_cluster.start("node_down", 4)
    on_cluster.job_at_work("node_down", process, finished=1)
    finished = _finished(bench, "node_down")
    assert 1 <= len(finished) < 4
    on_cluster.cluster.kill("slurmd")
    on_cluster.cluster.wait_for("down")
    on_cluster.cluster.start("slurmd")
    on_cluster.cluster.wait_for("idle")
    process.communicate(timeout=900)  # whether a retry found the node again in time is the profile's business
    on_cluster.verify("node_down", 4)
    assert finished.items() <= _finished(bench, "node_down").items(), "a finished chunk was simulated again"
    assert _same_dose(bench, "node_down", verified)


def test_a_job_that_waited_in_the_queue_until_the_next_run_was_done_touches_nothing(
    bench: Bench, verified: str, on_cluster: OnCluster
) -> None:
    """Snakemake removes a job's files before the job begins: the refusal has to come before that."""
    name, cluster = "late", on_cluster.cluster
    process = on_cluster.start(name)
    late = _waiting_to_simulate(cluster, process)
    cluster.command("scontrol", "hold", late)
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        one.kill()
    process.communicate(timeout=60)
    on_cluster.verify(name)
    assert _same_dose(bench, name, verified)
    before = _files(bench, name)
    assert any(path.name == "job-0002.json" for path in before)
    # The plugin has removed the folder of its log, without which SLURM starts no job.
    (log,) = re.findall(r"StdOut=(.+)", cluster.command("scontrol", "show", "job", late))
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    cluster.command("scontrol", "release", late)
    deadline = time.monotonic() + 120
    while late in {job for job, _, _ in cluster.jobs()} and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _files(bench, name) == before
    assert "this step belongs to a run that has ended" in Path(log).read_text(encoding="utf-8")


def _waiting_to_simulate(cluster: Slurm, process: subprocess.Popen[str]) -> str:
    """Number of a job that is to simulate when another does."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        simulate = {state: job for job, state, rule in cluster.jobs() if "simulate" in rule}
        if {"RUNNING", "PENDING"} <= simulate.keys():
            return simulate["PENDING"]
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no job waited: {process.communicate()[1]}")


def _files(bench: Bench, name: str) -> dict[Path, int]:
    """All of a case, but for what Snakemake and SLURM note of jobs."""
    folder = bench.layout(name).folder
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and ".snakemake" not in path.parts and "slurm_logs" not in path.parts
    }


def test_a_batch_is_verified_on_the_cluster(
    bench: Bench, verified: str, on_cluster: OnCluster, water_plan: Path, tmp_path: Path
) -> None:
    """Two plans at a time, of which one has no CT: that one is reported, the other has the dose of one machine."""
    shutil.copytree(water_plan, tmp_path / "plans" / "first")
    shutil.copytree(water_plan, tmp_path / "plans" / "without CT", ignore=shutil.ignore_patterns("CT*"))
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(SETTINGS | ON_CLUSTER), encoding="utf-8")
    words = on_cluster.bench.command(water_plan, "unused")[:3]
    options = ["--config", str(settings), "--results", str(tmp_path / "results"), "--at-a-time", "2"]
    result = subprocess.run(
        [*words, "batch", str(tmp_path / "plans"), *options, "--profile", str(on_cluster.profile)],
        env=on_cluster.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    found = read_json(tmp_path / "results" / "batch.json", Batch)
    assert sorted(entry.state for entry in found.entries) == ["refused", "verified"]
    (case,) = [entry.case for entry in found.entries if entry.state == "verified"]
    folder = tmp_path / "results" / case
    assert "has been submitted with SLURM jobid" in (folder / "logs" / "snakemake.log").read_text(encoding="utf-8")
    of_one_machine = bench.layout(verified).dose / "mc_dose.mha"
    assert sha256_of_file(folder / "dose" / "mc_dose.mha") == sha256_of_file(of_one_machine)
