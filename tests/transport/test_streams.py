"""Random numbers belong to a particle: what becomes of it does not depend on what comes before it."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
from made_patient import parallel_beam
from made_steps import straight_steps

from gatecheck.transport.aim import aimed_at
from gatecheck.transport.electron_replay.replay import replay_charged
from gatecheck.transport.fast_head.random import child_stream, start_stream, uniform, uniform_aside
from gatecheck.transport.materials import water
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.photon_tracker import Roulette, track_photons
from gatecheck.transport.photon_tracker.track import as_rows
from gatecheck.transport.volumes import HomogeneousVolume

WATER = water(0, density=1.0001)
LARGE = HomogeneousVolume("large", 0, (-500.0, 0.0, -500.0), (500.0, 1000.0, 500.0), (4, 4, 4))
PHOTONS = 2_000


def beam() -> PhaseSpace:
    """Photons of 4 MeV, a tenth of them electrons, each with a stream of its own."""
    found = parallel_beam(PHOTONS, half_width=1.0, energy=4.0, start=-50.0)
    found.pdg_code[::10] = 11
    return replace(found, stream=np.arange(PHOTONS, dtype=np.int64) * 7 + 3)


@pytest.mark.parametrize("copies", [1, 3])
def test_photons_left_out_change_nothing_of_the_others(copies: int) -> None:
    every, kept = beam(), beam().chosen(np.random.default_rng(2).permutation(PHOTONS)[: PHOTONS // 2])
    both = [track_photons(one, [LARGE], [WATER], seed=5, copies=copies).charged for one in (every, kept)]
    assert both[1].stream is not None
    assert both[0].stream is not None
    _, first, second = np.intersect1d(both[0].stream, both[1].stream, return_indices=True)
    # Everything that the half sets free, the whole does too.
    assert len(second) == len(both[1]) > PHOTONS / 2
    for name in ("energy", "position", "direction", "pdg_code"):
        np.testing.assert_array_equal(getattr(both[0], name)[first], getattr(both[1], name)[second])


def test_copies_of_the_phase_spaces_own_electrons_have_streams_of_their_own() -> None:
    found = track_photons(beam(), [LARGE], [WATER], seed=5, copies=4).charged
    own = found.position[:, 1] == -50.0
    assert found.stream is not None
    assert own.sum() == 4 * PHOTONS // 10
    assert len(np.unique(found.stream[own])) == own.sum()


def test_splitting_is_following_each_particle_so_often_with_a_share_of_its_weight() -> None:
    """Bit for bit: that no mean is changed needs no statistics."""
    copies, whole = 3, beam()
    assert whole.stream is not None
    each = replace(
        whole.chosen(np.repeat(np.arange(PHOTONS), copies)),
        weight=np.repeat(whole.weight / copies, copies),
        stream=np.repeat(whole.stream * copies, copies) + np.tile(np.arange(copies), PHOTONS),
        history=np.repeat(np.arange(PHOTONS), copies),
    )
    split, repeated = (
        track_photons(one, [LARGE], [WATER], seed=5, copies=of_each) for one, of_each in ((whole, copies), (each, 1))
    )
    assert len(split.charged) > PHOTONS
    for name in ("energy", "position", "direction", "pdg_code", "weight", "stream", "history"):
        np.testing.assert_array_equal(getattr(split.charged, name), getattr(repeated.charged, name))
    for one, other in zip(split.deposits, repeated.deposits, strict=True):
        np.testing.assert_array_equal(one[0].energy_zyx, other[0].energy_zyx)


def test_who_wins_a_roulette_does_what_it_does_without_one() -> None:
    """So that what roulette changes of a mean dose is seen apart from nearly all noise."""
    box = Roulette((-20.0, 80.0, -20.0), (20.0, 120.0, 20.0), survival=0.1, photon_survival=0.25)
    all_of_them, winners = (
        track_photons(beam(), [LARGE], [WATER], seed=5, roulette=roulette).charged for roulette in (None, box)
    )
    assert all_of_them.stream is not None
    assert winners.stream is not None
    _, here, there = np.intersect1d(all_of_them.stream, winners.stream, return_indices=True)
    assert len(there) == len(winners) < 0.5 * len(all_of_them)
    for name in ("energy", "position", "direction", "pdg_code"):
        np.testing.assert_array_equal(getattr(all_of_them, name)[here], getattr(winners, name)[there])
    # Of a photon that won, what it sets free far away plays for the rest of the ten times alone.
    np.testing.assert_allclose(np.unique(winners.weight[there] / all_of_them.weight[here]), [1.0, 4.0, 10.0])


@numba.njit
def _drawn(particles: int, survival: float, counts: np.ndarray, sums: np.ndarray) -> None:
    """Winners of three roulettes at once, pairs of winners, hundredths of the first; sums of what winners draw else.

    Of each particle some numbers have been drawn before, as many as seven.
    """
    state = np.zeros(1, dtype=np.uint64)
    child = np.zeros(1, dtype=np.uint64)
    for particle in range(particles):
        start_stream(state, np.uint64(5), np.uint64(particle))
        before = 0.0
        for _ in range(1 + particle % 7):
            before = uniform(state)
        asides = (uniform_aside(state, 0), uniform_aside(state, 1), uniform_aside(state, 2))
        counts[6 + int(100 * asides[0])] += 1
        for number in range(3):
            if asides[number] < survival:
                counts[number] += 1
                if asides[(number + 1) % 3] < survival:
                    counts[3 + number] += 1
        if asides[0] < survival:
            start_stream(child, np.uint64(5), np.uint64(child_stream(state, 0)))
            sums[0] += before
            sums[1] += uniform(state)
            sums[2] += uniform(state)
            sums[3] += uniform(child)


@pytest.mark.parametrize("survival", [0.01, 0.1, 0.25])
def test_who_wins_a_roulette_is_chance_alone(survival: float) -> None:
    """As often as it should be, whatever the particle has done and will do, within 4 sigma.

    With the test before, that is all that roulette's fairness needs, wherever its winners leave their dose: at a
    survival of a tenth the share of winners is known to 0.05 % (k = 1).
    """
    particles = 40_000_000
    counts, sums = np.zeros(106, dtype=np.int64), np.zeros(4)
    _drawn(particles, survival, counts, sums)

    def expected(found: np.ndarray, share: float) -> None:
        sigma = np.sqrt(particles * share * (1 - share))
        np.testing.assert_array_less(np.abs(found - particles * share), 4 * sigma)

    expected(counts[:3], survival)
    expected(counts[3:6], survival**2)
    expected(counts[6:], 0.01)
    # Of the numbers that a winner drew before, and draws next, and of those that what it sets free begins with.
    np.testing.assert_array_less(np.abs(sums / counts[0] - 0.5), 4 / np.sqrt(12 * counts[0]))


def test_electrons_left_out_change_nothing_of_the_others() -> None:
    """Half of them and the other half leave together what all leave, in every voxel."""
    charged = track_photons(beam(), [LARGE], [WATER], seed=5).charged
    steps = straight_steps([WATER], {})
    half = np.arange(len(charged)) % 2 == 0

    def left(particles: PhaseSpace) -> np.ndarray:
        run = replay_charged(particles, [LARGE], [WATER], steps, seed=3, batches=[len(particles)]).run
        return run.scores[0].energy_zyx

    whole = left(charged)
    assert whole.sum() > 0
    np.testing.assert_allclose(left(charged.chosen(half)) + left(charged.chosen(~half)), whole, rtol=1e-9, atol=1e-9)


def test_particles_that_miss_the_patient_take_their_streams_with_them() -> None:
    start = beam()
    start.position[::2, 0] = 5_000.0
    aimed = aimed_at(start, np.array(LARGE.lower), np.array(LARGE.upper))
    assert aimed.stream is not None
    np.testing.assert_array_equal(aimed.stream, start.stream[1::2])


def test_without_streams_they_are_those_of_the_places() -> None:
    rows = as_rows(replace(beam(), stream=None))
    np.testing.assert_array_equal(rows[:, -1], np.arange(PHOTONS))


def test_streams_of_other_particles_are_refused() -> None:
    with pytest.raises(ValueError, match="2000 streams for 10 particles"):
        replace(parallel_beam(10), stream=beam().stream)


def test_thinner_matter_with_the_same_flights_changes_few_photons() -> None:
    """One in a hundred interactions is left out where matter is 1 % thinner; with flights of its own all move."""
    thinner = [WATER.model_copy(update={"density": 0.99 * WATER.density})]
    beam_of_photons = beam().chosen(beam().pdg_code == 22)
    own, same, else_where = (
        track_photons(beam_of_photons, [LARGE], materials, seed=5, flights_of=flights).charged
        for materials, flights in (([WATER], None), (thinner, [WATER]), (thinner, None))
    )

    def shared(one: PhaseSpace) -> float:
        points = {tuple(point) for point in np.round(one.position, 6)}
        return np.mean([tuple(point) in points for point in np.round(own.position, 6)])

    assert shared(same) > 0.9
    assert shared(else_where) < 0.1
    # As many photons interact as there is matter for: 1 % of those set free fewer, within 4 sigma.
    assert abs(len(same) / len(own) - 0.99) < 4 * np.sqrt(0.02 / len(own)) + 0.005


def test_flights_shorter_than_matter_allows_are_refused() -> None:
    denser = [WATER.model_copy(update={"density": 1.01 * WATER.density})]
    with pytest.raises(ValueError, match="nowhere exceeded"):
        track_photons(beam(), [LARGE], denser, seed=5, flights_of=[WATER])


def test_a_photon_that_comes_in_at_an_angle_interacts_at_the_same_depth_along_its_way() -> None:
    """Turned by 0.1 degrees about a point in the box, what is set free moves by as little as the turn moves it."""
    straight = beam().chosen(beam().pdg_code == 22)
    pivot, angle = np.array([0.0, 200.0, 0.0]), np.radians(0.1)
    slant = np.array([[np.cos(0.6), -np.sin(0.6), 0.0], [np.sin(0.6), np.cos(0.6), 0.0], [0.0, 0.0, 1.0]])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])

    def turned(by: np.ndarray) -> PhaseSpace:
        return replace(
            straight, position=(straight.position - pivot) @ by.T + pivot, direction=straight.direction @ by.T
        )

    box = HomogeneousVolume("box", 0, (-200.0, 0.0, -500.0), (200.0, 400.0, 500.0), (4, 4, 4))
    first, second = (
        track_photons(turned(by), [box], [WATER], seed=5, score_on_the_spot=False).charged
        for by in (slant, turn @ slant)
    )
    assert first.stream is not None
    assert second.stream is not None
    _, here, there = np.intersect1d(first.stream, second.stream, return_indices=True)
    assert len(here) > 0.95 * len(first)
    expected = (first.position[here] - pivot) @ turn.T + pivot
    np.testing.assert_allclose(second.position[there], expected, atol=1e-6)
