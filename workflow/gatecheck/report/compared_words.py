"""Verdicts, intervals and directions in words: filters of the parts of the template that show the comparison."""

from __future__ import annotations

from typing import Literal

from gatecheck.compare.interface.model import Estimate, Finding, Verdict
from gatecheck.compare.model import Metric
from gatecheck.report.numbers import NO_BREAK, number, power, signed, significant

_SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
_FEW = 10
_ALPHA_BETA_SETTINGS = ("target_alpha_beta", "default_alpha_beta")

QUESTIONS = {
    "output": "dose in the tumour's core",
    "position": "shift of the dose",
    "spread": "place and width of the fall-off",
    "cord maximum": "hottest 0.03 ml of cord outside of all tumours",
}

_METRICS = {
    "mean_gy": "Mean",
    "max_gy": "Maximum",
    "d95_gy": "D95 %",
    "d0_03cc_gy": "D0.03 cc",
    "d0_01cc_gy": "D0.01 cc",
}
_FACING = {"+x": "left", "-x": "right", "+y": "posterior", "-y": "anterior", "+z": "head", "-z": "feet"}
_REGIONS = {"tumour": "tumour", "cord": "cord, without tumours", "all": "all that lies there"}
_COURSES = {"this_course": "this course", "all_courses": "all courses"}


def interval(estimate: Estimate, digits: int = 2) -> str:
    """A 95 % interval."""
    return f"{number(estimate.low, digits)} to {number(estimate.high, digits)}"


def signed_interval(estimate: Estimate, digits: int = 2) -> str:
    return f"{signed(estimate.low, digits)} to {signed(estimate.high, digits)}"


def metric_interval(metric: Metric, digits: int = 2) -> str:
    """The 95 % interval of a metric; empty where it has none."""
    if metric.interval_95 is None:
        return ""
    low, high = metric.interval_95
    return f"{number(low, digits)} to {number(high, digits)}"


def question(name: str) -> str:
    """What a verdict asks, in words."""
    return QUESTIONS.get(name, name)


def tolerance(finding: Finding) -> str:
    """A tolerance on a magnitude, or a limit."""
    bound = f"{significant(finding.tolerance)}{NO_BREAK}{finding.unit}"
    return f"at most {bound}" if finding.is_limit else f"±{bound}"


def uncertainty(finding: Finding) -> str:
    """Of what the interval is made."""
    unit = f"{NO_BREAK}{finding.unit}"
    parts = [f"noise {_SIGMA} {significant(finding.noise_sigma, 2)}{unit}"]
    if finding.common_sigma:
        parts.append(f"calibration {_SIGMA} {significant(finding.common_sigma, 2)}{unit}")
    if finding.grid_error:
        parts.append(f"TPS grid ±{significant(finding.grid_error, 2)}{unit}")
    return ", ".join(parts)


def decides(finding: Finding, photons: float | None) -> str:
    """Whether statistics is what is missing, and how much of it."""
    if finding.outcome in ("pass", "fail"):
        return "Decided."
    if finding.outcome == "not assessed":
        return "Not assessed."
    if finding.more_photons is None:
        calibration = " More histories of its calibration would narrow the interval." if finding.common_sigma else ""
        return f"Not by more photons of this case: no reasonable number would decide.{calibration}"
    used = "" if photons is None else f" (used so far: {power(photons)})"
    return f"Statistics is missing: about {power(finding.more_photons)} more photons would decide{used}."


def contradiction(verdict: Verdict) -> str:
    """Why a question is open though each of its findings is decided; empty where it is not so."""
    if verdict.outcome != "undecided" or any(finding.outcome == "undecided" for finding in verdict.findings):
        return ""
    return "Not statistics: what was found contradicts another result."


def seen(verdict: Verdict) -> str:
    """Whether a difference is there, which is another question than whether it is tolerable."""
    if all(finding.significance is None for finding in verdict.findings):
        return ""
    if not verdict.is_seen:
        return f"No difference seen that chance brings about as rarely as 3 {_SIGMA}."
    within = ", within tolerance" if verdict.outcome == "pass" else ""
    return f"Seen: a significant difference (as rarely by chance as 3 {_SIGMA}){within}."


def facing(direction: str) -> str:
    """Where a part of the surface faces, in the patient."""
    return _FACING[direction]


def region(name: str) -> str:
    return _REGIONS[name]


def metric_name(key: str) -> str:
    return _METRICS[key]


def courses(key: Literal["this_course", "all_courses"]) -> str:
    return _COURSES[key]


def alpha_beta_source(source: str) -> str:
    """Where a value comes from; a setting by its full name."""
    return f"configuration, biology.{source}" if source in _ALPHA_BETA_SETTINGS else source


def times_as_many(factor: float) -> str:
    """How many times as many photons would decide."""
    return f"{factor:.1f}" if factor < _FEW else power(float(f"{factor:.2g}"))


def translation(six: tuple[float, ...]) -> str:
    """The first three of a displacement, mm."""
    return ", ".join(f"{axis} {signed(value)}" for axis, value in zip("xyz", six[:3], strict=True))


def rotation(six: tuple[float, ...]) -> str:
    """The last three of a displacement, degrees."""
    return ", ".join(f"{axis} {signed(value)}" for axis, value in zip("xyz", six[3:], strict=True))


def three(values: tuple[float, ...]) -> str:
    """Standard deviations along, or about, x, y and z: one number where they are equal."""
    return number(values[0], 2) if len(set(values)) == 1 else ", ".join(number(value, 2) for value in values)


FILTERS = {
    function.__name__: function
    for function in (
        interval,
        signed_interval,
        metric_interval,
        question,
        tolerance,
        uncertainty,
        decides,
        contradiction,
        seen,
        facing,
        region,
        metric_name,
        courses,
        alpha_beta_source,
        times_as_many,
        translation,
        rotation,
        three,
    )
}
