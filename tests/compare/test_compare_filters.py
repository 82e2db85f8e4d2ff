"""The compiled filters against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.smoothing import correlated

SHAPES = [(19, 23, 29, 17), (19, 23, 29, 1), (5, 3, 2, 4), (1, 4, 90, 60), (2, 2, 2, 1)]


def fields(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [[1.0, -2.0, 1.0], [0.3, -0.2, 0.5, 0.1, 0.7], [0.1] * 9])
def test_correlation_is_scipys(shape: tuple[int, ...], axis: int, weights: list[float]) -> None:
    values = fields(shape)
    expected = scipy.ndimage.correlate1d(values.astype(np.float64), weights, axis, mode="nearest")
    np.testing.assert_allclose(correlated(values, np.array(weights), axis), expected, atol=3e-6)


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
