"""Displaced points in a dose that stands still: against formulae and scipy, and the courses that are sampled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import SimpleITK as sitk

from gatecheck.compare.sampling import VoxelGrid, place, points_of
from gatecheck.compare.setup_errors import followed
from gatecheck.compare.setup_errors.cloud import course_doses, to_voxels
from gatecheck.compare.setup_errors.courses import random_deviations, sampled_courses, systematic_deviations
from gatecheck.compare.setup_errors.followed import METRICS, follow, metrics_of
from gatecheck.compare.setup_errors.halves import DIVISIONS, Halves
from gatecheck.compare.setup_errors.region import region_around
from gatecheck.config_setup import SetupConfig
from gatecheck.delivery.displacement import displacement_of, patient_affines, patient_transform
from gatecheck.errors import ResultError
from gatecheck.files import array_zyx

ISOCENTRE = (3.0, -4.0, 5.0)


def test_course_dose_in_a_linear_dose_is_that_of_the_mean_place(dose_image: Callable[..., sitk.Image]) -> None:
    image = dose_image(lambda x, y, z: 40.0 + 0.5 * x - 0.3 * y + 0.2 * z)
    generator = np.random.default_rng(1)
    points = generator.uniform(-15, 15, (200, 3)).astype(np.float32)
    six = generator.normal(size=(4, 3, 6))
    affines = patient_affines(six.reshape(-1, 6), ISOCENTRE).reshape(4, 3, 3, 4)
    found = course_doses(
        array_zyx(image).astype(np.float32)[..., np.newaxis], points, to_voxels(affines, VoxelGrid.of(image))
    )
    for course in range(4):
        places = [patient_transform(displacement_of(one), ISOCENTRE).apply(points) for one in six[course]]
        expected = 40.0 + np.mean(places, axis=0) @ (0.5, -0.3, 0.2)
        assert found[course, :, 0] == pytest.approx(expected, abs=1e-4)


def test_interpolation_is_that_of_scipy_up_to_the_edge_and_beyond() -> None:
    generator = np.random.default_rng(2)
    values = generator.uniform(0, 50, (5, 6, 7, 2)).astype(np.float32)
    points = generator.uniform(-2, 8, (500, 3)).astype(np.float32)
    identity = np.eye(3, 4).reshape(1, 1, 3, 4)
    found = course_doses(values, points, identity)
    for channel in range(2):
        expected = scipy.ndimage.map_coordinates(values[..., channel], points[:, ::-1].T, order=1, mode="nearest")
        assert found[0, :, channel] == pytest.approx(expected, abs=2e-4)


def test_region_holds_all_that_displaced_points_are_interpolated_from(dose_image: Callable[..., sitk.Image]) -> None:
    image = dose_image(lambda x, y, z: np.sin(x / 5) + np.cos(y / 7) * z)
    grid, dose = VoxelGrid.of(image), array_zyx(image).astype(np.float32)
    generator = np.random.default_rng(3)
    points = generator.uniform(-6, 6, (300, 3)).astype(np.float32)
    affines = patient_affines(generator.normal(scale=2, size=(10, 6)), ISOCENTRE).reshape(5, 2, 3, 4)
    region = region_around([points[:100], points[100:]], affines, grid)
    whole = course_doses(dose[..., np.newaxis], points, to_voxels(affines, grid))
    part = course_doses(region.cut(dose)[..., np.newaxis], points, to_voxels(affines, region.grid))
    assert region.cut(dose).size < dose.size / 3
    assert part == pytest.approx(whole, abs=1e-4)


def test_a_hot_spot_between_voxels_keeps_its_height_on_the_regions_nodes() -> None:
    """A Gaussian of 6 mm half-way between voxels of 2 mm: 4 % low by trilinear interpolation, within 0.8 % here."""
    along = -40.0 + 2.0 * np.arange(41)
    deviation, centre = 6.0, 1.0
    one = np.exp(-((along - centre) ** 2) / (2 * deviation**2)).astype(np.float32)
    dose = one[:, None, None] * one[None, :, None] * one[None, None, :]
    grid = VoxelGrid((41, 41, 41), (2.0, 2.0, 2.0), (-40.0, -40.0, -40.0))
    points = np.array([[1.0, 1.0, 1.0], [1.2, 0.9, 1.1], [4.0, -3.0, 2.0]], dtype=np.float32)
    truth = np.exp(-((points - centre) ** 2).sum(axis=1) / (2 * deviation**2))
    still = patient_affines(np.zeros(6), ISOCENTRE).reshape(1, 1, 3, 4)
    region = region_around([points], still, grid)
    fine = course_doses(
        region.refined(region.cut(dose)[..., np.newaxis], is_smooth=True), points, to_voxels(still, region.nodes)
    )
    assert fine[0, :, 0] == pytest.approx(truth, rel=0.008)
    coarse = course_doses(dose[..., np.newaxis], points, to_voxels(still, grid))
    assert coarse[0, 0, 0] < 0.97 * truth[0]


def test_a_grid_of_one_voxel_is_refused() -> None:
    grid = VoxelGrid((1, 5, 5), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    with pytest.raises(ResultError, match="one voxel thick"):
        region_around([np.zeros((1, 3), np.float32)], patient_affines(np.zeros(6), ISOCENTRE)[np.newaxis], grid)


@pytest.mark.parametrize("radius", [4.2, 13.0])
def test_few_points_tell_the_metrics_that_all_points_tell(
    sphere: Callable[..., sitk.Image], dose_image: Callable[..., sitk.Image], radius: float
) -> None:
    """0.3 ml and 9 ml in a dose that falls by 10 %/mm at its steepest: 0.3 % of the maximum."""
    image = dose_image(lambda x, y, z: 40 * np.exp(-((x - 2) ** 2 + y**2 + 0.5 * z**2) / (2 * 6.0**2)), half=40.0)
    dose, grid, mask = array_zyx(image), VoxelGrid.of(image), sphere(radius)
    placed = place(points_of(mask, largest_step=1.0), grid)
    linear = scipy.ndimage.map_coordinates(dose, placed.place_zyx, order=1, mode="nearest", output=np.float64)
    expected = metrics_of(linear, placed.volumes.astype(float))
    one = follow("sphere", mask, dose, grid)
    assert one is not None
    assert len(one.volumes) <= followed.HOTTEST_POINTS + followed.OTHER_POINTS
    assert one.volumes.sum() == pytest.approx(placed.volumes.sum(dtype=float), rel=1e-6)
    identity = to_voxels(np.eye(3, 4), grid)[np.newaxis, np.newaxis]
    found = course_doses(dose.astype(np.float32)[..., np.newaxis], one.points_xyz, identity)[0, :, 0]
    assert metrics_of(found.astype(float), one.volumes) == pytest.approx(expected, abs=0.003 * 40)


def test_metrics_are_those_of_the_formula() -> None:
    """100 mm3 in 1000 points with doses from 0 to 100: D0.03cc is 70, D95 is 5, the mean 50."""
    values = np.random.default_rng(4).permutation((np.arange(1000) + 0.5) / 10)
    found = dict(zip(METRICS, metrics_of(values, np.full(1000, 0.1)), strict=True))
    assert found == pytest.approx({"d0_03cc_gy": 70.0, "d95_gy": 5.0, "mean_gy": 50.0}, abs=0.06)
    assert np.isnan(metrics_of(values, np.full(1000, 0.02))[0])


def test_a_structure_outside_of_the_dose_is_not_followed(
    sphere: Callable[..., sitk.Image], dose_image: Callable[..., sitk.Image]
) -> None:
    image = dose_image(lambda x, y, z: 40.0 + 0 * (x + y + z))
    assert follow("far", sphere(4.0, centre=(90.0, 0.0, 0.0)), array_zyx(image), VoxelGrid.of(image)) is None


def test_sampled_errors_have_the_deviations_asked_for() -> None:
    """20 000 courses tell a deviation of means to 0.5 %, one of 13 x 20 000 fractions to 0.14 %: four sigma each."""
    settings = SetupConfig(courses=20_000, systematic_translation=(0.5, 1.0, 1.5), random_rotation=(0.2, 0.4, 0.6))
    errors = sampled_courses(settings, 13)
    assert errors.shape == (20_000, 13, 6)
    within = errors - errors.mean(axis=1, keepdims=True)
    random = np.sqrt((within**2).sum(axis=(0, 1)) / (20_000 * 12))
    assert random == pytest.approx(random_deviations(settings), rel=4 * 0.0015)
    between = errors.mean(axis=1).var(axis=0)
    expected = systematic_deviations(settings) ** 2 + random_deviations(settings) ** 2 / 13
    assert np.sqrt(between) == pytest.approx(np.sqrt(expected), rel=4 * 0.005)
    assert errors.mean(axis=(0, 1)) == pytest.approx(np.zeros(6), abs=4 * 1.6 / np.sqrt(20_000))


def test_default_errors_are_those_that_the_configuration_says() -> None:
    """1 mm and 1 degree RMS without the motion, whose length in three dimensions is below 1.4 mm in 95 %."""
    settings = SetupConfig()
    setup = np.hypot(settings.systematic_translation, settings.random_translation)
    assert setup == pytest.approx(np.ones(3), abs=0.01)
    assert np.hypot(settings.systematic_rotation, settings.random_rotation) == pytest.approx(np.ones(3), abs=0.01)
    motion = np.random.default_rng(5).normal(size=(200_000, 3)) * settings.intrafraction_translation
    length = np.linalg.norm(motion, axis=1)
    assert np.percentile(length, 95) == pytest.approx(1.4, abs=0.02)
    assert length.mean() > 0.6


def test_one_seed_gives_one_set_of_courses() -> None:
    assert np.array_equal(sampled_courses(SetupConfig(seed=7), 5), sampled_courses(SetupConfig(seed=7), 5))
    assert not np.array_equal(sampled_courses(SetupConfig(seed=7), 5), sampled_courses(SetupConfig(seed=8), 5))


@pytest.mark.parametrize("batches", [10, 11, 40])
def test_fields_of_noise_have_the_variance_of_the_doses_noise(batches: int) -> None:
    """20 000 independent voxels tell a variance to 1 %: five sigma; the last of an odd number is left out."""
    generator = np.random.default_rng(6)
    doses = 40 + generator.normal(size=(batches, 20_000))
    halves = Halves()
    for one in doses:
        halves.add_left_out(((doses.sum(axis=0) - one) / (batches - 1)).astype(np.float32))
    noise = halves.noise()
    assert noise.shape == (20_000, DIVISIONS)
    paired = batches - batches % 2
    assert noise.var(axis=0) * batches == pytest.approx(np.full(DIVISIONS, paired / batches), rel=0.05)
    # A field and the dose it is of are independent, so that both halves have the noise of half of the batches.
    half = doses.mean(axis=0) + noise[:, 0]
    assert half.var() == pytest.approx(2 / batches * (1 - 0.5 * (batches % 2) / batches), rel=0.05)


def test_without_two_batches_there_is_no_noise() -> None:
    halves = Halves()
    halves.add_left_out(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="1 batches"):
        halves.noise()
