"""The compiled filters against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.smoothing import smoothed, values_at_centres

SHAPES = [(19, 23, 29, 17), (19, 23, 29, 1), (5, 3, 2, 4), (1, 4, 90, 60), (2, 2, 2, 1)]


def fields(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def correlated(values: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    return scipy.ndimage.correlate1d(values, weights, axis, mode="nearest")


def parabola(values: np.ndarray, halves: tuple[int, int, int]) -> np.ndarray:
    """Value in the middle of the parabola without mixed terms fitted by least squares, by one solution for each."""
    offsets = [np.arange(-half, half + 1) for half in halves]
    z, y, x = (one.ravel() for one in np.meshgrid(*offsets, indexing="ij"))
    terms = np.stack([np.ones_like(z), z, y, x, z * z, y * y, x * x], axis=1).astype(np.float64)
    kernel = np.linalg.pinv(terms)[0].reshape([len(one) for one in offsets])
    return np.stack(
        [scipy.ndimage.correlate(values[..., field], kernel, mode="nearest") for field in range(values.shape[-1])],
        axis=-1,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("spacing", "halves"), [((1.0, 1.0, 1.0), (2, 2, 2)), ((3.0, 2.0, 0.8), (1, 1, 3))])
def test_smoothing_is_a_fit_of_parabolas(
    shape: tuple[int, ...], spacing: tuple[float, float, float], halves: tuple[int, int, int]
) -> None:
    values = fields(shape)
    expected = parabola(values.astype(np.float64), halves)
    np.testing.assert_allclose(smoothed(values, spacing), expected, atol=3e-6)
    centres = values - sum(correlated(expected, np.array([1.0, -2.0, 1.0]) / 24, axis) for axis in range(3))
    np.testing.assert_allclose(values_at_centres(values, spacing), centres, atol=3e-6)


def test_smoothing_takes_some_of_the_fields_of_a_larger_array() -> None:
    values = fields(SHAPES[0])
    spacing = (1.0, 2.0, 1.0)
    np.testing.assert_array_equal(smoothed(values[..., 3:7], spacing), smoothed(values, spacing)[..., 3:7])
    np.testing.assert_array_equal(
        values_at_centres(values[..., 3:7], spacing), values_at_centres(values, spacing)[..., 3:7]
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_spline_coefficients_are_scipys(shape: tuple[int, ...]) -> None:
    values = fields(shape)
    expected = values.astype(np.float64)
    for axis in range(3):
        if shape[axis] > 1:
            expected = scipy.ndimage.spline_filter1d(expected, 3, axis, mode="mirror")
    np.testing.assert_allclose(SplineFields.of(values).coefficients_zyxf, expected, atol=3e-5)


def test_fitting_a_spline_leaves_the_fields_as_they_are() -> None:
    values = fields(SHAPES[0])
    before = values.copy()
    SplineFields.of(values)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[2], SHAPES[4]])
def test_a_spline_on_a_grid_is_scipys_at_all_of_its_points(shape: tuple[int, ...]) -> None:
    splines = SplineFields.of(fields(shape))
    along = [np.linspace(0.0, size - 1, 2 * size + 3, dtype=np.float32) for size in shape[:3]]
    places = np.stack(np.meshgrid(*along, indexing="ij"))
    found = splines.on_grid(along)
    for field in range(shape[3]):
        coefficients = splines.coefficients_zyxf[..., field].astype(np.float64)
        expected = scipy.ndimage.map_coordinates(coefficients, places, order=3, mode="mirror", prefilter=False)
        np.testing.assert_allclose(found[..., field], expected, atol=1e-5)
    at_points = splines.at(places.reshape(3, -1)).T.reshape(found.shape)
    np.testing.assert_allclose(found, at_points, atol=5e-6)


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[1], SHAPES[4]])
def test_a_weighted_sum_over_points_is_that_of_their_values(shape: tuple[int, ...]) -> None:
    splines, generator = SplineFields.of(fields(shape)), np.random.default_rng(7)
    places = (generator.uniform(-0.5, 1.5, (3, 10_000)) * np.array(shape[:3])[:, None]).astype(np.float32)
    weights = generator.uniform(-1.0, 1.0, 10_000)
    expected = splines.at(places).astype(np.float64) @ weights
    np.testing.assert_allclose(splines.weighted_sum(places, weights), expected, atol=2e-7 * np.abs(weights).sum() * 4)
