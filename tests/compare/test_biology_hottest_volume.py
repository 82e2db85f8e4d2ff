"""Dose to the hottest 0.03 ml of structures of which it is known by formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk

from gatecheck.compare.biology.hottest import hottest_volume_dose, hottest_volume_values
from gatecheck.compare.sampling import VoxelGrid, place, points_of
from gatecheck.files import array_zyx


def _cap_volume(radius: float, height: float) -> float:
    return np.pi * height**2 * (3 * radius - height) / 3


@pytest.mark.parametrize("volume_ml", [0.03, 0.01])
def test_hottest_volume_of_a_sphere_in_a_gradient_is_its_cap(
    sphere: Callable[..., sitk.Image], dose_image: Callable[..., sitk.Image], volume_ml: float
) -> None:
    """2 ml; the dose at which the cap above it holds the volume, to 0.5 % of the dose."""
    radius, slope = 7.8, 0.5
    image = dose_image(lambda x, y, z: 40.0 + slope * x + 0 * (y + z))
    placed = place(points_of(sphere(radius), largest_step=1.0), VoxelGrid.of(image))
    heights = np.linspace(0.01, radius, 20_000)
    height = np.interp(volume_ml * 1000, _cap_volume(radius, heights), heights)
    expected = 40.0 + slope * (radius - height)
    assert hottest_volume_dose(placed, array_zyx(image), volume_ml) == pytest.approx(expected, rel=0.005)


def test_a_structure_smaller_than_the_volume_has_no_such_dose() -> None:
    values = hottest_volume_values(np.array([40.0, 41.0]), np.array([10.0, 19.0]), (0.03, 0.01))
    assert np.isnan(values[0])
    assert values[1] == pytest.approx(41.0 - 0.5 / 14.5)
    assert np.isnan(hottest_volume_values(np.empty(0), np.empty(0), (0.03,))[0])


def test_points_count_by_their_volume() -> None:
    """30 mm3 reach the middle of the second point: 10 mm3 of the hottest, then 40 mm3."""
    (value,) = hottest_volume_values(np.array([10.0, 50.0, 30.0]), np.array([100.0, 10.0, 40.0]), (0.03,))
    assert value == pytest.approx(30.0)
