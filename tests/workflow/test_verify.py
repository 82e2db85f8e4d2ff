"""`gatecheck verify` from DICOM folder to report, on the real engine, disturbed and undisturbed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from pydicom import dcmread

from gatecheck.case.loose_files import read_loose_dose
from gatecheck.files import array_zyx, read_image, sha256_of_file

from .conftest import SETTINGS, Bench, wait_for_chunk

pytestmark = pytest.mark.gate


def _one_line_refusal(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    refusals = [line for line in result.stderr.splitlines() if line.startswith("gatecheck: ")]
    assert len(refusals) == 1, result.stderr
    return refusals[0]


def test_the_report_and_its_summary_say_what_was_done(bench: Bench, verified: str) -> None:
    summary = bench.summary(verified)
    assert summary["schema_version"] == 1
    assert summary["histories"] >= 34_000
    assert summary["beams"][0]["meterset"] == 100.0
    assert summary["physics_list"] == "G4EmStandardPhysics"
    assert 0 < summary["mean_relative_sigma"] < 1
    body = summary["structures"]["BODY"]
    assert body["volume_ml"] == pytest.approx(200 * 160 * 200 / 1000, rel=0.01)
    for metric in ("mean_gy", "d95_gy", "d50_gy", "d2_gy", "d003cc_gy", "d001cc_gy", "max_gy"):
        assert set(body["mc"][metric]) == {"value", "sigma", "interval_95"}
    assert body["tps"] is None


def test_the_dose_is_absolute(bench: Bench, verified: str) -> None:
    """1 Gy per 100 MU at depth 15 mm, SSD 1000 mm, brought to SSD 950 mm, 50 mm deep.

    Published depth dose of the 100 mm field at 50 mm: 86.1 % (Chang et al. 2012). To SSD 950 mm the inverse
    squares give (1015 / 965)² at 15 mm and the Mayneord factor 0.9955 from 15 to 50 mm; the field is 95 mm wide
    at the surface instead of 100 (phantom scatter, below 1 %). Voxels of 10 mm, averaged over 60 x 60 x 30 mm.
    A factor of two, or fractions or meterset forgotten, would be seen; allowed are 4 % and three sigma.
    """
    layout = bench.layout(verified)
    dose, sigma = (read_image(layout.dose / f"mc_{name}.mha") for name in ("dose", "sigma"))
    centre_x, centre_y, centre_z = dose.TransformPhysicalPointToIndex((0.1, 50.1, 0.1))
    window = (slice(centre_z - 3, centre_z + 3), slice(centre_y - 1, centre_y + 2), slice(centre_x - 3, centre_x + 3))
    values, sigmas = array_zyx(dose)[window], array_zyx(sigma)[window]
    depths = [dose.TransformIndexToPhysicalPoint((0, centre_y + step, 0))[1] for step in (-1, 0, 1)]
    mean_depth = sum(depths) / 3
    expected = 0.861 * (1015 / 965) ** 2 * 0.9955 * (1 - 0.0045 * (mean_depth - 50))
    of_the_mean = float((sigmas**2).sum()) ** 0.5 / sigmas.size
    calibration = bench.summary(verified)["calibration"]["relative_sigma"]
    allowed = 0.04 * expected + 3 * (of_the_mean**2 + (calibration * expected) ** 2) ** 0.5
    assert float(values.mean()) == pytest.approx(expected, abs=allowed)


def test_no_name_of_the_patient_or_of_the_folder_gets_into_results(bench: Bench, verified: str) -> None:
    layout = bench.layout(verified)
    for path in layout.folder.rglob("*"):
        if path.is_file() and path.suffix in {".json", ".yaml", ".log", ".html", ".tsv"}:
            assert "DOE^JANE" not in path.name
            text = path.read_text(encoding="utf-8", errors="replace")
            assert "DOE^JANE" not in text, path.name
            assert "GATECHECK^WATER" not in text, path.name
            assert "GATECHECK-WATER" not in text, path.name


def test_verifying_again_computes_nothing(bench: Bench, verified: str, water_plan: Path) -> None:
    layout = bench.layout(verified)
    before = {path: path.stat().st_mtime_ns for path in layout.transport.glob("chunk-*.json")}
    result = bench.verify(water_plan, verified)
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in layout.transport.glob("chunk-*.json")} == before


def test_a_killed_chunk_leaves_nothing_and_the_next_run_gives_the_same_dose(
    bench: Bench, verified: str, water_plan: Path
) -> None:
    bench.planned_as(verified, "disturbed")
    process = bench.start(water_plan, "disturbed")
    victim = wait_for_chunk(process)
    victim.send_signal(signal.SIGKILL)
    _, stderr = process.communicate(timeout=600)
    message = _one_line_refusal(subprocess.CompletedProcess([], process.returncode, "", stderr))
    assert "simulation process" in message
    assert "run the same command again" in message
    layout = bench.layout("disturbed")
    finished = {path: path.stat().st_mtime_ns for path in layout.transport.glob("chunk-*.json")}
    assert len(finished) < 4
    bench.dose_of(water_plan, "disturbed")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "a finished chunk was simulated again"
    for name in ("mc_dose.mha", "mc_sigma.mha"):
        assert sha256_of_file(layout.dose / name) == sha256_of_file(bench.layout(verified).dose / name)


def test_damaged_chunks_are_named_and_they_alone_are_simulated_again(
    bench: Bench, verified: str, water_plan: Path
) -> None:
    layout = bench.layout(verified)
    undisturbed = sha256_of_file(layout.dose / "mc_dose.mha")
    image = next(layout.transport.glob("chunk-0002-*.mha"))
    with image.open("r+b") as file:
        file.seek(-20, os.SEEK_END)
        # Every bit turned over: voxels in a corner may hold no dose, and zeros would then be what was there.
        turned = bytes(255 - byte for byte in file.read())
        file.seek(-20, os.SEEK_END)
        file.write(turned)
    cut = next(layout.transport.glob("chunk-0003-*.mha"))
    cut.write_bytes(cut.read_bytes()[:-20])
    for made_from_it in (
        layout.dose / "merge.json",
        layout.compare / "comparison.json",
        layout.report / "summary.json",
    ):
        made_from_it.unlink()
    whole = [layout.chunk(number) for number in (1, 4)]
    before = [path.stat().st_mtime_ns for path in whole]
    result = bench.verify(water_plan, verified)
    assert result.returncode == 0, result.stderr
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("warning: chunk-0002")]
    assert "chunk-0002 cannot be used and was removed, and 1 more chunks (chunk-0003)" in warning
    assert [path.stat().st_mtime_ns for path in whole] == before, "a whole chunk was simulated again"
    assert sha256_of_file(layout.dose / "mc_dose.mha") == undisturbed


@pytest.mark.parametrize(
    "changed",
    [({"setup": {"courses": 450}}, "compare"), ({"calibration": {"relative_sigma": 0.05}}, "calibrate")],
)
def test_what_lies_behind_a_changed_step_is_done_too(
    bench: Bench, verified: str, water_plan: Path, tmp_path: Path, changed: tuple[dict[str, Any], str]
) -> None:
    """With inputs that were `ancient`, Snakemake ran the changed step alone and ended with 0."""
    settings, step = changed
    layout = bench.layout(verified)
    chunks = {path: path.stat().st_mtime_ns for path in layout.transport.glob("chunk-*.json")}
    attempts = len(list((layout.folder / ".snakemake" / "log").iterdir()))
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(SETTINGS | settings), encoding="utf-8")
    later = (layout.dose / "merge.json", layout.compare / "comparison.json", layout.report / "summary.json")
    for path in later:
        path.unlink()
    result = bench.verify(water_plan, verified, "--config", str(config))
    assert result.returncode == 0, result.stderr
    assert all(path.exists() for path in later)
    assert {path: path.stat().st_mtime_ns for path in layout.transport.glob("chunk-*.json")} == chunks
    log = (layout.logs / "snakemake.log").read_text(encoding="utf-8")
    assert all(f"{name}: " in log for name in (step, "merge", "report")), log
    assert len(list((layout.folder / ".snakemake" / "log").iterdir())) == attempts + 1


def test_the_dose_is_there_for_the_planning_system(bench: Bench, verified: str, water_plan: Path) -> None:
    layout = bench.layout(verified)
    path = layout.report / "RTDOSE_mc.dcm"
    dose = read_loose_dose(path, "RTDOSE_mc.dcm")
    merged = sitk.ReadImage(str(layout.dose / "mc_dose.mha"))
    assert dose.grid.origin == pytest.approx(merged.GetOrigin())
    expected = sitk.GetArrayFromImage(merged)
    np.testing.assert_allclose(dose.values_zyx, expected, atol=1e-4 * float(expected.max()))
    file = dcmread(path)
    assert str(file.PatientID).startswith("case-")
    plans = [dcmread(one) for one in water_plan.glob("*.dcm") if "PLAN" in one.name]
    assert file.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID in {one.SOPInstanceUID for one in plans}


def test_a_second_run_on_the_same_case_is_refused_and_changes_nothing(
    bench: Bench, verified: str, water_plan: Path
) -> None:
    layout = bench.layout(verified)
    (layout.report / "report.html").unlink()
    log = layout.logs / "snakemake.log"
    log_before = log.stat().st_mtime_ns
    first = bench.start(water_plan, verified)
    _wait_until_changed(log, log_before, first)
    first.send_signal(signal.SIGSTOP)  # it keeps the lock however fast its workflow ends
    try:
        before = layout.config.read_bytes()
        second = bench.verify(water_plan, verified, "--coarse-voxel", "8")
        assert layout.config.read_bytes() == before
    finally:
        first.send_signal(signal.SIGCONT)
        first.communicate(timeout=300)
    assert "another gatecheck works on this case" in _one_line_refusal(second)
    assert first.returncode == 0
    assert (layout.report / "report.html").exists()


def _wait_until_changed(log: Path, before: int, process: subprocess.Popen[str]) -> None:
    """The workflow's log is begun anew once the case is locked."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if log.stat().st_mtime_ns != before:
            return
        time.sleep(0.02)
    raise AssertionError("the first run never began its workflow")


def test_nothing_stale_is_taken_for_current_and_a_dry_run_changes_nothing(
    bench: Bench, verified: str, tmp_path: Path
) -> None:
    """A machine file edited in place, with Snakemake's own notes there and gone."""
    layout = bench.layout(verified)
    content = yaml.safe_load(layout.config.read_text(encoding="utf-8"))
    models = tmp_path / "models"
    shutil.copytree(content["machine"]["models_folder"], models)
    content["machine"]["models_folder"] = str(models)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    before = {path: path.read_bytes() for path in (layout.config, *layout.inputs.glob("*.json"))}
    assert "Nothing to be done" in bench.dry_run(config, verified)
    beam = models / "truebeam_stx" / "beam_6x.yaml"
    beam.write_text(beam.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    planned = bench.dry_run(config, verified)
    for step in ("deliver", "calibrate", "plan_chunks"):
        assert f"{step}: " in planned, planned
    assert "voxelise: " not in planned
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("content", [None, b"not DICOM"])
def test_a_folder_without_a_plan_is_refused_in_one_sentence(
    bench: Bench, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "notes.txt").write_bytes(content)
    name = "empty" if content is None else "strangers"
    message = _one_line_refusal(bench.verify(tmp_path, name))
    assert "DICOM" in message
    assert str(tmp_path) not in message
