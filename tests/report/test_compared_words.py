"""Signs, powers and outcomes in words."""

from __future__ import annotations

import pytest

from gatecheck.compare.interface.model import Finding, Verdict
from gatecheck.compare.interface.verdicts import Measured, judge, not_assessed, verdict
from gatecheck.report.compared_words import (
    alpha_beta_source,
    contradiction,
    decides,
    rotation,
    seen,
    three,
    times_as_many,
    tolerance,
    translation,
    uncertainty,
)
from gatecheck.report.numbers import power, signed, significant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.314, "+0.31"),
        (-0.314, "\N{MINUS SIGN}0.31"),
        (0.001, "0.00"),
        (-0.001, "0.00"),
        (1234.5, "+1\N{NARROW NO-BREAK SPACE}234.50"),
    ],
)
def test_a_difference_has_its_sign_and_zero_has_none(value: float, text: str) -> None:
    assert signed(value) == text


def test_large_numbers_become_powers_of_ten() -> None:
    assert power(61_234_567) == "6.1\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}10⁷"
    assert power(9_600) == "9\N{NARROW NO-BREAK SPACE}600"
    assert significant(-0.012345) == "\N{MINUS SIGN}0.0123"
    assert significant(2e6).startswith("2.0")


def finding(value: float, sigma: float, *, common: float = 0.0, is_limit: bool = False) -> Finding:
    measured = Measured("Shift", "mm", value, sigma, 9, grid_error=0.01, common_sigma=common)
    return judge(measured, 0.5, "a site", photons=1e8, is_limit=is_limit)


def test_missing_statistics_is_told_from_what_no_photons_decide() -> None:
    assert decides(finding(0.1, 0.01), 1e8) == "Decided."
    assert decides(finding(0.9, 0.01), 1e8) == "Decided."
    more = finding(0.3, 0.15)
    assert more.more_photons is not None
    assert decides(more, 1e8).startswith(f"Statistics is missing: about {power(more.more_photons)} more photons")
    by_calibration = decides(finding(0.3, 0.01, common=0.3), 1e8)
    assert by_calibration.startswith("Not by more photons of this case")
    assert by_calibration.endswith("More histories of its calibration would narrow the interval.")
    assert "calibration" not in decides(finding(0.499, 0.01), 1e8)


def test_a_question_left_open_by_another_result_says_so() -> None:
    passed = verdict("position", [finding(0.1, 0.01)])
    assert contradiction(passed) == ""
    assert contradiction(passed.model_copy(update={"outcome": "undecided"})).startswith("Not statistics")
    assert contradiction(verdict("position", [finding(0.3, 0.15)])) == ""


def test_a_difference_is_seen_or_not_whatever_its_outcome() -> None:
    within = verdict("position", [finding(0.3, 0.01)])
    assert within.outcome == "pass"
    assert seen(within).endswith("within tolerance.")
    assert seen(verdict("position", [finding(0.9, 0.01)])).endswith(
        "(as rarely by chance as 3 \N{GREEK SMALL LETTER SIGMA})."
    )
    assert seen(verdict("position", [finding(0.02, 0.05)])).startswith("No difference seen")
    nothing: Verdict = not_assessed("position", "no dose")
    assert seen(nothing) == ""
    assert seen(verdict("cord maximum", [finding(0.1, 0.01, is_limit=True)])) == ""


def test_tolerances_and_limits_read_differently() -> None:
    assert tolerance(finding(0.1, 0.01)) == "±0.5\N{NO-BREAK SPACE}mm"
    assert tolerance(finding(0.1, 0.01, is_limit=True)) == "at most 0.5\N{NO-BREAK SPACE}mm"


def test_an_interval_says_what_it_is_made_of() -> None:
    text = uncertainty(finding(0.1, 0.02, common=0.3)).replace("\N{NO-BREAK SPACE}", " ")
    sigma = "\N{GREEK SMALL LETTER SIGMA}"
    assert text == f"noise {sigma} 0.02 mm, calibration {sigma} 0.3 mm, TPS grid ±0.01 mm"


def test_displacements_name_their_axes() -> None:
    six = (0.5, -1.25, 0.0, 0.1, 0.2, -0.3)
    assert translation(six) == "x +0.50, y \N{MINUS SIGN}1.25, z 0.00"
    assert rotation(six) == "x +0.10, y +0.20, z \N{MINUS SIGN}0.30"
    assert three((0.71, 0.71, 0.71)) == "0.71"
    assert three((0.7, 0.8, 0.9)) == "0.70, 0.80, 0.90"


def test_settings_are_named_in_full_and_papers_as_they_are() -> None:
    assert alpha_beta_source("target_alpha_beta") == "configuration, biology.target_alpha_beta"
    assert alpha_beta_source("Nieder et al.") == "Nieder et al."


def test_times_as_many_photons_keep_two_digits() -> None:
    assert times_as_many(1.74) == "1.7"
    assert times_as_many(187.3) == "190"
