"""Sampling the phase space of a delivery below the collimators: rays of the source, then jaws and leaves."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import digest_of_sources
from gatecheck.delivery import coordinates
from gatecheck.delivery.model import Delivery
from gatecheck.linac import geometry
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head import collimation, compton, emission, proposal, random, rays, tables
from gatecheck.transport.fast_head.collimation import (
    BEAM,
    COLUMNS,
    ENERGY,
    FATES,
    LABEL,
    MOST_PER_RAY,
    PDG,
    WEIGHT,
    U,
    Work,
    X,
    collimate_range,
)
from gatecheck.transport.fast_head.emission import EVEN_DIMENSIONS, Aim, emit_range
from gatecheck.transport.fast_head.other_delivery import OtherDelivery, ratio_of_particles
from gatecheck.transport.fast_head.rays import RAY_COLUMNS
from gatecheck.transport.model import PhaseSpace

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

# Weight of leakage photons relative to those through an opening: leakage doses a few parts in a
# thousand, and a photon of weight 5 costs a fifth of five photons to transport.
LEAKAGE_WEIGHT = 5.0

# Largest usual transmission of what is not open; sets how thinly the rest of the solid angle is sampled.
_TYPICAL_LEAKAGE = 0.006
_THIN_SHARE = (0.05, 0.5)
# Where hardly anything is open, the delivery is treated as if this much were: leakage keeps its weight.
_SMALLEST_CHANCE = 5e-4
_BLOCK = 400_000  # particles that the compiled code gives at a time
_RAYS = 100_000  # rays made at a time


@dataclass(frozen=True, slots=True)
class Aimed:
    """What source photons are sampled for, where it is not what they are sent through."""

    delivery: Delivery
    linac: LinacModel


def sample_phase_space(
    delivery: Delivery, linac: LinacModel, histories: int, seed: int, *, aimed: Aimed | None = None
) -> PhaseSpace:
    """Bring source photons through jaws and leaves, each at its moment of the delivery.

    Moments are stratified: the delivery's metersets, all beams one after another, are divided into as
    many equally likely parts as there are photons, with one photon in each. The particles are then
    shuffled, so that any leading part of the phase space covers the whole delivery.

    Particles cross the plane at the machine's exit_plane, at their moment. Those through an opening have
    weight 1; leakage and scatter from elsewhere has weight 5 or (where that is much) less.

    Parameters
    ----------
    delivery : Delivery
    linac : LinacModel
    histories : int
        Source photons to sample.
    seed : int
        The same seed gives the same phase space, bit for bit.
    aimed : Aimed, optional
        Send the photons through that were sampled for another delivery or another state of the machine: see
        `gatecheck.transport.fast_head.other_delivery`.

    Raises
    ------
    UnsupportedPlanError
        When the delivery was not made for this machine.
    ValueError
        When histories is below 1, the delivery has no meterset, or the other delivery's beams are not the same.
    """
    of_photons = aimed or Aimed(delivery, linac)
    emission_plan = plan_emission(of_photons.delivery, of_photons.linac, histories)
    tally = np.zeros(len(FATES))
    if aimed is None:
        parts = [
            particles
            for emitted in emitted_rays(emission_plan, seed)
            for particles in collimated(emitted, emission_plan.setting, tally)
        ]
    else:
        parts = list(_through_another(delivery, linac, aimed.delivery, emission_plan, seed, tally))
    particles = np.concatenate(parts) if parts else np.empty((0, COLUMNS))
    streams = _streams(particles[:, LABEL].astype(np.int64))
    order = np.random.default_rng([seed, 1]).permutation(len(particles))
    shuffled = particles[order]
    logger.info("Fast head: %d source photons gave %d particles", histories, len(shuffled))
    return PhaseSpace(
        pdg_code=shuffled[:, PDG].astype(np.int32),
        energy=shuffled[:, ENERGY].copy(),
        position=shuffled[:, X : X + 3].copy(),
        direction=shuffled[:, U : U + 3].copy(),
        weight=shuffled[:, WEIGHT].copy(),
        beam_number=shuffled[:, BEAM].astype(np.int32),
        histories=histories,
        nominal_photons=emission_plan.nominal_photons,
        fates=dict(zip(FATES, tally.tolist(), strict=True)),
        stream=streams[order],
    )


def _through_another(
    delivery: Delivery,
    linac: LinacModel,
    aimed: Delivery,
    emission_plan: EmissionPlan,
    seed: int,
    tally: FloatArray,
) -> Iterator[FloatArray]:
    setting = setting_of(delivery, linac)
    other = OtherDelivery.between(aimed, emission_plan.setting.stretches, delivery, setting.stretches)
    for emitted in emitted_rays(emission_plan, seed):
        rows, ratio = other.carried_over(emitted.rows)
        for particles in collimated(Rays(rows, emitted.states), setting, tally):
            # Behind the head, where roulette and splitting have been: the same in both deliveries.
            particles[:, WEIGHT] *= ratio_of_particles(rows, ratio, particles)
            yield particles


def _streams(photons: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each particle a number from its source photon's and its own place among that photon's particles.

    Parameters
    ----------
    photons : ndarray of shape (n,)
        Source photons' numbers, the particles of one next to each other.
    """
    begins = np.concatenate([[True], photons[1:] != photons[:-1]])
    first = np.maximum.accumulate(np.where(begins, np.arange(len(photons)), 0))
    return np.asarray(photons * MOST_PER_RAY + np.arange(len(photons)) - first)


@dataclass(frozen=True, slots=True)
class Setting:
    """A delivery on a machine, as compiled code knows it."""

    stretches: proposal.Stretches
    nodes: tables.Nodes
    head: tables.Head
    position_code: int


@dataclass(frozen=True, slots=True)
class EmissionPlan:
    """How many photons of the source go where.

    Attributes
    ----------
    histories : int
        Photons that are aimed, of which some are not emitted.
    nominal_photons : float
        As `PhaseSpace.nominal_photons`.
    """

    setting: Setting
    source: tables.Source
    aim: Aim
    histories: int
    nominal_photons: float


@dataclass(frozen=True, slots=True)
class Rays:
    """Photons and electrons of the source.

    Attributes
    ----------
    rows : ndarray of shape (n, RAY_COLUMNS)
        See gatecheck.transport.fast_head.rays.
    states : ndarray of shape (n,), uint64
        Each one's random numbers, to be gone on with.
    """

    rows: FloatArray
    states: npt.NDArray[np.uint64]


def setting_of(delivery: Delivery, linac: LinacModel) -> Setting:
    """A delivery and a machine as arrays.

    Raises
    ------
    UnsupportedPlanError
        When the delivery was not made for this machine.
    ValueError
        When the delivery has no meterset.
    """
    if delivery.total_meterset <= 0:
        raise ValueError("the delivery has no meterset")
    nodes, first_nodes = tables.nodes_of(delivery, linac)
    stretches = proposal.stretches_of(delivery, first_nodes, linac)
    return Setting(stretches, nodes, tables.head_of(linac), tables.position_code(delivery))


def plan_emission(
    delivery: Delivery, linac: LinacModel, histories: int, *, source: tables.Source | None = None
) -> EmissionPlan:
    """Share source photons out over the delivery and over what is open in it.

    Parameters
    ----------
    source : Source, optional
        Distributions to sample instead of the machine's, for a caller that corrects the weights.

    Raises
    ------
    UnsupportedPlanError, ValueError
        As `sample_phase_space`.
    """
    if histories < 1:
        raise ValueError(f"{histories} histories asked for, at least 1 is needed")
    setting, source = setting_of(delivery, linac), source or tables.source_of(linac)
    chances = proposal.chances(setting.stretches, source, setting.head.axis_distance).ravel()
    chance = max(float(chances.sum()), _SMALLEST_CHANCE)
    aimed, thin = _divided(histories, chance)
    nominal_photons = aimed / chance if aimed else thin
    aimed = round(aimed * float(chances.sum()) / chance)
    emission = setting.stretches.emission
    thin_weight = nominal_photons * float(emission.sum()) * float(source.number.sum()) / thin if thin else 0.0
    aim = Aim(aimed, np.cumsum(chances), np.cumsum(emission), thin_weight, np.empty(0))
    return EmissionPlan(setting, source, aim, aimed + thin, float(nominal_photons))


def emitted_rays(plan: EmissionPlan, seed: int, *, evenly: bool = False) -> Iterator[Rays]:
    """The source's photons and electrons, in the order of the delivery: first the aimed ones, then the thin sample.

    Parameters
    ----------
    evenly : bool
        Spread places, fluence and energies evenly instead of by chance (`emission.even_spread`): less noise, which only
        the spread of results with several seeds tells.
    """
    emit, _ = _compiled()
    aim = plan.aim
    if evenly:
        aim = aim._replace(lattice=np.random.default_rng([seed, 2]).random(EVEN_DIMENSIONS))
    stream = np.uint64(int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8], "little"))
    rows, states = np.empty((_RAYS, RAY_COLUMNS)), np.empty(_RAYS, dtype=np.uint64)
    setting = plan.setting
    for first in range(0, plan.histories, _RAYS):
        last = min(first + _RAYS, plan.histories)
        count = emit(
            first,
            last,
            plan.histories,
            aim,
            setting.stretches,
            setting.nodes,
            setting.head,
            plan.source,
            stream,
            rows,
            states,
        )
        yield Rays(rows[:count].copy(), states[:count].copy())


def collimated(rays: Rays, setting: Setting, tally: FloatArray) -> Iterator[FloatArray]:
    """Particles below the collimators, (n, COLUMNS) at a time; adds to the tally of fates."""
    _, collimate = _compiled()
    pairs = len(setting.head.side_position) - 1
    work = Work(np.zeros(1, dtype=np.uint64), np.empty((6 * pairs + 8, 2)), tally, np.zeros(3))
    particles = np.empty((_BLOCK, COLUMNS))
    done = 0
    while done < len(rays.rows):
        kept, done = collimate(
            done,
            len(rays.rows),
            LEAKAGE_WEIGHT,
            rays.rows,
            rays.states,
            setting.stretches,
            setting.nodes,
            setting.head,
            setting.position_code,
            particles,
            work,
        )
        yield particles[:kept].copy()


def _divided(histories: int, chance: float) -> tuple[int, int]:
    """Photons aimed at the openings, and photons of the thin sample of everything else."""
    ratio = _TYPICAL_LEAKAGE / (LEAKAGE_WEIGHT * chance)
    share = min(max(ratio / (1 + ratio), _THIN_SHARE[0]), _THIN_SHARE[1])
    thin = min(histories, max(1, round(histories * share)))
    return histories - thin, thin


@functools.cache
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The compiled kernels for emission and collimation, kept on disk."""
    sources = (collimation, compton, coordinates, emission, geometry, proposal, random, rays, tables)
    return _cached_kernels(digest_of_sources(*sources))


def _cached_kernels(digest_of_sources: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def emit(
        first: int,
        last: int,
        total: int,
        aim: Aim,
        stretches: proposal.Stretches,
        nodes: tables.Nodes,
        head: tables.Head,
        source: tables.Source,
        seed: np.uint64,
        rows: FloatArray,
        states: npt.NDArray[np.uint64],
    ) -> int:
        # Captured, and so a part of numba's cache key.
        if digest_of_sources < 0:
            return 0
        return emit_range(
            first, last, total, aim, stretches, nodes, head, source, seed, rows, states, np.zeros(1, np.uint64)
        )

    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def collimate(
        first: int,
        last: int,
        thin_target: float,
        rows: FloatArray,
        states: npt.NDArray[np.uint64],
        stretches: proposal.Stretches,
        nodes: tables.Nodes,
        head: tables.Head,
        code: int,
        particles: FloatArray,
        work: Work,
    ) -> tuple[int, int]:
        if digest_of_sources < 0:
            return 0, 0
        return collimate_range(first, last, thin_target, rows, states, stretches, nodes, head, code, particles, work)

    return emit, collimate
