"""Folding with the detector, on edges whose folded form is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from gatecheck.commissioning.analysis import field_width, penumbra
from gatecheck.commissioning.folding import DetectorShape, folded, folding_matrix, places_within

HALF_WIDTH, BLUR = 50.0, 2.5
POSITION = np.arange(-80.0, 80.5, 1.0)


def edge(x: float | np.ndarray) -> np.ndarray:
    return np.asarray(norm.cdf((x + HALF_WIDTH) / BLUR) - norm.cdf((x - HALF_WIDTH) / BLUR))


def edge_averaged(x: float, width: float) -> float:
    """The box average of `edge` in closed form, by the integral of the normal distribution function."""

    def integral(u: float) -> float:
        return float(u * norm.cdf(u / BLUR) + BLUR * norm.pdf(u / BLUR))

    def averaged(u: float) -> float:
        return (integral(u + width / 2) - integral(u - width / 2)) / width

    return averaged(x + HALF_WIDTH) - averaged(x - HALF_WIDTH)


def edge_of_chords(x: float, width: float) -> float:
    """`edge` weighed by the chords of a circle, by quadrature."""
    radius = width / 2

    def integrand(u: float) -> float:
        return 2 / (np.pi * radius**2) * np.sqrt(radius**2 - u**2) * float(edge(x + u))

    return float(quad(integrand, -radius, radius)[0])


@pytest.mark.parametrize("width", [1.0, 6.0, 10.0])
@pytest.mark.parametrize("step", [1.0, 2.0])
def test_a_box_average_of_a_blurred_edge_is_the_closed_form(width: float, step: float) -> None:
    position = np.arange(-80.0, 80.5, step)
    curve = folded(position, edge(position), width)
    expected = [edge_averaged(x, width) for x in curve.place]
    # A cubic spline through points 2 mm apart misses an edge of 2.5 mm by a few per mille.
    assert curve.dose == pytest.approx(expected, abs=3e-4 if step == 1 else 4e-3)


def test_a_cylinder_weighs_by_its_chords() -> None:
    curve = folded(POSITION, edge(POSITION), 6.1, shape="cylinder")
    places = [0.0, 45.0, 49.0, 50.0, 52.0, 55.0]
    found = curve.dose[np.searchsorted(curve.place, places)]
    assert found == pytest.approx([edge_of_chords(x, 6.1) for x in places], abs=3e-4)


@pytest.mark.parametrize(("shape", "seen"), [("box", edge_averaged), ("cylinder", edge_of_chords)])
def test_folding_keeps_the_width_and_widens_the_penumbra_by_what_is_known(
    shape: DetectorShape, seen: Callable[[float, float], float]
) -> None:
    curve = folded(POSITION, edge(POSITION), 6.0, shape=shape)
    low, high = (brentq(lambda x, level=level: seen(x, 6.0) - level, 40, 60) for level in (0.2, 0.8))
    assert field_width(curve.place, curve.dose).value == pytest.approx(2 * HALF_WIDTH, abs=0.01)
    assert penumbra(curve.place, curve.dose).value == pytest.approx(low - high, abs=0.02)
    assert low - high > penumbra(POSITION, edge(POSITION)).value + 0.6


def test_a_box_widens_more_than_a_cylinder_of_the_same_width() -> None:
    box, cylinder = (folded(POSITION, edge(POSITION), 6.0, shape=shape) for shape in ("box", "cylinder"))
    assert penumbra(box.place, box.dose).value > penumbra(cylinder.place, cylinder.dose).value + 0.2


@pytest.mark.parametrize("shape", ["box", "cylinder"])
@pytest.mark.parametrize("position", [POSITION, np.arange(0.0, 80.5, 1.0), np.arange(0.5, 80.0, 1.0)])
def test_a_flat_dose_stays_flat_and_nothing_is_read_from_beyond_the_profile(
    shape: DetectorShape, position: np.ndarray
) -> None:
    matrix = folding_matrix(position, 6.0, shape=shape)
    assert matrix @ np.full(position.size, 7.0) == pytest.approx(np.full(len(matrix), 7.0))
    assert places_within(position, 6.0).max() <= position.max() - 3.0


@pytest.mark.parametrize("first", [0.0, 0.5])
def test_a_half_profile_is_mirrored_at_the_axis(first: float) -> None:
    half = np.arange(first, 80.0, 1.0)
    whole = np.concatenate([-half[::-1], half]) if first else np.concatenate([-half[:0:-1], half])
    at = np.array([0.0, 1.0, 48.0, 50.0])
    of_half = folded(half, edge(half), 6.0, at=at)
    of_whole = folded(whole, edge(whole), 6.0, at=at)
    assert of_half.dose == pytest.approx(of_whole.dose, abs=1e-12)


def test_no_width_leaves_the_points_as_they_are() -> None:
    curve = folded(POSITION, edge(POSITION), 0.0, np.full(POSITION.shape, 0.01))
    assert curve.dose == pytest.approx(edge(POSITION), abs=1e-12)
    assert curve.sigma == pytest.approx(np.full(POSITION.shape, 0.01))


def test_sigma_of_an_average_is_its_spread() -> None:
    spread = np.full(POSITION.shape, 0.01)
    trials = edge(POSITION) + np.random.default_rng(981).normal(0, spread, (400, POSITION.size))
    matrix = folding_matrix(POSITION, 6.0)
    stated = folded(POSITION, edge(POSITION), 6.0, spread).sigma
    assert stated is not None
    # Each of 155 spreads of 400 trials is known to 3.5 %: four standard deviations and a little.
    assert stated == pytest.approx((trials @ matrix.T).std(axis=0, ddof=1), rel=0.16)
    assert stated[70] == pytest.approx(0.01 / np.sqrt(6), rel=0.03)


def test_a_detector_that_reaches_beyond_the_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="reaches beyond the profile, which ends at 80 mm"):
        folded(POSITION, edge(POSITION), 6.0, at=np.array([0.0, 78.0]))
