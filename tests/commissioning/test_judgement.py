"""Pass, fail, not judged."""

from __future__ import annotations

import pytest

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.fit import Simulated
from gatecheck.commissioning.judgement import Judged, judge
from gatecheck.commissioning.observations import Observation, Quantity

FIELD = JawField.of_size(100.0, 100.0)


def judged(
    quantity: Quantity, measured: float, simulated: Simulated, *, depth: float = 100.0, off_axis: float = 0.0
) -> Judged:
    seen = Observation(quantity, FIELD, FIELD, 1000.0, depth, off_axis, "x", measured, 0.3, 6.0)
    return judge([seen], [simulated])[0]


@pytest.mark.parametrize(
    ("quantity", "measured", "found", "passed"),
    [
        ("depth_dose", 66.4, 67.3, True),
        ("depth_dose", 66.4, 67.5, False),
        ("width_50", 102.0, 102.4, True),
        ("width_50", 102.0, 101.4, False),
        ("penumbra_80_20", 5.4, 6.0, False),
        ("output_factor", 0.906, 0.913, True),
        ("output_factor", 0.906, 0.914, False),
    ],
)
def test_tolerances_are_in_the_quantity_s_own_unit(
    quantity: Quantity, measured: float, found: float, passed: bool
) -> None:
    assert judged(quantity, measured, Simulated(found, 0.0)).passed is passed


def test_in_the_build_up_two_millimetres_are_as_good_as_three_percent() -> None:
    steep = Simulated(80.0, 0.1, nearby=(74.0, 86.0))
    assert judged("depth_dose", 85.0, steep, depth=5.0).passed
    assert not judged("depth_dose", 87.0, steep, depth=5.0).passed
    assert not judged("depth_dose", 85.0, steep, depth=10.0).passed


def test_profiles_are_judged_within_four_fifths_of_the_field() -> None:
    inside = judged("profile", 97.0, Simulated(99.0, 0.1), off_axis=40.0)
    outside = judged("profile", 97.0, Simulated(99.0, 0.1), off_axis=46.0)
    assert inside.is_judged
    assert not inside.passed
    assert not outside.is_judged
    assert outside.passed


def test_too_much_noise_decides_nothing() -> None:
    assert not judged("depth_dose", 66.4, Simulated(66.4, 0.5)).decides
    assert judged("depth_dose", 66.4, Simulated(66.4, 0.2)).decides
