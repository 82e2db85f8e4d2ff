"""Jaws and leaves as the solids that GATE builds, each with its place for a state of the machine.

The frame is the beam limiting device's, with its origin at the isocentre and the target on +z. Everything
follows from the machine model and gatecheck.linac.geometry; the fast head's intervals are the same surfaces.

A leaf is made of pieces. Where the sides step (tongue and groove) it is cut across; each part is a prism
along x whose cross-section is a trapezoid between two focused sides. Its rounded end, as deep as the arc
bends over the leaf's height, is a piece of its own: only there does a particle meet a curved surface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from gatecheck.errors import InputError
from gatecheck.linac.geometry import BANK_X1, BANK_X2, LeafSides, leaf_sides, tip_centre
from gatecheck.linac.model import JawPair, Machine

FloatArray = npt.NDArray[np.float64]

LEAF_MARGIN = 60.0
"""mm beyond the primary collimator's opening that the far end of a leaf reaches, for wide sources and scatter."""
PARKED = 400.0
"""mm at the leaves' plane: where tips stand for a beam without MLC, far outside of every ray."""
# The curved end of a leaf is cut from a prism that reaches this much further, so that no two surfaces coincide.
_BEYOND_TIP = 1.0
# Parts of a leaf thinner than this, mm, are rounding.
_NO_PART = 1e-6


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a solid stands: its own axes turned by `rotation` (3 x 3), its origin at `translation` (3)."""

    rotation: FloatArray
    translation: FloatArray


@dataclass(frozen=True, slots=True)
class JawBlock:
    """One jaw: a box in its own system, with its origin at the target, z up along the face, and its face at 0.

    Attributes
    ----------
    along : "x" or "y"
        Its travel.
    bank : float
        BANK_X1 for X1 and Y1, BANK_X2 for X2 and Y2; the box reaches from 0 to bank * length.
    top, bottom : float
        Distances from the target.
    length, half_width : float
    trim_tangent : float
        Above 0: only depth + trim_tangent * (distance from the face) <= bottom * sqrt(1 + trim_tangent²) belongs
        to it, see `jaw_blocks`.
    position_scale : float
        Of the machine's statement of its position.
    """

    name: str
    along: Literal["x", "y"]
    bank: float
    top: float
    bottom: float
    length: float
    half_width: float
    trim_tangent: float
    position_scale: float

    def pose(self, position: float, axis_distance: float) -> Pose:
        """Its place for a position at the isocentre plane, mm."""
        angle = math.atan2(position * self.position_scale, axis_distance)
        c, s = math.cos(angle), math.sin(angle)
        if self.along == "x":
            rotation = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
        else:
            rotation = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
        return Pose(rotation, np.array([0.0, 0.0, axis_distance]))


@dataclass(frozen=True, slots=True)
class LeafPiece:
    """A prism along x, with its origin at the centre of the leaf tip's arc.

    Attributes
    ----------
    bank : float
        BANK_X1 or BANK_X2.
    pair : int
        From Y1 to Y2.
    top, bottom : float
        Distances of its upper and lower surface from the target.
    low_at_top, high_at_top, low_at_bottom, high_at_bottom : float
        y of its sides at the upper and at the lower surface.
    near, far : float
        x of its ends, near < far for X2, near > far for X1.
    is_tip : bool
        Only what lies within the arc's cylinder (axis along y through the origin) belongs to it.
    """

    name: str
    bank: float
    pair: int
    top: float
    bottom: float
    low_at_top: float
    high_at_top: float
    low_at_bottom: float
    high_at_bottom: float
    near: float
    far: float
    is_tip: bool


@dataclass(frozen=True, slots=True)
class Leaves:
    """All leaves of a multileaf collimator."""

    pieces: tuple[LeafPiece, ...]
    leaf_centre: float
    leaf_height: float
    tip_radius: float
    gap_offset: float
    axis_distance: float

    def arc_centre(self, position: float, bank: float) -> float:
        """x of a tip's arc for a planned position at the isocentre plane."""
        physical = position + bank * self.gap_offset / 2
        return float(tip_centre(physical, bank, self.leaf_centre, self.tip_radius, self.axis_distance))

    def parked(self, bank: float) -> float:
        """x of a tip's arc for a beam that has no MLC."""
        return bank * (PARKED + self.tip_radius)


def jaw_blocks(machine: Machine, smallest_opening: float) -> tuple[JawBlock, ...]:
    """Y1, Y2, X1 and X2.

    A Y jaw beyond the axis hangs down at its far end. It is trimmed there so that at no position of the
    delivery anything of it is lower than its face's lower edge stands at position 0, where the X jaws begin:
    at most some mm of its thickness, far from its face. A delivery without such positions has whole jaws.

    Parameters
    ----------
    smallest_opening : float
        mm at the isocentre plane: the smallest position of Y2, or of Y1 with its sign turned, in the delivery.

    Raises
    ------
    InputError
        When the Y jaws are so wide that X jaws at the end of their travel would run into them.
    """
    _check_clearance(machine)
    trim = max(-smallest_opening, 0.0) / machine.jaws.y.turning_distance(machine.source_axis_distance)
    return (
        _block("jaw_y1", "y", BANK_X1, machine.jaws.y, trim),
        _block("jaw_y2", "y", BANK_X2, machine.jaws.y, trim),
        _block("jaw_x1", "x", BANK_X1, machine.jaws.x, 0.0),
        _block("jaw_x2", "x", BANK_X2, machine.jaws.x, 0.0),
    )


def _block(name: str, along: Literal["x", "y"], bank: float, jaws: JawPair, trim: float) -> JawBlock:
    return JawBlock(name, along, bank, jaws.top, jaws.bottom, jaws.length, jaws.half_width, trim, jaws.position_scale)


def _check_clearance(machine: Machine) -> None:
    """A wide open X jaw's far end rises: it meets the plane below the Y jaws at a distance from the axis."""
    jaws = machine.jaws
    largest = max(abs(position) for position in (*jaws.x.travel_1, *jaws.x.travel_2))
    tangent = largest / machine.source_axis_distance
    clear = (jaws.x.top * math.hypot(1.0, tangent) - jaws.y.bottom) / tangent
    if jaws.y.half_width >= clear:
        raise InputError(
            f"{machine.name}/machine.yaml: jaws.y.half_width: {jaws.y.half_width:g} mm found, expected below "
            f"{clear:.1f} mm: X jaws open to {largest:g} mm would run into the Y jaws."
        )


def leaves_of(machine: Machine) -> Leaves:
    """The pieces of every leaf, X1 before X2, from Y1 to Y2."""
    mlc = machine.mlc
    sides = leaf_sides(mlc)
    reach = machine.primary_collimator.opening_radius * (mlc.leaf_centre + mlc.leaf_height / 2)
    # From a tip on the far side of the opening to beyond the opening on its own side.
    length = 2 * (reach / machine.source_axis_distance + LEAF_MARGIN)
    pieces = [
        piece
        for bank in (BANK_X1, BANK_X2)
        for pair in range(len(sides.position) - 1)
        for piece in _leaf(bank, pair, machine, sides, length)
    ]
    return Leaves(
        tuple(pieces),
        mlc.leaf_centre,
        mlc.leaf_height,
        mlc.tip_radius,
        mlc.physical_gap_offset,
        machine.source_axis_distance,
    )


def _leaf(bank: float, pair: int, machine: Machine, sides: LeafSides, length: float) -> list[LeafPiece]:
    mlc, axis_distance = machine.mlc, machine.source_axis_distance
    top, bottom = mlc.leaf_centre - mlc.leaf_height / 2, mlc.leaf_centre + mlc.leaf_height / 2
    steps = sorted(
        {float(sides.step[side]) for side in (pair, pair + 1) if sides.shift_above[side] != sides.shift_below[side]}
    )
    curved = mlc.tip_radius - math.sqrt(mlc.tip_radius**2 - (mlc.leaf_height / 2) ** 2)
    ends = {
        "tip": (-mlc.tip_radius - _BEYOND_TIP, -mlc.tip_radius + curved),
        "body": (-mlc.tip_radius + curved, -mlc.tip_radius + length),
    }
    pieces = []
    edges = [top, *steps, bottom]
    for part, (above, below) in enumerate(pairwise(edges)):
        if below - above < _NO_PART:
            continue
        middle = (above + below) / 2
        low = _side(sides, pair, middle, axis_distance, sides.half_gap)
        high = _side(sides, pair + 1, middle, axis_distance, -sides.half_gap)
        for end, (near, far) in ends.items():
            pieces.append(
                LeafPiece(
                    name=f"leaf_{'x1' if bank == BANK_X1 else 'x2'}_{pair + 1}_{part + 1}_{end}",
                    bank=bank,
                    pair=pair,
                    top=above,
                    bottom=below,
                    low_at_top=low[0] + low[1] * above,
                    high_at_top=high[0] + high[1] * above,
                    low_at_bottom=low[0] + low[1] * below,
                    high_at_bottom=high[0] + high[1] * below,
                    near=bank * near,
                    far=bank * far,
                    is_tip=end == "tip",
                )
            )
    return pieces


def _side(sides: LeafSides, side: int, distance: float, axis_distance: float, gap: float) -> tuple[float, float]:
    """y of a leaf's side in a part of its height, as intercept and slope of the distance from the target."""
    above = distance < sides.step[side]
    shift = sides.shift_above[side] if above else sides.shift_below[side]
    return float(shift) + gap, float(sides.position[side]) / axis_distance
