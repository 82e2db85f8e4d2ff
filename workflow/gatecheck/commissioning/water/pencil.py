"""Dose round one particle's way in water, by energy: simulated once, and then the expected dose of any field.

In water without end a photon's mean dose depends only on the depth along its way and on the distance
from it. Kept as tables, one for each energy, it takes the place of following photons and electrons: each
particle below the collimators adds its expected dose at every point that is looked at. Nothing is left to chance
but where the particles pass, so that a hundredth of the particles gives the same noise.

Photons come through the air between head and water, whose electrons reach the first millimetres.

The tables are made for a surface across the way. In a field's corner it is tilted by 10 to 15 degrees; what the tilt
changes is odd in the azimuth round the way, and drops out but in the first millimetres and near edges.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.water.electron_library import ElectronLibrary, electron_library
from gatecheck.commissioning.water.scoring import Bins, Detectors
from gatecheck.commissioning.water.source_basis import PHOTON_ENERGY
from gatecheck.commissioning.water.tank import score_particles, water_below
from gatecheck.config_transport import TransportConfig
from gatecheck.files import sha256_of_json, write_atomically
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.photon_tracker import kernel
from gatecheck.transport.process import run_in_processes

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Depths: rows of the simulation, mm, and how many of them make one of the table's, from the surface down.
_ROW = 1.0
_ROWS = ((12, 1), (14, 2), (41, 10))
# fmt: off
RINGS = np.array(
    [
        0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 23.0, 26.0,
        30.0, 35.0, 40.0, 45.0, 50.0, 60.0, 70.0, 80.0, 100.0, 120.0, 150.0, 180.0, 220.0, 260.0, 300.0, 350.0,
    ]
)
# fmt: on
"""Outer radii, mm."""

ELECTRON_ENERGY = np.geomspace(0.1, 6.2, 24)
AIR = 450.0
"""mm of air that photons cross above the water: from the plane below the head to SSD 1000 mm, or nearly so to 950."""

_HALF_WIDTH, _BELOW = 800.0, 150.0  # mm of water round the ways, and below the last depth
_PICKS = 6
REPLICAS = 8
PHOTONS, ELECTRONS = 200_000, 20_000  # of each energy and replica
_VERSION = 2
_SEED = 7_001


@dataclass(frozen=True, slots=True)
class PencilTables:
    """Dose per particle, MeV/g, in independent replicas.

    Attributes
    ----------
    depth : ndarray of shape (n_depths,)
        Centres of the layers along the way, mm.
    photons : ndarray of shape (n_replicas, n_photon_energies, n_depths, n_rings)
        At source_basis.PHOTON_ENERGY.
    electrons : ndarray of shape (n_replicas, n_electron_energies, n_depths, n_rings)
        At ELECTRON_ENERGY.
    """

    depth: FloatArray
    photons: FloatArray
    electrons: FloatArray


def pencil_tables(
    settings: TransportConfig,
    folder: Path,
    *,
    photons: int = PHOTONS,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> PencilTables:
    """The tables for these physics settings, read from `folder` where they have been made before.

    Parameters
    ----------
    photons : int
        Of each energy and replica.

    Raises
    ------
    SimulationError
        When GATE fails.
    """
    key = sha256_of_json(
        {
            "engine": describe_engine(settings).model_dump(),
            "photons": photons,
            "electrons": ELECTRONS,
            "energies": [PHOTON_ENERGY.tolist(), ELECTRON_ENERGY.tolist()],
            "rings": RINGS.tolist(),
            "rows": _ROWS,
            "replicas": REPLICAS,
            "version": _VERSION,
        }
    )
    path = folder / f"pencils-{key[:16]}.npz"
    if path.exists():
        with np.load(path) as stored:
            return PencilTables(layer_centres(), stored["photons"].astype(float), stored["electrons"].astype(float))
    library = electron_library(settings, folder)
    requests = [
        {"library": library, "photons": photons, "electrons": ELECTRONS, "seed": _SEED + replica}
        for replica in range(REPLICAS)
    ]
    replicas = run_in_processes(simulate_replica, requests, processes=processes, progress=progress)
    tables = PencilTables(
        layer_centres(), np.array([replica[0] for replica in replicas]), np.array([replica[1] for replica in replicas])
    )
    with write_atomically(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, photons=tables.photons.astype(np.float32), electrons=tables.electrons.astype(np.float32)
        )
    return tables


def layer_centres() -> FloatArray:
    """Centres of the tables' layers, mm."""
    edges = np.concatenate([[0.0], np.cumsum(np.repeat([rows for _, rows in _ROWS], [n for n, _ in _ROWS]))]) * _ROW
    return np.asarray((edges[1:] + edges[:-1]) / 2)


def ring_areas() -> FloatArray:
    """Areas of the rings, mm²."""
    return np.asarray(math.pi * np.diff(np.concatenate([[0.0], RINGS**2])))


def simulate_replica(
    *, library: ElectronLibrary, photons: int, electrons: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Tables of all energies from one set of random numbers, in this process."""
    return (
        _tables(PHOTON_ENERGY, kernel.PHOTON_PDG, photons, library, seed),
        _tables(ELECTRON_ENERGY, kernel.ELECTRON_PDG, electrons, library, seed + 500_000),
    )


def _tables(energies: FloatArray, pdg: int, number: int, library: ElectronLibrary, seed: int) -> FloatArray:
    rows = sum(count * thick for count, thick in _ROWS)
    tank = water_below(0.0, rows * _ROW + _BELOW, _HALF_WIDTH, library)
    detectors = Detectors(
        surface=0.0,
        depth_step=_ROW,
        radius=0.0,
        is_curved=False,
        profile_depth=np.empty(0),
        half_thickness=0.0,
        half_width=0.0,
        profile_step=1.0,
        rings=RINGS**2,
    )
    found = []
    for place, energy in enumerate(energies):
        particles = np.zeros((number, kernel.COLUMNS))
        particles[:, kernel.ENERGY] = energy
        # Photons come through the air, which adds electrons of its own; electrons are followed through it elsewhere.
        particles[:, kernel.Y] = -AIR if pdg == kernel.PHOTON_PDG else -1e-6
        particles[:, kernel.U + 1] = 1.0
        particles[:, kernel.WEIGHT] = 1.0
        particles[:, kernel.PDG] = pdg
        bins = Bins(np.zeros((rows, len(RINGS))), np.zeros((0, 2, 1, 1)))
        score_particles(
            particles,
            tank,
            detectors,
            bins,
            index=np.zeros((1, 4), dtype=np.int64),
            share=np.zeros((1, 4)),
            seed=seed * 100 + place,
            picks=_PICKS,
        )
        found.append(_layers(bins.depth_dose) / number)
    return np.array(found)


def _layers(rows: FloatArray) -> FloatArray:
    """Energy in the simulation's rows, MeV, as dose in the table's layers, MeV/g."""
    parts, first = [], 0
    for count, thick in _ROWS:
        last = first + count * thick
        parts.append(rows[first:last].reshape(count, thick, -1).mean(axis=1))
        first = last
    return np.asarray(np.concatenate(parts) / (ring_areas() * _ROW * 1e-3))


def averaged_over_disc(tables: FloatArray, radius: float) -> FloatArray:
    """Tables whose values are those seen by a disc across the way, with the term in r² taken off.

    The weight over the disc, 4 - 6 (r / R)², gives the value at its centre of any quadratic function. The last axis of
    `tables` is the ring.
    """
    return np.asarray(tables @ _seen_by_disc(radius).T)


_RADII, _DISC_RADII, _DISC_ANGLES = 32, 96, 60


def _seen_by_disc(radius: float) -> FloatArray:
    """Share of each ring's dose (columns) in what a disc sees whose centre lies in a ring (rows)."""
    inner = np.concatenate([[0.0], RINGS[:-1]])
    even = (np.arange(_RADII) + 0.5) / _RADII
    # Even in area, in ring and disc.
    distance = np.sqrt(inner[:, np.newaxis] ** 2 + even * (RINGS**2 - inner**2)[:, np.newaxis])
    part = (np.arange(_DISC_RADII) + 0.5) / _DISC_RADII
    r, weight = radius * np.sqrt(part), (4.0 - 6.0 * part) / _DISC_RADII
    angle = math.pi * (np.arange(_DISC_ANGLES) + 0.5) / _DISC_ANGLES
    square = (
        distance[:, :, np.newaxis, np.newaxis] ** 2
        + r[:, np.newaxis] ** 2
        + 2.0 * distance[:, :, np.newaxis, np.newaxis] * r[:, np.newaxis] * np.cos(angle)
    )
    ring = np.searchsorted(RINGS**2, square, side="right")
    seen = np.zeros((len(RINGS), len(RINGS) + 1))
    share = np.broadcast_to(weight[:, np.newaxis], square.shape[1:]) / (_RADII * _DISC_ANGLES)
    for row in range(len(RINGS)):
        seen[row] = np.bincount(ring[row].ravel(), weights=share.ravel(), minlength=len(RINGS) + 1)
    # No energy is lost or won: what each ring gives to all places together is what it has.
    areas = ring_areas()
    kept = seen[:, :-1] * (areas[:, np.newaxis] / areas)
    return np.asarray(seen[:, :-1] / np.maximum(kept.sum(axis=0), 1e-12))
