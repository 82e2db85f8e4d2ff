"""Whether a value is within its tolerance, beyond it, or not known well enough to say.

An interval that lies wholly within decides for, one wholly beyond decides against. Otherwise the sigma by noise, which
falls with one over the square root of the photons, is what keeps it open, and the number of photons follows at which
half the interval would equal the distance from the value to the tolerance. That rests on the value as it is now, which
itself will move by about its sigma: the number is an estimate, and is not given where it would be absurd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gatecheck.compare.interface.model import Finding, Outcome, Verdict
from gatecheck.compare.interface.statistics import t_quantile, t_quantile_as_rare_as

LARGEST_FACTOR = 25.0
"""Times the photons used, beyond which no number is given: a fifth of the sigma is what a large repeat buys."""

SEEN = 3.0
"""Sigmas from zero, were they known exactly, at which a difference is called seen; by chance once in 370 times."""

NORMAL_QUANTILE = 1.96
"""Sigmas on either side that hold 95 % of a normal distribution."""

_NOT_FAR = 1e-12
_HUNDRED_MILLION = 1e8


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity with all that is uncertain about it; the value's own unit.

    `degrees_of_freedom` is that of the sigma by noise.
    """

    quantity: str
    unit: str
    value: float
    noise_sigma: float
    degrees_of_freedom: int
    grid_error: float = 0.0
    common_sigma: float = 0.0


def judge(
    measured: Measured, tolerance: float, source: str, *, photons: float | None, is_limit: bool = False
) -> Finding:
    """Compare a value's magnitude with a tolerance, or a value with an upper limit."""
    sigma = (measured.noise_sigma**2 + measured.common_sigma**2) ** 0.5
    by_noise, by_calibration = t_quantile(measured.degrees_of_freedom) * measured.noise_sigma, _common_half(measured)
    half = math.hypot(by_noise, by_calibration) + abs(measured.grid_error)
    low, high = measured.value - half, measured.value + half
    if is_limit:
        is_within, is_beyond, distance = high <= tolerance, low > tolerance, abs(measured.value - tolerance)
    else:
        is_within = max(abs(low), abs(high)) <= tolerance
        is_beyond = low > tolerance or high < -tolerance
        distance = abs(abs(measured.value) - tolerance)
    outcome: Outcome = "pass" if is_within else "fail" if is_beyond else "undecided"
    factor = None if outcome != "undecided" else _photon_factor(measured, distance)
    more = None if factor is None or photons is None else (factor - 1) * photons
    return Finding(
        quantity=measured.quantity,
        unit=measured.unit,
        value=measured.value,
        low=low,
        high=high,
        noise_sigma=measured.noise_sigma,
        common_sigma=measured.common_sigma,
        grid_error=abs(measured.grid_error),
        tolerance=tolerance,
        tolerance_source=source,
        is_limit=is_limit,
        significance=None if is_limit else _significance(measured, sigma),
        is_seen=not is_limit and _is_seen(measured),
        outcome=outcome,
        more_photons=more,
        statement=_statement(measured, _Judged(outcome, low, high, tolerance, is_limit), distance, factor, more),
    )


def not_assessed(question: Literal["output", "position", "spread", "cord maximum"], reason: str) -> Verdict:
    """A question that cannot be answered, and why."""
    return Verdict(question=question, outcome="not assessed", is_seen=False, findings=(), statement=reason)


def verdict(question: Literal["output", "position", "spread", "cord maximum"], findings: list[Finding]) -> Verdict:
    """The answer to a question: fail where any finding fails, pass where all pass."""
    order: tuple[Outcome, ...] = ("fail", "undecided", "not assessed", "pass")
    outcome = min((one.outcome for one in findings), key=order.index)
    decisive = [one for one in findings if one.outcome == outcome]
    return Verdict(
        question=question,
        outcome=outcome,
        is_seen=any(one.is_seen for one in findings),
        findings=tuple(findings),
        statement=" ".join(one.statement for one in decisive),
    )


def _significance(measured: Measured, sigma: float) -> float:
    size = _beyond_grid_error(measured) / max(sigma, _not_far(measured))
    return size if measured.value >= 0 else -size


def _is_seen(measured: Measured) -> bool:
    """Whether chance brings it about as rarely as 3 sigma known exactly: few batches need more of their own sigma."""
    by_noise = t_quantile_as_rare_as(SEEN, measured.degrees_of_freedom) * measured.noise_sigma
    least = math.hypot(by_noise, SEEN * measured.common_sigma)
    return _beyond_grid_error(measured) >= max(least, SEEN * _not_far(measured))


def _beyond_grid_error(measured: Measured) -> float:
    return max(abs(measured.value) - abs(measured.grid_error), 0.0)


def _not_far(measured: Measured) -> float:
    """A sigma below which rounding is all there is."""
    return _NOT_FAR * (1 + abs(measured.value))


def _photon_factor(measured: Measured, distance: float) -> float | None:
    """Times as many photons in all as would decide; None where no number does, or none that is reasonable.

    From t^2 noise^2 / factor + z^2 common^2 = (distance - grid error)^2.
    """
    room = distance - abs(measured.grid_error)
    if room <= 0 or measured.noise_sigma == 0:
        return None
    allowed = room**2 - _common_half(measured) ** 2
    if allowed <= 0:
        return None
    factor = (t_quantile(measured.degrees_of_freedom) * measured.noise_sigma) ** 2 / allowed
    return factor if factor <= LARGEST_FACTOR else None


def _common_half(measured: Measured) -> float:
    """Half of a 95 % interval by the calibration alone, whose sigma is known from far more than these batches."""
    return NORMAL_QUANTILE * measured.common_sigma


def _millions(photons: float) -> str:
    return f"{photons / 1e6:.2g} million" if photons < _HUNDRED_MILLION else f"{photons / 1e6:.0f} million"


@dataclass(frozen=True, slots=True)
class _Judged:
    outcome: Outcome
    low: float
    high: float
    tolerance: float
    is_limit: bool


def _statement(measured: Measured, judged: _Judged, distance: float, factor: float | None, more: float | None) -> str:
    unit = f" {measured.unit}"
    bound = f"{'limit' if judged.is_limit else 'tolerance'} {judged.tolerance:.3g}{unit}"
    interval = f"95 % from {judged.low:.3g} to {judged.high:.3g}{unit}"
    text = f"{measured.quantity}: {measured.value:.3g}{unit} ({interval}), {bound}: {judged.outcome}"
    if judged.outcome != "undecided":
        return text + "."
    if factor is not None:
        count = (
            f"{_millions(more)} more photons" if more is not None else f"{factor - 1:.1f} times as many photons more"
        )
        return f"{text}: sigma too large, about {count} needed."
    common = _common_half(measured) + abs(measured.grid_error)
    reason = (
        "the calibration's uncertainty and the grid's error alone keep it open"
        if common >= distance
        else f"no reasonable number of photons decides, the value lies within {distance:.2g}{unit} of it"
    )
    return f"{text}: {reason}."
