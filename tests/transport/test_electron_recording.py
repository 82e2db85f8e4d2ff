"""Recorded tracks are the same however many of their steps are in memory at a time."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.transport.electron_replay import record
from gatecheck.transport.electron_replay.merge import merged
from gatecheck.transport.electron_replay.record import Recording, record_tracks, whole_events
from gatecheck.transport.electron_replay.steps import RecordedTracks, one_after_the_other
from gatecheck.transport.materials import water
from gatecheck.transport.process import run_in_process

EVENTS = np.repeat([0, 1, 2, 5, 6], [3, 2, 9, 1, 4])


@pytest.mark.parametrize(
    ("at_a_time", "begins"),
    [(1, [0, 3, 5, 14, 15]), (5, [0, 5, 14]), (6, [0, 5, 14]), (14, [0, 14]), (19, [0]), (1000, [0])],
)
def test_events_are_whole_and_as_many_together_as_may_be(at_a_time: int, begins: list[int]) -> None:
    """Of 3, 2, 9, 1 and 4 rows; the one of nine is not divided where nine are too many."""
    found = list(whole_events(EVENTS, at_a_time))
    assert [one.start for one in found] == begins
    assert [one.stop for one in found] == [*begins[1:], len(EVENTS)]


def test_without_events_there_is_nothing() -> None:
    assert list(whole_events(EVENTS[:0], 5)) == []


def test_events_in_disorder_are_refused() -> None:
    with pytest.raises(SimulationError, match="do not follow one after the other"):
        list(whole_events(EVENTS[::-1], 5))


def keep(at_a_time: int, particle: str, path: Path) -> None:
    """In a process of its own."""
    record._AT_A_TIME = at_a_time
    recording = Recording(particle, ((7.0, 12), (2.0, 30)), 5)
    parts = list(record_tracks(water(0), recording, TransportConfig()))
    assert (len(parts) > 3) == (at_a_time < 100_000)
    one_after_the_other([merged(part, 0.2, share=0.1) for part in parts]).save(path)


@pytest.mark.gate
@pytest.mark.parametrize("particle", ["e-", "e+"])
def test_a_recording_in_parts_is_the_one_in_whole_bit_for_bit(tmp_path: Path, particle: str) -> None:
    for at_a_time in (1_000, 10_000_000):
        run_in_process(keep, at_a_time=at_a_time, particle=particle, path=tmp_path / f"{at_a_time}.npz")
    in_parts, whole = (RecordedTracks.load(tmp_path / f"{at_a_time}.npz") for at_a_time in (1_000, 10_000_000))
    assert whole.is_last.sum() == 42
    assert whole.extent.freed > 42
    for field in fields(RecordedTracks):
        np.testing.assert_array_equal(getattr(in_parts, field.name), getattr(whole, field.name), strict=True)
