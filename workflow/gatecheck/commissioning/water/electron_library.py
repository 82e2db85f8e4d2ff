"""Where electrons in water leave their energy, from GATE: made once, used for every field.

In a homogeneous medium an electron's mean deposit depends only on its energy, its starting point and its
direction. For a few energies GATE simulates electrons in water; the deposit is kept as a few thousand
points of equal energy, in lengths relative to the electron's reach. A field's dose then needs no more
electron transport: each electron that a photon sets free picks points.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.config_transport import TransportConfig
from gatecheck.files import sha256_of_json, write_atomically
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.gate import run_gate
from gatecheck.transport.materials import water
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.photon_tracker.kernel import longest_range
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.volumes import HomogeneousVolume

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

ENERGIES = tuple(float(energy) for energy in np.geomspace(0.05, 8.0, 16))
ELECTRONS = 6_000  # of each energy
POINTS = 8_192  # of each energy
_PROCESSES = 2
_VERSION = 1  # of the file and of how it is made

# The scoring grid in units of the electron's reach, the electron starting at the origin along +z.
_LATERAL, _BEHIND, _AHEAD, _VOXEL = 0.85, 0.6, 1.05, 0.025
_BETWEEN_BOXES = 40.0  # mm


@dataclass(frozen=True, slots=True)
class ElectronLibrary:
    """Deposits of electrons in water.

    Attributes
    ----------
    energy : ndarray of shape (n,)
        MeV, on a logarithmic scale.
    reach : ndarray of shape (n,)
        Length by which the points are scaled, mm.
    radiated : ndarray of shape (n,)
        Share of the energy that does not stay within reach: bremsstrahlung.
    points : ndarray of shape (n, m, 2)
        Places of equal energy: along the electron's first direction, and across it, in units of `reach`.
    """

    energy: FloatArray
    reach: FloatArray
    radiated: FloatArray
    points: FloatArray


def electron_library(settings: TransportConfig, folder: Path, *, electrons: int = ELECTRONS) -> ElectronLibrary:
    """The library for these physics settings, read from `folder` where it has been made before.

    Raises
    ------
    SimulationError
        When GATE fails.
    """
    key = sha256_of_json(
        {
            "engine": describe_engine(settings).model_dump(),
            "energies": list(ENERGIES),
            "electrons": electrons,
            "points": POINTS,
            "version": _VERSION,
        }
    )
    path = folder / f"electrons-{key[:16]}.npz"
    if path.exists():
        with np.load(path) as stored:
            return ElectronLibrary(**{name: stored[name] for name in ("energy", "reach", "radiated", "points")})
    library = _made(settings, electrons)
    with write_atomically(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, energy=library.energy, reach=library.reach, radiated=library.radiated, points=library.points
        )
    return library


def reach_of(energy: float) -> float:
    """Length, mm, that no electron in water exceeds; deposits are kept relative to it."""
    return float(longest_range(energy, 1.0))


def _made(settings: TransportConfig, electrons: int) -> ElectronLibrary:
    # Every other energy for each process: the high ones take longest.
    shares = [ENERGIES[start::_PROCESSES] for start in range(_PROCESSES)]
    requests = [
        {"energies": share, "electrons": electrons, "settings": settings, "seed": 4001 + index}
        for index, share in enumerate(shares)
    ]
    made: dict[float, tuple[float, FloatArray]] = {}
    for share, grids in zip(shares, run_in_processes(simulate_electrons, requests, processes=_PROCESSES), strict=True):
        made.update(zip(share, grids, strict=True))
    logger.info("electrons of %d energies in water simulated", len(made))
    return ElectronLibrary(
        energy=np.array(ENERGIES),
        reach=np.array([reach_of(energy) for energy in ENERGIES]),
        radiated=np.array([1.0 - made[energy][0] for energy in ENERGIES]),
        points=np.array([made[energy][1] for energy in ENERGIES]),
    )


def simulate_electrons(
    *, energies: Sequence[float], electrons: int, settings: TransportConfig, seed: int
) -> list[tuple[float, FloatArray]]:
    """For each energy: the share of the energy that is deposited nearby, and points of equal energy.

    Each energy has a box of water of its own, far enough from the others; in this process.
    """
    boxes = _boxes(energies)
    number = electrons * len(energies)
    starts = np.array([box.lower for box in boxes]) + np.array(
        [reach_of(energy) * np.array([_LATERAL, _LATERAL, _BEHIND]) for energy in energies]
    )
    run = run_gate(
        volumes=boxes,
        materials=[water()],
        phase_space=PhaseSpace(
            pdg_code=np.full(number, 11, np.int32),
            energy=np.repeat(np.asarray(energies), electrons),
            position=np.repeat(starts, electrons, axis=0),
            direction=np.tile([0.0, 0.0, 1.0], (number, 1)),
            weight=np.ones(number),
            beam_number=np.zeros(number, np.int32),
            histories=number,
            nominal_photons=float(number),
        ),
        settings=settings,
        seed=seed,
        starts_inside=True,
    )
    random = np.random.default_rng(seed)
    return [
        (float(score.energy_zyx.sum()) / (electrons * energy), _points(score.energy_zyx, random))
        for score, energy in zip(run.scores, energies, strict=True)
    ]


def _boxes(energies: Sequence[float]) -> list[HomogeneousVolume]:
    boxes, start = [], 0.0
    across = round(2 * _LATERAL / _VOXEL)
    along = round((_AHEAD + _BEHIND) / _VOXEL)
    for energy in energies:
        reach = reach_of(energy)
        width = 2 * _LATERAL * reach
        boxes.append(
            HomogeneousVolume(
                name=f"water for electrons of {energy:.3g} MeV",
                material_label=0,
                lower=(start, 0.0, 0.0),
                upper=(start + width, width, (_AHEAD + _BEHIND) * reach),
                scoring_size=(across, across, along),
            )
        )
        start += width + _BETWEEN_BOXES
    return boxes


def _points(energy_zyx: FloatArray, random: np.random.Generator) -> FloatArray:
    """Points of equal energy along and across the first direction, by systematic sampling of the voxels."""
    cumulative = np.cumsum(energy_zyx.ravel())
    wanted = (np.arange(POINTS) + random.random(POINTS)) / POINTS * cumulative[-1]
    place = np.minimum(np.searchsorted(cumulative, wanted, side="right"), cumulative.size - 1)
    indices = np.stack(np.unravel_index(place, energy_zyx.shape), axis=1)
    z, y, x = ((indices + random.random(indices.shape)) * _VOXEL - [_BEHIND, _LATERAL, _LATERAL]).T
    points = np.stack([z, np.hypot(x, y)], axis=1)
    # In no order, so that a run of points is a fair sample.
    random.shuffle(points)
    return np.asarray(points)
