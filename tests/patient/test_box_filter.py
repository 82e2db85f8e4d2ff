"""Averages over other voxels keep the integral, whatever the two spacings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.patient.boxes import VoxelGrid
from gatecheck.patient.resample import ImageGrid, average_onto, overlap_fractions

steps = st.floats(0.4, 6.0)
starts = st.floats(-20.0, 20.0)


axes = st.tuples(starts, steps, st.integers(1, 12))


@given(target_axis=axes, source_axis=axes)
def test_overlap_fractions_are_lengths_of_intersections(
    target_axis: tuple[float, float, int], source_axis: tuple[float, float, int]
) -> None:
    (start, step, n), (source_start, source_step, m) = target_axis, source_axis
    target, source = start + step * np.arange(n + 1), source_start + source_step * np.arange(m + 1)
    fractions = overlap_fractions(target, source).toarray()
    expected = [
        [max(0.0, min(target[i + 1], source[j + 1]) - max(target[i], source[j])) / step for j in range(m)]
        for i in range(n)
    ]
    np.testing.assert_allclose(fractions, expected, atol=1e-6)


@settings(max_examples=40)
@given(
    spacing=st.tuples(steps, steps, steps),
    target_spacing=st.sampled_from([1.0, 2.0, 4.0, 5.0]),
    seed=st.integers(0, 100),
)
def test_the_integral_over_a_grid_that_holds_the_image_is_kept(
    spacing: tuple[float, float, float], target_spacing: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    values = generator.random((5, 4, 6)).astype(np.float32)
    source = ImageGrid(size=(6, 4, 5), spacing=spacing, corner=(1.3, -2.1, 0.7))
    size = tuple(int(np.ceil(n * s / target_spacing)) + 2 for n, s in zip(source.size, spacing, strict=True))
    corner = tuple(c - target_spacing * generator.random() for c in source.corner)
    averaged = average_onto(VoxelGrid(size, target_spacing, corner), source, values)
    expected = values.sum(dtype=float) * np.prod(spacing)
    assert averaged.sum(dtype=float) * target_spacing**3 == pytest.approx(expected, rel=1e-5)


def test_a_uniform_image_stays_uniform_for_a_ct_of_1_27_mm_on_voxels_of_4_mm() -> None:
    source = ImageGrid(size=(60, 50, 20), spacing=(1.26953125, 1.26953125, 3.0), corner=(-38.1, -30.0, 5.0))
    target = VoxelGrid((12, 10, 8), 4.0, (-32.0, -25.0, 10.0))
    averaged = average_onto(target, source, np.full((20, 50, 60), 1.7, dtype=np.float32))
    np.testing.assert_allclose(averaged, 1.7, rtol=1e-6)


def test_averages_agree_with_brute_force_on_fine_points() -> None:
    source = ImageGrid(size=(7, 6, 5), spacing=(1.3, 1.7, 3.1), corner=(0.0, 0.0, 0.0))
    values = np.random.default_rng(1).random((5, 6, 7)).astype(np.float32)
    target = VoxelGrid((2, 2, 3), 4.0, (0.5, 1.0, 2.0))
    averaged = average_onto(target, source, values)
    # 200 points along each axis of a voxel: faces are met within 0.5 % of a voxel on each axis.
    points = [c + (np.arange(200 * n) + 0.5) * 4.0 / 200 for c, n in zip(target.corner, target.size, strict=True)]
    indices = [np.floor(p / s).astype(int) for p, s in zip(points, source.spacing, strict=True)]
    weights = [
        np.array(
            [
                np.bincount(i[k * 200 : (k + 1) * 200][i[k * 200 : (k + 1) * 200] < n], minlength=n) / 200
                for k in range(m)
            ]
        )
        for i, n, m in zip(indices, source.size, target.size, strict=True)
    ]
    expected = np.einsum("ai,bj,ck,kji->cba", weights[0], weights[1], weights[2], values)
    np.testing.assert_allclose(averaged, expected, atol=0.01)


def test_equal_grids_are_copied_exactly() -> None:
    values = np.random.default_rng(2).random((4, 3, 5)).astype(np.float32)
    source = ImageGrid(size=(5, 3, 4), spacing=(2.0, 2.0, 2.0), corner=(-3.0, 1.0, 9.0))
    np.testing.assert_array_equal(average_onto(VoxelGrid((5, 3, 4), 2.0, (-3.0, 1.0, 9.0)), source, values), values)


def test_beyond_the_image_there_is_nothing() -> None:
    source = ImageGrid(size=(2, 2, 2), spacing=(2.0, 2.0, 2.0), corner=(0.0, 0.0, 0.0))
    averaged = average_onto(VoxelGrid((3, 1, 1), 4.0, (0.0, 0.0, 0.0)), source, np.ones((2, 2, 2)))
    np.testing.assert_allclose(averaged, [[[1.0, 0.0, 0.0]]])
    assert not average_onto(VoxelGrid((2, 2, 2), 4.0, (100.0, 0.0, 0.0)), source, np.ones((2, 2, 2))).any()
