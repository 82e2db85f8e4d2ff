"""What jaws and leaves leave open, as rectangles, and the blurred fluence behind them.

Two sources shine through: the focal spot at the target and a wide extra-focal one at the flattening filter. Seen
from either, an edge is a step blurred by a Gaussian, so is the kernel, and so is their convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gatecheck.case.model import Beam, ControlPoint
from gatecheck.phantoms.planning.beam_model import BeamModel, half_height_transmission, interleaf_gap, leaf_tip_edges

FloatArray = npt.NDArray[np.float64]

SOURCE_AXIS_DISTANCE = 1000.0
_HALF_TIP_STEPS = 5  # sharp edges in place of a tip of half height


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
    parts = [jaw_rectangle(jaw_x, jaw_y, model, share=leakage)]
    for share, x_low, x_high, y_low, y_high in _between_leaves(leaves, boundaries, model):
        x = np.stack([np.maximum(x_low, jaw_x[0]), np.minimum(x_high, jaw_x[1])], axis=1)
        y = np.stack([np.maximum(y_low, jaw_y[0]), np.minimum(y_high, jaw_y[1])], axis=1)
        shown = (x[:, 1] > x[:, 0]) & (y[:, 1] > y[:, 0])
        plane = np.full(int(shown.sum()), collimators.leaf_plane)
        parts.append(Rectangles(np.full(len(plane), (1 - leakage) * share), x[shown], y[shown], plane, plane))
    return Rectangles(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rectangles.__slots__))


def _between_leaves(
    leaves: FloatArray, boundaries: FloatArray, model: BeamModel
) -> Iterator[tuple[float, FloatArray, FloatArray, FloatArray, FloatArray]]:
    """What leaf pairs leave open as (share, x from, x to, y from, y to), with rounded tips and stepped sides.

    Neighbours reach into each other by a step at half of their height, with a little air between them above it and
    below it. Where only half of a leaf's height is in the way, its tip lets more through. Along the step that is so for
    both neighbours, and what comes through is the product of what comes through each; in front of the air it is
    so for one alone. Both closed are as good as one leaf, as the mean transmission counts the air.
    """
    collimators, hardening = model.collimators, model.fitted.hardening
    step = 0.5 * collimators.leaf_step * SOURCE_AXIS_DISTANCE / collimators.leaf_plane
    gap = interleaf_gap(collimators, hardening)
    inner, outer = boundaries[1:-1], step + 0.5 * gap
    left, right = leaves
    from_y = np.concatenate([boundaries[:1], inner + outer])
    to_y = np.concatenate([inner - outer, boundaries[-1:]])
    for share, depth in zip(*leaf_tip_edges(collimators, hardening), strict=True):
        yield share, left - depth, right + depth, from_y, to_y
    half = half_height_transmission(collimators, hardening)
    tips = list(zip(*leaf_tip_edges(collimators, hardening, _HALF_TIP_STEPS, height_share=0.5), strict=True))
    along = inner - outer + gap, inner + outer - gap
    for share, depth in tips:
        for pairs, air in ((slice(None, -1), (inner - outer, along[0])), (slice(1, None), (along[1], inner + outer))):
            yield half * share, left[pairs] - depth, right[pairs] + depth, *along
            yield share, left[pairs] - depth, right[pairs] + depth, *air
    for (share_1, depth_1), (share_2, depth_2) in itertools.product(tips, tips):
        from_x = np.maximum(left[:-1] - depth_1, left[1:] - depth_2)
        to_x = np.minimum(right[:-1] + depth_1, right[1:] + depth_2)
        yield (1 - 2 * half) * share_1 * share_2, from_x, to_x, *along


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
