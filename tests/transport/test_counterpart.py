"""What a chunk's photons are sent through instead: another density, another hash, and gas left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fast_head_deliveries import STX, beam, delivery

from gatecheck.delivery.storage import write_delivery
from gatecheck.patient.model import Material
from gatecheck.transport.counterpart import Counterpart
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.materials import air, water
from gatecheck.transport.model import Chunk


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery(beam()), path)
    return path


def test_tissues_become_less_dense_and_gas_does_not(planned: Path) -> None:
    lung = Material(label=2, name="lung", density=0.26, mass_fractions={"H": 0.1, "O": 0.9})
    found = Counterpart(planned, STX, density_factor=0.95).materials_of([water(0), air(1), lung])
    assert [one.density for one in found] == pytest.approx([0.95 * water(0).density, air(1).density, 0.247])
    assert [one.label for one in found] == [0, 1, 2]


def test_every_change_has_a_hash_of_its_own(planned: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    write_delivery(delivery(beam(total=101.0)), other)
    mlc = STX.machine.mlc.model_copy(update={"physical_gap_offset": STX.machine.mlc.physical_gap_offset + 0.1})
    wider = STX.model_copy(update={"machine": STX.machine.model_copy(update={"mlc": mlc})})
    changed = [
        Counterpart(planned, STX),
        Counterpart(other, STX),
        Counterpart(planned, wider),
        Counterpart(planned, STX, density_factor=0.99),
    ]
    hashes = [one.inputs_sha256("1" * 64) for one in changed] + [changed[0].inputs_sha256("2" * 64)]
    # Along other recorded steps the difference would be theirs, too.
    hashes += [changed[0].inputs_sha256("1" * 64, steps * 64) for steps in "ab"]
    assert len(set(hashes)) == len(hashes)


def test_the_photons_are_those_of_the_plans_own_chunk(planned: Path) -> None:
    chunk = Chunk(index=3, histories=20_000, seed=77)
    found = Counterpart(planned, STX).phase_space_of(chunk, delivery(beam()), STX)
    own = sample_phase_space(delivery(beam()), STX, chunk.histories, chunk.seed)
    assert own.stream is not None
    np.testing.assert_array_equal(found.stream, own.stream)
    np.testing.assert_allclose(found.position, own.position, atol=1e-9)
