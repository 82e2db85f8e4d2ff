"""Numbers are written as a physicist reads them."""

from __future__ import annotations

import pytest

from gatecheck.compare.model import Metric
from gatecheck.report import words
from gatecheck.report.summary import AxisRange


def axis(start: float, stop: float, lowest: float | None = None, highest: float | None = None) -> AxisRange:
    low, high = min(start, stop), max(start, stop)
    return AxisRange(
        start=start,
        stop=stop,
        lowest=low if lowest is None else lowest,
        highest=high if highest is None else highest,
    )


def plain(text: str) -> str:
    return (
        text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Metric(value=37.051, sigma=0.118), "37.05 ± 0.12"),
        (Metric(value=37.051, sigma=0.0049), "37.05 ± < 0.01"),
        (Metric(value=37.051, sigma=0.0), "37.05 ± 0.00"),
        (Metric(value=37.051, sigma=None), "37.05"),
        (Metric(value=-0.0004, sigma=0.1), "0.00 ± 0.10"),
        (Metric(value=-0.4, sigma=0.1), "-0.40 ± 0.10"),
    ],
)
def test_a_dose_has_its_standard_deviation(metric: Metric, expected: str) -> None:
    assert plain(words.gray(metric)) == expected


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        (axis(90.0, 90.0), "90.0°"),
        (axis(181.0, 539.0), "181.0° → 179.0°, clockwise 358.0°"),
        (axis(179.0, -179.0), "179.0° → 181.0°, counter-clockwise 358.0°"),
        (axis(359.97, 359.97), "0.0°"),
        (axis(10.0, 20.0, 5.0, 30.0), "10.0° → 20.0°, back and forth over 25.0°"),
    ],
)
def test_a_gantry_motion_says_where_from_where_to_and_which_way(motion: AxisRange, expected: str) -> None:
    assert words.gantry(motion) == expected


def test_a_jaw_that_moves_says_between_which_positions() -> None:
    assert plain(words.jaw(axis(-45.0, -40.0))) == "-45.0 to -40.0"
    assert plain(words.jaw(axis(-45.0, -45.0))) == "-45.0"


@pytest.mark.parametrize(("value", "expected"), [(0.2987, "0.299"), (4.161, "4.16"), (526.12, "526.1")])
def test_a_small_volume_has_more_digits(value: float, expected: str) -> None:
    assert words.millilitres(value) == expected


def test_thousands_are_set_apart() -> None:
    assert plain(words.number(61_234_567)) == "61 234 567"


@pytest.mark.parametrize(("seconds", "expected"), [(59.6, "60 s"), (2500, "41.7 min"), (9000, "2.5 h")])
def test_a_duration_has_a_fitting_unit(seconds: float, expected: str) -> None:
    assert plain(words.duration(seconds)) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("electron_production_cut_mm", "electron production cut (mm)"),
        ("gray_per_mu", "gray per MU"),
        ("mc_dose", "MC dose"),
        ("multiple_scattering_step_limit", "multiple scattering step limit"),
    ],
)
def test_keys_become_words_with_their_unit(key: str, expected: str) -> None:
    assert words.setting_name(key) == expected
