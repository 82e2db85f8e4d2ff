"""Rounds: the chunks that the pilot asked for, and those that top them up until what was wanted is reached."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from gatecheck.config_transport import TransportConfig
from gatecheck.files import read_json
from gatecheck.transport.model import Chunk, ChunkPlan, Precision, TopUp

# A precision has noise of its own, and the next round is dear to start.
_RESERVE = 1.08
# From few batches an interval is known to a quarter: no round trusts it with more than this.
_LARGEST_FACTOR = 4.0


def chunk_plan_file(transport_folder: Path) -> Path:
    """What the pilot asked for."""
    return transport_folder / "chunks.json"


def top_up_file(transport_folder: Path, number: int) -> Path:
    """What a round after it asks for, from 1."""
    return transport_folder / f"top-up-{number}.json"


def read_plan(transport_folder: Path, last_round: int | None = None) -> ChunkPlan:
    """All chunks asked for so far.

    Parameters
    ----------
    last_round : int, optional
        Later rounds are left out; 0: all after the pilot's.

    Raises
    ------
    ResultError
        When a file is missing or damaged.
    """
    plan = read_json(chunk_plan_file(transport_folder), ChunkPlan)
    rounds = [plan.chunks]
    phase_space = plan.phase_space
    for top_up in read_top_ups(transport_folder, plan):
        if last_round is not None and top_up.number > last_round:
            break
        rounds.append(top_up.chunks)
        phase_space = top_up.phase_space or phase_space
    return plan.model_copy(
        update={
            "chunks": tuple(chunk for chunks in rounds for chunk in chunks),
            "chunks_of_rounds": tuple(len(chunks) for chunks in rounds if chunks),
            "phase_space": phase_space,
        }
    )


def read_top_ups(transport_folder: Path, plan: ChunkPlan) -> Iterator[TopUp]:
    """The rounds after the pilot's, in their order, as far as they are of the same plan."""
    number = 1
    while (path := top_up_file(transport_folder, number)).exists():
        top_up = read_json(path, TopUp)
        if top_up.inputs_sha256 != plan.inputs_sha256:
            return
        yield top_up
        number += 1


def forget_top_ups(transport_folder: Path, first: int = 1) -> None:
    """Remove a round and all after it. Their chunks stay: planned again they would be the same."""
    for path in transport_folder.glob("top-up-*.json"):
        if int(path.stem.removeprefix("top-up-")) >= first:
            path.unlink(missing_ok=True)


def chunks_to_add(plan: ChunkPlan, precisions: tuple[Precision, ...], most_histories: int) -> int:
    """How many chunks more, as long as the plan's, bring every precision to what is wanted; never above the most."""
    factor = max((precision.more_photons for precision in precisions), default=0.0)
    if factor <= 1.0:
        return 0
    each = plan.chunks[-1].histories
    done = sum(chunk.histories for chunk in plan.chunks)
    wanted = done * (min(_RESERVE * factor, _LARGEST_FACTOR) - 1.0)
    return max(0, min(math.ceil(wanted / each), (most_histories - done) // each))


def added_chunks(plan: ChunkPlan, seeds: list[int]) -> tuple[Chunk, ...]:
    """Chunks after the plan's last, one for each seed."""
    last = plan.chunks[-1]
    return tuple(
        Chunk(index=last.index + number, histories=last.histories, seed=seed)
        for number, seed in enumerate(seeds, start=1)
    )


def most_rounds(settings: TransportConfig) -> int:
    """How many rounds may follow the pilot's: none where a number of photons is all that was asked for."""
    if settings.source_photons is not None and not settings.target_half_widths:
        return 0
    return settings.top_up_rounds
