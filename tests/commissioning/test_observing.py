"""What is read from bins is what the curves hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.observe import (
    Curve,
    chambered,
    crossing,
    depth_dose,
    edge,
    off_axis_ratio,
    penumbra_per_percent,
    percent_depth_dose,
    smooth_depth_dose,
)
from gatecheck.commissioning.water.tank import Response, TankSetup
from gatecheck.errors import SimulationError

ONE = np.ones(1)
DEPTH = np.arange(0.5, 320.0, 1.0)
POSITION = np.arange(0.5, 120.0, 1.0)


def beam(depth: np.ndarray) -> np.ndarray:
    """A depth dose like that of 6 MV: build-up and attenuation with a little hardening."""
    return (1.0 - 0.55 * np.exp(-depth / 4.2)) * np.exp(-depth / 205.0 + 2e-7 * depth**2)


def response(*, noise: float = 0.0, batches: int = 8, sigma: float = 2.5, half: float = 50.75) -> Response:
    random = np.random.default_rng(5)
    dose = beam(DEPTH) * (1 + noise * random.standard_normal((batches, len(DEPTH))))
    open_part = 0.5 * (1 - erf((POSITION - half) / (np.sqrt(2) * sigma))) * (1 + 2e-5 * POSITION**2)
    profile = open_part * (1 + noise * random.standard_normal((batches, 1, 2, len(POSITION))))
    return Response(
        field=JawField.of_size(100.0, 100.0),
        setup=TankSetup(1000.0, 320.0, (15.0,)),
        depth=DEPTH,
        depth_dose=dose[..., np.newaxis],
        position=POSITION,
        profile=profile[..., np.newaxis],
        nominal_photons=np.ones(batches),
    )


def test_a_smooth_depth_dose_comes_out_within_a_tenth_of_a_percent() -> None:
    depths = [12.0, 15.0, 20.0, 50.0, 100.0, 200.0, 300.0]
    found = depth_dose(response(), ONE, depths)
    assert found.value == pytest.approx(beam(np.array(depths)), rel=1e-3)


def test_the_build_up_comes_out_within_half_a_percent() -> None:
    depths = np.array([3.0, 5.0, 8.0])
    assert depth_dose(response(), ONE, depths).value == pytest.approx(beam(depths), rel=5e-3)


def test_percent_of_maximum_is_not_raised_by_noise() -> None:
    """2 % noise a bin: the smooth maximum stays within 0.5 %, the largest bin would be 4 % too high."""
    noisy = response(noise=0.02)
    assert percent_depth_dose(noisy, ONE, [100.0]).value[0] == pytest.approx(
        percent_depth_dose(response(), ONE, [100.0]).value[0], rel=5e-3
    )


def test_sigma_is_the_spread_of_repeated_estimates() -> None:
    """Forty tanks of eight batches: mean stated sigma and spread agree within 35 % (3 sigma of the spread)."""
    random = np.random.default_rng(8)
    weights = smooth_depth_dose(DEPTH, 100.0)
    found, stated = [], []
    for _ in range(40):
        batches = (beam(DEPTH) * (1 + 0.05 * random.standard_normal((8, len(DEPTH))))) @ weights
        curve = Curve.of(batches[:, np.newaxis])
        found.append(curve.value[0])
        stated.append(curve.sigma[0])
    assert np.mean(stated) == pytest.approx(np.std(found, ddof=1), rel=0.35)


def test_a_chamber_widens_an_edge_as_a_boxcar_does() -> None:
    """The 50 % place stays, and the slope there is that of the edge averaged over 6 mm."""
    folded = 0.5 * (1 - erf((POSITION - 60.0) / (np.sqrt(2) * 2.5)))
    seen = chambered(folded, 6.0)
    assert crossing(POSITION, seen, 0.5) == pytest.approx(60.0, abs=0.02)
    exact = np.mean(
        [0.5 * (1 - erf((POSITION + shift - 60.0) / (np.sqrt(2) * 2.5))) for shift in np.linspace(-3, 3, 601)], axis=0
    )
    assert seen[20:100] == pytest.approx(exact[20:100], abs=4e-3)


def test_width_and_penumbra_of_a_known_edge() -> None:
    """An error function: 80-20 % is 1.683 sigma; the horn of 5 % at the edge moves each level a little."""
    found = edge(response(), ONE, profile=0, axis="mean", half_field=50.75, detector=0.0)
    fine = np.arange(0.0, 80.0, 0.001)
    whole = 0.5 * (1 - erf((fine - 50.75) / (np.sqrt(2) * 2.5))) * (1 + 2e-5 * fine**2)
    places = [fine[np.flatnonzero(whole >= level)[-1]] for level in (0.8, 0.5, 0.2)]
    assert found.width_50 == pytest.approx(2 * places[1], abs=0.05)
    assert found.penumbra_80_20 == pytest.approx(places[2] - places[0], abs=0.05)


def test_a_penumbra_is_as_unsure_as_its_doses_over_the_slopes() -> None:
    """Both slopes of an error function of 2.5 mm are known, and without the horn they are equal."""
    found = penumbra_per_percent(response(), ONE, profile=0, axis="mean", half_field=50.75, detector=0.0)
    fine = np.arange(0.0, 80.0, 0.001)
    whole = 0.5 * (1 - erf((fine - 50.75) / (np.sqrt(2) * 2.5))) * (1 + 2e-5 * fine**2)
    slope = np.interp([50.75 - 2.2, 50.75 + 2.2], fine, -np.gradient(whole, fine))
    assert found == pytest.approx(0.01 * np.hypot(*(1 / slope)), rel=0.15)
    wide = response(sigma=5.0)
    twice = penumbra_per_percent(wide, ONE, profile=0, axis="mean", half_field=50.75, detector=0.0)
    assert twice == pytest.approx(2 * found, rel=0.15)


def test_a_profile_inside_the_field_is_the_curve() -> None:
    found = off_axis_ratio(
        response(), ONE, profile=0, axis="x", places=[10.0, 20.0, 40.0], half_field=50.75, detector=0.0
    )
    assert found.value == pytest.approx(100 * (1 + 2e-5 * np.array([10.0, 20.0, 40.0]) ** 2), rel=1e-3)


def test_a_profile_that_never_falls_is_refused() -> None:
    with pytest.raises(SimulationError, match="--photons"):
        crossing(POSITION, np.ones(len(POSITION)), 0.5)
