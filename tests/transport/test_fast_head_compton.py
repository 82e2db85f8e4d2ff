"""Sampling of Compton scattering and of random numbers in compiled code."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.transport.fast_head.compton import klein_nishina, turned
from gatecheck.transport.fast_head.random import normal_pair, start_stream, uniform

COUNT = 40_000


def stream(index: int = 0) -> np.ndarray:
    state = np.zeros(1, dtype=np.uint64)
    start_stream(state, np.uint64(2024), np.uint64(index))
    return state


def differential(cosine: float, energy: float) -> float:
    """Klein-Nishina per unit cosine, up to a constant."""
    part = 1 / (1 + energy / ELECTRON_REST_ENERGY * (1 - cosine))
    return part**2 * (part + 1 / part - 1 + cosine**2)


@pytest.mark.parametrize("energy", [0.2, 1.5, 6.0])
def test_scattered_photons_follow_klein_nishina(energy: float) -> None:
    """Mean cosine and mean energy against quadrature, 4 sigma each."""
    state = stream()
    samples = np.array([klein_nishina(energy, state) for _ in range(COUNT)])
    part = 1 / (1 + energy / ELECTRON_REST_ENERGY * (1 - samples[:, 1]))
    assert samples[:, 0] == pytest.approx(part * energy, rel=1e-9)
    norm = quad(differential, -1, 1, args=(energy,))[0]
    cosine = quad(lambda c: c * differential(c, energy), -1, 1)[0] / norm
    mean = quad(lambda c: energy / (1 + energy / ELECTRON_REST_ENERGY * (1 - c)) * differential(c, energy), -1, 1)[0]
    for column, expected in ((1, cosine), (0, mean / norm)):
        sigma = samples[:, column].std() / np.sqrt(COUNT)
        assert abs(samples[:, column].mean() - expected) < 4 * sigma


def test_turning_a_direction_keeps_its_length_and_makes_the_angle() -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        u = random.normal(size=3)
        u /= np.linalg.norm(u)
        cosine, azimuth = random.uniform(-1, 1), random.uniform(0, 2 * np.pi)
        v = np.array(turned(*u, cosine, azimuth))
        assert np.linalg.norm(v) == pytest.approx(1)
        assert v @ u == pytest.approx(cosine)
    assert turned(0.0, 0.0, -1.0, 0.5, 0.0) == pytest.approx((np.sqrt(0.75), 0.0, -0.5))


def test_streams_are_even_and_independent() -> None:
    first = np.array([[uniform(state) for _ in range(4)] for state in map(stream, range(COUNT))])
    assert first.min() >= 0
    assert first.max() < 1
    # 5 sigma on each of 4 means and 6 correlations, within and between streams
    assert np.abs(first.mean(axis=0) - 0.5).max() < 5 * np.sqrt(1 / 12 / COUNT)
    correlation = np.corrcoef(first.T)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(COUNT)
    assert abs(np.corrcoef(first[:-1, 0], first[1:, 0])[0, 1]) < 5 / np.sqrt(COUNT)


def test_normal_numbers_have_unit_variance() -> None:
    state = stream()
    pairs = np.array([normal_pair(state) for _ in range(COUNT)])
    assert np.abs(pairs.mean(axis=0)).max() < 5 / np.sqrt(COUNT)
    assert np.abs(pairs.var(axis=0) - 1).max() < 5 * np.sqrt(2 / COUNT)
