"""Absolute dose: the reference field simulated once for each machine model and physics, kept by content hash."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatecheck.config import CalibrationConfig, HeadKind, TransportConfig
from gatecheck.errors import ResultError, SimulationError
from gatecheck.files import HandedOn, read_json, sha256_of_json, write_json
from gatecheck.linac.model import LinacModel
from gatecheck.transport.aim import aimed_at
from gatecheck.transport.chunk import DoseTo
from gatecheck.transport.engine import code_sha256, describe_engine
from gatecheck.transport.head import sample_head
from gatecheck.transport.materials import water
from gatecheck.transport.model import CalibrationResult, Engine, PhaseSpaceUse
from gatecheck.transport.phase_space_source import HistoryRun, PhaseSpaceSource
from gatecheck.transport.plan import chunk_seed, phase_space_use
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.progress import CalibrationProgress
from gatecheck.transport.reference_field import point_estimator, reference_delivery, reference_tank, thinned
from gatecheck.transport.run import run_transport
from gatecheck.transport.volumes import hull

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[CalibrationProgress], None]

logger = logging.getLogger(__name__)

_PROCESSES = 2
_BATCHES_PER_RUN = 10
_FIRST_HISTORIES = 100_000
_MOST_HISTORIES_PER_RUN = 1_500_000  # a run's charged particles stay below 1 GB
_RESERVE = 1.1
_MOST_HISTORIES = 300_000_000
"""Some five hours of two cores; what would take more is refused when the first rounds have shown it."""
_SURE_HISTORIES = 1_500_000  # from so many the forecast is good to a tenth or two
_RUNS_FILE = "reference-runs.json"


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """One process' share.

    Attributes
    ----------
    doses : tuple of float
        At the reference point, of each batch, Gy per nominal photon.
    histories : int
        Source photons.
    seconds : float
        That they took, without the start of the process and of GATE.
    """

    doses: tuple[float, ...]
    histories: int
    seconds: float


class _KeptRuns(HandedOn):
    """Written after every round beside where calibration.json will be, so that an interrupted one goes on."""

    key_sha256: str
    runs: tuple[ReferenceRun, ...]


def calibrate(
    linac: LinacModel,
    settings: TransportConfig,
    calibration: CalibrationConfig,
    dose_to: DoseTo,
    out_root: Path,
    *,
    progress: Progress | None = None,
    head: HeadKind = "fast",
    source: PhaseSpaceSource | None = None,
) -> CalibrationResult:
    """Dose at the reference point per nominal photon, and so nominal photons per MU.

    Read from out_root/<key>/calibration.json where the same has been simulated before. The reference
    medium is water, so that dose to medium and dose to water are the same there. `progress` is called
    after every round of the simulation. `head` is the one that the plan's chunks are simulated with: each has a
    calibration of its own. `source` is what takes the place of the machine model's own.

    Raises
    ------
    InputError
        When a phase-space source has too few histories for the wanted sigma.
    SimulationError
        When the simulation fails, or what is wanted would take more photons than anybody waits for.
    """
    engine = describe_engine(settings, head)
    key = calibration_key(linac, engine, calibration, settings.seed, source)
    path = out_root / key[:16] / "calibration.json"
    cached = _cached(path, key)
    if cached is not None:
        return cached
    started = time.perf_counter()
    kept = path.with_name(_RUNS_FILE)
    runs = _simulate(
        linac, settings, calibration.relative_sigma, key, kept=kept, progress=progress, head=head, source=source
    )
    mean, relative_sigma = _mean_of(runs)
    reference = linac.calibration.reference
    result = CalibrationResult(
        key_sha256=key,
        machine=linac.name,
        linac_sha256=linac.content_sha256,
        engine=engine,
        reference={
            "field_size_mm": reference.field_size,
            "source_surface_distance_mm": reference.source_surface_distance,
            "depth_mm": reference.depth,
            "gray_per_mu": reference.gray_per_mu,
            "medium": "water",
        },
        dose_per_nominal_photon=mean,
        relative_sigma=relative_sigma,
        nominal_photons_per_mu=reference.gray_per_mu / mean,
        histories=sum(run.histories for run in runs),
        seconds=time.perf_counter() - started,
        phase_space=None if source is None else _use_of(source, runs),
    )
    write_json(path, result)
    kept.unlink(missing_ok=True)
    logger.info(
        "calibration: %.4g nominal photons per MU, relative sigma %.2f %%, %.0f s",
        result.nominal_photons_per_mu,
        100 * relative_sigma,
        result.seconds,
    )
    return result


def calibration_key(
    linac: LinacModel,
    engine: Engine,
    calibration: CalibrationConfig,
    seed: int,
    source: PhaseSpaceSource | None = None,
) -> str:
    """Hash over machine, beam, source, reference condition, engine, physics, data, code and precision.

    The engine names the head, and a full head's production cut, electron steps and largest segment.
    """
    return sha256_of_json(
        {
            "linac": linac.content_sha256,
            "source": "model" if source is None else source.content_sha256,
            "engine": engine.model_dump(),
            "code": code_sha256(),
            "relative_sigma": calibration.relative_sigma,
            "seed": seed,
        }
    )


def check_calibration(
    result: CalibrationResult,
    linac: LinacModel,
    settings: TransportConfig,
    calibration: CalibrationConfig,
    source: PhaseSpaceSource | None = None,
    *,
    head: HeadKind = "fast",
) -> None:
    """Refuse a calibration of another machine, head, source, physics, data set, precision or version of the code.

    Raises
    ------
    ResultError
    """
    engine = describe_engine(settings, head)
    if result.key_sha256 != calibration_key(linac, engine, calibration, settings.seed, source):
        raise ResultError(
            "calibration.json was made for another machine model, head, source, physics, Geant4 data set, precision "
            "or version of gatecheck than are here now. Run gatecheck verify, or calibrate, again."
        )


def _use_of(source: PhaseSpaceSource, runs: Sequence[ReferenceRun]) -> PhaseSpaceUse:
    """Of a phase space, by runs that followed each other through it."""
    return phase_space_use(source, sum(source.run_from(0, run.histories).count for run in runs))


def _cached(path: Path, key: str) -> CalibrationResult | None:
    if not path.exists():
        return None
    try:
        result = read_json(path, CalibrationResult)
    except ResultError as error:
        logger.warning("%s Calibrating again.", error)
        return None
    return result if result.key_sha256 == key else None


def _kept_runs(path: Path, key: str) -> list[ReferenceRun]:
    """What an interrupted calibration has simulated."""
    if not path.exists():
        return []
    try:
        kept = read_json(path, _KeptRuns)
    except ResultError as error:
        logger.warning("%s Calibrating from the start.", error)
        return []
    return list(kept.runs) if kept.key_sha256 == key else []


def weighted_mean(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Mean of batches of different weight, and its relative sigma from their spread."""
    mean = float(np.average(values, weights=weights))
    variance = float((weights * (values - mean) ** 2).sum() / ((len(values) - 1) * weights.sum()))
    return mean, math.sqrt(variance) / abs(mean)


def _simulate(
    linac: LinacModel,
    settings: TransportConfig,
    wanted: float,
    key: str,
    *,
    kept: Path,
    progress: Progress | None,
    head: HeadKind,
    source: PhaseSpaceSource | None,
) -> list[ReferenceRun]:
    """Rounds of two processes until the wanted sigma is reached; the first tells how many photons that takes."""
    runs = _kept_runs(kept, key)
    next_history = 0  # of a phase space: no process uses those of another
    if source is not None:
        for one in runs:
            next_history = source.run_from(next_history, one.histories).end
    while True:
        histories = _FIRST_HISTORIES
        if runs:
            sigma, missing = _still_missing(runs, wanted, progress)
            if sigma <= wanted:
                return runs
            histories = min(max(math.ceil(missing / _PROCESSES), _FIRST_HISTORIES), _MOST_HISTORIES_PER_RUN)
        requests: list[dict[str, Any]] = [
            {
                "linac": linac,
                "settings": settings,
                "histories": histories,
                "head": head,
                "seed": chunk_seed(key, linac.content_sha256, len(runs) + process, settings.seed),
            }
            for process in range(_PROCESSES)
        ]
        if source is not None:
            for request in requests:
                run = source.run_from(next_history, histories)
                next_history = run.end
                request.update(source=source, run=run)
        runs += run_in_processes(simulate_reference, requests, processes=_PROCESSES)
        write_json(kept, _KeptRuns(key_sha256=key, runs=tuple(runs)))


def _still_missing(runs: Sequence[ReferenceRun], wanted: float, progress: Progress | None) -> tuple[float, float]:
    """Relative sigma of the runs, and how many source photons more the wanted one takes.

    Raises
    ------
    SimulationError
        When these are too many.
    """
    sigma = _mean_of(runs)[1]
    done = sum(run.histories for run in runs)
    missing = _RESERVE * done * (sigma / wanted) ** 2 - done
    seconds_each = sum(run.seconds for run in runs) / done / _PROCESSES
    if sigma > wanted and done >= _SURE_HISTORIES and done + missing > _MOST_HISTORIES:
        million, hours = (done + missing) / 1e6, (done + missing) * seconds_each / 3600
        raise SimulationError(
            f"calibration.relative_sigma: {100 * wanted:g} % would take about {million:.0f} million source photons and "
            f"{hours:.0f} hours, at most {_MOST_HISTORIES / 1e6:.0f} million are simulated; {100 * sigma:.2f} % is "
            f"reached with {done / 1e6:.1f} million. Ask for a larger one."
        )
    if sigma > wanted and progress is not None:
        progress(CalibrationProgress(sigma, wanted, done, done + math.ceil(missing), missing * seconds_each))
    return sigma, missing


def _mean_of(runs: Sequence[ReferenceRun]) -> tuple[float, float]:
    doses = np.concatenate([run.doses for run in runs])
    weights = np.concatenate([np.full(len(run.doses), run.histories / len(run.doses)) for run in runs])
    return weighted_mean(doses, weights)


def simulate_reference(
    *,
    linac: LinacModel,
    settings: TransportConfig,
    histories: int,
    seed: int,
    head: HeadKind = "fast",
    source: PhaseSpaceSource | None = None,
    run: HistoryRun | None = None,
) -> ReferenceRun:
    """The reference field in the water tank, in this process; a full head in one of its own before it.

    Parameters
    ----------
    head : "fast" or "full"
    source, run : PhaseSpaceSource and HistoryRun, optional
        Recorded histories in place of the source model's.
    """
    started = time.perf_counter()
    reference = linac.calibration.reference
    tank = reference_tank(linac)
    with tempfile.TemporaryDirectory(prefix="reference-field-") as folder:
        phase_space = sample_head(
            reference_delivery(linac),
            linac,
            head=head,
            histories=histories,
            seed=seed,
            settings=settings,
            work_folder=Path(folder),
            source=source,
            run=run,
        )
    aimed = aimed_at(phase_space, *hull([tank]))
    transported = run_transport(
        volumes=[tank],
        materials=[water()],
        phase_space=thinned(aimed, tank, field_size=reference.field_size, seed=seed, keeps_order=source is not None),
        settings=settings,
        seed=seed,
        batches=_BATCHES_PER_RUN,
    )
    estimator = point_estimator(tank, depth=reference.depth, field_size=reference.field_size)
    batches = transported.scores[0].batches
    if len(batches) < 2:
        raise SimulationError("The reference field gave no particles. Check the machine model's reference condition.")
    per_batch = phase_space.nominal_photons / len(batches)
    start_up = phase_space.seconds_start_up + transported.seconds_start_up
    return ReferenceRun(
        tuple(estimator.dose(batch) / per_batch for batch in batches),
        histories,
        time.perf_counter() - started - start_up,
    )
