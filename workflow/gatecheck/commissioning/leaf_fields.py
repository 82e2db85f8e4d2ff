"""Fields that show what an MLC does: closed leaves, sweeping gaps, leaves that interdigitate, single pairs.

All are deliveries at gantry 0 with the isocentre at 100 mm depth. Positions are those of a plan, in mm at the isocentre
plane. A closed pair meets outside of the jaws' opening, `BEHIND_JAW` beyond its edge, as transmission is measured:
what shines through between two tips then falls on a jaw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water.tank import field_delivery
from gatecheck.delivery.model import Delivery
from gatecheck.linac.model import LinacModel, MultileafCollimator

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

Bank = Literal["X1", "X2"]

FIELD = JawField.of_size(100.0, 100.0)
GAPS = (4.0, 6.0, 10.0, 16.0, 20.0)
BEHIND_JAW = 20.0


@dataclass(frozen=True, slots=True)
class Opening:
    """One leaf pair of a pattern.

    Attributes
    ----------
    pair : int
        Counted from Y1, from 0.
    x1, x2 : float
        Planned positions of its leaves.
    y : float
        Middle of the pair.
    half_width : float
        Half of the pair's width.
    """

    pair: int
    x1: float
    x2: float
    y: float
    half_width: float


def open_field(linac: LinacModel) -> Delivery:
    """100 x 100 mm by the jaws, without MLC: what all others are compared with."""
    return field_delivery(FIELD, linac)


def closed_leaves(linac: LinacModel, bank: Bank) -> Delivery:
    """All pairs closed under the 100 x 100 mm opening, which the leaves of one bank cover."""
    pairs = _pairs(linac)
    return _with_leaves(open_field(linac), linac, _closed(FIELD, pairs, bank))


def sweeping_gap(linac: LinacModel, gap: float) -> Delivery:
    """A gap between all pairs that travels from beyond X1 to beyond X2 at constant speed per MU.

    Its trailing edge starts a gap's width before the opening and its leading edge ends a gap's width behind it:
    the travel is `gap_travel`, and every point of the opening sees the gap equally long.

    Raises
    ------
    ValueError
        When the gap is not above 0.
    """
    if not gap > 0:
        raise ValueError(f"a gap of {gap:g} mm found, expected one above 0")
    start = np.tile([[FIELD.x1 - gap], [FIELD.x1]], _pairs(linac))
    end = np.tile([[FIELD.x2], [FIELD.x2 + gap]], _pairs(linac))
    return _with_leaves(open_field(linac), linac, start, end)


def gap_travel(gap: float) -> float:
    """How far a sweeping gap travels while the meterset is delivered."""
    return FIELD.size_x + gap


def interdigitated(linac: LinacModel, *, first_open: int) -> Delivery:
    """Every other pair open, from pair `first_open` (0 or 1) on; the field's complement has the other number."""
    pair = np.arange(_pairs(linac))
    return _with_open_pairs(linac, pair % 2 == first_open)


def half_open(linac: LinacModel, side: Literal["Y1", "Y2"]) -> Delivery:
    """The pairs of one half open: both halves meet on the axis, between two leaves."""
    pair = np.arange(_pairs(linac))
    lower = pair < _pairs(linac) // 2
    return _with_open_pairs(linac, lower if side == "Y1" else ~lower)


PATTERN_FIELD = JawField.of_size(140.0, 140.0)
# Distances, sides and lengths all differ, so that no mirror image and no exchange of banks looks the same.
_PATTERN = ((42.5, 15.0, 35.0), (-52.5, -45.0, -20.0))


def asymmetric_openings(mlc: MultileafCollimator) -> tuple[Opening, Opening]:
    """One pair open at positive x and one at negative x, on different sides of the axis along y."""
    edges = np.array(mlc.boundaries)
    made = []
    for y, x1, x2 in _PATTERN:
        pair = int(np.searchsorted(edges, y, side="right")) - 1
        middle, half = (edges[pair] + edges[pair + 1]) / 2, (edges[pair + 1] - edges[pair]) / 2
        made.append(Opening(pair, x1, x2, float(middle), float(half)))
    return made[0], made[1]


def asymmetric_pattern(linac: LinacModel, collimator: float) -> Delivery:
    """The two openings in an MLC that is closed otherwise, at a collimator angle in degrees."""
    leaves = _closed(PATTERN_FIELD, _pairs(linac), "X1")
    for opening in asymmetric_openings(linac.machine.mlc):
        leaves[:, opening.pair] = opening.x1, opening.x2
    delivery = _with_leaves(field_delivery(PATTERN_FIELD, linac), linac, leaves)
    (beam,) = delivery.beams
    return replace(delivery, beams=(replace(beam, collimator=np.full(2, collimator)),))


def moved(delivery: Delivery, x: float, z: float) -> Delivery:
    """The same with the isocentre at x and z of the patient's system, for scores that lie along its axes."""
    shift = np.array([x, 0.0, z])
    return replace(delivery, beams=tuple(replace(beam, isocentre=beam.isocentre + shift) for beam in delivery.beams))


def uniform_edges(mlc: MultileafCollimator, within: float) -> FloatArray:
    """Boundaries between -within and within of the leaves that are as wide as those on the axis."""
    edges = np.array(mlc.boundaries)
    widths = np.diff(edges)
    middle = (edges[:-1] + edges[1:]) / 2
    chosen = (np.abs(widths - widths[np.argmin(np.abs(middle))]) < 1e-6) & (np.abs(middle) < within)
    chosen &= (edges[:-1] >= -within) & (edges[1:] <= within)
    return np.unique(np.concatenate([edges[:-1][chosen], edges[1:][chosen]]))


def _pairs(linac: LinacModel) -> int:
    return len(linac.machine.mlc.boundaries) - 1


def _closed(jaws: JawField, pairs: int, bank: Bank) -> FloatArray:
    """Leaves of a bank across the opening, those of the other up to them; shape (2, pairs)."""
    meeting = jaws.x2 + BEHIND_JAW if bank == "X1" else jaws.x1 - BEHIND_JAW
    return np.full((2, pairs), meeting)


def _with_open_pairs(linac: LinacModel, is_open: BoolArray) -> Delivery:
    leaves = _closed(FIELD, _pairs(linac), "X1")
    leaves[:, is_open] = np.array([[FIELD.x1 - BEHIND_JAW], [FIELD.x2 + BEHIND_JAW]])
    return _with_leaves(open_field(linac), linac, leaves)


def _with_leaves(delivery: Delivery, linac: LinacModel, start: FloatArray, end: FloatArray | None = None) -> Delivery:
    (beam,) = delivery.beams
    nodes = np.stack([start, start if end is None else end])
    leaf_beam = replace(beam, leaf_positions=nodes, leaf_boundaries=np.array(linac.machine.mlc.boundaries))
    return replace(delivery, beams=(leaf_beam,))
