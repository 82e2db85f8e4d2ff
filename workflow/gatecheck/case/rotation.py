"""How an axis of the machine turns through a beam, read from its control points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from gatecheck.case.model import ControlPoint
from gatecheck.errors import InputError, UnsupportedPlanError

FloatArray = npt.NDArray[np.float64]
Rotation = Literal["CW", "CC", "NONE"]

FULL_TURN = 360.0

ROUNDING_OF_ANGLES = 0.05
"""Degrees below which a difference of angles is rounding: TPSs write one to six decimals.

Machines are accepted with angle indicators wrong by up to 1 degree (AAPM TG-142, monthly).
"""

SAME_LENGTH = 0.01  # mm


@dataclass(frozen=True, slots=True)
class RotationAxis:
    """One rotation of the machine as DICOM describes it.

    Attributes
    ----------
    name : str
        What turns, for messages.
    direction : str
        The attribute that says which way it turns, for messages.
    increasing : str
        The direction, CW or CC, in which the IEC 61217 angle increases. DICOM views the gantry from
        the isocentre (increasing is clockwise), the beam limiting device from the source and the
        patient support from above (increasing is counter-clockwise for both); see PS3.3 C.8.8.14.8,
        whose example turns a table from 170 to 160 degrees CC by 350 degrees.
    """

    name: str
    direction: str
    increasing: Literal["CW", "CC"]
    angle_of: Callable[[ControlPoint], float]
    direction_of: Callable[[ControlPoint], Rotation]

    def sign(self, direction: Rotation) -> float:
        """Whether the IEC angle rises (1) or falls (-1) in a direction; 0 without one."""
        return 0.0 if direction == "NONE" else 1.0 if direction == self.increasing else -1.0


GANTRY = RotationAxis(
    "gantry",
    "Gantry Rotation Direction (300A,011F)",
    "CW",
    lambda point: point.gantry_angle,
    lambda point: point.gantry_rotation_direction,
)
COLLIMATOR = RotationAxis(
    "beam limiting device",
    "Beam Limiting Device Rotation Direction (300A,0121)",
    "CC",
    lambda point: point.collimator_angle,
    lambda point: point.collimator_rotation_direction,
)
COUCH = RotationAxis(
    "patient support",
    "Patient Support Rotation Direction (300A,0123)",
    "CC",
    lambda point: point.couch_angle,
    lambda point: point.couch_rotation_direction,
)


@dataclass(frozen=True, slots=True)
class Turning:
    """How one axis turns through a beam.

    Attributes
    ----------
    angles : ndarray of shape (n_control_points,)
        Unwrapped degrees: successive angles differ by the rotation that the machine makes.
    held : tuple of int
        Control points after which the axis stands still although they mark a direction.
    """

    angles: FloatArray
    held: tuple[int, ...]


def turning(axis: RotationAxis, points: Sequence[ControlPoint], *, is_arc: bool, place: str) -> Turning:
    """Read how an axis turns: the first angle as planned, each later one after the rotation asked for.

    Equal angles with a direction are a full turn by PS3.3 C.8.8.14.8. No machine with a C-arm makes
    two of them in a beam, nor one of its collimator or couch, and some TPSs leave the direction on
    while the axis stands still. So that is how they are read, except for the gantry of an arc of two
    control points.

    Parameters
    ----------
    is_arc : bool
        Whether the gantry may turn in this beam.

    Raises
    ------
    InputError
        When an angle changes without a direction.
    UnsupportedPlanError
        For a rotation that no machine makes, or that cannot be told from standing still.
    """
    steps = [
        _step(axis, before, after, f"{place}, control point {index}")
        for index, (before, after) in enumerate(pairwise(points))
    ]
    directions = [axis.direction_of(point) for point in points[:-1]]
    held = tuple(
        index
        for index, (step, direction) in enumerate(zip(steps, directions, strict=True))
        if direction != "NONE" and axis.sign(direction) * step <= 0
    )
    if held and axis is GANTRY and len(points) == 2:
        _check_full_turn(axis, points, is_arc=is_arc, place=place)
        steps, held = [steps[0] + axis.sign(directions[0]) * FULL_TURN], ()
    angles = np.cumsum([axis.angle_of(points[0]), *steps])
    if np.ptp(angles) > FULL_TURN + ROUNDING_OF_ANGLES:
        raise UnsupportedPlanError(
            f"{place}: the {axis.name} angle turns by {np.ptp(angles):.1f} degrees in the beam, expected at most one "
            f"full turn. Look for control points whose angle steps back against {axis.direction}."
        )
    return Turning(angles, held)


def _step(axis: RotationAxis, before: ControlPoint, after: ControlPoint, place: str) -> float:
    """The rotation from a control point to the next, in degrees of increasing IEC angle."""
    start, end, direction = axis.angle_of(before), axis.angle_of(after), axis.direction_of(before)
    forward = (end - start) % FULL_TURN
    shortest = forward if forward <= FULL_TURN / 2 else forward - FULL_TURN
    if abs(shortest) <= ROUNDING_OF_ANGLES:
        return shortest
    if direction == "NONE":
        raise InputError(
            f"{place}: the {axis.name} angle changes from {start:g} to {end:g} degrees with "
            f"{axis.direction} NONE, expected CW or CC. Re-export the plan with its directions."
        )
    return forward if direction == axis.increasing else forward - FULL_TURN


def _check_full_turn(axis: RotationAxis, points: Sequence[ControlPoint], *, is_arc: bool, place: str) -> None:
    """Only an arc turns fully, and one whose leaves move states more than its two ends."""
    found = (
        f"{place}, control point 0: the {axis.name} angle stays with {axis.direction} "
        f"{axis.direction_of(points[0])}, which DICOM reads as a full turn"
    )
    if not is_arc:
        raise UnsupportedPlanError(f"{found}, but the beam is no arc. Expected NONE. Re-export the plan.")
    if shape_moves(points).any():
        raise UnsupportedPlanError(
            f"{found}, but the beam has two control points between which its leaves or jaws move, as a sliding window. "
            "Expected NONE, or all control points of an arc. Re-export the plan with its directions."
        )


def shape_moves(points: Sequence[ControlPoint]) -> npt.NDArray[np.bool_]:
    """Whether leaves or jaws move from each control point to the next, shape (n_control_points - 1,)."""
    shapes = np.array([_shape(point) for point in points])
    moves: npt.NDArray[np.bool_] = np.abs(np.diff(shapes, axis=0)).max(axis=1, initial=0.0) > SAME_LENGTH
    return moves


def _shape(point: ControlPoint) -> tuple[float, ...]:
    leaves = () if point.leaf_positions is None else point.leaf_positions[0] + point.leaf_positions[1]
    return point.jaw_x + point.jaw_y + leaves
