"""Photons of one delivery through another: the same where both are alike, and unbiased however far they are apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fast_head_deliveries import PAIRS, STX, beam, delivery

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.delivery.timeline import states_at
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.fast_head.sample import Aimed
from gatecheck.transport.model import PhaseSpace

HISTORIES = 200_000


def sliding(shift: float = 0.0, gap: float = 20.0, number: int = 1, total: float = 100.0) -> BeamTimeline:
    """An arc behind a slit of leaves that slides by 20 mm."""
    middle = np.linspace(-10.0, 10.0, 5)[:, np.newaxis] + np.zeros(PAIRS) + shift
    leaves = np.stack([middle - gap / 2, middle + gap / 2], axis=1)
    return beam(
        nodes=5,
        number=number,
        total=total,
        gantry=np.linspace(0.0, 40.0, 5),
        collimator=10.0,
        jaw_x=(-30.0, 30.0),
        jaw_y=(-15.0, 15.0),
        leaf_positions=leaves,
    )


def snapshots(planned: BeamTimeline, count: int) -> BeamTimeline:
    """The same motion as a log has it: at many more places."""
    meterset = np.unique(np.concatenate([planned.meterset, np.linspace(0.0, planned.total_meterset, count)]))
    states = states_at(planned, meterset)
    names = ("gantry", "collimator", "couch", "jaw_x", "jaw_y", "leaf_positions", "isocentre")
    return replace(planned, meterset=meterset, **{name: getattr(states, name) for name in names})


def through(other: Delivery, planned: Delivery, seed: int = 5, histories: int = HISTORIES) -> PhaseSpace:
    return sample_phase_space(other, STX, histories, seed, aimed=Aimed(planned, STX))


def test_a_delivery_through_itself_is_itself_but_for_rounding():
    planned = delivery(sliding(), sliding(number=2, total=50.0))

    found = through(planned, planned)

    expected = sample_phase_space(planned, STX, HISTORIES, 5)
    np.testing.assert_array_equal(found.stream, expected.stream)
    for name in ("energy", "position", "direction", "weight", "beam_number"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-10)
    assert found.nominal_photons == expected.nominal_photons


def test_the_same_motion_told_at_more_places_lets_the_same_particles_through():
    planned = delivery(sliding(), sliding(number=2, total=50.0))
    logged = delivery(*(snapshots(one, 301) for one in planned.beams))

    found, expected = through(logged, planned), sample_phase_space(planned, STX, HISTORIES, 5)

    common, here, there = np.intersect1d(found.stream, expected.stream, return_indices=True)
    assert len(common) > 0.9999 * max(len(found), len(expected))
    np.testing.assert_allclose(found.position[here], expected.position[there], atol=1e-6)
    np.testing.assert_allclose(found.weight[here], expected.weight[there], rtol=1e-9)
    np.testing.assert_array_equal(found.beam_number[here], expected.beam_number[there])


def test_a_small_difference_changes_few_particles():
    planned, moved = delivery(sliding()), delivery(sliding(shift=0.1))

    found, expected = through(moved, planned), sample_phase_space(planned, STX, HISTORIES, 5)

    _, here, there = np.intersect1d(found.stream, expected.stream, return_indices=True)
    moved_by = np.abs(found.position[here] - expected.position[there]).max(axis=1)
    same = np.isclose(found.weight[here], expected.weight[there], rtol=1e-12) & (moved_by < 1e-10)
    # A tenth of a millimetre of a slit 20 mm wide comes in at one side and goes out at the other; what the leaves' tips
    # let through and scatter differs with them.
    assert 0.95 < same.sum() / len(expected) < 0.99
    assert abs(found.weight.sum() / expected.weight.sum() - 1) < 0.003


@pytest.mark.parametrize("shift", [0.5, 12.0])
def test_the_photons_of_another_delivery_give_the_same_fluence_as_its_own(shift: float):
    """Even where the slit is moved out of the rectangle that they were aimed at: then they are noisier alone."""
    planned, moved = delivery(sliding()), delivery(sliding(shift=shift, gap=16.0))
    edges = np.linspace(-25.0, 25.0, 11)

    def fluence(seed: int, *, own: bool) -> np.ndarray:
        found = sample_phase_space(moved, STX, HISTORIES, seed) if own else through(moved, planned, seed)
        # At the isocentre plane, with the gantry turned back, along the slit's way.
        photons = found.pdg_code == 22
        where = found.position + found.direction * 480.0
        across = where @ np.array([0.0, 0.0, 1.0])
        sums, _ = np.histogram(across[photons], edges, weights=(found.weight * found.energy)[photons])
        return np.append(sums, (found.weight * found.energy)[photons].sum()) / found.nominal_photons

    ours = np.array([fluence(seed, own=True) for seed in range(6)])
    others = np.array([fluence(seed, own=False) for seed in range(20, 32)])
    apart = others.mean(axis=0) - ours.mean(axis=0)
    sigma = np.hypot(others.std(axis=0, ddof=1) / np.sqrt(12), ours.std(axis=0, ddof=1) / np.sqrt(6))
    assert sigma[-1] < 0.02 * ours[:, -1].mean()
    assert np.abs(apart / sigma).max() < 5.0


def test_a_beam_that_delivers_more_has_heavier_particles():
    planned = delivery(sliding(), sliding(number=2, total=50.0))
    other = delivery(sliding(), sliding(number=2, total=60.0))

    found, expected = through(other, planned), sample_phase_space(planned, STX, HISTORIES, 5)

    # Weights are per nominal photon of the whole delivery, which has 160 MU in place of 150.
    for number, ratio in ((1, 150 / 160), (2, 60 / 50 * 150 / 160)):
        ours, theirs = found.weight[found.beam_number == number], expected.weight[expected.beam_number == number]
        np.testing.assert_allclose(ours, theirs * ratio, rtol=1e-12)


def test_other_beams_are_refused():
    with pytest.raises(ValueError, match=r"beams \[2\] found, expected \[1\]"):
        through(delivery(sliding(number=2)), delivery(sliding()))
