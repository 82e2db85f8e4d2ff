"""From a delivery to a plan of chunks and a first chunk, with the real head and the real engine."""

from __future__ import annotations

from pathlib import Path

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

pytestmark = pytest.mark.gate


def test_a_pilot_plans_chunks_of_one_hash_and_different_seeds_and_the_first_one_runs(tmp_path: Path) -> None:
    linac = load_linac_model(project_folder() / "linac_models" / "truebeam_stx")
    write_patient(tmp_path / "patient")
    write_delivery(reference_delivery(linac), tmp_path / "timeline.parquet")
    settings = TransportConfig(pilot_photons=40_000, target_relative_sigma=0.3, minimum_chunks=4)
    out = tmp_path / "transport"
    plan = plan_chunks(
        delivery_path=tmp_path / "timeline.parquet",
        linac=linac,
        patient_folder=tmp_path / "patient",
        settings=settings,
        dose_to="medium",
        out_folder=out,
    )
    assert [path.name for path in out.iterdir()] == ["chunks.json"]
    assert len({chunk.seed for chunk in plan.chunks}) == len(plan.chunks) >= 4
    assert plan.phase_space is None
    assert plan.expected_relative_sigma is not None
    assert 0.9 * 0.3 < plan.expected_relative_sigma < 0.3
    result = run_in_process(
        simulate_chunk,
        chunk=plan.chunks[0],
        inputs=ChunkInputs(
            delivery_path=tmp_path / "timeline.parquet",
            linac=linac,
            patient_folder=tmp_path / "patient",
            inputs_sha256=plan.inputs_sha256,
            settings=settings,
            dose_to="medium",
            out_folder=out,
        ),
    )
    assert result.linac_sha256 == linac.content_sha256
    assert result.particles < result.histories
    assert result.fates["missed_patient"] > 0
    assert np.isfinite(result.energy["deposited"])
    assert 0 < result.energy["deposited"] < result.energy["entered"] < result.energy["below_head"]
