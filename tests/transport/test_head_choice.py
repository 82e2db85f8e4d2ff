"""`machine.head`: which head is asked, and that nothing made with one is taken for the other's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fast_head_deliveries import STX, beam, delivery

from gatecheck.cli import steps
from gatecheck.cli.main import main
from gatecheck.config import Config, PhaseSpaceConfig
from gatecheck.config_transport import CalibrationConfig, TransportConfig
from gatecheck.delivery.storage import write_delivery
from gatecheck.errors import ERROR_FILE_VARIABLE, ResultError, SimulationError
from gatecheck.files import write_json
from gatecheck.layout import CaseLayout
from gatecheck.transport import head_settings as own
from gatecheck.transport.calibrate import calibration_key, check_calibration
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.full_head.simulate import seconds_start_up
from gatecheck.transport.head import sample_head
from gatecheck.transport.head_settings import MOST_HISTORIES_AT_ONCE
from gatecheck.transport.model import CalibrationResult, Chunk, ChunkPlan, PhaseSpace
from gatecheck.transport.phase_space_source import HistoryRun, PhaseSpaceSource
from gatecheck.transport.pilot import PilotEstimate
from gatecheck.transport.plan import check_plan, histories_wanted, inputs_sha256, number_of_chunks

SETTINGS = TransportConfig()
CALIBRATION = CalibrationConfig()
FAILURE = "Full head: beam 1, segment 3 of 4 (gantry 5.0 degrees): GATE ended with an error: no more space"


def key_of(head: str) -> str:
    return calibration_key(STX, describe_engine(SETTINGS, head), CALIBRATION, 0)


@pytest.fixture
def plan_inputs(tmp_path: Path) -> dict[str, Any]:
    """A delivery and something that stands for a patient."""
    write_delivery(delivery(beam()), tmp_path / "timeline.parquet")
    (tmp_path / "patient.json").write_text("{}", encoding="utf-8")
    return {"delivery_path": tmp_path / "timeline.parquet", "patient_folder": tmp_path, "dose_to": "medium"}


def inputs_of(head: str, plan_inputs: dict[str, Any]) -> str:
    return inputs_sha256(linac_sha256=STX.content_sha256, engine=describe_engine(SETTINGS, head), **plan_inputs)


def test_the_engine_names_the_head_and_a_full_ones_cut_steps_and_segments() -> None:
    fast, full = (describe_engine(SETTINGS, head).settings for head in ("fast", "full"))
    assert fast["head"].startswith("fast")
    assert full["head"].startswith("full")
    assert full["head_production_cut_mm"] == f"{own.PRODUCTION_CUT:g}"
    assert full["head_multiple_scattering_model"] == own.MULTIPLE_SCATTERING_MODEL
    assert full["head_electron_step_function"] == "{:g}, {:g} mm".format(*own.STEP_FUNCTION)
    assert full["head_largest_segment"].startswith("2 degrees, 5 mm")
    assert not any(key.startswith("head_") for key in fast)
    assert "head" not in describe_engine(SETTINGS).settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PRODUCTION_CUT", 0.07),
        ("STEP_FUNCTION", (0.2, 0.07)),
        ("MULTIPLE_SCATTERING_MODEL", "WentzelVI"),
        ("LARGEST_ROTATION", 1.0),
        ("LARGEST_MOTION", 3.0),
    ],
)
def test_calibration_and_plan_of_another_head_or_of_other_head_settings_have_other_hashes(
    name: str, value: object, plan_inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, full = key_of("fast"), key_of("full")
    plan_fast, plan_full = (inputs_of(head, plan_inputs) for head in ("fast", "full"))
    assert fast != full
    assert plan_fast != plan_full
    monkeypatch.setattr(own, name, value)
    assert key_of("fast") == fast
    assert key_of("full") != full
    assert inputs_of("fast", plan_inputs) == plan_fast
    assert inputs_of("full", plan_inputs) != plan_full


def test_a_calibration_made_with_the_other_head_is_refused() -> None:
    result = CalibrationResult(
        key_sha256=key_of("fast"),
        machine=STX.name,
        engine=describe_engine(SETTINGS, "fast"),
        reference={},
        dose_per_nominal_photon=1.0,
        relative_sigma=0.001,
        nominal_photons_per_mu=1.0,
        histories=1,
        seconds=1.0,
    )
    check_calibration(result, STX, SETTINGS, CALIBRATION, head="fast")
    with pytest.raises(ResultError, match=r"calibration\.json was made for another machine model, head"):
        check_calibration(result, STX, SETTINGS, CALIBRATION, head="full")


def test_a_plan_made_with_the_other_head_is_refused(plan_inputs: dict[str, Any]) -> None:
    plan = ChunkPlan(
        inputs_sha256=inputs_of("full", plan_inputs),
        chunks=(),
        target_relative_sigma=None,
        expected_relative_sigma=0.1,
        seconds_per_history=1.0,
        pilot_histories=1,
    )
    check_plan(plan, linac=STX, settings=SETTINGS, head="full", **plan_inputs)
    with pytest.raises(ResultError, match=r"chunks\.json was planned for another delivery, machine model, head"):
        check_plan(plan, linac=STX, settings=SETTINGS, head="fast", **plan_inputs)


def made_phase_space(histories: int) -> PhaseSpace:
    none, vectors = np.empty(0), np.empty((0, 3))
    return PhaseSpace(
        np.empty(0, np.int32), none, vectors, vectors, none, np.empty(0, np.int32), histories, float(histories)
    )


def test_each_head_is_asked_for_its_own_photons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def full(_delivery: object, _linac: object, **keywords: Any) -> PhaseSpace:
        asked.append(keywords)
        return made_phase_space(keywords["histories"])

    monkeypatch.setattr("gatecheck.transport.head.run_full_head", full)
    common: dict[str, Any] = {"histories": 2000, "seed": 5, "settings": SETTINGS, "work_folder": tmp_path}
    assert sample_head(delivery(beam()), STX, head="full", **common).histories == 2000
    assert asked == [common]
    assert len(sample_head(delivery(beam()), STX, head="fast", **common)) > 100
    assert asked == [common]


def test_recorded_histories_are_not_for_the_full_head(tmp_path: Path) -> None:
    source = PhaseSpaceSource(PhaseSpaceConfig(), (), None)
    with pytest.raises(ValueError, match="not recorded histories"):
        sample_head(
            delivery(beam()), STX, head="full", histories=1, seed=1, settings=SETTINGS, work_folder=tmp_path,
            source=source, run=HistoryRun(0, 1),
        )  # fmt: skip


def test_chunks_leave_room_for_their_start() -> None:
    settings = TransportConfig(source_photons=6_000_000, chunk_minutes=2, minimum_chunks=4)
    # 600 s of photons in chunks of 120 s, of which 20 s or 90 s are the start: then 100 s, or as long as the start.
    assert number_of_chunks(settings, PilotEstimate(50.0, 1e-4, 0.0), "full") == 5
    assert number_of_chunks(settings, PilotEstimate(50.0, 1e-4, 20.0), "full") == 6
    assert number_of_chunks(settings, PilotEstimate(50.0, 1e-4, 90.0), "full") == 7


def test_a_chunk_of_the_full_head_is_never_larger_than_its_process_holds() -> None:
    settings = TransportConfig(source_photons=50_000_000, chunk_minutes=60, minimum_chunks=4)
    estimate = PilotEstimate(50.0, 1e-5, 4.0)
    assert number_of_chunks(settings, estimate, "fast") == 4
    count = number_of_chunks(settings, estimate, "full")
    assert histories_wanted(settings, estimate) / count <= MOST_HISTORIES_AT_ONCE


def test_start_up_is_the_wait_before_the_first_run_and_what_every_run_takes_of_its_own() -> None:
    """20 s to start, 0.05 s a run, 1 ms a particle, each with a jitter of 2 ms: within 0.4 s, some 4 sigma."""
    random = np.random.default_rng(6)
    numbers = random.integers(50, 400, 300)
    lengths = 0.05 + 1e-3 * numbers + random.normal(0, 2e-3, 300)
    times = [3.0, *(23.0 + np.concatenate([[0.0], np.cumsum(lengths)]))]
    assert seconds_start_up(times, numbers.tolist()) == pytest.approx(20.0 + 300 * 0.05, abs=0.4)
    # One field of one segment: nothing but the wait can be told.
    assert seconds_start_up([3.0, 23.0, 40.0], [5000]) == 20.0


def _case_with_full_head(folder: Path) -> CaseLayout:
    layout = CaseLayout(folder)
    write_delivery(delivery(beam()), layout.delivery)
    config = Config.model_validate({"machine": {"head": "full"}})
    layout.config.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    plan = ChunkPlan(
        inputs_sha256="a" * 64,
        chunks=(Chunk(index=1, histories=1000, seed=3),),
        target_relative_sigma=None,
        expected_relative_sigma=0.1,
        seconds_per_history=1.0,
        pilot_histories=1,
    )
    write_json(layout.chunk_plan, plan)
    return layout


def test_a_failed_segment_of_the_full_head_reaches_the_command_line_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = _case_with_full_head(tmp_path / "case")

    def fail(*_: Any, **__: Any) -> PhaseSpace:
        raise SimulationError(FAILURE)

    def here(function: Callable[..., Any], requests: list[dict[str, Any]], **_: Any) -> list[Any]:
        """In this process, where the head can be made to fail."""
        return [function(**request) for request in requests]

    monkeypatch.setattr("gatecheck.transport.chunk.run_in_processes", here)
    monkeypatch.setattr("gatecheck.transport.head.run_full_head", fail)
    monkeypatch.setattr("gatecheck.transport.plan.check_plan", lambda *_, **__: None)
    monkeypatch.setattr(steps, "linac_of", lambda *_: STX)
    monkeypatch.setenv(ERROR_FILE_VARIABLE, str(tmp_path / "error.json"))
    monkeypatch.setattr(sys, "argv", ["gatecheck", "simulate", str(layout.folder), "--chunk", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"gatecheck: {FAILURE}\n"
    assert json.loads((tmp_path / "error.json").read_text(encoding="utf-8")) == {
        "message": FAILURE,
        "is_removed": False,
    }
    assert [path.name for path in layout.transport.iterdir()] == ["chunks.json"]
