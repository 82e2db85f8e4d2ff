"""Absolute dose: the reference field simulated once for each machine model and physics, kept by content hash."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gatecheck.config import HeadKind
from gatecheck.config_transport import CalibrationConfig, TransportConfig
from gatecheck.errors import ResultError, SimulationError
from gatecheck.file_locks import one_at_a_time
from gatecheck.files import HandedOn, read_json, sha256_of_json, write_json
from gatecheck.linac.model import LinacModel
from gatecheck.transport.engine import code_sha256, describe_engine
from gatecheck.transport.model import CalibrationResult, Engine, PhaseSpaceUse
from gatecheck.transport.phase_space_source import PhaseSpaceSource
from gatecheck.transport.plan import chunk_seed, phase_space_use
from gatecheck.transport.process import LONGEST_WITHOUT_PLAN, run_in_processes
from gatecheck.transport.progress import CalibrationProgress
from gatecheck.transport.reference_run import ReferenceRun, reference_dose, simulate_reference
from gatecheck.transport.scored_dose import DoseTo

Progress = Callable[[CalibrationProgress], None]

logger = logging.getLogger(__name__)

_PROCESSES = 2
_FIRST_HISTORIES = 100_000
_FIRST_SIGMA = 0.013
"""That two such runs of the embedded machine give: where more is allowed, the first runs are shorter."""
_LEAST_HISTORIES = 20_000
_MOST_HISTORIES_PER_RUN = 1_500_000  # a run's charged particles stay below 1 GB
_PHOTONS_PER_HISTORY = 20  # followed without their electrons: so both parts of the sigma cost about the same time
_RESERVE = 1.1
_MOST_HISTORIES = 300_000_000
"""Some five hours of two cores; what would take more is refused when the first rounds have shown it."""
_SURE_HISTORIES = 1_500_000  # from so many the forecast is good to a tenth or two
_RUNS_FILE = "reference-runs.json"
_LOCK_FILE = ".lock"


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
    # Plans of a batch that begin together ask for the same one: the first simulates it, and the others wait for it.
    with one_at_a_time(path.with_name(_LOCK_FILE), lambda: logger.info("another gatecheck calibrates: waiting for it")):
        return _cached(path, key) or _calibrated(
            linac, settings, calibration, path, key, progress=progress, head=head, source=source
        )


def _calibrated(
    linac: LinacModel,
    settings: TransportConfig,
    calibration: CalibrationConfig,
    path: Path,
    key: str,
    *,
    progress: Progress | None,
    head: HeadKind,
    source: PhaseSpaceSource | None,
) -> CalibrationResult:
    started = time.perf_counter()
    kept = path.with_name(_RUNS_FILE)
    runs = _simulate(
        linac, settings, calibration.relative_sigma, key, kept=kept, progress=progress, head=head, source=source
    )
    mean, relative_sigma = reference_dose(runs)
    reference = linac.calibration.reference
    result = CalibrationResult(
        key_sha256=key,
        machine=linac.name,
        linac_sha256=linac.content_sha256,
        engine=describe_engine(settings, head),
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
        photon_histories=sum(run.photon_histories for run in runs),
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
    # A full head takes longer than the tank, and recorded histories are few.
    photons_alone = settings.tracks_photons and head == "fast" and source is None
    next_history = 0  # of a phase space: no process uses those of another
    if source is not None:
        for one in runs:
            next_history = source.run_from(next_history, one.histories).end
    fewest = _first_histories(wanted)
    while True:
        histories = fewest
        if runs:
            sigma, missing = _still_missing(runs, wanted, progress)
            if sigma <= wanted:
                return runs
            histories = min(max(math.ceil(missing / _PROCESSES), fewest), _MOST_HISTORIES_PER_RUN)
        requests: list[dict[str, Any]] = [
            {
                "linac": linac,
                "settings": settings,
                "histories": histories,
                "photon_histories": _PHOTONS_PER_HISTORY * histories if photons_alone else 0,
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
        runs += run_in_processes(
            simulate_reference, requests, processes=_PROCESSES, longest_seconds=LONGEST_WITHOUT_PLAN
        )
        write_json(kept, _KeptRuns(key_sha256=key, runs=tuple(runs)))


def _first_histories(wanted: float) -> int:
    """Of each process: fewer where the wanted sigma allows."""
    enough = math.ceil(_RESERVE * _FIRST_HISTORIES * (_FIRST_SIGMA / wanted) ** 2)
    return min(max(enough, _LEAST_HISTORIES), _FIRST_HISTORIES)


def _still_missing(runs: Sequence[ReferenceRun], wanted: float, progress: Progress | None) -> tuple[float, float]:
    """Relative sigma of the runs, and how many source photons more the wanted one takes.

    Raises
    ------
    SimulationError
        When these are too many.
    """
    sigma = reference_dose(runs)[1]
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
