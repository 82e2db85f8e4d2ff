"""The MLC's section of the commissioning page: figures and table rows for _leaves.html.j2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatecheck.commissioning.analysis import Estimate
from gatecheck.commissioning.beam_data import BeamData
from gatecheck.commissioning.figures import SETTINGS, as_data_uri
from gatecheck.commissioning.leaf_fit import FittedLeafValue, stated_value
from gatecheck.commissioning.leaf_lines import DEPTH, SHALLOW, SOURCE_SURFACE_DISTANCE
from gatecheck.commissioning.leaf_results import LeafCurve, LeafResults
from gatecheck.report.style import MARKERS, OKABE_ITO

POSITION_TOLERANCE = 0.5
"""mm: how far an opening of the asymmetric pattern may lie from its plan."""

_JUNCTION_SHOWN = 20.0  # mm on both sides of the axis


@dataclass(frozen=True, slots=True)
class LeafRow:
    """One line of the table.

    Attributes
    ----------
    quantity, condition : str
    value, sigma, stated : str
        As shown; stated is empty where nothing is known to compare with.
    passed : bool or None
        None where there is no tolerance.
    """

    quantity: str
    condition: str
    value: str
    sigma: str
    stated: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class LeafSection:
    """All that the template shows."""

    rows: tuple[LeafRow, ...]
    fitted: tuple[FittedLeafValue, ...]
    figures: tuple[tuple[str, str, str], ...]
    seconds: float


def leaf_section(results: LeafResults, data: BeamData, fitted: Sequence[FittedLeafValue] = ()) -> LeafSection:
    """The section, for `{% set leaves = ... %}{% include "_leaves.html.j2" %}`.

    Parameters
    ----------
    data : BeamData
        For what it states of the leaves.
    """
    return LeafSection(
        rows=tuple(leaf_rows(results, data)),
        fitted=tuple(fitted),
        figures=(
            (
                "Closed leaves and tongue and groove",
                leakage_figure(results),
                "Dose near boundaries between leaves: closed leaves, and the sum of two interdigitated fields",
            ),
            ("Sweeping gaps", gap_figure(results), "Effective against planned gap with the fitted line"),
            (
                "Two fields that meet between two leaves",
                junction_figure(results),
                "Sum of both half fields along y, with the cold line on the axis",
            ),
            (
                "Asymmetric pattern",
                pattern_figure(results),
                "Profiles through both openings at both collimator angles, with the planned leaf positions",
            ),
        ),
        seconds=results.seconds,
    )


def leaf_rows(results: LeafResults, data: BeamData) -> list[LeafRow]:
    """The table's lines."""
    where = f"100 x 100 mm, SSD {SOURCE_SURFACE_DISTANCE:g} mm, depth {DEPTH:g} mm"
    shallow = f"100 x 100 mm, SSD {SOURCE_SURFACE_DISTANCE:g} mm, depth {SHALLOW:g} mm"
    transmission = f"{100.0 * stated_value(data.leaf_transmissions).value:.4g} %" if data.leaf_transmissions else ""
    gap = f"{stated_value(data.leaf_gaps).value:.4g} mm" if data.leaf_gaps else ""
    rows = [_row("Leaf transmission, mean", where, results.transmission, 100.0, "%", stated=transmission)]
    rows += [
        _row("Leaf transmission", f"{where}, leaves of bank {bank}", one, 100.0, "%")
        for bank, one in results.transmission_by_bank.items()
    ]
    rows += [
        _row("Closed leaves: boundary to middle", where, results.peak_to_valley, 1.0, ""),
        _row("Every other pair, summed: missing, mean", where, results.tongue_and_groove_mean, 1.0, "%"),
        _row("Every other pair, summed: missing at boundaries", where, results.tongue_and_groove_boundary, 1.0, "%"),
        _row("Two halves that meet between leaves: cold line, depth", where, results.junction_depth, 1.0, "%"),
        _row("Two halves that meet between leaves: cold line, width", where, results.junction_width, 1.0, "mm"),
        _row("The same, depth", shallow, results.shallow_junction_depth, 1.0, "%"),
        _row("The same, width", shallow, results.shallow_junction_width, 1.0, "mm"),
        *(
            _row(f"Sweeping gap of {one.gap:g} mm, per MU of the open field", where, one.dose, 1.0, "")
            for one in results.gaps
        ),
        _row("Dosimetric leaf gap", where, results.leaf_gap, 1.0, "mm", stated=gap),
        _row("Effective per planned gap", where, results.gap_slope, 1.0, ""),
    ]
    for one in results.openings:
        pair = f"pair {one.opening.pair + 1} from Y1, {one.opening.x1:g} to {one.opening.x2:g} mm"
        condition = f"collimator {one.collimator:g}°, {pair}"
        within = abs(one.shift.value) <= POSITION_TOLERANCE
        limit = f"0 ± {POSITION_TOLERANCE:g} mm"
        rows.append(_row("Opening found minus planned", condition, one.shift, 1.0, "mm", stated=limit, passed=within))
        rows.append(_row("Opening's width", condition, one.width, 1.0, "mm"))
    return rows


def _row(
    quantity: str,
    condition: str,
    one: Estimate,
    scale: float,
    unit: str,
    *,
    stated: str = "",
    passed: bool | None = None,
) -> LeafRow:
    return LeafRow(
        quantity,
        condition,
        f"{scale * one.value:.4g} {unit}".strip(),
        f"{scale * (one.sigma or 0.0):.2g} {unit}".strip(),
        stated,
        passed,
    )


def leakage_figure(results: LeafResults) -> str:
    """Closed leaves and interdigitated fields, by the distance from the nearest boundary between two leaves."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(6.2, 2.8), layout="constrained")
        closed, summed = figure.subplots(1, 2)
        _band(closed, results.closed_curve, 0)
        _band(summed, results.tongue_and_groove_curve, 1)
        closed.set_title("closed leaves", fontsize=8.5)
        summed.set_title("every other pair open, both fields", fontsize=8.5)
        for axes in (closed, summed):
            axes.axvline(0.0, color="#888888", linewidth=0.6)
            axes.set_xlabel("from the boundary between leaves, mm")
            axes.set_ylabel("dose, % of the open field")
        return as_data_uri(figure)


def gap_figure(results: LeafResults) -> str:
    """Doses of sweeping gaps per dose of the open field, as effective gaps, and the line through them."""
    gaps = np.array([one.gap for one in results.gaps])
    line = results.gap_slope.value * (gaps + results.leaf_gap.value)
    residual = np.array([one.residual_percent for one in results.gaps])
    bars = 200.0 * np.array([(one.dose.sigma or 0.0) / one.dose.value for one in results.gaps])
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(6.2, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        from_zero = np.array([-results.leaf_gap.value, gaps[-1]])
        upper.plot(
            from_zero, results.gap_slope.value * (from_zero + results.leaf_gap.value), color=OKABE_ITO[0], linewidth=1.1
        )
        upper.plot(gaps, line * (1.0 + residual / 100.0), MARKERS[0], color=OKABE_ITO[1], markersize=4.2)
        upper.set_ylabel("effective gap, mm")
        lower.errorbar(gaps, residual, yerr=bars, fmt=MARKERS[0], color=OKABE_ITO[1], markersize=3.6, capsize=1.5)
        lower.axhline(0.0, color="black", linewidth=0.6)
        lower.set_ylabel("from line, %")
        lower.set_xlabel("planned gap, mm")
        for axes in (upper, lower):
            axes.grid(linewidth=0.3, color="#bbbbbb")
        return as_data_uri(figure)


def junction_figure(results: LeafResults) -> str:
    """The sum of both half fields along y."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(6.2, 2.6), layout="constrained")
        axes = figure.subplots()
        _band(axes, results.junction_curve, 0)
        axes.set_xlim(-_JUNCTION_SHOWN, _JUNCTION_SHOWN)
        shown = np.abs(results.junction_curve.place) < _JUNCTION_SHOWN
        axes.set_ylim(results.junction_curve.per_cent.value[shown].min() - 5.0, 110.0)
        axes.set_xlabel("y, mm")
        axes.set_ylabel("dose, % of the open field")
        return as_data_uri(figure)


def pattern_figure(results: LeafResults) -> str:
    """Profiles along the leaves' travel; dashed lines where the plan puts the leaves."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(6.2, 3.6), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True, sharey=True)
        for axes, one in zip(panels.ravel(), results.openings, strict=True):
            _band(axes, one.profile, 0)
            for leaf in (one.opening.x1, one.opening.x2):
                axes.axvline(leaf, color="#888888", linewidth=0.8, linestyle="--")
            axes.set_title(f"collimator {one.collimator:g}°, y = {one.opening.y:g} mm", fontsize=8.5)
        for axes in panels[-1]:
            axes.set_xlabel("along the leaves, mm")
        for axes in panels[:, 0]:
            axes.set_ylabel("dose, % of open")
        return as_data_uri(figure)


def _band(axes: Axes, curve: LeafCurve, number: int) -> None:
    colour = OKABE_ITO[number % len(OKABE_ITO)]
    value, sigma = curve.per_cent.value, curve.per_cent.sigma
    axes.plot(curve.place, value, color=colour, linewidth=1.1)
    axes.fill_between(curve.place, value - 2 * sigma, value + 2 * sigma, color=colour, alpha=0.25, linewidth=0)
    axes.grid(linewidth=0.3, color="#bbbbbb")
