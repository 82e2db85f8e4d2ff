"""A delivery as static segments, for an engine that cannot move its geometry while particles fly."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gatecheck.delivery.model import BeamTimeline, Delivery, FloatArray
from gatecheck.delivery.timeline import delivering_segments, states_at

LARGEST_ROTATION = 2.0
"""Degrees of gantry, collimator or couch within one segment."""
LARGEST_MOTION = 5.0
"""mm at the isocentre plane that a leaf or jaw moves within one segment."""

# 178 control points over a full arc are 2.0338 degrees apart in some plans and 2 degrees to a rounding in others.
_ROUNDING = 1e-6


def segmented(
    delivery: Delivery, *, largest_rotation: float = LARGEST_ROTATION, largest_motion: float | None = LARGEST_MOTION
) -> Delivery:
    """Stand-in of a delivery by static segments, each at the machine's state at its middle meterset.

    Every interval between two nodes of the timeline is divided into equal parts of meterset, as few as the
    limits allow; intervals without meterset are left out. The machine jumps from one segment to the next (two
    nodes of equal meterset), and no meterset is lost.

    Parameters
    ----------
    delivery : Delivery
    largest_rotation : float
        Degrees by which gantry, collimator or couch turn within one segment.
    largest_motion : float or None
        mm at the isocentre plane by which a leaf or jaw moves within one segment; None for no limit.

    Raises
    ------
    ValueError
        When a limit is not above zero.
    """
    for name, limit in (("largest_rotation", largest_rotation), ("largest_motion", largest_motion)):
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} of {limit} found, expected above 0")
    beams = tuple(_segmented_beam(beam, largest_rotation, largest_motion) for beam in delivery.beams)
    return replace(delivery, beams=beams)


def _segmented_beam(beam: BeamTimeline, largest_rotation: float, largest_motion: float | None) -> BeamTimeline:
    edges = _edges(beam, largest_rotation, largest_motion)
    states = states_at(beam, (edges[:-1] + edges[1:]) / 2)

    def twice(values: FloatArray) -> FloatArray:
        return np.repeat(values, 2, axis=0)

    return replace(
        beam,
        meterset=np.stack([edges[:-1], edges[1:]], axis=1).ravel(),
        gantry=twice(states.gantry),
        collimator=twice(states.collimator),
        couch=twice(states.couch),
        jaw_x=twice(states.jaw_x),
        jaw_y=twice(states.jaw_y),
        leaf_positions=None if states.leaf_positions is None else twice(states.leaf_positions),
        isocentre=twice(states.isocentre),
    )


def _edges(beam: BeamTimeline, largest_rotation: float, largest_motion: float | None) -> FloatArray:
    """Meterset at which segments begin and end, shape (segments + 1,)."""
    edges = [0.0]
    for interval in delivering_segments(beam):
        start, end = beam.meterset[interval], beam.meterset[interval + 1]
        parts = _parts(beam, int(interval), largest_rotation, largest_motion)
        # The last edge is the node itself, so that the sum over segments is the beam's meterset to the bit.
        edges.extend(float(start + (end - start) * part / parts) for part in range(1, parts))
        edges.append(float(end))
    return np.array(edges)


def _parts(beam: BeamTimeline, interval: int, largest_rotation: float, largest_motion: float | None) -> int:
    rotation = max(float(abs(np.diff(axis)[interval])) for axis in (beam.gantry, beam.collimator, beam.couch))
    ratios = [rotation / largest_rotation]
    if largest_motion is not None:
        moving = [beam.jaw_x, beam.jaw_y] + ([] if beam.leaf_positions is None else [beam.leaf_positions])
        motion = max(float(np.abs(axis[interval + 1] - axis[interval]).max()) for axis in moving)
        ratios.append(motion / largest_motion)
    return max(1, math.ceil(max(ratios) - _ROUNDING))
