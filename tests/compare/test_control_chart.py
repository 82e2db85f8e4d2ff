"""Control limits of individual values."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.compare.control_chart import ENOUGH, control_chart


def test_limits_are_three_sigma_of_a_process_in_control() -> None:
    values = np.random.default_rng(3).normal(1.0, 0.5, 20_000)
    chart = control_chart(values)
    assert chart is not None
    assert (chart.upper - chart.centre) / 3 == pytest.approx(0.5, rel=0.02)
    assert chart.centre - chart.lower == pytest.approx(chart.upper - chart.centre)
    assert len(chart.outside) == pytest.approx(0.0027 * 20_000, abs=4 * np.sqrt(54))
    assert not chart.is_provisional


def test_a_book_example() -> None:
    """By hand: moving ranges 2, 1, 3, 2; mean 2; limits 11 -+ 5.32."""
    chart = control_chart([10, 12, 11, 14, 12])
    assert chart is not None
    assert (chart.centre, chart.lower, chart.upper) == pytest.approx((11.8, 6.48, 17.12))
    assert chart.outside == ()
    assert chart.is_provisional


def test_one_value_that_jumps_is_outside_and_few_values_give_no_chart() -> None:
    values = [0.1, -0.1] * 15 + [4.0] + [0.1, -0.1] * 5
    chart = control_chart(values)
    assert chart is not None
    assert chart.outside == (30,)
    assert control_chart([1.0, 2.0]) is None
    assert len(values) >= ENOUGH
