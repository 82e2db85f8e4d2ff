"""How many source photons, in how many chunks, so that the wanted sigma is met: a pilot run says."""

from __future__ import annotations

import hashlib
import logging
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.config import HeadKind
from gatecheck.config_transport import TransportConfig
from gatecheck.errors import ResultError, SimulationError
from gatecheck.files import array_zyx, read_image, read_json, sha256_of_file, sha256_of_json, write_json
from gatecheck.linac.model import LinacModel
from gatecheck.patient.model import Grid, VoxelBox
from gatecheck.transport.chunk import ChunkInputs, simulate_chunk, starts_once
from gatecheck.transport.chunk_files import remove_chunk
from gatecheck.transport.engine import code_sha256, describe_engine
from gatecheck.transport.head_settings import MOST_HISTORIES_AT_ONCE
from gatecheck.transport.jobs import forget_jobs
from gatecheck.transport.model import Chunk, ChunkPlan, ChunkResult, Engine, PhaseSpaceUse, Precision, TopUp
from gatecheck.transport.patient_files import body_voxels_per_box_voxel, read_body, read_patient
from gatecheck.transport.phase_space_source import PhaseSpaceSource
from gatecheck.transport.process import run_in_process
from gatecheck.transport.rounds import (
    added_chunks,
    chunk_plan_file,
    chunks_to_add,
    forget_top_ups,
    read_plan,
    top_up_file,
)
from gatecheck.transport.scored_dose import DoseTo

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

PILOT_INDEX = 0
# More photons than the pilot asks for: its estimate has its own noise, and takes the electrons that one photon
# sets free for independent, which makes sigma 3 to 5 % too small.
_RESERVE = 1.15
# One standard deviation, mm: a pilot's voxels hold few photons each, but a small target smoothed too widely loses its
# maximum, and one of 0.3 ml would ask for 3 times the photons that it takes with 6 mm for all.
_SMOOTHINGS = (2.0, 3.0, 4.5, 6.0)
_NOISE_OF_MAXIMUM = 0.05
_SEED_DIGITS = 8
_SEED_MASK = 0x7FFFFFFF


def inputs_sha256(
    *,
    delivery_path: Path,
    linac_sha256: str,
    patient_folder: Path,
    engine: Engine,
    dose_to: DoseTo,
    source: PhaseSpaceSource | None = None,
) -> str:
    """One hash over all that decides the dose: delivery, machine, source, patient, engine, physics, data and code.

    The engine names the head, and a full head's production cut, electron steps and largest segment.
    """
    return sha256_of_json(
        {
            "delivery": sha256_of_file(delivery_path),
            "linac": linac_sha256,
            "source": "model" if source is None else source.content_sha256,
            "patient": sha256_of_file(patient_folder / "patient.json"),
            "engine": engine.model_dump(),
            "dose_to": dose_to,
            "code": code_sha256(),
        }
    )


def check_plan(
    plan: ChunkPlan,
    *,
    delivery_path: Path,
    linac: LinacModel,
    patient_folder: Path,
    settings: TransportConfig,
    dose_to: DoseTo,
    head: HeadKind = "fast",
    source: PhaseSpaceSource | None = None,
) -> None:
    """Refuse a plan that was made for other inputs, other data or another version of the code than are here.

    Raises
    ------
    ResultError
    """
    here = inputs_sha256(
        delivery_path=delivery_path,
        linac_sha256=linac.content_sha256,
        patient_folder=patient_folder,
        engine=describe_engine(settings, head),
        dose_to=dose_to,
        source=source,
    )
    if here != plan.inputs_sha256:
        raise ResultError(
            "chunks.json was planned for another delivery, machine model, head, source, patient, physics, Geant4 data "
            "set or version of gatecheck than are here now. Run gatecheck verify, or plan-chunks, again."
        )


def chunk_seed(inputs: str, linac_sha256: str, index: int, user_seed: int = 0) -> int:
    """Seed of a chunk, from 1 to 2**31 - 1: a hash of what it simulates, so that it depends on nothing else."""
    text = f"{inputs}|{linac_sha256}|{index}|{user_seed}"
    number = int(hashlib.sha256(text.encode("ascii")).hexdigest()[:_SEED_DIGITS], 16)
    return (number & _SEED_MASK) or 1


@dataclass(frozen=True, slots=True)
class PilotEstimate:
    """What a pilot run says of the runs to come.

    Attributes
    ----------
    relative_sigma_of_one : float
        Mean relative sigma (k = 1) of voxels above half the maximum if one history were simulated;
        divided by the square root of the histories it is that of the run.
    seconds_per_history : float
        Head and transport, without start-up.
    seconds_start_up : float
        What every chunk takes beside: the start of its processes and, in a full head, the changes of segment.
    """

    relative_sigma_of_one: float
    seconds_per_history: float
    seconds_start_up: float


def plan_chunks(
    *,
    delivery_path: Path,
    linac: LinacModel,
    patient_folder: Path,
    settings: TransportConfig,
    dose_to: DoseTo,
    out_folder: Path,
    head: HeadKind = "fast",
    source: PhaseSpaceSource | None = None,
) -> ChunkPlan:
    """Run a pilot in a process of its own, plan the chunks and write chunks.json.

    Parameters
    ----------
    head : "fast" or "full"
        Of the pilot, as of the chunks that it plans.
    source : PhaseSpaceSource, optional
        Recorded particles in place of the machine model's source.

    Raises
    ------
    InputError
        When a phase-space source has too few histories for the wanted sigma.
    SimulationError
        When the pilot gives no dose in the body.
    """
    engine = describe_engine(settings, head)
    inputs = inputs_sha256(
        delivery_path=delivery_path,
        linac_sha256=linac.content_sha256,
        patient_folder=patient_folder,
        engine=engine,
        dose_to=dose_to,
        source=source,
    )
    out_folder.mkdir(parents=True, exist_ok=True)
    seed = chunk_seed(inputs, linac.content_sha256, PILOT_INDEX, settings.seed)
    pilot = Chunk(index=PILOT_INDEX, histories=_pilot_histories(settings, source), seed=seed)
    with tempfile.TemporaryDirectory(prefix=".partial-pilot-", dir=out_folder) as folder:
        common = ChunkInputs(
            delivery_path=delivery_path,
            linac=linac,
            patient_folder=patient_folder,
            inputs_sha256=inputs,
            settings=settings,
            dose_to=dose_to,
            out_folder=Path(folder),
            head=head,
            source=source,
        )
        result: ChunkResult = run_in_process(simulate_chunk, inputs=common, chunk=pilot)
        estimate = estimate_from_pilot(result, Path(folder), patient_folder)
        remove_chunk(Path(folder), PILOT_INDEX)
    seeds = [
        chunk_seed(inputs, linac.content_sha256, index, settings.seed)
        for index in range(1, number_of_chunks(settings, estimate, head) + 1)
    ]
    plan = make_plan(inputs, seeds, settings, estimate, result.histories)
    shared = result.shared_memory_mb if starts_once(settings, head) else 0.0
    plan = plan.model_copy(update={"peak_memory_mb": result.peak_memory_mb, "shared_memory_mb": shared})
    if source is not None:
        last = plan.chunks[-1]
        used = source.run_of_chunk(last.index, last.histories).end
        plan = plan.model_copy(update={"phase_space": phase_space_use(source, used)})
    forget_jobs(out_folder)
    forget_top_ups(out_folder)
    _remove_stale_chunks(out_folder, plan, linac.content_sha256, settings.seed)
    write_json(chunk_plan_file(out_folder), plan)
    return plan


def plan_top_up(
    *,
    number: int,
    precisions: tuple[Precision, ...],
    linac_sha256: str,
    settings: TransportConfig,
    out_folder: Path,
    source: PhaseSpaceSource | None = None,
) -> TopUp:
    """Ask for the chunks that bring every precision to what is wanted, and write top-up-<number>.json.

    Parameters
    ----------
    number : int
        Of the round, from 1; later rounds are forgotten.
    precisions : of all chunks so far

    Raises
    ------
    ResultError
        When the plan is missing or damaged.
    """
    forget_top_ups(out_folder, number)
    plan = read_plan(out_folder)
    most = settings.maximum_source_photons if source is None else min(settings.maximum_source_photons, source.uses)
    first = plan.chunks[-1].index + 1
    seeds = [
        chunk_seed(plan.inputs_sha256, linac_sha256, index, settings.seed)
        for index in range(first, first + chunks_to_add(plan, precisions, most))
    ]
    if len({chunk.seed for chunk in plan.chunks} | set(seeds)) != len(plan.chunks) + len(seeds):
        raise SimulationError("Two chunks would have the same seed. Set transport.seed to another number.")
    chunks = added_chunks(plan, seeds)
    top_up = TopUp(number=number, inputs_sha256=plan.inputs_sha256, precisions=precisions, chunks=chunks)
    if source is not None and chunks:
        used = source.run_of_chunk(chunks[-1].index, chunks[-1].histories).end
        top_up = top_up.model_copy(update={"phase_space": phase_space_use(source, used)})
    write_json(top_up_file(out_folder, number), top_up)
    return top_up


def phase_space_use(source: PhaseSpaceSource, histories_used: int) -> PhaseSpaceUse:
    """What a result says of its phase space.

    Parameters
    ----------
    histories_used : int
        Different histories, however often each was used.
    """
    summary, config = source.summary, source.config
    return PhaseSpaceUse(
        files=len(summary.files),
        particles=sum(file.particles for file in summary.files),
        histories=summary.histories,
        histories_used=histories_used,
        recycle=config.recycle,
        rotate=config.rotate,
        latent_relative_sigma=source.latent_relative_sigma(histories_used),
        warnings=summary.warnings,
    )


def _remove_stale_chunks(folder: Path, plan: ChunkPlan, linac_sha256: str, user_seed: int) -> None:
    """Remove the chunks of other plans; what lies beyond this plan's last, a round may ask for again."""
    each = plan.chunks[0].histories
    for path in folder.glob("chunk-*.json"):
        try:
            result = read_json(path, ChunkResult)
            index = result.index
            seed = chunk_seed(plan.inputs_sha256, linac_sha256, index, user_seed)
            fits = (result.inputs_sha256, result.histories, result.seed) == (plan.inputs_sha256, each, seed)
        except ResultError:
            index, fits = int(path.stem.removeprefix("chunk-")), False
        if not fits:
            remove_chunk(folder, index)


def _pilot_histories(settings: TransportConfig, source: PhaseSpaceSource | None) -> int:
    limits = [settings.pilot_photons, settings.maximum_source_photons]
    if source is not None:
        limits.append(source.uses)
    if settings.source_photons is not None:
        limits.append(settings.source_photons)
    return min(limits)


def histories_wanted(settings: TransportConfig, estimate: PilotEstimate) -> int:
    """Source photons for the wanted sigma with a reserve, or as asked for, never above the maximum."""
    if settings.source_photons is not None:
        return min(settings.source_photons, settings.maximum_source_photons)
    ratio = estimate.relative_sigma_of_one / settings.target_relative_sigma
    wanted = math.ceil(_RESERVE * ratio**2)
    if wanted > settings.maximum_source_photons:
        reached = estimate.relative_sigma_of_one / math.sqrt(settings.maximum_source_photons)
        logger.warning(
            "transport.maximum_source_photons = %d stops the run at a mean relative sigma of %.1f %%, "
            "transport.target_relative_sigma = %.1f %% would need %d.",
            settings.maximum_source_photons,
            100 * reached,
            100 * settings.target_relative_sigma,
            wanted,
        )
    return min(wanted, settings.maximum_source_photons)


def number_of_chunks(settings: TransportConfig, estimate: PilotEstimate, head: HeadKind = "fast") -> int:
    """Chunks of about the wanted length, never fewer than the standard deviation needs.

    Where each chunk starts by itself (see `simulate_chunks_here`), its length is with its start, and it follows photons
    for as long as it starts, or longer, whatever length is wanted.
    """
    histories = histories_wanted(settings, estimate)
    start_up = 0.0 if starts_once(settings, head) else estimate.seconds_start_up
    seconds_for_photons = max(60 * settings.chunk_minutes - start_up, start_up)
    count = max(settings.minimum_chunks, math.ceil(histories * estimate.seconds_per_history / seconds_for_photons))
    return count if head == "fast" else max(count, math.ceil(histories / MOST_HISTORIES_AT_ONCE))


def make_plan(
    inputs: str, seeds: list[int], settings: TransportConfig, estimate: PilotEstimate, pilot_histories: int
) -> ChunkPlan:
    """Share the source photons out evenly, one chunk per seed.

    Raises
    ------
    SimulationError
        When two chunks would have equal seeds.
    """
    if len(set(seeds)) != len(seeds):
        raise SimulationError("Two chunks would have the same seed. Set transport.seed to another number.")
    each = max(1, math.ceil(histories_wanted(settings, estimate) / len(seeds)))
    return ChunkPlan(
        inputs_sha256=inputs,
        chunks=tuple(Chunk(index=index, histories=each, seed=seed) for index, seed in enumerate(seeds, start=1)),
        target_relative_sigma=None if settings.source_photons is not None else settings.target_relative_sigma,
        expected_relative_sigma=estimate.relative_sigma_of_one / math.sqrt(each * len(seeds)),
        seconds_per_history=estimate.seconds_per_history,
        seconds_start_up=estimate.seconds_start_up,
        pilot_histories=pilot_histories,
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """A box of the pilot: sums over its histories, and how many joined voxels of each voxel are in the body."""

    dose: FloatArray
    squared: FloatArray
    in_body: FloatArray
    spacing: tuple[float, float, float]

    @classmethod
    def read(cls, path: Path, box: VoxelBox, body_zyx: npt.NDArray[np.bool_], grid: Grid) -> _Scored:
        both = array_zyx(read_image(path)).astype(np.float64)
        return cls(both[..., 0], both[..., 1], body_voxels_per_box_voxel(box, body_zyx, grid), box.spacing)

    def smoothed(self, deviation: float) -> _Scored:
        """Dose and squared dose by a Gaussian of that many mm."""
        from scipy import ndimage  # noqa: PLC0415 - half a second, for the pilot alone

        width = [deviation / step for step in reversed(self.spacing)]
        return replace(
            self,
            dose=ndimage.gaussian_filter(self.dose, width),
            squared=ndimage.gaussian_filter(self.squared, width),
        )

    @property
    def maximum(self) -> float:
        """In the body."""
        return float((self.dose * (self.in_body > 0)).max())

    def noise_of_maximum(self, deviation: float) -> float:
        """Relative sigma of the maximum after smoothing by so many mm, as of so many voxels together."""
        place = np.unravel_index(int((self.dose * (self.in_body > 0)).argmax()), self.dose.shape)
        voxels = math.prod(max(1.0, 2 * math.sqrt(math.pi) * deviation / step) for step in self.spacing)
        return math.sqrt(float(self.squared[place]) / voxels) / float(self.dose[place])


def estimate_from_pilot(result: ChunkResult, chunk_folder: Path, patient_folder: Path) -> PilotEstimate:
    """Relative sigma per history in fine voxels where the smoothed pilot dose is above half its maximum, and speed.

    Without fine voxels it is that of all. Dose and squared dose are smoothed box by box, by as much as leaves 5 % of
    noise in the maximum, between 2 and 6 mm: a pilot's voxels hold too few photons for a variance of their own.

    Raises
    ------
    SimulationError
        When no dose reached these.
    """
    patient = read_patient(patient_folder)
    body = read_body(patient_folder, patient)
    boxes = list(zip(result.boxes, patient.boxes, strict=True))
    fine = [(scored, box) for scored, box in boxes if box.role == "fine"]
    parts = [_Scored.read(chunk_folder / scored.file, box, body, patient.joined_grid) for scored, box in fine or boxes]
    if max(part.maximum for part in parts) <= 0:
        raise SimulationError(
            f"The pilot run of {result.histories} source photons gave no dose in the "
            f"{'fine region' if fine else 'body'} ({result.particles} "
            "particles reached the patient). Check the isocentre against the CT, or raise transport.pilot_photons."
        )
    parts = _smoothed(parts)
    maximum = max(part.maximum for part in parts)
    weighted = total = 0.0
    for part in parts:
        high = (part.dose > maximum / 2) & (part.in_body > 0)
        mean = part.dose[high] / result.histories
        variance = np.maximum(part.squared[high] / result.histories - mean**2, 0.0)
        weighted += float((part.in_body[high] * np.sqrt(variance) / mean).sum())
        total += float(part.in_body[high].sum())
    seconds = result.seconds["head"] + result.seconds["transport"]
    return PilotEstimate(weighted / total, seconds / result.histories, result.seconds["start_up"])


def _smoothed(parts: list[_Scored]) -> list[_Scored]:
    """All boxes alike, by no more than the maximum's noise asks for."""
    for deviation in _SMOOTHINGS:
        smoothed = [part.smoothed(deviation) for part in parts]
        highest = max(smoothed, key=lambda part: part.maximum)
        if highest.noise_of_maximum(deviation) <= _NOISE_OF_MAXIMUM:
            break
    return smoothed
