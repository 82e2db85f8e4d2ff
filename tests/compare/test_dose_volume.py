"""Volumes and doses of structures against formulas: a sphere in a linear and in a Gaussian dose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import SimpleITK as sitk

from gatecheck.compare.dvh import DoseDistribution, distribution, hot_metrics, whole_metrics
from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.sampling import VoxelGrid, place, points_of
from gatecheck.files import array_zyx, image_from_zyx

TUMOUR_RADIUS = (3 * 300.0 / (4 * math.pi)) ** (1 / 3)  # 0.3 ml
SPACINGS = [(1.0, 1.0, 1.0), (1.27, 1.27, 4.0), (0.7, 0.7, 1.5)]


def _found(mask: sitk.Image, dose: sitk.Image) -> DoseDistribution:
    grid = VoxelGrid.of(dose)
    placed = place(points_of(mask, largest_step=min(grid.spacing) / 2), grid)
    assert placed.covered_fraction == pytest.approx(1.0, abs=1e-6)
    return distribution(placed, _spline(array_zyx(dose)))


def _spline(dose_zyx: np.ndarray) -> SplineFields:
    return SplineFields.of(dose_zyx[..., None])


def _cap_dose(radius: float, gradient: float, middle: float, fraction: float) -> float:
    """Dose to the hottest `fraction` of a sphere in a linear dose: a cap of height radius - t."""
    t = scipy.optimize.brentq(lambda u: (2 - 3 * u + u**3) / 4 - fraction, -1.0, 1.0)
    return middle + gradient * radius * float(t)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [TUMOUR_RADIUS, 18.0])
def test_points_keep_the_volume_and_the_centre_of_a_mask(
    sphere: Any, radius: float, spacing: tuple[float, ...]
) -> None:
    mask = sphere(radius, spacing, centre=(3.0, -2.0, 1.0))
    points = points_of(mask, largest_step=1.0)
    assert points.total_volume == pytest.approx(array_zyx(mask).sum() * math.prod(spacing), rel=1e-5)
    assert points.total_volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    centre = points.volumes @ points.points_xyz / points.total_volume
    np.testing.assert_allclose(centre, (3.0, -2.0, 1.0), atol=0.05)


def test_points_lie_on_the_structures_side_of_voxels_partly_inside(sphere: Any) -> None:
    mask = sphere(TUMOUR_RADIUS)
    points = points_of(mask, largest_step=1.0)
    radius = np.linalg.norm(points.points_xyz, axis=1)
    outside = points.volumes[radius > TUMOUR_RADIUS + 0.25].sum() / points.total_volume
    assert outside < 0.02
    # Points spread over the whole of such voxels would put several times as much outside.
    inside_zyx = array_zyx(mask)
    z, y, x = np.argwhere(inside_zyx > 0).T
    centres = np.stack([x, y, z], axis=1) + np.array(mask.GetOrigin())
    spread = (centres[:, None, :] + np.random.default_rng(1).uniform(-0.5, 0.5, (len(centres), 200, 3))).reshape(-1, 3)
    weights = np.repeat(inside_zyx[z, y, x], 200)
    smeared = weights[np.linalg.norm(spread, axis=1) > TUMOUR_RADIUS + 0.25].sum() / weights.sum()
    assert smeared > 3 * outside


@pytest.mark.parametrize(("radius", "spacing"), [(TUMOUR_RADIUS, (1.0, 1.0, 1.0)), *((15.0, s) for s in SPACINGS)])
@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.0, 0.8)])
def test_metrics_of_a_sphere_in_a_linear_dose_are_those_of_its_caps(
    sphere: Any, dose_image: Any, radius: float, spacing: tuple[float, ...], direction: tuple[float, ...]
) -> None:
    gradient, middle = 0.4, 40.0  # 1 % of the dose in a mm
    u, v, w = (gradient * component for component in direction)
    dose = dose_image(lambda x, y, z: middle + u * x + v * y + w * z)
    found = _found(sphere(radius, spacing), dose)
    mean, d95, d50, d2 = whole_metrics(found)
    maximum = found.maximum
    # Stated in mm along the gradient: 0.1 mm on voxels of 1 mm, 0.25 mm where slices are 4 mm thick.
    tolerance = gradient * (0.1 if max(spacing) < 2 else 0.25)
    assert mean == pytest.approx(middle, abs=tolerance / 2)
    assert d50 == pytest.approx(middle, abs=tolerance / 2)
    assert d95 == pytest.approx(_cap_dose(radius, gradient, middle, 0.95), abs=tolerance)
    assert d2 == pytest.approx(_cap_dose(radius, gradient, middle, 0.02), abs=tolerance)
    assert middle + gradient * (radius - max(spacing) / 2) < maximum < middle + gradient * (radius + max(spacing) / 2)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_metrics_of_a_sphere_in_a_gaussian_dose_are_those_of_its_shells(
    sphere: Any, dose_image: Any, spacing: tuple[float, ...]
) -> None:
    radius, top, width = 14.0, 50.0, 14.0
    dose = dose_image(lambda x, y, z: top * np.exp(-(x**2 + y**2 + z**2) / (2 * width**2)), spacing=1.0)
    found = _found(sphere(radius, spacing), dose)
    mean, d95, d50, d2 = whole_metrics(found)
    maximum = found.maximum
    shell = scipy.integrate.quad(lambda r: r**2 * math.exp(-(r**2) / (2 * width**2)), 0, radius)[0]
    assert mean == pytest.approx(top * 3 / radius**3 * shell, rel=0.003)
    for value, fraction in ((d95, 0.95), (d50, 0.5), (d2, 0.02)):
        r = radius * fraction ** (1 / 3)
        assert value == pytest.approx(top * math.exp(-(r**2) / (2 * width**2)), rel=0.006)
    assert maximum == pytest.approx(top, rel=0.001)


def test_the_curve_of_a_sphere_in_a_linear_dose_is_that_of_its_caps(sphere: Any, dose_image: Any) -> None:
    radius, gradient, middle = 15.0, 0.5, 20.0
    found = _found(sphere(radius), dose_image(lambda x, y, z: middle + gradient * x + 0 * y * z))
    dose_axis = np.linspace(0, 40, 161)
    u = np.clip((dose_axis - middle) / (gradient * radius), -1, 1)
    np.testing.assert_allclose(found.volume_receiving(dose_axis), (2 - 3 * u + u**3) / 4, atol=0.006)


def test_a_curve_begins_at_one_ends_at_zero_and_never_rises(sphere: Any, dose_image: Any) -> None:
    noise = np.random.default_rng(4)
    # Far enough from 0 and from 1.05 for what the spline adds between the voxels.
    dose = dose_image(lambda x, y, z: 0.4 + 0.2 * noise.random((30, 30, 30)))
    volume = _found(sphere(10.0), dose).volume_receiving(np.linspace(0, 1.05, 50))
    assert volume[0] == 1.0
    assert volume[-1] == 0.0
    assert (np.diff(volume) <= 0).all()


def test_a_uniform_dose_gives_that_dose_for_every_metric(sphere: Any, dose_image: Any) -> None:
    found = _found(sphere(TUMOUR_RADIUS), dose_image(lambda x, y, z: 39.0 + 0 * x))
    np.testing.assert_allclose([*whole_metrics(found), *hot_metrics(found)], 39.0, rtol=1e-6)
    np.testing.assert_array_equal(found.volume_receiving(np.array([38.99, 39.01])), [1.0, 0.0])


def test_partial_volumes_weigh_the_mean() -> None:
    # Two voxels, one wholly and one half inside, at 10 and 40 Gy, on a dose grid that is constant over each.
    mask = image_from_zyx(np.array([[[1.0, 0.5]]], dtype=np.float32), origin=(0, 0, 0), spacing=(8.0, 8.0, 8.0))
    dose = np.repeat(np.repeat(np.repeat([[[10.0, 40.0]]], 8, 0), 8, 1), 8, 2)
    image = image_from_zyx(dose, origin=(-3.5, -3.5, -3.5), spacing=(1.0, 1.0, 1.0))
    # The half that is inside is the half beside the whole voxel; at the step the spline overshoots by a tenth of it.
    found = _found(mask, image)
    assert found.mean == pytest.approx((10.0 + 0.5 * 40.0) / 1.5, abs=0.3)
    assert found.dose_to_volume(0.5) == pytest.approx(10.0, abs=0.1)
    assert 40.0 <= found.maximum < 40.0 + 0.11 * 30.0


def test_a_structure_partly_outside_of_the_dose_is_covered_in_part(sphere: Any, dose_image: Any) -> None:
    dose = dose_image(lambda x, y, z: 1.0 + 0 * x)
    points = points_of(sphere(10.0, centre=(30.0, 0.0, 0.0)), largest_step=1.0)
    placed = place(points, VoxelGrid.of(dose))
    assert placed.covered_fraction == pytest.approx(0.5, abs=0.01)
    assert place(points_of(sphere(5.0, centre=(90, 0, 0)), largest_step=1.0), VoxelGrid.of(dose)).covered_fraction == 0


def test_large_structures_on_a_fine_ct_are_merged_without_losing_volume() -> None:
    z, y, x = np.ogrid[-40:41:1.0, -40:40.5:0.5, -40:40.5:0.5]
    inside = (x**2 + y**2 + z**2 < 39.0**2).astype(np.float32)
    mask = image_from_zyx(inside, origin=(-40.0, -40.0, -40.0), spacing=(0.5, 0.5, 1.0))
    points = points_of(mask, largest_step=2.0)
    assert len(points.volumes) < 0.3 * inside.sum()
    assert points.total_volume == pytest.approx(inside.sum() * 0.25, rel=1e-5)
    np.testing.assert_allclose(points.volumes @ points.points_xyz / points.total_volume, 0.0, atol=0.05)


def test_a_body_on_a_fine_ct_has_no_more_than_a_million_points_and_keeps_its_maximum(dose_image: Any) -> None:
    mask = image_from_zyx(np.ones((150, 150, 150), np.float32), origin=(-74.5,) * 3, spacing=(1.0, 1.0, 1.0))
    points = points_of(mask, largest_step=0.5)
    assert len(points.volumes) <= 1_000_000
    dose = dose_image(lambda x, y, z: 10.0 + 0 * x, half=15.0, spacing=1.0)
    values = array_zyx(dose).astype(np.float64)
    values[11, 12, 13] = 30.0
    found = distribution(place(points, VoxelGrid.of(dose)), _spline(values))
    assert found.maximum == pytest.approx(30.0, rel=1e-5)
    # A spline of one voxel, 1 mm3 in 30 mm cubed.
    assert found.mean == pytest.approx(10.0 + 20.0 / 30**3, rel=1e-4)


def test_a_hot_spot_beyond_the_surface_of_a_structure_is_not_its_maximum(sphere: Any, dose_image: Any) -> None:
    dose = dose_image(
        lambda x, y, z: 10.0 + 80.0 * np.exp(-((x - 24.0) ** 2 + y**2 + z**2) / (2 * 2.0**2)), spacing=2.0
    )
    found = _found(sphere(18.0), dose)
    # 10 + 80 exp(-6^2 / 8), at the point of the surface that is nearest to it.
    assert found.maximum == pytest.approx(10.89, abs=0.4)
