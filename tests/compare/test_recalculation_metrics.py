"""What a change adds to a metric: the number put in, the sigma of the pairs, and the gain of using the same photons."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.compare.recalculation.points import NamedMetric, PlacesToLook
from gatecheck.compare.recalculation.recalculate import _metrics
from gatecheck.compare.setup_errors.followed import FollowedStructure

POINTS, PAIRS = 400, 10
DOSE = 40.0


def places() -> PlacesToLook:
    """A structure of 0.4 ml in points of 1 mm3, and a shell of every second one."""
    structure = FollowedStructure("GTV", np.zeros((POINTS, 3), np.float32), np.ones(POINTS), 0.4, 1.0)
    shell = (NamedMetric("GTV", "mean_gy", "inside 0-1 mm"), np.arange(0, POINTS, 2))
    return PlacesToLook(np.zeros((3, POINTS), np.float32), (structure,), (shell,))


def pairs(random: np.random.Generator, shift: np.ndarray, common: float, own: float) -> list[tuple]:
    """Pairs with noise that both have, and noise that the changed one has for itself."""
    found = []
    for _ in range(PAIRS):
        planned = DOSE + random.normal(0, common, POINTS)
        found.append((planned, planned + shift + random.normal(0, own, POINTS)))
    return found


def test_a_shift_of_all_doses_is_found_in_every_metric() -> None:
    random = np.random.default_rng(1)
    found = _metrics(places(), np.full(POINTS, DOSE), pairs(random, np.full(POINTS, 0.3), 2.0, 1e-9))
    assert [(one.metric, one.region) for one in found] == [
        ("d0_03cc_gy", ""),
        ("d95_gy", ""),
        ("mean_gy", ""),
        ("mean_gy", "inside 0-1 mm"),
    ]
    for one in found:
        assert one.difference_gy == pytest.approx(0.3, abs=1e-6)
        assert one.sigma_gy < 1e-6
        assert one.sigma_apart_gy > 0.01


def test_a_shift_of_the_shell_alone_moves_the_shells_mean_and_half_of_the_structures() -> None:
    shift = np.zeros(POINTS)
    shift[::2] = 0.5
    *_, mean, shell = _metrics(places(), np.full(POINTS, DOSE), pairs(np.random.default_rng(2), shift, 1.0, 1e-9))
    assert shell.difference_gy == pytest.approx(0.5, abs=1e-6)
    assert mean.difference_gy == pytest.approx(0.25, abs=1e-6)


def test_sigmas_are_those_of_the_means_and_the_gain_is_their_ratio_squared() -> None:
    """Means of 400 points and 10 pairs, 200 times over: sigma within 5 %, where the estimates' own spread is 2 %."""
    random = np.random.default_rng(3)
    metrics = [
        _metrics(places(), np.full(POINTS, DOSE), pairs(random, np.zeros(POINTS), 2.0, 0.2))[2] for _ in range(200)
    ]
    expected = 0.2 / np.sqrt(POINTS * PAIRS)
    apart = np.hypot(2.0, np.hypot(2.0, 0.2)) / np.sqrt(POINTS * PAIRS)
    assert np.sqrt(np.mean([one.sigma_gy**2 for one in metrics])) == pytest.approx(expected, rel=0.05)
    assert np.sqrt(np.mean([one.sigma_apart_gy**2 for one in metrics])) == pytest.approx(apart, rel=0.05)
    assert np.std([one.difference_gy for one in metrics]) == pytest.approx(expected, rel=0.2)
    assert np.median([one.gain for one in metrics]) == pytest.approx((apart / expected) ** 2, rel=0.2)


def test_a_structure_smaller_than_the_hot_volume_has_no_such_metric() -> None:
    small = FollowedStructure("dot", np.zeros((20, 3), np.float32), np.ones(20), 0.02, 1.0)
    where = PlacesToLook(np.zeros((3, 20), np.float32), (small,), ())
    found = _metrics(where, np.full(20, DOSE), [(np.full(20, DOSE), np.full(20, DOSE))] * 4)
    assert [one.metric for one in found] == ["d95_gy", "mean_gy"]
