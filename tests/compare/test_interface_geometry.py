"""Distance from a structure's surface against formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gatecheck.compare.interface.geometry import fractions_around, surface_of
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.errors import ResultError


@pytest.mark.parametrize("radius", [2.5, 4.15, 8.0])
def test_distance_from_a_sphere_is_right_to_a_tenth_of_a_voxel(sphere: Any, radius: float) -> None:
    surface = surface_of(fractions_around(sphere(radius), name="GTV"))
    assert surface is not None
    points = np.random.default_rng(1).uniform(-radius - 5, radius + 5, (20_000, 3))
    true = np.linalg.norm(points, axis=1) - radius
    used = (true < 5) & (true > -radius + 0.7)
    assert np.abs(surface.signed_distance(points[used]) - true[used]).max() < 0.1
    assert surface.areas.sum() == pytest.approx(4 * np.pi * radius**2, rel=0.04)


def test_distance_on_thick_slices_is_right_to_a_tenth_of_a_slice(sphere: Any) -> None:
    surface = surface_of(fractions_around(sphere(5.0, (0.8, 0.8, 2.0)), name="GTV"))
    assert surface is not None
    points = np.random.default_rng(2).uniform(-10, 10, (20_000, 3))
    true = np.linalg.norm(points, axis=1) - 5.0
    used = (true < 5) & (true > -4)
    assert np.abs(surface.signed_distance(points[used]) - true[used]).max() < 0.2


def test_normals_point_out_of_the_structure(sphere: Any) -> None:
    surface = surface_of(fractions_around(sphere(4.0), name="GTV"))
    assert surface is not None
    radial = surface.points_xyz / np.linalg.norm(surface.points_xyz, axis=1, keepdims=True)
    assert np.einsum("ij,ij->i", radial, surface.normals_xyz).min() > 0.97


def test_a_mask_of_other_voxels_is_refused(sphere: Any) -> None:
    window = VoxelGrid((20, 20, 20), (1.0, 1.0, 1.0), (-10.13, -10.0, -10.0))
    with pytest.raises(ResultError, match="one CT"):
        fractions_around(sphere(4.0), window, name="Cord")
