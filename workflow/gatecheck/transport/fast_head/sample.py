"""Sampling the phase space of a delivery below the collimators."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.delivery import coordinates
from gatecheck.delivery.model import Delivery
from gatecheck.linac import geometry
from gatecheck.linac.model import LinacModel
from gatecheck.transport.compiled import digest_of_sources
from gatecheck.transport.fast_head import compton, kernel, proposal, random, tables
from gatecheck.transport.fast_head.kernel import BEAM, COLUMNS, ENERGY, FATES, PDG, WEIGHT, U, Work, X, sample_range
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
_BLOCK = 400_000


def sample_phase_space(delivery: Delivery, linac: LinacModel, histories: int, seed: int) -> PhaseSpace:
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

    Raises
    ------
    UnsupportedPlanError
        When the delivery was not made for this machine.
    ValueError
        When histories is below 1 or the delivery has no meterset.
    """
    if histories < 1:
        raise ValueError(f"{histories} histories asked for, at least 1 is needed")
    if delivery.total_meterset <= 0:
        raise ValueError("the delivery has no meterset")
    nodes, first_nodes = tables.nodes_of(delivery, linac)
    head, source = tables.head_of(linac), tables.source_of(linac)
    stretches = proposal.stretches_of(delivery, first_nodes, linac)
    chances = proposal.chances(stretches, source, head.axis_distance).ravel()
    chance = max(float(chances.sum()), _SMALLEST_CHANCE)
    aimed, thin = _divided(histories, chance)
    nominal_photons = aimed / chance if aimed else thin
    aimed = round(aimed * float(chances.sum()) / chance)
    emission = float(stretches.emission.sum())
    thin_weight = nominal_photons * emission * float(source.number.sum()) / thin if thin else 0.0
    tally = np.zeros(len(FATES))
    particles = _run(
        aimed,
        thin,
        np.cumsum(chances),
        np.cumsum(stretches.emission),
        thin_weight,
        stretches,
        nodes,
        head,
        source,
        seed,
        tables.position_code(delivery),
        tally,
    )
    shuffled = particles[np.random.default_rng([seed, 1]).permutation(len(particles))]
    logger.info("Fast head: %d source photons gave %d particles", histories, len(shuffled))
    return PhaseSpace(
        pdg_code=shuffled[:, PDG].astype(np.int32),
        energy=shuffled[:, ENERGY].copy(),
        position=shuffled[:, X : X + 3].copy(),
        direction=shuffled[:, U : U + 3].copy(),
        weight=shuffled[:, WEIGHT].copy(),
        beam_number=shuffled[:, BEAM].astype(np.int32),
        histories=histories,
        nominal_photons=float(nominal_photons),
        fates=dict(zip(FATES, tally.tolist(), strict=True)),
    )


def _divided(histories: int, chance: float) -> tuple[int, int]:
    """Photons aimed at the openings, and photons of the thin sample of everything else."""
    ratio = _TYPICAL_LEAKAGE / (LEAKAGE_WEIGHT * chance)
    share = min(max(ratio / (1 + ratio), _THIN_SHARE[0]), _THIN_SHARE[1])
    thin = min(histories, max(1, round(histories * share)))
    return histories - thin, thin


def _run(
    aimed: int,
    thin: int,
    cumulative: FloatArray,
    cumulative_thin: FloatArray,
    thin_weight: float,
    stretches: proposal.Stretches,
    nodes: tables.Nodes,
    head: tables.Head,
    source: tables.Source,
    seed: int,
    code: int,
    tally: FloatArray,
) -> FloatArray:
    pairs = len(head.side_position) - 1
    work = Work(np.zeros(1, dtype=np.uint64), np.empty((6 * pairs + 8, 2)), tally)
    stream = np.uint64(int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8], "little"))
    buffer = np.empty((_BLOCK, COLUMNS))
    parts = []
    photon, total = 0, aimed + thin
    run = _compiled()
    while photon < total:
        kept, photon = run(
            photon,
            total,
            aimed,
            cumulative,
            cumulative_thin,
            thin_weight,
            LEAKAGE_WEIGHT,
            stretches,
            nodes,
            head,
            source,
            stream,
            code,
            buffer,
            work,
        )
        parts.append(buffer[:kept].copy())
    return np.concatenate(parts) if parts else np.empty((0, COLUMNS))


@functools.cache
def _compiled() -> Callable[..., Any]:
    """The compiled kernel, kept on disk."""
    return _cached_kernel(digest_of_sources(coordinates, geometry, compton, kernel, proposal, random, tables))


def _cached_kernel(digest_of_sources: int) -> Callable[..., Any]:
    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def run(
        first: int,
        last: int,
        aimed: int,
        cumulative: FloatArray,
        cumulative_thin: FloatArray,
        thin_weight: float,
        thin_target: float,
        stretches: proposal.Stretches,
        nodes: tables.Nodes,
        head: tables.Head,
        source: tables.Source,
        seed: np.uint64,
        code: int,
        particles: FloatArray,
        work: Work,
    ) -> tuple[int, int]:
        # Captured, and so a part of numba's cache key.
        if digest_of_sources < 0:
            return 0, 0
        return sample_range(
            first,
            last,
            aimed,
            cumulative,
            cumulative_thin,
            thin_weight,
            thin_target,
            stretches,
            nodes,
            head,
            source,
            seed,
            code,
            particles,
            work,
        )

    kernel_function: Callable[..., Any] = run
    return kernel_function
