"""Random numbers belong to a particle: what becomes of it does not depend on what comes before it."""

from __future__ import annotations

import itertools
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
BATCHES = 40


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


def test_roulette_leaves_the_weight_of_what_is_set_free_as_it_is_in_the_mean() -> None:
    """In the kernel itself: near the box and far from it, of few and of many MeV, within 4 sigma of histories.

    Who plays is seen in the run itself: of those that are not followed or have more weight, one in ten is followed.
    """
    count = 400_000
    photons = replace(parallel_beam(count, half_width=30.0, energy=4.0, start=-50.0), stream=np.arange(count))
    box = Roulette((-20.0, 80.0, -20.0), (20.0, 120.0, 20.0), survival=0.1, photon_survival=0.25)
    electrons_alone = replace(box, photon_survival=1.0)
    found = [
        track_photons(photons, [LARGE], [WATER], seed=5, roulette=roulette, batches=BATCHES)
        for roulette in (None, box, electrons_alone)
    ]
    without, with_both, with_one = (one.charged for one in found)
    played = len(without) - (with_one.weight < 2.0).sum()
    won = (with_one.weight > 2.0).sum()
    assert played > 0.3 * count
    assert abs(won - 0.1 * played) < 4 * np.sqrt(played * 0.1 * 0.9)

    def per_history(found: PhaseSpace, chosen: np.ndarray) -> np.ndarray:
        assert found.history is not None
        return np.bincount(found.history[chosen], weights=found.weight[chosen], minlength=count)

    def classes(found: PhaseSpace) -> list[np.ndarray]:
        outside = np.maximum(np.abs(found.position - np.array([0.0, 100.0, 0.0])) - 20.0, 0.0)
        distance = np.sqrt((outside**2).sum(axis=1))
        edges = (0.0, 1e-9, 10.0, 60.0, np.inf)
        near = [(low <= distance) & (distance < high) for low, high in itertools.pairwise(edges)]
        return [*near, near[-1] & (found.energy > 1.0), near[-1] & (found.energy <= 1.0)]

    for roulette in (with_both, with_one):
        for before, after in zip(classes(without), classes(roulette), strict=True):
            apart = per_history(roulette, after) - per_history(without, before)
            assert abs(apart.mean()) <= 4 * apart.std() / np.sqrt(count)
            # So well is it known: that a winner had a tenth too little would be seen.
            assert apart.std() / np.sqrt(count) < 0.02 * per_history(without, before).mean()
    # And so does what stays on the spot, which plays by its photon alone.
    on_the_spot = [np.array([batch[0].energy_zyx.sum() for batch in one.deposits]) for one in found]
    apart = on_the_spot[1] - on_the_spot[0]
    sigma = apart.std(ddof=1) / np.sqrt(BATCHES)
    assert abs(apart.mean()) < 4 * sigma
    assert 0 < sigma < 0.01 * on_the_spot[0].mean()
    np.testing.assert_array_equal(on_the_spot[2], on_the_spot[0])


_BINS, _LATER = 20, 8


@numba.njit
def _drawn(particles: int, survival: float, winners: np.ndarray, bins: np.ndarray) -> None:
    """Winners of each of three roulettes, and in what part of [0, 1) lies what they draw else.

    That is: the number before, the next two, the first of what is set free, and the roulettes of the other two at this
    moment and of the first at eight later ones. Some numbers have been drawn before, as many as seven; every other
    particle is itself one that was set free.
    """
    state, other = np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint64)
    values = np.empty(6 + _LATER)
    for particle in range(particles):
        start_stream(state, np.uint64(5), np.uint64(particle))
        if particle % 2:
            start_stream(state, np.uint64(5), np.uint64(child_stream(state, particle % 4 // 2)))
        for _ in range(1 + particle % 7):
            values[0] = uniform(state)
        for number in range(3):
            if uniform_aside(state, number) >= survival:
                continue
            winners[number] += 1
            start_stream(other, np.uint64(5), np.uint64(child_stream(state, number)))
            values[3] = uniform(other)
            values[4] = uniform_aside(state, (number + 1) % 3)
            values[5] = uniform_aside(state, (number + 2) % 3)
            other[0] = state[0]
            for later in range(_LATER):
                drawn = uniform(other)
                if later < 2:
                    values[1 + later] = drawn
                values[6 + later] = uniform_aside(other, 0)
            for place in range(len(values)):
                bins[number, place, int(_BINS * values[place])] += 1


@pytest.mark.parametrize("survival", [0.01, 0.1, 0.25])
def test_who_wins_a_roulette_is_chance_alone(survival: float) -> None:
    """As often as it should be, whatever the particle has done, will do and will win, within 4.5 sigma of 843 counts.

    At a survival of a tenth the share of winners is known to 0.07 % (k = 1).
    """
    particles = 20_000_000
    winners, bins = np.zeros(3, dtype=np.int64), np.zeros((3, 6 + _LATER, _BINS), dtype=np.int64)
    _drawn(particles, survival, winners, bins)
    sigma = np.sqrt(particles * survival * (1 - survival))
    np.testing.assert_array_less(np.abs(winners - particles * survival), 4.5 * sigma)
    expected = winners[:, np.newaxis, np.newaxis] / _BINS
    np.testing.assert_array_less(np.abs(bins - expected), 4.5 * np.sqrt(np.broadcast_to(expected, bins.shape)))


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
