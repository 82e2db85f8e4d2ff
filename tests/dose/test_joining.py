"""Boxes on the joined grid: by index and by coordinates it is the same voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.dose.joining import empty, put
from gatecheck.errors import ResultError
from gatecheck.patient.model import Grid, VoxelBox


def _box(
    size: tuple[int, int, int], spacing: tuple[float, float, float], lower: tuple[float, float, float]
) -> VoxelBox:
    origin = tuple(low + step / 2 for low, step in zip(lower, spacing, strict=True))
    return VoxelBox(name="box", role="coarse", labels="", sha256="", size=size, spacing=spacing, origin=origin)


@settings(deadline=None, max_examples=50)
@given(
    size=st.tuples(*[st.integers(1, 4)] * 3),
    ratio=st.tuples(*[st.integers(1, 4)] * 3),
    start=st.tuples(*[st.integers(0, 3)] * 3),
)
def test_every_joined_voxel_takes_the_value_of_the_box_voxel_around_it(
    size: tuple[int, int, int], ratio: tuple[int, int, int], start: tuple[int, int, int]
) -> None:
    step = np.array([0.9, 1.1, 1.5])
    grid_size = tuple(int(s + n * r + 1) for s, n, r in zip(start, size, ratio, strict=True))
    grid = Grid(size=grid_size, spacing=tuple(step), origin=(-7.0, 3.0, 11.0))
    corner = np.array(grid.origin) - step / 2
    box = _box(size, tuple(step * ratio), tuple(corner + np.array(start) * step))
    values = np.arange(1, np.prod(size) + 1, dtype=float).reshape(size[::-1])
    joined = empty(grid)
    put(joined, grid, box, values)
    for index_zyx in np.ndindex(joined.shape):
        centre = np.array(grid.origin) + np.array(index_zyx[::-1]) * step
        inside = (centre - (np.array(box.origin) - np.array(box.spacing) / 2)) / np.array(box.spacing)
        voxel = np.floor(inside).astype(int)
        expected = values[tuple(voxel[::-1])] if np.all((voxel >= 0) & (voxel < np.array(size))) else 0.0
        assert joined[index_zyx] == expected


@pytest.mark.parametrize("shift", [0.4, -2.0, 100.0])
def test_a_box_that_does_not_fit_the_joined_grid_is_refused(shift: float) -> None:
    grid = Grid(size=(6, 6, 6), spacing=(1.0, 1.0, 1.0), origin=(0.5, 0.5, 0.5))
    box = _box((2, 2, 2), (2.0, 2.0, 2.0), (shift, 0.0, 0.0))
    with pytest.raises(ResultError, match="does not fit the joined grid"):
        put(empty(grid), grid, box, np.ones((2, 2, 2)))
