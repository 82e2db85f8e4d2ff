"""Tracks of electrons and positrons in boxes of one material each, step by step, as Geant4 makes them.

A box holds every electron that starts in its middle; what bremsstrahlung's and annihilation's photons do there is not
kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uproot

from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.patient.model import Material
from gatecheck.transport.electron_replay.steps import RecordedTracks
from gatecheck.transport.gate import add_materials
from gatecheck.transport.gate_run import new_simulation, run_simulation, take_process
from gatecheck.transport.geant4_data import activate, resolve

FloatArray = npt.NDArray[np.float64]

# Half a box, g/cm2: an electron of 10 MeV ends within 5.
_HALF_BOX = 12.0
_BETWEEN = 20.0  # mm, and as much round all
_MOST_MISSING = 1e-4  # of an event's energy

_ATTRIBUTES = [
    "EventID",
    "TrackID",
    "ParentID",
    "PDGCode",
    "PreKineticEnergy",
    "PostKineticEnergy",
    "PrePosition",
    "PostPosition",
    "PreDirection",
    "PostDirection",
    "TotalEnergyDeposit",
]


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded.

    Attributes
    ----------
    particle : "e-" or "e+"
    starts : tuple of (float, int)
        Energies that tracks start with, MeV, and how many do, in each material.
    seed : int
    longest_step : float or None
        mm; None: as long as Geant4 finds them exact.
    """

    particle: str
    starts: tuple[tuple[float, int], ...]
    seed: int
    longest_step: float | None = None


def record_tracks(
    materials: Sequence[Material], recording: Recording, settings: TransportConfig
) -> list[RecordedTracks]:
    """Tracks in each of several materials; one simulation, which takes this process.

    Parameters
    ----------
    materials : sequence of Material
        With labels of their own.

    Raises
    ------
    SimulationError
        When GATE fails, or a step's energy is not accounted for.
    """
    with tempfile.TemporaryDirectory(prefix="electron-steps-") as folder:
        _simulate(materials, recording, settings, Path(folder))
        return [
            tracks_of(Path(folder) / f"steps_{index}.root", material.name) for index, material in enumerate(materials)
        ]


def _simulate(materials: Sequence[Material], recording: Recording, settings: TransportConfig, folder: Path) -> None:
    take_process()
    activate(resolve(settings.geant4_data))
    simulation = new_simulation(settings, seed=recording.seed, folder=folder)
    halves = [10.0 * _HALF_BOX / material.density for material in materials]
    length = sum(2 * half + _BETWEEN for half in halves)
    simulation.world.size = [length + 2 * _BETWEEN, *2 * [2 * max(halves) + 2 * _BETWEEN]]
    simulation.world.material = "G4_AIR"
    names = add_materials(simulation, materials)
    simulation.physics_manager.user_limits_particles = ["electron", "positron"]
    place = -length / 2
    for index, (material, half) in enumerate(zip(materials, halves, strict=True)):
        box = simulation.add_volume("Box", f"box_{index}")
        box.mother = "world"
        box.size = [2 * half] * 3
        box.material = names[material.label]
        box.translation = [place + half, 0.0, 0.0]
        if recording.longest_step is not None:
            simulation.physics_manager.set_max_step_size(box.name, recording.longest_step)
        for number, (energy, tracks) in enumerate(recording.starts):
            source = simulation.add_source("GenericSource", f"source_{index}_{number}")
            source.attached_to = f"box_{index}"
            source.particle = recording.particle
            source.n = tracks
            source.energy.type = "mono"
            source.energy.mono = energy
            source.position.type = "point"
            source.direction.type = "momentum"
            source.direction.momentum = [0, 0, 1]
        hits = simulation.add_actor("DigitizerHitsCollectionActor", f"hits_{index}")
        hits.attached_to = f"box_{index}"
        hits.output_filename = f"steps_{index}.root"
        hits.keep_zero_edep = True
        hits.attributes = _ATTRIBUTES
        place += 2 * half + _BETWEEN
    run_simulation(simulation)


def tracks_of(path: Path, name: str) -> RecordedTracks:
    """What GATE wrote of one box, as tracks of its primaries and what these set free.

    Raises
    ------
    SimulationError
        When a step's energy is not accounted for.
    """
    with uproot.open(path) as file:
        tree = file[file.keys()[0]]
        columns: dict[str, npt.NDArray[Any]] = tree.arrays(tree.keys(), library="np")
    events = columns["EventID"]
    is_primary = columns["TrackID"] == 1
    # Only events of this box: another's photons may come here.
    own = np.unique(events[is_primary])
    steps = np.flatnonzero(is_primary)
    steps = steps[np.argsort(events[steps], kind="stable")]
    event = events[steps]
    before, after = (_vectors(columns, which, steps) for which in ("PrePosition", "PostPosition"))
    direction, turned = (_vectors(columns, which, steps) for which in ("PreDirection", "PostDirection"))
    first, second = frame_of(direction)
    energy = columns["PreKineticEnergy"][steps].astype(float)
    left = columns["PostKineticEnergy"][steps].astype(float)
    deposit = columns["TotalEnergyDeposit"][steps].astype(float)
    freed = _first_steps_of_secondaries(columns, own)
    at = _step_of(freed, columns, event, after)
    order = np.argsort(at, kind="stable")
    freed, at = freed[order], at[order]
    freed_energy = columns["PreKineticEnergy"][freed].astype(float)
    of_photons = columns["PDGCode"][freed] == 22
    freed_direction = _local(_vectors(columns, "PreDirection", freed), first[at], second[at], direction[at])
    taken = np.bincount(at, freed_energy, minlength=len(steps))
    is_last = np.concatenate([event[1:] != event[:-1], [True]])
    mass = np.zeros(len(steps))
    if columns["PDGCode"][steps[0]] == -11:
        mass[np.bincount(at, of_photons, minlength=len(steps)).astype(bool) & is_last] = 2 * ELECTRON_REST_ENERGY
    missing = energy + mass - left - deposit - taken
    if np.abs(missing).max() > _MOST_MISSING * energy.max():
        raise SimulationError(
            f"Recorded electron steps in {name}: {np.abs(missing).max():.3g} MeV of a step are not accounted for. "
            "Please report this with the configuration."
        )
    return RecordedTracks(
        energy=energy.astype(np.float32),
        deposit=(deposit + missing).astype(np.float32),
        chord=_local(after - before, first, second, direction).astype(np.float32),
        direction=_local(turned, first, second, direction).astype(np.float32),
        is_last=is_last,
        freed_first=np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(steps)))]).astype(np.int32),
        freed_pdg=columns["PDGCode"][freed].astype(np.int32),
        freed_energy=freed_energy.astype(np.float32),
        freed_direction=freed_direction.astype(np.float32),
    )


def _first_steps_of_secondaries(columns: dict[str, npt.NDArray[Any]], own: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Of tracks that a primary set free: a track's first step is the one of most energy."""
    rows = np.flatnonzero((columns["ParentID"] == 1) & np.isin(columns["EventID"], own))
    event, track = columns["EventID"][rows], columns["TrackID"][rows]
    order = np.lexsort((-columns["PreKineticEnergy"][rows], track, event))
    rows, event, track = rows[order], event[order], track[order]
    first = np.concatenate([[True], (event[1:] != event[:-1]) | (track[1:] != track[:-1])])
    return np.asarray(rows[first[: len(rows)]])


def _step_of(
    freed: npt.NDArray[np.intp], columns: dict[str, npt.NDArray[Any]], event: npt.NDArray[Any], after: FloatArray
) -> npt.NDArray[np.intp]:
    """The step of its event at whose end each secondary starts."""
    starts = _vectors(columns, "PrePosition", freed)
    begin = np.searchsorted(event, columns["EventID"][freed], "left")
    end = np.searchsorted(event, columns["EventID"][freed], "right")
    found = np.empty(len(freed), dtype=np.intp)
    for index in range(len(freed)):
        apart = ((after[begin[index] : end[index]] - starts[index]) ** 2).sum(axis=1)
        found[index] = begin[index] + int(apart.argmin())
    return found


def _vectors(columns: dict[str, npt.NDArray[Any]], name: str, rows: npt.NDArray[np.intp]) -> FloatArray:
    return np.stack([columns[f"{name}_{axis}"][rows] for axis in "XYZ"], axis=1).astype(float)


def frame_of(direction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two unit vectors across each direction (Duff et al., J. Comput. Graph. Tech. 6 (2017) 1), shape (n, 3)."""
    x, y, z = direction.T
    sign = np.where(z >= 0, 1.0, -1.0)
    a = -1.0 / (sign + z)
    b = x * y * a
    return np.stack([1 + sign * x * x * a, sign * b, -sign * x], 1), np.stack([b, sign + y * y * a, -y], 1)


def _local(vectors: FloatArray, first: FloatArray, second: FloatArray, direction: FloatArray) -> FloatArray:
    return np.stack([(vectors * axis).sum(axis=1) for axis in (first, second, direction)], axis=1)
