"""Points round the tumour's surface, in shells by their distance from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gatecheck.compare.interface.geometry import Surface, is_outside

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SHELL_EDGES = (0.0, 1.0, 2.0, 3.0, 5.0)
"""mm from the surface, both inside and outside."""

_SMALLEST_STEP = 0.4
_MOST_POINTS = 60_000
_SEED = 40_401


@dataclass(frozen=True, slots=True)
class InterfacePoints:
    """Points that fill the tumour and its surroundings, each standing for the same volume.

    Attributes
    ----------
    points_xyz : ndarray of shape (n, 3)
    distance : ndarray of shape (n,)
        mm from the tumour's surface, negative inside.
    normals_xyz : ndarray of shape (n, 3)
        The direction in which that distance grows, by the nearest point of the surface.
    in_cord : ndarray of shape (n,), bool
        In the cord and outside of every tumour.
    volume : float
        mm3 of each.
    """

    points_xyz: FloatArray
    distance: FloatArray
    normals_xyz: FloatArray
    in_cord: BoolArray
    volume: float

    def select(self, chosen: BoolArray) -> InterfacePoints:
        """Some of the points."""
        return InterfacePoints(
            self.points_xyz[chosen],
            self.distance[chosen],
            self.normals_xyz[chosen],
            self.in_cord[chosen],
            self.volume,
        )


@dataclass(frozen=True, slots=True)
class Shell:
    """Points whose distance from the surface lies between two values, mm; in the cord alone, or all."""

    nearest: float
    furthest: float
    region: Literal["tumour", "cord", "all"]
    chosen: BoolArray

    @property
    def name(self) -> str:
        """For people."""
        side = "inside" if self.furthest <= 0 else "outside"
        low, high = sorted((abs(self.nearest), abs(self.furthest)))
        return f"{side} {low:g}-{high:g} mm"


def fill(tumour: Surface, cord: Surface | None, *, reach: float, others: Sequence[Surface] = ()) -> InterfacePoints:
    """Fill the tumour, and what lies within `reach` mm of it, with points; what lies in others is not normal cord.

    One point lies at a random place of each cell of a lattice, the same in every run, so that no plane of the lattice
    falls together with a face of voxels.
    """
    low = tumour.points_xyz.min(axis=0) - reach
    extent = tumour.points_xyz.max(axis=0) + reach - low
    step = max(_SMALLEST_STEP, float(extent.prod() / _MOST_POINTS / 2) ** (1 / 3))
    counts = np.ceil(extent / step).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    places = cells + np.random.default_rng(_SEED).uniform(size=cells.shape)
    points = low + step * places
    distance = tumour.signed_distance(points)
    kept = distance <= reach
    points, distance = points[kept], distance[kept]
    nearest = tumour.tree.query(points)[1]
    towards = points - tumour.points_xyz[nearest]
    length = np.linalg.norm(towards, axis=1, keepdims=True)
    # Far from the surface the line to its nearest point is the better normal; close to it, the surface's own.
    along = np.sign(distance)[:, None] * towards / np.maximum(length, 1e-9)
    normals = np.where(length > 2 * tumour.step, along, tumour.normals_xyz[nearest])
    in_cord = np.zeros(len(points), dtype=np.bool_) if cord is None else cord.signed_distance(points) < 0
    in_cord &= (distance > 0) & is_outside(points, others)
    return InterfacePoints(points, distance, normals, in_cord, step**3)


def shells_of(points: InterfacePoints, *, has_cord: bool) -> tuple[Shell, ...]:
    """Shells inside, deepest first, then outside: in the cord where there is one, and all that lies there."""
    shells = []
    pairs = list(itertools.pairwise(SHELL_EDGES))
    for low, high in reversed(pairs):
        shells.append(Shell(-high, -low, "tumour", (points.distance > -high) & (points.distance <= -low)))
    for low, high in pairs:
        within = (points.distance > low) & (points.distance <= high)
        if has_cord:
            shells.append(Shell(low, high, "cord", within & points.in_cord))
        shells.append(Shell(low, high, "all", within))
    return tuple(shells)
