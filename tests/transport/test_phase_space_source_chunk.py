"""Chunks whose particles come from a recorded phase space, on the real GATE engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fast_head_deliveries import STX, beam, delivery
from iaea_files import particles, write_phase_space
from made_patient import write_patient

from gatecheck.config import PhaseSpaceConfig
from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.storage import write_delivery
from gatecheck.errors import InputError
from gatecheck.files import read_json
from gatecheck.transport.chunk import ChunkInputs, simulate_chunk, simulate_chunks
from gatecheck.transport.model import Chunk, ChunkPlan, ChunkResult
from gatecheck.transport.phase_space_source import open_source
from gatecheck.transport.plan import phase_space_use, plan_chunks

pytestmark = pytest.mark.gate

HISTORIES = 6_000
RECYCLE = 2


def _inputs(folder: Path, header: Path, out: Path) -> ChunkInputs:
    return ChunkInputs(
        delivery_path=folder / "timeline.parquet",
        linac=STX,
        patient_folder=folder / "patient",
        inputs_sha256="a" * 64,
        settings=TransportConfig(),
        dose_to="medium",
        out_folder=out,
        source=open_source(PhaseSpaceConfig(files=(header,), recycle=RECYCLE), STX, folder),
    )


def _chunk(index: int) -> Chunk:
    return Chunk(index=index, histories=HISTORIES * RECYCLE // 2, seed=40 + index)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with delivery and patient, and a phase space of photons, electrons and positrons through the patient."""
    folder = tmp_path_factory.mktemp("case")
    write_delivery(delivery(beam()), folder / "timeline.parquet")
    write_patient(folder / "patient")
    random = np.random.default_rng(2)
    x, y = random.uniform(-1.5, 1.5, (2, 2 * HISTORIES))  # cm at 100 cm
    length = np.sqrt(x**2 + y**2 + 100.0**2)
    content = particles(
        2 * HISTORIES,
        kind=random.choice([1, 1, 1, 1, 2, 3], 2 * HISTORIES),
        energy=random.uniform(0.5, 5.0, 2 * HISTORIES),
        x=0.267 * x,
        y=0.267 * y,
        u=x / length,
        v=y / length,
        new=np.arange(2 * HISTORIES) % 2 == 0,
    )
    return folder, write_phase_space(folder / "beam", content, original_histories=30_000)


def test_chunks_have_other_histories_each_and_stand_for_their_share_of_the_original_ones(
    case: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, header = case
    simulate_chunks(_inputs(folder, header, tmp_path), [_chunk(1), _chunk(2)])
    first, second = (read_json(tmp_path / f"chunk-000{index}.json", ChunkResult) for index in (1, 2))
    assert all(a.sha256 != b.sha256 for a, b in zip(first.boxes, second.boxes, strict=True))
    for result in (first, second):
        # Half of the file's 30 000 original histories, each used twice.
        assert result.nominal_photons == pytest.approx(30_000)
        assert result.energy["entered"] > result.energy["deposited"] > 0
        # Two particles of each of 3000 histories, twice: an opening wider than the beam stops none.
        assert result.particles == 12_000


def test_a_chunk_beyond_the_end_of_the_phase_space_is_refused_and_leaves_nothing(
    case: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, header = case
    with pytest.raises(InputError, match=r"18000 histories asked for.*2 times: 12000 in all"):
        simulate_chunk(_inputs(folder, header, tmp_path / "third"), _chunk(3))
    assert not (tmp_path / "third").exists()


def test_the_plan_says_how_much_of_the_phase_space_it_uses_and_what_that_leaves_uncertain(
    case: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, header = case
    inputs = _inputs(folder, header, tmp_path)
    settings = TransportConfig(source_photons=8000, pilot_photons=4000, minimum_chunks=4)
    plan = plan_chunks(
        delivery_path=inputs.delivery_path,
        linac=inputs.linac,
        patient_folder=inputs.patient_folder,
        dose_to=inputs.dose_to,
        out_folder=inputs.out_folder,
        settings=settings,
        source=inputs.source,
    )
    # Four chunks of 2000 uses: 1000 histories twice each.
    assert [chunk.histories for chunk in plan.chunks] == [2000] * 4
    assert inputs.source is not None
    assert plan.phase_space == phase_space_use(inputs.source, 4 * 1000)
    assert plan.phase_space.histories == HISTORIES
    assert read_json(tmp_path / "chunks.json", ChunkPlan) == plan
