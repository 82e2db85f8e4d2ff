"""One sentence that the one who signs can quote: what was checked, how, what was found, and what was not judged."""

from __future__ import annotations

from gatecheck.compare.interface.model import Finding, InterfaceComparison, Verdict
from gatecheck.report.compared_words import courses, metric_name, tolerance
from gatecheck.report.numbers import MINUS, NO_BREAK, number, power, significant
from gatecheck.report.summary import Summary
from gatecheck.report.words import WHOLE_REGION, fine_region
from gatecheck.transport.model import Precision

_SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
_OUTCOMES = {"pass": "within it", "fail": "beyond it", "undecided": "undecided"}
_QUESTIONS = {
    "output": "dose in the tumour's core",
    "position": "position of the dose",
    "spread": "spread of the dose",
    "cord maximum": "hottest 0.03 cc of cord",
}


def stated(summary: Summary) -> Summary:
    """A summary with its sentence."""
    return summary.model_copy(update={"statement": statement_of(summary)})


def statement_of(summary: Summary) -> str:
    """The sentence, from what the summary says alone; it is true of every outcome, and never judges the plan."""
    first = "The" if summary.clinical else f"Not for clinical use ({summary.data_set_kind} Geant4 data): the"
    parts = [
        f"{first} {_what(summary)} {_how(summary)}",
        _found(summary),
        *_limits_of_cord(summary),
        *_limits(summary),
        *_statistics(summary),
        *_warnings(summary),
        *_not_assessed(summary),
        "otherwise neither the dose nor the plan as a whole was judged",
    ]
    return "; ".join(parts) + "."


def _what(summary: Summary) -> str:
    beams = f"{len(summary.beams)} {'beam' if len(summary.beams) == 1 else 'beams'}"
    fractions = f"{summary.fractions} {'fraction' if summary.fractions == 1 else 'fractions'}"
    label = f", plan {summary.plan_label}" if summary.plan_label else ""
    return (
        f"dose of {summary.case_id}{label} ({beams} on the machine model {summary.machine}, "
        f"{number(summary.meterset_per_fraction, 1)} MU per fraction, {fractions})"
    )


def _how(summary: Summary) -> str:
    engine = summary.engine
    return (
        f"was calculated again, independently of the planning system, by Monte Carlo (Geant4 {engine.geant4} with "
        f"gatecheck {engine.gatecheck}, dose to {summary.dose_to}, {power(float(summary.histories))} source photons, "
        f"{_sigma(summary)})"
    )


def _sigma(summary: Summary) -> str:
    """The one that was asked for, with what it is the mean of."""
    if not summary.fine_voxels:
        return f"mean {_SIGMA} {_percent(summary.mean_relative_sigma)} at k = 1 over all {WHOLE_REGION}"
    where = fine_region(summary.fine_voxels, summary.fine_spacing, summary.fine_above_gy)
    target = summary.target_relative_sigma
    wanted = "" if target is None else f", where {100 * target:.2g}{NO_BREAK}% was wanted"
    return f"mean {_SIGMA} {_percent(summary.fine_relative_sigma)} at k = 1 over the {where}{wanted}"


def _found(summary: Summary) -> str:
    tumours = summary.interface.tumours
    judged = [f"at the surface of {one.tumour}: {', '.join(_judged(one))}" for one in tumours if _judged(one)]
    found = f"was found (95 % intervals), {'; '.join(judged)}"
    if not summary.has_tps_dose:
        lead = "there was no dose of the planning system to compare it with"
        return f"{lead}, and of the dose itself {found}" if judged else lead
    if judged:
        return f"of its difference from the dose of the planning system {found}"
    if tumours:
        return f"at the surface of {' and '.join(one.tumour for one in tumours)} nothing could be judged"
    return "nothing was compared at an interface of tumour and cord"


def _judged(tumour: InterfaceComparison) -> list[str]:
    return [_verdict(one) for one in tumour.verdicts if _is_answered(one)]


def _is_answered(verdict: Verdict) -> bool:
    return verdict.outcome in _OUTCOMES and any(not one.is_limit for one in verdict.findings)


def _verdict(verdict: Verdict) -> str:
    """The findings that decide a question: of one that fails, those that fail."""
    found = [one for one in verdict.findings if not one.is_limit]
    decisive = [one for one in found if one.outcome == verdict.outcome] or found
    return ", ".join(_finding(verdict, one) for one in decisive)


def _limits_of_cord(summary: Summary) -> list[str]:
    """Doses held against a limit, which are no differences; of a cord that several tumours share once."""
    found = {
        _limit(tumour, one): None
        for tumour in summary.interface.tumours
        for verdict in tumour.verdicts
        for one in verdict.findings
        if one.is_limit and one.outcome in _OUTCOMES
    }
    return list(found)


def _limit(tumour: InterfaceComparison, finding: Finding) -> str:
    unit = f"{NO_BREAK}{finding.unit}"
    value, low, high = (significant(one).replace("-", MINUS) for one in (finding.value, finding.low, finding.high))
    return (
        f"in {tumour.cord or 'the cord'}, {_within_a_sentence(finding.quantity)} is {value}{unit} ({low} to "
        f"{high}{unit}; limit {tolerance(finding)}: {_OUTCOMES[finding.outcome]})"
    )


def _finding(verdict: Verdict, finding: Finding) -> str:
    unit = f"{NO_BREAK}{finding.unit}"
    value, low, high = (significant(one).replace("-", MINUS) for one in (finding.value, finding.low, finding.high))
    outcome = _OUTCOMES[verdict.outcome]
    if verdict.outcome == "undecided" and finding.outcome == "pass":
        # Only the output's: see gatecheck.compare.interface.decisions.
        outcome = "undecided, for the joint fit contradicts it"
    return (
        f"{_within_a_sentence(finding.quantity)} {value}{unit} ({low} to {high}{unit}; tolerance {tolerance(finding)}: "
        f"{outcome})"
    )


def _within_a_sentence(quantity: str) -> str:
    """Without the capital of a first word; one of an abbreviation stays."""
    return quantity[:1].lower() + quantity[1:] if quantity[1:2].islower() else quantity


def _limits(summary: Summary) -> list[str]:
    limits = summary.biology.limits
    if not limits:
        return []
    outcomes = ", ".join(
        f"{count} {words}"
        for name, words in (("pass", "kept"), ("fail", "broken"), ("undecided", "undecided"))
        if (count := sum(one.verdict == name for one in limits))
    )
    broken = [
        f"{one.structure} {metric_name(one.metric)} {number(one.value.value, 1)}{NO_BREAK}Gy above "
        f"{number(one.limit_gy, 1)}{NO_BREAK}Gy ({courses(one.courses)})"
        for one in limits
        if one.verdict == "fail" and one.value is not None
    ]
    which = f" ({', '.join(broken)})" if broken else ""
    return [f"of the limits of EQD2 that were asked for, {outcomes}{which}"]


def _statistics(summary: Summary) -> list[str]:
    missed = [one for one in summary.precisions if not one.is_reached]
    if not missed:
        return []
    return ["the statistics asked for were not reached (" + ", ".join(map(_precision, missed)) + ")"]


def _precision(precision: Precision) -> str:
    name = precision.name.replace("_", " ")
    if precision.reached is None:
        return f"{name}: {precision.wanted:.2g} % wanted, not to be had from this case"
    return f"{name}: {precision.wanted:.2g} % wanted, {precision.reached:.2g} % reached"


def _warnings(summary: Summary) -> list[str]:
    number_of = len(summary.warnings)
    return [f"the report holds {number_of} {'warning' if number_of == 1 else 'warnings'}"] if number_of else []


def _not_assessed(summary: Summary) -> list[str]:
    left = [
        f"{_QUESTIONS[verdict.question]} at {tumour.tumour}"
        for tumour in summary.interface.tumours
        for verdict in tumour.verdicts
        if not _is_answered(verdict)
    ]
    return [f"not assessed: {', '.join(left)}"] if left else []


def _percent(fraction: float) -> str:
    return f"{number(100 * fraction, 2)}{NO_BREAK}%"
