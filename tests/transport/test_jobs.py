"""Jobs: which chunks they have, which of these are missing, and when they are no longer done."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatecheck.errors import InputError
from gatecheck.files import write_json
from gatecheck.transport.chunk_files import remove_chunk
from gatecheck.transport.jobs import (
    chunks_of_job,
    forget_jobs,
    job_file,
    jobs_of,
    memory_mb,
    remove_damaged_plans,
    seconds_of_first,
    seconds_of_job,
    write_job,
)
from gatecheck.transport.model import Chunk, ChunkPlan, TopUp


def _plan(chunks: int) -> ChunkPlan:
    return ChunkPlan(
        inputs_sha256="a" * 64,
        chunks=tuple(Chunk(index=index, histories=10, seed=index) for index in range(1, chunks + 1)),
        target_relative_sigma=None,
        expected_relative_sigma=None,
        seconds_per_history=1.0,
        pilot_histories=0,
    )


@pytest.mark.parametrize(
    ("chunks", "per_job", "sizes"), [(7, 100, [7]), (7, 7, [7]), (7, 6, [4, 3]), (7, 3, [3, 2, 2]), (3, 1, [1, 1, 1])]
)
def test_chunks_are_shared_out_evenly_and_each_once(chunks: int, per_job: int, sizes: list[int]) -> None:
    jobs = jobs_of(_plan(chunks), per_job)
    assert [len(job) for job in jobs] == sizes
    assert [chunk.index for job in jobs for chunk in job] == list(range(1, chunks + 1))
    assert chunks_of_job(_plan(chunks), per_job, len(sizes)) == jobs[-1]


@pytest.mark.parametrize("number", [0, 4])
def test_a_job_that_is_not_there_is_refused(number: int) -> None:
    with pytest.raises(InputError, match=rf"^--job {number}: the plan has jobs 1 to 3\.$"):
        chunks_of_job(_plan(7), 3, number)


def test_a_job_is_not_done_any_more_when_a_chunk_of_it_goes(tmp_path: Path) -> None:
    for number, job in enumerate(jobs_of(_plan(7), 3), start=1):
        write_job(tmp_path, number, job)
    remove_chunk(tmp_path, 4)
    assert [job_file(tmp_path, number).exists() for number in (1, 2, 3)] == [True, False, True]
    job_file(tmp_path, 3).write_text("{", encoding="utf-8")
    forget_jobs(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def test_what_the_chunks_of_a_job_share_counts_once(tmp_path: Path) -> None:
    guess = memory_mb(tmp_path, 1)
    assert memory_mb(tmp_path, 16) == 16 * guess > 0
    plan = _plan(4).model_copy(update={"peak_memory_mb": 3100.0, "shared_memory_mb": 2000.0})
    write_json(tmp_path / "chunks.json", plan)
    assert memory_mb(tmp_path, 1) == pytest.approx(3100.0, rel=1e-4)
    assert memory_mb(tmp_path, 16) == pytest.approx(2000.0 + 16 * 1100.0, rel=1e-4)
    # A pilot's photons take nothing; those of a long chunk, which are in memory together, do.
    longer = tuple(chunk.model_copy(update={"histories": 10_000_000}) for chunk in plan.chunks)
    write_json(tmp_path / "chunks.json", plan.model_copy(update={"chunks": longer}))
    assert memory_mb(tmp_path, 2) == pytest.approx(2000.0 + 2 * (1100.0 + 1100.0))


@pytest.mark.parametrize(
    ("at_a_time", "has_one_start", "seconds"),
    [
        pytest.param(1, True, 5 + 7 * 10, id="one after the other"),
        pytest.param(4, True, 5 + 2 * 10, id="two goes, the second not full"),
        pytest.param(16, True, 5 + 10, id="more cores than chunks"),
        pytest.param(4, False, 2 * (5 + 10), id="a start for each chunk"),
    ],
)
def test_a_job_takes_whole_goes_of_its_longest_chunk(
    tmp_path: Path, at_a_time: int, has_one_start: bool, seconds: float
) -> None:
    assert seconds_of_job(tmp_path, 7, 1, at_a_time=at_a_time, has_one_start=has_one_start) == 0.0
    write_json(tmp_path / "chunks.json", _plan(7).model_copy(update={"seconds_start_up": 5.0}))
    found = seconds_of_job(tmp_path, 7, 1, at_a_time=at_a_time, has_one_start=has_one_start)
    assert found == pytest.approx(seconds)


def test_what_is_simulated_again_are_the_plans_first_chunks_in_whatever_jobs(tmp_path: Path) -> None:
    """Of 12 chunks 10, on 8 cores two goes; the first of two jobs of up to ten has six of them, and takes one."""
    assert seconds_of_first(tmp_path, 10, at_a_time=8, has_one_start=True) == 0.0
    write_json(tmp_path / "chunks.json", _plan(12).model_copy(update={"seconds_start_up": 5.0}))
    assert seconds_of_first(tmp_path, 10, at_a_time=8, has_one_start=True) == pytest.approx(5 + 2 * 10)
    assert seconds_of_job(tmp_path, 10, 1, at_a_time=8, has_one_start=True) == pytest.approx(5 + 10)


def _write_plans(folder: Path) -> None:
    write_json(folder / "chunks.json", _plan(4))
    for number in (1, 2):
        top_up = TopUp(number=number, inputs_sha256="a" * 64, precisions=(), chunks=())
        write_json(folder / f"top-up-{number}.json", top_up)


@pytest.mark.parametrize(
    ("damaged", "left"),
    [
        ([], {"chunks.json", "top-up-1.json", "top-up-2.json"}),
        (["chunks.json"], {"top-up-1.json", "top-up-2.json"}),
        (["top-up-1.json"], {"chunks.json"}),
        (["top-up-2.json"], {"chunks.json", "top-up-1.json"}),
    ],
)
def test_what_asks_for_chunks_and_is_cut_short_is_removed_with_the_rounds_behind_it(
    tmp_path: Path, damaged: list[str], left: set[str]
) -> None:
    _write_plans(tmp_path)
    for name in damaged:
        path = tmp_path / name
        path.write_text(path.read_text(encoding="utf-8")[:20], encoding="utf-8")
    assert remove_damaged_plans(tmp_path) == damaged
    assert {path.name for path in tmp_path.iterdir()} == left
