"""One sentence that the one who signs can quote: what was checked, how, what was found, and what was not judged."""

from __future__ import annotations

from gatecheck.compare.interface.model import Finding, InterfaceComparison, Verdict
from gatecheck.report.compared_words import tolerance
from gatecheck.report.numbers import MINUS, NO_BREAK, number, power, significant
from gatecheck.report.summary import Summary
from gatecheck.transport.model import Precision

_SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
_REACHED = 1.05  # but for the noise of what was reached
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
    first = "The" if summary.clinical else "Not for clinical use (made with Geant4 data for testing): the"
    parts = [
        f"{first} {_what(summary)} {_how(summary)}",
        _found(summary),
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
        f"dose of {summary.case_id}{label} ({beams} on {summary.machine}, "
        f"{number(summary.meterset_per_fraction, 1)} MU per fraction, {fractions})"
    )


def _how(summary: Summary) -> str:
    engine = summary.engine
    return (
        f"was calculated again, independently of the planning system, by Monte Carlo (Geant4 {engine.geant4} with "
        f"gatecheck {engine.gatecheck}, dose to {summary.dose_to}, {power(float(summary.histories))} source photons, "
        f"mean {_SIGMA} above half the maximum {_percent(summary.mean_relative_sigma)} at k = 1)"
    )


def _found(summary: Summary) -> str:
    tumours = summary.interface.tumours
    judged = [f"at the surface of {one.tumour}: {', '.join(_judged(one))}" for one in tumours if _judged(one)]
    found = f"was found (95 % intervals by noise, calibration and dose grid in brackets), {'; '.join(judged)}"
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
    return verdict.outcome in _OUTCOMES and bool(verdict.findings)


def _verdict(verdict: Verdict) -> str:
    """The findings that decide a question: of one that fails, those that fail."""
    decisive = [one for one in verdict.findings if one.outcome == verdict.outcome] or list(verdict.findings)
    return ", ".join(_finding(verdict, one) for one in decisive)


def _finding(verdict: Verdict, finding: Finding) -> str:
    unit = f"{NO_BREAK}{finding.unit}"
    value, low, high = (significant(one).replace("-", MINUS) for one in (finding.value, finding.low, finding.high))
    bound = f"{'limit' if finding.is_limit else 'tolerance'} {tolerance(finding)}"
    # What a question's other results contradict may be decided by itself, while the question is not.
    return (
        f"{_within_a_sentence(finding.quantity)} {value}{unit} ({low} to {high}{unit}; {bound}: "
        f"{_OUTCOMES[verdict.outcome]})"
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
    return [f"of the limits of EQD2 that were asked for, {outcomes}"]


def _statistics(summary: Summary) -> list[str]:
    missed = [one for one in summary.precisions if _is_missed(one)]
    if not missed:
        return []
    return ["the statistics asked for were not reached (" + ", ".join(map(_precision, missed)) + ")"]


def _is_missed(precision: Precision) -> bool:
    return precision.reached is None or precision.reached > _REACHED * precision.wanted


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
