"""The parts of a simulation that need no engine: materials, aim, processes, the reference dose's estimator."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_patient import BONE, parallel_beam

from gatecheck.errors import SimulationError
from gatecheck.patient.model import Material
from gatecheck.transport.aim import aimed_at, rays_hit_box
from gatecheck.transport.materials import air, mean_excitation_energy, water
from gatecheck.transport.process import run_in_process
from gatecheck.transport.reference_field import point_estimator, thinned
from gatecheck.transport.reference_run import weighted_mean
from gatecheck.transport.scored_dose import MEV_PER_GRAM_IN_GRAY
from gatecheck.transport.volumes import HomogeneousVolume, overlapping

TANK = HomogeneousVolume("tank", 0, (-185.0, 0.0, -185.0), (185.0, 195.0, 185.0), (74, 78, 74))

ADIPOSE = Material(
    label=2,
    name="adipose",
    density=0.95,
    mass_fractions={"H": 0.114, "C": 0.598, "N": 0.007, "O": 0.278, "Na": 0.001, "S": 0.001, "Cl": 0.001},
)
MUSCLE = Material(
    label=3,
    name="muscle",
    density=1.05,
    mass_fractions={
        "H": 0.102, "C": 0.143, "N": 0.034, "O": 0.710, "Na": 0.001, "P": 0.002, "S": 0.003, "Cl": 0.001, "K": 0.004,
    },
)  # fmt: skip


@pytest.mark.parametrize(
    ("material", "published", "tolerance"),
    [(water(), 78.0, 1e-9), (ADIPOSE, 64.8, 0.02), (MUSCLE, 74.7, 0.02), (BONE, 112.0, 0.05)],
)
def test_mean_excitation_energies_are_those_published(material: Material, published: float, tolerance: float) -> None:
    """ICRU Reports 90 (water) and 44 (tissues; adipose, muscle and cortical bone of ESTAR are within these)."""
    assert mean_excitation_energy(material) == pytest.approx(published, rel=tolerance)


def test_a_gas_keeps_geant4_s_own_value() -> None:
    assert mean_excitation_energy(air()) is None


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 100_000))
def test_a_ray_hits_a_box_when_a_point_of_it_lies_inside(seed: int) -> None:
    random = np.random.default_rng(seed)
    position = random.uniform(-3, 3, (50, 3))
    direction = random.normal(size=(50, 3))
    direction[:10, 0] = 0.0
    lower, upper = np.array([-1.0, -0.5, -2.0]), np.array([1.0, 0.7, 0.3])
    lengths = np.linspace(0, 12, 4001)
    points = (
        position[:, None] + lengths[None, :, None] * (direction / np.linalg.norm(direction, axis=1)[:, None])[:, None]
    )
    inside = np.all((points > lower) & (points < upper), axis=2).any(axis=1)
    hit = rays_hit_box(position, direction, lower, upper)
    assert np.all(hit[inside])
    grown = np.all((points > lower - 0.01) & (points < upper + 0.01), axis=2).any(axis=1)
    assert np.all(grown[hit])


def test_photons_that_miss_the_patient_are_dropped_and_counted() -> None:
    phase_space = parallel_beam(1000, half_width=50.0)
    lower, upper = np.full(3, -10.0), np.full(3, 10.0)
    aimed = aimed_at(phase_space, lower, upper)
    outside = np.any(np.abs(phase_space.position[:, [0, 2]]) > 15.0, axis=1)
    assert len(aimed) == 1000 - outside.sum()
    assert aimed.fates["missed_patient"] == outside.sum()
    assert aimed.nominal_photons == phase_space.nominal_photons


def test_the_estimator_returns_the_dose_of_a_smooth_field_exactly_where_it_is_one_of_its_functions() -> None:
    estimator = point_estimator(TANK, depth=15.0, field_size=100.0)
    x, y, z = (
        low + step * (np.arange(n) + 0.5) for low, step, n in zip(TANK.lower, TANK.spacing, (74, 78, 74), strict=True)
    )
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    voxel_square = (TANK.spacing[0] ** 2 + TANK.spacing[2] ** 2) / 12

    def dose(depth: np.ndarray, square: np.ndarray) -> np.ndarray:
        decay = np.exp(-depth / 200.0)
        return 2.0 * decay * (1 + 0.001 * depth) - 0.8 * np.exp(-depth / 4.0) + 1e-5 * decay * square

    grams = np.prod(TANK.spacing) * 1e-3
    energy = dose(yy, xx**2 + zz**2 + voxel_square) * grams / MEV_PER_GRAM_IN_GRAY
    assert estimator.dose(energy) == pytest.approx(float(dose(np.array(15.0), np.array(0.0))), rel=1e-9)


def test_the_estimator_follows_a_measured_depth_dose_within_0_15_percent() -> None:
    """Chang et al. (2012), 6 MV, 100 x 100 mm, SSD 1000 mm, interpolated; the table itself is rounded to 0.1 %."""
    from scipy.interpolate import CubicSpline

    depths = [5, 10, 15, 20, 30, 50, 80, 100, 150, 200]
    doses = [88.0, 98.8, 100.0, 98.7, 94.5, 86.1, 73.9, 66.4, 50.4, 38.1]
    curve = CubicSpline(depths, np.log(doses))
    y = TANK.spacing[1] * (np.arange(78) + 0.5)
    grams = np.prod(TANK.spacing) * 1e-3
    energy = np.broadcast_to(np.exp(curve(y))[None, :, None], (74, 78, 74)) * grams / MEV_PER_GRAM_IN_GRAY
    estimate = point_estimator(TANK, depth=15.0, field_size=100.0).dose(energy)
    assert estimate == pytest.approx(100.0, rel=0.0015)


def test_thinning_keeps_the_weight_and_shuffles() -> None:
    """Sum of weights: 3 sigma of the roulette, 0.3 % by chance."""
    phase_space = parallel_beam(40_000, half_width=50.0)
    kept = thinned(phase_space, TANK, field_size=100.0, seed=2)
    far = np.hypot(phase_space.position[:, 0], phase_space.position[:, 2]) > 35.0
    sigma = np.sqrt(far.sum() * 0.25 * 0.75) * 4
    assert abs(kept.weight.sum() - 40_000) < 3 * sigma
    assert set(np.unique(kept.weight)) == {1.0, 4.0}
    assert len(kept) == pytest.approx((~far).sum() + far.sum() / 4, rel=0.02)


def test_the_mean_of_unequal_batches_is_weighted_and_its_sigma_with_it() -> None:
    mean, sigma = weighted_mean(np.array([1.0, 3.0]), np.array([3.0, 1.0]))
    assert mean == 1.5
    assert sigma == pytest.approx(np.sqrt((3 * 0.25 + 2.25) / 4) / 1.5)


def test_boxes_that_share_a_face_do_not_overlap() -> None:
    first = HomogeneousVolume("a", 0, (0.0, 0.0, 0.0), (10.0, 10.0, 10.0), (1, 1, 1))
    second = HomogeneousVolume("b", 0, (10.0, 0.0, 0.0), (20.0, 10.0, 10.0), (1, 1, 1))
    inner = HomogeneousVolume("c", 0, (1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (1, 1, 1))
    assert overlapping([first, second]) is None
    assert overlapping([first, second, inner]) == ("a", "c")


def test_a_process_that_dies_is_a_clear_error() -> None:
    with pytest.raises(SimulationError, match="ended without a result"):
        run_in_process(os._exit, status=3)
