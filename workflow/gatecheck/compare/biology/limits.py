"""Limits of EQD2, each judged with the noise of the value that it is held against."""

from __future__ import annotations

from collections.abc import Iterable

from gatecheck.compare.biology.model import EffectiveMetrics, JudgedLimit, StructureBiology, Verdict
from gatecheck.compare.biology.structures import NORMAL_CORD, is_meant, is_named
from gatecheck.compare.model import Metric
from gatecheck.config_biology import EffectiveLimitConfig

DECIDES = 1.96
"""Standard deviations between value and limit from which on a verdict is given: 95 %, two-sided."""

_WHOLE = 0.999
_SAME_ALPHA_BETA = 1e-6


def judge(
    structures: Iterable[StructureBiology], limits: Iterable[EffectiveLimitConfig], *, cord: str | None = None
) -> tuple[JudgedLimit, ...]:
    """Every limit at every structure that it names, in the order of the limits.

    A limit of the cord is a limit of all of it; the cord without the tumour is judged only where a limit names it
    (`normal cord`).

    Parameters
    ----------
    cord : str, optional
        Name of the structure that is the cord, whatever it is called.
    """
    found = tuple(structures)
    return tuple(
        _judged(structure, limit)
        for limit in limits
        for structure in found
        if is_meant(structure.name, limit.structures, cord=cord)
    )


def verdict_of(value: Metric, limit: float) -> tuple[Verdict, float | None]:
    """Whether a value keeps below a limit, and how many times as many photons would decide it."""
    distance = limit - value.value
    reach = DECIDES * (value.sigma or 0.0)
    if abs(distance) > reach or reach == 0:
        return ("pass" if distance >= 0 else "fail"), None
    return "undecided", (reach / distance) ** 2 if distance else None


def _judged(structure: StructureBiology, limit: EffectiveLimitConfig) -> JudgedLimit:
    metrics = structure.this_course if limit.courses == "this_course" else structure.all_courses
    value: Metric | None = None if metrics is None else _metric(metrics, limit)
    verdict: Verdict = "undecided"
    factor, note = None, ""
    if abs(structure.alpha_beta - limit.alpha_beta) > _SAME_ALPHA_BETA:
        note = (
            f"Stated with an alpha/beta of {limit.alpha_beta:g} Gy; this structure's EQD2 is with "
            f"{structure.alpha_beta:g} Gy and cannot be held against it."
        )
    elif value is None:
        note = "No value: outside of the doses, or smaller than the volume asked for."
    else:
        verdict, factor = verdict_of(value, limit.limit_gy)
        if verdict != "fail" and _is_partly_unknown(structure, limit):
            # What is not known could exceed; more photons do not help.
            verdict, factor, note = "undecided", None, "Part of the structure lies outside of the doses."
    return JudgedLimit(
        structure=structure.name,
        metric=limit.metric,
        courses=limit.courses,
        limit_gy=limit.limit_gy,
        alpha_beta=limit.alpha_beta,
        reference=limit.reference,
        value=value,
        verdict=verdict,
        photons_factor=factor,
        note=note,
    )


def _metric(metrics: EffectiveMetrics, limit: EffectiveLimitConfig) -> Metric | None:
    value: Metric | None = getattr(metrics, limit.metric)
    return value


def _is_partly_unknown(structure: StructureBiology, limit: EffectiveLimitConfig) -> bool:
    known = structure.covered_fraction
    if limit.courses == "all_courses" and structure.earlier_covered_fraction is not None:
        known = min(known, structure.earlier_covered_fraction)
    return known < _WHOLE


def limits_of_cord(limits: Iterable[EffectiveLimitConfig], cord: str) -> tuple[EffectiveLimitConfig, ...]:
    """The limits that name the cord, whatever it is called, or the cord without the tumour."""
    return tuple(
        limit
        for limit in limits
        if is_meant(cord, limit.structures, cord=cord) or is_named(NORMAL_CORD, limit.structures)
    )
