"""Limits of EQD2 held against values with noise and a calibration, in part outside of the doses."""

from __future__ import annotations

from typing import Any

import pytest

from gatecheck.compare.biology.effective_dose import equivalent_dose
from gatecheck.compare.biology.limits import half_width_of, judge
from gatecheck.compare.biology.model import EffectiveMetrics, JudgedLimit, StructureBiology
from gatecheck.compare.model import Metric
from gatecheck.config_biology import EffectiveLimitConfig

FRACTIONS = 13


def _metric(value: float, half: float) -> Metric:
    """With few batches: Student's t makes the interval wider than 1.96 sigma."""
    return Metric(value=value, sigma=half / 3, interval_95=(value - half, value + half))


def _judged(
    limit_gy: float, *, half: float = 0.3, calibration: float = 0.0, metric: str = "mean_gy", **changes: Any
) -> JudgedLimit:
    """Of a cord with an EQD2 of 50 Gy."""
    metrics = EffectiveMetrics(
        mean_gy=_metric(50.0, half), max_gy=_metric(50.0, half), d0_03cc_gy=None, d0_01cc_gy=None
    )
    given = {
        "name": "SpinalCord",
        "alpha_beta": 2.0,
        "alpha_beta_source": "",
        "volume_ml": 6.0,
        "covered_fraction": 1.0,
        "earlier_covered_fraction": None,
        "this_course": metrics,
        "all_courses": metrics,
    }
    limit = EffectiveLimitConfig.model_validate(
        {"structures": ("SpinalCord",), "metric": metric, "courses": "all_courses", "limit_gy": limit_gy}
        | {"alpha_beta": 2.0, "reference": "test"}
    )
    structure = StructureBiology.model_validate(given | changes)
    (judged,) = judge([structure], [limit], fractions=FRACTIONS, calibration_relative_sigma=calibration)
    return judged


@pytest.mark.parametrize(("limit_gy", "verdict"), [(50.25, "undecided"), (50.35, "pass"), (49.65, "fail")])
def test_the_interval_that_is_stated_is_the_one_that_decides(limit_gy: float, verdict: str) -> None:
    assert _judged(limit_gy).verdict == verdict


def test_the_calibration_moves_the_equivalent_dose_by_more_than_the_dose() -> None:
    """Against the EQD2 of doses that are larger and smaller by 1.96 times 0.5 %."""
    value = float(equivalent_dose(39.0, FRACTIONS, 2.0))
    found = half_width_of(_metric(value, 0.0), 2.0, fractions=FRACTIONS, calibration_relative_sigma=0.005)
    high, low = (float(equivalent_dose(39.0 * (1 + sign * 1.96 * 0.005), FRACTIONS, 2.0)) for sign in (1, -1))
    assert found.calibration == pytest.approx((high - low) / 2, rel=1e-6)
    assert found.calibration > 1.5 * 1.96 * 0.005 * value


def test_the_calibration_is_not_narrowed_by_photons() -> None:
    """1 % is 1.58 Gy of half width: a limit 2 Gy away is decided, with noise to 3 Gy by 9 / (4 - 1.58^2) as many."""
    assert _judged(52.0, calibration=0.01).verdict == "pass"
    calibration = _judged(60.0, half=0.0, calibration=0.01).half_width
    assert calibration is not None
    undecided = _judged(52.0, half=3.0, calibration=0.01)
    assert undecided.verdict == "undecided"
    assert undecided.half_width == pytest.approx((9 + calibration**2) ** 0.5)
    assert undecided.photons_factor == pytest.approx(9 / (4 - calibration**2))
    hopeless = _judged(51.0, half=3.0, calibration=0.01)
    assert (hopeless.verdict, hopeless.photons_factor) == ("undecided", None)


@pytest.mark.parametrize(
    ("metric", "limit_gy", "verdict"),
    [
        ("mean_gy", 45.0, "undecided"),
        ("mean_gy", 39.7, "fail"),
        ("mean_gy", 39.9, "undecided"),
        ("mean_gy", 60.0, "undecided"),
        ("max_gy", 45.0, "fail"),
        ("max_gy", 60.0, "undecided"),
    ],
)
def test_a_mean_fails_on_a_part_only_if_the_rest_without_dose_would(metric: str, limit_gy: float, verdict: str) -> None:
    """50 Gy with an interval of 0.3 Gy in four fifths: a mean of 39.76 Gy and more in the whole."""
    judged = _judged(limit_gy, metric=metric, covered_fraction=0.8)
    assert judged.verdict == verdict
    assert judged.photons_factor is None
    assert bool(judged.note) == (verdict == "undecided")


def test_what_neither_this_nor_an_earlier_dose_covers_counts_as_unknown() -> None:
    assert _judged(31.0, covered_fraction=0.8, earlier_covered_fraction=0.8).verdict == "fail"
    assert _judged(32.0, covered_fraction=0.8, earlier_covered_fraction=0.8).verdict == "undecided"
