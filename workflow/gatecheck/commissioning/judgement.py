"""Simulated against measured, number by number: differences, tolerances, pass or fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatecheck.commissioning.fit import Simulated, half_field
from gatecheck.commissioning.observations import Observation

BUILD_UP_DEPTH = 10.0
"""mm: shallower, a difference of 2 mm in depth (BUILD_UP_SHIFT of the fit) is as good as one in dose."""

FIELD_SHARE = 0.8
"""Of the field's width: profiles are judged within it."""

SIGMA_LIMIT_PERCENT = 0.3


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is allowed, in the observation's own unit (per cent of the maximum or axis, mm), and where it is from."""

    value: float
    unit: str


TOLERANCES = {
    "depth_dose": Tolerance(1.0, "% of maximum"),
    "build_up": Tolerance(3.0, "% of maximum"),
    "profile": Tolerance(1.0, "% of axis"),
    "width_50": Tolerance(0.5, "mm"),
    "penumbra_80_20": Tolerance(0.5, "mm"),
    "output_factor": Tolerance(0.8, "%"),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One line of the table.

    Attributes
    ----------
    difference : float
        Simulated minus measured: per cent of maximum or axis, mm, or per cent (output factors).
    sigma : float
        Of the simulation, in the same unit.
    is_judged : bool
        False outside 80 % of the field's width, where a profile is shown but has no tolerance.
    passed : bool
    decides : bool
        Whether the simulation's noise is small enough to decide: sigma at most 0.3 % (0.15 mm for lengths).
    """

    observation: Observation
    simulated: Simulated
    difference: float
    sigma: float
    tolerance: Tolerance
    is_judged: bool
    passed: bool
    decides: bool


def judge(observations: Sequence[Observation], simulated: Sequence[Simulated]) -> tuple[Judged, ...]:
    """A line for each observation."""
    return tuple(_judged(seen, found) for seen, found in zip(observations, simulated, strict=True))


def _judged(seen: Observation, found: Simulated) -> Judged:
    is_build_up = seen.quantity == "depth_dose" and seen.depth < BUILD_UP_DEPTH
    tolerance = TOLERANCES["build_up" if is_build_up else seen.quantity]
    scale = 100.0 / seen.value if seen.quantity == "output_factor" else 1.0
    difference = (found.value - seen.value) * scale
    sigma = found.sigma * scale
    limit = SIGMA_LIMIT_PERCENT / 2 if tolerance.unit == "mm" else SIGMA_LIMIT_PERCENT
    within = abs(difference) <= tolerance.value
    if is_build_up and not within and found.nearby is not None:
        shallow, deep = found.nearby
        within = min(shallow, deep) <= seen.value <= max(shallow, deep)
    is_judged = not (seen.quantity == "profile" and abs(seen.off_axis) > FIELD_SHARE * half_field(seen))
    return Judged(seen, found, difference, sigma, tolerance, is_judged, within or not is_judged, sigma <= limit)
