"""Dose along the three lines through the point of the planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatecheck.compare.profiles import Profile, Profiles
from gatecheck.report import style
from gatecheck.report.figures import as_svg, drawing_settings

FloatArray = npt.NDArray[np.float64]

MC_COLOUR = style.OKABE_ITO[0]
TPS_COLOUR = style.OKABE_ITO[6]
"""Told apart by their dashes too."""

_ENDS = {"x": ("R", "L"), "y": ("A", "P"), "z": ("F", "H")}
_WORDS = {"x": "right to left", "y": "anterior to posterior", "z": "feet to head"}


@dataclass(frozen=True, slots=True)
class ProfileChart:
    """One line's dose, drawn for a wide and for a narrow screen; images are empty where the line misses the body."""

    axis: str
    title: str
    wide: str
    narrow: str


def draw_profiles(profiles: Profiles, stamp: str) -> tuple[ProfileChart, ...]:
    """One chart a line."""
    highest = max((_highest(one) for one in profiles.profiles), default=0.0) or 1.0
    charts = []
    for axis, one in enumerate(profiles.profiles):
        others = ", ".join(
            f"{name} = {profiles.point[index]:.1f} mm".replace("-", "\N{MINUS SIGN}")
            for index, name in enumerate("xyz")
            if index != axis
        )
        drawn = [
            profile_chart(one, profiles.point[axis], highest, stamp, narrow=narrow) if one.position else ""
            for narrow in (False, True)
        ]
        charts.append(ProfileChart(one.axis, f"Along {one.axis}, {_WORDS[one.axis]}, at {others}", *drawn))
    return tuple(charts)


def profile_chart(profile: Profile, mark: float, highest: float, stamp: str, *, narrow: bool) -> str:
    """Monte Carlo with a band of one sigma, the TPS dashed, as a data URI of an SVG.

    Parameters
    ----------
    mark : where the lines cross, mm
    highest : dose at the top of the axis, Gy
    """
    with drawing_settings():
        figure = Figure(figsize=(3.7, 3.1) if narrow else (6.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        place, dose, sigma = (_numbers(one) for one in (profile.position, profile.mc_gy, profile.mc_sigma_gy))
        axes.fill_between(place, dose - sigma, dose + sigma, color=MC_COLOUR, alpha=0.3, linewidth=0)
        axes.plot(place, dose, color=MC_COLOUR, linewidth=1.3)
        if profile.tps_gy is not None:
            axes.plot(place, _numbers(profile.tps_gy), color=TPS_COLOUR, linewidth=1.3, linestyle=(0, (4, 2)))
        axes.axvline(mark, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set(
            xlabel=f"{profile.axis} (mm)",
            ylabel="Dose, whole course (Gy)",
            xlim=(place[0], place[-1]) if len(place) > 1 else None,
            ylim=(0, 1.04 * highest),
        )
        _name_ends(axes, _ENDS[profile.axis])
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if stamp:
            axes.text(0.5, 1.01, stamp, transform=axes.transAxes, ha="center", fontsize=7, color="#8a2a00")
        return as_svg(figure)


def _name_ends(axes: Axes, ends: tuple[str, str]) -> None:
    for share, letter, side in ((0.01, ends[0], "left"), (0.99, ends[1], "right")):
        axes.text(share, 0.98, letter, transform=axes.transAxes, ha=side, va="top", fontweight="bold", fontsize=10)


def _highest(profile: Profile) -> float:
    found = [value for values in (profile.mc_gy, profile.tps_gy or ()) for value in values if value is not None]
    return max(found, default=0.0)


def _numbers(values: tuple[float | None, ...] | tuple[float, ...]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
