"""Batches of particles that GATE takes piece by piece, some of them empty: made without GATE."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gatecheck.transport import gate
from gatecheck.transport.gate import ParticleFeed
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.volumes import HomogeneousVolume


def particles(count: int) -> PhaseSpace:
    return PhaseSpace(
        pdg_code=np.full(count, 11, np.int32),
        energy=np.ones(count),
        position=np.zeros((count, 3)),
        direction=np.tile([0.0, 0.0, 1.0], (count, 1)),
        weight=np.ones(count),
        beam_number=np.zeros(count, np.int32),
        histories=count,
        nominal_photons=float(count),
    )


@pytest.mark.parametrize("sizes", [[3, 2], [0, 3, 2], [3, 0, 2], [3, 2, 0, 0], [0, 5, 0], [0, 0, 4]])
def test_each_batch_is_scored_apart_whichever_are_empty(monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> None:
    """An actor that has one MeV for each particle given; GATE asks for no more when the last are used up."""
    monkeypatch.setitem(sys.modules, "itk", SimpleNamespace(array_from_image=lambda image: image))
    given = [0]
    image: Any = SimpleNamespace(to_pyarray=lambda: np.full((1, 1, 1), float(given[0])))
    actor: Any = SimpleNamespace(cpp_edep_image=image)
    monkeypatch.setattr(gate, "hand_over", lambda source, arrays: None)
    monkeypatch.setattr(gate, "start_random_numbers", lambda seed: None)
    total = sum(sizes)
    feed = ParticleFeed(particles(total), [actor], None, [int(end) for end in np.cumsum(sizes)], 1)
    while given[0] < total:
        given[0] += feed.next_batch(None)
    whole = np.full((1, 1, 1), float(total))
    done: Any = SimpleNamespace(edep=SimpleNamespace(image=whole), edep_squared=SimpleNamespace(image=whole))
    volume = HomogeneousVolume("one", 0, (0.0,) * 3, (1.0,) * 3, (1, 1, 1))
    score = gate._score(done, volume, feed.snapshots_of(0, (1, 1, 1)))
    assert [float(batch.sum()) for batch in score.batches] == [float(size) for size in sizes]
