"""What a machine state lets through, as the target sees it: the transmission and the light field's edges.

Both are asked of the solids in `geometry`: how far a ray from a point target runs inside jaws and leaves. No
formula of a jaw's or leaf's shape stands here, so that a drawing cannot differ from what is simulated.
All lengths in mm, x and y of the beam limiting device system at the isocentre plane.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compiled import digest_of_sources
from gatecheck.delivery.model import MachineState
from gatecheck.linac import geometry
from gatecheck.linac.attenuation import removal_coefficient
from gatecheck.linac.geometry import jaw_interval, leaf_intervals, leaf_sides
from gatecheck.linac.model import LinacModel, Spectrum
from gatecheck.linac.photon_source import energy_fluence, photon_number, quantiles

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_ENERGIES = 32
_PARKED = 500.0  # far outside of every field: a jaw or leaf there is not in the way of its opposite
_REACH = 10.0  # an edge lies within this of the planned position
_HALVINGS = 30
_MOST_INTERVALS = 256  # of one ray inside leaves


@dataclass(frozen=True, slots=True)
class Aperture:
    """A map of one machine state.

    Attributes
    ----------
    x, y : ndarray of shape (nx,) and (ny,)
        Where the map was asked for.
    transmission : ndarray of shape (ny, nx)
        Energy fluence on the axis' spectrum that gets through jaws and leaves without an interaction, as a share;
        coherent scattering not counted as one. Row by y, column by x.
    light : ndarray of shape (ny, nx)
        Where the ray meets no metal at all.
    """

    x: FloatArray
    y: FloatArray
    transmission: FloatArray
    light: BoolArray


@dataclass(frozen=True, slots=True)
class LightEdges:
    """Where the shadows of jaws and leaves end, seen from a point target.

    Attributes
    ----------
    jaw_x, jaw_y : (float, float)
        X1 and X2 as x, Y1 and Y2 as y.
    leaf_ends : ndarray of shape (2, n_pairs) or None
        x of the tips' shadows, bank X1 (row 0) and X2, from Y1 to Y2; None without an MLC.
    leaf_sides : ndarray of shape (n_pairs, 2) or None
        y of each leaf's shadow towards Y1 and towards Y2; neighbours overlap by the step between them.
    """

    jaw_x: tuple[float, float]
    jaw_y: tuple[float, float]
    leaf_ends: FloatArray | None
    leaf_sides: FloatArray | None


def aperture(state: MachineState, linac: LinacModel, *, x: npt.ArrayLike, y: npt.ArrayLike) -> Aperture:
    """The transmission through jaws and leaves, ray by ray from a point target.

    Nothing gets through the primary collimator, which is taken to be thick.

    Parameters
    ----------
    x, y : array_like of shape (nx,) and (ny,)

    Raises
    ------
    ValueError
        When the state has another number of leaf pairs than the machine.
    """
    columns, rows = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    seen_x, seen_y = (part.ravel() for part in np.meshgrid(columns, rows))
    jaws, leaves = _paths(seen_x, seen_y, state, linac)
    within = np.hypot(seen_x, seen_y) <= linac.machine.primary_collimator.opening_radius
    shape = (len(rows), len(columns))
    return Aperture(
        x=columns,
        y=rows,
        transmission=np.where(within, transmission(jaws, leaves, linac), 0.0).reshape(shape),
        light=(within & (jaws + leaves == 0)).reshape(shape),
    )


def transmission(in_jaws: FloatArray, in_leaves: FloatArray, linac: LinacModel) -> FloatArray:
    """Share of the energy fluence that crosses lengths of jaw and leaf metal (mm) without an interaction.

    Averaged over the beam's spectrum on the axis in groups of equal energy fluence.
    """
    energy = _energies_of_equal_fluence(linac.beam.spectrum)
    depth = np.multiply.outer(in_jaws, removal_coefficient(linac.machine.jaws.alloy, energy))
    depth += np.multiply.outer(in_leaves, removal_coefficient(linac.machine.mlc.alloy, energy))
    averaged: FloatArray = np.exp(-depth).mean(axis=-1)
    return averaged


def light_edges(state: MachineState, linac: LinacModel) -> LightEdges:
    """Edges of the light field, to 0.01 micrometres: where a ray from the target just touches each jaw and leaf.

    Raises
    ------
    ValueError
        When the state has another number of leaf pairs than the machine.
    """
    ends, sides = None, None
    if state.leaf_positions is not None:
        ends, sides = _leaf_ends(state.leaf_positions, linac), _leaf_sides(linac)
    return LightEdges(
        jaw_x=_jaw_edges(state.jaw_x, linac, along="x"),
        jaw_y=_jaw_edges(state.jaw_y, linac, along="y"),
        leaf_ends=ends,
        leaf_sides=sides,
    )


def _energies_of_equal_fluence(spectrum: Spectrum) -> FloatArray:
    energy, _ = photon_number(spectrum)
    steps = quantiles(energy, energy_fluence(spectrum, energy))
    each = (len(steps) - 1) // _ENERGIES
    return steps[each // 2 :: each]


def _rays_to(x: FloatArray, y: FloatArray, linac: LinacModel) -> FloatArray:
    """x0, slope_x, y0, slope_y of the rays from the target to points of the isocentre plane, shape (n, 4)."""
    distance, start = linac.machine.source_axis_distance, np.zeros(len(x))
    return np.stack([start, x / distance, start, y / distance], axis=1)


def _paths(x: FloatArray, y: FloatArray, state: MachineState, linac: LinacModel) -> tuple[FloatArray, FloatArray]:
    """Length in jaws and in leaves of each ray."""
    in_jaws = _path_in_jaws(x, y, state.jaw_x, linac, along="x") + _path_in_jaws(x, y, state.jaw_y, linac, along="y")
    if state.leaf_positions is None:
        return in_jaws, np.zeros(len(x))
    return in_jaws, _path_in_leaves(x, y, state.leaf_positions, linac)


def _path_in_jaws(
    x: FloatArray, y: FloatArray, positions: tuple[float, float], linac: LinacModel, *, along: str
) -> FloatArray:
    machine = linac.machine
    leaf_top = machine.mlc.leaf_centre - machine.mlc.leaf_height / 2
    # The plane of the Y jaws' lower surface parts the two pairs; see `geometry`.
    jaws, start, end = (
        (machine.jaws.x, machine.jaws.y.bottom, leaf_top)
        if along == "x"
        else (machine.jaws.y, 0.0, machine.jaws.y.bottom)
    )
    return _kernels().in_jaws(
        _rays_to(x, y, linac),
        0 if along == "x" else 2,
        np.array(positions, dtype=float),
        jaws.turning_distance(machine.source_axis_distance),
        jaws.top,
        jaws.bottom,
        start,
        end,
    )


def _path_in_leaves(x: FloatArray, y: FloatArray, positions: FloatArray, linac: LinacModel) -> FloatArray:
    mlc = linac.machine.mlc
    if positions.shape != (2, len(mlc.boundaries) - 1):
        raise ValueError(
            f"leaf positions of shape {positions.shape} found, {mlc.name} has 2 x {len(mlc.boundaries) - 1} leaves"
        )
    sides = leaf_sides(mlc)
    return _kernels().in_leaves(
        _rays_to(x, y, linac),
        np.stack([positions, positions]),
        mlc.physical_gap_offset,
        sides.position,
        sides.step,
        sides.shift_above,
        sides.shift_below,
        sides.half_gap,
        sides.reach,
        mlc.leaf_centre,
        mlc.tip_radius,
        linac.machine.source_axis_distance,
        mlc.leaf_centre - mlc.leaf_height / 2,
        mlc.leaf_centre + mlc.leaf_height / 2,
    )


class _Kernels(NamedTuple):
    """How far rays run inside jaws and leaves; compiled once and kept on disk."""

    in_jaws: Callable[..., FloatArray]
    in_leaves: Callable[..., FloatArray]


@functools.cache
def _kernels() -> _Kernels:
    return _cached_kernels(digest_of_sources(geometry))


def _cached_kernels(digest: int) -> _Kernels:
    # The digest, captured, is a part of numba's cache key.
    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def in_jaws(  # noqa: PLR0917 - compiled code knows arguments by place
        rays: FloatArray,
        column: int,
        positions: FloatArray,
        axis_distance: float,
        top: float,
        bottom: float,
        start: float,
        end: float,
    ) -> FloatArray:
        """Length of each ray inside a pair of jaws, shape (n,); the jaws travel along the rays' `column`."""
        if digest < 0:
            return np.zeros(0)
        lengths = np.zeros(len(rays))
        for index in range(len(rays)):
            intercept, slope = rays[index, column], rays[index, column + 1]
            for side in range(2):
                bank = -1.0 if side == 0 else 1.0
                a, b = jaw_interval(intercept, slope, positions[side], bank, axis_distance, top, bottom, start, end)
                lengths[index] += max(b - a, 0.0)
            lengths[index] *= np.sqrt(1.0 + rays[index, 1] ** 2 + rays[index, 3] ** 2)
        return lengths

    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def in_leaves(  # noqa: PLR0917 - compiled code knows arguments by place
        rays: FloatArray,
        leaves: FloatArray,
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
        top: float,
        bottom: float,
    ) -> FloatArray:
        """Length of each ray inside the leaves, shape (n,); `rays` as `_rays_to` makes them."""
        if digest < 0:
            return np.zeros(0)
        found = np.empty((_MOST_INTERVALS, 2))
        lengths = np.zeros(len(rays))
        for index in range(len(rays)):
            x0, slope_x, y0, slope_y = rays[index]
            count = leaf_intervals(
                x0,
                slope_x,
                y0,
                slope_y,
                leaves,
                0,
                0.0,
                gap_offset,
                side_position,
                side_step,
                side_shift_above,
                side_shift_below,
                half_gap,
                side_reach,
                leaf_centre,
                tip_radius,
                axis_distance,
                top,
                bottom,
                found,
                0,
            )
            for interval in range(count):
                lengths[index] += found[interval, 1] - found[interval, 0]
            lengths[index] *= np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
        return lengths

    return _Kernels(in_jaws, in_leaves)


def _jaw_edges(positions: tuple[float, float], linac: LinacModel, *, along: str) -> tuple[float, float]:
    edges = []
    for index, bank in enumerate((-1.0, 1.0)):
        alone = (positions[0], _PARKED) if index == 0 else (-_PARKED, positions[1])

        def is_metal(place: FloatArray, alone: tuple[float, float] = alone) -> BoolArray:
            still = np.zeros(len(place))
            x, y = (place, still) if along == "x" else (still, place)
            return _path_in_jaws(x, y, alone, linac, along=along) > 0

        planned = np.array([positions[index]])
        edges.append(float(_edge(is_metal, metal=planned + bank * _REACH, free=planned - bank * _REACH)[0]))
    return edges[0], edges[1]


def _leaf_ends(positions: FloatArray, linac: LinacModel) -> FloatArray:
    boundaries = np.array(linac.machine.mlc.boundaries)
    middle = (boundaries[1:] + boundaries[:-1]) / 2
    ends = np.empty_like(positions, dtype=float)
    for index, bank in enumerate((-1.0, 1.0)):
        alone = np.array(positions, dtype=float)
        alone[1 - index] = -bank * _PARKED

        def is_metal(x: FloatArray, alone: FloatArray = alone) -> BoolArray:
            return _path_in_leaves(x, middle, alone, linac) > 0

        planned = positions[index]
        ends[index] = _edge(is_metal, metal=planned + bank * _REACH, free=planned - bank * _REACH)
    return ends


def _leaf_sides(linac: LinacModel) -> FloatArray:
    """Every second leaf alone, so that no neighbour hides a side."""
    boundaries = np.array(linac.machine.mlc.boundaries)
    middle = (boundaries[1:] + boundaries[:-1]) / 2
    width = np.diff(boundaries)
    sides = np.empty((len(middle), 2))
    for parity in range(2):
        chosen = np.arange(parity, len(middle), 2)
        alone = np.stack([np.full(len(middle), -_PARKED), np.full(len(middle), _PARKED)])
        alone[0, chosen] = _PARKED / 2

        def is_metal(y: FloatArray, alone: FloatArray = alone) -> BoolArray:
            return _path_in_leaves(np.zeros(len(y)), y, alone, linac) > 0

        for column, direction in enumerate((-1.0, 1.0)):
            beyond = middle[chosen] + direction * (width[chosen] / 2 + _next_half_width(width, chosen, direction))
            sides[chosen, column] = _edge(is_metal, metal=middle[chosen], free=beyond)
    return sides


def _next_half_width(width: FloatArray, chosen: npt.NDArray[np.int64], direction: float) -> FloatArray:
    """Half of the neighbour's width; of the leaf's own at the end of the bank."""
    neighbour = np.clip(chosen + int(direction), 0, len(width) - 1)
    halves: FloatArray = width[neighbour] / 2
    return halves


def _edge(is_metal: Callable[[FloatArray], BoolArray], *, metal: FloatArray, free: FloatArray) -> FloatArray:
    """Bisection between places in metal and free ones."""
    if not np.all(is_metal(metal)) or np.any(is_metal(free)):
        raise ValueError(f"no edge within {_REACH:g} mm of a planned position: the geometry and the plan disagree")
    for _ in range(_HALVINGS):
        middle = (metal + free) / 2
        inside = is_metal(middle)
        metal, free = np.where(inside, middle, metal), np.where(inside, free, middle)
    return (metal + free) / 2
