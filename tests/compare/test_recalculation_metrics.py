"""What a change adds to a metric: the number put in, the sigma of the pairs, and the gain of using the same photons."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.compare.recalculation.model import ChangedMetric
from gatecheck.compare.recalculation.points import NamedMetric, PlacesToLook
from gatecheck.compare.recalculation.recalculate import changed_metrics
from gatecheck.compare.setup_errors.followed import FollowedStructure, metrics_of

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


def found_in(where: PlacesToLook, smooth: np.ndarray, at_points: list[tuple]) -> list[ChangedMetric]:
    linear = where.linear(smooth)
    return changed_metrics(linear, [metric.of(smooth) for metric in linear], at_points)


def test_a_shift_of_all_doses_is_found_in_every_metric() -> None:
    random = np.random.default_rng(1)
    found = found_in(places(), np.full(POINTS, DOSE), pairs(random, np.full(POINTS, 0.3), 2.0, 1e-9))
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
    *_, mean, shell = found_in(places(), np.full(POINTS, DOSE), pairs(np.random.default_rng(2), shift, 1.0, 1e-9))
    assert shell.difference_gy == pytest.approx(0.5, abs=1e-6)
    assert mean.difference_gy == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("steep", [0.0, 20.0], ids=["flat", "steep"])
@pytest.mark.parametrize("shift", [0.0, 0.4], ids=["nothing", "shifted"])
def test_every_metric_is_unbiased_with_the_sigma_it_says(steep: float, shift: float) -> None:
    """300 recalculations: means within 4 sigma of what was put in, spreads within 15 % (4 sigma) of the sigma stated.

    A metric read from the dose with the noisy change added to it would be off by several of these sigmas.
    """
    random = np.random.default_rng(3)
    smooth = DOSE + steep * (np.arange(POINTS) / POINTS - 0.5)
    runs = []
    for _ in range(300):
        at_points = [(smooth + a - DOSE, smooth + b - DOSE) for a, b in pairs(random, np.full(POINTS, shift), 2.0, 0.4)]
        runs.append(found_in(places(), smooth, at_points))
    for column in range(4):
        differences = np.array([run[column].difference_gy for run in runs])
        sigma = np.sqrt(np.mean([run[column].sigma_gy ** 2 for run in runs]))
        assert abs(differences.mean() - shift) < 4 * sigma / np.sqrt(300)
        assert differences.std(ddof=1) == pytest.approx(sigma, rel=0.15)


def test_the_gain_is_the_ratio_of_variances() -> None:
    random = np.random.default_rng(4)
    means = [
        found_in(places(), np.full(POINTS, DOSE), pairs(random, np.zeros(POINTS), 2.0, 0.2))[2] for _ in range(200)
    ]
    apart = np.hypot(2.0, np.hypot(2.0, 0.2))
    assert np.median([one.gain for one in means]) == pytest.approx((apart / 0.2) ** 2, rel=0.2)


def test_where_the_change_is_not_the_same_everywhere_the_points_at_the_threshold_count() -> None:
    """A dose that falls linearly, and a change in proportion to it: exact metrics of both doses are known."""
    where = places()
    smooth = DOSE * (1.5 - np.arange(POINTS) / POINTS)
    changed = 1.01 * smooth
    found = found_in(where, smooth, [(smooth, changed)] * 4)
    exact = metrics_of(changed, np.ones(POINTS)) - metrics_of(smooth, np.ones(POINTS))
    assert [one.difference_gy for one in found[:3]] == pytest.approx(exact, rel=0.05)


def test_a_structure_smaller_than_the_hot_volume_has_no_such_metric() -> None:
    small = FollowedStructure("dot", np.zeros((20, 3), np.float32), np.ones(20), 0.02, 1.0)
    where = PlacesToLook(np.zeros((3, 20), np.float32), (small,), ())
    found = found_in(where, np.full(20, DOSE), [(np.full(20, DOSE), np.full(20, DOSE))] * 4)
    assert [one.metric for one in found] == ["d95_gy", "mean_gy"]
