"""Dose-volume histograms of all structures with their standard deviation, and the difference from the TPS dose."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Case, Structure
from gatecheck.case.storage import read_case, read_mask
from gatecheck.compare.air import air_of, air_warnings, share_of_air
from gatecheck.compare.dvh import SMALL_VOLUMES
from gatecheck.compare.model import Comparison, DoseMetrics, DvhCurve, StructureComparison
from gatecheck.compare.noise import NoisyFields
from gatecheck.compare.sampling import StructurePoints, VoxelGrid, place, points_of
from gatecheck.compare.structure_dose import Dose, StructureDose, structure_dose
from gatecheck.compiled import in_threads
from gatecheck.errors import ResultError
from gatecheck.files import array_zyx, image_from_zyx, read_image, read_json, sha256_of_file, write_image, write_json
from gatecheck.patient.model import PatientModel
from gatecheck.transport.model import Precision

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

COMPARISON_FILE = "comparison.json"
DIFFERENCE_FILE = "difference.mha"

_CURVE_POINTS = 401
_DIGITS_OF_CURVE = 7
# A structure of which less than this lies outside a dose grid is called whole.
_NOT_COVERED = 0.001


@dataclass(frozen=True, slots=True)
class _Sampled:
    """One structure with its doses; of an empty one `volume` is 0, of one outside of a dose grid that dose None.

    `volume` is in mm3. `mc_covered` and `tps_covered` are the parts of it within either dose grid. Where the TPS has a
    dose in a part of the structure alone, both doses are of that part, so that they can be compared.
    `hottest_beyond` is the Monte Carlo's highest dose in the rest, Gy, smoothed against its noise; `air` the part of
    the structure within the Monte Carlo's grid that is air.
    """

    structure: Structure
    volume: float
    mc: StructureDose | None = None
    tps: StructureDose | None = None
    mc_covered: float = 0.0
    tps_covered: float = 0.0
    hottest_beyond: float | None = None
    air: float = 0.0


def compare_structures(
    *,
    case_folder: Path,
    patient_folder: Path,
    dose_folder: Path,
    out_folder: Path,
    noise: NoisyFields,
    precisions_of: Callable[[tuple[StructureComparison, ...]], tuple[Precision, ...]] = lambda _: (),
) -> Comparison:
    """Write comparison.json and, where there is a TPS dose, difference.mha.

    Parameters
    ----------
    noise : NoisyFields
        The dose with its noise, on the grid of mc_dose.mha.
    precisions_of : callable
        How well that was reached which was wanted, from the structures' metrics among others.

    Raises
    ------
    ResultError
        When a file is missing or damaged, or files do not belong together.
    """
    case = read_case(case_folder)
    mc_image = read_mc_dose(dose_folder, patient_folder)
    tps_image = _read_tps_dose(case_folder, case)
    mc = Dose.of_means(mc_image, noise)
    tps = None if tps_image is None else Dose.of(tps_image)
    largest_step = min(spacing for dose in (mc, tps) if dose is not None for spacing in dose.grid.spacing) / 2
    air = air_of(patient_folder)
    sampled = in_threads(
        lambda one: _sample(case_folder, one, mc, tps, largest_step=largest_step, air_zyx=air), case.structures
    )
    dose_axis = _dose_axis(sampled)
    warnings = _warnings(sampled, has_tps=tps is not None)
    made_from = {
        "case": sha256_of_file(case_folder / "case.json"),
        "patient": sha256_of_file(patient_folder / "patient.json"),
        "merge": sha256_of_file(dose_folder / "merge.json"),
        "mc_dose": sha256_of_file(dose_folder / "mc_dose.mha"),
    }
    (out_folder / COMPARISON_FILE).unlink(missing_ok=True)
    if case.tps_dose is not None and tps_image is not None:
        body = _read_body(patient_folder, mc_image)
        made_from["tps_dose"] = case.tps_dose.image.sha256
        write_image(out_folder / DIFFERENCE_FILE, difference(mc_image, tps_image, body))
    else:
        (out_folder / DIFFERENCE_FILE).unlink(missing_ok=True)
    structures = tuple(in_threads(lambda one: _described(one, dose_axis, has_tps=tps is not None), sampled))
    comparison = Comparison(
        made_from=made_from,
        structures=structures,
        has_tps_dose=tps is not None,
        precisions=precisions_of(structures),
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


def read_mc_dose(dose_folder: Path, patient_folder: Path) -> sitk.Image:
    """The merged dose, checked to be on the grid of patient.json and to be numbers.

    Raises
    ------
    ResultError
    """
    image = read_image(dose_folder / "mc_dose.mha")
    joined = read_json(patient_folder / "patient.json", PatientModel).joined_grid
    near = np.allclose((*image.GetOrigin(), *image.GetSpacing()), (*joined.origin, *joined.spacing), atol=1e-4)
    if image.GetSize() != joined.size or not near:
        raise ResultError("mc_dose.mha: not on the grid of patient.json. Run merge again.")
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise ResultError("mc_dose.mha: holds values that are not numbers. Run merge again.")
    return image


def _read_tps_dose(case_folder: Path, case: Case) -> sitk.Image | None:
    if case.tps_dose is None:
        return None
    path = case_folder / case.tps_dose.image.file
    image = read_image(path)
    if sha256_of_file(path) != case.tps_dose.image.sha256:
        raise ResultError("tps_dose.mha: its SHA-256 is not the one in case.json. Run ingest again.")
    return image


def _read_body(patient_folder: Path, mc: sitk.Image) -> npt.NDArray[np.bool_]:
    name = read_json(patient_folder / "patient.json", PatientModel).body_mask
    body = np.asarray(array_zyx(read_image(patient_folder / name)), dtype=np.bool_)
    if body.shape != mc.GetSize()[::-1]:
        raise ResultError(f"{name}: not on the grid of mc_dose.mha. Run voxelise again.")
    return body


def _sample(
    case_folder: Path,
    structure: Structure,
    mc: Dose,
    tps: Dose | None,
    *,
    largest_step: float,
    air_zyx: npt.NDArray[np.bool_],
) -> _Sampled:
    if structure.mask is None:
        return _Sampled(structure, 0.0)
    mask = read_mask(case_folder, structure)
    points = points_of(mask, largest_step=largest_step)
    volume = points.total_volume
    if volume == 0:
        return _Sampled(structure, 0.0)
    placed, beyond = place(points, mc.grid), None
    mc_covered, air = placed.covered_fraction, share_of_air(placed, air_zyx)
    tps_covered = 0.0 if tps is None else place(points, tps.grid).covered_fraction
    if tps is not None and 0.0 < tps_covered < 1.0 - _NOT_COVERED:
        beyond = _hottest(points_of(_part(mask, tps.grid, is_within=False), largest_step=largest_step), mc)
        mask = _part(mask, tps.grid, is_within=True)
        points = points_of(mask, largest_step=largest_step)
    if tps is not None and 0.0 < mc_covered < 1.0 - _NOT_COVERED:
        mask = _part(mask, mc.grid, is_within=True)
        points = points_of(mask, largest_step=largest_step)
    return _Sampled(
        structure,
        volume,
        structure_dose(mask, points, mc, largest_step=largest_step),
        None if tps is None else structure_dose(mask, points, tps, largest_step=largest_step),
        mc_covered=mc_covered,
        tps_covered=tps_covered,
        hottest_beyond=beyond,
        air=air,
    )


def _part(mask: sitk.Image, grid: VoxelGrid, *, is_within: bool) -> sitk.Image:
    """A mask without its voxels whose centre lies outside of a dose grid's voxels, or without those inside."""
    values = np.array(array_zyx(mask), dtype=np.float32)
    own = VoxelGrid.of(mask)
    within = []
    for axis in (2, 1, 0):
        centres = own.origin[axis] + own.spacing[axis] * np.arange(own.size[axis])
        index = (centres - grid.origin[axis]) / grid.spacing[axis]
        within.append((index >= -0.5) & (index <= grid.size[axis] - 0.5))
    inside = within[0][:, None, None] & within[1][None, :, None] & within[2][None, None, :]
    values[~inside if is_within else inside] = 0.0
    return image_from_zyx(values, origin=own.origin, spacing=own.spacing)


def _hottest(points: StructurePoints, dose: Dose) -> float | None:
    placed = place(points, dose.grid)
    if not placed.volumes.size:
        return None
    fields = dose.values if dose.noisy is None else dose.noisy.smooth_dose()
    return float(fields.at(placed.place_zyx)[0].max())


def _dose_axis(sampled: list[_Sampled]) -> FloatArray:
    """One axis for all curves, so that they can be subtracted from each other."""
    found = [one.whole for pair in sampled for one in (pair.mc, pair.tps) if one is not None]
    highest = max((float(one.doses[-1]) for one in found), default=0.0)
    return np.linspace(0.0, 1.05 * highest if highest > 0 else 1.0, _CURVE_POINTS)


def _described(one: _Sampled, dose_axis: FloatArray, *, has_tps: bool) -> StructureComparison:
    mc, mc_dvh = _read_off(one.mc, dose_axis)
    tps, tps_dvh = _read_off(one.tps, dose_axis)
    return StructureComparison(
        name=one.structure.name,
        interpreted_type=one.structure.interpreted_type,
        volume_ml=one.structure.volume_ml,
        covered_fraction=one.mc_covered,
        mc=mc,
        tps=tps,
        mc_dvh=mc_dvh,
        tps_dvh=tps_dvh,
        note=_note(one, has_tps=has_tps),
    )


def _read_off(dose: StructureDose | None, dose_axis: FloatArray) -> tuple[DoseMetrics | None, DvhCurve | None]:
    if dose is None:
        return None, None
    return dose.metrics(), _curve(*dose.curve(dose_axis), dose_axis)


def _note(one: _Sampled, *, has_tps: bool) -> str:
    if one.volume == 0:
        return "Empty: no contour with a volume."
    notes = []
    grids = [("Monte Carlo", one.mc_covered), *([("TPS", one.tps_covered)] if has_tps else [])]
    for name, covered in grids:
        if covered == 0:
            notes.append(f"Wholly outside of the {name} dose grid.")
            continue
        if covered < 1 - _NOT_COVERED:
            whose = "the values of both doses are" if has_tps else "its values are"
            notes.append(
                f"{100 * (1 - covered):.1f} % of the volume lies outside of the {name} dose grid; {whose} of the rest "
                "alone."
            )
        notes += [
            f"Less than {small / 1000:g} ml lie in the {name} dose grid: no dose to that volume."
            for small in SMALL_VOLUMES.values()
            if covered * one.volume < small
        ]
    if one.hottest_beyond is not None and one.mc is not None and one.hottest_beyond > one.mc.whole.doses[-1]:
        notes.append(
            f"Outside of the TPS dose grid the Monte Carlo reaches {one.hottest_beyond:.1f} Gy, more than within it."
        )
    return " ".join(notes)


def _warnings(sampled: list[_Sampled], *, has_tps: bool) -> list[str]:
    filled = [one for one in sampled if one.volume > 0]
    missing = [one.structure.name for one in filled if one.mc_covered < 1 - _NOT_COVERED]
    warnings = []
    if missing:
        warnings.append(f"Not wholly within the Monte Carlo dose grid: {', '.join(missing)}.")
    partly = [one.structure.name for one in filled if has_tps and one.tps_covered < 1 - _NOT_COVERED]
    if partly:
        warnings.append(
            f"Not wholly within the TPS dose grid, values of both doses are of the part inside: {', '.join(partly)}."
        )
    return warnings + air_warnings((one.structure.name, one.air) for one in filled)


def _curve(volume_fraction: FloatArray, sigma: FloatArray | None, dose_axis: FloatArray) -> DvhCurve:
    return DvhCurve(
        dose_gy=_rounded(dose_axis),
        volume_fraction=_rounded(volume_fraction),
        volume_fraction_sigma=None if sigma is None else _rounded(sigma),
    )


def _rounded(values: FloatArray) -> tuple[float, ...]:
    return tuple(round(float(value), _DIGITS_OF_CURVE) for value in values)
