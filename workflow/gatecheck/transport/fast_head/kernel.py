"""One source photon after another, compiled: aim, moment, attenuation, first scatter, roulette.

The rays are followed in the beam limiting device system with s, the distance from the target along
the axis, as the running coordinate (see gatecheck.linac.geometry).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.delivery import coordinates
from gatecheck.linac.geometry import jaw_interval, leaf_intervals
from gatecheck.transport.fast_head.compton import klein_nishina, turned
from gatecheck.transport.fast_head.proposal import LEVELS, RIM_WEIGHT, Stretches
from gatecheck.transport.fast_head.random import normal_pair, start_stream, uniform
from gatecheck.transport.fast_head.tables import (
    COMPONENTS,
    ELECTRONS,
    ENERGY_STEP,
    FOCAL,
    RADIUS_STEP,
    Head,
    Nodes,
    Source,
)

FloatArray = npt.NDArray[np.float64]

# Numba's stub types a function compiled elsewhere as if its arguments were decorator options.
bld_to_patient_matrix: Any = coordinates.bld_to_patient_matrix

# A scattered photon that leaves flatter than this does not reach the patient.
SMALLEST_COSINE = 0.2
# Least chance for a photon that interacts deep inside metal to be followed.
SMALLEST_WORTH = 0.2
# A photon far too heavy is split into as many at most; what is left of its weight they carry.
MOST_COPIES = 1000
ELECTRON_PDG, PHOTON_PDG = 11, 22

# Places in the tally of fates.
EMITTED, OPEN, TRANSMITTED, IN_JAWS, IN_LEAVES, SCATTERED = range(6)
FATES = ("emitted", "open", "transmitted", "interacted_in_jaws", "interacted_in_leaves", "scattered_out")

# Columns of the particles kept.
ENERGY, X, Y, Z, U, V, W, WEIGHT, BEAM, PDG, COLUMNS = range(11)


class Work(NamedTuple):
    """Scratch space of the kernel: random state, intervals and their order, moving matrix."""

    state: npt.NDArray[np.uint64]
    intervals: FloatArray
    tally: FloatArray


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _looked_up(table: FloatArray, energy: float, lowest: float) -> float:
    place = (energy - lowest) / ENERGY_STEP
    index = min(int(place), len(table) - 2)
    share = place - index
    value: float = (1.0 - share) * table[index] + share * table[index + 1]
    return value


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _quantile(table: FloatArray, u: float) -> float:
    place = u * (len(table) - 1)
    index = min(int(place), len(table) - 2)
    share = place - index
    value: float = (1.0 - share) * table[index] + share * table[index + 1]
    return value


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _energy(source: Source, component: int, radius: float, u: float) -> float:
    if component == FOCAL:
        place = radius / RADIUS_STEP
        index = min(int(place), len(source.focal_energy) - 2)
        share = place - index
        inner = _quantile(source.focal_energy[index], u)
        outer = _quantile(source.focal_energy[index + 1], u)
        return (1.0 - share) * inner + share * outer
    if component == ELECTRONS:
        return _quantile(source.electron_energy, u)
    return _quantile(source.extra_focal_energy, u)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _relative_density(source: Source, component: int, radius: float) -> float:
    if radius >= source.opening_radius:
        return 0.0
    place = radius / RADIUS_STEP
    index = int(place)
    share = place - index
    value: float = (1.0 - share) * source.density[component, index] + share * source.density[component, index + 1]
    return value


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _origin(source: Source, component: int, collimator: float, state: Any) -> tuple[float, float]:
    """A point of the component's disc, in the beam limiting device system."""
    a, b = normal_pair(state)
    if component != FOCAL:
        return source.sigma[component] * a, source.sigma[component] * b
    x_g = source.spot_xx * a + source.spot_xy * b
    y_g = source.spot_xy * a + source.spot_yy * b
    angle = math.radians(collimator)
    c, s = math.cos(angle), math.sin(angle)
    return c * x_g + s * y_g, c * y_g - s * x_g


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _metal(
    head: Head,
    nodes: Nodes,
    node: int,
    share: float,
    has_leaves: bool,
    x0: float,
    slope_x: float,
    y0: float,
    slope_y: float,
    start: float,
    intervals: FloatArray,
) -> tuple[int, int]:
    """Intervals of s below `start` inside jaws and leaves: how many in jaws, and how many in all."""
    count = 0
    for pair in range(2):
        if pair == 0:
            top, bottom, intercept, slope = head.jaw_y_top, head.jaw_y_bottom, y0, slope_y
            jaws = nodes.jaw_y
        else:
            top, bottom, intercept, slope = head.jaw_x_top, head.jaw_x_bottom, x0, slope_x
            jaws = nodes.jaw_x
        top = max(top, start)
        if top >= bottom:
            continue
        for side in range(2):
            position = (1.0 - share) * jaws[node, side] + share * jaws[node + 1, side]
            a, b = jaw_interval(intercept, slope, position, -1.0 if side == 0 else 1.0, head.axis_distance, top, bottom)
            if b > a:
                intervals[count, 0] = a
                intervals[count, 1] = b
                count += 1
    in_jaws = count
    if has_leaves:
        count = leaf_intervals(
            x0,
            slope_x,
            y0,
            slope_y,
            nodes.leaves,
            node,
            share,
            head.gap_offset,
            head.side_position,
            head.side_step,
            head.side_shift_above,
            head.side_shift_below,
            head.half_gap,
            head.leaf_centre,
            head.tip_radius,
            head.axis_distance,
            max(head.leaf_top, start),
            head.leaf_bottom,
            intervals,
            count,
        )
    return in_jaws, count


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _lengths(intervals: FloatArray, in_jaws: int, count: int) -> tuple[float, float]:
    """Range of s inside jaws and inside leaves."""
    jaws = 0.0
    leaves = 0.0
    for index in range(in_jaws):
        jaws += intervals[index, 1] - intervals[index, 0]
    for index in range(in_jaws, count):
        leaves += intervals[index, 1] - intervals[index, 0]
    return jaws, leaves


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _place_at_depth(
    intervals: FloatArray, in_jaws: int, count: int, depth: float, jaw_rate: float, leaf_rate: float
) -> tuple[float, bool]:
    """Where (s) an optical depth is reached, and whether in a leaf. Sorts the leaves' intervals."""
    # Jaws lie above the leaves and were listed from the top; leaf parts come in any order.
    for index in range(in_jaws + 1, count):
        a, b = intervals[index, 0], intervals[index, 1]
        before = index - 1
        while before >= in_jaws and intervals[before, 0] > a:
            intervals[before + 1, 0] = intervals[before, 0]
            intervals[before + 1, 1] = intervals[before, 1]
            before -= 1
        intervals[before + 1, 0] = a
        intervals[before + 1, 1] = b
    left = depth
    place = 0.0
    for index in range(count):
        rate = jaw_rate if index < in_jaws else leaf_rate
        here = (intervals[index, 1] - intervals[index, 0]) * rate
        place = intervals[index, 1]
        if left <= here:
            return intervals[index, 0] + left / rate, index >= in_jaws
        left -= here
    return place, count > in_jaws


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _keep(
    particles: FloatArray,
    kept: int,
    weight: float,
    target: float,
    energy: float,
    x: float,
    y: float,
    ux: float,
    uy: float,
    uz: float,
    exit_plane: float,
    axis_distance: float,
    gantry: float,
    collimator: float,
    couch: float,
    code: int,
    isocentre: FloatArray,
    beam_number: int,
    pdg: int,
    state: Any,
) -> int:
    """Roulette or split to at most `target` and write what is left in patient coordinates; how many are kept."""
    copies = 1
    if weight < target:
        if uniform(state) * target >= weight:
            return kept
        weight = target
    elif weight > target * (1.0 + 1e-9):
        copies = min(math.ceil(weight / target), MOST_COPIES)
        weight /= copies
    matrix = bld_to_patient_matrix(gantry, collimator, couch, code)
    z = axis_distance - exit_plane
    for _ in range(copies):
        particles[kept, ENERGY] = energy
        for axis in range(3):
            particles[kept, X + axis] = (
                isocentre[axis] + matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] * z
            )
            particles[kept, U + axis] = matrix[axis, 0] * ux + matrix[axis, 1] * uy + matrix[axis, 2] * uz
        particles[kept, WEIGHT] = weight
        particles[kept, BEAM] = beam_number
        particles[kept, PDG] = pdg
        kept += 1
    return kept


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def sample_range(  # noqa: PLR0912, PLR0915 - one photon's life in the order it happens
    first: int,
    last: int,
    aimed: int,
    cumulative: FloatArray,
    cumulative_thin: FloatArray,
    thin_weight: float,
    thin_target: float,
    stretches: Stretches,
    nodes: Nodes,
    head: Head,
    source: Source,
    seed: np.uint64,
    code: int,
    particles: FloatArray,
    work: Work,
) -> tuple[int, int]:
    """Sample photons `first` to `last` - 1 until `particles` is nearly full.

    Photons below `aimed` are aimed at the rectangles, the others are the thin sample of everything.

    Returns
    -------
    (int, int)
        Particles kept, and the first photon not sampled.
    """
    state = work.state
    intervals = work.intervals
    tally = work.tally
    kept = 0
    bin_aimed = 0
    bin_thin = 0
    isocentre = np.empty(3)
    thin = max(last, aimed + 1) - aimed
    for photon in range(first, last):
        if kept > len(particles) - 2 * MOST_COPIES:
            return kept, photon
        start_stream(state, seed, np.uint64(photon))
        is_aimed = photon < aimed
        # The moment: one photon in each of equally likely parts of the delivery, in order.
        if is_aimed:
            mark = (photon + uniform(state)) / aimed * cumulative[-1]
            bin_aimed = _bin(cumulative, mark, bin_aimed)
            row = bin_aimed // (COMPONENTS * LEVELS)
            component = bin_aimed // LEVELS % COMPONENTS
            level = bin_aimed % LEVELS
            below = cumulative[bin_aimed - 1] if bin_aimed > 0 else 0.0
            part = (mark - below) / (cumulative[bin_aimed] - below)
        else:
            mark = (photon - aimed + uniform(state)) / thin * cumulative_thin[-1]
            bin_thin = _bin(cumulative_thin, mark, bin_thin)
            row = bin_thin
            below = cumulative_thin[bin_thin - 1] if bin_thin > 0 else 0.0
            part = (mark - below) / (cumulative_thin[bin_thin] - below)
            component = _component(source, uniform(state))
            level = LEVELS
        node = stretches.node[row]
        share = (1.0 - part) * stretches.share_start[row] + part * stretches.share_end[row]
        collimator = (1.0 - share) * nodes.collimator[node] + share * nodes.collimator[node + 1]
        x_o, y_o = _origin(source, component, collimator, state)
        s_o = source.distance[component]
        plane_x, low_x, high_x, plane_y, low_y, high_y = stretches.rectangle[row, component, min(level, LEVELS - 1)]
        to_x = (head.axis_distance - s_o) / (plane_x - s_o)
        to_y = (head.axis_distance - s_o) / (plane_y - s_o)
        if is_aimed:
            x_p = low_x + (high_x - low_x) * uniform(state)
            y_p = low_y + (high_y - low_y) * uniform(state)
            if level > 0 and _within(stretches.rectangle[row, component, level - 1], x_p, y_p):
                continue
            x_i = x_o + (x_p - x_o) * to_x
            y_i = y_o + (y_p - y_o) * to_y
            radius = math.sqrt(x_i * x_i + y_i * y_i)
            if uniform(state) >= _relative_density(source, component, radius):
                continue
            weight = 1.0 if level == 0 else RIM_WEIGHT
            target = 1.0 if level == 0 else thin_target
        else:
            radius = source.opening_radius * math.sqrt(uniform(state))
            angle = 2.0 * math.pi * uniform(state)
            if uniform(state) >= _relative_density(source, component, radius):
                continue
            x_i = radius * math.cos(angle)
            y_i = radius * math.sin(angle)
            x_p = x_o + (x_i - x_o) / to_x
            y_p = y_o + (y_i - y_o) / to_y
            if _within(stretches.rectangle[row, component, LEVELS - 1], x_p, y_p):
                continue
            # Components were chosen by number; the aim by area at peak density.
            area = math.pi * source.opening_radius * source.opening_radius
            weight = thin_weight * source.peak_density[component] * area / source.number[component]
            target = thin_target
        energy = _energy(source, component, radius, uniform(state))
        slope_x = (x_i - x_o) / (head.axis_distance - s_o)
        slope_y = (y_i - y_o) / (head.axis_distance - s_o)
        x0 = x_o - slope_x * s_o
        y0 = y_o - slope_y * s_o
        in_jaws, count = _metal(
            head, nodes, node, share, stretches.has_leaves[row], x0, slope_x, y0, slope_y, s_o, intervals
        )
        is_photon = component != ELECTRONS
        if is_photon:
            tally[EMITTED] += weight
        stretch = math.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
        passed = weight
        jaw_depth = 0.0
        leaf_depth = 0.0
        if count > 0:
            if not is_photon:
                continue
            jaw_range, leaf_range = _lengths(intervals, in_jaws, count)
            jaw_depth = jaw_range * stretch * _looked_up(head.jaw_removal, energy, head.lowest_energy)
            leaf_depth = leaf_range * stretch * _looked_up(head.leaf_removal, energy, head.lowest_energy)
            passed = weight * math.exp(-jaw_depth - leaf_depth)
            tally[TRANSMITTED] += passed
        elif is_photon:
            tally[OPEN] += weight
        gantry = (1.0 - share) * nodes.gantry[node] + share * nodes.gantry[node + 1]
        couch = (1.0 - share) * nodes.couch[node] + share * nodes.couch[node + 1]
        for axis in range(3):
            isocentre[axis] = (1.0 - share) * nodes.isocentre[node, axis] + share * nodes.isocentre[node + 1, axis]
        beam_number = stretches.beam_number[row]
        kept = _keep(
            particles,
            kept,
            passed,
            target,
            energy,
            x0 + slope_x * head.exit_plane,
            y0 + slope_y * head.exit_plane,
            slope_x / stretch,
            slope_y / stretch,
            -1.0 / stretch,
            head.exit_plane,
            head.axis_distance,
            gantry,
            collimator,
            couch,
            code,
            isocentre,
            beam_number,
            PHOTON_PDG if is_photon else ELECTRON_PDG,
            state,
        )
        depth = jaw_depth + leaf_depth
        if depth <= 0.0:
            continue
        interacted = weight - passed
        tally[IN_JAWS] += interacted * jaw_depth / depth
        tally[IN_LEAVES] += interacted * leaf_depth / depth
        if level == 0:
            # Weights are small: let the photon interact or not, where it would.
            if uniform(state) * weight >= interacted:
                continue
            reached = -math.log(1.0 - uniform(state) * (1.0 - math.exp(-depth)))
            # What interacts far from the way out hardly comes out: most of it is not worth following.
            worth = max(SMALLEST_WORTH, math.exp(0.5 * (reached - depth)))
            if uniform(state) >= worth:
                continue
            scattered = weight / worth
        else:
            # Only what interacts deep can come out: places even in depth keep the weights alike.
            reached = uniform(state) * depth
            scattered = weight * depth * math.exp(-reached)
            # Behind two collimators even that is lost: roulette before the work, not after it.
            worth = max(SMALLEST_WORTH, scattered * math.exp(0.7 * (reached - depth)) / target)
            if worth < 1.0:
                if uniform(state) >= worth:
                    continue
                scattered /= worth
        jaw_rate = jaw_depth / jaw_range if jaw_range > 0.0 else 1.0
        leaf_rate = leaf_depth / leaf_range if leaf_range > 0.0 else 1.0
        s_i, in_leaf = _place_at_depth(intervals, in_jaws, count, reached, jaw_rate, leaf_rate)
        if in_leaf:
            scattered *= _looked_up(head.leaf_compton, energy, head.lowest_energy) * stretch / leaf_rate
        else:
            scattered *= _looked_up(head.jaw_compton, energy, head.lowest_energy) * stretch / jaw_rate
        energy, cosine = klein_nishina(energy, state)
        ux, uy, uz = turned(
            slope_x / stretch, slope_y / stretch, -1.0 / stretch, cosine, 2.0 * math.pi * uniform(state)
        )
        if energy < head.lowest_energy or uz > -SMALLEST_COSINE:
            continue
        x_s = x0 + slope_x * s_i
        y_s = y0 + slope_y * s_i
        slope_x = -ux / uz
        slope_y = -uy / uz
        x0 = x_s - slope_x * s_i
        y0 = y_s - slope_y * s_i
        in_jaws, count = _metal(
            head, nodes, node, share, stretches.has_leaves[row], x0, slope_x, y0, slope_y, s_i, intervals
        )
        jaw_range, leaf_range = _lengths(intervals, in_jaws, count)
        depth = (
            -(
                jaw_range * _looked_up(head.jaw_removal, energy, head.lowest_energy)
                + leaf_range * _looked_up(head.leaf_removal, energy, head.lowest_energy)
            )
            / uz
        )
        scattered *= math.exp(-depth)
        tally[SCATTERED] += scattered
        kept = _keep(
            particles,
            kept,
            scattered,
            target,
            energy,
            x0 + slope_x * head.exit_plane,
            y0 + slope_y * head.exit_plane,
            ux,
            uy,
            uz,
            head.exit_plane,
            head.axis_distance,
            gantry,
            collimator,
            couch,
            code,
            isocentre,
            beam_number,
            PHOTON_PDG,
            state,
        )
    return kept, last


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _bin(cumulative: FloatArray, mark: float, start: int) -> int:
    """First bin whose upper edge lies above `mark`, not before `start`: marks come in order."""
    place = start
    while place < len(cumulative) - 1 and cumulative[place] <= mark:
        place += 1
    return place


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _within(rectangle: FloatArray, x: float, y: float) -> bool:
    inside: bool = rectangle[1] <= x < rectangle[2] and rectangle[4] <= y < rectangle[5]
    return inside


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _component(source: Source, u: float) -> int:
    left = u * source.number.sum()
    for component in range(COMPONENTS - 1):
        if left < source.number[component]:
            return component
        left -= source.number[component]
    return COMPONENTS - 1
