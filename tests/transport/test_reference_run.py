"""The reference dose from its control variate: no bias, the sigma it says, and the same variate in both parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fast_head_deliveries import STX

from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.materials import water
from gatecheck.transport.photon_tracker import track_photons
from gatecheck.transport.reference_field import (
    PointEstimator,
    point_estimator,
    reference_delivery,
    reference_tank,
)
from gatecheck.transport.reference_run import (
    ReferenceRun,
    reference_dose,
    simulate_reference,
    straight_line_doses,
)

TRUE_DOSE = 3e-15
RATIO = 1.07  # of the dose to its control variate
TANK = reference_tank(STX)
REFERENCE = STX.calibration.reference


def _run(random: np.random.Generator, *, histories: int, photon_histories: int) -> ReferenceRun:
    """A process whose dose has noise of its own besides that of its control variate."""
    batches = 20
    photons = random.normal(size=batches) * 11 / np.sqrt(histories / batches)
    electrons = random.normal(size=batches) * 3 / np.sqrt(histories / batches)
    alone = random.normal(size=batches) * 15 / np.sqrt(photon_histories / batches)
    straight = TRUE_DOSE / RATIO * (1 + photons)
    return ReferenceRun(
        doses=tuple(RATIO * straight + TRUE_DOSE * electrons),
        histories=histories,
        seconds=1.0,
        straight=tuple(straight),
        photon_straight=tuple(TRUE_DOSE / RATIO * (1 + alone)),
        photon_histories=photon_histories,
    )


def test_the_reference_dose_has_no_bias_and_the_sigma_it_says() -> None:
    """1000 calibrations: centred within 4 sigma of their mean, spread within 12 % (5 sigma) of the sigma stated."""
    random = np.random.default_rng(11)
    found = np.array(
        [
            reference_dose(
                [
                    _run(random, histories=100_000, photon_histories=2_000_000),
                    _run(random, histories=400_000, photon_histories=8_000_000),
                ]
            )
            for _ in range(1000)
        ]
    )
    doses, sigmas = found.T / [[TRUE_DOSE], [1.0]]
    expected = np.hypot(3 / np.sqrt(500_000), 15 / np.sqrt(10_000_000))
    assert abs(doses.mean() - 1) < 4 * expected / np.sqrt(1000)
    assert doses.std(ddof=1) == pytest.approx(expected, rel=0.12)
    assert sigmas.mean() == pytest.approx(expected, rel=0.03)


def test_photons_alone_that_are_of_another_field_are_refused() -> None:
    run = _run(np.random.default_rng(1), histories=1_000_000, photon_histories=20_000_000)
    other = replace(run, photon_straight=tuple(1.1 * value for value in run.photon_straight))
    with pytest.raises(SimulationError, match=r"differ by -\d+\.\d\d % \+- [01]\.\d\d %"):
        reference_dose([other])


def test_photons_alone_of_another_head_are_refused_before_any_is_followed() -> None:
    with pytest.raises(ValueError, match="fast head"):
        simulate_reference(
            linac=STX, settings=TransportConfig(), histories=1000, seed=1, photon_histories=1000, head="full"
        )


def test_without_photons_followed_alone_it_is_the_mean_of_the_doses() -> None:
    runs = [ReferenceRun((1.0, 3.0), 2, 1.0), ReferenceRun((5.0, 5.0), 6, 1.0)]
    assert reference_dose(runs)[0] == pytest.approx((1 + 3 + 3 * 5 + 3 * 5) / 8)


@pytest.mark.parametrize(
    ("height", "share"), [(0.0, 1.0), (2.0, 0.75), (100.0, 0.0)], ids=["inside", "first quarter outside", "far away"]
)
def test_a_particle_leaves_its_energy_in_equal_parts_along_its_range(height: float, share: float) -> None:
    """2 MeV go 9.46 mm in water, so that the first of four parts lies 1.18 mm below the start and the second 3.55."""
    everywhere = PointEstimator(np.full(TANK.scoring_size[::-1], 0.5))
    particles = replace(
        sample_phase_space(reference_delivery(STX), STX, 1000, 1),
        pdg_code=np.array([11, 11], dtype=np.int32),
        energy=np.array([2.0, 2.0]),
        position=np.array([[0.1, TANK.lower[1] - height + 1e-9, 0.1]] * 2),
        direction=np.array([[0.0, 1.0, 0.0]] * 2),
        weight=np.array([1.0, 10.0]),
        beam_number=np.zeros(2, dtype=np.int32),
        stream=None,
    )
    doses = straight_line_doses(particles, [1, 1], TANK, everywhere)
    np.testing.assert_allclose(doses, np.array([1.0, 10.0]) * share * 2.0 * 0.5)


def test_electrons_deposited_on_the_spot_have_the_variate_of_those_that_are_not() -> None:
    """The same photons with both: one expectation serves the dose's own photons and those followed alone."""
    estimator = point_estimator(TANK, depth=REFERENCE.depth, field_size=REFERENCE.field_size)
    photons = sample_phase_space(reference_delivery(STX), STX, 20_000, 3)
    on_the_spot, none_stays = (
        track_photons(photons, [TANK], [water()], seed=5, score_on_the_spot=score, batches=4) for score in (True, False)
    )
    assert on_the_spot.deposited > 0.005 * on_the_spot.charged_energy
    assert len(none_stays.charged) > 1.1 * len(on_the_spot.charged)
    both = np.array([estimator.dose(batch[0].energy_zyx) for batch in on_the_spot.deposits])
    both += straight_line_doses(on_the_spot.charged, on_the_spot.batch_sizes, TANK, estimator)
    alone = straight_line_doses(none_stays.charged, none_stays.batch_sizes, TANK, estimator)
    np.testing.assert_allclose(both, alone, rtol=1e-9)
