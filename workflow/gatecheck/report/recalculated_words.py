"""Words for what was recalculated with the same photons."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from gatecheck.compare.error_budget import BudgetTerm, ErrorBudget, Source
from gatecheck.compare.recalculation.model import ChangedMetric
from gatecheck.config_recalculation import Change
from gatecheck.delivery.logs_followed import FollowedBeam
from gatecheck.report.compared_words import metric_name, times_as_many
from gatecheck.report.numbers import signed
from gatecheck.report.summary import Summary

_SOURCES: dict[Source, str] = {
    "noise": "Monte Carlo noise",
    "calibration": "Calibration: the noise of its simulation",
    "output": "Output of the machine (recalculation.output_percent)",
    "leaf_gap": "Leaf gap, {leaf_gap_mm:g} mm wider",
    "materials": "Materials: densities, {density_percent:g} % lower",
    "control_points": "Control-point sampling: the machine standing still between control points",
    "dose_to": "Dose to {other} in place of dose to {dose_to}",
}


_CHANGES: dict[Change, str] = {
    "as_delivered": "As delivered",
    "leaf_gap": "Leaf gap wider",
    "density": "Tissues less dense",
    "control_points": "The machine standing still between control points",
}
_WORST_LEAVES = 5


def of_recalculations(summary: Summary) -> dict[str, Any]:
    """What the parts of the template that show recalculations need beside the summary."""
    budget = () if summary.error_budget is None else summary.error_budget.metrics
    beams = () if summary.logs is None else summary.logs.beams
    return {
        "change_titles": _CHANGES,
        "budget_by_structure": [(name, list(found)) for name, found in groupby(budget, lambda one: one.structure)],
        "worst_leaves": [row for beam in beams for row in _worst_leaves(beam)],
    }


def _worst_leaves(beam: FollowedBeam) -> list[tuple[int, str, list[tuple[int, float]]]]:
    banks = {"X1": beam.leaf_root_mean_square_x1, "X2": beam.leaf_root_mean_square_x2}
    return [
        (beam.number, bank, sorted(enumerate(errors, start=1), key=lambda one: -one[1])[:_WORST_LEAVES])
        for bank, errors in banks.items()
    ]


def budget_source(term: BudgetTerm, budget: ErrorBudget) -> str:
    """What a term is of, with the size of the change."""
    other = "water" if budget.dose_to == "medium" else "medium"
    return _SOURCES[term.source].format(
        leaf_gap_mm=budget.leaf_gap_mm, density_percent=budget.density_percent, dose_to=budget.dose_to, other=other
    )


def budget_value(term: BudgetTerm) -> str:
    """Gy, with its own noise where it has some; what has a sign keeps it."""
    if term.gy is None:
        return "not assessed"
    text = f"{abs(term.gy):.2f}" if term.in_total else signed(term.gy, 2)
    return text if term.sigma_gy is None else f"{text} \N{PLUS-MINUS SIGN} {term.sigma_gy:.2f}"


def photons_saved(gain: float) -> str:
    """How many photons of their own two doses would need for the same sigma of their difference."""
    if gain < 1:
        return "That they are the same photons saves none here."
    return (
        f"With photons of their own, {times_as_many(gain)} times as many would give the same "
        "\N{GREEK SMALL LETTER SIGMA} (of mean doses)."
    )


def changed_name(metric: ChangedMetric) -> str:
    """A metric of a recalculation, for people."""
    where = f", {metric.region}" if metric.region else ""
    return f"{metric.structure}{where}: {metric_name(metric.metric)}"


FILTERS = {function.__name__: function for function in (budget_source, budget_value, changed_name, photons_saved)}
