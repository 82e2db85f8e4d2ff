"""One GATE simulation: a phase space into volumes of matter, energy deposited per voxel out.

opengate is imported inside functions only, see `gatecheck.transport.gate_run`.
"""

from __future__ import annotations

import itertools
import logging
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.patient.model import Material
from gatecheck.transport.gate_run import (
    PARTICLES_AT_A_TIME,
    add_memory_source,
    as_geant4_reads,
    check_process_is_free,
    hand_over,
    new_simulation,
    run_simulation,
    start_random_numbers,
    take_process,
)
from gatecheck.transport.geant4_data import activate, resolve
from gatecheck.transport.materials import is_liquid_water, mean_excitation_energy
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.volumes import HomogeneousVolume, Volume, VoxelVolume, centre, hull, overlapping

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int], None]

# Air around everything, mm: backscatter beyond it does not come back.
_WORLD_MARGIN = 50.0

MARGIN_FOR_HEAD = 1100.0
"""mm round a patient that hold every particle of a head: its source lies 1000 mm from an isocentre in the patient."""

# Stopping-power ratios for dose to water are taken at this energy, MeV: near the mean energy at which
# electrons of megavoltage photons deposit. The ratio of water to bone varies by 0.5 % from 0.1 to 2 MeV;
# asking at every step's own energy costs a factor of 15 in time and loses the deposits of photons.
_STOPPING_POWER_ENERGY = 0.3


@dataclass(frozen=True, slots=True)
class Score:
    """Energy deposited in one volume's scoring voxels.

    Attributes
    ----------
    energy_zyx, energy_squared_zyx : ndarray of shape (nz, ny, nx)
        Sum over particles of the weighted energy that each one (with its secondaries) deposited in
        the voxel, MeV, and of its square, MeV².
    batches : tuple of ndarray of shape (nz, ny, nx)
        The energy of each batch of particles, where batches were asked for; they sum to energy_zyx.
    """

    energy_zyx: FloatArray
    energy_squared_zyx: FloatArray
    batches: tuple[FloatArray, ...] = ()


@dataclass(frozen=True, slots=True)
class GateRun:
    """What one simulation gives.

    Attributes
    ----------
    electron_steps_sha256 : str or None
        Of the recorded steps that electrons took; None where GATE followed them.
    left_to_gate : float or None
        Weighted MeV of the particles that came from recorded steps into a gas; None where GATE followed all.
    seconds_photons, seconds_along_steps : float
        Of seconds_transport, what gatecheck took to follow photons, and electrons along recorded steps.
    shared_memory_mb : float
        Of peak_memory_mb, recorded steps, which processes that fork from one share.
    """

    scores: tuple[Score, ...]
    particles: int
    seconds_start_up: float
    seconds_transport: float
    peak_memory_mb: float
    electron_steps_sha256: str | None = None
    left_to_gate: float | None = None
    seconds_photons: float = 0.0
    seconds_along_steps: float = 0.0
    shared_memory_mb: float = 0.0


def run_gate(
    *,
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    phase_space: PhaseSpace,
    settings: TransportConfig,
    seed: int,
    dose_to: str = "medium",
    work_folder: Path | None = None,
    progress: Progress | None = None,
    batches: int | Sequence[int] = 1,
    starts_inside: bool = False,
    world_margin: float | None = None,
) -> GateRun:
    """Simulate a phase space in volumes surrounded by air, in this process.

    Parameters
    ----------
    volumes : sequence of Volume
        They must not overlap; faces may be shared.
    dose_to : "medium" or "water"
        "water": every deposit is multiplied by the ratio of unrestricted linear stopping powers,
        water to medium, at 0.3 MeV (Siebers et al., Phys. Med. Biol. 45:983, 2000: one ratio per
        medium suffices), so that the sum divided by voxel volume and the density of water (not of
        the medium) is dose to water.
    work_folder : Path, optional
        Where GATE may write; a temporary folder by default.
    progress : callable, optional
        Called with the number of particles handed to GATE so far.
    batches : int or sequence of int
        Above 1: score that many equal parts of the phase space apart; or the particles of each part.
    starts_inside : bool
        Particles may start inside the volumes; a phase space below a head's collimators must not.
    world_margin : float, optional
        Of air round the volumes, mm, the same for every phase space; otherwise it is as wide as this one asks for.

    Raises
    ------
    SimulationError
        When the volumes overlap, particles start inside them, or GATE fails.
    """
    check_process_is_free()
    check_tiling(volumes)
    if not starts_inside:
        check_starts(volumes, phase_space)
    ends = batch_ends_of(len(phase_space), batches)
    if len(phase_space) == 0:
        return no_dose(volumes, len(ends))
    with tempfile.TemporaryDirectory(prefix="gate-", dir=work_folder) as folder:
        reach = world_reach(volumes, phase_space, world_margin)
        gate = prepared_gate(volumes, materials, settings, dose_to=dose_to, folder=Path(folder), reach=reach)
        feed = ParticleFeed(phase_space, gate.actors, progress, ends, seed)
        add_memory_source(gate.simulation, feed)
        run_simulation(gate.simulation)
        return gate.run_of(feed)


@dataclass(frozen=True, slots=True)
class PreparedGate:
    """A simulation that lacks its source.

    Attributes
    ----------
    simulation : opengate.Simulation
    actors : list
        Its dose actors, one for each volume.
    volumes : sequence of Volume
    started : float
        `time.perf_counter` when its preparation began.
    """

    simulation: Any
    actors: list[Any]
    volumes: Sequence[Volume]
    started: float

    def run_of(self, feed: ParticleFeed) -> GateRun:
        """What the simulation gave, when it has ended.

        Raises
        ------
        SimulationError
            When it did not take all particles, or a score is not a number.
        """
        scores = tuple(
            _score(actor, volume, feed.snapshots_of(index, volume.scoring_size[::-1]))
            for index, (actor, volume) in enumerate(zip(self.actors, self.volumes, strict=True))
        )
        ended = time.perf_counter()
        first = feed.first_batch_at or ended
        if feed.given != feed.numbers:
            raise SimulationError(f"GATE took {feed.given} of {feed.numbers} particles. Run the same command again.")
        return GateRun(scores, feed.numbers, first - self.started, ended - first, peak_memory_mb())


def prepared_gate(
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    settings: TransportConfig,
    *,
    dose_to: str,
    folder: Path,
    reach: FloatArray,
) -> PreparedGate:
    """The one simulation of this process up to its source, in a world that reaches so far from the origin, (3,) mm."""
    take_process()
    started = time.perf_counter()
    activate(resolve(settings.geant4_data))
    simulation = new_simulation(settings, seed=1, folder=folder)  # the feed starts the random numbers anew
    simulation.world.size = [float(size) for size in 2 * reach]
    simulation.world.material = "G4_AIR"
    names = add_materials(simulation, materials)
    actors = [
        _add_volume(simulation, volume, f"{index}", names=names, dose_to=dose_to)
        for index, volume in enumerate(volumes)
    ]
    return PreparedGate(simulation, actors, volumes, started)


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def no_dose(volumes: Sequence[Volume], batches: int) -> GateRun:
    """The run of no particle."""
    shapes = [volume.scoring_size[::-1] for volume in volumes]
    empty = batches if batches > 1 else 0
    zeros = tuple(
        Score(np.zeros(shape), np.zeros(shape), tuple(np.zeros(shape) for _ in range(empty))) for shape in shapes
    )
    return GateRun(zeros, 0, 0.0, 0.0, peak_memory_mb())


def check_tiling(volumes: Sequence[Volume]) -> None:
    """Raise SimulationError when volumes overlap."""
    pair = overlapping(volumes)
    if pair is not None:
        raise SimulationError(f"Volumes {pair[0]} and {pair[1]} overlap. Run the voxelise step again.")


def check_starts(volumes: Sequence[Volume], phase_space: PhaseSpace) -> None:
    """Raise SimulationError when a particle that comes from the head would start inside a volume."""
    for volume in volumes:
        inside = np.all((phase_space.position > volume.lower) & (phase_space.position < volume.upper), axis=1)
        if inside.any():
            raise SimulationError(
                f"{int(inside.sum())} of {len(phase_space)} particles would start inside volume {volume.name}: patient "
                "or couch reach up to the collimators. Check the isocentre, patient.couch_structures and "
                "patient.margin_around_body."
            )


def world_reach(volumes: Sequence[Volume], phase_space: PhaseSpace | None, margin: float | None) -> FloatArray:
    """How far from the origin a world with its centre there has to reach along x, y and z, mm.

    Raises
    ------
    SimulationError
        When particles start beyond the margin.
    """
    corners = np.array(hull(volumes))
    if margin is not None:
        inner = np.abs(corners).max(axis=0) + margin - _WORLD_MARGIN
        if phase_space is not None and (np.abs(phase_space.position) > inner).any():
            raise SimulationError(
                f"Particles start more than {margin:g} mm from the patient. Check the isocentre against the CT."
            )
        return np.asarray(inner + _WORLD_MARGIN)
    starts = np.empty((0, 3)) if phase_space is None else phase_space.position
    return np.asarray(np.abs(np.concatenate([corners, starts])).max(axis=0) + _WORLD_MARGIN)


def add_materials(simulation: Any, materials: Sequence[Material]) -> dict[int, str]:
    """Register the materials under names of ours and give the name of every label."""
    import opengate  # noqa: PLC0415

    units = opengate.g4_units
    names: dict[int, str] = {}
    for material in materials:
        if is_liquid_water(material):
            # Geant4 holds this one with its measured density effect, not only with the general formula.
            names[material.label] = "G4_WATER"
            continue
        name = f"gatecheck_{material.label}"
        fractions = np.array(list(material.mass_fractions.values()))
        simulation.volume_manager.material_database.add_material_weights(
            name,
            list(material.mass_fractions),
            [float(value) for value in fractions / fractions.sum()],
            material.density * units.g / units.cm3,
        )
        energy = mean_excitation_energy(material)
        if energy is not None:
            simulation.physics_manager.material_ionisation_potential[name] = energy * units.eV
        names[material.label] = name
    return names


def _add_volume(simulation: Any, volume: Volume, index: str, *, names: dict[int, str], dose_to: str) -> Any:
    name = f"volume_{index}"
    used = labels_in(volume)
    missing = [label for label in used if label not in names]
    if missing:
        raise SimulationError(f"Volume {volume.name}: no material for label {missing[0]}. Run voxelise again.")
    if isinstance(volume, HomogeneousVolume) or len(used) == 1:
        # Voxels all alike need no faces: the same dose, several times faster.
        matter = simulation.add_volume("Box", name)
        matter.size = [high - low for low, high in zip(volume.lower, volume.upper, strict=True)]
    else:
        matter = simulation.add_volume("Image", name)
        matter.load_input_image = partial(_label_image, volume)
        matter.voxel_materials = [[label, label + 1, names[label]] for label in used]
    matter.material = names[used[0]]
    matter.mother = "world"
    matter.translation = list(centre(volume))
    actor = simulation.add_actor("DoseActor", f"dose_{index}")
    actor.attached_to = name
    actor.size = list(volume.scoring_size)
    actor.spacing = list(volume.spacing)
    actor.hit_type = "random"
    actor.output_coordinate_system = "local"
    if dose_to == "water":
        actor.score_in = "G4_WATER"
        actor.fast_SPR_calculation = True
        actor.reference_energy_SPR = _STOPPING_POWER_ENERGY
        actor.transition_energy_SPR = 0.0
    actor.edep_squared.active = True
    actor.edep.write_to_disk = False
    actor.edep_squared.write_to_disk = False
    return actor


def labels_in(volume: Volume) -> list[int]:
    """Of the materials that it has."""
    if isinstance(volume, HomogeneousVolume):
        return [volume.material_label]
    return [int(label) for label in np.unique(volume.labels_zyx)]


def _label_image(volume: VoxelVolume) -> Any:
    """Labels with their spacing, mm, in the place of opengate's reader of files, which takes two seconds to be ready.

    GATE puts the middle of an image where its volume is, whatever its origin.
    """
    import itk  # type: ignore[import-untyped] # noqa: PLC0415

    image = itk.image_from_array(np.ascontiguousarray(volume.labels_zyx))
    image.SetSpacing(volume.spacing)
    return image


def batch_ends_of(particles: int, batches: int | Sequence[int]) -> list[int]:
    """Where the parts that are scored apart end, in particles."""
    if isinstance(batches, int):
        size = math.ceil(particles / batches)
        return [min(size * (index + 1), particles) for index in range(batches)]
    ends = [int(end) for end in np.cumsum(batches)]
    if ends[-1] != particles:
        raise ValueError(f"batches of {ends[-1]} particles in all, {particles} are there")
    return ends


class ParticleFeed:
    """Hands the particles to GATE piece by piece; GATE asks for the next when the last is used up.

    A piece never crosses the end of a batch, so that the scores between two pieces are a batch's. Geant4's random
    numbers start anew from the seed before the first particle.
    """

    def __init__(
        self,
        phase_space: PhaseSpace,
        actors: Sequence[Any],
        progress: Progress | None,
        batch_ends: Sequence[int],
        seed: int,
    ) -> None:
        self._phase_space = phase_space
        self._scored = actors if len(batch_ends) > 1 else []
        self._seed = seed
        self._progress = progress
        self.numbers = len(phase_space)
        self.size = min(PARTICLES_AT_A_TIME, self.numbers)
        self.given = 0
        self.first_batch_at: float | None = None
        self._batch_ends = list(batch_ends)
        self._snapshots: dict[int, list[FloatArray]] = {}

    def next_batch(self, g4_source: Any) -> int:
        """Set the source's arrays and give their length."""
        if self.first_batch_at is None:
            start_random_numbers(self._seed)
            self.first_batch_at = time.perf_counter()
        else:
            if self._scored and self.given in self._batch_ends[:-1]:
                self._snapshots[self.given] = [_array(actor.cpp_edep_image.to_pyarray()) for actor in self._scored]
            if self._progress is not None:
                self._progress(self.given)
        end = next(end for end in self._batch_ends if end > self.given)
        part = slice(self.given, min(self.given + self.size, end))
        particles = self._phase_space
        self._arrays = as_geant4_reads(
            pdg_code=particles.pdg_code[part],
            energy=particles.energy[part],
            weight=particles.weight[part],
            position=particles.position[part],
            direction=particles.direction[part],
        )
        hand_over(g4_source, self._arrays)
        self.given = part.stop
        return int(part.stop - part.start)

    def snapshots_of(self, actor: int, shape: tuple[int, int, int]) -> list[FloatArray | None]:
        """An actor's cumulated score at the end of every batch but the last, None for that at the end of all.

        An empty batch repeats that of the one before it.
        """

        def at(end: int) -> FloatArray | None:
            if end == self.numbers:
                return None
            return np.zeros(shape) if end == 0 else self._snapshots[end][actor]

        return [at(end) for end in self._batch_ends[:-1]]


def _score(actor: Any, volume: Volume, snapshots: Sequence[FloatArray | None]) -> Score:
    import itk  # noqa: PLC0415

    energy, squared = (_array(itk.array_from_image(part.image)) for part in (actor.edep, actor.edep_squared))
    if energy.shape != volume.scoring_size[::-1] or not (np.isfinite(energy).all() and np.isfinite(squared).all()):
        raise SimulationError(f"Volume {volume.name}: GATE gave a score that is not a finite number for every voxel.")
    ends = [energy if one is None else one for one in snapshots]
    cumulative = [np.zeros_like(energy), *ends, energy] if snapshots else []
    batches = tuple(after - before for before, after in itertools.pairwise(cumulative))
    return Score(energy, squared, batches)


def _array(voxels: npt.ArrayLike) -> FloatArray:
    """A copy in double precision."""
    return np.array(voxels, dtype=np.float64)
