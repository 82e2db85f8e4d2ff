"""What is read off curves, on curves whose maxima, widths and penumbrae are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from gatecheck.commissioning.analysis import (
    centre_of_field,
    crossings,
    depth_dose_maximum,
    dose_at,
    dose_on_axis,
    dose_ratio,
    field_width,
    normalised_to_axis,
    normalised_to_maximum,
    penumbra,
    symmetric_mean,
)

# Twice the normal distribution's quantile of 80 %.
PENUMBRA_OF_UNIT_EDGE = 1.683242

ATTENUATION, BUILD_UP, BUILD_UP_SHARE = 0.005, 0.25, 0.789
DEPTH_OF_MAXIMUM = np.log(BUILD_UP_SHARE * BUILD_UP / ATTENUATION) / (BUILD_UP - ATTENUATION)

TRIALS = 300


def edges(position: np.ndarray, half_width: float, sigma: float, shift: float = 0.0) -> np.ndarray:
    """A flat field with Gaussian-blurred edges, 1 on the axis."""
    x = position - shift
    return 0.5 * (erf((x + half_width) / (np.sqrt(2) * sigma)) - erf((x - half_width) / (np.sqrt(2) * sigma)))


def depth_dose(depth: np.ndarray) -> np.ndarray:
    return np.exp(-ATTENUATION * depth) - BUILD_UP_SHARE * np.exp(-BUILD_UP * depth)


def noisy(dose: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Trials of a curve with independent noise, shape (TRIALS, n), and the noise's sigma."""
    spread = np.full(dose.shape, sigma)
    return dose + np.random.default_rng(20120).normal(0, spread, (TRIALS, dose.size)), spread


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("sigma", [2.0, 3.2, 8.0])
def test_width_and_penumbra_of_blurred_edges(step: float, sigma: float) -> None:
    position = np.arange(-100, 100 + step / 2, step)
    dose = 37.0 * edges(position, 51.3, sigma)
    assert field_width(position, dose).value == pytest.approx(102.6, abs=0.02)
    assert penumbra(position, dose).value == pytest.approx(PENUMBRA_OF_UNIT_EDGE * sigma, abs=0.05)


def test_a_half_profile_gives_the_same_width_and_penumbra() -> None:
    position = np.arange(-100.0, 100.5, 1.0)
    dose = 100 * edges(position, 51.3, 3.0)
    half = position >= 0
    assert field_width(position[half], dose[half]).value == pytest.approx(field_width(position, dose).value, abs=1e-6)
    assert penumbra(position[half], dose[half]).value == pytest.approx(penumbra(position, dose).value, abs=1e-6)


def test_a_half_profile_that_begins_off_the_axis_needs_the_dose_there() -> None:
    position = np.arange(20.0, 100.5, 1.0)
    dose = 100 * edges(position, 51.3, 3.0)
    with pytest.raises(ValueError, match="does not reach the axis"):
        field_width(position, dose)
    assert field_width(position, dose, on_axis=100.0).value == pytest.approx(102.6, abs=0.02)


@pytest.mark.parametrize("level", [0.2, 0.4, 0.6, 0.8])
def test_a_level_that_is_a_point_of_the_profile_is_found_there(level: float) -> None:
    position = np.arange(0.0, 11.0)
    dose = np.clip(1.6 - 0.2 * position, 0.0, 1.0)
    found = crossings(position, dose, level).right
    assert found is not None
    assert found.value == pytest.approx((1.6 - level) / 0.2, abs=0.1)


@settings(max_examples=60, deadline=None)
@given(half_width=st.floats(8, 80), sigma=st.floats(1.5, 2.5), shift=st.floats(-0.9, 0.9))
def test_width_does_not_follow_a_shift_and_the_centre_does(half_width: float, sigma: float, shift: float) -> None:
    position = np.arange(-100.0, 100.5, 1.0)
    dose = edges(position, half_width, sigma, shift)
    assert field_width(position, dose).value == pytest.approx(2 * half_width, abs=0.03)
    assert centre_of_field(position, dose) == pytest.approx(shift, abs=0.02)


def test_horns_are_no_edges() -> None:
    position = np.arange(-200.0, 200.5, 1.0)
    dose = edges(position, 150, 3.0) * (1 + 0.035 * np.sin(position / 150 * np.pi / 2) ** 2)
    found = crossings(position, dose, 0.5)
    assert found.right is not None
    assert found.left is not None
    assert found.right.value == pytest.approx(-found.left.value, abs=1e-6)
    assert 150.0 < found.right.value < 150.2


def test_sigma_of_width_and_penumbra_is_their_spread() -> None:
    position = np.arange(-80.0, 80.5, 1.0)
    trials, spread = noisy(edges(position, 50, 3.5), 0.004)
    for measure in (field_width, penumbra):
        found = [measure(position, trial, spread) for trial in trials]
        values = np.array([estimate.value for estimate in found])
        stated = np.mean([estimate.sigma for estimate in found])
        # The level's own noise, that of the dose on the axis, is not part of it: a tenth of it here. The spread of 300
        # trials is known to 4 %; three standard deviations and that tenth make 22 %.
        assert stated == pytest.approx(values.std(ddof=1), rel=0.22)


@pytest.mark.parametrize(
    ("dose", "message"),
    [
        (np.ones(21), "does not fall below 50 %"),
        (np.where(np.arange(-10, 11) < 0, 1.0, np.linspace(2, 0.5, 21)), "does not fall below"),
    ],
)
def test_a_profile_without_edges_has_no_width(dose: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        field_width(np.arange(-10.0, 11.0), dose)


def test_a_profile_that_ends_above_20_per_cent_has_no_penumbra() -> None:
    position = np.arange(-52.0, 53.0)
    dose = edges(position, 50, 4.0)
    with pytest.raises(ValueError, match="does not fall below 20 %"):
        penumbra(position, dose)


def test_the_maximum_of_a_depth_dose_is_found_between_its_points() -> None:
    for step in (0.7, 1.0, 2.0):
        depth = np.arange(0, 300, step)
        found = depth_dose_maximum(depth, 12.0 * depth_dose(depth))
        assert found.dose.value == pytest.approx(12.0 * depth_dose(np.array(DEPTH_OF_MAXIMUM)), rel=5e-4)
        assert found.depth.value == pytest.approx(DEPTH_OF_MAXIMUM, abs=0.4)


def test_noise_does_not_raise_the_maximum() -> None:
    depth = np.arange(1.0, 300.0, 1.0)
    true = float(depth_dose(np.array(DEPTH_OF_MAXIMUM)))
    trials, spread = noisy(depth_dose(depth), 0.01 * true)
    found = [depth_dose_maximum(depth, trial, spread).dose for trial in trials]
    excess = np.array([estimate.value for estimate in found]) / true - 1
    naive = trials.max(axis=1) / true - 1
    assert naive.mean() > 0.01
    # Half of a per mille is the cubic's own; four standard errors of the mean come on top.
    assert abs(excess.mean()) < 5e-4 + 4 * excess.std(ddof=1) / np.sqrt(TRIALS)
    # A maximum over a fitted curve lies a little above the curve's value at the true maximum.
    assert np.mean([estimate.sigma for estimate in found]) / true == pytest.approx(excess.std(ddof=1), rel=0.2)


def test_sigma_of_the_depth_of_maximum_is_its_spread() -> None:
    depth = np.arange(1.0, 300.0, 1.0)
    trials, spread = noisy(depth_dose(depth), 0.002)
    found = [depth_dose_maximum(depth, trial, spread).depth for trial in trials]
    values = np.array([estimate.value for estimate in found])
    assert np.mean([estimate.sigma for estimate in found]) == pytest.approx(values.std(ddof=1), rel=0.2)


def test_normalising_adds_the_sigma_of_the_maximum() -> None:
    depth = np.arange(1.0, 300.0, 1.0)
    dose = depth_dose(depth)
    spread = np.full(depth.shape, 0.01)
    top = depth_dose_maximum(depth, dose, spread).dose
    curve = normalised_to_maximum(depth, dose, spread)
    assert curve.dose.max() == pytest.approx(100, abs=0.1)
    assert top.sigma is not None
    assert curve.sigma is not None
    expected = np.hypot(0.01 / top.value, dose[-1] / top.value * top.sigma / top.value) * 100
    assert curve.sigma[-1] == pytest.approx(expected)
    assert normalised_to_maximum(depth, dose).sigma is None


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.arange(30.0, 300.0, 1.0), "maximum at an end of the curve"),
        (np.array([5.0, 10.0, 15.0, 20.0, 50.0, 100.0]), "points within 5 % of the maximum"),
    ],
)
def test_a_curve_that_does_not_show_its_maximum_is_not_normalised(depth: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth_dose_maximum(depth, depth_dose(depth))


def test_the_ratio_of_two_depths_is_that_of_the_attenuation() -> None:
    depth = np.arange(50.0, 300.0, 5.0)
    assert dose_ratio(depth, np.exp(-0.005 * depth)) == pytest.approx(np.exp(-0.5), rel=1e-4)
    with pytest.raises(ValueError, match="the curve runs from 50 to 295"):
        dose_ratio(depth, np.exp(-0.005 * depth), deep=300.0)


def test_interpolation_goes_through_the_points() -> None:
    place = np.array([0.0, 1.0, 3.0, 4.0])
    dose = np.array([1.0, 2.0, 2.0, 0.0])
    assert dose_at(place, dose, place) == pytest.approx(dose)
    assert dose_at(place, dose, np.array([2.0])) == pytest.approx([2.0])


def test_the_dose_on_the_axis_is_that_of_a_parabola_through_the_middle() -> None:
    position = np.arange(-80.0, 80.5, 1.0)
    dose = edges(position, 50, 3.0) * (1 + 1e-3 * position + 2e-5 * position**2)
    trials, spread = noisy(dose, 0.01)
    found = [dose_on_axis(position, trial, spread) for trial in trials]
    values = np.array([estimate.value for estimate in found])
    assert dose_on_axis(position, dose).value == pytest.approx(1, abs=1e-6)
    assert values.mean() == pytest.approx(1, abs=4 * values.std(ddof=1) / np.sqrt(TRIALS))
    assert np.mean([estimate.sigma for estimate in found]) == pytest.approx(values.std(ddof=1), rel=0.15)
    # 21 points within 10 mm.
    assert values.std(ddof=1) < 0.01 / 2


def test_few_points_are_interpolated_to_the_axis() -> None:
    position = np.array([-20.0, -5.0, 15.0, 20.0])
    found = dose_on_axis(position, np.array([99.0, 100.0, 104.0, 99.0]), np.full(4, 0.1))
    assert found.value == pytest.approx(101.0)


def test_a_profile_in_per_cent_of_the_axis() -> None:
    position = np.arange(-80.0, 80.5, 1.0)
    curve = normalised_to_axis(position, 0.7 * edges(position, 50, 3.0))
    assert curve.dose[80] == pytest.approx(100, abs=1e-6)
    assert curve.dose[80 + 50] == pytest.approx(50, abs=0.01)


def test_the_mean_of_both_halves_takes_out_what_is_odd() -> None:
    position = np.arange(-80.0, 90.5, 1.0)
    even = edges(position, 50, 3.0)
    curve = symmetric_mean(position, even * (1 + 1e-3 * position), np.full(position.shape, 0.01))
    assert curve.place.tolist() == np.arange(0.0, 81.0).tolist()
    assert curve.dose == pytest.approx(even[80:161], abs=1e-12)
    assert curve.sigma is not None
    assert curve.sigma[0] == pytest.approx(0.01)
    assert curve.sigma[1:] == pytest.approx(np.full(80, 0.01 / np.sqrt(2)))


def test_halves_on_different_grids_are_interpolated() -> None:
    position = np.sort(np.concatenate([np.arange(-80.3, 0, 1.0), np.arange(0.2, 80, 1.0)]))
    curve = symmetric_mean(position, edges(position, 50, 3.0))
    assert curve.dose == pytest.approx(edges(curve.place, 50, 3.0), abs=2e-3)
    with pytest.raises(ValueError, match="expected both halves"):
        symmetric_mean(curve.place, curve.dose)
