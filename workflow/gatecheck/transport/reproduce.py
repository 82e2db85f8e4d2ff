"""Simulates a chunk again and holds it against what is there, bit for bit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from gatecheck.errors import InputError
from gatecheck.files import read_json, sha256_of_file
from gatecheck.transport.chunk import ChunkInputs, simulate_chunk
from gatecheck.transport.chunk_files import chunk_name
from gatecheck.transport.model import ChunkPlan, ChunkResult
from gatecheck.transport.process import run_in_process

_DIGITS = 12  # of a hash; versions are shorter


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How a chunk simulated again compares.

    Attributes
    ----------
    chunk : int
    histories : int
        Source photons.
    images : int
    different : tuple of str
        Files that are not what they were when the chunk was simulated first, or now.
    same_electron_steps : bool
        Whether electrons took the same recorded steps, where they took any.
    made_otherwise : tuple of str
        What was made with another version: a library and both versions, or the code.
    """

    chunk: int
    histories: int
    images: int
    different: tuple[str, ...]
    same_electron_steps: bool = True
    made_otherwise: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether every bit is."""
        return not self.different


def reproduce(inputs: ChunkInputs, plan: ChunkPlan, index: int) -> Reproduction:
    """Simulate a chunk of a plan again, beside what is there, which stays.

    Parameters
    ----------
    inputs : ChunkInputs
        Of the plan; `check_plan` has found them to be those that it was made for.

    Raises
    ------
    InputError
        When the plan has no such chunk.
    ResultError
        When the chunk is not there.
    SimulationError
        When it cannot be simulated.
    """
    chunks = [chunk for chunk in plan.chunks if chunk.index == index]
    if not chunks:
        raise InputError(f"--chunk {index}: the plan has chunks {plan.chunks[0].index} to {plan.chunks[-1].index}.")
    there = read_json(inputs.out_folder / f"{chunk_name(index)}.json", ChunkResult)
    with tempfile.TemporaryDirectory(prefix=".partial-reproduce-", dir=inputs.out_folder) as folder:
        again: ChunkResult = run_in_process(
            simulate_chunk,
            # Along whichever recorded steps there are: if they are others, that is what is to be told.
            inputs=replace(inputs, out_folder=Path(folder), electron_steps_sha256=None),
            chunk=chunks[0],
        )
    before, now = ({box.file: box.sha256 for box in result.boxes} for result in (there, again))
    # What was said of the files, and what they hold: a damaged image is no image that was simulated.
    held = {name: _sha256(inputs.out_folder / name) for name in before}
    different = sorted(name for name in before | now if not before.get(name) == now.get(name) == held.get(name))
    same_steps = there.electron_steps_sha256 == again.electron_steps_sha256
    otherwise = tuple(
        f"{name} {version[:_DIGITS]} then, {again.made_with[name][:_DIGITS]} now"
        for name, version in there.made_with.items()
        if again.made_with.get(name, version) != version
    )
    return Reproduction(index, chunks[0].histories, len(before), tuple(different), same_steps, otherwise)


def _sha256(path: Path) -> str | None:
    return sha256_of_file(path) if path.exists() else None
