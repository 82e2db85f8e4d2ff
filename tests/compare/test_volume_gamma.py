"""Gamma of the whole dose, both ways: rates of known shifts, the part of noise, and what is not reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.gamma import GammaCriteria, gamma_at
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.compare.volume_gamma.patches import Patches
from gatecheck.compare.volume_gamma.sample import SampledDoses, choose_points, parts_of_noise

FloatArray = npt.NDArray[np.float64]

SIZE, SPACING, PRESCRIPTION = 40, 2.0, 40.0
GRID = VoxelGrid((SIZE,) * 3, (SPACING,) * 3, (-SPACING * (SIZE - 1) / 2,) * 3)
CRITERIA = GammaCriteria(2, 1, cap=1.001)
LEAST = [4.0, 20.0, 32.0]


def _dose(shift: float = 0.0) -> FloatArray:
    """A blob 16 mm wide, its edge over some voxels."""
    along = GRID.origin[0] + SPACING * np.arange(SIZE)
    r = np.sqrt((along[None, None, :] - shift) ** 2 + along[None, :, None] ** 2 + along[:, None, None] ** 2)
    return 42.0 / (1 + np.exp((r - 16) / 4))


@dataclass(frozen=True)
class _Noisy:
    truth: FloatArray
    batches: npt.NDArray[np.float32]

    @property
    def mean(self) -> FloatArray:
        return self.batches.mean(axis=0, dtype=np.float64)


def _noisy(truth: FloatArray, relative_sigma: float, batches: int = 12, seed: int = 1) -> _Noisy:
    random = np.random.default_rng(seed)
    spread = relative_sigma * np.sqrt(batches) * np.sqrt(truth * 42.0)
    noise = random.normal(size=(batches, *truth.shape)) * spread
    return _Noisy(truth, (truth + noise).astype(np.float32))


def _sampled(mc: _Noisy, tps: FloatArray, reference: str) -> SampledDoses:
    inside = np.ones(tps.shape, dtype=bool)
    tps_image, mc_image = DoseImage(tps, GRID), DoseImage(mc.mean, GRID)
    if reference == "TPS":
        points = choose_points(tps_image, inside, LEAST)
        patches = Patches.round(points.points_xyz, GRID, reach=1.001)
        return SampledDoses(points, np.stack([patches.taken_from(one) for one in mc.batches]), patches, tps_image)
    points = choose_points(mc_image, inside, LEAST)
    return SampledDoses(points, mc.batches.reshape(len(mc.batches), -1)[:, points.flat], None, tps_image)


def _rate(reference: FloatArray, evaluated: FloatArray, least: float) -> float:
    chosen = reference >= least
    z, y, x = np.nonzero(chosen)
    points = np.stack([x, y, z], axis=1) * SPACING + np.array(GRID.origin)
    found = gamma_at(points, reference[chosen], DoseImage(evaluated, GRID), CRITERIA, normalisation=PRESCRIPTION)
    return 100 * float(found.is_passed.mean())


def test_blocks_hold_what_the_search_would_find_in_the_whole_dose() -> None:
    other = _dose(1.5)
    random = np.random.default_rng(3)
    # To the very edge of the grid and beyond it, where nothing is reached.
    points = random.uniform(1.2 * GRID.origin[0], -1.2 * GRID.origin[0], size=(3000, 3))
    doses = random.uniform(0, 42, size=len(points))
    for criteria in (CRITERIA, GammaCriteria(3, 2.7, cap=1.001)):
        patches = Patches.round(points, GRID, reach=criteria.reach)
        blocks = patches.taken_from(other.astype(np.float32))
        inside = gamma_at(patches.points_xyz, doses, patches.image_of(blocks), criteria, normalisation=PRESCRIPTION)
        whole = gamma_at(points, doses, DoseImage(other.astype(np.float32), GRID), criteria, normalisation=PRESCRIPTION)
        np.testing.assert_array_equal(inside.is_reached, whole.is_reached)
        np.testing.assert_allclose(inside.gamma, whole.gamma, atol=0.006)
        assert 0.05 < (~whole.is_reached).mean() < 0.95
        assert 0.02 < inside.is_passed.mean() < 0.98


@pytest.mark.parametrize("reference", ["TPS", "MC"])
def test_the_rate_without_noise_is_that_of_the_doses_without_noise(reference: str) -> None:
    """A shift of 1.6 mm, 2.5 % noise: the interval holds the true rate, and its middle is nearer than as computed."""
    truth, tps = _dose(1.6), _dose()
    mc = _noisy(truth, 0.025)
    pair = (tps, truth) if reference == "TPS" else (truth, tps)
    noisy_pair = (tps, mc.mean) if reference == "TPS" else (mc.mean, tps)
    true, as_computed = _rate(*pair, LEAST[1]), _rate(*noisy_pair, LEAST[1])
    part = parts_of_noise(_sampled(mc, tps, reference), CRITERIA, PRESCRIPTION, LEAST)[1]
    assert part is not None
    found = part.applied_to(as_computed)
    assert found.as_computed == as_computed
    assert found.low < true < found.high
    assert found.high - found.low < 25
    if reference == "MC":
        assert abs(as_computed - true) > 4  # the noise of a reference dose matters here
        assert abs(found.value - true) < abs(as_computed - true)


def test_where_all_points_pass_the_interval_is_not_of_no_width() -> None:
    tps = _dose()
    sampled = _sampled(_noisy(tps, 1e-5), tps, "TPS")
    for part in parts_of_noise(sampled, CRITERIA, PRESCRIPTION, LEAST):
        assert part is not None
        found = part.applied_to(100.0)
        assert (found.value, found.high) == (100.0, 100.0)
        assert 97 < found.low < 99.9


def test_a_region_with_too_few_points_has_no_rate_without_noise() -> None:
    tps = _dose()
    parts = parts_of_noise(_sampled(_noisy(tps, 1e-3), tps, "TPS"), CRITERIA, PRESCRIPTION, [4.0, 20.0, 41.99])
    assert parts[0] is not None
    assert parts[2] is None


def test_points_of_each_range_stand_for_all_of_it() -> None:
    tps = _dose()
    points = choose_points(DoseImage(tps, GRID), np.ones(tps.shape, dtype=bool), LEAST, most=50)
    assert len(points) == 150
    for least in LEAST:
        assert points.volumes[points.doses >= least].sum() == pytest.approx((tps >= least).sum())
    again = choose_points(DoseImage(tps, GRID), np.ones(tps.shape, dtype=bool), LEAST, most=50)
    np.testing.assert_array_equal(points.flat, again.flat)
