"""The dose that was taken to stand still, checked: the worst courses simulated again with the patient displaced."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.storage import read_case
from gatecheck.compare.biology.structures import configured_roles
from gatecheck.compare.debias import without_noise
from gatecheck.compare.model import Metric
from gatecheck.compare.noise import noisy_fields
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.compare.setup_errors.cloud import to_voxels
from gatecheck.compare.setup_errors.followed import METRICS, FollowedStructure, follow_all, metrics_of
from gatecheck.compare.setup_errors.model import (
    CheckedDisplacement,
    CheckedMetric,
    Course,
    SetupCheck,
    SetupRobustness,
)
from gatecheck.compare.setup_errors.robustness import SETUP_FILE
from gatecheck.config import Config
from gatecheck.delivery.coordinates import RigidTransform
from gatecheck.delivery.displacement import displacement_of, patient_affines, patient_transform
from gatecheck.dose.batches import leave_one_out_doses
from gatecheck.dose.merge import merge
from gatecheck.dose.model import MergeResult
from gatecheck.errors import InputError, ResultError
from gatecheck.files import array_zyx, read_image, read_json, sha256_of_file, sha256_of_json, write_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.model import LinacModel
from gatecheck.transport.chunk import ChunkInputs, simulate_chunks
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.model import CalibrationResult, Chunk, ChunkPlan
from gatecheck.transport.plan import chunk_seed, inputs_sha256

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
DoseArray = npt.NDArray[np.floating]

SETUP_CHECK_FILE = "setup_check.json"
_FOLDER = "setup_check"


@dataclass(frozen=True, slots=True)
class WorstCourse:
    """A course, and what it was among the worst of."""

    course: Course
    worst_of: str


def worst_courses(setup: SetupRobustness, count: int) -> tuple[WorstCourse, ...]:
    """The worst course of each structure's D0.03cc and D95 in turn, then the second worst, each course once."""
    ranked = [
        (rank, f"{structure.name} {metric.metric}", course)
        for structure in setup.structures
        for metric in structure.metrics
        if metric.metric != "mean_gy"
        for rank, course in enumerate(metric.worst)
    ]
    chosen: dict[int, WorstCourse] = {}
    for _, name, course in sorted(ranked, key=lambda one: one[0]):
        chosen.setdefault(course.number, WorstCourse(course, name))
    return tuple(list(chosen.values())[:count])


def recalculate_worst(
    layout: CaseLayout,
    linac: LinacModel,
    config: Config,
    *,
    photons: int,
    count: int,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SetupCheck:
    """Simulate the worst courses' mean displacements again and write setup_check.json.

    Parameters
    ----------
    photons : int
        Source photons of each displacement, shared among as many batches as transport.minimum_chunks.
    count : int
        Displacements.
    progress : callable, optional
        As of `simulate_chunks`, of each displacement.

    Raises
    ------
    InputError
        For a recorded phase space as the source.
    ResultError
        When setup.json is missing, of another dose, or holds no course.
    SimulationError
        When a simulation fails.
    """
    if config.machine.source != "model":
        raise InputError("machine.source: phase_space found; setup-check serves the machine model's source alone.")
    setup = read_json(layout.compare / SETUP_FILE, SetupRobustness)
    dose_sha256 = sha256_of_file(layout.dose / "mc_dose.mha")
    if setup.made_from["mc_dose"] != dose_sha256:
        raise ResultError(f"{SETUP_FILE}: made from another mc_dose.mha than is here. Run compare again.")
    if setup.isocentre is None or not setup.structures:
        raise ResultError(f"{SETUP_FILE}: holds no course to recalculate: {' '.join(setup.notes)}")
    (layout.compare / SETUP_CHECK_FILE).unlink(missing_ok=True)
    nominal = _Nominal.read(layout, config, setup)
    checked = []
    for worst in worst_courses(setup, count):
        six = np.array(worst.course.mean_displacement)
        transform = patient_transform(displacement_of(six), setup.isocentre)
        folder = layout.compare / _FOLDER / f"course-{worst.course.number:05d}"
        merged = _simulate(
            layout=layout,
            linac=linac,
            config=config,
            transform=transform,
            folder=folder,
            photons=photons,
            processes=processes,
            progress=progress,
        )
        left_out = leave_one_out_doses(folder, layout.patient, merged)
        again = _metrics(nominal.followed, _image_zyx(folder), left_out, np.zeros(6), nominal)
        checked.append(
            CheckedDisplacement(
                course=worst.course.number,
                worst_of=worst.worst_of,
                displacement=worst.course.mean_displacement,
                photons=merged.histories,
                batches=merged.batches,
                metrics=_compared(nominal.followed, nominal.metrics(layout, six), again),
            )
        )
    largest = [abs(one.difference) / one.sigma for displacement in checked for one in displacement.metrics if one.sigma]
    result = SetupCheck(
        made_from={"mc_dose": dose_sha256, "setup": sha256_of_file(layout.compare / SETUP_FILE)},
        displacements=tuple(checked),
        largest_significance=max(largest, default=0.0),
    )
    write_json(layout.compare / SETUP_CHECK_FILE, result)
    return result


@dataclass(frozen=True, slots=True)
class _Nominal:
    """The case's own dose, and the structures in it."""

    dose_zyx: DoseArray
    grid: VoxelGrid
    followed: list[FollowedStructure]
    isocentre: tuple[float, float, float]

    @classmethod
    def read(cls, layout: CaseLayout, config: Config, setup: SetupRobustness) -> _Nominal:
        image = read_image(layout.dose / "mc_dose.mha")
        dose, grid = sitk.GetArrayFromImage(image), VoxelGrid.of(image)
        case = read_case(layout.case)
        roles = configured_roles(case.structures, config.setup, config.comparison)
        followed = follow_all(
            case_folder=layout.case,
            case=case,
            roles=roles,
            more=config.setup.structures,
            dose_zyx=dose,
            grid=grid,
            notes=[],
        )
        if setup.isocentre is None:
            raise ResultError(f"{SETUP_FILE}: no isocentre.")
        return cls(dose, grid, followed, setup.isocentre)

    def metrics(self, layout: CaseLayout, six: FloatArray) -> tuple[FloatArray, FloatArray]:
        """With the points displaced: see `_metrics`."""
        merged = read_json(layout.dose / "merge.json", MergeResult)
        left_out = leave_one_out_doses(layout.transport, layout.patient, merged)
        return _metrics(self.followed, self.dose_zyx, left_out, six, self)


def _simulate(
    *,
    layout: CaseLayout,
    linac: LinacModel,
    config: Config,
    transform: RigidTransform,
    folder: Path,
    photons: int,
    processes: int,
    progress: Callable[[int, int], None] | None,
) -> MergeResult:
    """Simulate a displaced patient in batches, each in a process of its own, and merge them in `folder`."""
    settings, dose_to, head = config.transport, config.dose.dose_to, config.machine.head
    of_plan = inputs_sha256(
        delivery_path=layout.delivery,
        linac_sha256=linac.content_sha256,
        patient_folder=layout.patient,
        engine=describe_engine(settings, head),
        dose_to=dose_to,
    )
    inputs = sha256_of_json([of_plan, transform.rotation.tolist(), transform.translation.tolist(), photons])
    number = settings.minimum_chunks
    chunks = tuple(
        Chunk(
            index=index,
            histories=-(-photons // number),
            seed=chunk_seed(inputs, linac.content_sha256, index, settings.seed),
        )
        for index in range(1, number + 1)
    )
    plan = ChunkPlan(
        inputs_sha256=inputs,
        chunks=chunks,
        target_relative_sigma=None,
        expected_relative_sigma=None,
        seconds_per_history=0.0,
        pilot_histories=0,
    )
    write_json(folder / "chunks.json", plan)
    common = ChunkInputs(
        delivery_path=layout.delivery,
        linac=linac,
        patient_folder=layout.patient,
        inputs_sha256=inputs,
        settings=settings,
        dose_to=dose_to,
        out_folder=folder,
        head=head,
        transform=transform,
    )
    simulate_chunks(common, chunks, at_a_time=processes, progress=progress)
    return merge(
        transport_folder=folder,
        patient_folder=layout.patient,
        delivery_path=layout.delivery,
        calibration=read_json(layout.calibration, CalibrationResult),
        out_folder=folder,
    )


def _image_zyx(folder: Path) -> DoseArray:
    return np.asarray(array_zyx(read_image(folder / "mc_dose.mha")), dtype=np.float32)


def _metrics(
    followed: Sequence[FollowedStructure],
    dose_zyx: DoseArray,
    left_out: Iterable[DoseArray],
    six: FloatArray,
    nominal: _Nominal,
) -> tuple[FloatArray, FloatArray]:
    """Values without the noise's bias and their sigma, each of shape (structures, metrics)."""
    batches = list(left_out)
    x, y, z = nominal.grid.spacing
    fields = noisy_fields(dose_zyx, batches, batches=len(batches), spacing_zyx=(z, y, x))
    affine = to_voxels(patient_affines(six, nominal.isocentre), nominal.grid).reshape(3, 4)
    values, sigmas = [], []
    for one in followed:
        index_xyz = one.points_xyz @ affine[:, :3].T + affine[:, 3]
        noisy = fields.at(np.ascontiguousarray(index_xyz[:, ::-1].T, dtype=np.float32))
        of = functools.partial(_metrics_at, volumes=one.volumes)
        noise = without_noise(noisy, of)
        values.append(of(noisy.dose) + noise.shift)
        sigmas.append(noise.sigma)
    return np.array(values), np.array(sigmas)


def _metrics_at(doses: DoseArray, volumes: FloatArray) -> FloatArray:
    return metrics_of(doses.astype(np.float64), volumes)


def _compared(
    followed: Sequence[FollowedStructure],
    cloud: tuple[FloatArray, FloatArray],
    again: tuple[FloatArray, FloatArray],
) -> tuple[CheckedMetric, ...]:
    checked = []
    for row, structure in enumerate(followed):
        for column, metric in enumerate(METRICS):
            before, after = float(cloud[0][row, column]), float(again[0][row, column])
            if not np.isfinite(before + after):
                continue
            sigmas = float(cloud[1][row, column]), float(again[1][row, column])
            checked.append(
                CheckedMetric(
                    structure=structure.name,
                    metric=metric,
                    cloud=Metric(value=before, sigma=sigmas[0]),
                    recalculated=Metric(value=after, sigma=sigmas[1]),
                    difference=after - before,
                    sigma=float(np.hypot(*sigmas)),
                )
            )
    return tuple(checked)
