"""`gatecheck batch` on twenty small plans, two of them bad, stopped once and gone on with."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gatecheck.files import read_json
from gatecheck.phantoms.water_tank import static_beam, write_water_phantom
from gatecheck.report.overview import Batch

from .conftest import SETTINGS, Bench

pytestmark = pytest.mark.gate

PLANS = 20
NO_CT, EMPTY = 5, 11  # their places
SECRET = "DOE-JANE"


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares onto water, no two alike; the folders' names are patients'."""
    folder = tmp_path_factory.mktemp("plans")
    for number in range(1, PLANS + 1):
        own = folder / f"{SECRET}-{number:02d}"
        if number == EMPTY:
            own.mkdir()
            continue
        beam = static_beam(isocentre=(0.0, 40.0, 0.0), meterset=50.0 + number)
        write_water_phantom(own, size=(120.0, 100.0, 120.0), spacing=(10.0, 10.0, 10.0), beams=[beam])
        if number == NO_CT:
            for slice_of_ct in own.glob("CT*"):
                slice_of_ct.unlink()
    return folder


def command(bench: Bench, plans: Path) -> list[str]:
    config = bench.folder / "batch.yaml"
    photons = {"source_photons": 20_000, "pilot_photons": 2_000, "minimum_chunks": 4}
    settings = SETTINGS | {"transport": SETTINGS["transport"] | photons, "case": {"site": "water"}}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    words = ["batch", str(plans), "--config", str(config), "--results", str(bench.folder / "batch")]
    return [sys.executable, "-m", "gatecheck.cli.main", *words, "--cores", "2", "--at-a-time", "2"]


def overview(bench: Bench) -> Batch | None:
    path = bench.folder / "batch" / "batch.json"
    return read_json(path, Batch) if path.exists() else None


def test_a_batch_survives_bad_plans_and_goes_on_after_it_was_stopped(bench: Bench, plans: Path) -> None:
    environment = bench.environment()
    first = subprocess.Popen(
        command(bench, plans), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline and first.poll() is None:
        found = overview(bench)
        if found is not None and sum(entry.state == "verified" for entry in found.entries) >= 2:
            break
        time.sleep(0.5)
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=120)
    assert first.returncode != 0
    assert "run the same command again to go on" in errors
    stopped = overview(bench)
    assert stopped is not None
    assert sum(entry.state == "waiting" for entry in stopped.entries) > 0
    results = bench.folder / "batch"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*/transport/chunk-*.json")}

    done = subprocess.run(
        command(bench, plans), env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 1, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    found = overview(bench)
    assert found is not None
    states = {entry.number: entry.state for entry in found.entries}
    assert [number for number, state in states.items() if state == "refused"] == [NO_CT, EMPTY]
    assert sum(state == "verified" for state in states.values()) == PLANS - 2
    assert len({entry.case for entry in found.entries if entry.case}) == PLANS - 2
    refused = {entry.number: entry.message for entry in found.entries if entry.state == "refused"}
    assert "CT" in refused[NO_CT]
    assert all(entry.machine == "truebeam_stx" and entry.site == "water" for entry in found.entries if entry.case)
    page = (results / "batch.html").read_text(encoding="utf-8")
    for entry in found.entries:
        if entry.case:
            assert f'href="{entry.case}/report/report.html"' in page
            assert (results / entry.case / "report" / "report.html").exists()
    for text in (done.stdout, done.stderr, page, (results / "batch.json").read_text(encoding="utf-8")):
        assert SECRET not in text
    shutil.rmtree(results)


def test_a_folder_without_plans_is_refused(bench: Bench, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "gatecheck.cli.main", "batch", str(tmp_path)]
    done = subprocess.run(words, env=bench.environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "no folder in it found, one for each plan expected" in done.stderr
