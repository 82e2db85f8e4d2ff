"""The linear-quadratic model: biologically effective dose and the equivalent dose in fractions of 2 Gy.

For a total dose D in n equal fractions of d = D / n,

    BED  = D (1 + d / (alpha/beta))                       Fowler, Br. J. Radiol. 62 (1989) 679, equation 10
    EQD2 = D (d + alpha/beta) / (2 + alpha/beta)          Withers et al., Radiother. Oncol. 1 (1983) 187
         = BED / (1 + 2 / (alpha/beta))

without a term for time. Each voxel is taken to receive the same dose in every fraction, and fractions to be complete
(all sublethal damage repaired in between). The model is thought to hold for doses per fraction up to some 10 Gy.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

REFERENCE_FRACTION = 2.0
"""Gy per fraction of EQD2."""


def biologically_effective_dose(dose: npt.ArrayLike, fractions: int, alpha_beta: float | FloatArray) -> FloatArray:
    """BED, Gy.

    Parameters
    ----------
    dose : array_like of any shape
        Physical dose of the whole course, Gy.
    fractions : int
    alpha_beta : float or ndarray of the dose's shape
        Gy.

    Raises
    ------
    ValueError
        For less than one fraction, or an alpha/beta that is not above 0.
    """
    ratio = _checked(fractions, alpha_beta)
    doses = np.asarray(dose, dtype=np.float64)
    effective: FloatArray = doses * (1 + doses / (fractions * ratio))
    return effective


def equivalent_dose(dose: npt.ArrayLike, fractions: int, alpha_beta: float | FloatArray) -> FloatArray:
    """EQD2, Gy; parameters as for `biologically_effective_dose`."""
    return biologically_effective_dose(dose, fractions, alpha_beta) / (1 + REFERENCE_FRACTION / alpha_beta)


def bed_sigma(dose: npt.ArrayLike, sigma: npt.ArrayLike, fractions: int, alpha_beta: float | FloatArray) -> FloatArray:
    """Standard deviation of BED from that of the dose, to first order: (1 + 2 d / (alpha/beta)) sigma."""
    ratio = _checked(fractions, alpha_beta)
    slope = 1 + 2 * np.asarray(dose, dtype=np.float64) / (fractions * ratio)
    propagated: FloatArray = slope * np.asarray(sigma, dtype=np.float64)
    return propagated


def equivalent_dose_sigma(
    dose: npt.ArrayLike, sigma: npt.ArrayLike, fractions: int, alpha_beta: float | FloatArray
) -> FloatArray:
    """Standard deviation of EQD2, to first order: (2 d + alpha/beta) / (2 + alpha/beta) sigma."""
    return bed_sigma(dose, sigma, fractions, alpha_beta) / (1 + REFERENCE_FRACTION / alpha_beta)


def dose_of_equivalent(equivalent: float, fractions: int, alpha_beta: float) -> float:
    """Physical dose in so many fractions that has an EQD2, Gy: the positive root of the quadratic."""
    half = fractions * float(_checked(fractions, alpha_beta)) / 2
    return math.sqrt(half**2 + fractions * equivalent * (REFERENCE_FRACTION + alpha_beta)) - half


def _checked(fractions: int, alpha_beta: float | FloatArray) -> FloatArray:
    if fractions < 1:
        raise ValueError(f"{fractions} fractions found, expected at least 1")
    ratio = np.asarray(alpha_beta, dtype=np.float64)
    if not np.all(ratio > 0):
        raise ValueError("an alpha/beta of 0 or less found, expected more than 0 Gy")
    return ratio
