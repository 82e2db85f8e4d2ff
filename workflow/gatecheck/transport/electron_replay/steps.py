"""Recorded steps: of one material, and of all together as compiled code reads them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import digest_of_sources, in_threads, part_of_kernel
from gatecheck.files import write_atomically
from gatecheck.transport.photon_tracker import kernel as photon_kernel

SingleArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
Vector = tuple[float, float, float]


class Extent(NamedTuple):
    """How many steps and freed particles recorded tracks have, and their highest energy, MeV."""

    steps: int
    freed: int
    highest_energy: float


@dataclass(frozen=True, slots=True)
class RecordedTracks:
    """Steps of many tracks in one material, track after track.

    Attributes
    ----------
    energy : ndarray of shape (n,)
        At the start of each step, MeV.
    deposit : ndarray of shape (n,)
        MeV left along the step.
    chord, direction : ndarray of shape (n, 3)
        From the start to the end of the step, mm, and the direction after it, in the frame of the direction before.
    is_last : ndarray of shape (n,), bool
        Whether a track ends with the step.
    freed_first : ndarray of shape (n + 1,)
        Where the particles that a step set free at its end begin in what follows.
    freed_pdg, freed_energy, freed_direction : ndarray of shape (k,), (k,), (k, 3)
    """

    energy: SingleArray
    deposit: SingleArray
    chord: SingleArray
    direction: SingleArray
    is_last: npt.NDArray[np.bool_]
    freed_first: IntArray
    freed_pdg: npt.NDArray[np.int32]
    freed_energy: SingleArray
    freed_direction: SingleArray

    @property
    def extent(self) -> Extent:
        """What has to be known before these are joined with others."""
        return Extent(len(self.energy), len(self.freed_pdg), float(self.energy.max()))

    def save(self, path: Path) -> None:
        """Write as .npz."""
        with write_atomically(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> RecordedTracks:
        """Read what `save` wrote."""
        with np.load(path) as content:
            return cls(**{field.name: content[field.name] for field in fields(cls)})


def one_after_the_other(parts: Sequence[RecordedTracks]) -> RecordedTracks:
    """All tracks of parts in one material."""
    of_parts = {
        field.name: [getattr(part, field.name) for part in parts]
        for field in fields(RecordedTracks)
        if field.name != "freed_first"
    }
    begins = np.cumsum([0, *(len(part.freed_pdg) for part in parts)])
    firsts = [part.freed_first[:-1] + begin for part, begin in zip(parts, begins, strict=False)]
    return RecordedTracks(
        **{name: np.concatenate(one) for name, one in of_parts.items()},
        freed_first=np.concatenate([*firsts, begins[-1:]]).astype(np.int32),
    )


# Columns of a step in `Steps.data`: energy before it, deposit, length, direction after it, the first of what it frees
# and how many, their energy, whether its track ends, and a length that the particle cannot go on in water; 16 make a
# line of the cache.
STEP_ENERGY, DEPOSIT, LENGTH, TURNED, FREED_FIRST, FREED, FREED_ENERGY, IS_LAST, REACH = 0, 1, 2, 3, 6, 7, 8, 9, 10
STEP_COLUMNS = 16
# Columns of a freed particle in `Steps.freed`.
PDG_CODE, KINETIC, DIRECTION, FREED_COLUMNS = 0, 1, 2, 5
BINS = 1 << 13
"""Of energy, evenly spaced, in which the first step to look at is known."""
PARTS_AT_A_TIME = 2
"""That are read and joined: a constant, for a node of many cores must not take more memory than the pilot's did."""


class Steps(NamedTuple):
    """Steps of all groups of matter, electrons' and positrons', one after another.

    Attributes
    ----------
    data : ndarray of shape (n, STEP_COLUMNS)
    freed : ndarray of shape (k, FREED_COLUMNS)
    first : ndarray of shape (2 g + 1,)
        Where the steps of each group begin, electrons' before positrons', in what follows.
    sorted_energy, sorted_step : ndarray of shape (n,)
        Each group's steps by energy.
    bins : ndarray of shape (2 g, BINS + 1)
        The first of each group's sorted steps that is above the lower end of each bin.
    per_bin : float
        Bins per MeV.
    """

    data: SingleArray
    freed: SingleArray
    first: npt.NDArray[np.int64]
    sorted_energy: SingleArray
    sorted_step: IntArray
    bins: IntArray
    per_bin: float

    @property
    def megabytes(self) -> float:
        """What all of it takes."""
        return sum(one.nbytes for one in self if isinstance(one, np.ndarray)) / 1e6


def joined(parts: Sequence[Callable[[], RecordedTracks]], extents: Sequence[Extent]) -> Steps:
    """Steps of groups 0, 1, ...: electrons in each, and then positrons in each.

    Parameters
    ----------
    parts : sequence of callable
        Each gives its tracks. `PARTS_AT_A_TIME` are asked at a time and none is kept: all of a patient's at a time
        would be a chunk's peak of memory.
    extents : sequence of Extent
        Theirs, in their order.

    Raises
    ------
    ValueError
        When a part is not of its extent, or more is freed than single precision counts.
    """
    first = np.concatenate([[0], np.cumsum([one.steps for one in extents])]).astype(np.int64)
    freed_first = np.concatenate([[0], np.cumsum([one.freed for one in extents])])
    if freed_first[-1] >= 1 << 24:
        raise ValueError(f"{freed_first[-1]} freed particles, more than single precision counts")
    per_bin = BINS / max(one.highest_energy for one in extents)
    edges = (np.arange(BINS + 1) / per_bin).astype(np.float32)
    total = int(first[-1])
    data = np.zeros((total, STEP_COLUMNS), dtype=np.float32)
    sorted_energy, sorted_step = np.empty(total, dtype=np.float32), np.empty(total, dtype=np.int32)
    bins = np.empty((len(extents), BINS + 1), dtype=np.int32)
    freed = np.empty((int(freed_first[-1]), FREED_COLUMNS), dtype=np.float32)

    def join(number: int) -> None:
        part, extent = parts[number](), extents[number]
        if part.extent != extent:
            raise ValueError(f"Recorded tracks {number} are {part.extent}, where {extent} was found before.")
        begin, place = first[number], slice(first[number], first[number + 1])
        order = _by_energy(part.energy)
        sorted_energy[place], sorted_step[place] = part.energy[order], order + begin
        bins[number] = begin + np.searchsorted(sorted_energy[place], edges, side="right")
        _fill_rows(data[place], part, freed_first[number])
        _fill_freed(freed[freed_first[number] : freed_first[number + 1]], part)

    _fill()  # made here once, and not by each thread
    in_threads(join, range(len(extents)), most=PARTS_AT_A_TIME)
    return Steps(
        data=data,
        freed=freed,
        first=first,
        sorted_energy=sorted_energy,
        sorted_step=sorted_step,
        bins=bins,
        per_bin=per_bin,
    )


def _by_energy(energy: SingleArray) -> npt.NDArray[np.uint64]:
    """Places in ascending order of positive energies; of equal ones, in their own order, on every machine."""
    # The bits of positive floats are in the floats' order, and numbers all different have one order only: numpy's
    # fastest sort, which knows no stability, gives it, in a tenth of the time of a stable argsort.
    keys = energy.view(np.uint32).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(energy), dtype=np.uint64)
    keys.sort()
    return keys & np.uint64(0xFFFFFFFF)


@part_of_kernel
def length_with_hinge(chord: Vector, direction: Vector) -> float:
    """Of a step with a hinge whose ends lie as far apart, in the mean, as the recorded one's, mm.

    With a hinge at a random part the square of the distance is (2 + cosine) / 3 of the length's, in the mean.
    """
    x, y, z = chord
    u, v, w = direction
    cosine = w / math.sqrt(u * u + v * v + w * w)
    return math.sqrt((x * x + y * y + z * z) * 3.0 / (2.0 + cosine))


def _fill_rows(rows: SingleArray, part: RecordedTracks, freed_begin: int) -> None:
    _fill()(
        rows,
        part.energy,
        part.deposit,
        part.chord,
        part.direction,
        part.is_last,
        part.freed_first,
        part.freed_energy,
        freed_begin,
    )


@functools.cache
def _fill() -> Callable[..., None]:
    """The compiled kernel, kept on disk."""
    return _cached_fill(digest_of_sources(photon_kernel))


def _cached_fill(digest_of_sources: int) -> Callable[..., Any]:
    @numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def fill(
        rows: SingleArray,
        energy: SingleArray,
        deposit: SingleArray,
        chord: SingleArray,
        direction: SingleArray,
        is_last: npt.NDArray[np.bool_],
        freed_first: IntArray,
        freed_energy: SingleArray,
        freed_begin: int,
    ) -> None:
        # All columns of a row at once: column after column each would fetch the whole table from memory.
        if digest_of_sources < 0:  # captured, and so a part of numba's cache key
            return
        for step in range(len(energy)):
            row = rows[step]
            row[STEP_ENERGY], row[DEPOSIT], row[IS_LAST] = energy[step], deposit[step], is_last[step]
            for axis in range(3):
                row[TURNED + axis] = direction[step, axis]
            row[LENGTH] = length_with_hinge(
                (chord[step, 0], chord[step, 1], chord[step, 2]),
                (direction[step, 0], direction[step, 1], direction[step, 2]),
            )
            row[FREED_FIRST] = freed_first[step] + freed_begin
            row[FREED] = freed_first[step + 1] - freed_first[step]
            freed = 0.0
            for index in range(freed_first[step], freed_first[step + 1]):
                freed += freed_energy[index]
            row[FREED_ENERGY] = freed
            row[REACH] = photon_kernel.longest_range(energy[step], 1.0)

    kernel_function: Callable[..., Any] = fill
    return kernel_function


def _fill_freed(rows: SingleArray, part: RecordedTracks) -> None:
    rows[:, PDG_CODE] = part.freed_pdg
    rows[:, KINETIC] = part.freed_energy
    rows[:, DIRECTION : DIRECTION + 3] = part.freed_direction
