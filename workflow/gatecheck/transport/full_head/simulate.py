"""The full head: source particles through jaws and leaves by Geant4, to a phase space below the collimators."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck.config import TransportConfig
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
from gatecheck.transport.gate import _new_simulation, _run
from gatecheck.transport.gate import _state as _process
from gatecheck.transport.geant4_data import activate, resolve
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.process import run_in_process

logger = logging.getLogger(__name__)

# Electrons, positrons and photons in the metal, and the electrons' steps: estimates, which
# tests/physics/test_full_head_cuts.py has yet to confirm.
PRODUCTION_CUT = 0.1  # mm
STEP_FUNCTION = (0.2, 0.05)  # largest fractional energy loss range per step, and final range in mm

_BATCH = 20_000
_SECOND = 1.0e9  # GATE's unit of time is the nanosecond
_PROGRESS_FILE = "segment.txt"


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
                simulate_full_head,
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
    if _process["used"]:
        raise SimulationError("A second simulation in one process was asked for; GATE runs one per process.")
    runs = [segment for segment in range(len(states)) if source.first[segment + 1] > source.first[segment]]
    if not runs:
        return _no_crossings()
    _process["used"] = True
    activate(resolve(settings.geant4_data))
    with tempfile.TemporaryDirectory(prefix="gate-", dir=work_folder) as folder:
        head_settings = _settings_of_head(settings, production_cut, step_function)
        simulation = _new_simulation(head_settings, _engine_seed(seed), Path(folder))
        simulation.run_timing_intervals = [[index * _SECOND, (index + 1) * _SECOND] for index in range(len(runs))]
        build_head(simulation, linac, [states[segment] for segment in runs])
        feed = _Feed(source, states, runs, linac.machine.source_axis_distance, work_folder)
        _add_source(simulation, feed)
        actor = simulation.add_actor("PhaseSpaceActor", "below_head")
        actor.attached_to = EXIT_PLANE
        actor.attributes = list(ATTRIBUTES)
        actor.output_filename = "below_head.root"
        try:
            _run(simulation)
        except SimulationError as error:
            raise SimulationError(f"Full head: {feed.place}: {error}") from error
        feed.check_complete()
        return read_crossings(Path(folder) / "below_head.root", runs, source)


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
        self.numbers = [int(source.first[segment + 1] - source.first[segment]) for segment in runs]
        self.size = min(_BATCH, max(self.numbers))

    @property
    def place(self) -> str:
        """The segment under way, for messages."""
        return "before the first segment" if self._run < 0 else self._states[self._runs[self._run]].place

    def next_batch(self, g4_source: Any) -> int:
        """Set the source's arrays and give their length. A piece never crosses the end of a run."""
        if self._given == self._end:
            self._begin_run()
        part = slice(self._given, min(self._given + self.size, self._end))
        # GATE keeps pointers into these arrays until the next piece.
        self._arrays = as_geant4_reads(self._source.rows[part], self._axis_distance)
        for name, array in self._arrays.items():
            getattr(g4_source, f"Set{name}Batch")(array)
        self._given = part.stop
        return int(part.stop - part.start)

    def _begin_run(self) -> None:
        self._run += 1
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


def _add_source(simulation: Any, feed: _Feed) -> None:
    """A phase-space source that reads from memory, with each run's number of particles."""
    from opengate.sources.phspsources import PhaseSpaceSourceGenerator  # noqa: PLC0415

    class RunGenerator(PhaseSpaceSourceGenerator):  # type: ignore[misc]
        """Takes the place of opengate's reader of ROOT files."""

        def read_phsp_and_keys(self) -> None:
            self.num_entries = sum(feed.numbers)

        def generate(self, g4_source: Any, pid: int) -> int:
            return feed.next_batch(g4_source)

    source = simulation.add_source("PhaseSpaceSource", "source")
    source.attached_to = "world"
    source.phsp_file = "memory"
    source.global_flag = True
    source.particle = ""
    source.batch_size = feed.size
    source.n = feed.numbers
    source.entry_start = 0
    source.particle_generators[0] = RunGenerator(0)
