"""What jaws and leaves leave open, as rectangles, and the blurred fluence behind them.

Two sources shine through: the focal spot at the target and a wide extra-focal one at the flattening filter. Seen
from either, an edge is a step blurred by a Gaussian, so is the kernel, and so is their convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gatecheck.case.model import Beam, ControlPoint
from gatecheck.phantoms.planning.beam_model import BeamModel, Collimators, half_height_transmission, leaf_tip_edges

FloatArray = npt.NDArray[np.float64]

SOURCE_AXIS_DISTANCE = 1000.0


@dataclass(frozen=True, slots=True)
class Rectangles:
    """Openings of one segment, mm at the isocentre plane.

    Attributes
    ----------
    share : ndarray of shape (n,)
        Of the fluence that each lets through; where they overlap the shares add up.
    x, y : ndarray of shape (n, 2)
        From and to.
    x_plane, y_plane : ndarray of shape (n,)
        Distance of their edges from the target.
    """

    share: FloatArray
    x: FloatArray
    y: FloatArray
    x_plane: FloatArray
    y_plane: FloatArray


@dataclass(frozen=True, slots=True)
class Segment:
    """The machine standing still, and the meterset that it gives there.

    Attributes
    ----------
    gantry, collimator, couch : float
        Degrees.
    isocentre : (float, float, float)
        LPS mm.
    meterset : float
        MU per fraction.
    """

    gantry: float
    collimator: float
    couch: float
    isocentre: tuple[float, float, float]
    meterset: float
    rectangles: Rectangles


def segments_of(beam: Beam, model: BeamModel) -> list[Segment]:
    """One segment for each interval of control points, with the machine at its middle; none without meterset."""
    segments = []
    for before, after in zip(beam.control_points[:-1], beam.control_points[1:], strict=True):
        share = after.cumulative_meterset_weight - before.cumulative_meterset_weight
        if share > 0:
            segments.append(
                Segment(
                    _between(before.gantry_angle, after.gantry_angle, before.gantry_rotation_direction),
                    _between(before.collimator_angle, after.collimator_angle, before.collimator_rotation_direction),
                    _between(before.couch_angle, after.couch_angle, before.couch_rotation_direction),
                    before.isocentre,
                    share / beam.final_cumulative_meterset_weight * beam.meterset,
                    _rectangles_between(before, after, beam.leaf_boundaries, model),
                )
            )
    return segments


def _between(start: float, stop: float, direction: str) -> float:
    turn = (stop - start) % 360.0
    if direction == "CC":
        turn -= 360.0 if turn > 0 else 0.0
    elif direction == "NONE":
        turn = 0.0
    return (start + 0.5 * turn) % 360.0


def _rectangles_between(
    before: ControlPoint, after: ControlPoint, boundaries: tuple[float, ...] | None, model: BeamModel
) -> Rectangles:
    jaw_x, jaw_y = (
        0.5 * (np.array(getattr(before, axis)) + np.array(getattr(after, axis))) * model.fitted.jaw_scale
        for axis in ("jaw_x", "jaw_y")
    )
    if before.leaf_positions is None or after.leaf_positions is None or boundaries is None:
        return jaw_rectangle(jaw_x, jaw_y, model)
    leaves = 0.5 * (np.array(before.leaf_positions) + np.array(after.leaf_positions))
    return leaf_rectangles(leaves, np.array(boundaries), jaw_x, jaw_y, model)


def jaw_rectangle(jaw_x: FloatArray, jaw_y: FloatArray, model: BeamModel, *, share: float = 1.0) -> Rectangles:
    """The opening of the jaws alone, from and to at the isocentre plane."""
    collimators = model.collimators
    return Rectangles(
        np.array([share]),
        jaw_x[np.newaxis],
        jaw_y[np.newaxis],
        np.array([collimators.jaw_x_plane]),
        np.array([collimators.jaw_y_plane]),
    )


def leaf_rectangles(
    leaves: FloatArray, boundaries: FloatArray, jaw_x: FloatArray, jaw_y: FloatArray, model: BeamModel
) -> Rectangles:
    """Leaf pairs within the jaws: openings with the edges of rounded tips and stepped sides, and leakage over all.

    Parameters
    ----------
    leaves : ndarray of shape (2, n_pairs)
    boundaries : ndarray of shape (n_pairs + 1,)
    """
    collimators = model.collimators
    leakage = collimators.leaf_transmission
    half = half_height_transmission(collimators, model.fitted.hardening)
    shares, depths = leaf_tip_edges(collimators, model.fitted.hardening)
    parts = [jaw_rectangle(jaw_x, jaw_y, model, share=leakage)]
    for share, depth in zip(shares, depths, strict=True):
        left, right = leaves[0] - depth, leaves[1] + depth
        for part, x_low, x_high, y_low, y_high in _between_sides(left, right, boundaries, collimators, half):
            x = np.stack([np.maximum(x_low, jaw_x[0]), np.minimum(x_high, jaw_x[1])], axis=1)
            y = np.stack([np.maximum(y_low, jaw_y[0]), np.minimum(y_high, jaw_y[1])], axis=1)
            shown = (x[:, 1] > x[:, 0]) & (y[:, 1] > y[:, 0])
            plane = np.full(int(shown.sum()), collimators.leaf_plane)
            parts.append(
                Rectangles(np.full(len(plane), (1 - leakage) * share * part), x[shown], y[shown], plane, plane)
            )
    return Rectangles(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rectangles.__slots__))


def _between_sides(
    left: FloatArray, right: FloatArray, boundaries: FloatArray, collimators: Collimators, half: float
) -> Iterator[tuple[float, FloatArray, FloatArray, FloatArray, FloatArray]]:
    """What leaf pairs leave open as (share, x from, x to, y from, y to), with their sides' tongues and grooves.

    Neighbours reach into each other by a step at half of their height. Along it, where one pair is open and the other
    closed, only half of a leaf is in the way; where both are open, nothing is; both closed are as good as one leaf.
    """
    step = 0.5 * collimators.leaf_step * SOURCE_AXIS_DISTANCE / collimators.leaf_plane
    below, above = boundaries.copy(), boundaries.copy()
    below[1:-1] -= step
    above[1:-1] += step
    yield 1.0, left, right, above[:-1], below[1:]
    edges = below[1:-1], above[1:-1]
    yield half, left[:-1], right[:-1], *edges
    yield half, left[1:], right[1:], *edges
    yield 1 - 2 * half, np.maximum(left[:-1], left[1:]), np.minimum(right[:-1], right[1:]), *edges


def blurred(
    rectangles: Rectangles,
    x: FloatArray,
    y: FloatArray,
    *,
    distance: float,
    sigmas: FloatArray,
    source_plane: float,
    source_sigma: float,
) -> FloatArray:
    """Fluence relative to an unlimited field, blurred by the source and by each of several Gaussian kernels.

    Parameters
    ----------
    x, y : ndarray of shape (nx,), (ny,)
        Places in the plane at `distance` from the target, mm there.
    distance : float
    sigmas : ndarray of shape (n,)
        Of the kernels, mm.
    source_plane, source_sigma : float
        Distance of the source from the target, and its width, mm.

    Returns
    -------
    ndarray of shape (n, ny, nx)
    """
    source: dict[str, Any] = {
        "distance": distance,
        "sigmas": sigmas,
        "source_plane": source_plane,
        "source_sigma": source_sigma,
    }
    along_x = _steps(rectangles.x, rectangles.x_plane, x, **source)
    along_y = _steps(rectangles.y, rectangles.y_plane, y, **source)
    fluence: FloatArray = (along_y * rectangles.share) @ along_x.transpose(0, 2, 1)
    return fluence


def _steps(
    edges: FloatArray,
    planes: FloatArray,
    at: FloatArray,
    *,
    distance: float,
    sigmas: FloatArray,
    source_plane: float,
    source_sigma: float,
) -> FloatArray:
    """Share of the blurred source seen between two edges, shape (n_sigmas, n_places, n_rectangles)."""
    # Leaves of one pair share their sides, and all pairs their neighbours': each edge is blurred once.
    corners = np.stack([edges, np.repeat(planes[:, np.newaxis], 2, axis=1)], axis=-1).reshape(-1, 2)
    distinct, where = np.unique(corners, axis=0, return_inverse=True)
    edge, plane = distinct.T
    seen = edge * plane / SOURCE_AXIS_DISTANCE * (distance - source_plane) / (plane - source_plane)
    width = np.hypot(sigmas[:, np.newaxis], source_sigma * (distance - plane) / (plane - source_plane))
    below = ndtr((seen - at[:, np.newaxis]) / width[:, np.newaxis, :])
    first, second = where.reshape(-1, 2).T
    share: FloatArray = below[:, :, second] - below[:, :, first]
    return share
