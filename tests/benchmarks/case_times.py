"""Wall times of whole verifications, and what of them is not photons."""

from __future__ import annotations

import contextlib
import csv
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from gatecheck.cli.verify import VerifyOptions, run_verification
from gatecheck.config import load_config
from gatecheck.dose.chunks import read_chunks
from gatecheck.dose.model import MergeResult
from gatecheck.files import read_json
from gatecheck.layout import CaseLayout
from gatecheck.transport.geant4_data.folders import cache_folder
from gatecheck.transport.jobs import JobResult
from gatecheck.transport.model import ChunkResult
from gatecheck.transport.process import called_every_second
from gatecheck.transport.rounds import read_plan

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Wanted:
    """A phantom by its name, or a plan in a DICOM folder."""

    name: str
    dicom_folder: Path | None = None

    @property
    def is_phantom(self) -> bool:
        """Whether gatecheck makes it."""
        return self.dicom_folder is None


def case_times(wanted: Sequence[Wanted], cores: int) -> list[dict[str, Any]]:
    """A row for each: minutes, sigma reached, peak memory, time not at work on photons, and what compares and reports.

    The calibration, which a site makes once for its machine, and the recording of electron steps are in the minutes
    where the cache has none; so is the making of a phantom. Where steps were recorded, which happens once for all
    patients, a second row is without it.
    """
    rows: list[dict[str, Any]] = []
    for one in wanted:
        for _ in range(2):
            with tempfile.TemporaryDirectory(prefix="benchmark-case-") as folder:
                rows.append(_timed(one, Path(folder), cores))
            if not rows[-1]["recordings_made"]:
                break
    return rows


def _timed(wanted: Wanted, folder: Path, cores: int) -> dict[str, Any]:
    config = configured(wanted, folder)
    recorded = _recordings()
    started = time.perf_counter()
    memory = _Memory()
    with called_every_second(memory.look):
        _verify(config, folder, wanted.name, cores)
    minutes = (time.perf_counter() - started) / 60
    return {
        "case": wanted.name,
        "minutes": minutes,
        "recordings_made": _recordings() - recorded,
        "peak_memory_gib_a_core": memory.most_bytes / 2**30 / cores,
        **_what_it_took(CaseLayout(folder / "results" / wanted.name), cores),
    }


class _Memory:
    """The most that all processes below this one take together; what several of them share counts once."""

    def __init__(self) -> None:
        self.most_bytes = 0

    def look(self) -> None:
        """See what they take now."""
        taken = 0
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                taken += process.memory_full_info().pss
        self.most_bytes = max(self.most_bytes, taken)


def _verify(config: Path, folder: Path, name: str, cores: int) -> None:
    run_verification(
        VerifyOptions(
            dicom_folder=None,
            config_file=config,
            results_folder=folder / "results",
            name=name,
            cores=cores,
            target_relative_sigma=None,
            fine_voxel_size=None,
            coarse_voxel_size=None,
        )
    )


def configured(wanted: Wanted, folder: Path) -> Path:
    """The configuration that it is verified with."""
    file = _HERE / ("interface_1mm.yaml" if wanted.is_phantom else "plan_3mm.yaml")
    content = load_config(file).model_dump(mode="json")
    content["case"]["name"] = wanted.name
    if wanted.dicom_folder is None:
        content["case"]["phantom"] = wanted.name
    else:
        content["case"]["dicom_folder"] = str(wanted.dicom_folder.resolve())
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return config


def _what_it_took(layout: CaseLayout, cores: int) -> dict[str, Any]:
    chunks = read_chunks(layout.transport)
    merged = read_json(layout.dose / "merge.json", MergeResult)
    seconds = {path.stem: _seconds(path) for path in (layout.folder / "benchmarks").glob("*.tsv")}
    at_work = sum(sum(chunk.seconds.values()) - chunk.seconds["start_up"] for chunk in chunks)
    of_jobs = {step: taken for step, taken in seconds.items() if step.startswith("simulate")}
    given = cores * sum(of_jobs.values())
    starts = _starts_of_jobs(layout, chunks)
    of_transport = {
        part: sum(chunk.seconds_of_transport[part] for chunk in chunks) / at_work
        for part in ("photons", "along_steps", "gate")
    }
    return {
        "calibration_minutes": seconds["calibrate"] / 60,
        "pilot_minutes": seconds["plan_chunks"] / 60,
        "core_seconds_of_chunks": at_work,
        "source_photons": merged.histories,
        "relative_sigma": merged.fine_relative_sigma,
        "chunks": len(chunks),
        "head_share": sum(chunk.seconds["head"] for chunk in chunks) / at_work,
        **{f"{part}_share": share for part, share in of_transport.items()},
        "start_of_job_seconds": max(starts.values()),
        "start_of_job_share": max(starts[step] / taken for step, taken in of_jobs.items()),
        "not_at_work_share": 1 - at_work / given,
        "peak_memory_gib": max(chunk.peak_memory_mb for chunk in chunks) * 1e6 / 2**30,
        "compare_and_report_seconds": seconds["compare"] + seconds["report"],
        "seconds_of_steps": seconds,
        "chunk_seconds_of_rounds": _of_rounds(layout, chunks),
    }


def _starts_of_jobs(layout: CaseLayout, chunks: Sequence[ChunkResult]) -> dict[str, float]:
    """Seconds from the start of each simulate step's process to the first photon of the first of its chunks."""
    into_job = {chunk.index: chunk.seconds_into_job for chunk in chunks}
    starts = {}
    for path in layout.transport.glob("job-*.json"):
        job = read_json(path, JobResult)
        starts[f"simulate-{job.number:04d}"] = min(
            seconds for index in job.chunks if (seconds := into_job[index]) is not None
        )
    return starts


def _of_rounds(layout: CaseLayout, chunks: Sequence[ChunkResult]) -> list[list[float]]:
    """Core-seconds of every chunk without its start, by the round that asked for it."""
    left = iter([sum(chunk.seconds.values()) - chunk.seconds["start_up"] for chunk in chunks])
    return [list(itertools.islice(left, number)) for number in read_plan(layout.transport).chunks_of_rounds]


def _recordings() -> int:
    """Recordings of electron steps in the cache."""
    return len(list((cache_folder() / "electron-steps").glob("[!.]*.npz")))


def _seconds(path: Path) -> float:
    with path.open(encoding="utf-8", newline="") as stream:
        return sum(float(row["s"]) for row in csv.DictReader(stream, delimiter="\t"))
