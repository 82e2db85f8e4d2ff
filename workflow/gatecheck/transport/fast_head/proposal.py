"""Where source photons are aimed: at the opening as it stands, and thinly at everything else.

For each short stretch of the delivery and each component of the source, a rectangle surrounds
every ray that can pass jaws and leaves freely. Rays are aimed uniformly at the rectangles, so that
all photons through an opening have one weight. A wider rectangle, from which the first is cut out, is
aimed at more thinly: what scatters out of edges and tips starts there. A third, thin sample of the
whole solid angle, from which both are cut out, brings leakage.

A rectangle's x is stated at one plane and its y at another: those of the collimator that bounds
that axis most tightly, so that a wide extra-focal source does not blur it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.linac.model import LinacModel, MonitorBackscatter
from gatecheck.transport.fast_head.tables import COMPONENTS, FOCAL, Source

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LARGEST_MOTION = 4.0  # mm at the isocentre plane within one stretch
MOST_STRETCHES = 64  # per segment
MARGIN_FOCAL = 2.0  # mm at the collimator: partial shadow of edges and tips
MARGIN_WIDE = 5.0  # the same for rays that are not focused
RIM = 12.0  # mm at the collimator: edges and tips that scattered photons leave
RIM_WEIGHT = 16.0  # of a photon aimed at the rim, against 1 for one aimed at the opening
LEVELS = 2  # opening and rim
NEAR_JAWS = 20.0  # mm at the isocentre plane: openings that wide sources see past the jaws' edges


class Stretches(NamedTuple):
    """Short parts of the delivery, each within one segment.

    Attributes
    ----------
    node : first node of the segment
    share_start, share_end : part of the segment
    beam_number, has_leaves
    emission : nominal photons emitted in it, as part of those of the whole delivery at reference backscatter
    rectangle : shape (n, COMPONENTS, LEVELS, 6): plane (from the target), low and high of x, then of y
    """

    node: IntArray
    share_start: FloatArray
    share_end: FloatArray
    beam_number: IntArray
    has_leaves: npt.NDArray[np.bool_]
    emission: FloatArray
    rectangle: FloatArray


def stretches_of(delivery: Delivery, first_nodes: IntArray, linac: LinacModel) -> Stretches:
    """Divide a delivery into stretches with their rectangles."""
    rows: list[tuple[int, float, float, int, bool, float, FloatArray]] = []
    total = delivery.total_meterset
    for beam, first in zip(delivery.beams, first_nodes, strict=True):
        meterset = np.diff(beam.meterset)
        for segment in np.flatnonzero(meterset > 0):
            count = _stretch_count(beam, int(segment))
            shares = np.linspace(0.0, 1.0, count + 1)
            for start, end in pairwise(shares):
                rectangle = _rectangles(beam, int(segment), float(start), float(end), linac)
                backscatter = _backscatter(
                    beam, int(segment), 0.5 * (start + end), linac.calibration.monitor_backscatter
                )
                emission = meterset[segment] / total * (end - start) * backscatter
                rows.append(
                    (
                        int(first + segment),
                        float(start),
                        float(end),
                        beam.number,
                        beam.leaf_positions is not None,
                        float(emission),
                        rectangle,
                    )
                )
    columns = list(zip(*rows, strict=True))
    return Stretches(
        node=np.array(columns[0], dtype=np.int64),
        share_start=np.array(columns[1]),
        share_end=np.array(columns[2]),
        beam_number=np.array(columns[3], dtype=np.int64),
        has_leaves=np.array(columns[4], dtype=np.bool_),
        emission=np.array(columns[5]),
        rectangle=np.array(columns[6]),
    )


def chances(stretches: Stretches, source: Source, axis_distance: float) -> FloatArray:
    """Share of the photons to aim at each rectangle, shape (n, COMPONENTS, LEVELS).

    When as many are aimed as the sum of this times the nominal photons, and each is kept with probability
    density / peak density, those at the openings have weight 1 and those at the rims RIM_WEIGHT.
    """
    plane_x, low_x, high_x, plane_y, low_y, high_y = np.moveaxis(stretches.rectangle, -1, 0)
    # From the rectangle's planes to the isocentre plane, seen from the component's own distance.
    distance = source.distance[:, np.newaxis]
    magnification = (axis_distance - distance) ** 2 / ((plane_x - distance) * (plane_y - distance))
    area = np.maximum(high_x - low_x, 0.0) * np.maximum(high_y - low_y, 0.0)
    nominal = stretches.emission[:, np.newaxis, np.newaxis] * source.peak_density[:, np.newaxis] * magnification * area
    result: FloatArray = nominal / np.array([1.0, RIM_WEIGHT])
    return result


def _ends(nodes: FloatArray, segment: int, start: float, end: float) -> FloatArray:
    """A quantity at both ends of a stretch, shape (2, ...)."""
    a, b = nodes[segment], nodes[segment + 1]
    return np.array([(1 - start) * a + start * b, (1 - end) * a + end * b])


def _stretch_count(beam: BeamTimeline, segment: int) -> int:
    moving = [beam.jaw_x, beam.jaw_y] + ([beam.leaf_positions] if beam.leaf_positions is not None else [])
    motion = max(float(np.abs(axis[segment + 1] - axis[segment]).max()) for axis in moving)
    return min(MOST_STRETCHES, max(1, math.ceil(motion / LARGEST_MOTION)))


def _rectangles(beam: BeamTimeline, segment: int, start: float, end: float, linac: LinacModel) -> FloatArray:
    machine = linac.machine
    jaw_x = _ends(beam.jaw_x, segment, start, end)
    jaw_y = _ends(beam.jaw_y, segment, start, end)
    x = (float(jaw_x[:, 0].min()), float(jaw_x[:, 1].max()))
    y = (float(jaw_y[:, 0].min()), float(jaw_y[:, 1].max()))
    result = np.empty((COMPONENTS, LEVELS, 6))
    for component in range(COMPONENTS):
        margin = MARGIN_FOCAL if component == FOCAL else MARGIN_WIDE
        near = 0.0 if component == FOCAL else NEAR_JAWS
        middle_x = machine.jaws.x.top + machine.jaws.x.thickness / 2
        middle_y = machine.jaws.y.top + machine.jaws.y.thickness / 2
        sides = [(middle_x, *x, margin), (middle_y, *y, margin)]
        if beam.leaf_positions is not None:
            leaves = _ends(beam.leaf_positions, segment, start, end)
            _tighten(sides, leaves, linac, (x, y), near, margin)
        for axis, (plane, low, high, side_margin) in enumerate(sides):
            scale = plane / machine.source_axis_distance
            for level in range(LEVELS):
                wide = side_margin + level * RIM
                result[component, level, 3 * axis : 3 * axis + 3] = (plane, low * scale - wide, high * scale + wide)
    return result


def _tighten(
    sides: list[tuple[float, float, float, float]],
    leaves: FloatArray,
    linac: LinacModel,
    jaws: tuple[tuple[float, float], tuple[float, float]],
    near: float,
    margin: float,
) -> None:
    """Replace the jaws as the bound of an axis where the leaves leave less open."""
    mlc = linac.machine.mlc
    boundaries = np.array(mlc.boundaries)
    (x_low, x_high), (y_low, y_high) = jaws
    low = np.maximum(leaves[:, 0].min(axis=0) - max(mlc.physical_gap_offset, 0.0) / 2, x_low - near)
    high = np.minimum(leaves[:, 1].max(axis=0) + max(mlc.physical_gap_offset, 0.0) / 2, x_high + near)
    seen = (high >= low) & (boundaries[1:] > y_low - near) & (boundaries[:-1] < y_high + near)
    # Beyond the outermost leaves nothing but the jaws bounds the beam.
    beyond = y_low - near < boundaries[0] or y_high + near > boundaries[-1]
    if beyond:
        return
    if not seen.any():
        # Every pair is closed behind a jaw: no ray passes, an empty opening at the axis.
        sides[0] = (sides[0][0], 0.0, 0.0, 0.0)
        return
    axis_distance = linac.machine.source_axis_distance
    farthest = float(max(abs(low[seen].min()), abs(high[seen].max())))
    set_back = mlc.tip_radius * (math.hypot(1.0, farthest / axis_distance) - 1.0)
    open_x = (float(low[seen].min()), float(high[seen].max()))
    open_y = (float(boundaries[:-1][seen].min()), float(boundaries[1:][seen].max()))
    if open_x[1] - open_x[0] < x_high - x_low:
        sides[0] = (mlc.leaf_centre, *open_x, margin + set_back)
    if open_y[1] - open_y[0] < y_high - y_low:
        sides[1] = (mlc.leaf_centre, *open_y, margin)


def _backscatter(beam: BeamTimeline, segment: int, share: float, table: MonitorBackscatter) -> float:
    x = _ends(beam.jaw_x, segment, share, share)[0]
    y = _ends(beam.jaw_y, segment, share, share)[0]
    by_row = [np.interp(x[1] - x[0], table.x_opening, row) for row in table.photons_per_mu]
    return float(np.interp(y[1] - y[0], table.y_opening, by_row))
