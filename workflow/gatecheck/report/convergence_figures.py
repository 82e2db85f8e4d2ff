"""How sigma fell as photons were added, against one over the square root of their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from gatecheck.dose.model import ConvergenceStep
from gatecheck.report import style
from gatecheck.report.figures import as_svg, drawing_settings

MEASURED_COLOUR = style.OKABE_ITO[0]
EXPECTED_COLOUR = style.OKABE_ITO[6]
ASKED_COLOUR = style.OKABE_ITO[1]
"""Told apart by marker and dashes too."""


def convergence_chart(
    steps: Sequence[ConvergenceStep], target_relative_sigma: float | None, stamp: str, *, narrow: bool
) -> str:
    """Mean relative sigma against source photons, both logarithmic, as a data URI of an SVG; empty without steps."""
    if not steps:
        return ""
    with drawing_settings():
        figure = Figure(figsize=(3.7, 3.1) if narrow else (6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        photons = np.array([one.histories for one in steps]) / 1e6
        measured = 100 * np.array([one.fine_relative_sigma for one in steps])
        expected = 100 * np.array([one.expected_relative_sigma for one in steps])
        axes.loglog(photons, expected, color=EXPECTED_COLOUR, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.loglog(photons, measured, color=MEASURED_COLOUR, linewidth=1.0, marker="o", markersize=6)
        if target_relative_sigma is not None:
            axes.axhline(100 * target_relative_sigma, color=ASKED_COLOUR, linewidth=1.4, linestyle=(0, (1, 1.5)))
        axes.set(xlabel="Source photons (millions)", ylabel="Mean relative \N{GREEK SMALL LETTER SIGMA} (%, k = 1)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_formatter(NullFormatter())
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if stamp:
            axes.text(0.99, 1.01, stamp, transform=axes.transAxes, ha="right", fontsize=7, color="#8a2a00")
        return as_svg(figure)
