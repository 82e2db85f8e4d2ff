"""A chunk's files: what they are called, written all together or not at all, and removed."""

from __future__ import annotations

import datetime
import logging
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from gatecheck.files import write_json
from gatecheck.transport.engine import made_with
from gatecheck.transport.gate import GateRun
from gatecheck.transport.jobs import forget_jobs
from gatecheck.transport.model import Chunk, ChunkResult, Engine, PhaseSpace
from gatecheck.transport.patient_files import PatientMatter
from gatecheck.transport.progress import progress_file, write_progress
from gatecheck.transport.scored_dose import DoseTo, doses_of, energy_balance, write_box

logger = logging.getLogger(__name__)


def chunk_name(index: int) -> str:
    """chunk-0001, the stem of a chunk's files."""
    return f"chunk-{index:04d}"


def remove_chunk(folder: Path, index: int) -> None:
    """Remove every trace of a chunk, done or interrupted; its JSON first, so that it never claims missing images."""
    name = chunk_name(index)
    forget_jobs(folder, index)
    (folder / f"{name}.json").unlink(missing_ok=True)
    for path in (*folder.glob(f"{name}-*.mha"), *folder.glob(f".{name}*")):
        path.unlink(missing_ok=True)
    for path in folder.glob(f".partial-{name}-*"):
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class BegunChunk:
    """A chunk behind its head, up to its result."""

    matter: PatientMatter
    engine: Engine
    phase_space: PhaseSpace
    aimed: PhaseSpace
    chunk: Chunk
    dose_to: DoseTo
    out_folder: Path
    inputs_sha256: str
    linac_sha256: str
    seconds_head: float
    seconds_into_job: float | None = None

    def say(self, particles: int) -> None:
        """Tell those who wait how far it is."""
        write_progress(self.out_folder, self.chunk.index, self.chunk.histories * particles // max(len(self.aimed), 1))

    def finish(self, run: GateRun) -> ChunkResult:
        """Write the images and, last, the JSON.

        Raises
        ------
        SimulationError
            When the dose cannot be right.
        WriteError
        """
        patient, chunk, name = self.matter.patient, self.chunk, chunk_name(self.chunk.index)
        energy = energy_balance(self.phase_space, self.aimed, run, patient.boxes, self.dose_to)
        doses = doses_of(run, self.matter.volumes, patient.materials, self.dose_to)
        writing = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=f".partial-{name}-", dir=self.out_folder) as partial:
            boxes = [
                write_box(Path(partial), self.out_folder, f"{name}-{box.name}.mha", box, dose)
                for box, dose in zip(patient.boxes, doses, strict=True)
            ]
        start_up_of_head = min(self.phase_space.seconds_start_up, self.seconds_head)
        result = ChunkResult(
            inputs_sha256=self.inputs_sha256,
            index=chunk.index,
            seed=chunk.seed,
            histories=chunk.histories,
            nominal_photons=self.phase_space.nominal_photons,
            dose_to=self.dose_to,
            linac_sha256=self.linac_sha256,
            particles=run.particles,
            boxes=tuple(boxes),
            engine=self.engine,
            made_with=made_with(),
            fates=self.aimed.fates,
            energy=energy,
            electron_steps_sha256=run.electron_steps_sha256,
            seconds={
                "head": self.seconds_head - start_up_of_head,
                "start_up": run.seconds_start_up + start_up_of_head,
                "transport": run.seconds_transport,
                "writing": time.perf_counter() - writing,
            },
            seconds_of_transport={
                "photons": run.seconds_photons,
                "along_steps": run.seconds_along_steps,
                "gate": run.seconds_transport - run.seconds_photons - run.seconds_along_steps,
            },
            seconds_into_job=self.seconds_into_job,
            ended_at=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
            peak_memory_mb=run.peak_memory_mb,
            shared_memory_mb=run.shared_memory_mb,
        ).sealed()
        write_json(self.out_folder / f"{name}.json", result)
        progress_file(self.out_folder, chunk.index).unlink(missing_ok=True)
        seconds = sum(result.seconds.values())
        logger.info("chunk %d: %d source photons in %.0f s", chunk.index, chunk.histories, seconds)
        return result
