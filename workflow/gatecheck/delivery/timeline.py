"""From a plan's control points to one continuous timeline per beam."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gatecheck.case.model import Beam, Case, ControlPoint
from gatecheck.delivery.coordinates import position_code_of
from gatecheck.delivery.model import BeamTimeline, Delivery, FloatArray, MachineState
from gatecheck.errors import InputError, UnsupportedPlanError
from gatecheck.files import sha256_of_json

logger = logging.getLogger(__name__)

FULL_TURN = 360.0

# TPSs write angles with one to six decimals: without a direction, a difference below this is rounding.
# Machines are accepted with angle indicators wrong by up to 1 degree (AAPM TG-142, monthly).
ROUNDING_OF_ANGLES = 0.05

# Weights are written as decimal strings of at most 16 characters.
_ROUNDING_OF_WEIGHTS = 1e-6


@dataclass(frozen=True, slots=True)
class _Axis:
    """One rotation of the machine as DICOM describes it.

    Attributes
    ----------
    increasing : str
        The direction, CW or CC, in which the IEC 61217 angle increases. DICOM views the gantry from
        the isocentre (increasing is clockwise), the beam limiting device from the source and the
        patient support from above (increasing is counter-clockwise for both); see PS3.3 C.8.8.14.8,
        whose example turns a table from 170 to 160 degrees CC by 350 degrees.
    """

    name: str
    direction_attribute: str
    increasing: Literal["CW", "CC"]


GANTRY = _Axis("gantry angle", "Gantry Rotation Direction (300A,011F)", "CW")
COLLIMATOR = _Axis("beam limiting device angle", "Beam Limiting Device Rotation Direction (300A,0121)", "CC")
COUCH = _Axis("patient support angle", "Patient Support Rotation Direction (300A,0123)", "CC")


@dataclass(frozen=True, slots=True)
class MachineStates:
    """The machine at n instants of one beam; as `MachineState`, with a leading axis of length n."""

    meterset: FloatArray
    gantry: FloatArray
    collimator: FloatArray
    couch: FloatArray
    jaw_x: FloatArray
    jaw_y: FloatArray
    leaf_positions: FloatArray | None
    isocentre: FloatArray


def deliver(case: Case) -> Delivery:
    """Timelines of all beams of a case.

    Raises
    ------
    InputError
        When a beam's meterset weights do not rise from 0 to the final one, when its control points
        disagree about their leaves, or when an angle changes without a direction.
    UnsupportedPlanError
        For a patient position that is not modelled, or a rotation that no machine makes.
    """
    position_code_of(case.patient_position)
    timelines = tuple(timeline_of(beam) for beam in case.beams)
    return Delivery(
        beams=timelines,
        patient_position=case.patient_position,
        fractions=case.fractions,
        made_from_sha256=sha256_of_json(case.model_dump(mode="json")),
    )


def timeline_of(beam: Beam) -> BeamTimeline:
    """The timeline of one beam; its nodes are the beam's control points.

    Raises
    ------
    InputError, UnsupportedPlanError
        As `deliver`.
    """
    points = beam.control_points
    meterset = _meterset_at_nodes(beam)
    timeline = BeamTimeline(
        number=beam.number,
        name=beam.name,
        nominal_energy_mv=beam.nominal_energy_mv,
        fluence_mode=beam.fluence_mode,
        meterset=meterset,
        gantry=_unwrapped(
            beam, GANTRY, [p.gantry_angle for p in points], [p.gantry_rotation_direction for p in points]
        ),
        collimator=_unwrapped(
            beam, COLLIMATOR, [p.collimator_angle for p in points], [p.collimator_rotation_direction for p in points]
        ),
        couch=_unwrapped(beam, COUCH, [p.couch_angle for p in points], [p.couch_rotation_direction for p in points]),
        jaw_x=np.array([p.jaw_x for p in points], dtype=float),
        jaw_y=np.array([p.jaw_y for p in points], dtype=float),
        leaf_positions=_leaf_positions(beam),
        leaf_boundaries=None if beam.leaf_boundaries is None else np.array(beam.leaf_boundaries, dtype=float),
        isocentre=np.array([p.isocentre for p in points], dtype=float),
    )
    logger.info(
        "Beam %d: %.2f MU in %d control points, gantry turns by %.1f degrees",
        beam.number,
        timeline.total_meterset,
        len(points),
        timeline.gantry[-1] - timeline.gantry[0],
    )
    return timeline


def _meterset_at_nodes(beam: Beam) -> FloatArray:
    weights = np.array([point.cumulative_meterset_weight for point in beam.control_points], dtype=float)
    final = beam.final_cumulative_meterset_weight
    if len(weights) < 2:
        raise InputError(
            f"Beam {beam.number}: {len(weights)} control points found, expected two or more "
            "(Control Point Sequence (300A,0111)). Re-export the plan."
        )
    if not np.isfinite(final) or final <= 0 or not np.isfinite(beam.meterset) or beam.meterset <= 0:
        raise InputError(
            f"Beam {beam.number}: meterset {beam.meterset:g} MU and Final Cumulative Meterset Weight (300A,010E) "
            f"{final:g} found, expected both above zero."
        )
    rising = np.all(np.isfinite(weights)) and np.all(np.diff(weights) >= 0)
    tolerance = _ROUNDING_OF_WEIGHTS * final
    if not rising or abs(weights[0]) > tolerance or abs(weights[-1] - final) > tolerance:
        raise InputError(
            f"Beam {beam.number}: Cumulative Meterset Weight (300A,0134) runs from {weights[0]:g} to {weights[-1]:g}"
            f"{'' if rising else ' and does not always rise'}, expected a rise from 0 to the final weight {final:g}. "
            "Re-export the plan."
        )
    meterset: FloatArray = beam.meterset * np.clip(weights / final, 0.0, 1.0)
    meterset[0], meterset[-1] = 0.0, beam.meterset
    return meterset


def _leaf_positions(beam: Beam) -> FloatArray | None:
    if beam.leaf_boundaries is None:
        if any(point.leaf_positions is not None for point in beam.control_points):
            raise InputError(
                f"Beam {beam.number}: leaf positions without Leaf Position Boundaries (300A,00BE). "
                "Re-export the plan with its MLC."
            )
        return None
    pairs = len(beam.leaf_boundaries) - 1
    for index, point in enumerate(beam.control_points):
        _check_leaves(beam, index, point, pairs)
    return np.array([point.leaf_positions for point in beam.control_points], dtype=float)


def _check_leaves(beam: Beam, index: int, point: ControlPoint, pairs: int) -> None:
    found = 0 if point.leaf_positions is None else sum(len(bank) for bank in point.leaf_positions)
    if found != 2 * pairs or any(len(bank) != pairs for bank in point.leaf_positions or ()):
        raise InputError(
            f"Beam {beam.number}, control point {index}: {found} leaf positions found, its MLC has {2 * pairs}. "
            "Re-export the plan with its MLC."
        )


def _unwrapped(beam: Beam, axis: _Axis, angles: Sequence[float], directions: Sequence[str]) -> FloatArray:
    """Continuous angles: the first as planned, each later one after the rotation that the plan asks for."""
    unwrapped = [float(angles[0])]
    for index in range(len(angles) - 1):
        step = _step(beam, axis, index, (angles[index], angles[index + 1]), directions[index])
        unwrapped.append(unwrapped[-1] + step)
    turned = max(unwrapped) - min(unwrapped)
    if turned > FULL_TURN + ROUNDING_OF_ANGLES:
        raise UnsupportedPlanError(
            f"Beam {beam.number}: the {axis.name} turns by {turned:.1f} degrees in the beam, expected at most one full "
            f"turn. Look for control points whose angle stays or steps back against {axis.direction_attribute}, "
            "which DICOM reads as a full turn."
        )
    return np.array(unwrapped)


def _step(beam: Beam, axis: _Axis, index: int, angles: tuple[float, float], direction: str) -> float:
    """The rotation from a control point to the next, in degrees of increasing IEC angle."""
    start, end = angles
    forward = (end - start) % FULL_TURN
    shortest = forward if forward <= FULL_TURN / 2 else forward - FULL_TURN
    if direction == "NONE":
        if abs(shortest) > ROUNDING_OF_ANGLES:
            raise InputError(
                f"Beam {beam.number}, control point {index}: the {axis.name} changes from {start:g} to {end:g} degrees "
                f"with {axis.direction_attribute} NONE, expected CW or CC. Re-export the plan with its directions."
            )
        return shortest
    if forward == 0.0:
        return _full_turn(beam, axis, index, direction)
    return forward if direction == axis.increasing else forward - FULL_TURN


def _full_turn(beam: Beam, axis: _Axis, index: int, direction: str) -> float:
    """Equal angles with a direction mean a full turn (PS3.3 C.8.8.14.8), which only an arc can make."""
    if beam.technique not in ("conformal-arc", "vmat"):
        raise UnsupportedPlanError(
            f"Beam {beam.number}, control point {index}: the {axis.name} stays with {axis.direction_attribute} "
            f"{direction}, which DICOM reads as a full turn, but the beam is no arc. Expected NONE. Re-export the plan."
        )
    return FULL_TURN if direction == axis.increasing else -FULL_TURN


def delivering_segments(beam: BeamTimeline) -> npt.NDArray[np.int64]:
    """Indices i of the segments from node i to node i + 1 in which meterset is delivered."""
    return np.flatnonzero(np.diff(beam.meterset) > 0)


def states_at(beam: BeamTimeline, meterset: npt.ArrayLike) -> MachineStates:
    """The machine at n instants of a beam.

    At a jump, where two nodes have the same meterset, the state is the one after the jump; at the end
    of the beam it is the one in which the last meterset was delivered.

    Parameters
    ----------
    beam : BeamTimeline
    meterset : array_like of shape (n,)
        MU since the start of the beam, between 0 and its total.

    Raises
    ------
    ValueError
        When a meterset is outside of the beam.
    """
    instants = np.atleast_1d(np.asarray(meterset, dtype=float))
    if not np.all((instants >= 0) & (instants <= beam.total_meterset)):
        raise ValueError(f"meterset outside of beam {beam.number}, which has {beam.total_meterset:g} MU")
    segments = delivering_segments(beam)
    place = np.searchsorted(beam.meterset[segments], instants, side="right") - 1
    # The first delivering segment starts at 0 MU, so that place is never negative.
    start = segments[place]
    length = beam.meterset[start + 1] - beam.meterset[start]
    fraction = (instants - beam.meterset[start]) / length

    def between(nodes: FloatArray) -> FloatArray:
        share = fraction.reshape(-1, *(1,) * (nodes.ndim - 1))
        # this form leaves an axis that stands still exactly where it is
        interpolated: FloatArray = nodes[start] + share * (nodes[start + 1] - nodes[start])
        return interpolated

    return MachineStates(
        meterset=instants,
        gantry=between(beam.gantry),
        collimator=between(beam.collimator),
        couch=between(beam.couch),
        jaw_x=between(beam.jaw_x),
        jaw_y=between(beam.jaw_y),
        leaf_positions=None if beam.leaf_positions is None else between(beam.leaf_positions),
        isocentre=between(beam.isocentre),
    )


def state_at(beam: BeamTimeline, meterset: float) -> MachineState:
    """The machine at one instant of a beam; see `states_at`."""
    states = states_at(beam, [meterset])
    return MachineState(
        meterset=float(meterset),
        gantry=float(states.gantry[0]),
        collimator=float(states.collimator[0]),
        couch=float(states.couch[0]),
        jaw_x=(float(states.jaw_x[0, 0]), float(states.jaw_x[0, 1])),
        jaw_y=(float(states.jaw_y[0, 0]), float(states.jaw_y[0, 1])),
        leaf_positions=None if states.leaf_positions is None else states.leaf_positions[0],
        isocentre=(float(states.isocentre[0, 0]), float(states.isocentre[0, 1]), float(states.isocentre[0, 2])),
    )
