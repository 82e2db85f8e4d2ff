"""Intervals and extrapolation to zero noise, against repeated noise."""

from __future__ import annotations

import numpy as np

from gatecheck.compare.interface.statistics import mean_over_batches, t_quantile, without_noise


def test_interval_of_a_mean_of_ten_batches_holds_the_truth_as_often_as_it_says() -> None:
    """4000 repeats: 95 % is known to 0.34 %; 3 sigma are allowed, failing by chance once in 370 seeds."""
    values = np.random.default_rng(1).normal(size=(10, 4000))
    mean = mean_over_batches(values)
    holds = np.abs(mean.value) <= t_quantile(mean.degrees_of_freedom) * mean.sigma
    assert abs(holds.mean() - 0.95) < 3 * 0.0034


def test_the_bias_that_noise_gives_a_square_and_a_pass_rate_is_taken_away() -> None:
    """Mean over 60 repeats within 3 sigma of that mean (its own spread) of the value without noise.

    Without extrapolation both lie more than 5 such sigma off.
    """
    generator = np.random.default_rng(2)
    truth = np.linspace(-0.6, 2.0, 300)
    want = np.array([(truth**2).mean(), (truth < 1).mean() + (np.abs(truth + 0.6) < 0.15).mean()])
    found, plain = [], []
    for _ in range(60):
        batches = truth + 0.15 * 10**0.5 * generator.normal(size=(10, 300))

        def statistic(weights: np.ndarray, batches: np.ndarray = batches) -> np.ndarray:
            dose = weights @ batches
            return np.array([(dose**2).mean(), (dose < 1).mean() + (np.abs(dose + 0.6) < 0.15).mean()])

        free = without_noise(statistic, 10, draws=3)
        found.append(free.value)
        plain.append(free.as_computed)
    sigma = np.std(found, axis=0, ddof=1) / 60**0.5
    assert (np.abs(np.mean(found, axis=0) - want) < 3 * sigma)[0]
    assert abs(np.mean(plain, axis=0)[0] - want[0]) > 5 * sigma[0]
