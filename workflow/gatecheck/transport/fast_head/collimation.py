"""Rays of the source through jaws and leaves, compiled: attenuation, first scatter, roulette.

The rays are followed in the beam limiting device system with s, the distance from the target along
the axis, as the running coordinate (see gatecheck.linac.geometry).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatecheck.compiled import inlined_part_of_kernel, part_of_kernel
from gatecheck.delivery import coordinates
from gatecheck.linac.geometry import jaw_interval, leaf_intervals
from gatecheck.transport.fast_head.compton import klein_nishina, turned
from gatecheck.transport.fast_head.proposal import Stretches
from gatecheck.transport.fast_head.random import uniform
from gatecheck.transport.fast_head.rays import (
    PHOTON_PDG,
    RAY_ENERGY,
    RAY_IS_FOCUSED,
    RAY_LABEL,
    RAY_PDG,
    RAY_SHARE,
    RAY_SLOPE_X,
    RAY_SLOPE_Y,
    RAY_START,
    RAY_STRETCH,
    RAY_WEIGHT,
    RAY_X0,
    RAY_Y0,
)
from gatecheck.transport.fast_head.tables import ENERGY_STEP, Head, Nodes

FloatArray = npt.NDArray[np.float64]

# Numba's stub types a function compiled elsewhere as if its arguments were decorator options.
bld_to_patient_entries: Any = coordinates.bld_to_patient_entries

# A scattered photon that leaves flatter than this does not reach the patient.
SMALLEST_COSINE = 0.2
# Least chance for a photon that interacts deep inside metal to be followed.
SMALLEST_WORTH = 0.2
# Share of what interacts near a face of the metal that may leave through it, and most directions tried for it.
SIDEWAYS = 0.1
MOST_ATTEMPTS = 4
# A photon far too heavy is split into as many at most; what is left of its weight they carry.
MOST_COPIES = 1000
MOST_PER_RAY = (1 + MOST_ATTEMPTS) * MOST_COPIES
# Places in the tally of fates.
EMITTED, OPEN, TRANSMITTED, IN_JAWS, IN_LEAVES, SCATTERED = range(6)
FATES = ("emitted", "open", "transmitted", "interacted_in_jaws", "interacted_in_leaves", "scattered_out")

# Columns of the particles kept.
ENERGY, X, Y, Z, U, V, W, WEIGHT, BEAM, PDG, LABEL, COLUMNS = range(12)


class Work(NamedTuple):
    """Scratch space of the kernel: random state, intervals inside metal, tally of fates, isocentre."""

    state: npt.NDArray[np.uint64]
    intervals: FloatArray
    tally: FloatArray
    isocentre: FloatArray


@part_of_kernel
def looked_up(table: FloatArray, energy: float, lowest: float) -> float:
    # Below the table metal is as good as opaque, and its first entry says so.
    place = max((energy - lowest) / ENERGY_STEP, 0.0)
    index = min(int(place), len(table) - 2)
    share = place - index
    value: float = (1.0 - share) * table[index] + share * table[index + 1]
    return value


@inlined_part_of_kernel
def metal_intervals(
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
            first, last = start, head.jaw_y_bottom
            jaws, turn = nodes.jaw_y, head.jaw_y_turn
        else:
            top, bottom, intercept, slope = head.jaw_x_top, head.jaw_x_bottom, x0, slope_x
            first, last = max(start, head.jaw_y_bottom), head.leaf_top
            jaws, turn = nodes.jaw_x, head.jaw_x_turn
        if first >= last:
            continue
        for side in range(2):
            position = (1.0 - share) * jaws[node, side] + share * jaws[node + 1, side]
            bank = -1.0 if side == 0 else 1.0
            a, b = jaw_interval(intercept, slope, position, bank, turn, top, bottom, first, last)
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
            head.side_reach,
            head.leaf_centre,
            head.tip_radius,
            head.axis_distance,
            max(head.leaf_top, start),
            head.leaf_bottom,
            intervals,
            count,
        )
    return in_jaws, count


@part_of_kernel
def metal_lengths(intervals: FloatArray, in_jaws: int, count: int) -> tuple[float, float]:
    """Range of s inside jaws and inside leaves."""
    jaws = 0.0
    leaves = 0.0
    for index in range(in_jaws):
        jaws += intervals[index, 1] - intervals[index, 0]
    for index in range(in_jaws, count):
        leaves += intervals[index, 1] - intervals[index, 0]
    return jaws, leaves


@part_of_kernel
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


@part_of_kernel
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
    label: float,
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
    turn = bld_to_patient_entries(gantry, collimator, couch, code)
    z = axis_distance - exit_plane
    for _ in range(copies):
        particles[kept, ENERGY] = energy
        for axis in range(3):
            particles[kept, X + axis] = (
                isocentre[axis] + turn[3 * axis] * x + turn[3 * axis + 1] * y + turn[3 * axis + 2] * z
            )
            particles[kept, U + axis] = turn[3 * axis] * ux + turn[3 * axis + 1] * uy + turn[3 * axis + 2] * uz
        particles[kept, WEIGHT] = weight
        particles[kept, BEAM] = beam_number
        particles[kept, PDG] = pdg
        particles[kept, LABEL] = label
        kept += 1
    return kept


@part_of_kernel
def collimate_range(  # noqa: PLR0912, PLR0915 - one photon's life in the order it happens
    first: int,
    last: int,
    thin_target: float,
    rays: FloatArray,
    states: npt.NDArray[np.uint64],
    stretches: Stretches,
    nodes: Nodes,
    head: Head,
    code: int,
    particles: FloatArray,
    work: Work,
) -> tuple[int, int]:
    """Rays `first` to `last` - 1 through jaws and leaves, with what they scatter, until `particles` is nearly full.

    A focused photon was aimed at the opening, with a weight like all others': it then interacts or not, as
    in nature. The others do both, with shared weight, in as many directions as their weight is worth, and play
    roulette below `thin_target`.

    Returns
    -------
    (int, int)
        Particles kept, and the first ray not followed.
    """
    state = work.state
    intervals = work.intervals
    tally = work.tally
    isocentre = work.isocentre
    kept = 0
    for place in range(first, last):
        if kept > len(particles) - MOST_PER_RAY:
            return kept, place
        state[0] = states[place]
        row = int(rays[place, RAY_STRETCH])
        is_photon = rays[place, RAY_PDG] == PHOTON_PDG
        is_focused = rays[place, RAY_IS_FOCUSED] > 0.0
        target = 1.0 if is_focused else thin_target
        energy, weight = rays[place, RAY_ENERGY], rays[place, RAY_WEIGHT]
        x0, slope_x, y0, slope_y = (
            rays[place, RAY_X0],
            rays[place, RAY_SLOPE_X],
            rays[place, RAY_Y0],
            rays[place, RAY_SLOPE_Y],
        )
        node, share = stretches.node[row], rays[place, RAY_SHARE]
        in_jaws, count = metal_intervals(
            head,
            nodes,
            node,
            share,
            stretches.has_leaves[row],
            x0,
            slope_x,
            y0,
            slope_y,
            rays[place, RAY_START],
            intervals,
        )
        if is_photon:
            tally[EMITTED] += weight
        stretch = math.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
        passed = weight
        jaw_depth = 0.0
        leaf_depth = 0.0
        if count > 0:
            if not is_photon:
                continue
            jaw_range, leaf_range = metal_lengths(intervals, in_jaws, count)
            jaw_depth = jaw_range * stretch * looked_up(head.jaw_removal, energy, head.lowest_energy)
            leaf_depth = leaf_range * stretch * looked_up(head.leaf_removal, energy, head.lowest_energy)
            passed = weight * math.exp(-jaw_depth - leaf_depth)
            tally[TRANSMITTED] += passed
        elif is_photon:
            tally[OPEN] += weight
        collimator = (1.0 - share) * nodes.collimator[node] + share * nodes.collimator[node + 1]
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
            int(rays[place, RAY_PDG]),
            rays[place, RAY_LABEL],
            state,
        )
        depth = jaw_depth + leaf_depth
        if depth <= 0.0:
            continue
        interacted = weight - passed
        tally[IN_JAWS] += interacted * jaw_depth / depth
        tally[IN_LEAVES] += interacted * leaf_depth / depth
        if is_focused:
            # Weights are small: let the photon interact or not, where it would.
            if uniform(state) * weight >= interacted:
                continue
            reached = -math.log(1.0 - uniform(state) * (1.0 - math.exp(-depth)))
            # What interacts far from the way out hardly comes out: most of it is not worth following.
            worth = max(SMALLEST_WORTH, math.exp(0.5 * (reached - depth)))
            if uniform(state) >= worth:
                continue
            scattered = weight / worth
            attempts = 1
        else:
            # What interacts deep comes out along the way, what interacts near a face beside it: half of the places
            # are even in depth, half are where photons interact, so that the place alone at most doubles a weight.
            if uniform(state) < 0.5:
                reached = uniform(state) * depth
            else:
                reached = -math.log(1.0 - uniform(state) * (1.0 - math.exp(-depth)))
            density = 0.5 / depth + 0.5 * math.exp(-reached) / (1.0 - math.exp(-depth))
            scattered = weight * math.exp(-reached) / density
            # As many directions as particles of the target's weight may come out: a heavy photon goes several ways,
            # and most of what is light or deep is not worth following.
            worth = scattered * max(math.exp(0.7 * (reached - depth)), SIDEWAYS) / target
            attempts = min(max(math.ceil(worth), 1), MOST_ATTEMPTS)
            if worth < 1.0:
                worth = max(worth, SMALLEST_WORTH)
                if uniform(state) >= worth:
                    continue
                scattered /= worth
            scattered /= attempts
        jaw_rate = jaw_depth / jaw_range if jaw_range > 0.0 else 1.0
        leaf_rate = leaf_depth / leaf_range if leaf_range > 0.0 else 1.0
        s_i, in_leaf = _place_at_depth(intervals, in_jaws, count, reached, jaw_rate, leaf_rate)
        if in_leaf:
            scattered *= looked_up(head.leaf_compton, energy, head.lowest_energy) * stretch / leaf_rate
        else:
            scattered *= looked_up(head.jaw_compton, energy, head.lowest_energy) * stretch / jaw_rate
        for _ in range(attempts):
            left, cosine = klein_nishina(energy, state)
            ux, uy, uz = turned(
                slope_x / stretch, slope_y / stretch, -1.0 / stretch, cosine, 2.0 * math.pi * uniform(state)
            )
            if left < head.lowest_energy or uz > -SMALLEST_COSINE:
                continue
            out_x, out_y = -ux / uz, -uy / uz
            start_x = x0 + (slope_x - out_x) * s_i
            start_y = y0 + (slope_y - out_y) * s_i
            in_jaws, count = metal_intervals(
                head, nodes, node, share, stretches.has_leaves[row], start_x, out_x, start_y, out_y, s_i, intervals
            )
            jaw_range, leaf_range = metal_lengths(intervals, in_jaws, count)
            depth = (
                -(
                    jaw_range * looked_up(head.jaw_removal, left, head.lowest_energy)
                    + leaf_range * looked_up(head.leaf_removal, left, head.lowest_energy)
                )
                / uz
            )
            comes_out = scattered * math.exp(-depth)
            tally[SCATTERED] += comes_out
            kept = _keep(
                particles,
                kept,
                comes_out,
                target,
                left,
                start_x + out_x * head.exit_plane,
                start_y + out_y * head.exit_plane,
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
                rays[place, RAY_LABEL],
                state,
            )
    return kept, last
