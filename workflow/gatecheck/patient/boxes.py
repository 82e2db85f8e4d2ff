"""Boxes of voxels that tile the patient without overlap: one fine box, and coarse ones round it.

All faces lie on one lattice of coarse cells, anchored at the corner of the CT, so that every box
holds whole coarse cells and every voxel is a whole number of voxels of the joined grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

IntVector = tuple[int, int, int]
Vector = tuple[float, float, float]

# A face this close to a lattice plane (in cells) lies on it; keeps rounding errors from adding a layer of cells.
_ON_PLANE = 1e-6


@dataclass(frozen=True, slots=True)
class Extent:
    """An axis-aligned cuboid in patient coordinates (LPS, mm)."""

    lower: Vector
    upper: Vector

    def grown(self, margin: float) -> Extent:
        """The cuboid with `margin` mm added on each side."""
        x, y, z = self.lower
        u, v, w = self.upper
        return Extent((x - margin, y - margin, z - margin), (u + margin, v + margin, w + margin))

    def joined_with(self, other: Extent) -> Extent:
        """The smallest cuboid that holds both."""
        lower = tuple(min(a, b) for a, b in zip(self.lower, other.lower, strict=True))
        upper = tuple(max(a, b) for a, b in zip(self.upper, other.upper, strict=True))
        return Extent((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


@dataclass(frozen=True, slots=True)
class CellBlock:
    """A block of whole lattice cells: from `lower` up to, not including, `upper`, along x, y, z."""

    lower: IntVector
    upper: IntVector

    @property
    def cells(self) -> int:
        """Number of cells; 0 for an empty block."""
        return math.prod(max(0, high - low) for low, high in zip(self.lower, self.upper, strict=True))

    def intersection(self, other: CellBlock) -> CellBlock:
        """The cells in both; may be empty."""
        lower = tuple(max(a, b) for a, b in zip(self.lower, other.lower, strict=True))
        upper = tuple(min(a, b) for a, b in zip(self.upper, other.upper, strict=True))
        return CellBlock((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


@dataclass(frozen=True, slots=True)
class VoxelGrid:
    """A grid of cubic voxels; `corner` is the lower corner of the first voxel, not its centre."""

    size: IntVector
    spacing: float
    corner: Vector

    @property
    def origin(self) -> Vector:
        """Centre of the first voxel, LPS mm."""
        half = self.spacing / 2
        return (self.corner[0] + half, self.corner[1] + half, self.corner[2] + half)

    @property
    def shape_zyx(self) -> IntVector:
        """Shape of an array indexed [z, y, x]."""
        return (self.size[2], self.size[1], self.size[0])

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.size)


@dataclass(frozen=True, slots=True)
class Box:
    """One box of the patient."""

    name: str
    role: Literal["fine", "coarse"]
    grid: VoxelGrid


@dataclass(frozen=True, slots=True)
class Tiling:
    """Boxes that tile a cuboid without overlap, and the uniform grid that covers them all."""

    boxes: tuple[Box, ...]
    joined: VoxelGrid


def tile(
    whole: Extent,
    fine: Extent | None,
    *,
    anchor: Vector,
    coarse_spacing: float,
    fine_spacing: float | None,
) -> Tiling:
    """Tile the smallest block of lattice cells that holds `whole` with boxes.

    Parameters
    ----------
    whole : Extent
        What has to be covered: the body with its margin.
    fine : Extent or None
        What has to be covered by fine voxels, as far as it lies within `whole`; None: nothing.
    anchor : (x, y, z)
        Any corner of the lattice, LPS mm.
    coarse_spacing, fine_spacing : float
        Voxel edges in mm; the coarse is a whole multiple of the fine one.

    Returns
    -------
    Tiling
        The fine box first (where there is one), then at most six coarse boxes.
    """
    outer = _covering(whole, anchor, coarse_spacing)
    inner = None
    if fine is not None and fine_spacing is not None:
        inner = _covering(fine, anchor, coarse_spacing).intersection(outer)
    if inner is None or inner.cells == 0 or fine_spacing is None:
        joined = _grid(outer, anchor, coarse_spacing, 1)
        return Tiling(boxes=(Box("coarse-1", "coarse", joined),), joined=joined)
    ratio = round(coarse_spacing / fine_spacing)
    boxes = [Box("fine", "fine", _grid(inner, anchor, coarse_spacing, ratio))]
    for number, block in enumerate(_shell(outer, inner), start=1):
        boxes.append(Box(f"coarse-{number}", "coarse", _grid(block, anchor, coarse_spacing, 1)))
    return Tiling(boxes=tuple(boxes), joined=_grid(outer, anchor, coarse_spacing, ratio))


def _covering(extent: Extent, anchor: Vector, spacing: float) -> CellBlock:
    lower = [math.floor((e - a) / spacing + _ON_PLANE) for e, a in zip(extent.lower, anchor, strict=True)]
    upper = [math.ceil((e - a) / spacing - _ON_PLANE) for e, a in zip(extent.upper, anchor, strict=True)]
    return CellBlock((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def _grid(block: CellBlock, anchor: Vector, coarse_spacing: float, ratio: int) -> VoxelGrid:
    size = [(high - low) * ratio for low, high in zip(block.lower, block.upper, strict=True)]
    corner = [start + low * coarse_spacing for start, low in zip(anchor, block.lower, strict=True)]
    return VoxelGrid(
        size=(size[0], size[1], size[2]),
        spacing=coarse_spacing / ratio,
        corner=(corner[0], corner[1], corner[2]),
    )


def _shell(outer: CellBlock, inner: CellBlock) -> list[CellBlock]:
    """The blocks of `outer` without `inner`: peel off z, then y, then x, on both sides of `inner`."""
    blocks = []
    lower, upper = list(outer.lower), list(outer.upper)
    for axis in (2, 1, 0):
        for side in ("lower", "upper"):
            low, high = list(lower), list(upper)
            if side == "lower":
                high[axis] = inner.lower[axis]
            else:
                low[axis] = inner.upper[axis]
            block = CellBlock((low[0], low[1], low[2]), (high[0], high[1], high[2]))
            if block.cells:
                blocks.append(block)
        lower[axis], upper[axis] = inner.lower[axis], inner.upper[axis]
    return blocks
