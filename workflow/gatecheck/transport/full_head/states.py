"""The machine's state in every segment of a delivery, as the head's geometry needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.delivery.timeline import delivering_segments
from gatecheck.errors import SimulationError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeadState:
    """The machine in one static segment.

    Attributes
    ----------
    beam_number, segment : int
        Of the beam, and of its segments from 1.
    segments : int
        How many the beam has.
    gantry, collimator, couch : float
    isocentre : ndarray of shape (3,)
    jaw_x, jaw_y : ndarray of shape (2,)
    leaf_positions : ndarray of shape (2, n_pairs) or None
    """

    beam_number: int
    segment: int
    segments: int
    gantry: float
    collimator: float
    couch: float
    isocentre: FloatArray
    jaw_x: FloatArray
    jaw_y: FloatArray
    leaf_positions: FloatArray | None

    def jaw(self, along: Literal["x", "y"], bank: float) -> float:
        """Position of one jaw at the isocentre plane, mm."""
        return float((self.jaw_x if along == "x" else self.jaw_y)[0 if bank < 0 else 1])

    def leaf(self, bank: float, pair: int) -> float | None:
        """Planned position of one leaf at the isocentre plane, mm; None without an MLC."""
        return None if self.leaf_positions is None else float(self.leaf_positions[0 if bank < 0 else 1, pair])

    @property
    def place(self) -> str:
        """For messages."""
        return f"beam {self.beam_number}, segment {self.segment} of {self.segments} (gantry {self.gantry:.1f} degrees)"


def states_of(delivery: Delivery) -> list[HeadState]:
    """The states of all static segments, in the order of the delivery.

    Raises
    ------
    SimulationError
        When the machine moves within a segment, or a number is not finite.
    """
    return [state for beam in delivery.beams for state in _states_of_beam(beam)]


def _states_of_beam(beam: BeamTimeline) -> list[HeadState]:
    segments = delivering_segments(beam)
    states = []
    for index, node in enumerate(segments, start=1):
        state = HeadState(
            beam_number=beam.number,
            segment=index,
            segments=len(segments),
            gantry=float(beam.gantry[node]),
            collimator=float(beam.collimator[node]),
            couch=float(beam.couch[node]),
            isocentre=np.array(beam.isocentre[node], dtype=float),
            jaw_x=np.array(beam.jaw_x[node], dtype=float),
            jaw_y=np.array(beam.jaw_y[node], dtype=float),
            leaf_positions=None if beam.leaf_positions is None else np.array(beam.leaf_positions[node], dtype=float),
        )
        _check(beam, int(node), state)
        states.append(state)
    return states


def _check(beam: BeamTimeline, node: int, state: HeadState) -> None:
    axes = {
        "gantry": beam.gantry,
        "collimator": beam.collimator,
        "couch": beam.couch,
        "isocentre": beam.isocentre,
        "jaw_x": beam.jaw_x,
        "jaw_y": beam.jaw_y,
        "leaf_positions": beam.leaf_positions,
    }
    for name, values in axes.items():
        if values is None:
            continue
        if not np.all(np.isfinite(values[node])):
            raise SimulationError(
                f"Full head: {state.place}: {name} is not a finite number. Run the deliver step again."
            )
        if not np.array_equal(values[node], values[node + 1]):
            raise SimulationError(
                f"Full head: {state.place}: {name} moves within the segment, expected a delivery divided into static "
                "segments (gatecheck.delivery.segments)."
            )
