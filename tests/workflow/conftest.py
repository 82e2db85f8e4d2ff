"""A small plan that walks through the whole workflow on the real engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from gatecheck.config import project_folder
from gatecheck.layout import CaseLayout
from gatecheck.phantoms.water_tank import static_beam, write_water_phantom

from ..calibrations import RELATIVE_SIGMA, Calibrations

# Few photons: these tests look at the walk; what the dose means is tested with physics elsewhere.
SETTINGS: dict[str, Any] = {
    "machine": {"model": "truebeam_stx"},
    "patient": {"coarse_voxel_size": 10},
    "transport": {"source_photons": 34_000, "pilot_photons": 2_000, "minimum_chunks": 4},
    "calibration": {"relative_sigma": RELATIVE_SIGMA},
}


@dataclass(frozen=True)
class Bench:
    """Where a test verifies plans, and with which version of the code."""

    folder: Path
    calibrations: Calibrations
    project: Path = field(default_factory=project_folder)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def layout(self, name: str) -> CaseLayout:
        return CaseLayout(self.results / name)

    def command(self, dicom: Path, name: str, *options: str) -> list[str]:
        config = self.folder / "settings.yaml"
        config.write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
        words = ["verify", str(dicom), "--config", str(config), "--results", str(self.results), "--name", name]
        return [sys.executable, "-m", "gatecheck.cli.main", *words, "--cores", "2", *options]

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return os.environ | {"PYTHONPATH": str(self.project / "workflow"), "PATH": path} | self.variables

    def verify(self, dicom: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        self.calibrations.lend(self.results)
        result = subprocess.run(
            self.command(dicom, name, *options),
            env=self.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        self.calibrations.lend(self.results)
        return result

    def start(self, dicom: Path, name: str, *options: str) -> subprocess.Popen[str]:
        self.calibrations.lend(self.results)
        return subprocess.Popen(
            self.command(dicom, name, *options),
            env=self.environment(),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def dose_of(self, dicom: Path, name: str, *options: str) -> str:
        """Verify until there is a dose, and no further, for what comes after it takes longer; what was said."""
        # Snakemake has taken the dose for whole when the step behind it begins, and not before.
        behind = self.layout(name).logs / "compare.log"
        before = behind.stat().st_mtime_ns if behind.exists() else None
        process = self.start(dicom, name, *options)
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline and process.poll() is None:
            if behind.exists() and behind.stat().st_mtime_ns != before:
                break
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=120)
        assert behind.exists(), stderr
        assert behind.stat().st_mtime_ns != before, stderr
        return stderr

    def planned_as(self, verified: str, name: str) -> None:
        """A case of another name as it was when its chunks had been planned, and none been simulated."""
        later = ("chunk-*", "job-*", "simulate-*", "dose", "compare", "report", ".lock", ".working")
        source, copy = self.layout(verified).folder, self.layout(name).folder
        shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns(*later))
        assert (self.layout(name).transport / "chunks.json").exists()

    def dry_run(self, config: Path, name: str) -> str:
        """What Snakemake would do with another configuration of a case."""
        words = ["-m", "snakemake", "--snakefile", str(self.project / "Snakefile"), "--configfile", str(config)]
        result = subprocess.run(
            [sys.executable, *words, "--cores", "1", "--nolock", "-n"],
            env=self.environment(),
            cwd=self.layout(name).folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    def summary(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.layout(name).report / "summary.json").read_text(encoding="utf-8"))
        return content


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until something is so, while a command runs."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"it never came so far: {process.communicate()[1]}")


def end_all(process: subprocess.Popen[str]) -> None:
    """kill -9 of the command, Snakemake, its jobs and their children at once, as a power cut does."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in family:
        one.suspend()
    for one in family:
        one.kill()
    process.communicate(timeout=60)


def wait_for_chunk(process: subprocess.Popen[str]) -> psutil.Process:
    """A child of the process that simulates: it is one chunk."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if _simulates(child) and (parent := child.parent()) is not None and _simulates(parent):
                    return child
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        time.sleep(0.1)
    raise AssertionError("no chunk was started")


def _simulates(process: psutil.Process) -> bool:
    words = process.cmdline()
    return "--job" in words and "simulate" in words and any("gatecheck" in word for word in words[:3])


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, calibrations: Calibrations) -> Bench:
    return Bench(tmp_path_factory.mktemp("verify in a folder with spaces"), calibrations)


@pytest.fixture(scope="session")
def water_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 x 100 mm, gantry 0, 100 MU onto water, isocentre 50 mm deep (SSD 950 mm)."""
    folder = tmp_path_factory.mktemp("DOE^JANE-export")
    beam = static_beam(isocentre=(0.0, 50.0, 0.0), meterset=100.0)
    write_water_phantom(folder, size=(200.0, 160.0, 200.0), spacing=(5.0, 5.0, 5.0), beams=[beam])
    return folder


@pytest.fixture(scope="session")
def verified(bench: Bench, water_plan: Path) -> str:
    """The name of the plan verified without any disturbance."""
    result = bench.verify(water_plan, "undisturbed")
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout
    return "undisturbed"
