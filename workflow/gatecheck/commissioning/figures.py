"""Curves of the commissioning page: measured points on simulated lines, residuals below, as SVG data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatecheck.commissioning.fit import FitResult
from gatecheck.commissioning.judgement import Judged
from gatecheck.commissioning.observe import Curve
from gatecheck.report.style import MARKERS, OKABE_ITO

FloatArray = npt.NDArray[np.float64]

SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.linewidth": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "gatecheck",
}
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 1.5, 1.5, 1.5))


def curves_figure(
    lines: Sequence[tuple[str, FloatArray, Curve]],
    judged: Sequence[Sequence[Judged]],
    *,
    along: str,
    quantity: str,
    tolerance: float,
) -> str:
    """Lines with their measured points, and simulated minus measured below.

    Parameters
    ----------
    lines : sequence of (label, places, Curve)
    judged : for each line its measured points
    along : str
        Label of the abscissa: "depth" or "position".
    tolerance : float
        Drawn as a band in the lower panel, in the quantity's unit.
    """
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(6.2, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        for number, ((label, places, curve), points) in enumerate(zip(lines, judged, strict=True)):
            colour, marker = OKABE_ITO[number % len(OKABE_ITO)], MARKERS[number % len(MARKERS)]
            _line(upper, label, places, curve, colour=colour, number=number)
            at = np.array([_place(one, along) for one in points])
            measured = np.array([one.observation.value for one in points])
            upper.plot(at, measured, marker, color=colour, markersize=4.2, markerfacecolor="white", linestyle="none")
            lower.errorbar(
                at,
                [one.difference for one in points],
                yerr=[2 * one.sigma for one in points],
                fmt=marker,
                color=colour,
                markersize=3.6,
                elinewidth=0.8,
                capsize=1.5,
            )
        lower.axhspan(-tolerance, tolerance, color="#d9d9d9", zorder=0)
        lower.axhline(0.0, color="black", linewidth=0.6)
        upper.set_ylabel(quantity)
        lower.set_ylabel("difference")
        lower.set_xlabel(f"{along}, mm")
        upper.legend(fontsize=7.5, frameon=False)
        for axes in (upper, lower):
            axes.grid(linewidth=0.3, color="#bbbbbb")
        return as_data_uri(figure)


def _place(one: Judged, along: str) -> float:
    return one.observation.depth if along == "depth" else one.observation.off_axis


def _line(axes: Axes, label: str, places: FloatArray, curve: Curve, *, colour: str, number: int) -> None:
    (line,) = axes.plot(places, curve.value, color=colour, linewidth=1.1, label=label)
    line.set_dashes(_DASHES[number % len(_DASHES)])
    axes.fill_between(
        places, curve.value - 2 * curve.sigma, curve.value + 2 * curve.sigma, color=colour, alpha=0.2, linewidth=0
    )


def parameters_figure(result: FitResult) -> str:
    """How far each parameter moved from where the fit began, in its own steps, with its uncertainty."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(6.2, 0.26 * len(result.parameters) + 0.9), layout="constrained")
        axes = figure.subplots()
        names = [one.parameter.name for one in result.parameters]
        moved = [(one.value - one.start) / one.parameter.step for one in result.parameters]
        bars = [one.uncertainty / one.parameter.step for one in result.parameters]
        rows = np.arange(len(names))[::-1]
        axes.errorbar(moved, rows, xerr=bars, fmt="o", color="black", markersize=3.5, elinewidth=0.9, capsize=2)
        axes.axvline(0.0, color="#888888", linewidth=0.6)
        axes.set_yticks(rows, names)
        axes.set_xlabel("change from the start, in steps (bars: standard uncertainty)")
        axes.grid(linewidth=0.3, color="#bbbbbb")
        return as_data_uri(figure)


def as_data_uri(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()
