"""The full head as the configuration's choice: pilot, chunk and reference field with both of their GATE simulations."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast_head_deliveries import STX, beam, closed_leaves, delivery
from made_patient import write_patient

from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.model import Delivery
from gatecheck.delivery.storage import write_delivery
from gatecheck.errors import SimulationError
from gatecheck.transport.chunk import ChunkInputs, simulate_chunk
from gatecheck.transport.full_head import simulate
from gatecheck.transport.model import Chunk, ChunkResult
from gatecheck.transport.plan import plan_chunks
from gatecheck.transport.process import run_in_process
from gatecheck.transport.reference_run import simulate_reference

pytestmark = [pytest.mark.physics, pytest.mark.gate]

logger = logging.getLogger(__name__)

SETTINGS = TransportConfig(pilot_photons=20_000, source_photons=80_000, minimum_chunks=4)


def _inputs(folder: Path, plan: Delivery) -> dict[str, Any]:
    write_patient(folder / "patient")
    write_delivery(plan, folder / "timeline.parquet")
    return {
        "delivery_path": folder / "timeline.parquet",
        "linac": STX,
        "patient_folder": folder / "patient",
        "settings": SETTINGS,
        "dose_to": "medium",
        "out_folder": folder / "transport",
    }


def _turning() -> Delivery:
    """A 40 x 40 mm beam that turns by 24 degrees: twelve segments."""
    return delivery(beam(gantry=np.array([0.0, 24.0]), jaw_x=(-20.0, 20.0), jaw_y=(-20.0, 20.0)))


def test_a_pilot_and_a_chunk_run_with_the_full_head_and_say_so(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, _turning())
    plan = plan_chunks(**inputs, head="full")
    assert [path.name for path in inputs["out_folder"].iterdir()] == ["chunks.json"]
    assert sum(chunk.histories for chunk in plan.chunks) == 80_000
    assert plan.seconds_start_up > 1.0
    result: ChunkResult = run_in_process(
        simulate_chunk,
        inputs=ChunkInputs(**inputs, head="full", inputs_sha256=plan.inputs_sha256),
        chunk=plan.chunks[0],
    )
    assert result.engine.settings["head"].startswith("full")
    assert result.fates["interacted_in_head"] > 0.9 * result.fates["emitted"]
    assert 0 < result.energy["deposited"] < result.energy["entered"] < result.energy["below_head"]
    names = sorted(path.name for path in inputs["out_folder"].iterdir())
    assert names == ["chunk-0001-coarse-1.mha", "chunk-0001-fine.mha", "chunk-0001.json", "chunks.json"]
    logger.info(
        "planned %.1f s and %.3g s a photon, took %s",
        plan.seconds_start_up, plan.seconds_per_history, result.seconds,
    )  # fmt: skip


def failing_chunk(**inputs: Any) -> ChunkResult:
    """A chunk whose full head cannot read its third segment."""
    original = simulate._simulated_in_new_process
    simulate._simulated_in_new_process = failing_third_segment
    try:
        chunk = inputs.pop("chunk")
        return simulate_chunk(ChunkInputs(**inputs), chunk)
    finally:
        simulate._simulated_in_new_process = original


def failing_third_segment(*, asked_at: float, **keywords: Any) -> Any:
    """In the head's own process."""
    original = simulate.as_geant4_reads
    calls = {"count": 0}

    def reads(rows: Any, axis_distance: float) -> dict[str, Any]:
        calls["count"] += 1
        if calls["count"] == 3:
            raise OSError("no more space")
        return original(rows, axis_distance)

    simulate.as_geant4_reads = reads
    return simulate.simulate_full_head(**keywords)


def test_a_segment_that_fails_stops_the_chunk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    plan = delivery(beam(gantry=np.array([0.0, 8.0]), leaf_positions=closed_leaves()))
    inputs = _inputs(tmp_path, plan)
    with pytest.raises(
        SimulationError, match=r"^Full head: beam 1, segment 3 of 4 \(gantry 5\.0 degrees\): .*no more space"
    ):
        run_in_process(
            failing_chunk,
            **inputs,
            head="full",
            chunk=Chunk(index=1, histories=2000, seed=5),
            inputs_sha256="a" * 64,
        )
    assert list(inputs["out_folder"].iterdir()) == []


def test_the_reference_field_has_the_same_dose_with_either_head() -> None:
    """Per nominal photon, within 4 sigma (0.006 % by chance); sigma of both together 3 % or less."""
    found = {}
    for head, histories in (("fast", 600_000), ("full", 400_000)):
        run = run_in_process(
            simulate_reference, linac=STX, settings=TransportConfig(), histories=histories, seed=6, head=head
        )
        doses = np.array(run.doses)
        found[head] = doses.mean(), doses.std(ddof=1) / np.sqrt(len(doses))
    (fast, sigma_fast), (full, sigma_full) = found["fast"], found["full"]
    sigma = float(np.hypot(sigma_fast, sigma_full))
    logger.info("full / fast = %.3f +- %.3f", full / fast, sigma / fast)
    assert sigma < 0.03 * fast
    assert abs(full - fast) < 4 * sigma
