"""Limits of physical dose whose chance of being broken is stated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.stats

from gatecheck.case.model import Case
from gatecheck.compare.biology.effective_dose import dose_of_equivalent, equivalent_dose
from gatecheck.compare.biology.limits import limits_of_cord
from gatecheck.compare.biology.structures import NORMAL_CORD, Roles, is_named
from gatecheck.compare.setup_errors.model import Exceedance
from gatecheck.config_biology import BiologyConfig, EffectiveLimitConfig
from gatecheck.config_setup import SetupConfig, SetupLimitConfig

FloatArray = npt.NDArray[np.float64]

COVERAGE = 0.95
"""Part of the prescription that the tumour's D95 is to reach (Mori et al., Int. J. Radiat. Res. 18 (2020) 599)."""

_INTERVAL = 0.95


def limits_of(
    case: Case, roles: Roles, settings: SetupConfig, biology: BiologyConfig, prescription_gy: float | None
) -> tuple[SetupLimitConfig, ...]:
    """Those of the configuration; those of the cord's EQD2 as physical doses at D0.03cc; the tumour's coverage.

    A limit of EQD2 of all courses becomes one of this course where the earlier ones are uniform; with the dose of an
    earlier course on a grid there is no one dose that corresponds to it, and it is left out.
    """
    found = list(settings.limits)
    if roles.cord is not None:
        names = [roles.cord.name, *([NORMAL_CORD] if roles.tumour is not None else [])]
        for limit in limits_of_cord(biology.limits, roles.cord.name):
            dose = _physical(limit, case.fractions, biology)
            if dose is not None:
                text = f"EQD2 of {limit.limit_gy:g} Gy, here at D0.03cc: {limit.reference}"
                found += [SetupLimitConfig(structure=name, limit_gy=dose, reference=text) for name in names]
    if roles.tumour is not None and prescription_gy is not None:
        found.append(
            SetupLimitConfig(
                structure=roles.tumour.name,
                metric="d95_gy",
                limit_gy=COVERAGE * prescription_gy,
                is_least=True,
                reference=f"{100 * COVERAGE:g} % of the prescription",
            )
        )
    return tuple(found)


def _physical(limit: EffectiveLimitConfig, fractions: int, biology: BiologyConfig) -> float | None:
    equivalent = limit.limit_gy
    if limit.courses == "all_courses":
        for course in biology.earlier_courses:
            if course.uniform_dose is None:
                return None
            earlier = float(equivalent_dose(course.uniform_dose, course.fractions, limit.alpha_beta))
            equivalent -= (1 - course.recovery) * earlier
    return dose_of_equivalent(equivalent, fractions, limit.alpha_beta) if equivalent > 0 else None


def exceedances(
    limits: Sequence[SetupLimitConfig], name: str, metric: str, courses: FloatArray
) -> tuple[Exceedance, ...]:
    """How often the courses break each of the limits of one metric of one structure."""
    found = []
    for limit in limits:
        if limit.metric != metric or not is_named(name, (limit.structure,)):
            continue
        broken = courses < limit.limit_gy if limit.is_least else courses > limit.limit_gy
        lower, upper = interval_of(int(broken.sum()), len(courses))
        found.append(
            Exceedance(
                limit_gy=limit.limit_gy,
                is_least=limit.is_least,
                reference=limit.reference,
                probability=float(broken.mean()),
                lower=lower,
                upper=upper,
            )
        )
    return tuple(found)


def interval_of(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a probability of which `count` of `total` were seen (Clopper and Pearson, 1934)."""
    tail = (1 - _INTERVAL) / 2
    lower = 0.0 if count == 0 else float(scipy.stats.beta.ppf(tail, count, total - count + 1))
    upper = 1.0 if count == total else float(scipy.stats.beta.ppf(1 - tail, count + 1, total - count))
    return lower, upper
