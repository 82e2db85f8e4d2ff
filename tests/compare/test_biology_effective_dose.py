"""BED and EQD2 against published numbers, their sigma against sampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatecheck.compare.biology.effective_dose import (
    bed_sigma,
    biologically_effective_dose,
    dose_of_equivalent,
    equivalent_dose,
    equivalent_dose_sigma,
)

# Mori et al., Int. J. Radiat. Res. 18 (2020) 599: maxima of the two cases, and what 39 Gy is for the cord.
PUBLISHED = [(46.3, 13, 64.4), (47.1, 13, 66.2), (39.0, 13, 48.75), (30.0, 10, 37.5)]


@pytest.mark.parametrize(("dose", "fractions", "expected"), PUBLISHED)
def test_published_doses_have_their_published_equivalents(dose: float, fractions: int, expected: float) -> None:
    assert float(equivalent_dose(dose, fractions, 2.0)) == pytest.approx(expected, abs=0.05)


def test_fifty_gray_in_fractions_of_two_is_a_bed_of_100_and_of_75() -> None:
    """Nieder et al. 2006 for alpha/beta of 2 and 4 Gy."""
    assert float(biologically_effective_dose(50.0, 25, 2.0)) == pytest.approx(100.0)
    assert float(biologically_effective_dose(50.0, 25, 4.0)) == pytest.approx(75.0)
    assert float(biologically_effective_dose(67.75, 34, 2.0)) == pytest.approx(135.5, rel=0.01)


@given(fractions=st.integers(1, 40), ratio=st.floats(0.5, 20))
def test_fractions_of_two_gray_are_their_own_equivalent(fractions: int, ratio: float) -> None:
    assert float(equivalent_dose(2.0 * fractions, fractions, ratio)) == pytest.approx(2.0 * fractions)


@given(dose=st.floats(0.0, 100.0), fractions=st.integers(1, 40), ratio=st.floats(0.5, 20))
def test_dose_of_an_equivalent_undoes_the_equivalent(dose: float, fractions: int, ratio: float) -> None:
    there = float(equivalent_dose(dose, fractions, ratio))
    assert dose_of_equivalent(there, fractions, ratio) == pytest.approx(dose, abs=1e-6)


@pytest.mark.parametrize("ratio", [2.0, 3.0, 10.0])
@pytest.mark.parametrize("dose", [5.0, 39.0, 46.3])
def test_sigma_is_that_of_sampled_doses(dose: float, ratio: float) -> None:
    """2 % of noise; 400 000 samples tell a sigma to 0.11 %, the second order is 0.05 %: five sigma are 0.6 %."""
    samples = np.random.default_rng(11).normal(dose, 0.02 * dose, 400_000)
    sampled = equivalent_dose(samples, 13, ratio).std()
    assert float(equivalent_dose_sigma(dose, 0.02 * dose, 13, ratio)) == pytest.approx(sampled, rel=0.006)
    sampled = biologically_effective_dose(samples, 13, ratio).std()
    assert float(bed_sigma(dose, 0.02 * dose, 13, ratio)) == pytest.approx(sampled, rel=0.006)


def test_every_voxel_has_its_own_alpha_beta() -> None:
    doses, ratios = np.full((2, 1, 1), 39.0), np.array([2.0, 10.0]).reshape(2, 1, 1)
    found = equivalent_dose(doses, 13, ratios).ravel()
    assert found == pytest.approx([48.75, 39 * 13 / 12])


@pytest.mark.parametrize(("fractions", "ratio"), [(0, 2.0), (13, 0.0), (13, np.nan)])
def test_no_fraction_and_no_alpha_beta_are_refused(fractions: int, ratio: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        equivalent_dose(39.0, fractions, ratio)
