"""Chunks and their counterparts: Gy on the joined grid, and a refusal where they do not belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from made_chunks import BOXES, INPUTS, write_case, write_one_chunk

from gatecheck.compare.recalculation import recalculate
from gatecheck.config import project_folder
from gatecheck.config_transport import TransportConfig
from gatecheck.dose.pairs import ChunkFolder, pairs_of_doses
from gatecheck.errors import ResultError
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.chunk import ChunkInputs
from gatecheck.transport.model import Chunk
from gatecheck.transport.patient_files import read_patient
from gatecheck.transport.rounds import read_plan

OTHER = "5" * 64


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """Three chunks, and counterparts with twice their dose."""
    doses = write_case(tmp_path, 3)
    for index, dose in enumerate(doses, start=1):
        twice = {name: 2 * values for name, values in dose.items()}
        write_one_chunk(tmp_path / "other", index, twice, histories=1000 * index, inputs=OTHER)
    return tmp_path


def folders(case: Path, factor: float = 3.0) -> tuple[ChunkFolder, ChunkFolder]:
    return ChunkFolder(case / "transport", INPUTS, 3.0), ChunkFolder(case / "other", OTHER, factor)


def chunks(case: Path) -> tuple[Chunk, ...]:
    return read_plan(case / "transport").chunks


def test_each_pair_is_in_gray_on_the_joined_grid(case: Path) -> None:
    patient = read_patient(case / "patient")
    pairs = list(pairs_of_doses(*folders(case), patient, chunks(case)))
    assert len(pairs) == 3
    for pair in pairs:
        assert pair.planned_zyx.shape == patient.joined_grid.size[::-1]
        np.testing.assert_allclose(pair.changed_zyx, 2 * pair.planned_zyx, rtol=1e-6)
    # The made chunks' doses are 1e-6 per voxel, their nominal photons 2000, 4000, 6000.
    means = [pair.planned_zyx.mean() for pair in pairs]
    np.testing.assert_allclose(means, [3e-6 / photons for photons in (2000, 4000, 6000)], rtol=0.05)


def test_the_meterset_of_each_delivery_counts(case: Path) -> None:
    patient = read_patient(case / "patient")
    (pair, *_) = pairs_of_doses(*folders(case, factor=1.5), patient, chunks(case))
    np.testing.assert_allclose(pair.changed_zyx, pair.planned_zyx, rtol=1e-6)


def test_a_counterpart_that_is_cut_short_or_changed_is_simulated_again(case: Path) -> None:
    patient = case / "patient"
    linac = load_linac_model(project_folder() / "linac_models" / "truebeam_stx")
    common = ChunkInputs(case / "timeline.parquet", linac, patient, OTHER, TransportConfig(), "medium", case / "other")
    asked: list[int] = []

    def simulated(_: ChunkInputs, missing: Sequence[Chunk], *, longest_seconds: float, **__: object) -> None:
        assert longest_seconds == 90.0
        asked.extend(chunk.index for chunk in missing)

    (case / "other" / "chunk-0003.json").write_text('{"index": 3', encoding="utf-8")
    name = BOXES[0][0]
    with (case / "other" / f"chunk-0001-{name}.mha").open("ab") as image:
        image.write(b"0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recalculate, "simulate_chunks", simulated)
        recalculate._simulate(common, chunks(case), 1, 90.0, None)
    assert asked == [1, 3]


def test_counterparts_of_other_inputs_or_photons_are_refused(case: Path) -> None:
    patient = read_patient(case / "patient")
    planned, other = folders(case)
    stale = ChunkFolder(other.folder, "6" * 64, 3.0)
    with pytest.raises(ResultError, match=r"chunk-0001 in other/: simulated from other inputs or photons"):
        list(pairs_of_doses(planned, stale, patient, chunks(case)))
    doses = {name: np.ones(size[::-1]) for name, size, _, _ in BOXES}
    write_one_chunk(case / "other", 2, doses, histories=2000, seed=7, inputs=OTHER)
    with pytest.raises(ResultError, match=r"chunk-0002 in other/"):
        list(pairs_of_doses(planned, other, patient, chunks(case)))


def test_a_damaged_counterpart_is_refused_and_removed(case: Path) -> None:
    (case / "other" / "chunk-0003-fine.mha").write_bytes(b"nothing")
    with pytest.raises(ResultError, match="cut short or changed"):
        list(pairs_of_doses(*folders(case), read_patient(case / "patient"), chunks(case)))
    assert not (case / "other" / "chunk-0003.json").exists()
