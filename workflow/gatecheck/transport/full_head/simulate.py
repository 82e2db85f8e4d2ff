"""The full head: source particles through jaws and leaves by Geant4, to a phase space below the collimators."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.model import Delivery
from gatecheck.delivery.segments import LARGEST_MOTION, LARGEST_ROTATION, segmented
from gatecheck.errors import SimulationError
from gatecheck.linac.model import LinacModel
from gatecheck.transport.full_head.build import (
    EXIT_PLANE,
    JAW_ALLOY,
    LEAF_ALLOY,
    add_alloy,
    add_jaws,
    add_leaves,
    add_world,
)
from gatecheck.transport.full_head.exit import (
    ATTRIBUTES,
    Crossings,
    copies_for_patient,
    fates_of,
    in_patient,
    read_crossings,
)
from gatecheck.transport.full_head.solids import jaw_blocks, leaves_of
from gatecheck.transport.full_head.source import EngineSource, as_geant4_reads, source_for_engine
from gatecheck.transport.full_head.states import HeadState, states_of
from gatecheck.transport.gate_run import (
    PARTICLES_AT_A_TIME,
    add_memory_source,
    check_process_is_free,
    hand_over,
    new_simulation,
    run_simulation,
    take_process,
)
from gatecheck.transport.geant4_data import activate, resolve
from gatecheck.transport.head_settings import MULTIPLE_SCATTERING_MODEL, PRODUCTION_CUT, STEP_FUNCTION
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.process import run_in_process

logger = logging.getLogger(__name__)

_SECOND = 1.0e9  # GATE's unit of time is the nanosecond
_PROGRESS_FILE = "segment.txt"
# Fewer runs do not tell apart what a run takes of its own and what its particles take.
_FEWEST_RUNS = 10


def run_full_head(
    delivery: Delivery,
    linac: LinacModel,
    *,
    histories: int,
    seed: int,
    settings: TransportConfig,
    work_folder: Path,
    largest_rotation: float = LARGEST_ROTATION,
    largest_motion: float | None = LARGEST_MOTION,
) -> PhaseSpace:
    """As `simulate_full_head`, in a process of its own.

    Raises
    ------
    SimulationError
        Naming the segment that was under way when the process died.
    """
    with tempfile.TemporaryDirectory(prefix="full-head-", dir=work_folder) as folder:
        try:
            return run_in_process(
                _simulated_in_new_process,
                asked_at=time.time(),
                delivery=delivery,
                linac=linac,
                histories=histories,
                seed=seed,
                settings=settings,
                work_folder=Path(folder),
                largest_rotation=largest_rotation,
                largest_motion=largest_motion,
            )
        except SimulationError as error:
            raise explained(error, Path(folder)) from error


def _simulated_in_new_process(*, asked_at: float, **keywords: Any) -> PhaseSpace:
    """The time that the process took to start, since `asked_at`, is a part of the start-up."""
    started = time.time() - asked_at
    phase_space = simulate_full_head(**keywords)
    return replace(phase_space, seconds_start_up=max(started, 0.0) + phase_space.seconds_start_up)


def explained(error: SimulationError, folder: Path) -> SimulationError:
    """The error of a head's process, with the segment that it was in where it does not say so itself."""
    marker = folder / _PROGRESS_FILE
    if str(error).startswith("Full head") or not marker.exists():
        return error
    return SimulationError(f"Full head: {marker.read_text(encoding='utf-8')}: {error}")


def simulate_full_head(
    delivery: Delivery,
    linac: LinacModel,
    *,
    histories: int,
    seed: int,
    settings: TransportConfig,
    work_folder: Path,
    largest_rotation: float = LARGEST_ROTATION,
    largest_motion: float | None = LARGEST_MOTION,
) -> PhaseSpace:
    """Bring source particles through the head's solids with Geant4, in this process.

    The source is the fast head's: the same rays, aimed in the same way, of the delivery divided into
    static segments. The jaws and leaves move between the segments, which are runs of one simulation.
    Particles cross the plane at the machine's exit_plane; none weighs more than the fast head's leakage.
    They are shuffled, so that any leading part of the phase space covers the whole delivery.

    Parameters
    ----------
    histories : int
        Source photons to sample.
    seed : int
        The same seed gives the same phase space.
    settings : TransportConfig
        Geant4's data and physics list; production cuts and electron steps are the head's own.
    work_folder : Path
        For GATE's files and the note of the segment under way.
    largest_rotation, largest_motion : float
        See `gatecheck.delivery.segments.segmented`.

    Raises
    ------
    SimulationError
        When GATE fails, naming the segment.
    UnsupportedPlanError
        When the delivery was not made for this machine.
    InputError
        When jaws of this machine would run into each other.
    ValueError
        When histories is below 1 or the delivery has no meterset.
    """
    started = time.perf_counter()
    static = segmented(delivery, largest_rotation=largest_rotation, largest_motion=largest_motion)
    states = states_of(static)
    source = source_for_engine(static, linac, histories, seed)
    followed = time.perf_counter()
    crossings = cross_head(states, source, linac, seed=seed, settings=settings, work_folder=work_folder)
    seconds = time.perf_counter() - followed
    phase_space = _phase_space(crossings, source, states, delivery.patient_position, histories=histories, seed=seed)
    logger.info(
        "Full head: %d source photons as %d particles in %d segments gave %d particles in %.0f s (%.0f photons/s)",
        histories,
        len(source.rows),
        len(states),
        len(phase_space),
        time.perf_counter() - started,
        histories / max(seconds, 1e-9),
    )
    return phase_space


def _phase_space(
    crossings: Crossings,
    source: EngineSource,
    states: Sequence[HeadState],
    patient_position: str,
    *,
    histories: int,
    seed: int,
) -> PhaseSpace:
    position, direction = in_patient(crossings, states, patient_position)
    copies = copies_for_patient(crossings.weight)
    chosen = np.repeat(np.arange(len(copies)), copies)
    chosen = chosen[np.random.default_rng([seed, 1]).permutation(len(chosen))]
    beam_number = np.array([state.beam_number for state in states], dtype=np.int32)
    return PhaseSpace(
        pdg_code=crossings.pdg_code[chosen].astype(np.int32),
        energy=crossings.energy[chosen],
        position=position[chosen],
        direction=direction[chosen],
        weight=(crossings.weight / copies)[chosen],
        beam_number=beam_number[crossings.segment[chosen]],
        histories=histories,
        nominal_photons=source.nominal_photons,
        fates=fates_of(crossings, source),
        seconds_start_up=crossings.seconds_start_up,
    )


def cross_head(
    states: Sequence[HeadState],
    source: EngineSource,
    linac: LinacModel,
    *,
    seed: int,
    settings: TransportConfig,
    work_folder: Path,
    production_cut: float = PRODUCTION_CUT,
    step_function: tuple[float, float] = STEP_FUNCTION,
) -> Crossings:
    """Follow the source's particles through the head; segments without particles are left out.

    Raises
    ------
    SimulationError
        When GATE fails, or did not take all particles of a segment.
    """
    check_process_is_free()
    started = time.perf_counter()
    runs = [segment for segment in range(len(states)) if source.first[segment + 1] > source.first[segment]]
    if not runs:
        return _no_crossings()
    take_process()
    activate(resolve(settings.geant4_data))
    with tempfile.TemporaryDirectory(prefix="gate-", dir=work_folder) as folder:
        head_settings = _settings_of_head(settings, production_cut, step_function)
        simulation = new_simulation(head_settings, _engine_seed(seed), Path(folder))
        simulation.run_timing_intervals = [[index * _SECOND, (index + 1) * _SECOND] for index in range(len(runs))]
        build_head(simulation, linac, [states[segment] for segment in runs])
        feed = _Feed(source, states, runs, linac.machine.source_axis_distance, work_folder)
        add_memory_source(simulation, feed)
        actor = simulation.add_actor("PhaseSpaceActor", "below_head")
        actor.attached_to = EXIT_PLANE
        actor.attributes = list(ATTRIBUTES)
        actor.output_filename = "below_head.root"
        try:
            run_simulation(simulation)
        except SimulationError as error:
            raise SimulationError(f"Full head: {feed.place}: {error}") from error
        feed.check_complete()
        start_up = seconds_start_up([started, *feed.run_began_at, time.perf_counter()], feed.numbers)
        return replace(read_crossings(Path(folder) / "below_head.root", runs, source), seconds_start_up=start_up)


def seconds_start_up(times: Sequence[float], numbers: Sequence[int]) -> float:
    """Of a simulation's seconds, those that more particles would not add to: its start and the changes of segment.

    A run takes some time of its own, in which the geometry moves, and some for each particle: the straight line
    through all runs, by least squares.

    Parameters
    ----------
    times : sequence of float
        When the simulation was asked for, when each run began to take particles, and when the last one ended.
    numbers : sequence of int
        Particles of each run.
    """
    first = times[1] - times[0]
    lengths = np.diff(times[1:])
    if len(lengths) < _FEWEST_RUNS or len(set(numbers)) == 1:
        return float(first)
    columns = np.stack([np.ones(len(numbers)), np.array(numbers, dtype=float)], axis=1)
    (each, _), *_ = np.linalg.lstsq(columns, lengths, rcond=None)
    return float(first + np.clip(each, 0.0, lengths.mean()) * len(lengths))


def build_head(
    simulation: Any,
    linac: LinacModel,
    states: Sequence[HeadState],
    *,
    jaw_material: str = JAW_ALLOY,
    leaf_material: str = LEAF_ALLOY,
) -> list[str]:
    """Add world, jaws, leaves and exit plane, with their places in every run; gives the metal volumes' names.

    Raises
    ------
    InputError
        When jaws of this machine would run into each other.
    """
    machine = linac.machine
    add_alloy(simulation, JAW_ALLOY, machine.jaws.alloy)
    add_alloy(simulation, LEAF_ALLOY, machine.mlc.alloy)
    add_world(simulation, machine)
    smallest = min(min(float(state.jaw_y[1]), -float(state.jaw_y[0])) for state in states)
    jaws = jaw_blocks(machine, smallest)
    names = add_jaws(simulation, jaws, states, machine.source_axis_distance, jaw_material)
    if any(state.leaf_positions is not None for state in states):
        names += add_leaves(simulation, leaves_of(machine), states, machine, leaf_material)
    return names


def _settings_of_head(
    settings: TransportConfig, production_cut: float, step_function: tuple[float, float]
) -> TransportConfig:
    """The patient's settings with the head's cuts and steps, and fine tables of photon cross sections."""
    return settings.model_copy(
        update={
            "photon_transport": "gate",
            "photon_production_cut": production_cut,
            "electron_production_cut": production_cut,
            "electron_step_function": step_function,
            "multiple_scattering_model": MULTIPLE_SCATTERING_MODEL,
        }
    )


def _engine_seed(seed: int) -> int:
    """Not the number with which the patient's simulation starts."""
    return int(hashlib.sha256(f"full head {seed}".encode("ascii")).hexdigest()[:8], 16) & 0x7FFFFFFF or 1


def _no_crossings() -> Crossings:
    none, vectors = np.empty(0), np.empty((0, 3))
    numbers = np.empty(0, dtype=np.int64)
    return Crossings(numbers, numbers, numbers, none, none, vectors, vectors, np.empty(0, dtype=np.bool_))


class _Feed:
    """Hands each run its particles, piece by piece; GATE asks when the last piece is used up."""

    def __init__(
        self,
        source: EngineSource,
        states: Sequence[HeadState],
        runs: Sequence[int],
        axis_distance: float,
        work_folder: Path,
    ) -> None:
        self._source = source
        self._states = states
        self._runs = runs
        self._axis_distance = axis_distance
        self._note = work_folder / _PROGRESS_FILE
        self._run = -1
        self._given = 0
        self._end = 0
        self.run_began_at: list[float] = []
        self.numbers = [int(source.first[segment + 1] - source.first[segment]) for segment in runs]
        self.size = min(PARTICLES_AT_A_TIME, max(self.numbers))

    @property
    def place(self) -> str:
        """The segment under way, for messages."""
        return "before the first segment" if self._run < 0 else self._states[self._runs[self._run]].place

    def next_batch(self, g4_source: Any) -> int:
        """Set the source's arrays and give their length. A piece never crosses the end of a run."""
        if self._given == self._end:
            self._begin_run()
        part = slice(self._given, min(self._given + self.size, self._end))
        self._arrays = as_geant4_reads(self._source.rows[part], self._axis_distance)
        hand_over(g4_source, self._arrays)
        self._given = part.stop
        return int(part.stop - part.start)

    def _begin_run(self) -> None:
        self._run += 1
        self.run_began_at.append(time.perf_counter())
        segment = self._runs[self._run]
        self._given, self._end = (int(self._source.first[segment + last]) for last in (0, 1))
        # Only a note for the message should the process die; hundreds of runs cannot each wait for the disk.
        self._note.write_text(self.place, encoding="utf-8")

    def check_complete(self) -> None:
        """Raise SimulationError when GATE did not ask for every particle."""
        if self._run != len(self._runs) - 1 or self._given != self._end:
            raise SimulationError(
                f"Full head: GATE ended in {self.place}, run {self._run + 1} of {len(self._runs)}, before all "
                "particles were followed. Run the same command again."
            )
