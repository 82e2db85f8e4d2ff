"""The axis-aligned grid of an image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Grid:
    """Voxels of an axis-aligned LPS image; all tuples are (x, y, z), lengths in mm.

    Attributes
    ----------
    origin : (float, float, float)
        Centre of the first voxel.
    """

    size: tuple[int, int, int]
    spacing: Vector
    origin: Vector

    def low_face(self, axis: int) -> float:
        """Coordinate of the outer face of the first voxel."""
        return self.origin[axis] - 0.5 * self.spacing[axis]

    def high_face(self, axis: int) -> float:
        """Coordinate of the outer face of the last voxel."""
        return self.low_face(axis) + self.size[axis] * self.spacing[axis]


def commonest_gap(gaps: FloatArray) -> float:
    """The commonest of some distances to 0.01 mm, of equally common ones the smallest; shape (n,), n at least 1."""
    counts = Counter(round(float(gap), 2) for gap in gaps)
    most = max(counts.values())
    commonest = min(gap for gap, count in counts.items() if count == most)
    return float(np.mean([gap for gap in gaps if abs(gap - commonest) <= 0.01]))
