"""Earlier courses on the Monte Carlo grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.earlier_dose import read_earlier_dose
from gatecheck.case.model import Case
from gatecheck.compare.biology.effective_dose import equivalent_dose
from gatecheck.compare.biology.model import EarlierCourse
from gatecheck.config_biology import EarlierCourseConfig
from gatecheck.files import image_from_zyx

FloatArray = npt.NDArray[np.float64]
DoseArray = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class CourseOnGrid:
    """One earlier course.

    Attributes
    ----------
    dose_zyx : ndarray of shape (nz, ny, nx)
        Physical dose of the whole course on the Monte Carlo grid, Gy; not a number outside of the RTDOSE's grid.
    """

    dose_zyx: DoseArray
    described: EarlierCourse

    def equivalent(self, dose: FloatArray, alpha_beta: float | FloatArray) -> FloatArray:
        """EQD2 that is left of a dose of this course after recovery, Gy."""
        kept = 1 - self.described.recovery
        return kept * equivalent_dose(dose, self.described.fractions, alpha_beta)


def read_earlier_courses(
    settings: Sequence[EarlierCourseConfig], case: Case, folder: Path, grid: sitk.Image
) -> tuple[CourseOnGrid, ...]:
    """Bring all earlier courses onto a grid, by trilinear interpolation between the centres of their voxels.

    Parameters
    ----------
    folder : Path
        That relative paths of dose files count from: the case's.
    grid : image
        Only its geometry is used.

    Raises
    ------
    InputError
        When a dose cannot be read, or lies in another frame of reference.
    """
    size = grid.GetSize()[::-1]
    courses = []
    for number, course in enumerate(settings):
        if course.uniform_dose is not None:
            dose: DoseArray = np.broadcast_to(np.float64(course.uniform_dose), size)
            digest, maximum = None, course.uniform_dose
        else:
            earlier = read_earlier_dose(
                folder / str(course.dose_file),
                frame_of_reference_sha256=case.frame_of_reference_sha256,
                place=f"biology.earlier_courses.{number}.dose_file",
            )
            image = image_from_zyx(earlier.values_zyx, origin=earlier.grid.origin, spacing=earlier.grid.spacing)
            nan = float("nan")
            on_grid = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, nan, sitk.sitkFloat32)
            dose, digest = sitk.GetArrayFromImage(on_grid), earlier.sha256
            maximum = float(earlier.values_zyx.max())
        courses.append(
            CourseOnGrid(
                dose,
                EarlierCourse(
                    fractions=course.fractions,
                    recovery=course.recovery,
                    uniform_dose_gy=course.uniform_dose,
                    sha256=digest,
                    maximum_gy=maximum,
                ),
            )
        )
    return tuple(courses)


def earlier_equivalent(
    courses: Sequence[CourseOnGrid], sample: Callable[[DoseArray], FloatArray], alpha_beta: float | FloatArray
) -> FloatArray | float:
    """EQD2 left of all earlier courses, Gy; 0 without any, not a number where one is not known.

    Parameters
    ----------
    sample : callable
        Takes a dose on the grid and gives it where it is wanted (at points, or as it is).
    """
    total: FloatArray | float = 0.0
    for course in courses:
        total = total + course.equivalent(sample(course.dose_zyx), alpha_beta)
    return total
