"""Arcs whose leaves follow a target's projection, within what the machine can do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import shapely

from gatecheck.case.model import Beam, ControlPoint, PatientPosition
from gatecheck.phantoms.planning.geometry import beam_axes, seen_from_source

FloatArray = npt.NDArray[np.float64]

# HD120 from Y1 to Y2: 14 pairs of 5 mm, 32 of 2.5 mm and 14 of 5 mm at the isocentre plane.
HD120_LEAF_BOUNDARIES = tuple(
    float(boundary)
    for boundary in np.concatenate(
        [np.arange(-110.0, -40.0, 5.0), np.arange(-40.0, 40.0, 2.5), np.arange(40.0, 110.1, 5.0)]
    )
)

# Parked pairs close this far behind the edge of the X2 jaw.
_PARKED_BEHIND_JAW = 10.0
_DECIMALS_OF_LEAVES = 2


@dataclass(frozen=True, slots=True)
class ArcPrescription:
    """What an arc is to do.

    Attributes
    ----------
    start, stop : float
        Gantry angles.
    direction : str
        CW or CC, as DICOM's Gantry Rotation Direction.
    collimator : float
    meterset : float
        MU per fraction.
    """

    number: int
    name: str
    start: float
    stop: float
    direction: Literal["CW", "CC"]
    collimator: float
    meterset: float


def arc_onto_target(
    arc: ArcPrescription,
    *,
    target_surface: FloatArray,
    isocentre: tuple[float, float, float],
    patient_position: PatientPosition,
    aperture_margin: float,
    jaw_margin: float,
    control_points: int,
    relative_dose_rate: Callable[[float], float],
) -> Beam:
    """A VMAT arc on an HD120 whose apertures are a target's projections with a margin.

    Parameters
    ----------
    target_surface : ndarray of shape (n, 3)
        Points on the convex target's surface, LPS mm.
    aperture_margin, jaw_margin : float
        mm at the isocentre plane: from the projection to the leaves, from the widest aperture to the jaws.
    relative_dose_rate : callable
        Gantry angle -> meterset per degree there, in any unit.
    """
    angles = _gantry_angles(arc, control_points)
    projections = [
        shapely.MultiPoint(
            seen_from_source(target_surface, beam_axes(float(angle), arc.collimator, 0.0, patient_position), isocentre)
        ).convex_hull
        for angle in angles
    ]
    openings = np.array([_opening_of(projection, aperture_margin) for projection in projections])
    jaw_x, jaw_y = _jaws_round(openings, jaw_margin)
    leaves = _with_closed_pairs(openings, projections, parked_at=jaw_x[1] + _PARKED_BEHIND_JAW)
    weights = _cumulative_weights(angles, relative_dose_rate)
    return Beam(
        number=arc.number,
        name=arc.name,
        machine_name="TrueBeamSTx",
        radiation_type="PHOTON",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        beam_type="DYNAMIC",
        technique="vmat",
        source_axis_distance=1000.0,
        meterset=arc.meterset,
        final_cumulative_meterset_weight=1.0,
        leaf_boundaries=HD120_LEAF_BOUNDARIES,
        control_points=tuple(
            ControlPoint(
                cumulative_meterset_weight=float(weight),
                gantry_angle=float(angle),
                gantry_rotation_direction=arc.direction if index < control_points - 1 else "NONE",
                collimator_angle=arc.collimator,
                couch_angle=0.0,
                jaw_x=jaw_x,
                jaw_y=jaw_y,
                leaf_positions=(tuple(map(float, leaves[index, 0])), tuple(map(float, leaves[index, 1]))),
                isocentre=isocentre,
            )
            for index, (weight, angle) in enumerate(zip(weights, angles, strict=True))
        ),
    )


def _gantry_angles(arc: ArcPrescription, control_points: int) -> FloatArray:
    forward = (arc.stop - arc.start) % 360.0
    turn = forward if arc.direction == "CW" else forward - 360.0
    angles: FloatArray = np.round((arc.start + turn * np.linspace(0.0, 1.0, control_points)) % 360.0, 2)
    return angles


def _opening_of(projection: shapely.Geometry, margin: float) -> FloatArray:
    """Leaf positions (2, n_pairs) that show the projection; NaN for pairs that stay closed.

    A pair opens when the projection itself (with a negative margin: what is left of it) reaches into it, and
    then to the widest part, in it, of the projection with its margin.
    """
    surrounded = projection.buffer(margin)
    opening = np.full((2, len(HD120_LEAF_BOUNDARIES) - 1), np.nan)
    _, lowest, _, highest = projection.buffer(min(margin, 0.0)).bounds
    for pair, (lower, upper) in enumerate(itertools.pairwise(HD120_LEAF_BOUNDARIES)):
        if lower < highest and lowest < upper:
            seen = shapely.intersection(surrounded, shapely.box(-400.0, lower, 400.0, upper)).bounds
            opening[:, pair] = seen[0], seen[2]
    return np.round(opening, _DECIMALS_OF_LEAVES)


def _jaws_round(openings: FloatArray, margin: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Jaws that stand still round everything that opens, on whole millimetres."""
    boundaries = np.array(HD120_LEAF_BOUNDARIES)
    opened = np.flatnonzero(np.any(np.isfinite(openings), axis=(0, 1)))
    edges = (
        np.nanmin(openings[:, 0]) - margin,
        np.nanmax(openings[:, 1]) + margin,
        boundaries[opened[0]] - margin,
        boundaries[opened[-1] + 1] + margin,
    )
    x1, x2, y1, y2 = (math.floor(edge) if side % 2 == 0 else math.ceil(edge) for side, edge in enumerate(edges))
    return (float(x1), float(x2)), (float(y1), float(y2))


def _with_closed_pairs(openings: FloatArray, projections: list[shapely.Geometry], *, parked_at: float) -> FloatArray:
    """Close every pair that is not open.

    A pair that never opens in the arc is parked behind the X2 jaw. One that opens at other control
    points waits, closed, beside the end of the projection, from where it opens without a long way.
    """
    leaves = openings.copy()
    ever_open = np.any(np.isfinite(openings), axis=(0, 1))
    leaves[:, :, ~ever_open] = parked_at
    middles = 0.5 * (np.array(HD120_LEAF_BOUNDARIES[:-1]) + np.array(HD120_LEAF_BOUNDARIES[1:]))
    for index, projection in enumerate(projections):
        waiting = np.flatnonzero(ever_open & np.isnan(leaves[index, 0]))
        for pair in waiting:
            end = _end_of(projection, above=bool(middles[pair] > projection.centroid.y))
            leaves[index, :, pair] = round(end, _DECIMALS_OF_LEAVES)
    return leaves


def _end_of(projection: shapely.Geometry, *, above: bool) -> float:
    """x_b of the projection's upper or lower end."""
    outline = shapely.get_coordinates(projection)
    end = np.argmax(outline[:, 1]) if above else np.argmin(outline[:, 1])
    return float(outline[end, 0])


def _cumulative_weights(angles: FloatArray, relative_dose_rate: Callable[[float], float]) -> FloatArray:
    rates = np.array([relative_dose_rate(float(angle)) for angle in angles])
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (rates[:-1] + rates[1:]))])
    weights: FloatArray = np.round(cumulative / cumulative[-1], 9)
    return weights
