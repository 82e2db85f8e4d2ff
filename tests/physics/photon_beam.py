"""A beam of photons along y from 50 mm before the matter, for tests that follow it in two ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatecheck.transport.model import PhaseSpace

Spectrum = Sequence[tuple[float, float]]

# MeV, and the share in number.
SIX_MEGAVOLT: Spectrum = (
    *((0.05, 0.05), (0.3, 0.14), (0.6, 0.20), (1.0, 0.20)),
    *((1.5, 0.15), (2.0, 0.10), (3.0, 0.10), (5.5, 0.06)),
)
HALF_SIDE = 16.0  # mm


def photon_beam(spectrum: Spectrum, photons: int, seed: int, *, spread: float) -> PhaseSpace:
    """A square beam; directions are spread by so many radians (one sigma) along x and z."""
    random = np.random.default_rng(seed)
    energies, shares = np.array(spectrum).T
    position = np.full((photons, 3), -50.0)
    for axis in (0, 2):
        position[:, axis] = random.uniform(-HALF_SIDE, HALF_SIDE, photons)
    across = [random.normal(0, spread, photons) for _ in range(2)]
    direction = np.stack([across[0], np.ones(photons), across[1]], axis=1)
    return PhaseSpace(
        pdg_code=np.full(photons, 22, np.int32),
        energy=random.choice(energies, photons, p=shares / shares.sum()),
        position=position,
        direction=direction / np.linalg.norm(direction, axis=1)[:, None],
        weight=np.ones(photons),
        beam_number=np.ones(photons, np.int32),
        histories=photons,
        nominal_photons=float(photons),
    )
