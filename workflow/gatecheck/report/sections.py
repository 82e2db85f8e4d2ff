"""What the parts of the report on gamma, profiles and convergence need beside the summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gatecheck.compare.volume_gamma.model import VolumeGamma, VolumeGammaRate
from gatecheck.report import convergence_figures, gamma_figures, profile_figures
from gatecheck.report.convergence_figures import convergence_chart
from gatecheck.report.profile_figures import draw_profiles
from gatecheck.report.summary import Summary


@dataclass(frozen=True, slots=True)
class VolumeGammaRow:
    """One region: its rates in the order of the columns, None where a column has none."""

    least_percent: float
    rates: tuple[VolumeGammaRate | None, ...]


def context_of_sections(summary: Summary, stamp: str) -> dict[str, Any]:
    """Drawings, colours and tables of these sections."""
    columns, rows = volume_gamma_table(summary.gamma)
    return {
        "gamma_columns": columns,
        "gamma_rows": rows,
        "gamma_passing": gamma_figures.PASSING,
        "gamma_failing": gamma_figures.FAILING,
        "gamma_not_asked": gamma_figures.NOT_ASKED,
        "profiles": () if summary.profiles is None else draw_profiles(summary.profiles, stamp),
        "profile_colours": {"mc": profile_figures.MC_COLOUR, "tps": profile_figures.TPS_COLOUR},
        "convergence": {
            width: convergence_chart(
                summary.convergence, summary.target_relative_sigma, stamp, narrow=width == "narrow"
            )
            for width in ("wide", "narrow")
        },
        "convergence_colours": {
            "measured": convergence_figures.MEASURED_COLOUR,
            "expected": convergence_figures.EXPECTED_COLOUR,
            "asked": convergence_figures.ASKED_COLOUR,
        },
    }


def volume_gamma_table(gamma: VolumeGamma | None) -> tuple[tuple[tuple[str, str], ...], tuple[VolumeGammaRow, ...]]:
    """Columns of (criteria, reference), and a row for each region."""
    rates = () if gamma is None else gamma.rates
    columns = tuple(dict.fromkeys((rate.criteria, rate.reference) for rate in rates))
    found = {(rate.least_percent, rate.criteria, rate.reference): rate for rate in rates}
    rows = tuple(
        VolumeGammaRow(percent, tuple(found.get((percent, *column)) for column in columns))
        for percent in dict.fromkeys(rate.least_percent for rate in rates)
    )
    return columns, rows
