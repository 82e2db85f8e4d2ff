"""Rounds: how many chunks more what is wanted takes, and that all readers see the same plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gatecheck.config_transport import HalfWidthConfig, TransportConfig
from gatecheck.files import write_json
from gatecheck.transport.jobs import jobs_of, round_of_job
from gatecheck.transport.model import Chunk, ChunkPlan, Precision
from gatecheck.transport.plan import chunk_seed, plan_top_up
from gatecheck.transport.rounds import chunks_to_add, forget_top_ups, most_rounds, read_plan, top_up_file

LINAC = "f" * 64
MANY = 10**9


def _plan(chunks: int = 10) -> ChunkPlan:
    inputs = "a" * 64
    return ChunkPlan(
        inputs_sha256=inputs,
        chunks=tuple(
            Chunk(index=index, histories=1000, seed=chunk_seed(inputs, LINAC, index)) for index in range(1, chunks + 1)
        ),
        target_relative_sigma=0.01,
        expected_relative_sigma=0.01,
        seconds_per_history=1.0,
        pilot_histories=0,
    )


def _precision(reached: float | None, wanted: float = 1.0) -> Precision:
    return Precision(name="relative_sigma", wanted=wanted, reached=reached)


@pytest.mark.parametrize(
    ("reached", "chunks"),
    [
        (0.999, 0),  # reached
        (1.0, 0),
        (1.2, 6),  # 1.44 times the photons, and 8 % for the estimate's own noise
        (5.0, 30),  # 25 times: no round trusts a sigma from few batches with more than 4
        (None, 0),  # nothing to be had here, which more photons do not change
    ],
)
def test_a_round_asks_for_the_square_of_what_is_missing(reached: float | None, chunks: int) -> None:
    assert chunks_to_add(_plan(), (_precision(reached),), MANY) == chunks


def test_the_precision_that_is_furthest_from_what_is_wanted_decides() -> None:
    assert chunks_to_add(_plan(), (_precision(0.5), _precision(2.0, wanted=1.8), _precision(None)), MANY) == 4


@pytest.mark.parametrize(("most", "chunks"), [(12_500, 2), (10_000, 0), (5_000, 0)])
def test_no_round_goes_beyond_the_photons_that_are_allowed(most: int, chunks: int) -> None:
    assert chunks_to_add(_plan(), (_precision(3.0),), most) == chunks


def test_a_round_has_the_seeds_that_a_longer_plan_would_have(tmp_path: Path) -> None:
    write_json(tmp_path / "chunks.json", _plan(10))
    settings = TransportConfig(maximum_source_photons=10**6)
    first = plan_top_up(
        number=1, precisions=(_precision(1.2),), linac_sha256=LINAC, settings=settings, out_folder=tmp_path
    )
    assert first.chunks == _plan(16).chunks[10:]
    second = plan_top_up(
        number=2, precisions=(_precision(1.1),), linac_sha256=LINAC, settings=settings, out_folder=tmp_path
    )
    assert [chunk.index for chunk in second.chunks] == list(range(17, 22))  # 1.21 x 1.08 of 16
    whole = read_plan(tmp_path)
    assert whole.chunks == _plan(21).chunks
    assert whole.chunks_of_rounds == (10, 6, 5)
    assert read_plan(tmp_path, 0).chunks == _plan(10).chunks
    assert read_plan(tmp_path, 1).chunks == _plan(16).chunks


def test_a_round_that_is_asked_again_forgets_those_after_it(tmp_path: Path) -> None:
    write_json(tmp_path / "chunks.json", _plan(10))
    settings = TransportConfig()
    for number in (1, 2, 3):
        plan_top_up(
            number=number, precisions=(_precision(1.2),), linac_sha256=LINAC, settings=settings, out_folder=tmp_path
        )
    plan_top_up(number=2, precisions=(_precision(0.9),), linac_sha256=LINAC, settings=settings, out_folder=tmp_path)
    assert not top_up_file(tmp_path, 3).exists()
    assert len(read_plan(tmp_path).chunks) == 16
    forget_top_ups(tmp_path)
    assert read_plan(tmp_path) == _plan(10).model_copy(update={"chunks_of_rounds": (10,)})


def test_rounds_of_another_plan_do_not_count(tmp_path: Path) -> None:
    write_json(tmp_path / "chunks.json", _plan(10))
    plan_top_up(
        number=1, precisions=(_precision(1.2),), linac_sha256=LINAC, settings=TransportConfig(), out_folder=tmp_path
    )
    write_json(tmp_path / "chunks.json", _plan(10).model_copy(update={"inputs_sha256": "b" * 64}))
    assert len(read_plan(tmp_path).chunks) == 10


def test_no_job_is_of_two_rounds(tmp_path: Path) -> None:
    """Or the jobs of a round that is done would change with the next one."""
    write_json(tmp_path / "chunks.json", _plan(10))
    before = jobs_of(read_plan(tmp_path), 4)
    assert [len(job) for job in before] == [4, 3, 3]
    plan_top_up(
        number=1, precisions=(_precision(1.2),), linac_sha256=LINAC, settings=TransportConfig(), out_folder=tmp_path
    )
    after = jobs_of(read_plan(tmp_path), 4)
    assert after[:3] == before
    assert [len(job) for job in after] == [4, 3, 3, 3, 3]
    assert [round_of_job(tmp_path, 4, number) for number in range(1, 7)] == [0, 0, 0, 1, 1, 0]


def test_a_half_width_is_asked_for_with_20_chunks_or_more() -> None:
    """From ten, a sigma that is too small by chance ends a run, and the interval is then as narrow."""
    wanted = (HalfWidthConfig(metric="tumour_d95", percent=1.0),)
    assert TransportConfig().minimum_chunks == 10
    assert TransportConfig(target_half_widths=wanted).minimum_chunks == 20
    assert TransportConfig.model_validate({"target_half_widths": [{"metric": "tumour_d95", "percent": 1}]}) == (
        TransportConfig(target_half_widths=wanted)
    )
    assert TransportConfig(target_half_widths=wanted, minimum_chunks=30).minimum_chunks == 30
    with pytest.raises(ValidationError, match="target_half_widths need minimum_chunks of 20 or more, found 19"):
        TransportConfig(target_half_widths=wanted, minimum_chunks=19)


def test_no_rounds_where_a_number_of_photons_is_all_that_was_asked_for() -> None:
    assert most_rounds(TransportConfig()) == 3
    assert most_rounds(TransportConfig(top_up_rounds=1)) == 1
    assert most_rounds(TransportConfig(source_photons=10_000)) == 0
    wanted = (HalfWidthConfig(metric="tumour_d95", percent=1.0),)
    assert most_rounds(TransportConfig(source_photons=10_000, target_half_widths=wanted)) == 3
