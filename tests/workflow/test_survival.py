"""What machines do to a run: after each, the next run ends with the dose of an undisturbed one, bit for bit."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml

from gatecheck.config import project_folder
from gatecheck.errors import PREPARED_VARIABLE
from gatecheck.files import read_json, sha256_of_file
from gatecheck.transport.model import ChunkResult

from .conftest import SETTINGS, Bench, end_all, wait_for, wait_for_chunk

pytestmark = pytest.mark.gate

DOSES = ("mc_dose.mha", "mc_sigma.mha")


def _doses(bench: Bench, name: str) -> list[str]:
    return [sha256_of_file(bench.layout(name).dose / dose) for dose in DOSES]


def _chunks(bench: Bench, name: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in bench.layout(name).transport.glob("chunk-*.json")}


def _left_over(bench: Bench, name: str) -> list[Path]:
    return list(bench.layout(name).folder.rglob(".*partial-*"))


def test_after_a_power_cut_finished_chunks_are_kept_and_no_rest_is_left(
    bench: Bench, verified: str, water_plan: Path
) -> None:
    bench.planned_as(verified, "power_cut")
    process = bench.start(water_plan, "power_cut")
    transport = bench.layout("power_cut").transport
    wait_for(lambda: len(_chunks(bench, "power_cut")) >= 1, process)
    end_all(process)
    finished = _chunks(bench, "power_cut")
    (transport / ".partial-chunk-0004-left").mkdir()
    (transport / ".partial-chunk-0004-left" / "half.mha").write_bytes(b"half")
    (bench.layout("power_cut").folder / "dose").mkdir(exist_ok=True)
    (bench.layout("power_cut").dose / ".mc_dose.partial-left.mha").write_bytes(b"half")
    bench.dose_of(water_plan, "power_cut")
    assert finished.items() <= _chunks(bench, "power_cut").items(), "a finished chunk was simulated again"
    assert _doses(bench, "power_cut") == _doses(bench, verified)
    assert not _left_over(bench, "power_cut")


def test_a_killed_snakemake_is_said_and_costs_no_finished_chunk(bench: Bench, verified: str, water_plan: Path) -> None:
    process = bench.start(water_plan, "no_snakemake")
    wait_for(lambda: len(_chunks(bench, "no_snakemake")) >= 1, process)
    family = psutil.Process(process.pid).children(recursive=True)
    next(child for child in family if _is_snakemake(child)).kill()
    _, stderr = process.communicate(timeout=600)
    assert not psutil.wait_procs(family, timeout=60)[1], "a step worked on"
    assert process.returncode != 0
    assert len([line for line in stderr.splitlines() if line.startswith("gatecheck: ")]) == 1, stderr
    finished = _chunks(bench, "no_snakemake")
    # And the clock jumped while the run lasted: what was made first is dated a year after what was made last.
    layout, moment = bench.layout("no_snakemake"), time.time() + 400 * 86400
    for path in (*layout.case.glob("*"), layout.delivery, *layout.patient.glob("*")):
        os.utime(path, (moment, moment))
    bench.dose_of(water_plan, "no_snakemake")
    assert finished.items() <= _chunks(bench, "no_snakemake").items()
    assert _doses(bench, "no_snakemake") == _doses(bench, verified)


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:  # ended meanwhile
        return False
    return "snakemake" in " ".join(words) and "--snakefile" in words


def test_a_step_that_outlives_its_run_is_waited_for_and_its_chunks_are_used(
    bench: Bench, verified: str, water_plan: Path
) -> None:
    bench.planned_as(verified, "outlived")
    process = bench.start(water_plan, "outlived")
    wait_for(lambda: len(_chunks(bench, "outlived")) >= 1, process)
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        if one.pid == process.pid or _is_snakemake(one):
            one.kill()
    process.communicate(timeout=60)
    finished = _chunks(bench, "outlived")
    assert "still works on this case: waiting for it" in bench.dose_of(water_plan, "outlived")
    assert finished.items() <= _chunks(bench, "outlived").items()
    assert _doses(bench, "outlived") == _doses(bench, verified)
    assert not _left_over(bench, "outlived")


@contextlib.contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of so many bytes in place of a folder."""
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    if mount is None or _run(mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        _run("umount", "-l", str(folder))


@pytest.fixture
def small_disk(bench: Bench, verified: str) -> Iterator[Path]:
    """A file system of 100 kB in place of a case's transport folder."""
    bench.planned_as(verified, "small_disk")
    transport = bench.layout("small_disk").transport
    aside = transport.rename(transport.with_name("aside"))
    with _small_disk(transport, "100k") as folder:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        shutil.rmtree(aside)
        yield folder


def _run(*words: str) -> int:
    return subprocess.run(words, capture_output=True, check=False).returncode


def test_a_disk_that_fills_up_during_a_chunk_is_said_and_the_next_run_goes_on(
    bench: Bench, verified: str, water_plan: Path, small_disk: Path
) -> None:
    result = bench.verify(water_plan, "small_disk")
    assert result.returncode == 2, result.stderr
    assert "no space left" in result.stderr
    assert not (small_disk / "chunk-0004.json").exists()
    finished = _chunks(bench, "small_disk")
    assert 1 <= len(finished) < 4
    assert _run("mount", "-o", "remount,size=200m", str(small_disk)) == 0
    bench.dose_of(water_plan, "small_disk")
    assert finished.items() <= _chunks(bench, "small_disk").items()
    assert _doses(bench, "small_disk") == _doses(bench, verified)


def test_a_disk_that_fills_up_while_merging_is_said_and_costs_no_chunk(
    bench: Bench, verified: str, water_plan: Path
) -> None:
    name = "full_at_merge"
    layout = bench.layout(name)
    made = shutil.ignore_patterns("dose", "compare", "report", ".snakemake", ".lock", ".working")
    shutil.copytree(bench.layout(verified).folder, layout.folder, symlinks=True, ignore=made)
    chunks = _chunks(bench, name)
    with _small_disk(layout.dose, "8k") as folder:
        result = bench.verify(water_plan, name)
        assert result.returncode == 2, result.stderr
        assert "no space left" in result.stderr
        assert not list(folder.iterdir())
        assert _run("mount", "-o", "remount,size=200m", str(folder)) == 0
        bench.dose_of(water_plan, name)
        assert _chunks(bench, name) == chunks, "a chunk was simulated again"
        assert _doses(bench, name) == _doses(bench, verified)


def test_chunks_of_another_configuration_are_replaced_and_never_mixed_in(
    bench: Bench, verified: str, water_plan: Path, tmp_path: Path
) -> None:
    """Half of a run of dose to water, and then the configuration as it was."""
    name = "stale"
    shutil.copytree(bench.layout(verified).folder, bench.layout(name).folder, symlinks=True)
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(SETTINGS | {"dose": {"dose_to": "water"}}), encoding="utf-8")
    _replace_a_chunk(bench, water_plan, name, "--config", str(config))
    bench.dose_of(water_plan, name)
    assert _doses(bench, name) == _doses(bench, verified)


def test_chunks_that_follow_the_pilots_clock_come_back_after_another_configuration(
    bench: Bench, water_plan: Path, tmp_path: Path
) -> None:
    """More chunks than there have to be, their number from how fast the pilot was: dose to water, and back again."""
    name = "by_the_clock"
    transport = SETTINGS["transport"] | {"chunk_minutes": 0.051, "source_photons": 120_000}
    configs = {dose_to: tmp_path / f"{dose_to}.yaml" for dose_to in ("medium", "water")}
    for dose_to, config in configs.items():
        of_dose = {"transport": transport, "dose": {"dose_to": dose_to}}
        config.write_text(yaml.safe_dump(SETTINGS | of_dose), encoding="utf-8")
    bench.dose_of(water_plan, name, "--config", str(configs["medium"]))
    undisturbed, chunks = _doses(bench, name), len(_chunks(bench, name))
    assert chunks > transport["minimum_chunks"]
    bench.dose_of(water_plan, name, "--config", str(configs["water"]))
    assert _doses(bench, name) != undisturbed
    bench.dose_of(water_plan, name, "--config", str(configs["medium"]))
    assert len(_chunks(bench, name)) == chunks
    assert _doses(bench, name) == undisturbed


def test_jobs_of_another_length_cost_no_chunk_and_leave_none_out(
    bench: Bench, verified: str, water_plan: Path, tmp_path: Path
) -> None:
    """The first of two jobs of two chunks, as on a cluster, and then all in one job, as on one machine."""
    name = "other_jobs"
    bench.planned_as(verified, name)
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(SETTINGS | {"execution": {"chunks_per_job": 2}}), encoding="utf-8")
    bench.dose_of(water_plan, name, "--config", str(config))
    # Which job is first, Snakemake says: as if the second had been cancelled.
    layout = bench.layout(name)
    for path in [layout.transport / "job-0002.json", *layout.transport.glob("chunk-000[34]*")]:
        path.unlink()
    shutil.rmtree(layout.dose)
    assert (layout.transport / "job-0001.json").exists()
    finished = _chunks(bench, name)
    assert len(finished) == 2
    said = bench.dose_of(water_plan, name)
    assert "of 4 chunks are not there" in said
    assert finished.items() <= _chunks(bench, name).items(), "a finished chunk was simulated again"
    assert _doses(bench, name) == _doses(bench, verified)


def test_a_job_of_an_earlier_run_that_begins_late_touches_nothing(bench: Bench, verified: str) -> None:
    """As one does that waited in a cluster's queue: Snakemake would remove a job's files before the job begins."""
    name = "late_job"
    shutil.copytree(bench.layout(verified).folder, bench.layout(name).folder, symlinks=True)
    layout = bench.layout(name)
    before = {path: path.stat().st_mtime_ns for path in layout.folder.rglob("*") if path.is_file()}
    words = ["--snakefile", str(project_folder() / "Snakefile"), "--configfile", str(layout.config)]
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "--cores", "1", "--nolock", "--forcerun", "plan_chunks", "merge"],
        env=bench.environment() | {PREPARED_VARIABLE: "of an earlier run"},
        cwd=layout.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode != 0
    assert "this step belongs to a run that has ended, and a newer one has the case" in result.stderr
    after = {path: path.stat().st_mtime_ns for path in layout.folder.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before


def _replace_a_chunk(bench: Bench, dicom: Path, name: str, *options: str) -> None:
    """Verify again until the first chunk is another one, and no further."""
    before = _chunks(bench, name)
    process = bench.start(dicom, name, *options)
    wait_for(lambda: any(before[path] != time_of for path, time_of in _chunks(bench, name).items()), process)
    end_all(process)


def _next_version(folder: Path) -> Path:
    """The project with a line more in the code of a chunk, and with all that was compiled of it."""
    for name in ("workflow", "linac_models"):
        shutil.copytree(project_folder() / name, folder / name)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(project_folder() / name, folder / name)
    chunk = folder / "workflow" / "gatecheck" / "transport" / "chunk.py"
    chunk.write_text(chunk.read_text(encoding="utf-8") + "\n# One line more.\n", encoding="utf-8")
    return folder


def _planned_for(bench: Bench, name: str) -> set[str]:
    """Hashes over what the chunks that there are were simulated from."""
    return {read_json(path, ChunkResult).inputs_sha256 for path in _chunks(bench, name)}


def test_chunks_of_another_version_of_the_code_are_replaced_and_never_mixed_in(
    bench: Bench, verified: str, water_plan: Path, tmp_path: Path
) -> None:
    """Half of a run with the next version, of which no hash can know that its doses are the same, and back to this."""
    name = "next_version"
    shutil.copytree(bench.layout(verified).folder, bench.layout(name).folder, symlinks=True)
    _replace_a_chunk(replace(bench, project=_next_version(tmp_path)), water_plan, name)
    assert _planned_for(bench, name) - _planned_for(bench, verified), "no chunk is the other version's"
    bench.dose_of(water_plan, name)
    assert _planned_for(bench, name) == _planned_for(bench, verified)
    assert _doses(bench, name) == _doses(bench, verified)


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_jumped_costs_no_chunk_and_changes_no_dose(
    bench: Bench, verified: str, water_plan: Path, days: int
) -> None:
    """The patient's files seem made long before or after all others, as on a node whose clock was wrong."""
    name = f"clock_{'back' if days < 0 else 'on'}"
    shutil.copytree(bench.layout(verified).folder, bench.layout(name).folder, symlinks=True)
    moment = time.time() + 86400 * days
    for path in (*bench.layout(name).patient.iterdir(), bench.layout(name).transport / "chunk-0001.json"):
        os.utime(path, (moment, moment))
    chunks = sorted(bench.layout(name).transport.glob("chunk-*.json"))
    before = [path.read_bytes() for path in chunks]
    said = bench.dose_of(water_plan, name)
    assert [path.read_bytes() for path in chunks] == before, "a chunk was simulated again"
    assert ("dated after now" in said) == (days > 0)
    assert _doses(bench, name) == _doses(bench, verified)


def test_a_link_and_an_export_that_are_dated_ahead_do_not_stop_ingest(
    bench: Bench, verified: str, water_plan: Path, tmp_path: Path
) -> None:
    layout = bench.layout("linked_ahead")
    shutil.copytree(bench.layout(verified).folder, layout.folder, symlinks=True)
    export = tmp_path / "export"
    shutil.copytree(water_plan, export)
    layout.dicom.unlink()
    layout.dicom.symlink_to(export, target_is_directory=True)
    moment = time.time() + 400 * 86400
    for path in (layout.dicom, export):
        os.utime(path, (moment, moment), follow_symlinks=False)
    os.utime(layout.inputs / "case.json")  # newer than what was made of it: ingest runs again
    chunks = _chunks(bench, "linked_ahead")
    bench.dose_of(export, "linked_ahead")
    assert _chunks(bench, "linked_ahead") == chunks
    assert _doses(bench, "linked_ahead") == _doses(bench, verified)


def test_a_chunk_that_never_ends_is_stopped_and_said(
    bench: Bench, verified: str, water_plan: Path, tmp_path: Path
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(SETTINGS | {"execution": {"longest_chunk_minutes": 0.2}}), encoding="utf-8")
    bench.planned_as(verified, "endless")
    process = bench.start(water_plan, "endless", "--config", str(config))
    chunk = wait_for_chunk(process)
    chunk.send_signal(signal.SIGSTOP)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 2, stderr
    assert "did not end within 0.2 minutes" in stderr
    assert not chunk.is_running()
    bench.dose_of(water_plan, "endless")
    assert _doses(bench, "endless") == _doses(bench, verified)
