"""What jaws and leaves leave open, as rectangles, and the blurred fluence behind them.

Two sources shine through: the focal spot at the target and a wide extra-focal one at the flattening filter. Seen
from either, an edge is a step blurred by a Gaussian, so is the kernel, and so is their convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gatecheck.case.model import Beam, ControlPoint
from gatecheck.phantoms.planning.beam_model import BeamModel, leaf_tip_edges

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
    """Leaf pairs within the jaws: their openings with the rounded tips' edges, and leakage over the jaws' opening.

    Parameters
    ----------
    leaves : ndarray of shape (2, n_pairs)
    boundaries : ndarray of shape (n_pairs + 1,)
    """
    collimators = model.collimators
    leakage = collimators.leaf_transmission
    low = np.maximum(boundaries[:-1], jaw_y[0])
    high = np.minimum(boundaries[1:], jaw_y[1])
    shares, depths = leaf_tip_edges(collimators, model.fitted.hardening)
    parts = [jaw_rectangle(jaw_x, jaw_y, model, share=leakage)]
    for share, depth in zip(shares, depths, strict=True):
        left = np.maximum(leaves[0] - depth, jaw_x[0])
        right = np.minimum(leaves[1] + depth, jaw_x[1])
        shown = (high > low) & (right > left)
        count = int(shown.sum())
        plane = np.full(count, collimators.leaf_plane)
        parts.append(
            Rectangles(
                np.full(count, (1 - leakage) * share),
                np.stack([left, right], axis=1)[shown],
                np.stack([low, high], axis=1)[shown],
                plane,
                plane,
            )
        )
    return Rectangles(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rectangles.__slots__))


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
