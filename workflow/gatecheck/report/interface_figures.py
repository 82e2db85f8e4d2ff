"""Drawings of the interface of tumour and cord: a map of the tumour's surface, and dose against distance from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatecheck.compare.interface.model import InterfaceComparison, IsodoseAgreement, ShellComparison
from gatecheck.report import style
from gatecheck.report.compared import SurfaceTable
from gatecheck.report.figures import ON_MAP, ColourScale, as_png, as_svg, drawing_settings

FloatArray = npt.NDArray[np.float64]

REGION_MARKS = {
    "tumour": (style.OKABE_ITO[0], "o"),
    "cord": (style.OKABE_ITO[1], "s"),
    "all": (style.OKABE_ITO[2], "^"),
}
"""Colour and marker of each region of the shells."""

CLEAR = 2.0
"""Sigmas from zero at which a ray's difference is drawn large."""

_STEP = 0.5  # mm: the colours end at a multiple of this
_MAP_INCHES = (4.1, 2.75)
_LARGE, _SMALL, _UNMET = 44.0, 18.0, 16.0  # areas of marks, square points
_CAP = 0.06  # mm: half the length of the ends of an interval
_ASIDE = 0.12  # mm: regions side by side, so that no interval covers another
_FACES = ((0, 0, "A"), (-90, 0, "R"), (90, 0, "L"), (-178, 0, "P"), (178, 0, "P"), (0, 88, "H"), (0, -88, "F"))


@dataclass(frozen=True, slots=True)
class SurfaceMapFigure:
    """One isodose's distance to agreement over the tumour's surface."""

    percent: float
    image: str
    drawn: int
    unmet: int


@dataclass(frozen=True, slots=True)
class InterfaceFigures:
    """All drawings of one tumour.

    Attributes
    ----------
    limit : float
        mm at which the maps' colours end, both ways.
    regions : tuple of str
        Regions of the shells that the chart holds, keys of `REGION_MARKS`.
    has_tps : bool
        Whether the TPS dose is drawn beside the Monte Carlo's.
    """

    maps: tuple[SurfaceMapFigure, ...]
    limit: float
    chart_wide: str
    chart_narrow: str
    regions: tuple[str, ...]
    has_tps: bool


def draw_interface(tumour: InterfaceComparison, table: SurfaceTable | None, stamp: str) -> InterfaceFigures:
    """Draw what there is of one tumour; no map where no isodose is met by both doses, no chart without shells."""
    limit = limit_of_scale(tumour.isodoses)
    shells = [shell for shell in tumour.shells if shell.mc_mean_gy is not None]
    charts = [
        shell_chart(shells, tumour.prescription_gy, stamp, narrow=narrow) if shells else "" for narrow in (False, True)
    ]
    return InterfaceFigures(
        maps=() if table is None else _maps(table, limit, stamp),
        limit=limit,
        chart_wide=charts[0],
        chart_narrow=charts[1],
        regions=tuple(region for region in REGION_MARKS if any(shell.region == region for shell in shells)),
        has_tps=any(shell.tps_mean_gy is not None for shell in shells),
    )


def limit_of_scale(isodoses: Sequence[IsodoseAgreement]) -> float:
    """The isodoses' largest 95th percentile as computed, mm, rounded up: most rays keep a colour of their own."""
    found = [one.p95_of_absolute.as_computed for one in isodoses if one.p95_of_absolute is not None]
    return max(1.0, _STEP * math.ceil(max(found, default=0.0) / _STEP))


def _maps(table: SurfaceTable, limit: float, stamp: str) -> tuple[SurfaceMapFigure, ...]:
    scale = ColourScale(style.DIFFERENCE_MAP, -limit, limit, "Monte Carlo further out by (mm)")
    figures = []
    for percent, agreement in table.agreement.items():
        met = np.isfinite(agreement)
        if met.any():
            image = surface_map_figure(table, percent, scale, stamp)
            figures.append(SurfaceMapFigure(percent, image, int(met.sum()), int((~met).sum())))
    return tuple(figures)


def map_angles(points_xyz: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Longitude and latitude of points about their middle, radians.

    Longitude is 0 towards the patient's front and grows to the patient's left; latitude grows to the head.

    Parameters
    ----------
    points_xyz : ndarray of shape (n, 3), LPS mm
    """
    x, y, z = (points_xyz - points_xyz.mean(axis=0)).T
    return np.arctan2(x, -y), np.arctan2(z, np.hypot(x, y))


def surface_map_figure(table: SurfaceTable, percent: float, scale: ColourScale, stamp: str) -> str:
    """Rays as dots on an equal-area map (Hammer), as a data URI of a PNG."""
    longitude, latitude = map_angles(table.points_xyz)
    agreement, sigma = table.agreement[percent], table.sigma[percent]
    met = np.isfinite(agreement)
    # A ray without a known sigma cannot be said to differ.
    clear = met & (np.abs(agreement) >= CLEAR * np.where(np.isfinite(sigma), sigma, np.inf))
    with drawing_settings():
        figure = Figure(figsize=_MAP_INCHES, dpi=160, facecolor="white")
        axes = figure.add_axes((0.03, 0.23, 0.94, 0.74), projection="hammer", facecolor="#f2f2f2")
        axes.grid(color="#c4c4c4", linewidth=0.5)
        axes.set_xticklabels([])
        axes.set_yticklabels([])
        axes.scatter(longitude[~met], latitude[~met], s=_UNMET, marker="x", color="#555555", linewidth=0.8, zorder=2)
        shown = axes.scatter(
            longitude[met],
            latitude[met],
            c=agreement[met],
            s=np.where(clear[met], _LARGE, _SMALL),
            cmap=scale.colour_map,
            vmin=scale.lowest,
            vmax=scale.highest,
            edgecolors="#333333",
            linewidths=0.3,
            zorder=3,
        )
        _draw_faces(axes)
        axes.text(0.99, 0.0, stamp, transform=axes.transAxes, ha="right", va="bottom", **ON_MAP.text(6.5))
        bar_axes = figure.add_axes((0.14, 0.165, 0.72, 0.042))
        bar = figure.colorbar(shown, cax=bar_axes, orientation="horizontal", extend="both")
        bar.set_label(scale.label, labelpad=1)
        return as_png(figure)


def _draw_faces(axes: Axes) -> None:
    for longitude, latitude, letter in _FACES:
        axes.text(
            np.deg2rad(longitude),
            np.deg2rad(latitude),
            letter,
            ha="center",
            va="center",
            fontweight="bold",
            zorder=5,
            **ON_MAP.text(10),
        )


def shell_chart(shells: Sequence[ShellComparison], prescription_gy: float, stamp: str, *, narrow: bool) -> str:
    """Mean dose of shells against distance from the tumour's surface, as a data URI of an SVG.

    A horizontal line spans each shell; Monte Carlo with its 95 % interval, the TPS beside it as a dashed line.
    """
    with drawing_settings():
        figure = Figure(figsize=(3.7, 3.5) if narrow else (6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        present = [region for region in REGION_MARKS if any(shell.region == region for shell in shells)]
        for region in present:
            of_region = [shell for shell in shells if shell.region == region]
            _draw_region(axes, of_region, region, {"tumour": 0.0, "cord": -_ASIDE, "all": _ASIDE}[region])
        axes.axvline(0, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set(xlabel="Distance from the tumour's surface, outside positive (mm)", ylabel="Mean dose (Gy)")
        if narrow:
            axes.set_xlabel("Distance from the surface (mm),\ninside negative")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines["top"].set_visible(False)
        right = axes.secondary_yaxis("right", functions=_percent_of(prescription_gy))
        right.set_ylabel(f"% of {prescription_gy:g} Gy")
        if stamp:
            axes.text(0.99, 1.01, stamp, transform=axes.transAxes, ha="right", fontsize=7, color="#8a2a00")
        return as_svg(figure)


def _percent_of(prescription_gy: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From Gy to per cent, and back."""

    def percent(dose: Any) -> Any:
        return 100 * dose / prescription_gy

    def gray(part: Any) -> Any:
        return part * prescription_gy / 100

    return percent, gray


def _draw_region(axes: Axes, shells: Sequence[ShellComparison], region: str, offset: float) -> None:
    colour, marker = REGION_MARKS[region]
    for shell in shells:
        mc = shell.mc_mean_gy
        if mc is None:
            continue
        middle = (shell.nearest + shell.furthest) / 2 + offset
        axes.hlines(mc.value, shell.nearest, shell.furthest, colors=colour, linewidth=1.0)
        axes.vlines(middle, mc.low, mc.high, colors=colour, linewidth=1.2)
        axes.hlines([mc.low, mc.high], middle - _CAP, middle + _CAP, colors=colour, linewidth=1.2)
        axes.plot(middle, mc.value, marker=marker, color=colour, markersize=4.5)
        if shell.tps_mean_gy is not None:
            span = (shell.nearest, shell.furthest)
            axes.hlines(shell.tps_mean_gy, *span, colors=colour, linewidth=1.4, linestyle=[(0, (4, 2))])
