"""The time gamma takes is in proportion to the number of reference points."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gatecheck.compare.gamma import GammaCriteria, gamma_at
from gatecheck.compare.sampling import VoxelGrid

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from gamma_pairs import treatment

pytestmark = pytest.mark.physics


def test_time_per_point_is_the_same_for_ten_times_the_points() -> None:
    grid, half_widths = VoxelGrid((80, 80, 80), (1.0,) * 3, (-39.5,) * 3), (32.0, 31.0, 33.0)
    reference = treatment(grid, half_widths=half_widths)
    evaluated = treatment(grid, half_widths=half_widths, shift=(0.4, 0.2, -0.3), scale=1.01, noise=0.01, seed=1)
    criteria = GammaCriteria(2, 1)
    inside = np.flatnonzero(reference.values_zyx > 10)
    seconds_per_point = {}
    for count in (1, 20_000, 200_000):  # one point, to compile
        chosen = np.random.default_rng(count).choice(inside, count, replace=False)
        z, y, x = np.unravel_index(chosen, grid.size[::-1])
        points = np.array(grid.origin) + np.column_stack([x, y, z]) * grid.spacing
        taken = []
        for _ in range(3):  # the least is the one least disturbed
            started = time.process_time()
            gamma_at(points, reference.values_zyx.ravel()[chosen], evaluated, criteria, normalisation=50.0)
            taken.append(time.process_time() - started)
        seconds_per_point[count] = min(taken) / count
    few, many = seconds_per_point[20_000], seconds_per_point[200_000]
    sys.stdout.write(f"{1e6 * few:.2f} us of CPU per point of 20,000, {1e6 * many:.2f} us of 200,000\n")
    assert 0.7 <= many / few <= 1.3
