"""Tracks of electrons and positrons in a box of one material, step by step, as Geant4 makes them.

The box holds every electron that starts in its middle; what bremsstrahlung's and annihilation's photons do there is not
kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
_ROUND = 20.0  # mm of air
_MOST_MISSING = 1e-4  # of the highest energy
# Rows of GATE's file that are looked at together, each of some 15 columns and as many numbers made of them: of all of a
# recording's at a time they were 7 GB.
_AT_A_TIME = 500_000
_STEPS_FILE = "steps.root"

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
        Energies that tracks start with, MeV, and how many do.
    seed : int
    longest_step : float or None
        mm; None: as long as Geant4 finds them exact.
    """

    particle: str
    starts: tuple[tuple[float, int], ...]
    seed: int
    longest_step: float | None = None


def record_tracks(material: Material, recording: Recording, settings: TransportConfig) -> Iterator[RecordedTracks]:
    """Tracks in one material, so many steps at a time as memory has room for; a simulation, which takes this process.

    Raises
    ------
    SimulationError
        When GATE fails, or a step's energy is not accounted for.
    """
    with tempfile.TemporaryDirectory(prefix="electron-steps-") as folder:
        _simulate(material, recording, settings, Path(folder))
        highest = max(energy for energy, _ in recording.starts)
        yield from _tracks_in(Path(folder) / _STEPS_FILE, highest, material.name)


def _simulate(material: Material, recording: Recording, settings: TransportConfig, folder: Path) -> None:
    take_process()
    activate(resolve(settings.geant4_data))
    simulation = new_simulation(settings, seed=recording.seed, folder=folder)
    half = 10.0 * _HALF_BOX / material.density
    simulation.world.size = [2 * half + 2 * _ROUND] * 3
    simulation.world.material = "G4_AIR"
    names = add_materials(simulation, [material])
    simulation.physics_manager.user_limits_particles = ["electron", "positron"]
    box = simulation.add_volume("Box", "box")
    box.mother = "world"
    box.size = [2 * half] * 3
    box.material = names[material.label]
    if recording.longest_step is not None:
        simulation.physics_manager.set_max_step_size(box.name, recording.longest_step)
    for number, (energy, tracks) in enumerate(recording.starts):
        source = simulation.add_source("GenericSource", f"source_{number}")
        source.attached_to = "box"
        source.particle = recording.particle
        source.n = tracks
        source.energy.type = "mono"
        source.energy.mono = energy
        source.position.type = "point"
        source.direction.type = "momentum"
        source.direction.momentum = [0, 0, 1]
    hits = simulation.add_actor("DigitizerHitsCollectionActor", "hits")
    hits.attached_to = "box"
    hits.output_filename = _STEPS_FILE
    hits.keep_zero_edep = True
    hits.attributes = _ATTRIBUTES
    run_simulation(simulation)


def _tracks_in(path: Path, highest_energy: float, name: str) -> Iterator[RecordedTracks]:
    import uproot  # noqa: PLC0415 - half a second, for few

    with uproot.open(path) as file:
        tree = file[file.keys()[0]]
        keys = tree.keys()
        for rows in whole_events(tree["EventID"].array(library="np"), _AT_A_TIME):
            columns = tree.arrays(keys, entry_start=rows.start, entry_stop=rows.stop, library="np")
            yield tracks_of(columns, highest_energy, name)


def whole_events(events: npt.NDArray[Any], at_a_time: int) -> Iterator[slice]:
    """Rows of whole events, no more than so many but where one event has more.

    Raises
    ------
    SimulationError
        When events are not one after the other.
    """
    apart = np.diff(events)
    if (apart < 0).any():
        raise SimulationError("GATE wrote electron steps of events that do not follow one after the other.")
    ends = np.append(np.flatnonzero(apart) + 1, len(events))
    begin = 0
    while begin < len(events):
        last = int(np.searchsorted(ends, begin + at_a_time, side="right")) - 1
        first = int(np.searchsorted(ends, begin, side="right"))
        end = int(ends[max(last, first)])
        yield slice(begin, end)
        begin = end


def tracks_of(columns: Mapping[str, npt.NDArray[Any]], highest_energy: float, name: str) -> RecordedTracks:
    """What GATE wrote of whole events, as tracks of their primaries and what these set free.

    Raises
    ------
    SimulationError
        When a step's energy is not accounted for.
    """
    events = columns["EventID"]
    is_primary = columns["TrackID"] == 1
    steps = np.flatnonzero(is_primary)
    steps = steps[np.argsort(events[steps], kind="stable")]
    event = events[steps]
    before, after = (_vectors(columns, which, steps) for which in ("PrePosition", "PostPosition"))
    direction, turned = (_vectors(columns, which, steps) for which in ("PreDirection", "PostDirection"))
    first, second = frame_of(direction)
    energy = columns["PreKineticEnergy"][steps].astype(float)
    left = columns["PostKineticEnergy"][steps].astype(float)
    deposit = columns["TotalEnergyDeposit"][steps].astype(float)
    freed = _first_steps_of_secondaries(columns)
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
    if np.abs(missing).max() > _MOST_MISSING * highest_energy:
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


def _first_steps_of_secondaries(columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.intp]:
    """Of tracks that a primary set free: a track's first step is the one of most energy."""
    rows = np.flatnonzero(columns["ParentID"] == 1)
    event, track = columns["EventID"][rows], columns["TrackID"][rows]
    order = np.lexsort((-columns["PreKineticEnergy"][rows], track, event))
    rows, event, track = rows[order], event[order], track[order]
    first = np.concatenate([[True], (event[1:] != event[:-1]) | (track[1:] != track[:-1])])
    return np.asarray(rows[first[: len(rows)]])


def _step_of(
    freed: npt.NDArray[np.intp], columns: Mapping[str, npt.NDArray[Any]], event: npt.NDArray[Any], after: FloatArray
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


def _vectors(columns: Mapping[str, npt.NDArray[Any]], name: str, rows: npt.NDArray[np.intp]) -> FloatArray:
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
