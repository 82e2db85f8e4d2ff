"""Limits of EQD2, each judged with the noise and the calibration of the value that it is held against."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gatecheck.compare.biology.effective_dose import dose_of_equivalent
from gatecheck.compare.biology.model import EffectiveMetrics, JudgedLimit, StructureBiology, Verdict
from gatecheck.compare.biology.structures import NORMAL_CORD, is_meant, is_named
from gatecheck.compare.model import Metric
from gatecheck.config_biology import EffectiveLimitConfig

NORMAL_95 = 1.96
"""Standard deviations of a 95 % interval, two-sided, of what is normally distributed."""

_WHOLE = 0.999
_SAME_ALPHA_BETA = 1e-6


def judge(
    structures: Iterable[StructureBiology],
    limits: Iterable[EffectiveLimitConfig],
    *,
    fractions: int,
    calibration_relative_sigma: float,
    cord: str | None = None,
) -> tuple[JudgedLimit, ...]:
    """Every limit at every structure that it names, in the order of the limits.

    A limit of the cord is a limit of all of it; the cord without the tumour is judged only where a limit names it
    (`normal cord`).

    Parameters
    ----------
    fractions : int
        Of this course.
    calibration_relative_sigma : float
        Standard deviation (k = 1) of the dose's calibration, in parts of the dose.
    cord : str, optional
        Name of the structure that is the cord, whatever it is called.
    """
    found = tuple(structures)
    return tuple(
        _judged(structure, limit, fractions, calibration_relative_sigma)
        for limit in limits
        for structure in found
        if is_meant(structure.name, limit.structures, cord=cord)
    )


@dataclass(frozen=True, slots=True)
class HalfWidth:
    """Half of a value's 95 % interval, Gy: by noise, and by the calibration, which more photons do not narrow."""

    noise: float
    calibration: float

    @property
    def total(self) -> float:
        """Of both."""
        return math.hypot(self.noise, self.calibration)


def half_width_of(value: Metric, alpha_beta: float, *, fractions: int, calibration_relative_sigma: float) -> HalfWidth:
    """Of an EQD2, by its own interval and by the calibration.

    A dose that is by a part e too large gives an EQD2 too large by (2 d + alpha/beta) / (d + alpha/beta) e, for a dose
    d per fraction. Here d is that which gives the whole EQD2 in this course: of all courses, the earlier ones' part
    is taken to depend on this calibration too, which can only widen the interval.
    """
    if value.interval_95 is not None:
        noise = (value.interval_95[1] - value.interval_95[0]) / 2
    else:
        noise = NORMAL_95 * (value.sigma or 0.0)
    equivalent = max(value.value, 0.0)
    dose = dose_of_equivalent(equivalent, fractions, alpha_beta) / fractions
    elasticity = (2 * dose + alpha_beta) / (dose + alpha_beta)
    return HalfWidth(noise, NORMAL_95 * calibration_relative_sigma * elasticity * equivalent)


def verdict_of(value: float, half_width: HalfWidth, limit: float) -> tuple[Verdict, float | None]:
    """Whether a value keeps below a limit, and how many times as many photons would decide it if it stays."""
    distance = limit - value
    if abs(distance) > half_width.total or half_width.total == 0:
        return ("pass" if distance >= 0 else "fail"), None
    left = distance**2 - half_width.calibration**2
    return "undecided", half_width.noise**2 / left if left > 0 else None


def _judged(
    structure: StructureBiology, limit: EffectiveLimitConfig, fractions: int, calibration_relative_sigma: float
) -> JudgedLimit:
    metrics = structure.this_course if limit.courses == "this_course" else structure.all_courses
    value: Metric | None = None if metrics is None else _metric(metrics, limit)
    verdict: Verdict = "undecided"
    factor, half_width, note = None, None, ""
    if abs(structure.alpha_beta - limit.alpha_beta) > _SAME_ALPHA_BETA:
        note = (
            f"Stated with an alpha/beta of {limit.alpha_beta:g} Gy; this structure's EQD2 is with "
            f"{structure.alpha_beta:g} Gy and cannot be held against it."
        )
    elif value is None:
        note = "No value: outside of the doses, or smaller than the volume asked for."
    else:
        half_width = half_width_of(
            value, limit.alpha_beta, fractions=fractions, calibration_relative_sigma=calibration_relative_sigma
        )
        verdict, factor = verdict_of(value.value, half_width, limit.limit_gy)
        known = _known_fraction(structure, limit)
        if known < _WHOLE and not _fails_by_what_is_known(value.value - half_width.total, known, limit):
            # What is not known could exceed, or lower the mean; more photons do not help.
            verdict, factor, note = "undecided", None, "Part of the structure lies outside of the doses."
    return JudgedLimit(
        structure=structure.name,
        metric=limit.metric,
        courses=limit.courses,
        limit_gy=limit.limit_gy,
        alpha_beta=limit.alpha_beta,
        reference=limit.reference,
        value=value,
        half_width=None if half_width is None else half_width.total,
        verdict=verdict,
        photons_factor=factor,
        note=note,
    )


def _metric(metrics: EffectiveMetrics, limit: EffectiveLimitConfig) -> Metric | None:
    value: Metric | None = getattr(metrics, limit.metric)
    return value


def _known_fraction(structure: StructureBiology, limit: EffectiveLimitConfig) -> float:
    """Part of the structure's volume in which all doses that count are known."""
    if limit.courses == "all_courses" and structure.earlier_covered_fraction is not None:
        return structure.covered_fraction * structure.earlier_covered_fraction
    return structure.covered_fraction


def _fails_by_what_is_known(lower: float, known: float, limit: EffectiveLimitConfig) -> bool:
    """Whether a limit is broken whatever the dose in the rest: a mean's is at least that of no dose there.

    Parameters
    ----------
    lower : float
        End of the interval of the value in the part that is known, Gy.
    """
    return (known * lower if limit.metric == "mean_gy" else lower) > limit.limit_gy


def limits_of_cord(limits: Iterable[EffectiveLimitConfig], cord: str) -> tuple[EffectiveLimitConfig, ...]:
    """The limits that name the cord, whatever it is called, or the cord without the tumour."""
    return tuple(
        limit
        for limit in limits
        if is_meant(cord, limit.structures, cord=cord) or is_named(NORMAL_CORD, limit.structures)
    )
