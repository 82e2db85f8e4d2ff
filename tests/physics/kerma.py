"""Energy that photons set free in matter, by GATE's tracking and by gatecheck's, with no electron followed.

What electrons do is another's affair: it takes GATE time, and tells nothing of photons.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.config_transport import TransportConfig
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.patient.model import Material
from gatecheck.transport.gate import ParticleFeed, Score, batch_ends_of, prepared_gate, world_reach
from gatecheck.transport.gate_run import add_memory_source, run_simulation
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.photon_tracker.kernel import PHOTON_PDG, POSITRON_PDG
from gatecheck.transport.run import follow_photons
from gatecheck.transport.volumes import Volume

FloatArray = npt.NDArray[np.float64]

_ALL_CUT = 1e6  # mm that a particle set free would have to reach to be followed


def kerma(
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    phase_space: PhaseSpace,
    settings: TransportConfig,
    *,
    seed: int,
    batches: int,
) -> tuple[Score, ...]:
    """Energy of what photons set free, where they do, in each volume's scoring voxels, for each batch.

    Pairs count with their mass. The phase space's own electrons are left out, and so are photons of bremsstrahlung and
    annihilation, which are electrons' doing.

    Parameters
    ----------
    settings : TransportConfig
        Photons are followed as it says; there is no roulette.
    """
    photons = phase_space.chosen(phase_space.pdg_code == PHOTON_PDG)
    if not settings.tracks_photons:
        return _by_gate(volumes, materials, photons, settings, seed=seed, batches=batches)
    followed = follow_photons(photons, volumes, materials, settings, seed=seed, batches=batches).tracked
    ends = np.cumsum(followed.batch_sizes)
    parts = [
        followed.charged.chosen(np.arange(end - size, end))
        for end, size in zip(ends, followed.batch_sizes, strict=True)
    ]
    scores = []
    for index, volume in enumerate(volumes):
        batched = [
            set_free_in(volume, part) + local[index].energy_zyx
            for part, local in zip(parts, followed.deposits, strict=True)
        ]
        whole = np.sum(batched, axis=0)
        scores.append(Score(whole, np.zeros_like(whole), tuple(batched)))
    return tuple(scores)


def set_free_in(volume: Volume, charged: PhaseSpace) -> FloatArray:
    """Weighted MeV of charged particles by the scoring voxel in which they start, [z, y, x]."""
    columns, rows, slices = volume.scoring_size
    places = np.floor((charged.position - volume.lower) / volume.spacing).astype(int)
    inside = np.all((places >= 0) & (places < volume.scoring_size), axis=1)
    x, y, z = places[inside].T
    with_mass = charged.energy + np.where(charged.pdg_code == POSITRON_PDG, 2 * ELECTRON_REST_ENERGY, 0.0)
    energy = np.bincount(
        (z * rows + y) * columns + x,
        weights=(charged.weight * with_mass)[inside],
        minlength=columns * rows * slices,
    )
    return energy.reshape(slices, rows, columns)


def _by_gate(
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    photons: PhaseSpace,
    settings: TransportConfig,
    *,
    seed: int,
    batches: int,
) -> tuple[Score, ...]:
    """Every electron is below a production cut that is applied, and so deposited where it was set free."""
    with tempfile.TemporaryDirectory(prefix="kerma-") as folder:
        reach = world_reach(volumes, photons, None)
        gate = prepared_gate(volumes, materials, settings, dose_to="medium", folder=Path(folder), reach=reach)
        physics = gate.simulation.physics_manager
        physics.apply_cuts = True
        # Positrons are deposited, with the mass of the pair, where photons of annihilation are cut off, too.
        for particle in ("gamma", "electron", "positron"):
            setattr(physics.global_production_cuts, particle, _ALL_CUT)
        for actor in gate.actors:
            actor.hit_type = "post"  # at the interaction, not anywhere on the photon's way to it
        feed = ParticleFeed(photons, gate.actors, None, batch_ends_of(len(photons), batches), seed)
        add_memory_source(gate.simulation, feed)
        run_simulation(gate.simulation)
        return gate.run_of(feed).scores
