"""Drawing: one machine state as the source sees it, leaf by leaf, with the patient's structures behind it.

Drawn in the beam limiting device system at the isocentre plane, x to the right (X1 left, X2 right) and y up (Y1 below,
Y2 above), as one sees it who looks from the source along the beam. The leaves therefore always lie across, and the
patient turns with gantry, collimator and couch; three arrows say which way.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, MultipleLocator
from PIL import Image

from gatecheck.files import write_atomically
from gatecheck.linac.aperture import Aperture, LightEdges
from gatecheck.report.figures import ON_MAP, data_uri, drawing_settings

FloatArray = npt.NDArray[np.float64]

JAW_COLOUR = "#D55E00"
STRUCTURE_COLOUR = "#0072B2"
_LEAF_COLOUR = "#303030"
LOWEST_SHADE, HIGHEST_SHADE = "#6b6b6b", "#ffffff"
LOWEST_TRANSMISSION = 1e-3

_DPI = 132
_GREYS = 28  # of the PNG's palette
_INK_STEPS = 5  # of each ink towards white and towards the darkest shade
# Inches, from left to right and from bottom to top
_LEFT, _SIDE, _RIGHT = 0.54, 3.5, 0.16
_SCALE_STRIP, _AXIS_STRIP, _TITLE_STRIP = 0.56, 0.4, 0.44
_ARROW = 0.085  # of the window's side
_ARROW_PLACE = 0.13
_SHORTEST_ARROW = 0.15  # of a full one: shorter, and the axis points at the source or away from it
_SAME_WAY = 0.9  # cosine of the angle between arrows whose letters would touch
_EDGE = 0.07  # of the window's side: no letter comes nearer to the edge
_LETTER_GAP = 0.05
_LETTER_PLACES = 40
_PATIENT_AXES = ("L", "P", "H")


@dataclass(frozen=True, slots=True)
class Window:
    """A square part of the isocentre plane, mm in the beam limiting device system."""

    centre: tuple[float, float]
    side: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        (x, y), half = self.centre, self.side / 2
        return x - half, x + half, y - half, y + half

    def pixel_centres(self, pixels: int) -> tuple[FloatArray, FloatArray]:
        """x and y of a square grid's columns and rows, ascending, each of shape (pixels,)."""
        offsets = ((np.arange(pixels) + 0.5) / pixels - 0.5) * self.side
        return self.centre[0] + offsets, self.centre[1] + offsets


@dataclass(frozen=True, slots=True)
class Shadow:
    """One structure as the source sees it: largest inside fraction along each ray, on a grid of the window."""

    letter: str
    dashes: tuple[float, ...]
    x: FloatArray
    y: FloatArray
    fraction: FloatArray


@dataclass(frozen=True, slots=True)
class BeamsEyeView:
    """Everything that one drawing shows.

    Attributes
    ----------
    title : (str, str)
        Which beam and control point at which meterset; the angles.
    patient_axes : ndarray of shape (3, 3)
        Directions of the patient's left, back and head, columns x_b, y_b, z_b.
    opening_radius : float
        Of the primary collimator.
    """

    title: tuple[str, str]
    window: Window
    aperture: Aperture
    edges: LightEdges
    shadows: tuple[Shadow, ...]
    patient_axes: FloatArray
    opening_radius: float


def view_as_data_uri(view: BeamsEyeView, stamp: str) -> str:
    """The drawing for a page: a PNG of few colours, as a data URI."""
    return data_uri(_small_png(view, stamp), "image/png")


def write_view(view: BeamsEyeView, path: Path, stamp: str = "") -> None:
    """Write the drawing as a PNG or SVG file, by the name's suffix.

    Raises
    ------
    WriteError
        When the file cannot be written.
    """
    if path.suffix.lower() == ".svg":
        buffer = io.BytesIO()
        with drawing_settings():
            view_figure(view, stamp).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        content = buffer.getvalue()
    else:
        content = _small_png(view, stamp)
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)


def view_figure(view: BeamsEyeView, stamp: str) -> Figure:
    """The drawing as a figure of matplotlib."""
    width, height = _LEFT + _SIDE + _RIGHT, _SCALE_STRIP + _AXIS_STRIP + _SIDE + _TITLE_STRIP
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    bottom = _SCALE_STRIP + _AXIS_STRIP
    axes = figure.add_axes((_LEFT / width, bottom / height, _SIDE / width, _SIDE / height))
    shown = _draw_transmission(axes, view)
    _draw_collimator(axes, view)
    _draw_shadows(axes, view)
    _draw_patient_axes(axes, view)
    _draw_frame(axes, view, stamp)
    for line, text in enumerate(view.title):
        place = 1 - (0.13 + 0.18 * line) / height
        figure.text(0.03, place, text, fontsize=9, fontweight="bold" if line == 0 else "normal", va="center")
    scale = figure.add_axes((_LEFT / width, 0.39 / height, _SIDE / width, 0.11 / height))
    bar = figure.colorbar(shown, cax=scale, orientation="horizontal", extend="min")
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    bar.ax.tick_params(labelsize=8, pad=1)
    bar.ax.minorticks_off()
    bar.set_label("Primary energy fluence through jaws and leaves (%)", fontsize=8, labelpad=1)
    return figure


def leaf_shadows(edges: LightEdges, extent: tuple[float, float, float, float]) -> FloatArray:
    """The shadow of every leaf as a rectangle that reaches to the window's edge.

    Returns
    -------
    ndarray of shape (2 n_pairs, 4, 2)
        Corners x, y; bank X1 from Y1 to Y2, then bank X2.
    """
    if edges.leaf_ends is None or edges.leaf_sides is None:
        return np.empty((0, 4, 2))
    low, high = edges.leaf_sides.T
    banks = []
    for ends, behind in zip(edges.leaf_ends, extent[:2], strict=True):
        back = np.full_like(ends, behind)
        banks.append(np.stack([[back, low], [ends, low], [ends, high], [back, high]]).transpose(2, 0, 1))
    return np.concatenate(banks)


def _draw_transmission(axes: Axes, view: BeamsEyeView) -> AxesImage:
    shades = LinearSegmentedColormap.from_list("shades", [LOWEST_SHADE, HIGHEST_SHADE])
    return axes.imshow(
        np.maximum(view.aperture.transmission, LOWEST_TRANSMISSION / 10),
        cmap=shades,
        norm=LogNorm(LOWEST_TRANSMISSION, 1.0),
        extent=view.window.extent,
        origin="lower",
        interpolation="nearest",
    )


def _draw_collimator(axes: Axes, view: BeamsEyeView) -> None:
    extent, edges = view.window.extent, view.edges
    leaves = PolyCollection(
        list(_within_window(leaf_shadows(edges, extent), extent)),
        facecolors="none",
        edgecolors=_LEAF_COLOUR,
        linewidths=0.3,
    )
    axes.add_collection(leaves)
    axes.add_patch(Circle((0, 0), view.opening_radius, fill=False, edgecolor="black", linewidth=0.8, linestyle=":"))
    jaws: dict[str, Any] = {"color": JAW_COLOUR, "linewidth": 1.5, "path_effects": ON_MAP.cased(2.6)}
    for place in edges.jaw_x:
        axes.axvline(place, **jaws)
    for place in edges.jaw_y:
        axes.axhline(place, **jaws)
    _draw_cross_hair(axes, view.window)


def _within_window(shadows: FloatArray, extent: tuple[float, float, float, float]) -> Iterator[FloatArray]:
    """Those leaves of which something shows: a leaf drawn back out of the window is none of its business."""
    left, right, bottom, top = extent
    for corners in shadows:
        x, y = corners.T
        ends_in_view = (x[1] > left) if x[0] == left else (x[1] < right)
        if ends_in_view and y.max() > bottom and y.min() < top:
            yield corners


def _draw_cross_hair(axes: Axes, window: Window) -> None:
    """The collimator's axes with a mark every 10 mm."""
    left, right, bottom, top = window.extent
    line: dict[str, Any] = {"color": "black", "linewidth": 0.6, "path_effects": ON_MAP.cased(1.4)}
    axes.axhline(0, **line)
    axes.axvline(0, **line)
    half = 0.006 * window.side
    across = [[(x, -half), (x, half)] for x in np.arange(np.ceil(left / 10) * 10, right, 10)]
    up = [[(-half, y), (half, y)] for y in np.arange(np.ceil(bottom / 10) * 10, top, 10)]
    axes.add_collection(LineCollection([*across, *up], colors="black", linewidths=0.6, path_effects=ON_MAP.cased(1.4)))


def _draw_shadows(axes: Axes, view: BeamsEyeView) -> None:
    middle, half = np.array(view.window.centre), (0.5 - _EDGE) * view.window.side
    placed = [middle + half * np.array(side) for side in ((-1, 0), (1, 0), (0, -1), (0, 1))]  # X1, X2, Y1, Y2
    for index, shadow in enumerate(view.shadows):
        if not shadow.fraction.min() < 0.5 < shadow.fraction.max():
            continue
        lines = axes.contour(
            shadow.x, shadow.y, shadow.fraction, levels=[0.5], colors=STRUCTURE_COLOUR, linewidths=1.2, zorder=3
        )
        lines.set_linestyle([(0, shadow.dashes)] if shadow.dashes else ["solid"])
        lines.set_path_effects(ON_MAP.cased(2.0))
        angle = np.deg2rad(30 + 60 * index)
        outwards = np.array([np.cos(angle), np.sin(angle)])
        place = _free_place(np.concatenate(lines.allsegs[0]), outwards, view.window, placed)
        if place is not None:
            placed.append(place)
            style = ON_MAP.text(9) | {"color": STRUCTURE_COLOUR, "ha": "center", "va": "center", "zorder": 5}
            axes.text(place[0], place[1], shadow.letter, fontweight="bold", **style)


def _free_place(
    points: FloatArray, outwards: FloatArray, window: Window, placed: Sequence[FloatArray]
) -> FloatArray | None:
    """Beside the point of an outline farthest in a direction, inside the window and clear of other letters."""
    places = points + 0.022 * window.side * outwards
    inside = places[np.all(np.abs(places - window.centre) < (0.5 - _EDGE) * window.side, axis=1)]
    order = np.argsort(-(inside @ outwards))
    for place in inside[order[:: max(1, len(order) // _LETTER_PLACES)]]:
        if all(np.hypot(*(place - other)) > _LETTER_GAP * window.side for other in placed):
            free: FloatArray = place
            return free
    return None


def _draw_patient_axes(axes: Axes, view: BeamsEyeView) -> None:
    """Arrows towards the patient's left, back and head, as long as one sees them."""
    left, _, bottom, _ = view.window.extent
    side = view.window.side
    foot = np.array([left, bottom]) + _ARROW_PLACE * side
    seen = {letter: direction[:2] for letter, direction in zip(_PATIENT_AXES, view.patient_axes, strict=True)}
    seen = {letter: arrow for letter, arrow in seen.items() if np.hypot(*arrow) > _SHORTEST_ARROW}
    for letter, arrow in seen.items():
        tip = foot + _ARROW * side * arrow
        style = {"arrowstyle": "->", "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0, "path_effects": ON_MAP.cased(2.4)}
        axes.annotate("", xy=tuple(tip), xytext=tuple(foot), arrowprops=style, zorder=6)
        at = tip + 0.03 * side * _beside(arrow, seen.values())
        axes.text(at[0], at[1], letter, ha="center", va="center", fontweight="bold", zorder=7, **ON_MAP.text(8.5))


def _beside(arrow: FloatArray, arrows: Iterable[FloatArray]) -> FloatArray:
    """Where an arrow's letter goes from its tip: ahead, or aside where a longer arrow runs the same way."""
    ahead: FloatArray = arrow / np.hypot(*arrow)
    for other in arrows:
        alike = float(ahead @ other) / np.hypot(*other)
        if alike > _SAME_WAY and np.hypot(*other) > np.hypot(*arrow):
            return np.array([ahead[1], -ahead[0]])
    return ahead


def _draw_frame(axes: Axes, view: BeamsEyeView, stamp: str) -> None:
    left, right, bottom, top = view.window.extent
    axes.set(xlim=(left, right), ylim=(bottom, top))
    inside: dict[str, Any] = {"transform": axes.transAxes, "fontweight": "bold", "zorder": 6}
    axes.text(0.015, 0.5, "X1", ha="left", va="center", **inside, **ON_MAP.text(9))
    axes.text(0.985, 0.5, "X2", ha="right", va="center", **inside, **ON_MAP.text(9))
    axes.text(0.5, 0.015, "Y1", ha="center", va="bottom", **inside, **ON_MAP.text(9))
    axes.text(0.5, 0.985, "Y2", ha="center", va="top", **inside, **ON_MAP.text(9))
    axes.text(0.985, 0.015, stamp, ha="right", va="bottom", transform=axes.transAxes, zorder=6, **ON_MAP.text(7))
    step = next((step for step in (10.0, 20.0, 50.0) if view.window.side / step <= 10), 100.0)
    for axis, label in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        axis.set_major_locator(MultipleLocator(step))
        axis.set_tick_params(labelsize=8, pad=2)
        axis.set_label_text(f"{label} at the isocentre plane (mm)", fontsize=8.5)
        axis.labelpad = 1


def _small_png(view: BeamsEyeView, stamp: str) -> bytes:
    drawn, small = io.BytesIO(), io.BytesIO()
    with drawing_settings():
        view_figure(view, stamp).savefig(drawn, format="png", dpi=_DPI, metadata={"Software": None})
    picture = Image.open(drawn).convert("RGB")
    picture.quantize(palette=_palette(), dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def _palette() -> Image.Image:
    """Greys, and the two inks as they run into white and into the darkest shade: few colours make a small file."""
    greys = [(level, level, level) for level in np.linspace(0, 255, _GREYS).round().astype(int).tolist()]
    inks = [
        tuple((share * np.array(_rgb(ink)) + (1 - share) * np.array(_rgb(under))).round().astype(int).tolist())
        for ink in (JAW_COLOUR, STRUCTURE_COLOUR)
        for under in (HIGHEST_SHADE, LOWEST_SHADE)
        for share in np.linspace(0.2, 1.0, _INK_STEPS)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for colour in (*greys, *inks) for level in colour])
    return palette


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
