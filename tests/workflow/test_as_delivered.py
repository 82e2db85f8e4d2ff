"""`gatecheck verify --log`: what a machine did in one fraction, simulated with the photons of its plan."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from gatecheck.case.storage import read_case
from gatecheck.config import project_folder
from gatecheck.delivery.timeline import deliver
from gatecheck.files import sha256_of_file
from gatecheck.linac.load import load_linac_model
from gatecheck.phantoms.water_tank import static_beam, write_water_phantom
from gatecheck.transport.electron_replay.grouping import water_to_medium
from gatecheck.transport.patient_files import read_patient

from ..calibrations import Calibrations
from .conftest import SETTINGS, Bench

pytestmark = pytest.mark.gate
NAME = "logged"
# Differences of doses are looked at, so that it takes more photons than the other tests of the workflow have.
MORE_PHOTONS = SETTINGS | {"transport": SETTINGS["transport"] | {"source_photons": 60_000}}
OPENING = 20.0  # mm between opposed leaves
TOO_WIDE = 2.0  # mm, bank X2


def _made_logs() -> ModuleType:
    """The maker of logs that the delivery room's tests have."""
    path = Path(__file__).parents[1] / "delivery" / "made_logs.py"
    spec = importlib.util.spec_from_file_location("made_logs_of_delivery", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, calibrations: Calibrations) -> Bench:
    """A slit of leaves, verified as planned, and then again with a log whose bank X2 stood too far out."""
    own = Bench(tmp_path_factory.mktemp("as delivered"), calibrations)
    mlc = load_linac_model(project_folder() / "linac_models" / "truebeam_stx").machine.mlc
    pairs = len(mlc.boundaries) - 1
    beam = static_beam(
        isocentre=(0.0, 50.0, 0.0),
        meterset=100.0,
        leaf_boundaries=mlc.boundaries,
        leaf_positions=([-OPENING / 2] * pairs, [OPENING / 2] * pairs),
    )
    dicom = own.folder / "export"
    dicom.mkdir()
    write_water_phantom(dicom, size=(200.0, 160.0, 200.0), spacing=(5.0, 5.0, 5.0), beams=[beam])
    config = own.folder / "planned.yaml"
    config.write_text(yaml.safe_dump(MORE_PHOTONS), encoding="utf-8")
    assert own.verify(dicom, NAME, "--config", str(config)).returncode == 0
    planned = deliver(read_case(own.layout(NAME).case)).beams[0]
    config = own.folder / "changes.yaml"
    changes = {"changes": ["leaf_gap", "density"], "leaf_gap_mm": 1.0, "density_percent": 5.0, "chunks": 4}
    with_changes = MORE_PHOTONS | {"recalculation": changes | {"output_percent": 1.5}}
    config.write_text(yaml.safe_dump(with_changes), encoding="utf-8")
    log = own.folder / "DOE_JANE.bin"
    log.write_bytes(_made_logs().LogOfBeam(planned, error={"leaf X2": TOO_WIDE}).content())
    result = own.verify(dicom, NAME, "--config", str(config), "--log", str(log))
    assert result.returncode == 0, result.stderr
    return own


def test_the_report_says_how_the_machine_followed(logged: Bench) -> None:
    (beam,) = logged.summary(NAME)["logs"]["beams"]
    axes = {one["axis"]: one for one in beam["axes"]}
    assert axes["leaves X2"]["largest"] == pytest.approx(TOO_WIDE, abs=1e-3)
    assert axes["leaves X1"]["root_mean_square"] < 1e-3
    assert beam["meterset_delivered"] == pytest.approx(100.0, abs=0.01)
    assert "As delivered" in (logged.layout(NAME).report / "report.html").read_text(encoding="utf-8")


def test_the_dose_differs_as_the_opening_does_with_less_noise_than_two_simulations_have(logged: Bench) -> None:
    """A slit 2 mm wider lets a tenth more through: the mean dose of the body rises by about as much."""
    one = next(one for one in logged.summary(NAME)["recalculations"] if one["change"] == "as_delivered")
    mean = next(found for found in one["metrics"] if found["metric"] == "mean_gy")
    rise = mean["difference_gy"] / mean["planned_gy"]
    sigma = mean["sigma_gy"] / mean["planned_gy"]
    assert rise == pytest.approx(TOO_WIDE / OPENING, abs=4 * sigma + 0.015)
    assert mean["sigma_gy"] < mean["sigma_apart_gy"]


def test_the_error_budget_is_made_of_what_was_simulated(logged: Bench) -> None:
    """A gap 1 mm wider lets a twentieth more through.

    Water 5 % less dense has 5 % less mass and takes up less of the beam, but not by as much: its dose rises, by 5 % at
    most.
    """
    summary = logged.summary(NAME)
    mean = next(one for one in summary["error_budget"]["metrics"] if one["metric"] == "mean_gy")
    terms = {one["source"]: one for one in mean["terms"]}
    value = mean["value_gy"]
    assert terms["leaf_gap"]["gy"] == pytest.approx(0.05 * value, abs=4 * terms["leaf_gap"]["sigma_gy"] + 0.01 * value)
    allowed = 4 * terms["materials"]["sigma_gy"]
    assert -allowed < terms["materials"]["gy"] < 0.05 * value + allowed
    assert terms["output"]["gy"] == pytest.approx(0.015 * value)
    assert terms["control_points"]["gy"] is None
    # CT number 0 becomes soft tissue by Schneider's table, not water: its electrons lose 0.4 % more.
    (tissue,) = [one for one in read_patient(logged.layout(NAME).patient).materials if one.density > 0.5]
    assert terms["dose_to"]["gy"] / value == pytest.approx(water_to_medium(tissue) - 1, abs=0.0005)
    assert water_to_medium(tissue) == pytest.approx(0.996, abs=0.002)
    assert mean["unknown"] == []
    found = sum(max(one["gy"] ** 2 - (one["sigma_gy"] or 0) ** 2, 0) for one in mean["terms"] if one["in_total"])
    assert mean["total_gy"] == pytest.approx(found**0.5)
    assert {one["code"] for one in summary["warnings"]} >= {"few-pairs"}


def test_the_planned_dose_is_not_simulated_again(logged: Bench) -> None:
    layout = logged.layout(NAME)
    planned = max(path.stat().st_mtime_ns for path in layout.transport.glob("chunk-*.json"))
    assert planned < min(
        path.stat().st_mtime_ns for path in (layout.recalculations / "as_delivered").glob("chunk-*.json")
    )


def test_no_name_of_a_log_gets_into_results(logged: Bench) -> None:
    texts = [
        path for path in logged.layout(NAME).folder.rglob("*") if path.suffix in (".json", ".yaml", ".log", ".html")
    ]
    assert texts
    assert not [path.name for path in texts if "DOE_JANE" in path.read_text(encoding="utf-8", errors="replace")]


def test_a_log_of_another_plan_is_refused_before_anything_is_simulated(logged: Bench, water_plan: Path) -> None:
    log = logged.folder / "DOE_JANE.bin"
    result = logged.verify(water_plan, "another", "--log", str(log))
    assert result.returncode == 2
    assert "trajectory logs: beam 1 of the plan has no MLC" in result.stderr
    assert not list(logged.layout("another").transport.glob("chunk-*"))


def test_logs_with_a_full_head_are_refused_at_once(logged: Bench, tmp_path: Path) -> None:
    config = tmp_path / "full.yaml"
    config.write_text(yaml.safe_dump(SETTINGS | {"machine": {"head": "full"}}), encoding="utf-8")
    options = ("--config", str(config), "--log", str(logged.folder / "DOE_JANE.bin"))
    result = logged.verify(logged.folder / "export", "full", *options)
    assert result.returncode == 2
    assert "case.trajectory_logs needs machine.head fast" in result.stderr
    assert not logged.layout("full").transport.exists()


@pytest.mark.parametrize(("damaged", "density_percent"), [("chunks.json", 4.0), ("chunk-0002.json", 3.0)])
def test_what_is_damaged_behind_a_dose_is_made_again_when_it_is_used_again(
    logged: Bench, damaged: str, density_percent: float
) -> None:
    """A recalculation asks for chunks that Snakemake has no reason to look for any more."""
    layout = logged.layout(NAME)
    dose = sha256_of_file(layout.dose / "mc_dose.mha")
    others = [path for path in layout.transport.glob("chunk-000*.json") if path.name != damaged]
    before = [path.stat().st_mtime_ns for path in others]
    path = layout.transport / damaged
    path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    config, log = logged.folder / "other.yaml", logged.folder / "DOE_JANE.bin"
    changes = {"changes": ["density"], "density_percent": density_percent, "chunks": 4}
    config.write_text(yaml.safe_dump(MORE_PHOTONS | {"recalculation": changes}), encoding="utf-8")
    result = logged.verify(logged.folder / "export", NAME, "--config", str(config), "--log", str(log))
    assert result.returncode == 0, result.stderr
    assert damaged.removesuffix(".json") in result.stderr
    assert sha256_of_file(layout.dose / "mc_dose.mha") == dose
    (found,) = [one for one in logged.summary(NAME)["recalculations"] if one["change"] == "density"]
    assert found["size"] == density_percent
    assert [path.stat().st_mtime_ns for path in others] == before, "a chunk was simulated again that was whole"
