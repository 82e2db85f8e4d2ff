"""How many source photons, in how many chunks, so that the wanted sigma is met: a pilot run says."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gatecheck.config import HeadKind
from gatecheck.config_transport import TransportConfig
from gatecheck.errors import ResultError, SimulationError
from gatecheck.files import read_json, sha256_of_file, sha256_of_json, write_json
from gatecheck.linac.model import LinacModel
from gatecheck.transport.chunk import ChunkInputs, simulate_chunk, starts_once
from gatecheck.transport.chunk_files import remove_chunk
from gatecheck.transport.engine import code_sha256, describe_engine
from gatecheck.transport.head_settings import MOST_HISTORIES_AT_ONCE
from gatecheck.transport.jobs import forget_jobs, is_of
from gatecheck.transport.model import Chunk, ChunkPlan, ChunkResult, Engine, PhaseSpaceUse, Pilot, Precision, TopUp
from gatecheck.transport.phase_space_source import PhaseSpaceSource
from gatecheck.transport.pilot import PilotEstimate, estimate_from_pilot, kept_pilot, pilot_file
from gatecheck.transport.process import LONGEST_WITHOUT_PLAN, run_in_processes
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

PILOT_INDEX = 0
# More photons than the pilot asks for: its estimate has its own noise, and takes the electrons that one photon
# sets free for independent, which makes sigma 3 to 5 % too small.
_RESERVE = 1.15
# Chunks that are there keep their length up to so many times the number that would be planned: each has a start of its
# own, and beyond it what is there is little of what is wanted.
_MOST_TIMES_AS_MANY = 4
# Source photons of a chunk at most, however fast it is: all that come out of the head are in memory at once, some
# 110 bytes for each photon of the source where fields are large.
_MOST_OF_A_CHUNK = 20_000_000
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

    What the pilot found is kept in pilots, and used when chunks are planned again from the same inputs.

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
    common = ChunkInputs(
        delivery_path=delivery_path,
        linac=linac,
        patient_folder=patient_folder,
        inputs_sha256=inputs,
        settings=settings,
        dose_to=dose_to,
        out_folder=out_folder,
        head=head,
        source=source,
    )
    pilot = _pilot(common)
    most = settings.maximum_source_photons if source is None else min(settings.maximum_source_photons, source.uses)
    finished = _finished_chunks(out_folder, pilot, linac.content_sha256, settings.seed)
    count, each = share_out(settings, pilot, head, kept=[chunk.histories for chunk in finished], most=most)
    seeds = [chunk_seed(inputs, linac.content_sha256, index, settings.seed) for index in range(1, count + 1)]
    plan = make_plan(pilot, seeds, each, settings)
    if source is not None:
        last = plan.chunks[-1]
        used = source.run_of_chunk(last.index, last.histories).end
        plan = plan.model_copy(update={"phase_space": phase_space_use(source, used)})
    forget_jobs(out_folder)
    forget_top_ups(out_folder)
    _remove_stale_chunks(out_folder, plan, linac.content_sha256, settings.seed)
    write_json(chunk_plan_file(out_folder), plan)
    return plan


def _pilot(inputs: ChunkInputs) -> Pilot:
    """Of these chunks: kept from before, or run now and kept."""
    settings = inputs.settings
    seed = chunk_seed(inputs.inputs_sha256, inputs.linac.content_sha256, PILOT_INDEX, settings.seed)
    chunk = Chunk(index=PILOT_INDEX, histories=_pilot_histories(settings, inputs.source), seed=seed)
    kept = kept_pilot(inputs.out_folder, inputs.inputs_sha256, chunk)
    if kept is not None:
        logger.info("the pilot of these inputs has run before: what it found is used")
        return kept
    with tempfile.TemporaryDirectory(prefix=".partial-pilot-", dir=inputs.out_folder) as folder:
        request = {"inputs": replace(inputs, out_folder=Path(folder)), "chunk": chunk}
        result: ChunkResult = run_in_processes(simulate_chunk, [request], longest_seconds=LONGEST_WITHOUT_PLAN)[0]
        estimate = estimate_from_pilot(result, Path(folder), inputs.patient_folder)
        remove_chunk(Path(folder), PILOT_INDEX)
    pilot = Pilot(
        inputs_sha256=inputs.inputs_sha256,
        histories=chunk.histories,
        seed=seed,
        relative_sigma_of_one=estimate.relative_sigma_of_one,
        seconds_per_history=estimate.seconds_per_history,
        seconds_start_up=estimate.seconds_start_up,
        peak_memory_mb=result.peak_memory_mb,
        shared_memory_mb=result.shared_memory_mb if starts_once(settings, inputs.head) else 0.0,
        electron_steps_sha256=result.electron_steps_sha256,
    )
    path = pilot_file(inputs.out_folder, inputs.inputs_sha256, chunk)
    path.parent.mkdir(exist_ok=True)
    write_json(path, pilot)
    return pilot


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


def _finished_chunks(folder: Path, pilot: Pilot, linac_sha256: str, user_seed: int) -> list[ChunkResult]:
    """What was simulated from the pilot's inputs and seed before, and is whole as far as its JSON says."""
    found = []
    for path in sorted(folder.glob("chunk-*.json")):
        with contextlib.suppress(ResultError):
            result = read_json(path, ChunkResult)
            seed = chunk_seed(pilot.inputs_sha256, linac_sha256, result.index, user_seed)
            of_these = (pilot.inputs_sha256, pilot.electron_steps_sha256, seed)
            if (result.inputs_sha256, result.electron_steps_sha256, result.seed) == of_these:
                found.append(result)
    return found


def _remove_stale_chunks(folder: Path, plan: ChunkPlan, linac_sha256: str, user_seed: int) -> None:
    """Remove the chunks of other plans; what lies beyond this plan's last, a round may ask for again."""
    each = plan.chunks[0].histories
    for path in folder.glob("chunk-*.json"):
        try:
            result = read_json(path, ChunkResult)
            index = result.index
            seed = chunk_seed(plan.inputs_sha256, linac_sha256, index, user_seed)
            fits = is_of(plan, Chunk(index=index, histories=each, seed=seed), result)
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


def histories_wanted(settings: TransportConfig, estimate: PilotEstimate | Pilot) -> int:
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


def number_of_chunks(settings: TransportConfig, estimate: PilotEstimate | Pilot, head: HeadKind = "fast") -> int:
    """Chunks of about the wanted length, never fewer than the standard deviation needs, nor than memory allows.

    Where each chunk starts by itself (see `simulate_chunks_here`), its length is with its start, and it follows photons
    for as long as it starts, or longer, whatever length is wanted.
    """
    histories = histories_wanted(settings, estimate)
    start_up = 0.0 if starts_once(settings, head) else estimate.seconds_start_up
    seconds_for_photons = max(60 * settings.chunk_minutes - start_up, start_up)
    count = max(settings.minimum_chunks, math.ceil(histories * estimate.seconds_per_history / seconds_for_photons))
    most = _MOST_OF_A_CHUNK if head == "fast" else min(_MOST_OF_A_CHUNK, MOST_HISTORIES_AT_ONCE)
    return max(count, math.ceil(histories / most))


def share_out(
    settings: TransportConfig,
    estimate: PilotEstimate | Pilot,
    head: HeadKind = "fast",
    *,
    kept: Sequence[int] = (),
    most: int | None = None,
) -> tuple[int, int]:
    """How many chunks, and the source photons of each.

    Chunks that are there already keep their length where it can serve: what was simulated for another sigma then
    counts for this one, and the wall clock, which a pilot's speed is, cannot make a finished chunk worthless.

    Parameters
    ----------
    kept : sequence of int
        Source photons of chunks of these inputs that are there.
    most : int, optional
        Source photons that may be had in all.
    """
    histories = histories_wanted(settings, estimate)
    count = number_of_chunks(settings, estimate, head)
    each = max(1, math.ceil(histories / count))
    for length, have in Counter(kept).most_common():
        if length == each:
            break
        number = max(settings.minimum_chunks, math.ceil(histories / length))
        is_allowed = most is None or number * length <= most
        # More chunks than the photons need cost no more than all anew.
        is_cheaper = (number - have) * length <= histories
        if is_allowed and is_cheaper and number <= _MOST_TIMES_AS_MANY * count:
            return number, length
    return count, each


def make_plan(pilot: Pilot, seeds: Sequence[int], each: int, settings: TransportConfig) -> ChunkPlan:
    """A chunk of so many source photons for each seed.

    Raises
    ------
    SimulationError
        When two chunks would have equal seeds.
    """
    if len(set(seeds)) != len(seeds):
        raise SimulationError("Two chunks would have the same seed. Set transport.seed to another number.")
    return ChunkPlan(
        inputs_sha256=pilot.inputs_sha256,
        chunks=tuple(Chunk(index=index, histories=each, seed=seed) for index, seed in enumerate(seeds, start=1)),
        target_relative_sigma=None if settings.source_photons is not None else settings.target_relative_sigma,
        expected_relative_sigma=pilot.relative_sigma_of_one / math.sqrt(each * len(seeds)),
        seconds_per_history=pilot.seconds_per_history,
        seconds_start_up=pilot.seconds_start_up,
        pilot_histories=pilot.histories,
        peak_memory_mb=pilot.peak_memory_mb,
        shared_memory_mb=pilot.shared_memory_mb,
        electron_steps_sha256=pilot.electron_steps_sha256,
    )
