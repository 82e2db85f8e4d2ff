"""Pass, fail, undecided, and how many photons more."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.compare.interface.statistics import t_quantile, t_quantile_as_rare_as
from gatecheck.compare.interface.verdicts import Measured, judge, verdict


def _found(value: float, sigma: float, **more: float) -> Measured:
    return Measured("Dose", "%", value, sigma, 9, **more)


@pytest.mark.parametrize(
    ("value", "sigma", "outcome"), [(0.2, 0.3, "pass"), (-4.0, 0.3, "fail"), (1.0, 1.0, "undecided")]
)
def test_only_a_whole_interval_decides(value: float, sigma: float, outcome: str) -> None:
    assert judge(_found(value, sigma), 2.0, "source", photons=1e6).outcome == outcome


def test_the_photons_asked_for_would_decide() -> None:
    finding = judge(_found(1.0, 1.0, common_sigma=0.2, grid_error=0.1), 2.0, "source", photons=1e6)
    assert finding.more_photons is not None
    noise = 1.0 / ((1e6 + finding.more_photons) / 1e6) ** 0.5
    half = math.hypot(t_quantile(9) * noise, 1.96 * 0.2) + 0.1
    assert half == pytest.approx(1.0, rel=1e-6)


def test_no_number_is_given_where_none_is_reasonable() -> None:
    near = judge(_found(1.95, 0.4), 2.0, "source", photons=1e6)
    assert (near.outcome, near.more_photons) == ("undecided", None)
    assert "no reasonable number" in near.statement
    calibration = judge(_found(1.0, 0.4, common_sigma=0.6), 2.0, "source", photons=1e6)
    assert calibration.more_photons is None
    assert "calibration" in calibration.statement


def test_a_limit_is_one_sided_and_the_worst_finding_answers() -> None:
    low = judge(_found(10.0, 0.1), 45.0, "source", photons=None, is_limit=True)
    high = judge(_found(50.0, 0.1), 45.0, "source", photons=None, is_limit=True)
    assert (low.outcome, high.outcome) == ("pass", "fail")
    assert verdict("cord maximum", [low, high]).outcome == "fail"


def test_a_calibration_known_from_many_histories_is_not_widened_by_few_batches() -> None:
    finding = judge(Measured("Dose", "%", 0.0, 0.0, 3, common_sigma=0.5), 2.0, "source", photons=1e6)
    assert (finding.low, finding.high) == pytest.approx((-0.98, 0.98))
    assert finding.outcome == "pass"


def test_few_batches_see_no_sooner_by_chance_than_known_sigmas_do() -> None:
    """Noise alone of four batches: 9.2 of its own sigma are passed as rarely as 3 known ones, once in 370 times."""
    assert t_quantile_as_rare_as(3.0, 3) == pytest.approx(9.22, abs=0.01)
    drawn = np.random.default_rng(8).normal(size=(20_000, 4))
    sigma = drawn.std(axis=1, ddof=1) / 2
    seen = [
        judge(Measured("Dose", "%", float(value), float(own), 3), 2.0, "source", photons=None).is_seen
        for value, own in zip(drawn.mean(axis=1), sigma, strict=True)
    ]
    # 54 expected, with a spread of 7.3.
    assert 32 < sum(seen) < 76


def test_a_calibration_known_well_is_seen_at_its_own_three_sigma() -> None:
    def is_seen(value: float, **more: float) -> bool:
        return verdict("output", [judge(_found(value, 0.0, **more), 9.0, "source", photons=None)]).is_seen

    assert is_seen(3.1, common_sigma=1.0)
    assert not is_seen(2.9, common_sigma=1.0)
    assert not is_seen(3.1, common_sigma=1.0, grid_error=0.2)
    assert not is_seen(0.0)
    assert not judge(_found(50.0, 0.1), 45.0, "source", photons=None, is_limit=True).is_seen
