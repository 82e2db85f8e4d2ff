"""Sigma of what is linear in the dose, from leaving out one batch at a time."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.compare.dvh import jackknife_sigma

BATCHES = 16


def test_sigma_of_a_mean_is_the_standard_error_exactly() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, BATCHES)
    left_out = (values.sum() - values) / (BATCHES - 1)
    assert jackknife_sigma(left_out) == pytest.approx(values.std(ddof=1) / np.sqrt(BATCHES), rel=1e-9)


def test_sigma_is_found_for_each_value_of_an_array() -> None:
    left_out = np.random.default_rng(2).normal(size=(6, 3, 4))
    sigma = jackknife_sigma(left_out)
    assert sigma.shape == (3, 4)
    assert sigma[1, 2] == pytest.approx(jackknife_sigma(left_out[:, 1, 2]))


@pytest.mark.parametrize("batches", [0, 1])
def test_fewer_than_two_batches_have_no_sigma(batches: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        jackknife_sigma(np.zeros((batches, 5)))
