"""Forked children: what they finish is kept, what they say arrives, and none runs for ever."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gatecheck.errors import InputError, SimulationError
from gatecheck.transport.children import end_child, fork_each
from gatecheck.transport.jobs import longest_seconds
from gatecheck.transport.model import Chunk, ChunkPlan
from gatecheck.transport.process import run_in_process


def _sleep_and_write(*, folder: Path, seconds: tuple[float, ...], longest: float) -> float:
    """Each child sleeps for its time and writes its number; how long the parent waited for all."""
    started = time.monotonic()
    child = fork_each(len(seconds), at_a_time=3, longest_seconds=longest)
    if child is not None:
        time.sleep(seconds[child.number])
        (folder / f"{child.number}").write_text("done", encoding="utf-8")
        end_child(child)
    return time.monotonic() - started


def _fail_with(*, length: int) -> None:
    child = fork_each(1)
    if child is not None:
        end_child(child, InputError("x" * length))


def test_a_child_that_never_ends_is_stopped_and_those_beside_it_are_finished(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"^A chunk did not end within 0\.0333 minutes.*longest_chunk_minutes"):
        run_in_process(_sleep_and_write, folder=tmp_path, seconds=(0.1, 600.0, 0.5), longest=2.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2"]


def test_children_that_are_quick_enough_are_all_waited_for(tmp_path: Path) -> None:
    waited = run_in_process(_sleep_and_write, folder=tmp_path, seconds=(0.1, 0.4, 0.2, 0.1), longest=60.0)
    assert waited < 30.0
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("length", [10, 1_000_000])
def test_an_error_arrives_however_long_it_is(length: int) -> None:
    """A pipe holds 64 KiB, and its reader waits for the process to end."""
    with pytest.raises((InputError, SimulationError), match=r"^x{10}"):
        run_in_process(_fail_with, length=length)


def test_the_limit_follows_from_the_pilots_speed_or_the_configuration() -> None:
    plan = ChunkPlan(
        inputs_sha256="a" * 64,
        chunks=(Chunk(index=1, histories=1_000_000, seed=1), Chunk(index=2, histories=500_000, seed=2)),
        target_relative_sigma=None,
        expected_relative_sigma=None,
        seconds_per_history=1e-4,
        seconds_start_up=12.0,
        pilot_histories=1000,
    )
    assert longest_seconds(plan, None) == pytest.approx(3600 + 10 * 112)
    assert longest_seconds(plan, 2.0) == 120.0
