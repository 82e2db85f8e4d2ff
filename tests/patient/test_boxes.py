"""Boxes tile the patient: no overlap, nothing left out, one lattice for all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatecheck.patient.boxes import Extent, Tiling, VoxelGrid, tile

lengths = st.floats(0.5, 60.0, allow_nan=False)
places = st.floats(-40.0, 40.0, allow_nan=False)
triples = st.tuples(places, places, places)
sizes = st.tuples(lengths, lengths, lengths)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[Extent, Extent, Tiling, float, int]:
    start, size, fine_start, fine_size = draw(triples), draw(sizes), draw(triples), draw(sizes)
    ratio = draw(st.integers(1, 5))
    coarse = draw(st.sampled_from([2.5, 3.0, 4.0, 5.0]))
    whole = Extent(start, tuple(a + b for a, b in zip(start, size, strict=True)))
    fine = Extent(fine_start, tuple(a + b for a, b in zip(fine_start, fine_size, strict=True)))
    anchor = draw(triples)
    tiling = tile(whole, fine, anchor=anchor, coarse_spacing=coarse, fine_spacing=coarse / ratio)
    return whole, fine, tiling, coarse, ratio


def _upper(grid: VoxelGrid) -> np.ndarray:
    return np.array(grid.corner) + grid.spacing * np.array(grid.size)


@given(tilings())
def test_boxes_cover_every_voxel_of_the_joined_grid_exactly_once(made: tuple) -> None:
    tiling: Tiling = made[2]
    joined = tiling.joined
    count = np.zeros(joined.shape_zyx, dtype=int)
    for box in tiling.boxes:
        start = (np.array(box.grid.corner) - joined.corner) / joined.spacing
        per_voxel = box.grid.spacing / joined.spacing
        # Every box's voxels are whole numbers of the joined grid's, and begin on them.
        np.testing.assert_allclose(start, np.round(start), atol=1e-6)
        assert per_voxel == pytest.approx(round(per_voxel), abs=1e-9)
        x, y, z = np.round(start).astype(int)
        nx, ny, nz = np.array(box.grid.size) * round(per_voxel)
        assert min(x, y, z) >= 0
        count[z : z + nz, y : y + ny, x : x + nx] += 1
    assert (count == 1).all()
    assert sum(box.grid.voxels * box.grid.spacing**3 for box in tiling.boxes) == pytest.approx(
        joined.voxels * joined.spacing**3
    )


@given(tilings())
def test_boxes_hold_the_whole_extent_and_fine_voxels_all_of_the_fine_one_within(made: tuple) -> None:
    whole, fine, tiling, coarse, _ = made
    tolerance = 1e-5 * coarse
    assert (np.array(tiling.joined.corner) <= np.array(whole.lower) + tolerance).all()
    assert (_upper(tiling.joined) >= np.array(whole.upper) - tolerance).all()
    # No more than one cell is added on each side.
    assert (_upper(tiling.joined) - whole.upper < coarse + tolerance).all()
    fine_boxes = [box for box in tiling.boxes if box.role == "fine"]
    lower = np.maximum(fine.lower, tiling.joined.corner)
    upper = np.minimum(fine.upper, _upper(tiling.joined))
    if not fine_boxes:
        assert (upper <= lower + tolerance).any()
        return
    (box,) = fine_boxes
    assert (np.array(box.grid.corner) <= lower + tolerance).all()
    assert (_upper(box.grid) >= upper - tolerance).all()


@given(tilings())
def test_there_are_at_most_seven_boxes_with_names_of_their_own_and_one_fine(made: tuple) -> None:
    tiling = made[2]
    names = [box.name for box in tiling.boxes]
    assert len(names) == len(set(names)) <= 7
    assert [box.role for box in tiling.boxes].count("fine") <= 1
    assert all(min(box.grid.size) >= 1 for box in tiling.boxes)


@given(tilings())
def test_all_faces_lie_on_the_coarse_lattice(made: tuple) -> None:
    tiling, coarse = made[2], made[3]
    for first, second in itertools.product(tiling.boxes, repeat=2):
        cells = (np.array(first.grid.corner) - second.grid.corner) / coarse
        np.testing.assert_allclose(cells, np.round(cells), atol=1e-6)
        cells = np.array(first.grid.size) * first.grid.spacing / coarse
        np.testing.assert_allclose(cells, np.round(cells), atol=1e-6)


def test_without_fine_voxels_there_is_one_box_which_is_the_joined_grid() -> None:
    whole = Extent((0.0, 0.0, 0.0), (40.0, 41.0, 39.0))
    tiling = tile(whole, None, anchor=(0.0, 0.0, 0.0), coarse_spacing=4.0, fine_spacing=None)
    (box,) = tiling.boxes
    assert box.name == "coarse-1"
    assert box.grid == tiling.joined
    assert box.grid.size == (10, 11, 10)
    assert box.grid.origin == (2.0, 2.0, 2.0)


def test_a_fine_region_in_the_middle_has_six_coarse_boxes_round_it() -> None:
    whole, fine = Extent((0.0,) * 3, (40.0,) * 3), Extent((16.0,) * 3, (24.0,) * 3)
    tiling = tile(whole, fine, anchor=(0.0, 0.0, 0.0), coarse_spacing=4.0, fine_spacing=2.0)
    assert [box.name for box in tiling.boxes] == ["fine", *(f"coarse-{i}" for i in range(1, 7))]
    assert tiling.boxes[0].grid.size == (4, 4, 4)
    assert tiling.joined.size == (20, 20, 20)


def test_rounding_errors_of_a_face_on_the_lattice_add_no_layer_of_voxels() -> None:
    whole = Extent((0.3 - 1e-9, 0.0, 0.0), (40.3 + 1e-9, 40.0, 40.0))
    tiling = tile(whole, None, anchor=(0.3, 0.0, 0.0), coarse_spacing=4.0, fine_spacing=None)
    assert tiling.joined.size == (10, 10, 10)
