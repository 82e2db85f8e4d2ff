"""Gamma on planes: what passes, what fails, what was not reached and what was not asked look different in grey too."""

from __future__ import annotations

from typing import Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap

from gatecheck.compare.gamma import PASS_LIMIT
from gatecheck.compare.volume_gamma.model import UNREACHED
from gatecheck.report.figures import (
    ON_CT,
    ON_MAP,
    Labels,
    Scene,
    as_png,
    draw_marks,
    draw_overlays,
    drawing_settings,
    plane_figure,
)
from gatecheck.report.planes import Plane

FloatArray = npt.NDArray[np.float64]

PASSING = ("#CFE0F6", "#86AEE2")
FAILING = ("#C8641B", "#5A1E00")
"""Blue tones up to 1, brown tones above: lightness falls from step to step, so that the order survives in grey."""

NOT_ASKED = "#FFFFFF"
_HATCH = "xxxx"
_STEPS = (0.0, 0.5, PASS_LIMIT, 1.5, 1e9)


def gamma_figure(plane: Plane, image: sitk.Image, scene: Scene) -> str:
    """Gamma in four steps with structure contours, as a data URI of a PNG.

    Parameters
    ----------
    image : gamma; `UNREACHED` where there was no dose to compare with, NaN where not evaluated
    """
    values = plane.sample(image, outside=float("nan"), nearest=True)
    with drawing_settings(), mpl.rc_context({"hatch.linewidth": 0.7}):
        figure, axes = plane_figure(strip=0.0, background=NOT_ASKED)
        origin: Literal["upper", "lower"] = "upper" if plane.vertical_axis_points_down else "lower"
        colours = ListedColormap([*PASSING, *FAILING])
        norm = BoundaryNorm(_STEPS, colours.N)
        reached = np.ma.masked_where(~(values >= 0), values)
        axes.imshow(reached, cmap=colours, norm=norm, extent=plane.extent, origin=origin, interpolation="nearest")
        _hatch(axes, plane, values == UNREACHED)
        _outline(axes, plane, np.isfinite(values))
        draw_overlays(axes, plane, scene.overlays, Labels(axes, plane, ON_CT))
        draw_marks(axes, plane, scene, ON_MAP)
        return as_png(figure)


def _hatch(axes: Axes, plane: Plane, unreached: npt.NDArray[np.bool_]) -> None:
    if unreached.any():
        columns, rows = plane.pixel_centres()
        axes.contourf(columns, rows, unreached.astype(float), levels=[0.5, 1.5], colors=["white"], hatches=[_HATCH])
        _outline(axes, plane, unreached)


def _outline(axes: Axes, plane: Plane, region: npt.NDArray[np.bool_]) -> None:
    if region.any() and not region.all():
        columns, rows = plane.pixel_centres()
        axes.contour(columns, rows, region.astype(float), levels=[0.5], colors="#333333", linewidths=0.6)
