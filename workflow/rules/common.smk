# Functions that rules use as input.
from pathlib import Path

from gatecheck.files import read_json
from gatecheck.transport.model import ChunkPlan


def inputs_of(room):
    """What a room's result depends on besides the rooms before it: changes when, and only when, that does."""
    return f"{FOLDER}/inputs/{room}.json"


def chunk_results(wildcards):
    """The results of all chunks that plan_chunks asked for."""
    plan = read_json(Path(checkpoints.plan_chunks.get().output[0]), ChunkPlan)
    return [CASE.chunk(chunk.index).as_posix() for chunk in plan.chunks]
