"""Limits of physical dose whose chance of being broken is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special

from gatecheck.case.model import Case
from gatecheck.compare.biology.effective_dose import dose_of_equivalent, equivalent_dose
from gatecheck.compare.biology.limits import limits_of_cord
from gatecheck.compare.biology.structures import NORMAL_CORD, Roles, is_meant, is_named
from gatecheck.compare.setup_errors.model import Exceedance
from gatecheck.config_biology import BiologyConfig, EffectiveLimitConfig
from gatecheck.config_setup import SetupConfig, SetupLimitConfig, SetupMetric

FloatArray = npt.NDArray[np.float64]

COVERAGE = 0.95
"""Part of the prescription that the tumour's D95 is to reach (Mori et al., Int. J. Radiat. Res. 18 (2020) 599)."""

_INTERVAL = 0.95


_AT_HOTTEST = ("max_gy", "d0_03cc_gy", "d0_01cc_gy")  # metrics of a limit of EQD2 that D0.03cc can stand for


@dataclass(frozen=True, slots=True)
class DoseLimit:
    """A limit of physical dose of the whole course at one metric of one structure.

    Attributes
    ----------
    limit_gy : float
        0 where `is_used_up`.
    is_least : bool
        The dose has to reach the limit; else it must not exceed it.
    is_used_up : bool
        Earlier courses alone reach the limit: every further course breaks it.
    """

    structure: str
    metric: SetupMetric
    limit_gy: float
    reference: str
    is_least: bool = False
    is_used_up: bool = False


@dataclass(frozen=True, slots=True)
class DoseLimits:
    """The limits of a case; `notes` say which could not be made one of physical dose."""

    limits: tuple[DoseLimit, ...]
    notes: tuple[str, ...]


def limits_of(
    case: Case, roles: Roles, settings: SetupConfig, biology: BiologyConfig, prescription_gy: float | None
) -> DoseLimits:
    """Those of the configuration; those of the cord's EQD2 as physical doses at D0.03cc; the tumour's coverage.

    A limit of EQD2 of all courses becomes one of this course where the earlier ones are uniform; with the dose of an
    earlier course on a grid there is no one dose that corresponds to it, and it is left out. A limit that names the
    cord is followed in the cord without the tumour too, where there is one: the dose to the tumour is meant to be
    high, and only there can be seen what setup errors do to the rest. One that names only the cord without the tumour
    is no limit of the whole cord.
    """
    found = _own(settings.limits, roles)
    notes: list[str] = []
    if roles.cord is not None:
        for limit in limits_of_cord(biology.limits, roles.cord.name):
            made = _physical(limit, case.fractions, biology)
            if isinstance(made, str):
                notes.append(f"biology.limits, EQD2 of {limit.limit_gy:g} Gy, left out of the setup errors: {made}.")
                continue
            text = f"EQD2 of {limit.limit_gy:g} Gy, here at D0.03cc: {limit.reference}"
            if made == 0:
                text = f"EQD2 of {limit.limit_gy:g} Gy, which earlier courses use up: {limit.reference}"
            found += [
                DoseLimit(name, "d0_03cc_gy", made, text, is_used_up=made == 0) for name in _limited(limit, roles)
            ]
    if roles.tumour is not None and prescription_gy is not None:
        least = COVERAGE * prescription_gy
        reference = f"{100 * COVERAGE:g} % of the prescription"
        found.append(DoseLimit(roles.tumour.name, "d95_gy", least, reference, is_least=True))
    return DoseLimits(tuple(found), tuple(notes))


def _own(limits: Sequence[SetupLimitConfig], roles: Roles) -> list[DoseLimit]:
    """Those of the section `setup`; what names a spinal cord counts for the cord too, whatever it is called."""
    found = []
    for one in limits:
        names = [one.structure]
        if roles.cord is not None and not is_named(roles.cord.name, names):
            names += [roles.cord.name] if is_meant(roles.cord.name, names, cord=roles.cord.name) else []
        found += [DoseLimit(name, one.metric, one.limit_gy, one.reference, is_least=one.is_least) for name in names]
    return found


def _limited(limit: EffectiveLimitConfig, roles: Roles) -> list[str]:
    """The names of the cord and of the cord without the tumour, as far as a limit counts for them."""
    if roles.cord is None:
        return []
    cord = roles.cord.name
    is_of_cord = is_meant(cord, limit.structures, cord=cord)
    normal = [NORMAL_CORD] if roles.tumours else []
    return [cord, *normal] if is_of_cord else normal


def _physical(limit: EffectiveLimitConfig, fractions: int, biology: BiologyConfig) -> float | str:
    """A limit of EQD2 as physical dose of this course, Gy, 0 where earlier courses use it up; or why there is none."""
    if limit.metric not in _AT_HOTTEST:
        return f"D0.03cc cannot be held against a limit of {limit.metric}"
    equivalent = limit.limit_gy
    earlier_courses = biology.earlier_courses if limit.courses == "all_courses" else ()
    for course in earlier_courses:
        if course.uniform_dose is not None:
            earlier = float(equivalent_dose(course.uniform_dose, course.fractions, limit.alpha_beta))
            equivalent -= (1 - course.recovery) * earlier
    if equivalent <= 0:
        return 0.0
    if any(course.uniform_dose is None for course in earlier_courses):
        return "the dose of an earlier course is given on a grid, so that what it leaves differs from place to place"
    return dose_of_equivalent(equivalent, fractions, limit.alpha_beta)


def exceedances(limits: Sequence[DoseLimit], name: str, metric: str, courses: FloatArray) -> tuple[Exceedance, ...]:
    """How often the courses break each of the limits of one metric of one structure."""
    found = []
    for limit in limits:
        if limit.metric != metric or not is_named(name, (limit.structure,)):
            continue
        broken = courses < limit.limit_gy if limit.is_least else courses > limit.limit_gy
        if limit.is_used_up:
            broken = np.ones(len(courses), dtype=np.bool_)
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
    lower = 0.0 if count == 0 else float(scipy.special.betaincinv(count, total - count + 1, tail))
    upper = 1.0 if count == total else float(scipy.special.betaincinv(count + 1, total - count, 1 - tail))
    return lower, upper
