"""The scale of the jaws' positions from field widths."""

from __future__ import annotations

import pytest

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.fit import Simulated
from gatecheck.commissioning.jaw_scale import jaw_scale
from gatecheck.commissioning.judgement import Judged, judge
from gatecheck.commissioning.observations import Observation


def widths(pairs: list[tuple[float, float]], sigma: float = 0.3) -> tuple[Judged, ...]:
    jaws = JawField.of_size(100.0, 100.0)
    seen = [Observation("width_50", jaws, jaws, 1000.0, 15.0, 0.0, "x", measured, sigma, 6.0) for measured, _ in pairs]
    return judge(seen, [Simulated(simulated, 0.0) for _, simulated in pairs])


def test_the_scale_is_the_slope_through_zero() -> None:
    found = jaw_scale(widths([(100.3, 100.0), (300.9, 300.0)]), assumed=1.001)
    assert found is not None
    assert found.value == pytest.approx(1.001 * 1.003, abs=1e-9)
    assert found.uncertainty == pytest.approx(1.001 * 0.3 / (100.0**2 + 300.0**2) ** 0.5)
    assert found.differs


def test_widths_that_contradict_each_other_make_the_scale_uncertain() -> None:
    found = jaw_scale(widths([(301.5, 300.0), (298.5, 300.0)]), assumed=1.0)
    assert found is not None
    assert found.uncertainty > 0.0035
    assert not found.differs


def test_without_widths_there_is_no_scale() -> None:
    assert jaw_scale((), assumed=1.0) is None
