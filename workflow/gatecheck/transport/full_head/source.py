"""The fast head's source photons and electrons, sorted by segment and with weights fit for the engine."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
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
from gatecheck.transport import gate_run
from gatecheck.transport.fast_head import collimation, compton, emission, proposal, random, rays, tables
from gatecheck.transport.fast_head.collimation import looked_up, metal_intervals, metal_lengths
from gatecheck.transport.fast_head.rays import (
    PHOTON_PDG,
    RAY_COLUMNS,
    RAY_ENERGY,
    RAY_IS_FOCUSED,
    RAY_PDG,
    RAY_SHARE,
    RAY_SLOPE_X,
    RAY_SLOPE_Y,
    RAY_START,
    RAY_STRETCH,
    RAY_WEIGHT,
    RAY_X0,
    RAY_Y0,
)
from gatecheck.transport.fast_head.sample import LEAKAGE_WEIGHT, emitted_rays, plan_emission

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Photons behind metal are split so that what comes through has a weight near the leakage's, but the deeper
# the metal, the fewer: half of its logarithm balances their cost against the spread of weights.
_DEPTH_SHARE = 0.5
# More copies of one photon than this bring little: they share where they start.
_MOST_COPIES = 64
_DEEPEST = 100.0  # mean free paths; of no more interest, and the exponential stays a number
# However deep the metal, one in so many is followed: what is rarer would come out with a weight that upsets all.
_LEAST_CHANCE = 0.1
_CLOSED_LEAF = 7.0  # mean free paths: above those of a closed leaf at any energy that gets through it


@dataclass(frozen=True, slots=True)
class EngineSource:
    """Particles for the engine, segment after segment.

    Attributes
    ----------
    rows : ndarray of shape (n, RAY_COLUMNS)
        See gatecheck.transport.fast_head.rays; weights are shared among copies.
    meets_metal : ndarray of shape (n,), bool
        Whether the straight ray runs through a jaw or leaf.
    first : ndarray of shape (n_segments + 1,)
        Where each segment's particles begin in `rows`.
    emitted : float
        Weight of the photons before splitting and roulette.
    nominal_photons : float
        As `PhaseSpace.nominal_photons`.
    """

    rows: FloatArray
    meets_metal: npt.NDArray[np.bool_]
    first: IntArray
    emitted: float
    nominal_photons: float


def source_for_engine(
    delivery: Delivery,
    linac: LinacModel,
    histories: int,
    seed: int,
    *,
    leaf_weight: float = math.inf,
    jaw_weight: float = math.inf,
) -> EngineSource:
    """Emit the rays of a delivery of static segments and prepare them for the engine.

    Photons aimed at an opening keep their weight of 1, those at its rim and the thin sample are split to
    about the leakage's weight. Splitting and roulette are by expectation: no fluence changes.

    Parameters
    ----------
    leaf_weight, jaw_weight : float
        Largest weight of a photon behind no more metal than a closed leaf, and behind more, for a caller to whom
        the noise of what comes through matters more than the time it takes.

    Raises
    ------
    UnsupportedPlanError, ValueError
        As `sample_phase_space` of the fast head.
    """
    plan = plan_emission(delivery, linac, histories)
    stretches = plan.setting.stretches
    segments = len(stretches.node)
    if len(np.unique(stretches.node)) != segments:
        raise ValueError("the delivery's segments are not static: the fast head divides them further")
    depth_of = _compiled()
    parts, depths = [], []
    for emitted in emitted_rays(plan, seed):
        depth = np.empty(len(emitted.rows))
        pairs = len(plan.setting.head.side_position) - 1
        depth_of(
            emitted.rows,
            stretches,
            plan.setting.nodes,
            plan.setting.head,
            np.empty((6 * pairs + 8, 2)),
            depth,
        )
        parts.append(emitted.rows)
        depths.append(depth)
    rows = np.concatenate(parts) if parts else np.empty((0, RAY_COLUMNS))
    depth = np.concatenate(depths) if depths else np.empty(0)
    emitted_weight = float(rows[rows[:, RAY_PDG] == PHOTON_PDG, RAY_WEIGHT].sum())
    order = np.argsort(rows[:, RAY_STRETCH], kind="stable")
    rows, depth = rows[order], depth[order]
    weight_in_parts = parts_of(rows, depth, leaf_weight, jaw_weight)
    copies = copies_of(weight_in_parts, np.random.default_rng([seed, 2]))
    rows[:, RAY_WEIGHT] /= weight_in_parts
    rows, meets_metal = np.repeat(rows, copies, axis=0), np.repeat(depth > 0, copies)
    first = np.searchsorted(rows[:, RAY_STRETCH], np.arange(segments + 1)).astype(np.int64)
    return EngineSource(rows, meets_metal, first, emitted_weight, plan.nominal_photons)


def parts_of(
    rows: FloatArray, depth: FloatArray, leaf_weight: float = math.inf, jaw_weight: float = math.inf
) -> FloatArray:
    """In how many parts each ray's weight goes on average, shape (n,); below 1 stands for roulette.

    Parameters
    ----------
    rows : ndarray of shape (n, RAY_COLUMNS)
    depth : ndarray of shape (n,)
        Mean free paths of metal along the straight ray.
    leaf_weight, jaw_weight : float
        See `source_for_engine`.
    """
    heavy = (rows[:, RAY_IS_FOCUSED] == 0) & (rows[:, RAY_WEIGHT] > LEAKAGE_WEIGHT)
    # Electrons end in metal, and photons that meet none stay whole until they are handed on.
    behind = heavy & (depth > 0) & (rows[:, RAY_PDG] == PHOTON_PDG)
    parts = np.ones(len(rows))
    wanted = LEAKAGE_WEIGHT * np.exp(_DEPTH_SHARE * np.minimum(depth[behind], _DEEPEST))
    parts[behind] = np.clip(rows[behind, RAY_WEIGHT] / wanted, _LEAST_CHANCE, _MOST_COPIES)
    # Rims are where scatter comes from, whatever lies ahead of the straight ray.
    rim = behind & (rows[:, RAY_WEIGHT] <= proposal.RIM_WEIGHT)
    parts[rim] = rows[rim, RAY_WEIGHT] / LEAKAGE_WEIGHT
    largest = np.where(depth < _CLOSED_LEAF, leaf_weight, jaw_weight)[behind]
    parts[behind] = np.maximum(parts[behind], rows[behind, RAY_WEIGHT] / largest)
    return np.where(parts > 1.0, np.ceil(parts), parts)


def copies_of(parts: FloatArray, random_numbers: np.random.Generator) -> IntArray:
    """How often each ray is followed, shape (n,): 0 where it lost the roulette."""
    survives = random_numbers.random(len(parts)) < parts
    copies: IntArray = np.where(parts >= 1.0, parts, survives).astype(np.int64)
    return copies


def as_geant4_reads(rows: FloatArray, axis_distance: float) -> dict[str, npt.NDArray[Any]]:
    """The particles' starts in the beam limiting device system, by the names of GATE's phase-space source."""
    start, slope_x, slope_y = rows[:, RAY_START], rows[:, RAY_SLOPE_X], rows[:, RAY_SLOPE_Y]
    position = np.stack(
        [rows[:, RAY_X0] + slope_x * start, rows[:, RAY_Y0] + slope_y * start, axis_distance - start], axis=1
    )
    direction = np.stack([slope_x, slope_y, np.full(len(rows), -1.0)], axis=1)
    return gate_run.as_geant4_reads(
        pdg_code=rows[:, RAY_PDG],
        energy=rows[:, RAY_ENERGY],
        weight=rows[:, RAY_WEIGHT],
        position=position,
        direction=direction / np.linalg.norm(direction, axis=1, keepdims=True),
    )


@functools.cache
def _compiled() -> Callable[..., None]:
    """The compiled kernel for the depth of metal, kept on disk."""
    sources = (collimation, compton, coordinates, emission, geometry, proposal, random, rays, tables)
    return _cached_kernel(digest_of_sources(*sources))


def _cached_kernel(digest: int) -> Callable[..., None]:
    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def depth_of_metal(  # noqa: PLR0917 - compiled code knows arguments by place
        rows: FloatArray,
        stretches: proposal.Stretches,
        nodes: tables.Nodes,
        head: tables.Head,
        intervals: FloatArray,
        depth: FloatArray,
    ) -> None:
        # Captured, and so a part of numba's cache key.
        if digest < 0:
            return
        for place in range(len(rows)):
            row = int(rows[place, RAY_STRETCH])
            slope_x, slope_y = rows[place, RAY_SLOPE_X], rows[place, RAY_SLOPE_Y]
            in_jaws, count = metal_intervals(
                head,
                nodes,
                stretches.node[row],
                rows[place, RAY_SHARE],
                stretches.has_leaves[row],
                rows[place, RAY_X0],
                slope_x,
                rows[place, RAY_Y0],
                slope_y,
                rows[place, RAY_START],
                intervals,
            )
            jaws, leaves = metal_lengths(intervals, in_jaws, count)
            energy = max(rows[place, RAY_ENERGY], head.lowest_energy)
            depth[place] = math.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y) * (
                jaws * looked_up(head.jaw_removal, energy, head.lowest_energy)
                + leaves * looked_up(head.leaf_removal, energy, head.lowest_energy)
            )

    return depth_of_metal
