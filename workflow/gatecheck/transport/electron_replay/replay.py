"""Charged particles through boxes of voxels by recorded steps, and what their photons do in turn."""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import digest_of_sources
from gatecheck.errors import SimulationError
from gatecheck.patient.model import Material
from gatecheck.transport.electron_replay import kernel
from gatecheck.transport.electron_replay import steps as steps_module
from gatecheck.transport.electron_replay.grouping import MatterGroups
from gatecheck.transport.electron_replay.kernel import (
    DEPOSITED,
    DEPOSITS,
    ENTERED,
    ESCAPED,
    HISTORY,
    LEFT,
    MASS,
    MOST_WAITING,
    OVERFLOW,
    PHOTONS,
    SCORE_COLUMNS,
    SQUARES,
    STEPS,
    TALLIES,
    Scores,
)
from gatecheck.transport.electron_replay.steps import Steps
from gatecheck.transport.fast_head import random
from gatecheck.transport.gate import GateRun, Progress, Score, batch_ends_of, peak_memory_mb
from gatecheck.transport.materials import air
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.photon_tracker import Roulette, cross_sections
from gatecheck.transport.photon_tracker import kernel as photon_kernel
from gatecheck.transport.photon_tracker.track import as_phase_space, as_rows, boxes_of, follow_batch
from gatecheck.transport.volumes import Volume

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_ENERGY_TOLERANCE = 1e-6
_BLOCK = 100_000  # particles between two reports, and photons that the compiled code gives at a time
_MOST_GENERATIONS = 30


@dataclass(frozen=True, slots=True)
class ElectronSteps:
    """Recorded steps and the materials that they serve.

    Attributes
    ----------
    steps : Steps
    groups : MatterGroups
        Of the patient's materials in their order, and of air after them.
    highest_energy : float
        At which recorded tracks start, MeV.
    sha256 : str
        Of the files that hold them.
    """

    steps: Steps
    groups: MatterGroups
    highest_energy: float
    sha256: str = ""

    def in_gas_too(self) -> ElectronSteps:
        """The same, with nothing left to GATE."""
        return replace(self, groups=replace(self.groups, is_gas=np.zeros_like(self.groups.is_gas)))


@dataclass(frozen=True, slots=True)
class Replayed:
    """What becomes of charged particles along recorded steps.

    Attributes
    ----------
    run : GateRun
    left : PhaseSpace
        Those that came into a gas, where and as they did, or a share of them with so much more weight.
    left_in_batches : tuple of int
        How many of them each batch has.
    left_energy : float
        MeV, weighted, of all that came into a gas.
    """

    run: GateRun
    left: PhaseSpace
    left_in_batches: tuple[int, ...]
    left_energy: float


def replay_charged(
    charged: PhaseSpace,
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    electrons: ElectronSteps,
    *,
    seed: int,
    batches: Sequence[int],
    roulette: Roulette | None = None,
    survival_in_gas: float = 1.0,
    progress: Progress | None = None,
) -> Replayed:
    """What `run_gate` does with particles that photons set free, up to where they come into voxels of a gas.

    Photons that they radiate are followed as the patient's others are, and what these set free in turn, to the end. Air
    outside of the body is no gas here.

    Parameters
    ----------
    batches : sequence of int
        Particles of each batch.
    survival_in_gas : float, optional
        Probability with which a particle that comes into a gas is among those that are left, in the place of all.

    Raises
    ------
    SimulationError
        For a particle above the recorded tracks' energy, or energy that is not accounted for.
    """
    started = time.perf_counter()
    by_label = {material.label: row for row, material in enumerate(materials)}
    boxes = boxes_of(volumes, by_label, air_row=len(materials), roulette=roulette)
    matter = cross_sections.matter_of([*materials, air()])
    voxels = int(boxes.first[-1] + boxes.size[-1].prod())
    tally = np.zeros(TALLIES)
    rows = as_rows(charged)
    parts: list[tuple[FloatArray, FloatArray]] = []
    left: list[FloatArray] = []
    for number, (first, last) in enumerate(itertools.pairwise([0, *batch_ends_of(len(rows), list(batches))])):
        scores = Scores(np.zeros((voxels, SCORE_COLUMNS)), tally)
        scores.voxels[:, HISTORY] = -1
        of_photons = photon_kernel.Scores(np.zeros(voxels), np.zeros(voxels), np.zeros(photon_kernel.TALLIES))
        given, of_batch = rows[first:last], []
        for generation in range(_MOST_GENERATIONS):
            _check_energies(given, electrons.highest_energy)
            report = None if progress is None or generation else lambda done, first=first: progress(first + done)
            stream = _stream(seed, number, generation)
            out = _follow(given, electrons, survival_in_gas, boxes, matter, stream, scores, report)
            is_photon = out[:, photon_kernel.PDG] == photon_kernel.PHOTON_PDG
            photons = out[is_photon]
            of_batch.append(out[~is_photon])
            if not len(photons):
                break
            stream = _stream(seed, number, generation + _MOST_GENERATIONS)
            given = follow_batch(0, len(photons), photons, 1, boxes, matter, stream, of_photons)
        else:
            raise SimulationError(
                f"Electrons and photons set each other free more than {_MOST_GENERATIONS} times. Please report this "
                "with the configuration."
            )
        if of_photons.tally[photon_kernel.OVERFLOW] > 0:
            raise SimulationError("A photon set too many electrons free. Please report this with the configuration.")
        parts.append((scores.voxels[:, DEPOSITS] + of_photons.energy, scores.voxels[:, SQUARES] + of_photons.squared))
        left.append(np.concatenate(of_batch))
    _check(tally)
    logger.info("%d charged particles took %.0f recorded steps each", len(rows), tally[STEPS] / max(len(rows), 1))
    number = sum(len(one) for one in left)
    share = tally[LEFT] / max(tally[ENTERED], 1e-300)
    logger.info("%.3g of the energy came into a gas, and is left to GATE with %d particles", share, number)
    seconds = time.perf_counter() - started
    by_volume = _scores_of(parts, volumes, boxes.first)
    run = GateRun(
        by_volume,
        len(rows),
        0.0,
        seconds,
        peak_memory_mb(),
        electrons.sha256,
        shared_memory_mb=electrons.steps.megabytes,
    )
    batches_left = tuple(len(one) for one in left)
    return Replayed(run, as_phase_space(np.concatenate(left), charged), batches_left, float(tally[LEFT]))


def _check_energies(particles: FloatArray, highest: float) -> None:
    largest = float(particles[:, photon_kernel.ENERGY].max(initial=0.0))
    if largest > highest:
        raise SimulationError(
            f"A particle of {largest:.3g} MeV is set free, and electron steps are recorded up to {highest:g} MeV. Set "
            "transport.electron_transport to gate."
        )


def _follow(
    particles: FloatArray,
    electrons: ElectronSteps,
    survival_in_gas: float,
    boxes: photon_kernel.Boxes,
    matter: cross_sections.Matter,
    stream: np.uint64,
    scores: Scores,
    report: Callable[[int], None] | None,
) -> FloatArray:
    """Photons that the particles and what they set free radiate, and those of them that are left to GATE."""
    run = _compiled()
    out = np.empty((_BLOCK + MOST_WAITING, photon_kernel.COLUMNS))
    state = np.zeros(1, dtype=np.uint64)
    found = [np.empty((0, photon_kernel.COLUMNS))]
    groups = electrons.groups
    of_rows = kernel.Matter(
        groups.group, groups.length, groups.turn, matter.density, groups.is_gas, float(survival_in_gas)
    )
    done = 0
    while done < len(particles):
        until = min(done + _BLOCK, len(particles))
        kept, done = run(done, until, particles, electrons.steps, of_rows, boxes, stream, out, scores, state)
        found.append(out[:kept].copy())
        if report is not None:
            report(done)
    kernel.close_squares(scores.voxels)
    return np.concatenate(found)


def _check(tally: FloatArray) -> None:
    if tally[OVERFLOW] > 0:
        raise SimulationError(
            f"An electron set more than {MOST_WAITING} others free. Please report this with the configuration."
        )
    missing = tally[ENTERED] + tally[MASS] - tally[DEPOSITED] - tally[ESCAPED] - tally[PHOTONS] - tally[LEFT]
    if abs(missing) > _ENERGY_TOLERANCE * max(tally[ENTERED], 1e-300):
        raise SimulationError(
            f"{missing:.4g} of {tally[ENTERED]:.6g} MeV of electrons are not accounted for. Please report this with "
            "the configuration."
        )


def _scores_of(
    parts: Sequence[tuple[FloatArray, FloatArray]], volumes: Sequence[Volume], first: npt.NDArray[np.int64]
) -> tuple[Score, ...]:
    result = []
    for volume, begin in zip(volumes, first, strict=True):
        shape = volume.scoring_size[::-1]
        place = slice(int(begin), int(begin + np.prod(shape)))
        energies = tuple(energy[place].reshape(shape) for energy, _ in parts)
        squared = np.sum([square[place] for _, square in parts], axis=0).reshape(shape)
        result.append(Score(np.sum(energies, axis=0), squared, energies if len(parts) > 1 else ()))
    return tuple(result)


def _stream(seed: int, batch: int, generation: int) -> np.uint64:
    text = f"electrons {seed} {batch} {generation}"
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


@functools.cache
def _compiled() -> Callable[..., Any]:
    """The compiled kernel, kept on disk."""
    return _cached_kernel(digest_of_sources(random, photon_kernel, steps_module, kernel))


def _cached_kernel(digest_of_sources: int) -> Callable[..., Any]:
    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def run(
        first: int,
        last: int,
        particles: FloatArray,
        steps: Steps,
        matter: kernel.Matter,
        boxes: photon_kernel.Boxes,
        seed: np.uint64,
        out: FloatArray,
        scores: Scores,
        state: random.State,
    ) -> tuple[int, int]:
        # Captured, and so a part of numba's cache key.
        if digest_of_sources < 0:
            return 0, 0
        return kernel.follow_range(first, last, particles, steps, matter, boxes, seed, out, scores, state)

    kernel_function: Callable[..., Any] = run
    return kernel_function
