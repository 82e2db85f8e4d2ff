"""EQD2 and BED of a case: maps, metrics of the structures with their noise, and the limits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import SimpleITK as sitk

from gatecheck.case.model import Case, Structure
from gatecheck.case.storage import read_case, read_mask
from gatecheck.compare.biology.alpha_beta import RULE, AlphaBeta, alpha_beta_map, alpha_beta_of
from gatecheck.compare.biology.earlier import earlier_equivalent, read_earlier_courses
from gatecheck.compare.biology.effective_dose import (
    REFERENCE_FRACTION,
    bed_sigma,
    biologically_effective_dose,
    equivalent_dose,
    equivalent_dose_sigma,
)
from gatecheck.compare.biology.hottest import hottest_volume_values
from gatecheck.compare.biology.limits import judge
from gatecheck.compare.biology.model import Biology, EffectiveMetrics, JudgedLimit, StructureBiology
from gatecheck.compare.biology.structures import NORMAL_CORD, NOT_TISSUE, Roles, normal_cord
from gatecheck.compare.debias import Estimates, in_order, without_noise
from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.model import Metric
from gatecheck.compare.noise import NoisyFields
from gatecheck.compare.sampling import PlacedPoints, VoxelGrid, place, points_of
from gatecheck.compare.smoothing import values_at_centres
from gatecheck.compare.structure_dose import POINTS_WITH_NOISE
from gatecheck.compiled import in_threads
from gatecheck.config_biology import BiologyConfig
from gatecheck.errors import ResultError
from gatecheck.files import array_zyx, image_from_zyx, read_image, sha256_of_file, write_image, write_json

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
DoseArray = npt.NDArray[np.floating]

BIOLOGY_FILE = "biology.json"
METRICS = ("mean_gy", "max_gy", "d0_03cc_gy", "d0_01cc_gy")
"""Order of the metrics within the arrays below; names as in `EffectiveMetrics`."""

_VOLUMES_ML = (0.03, 0.01)


@dataclass(slots=True)
class _Studied:
    """One structure while its doses are collected.

    `earlier` is the EQD2 of the earlier courses at the points and, behind them, at the voxels' centres.
    """

    name: str
    alpha_beta: AlphaBeta
    volume_ml: float
    points: PlacedPoints
    earlier: FloatArray
    is_known: npt.NDArray[np.bool_]


class BiologyAnalysis:
    """Reads what it needs, and refuses what it cannot use, at once; `finish` writes the maps and gives the metrics.

    Parameters
    ----------
    case_folder, dose_folder : Path
    settings : BiologyConfig
    roles : Roles
        Of the cord and the tumour: where there are both, the cord without the tumour is one structure more.
    calibration_relative_sigma : float
        Standard deviation (k = 1) of the dose's calibration, in parts of the dose; for the limits.

    Raises
    ------
    InputError
        When the dose of an earlier course cannot be used.
    ResultError
        When a file is missing or damaged.
    """

    def __init__(
        self,
        *,
        case_folder: Path,
        dose_folder: Path,
        settings: BiologyConfig,
        roles: Roles,
        calibration_relative_sigma: float,
    ) -> None:
        self._case_folder, self._dose_folder, self._settings = case_folder, dose_folder, settings
        self._roles, self._calibration_relative_sigma = roles, calibration_relative_sigma
        self._cord = None if roles.cord is None else roles.cord.name
        self._case: Case = read_case(case_folder)
        self._image = read_image(dose_folder / "mc_dose.mha")
        self._dose: DoseArray = sitk.GetArrayFromImage(self._image)
        self._earlier = read_earlier_courses(settings.earlier_courses, self._case, case_folder.parent, self._image)
        self._studied = [
            studied
            for structure in self._case.structures
            if structure.mask is not None and structure.interpreted_type not in NOT_TISSUE
            if (studied := self._study(structure.name, structure, read_mask(case_folder, structure))) is not None
        ]
        rest = normal_cord(roles, lambda one: read_mask(case_folder, one))
        if roles.cord is not None and rest is not None:
            normal = self._study(NORMAL_CORD, roles.cord, rest)
            self._studied += [] if normal is None else [normal]

    def _study(self, name: str, structure: Structure, mask: sitk.Image) -> _Studied | None:
        grid = VoxelGrid.of(self._image)
        points = points_of(mask, largest_step=min(grid.spacing) / 2)
        if points.total_volume == 0:
            return None
        placed = place(points, grid)
        found = alpha_beta_of(structure.name, structure.interpreted_type, self._settings, cord=self._cord)
        here = np.zeros(_places(placed).shape[1])
        here += earlier_equivalent(self._earlier, lambda dose: _linear(dose, _places(placed)), found.value)
        return _Studied(name, found, points.total_volume / 1000, placed, here, np.isfinite(here))

    def finish(self, out_folder: Path, noisy: NoisyFields) -> Biology:
        """Write the maps and, last, biology.json.

        Parameters
        ----------
        noisy : NoisyFields
            The dose with its noise, on the grid of mc_dose.mha.

        Raises
        ------
        ResultError
            When mc_sigma.mha does not belong to the dose.
        WriteError
            When a file cannot be written.
        """
        (out_folder / BIOLOGY_FILE).unlink(missing_ok=True)
        self._write_maps(out_folder)
        x, y, z = self._image.GetSpacing()
        values = SplineFields.of(values_at_centres(self._dose[..., np.newaxis], (z, y, x)))
        structures = tuple(in_threads(lambda studied: self._described(studied, values, noisy), self._studied))
        limits = judge(
            structures,
            self._settings.limits,
            fractions=self._case.fractions,
            calibration_relative_sigma=self._calibration_relative_sigma,
            cord=self._cord,
        )
        result = Biology(
            made_from={
                "case": sha256_of_file(self._case_folder / "case.json"),
                "mc_dose": sha256_of_file(self._dose_folder / "mc_dose.mha"),
                "mc_sigma": sha256_of_file(self._dose_folder / "mc_sigma.mha"),
            },
            fractions=self._case.fractions,
            calibration_relative_sigma=self._calibration_relative_sigma,
            earlier_courses=tuple(course.described for course in self._earlier),
            alpha_beta_rule=RULE,
            structures=structures,
            limits=limits,
            warnings=tuple(self._warnings(limits)),
        )
        write_json(out_folder / BIOLOGY_FILE, result)
        logger.info("EQD2 of %d structures", len(structures))
        return result

    def _effective(
        self, studied: _Studied, values: SplineFields, noisy: NoisyFields, *, all_courses: bool
    ) -> EffectiveMetrics | None:
        """Of this course or of all; what noise adds to EQD2, curved as it is in dose, is taken away."""
        points, ratio = studied.points, studied.alpha_beta.value
        number = points.volumes.size
        added = studied.earlier if all_courses else np.zeros_like(studied.earlier)
        known = studied.is_known if all_courses else np.ones_like(studied.is_known)
        if not known[:number].any():
            return None
        doses = values.at(_places(points))[0]
        found = _metrics_of(points, equivalent_dose(doses, self._case.fractions, ratio) + added, known)
        chosen = points.equal_parts(POINTS_WITH_NOISE)
        chosen = chosen[known[chosen]]
        if not chosen.size:
            return None
        volumes = np.full(len(chosen), points.volumes[known[:number]].sum(dtype=np.float64) / len(chosen))

        def quantities(physical: npt.NDArray[np.floating]) -> FloatArray:
            effective = equivalent_dose(physical, self._case.fractions, ratio) + added[chosen]
            hottest = hottest_volume_values(effective, volumes, _VOLUMES_ML)
            return np.array([effective.mean(), effective.max(), *hottest])

        noise = without_noise(noisy.at(np.ascontiguousarray(points.place_zyx[:, chosen])), quantities)
        return _with_noise(found, noise)

    def _described(self, studied: _Studied, values: SplineFields, noisy: NoisyFields) -> StructureBiology:
        this_course = all_courses = None
        if studied.points.volumes.size:
            this_course = self._effective(studied, values, noisy, all_courses=False)
            all_courses = self._effective(studied, values, noisy, all_courses=True) if self._earlier else this_course
        known: float | None = None
        if self._earlier and studied.points.volumes.size:
            volumes = studied.points.volumes.astype(np.float64)
            known = float(volumes @ studied.is_known[: len(volumes)] / volumes.sum())
        return StructureBiology(
            name=studied.name,
            alpha_beta=studied.alpha_beta.value,
            alpha_beta_source=studied.alpha_beta.source,
            volume_ml=studied.volume_ml,
            covered_fraction=studied.points.covered_fraction,
            earlier_covered_fraction=known,
            this_course=this_course,
            all_courses=all_courses,
            note=_note(studied.points.covered_fraction, known),
        )

    def _warnings(self, limits: Sequence[JudgedLimit]) -> list[str]:
        warnings = [
            f"{course.uniform_dose_gy:g} Gy in {course.fractions} fractions are taken as given everywhere."
            for course in (one.described for one in self._earlier)
            if course.uniform_dose_gy is not None
        ]
        if self._cord is not None and not any(one.structure in (self._cord, NORMAL_CORD) for one in limits):
            warnings.append(f"{self._cord}: no limit of EQD2 (biology.limits) was judged for the cord.")
        return [*warnings, *self._roles.notes]

    def _write_maps(self, out_folder: Path) -> None:
        fractions = self._case.fractions
        ratio = alpha_beta_map(
            self._case.structures,
            lambda one: read_mask(self._case_folder, one),
            self._settings,
            self._image,
            cord=self._cord,
        )
        dose = self._dose.astype(np.float64)
        sigma = np.asarray(array_zyx(read_image(self._dose_folder / "mc_sigma.mha")), dtype=np.float64)
        if sigma.shape != dose.shape:
            raise ResultError("mc_sigma.mha: not on the grid of mc_dose.mha. Run merge again.")
        equivalent = equivalent_dose(dose, fractions, ratio)
        maps = {
            "alpha_beta": ratio,
            "bed": biologically_effective_dose(dose, fractions, ratio),
            "bed_sigma": bed_sigma(dose, sigma, fractions, ratio),
            "eqd2": equivalent,
            "eqd2_sigma": equivalent_dose_sigma(dose, sigma, fractions, ratio),
        }
        for name in ("bed_all_courses", "eqd2_all_courses"):
            (out_folder / f"{name}.mha").unlink(missing_ok=True)
        if self._earlier:
            of_all = equivalent + earlier_equivalent(self._earlier, lambda one: one.astype(np.float64), ratio)
            maps |= {"eqd2_all_courses": of_all, "bed_all_courses": of_all * (1 + REFERENCE_FRACTION / ratio)}
        for name, values in maps.items():
            image = image_from_zyx(
                values.astype(np.float32), origin=self._image.GetOrigin(), spacing=self._image.GetSpacing()
            )
            write_image(out_folder / f"{name}.mha", image)


def _places(points: PlacedPoints) -> npt.NDArray[np.float32]:
    """A structure's points and, behind them, the dose voxels whose centre lies inside."""
    return np.ascontiguousarray(np.concatenate([points.place_zyx, points.centres_zyx], axis=1))


def _linear(dose_zyx: DoseArray, place_zyx: npt.NDArray[np.float32]) -> FloatArray:
    """An earlier dose at places, trilinearly: a spline would carry what is not known further."""
    found: FloatArray = scipy.ndimage.map_coordinates(dose_zyx.astype(np.float64), place_zyx, order=1, mode="nearest")
    return found


def _metrics_of(points: PlacedPoints, values: FloatArray, is_known: npt.NDArray[np.bool_]) -> FloatArray:
    """In the order of METRICS, of the part that is known; the maximum as `compare.dvh.DoseDistribution` takes it."""
    count = len(points.volumes)
    known = is_known[:count]
    if not known.any():
        return np.full(len(METRICS), np.nan)
    at_points, volumes = values[:count][known], points.volumes[known].astype(np.float64)
    inside = points.inside & known
    highest = max(values[:count][inside].max(initial=-np.inf), values[count:][is_known[count:]].max(initial=-np.inf))
    hottest = hottest_volume_values(at_points, volumes, _VOLUMES_ML)
    return np.array([at_points @ volumes / volumes.sum(), highest if np.isfinite(highest) else np.nan, *hottest])


def _with_noise(values: FloatArray, noise: Estimates) -> EffectiveMetrics:
    corrected = values + noise.shift
    corrected[1:] = in_order(corrected[1:], noise.sigma[1:], np.array([0.0, *_VOLUMES_ML]))
    found: dict[str, Metric | None] = {}
    for index, name in enumerate(METRICS):
        value = float(corrected[index])
        width = float(noise.half_width[index])
        found[name] = (
            Metric(value=value, sigma=float(noise.sigma[index]), interval_95=(value - width, value + width))
            if np.isfinite(value)
            else None
        )
    return EffectiveMetrics(**found)


def _note(covered: float, known: float | None) -> str:
    notes = []
    if covered < 0.999:
        notes.append(f"{100 * (1 - covered):.1f} % of the volume lies outside of the Monte Carlo dose grid.")
    if known is not None and known < 0.999:
        notes.append(f"The dose of an earlier course is not known in {100 * (1 - known):.1f} % of it.")
    return " ".join(notes)
