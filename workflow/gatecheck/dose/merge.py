"""Chunks to absolute dose with a standard deviation in every voxel."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.config_transport import FEW_BATCHES
from gatecheck.delivery.model import Delivery
from gatecheck.delivery.storage import read_delivery
from gatecheck.dose.chunks import MERGE_FILE, forget_merge, read_chunks, read_score
from gatecheck.dose.convergence import Convergence, mean_of_sample_sigma
from gatecheck.dose.joining import Float32Array, empty, put
from gatecheck.dose.model import ConvergenceStep, MergeResult
from gatecheck.dose.statistics import BatchSums
from gatecheck.errors import ResultError
from gatecheck.files import image_from_zyx, write_image, write_json
from gatecheck.patient.model import Grid, PatientModel, VoxelBox
from gatecheck.transport.model import NOISE_OF_REACHED, CalibrationResult, ChunkResult
from gatecheck.transport.patient_files import read_body, read_patient
from gatecheck.transport.rounds import read_plan

logger = logging.getLogger(__name__)

# Batches and histories must tell about the same sigma; correlated particles make them differ.
_LARGEST_DISAGREEMENT = 1.2


@dataclass(frozen=True, slots=True)
class _FineSigma:
    relative_sigma: float
    voxels: int
    above_gy: float
    steps: tuple[ConvergenceStep, ...] = ()


@dataclass(frozen=True, slots=True)
class _Joined:
    dose: Float32Array
    sigma: Float32Array
    sigma_by_history: Float32Array


def merge(
    *,
    transport_folder: Path,
    patient_folder: Path,
    delivery_path: Path,
    calibration: CalibrationResult,
    out_folder: Path,
    prescription_gy: float | None = None,
) -> MergeResult:
    """Merge all chunks into mc_dose.mha and mc_sigma.mha (float32, Gy, whole course) and, last, merge.json.

    Sigma (k = 1) comes from the spread of the chunks. The calibration's own uncertainty is common
    to all voxels and stated apart.

    Parameters
    ----------
    prescription_gy : float, optional
        Of the whole course: sigma is wanted where the dose is above half of it.

    Raises
    ------
    ResultError
        When chunks are missing, damaged, of different inputs or of equal seeds, or the calibration
        was made with another machine model, engine or physics.
    WriteError
        When a result cannot be written.
    """
    results = read_chunks(transport_folder)
    target = read_plan(transport_folder).target_relative_sigma
    _check_calibration(calibration, results[0])
    patient = read_patient(patient_folder)
    delivery = read_delivery(delivery_path)
    factor = _gray_per_unit(calibration, delivery)
    convergence = Convergence(len(results), fine_boxes(patient), factor)
    joined = _join(transport_folder, results, patient, factor, convergence)
    body = read_body(patient_folder, patient)
    in_fine = body & _fine_voxels(patient)
    above = 0.5 * (prescription_gy or float(joined.dose[in_fine].max(initial=0.0)))
    chosen = in_fine & (joined.dose > above)
    steps = convergence.steps(results, joined.dose, chosen, patient.joined_grid)
    fine = _FineSigma(_mean_relative_sigma(joined, chosen, len(results)), int(chosen.sum()), above, steps)
    result = _describe(results, joined, body, delivery, calibration, target=target, fine=fine)
    forget_merge(out_folder)
    _write(out_folder / "mc_dose.mha", joined.dose, patient.joined_grid)
    _write(out_folder / "mc_sigma.mha", joined.sigma, patient.joined_grid)
    write_json(out_folder / MERGE_FILE, result)
    return result


def course_factor(result: MergeResult) -> float:
    """Gy for the whole course per Gy per nominal photon."""
    return result.nominal_photons_per_mu * result.meterset_per_fraction * result.fractions


def per_fraction(course_gray: npt.NDArray[np.floating], fractions: int) -> npt.NDArray[np.floating]:
    """Dose of one fraction from the dose of the course, Gy; sigma likewise."""
    return course_gray / fractions


def _gray_per_unit(calibration: CalibrationResult, delivery: Delivery) -> float:
    return calibration.nominal_photons_per_mu * delivery.total_meterset * delivery.fractions


def _check_calibration(calibration: CalibrationResult, chunk: ChunkResult) -> None:
    if calibration.linac_sha256 != chunk.linac_sha256:
        raise ResultError(
            f"calibration.json is of another machine model ({calibration.machine}) than the chunks. "
            "Run the calibrate step again for this machine."
        )
    if calibration.engine != chunk.engine:
        different = [
            name for name, value in chunk.engine.model_dump().items() if value != getattr(calibration.engine, name)
        ]
        raise ResultError(
            f"calibration.json was made with another {', '.join(different)} than the chunks. "
            "Run the calibrate step again with the same configuration."
        )


def _join(
    transport_folder: Path,
    results: tuple[ChunkResult, ...],
    patient: PatientModel,
    factor: float,
    convergence: Convergence,
) -> _Joined:
    """Box by box and chunk by chunk: never more than one box's sums and one chunk's score in memory."""
    grid = patient.joined_grid
    joined = _Joined(empty(grid), empty(grid), empty(grid))
    for box in patient.boxes:
        sums = BatchSums(box.size[::-1])
        for result in results:
            score = read_score(transport_folder, result, box)
            sums.add(score.dose_zyx, score.dose_squared_zyx, weight=result.nominal_photons, histories=result.histories)
            convergence.look_at(box, sums)
        put(joined.dose, grid, box, factor * sums.mean())
        put(joined.sigma, grid, box, factor * sums.sigma())
        put(joined.sigma_by_history, grid, box, factor * sums.sigma_by_history())
    return joined


def _describe(
    results: tuple[ChunkResult, ...],
    joined: _Joined,
    body_zyx: npt.NDArray[np.bool_],
    delivery: Delivery,
    calibration: CalibrationResult,
    *,
    target: float | None,
    fine: _FineSigma,
) -> MergeResult:
    in_body = joined.dose[body_zyx]
    maximum = float(in_body.max(initial=0.0))
    if maximum <= 0:
        raise ResultError("No dose in the body after merging. Check the isocentre against the CT and run again.")
    high = in_body > maximum / 2
    by_batch = _mean_relative_sigma(joined, body_zyx & (joined.dose > maximum / 2), len(results))
    by_history = float(np.mean(joined.sigma_by_history[body_zyx][high] / in_body[high], dtype=np.float64))
    first = results[0]
    return MergeResult(
        inputs_sha256=first.inputs_sha256,
        chunks=tuple(result.index for result in results),
        chunk_sha256={box.file: box.sha256 for result in results for box in result.boxes},
        batches=len(results),
        histories=sum(result.histories for result in results),
        particles=sum(result.particles for result in results),
        nominal_photons=float(sum(result.nominal_photons for result in results)),
        meterset_per_fraction=delivery.total_meterset,
        fractions=delivery.fractions,
        dose_to=first.dose_to,
        nominal_photons_per_mu=calibration.nominal_photons_per_mu,
        calibration_relative_sigma=calibration.relative_sigma,
        calibration_key_sha256=calibration.key_sha256,
        mean_relative_sigma=by_batch,
        fine_relative_sigma=fine.relative_sigma,
        fine_voxels=fine.voxels,
        fine_above_gy=fine.above_gy,
        convergence=fine.steps,
        target_relative_sigma=target,
        mean_relative_sigma_history=by_history,
        voxels_above_half_maximum=int(high.sum()),
        maximum_gy=maximum,
        maximum_sigma_gy=float(joined.sigma[body_zyx][np.argmax(in_body)]),
        maximum_gy_per_fraction=float(per_fraction(np.array(maximum), delivery.fractions)),
        engine=first.engine,
        made_with=_made_with(results),
        electron_steps_sha256=first.electron_steps_sha256,
        seconds_of_chunks=float(sum(sum(result.seconds.values()) for result in results)),
        simulated_at=max((result.ended_at for result in results if result.ended_at is not None), default=None),
        peak_memory_mb=max(result.peak_memory_mb for result in results),
        warnings=tuple(_warnings(results, by_batch, by_history, (fine.relative_sigma, target))),
    )


def _made_with(results: tuple[ChunkResult, ...]) -> dict[str, str]:
    """What the chunks were made with; where they differ, all of it."""
    names = dict.fromkeys(name for result in results for name in result.made_with)
    return {
        name: " and ".join(sorted({result.made_with[name] for result in results if name in result.made_with}))
        for name in names
    }


def fine_boxes(patient: PatientModel) -> tuple[VoxelBox, ...]:
    """The boxes of the fine region; all without one."""
    return tuple(box for box in patient.boxes if box.role == "fine") or patient.boxes


def _fine_voxels(patient: PatientModel) -> npt.NDArray[np.bool_]:
    """Voxels of the joined grid that lie in the fine region; all without one."""
    grid = patient.joined_grid
    fine = empty(grid)
    for box in patient.boxes:
        if box.role == "fine":
            put(fine, grid, box, np.ones(box.size[::-1]))
    return fine > 0 if fine.any() else np.ones(fine.shape, dtype=bool)


def _mean_relative_sigma(joined: _Joined, chosen_zyx: npt.NDArray[np.bool_], batches: int) -> float:
    """Without what so few batches take from a mean of sigmas; 0 where nothing is chosen.

    A voxel's sigma stays as it is, the root of a variance that is right in the mean.
    """
    if not chosen_zyx.any():
        return 0.0
    relative = joined.sigma[chosen_zyx] / joined.dose[chosen_zyx]
    return float(np.mean(relative, dtype=np.float64)) / mean_of_sample_sigma(batches)


def _warnings(
    results: tuple[ChunkResult, ...], by_batch: float, by_history: float, fine: tuple[float, float | None]
) -> list[str]:
    warnings = []
    reached, target = fine
    engine = results[0].engine
    if not engine.clinical:
        warnings.append(f"Not for clinical use: the Geant4 data are {engine.data_set}.")
    if len(results) < FEW_BATCHES:
        warnings.append(
            f"The standard deviation comes from {len(results)} batches only. Of 95 % intervals of doses to volumes "
            f"88 % held the true value with ten batches, 92 % or more with {FEW_BATCHES}. Raise "
            "transport.minimum_chunks."
        )
    if target is not None and reached > NOISE_OF_REACHED * target:
        warnings.append(
            f"A mean relative sigma of {100 * target:.2g} % was asked for, {100 * reached:.2f} % was reached. Raise "
            "transport.maximum_source_photons if that is what stopped the run, or transport.top_up_rounds."
        )
    ratio = by_batch / by_history if by_history > 0 else np.inf
    if not 1 / _LARGEST_DISAGREEMENT < ratio < _LARGEST_DISAGREEMENT:
        warnings.append(
            f"Mean relative sigma is {100 * by_batch:.2f} % from batches, {100 * by_history:.2f} % history by history."
        )
    return warnings


def _write(path: Path, values_zyx: Float32Array, grid: Grid) -> None:
    write_image(path, image_from_zyx(values_zyx, origin=grid.origin, spacing=grid.spacing))
