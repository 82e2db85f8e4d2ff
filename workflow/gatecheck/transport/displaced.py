"""A chunk with the patient displaced against the machine: the head's phase space carried over, then as any other."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from gatecheck.config import HeadKind, TransportConfig
from gatecheck.delivery.coordinates import RigidTransform
from gatecheck.delivery.displacement import carried_over
from gatecheck.delivery.storage import read_delivery
from gatecheck.linac.model import LinacModel
from gatecheck.transport.chunk import DoseTo, chunk_name, simulate_phase_space
from gatecheck.transport.head import sample_head
from gatecheck.transport.model import Chunk, ChunkResult, PhaseSpace


def displaced(phase_space: PhaseSpace, transform: RigidTransform) -> PhaseSpace:
    """A phase space as a displaced patient sees it.

    Parameters
    ----------
    transform : RigidTransform
        From where the patient was planned to where it lies; see `gatecheck.delivery.displacement`.
    """
    position, direction = carried_over(phase_space.position, phase_space.direction, transform)
    return replace(phase_space, position=position, direction=direction)


def simulate_displaced_chunk(
    *,
    transform: RigidTransform,
    delivery_path: Path,
    linac: LinacModel,
    patient_folder: Path,
    chunk: Chunk,
    inputs_sha256: str,
    settings: TransportConfig,
    dose_to: DoseTo,
    out_folder: Path,
    head: HeadKind = "fast",
) -> ChunkResult:
    """As `gatecheck.transport.chunk.simulate_chunk` with the machine model's source, for a displaced patient.

    Raises
    ------
    SimulationError, WriteError
        As there.
    """
    started = time.perf_counter()
    out_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".partial-{chunk_name(chunk.index)}-head-", dir=out_folder) as partial:
        phase_space = sample_head(
            read_delivery(delivery_path),
            linac,
            head=head,
            histories=chunk.histories,
            seed=chunk.seed,
            settings=settings,
            work_folder=Path(partial),
        )
    return simulate_phase_space(
        phase_space=displaced(phase_space, transform),
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
