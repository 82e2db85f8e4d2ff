"""Dose-volume histograms of all structures with their standard deviation, and the difference from the TPS dose."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Case, Structure
from gatecheck.case.storage import read_case, read_mask
from gatecheck.compare.dvh import METRICS, DoseDistribution, distribution, dose_metrics, jackknife_sigma, without_bias
from gatecheck.compare.model import Comparison, DoseMetrics, DvhCurve, Metric, StructureComparison
from gatecheck.compare.sampling import PlacedPoints, VoxelGrid, place, points_of
from gatecheck.dose.batches import leave_one_out_doses
from gatecheck.dose.model import MergeResult
from gatecheck.errors import ResultError
from gatecheck.files import array_zyx, read_image, read_json, sha256_of_file, write_image, write_json
from gatecheck.layout import CaseLayout
from gatecheck.patient.model import PatientModel

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
DoseArray = npt.NDArray[np.floating]

COMPARISON_FILE = "comparison.json"
DIFFERENCE_FILE = "difference.mha"

_CURVE_POINTS = 401
_DIGITS_OF_CURVE = 7
# A structure of which less than this lies outside a dose grid is called whole.
_NOT_COVERED = 0.001


@dataclass(frozen=True, slots=True)
class _Dose:
    """A dose image with its voxels, Gy, indexed [z, y, x]."""

    image: sitk.Image
    values_zyx: DoseArray
    grid: VoxelGrid


@dataclass(slots=True)
class _Sampled:
    """One structure while its doses are collected."""

    structure: Structure
    points: PlacedPoints | None
    merged: DoseDistribution | None = None
    tps: DoseDistribution | None = None
    tps_covered: float = 0.0
    metrics_left_out: list[FloatArray] = field(default_factory=list)
    curves_left_out: list[FloatArray] = field(default_factory=list)


def compare(layout: CaseLayout) -> Comparison:
    """Compare the doses of one case folder; see `compare_doses`."""
    merged = read_json(layout.dose / "merge.json", MergeResult)
    return compare_doses(
        case_folder=layout.case,
        patient_folder=layout.patient,
        dose_folder=layout.dose,
        out_folder=layout.compare,
        leave_one_out=leave_one_out_doses(layout.transport, layout.patient, merged),
    )


def compare_doses(
    *,
    case_folder: Path,
    patient_folder: Path,
    dose_folder: Path,
    out_folder: Path,
    leave_one_out: Iterable[DoseArray],
) -> Comparison:
    """Write comparison.json and, where there is a TPS dose, difference.mha.

    Parameters
    ----------
    leave_one_out : iterable of ndarray of shape (nz, ny, nx)
        The merged dose without one batch at a time, Gy, on the grid of mc_dose.mha.

    Raises
    ------
    ResultError
        When a file is missing or damaged, files do not belong together, or there are fewer than two
        batches.
    """
    case = read_case(case_folder)
    mc = _read_mc_dose(dose_folder, patient_folder)
    tps = _read_tps_dose(case_folder, case)
    largest_step = min(spacing for dose in (mc, tps) if dose is not None for spacing in dose.grid.spacing) / 2
    sampled = [_sample(case_folder, structure, mc, tps, largest_step) for structure in case.structures]
    dose_axis = _dose_axis(sampled)
    _sample_batches(sampled, leave_one_out, dose_axis, shape_zyx=mc.values_zyx.shape)
    warnings = _warnings(sampled, tps)
    made_from = {
        "case": sha256_of_file(case_folder / "case.json"),
        "patient": sha256_of_file(patient_folder / "patient.json"),
        "merge": sha256_of_file(dose_folder / "merge.json"),
        "mc_dose": sha256_of_file(dose_folder / "mc_dose.mha"),
    }
    (out_folder / COMPARISON_FILE).unlink(missing_ok=True)
    if case.tps_dose is not None and tps is not None:
        body = _read_body(patient_folder, mc)
        made_from["tps_dose"] = case.tps_dose.image.sha256
        write_image(out_folder / DIFFERENCE_FILE, difference(mc.image, tps.image, body))
    else:
        (out_folder / DIFFERENCE_FILE).unlink(missing_ok=True)
    comparison = Comparison(
        made_from=made_from,
        structures=tuple(_described(one, dose_axis, has_tps=tps is not None) for one in sampled),
        has_tps_dose=tps is not None,
        warnings=tuple(warnings),
    )
    write_json(out_folder / COMPARISON_FILE, comparison)
    logger.info("%d structures compared", len(sampled))
    return comparison


def difference(mc: sitk.Image, tps: sitk.Image, body_zyx: npt.NDArray[np.bool_]) -> sitk.Image:
    """Monte Carlo minus TPS dose on the Monte Carlo grid, Gy, float32; NaN outside of the body or the TPS grid.

    The TPS dose is interpolated trilinearly between the centres of its voxels.
    """
    nan = float("nan")
    resampled = sitk.Resample(tps, mc, sitk.Transform(), sitk.sitkLinear, nan, sitk.sitkFloat64)
    values = sitk.GetArrayFromImage(mc).astype(np.float64) - sitk.GetArrayFromImage(resampled)
    image: sitk.Image = sitk.GetImageFromArray(np.where(body_zyx, values, nan).astype(np.float32))
    image.CopyInformation(mc)
    return image


def _dose(image: sitk.Image) -> _Dose:
    return _Dose(image, sitk.GetArrayFromImage(image), VoxelGrid.of(image))


def _read_mc_dose(dose_folder: Path, patient_folder: Path) -> _Dose:
    dose = _dose(read_image(dose_folder / "mc_dose.mha"))
    joined = read_json(patient_folder / "patient.json", PatientModel).joined_grid
    near = np.allclose((*dose.grid.origin, *dose.grid.spacing), (*joined.origin, *joined.spacing), atol=1e-4)
    if dose.grid.size != joined.size or not near:
        raise ResultError("mc_dose.mha: not on the grid of patient.json. Run merge again.")
    if not np.isfinite(dose.values_zyx).all():
        raise ResultError("mc_dose.mha: holds values that are not numbers. Run merge again.")
    return dose


def _read_tps_dose(case_folder: Path, case: Case) -> _Dose | None:
    if case.tps_dose is None:
        return None
    path = case_folder / case.tps_dose.image.file
    image = read_image(path)
    if sha256_of_file(path) != case.tps_dose.image.sha256:
        raise ResultError("tps_dose.mha: its SHA-256 is not the one in case.json. Run ingest again.")
    return _dose(image)


def _read_body(patient_folder: Path, mc: _Dose) -> npt.NDArray[np.bool_]:
    name = read_json(patient_folder / "patient.json", PatientModel).body_mask
    body = np.asarray(array_zyx(read_image(patient_folder / name)), dtype=np.bool_)
    if body.shape != mc.values_zyx.shape:
        raise ResultError(f"{name}: not on the grid of mc_dose.mha. Run voxelise again.")
    return body


def _sample(case_folder: Path, structure: Structure, mc: _Dose, tps: _Dose | None, largest_step: float) -> _Sampled:
    if structure.mask is None:
        return _Sampled(structure, None)
    points = points_of(read_mask(case_folder, structure), largest_step=largest_step)
    if points.total_volume == 0:
        return _Sampled(structure, None)
    placed = place(points, mc.grid)
    sampled = _Sampled(structure, placed)
    if placed.volumes.size:
        sampled.merged = distribution(placed, mc.values_zyx)
    if tps is not None:
        on_tps = place(points, tps.grid)
        sampled.tps_covered = on_tps.covered_fraction
        if on_tps.volumes.size:
            sampled.tps = distribution(on_tps, tps.values_zyx)
    return sampled


def _dose_axis(sampled: list[_Sampled]) -> FloatArray:
    """One axis for all curves, so that they can be subtracted from each other."""
    found = [one for pair in sampled for one in (pair.merged, pair.tps) if one is not None]
    highest = max((float(one.doses[-1]) for one in found), default=0.0)
    return np.linspace(0.0, 1.05 * highest if highest > 0 else 1.0, _CURVE_POINTS)


def _sample_batches(
    sampled: list[_Sampled], leave_one_out: Iterable[DoseArray], dose_axis: FloatArray, *, shape_zyx: tuple[int, ...]
) -> None:
    batches = 0
    for dose_zyx in leave_one_out:
        batches += 1
        if dose_zyx.shape != shape_zyx:
            raise ResultError("A batch is not on the grid of mc_dose.mha. Run merge again.")
        for one in sampled:
            if one.points is None or one.merged is None:
                continue
            left_out = distribution(one.points, dose_zyx)
            one.metrics_left_out.append(dose_metrics(left_out))
            one.curves_left_out.append(left_out.volume_receiving(dose_axis))
    if batches < 2:
        raise ResultError(f"{batches} batches found, expected at least 2 for a standard deviation. Run merge again.")


def _described(one: _Sampled, dose_axis: FloatArray, *, has_tps: bool) -> StructureComparison:
    mc = mc_dvh = tps = tps_dvh = None
    if one.merged is not None:
        values = without_bias(dose_metrics(one.merged), one.metrics_left_out)
        mc = _metrics(values, jackknife_sigma(one.metrics_left_out))
        volume = without_bias(one.merged.volume_receiving(dose_axis), one.curves_left_out)
        falling = np.minimum.accumulate(np.clip(volume, 0.0, 1.0))
        mc_dvh = _curve(falling, dose_axis, jackknife_sigma(one.curves_left_out))
    if one.tps is not None:
        tps = _metrics(dose_metrics(one.tps), None)
        tps_dvh = _curve(one.tps.volume_receiving(dose_axis), dose_axis, None)
    return StructureComparison(
        name=one.structure.name,
        interpreted_type=one.structure.interpreted_type,
        volume_ml=one.structure.volume_ml,
        covered_fraction=0.0 if one.points is None else one.points.covered_fraction,
        mc=mc,
        tps=tps,
        mc_dvh=mc_dvh,
        tps_dvh=tps_dvh,
        note=_note(one, has_tps=has_tps),
    )


def _note(one: _Sampled, *, has_tps: bool) -> str:
    if one.points is None:
        return "Empty: no contour with a volume."
    notes = []
    for name, covered in (("Monte Carlo", one.points.covered_fraction), ("TPS", one.tps_covered)):
        if name == "TPS" and not has_tps:
            continue
        if covered == 0:
            notes.append(f"Wholly outside of the {name} dose grid.")
        elif covered < 1 - _NOT_COVERED:
            notes.append(
                f"{100 * (1 - covered):.1f} % of the volume lies outside of the {name} dose grid; its values are of "
                "the rest alone."
            )
    return " ".join(notes)


def _warnings(sampled: list[_Sampled], tps: _Dose | None) -> list[str]:
    filled = [one for one in sampled if one.points is not None]
    missing = [one.structure.name for one in filled if one.points and one.points.covered_fraction < 1 - _NOT_COVERED]
    warnings = []
    if missing:
        warnings.append(f"Not wholly within the Monte Carlo dose grid: {', '.join(missing)}.")
    if tps is not None:
        partly = [one.structure.name for one in filled if one.tps_covered < 1 - _NOT_COVERED]
        if partly:
            warnings.append(
                f"Not wholly within the TPS dose grid, their TPS values are of the part inside: {', '.join(partly)}."
            )
    return warnings


def _metrics(values: FloatArray, sigmas: FloatArray | None) -> DoseMetrics:
    pairs = zip(METRICS, values, [None] * len(values) if sigmas is None else sigmas, strict=True)
    return DoseMetrics(
        **{
            name: Metric(value=float(value), sigma=None if sigma is None else float(sigma))
            for name, value, sigma in pairs
        }
    )


def _curve(volume_fraction: FloatArray, dose_axis: FloatArray, sigma: FloatArray | None) -> DvhCurve:
    return DvhCurve(
        dose_gy=_rounded(dose_axis),
        volume_fraction=_rounded(volume_fraction),
        volume_fraction_sigma=None if sigma is None else _rounded(sigma),
    )


def _rounded(values: FloatArray) -> tuple[float, ...]:
    return tuple(round(float(value), _DIGITS_OF_CURVE) for value in values)
