"""commissioning.html: every measured and simulated curve, residuals, parameters and a pass/fail table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from gatecheck.commissioning.beam_data import BeamData
from gatecheck.commissioning.figures import curves_figure, parameters_figure
from gatecheck.commissioning.fit import FitResult
from gatecheck.commissioning.jaw_scale import jaw_scale
from gatecheck.commissioning.judgement import TOLERANCES, Judged, judge
from gatecheck.commissioning.leaf_page import LeafSection
from gatecheck.commissioning.observe import Curve, off_axis_ratio, percent_depth_dose
from gatecheck.commissioning.responses import ResponseSet, profile_index
from gatecheck.files import write_atomically
from gatecheck.linac.model import LinacModel
from gatecheck.transport.model import Engine

_STEP = 1.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure with what it shows."""

    title: str
    image: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What the commissioning took.

    Attributes
    ----------
    histories : int
        Source photons of a 100 x 100 mm field; others as their size asks.
    seconds : dict of str to float
        Of each part.
    """

    histories: int
    seconds: dict[str, float]


def write_page(
    path: Path,
    *,
    linac: LinacModel,
    data: BeamData,
    result: FitResult,
    responses: ResponseSet,
    leaves: LeafSection | None,
    engine: Engine,
    cost: Cost,
) -> tuple[Judged, ...]:
    """Write the page and give its table.

    Raises
    ------
    WriteError
    """
    judged = judge(result.observations, result.simulated)
    environment = Environment(
        loader=PackageLoader("gatecheck.commissioning", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("commissioning.html.j2").render(
        linac=linac,
        data=data,
        result=result,
        judged=judged,
        failed=[one for one in judged if not one.passed],
        undecided=[one for one in judged if not one.decides],
        tolerances=TOLERANCES,
        drawings=_drawings(result, responses, judged),
        parameters=parameters_figure(result),
        leaves=leaves,
        jaws=jaw_scale(judged, assumed=linac.machine.jaws.x.position_scale),
        engine=engine,
        cost=cost,
        condition=condition,
        names=NAMES,
    )
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return judged


NAMES = {
    "depth_dose": "Depth dose, % of maximum",
    "profile": "Profile, % of axis",
    "width_50": "Field width at 50 %, mm",
    "penumbra_80_20": "Penumbra 80-20 %, mm",
    "output_factor": "Output factor",
}


def condition(one: Judged) -> str:
    """Where a number was measured, in words."""
    seen = one.observation
    text = f"{seen.jaws}, SSD {seen.source_surface_distance:g} mm, depth {seen.depth:g} mm"
    if seen.quantity == "profile":
        text += f", {seen.axis} = {seen.off_axis:g} mm"
    elif seen.quantity in ("width_50", "penumbra_80_20"):
        text += f", axis {seen.axis}"
    return text


def _drawings(result: FitResult, responses: ResponseSet, judged: Sequence[Judged]) -> list[Drawing]:
    weights = np.ones(1)  # the fitted source's own simulation
    groups: dict[tuple[object, ...], list[Judged]] = defaultdict(list)
    for one in judged:
        seen = one.observation
        if seen.quantity == "depth_dose":
            groups["depth_dose", seen.jaws, seen.source_surface_distance].append(one)
        elif seen.quantity == "profile":
            groups["profile", seen.jaws, seen.source_surface_distance, seen.axis, seen.depth].append(one)
    depth_lines, depth_points = [], []
    profiles: dict[tuple[object, ...], list[tuple[str, np.ndarray, Curve, list[Judged]]]] = defaultdict(list)
    for key, points in groups.items():
        seen = points[0].observation
        response = responses.response(seen.jaws, seen.source_surface_distance)
        if key[0] == "depth_dose":
            places = np.arange(2.0, response.depth[-1] - 6.0, 2 * _STEP)
            label = f"{seen.jaws}, SSD {seen.source_surface_distance:g} mm"
            depth_lines.append((label, places, percent_depth_dose(response, weights, places)))
            depth_points.append(points)
        else:
            half = seen.jaws.size_x / 2 * (seen.source_surface_distance + seen.depth) / 1000.0
            places = np.arange(0.0, min(1.25 * half, response.position[-1] - 5.0), _STEP)
            curve = off_axis_ratio(
                response,
                weights,
                profile=profile_index(response, seen.depth),
                axis=seen.axis,
                places=places,
                half_field=half,
                detector=seen.detector,
            )
            profiles[key[1:4]].append((f"depth {seen.depth:g} mm", places, curve, points))
    drawings = []
    if depth_lines:
        drawings.append(
            Drawing(
                "Depth doses",
                curves_figure(depth_lines, depth_points, along="depth", quantity="dose, % of maximum", tolerance=1.0),
            )
        )
    for (jaws, ssd, axis), curves in profiles.items():
        drawings.append(
            Drawing(
                f"Profiles of {jaws}, SSD {ssd:g} mm, axis {axis}",
                curves_figure(
                    [(label, places, curve) for label, places, curve, _ in curves],
                    [points for *_, points in curves],
                    along="position",
                    quantity="dose, % of axis",
                    tolerance=1.0,
                ),
            )
        )
    return drawings
