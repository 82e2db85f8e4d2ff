"""Scans become the few numbers that are compared, without their noise and without what cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import erf

from gatecheck.commissioning.analysis import smoothed_at
from gatecheck.commissioning.beam_data import BeamData, DepthDose, JawField, Profile
from gatecheck.commissioning.condense import condensed
from gatecheck.commissioning.read_beam_data import read_beam_data

MODELS = Path(__file__).resolve().parents[2] / "linac_models"

SQUARE = JawField.of_size(200.0, 200.0)
DEPTH = np.arange(0.0, 301.0, 1.0)
POSITION = np.arange(-160.0, 160.5, 1.0)
HALF_WIDTH, BLUR = 110.0, 3.0


def depth_dose(depth: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-0.005 * depth) - 0.789 * np.exp(-0.25 * depth))


def inside(position: np.ndarray) -> np.ndarray:
    return np.asarray(100 + 3e-4 * position**2)


def cross_profile(position: np.ndarray) -> np.ndarray:
    x = position / (np.sqrt(2) * BLUR)
    half = HALF_WIDTH / (np.sqrt(2) * BLUR)
    return np.asarray(0.5 * (erf(x + half) - erf(x - half)) * inside(position))


def depth_scan(**changes: object) -> DepthDose:
    given = {
        "jaws": SQUARE,
        "source_surface_distance": 1000.0,
        "detector_diameter": 6.0,
        "depth": DEPTH,
        "dose": depth_dose(DEPTH),
        "normalisation": "as measured",
    }
    return DepthDose(**(given | changes))  # type: ignore[arg-type]


def cross_scan(**changes: object) -> Profile:
    given = {
        "jaws": SQUARE,
        "source_surface_distance": 1000.0,
        "detector_diameter": 6.0,
        "depth": 100.0,
        "axis": "x",
        "position": POSITION,
        "dose": 0.7 * cross_profile(POSITION),
        "normalisation": "as measured",
    }
    return Profile(**(given | changes))  # type: ignore[arg-type]


def test_a_depth_scan_is_compared_at_round_depths_in_per_cent() -> None:
    (curve,) = condensed(BeamData(depth_doses=(depth_scan(),))).depth_doses
    assert curve.normalisation == "maximum"
    assert curve.depth[:6].tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert curve.depth[-1] == 300.0
    assert curve.depth.size < 40
    expected = 100 * depth_dose(curve.depth) / depth_dose(np.arange(10, 20, 0.01)).max()
    assert curve.dose == pytest.approx(expected, abs=0.1)


def test_smoothing_takes_out_noise_and_states_what_is_left() -> None:
    generator = np.random.default_rng(7)
    spread = np.full(DEPTH.shape, 0.005)
    trials = [
        condensed(
            BeamData(depth_doses=(depth_scan(dose=depth_dose(DEPTH) + generator.normal(0, spread), sigma=spread),))
        )
        for _ in range(100)
    ]
    curves = [trial.depth_doses[0] for trial in trials]
    found = np.std([curve.dose for curve in curves], axis=0, ddof=1)
    assert curves[0].sigma is not None
    deep = curves[0].depth > 40
    # 100 trials know a spread to 7 %, four of which are allowed.
    assert found[deep] == pytest.approx(curves[0].sigma[deep], rel=0.3)
    # 13 points under a parabola: 0.42 of a single point's sigma, but for the last depth, which has them on one side.
    assert curves[0].sigma[deep][:-1] == pytest.approx(np.full(deep.sum() - 1, 0.42 * 0.5 / 0.92), rel=0.08)


def test_a_full_profile_gives_its_inside_and_its_width() -> None:
    def dose(position: np.ndarray) -> np.ndarray:
        return np.asarray(cross_profile(position) * (1 + 1e-4 * position))

    data = condensed(BeamData(profiles=(cross_scan(dose=0.7 * dose(POSITION)),)))
    (profile,), (width,) = data.profiles, data.widths
    assert profile.position.tolist() == np.arange(10.0, 100.0, 10.0).tolist()
    # The mean of both halves has lost the slope.
    assert profile.dose == pytest.approx(inside(profile.position), abs=0.05)
    left, right = (brentq(lambda x: float(dose(np.array(x))) - 50, *bracket) for bracket in ((-120, -90), (90, 120)))
    assert width.width_50 == pytest.approx(right - left, abs=0.02)
    assert width.penumbra_80_20 == pytest.approx(1.683242 * BLUR, abs=0.25)
    assert (width.axis, width.depth, width.detector_diameter) == ("x", 100.0, 6.0)


def test_a_width_that_is_stated_is_not_read_off_again() -> None:
    first = condensed(BeamData(profiles=(cross_scan(),)))
    again = condensed(BeamData(profiles=(cross_scan(),), widths=first.widths))
    assert again.widths == first.widths


def test_half_profiles_of_either_side_are_the_same() -> None:
    right = POSITION >= 0
    whole = condensed(BeamData(profiles=(cross_scan(),)))
    for chosen in (right, POSITION <= 0):
        scan = cross_scan(position=POSITION[chosen], dose=0.7 * cross_profile(POSITION)[chosen])
        (profile,) = condensed(BeamData(profiles=(scan,))).profiles
        assert profile.position.tolist() == whole.profiles[0].position.tolist()
        assert profile.dose == pytest.approx(whole.profiles[0].dose, abs=0.03)


def test_a_small_field_is_compared_clear_of_its_shoulder() -> None:
    x = POSITION / (np.sqrt(2) * BLUR)
    dose = 50 * (erf(x + 22 / (np.sqrt(2) * BLUR)) - erf(x - 22 / (np.sqrt(2) * BLUR)))
    (profile,) = condensed(BeamData(profiles=(cross_scan(jaws=JawField.of_size(40.0, 40.0), dose=dose),))).profiles
    assert profile.position.tolist() == [5.0, 10.0, 15.0]
    true = 50 * (
        erf((profile.position + 22) / (np.sqrt(2) * BLUR)) - erf((profile.position - 22) / (np.sqrt(2) * BLUR))
    )
    assert profile.dose == pytest.approx(true, abs=0.4)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (BeamData(depth_doses=(depth_scan(off_axis=30.0),)), "30 mm beside the axis is not used"),
        (
            BeamData(depth_doses=(depth_scan(depth=DEPTH[40:], dose=depth_dose(DEPTH[40:])),)),
            "its maximum is not known",
        ),
        (BeamData(profiles=(cross_scan(axis="diagonal"),)), "The diagonal profile of 200 x 200 mm"),
        (
            BeamData(profiles=(cross_scan(jaws=JawField(x1=-100.0, x2=50.0, y1=-100.0, y2=100.0)),)),
            "not centred on the axis",
        ),
        (
            BeamData(profiles=(cross_scan(position=np.array([30.0, 40.0]), dose=np.array([70.0, 70.0])),)),
            "the dose on the axis is not known",
        ),
    ],
)
def test_what_cannot_be_compared_is_left_out_and_said(data: BeamData, note: str) -> None:
    found = condensed(data)
    assert found.depth_doses == ()
    assert found.profiles == ()
    assert any(note in text for text in found.notes)


def test_the_shipped_tables_stay_as_they_are() -> None:
    data = read_beam_data([MODELS / "truebeam_stx" / "beam_data_6x.csv"])
    found = condensed(data)
    for before, after in zip(data.depth_doses, found.depth_doses, strict=True):
        assert after.dose.tolist() == before.dose.tolist()
    for before, after in zip(data.profiles, found.profiles, strict=True):
        assert after.position.tolist() == before.position.tolist()
        assert after.dose.tolist() == before.dose.tolist()
    assert found.widths == data.widths
    assert found.output_factors == data.output_factors
    assert found.notes == ()


def test_a_table_loses_its_points_in_the_penumbra() -> None:
    position = np.arange(0.0, 151.0, 10.0)
    scan = cross_scan(position=position, dose=cross_profile(position), normalisation="axis")
    (profile,) = condensed(BeamData(profiles=(scan,))).profiles
    assert profile.position.tolist() == np.arange(10.0, 101.0, 10.0).tolist()


def test_condensing_twice_is_condensing_once() -> None:
    once = condensed(BeamData(depth_doses=(depth_scan(),), profiles=(cross_scan(),)))
    twice = condensed(once)
    assert twice.profiles[0].dose.tolist() == once.profiles[0].dose.tolist()
    assert twice.widths == once.widths
    assert replace(twice, depth_doses=(), profiles=()) == replace(once, depth_doses=(), profiles=())


def test_few_points_are_interpolated_and_a_parabola_is_kept() -> None:
    place = np.arange(0.0, 21.0, 1.0)
    curve = smoothed_at(place, place**2, np.array([3.5, 10.0]), np.array([1.0, 5.0]), np.full(21, 0.1))
    assert curve.dose == pytest.approx([12.25, 100.0], abs=0.1)
    assert curve.sigma is not None
    assert curve.sigma[0] == pytest.approx(0.1)
    assert curve.sigma[1] < 0.06
