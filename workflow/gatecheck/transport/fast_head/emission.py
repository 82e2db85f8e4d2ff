"""The source: photons and electrons with their moments and rays, aimed as the proposal says. Compiled."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatecheck.compiled import part_of_kernel
from gatecheck.transport.fast_head.proposal import LEVELS, RIM_WEIGHT, Stretches
from gatecheck.transport.fast_head.random import State, normal_pair, start_stream, uniform
from gatecheck.transport.fast_head.rays import (
    ELECTRON_PDG,
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
from gatecheck.transport.fast_head.tables import (
    COMPONENTS,
    ELECTRONS,
    FOCAL,
    RADIUS_STEP,
    Head,
    Nodes,
    Source,
)

FloatArray = npt.NDArray[np.float64]


class Aim(NamedTuple):
    """How source photons are shared out.

    Attributes
    ----------
    aimed : int
        Photons aimed at openings and rims; the rest are a thin sample of the whole solid angle.
    cumulative : ndarray
        Chances of every stretch, component and level, summed up.
    cumulative_thin : ndarray
        Chances of every stretch, summed up.
    thin_weight : float
    lattice : ndarray of shape (4,) or (0,)
        Where it is not empty, aimed photons are spread evenly over place, fluence and energy, in a lattice
        that begins at this point of the unit cube: see `even_spread`.
    """

    aimed: int
    cumulative: FloatArray
    cumulative_thin: FloatArray
    thin_weight: float
    lattice: FloatArray


EVEN_PLACE_X, EVEN_PLACE_Y, EVEN_FLUENCE, EVEN_ENERGY, EVEN_DIMENSIONS = range(5)
# Powers of the inverse of the number g with g^5 = g + 1.
_LATTICE_ROOT = 1.1673039782614187
_LATTICE_STEPS = np.array([_LATTICE_ROOT ** -(dimension + 1.0) for dimension in range(EVEN_DIMENSIONS)])


@part_of_kernel
def even_spread(photon: int, dimension: int, aim: Aim, state: Any) -> float:
    """The number in [0, 1) that decides one quantity of a photon: by chance, or its place in the lattice.

    The lattice adds the same irrational step from photon to photon (Weyl 1916; steps for several dimensions: Roberts'
    sequence, powers of the inverse of the root of g^(d + 1) = g + 1): any stretch of it fills the cube more evenly than
    chance does. Each number is evenly distributed by the lattice's beginning, so that results stay unbiased;
    photons of one lattice are not independent, and only results of several beginnings tell the noise.
    """
    u = uniform(state)
    if len(aim.lattice) == 0:
        return u
    value = aim.lattice[dimension] + photon * _LATTICE_STEPS[dimension]
    result: float = value - math.floor(value)
    return result


@part_of_kernel
def _quantile(table: FloatArray, u: float) -> float:
    place = u * (len(table) - 1)
    index = min(int(place), len(table) - 2)
    share = place - index
    value: float = (1.0 - share) * table[index] + share * table[index + 1]
    return value


@part_of_kernel
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


@part_of_kernel
def _relative_density(source: Source, component: int, radius: float) -> float:
    if radius >= source.opening_radius:
        return 0.0
    place = radius / RADIUS_STEP
    index = int(place)
    share = place - index
    value: float = (1.0 - share) * source.density[component, index] + share * source.density[component, index + 1]
    return value


@part_of_kernel
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


@part_of_kernel
def emit_range(  # noqa: PLR0915 - one photon's beginning in the order it happens
    first: int,
    last: int,
    total: int,
    aim: Aim,
    stretches: Stretches,
    nodes: Nodes,
    head: Head,
    source: Source,
    seed: np.uint64,
    rays: FloatArray,
    states: npt.NDArray[np.uint64],
    state: State,
) -> int:
    """The source's photons and electrons `first` to `last` - 1 of `total`, each with its moment and ray.

    Photons below `aim.aimed` are aimed at the rectangles, the others are the thin sample of everything.

    Parameters
    ----------
    rays : ndarray of shape (last - first or more, RAY_COLUMNS)
    states : ndarray
        Each one's random numbers, to be gone on with.
    state : ndarray of shape (1,)
        Room for one's.

    Returns
    -------
    int
        How many were emitted.
    """
    emitted = 0
    bin_aimed = 0
    bin_thin = 0
    thin = max(total, aim.aimed + 1) - aim.aimed
    for photon in range(first, last):
        start_stream(state, seed, np.uint64(photon))
        is_aimed = photon < aim.aimed
        # The moment: one photon in each of equally likely parts of the delivery, in order.
        if is_aimed:
            mark = (photon + uniform(state)) / aim.aimed * aim.cumulative[-1]
            bin_aimed = _bin(aim.cumulative, mark, bin_aimed)
            place = bin_aimed
            row = place // (COMPONENTS * LEVELS)
            component = place // LEVELS % COMPONENTS
            level = place % LEVELS
            below = aim.cumulative[place - 1] if place > 0 else 0.0
            part = (mark - below) / (aim.cumulative[place] - below)
        else:
            mark = (photon - aim.aimed + uniform(state)) / thin * aim.cumulative_thin[-1]
            bin_thin = _bin(aim.cumulative_thin, mark, bin_thin)
            row = bin_thin
            below = aim.cumulative_thin[row - 1] if row > 0 else 0.0
            part = (mark - below) / (aim.cumulative_thin[row] - below)
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
            x_p = low_x + (high_x - low_x) * even_spread(photon, EVEN_PLACE_X, aim, state)
            y_p = low_y + (high_y - low_y) * even_spread(photon, EVEN_PLACE_Y, aim, state)
            if level > 0 and _within(stretches.rectangle[row, component, level - 1], x_p, y_p):
                continue
            x_i = x_o + (x_p - x_o) * to_x
            y_i = y_o + (y_p - y_o) * to_y
            radius = math.sqrt(x_i * x_i + y_i * y_i)
            if even_spread(photon, EVEN_FLUENCE, aim, state) >= _relative_density(source, component, radius):
                continue
            weight = 1.0 if level == 0 else RIM_WEIGHT
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
            weight = aim.thin_weight * source.peak_density[component] * area / source.number[component]
        # A thin sample's photons are numbered on from the aimed ones: the lattice holds for them as well.
        rays[emitted, RAY_ENERGY] = _energy(source, component, radius, even_spread(photon, EVEN_ENERGY, aim, state))
        rays[emitted, RAY_SLOPE_X] = (x_i - x_o) / (head.axis_distance - s_o)
        rays[emitted, RAY_SLOPE_Y] = (y_i - y_o) / (head.axis_distance - s_o)
        rays[emitted, RAY_X0] = x_o - rays[emitted, RAY_SLOPE_X] * s_o
        rays[emitted, RAY_Y0] = y_o - rays[emitted, RAY_SLOPE_Y] * s_o
        rays[emitted, RAY_START] = s_o
        rays[emitted, RAY_SHARE] = share
        rays[emitted, RAY_WEIGHT] = weight
        rays[emitted, RAY_STRETCH] = row
        rays[emitted, RAY_PDG] = ELECTRON_PDG if component == ELECTRONS else PHOTON_PDG
        rays[emitted, RAY_IS_FOCUSED] = 1.0 if level == 0 else 0.0
        rays[emitted, RAY_LABEL] = photon
        states[emitted] = state[0]
        emitted += 1
    return emitted


@part_of_kernel
def _bin(cumulative: FloatArray, mark: float, start: int) -> int:
    """First bin whose upper edge lies above `mark`, not before `start`: marks come in order."""
    place = start
    while place < len(cumulative) - 1 and cumulative[place] <= mark:
        place += 1
    return place


@part_of_kernel
def _within(rectangle: FloatArray, x: float, y: float) -> bool:
    inside: bool = rectangle[1] <= x < rectangle[2] and rectangle[4] <= y < rectangle[5]
    return inside


@part_of_kernel
def _component(source: Source, u: float) -> int:
    left = u * source.number.sum()
    for component in range(COMPONENTS - 1):
        if left < source.number[component]:
            return component
        left -= source.number[component]
    return COMPONENTS - 1
