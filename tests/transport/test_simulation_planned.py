"""From a delivery to a plan of chunks and a first chunk, with the real head and the real engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_patient import write_patient

from gatecheck.config import project_folder
from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.storage import write_delivery
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.chunk import ChunkInputs, simulate_chunk
from gatecheck.transport.plan import plan_chunks
from gatecheck.transport.process import run_in_process
from gatecheck.transport.reference_field import reference_delivery
from gatecheck.transport.rounds import chunk_plan_file

pytestmark = pytest.mark.gate


def _forget_pilots(out: Path) -> None:
    for path in (out / "pilots").iterdir():
        path.unlink()


def test_a_pilot_plans_chunks_of_one_hash_and_different_seeds_and_the_first_one_runs(tmp_path: Path) -> None:
    linac = load_linac_model(project_folder() / "linac_models" / "truebeam_stx")
    write_patient(tmp_path / "patient")
    write_delivery(reference_delivery(linac), tmp_path / "timeline.parquet")
    settings = TransportConfig(pilot_photons=40_000, target_relative_sigma=0.3, minimum_chunks=4)
    out = tmp_path / "transport"
    common: dict[str, Any] = {
        "delivery_path": tmp_path / "timeline.parquet",
        "linac": linac,
        "patient_folder": tmp_path / "patient",
        "dose_to": "medium",
        "out_folder": out,
    }
    plan = plan_chunks(**common, settings=settings)
    assert sorted(path.name for path in out.iterdir()) == ["chunks.json", "pilots"]
    assert len({chunk.seed for chunk in plan.chunks}) == len(plan.chunks) >= 4
    assert plan.phase_space is None
    assert plan.expected_relative_sigma is not None
    assert 0.9 * 0.3 < plan.expected_relative_sigma < 0.3
    result = run_in_process(
        simulate_chunk,
        chunk=plan.chunks[0],
        inputs=ChunkInputs(**common, inputs_sha256=plan.inputs_sha256, settings=settings),
    )
    assert result.linac_sha256 == linac.content_sha256
    assert result.particles < result.histories
    assert result.fates["missed_patient"] > 0
    assert np.isfinite(result.energy["deposited"])
    assert 0 < result.energy["deposited"] < result.energy["entered"] < result.energy["below_head"]
    # Planned again the chunks are the same, to the digits of the pilot's clock.
    chunk_plan_file(out).unlink()
    assert plan_chunks(**common, settings=settings) == plan
    # A machine so slow that each chunk would be a tenth as long, and no pilot kept: the one that is done is not lost.
    _forget_pilots(out)
    shorter = settings.model_copy(update={"chunk_minutes": settings.chunk_minutes / 1000})
    again = plan_chunks(**common, settings=shorter)
    assert again.chunks[0] == plan.chunks[0]
    assert (out / "chunk-0001.json").exists()
    # With another seed it is none of those that are asked for, and its length says nothing.
    _forget_pilots(out)
    other_seed = plan_chunks(**common, settings=shorter.model_copy(update={"seed": 7}))
    assert other_seed.chunks[0].histories < plan.chunks[0].histories
    assert not (out / "chunk-0001.json").exists()
    assert plan_chunks(**common, settings=shorter).chunks[0].histories < plan.chunks[0].histories
