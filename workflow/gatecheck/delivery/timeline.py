"""From a plan's control points to one continuous timeline per beam."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.case.model import WEIGHT_TOLERANCE, Beam, Case, ControlPoint
from gatecheck.case.rotation import COLLIMATOR, COUCH, GANTRY, RotationAxis, turning
from gatecheck.delivery.coordinates import position_code_of
from gatecheck.delivery.model import BeamTimeline, Delivery, FloatArray, MachineState
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_json

logger = logging.getLogger(__name__)

_ARCS = ("conformal-arc", "vmat")


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
    leaf_positions = _leaf_positions(beam)
    timeline = BeamTimeline(
        number=beam.number,
        name=beam.name,
        nominal_energy_mv=beam.nominal_energy_mv,
        fluence_mode=beam.fluence_mode,
        meterset=meterset,
        gantry=_unwrapped(beam, GANTRY),
        collimator=_unwrapped(beam, COLLIMATOR),
        couch=_unwrapped(beam, COUCH),
        jaw_x=np.array([p.jaw_x for p in points], dtype=float),
        jaw_y=np.array([p.jaw_y for p in points], dtype=float),
        leaf_positions=leaf_positions,
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
    tolerance = WEIGHT_TOLERANCE * final
    if not rising or abs(weights[0]) > tolerance or abs(weights[-1] - final) > tolerance:
        raise InputError(
            f"Beam {beam.number}: Cumulative Meterset Weight (300A,0134) runs from {weights[0]:g} to {weights[-1]:g}"
            f"{'' if rising else ' and does not always rise'}, expected a rise from 0 to the final weight {final:g}. "
            "Re-export the plan."
        )
    # Stretched over the weights that there are, so that a jump at either end stays a jump.
    meterset: FloatArray = beam.meterset * ((weights - weights[0]) / (weights[-1] - weights[0]))
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


def _unwrapped(beam: Beam, axis: RotationAxis) -> FloatArray:
    """Continuous angles, as `ingest` read them too."""
    place = f"Beam {beam.number}"
    read = turning(axis, beam.control_points, is_arc=beam.technique in _ARCS, place=place)
    if read.held:
        logger.warning(
            "%s: the %s stands still after %d control points that mark a direction", place, axis.name, len(read.held)
        )
    return read.angles


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
