"""Photons of a phase space to the electrons and positrons that they set free in the patient."""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import digest_of_sources
from gatecheck.errors import SimulationError
from gatecheck.patient.model import Material
from gatecheck.transport.fast_head import compton, random
from gatecheck.transport.materials import air
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.photon_tracker import cross_sections, interactions, kernel
from gatecheck.transport.photon_tracker.kernel import (
    CHARGED,
    COLUMNS,
    ENERGY,
    ENTERED,
    ESCAPED,
    LABEL,
    LOCAL,
    MASS,
    MOST_PER_PHOTON,
    OVERFLOW,
    PDG,
    PHOTON_PDG,
    ROULETTE,
    STREAM,
    TALLIES,
    UNTOUCHED,
    WEIGHT,
    Boxes,
    Scores,
    U,
    X,
)
from gatecheck.transport.volumes import HomogeneousVolume, Volume, hull

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_ENERGY_TOLERANCE = 1e-6
_BLOCK = 400_000  # particles that the compiled code gives at a time


@dataclass(frozen=True, slots=True)
class Roulette:
    """Russian roulette of electrons set free too far from a box to reach it, and of photons scattered past it.

    Attributes
    ----------
    lower, upper : tuple of 3 floats
        Corners of the box, mm.
    survival : float
        Probability with which such an electron is followed, with its weight over that.
    photon_survival : float
        Likewise of such a photon.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    survival: float
    photon_survival: float = 1.0


@dataclass(frozen=True, slots=True)
class LocalDeposits:
    """Energy of electrons that could not leave their voxel, in one volume's scoring voxels, indexed [z, y, x].

    Attributes
    ----------
    energy_zyx : MeV, weighted
    energy_squared_zyx : sum of the squares of the single deposits, MeV²
    """

    energy_zyx: FloatArray
    energy_squared_zyx: FloatArray


@dataclass(frozen=True, slots=True)
class TrackedPhotons:
    """What photons leave behind in the patient.

    Attributes
    ----------
    charged : PhaseSpace
        Electrons and positrons where they were set free, and the phase space's own electrons where they
        were. In the order of the photons, so that parts of the photons are parts of it.
    deposits : tuple of tuple of LocalDeposits
        For each batch of photons, for each volume.
    batch_sizes : tuple of int
        Particles in `charged` of each batch.
    escaped, deposited, charged_energy : float
        Weighted MeV that left the patient, stayed where it was set free, and was given to charged particles.
    untouched : float
        Weight of the photons that left without an interaction.
    """

    charged: PhaseSpace
    deposits: tuple[tuple[LocalDeposits, ...], ...]
    batch_sizes: tuple[int, ...]
    escaped: float
    deposited: float
    charged_energy: float
    untouched: float


def track_photons(
    phase_space: PhaseSpace,
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    *,
    seed: int,
    score_on_the_spot: bool = True,
    copies: int = 1,
    batches: int = 1,
    roulette: Roulette | None = None,
    flights_of: Sequence[Material] | None = None,
) -> TrackedPhotons:
    """Follow every photon until it is absorbed or leaves, through boxes of voxels and the air around.

    Parameters
    ----------
    phase_space : PhaseSpace
        Photons outside of the volumes; its electrons are passed on.
    score_on_the_spot : bool
        Whether electrons that cannot leave their scoring voxel are deposited in it; otherwise all are passed on.
    copies : int
        Each photon is followed that many times, independently, with its weight shared.
    batches : int
        Equal parts of the phase space, in its order, that are scored apart.
    roulette : Roulette, optional
        Of electrons far from where the dose is of interest; without it all are followed.
    flights_of : sequence of Material, optional
        Nowhere thinner than the materials: flights are sampled with the largest attenuation of these, so that a photon
        goes as far as it does among them, and only whether it interacts there differs.

    Raises
    ------
    SimulationError
        When a volume holds a label that no material has.
    """
    by_label = {material.label: row for row, material in enumerate(materials)}
    boxes = boxes_of(volumes, by_label, air_row=len(materials), roulette=roulette)
    matter = cross_sections.matter_of([*materials, air()])
    if flights_of is not None:
        majorant = cross_sections.matter_of([*flights_of, air()]).majorant
        if np.any(majorant < matter.majorant):
            raise ValueError("flights have to be sampled with an attenuation that is nowhere exceeded")
        matter = matter._replace(majorant=majorant)
    if not score_on_the_spot:
        # No electron stays in an infinitely thin medium.
        matter = matter._replace(density=np.zeros_like(matter.density))
    particles = as_rows(phase_space)
    stream = _stream(seed)
    ends = np.linspace(0, len(particles), batches + 1).round().astype(int)
    voxels = int(boxes.first[-1] + boxes.size[-1].prod())
    parts: list[FloatArray] = []
    deposits, sizes = [], []
    tally = np.zeros(TALLIES)
    for first, last in itertools.pairwise(ends):
        scores = Scores(np.zeros(voxels), np.zeros(voxels), tally)
        parts.append(follow_batch(int(first), int(last), particles, copies, boxes, matter, stream, scores))
        sizes.append(len(parts[-1]))
        deposits.append(tuple(_deposits(scores, boxes, volumes)))
    if tally[OVERFLOW] > 0:
        raise SimulationError(
            f"A photon set more than {MOST_PER_PHOTON} electrons free. Please report this with the configuration."
        )
    gone = tally[ESCAPED] + tally[LOCAL] + tally[CHARGED] + tally[MASS] + tally[ROULETTE]
    missing = tally[ENTERED] - gone
    if abs(missing) > _ENERGY_TOLERANCE * tally[ENTERED]:
        raise SimulationError(
            f"{missing:.4g} of {tally[ENTERED]:.6g} MeV of photons are not accounted for. Please report this with the "
            "configuration."
        )
    rows = parts.pop() if len(parts) == 1 else _joined(parts)
    logger.info("%d particles set %d electrons and positrons free", len(particles), len(rows))
    return TrackedPhotons(
        charged=as_phase_space(rows, phase_space),
        deposits=tuple(deposits),
        batch_sizes=tuple(sizes),
        escaped=float(tally[ESCAPED]),
        deposited=float(tally[LOCAL]),
        charged_energy=float(tally[CHARGED]),
        untouched=float(tally[UNTOUCHED]),
    )


def follow_batch(
    first: int,
    last: int,
    particles: FloatArray,
    copies: int,
    boxes: Boxes,
    matter: cross_sections.Matter,
    stream: np.uint64,
    scores: Scores,
) -> FloatArray:
    """Charged particles of one batch; the phase space's own come first, in the order of the rest at random."""
    run = _compiled()
    is_photon = particles[first:last, PDG] == PHOTON_PDG
    # The head's own electrons are divided too: one of full weight among shared ones would be seen as a streak.
    electrons = np.repeat(particles[first:last][~is_photon], copies, axis=0)
    electrons[:, WEIGHT] /= copies
    # Copies fly apart; what was set free in the patient is followed once, and keeps the stream it was given.
    electrons[:, STREAM] = electrons[:, STREAM] * copies + np.tile(np.arange(copies), int((~is_photon).sum()))
    out = np.empty((_BLOCK + copies * MOST_PER_PHOTON, COLUMNS))
    state = np.zeros(1, dtype=np.uint64)
    parts = [electrons]
    # The compiled code skips what is no photon.
    photon = first
    while photon < last:
        kept, photon = run(photon, last, particles, copies, boxes, matter, stream, out, scores, state)
        parts.append(out[:kept].copy())
    return _joined(parts)


def _joined(parts: list[FloatArray]) -> FloatArray:
    """All rows in one array; each part is given up as soon as it is there, for they are the most that a chunk holds."""
    rows = np.empty((sum(len(part) for part in parts), COLUMNS))
    filled = 0
    parts.reverse()
    while parts:
        part = parts.pop()
        rows[filled : filled + len(part)] = part
        filled += len(part)
    return rows


def charged_of(
    particles: FloatArray, boxes: Boxes, matter: cross_sections.Matter, *, seed: int, copies: int = 1
) -> FloatArray:
    """Electrons and positrons that photons set free, (n, COLUMNS), for a score that is made elsewhere.

    Parameters
    ----------
    particles : ndarray of shape (m, COLUMNS)
        What is no photon is passed on. Everything carries the label of its photon. Their streams are not looked at:
        they have those of their places.
    """
    particles[:, STREAM] = np.arange(len(particles))
    voxels = int(boxes.first[-1] + boxes.size[-1].prod())
    scores = Scores(np.zeros(voxels), np.zeros(voxels), np.zeros(TALLIES))
    nothing_stays = matter._replace(density=np.zeros_like(matter.density))
    return follow_batch(0, len(particles), particles, copies, boxes, nothing_stays, _stream(seed), scores)


def _stream(seed: int) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(f"photons {seed}".encode()).digest()[:8], "little"))


def boxes_of(
    volumes: Sequence[Volume], by_label: dict[int, int], *, air_row: int, roulette: Roulette | None = None
) -> Boxes:
    """Volumes as compiled code knows them.

    Parameters
    ----------
    by_label : dict of int to int
        Rows of `Matter` by material label.
    """
    sizes = np.array([volume.scoring_size for volume in volumes], dtype=np.int64)
    counts = sizes.prod(axis=1)
    rows, first_label, single, filled = [], [], [], 0
    for volume in volumes:
        if isinstance(volume, HomogeneousVolume):
            first_label.append(-1)
            single.append(_row_of(volume.material_label, volume.name, by_label))
            continue
        first_label.append(filled)
        single.append(-1)
        rows.append(_rows_of(volume.labels_zyx, volume.name, by_label).ravel())
        filled += len(rows[-1])
    lower, upper = hull(volumes)
    return Boxes(
        lower=np.array([volume.lower for volume in volumes], dtype=float),
        spacing=np.array([volume.spacing for volume in volumes], dtype=float),
        size=sizes,
        first=np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64),
        first_label=np.array(first_label, dtype=np.int64),
        row=np.array(single, dtype=np.int64),
        rows=np.concatenate(rows) if rows else np.zeros(1, np.uint16),
        hull_lower=lower.astype(float),
        hull_upper=upper.astype(float),
        air=air_row,
        near_lower=lower.astype(float) if roulette is None else np.array(roulette.lower, dtype=float),
        near_upper=upper.astype(float) if roulette is None else np.array(roulette.upper, dtype=float),
        far_survival=1.0 if roulette is None else roulette.survival,
        far_photon_survival=1.0 if roulette is None else roulette.photon_survival,
    )


def _row_of(label: int, name: str, by_label: dict[int, int]) -> int:
    if label not in by_label:
        raise SimulationError(f"Volume {name}: no material for label {label}. Run voxelise again.")
    return by_label[label]


def _rows_of(labels: npt.NDArray[np.uint16], name: str, by_label: dict[int, int]) -> npt.NDArray[np.uint16]:
    present = np.unique(labels)
    table = np.zeros(int(present.max()) + 1, dtype=np.uint16)
    for label in present:
        table[label] = _row_of(int(label), name, by_label)
    return np.asarray(table[labels])


def as_rows(phase_space: PhaseSpace) -> FloatArray:
    rows = np.empty((len(phase_space), COLUMNS))
    rows[:, ENERGY] = phase_space.energy
    rows[:, X : X + 3] = phase_space.position
    rows[:, U : U + 3] = phase_space.direction
    rows[:, WEIGHT] = phase_space.weight
    rows[:, PDG] = phase_space.pdg_code
    place = np.arange(len(phase_space))
    rows[:, LABEL] = place if phase_space.history is None else phase_space.history
    rows[:, STREAM] = place if phase_space.stream is None else phase_space.stream
    return rows


def as_phase_space(rows: FloatArray, phase_space: PhaseSpace) -> PhaseSpace:
    return replace(
        phase_space,
        pdg_code=rows[:, PDG].astype(np.int32),
        energy=rows[:, ENERGY].copy(),
        position=rows[:, X : X + 3].copy(),
        direction=rows[:, U : U + 3].copy(),
        weight=rows[:, WEIGHT].copy(),
        beam_number=np.zeros(len(rows), dtype=np.int32),
        stream=rows[:, STREAM].astype(np.int64),
        history=rows[:, LABEL].astype(np.int64),
    )


def _deposits(scores: Scores, boxes: Boxes, volumes: Sequence[Volume]) -> list[LocalDeposits]:
    result = []
    for volume, first in zip(volumes, boxes.first, strict=True):
        shape = volume.scoring_size[::-1]
        place = slice(int(first), int(first + np.prod(shape)))
        result.append(LocalDeposits(scores.energy[place].reshape(shape), scores.squared[place].reshape(shape)))
    return result


@functools.cache
def _compiled() -> Callable[..., Any]:
    """The compiled kernel, kept on disk."""
    return _cached_kernel(digest_of_sources(compton, random, cross_sections, interactions, kernel))


def _cached_kernel(digest_of_sources: int) -> Callable[..., Any]:
    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def run(
        first: int,
        last: int,
        particles: FloatArray,
        copies: int,
        boxes: Boxes,
        matter: cross_sections.Matter,
        seed: np.uint64,
        out: FloatArray,
        scores: Scores,
        state: random.State,
    ) -> tuple[int, int]:
        # Captured, and so a part of numba's cache key.
        if digest_of_sources < 0:
            return 0, 0
        return kernel.follow_range(first, last, particles, copies, boxes, matter, seed, out, scores, state)

    kernel_function: Callable[..., Any] = run
    return kernel_function
