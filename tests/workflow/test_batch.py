"""`gatecheck batch` on twenty small plans, sixteen of them bad in ways of their own, stopped once and gone on with."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from gatecheck.files import read_json
from gatecheck.phantoms.water_tank import static_beam, write_water_phantom
from gatecheck.report.overview import Batch

from .conftest import SETTINGS, Bench

pytestmark = pytest.mark.gate

PLANS = 20


def _without(pattern: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for path in folder.glob(pattern):
            path.unlink()

    return remove


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _only_words(folder: Path) -> None:
    _emptied(folder)
    (folder / "readme.txt").write_text("nothing of DICOM", encoding="utf-8")


def _cut_short(folder: Path) -> None:
    path = folder / "RTPLAN.dcm"
    path.write_bytes(path.read_bytes()[:900])


def _with_a_gap(folder: Path) -> None:
    slices = sorted(folder.glob("CT*"))
    for path in slices[4:6]:
        path.unlink()


def _edited(change: Callable[[Dataset], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "RTPLAN.dcm"
        dataset = dcmread(path)
        change(dataset)
        dataset.save_as(path)

    return edit


def _of_another_patient(folder: Path) -> None:
    path = folder / "RTSTRUCT.dcm"
    dataset = dcmread(path)
    dataset.PatientID = "SOMEBODY-ELSE"
    dataset.save_as(path)


def _with_half_a_slice(folder: Path) -> None:
    path = sorted(folder.glob("CT*"))[3]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _without_meterset(plan: Dataset) -> None:
    del plan.FractionGroupSequence[0].ReferencedBeamSequence[0].BeamMeterset


def _electrons(plan: Dataset) -> None:
    plan.BeamSequence[0].RadiationType = "ELECTRON"


def _ten_megavolts(plan: Dataset) -> None:
    for point in plan.BeamSequence[0].ControlPointSequence:
        if "NominalBeamEnergy" in point:
            point.NominalBeamEnergy = 10.0


def _without_isocentre(plan: Dataset) -> None:
    del plan.BeamSequence[0].ControlPointSequence[0].IsocenterPosition


def _with_a_wedge(plan: Dataset) -> None:
    wedge = Dataset()
    wedge.WedgeNumber, wedge.WedgeType = 1, "STANDARD"
    plan.BeamSequence[0].NumberOfWedges, plan.BeamSequence[0].WedgeSequence = 1, [wedge]


def _with_a_tilted_couch(plan: Dataset) -> None:
    for point in plan.BeamSequence[0].ControlPointSequence:
        point.TableTopPitchAngle = 2.0


def _with_two_plans(folder: Path) -> None:
    plan = dcmread(folder / "RTPLAN.dcm")
    plan.SOPInstanceUID = plan.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    plan.save_as(folder / "RTPLAN-2.dcm")


BAD: dict[int, tuple[Callable[[Path], None], str]] = {
    2: (_without("RTPLAN*"), "RTPLAN"),
    3: (_of_another_patient, "patient"),
    5: (_without("CT*"), "CT"),
    6: (_edited(_with_a_wedge), "a physical wedge"),
    7: (_cut_short, "RTPLAN"),
    8: (_only_words, "DICOM"),
    9: (_with_half_a_slice, "truncated"),
    11: (_emptied, "DICOM"),
    12: (_edited(_with_a_tilted_couch), "Table Top Pitch Angle"),
    13: (_without("RTSTRUCT*"), "RTSTRUCT"),
    14: (_edited(_without_meterset), "Meterset"),
    15: (_with_two_plans, "RTPLAN"),
    16: (_with_a_gap, "CT"),
    17: (_edited(_electrons), "electrons"),
    18: (_edited(_without_isocentre), "Isocenter Position"),
    19: (_edited(_ten_megavolts), "10 MV"),
}
"""Plans that are spoilt, by their places, and a word of what is said of each."""
SECRET = "DOE-JANE"


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares onto water, no two alike; the folders' names are patients'."""
    folder = tmp_path_factory.mktemp("plans")
    for number in range(1, PLANS + 1):
        own = folder / f"{SECRET}-{number:02d}"
        beam = static_beam(isocentre=(0.0, 40.0, 0.0), meterset=50.0 + number)
        write_water_phantom(own, size=(120.0, 100.0, 120.0), spacing=(10.0, 10.0, 10.0), beams=[beam])
        if number in BAD:
            BAD[number][0](own)
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
    bench.calibrations.lend(bench.folder / "batch")
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
    refused = {entry.number: entry.message for entry in found.entries if entry.state == "refused"}
    assert list(refused) == list(BAD)
    assert [number for number, (_, word) in BAD.items() if word not in refused[number]] == [], refused
    assert sum(state == "verified" for state in states.values()) == PLANS - len(BAD)
    assert len({entry.case for entry in found.entries if entry.case}) == PLANS - len(BAD)
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
