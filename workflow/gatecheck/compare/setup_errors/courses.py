"""Courses of treatment with sampled setup errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatecheck.config_setup import SetupConfig

FloatArray = npt.NDArray[np.float64]


def systematic_deviations(settings: SetupConfig) -> FloatArray:
    """Standard deviations of what stays the same all course, shape (6,): mm along, degrees about x, y, z."""
    return np.array([*settings.systematic_translation, *settings.systematic_rotation])


def random_deviations(settings: SetupConfig) -> FloatArray:
    """Standard deviations of what is new in each fraction, the motion within it added in quadrature, shape (6,)."""
    translation = np.hypot(settings.random_translation, settings.intrafraction_translation)
    return np.array([*translation, *settings.random_rotation])


def sampled_courses(settings: SetupConfig, fractions: int) -> FloatArray:
    """Displacements of the patient in every fraction of every course.

    All six are normal and independent. A course's systematic error is drawn once, its random errors for each fraction
    (van Herk, Semin. Radiat. Oncol. 14 (2004) 52, for the division).

    Returns
    -------
    ndarray of shape (courses, fractions, 6)
        In the order of `gatecheck.delivery.displacement.SIX`.
    """
    generator = np.random.default_rng(settings.seed)
    systematic = generator.normal(size=(settings.courses, 1, 6)) * systematic_deviations(settings)
    random = generator.normal(size=(settings.courses, fractions, 6)) * random_deviations(settings)
    displacements: FloatArray = systematic + random
    return displacements
