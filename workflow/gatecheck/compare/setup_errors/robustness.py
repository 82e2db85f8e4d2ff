"""Setup robustness of a case: sampled courses in a dose that stands still, and what they do to the structures."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Case
from gatecheck.case.storage import read_case
from gatecheck.compare.biology.structures import Roles
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.compare.setup_errors.cloud import course_doses, to_voxels
from gatecheck.compare.setup_errors.courses import random_deviations, sampled_courses, systematic_deviations
from gatecheck.compare.setup_errors.dose_limits import exceedances, limits_of
from gatecheck.compare.setup_errors.followed import METRICS, FollowedStructure, follow_all, metrics_of
from gatecheck.compare.setup_errors.halves import Halves
from gatecheck.compare.setup_errors.model import Course, MetricRobustness, SetupRobustness, StructureRobustness
from gatecheck.compare.setup_errors.region import Region, region_around
from gatecheck.compare.setup_errors.spread import SampledMetric, spread_of
from gatecheck.config_biology import BiologyConfig
from gatecheck.config_setup import SetupConfig
from gatecheck.delivery.displacement import common_isocentre, patient_affines
from gatecheck.errors import ResultError
from gatecheck.files import read_image, sha256_of_file, write_json

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
DoseArray = npt.NDArray[np.floating]

SETUP_FILE = "setup.json"
COURSES_WITH_NOISE = 60
"""Courses in which the noise is followed too: its variance needs fewer than a percentile."""

_AT_ONCE = 20  # courses whose doses are held at a time
_HIGH_IS_BAD = {"d0_03cc_gy": True, "d95_gy": False, "mean_gy": True}


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The dose, shape (nz, ny, nx, 1), and fields of its noise, (nz, ny, nx, n), on fine nodes, Gy."""

    dose: Float32Array
    noise: Float32Array


class RobustnessAnalysis:
    """Collects the batches of the dose; `finish` samples the courses.

    The dose is taken to stand still in the room while the patient moves in it. `gatecheck setup-check` recalculates
    the worst of the courses to check that.

    Parameters
    ----------
    case_folder, dose_folder : Path
    settings : SetupConfig
    biology : BiologyConfig
        For the cord's limits.
    roles : Roles
        Of the cord and the tumour.
    prescription_gy : float, optional
        Of the whole course, in place of the plan's.

    Raises
    ------
    ResultError
        When a file is missing or damaged.
    """

    def __init__(
        self,
        *,
        case_folder: Path,
        dose_folder: Path,
        settings: SetupConfig,
        biology: BiologyConfig,
        roles: Roles,
        prescription_gy: float | None = None,
    ) -> None:
        self._case_folder, self._dose_folder = case_folder, dose_folder
        self._settings = settings
        self._case: Case = read_case(case_folder)
        self._roles = roles
        self._prescription = prescription_gy or self._case.target_prescription_gy
        self._notes = list(roles.notes)
        image = read_image(dose_folder / "mc_dose.mha")
        self._dose: DoseArray = sitk.GetArrayFromImage(image)
        grid = VoxelGrid.of(image)
        self._isocentre = common_isocentre(
            [point.isocentre for beam in self._case.beams for point in beam.control_points]
        )
        if self._isocentre is None:
            self._notes.append("The beams have several isocentres: no one centre that the patient turns about.")
        self._followed: list[FollowedStructure] = []
        if self._isocentre is not None:
            self._followed = follow_all(
                case_folder=case_folder,
                case=self._case,
                roles=self._roles,
                more=settings.structures,
                dose_zyx=self._dose,
                grid=grid,
                notes=self._notes,
            )
        self._limits = limits_of(self._case, roles, settings, biology, self._prescription)
        self._notes += self._limits.notes if self._followed else ()
        self._halves = Halves()
        if self._isocentre is None or not self._followed:
            self._region: Region | None = None
            return
        six = sampled_courses(settings, self._case.fractions)
        self._displacements = six
        affines = patient_affines(six.reshape(-1, 6), self._isocentre).reshape(*six.shape[:2], 3, 4)
        self._region = region_around([one.points_xyz for one in self._followed], affines, grid)
        self._maps = to_voxels(affines, self._region.nodes)
        self._nominal_map = to_voxels(patient_affines(np.zeros(6), self._isocentre), self._region.nodes)[np.newaxis]

    def add_left_out(self, dose_zyx: DoseArray) -> None:
        """Take in the dose without one batch, Gy, on the grid of mc_dose.mha.

        Raises
        ------
        ResultError
            When it lies on another grid.
        """
        if dose_zyx.shape != self._dose.shape:
            raise ResultError("A batch is not on the grid of mc_dose.mha. Run merge again.")
        if self._region is not None:
            self._halves.add_left_out(self._region.cut(dose_zyx))

    def finish(self, out_folder: Path) -> SetupRobustness:
        """Sample the courses and write setup.json.

        Raises
        ------
        ResultError
            When less than two batches were taken in.
        WriteError
            When it cannot be written.
        """
        structures: tuple[StructureRobustness, ...] = ()
        if self._region is not None:
            if self._halves.batches < 2:
                raise ResultError(
                    f"{self._halves.batches} batches found, expected at least 2 for a standard deviation. "
                    "Run merge again."
                )
            dose, noise = self._region.cut(self._dose)[..., np.newaxis], self._halves.noise()
            sharp, smooth = (
                _Nodes(*(self._region.refined(fields, is_smooth=is_smooth) for fields in (dose, noise)))
                for is_smooth in (False, True)
            )
            structures = tuple(self._described(one, sharp, smooth) for one in self._followed)
        result = SetupRobustness(
            made_from={
                "case": sha256_of_file(self._case_folder / "case.json"),
                "mc_dose": sha256_of_file(self._dose_folder / "mc_dose.mha"),
            },
            courses=self._settings.courses,
            fractions=self._case.fractions,
            seed=self._settings.seed,
            isocentre=self._isocentre,
            systematic=tuple(systematic_deviations(self._settings).tolist()),
            random=tuple(random_deviations(self._settings).tolist()),
            structures=structures,
            notes=tuple(self._notes),
        )
        write_json(out_folder / SETUP_FILE, result)
        logger.info("%d courses of %d structures", result.courses, len(structures))
        return result

    def _described(self, one: FollowedStructure, sharp: _Nodes, smooth: _Nodes) -> StructureRobustness:
        sampled = self._sampled(one, sharp, smooth)
        metrics = []
        for metric, values in zip(METRICS, sampled, strict=True):
            if np.isnan(values.nominal):
                continue
            spread = spread_of(values)
            metrics.append(
                MetricRobustness(
                    metric=metric,
                    nominal=spread.nominal,
                    bands=spread.bands,
                    spread=spread.deviation,
                    spread_of_noise=spread.noise_deviation,
                    is_noise_dominated=spread.is_noise_dominated,
                    exceedances=exceedances(self._limits.limits, one.name, metric, spread.courses),
                    worst=self._worst(spread.courses, values.courses, high_is_bad=_HIGH_IS_BAD[metric]),
                )
            )
        return StructureRobustness(name=one.name, volume_ml=one.volume_ml, metrics=tuple(metrics))

    def _sampled(self, one: FollowedStructure, sharp: _Nodes, smooth: _Nodes) -> list[SampledMetric]:
        """Courses in the smoothed dose, which spreads them less by its noise; where they lie, by the dose as it is.

        What smoothing changes is taken from the patient where it was planned, with each field of noise as without, so
        that the noise of that change is part of every course's.
        """
        nominal, nominal_halves = _with_halves(one, sharp, self._nominal_map)
        nominal_smooth, halves_smooth = _with_halves(one, smooth, self._nominal_map)
        change, change_of_halves = nominal - nominal_smooth, nominal_halves - halves_smooth
        courses, halves = [], []
        for first in range(0, len(self._maps), _AT_ONCE):
            maps = self._maps[first : first + _AT_ONCE]
            if first < COURSES_WITH_NOISE:
                values, both = _with_halves(one, smooth, maps)
                halves.append(both + change_of_halves)
            else:
                values = _metrics(course_doses(smooth.dose, one.points_xyz, maps)[..., 0], one.volumes)
            courses.append(values + change)
        all_courses, all_halves = np.concatenate(courses), np.concatenate(halves, axis=1)
        return [
            SampledMetric(float(nominal[0, n]), nominal_halves[:, 0, :, n], all_courses[:, n], all_halves[..., n])
            for n in range(len(METRICS))
        ]

    def _worst(self, corrected: FloatArray, raw: FloatArray, *, high_is_bad: bool) -> tuple[Course, ...]:
        # By what was sampled: with all spread taken for noise the corrected values are equal.
        order = np.argsort(-raw if high_is_bad else raw, kind="stable")[: self._settings.worst_courses]
        return tuple(
            Course(
                number=int(number),
                value=float(corrected[number]),
                mean_displacement=tuple(self._displacements[number].mean(axis=0).tolist()),
            )
            for number in order
        )


def analyse_setup(
    *,
    case_folder: Path,
    dose_folder: Path,
    out_folder: Path,
    settings: SetupConfig,
    biology: BiologyConfig,
    roles: Roles,
    leave_one_out: Iterable[DoseArray],
) -> SetupRobustness:
    """All of `RobustnessAnalysis` in one call, for a caller that needs the batches for nothing else."""
    analysis = RobustnessAnalysis(
        case_folder=case_folder, dose_folder=dose_folder, settings=settings, biology=biology, roles=roles
    )
    for dose_zyx in leave_one_out:
        analysis.add_left_out(dose_zyx)
    return analysis.finish(out_folder)


def _metrics(doses: Float32Array, volumes: FloatArray) -> FloatArray:
    """Of doses of shape (n, points): shape (n, len(METRICS))."""
    return np.array([metrics_of(values.astype(np.float64), volumes) for values in doses])


def _with_halves(one: FollowedStructure, nodes: _Nodes, maps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Metrics of n courses, shape (n, metrics); with each field of noise added and taken, (2, n, fields, metrics)."""
    doses = course_doses(nodes.dose, one.points_xyz, maps)
    fields = course_doses(nodes.noise, one.points_xyz, maps)
    both = [
        np.stack(
            [_metrics(doses[..., 0] + sign * fields[..., k], one.volumes) for k in range(fields.shape[-1])], axis=1
        )
        for sign in (1, -1)
    ]
    return _metrics(doses[..., 0], one.volumes), np.stack(both)
