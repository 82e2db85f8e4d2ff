"""One chunk: source photons through the head and GATE to dose and squared dose per box, or nothing at all."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.config import HeadKind
from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.coordinates import RigidTransform
from gatecheck.delivery.storage import read_delivery
from gatecheck.errors import SimulationError
from gatecheck.linac.model import LinacModel
from gatecheck.transport.aim import aimed_at
from gatecheck.transport.children import can_fork, end_child, fork_each
from gatecheck.transport.chunk_files import BegunChunk, chunk_name, remove_chunk
from gatecheck.transport.counterpart import Counterpart
from gatecheck.transport.displaced import displaced
from gatecheck.transport.electron_replay.provide import electron_steps, recorded_with
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.gate import GateRun, Progress, no_dose
from gatecheck.transport.gate_children import run_gate_for_each
from gatecheck.transport.head import sample_head
from gatecheck.transport.model import Chunk, ChunkResult, Engine, PhaseSpace
from gatecheck.transport.patient_files import PatientMatter
from gatecheck.transport.phase_space_source import PhaseSpaceSource
from gatecheck.transport.process import age_of_process, called_every_second, run_in_process, run_in_processes
from gatecheck.transport.run import (
    FollowedPhotons,
    follow_along_steps,
    follow_photons,
    leaves_electrons_to_gate,
    run_transport,
)
from gatecheck.transport.scored_dose import DoseTo
from gatecheck.transport.volumes import hull

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
_FEW = 1000  # source photons of a rehearsal


@dataclass(frozen=True, slots=True)
class ChunkInputs:
    """What all chunks of a plan have in common.

    Attributes
    ----------
    delivery_path : Path
    linac : LinacModel
    patient_folder : Path
    inputs_sha256 : str
        Of the plan.
    settings : TransportConfig
    dose_to : "medium" or "water"
    out_folder : Path
        Where chunk-0001-<box>.mha and, last, chunk-0001.json are written.
    head : "fast" or "full"
        See `gatecheck.transport.head.sample_head`.
    source : PhaseSpaceSource, optional
        Histories to use in place of the source model's photons: those of the chunk's own run, which no other has.
    transform : RigidTransform, optional
        From where the patient was planned to where it lies; see `gatecheck.delivery.displacement`.
    scratch_folder : Path, optional
        Where files lie that are needed while a job runs; without it in out_folder.
    counterpart : Counterpart, optional
        What the photons are sent through instead; for the fast head and the machine model's source alone.
    electron_steps_sha256 : str, optional
        Of the recorded steps that electrons have to take; without it, whichever are found or made.
    """

    delivery_path: Path
    linac: LinacModel
    patient_folder: Path
    inputs_sha256: str
    settings: TransportConfig
    dose_to: DoseTo
    out_folder: Path
    head: HeadKind = "fast"
    source: PhaseSpaceSource | None = None
    transform: RigidTransform | None = None
    scratch_folder: Path | None = None
    counterpart: Counterpart | None = None
    electron_steps_sha256: str | None = None

    def get_electron_steps(self, matter: PatientMatter) -> None:
        """Have recorded steps for this matter in memory, made where need be.

        Raises
        ------
        SimulationError
            When they are not those that all chunks of the plan have to take.
        """
        if not self.settings.replays_electrons:
            return
        # Of the plan's own matter: that of a counterpart may be grouped otherwise.
        here = electron_steps(self.settings, matter.flights_of or matter.patient.materials).sha256
        if self.electron_steps_sha256 not in (None, here):
            raise SimulationError(
                f"Recorded electron steps differ from those that the pilot took ({here[:8]} found, "
                f"{self.electron_steps_sha256[:8]} expected): they were recorded anew, on another kind of machine. All "
                "chunks of a dose have to take the same. Give every machine the same cache (GATECHECK_CACHE), or "
                "remove transport/pilots and transport/chunks.json of the case, and run the same command again."
            )
        electron_steps(self.settings, matter.patient.materials)

    def matter(self) -> PatientMatter:
        """What lies in the beam."""
        matter = PatientMatter.read(self.patient_folder)
        if self.counterpart is None:
            return matter
        own = matter.patient.materials
        materials = self.counterpart.materials_of(own)
        return replace(matter, patient=matter.patient.model_copy(update={"materials": materials}), flights_of=own)

    def phase_space_of(self, chunk: Chunk) -> PhaseSpace:
        """The chunk's particles behind the head.

        Raises
        ------
        InputError
            When a phase-space source has too few histories for this chunk.
        SimulationError
            When a full head fails, naming the segment.
        """
        if self.counterpart is not None:
            return self.counterpart.phase_space_of(chunk, read_delivery(self.delivery_path), self.linac)
        run = None if self.source is None else self.source.run_of_chunk(chunk.index, chunk.histories)
        self.out_folder.mkdir(parents=True, exist_ok=True)
        prefix = f".partial-{chunk_name(chunk.index)}-head-"
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self.out_folder) as partial:
            phase_space = sample_head(
                read_delivery(self.delivery_path),
                self.linac,
                head=self.head,
                histories=chunk.histories,
                seed=chunk.seed,
                settings=self.settings,
                work_folder=Path(partial),
                source=self.source,
                run=run,
            )
        return phase_space if self.transform is None else displaced(phase_space, self.transform)


def simulate_chunk(inputs: ChunkInputs, chunk: Chunk) -> ChunkResult:
    """Simulate one chunk in this process and write chunk-0001-<box>.mha and, last, chunk-0001.json.

    A full head runs in a process of its own before it. The same chunk gives the same images, bit for bit. A process
    may simulate one chunk; see `simulate_chunks` for several.

    Raises
    ------
    InputError
        When a phase-space source has too few histories for this chunk.
    SimulationError
        When GATE fails (in a full head, naming the segment) or gives a dose that cannot be right.
    WriteError
        When the result cannot be written; nothing is left of it.
    """
    if inputs.electron_steps_sha256 is not None:  # a full head takes long, and this is known before it
        inputs.get_electron_steps(inputs.matter())
    started = time.perf_counter()
    phase_space = inputs.phase_space_of(chunk)
    return simulate_phase_space(
        phase_space=phase_space,
        seconds_head=time.perf_counter() - started,
        linac_sha256=inputs.linac.content_sha256,
        matter=inputs.matter(),
        chunk=chunk,
        inputs_sha256=inputs.inputs_sha256,
        settings=inputs.settings,
        dose_to=inputs.dose_to,
        out_folder=inputs.out_folder,
        head=inputs.head,
    )


def simulate_chunks(
    inputs: ChunkInputs,
    chunks: Sequence[Chunk],
    *,
    at_a_time: int = 1,
    longest_seconds: float = math.inf,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """As `simulate_chunks_here`, in a process of its own.

    Parameters
    ----------
    progress : callable, optional
        Called at the start and when a chunk is done, with the number of chunks done and of all.
    """
    said = [-1]

    def look() -> None:
        done = sum((inputs.out_folder / f"{chunk_name(chunk.index)}.json").exists() for chunk in chunks)
        if progress is not None and done > said[0]:
            said[0] = done
            progress(done, len(chunks))

    for chunk in chunks:
        remove_chunk(inputs.out_folder, chunk.index)
    look()
    with called_every_second(look):
        run_in_process(
            simulate_chunks_here, inputs=inputs, chunks=chunks, at_a_time=at_a_time, longest_seconds=longest_seconds
        )


def starts_once(settings: TransportConfig, head: HeadKind) -> bool:
    """Whether chunks share one start of Geant4: where gatecheck follows the photons, behind a fast head."""
    return settings.tracks_photons and head == "fast" and can_fork()


def simulate_chunks_here(
    inputs: ChunkInputs, chunks: Sequence[Chunk], *, at_a_time: int = 1, longest_seconds: float = math.inf
) -> None:
    """As `simulate_chunk` for each of several, so many at a time, in children of this process.

    Where gatecheck follows the photons, Geant4's tables are built once for all of them; with photons or a full head in
    GATE each chunk has a process that starts anew. Either way a chunk is what it is when simulated alone.

    Parameters
    ----------
    longest_seconds : float
        A child that runs longer is killed; the rehearsal before them ends this process.

    Raises
    ------
    GatecheckError
        As `simulate_chunk`, of the first to fail; the others that had begun are finished and kept.
    """
    if not starts_once(inputs.settings, inputs.head):
        if len(chunks) == 1 and math.isinf(longest_seconds):
            simulate_chunk(inputs, chunks[0])
            return
        requests = [{"inputs": inputs, "chunk": chunk} for chunk in chunks]
        run_in_processes(simulate_chunk, requests, processes=at_a_time, longest_seconds=longest_seconds)
        return
    age = age_of_process()
    job_began = None if age is None else time.perf_counter() - age
    matter = inputs.matter()
    engine = describe_engine(inputs.settings, inputs.head)
    inputs.out_folder.mkdir(parents=True, exist_ok=True)
    tasks = [_ChunkTask(inputs, chunk, matter, engine, job_began) for chunk in chunks]
    settings = inputs.settings
    if settings.replays_electrons:
        tasks[0].get_ready()
        if not leaves_electrons_to_gate(matter.volumes, matter.patient.materials):
            _rehearse(tasks, longest_seconds)
            _replay_for_each(tasks, at_a_time=at_a_time, longest_seconds=longest_seconds)
            return
        settings = recorded_with(settings)
    _rehearse(tasks, longest_seconds)
    scratch = inputs.scratch_folder or inputs.out_folder
    with tempfile.TemporaryDirectory(prefix=".partial-simulate-", dir=scratch) as partial:
        run_gate_for_each(
            tasks,
            volumes=matter.volumes,
            materials=matter.patient.materials,
            settings=settings,
            dose_to=inputs.dose_to,
            work_folder=Path(partial),
            at_a_time=at_a_time,
            longest_seconds=longest_seconds,
        )


def _rehearse(tasks: Sequence[_ChunkTask], longest_seconds: float) -> None:
    """Have what is compiled loaded before this process forks, once and not in every child."""
    if len(tasks) == 1:
        return
    if not math.isinf(longest_seconds):
        faulthandler.dump_traceback_later(longest_seconds, exit=True)
    try:
        tasks[0].rehearse()
    except Exception as error:
        # Nothing is lost yet: the chunk itself comes to the same, keeps what others have done, and says what it is.
        logger.warning("not rehearsed: %s", type(error).__name__)
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _unsaid() -> Iterator[None]:
    """What gatecheck would say of itself, but for warnings, is left out."""
    own = logging.getLogger("gatecheck")
    level = own.level
    own.setLevel(logging.WARNING)
    try:
        yield
    finally:
        own.setLevel(level)


def _replay_for_each(tasks: Sequence[_ChunkTask], *, at_a_time: int, longest_seconds: float) -> None:
    """Each task in a child of this process, which has the recorded steps ready for all of them; without GATE."""
    child = fork_each(len(tasks), at_a_time=at_a_time, longest_seconds=longest_seconds)
    if child is None:
        return
    error: BaseException | None = None
    try:
        tasks[child.number].replay()
    except BaseException as found:
        error = found
    end_child(child, error)


class _ChunkTask:
    """A chunk for `run_gate_for_each` or `_replay_for_each`: its photons are followed in the child."""

    def __init__(
        self,
        inputs: ChunkInputs,
        chunk: Chunk,
        matter: PatientMatter,
        engine: Engine,
        job_began: float | None = None,
    ) -> None:
        self._inputs, self._chunk, self._matter, self._engine = inputs, chunk, matter, engine
        self._job_began = job_began
        self.seed = chunk.seed
        self._begun: tuple[BegunChunk, FollowedPhotons] | None = None
        self._seconds_to_get_ready = 0.0

    def particles(self) -> tuple[PhaseSpace, Sequence[int], Progress | None]:
        """Sample the head and follow its photons."""
        inputs, chunk = self._inputs, self._chunk
        started = time.perf_counter()
        phase_space = inputs.phase_space_of(chunk)
        begun = BegunChunk(
            matter=self._matter,
            engine=self._engine,
            phase_space=phase_space,
            aimed=aimed_at(phase_space, *hull(self._matter.volumes)),
            chunk=chunk,
            dose_to=inputs.dose_to,
            out_folder=inputs.out_folder,
            inputs_sha256=inputs.inputs_sha256,
            linac_sha256=inputs.linac.content_sha256,
            seconds_head=time.perf_counter() - started,
            seconds_into_job=None if self._job_began is None else started - self._job_began,
        )
        remove_chunk(inputs.out_folder, chunk.index)
        followed = follow_photons(
            begun.aimed,
            self._matter.volumes,
            self._matter.patient.materials,
            inputs.settings,
            seed=chunk.seed,
            dose_to=inputs.dose_to,
            of_interest=self._matter.fine,
            flights_of=self._matter.flights_of,
        )
        if inputs.settings.replays_electrons:
            followed = follow_along_steps(
                followed,
                self._matter.volumes,
                self._matter.patient.materials,
                inputs.settings,
                seed=chunk.seed,
                dose_to=inputs.dose_to,
                progress=begun.say,
                of_interest=self._matter.fine,
            )
        self._begun = begun, followed
        return followed.charged, followed.batches, followed.in_particles(begun.say)

    def rehearse(self) -> None:
        """Follow a few photons in this process, for nothing."""
        started = time.perf_counter()
        few = self._chunk.model_copy(update={"histories": min(_FEW, self._chunk.histories)})
        scratch = self._inputs.scratch_folder or self._inputs.out_folder
        with tempfile.TemporaryDirectory(prefix=".partial-rehearsal-", dir=scratch) as folder:
            inputs = replace(self._inputs, out_folder=Path(folder))
            with _unsaid():
                _ChunkTask(inputs, few, self._matter, self._engine).particles()
        self._seconds_to_get_ready += time.perf_counter() - started

    def get_ready(self) -> None:
        """Have the recorded steps in memory, made where need be."""
        started = time.perf_counter()
        self._inputs.get_electron_steps(self._matter)
        self._seconds_to_get_ready += time.perf_counter() - started

    def replay(self) -> None:
        """All of it, where GATE has nothing to do."""
        left, batches, _ = self.particles()
        if len(left):
            raise SimulationError("Electrons are left to GATE where there is no air. Please report this.")
        self.finish(no_dose(self._matter.volumes, len(batches)))

    def finish(self, run: GateRun) -> None:
        """Write the chunk's result."""
        if self._begun is None:
            raise SimulationError("A chunk ended that had not begun. Please report this with the configuration.")
        begun, followed = self._begun
        whole = followed.with_deposits(run)
        begun.finish(replace(whole, seconds_start_up=whole.seconds_start_up + self._seconds_to_get_ready))


def simulate_phase_space(
    *,
    phase_space: PhaseSpace,
    matter: PatientMatter,
    chunk: Chunk,
    inputs_sha256: str,
    settings: TransportConfig,
    dose_to: DoseTo,
    out_folder: Path,
    linac_sha256: str = "",
    head: HeadKind | None = None,
    seconds_head: float = 0.0,
) -> ChunkResult:
    """The part of `simulate_chunk` behind the head, for a phase space from anywhere.

    Parameters
    ----------
    head : "fast" or "full", optional
        Where it comes from, for the result to say so.
    seconds_head : float
        What it took, its start included.
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    remove_chunk(out_folder, chunk.index)
    begun = BegunChunk(
        matter=matter,
        engine=describe_engine(settings, head),
        phase_space=phase_space,
        aimed=aimed_at(phase_space, *hull(matter.volumes)),
        chunk=chunk,
        dose_to=dose_to,
        out_folder=out_folder,
        inputs_sha256=inputs_sha256,
        linac_sha256=linac_sha256,
        seconds_head=seconds_head,
    )
    with tempfile.TemporaryDirectory(prefix=f".partial-{chunk_name(chunk.index)}-", dir=out_folder) as partial:
        run = run_transport(
            volumes=matter.volumes,
            materials=matter.patient.materials,
            phase_space=begun.aimed,
            settings=settings,
            seed=chunk.seed,
            dose_to=dose_to,
            work_folder=Path(partial),
            progress=begun.say,
            of_interest=matter.fine,
            flights_of=matter.flights_of,
        )
    return begun.finish(run)
