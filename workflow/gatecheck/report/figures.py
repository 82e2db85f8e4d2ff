"""Drawing: planes as PNG, curves as SVG, both as data URIs.

No text of a plan (structure or beam names) is ever drawn here; legends are HTML, where every
character of every language is readable and escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import AbstractPathEffect, withStroke

from gatecheck.compare.model import DvhCurve
from gatecheck.report import style
from gatecheck.report.planes import Plane
from gatecheck.report.style import Normalisation

FloatArray = npt.NDArray[np.float64]

_INCHES = 4.1
_DPI = 160
_SCALE_INCHES = 0.62  # height of the strip that holds a colour scale
_DVH_POINTS = 400
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.linewidth": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "gatecheck",
    "path.simplify_threshold": 0.3,
}
_SCALE_BARS = (5.0, 10.0, 20.0, 50.0, 100.0)
_LABEL_GAP = 0.045  # of the window's side: labels closer than this would touch
_EDGE = 0.07  # of the window's side: no label of a line comes nearer to the edge,
_FOOT = 0.12  # nor to the bottom, where scale bar and stamp are
_LABEL_PLACES = 24
_SHORTEST_LABELLED = 30  # vertices


@dataclass(frozen=True, slots=True)
class Ink:
    """How marks and letters stand out from what lies under them."""

    fill: str
    casing: str

    def text(self, size: float) -> dict[str, Any]:
        """Text properties for a font of a size in points."""
        return {"color": self.fill, "fontsize": size, "path_effects": self.cased(2.0)}

    def cased(self, width: float) -> list[AbstractPathEffect]:
        return [withStroke(linewidth=width, foreground=self.casing)]


ON_CT = Ink("white", "black")
ON_MAP = Ink("black", "white")


@dataclass(frozen=True, slots=True)
class Overlay:
    """A structure drawn on planes: its mask, its letter and its dashes."""

    name: str
    letter: str
    dashes: tuple[float, ...]
    mask: sitk.Image
    _outlines: dict[Plane, list[FloatArray]] = field(default_factory=dict, compare=False, repr=False)

    def outlines(self, plane: Plane) -> list[FloatArray]:
        """Its lines on a plane, each of shape (n, 2) in mm; empty where the plane does not cross its surface.

        Every set of figures shows the same few planes, and each is cut once.
        """
        if plane not in self._outlines:
            columns, rows = plane.pixel_centres()
            section = plane.sample(self.mask, outside=0.0)
            lines = contour_generator(columns, rows, section, line_type="Separate").lines(0.5)
            self._outlines[plane] = cast("list[FloatArray]", lines)
        return self._outlines[plane]


@dataclass(frozen=True, slots=True)
class Scene:
    """What every plane of one report is drawn with.

    Attributes
    ----------
    body : volume of labels, 1 inside the body
    point : (x, y, z)
        Where the planes cross, marked with a cross.
    stamp : str
        Written on every figure; empty for a dose fit for clinical use.
    """

    overlays: tuple[Overlay, ...]
    body: sitk.Image
    point: tuple[float, float, float]
    stamp: str


@dataclass(frozen=True, slots=True)
class ColourScale:
    """How a map's values, all in one unit, become colours."""

    colour_map: str
    lowest: float
    highest: float
    label: str


@dataclass(frozen=True, slots=True)
class DvhSeries:
    """The dose-volume histograms of one structure, drawn in one colour with one marker."""

    colour: str
    marker: str
    mc: DvhCurve | None
    tps: DvhCurve | None


def isodose_figure(plane: Plane, ct: sitk.Image, dose: sitk.Image, scene: Scene, scale: Normalisation) -> str:
    """Isodoses on CT with structure contours, as a data URI of a PNG."""
    with drawing_settings():
        figure, axes = plane_figure(strip=0.0, background="black")
        low = style.WINDOW_LEVEL - style.WINDOW_WIDTH / 2
        _show(axes, plane, plane.sample(ct, outside=-1024.0), "gray", (low, low + style.WINDOW_WIDTH))
        labels = Labels(axes, plane, ON_CT)
        draw_overlays(axes, plane, scene.overlays, labels)
        _draw_isodoses(axes, plane, _inside_body(plane, dose, scene.body), scale, labels)
        draw_marks(axes, plane, scene, ON_CT)
        return as_png(figure)


def map_figure(plane: Plane, image: sitk.Image, scene: Scene, scale: ColourScale, factor: float = 1.0) -> str:
    """A quantity inside the body as colours with structure contours, as a data URI of a PNG."""
    with drawing_settings():
        figure, axes = plane_figure(strip=_SCALE_INCHES, background="#f2f2f2")
        values = factor * _inside_body(plane, image, scene.body)
        shown = _show(axes, plane, values, scale.colour_map, (scale.lowest, scale.highest))
        draw_overlays(axes, plane, scene.overlays, Labels(axes, plane, ON_CT))
        draw_marks(axes, plane, scene, ON_MAP)
        total = _INCHES + _SCALE_INCHES
        bar_axes = figure.add_axes((0.08, 0.38 / total, 0.84, 0.13 / total))
        bar = figure.colorbar(
            shown, cax=bar_axes, orientation="horizontal", extend="both" if scale.lowest < 0 else "max"
        )
        bar.set_label(scale.label, labelpad=1)
        return as_png(figure)


def dvh_figure(series: Sequence[DvhSeries], maximum_gy: float, stamp: str, *, narrow: bool) -> str:
    """Cumulative dose-volume histograms with bands of one standard deviation, as a data URI of an SVG."""
    with drawing_settings():
        figure = Figure(figsize=(3.7, 3.7) if narrow else (6.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for index, one in enumerate(series):
            _draw_dvh(axes, one, offset=(index + 0.5) / len(series))
        axes.set(xlim=(0, maximum_gy), ylim=(0, 102), xlabel="Dose, whole course (Gy)", ylabel="Volume (%)")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if stamp:
            axes.text(0.99, 1.01, stamp, transform=axes.transAxes, ha="right", fontsize=7, color="#8a2a00")
        return as_svg(figure)


@contextmanager
def drawing_settings() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def plane_figure(*, strip: float, background: str) -> tuple[Figure, Axes]:
    """A figure of one plane, with a strip of so many inches below it for a colour scale."""
    total = _INCHES + strip
    figure = Figure(figsize=(_INCHES, total), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, strip / total, 1, _INCHES / total), facecolor=background)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def _show(axes: Axes, plane: Plane, values: FloatArray, colours: str, limits: tuple[float, float]) -> AxesImage:
    return axes.imshow(
        np.ma.masked_invalid(values),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        extent=plane.extent,
        origin="upper" if plane.vertical_axis_points_down else "lower",
        interpolation="nearest",
    )


class Labels:
    """Places labels on lines, inside the window and clear of one another."""

    def __init__(self, axes: Axes, plane: Plane, ink: Ink) -> None:
        self._axes = axes
        self._ink = ink
        self._low = np.array([plane.extent[0], min(plane.extent[2:])])
        self._side = plane.side
        self._down = -1.0 if plane.vertical_axis_points_down else 1.0
        self._placed: list[FloatArray] = []

    def place(self, text: str, points: FloatArray, angle: float, *, lift: float, size: float) -> None:
        """Write `text` on the point of a line that lies farthest in a direction and is free.

        Parameters
        ----------
        points : ndarray of shape (n, 2), mm
        angle : degrees, from right over up
        lift : mm outwards from the line
        size : of the font, in points
        """
        radians = np.deg2rad(angle)
        outwards = np.array([np.cos(radians), np.sin(radians) * self._down])
        share = (points + lift * outwards - self._low) / self._side
        if self._down < 0:
            share[:, 1] = 1 - share[:, 1]
        clear = np.all((share > (_EDGE, _FOOT)) & (share < 1 - _EDGE), axis=1)
        places = (points + lift * outwards)[clear]
        order = np.argsort(-(places @ outwards))
        for place in places[order[:: max(1, len(order) // _LABEL_PLACES)]]:
            if all(np.hypot(*(place - other)) > _LABEL_GAP * self._side for other in self._placed):
                self._placed.append(place)
                properties = self._ink.text(size) | {"ha": "center", "va": "center", "fontweight": "bold", "zorder": 5}
                self._axes.text(place[0], place[1], text, **properties)
                return


def _inside_body(plane: Plane, image: sitk.Image, body: sitk.Image) -> FloatArray:
    values = plane.sample(image, outside=float("nan"))
    return np.where(plane.sample(body, outside=0.0, nearest=True) > 0.5, values, np.nan)


def _draw_isodoses(axes: Axes, plane: Plane, dose: FloatArray, scale: Normalisation, labels: Labels) -> None:
    finite = dose[np.isfinite(dose)]
    if not finite.size:
        return
    columns, rows = plane.pixel_centres()
    masked = np.ma.masked_invalid(dose)
    for isodose in scale.isodoses:
        if not finite.min() < isodose.gray < finite.max():
            continue
        axes.contourf(columns, rows, masked, levels=[isodose.gray, np.inf], colors=[isodose.colour], alpha=0.10)
        lines = axes.contour(columns, rows, masked, levels=[isodose.gray], colors=[isodose.colour], linewidths=1.1)
        lines.set_path_effects([withStroke(linewidth=2.0, foreground="black", alpha=0.55)])
        longest = max(lines.allsegs[0], key=len)
        if len(longest) >= _SHORTEST_LABELLED:
            labels.place(f"{isodose.percent:g}", longest, 270, lift=0, size=7)


def draw_overlays(axes: Axes, plane: Plane, overlays: Sequence[Overlay], labels: Labels) -> None:
    """Contours of structures, each in its dashes with its letter."""
    for index, overlay in enumerate(overlays):
        outlines = overlay.outlines(plane)
        if not outlines:
            continue
        dashes = (0, overlay.dashes) if overlay.dashes else "solid"
        casing = [withStroke(linewidth=2.0, foreground="black", alpha=0.6)]
        lines = LineCollection(outlines, colors="white", linewidths=1.0, linestyles=dashes, path_effects=casing)
        axes.add_collection(lines, autolim=False)
        angle = 30 + 360 / style.STRUCTURES_ON_CT * index
        labels.place(overlay.letter, np.concatenate(outlines), angle, lift=0.025 * plane.side, size=8)


def draw_marks(axes: Axes, plane: Plane, scene: Scene, ink: Ink) -> None:
    """Directions, where the plane lies, the point through which it passes, a scale bar, the stamp."""
    left, right, top, bottom = plane.labels
    places = (
        (0.02, 0.5, left, "left", "center"),
        (0.98, 0.5, right, "right", "center"),
        (0.5, 0.98, top, "center", "top"),
        (0.5, 0.02, bottom, "center", "bottom"),
    )
    inside: dict[str, Any] = {"transform": axes.transAxes}
    for x, y, text, across, vertical in places:
        axes.text(x, y, text, ha=across, va=vertical, fontweight="bold", **ink.text(10), **inside)
    axes.text(0.02, 0.98, f"{plane.orientation}  {plane.position}", ha="left", va="top", **ink.text(8), **inside)
    axes.text(0.98, 0.02, scene.stamp, ha="right", va="bottom", **ink.text(7), **inside)
    length = max((bar for bar in _SCALE_BARS if bar <= plane.side / 4), default=_SCALE_BARS[0])
    share = length / plane.side
    line: dict[str, Any] = {"color": ink.fill, "linewidth": 2, "path_effects": ink.cased(3.5)}
    axes.plot([0.03, 0.03 + share], [0.045, 0.045], **line, **inside)
    axes.text(0.03 + share / 2, 0.06, f"{length:g} mm", ha="center", **ink.text(8), **inside)
    across_axis, vertical_axis, _ = plane.axes
    cross: dict[str, Any] = {"color": "white", "path_effects": ON_CT.cased(2.0)}
    axes.plot(
        scene.point[across_axis], scene.point[vertical_axis], marker="+", markersize=9, markeredgewidth=0.9, **cross
    )
    axes.set(xlim=plane.extent[:2], ylim=plane.extent[2:])


def _draw_dvh(axes: Axes, series: DvhSeries, offset: float) -> None:
    if series.mc is not None:
        dose, volume, sigma = _thinned(series.mc)
        if sigma is not None:
            low, high = np.clip(volume - sigma, 0, 100), np.clip(volume + sigma, 0, 100)
            axes.fill_between(dose, low, high, color=series.colour, alpha=0.25, linewidth=0)
        axes.plot(
            dose,
            volume,
            color=series.colour,
            linewidth=1.4,
            marker=series.marker,
            markersize=4.5,
            markevery=(0.16 * offset, 0.16),
        )
    if series.tps is not None:
        dose, volume, _ = _thinned(series.tps)
        axes.plot(dose, volume, color=series.colour, linewidth=1.4, linestyle=(0, (4, 2)))


def end_of_curve(curve: DvhCurve) -> float:
    """The least dose that no part of the structure receives, Gy."""
    return float(_thinned(curve)[0][-1])


def _thinned(curve: DvhCurve) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Dose, volume in % and its sigma, up to where nothing is left, at no more points than can be seen."""
    dose = np.asarray(curve.dose_gy, dtype=float)
    volume = 100 * np.asarray(curve.volume_fraction, dtype=float)
    sigma = None if curve.volume_fraction_sigma is None else 100 * np.asarray(curve.volume_fraction_sigma, dtype=float)
    end = np.flatnonzero(volume)[-1] + 1 if volume.any() else 0
    last = min(end, len(dose) - 1)
    kept = np.unique(np.linspace(0, last, min(last + 1, _DVH_POINTS)).round().astype(int))
    return dose[kept], volume[kept], None if sigma is None else sigma[kept]


def as_png(figure: Figure) -> str:
    """A figure as a data URI of a PNG, the same bytes every time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 4})
    return data_uri(buffer.getvalue(), "image/png")


def as_svg(figure: Figure) -> str:
    """A figure as a data URI of an SVG, the same bytes every time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return data_uri(buffer.getvalue(), "image/svg+xml")


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
