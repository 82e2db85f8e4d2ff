"""Batches: any partition merges to the same, and sigma is the right one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.dose.statistics import BatchSums

SHAPE = (2, 3)


def _batches(number: int, seed: int) -> list[tuple[np.ndarray, np.ndarray, float, int]]:
    random = np.random.default_rng(seed)
    histories = random.integers(100, 1000, number)
    return [
        (random.gamma(2.0, 1e-7, SHAPE) * n, random.gamma(2.0, 1e-14, SHAPE) * n, 1.7 * n, int(n)) for n in histories
    ]


def _sums(batches: list[tuple[np.ndarray, np.ndarray, float, int]]) -> BatchSums:
    sums = BatchSums(SHAPE)
    for dose, squared, weight, histories in batches:
        sums.add(dose, squared, weight=weight, histories=histories)
    return sums


@settings(deadline=None, max_examples=60)
@given(data=st.data(), number=st.integers(2, 12), seed=st.integers(0, 10_000))
def test_any_partition_of_chunks_in_any_order_merges_to_the_same(data: st.DataObject, number: int, seed: int) -> None:
    batches = _batches(number, seed)
    order = data.draw(st.permutations(range(number)))
    group_of = data.draw(st.lists(st.integers(0, 3), min_size=number, max_size=number))
    whole = _sums(batches)
    joined = BatchSums(SHAPE)
    for group in range(4):
        joined.join(_sums([batches[index] for index in order if group_of[index] == group]))
    assert (joined.batches, joined.histories) == (whole.batches, whole.histories)
    np.testing.assert_allclose(joined.mean(), whole.mean(), rtol=1e-12)
    np.testing.assert_allclose(joined.sigma(), whole.sigma(), rtol=1e-7)
    np.testing.assert_allclose(joined.sigma_by_history(), whole.sigma_by_history(), rtol=1e-9)


def test_sigma_of_unequal_batches_is_the_spread_of_repeated_experiments() -> None:
    """10,000 repetitions of 8 unequal batches: the mean variance is right within 3 % (its own sigma is 1 %)."""
    random = np.random.default_rng(5)
    weights = np.array([1.0, 2.0, 1.0, 4.0, 3.0, 1.0, 2.0, 2.0]) * 100
    repeated = 10_000
    sums = BatchSums((repeated,))
    for weight in weights:
        dose = random.normal(weight * 1e-6, np.sqrt(weight) * 1e-7, repeated)
        sums.add(dose, dose**2 / weight, weight=weight, histories=int(weight))
    assert np.mean(sums.sigma() ** 2) == pytest.approx(np.var(sums.mean()), rel=0.04)
    assert np.mean(sums.sigma() ** 2) == pytest.approx(1e-14 / weights.sum(), rel=0.03)


def test_sigma_by_history_of_independent_histories_is_the_standard_error() -> None:
    """Doses of 1 with probability p, else 0: variance of the mean p (1 - p) / N, zeros included."""
    number, share = 100_000, 0.01
    sums = BatchSums((1,))
    count = np.array([number * share])
    sums.add(count, count, weight=3.0 * number, histories=number)
    expected = np.sqrt(share * (1 - share) / number) / 3.0
    assert sums.sigma_by_history()[0] == pytest.approx(expected, rel=1e-4)


def test_a_batch_without_photons_is_refused() -> None:
    with pytest.raises(ValueError, match="needs photons"):
        BatchSums(SHAPE).add(np.zeros(SHAPE), np.zeros(SHAPE), weight=0.0, histories=0)
