"""Jaws and leaves as exact solids, and where a straight ray lies inside them.

All lengths in mm, in the beam limiting device system seen from the target: s is the distance from the
target plane along the axis (s = source-axis distance - z_b). A ray is x(s) = x0 + slope_x·s and
y(s) = y0 + slope_y·s, so that x0 and y0 are where it meets the target plane. An interval is a range of s;
times sqrt(1 + slope_x² + slope_y²) it is a length.

The solids, from which a full simulation of the head can be built as well:

jaw
    A block that turns about the target by atan(p / SAD) for a position p at the isocentre plane, so that its
    inner face contains the target at every position. In the block's own, turned system it lies between the
    distances `top` and `bottom` from the target and reaches outwards from the face. Where a block's far end
    would meet the other pair, at the ends of the travel only, the plane of the Y jaws' lower surface parts them.
leaf
    Along x: behind the arc of radius R about the tip's centre (s = leaf centre). For a planned position
    p at the isocentre plane, tan(theta) = p / SAD, the arc is tangent to the ray from the target to p
    when its centre lies at S·tan(theta) -+ R / cos(theta) for bank X1 and X2. Across (y): between two
    sides that are focused on the target and step at one height, tongue above groove.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compiled import part_of_kernel
from gatecheck.linac.model import MultileafCollimator

FloatArray = npt.NDArray[np.float64]

BANK_X1, BANK_X2 = -1.0, 1.0


@dataclass(frozen=True, slots=True)
class LeafSides:
    """The boundaries between neighbouring leaf pairs, from Y1 to Y2; shape (n_pairs + 1,) each.

    At distance s from the target, the boundary's middle lies at position·s / SAD + shift, with the
    shift of the upper part above `step` and that of the lower part below it; each leaf's side keeps
    `half_gap` from it.

    Attributes
    ----------
    position : ndarray
        At the isocentre plane.
    step : ndarray
        Distance of the step from the target.
    shift_above, shift_below : ndarray
    half_gap : float
    """

    position: FloatArray
    step: FloatArray
    shift_above: FloatArray
    shift_below: FloatArray
    half_gap: float

    @property
    def reach(self) -> float:
        """How far leaves reach over the middle of their boundaries at most: half a step."""
        return float(max(np.abs(self.shift_above).max(), np.abs(self.shift_below).max()))


def leaf_sides(mlc: MultileafCollimator) -> LeafSides:
    """The sides of all leaves of an MLC.

    The step between two leaves is that of the leaf towards Y1. The outer sides of the first and last
    leaf have no step.
    """
    position = np.array(mlc.boundaries)
    top = mlc.leaf_centre - mlc.leaf_height / 2
    step = np.full(len(position), mlc.leaf_centre)
    shift = np.zeros(len(position))
    for index, name in enumerate(mlc.kind_of_pair[:-1], start=1):
        kind = mlc.kinds[name]
        step[index] = top + kind.step_below_top
        shift[index] = kind.step_width / 2 * (1 if kind.tongue_towards == "Y2" else -1)
    return LeafSides(position, step, -shift, shift, mlc.interleaf_gap / 2)


@part_of_kernel
def tip_centre(position: float, bank: float, leaf_centre: float, tip_radius: float, axis_distance: float) -> float:
    """Where the centre of a leaf tip's arc lies (x at the leaves' centre plane).

    Parameters
    ----------
    position : float
        Planned position at the isocentre plane.
    bank : float
        BANK_X1 or BANK_X2.
    """
    tangent = position / axis_distance
    return leaf_centre * tangent + bank * tip_radius * math.sqrt(1.0 + tangent * tangent)


@part_of_kernel
def half_space_interval(offset: float, slope: float, bank: float, start: float, end: float) -> tuple[float, float]:
    """Part of [start, end] where bank·(offset + slope·s) >= 0; empty intervals have end <= start."""
    a = bank * offset
    b = bank * slope
    at_start = a + b * start
    at_end = a + b * end
    if at_start >= 0.0:
        if at_end >= 0.0:
            return start, end
        return start, -a / b
    if at_end > 0.0:
        return -a / b, end
    return start, start


@part_of_kernel
def jaw_interval(  # noqa: PLR0917 - compiled code knows arguments by place
    intercept: float,
    slope: float,
    position: float,
    bank: float,
    axis_distance: float,
    top: float,
    bottom: float,
    start: float,
    end: float,
) -> tuple[float, float]:
    """Where a ray lies inside one jaw.

    Parameters
    ----------
    intercept, slope : float
        The ray's coordinate along the jaw's travel.
    position : float
        Of the jaw, at the isocentre plane.
    bank : float
        BANK_X1 for X1 and Y1, BANK_X2 for X2 and Y2.
    top, bottom : float
        Of the block, from the target in its turned system.
    start, end : float
        Part of the ray to look at; a block's far end rises above `top` when the jaw stands open.
    """
    tangent = position / axis_distance
    first, last = half_space_interval(intercept, slope - tangent, bank, start, end)
    if last <= first:
        return start, start
    # Distance from the target along the block: (s + tangent x) cos(theta)
    stretch = math.sqrt(1.0 + tangent * tangent)
    offset, along = tangent * intercept, 1.0 + tangent * slope
    first, last = half_space_interval(offset - top * stretch, along, 1.0, first, last)
    if last <= first:
        return start, start
    return half_space_interval(offset - bottom * stretch, along, -1.0, first, last)


@part_of_kernel
def tip_interval(  # noqa: PLR0917 - compiled code knows arguments by place
    intercept: float,
    slope: float,
    centre: float,
    bank: float,
    leaf_centre: float,
    tip_radius: float,
    start: float,
    end: float,
) -> tuple[float, float]:
    """Where a ray lies behind a leaf's rounded tip: a convex region, so one interval.

    The region of bank X2 is x >= centre - sqrt(R² - (s - S)²); bank X1 mirrors it. Requires
    [start, end] within the leaf's height, which the arc spans.
    """
    # u: depth into the leaf measured from the arc's centre, at s = S + t
    u = bank * (intercept + slope * leaf_centre - centre)
    v = bank * slope
    a = 1.0 + v * v
    half_b = u * v
    c = u * u - tip_radius * tip_radius
    discriminant = half_b * half_b - a * c
    if discriminant <= 0.0:
        # The line misses the circle: all of it is on one side within the leaf's height.
        if u >= 0.0:
            return start, end
        return start, start
    root = math.sqrt(discriminant)
    t_in = (-half_b - root) / a
    t_out = (-half_b + root) / a
    # A crossing with the arc counts where it is on the arc's outer half; behind the centre the leaf goes on.
    low = start
    high = end
    if u + v * t_in <= 0.0:
        low = max(low, leaf_centre + t_in)
    if u + v * t_out <= 0.0:
        high = min(high, leaf_centre + t_out)
    return low, high


@part_of_kernel
def side_interval(  # noqa: PLR0917 - compiled code knows arguments by place
    intercept: float,
    slope: float,
    low_edge: float,
    low_shift: float,
    high_edge: float,
    high_shift: float,
    axis_distance: float,
    start: float,
    end: float,
) -> tuple[float, float]:
    """Where a ray lies between the two focused sides of one leaf (one straight part of each)."""
    first, last = half_space_interval(intercept - low_shift, slope - low_edge / axis_distance, 1.0, start, end)
    if last <= first:
        return start, start
    return half_space_interval(intercept - high_shift, slope - high_edge / axis_distance, -1.0, first, last)


@part_of_kernel
def first_pair_near(side_position: FloatArray, lowest: float) -> int:
    """Index of the first leaf pair whose upper boundary lies above `lowest` (isocentre plane)."""
    low = 0
    high = len(side_position) - 1
    while low < high:
        middle = (low + high) // 2
        if side_position[middle + 1] > lowest:
            high = middle
        else:
            low = middle + 1
    return low


@part_of_kernel
def leaf_intervals(  # noqa: PLR0917 - compiled code knows arguments by place
    x0: float,
    slope_x: float,
    y0: float,
    slope_y: float,
    leaves: FloatArray,
    node: int,
    share: float,
    gap_offset: float,
    side_position: FloatArray,
    side_step: FloatArray,
    side_shift_above: FloatArray,
    side_shift_below: FloatArray,
    half_gap: float,
    side_reach: float,
    leaf_centre: float,
    tip_radius: float,
    axis_distance: float,
    start: float,
    end: float,
    found: FloatArray,
    count: int,
) -> int:
    """Append to `found` every interval of s in which a ray lies inside a leaf.

    Parameters
    ----------
    leaves : ndarray of shape (n_nodes, 2, n_pairs)
        Leaf positions at the nodes of a timeline.
    node, share : int, float
        The leaves stand at (1 - share)·leaves[node] + share·leaves[node + 1].
    gap_offset : float
        Each leaf stands back by half of it.
    side_position, side_step, side_shift_above, side_shift_below, half_gap, side_reach
        Of the LeafSides.
    start, end : float
        Part of the leaves' height to look at, from the target.
    found : ndarray of shape (n, 2)
    count : int
        Intervals already in `found`.

    Returns
    -------
    int
        Intervals in `found` now.
    """
    if end <= start:
        return count
    y_start = y0 + slope_y * start
    y_end = y0 + slope_y * end
    seen_start = y_start * axis_distance / start
    seen_end = y_end * axis_distance / end
    # Steps reach over the nominal boundary; magnified to the isocentre plane.
    reach = side_reach * axis_distance / start
    lowest = min(seen_start, seen_end) - reach
    highest = max(seen_start, seen_end) + reach
    x_low = min(x0 + slope_x * start, x0 + slope_x * end)
    x_high = max(x0 + slope_x * start, x0 + slope_x * end)
    pairs = len(side_position) - 1
    pair = first_pair_near(side_position, lowest)
    while pair < pairs and side_position[pair] < highest:
        position_1 = (1.0 - share) * leaves[node, 0, pair] + share * leaves[node + 1, 0, pair] - 0.5 * gap_offset
        position_2 = (1.0 - share) * leaves[node, 1, pair] + share * leaves[node + 1, 1, pair] + 0.5 * gap_offset
        # At its centre's plane a tip never reaches past its planned ray: a cheap first look.
        in_1 = x_low < leaf_centre * position_1 / axis_distance
        in_2 = x_high > leaf_centre * position_2 / axis_distance
        if in_1 or in_2:
            centre_1 = tip_centre(position_1, -1.0, leaf_centre, tip_radius, axis_distance)
            centre_2 = tip_centre(position_2, 1.0, leaf_centre, tip_radius, axis_distance)
            first_step = min(side_step[pair], side_step[pair + 1])
            last_step = max(side_step[pair], side_step[pair + 1])
            for part in range(3):
                part_start = start if part == 0 else max(start, first_step if part == 1 else last_step)
                part_end = end if part == 2 else min(end, last_step if part == 1 else first_step)
                if part_end <= part_start:
                    continue
                middle = 0.5 * (part_start + part_end)
                low_shift = side_shift_above[pair] if middle < side_step[pair] else side_shift_below[pair]
                high_shift = side_shift_above[pair + 1] if middle < side_step[pair + 1] else side_shift_below[pair + 1]
                s_in, s_out = side_interval(
                    y0,
                    slope_y,
                    side_position[pair],
                    low_shift + half_gap,
                    side_position[pair + 1],
                    high_shift - half_gap,
                    axis_distance,
                    part_start,
                    part_end,
                )
                if s_out <= s_in:
                    continue
                if in_1:
                    a, b = tip_interval(x0, slope_x, centre_1, -1.0, leaf_centre, tip_radius, s_in, s_out)
                    if b > a and count < len(found):
                        found[count, 0] = a
                        found[count, 1] = b
                        count += 1
                if in_2:
                    a, b = tip_interval(x0, slope_x, centre_2, 1.0, leaf_centre, tip_radius, s_in, s_out)
                    if b > a and count < len(found):
                        found[count, 0] = a
                        found[count, 1] = b
                        count += 1
        pair += 1
    return count


def path_in_jaw_pair(
    rays: npt.ArrayLike, *, positions: tuple[float, float], along: str, top: float, bottom: float, axis_distance: float
) -> FloatArray:
    """Length inside a pair of jaws, mm, shape (n,).

    Parameters
    ----------
    rays : array_like of shape (n, 4)
        x0, slope_x, y0, slope_y.
    positions : (float, float)
        X1, X2 or Y1, Y2.
    along : str
        "x" or "y".
    top, bottom : float
        Of the turned blocks, from the target.
    """
    table = np.atleast_2d(np.asarray(rays, dtype=float))
    column = {"x": 0, "y": 2}[along]
    lengths = np.zeros(len(table))
    for position, bank in zip(positions, (BANK_X1, BANK_X2), strict=True):
        for index, ray in enumerate(table):
            a, b = jaw_interval(
                ray[column], ray[column + 1], position, bank, axis_distance, top, bottom, 0.0, axis_distance
            )
            lengths[index] += max(b - a, 0.0)
    scaled: FloatArray = lengths * np.sqrt(1 + table[:, 1] ** 2 + table[:, 3] ** 2)
    return scaled


def path_in_leaves(
    rays: npt.ArrayLike, leaf_positions: npt.ArrayLike, mlc: MultileafCollimator, *, axis_distance: float
) -> FloatArray:
    """Length inside the leaves, mm, shape (n,).

    Parameters
    ----------
    rays : array_like of shape (n, 4)
        x0, slope_x, y0, slope_y.
    leaf_positions : array_like of shape (2, n_pairs)
        Bank X1 and X2, from Y1 to Y2.
    """
    table = np.atleast_2d(np.asarray(rays, dtype=float))
    positions = np.asarray(leaf_positions, dtype=float)
    leaves = np.stack([positions, positions])
    sides = leaf_sides(mlc)
    found = np.empty((256, 2))
    lengths = np.empty(len(table))
    for index, (x0, slope_x, y0, slope_y) in enumerate(table):
        count = leaf_intervals(
            x0,
            slope_x,
            y0,
            slope_y,
            leaves,
            0,
            0.0,
            mlc.physical_gap_offset,
            sides.position,
            sides.step,
            sides.shift_above,
            sides.shift_below,
            sides.half_gap,
            sides.reach,
            mlc.leaf_centre,
            mlc.tip_radius,
            axis_distance,
            mlc.leaf_centre - mlc.leaf_height / 2,
            mlc.leaf_centre + mlc.leaf_height / 2,
            found,
            0,
        )
        lengths[index] = float(np.sum(found[:count, 1] - found[:count, 0]))
    scaled: FloatArray = lengths * np.sqrt(1 + table[:, 1] ** 2 + table[:, 3] ** 2)
    return scaled
