"""One chunk: source photons through the head and GATE to dose and squared dose per box, or nothing at all."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.config import HeadKind, TransportConfig
from gatecheck.delivery.coordinates import RigidTransform
from gatecheck.delivery.storage import read_delivery
from gatecheck.errors import SimulationError
from gatecheck.files import sha256_of_file, write_image, write_json
from gatecheck.linac.model import LinacModel
from gatecheck.patient.model import Material, VoxelBox
from gatecheck.transport.aim import aimed_at
from gatecheck.transport.displaced import displaced
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.gate import GateRun, Score
from gatecheck.transport.head import sample_head
from gatecheck.transport.model import Chunk, ChunkResult, PhaseSpace, ScoredBox
from gatecheck.transport.patient_files import read_box, read_patient
from gatecheck.transport.phase_space_source import PhaseSpaceSource
from gatecheck.transport.progress import progress_file, write_progress
from gatecheck.transport.run import run_transport
from gatecheck.transport.volumes import Volume, density_zyx, hull

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
DoseTo = Literal["medium", "water"]

MEV_PER_GRAM_IN_GRAY = 1.602176634e-10
"""1 MeV/g in Gy (CODATA 2018, exact)."""

# Energy can only be lost on the way; this leaves room for single-precision sums.
_ENERGY_TOLERANCE = 1e-3


def chunk_name(index: int) -> str:
    """chunk-0001, the stem of a chunk's files."""
    return f"chunk-{index:04d}"


def simulate_chunk(
    *,
    delivery_path: Path,
    linac: LinacModel,
    patient_folder: Path,
    chunk: Chunk,
    inputs_sha256: str,
    settings: TransportConfig,
    dose_to: DoseTo,
    out_folder: Path,
    head: HeadKind = "fast",
    source: PhaseSpaceSource | None = None,
    transform: RigidTransform | None = None,
) -> ChunkResult:
    """Simulate one chunk in this process and write chunk-0001-<box>.mha and, last, chunk-0001.json.

    A full head runs in a process of its own before it. The same chunk gives the same images, bit for bit. A process
    may simulate one chunk.

    Parameters
    ----------
    head : "fast" or "full"
        See `gatecheck.transport.head.sample_head`.
    source : PhaseSpaceSource, optional
        Histories to use in place of the source model's photons: those of the chunk's own run, which no other has.
    transform : RigidTransform, optional
        From where the patient was planned to where it lies; see `gatecheck.delivery.displacement`.

    Raises
    ------
    InputError
        When a phase-space source has too few histories for this chunk.
    SimulationError
        When GATE fails (in a full head, naming the segment) or gives a dose that cannot be right.
    WriteError
        When the result cannot be written; nothing is left of it.
    """
    started = time.perf_counter()
    delivery = read_delivery(delivery_path)
    run = None if source is None else source.run_of_chunk(chunk.index, chunk.histories)
    out_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".partial-{chunk_name(chunk.index)}-head-", dir=out_folder) as partial:
        phase_space = sample_head(
            delivery,
            linac,
            head=head,
            histories=chunk.histories,
            seed=chunk.seed,
            settings=settings,
            work_folder=Path(partial),
            source=source,
            run=run,
        )
    return simulate_phase_space(
        phase_space=phase_space if transform is None else displaced(phase_space, transform),
        seconds_head=time.perf_counter() - started,
        linac_sha256=linac.content_sha256,
        patient_folder=patient_folder,
        chunk=chunk,
        inputs_sha256=inputs_sha256,
        settings=settings,
        dose_to=dose_to,
        out_folder=out_folder,
        head=head,
    )


def simulate_phase_space(
    *,
    phase_space: PhaseSpace,
    patient_folder: Path,
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
    patient = read_patient(patient_folder)
    volumes = [read_box(patient_folder, box) for box in patient.boxes]
    out_folder.mkdir(parents=True, exist_ok=True)
    remove_chunk(out_folder, chunk.index)
    engine = describe_engine(settings, head)
    aimed = aimed_at(phase_space, *hull(volumes))
    name = chunk_name(chunk.index)

    def say(particles: int) -> None:
        write_progress(out_folder, chunk.index, chunk.histories * particles // max(len(aimed), 1))

    with tempfile.TemporaryDirectory(prefix=f".partial-{name}-", dir=out_folder) as partial:
        run = run_transport(
            volumes=volumes,
            materials=patient.materials,
            phase_space=aimed,
            settings=settings,
            seed=chunk.seed,
            dose_to=dose_to,
            work_folder=Path(partial),
            progress=say,
            of_interest=_fine(patient.boxes, volumes),
        )
        energy = _energy_balance(phase_space, aimed, run, patient.boxes, dose_to)
        writing = time.perf_counter()
        boxes = [
            _write_box(Path(partial), out_folder, f"{name}-{box.name}.mha", box, dose)
            for box, dose in zip(patient.boxes, _doses(run, volumes, patient.materials, dose_to), strict=True)
        ]
    result = ChunkResult(
        inputs_sha256=inputs_sha256,
        index=chunk.index,
        seed=chunk.seed,
        histories=chunk.histories,
        nominal_photons=phase_space.nominal_photons,
        dose_to=dose_to,
        linac_sha256=linac_sha256,
        particles=run.particles,
        boxes=tuple(boxes),
        engine=engine,
        fates=aimed.fates,
        energy=energy,
        seconds={
            "head": max(seconds_head - phase_space.seconds_start_up, 0.0),
            "start_up": run.seconds_start_up + min(phase_space.seconds_start_up, seconds_head),
            "transport": run.seconds_transport,
            "writing": time.perf_counter() - writing,
        },
        peak_memory_mb=run.peak_memory_mb,
    )
    write_json(out_folder / f"{name}.json", result)
    progress_file(out_folder, chunk.index).unlink(missing_ok=True)
    logger.info("chunk %d: %d source photons in %.0f s", chunk.index, chunk.histories, sum(result.seconds.values()))
    return result


def _fine(boxes: Sequence[VoxelBox], volumes: Sequence[Volume]) -> Volume | None:
    """The volume of fine voxels, where there is one."""
    fine = [volume for box, volume in zip(boxes, volumes, strict=True) if box.role == "fine"]
    return fine[0] if len(fine) == 1 else None


def remove_chunk(folder: Path, index: int) -> None:
    """Remove every trace of a chunk, done or interrupted; its JSON first, so that it never claims missing images."""
    name = chunk_name(index)
    (folder / f"{name}.json").unlink(missing_ok=True)
    for path in (*folder.glob(f"{name}-*.mha"), *folder.glob(f".{name}*")):
        path.unlink(missing_ok=True)
    for path in folder.glob(f".partial-{name}-*"):
        shutil.rmtree(path, ignore_errors=True)


def _energy_balance(
    phase_space: PhaseSpace, aimed: PhaseSpace, run: GateRun, boxes: Sequence[VoxelBox], dose_to: DoseTo
) -> dict[str, float]:
    below_head = float((phase_space.weight * phase_space.energy).sum())
    entered = float((aimed.weight * aimed.energy).sum())
    per_box = {f"deposited_{box.name}": float(s.energy_zyx.sum()) for box, s in zip(boxes, run.scores, strict=True)}
    deposited = sum(per_box.values())
    if dose_to == "medium" and deposited > entered * (1 + _ENERGY_TOLERANCE):
        raise SimulationError(
            f"{deposited:.6g} MeV deposited of {entered:.6g} MeV that entered: the engine's score cannot be right. "
            "Please report this with the configuration."
        )
    return {"below_head": below_head, "entered": entered, "deposited": deposited, **per_box}


def _doses(
    run: GateRun, volumes: Sequence[Volume], materials: Sequence[Material], dose_to: DoseTo
) -> list[tuple[FloatArray, FloatArray]]:
    return [
        dose_from_energy(score, volume, materials, dose_to) for score, volume in zip(run.scores, volumes, strict=True)
    ]


def dose_from_energy(
    score: Score, volume: Volume, materials: Sequence[Material], dose_to: DoseTo
) -> tuple[FloatArray, FloatArray]:
    """Sum of dose (Gy) and sum of squared dose (Gy²) per scoring voxel, each indexed [z, y, x]."""
    density = density_zyx(volume, materials) if dose_to == "medium" else np.ones(score.energy_zyx.shape)
    grams = density * float(np.prod(volume.spacing)) * 1e-3
    gray_per_mev = MEV_PER_GRAM_IN_GRAY / grams
    return score.energy_zyx * gray_per_mev, score.energy_squared_zyx * gray_per_mev**2


def _write_box(
    partial: Path, out_folder: Path, name: str, box: VoxelBox, dose: tuple[FloatArray, FloatArray]
) -> ScoredBox:
    image = sitk.GetImageFromArray(np.stack(dose, axis=-1).astype(np.float32), isVector=True)
    image.SetOrigin(box.origin)
    image.SetSpacing(box.spacing)
    write_image(partial / name, image)
    digest = sha256_of_file(partial / name)
    (partial / name).replace(out_folder / name)
    return ScoredBox(name=box.name, file=name, sha256=digest)
