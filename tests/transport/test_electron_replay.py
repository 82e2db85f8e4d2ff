"""Electrons along recorded steps, where the steps are made by hand and the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from made_steps import HIGHEST, REST, STEP_LENGTH, straight_steps, straight_tracks
from pydantic import ValidationError

from gatecheck.config import Config
from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.patient.model import Material
from gatecheck.transport.electron_replay.grouping import _density_effect, _scattering_per_loss, group_materials
from gatecheck.transport.electron_replay.kernel import _turned
from gatecheck.transport.electron_replay.merge import merged
from gatecheck.transport.electron_replay.provide import recorded_with
from gatecheck.transport.electron_replay.replay import Replayed, replay_charged
from gatecheck.transport.electron_replay.steps import TURNED, joined
from gatecheck.transport.gate import GateRun, Score
from gatecheck.transport.materials import air, is_liquid_water, water
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.photon_tracker import TrackedPhotons
from gatecheck.transport.photon_tracker.kernel import longest_range
from gatecheck.transport.photon_tracker.track import LocalDeposits
from gatecheck.transport.run import FollowedPhotons, follow_charged
from gatecheck.transport.volumes import HomogeneousVolume, VoxelVolume

WATER = water(0, density=1.0001)  # that of groups' references; liquid water is a group of its own
HALF = water(1, density=0.9)  # of the group of water, and thinner
BONE = Material(label=2, name="bone", density=1.45, mass_fractions={"H": 0.034, "C": 0.197, "O": 0.47, "Ca": 0.299})
MATERIALS = [WATER, HALF, BONE]
LOSS = 0.2  # MeV/mm


def charged(energy: np.ndarray, *, x: float = 0.1, z: float = -40.0, pdg: int = 11) -> PhaseSpace:
    """Along +z, from one point."""
    count = len(energy)
    return PhaseSpace(
        pdg_code=np.full(count, pdg, np.int32),
        energy=np.asarray(energy, float),
        position=np.tile([x, 0.1, z], (count, 1)),
        direction=np.tile([0.0, 0.0, 1.0], (count, 1)),
        weight=np.ones(count),
        beam_number=np.zeros(count, np.int32),
        histories=count,
        nominal_photons=float(count),
    )


def slabs(labels: list[int]) -> VoxelVolume:
    """Slabs of 1 mm along z from -40 mm, 40 mm wide."""
    labels_zyx = np.broadcast_to(np.array(labels, np.uint16)[:, None, None], (len(labels), 4, 4)).copy()
    return VoxelVolume("slabs", labels_zyx, (10.0, 10.0, 1.0), (-15.0, -15.0, -39.5))


def replayed(particles: PhaseSpace, volume: VoxelVolume | HomogeneousVolume, **keywords: object) -> GateRun:
    steps = straight_steps(MATERIALS, {})
    return replay_charged(particles, [volume], MATERIALS, steps, seed=3, batches=[len(particles)], **keywords).run  # type: ignore[arg-type]


def test_in_the_matter_that_was_recorded_a_straight_track_leaves_its_energy_evenly() -> None:
    energy = np.random.default_rng(1).uniform(2.0, 4.0, 500)
    run = replayed(charged(energy, z=-40.0 + 1e-3), slabs([0] * 80))
    per_slab = run.scores[0].energy_zyx.sum(axis=(1, 2))
    assert per_slab.sum() == pytest.approx(energy.sum(), rel=1e-9)
    depth = np.arange(81) - 1e-3
    left = np.clip(energy[:, None] - LOSS * np.maximum(depth, 0.0), 0.0, None).sum(axis=0)
    # Range and deposit of each particle to what the step that it takes up has less than it.
    assert per_slab[:19] == pytest.approx((left[:-1] - left[1:])[:19], rel=0.03)
    assert per_slab[:8] == pytest.approx(np.full(8, 500 * LOSS), rel=0.005)


def test_thinner_matter_of_the_same_group_is_as_much_longer() -> None:
    energy = np.full(200, 3.0)
    steps = straight_steps(MATERIALS, {})
    ends = []
    for label in (0, 1):
        run = replay_charged(charged(energy), [slabs([label] * 80)], MATERIALS, steps, seed=3, batches=[200]).run
        per_slab = run.scores[0].energy_zyx.sum(axis=(1, 2))
        ends.append((per_slab * (np.arange(80) + 0.5)).sum() / per_slab.sum())
    assert ends[1] / ends[0] == pytest.approx(1 / 0.9, rel=0.01)


def test_at_the_face_of_another_group_the_rest_goes_by_that_groups_steps() -> None:
    energy = np.full(300, 4.0)
    steps = straight_steps(MATERIALS, {"bone": 0.1})  # bone loses half as much per unit of its density
    labels = [0] * 10 + [2] * 70
    run = replay_charged(charged(energy), [slabs(labels)], MATERIALS, steps, seed=3, batches=[300]).run
    per_slab = run.scores[0].energy_zyx.sum(axis=(1, 2)) / 300
    assert per_slab.sum() == pytest.approx(4.0, rel=1e-9)
    assert per_slab[:10].sum() == pytest.approx(10 * LOSS, rel=0.005)
    in_bone = 0.1 * steps.groups.references[steps.groups.group[2]].density / steps.groups.length[2]
    assert per_slab[11:20] == pytest.approx(np.full(9, in_bone), rel=0.02)


def test_squares_are_those_of_what_each_primary_left() -> None:
    energy = np.random.default_rng(2).uniform(0.5, 2.0, 50)
    whole = HomogeneousVolume("whole", 0, (-100.0,) * 3, (100.0,) * 3, (1, 1, 1))
    score = replayed(charged(energy), whole).scores[0]
    assert score.energy_zyx.sum() == pytest.approx(energy.sum(), rel=1e-9)
    assert score.energy_squared_zyx.sum() == pytest.approx((energy**2).sum(), rel=1e-9)


def test_batches_are_scored_apart_and_the_same_seed_gives_the_same() -> None:
    energy = np.random.default_rng(2).uniform(0.5, 5.0, 90)
    steps = straight_steps(MATERIALS, {})

    def run(batches: list[int]) -> GateRun:
        return replay_charged(charged(energy), [slabs([0] * 80)], MATERIALS, steps, seed=4, batches=batches).run

    first, second = run([40, 50]), run([40, 50])
    score = first.scores[0]
    assert [batch.sum() for batch in score.batches] == pytest.approx([energy[:40].sum(), energy[40:].sum()], rel=1e-9)
    assert np.array_equal(score.energy_zyx, score.batches[0] + score.batches[1])
    assert np.array_equal(score.energy_zyx, second.scores[0].energy_zyx)


def test_a_positrons_mass_goes_into_two_photons_that_are_followed() -> None:
    energy = np.full(400, 1.0)
    whole = HomogeneousVolume("whole", 0, (-4000.0,) * 3, (4000.0,) * 3, (1, 1, 1))
    score = replayed(charged(energy, pdg=-11), whole).scores[0]
    assert score.energy_zyx.sum() == pytest.approx(400 * (1.0 + 2 * REST), rel=1e-6)


def test_what_leaves_the_boxes_is_gone_and_what_comes_through_air_arrives() -> None:
    energy = np.full(100, 5.0)
    short = replayed(charged(energy), slabs([0] * 10)).scores[0].energy_zyx.sum() / 100
    assert short == pytest.approx(10 * LOSS, rel=0.01)
    from_air = replayed(charged(energy, z=-90.0), slabs([0] * 80)).scores[0].energy_zyx.sum() / 100
    groups = group_materials([*MATERIALS, air()])
    per_mm = LOSS * groups.references[groups.group[-1]].density / groups.length[-1]
    assert from_air == pytest.approx(5.0 - 50 * per_mm, abs=1e-3)


def test_particles_that_come_into_a_gas_in_the_patient_are_left_as_they_are_there() -> None:
    energy = np.array([3.0, 1.0, 4.0])  # the second stops before it
    lung, cavity, outside = air(3), air(4), air(5).model_copy(update={"is_outside": True})
    materials = [*MATERIALS, lung.model_copy(update={"density": 0.25}), cavity, outside]
    steps = straight_steps(materials, {})
    volume = slabs([0] * 10 + [4] * 5 + [0] * 65)
    replayed = replay_charged(charged(energy), [volume], materials, steps, seed=3, batches=[2, 1])
    assert replayed.left_in_batches == (1, 1)
    assert replayed.left.position[:, 2] == pytest.approx([-30.0] * 2, abs=1e-5)
    assert replayed.left.direction == pytest.approx(np.tile([0.0, 0.0, 1.0], (2, 1)))
    assert replayed.left.energy == pytest.approx([3.0 - 10 * LOSS, 4.0 - 10 * LOSS], rel=0.02)
    assert replayed.left.pdg_code.tolist() == [11, 11]
    deposited = replayed.run.scores[0].energy_zyx
    assert deposited.sum() + replayed.left.energy.sum() == pytest.approx(energy.sum(), rel=1e-9)
    assert not deposited[10:].any()
    for label in (3, 5):  # lung, and air that is outside of the body
        volume = slabs([0] * 10 + [label] * 5 + [0] * 65)
        replayed = replay_charged(charged(energy), [volume], materials, steps, seed=3, batches=[3])
        assert len(replayed.left) == 0
        assert replayed.run.scores[0].energy_zyx.sum() == pytest.approx(energy.sum(), rel=1e-9)


def test_particles_that_come_from_the_air_outside_into_a_gas_are_left_at_its_face() -> None:
    """One group of matter, whose steps would go on."""
    materials = [*MATERIALS, air(3), air(4).model_copy(update={"is_outside": True})]
    steps = straight_steps(materials, {})
    volume, energy = slabs([4] * 10 + [3] * 5 + [0] * 65), np.full(20, 4.0)
    replayed = replay_charged(charged(energy), [volume], materials, steps, seed=3, batches=[20])
    assert replayed.left.position[:, 2] == pytest.approx(np.full(20, -30.0), abs=1e-5)
    assert not replayed.run.scores[0].energy_zyx[10:].any()


@pytest.mark.parametrize("pdg", [11, -11])
def test_what_is_left_is_what_it_was_whatever_it_set_free_on_its_way(pdg: int) -> None:
    materials = [*MATERIALS, air(3)]
    steps = straight_steps(materials, {}, has_secondaries=True)
    volume, energy = slabs([0] * 10 + [3] * 70), np.full(50, 4.0)
    left = replay_charged(charged(energy, pdg=pdg), [volume], materials, steps, seed=3, batches=[50]).left
    primary = left.energy > 1.0
    assert primary.sum() == 50
    assert (left.pdg_code[primary] == pdg).all()
    assert (left.pdg_code[~primary] == 11).all()
    assert left.energy[primary] == pytest.approx(np.full(50, 4.0 - 10 * LOSS), rel=0.02)


def test_of_what_comes_into_a_gas_a_share_survives_by_chance_alone_and_stands_for_the_rest() -> None:
    """Nothing else changes, bit for bit; the share of winners within 4 sigma, in halves of any kind."""
    materials = [*MATERIALS, air(3)]
    steps = straight_steps(materials, {}, has_secondaries=True)
    count, survival = 40_000, 0.25
    particles = charged(np.random.default_rng(4).uniform(2.5, 5.5, count))
    volume = slabs([0] * 10 + [3] * 10 + [0] * 60)
    every, some = (
        replay_charged(particles, [volume], materials, steps, seed=3, batches=[count], survival_in_gas=one)
        for one in (1.0, survival)
    )
    np.testing.assert_array_equal(every.run.scores[0].energy_zyx, some.run.scores[0].energy_zyx)
    assert some.left_energy == every.left_energy == pytest.approx(every.left.weight @ every.left.energy)
    assert some.left_in_batches == (len(some.left),)
    assert every.left.history is not None
    assert some.left.history is not None
    key, other = (one.history * 1000.0 + one.energy for one in (every.left, some.left))
    _, there, here = np.intersect1d(key, other, return_indices=True)
    assert len(here) == len(some.left)
    for name in ("position", "direction", "pdg_code", "energy"):
        np.testing.assert_array_equal(getattr(every.left, name)[there], getattr(some.left, name)[here])
    np.testing.assert_allclose(some.left.weight, every.left.weight[there].max() / survival)
    won = np.isin(np.arange(len(key)), there)
    primary = every.left.energy > 1.0
    fast = every.left.energy > np.median(every.left.energy[primary])
    for chosen in (primary, ~primary, primary & fast, primary & ~fast, np.arange(len(key)) % 2 == 0):
        assert chosen.sum() > 1000
        sigma = np.sqrt(chosen.sum() * survival * (1 - survival))
        assert abs(won[chosen].sum() - survival * chosen.sum()) < 4 * sigma


def test_what_is_left_to_gate_in_the_end_is_all_there_is() -> None:
    """A run of GATE with what is left, of two batches of which the last has nothing, and all others' deposits."""
    one, rest = np.ones((2, 2, 2)), 3 * np.ones((2, 2, 2))
    nothing = LocalDeposits(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)))
    by_gate = GateRun((Score(one, one, (one, 0 * one)),), 5, 0.5, 2.0, 100.0)
    along_steps = GateRun((Score(rest, rest, (one, 2 * one)),), 5, 0.0, 7.0, 100.0, "steps")
    left = charged(np.array([1.0]))
    tracked = TrackedPhotons(left, ((nothing,), (nothing,)), (3, 2), 0.0, 0.0, 0.0, 0.0)
    followed = FollowedPhotons(tracked, 40, 4.0, Replayed(along_steps, left, (1, 0), 7.5))
    assert followed.batches == (1, 0)
    whole = followed.with_deposits(by_gate)
    assert whole.scores[0].energy_zyx == pytest.approx(4 * one)
    assert [batch.sum() for batch in whole.scores[0].batches] == [16.0, 16.0]
    assert (whole.seconds_transport, whole.particles, whole.electron_steps_sha256) == (13.0, 40, "steps")
    assert (whole.seconds_photons, whole.seconds_along_steps) == (4.0, 7.0)
    assert whole.left_to_gate == 7.5  # also where not all of it is followed


def test_steps_joined_leave_the_same_and_end_where_they_did() -> None:
    tracks = straight_tracks(LOSS, annihilate=True)
    longer = merged(tracks, 3.5 * STEP_LENGTH)
    assert len(longer.energy) < 0.3 * len(tracks.energy)
    assert longer.deposit.sum() == pytest.approx(tracks.deposit.sum(), rel=1e-6)
    assert longer.chord[:, 2].sum() == pytest.approx(tracks.chord[:, 2].sum(), rel=1e-5)
    assert longer.is_last.sum() == tracks.is_last.sum() == 300
    assert longer.freed_first[-1] == tracks.freed_first[-1] == 600
    energy_after = longer.energy - longer.deposit
    assert energy_after[:-1][~longer.is_last[:-1]] == pytest.approx(longer.energy[1:][~longer.is_last[:-1]], abs=1e-5)


def test_turns_add_up_when_steps_are_joined() -> None:
    """Four quarter turns in one plane: back where it began, with the first direction."""
    tracks = straight_tracks(LOSS, tracks=1)
    turned = tracks.direction.copy()
    turned[:] = [1.0, 0.0, 0.0]
    rows = slice(0, 4)
    square = type(tracks)(
        energy=tracks.energy[rows],
        deposit=tracks.deposit[rows],
        chord=tracks.chord[rows],
        direction=turned[rows],
        is_last=np.array([False, False, False, True]),
        freed_first=np.zeros(5, np.int32),
        freed_pdg=np.zeros(0, np.int32),
        freed_energy=np.zeros(0, np.float32),
        freed_direction=np.zeros((0, 3), np.float32),
    )
    one = merged(square, 100.0)
    assert len(one.energy) == 1
    # Frames turn about the direction as they like: the turns stay quarter turns, and lengths what they can be.
    assert np.linalg.norm(one.direction[0]) == pytest.approx(1.0, abs=1e-6)
    assert np.linalg.norm(one.chord[0]) <= 4 * STEP_LENGTH
    two = merged(square, 1.5 * STEP_LENGTH)
    assert np.linalg.norm(two.chord, axis=1) == pytest.approx(np.full(2, np.sqrt(2) * STEP_LENGTH), rel=1e-5)


@pytest.mark.parametrize("density", [0.5, 2.0])
def test_steps_are_joined_no_further_than_a_share_of_the_range(density: float) -> None:
    """Also where the range is little: what a particle about to stop turns stays apart."""
    energy = np.linspace(2.0, 0.01, 4000, dtype=np.float32)
    count, step = len(energy), 1e-3
    tracks = type(straight_tracks(LOSS))(
        energy=energy,
        deposit=np.full(count, 5e-4, np.float32),
        chord=np.tile(np.float32([0, 0, step]), (count, 1)),
        direction=np.tile(np.float32([0, 0, 1]), (count, 1)),
        is_last=np.arange(count) == count - 1,
        freed_first=np.zeros(count + 1, np.int32),
        freed_pdg=np.zeros(0, np.int32),
        freed_energy=np.zeros(0, np.float32),
        freed_direction=np.zeros((0, 3), np.float32),
    )
    joined_up = merged(tracks, 0.2, share=0.1, density=density)
    limit = np.minimum(0.2, 0.1 * np.array([longest_range(float(one), density) for one in joined_up.energy]))
    lengths = joined_up.chord[:, 2]
    assert (lengths < limit + 1.001 * step).all()
    assert (lengths[:-1] > limit[:-1] * 0.999).all()  # the track's end cuts the last short
    assert lengths.sum() == pytest.approx(count * step, rel=1e-5)
    assert lengths[0] == pytest.approx(0.2, abs=1.001 * step)
    assert lengths[-2] < 0.02


@pytest.mark.parametrize("keywords", [{"longest": 0.0}, {"share": 0.0}, {"density": -1.0}])
def test_no_length_to_join_to_is_refused(keywords: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not positive"):
        merged(straight_tracks(LOSS, tracks=1), **{"longest": 1.0, **keywords})


@pytest.mark.parametrize(
    ("asked", "recorded"),
    [((0.025, 0.04), (0.025, 0.005)), ((0.2, 1.0), (0.025, 0.005)), ((0.01, 0.002), (0.01, 0.002))],
)
def test_steps_are_recorded_no_coarser_than_following_them_needs(
    asked: tuple[float, float], recorded: tuple[float, float]
) -> None:
    settings = TransportConfig(electron_step_function=asked, electron_transport="replayed")
    assert recorded_with(settings) == settings.model_copy(update={"electron_step_function": recorded})


def test_steps_are_joined_by_what_lies_behind_and_not_ahead() -> None:
    """A particle may take up any of them: where an event comes soon must not be known from where one begins."""
    random = np.random.default_rng(4)
    counts = random.geometric(0.05, 4000)  # steps to the event, without memory
    steps = int(counts.sum())
    frees = np.zeros(steps, int)
    frees[np.cumsum(counts) - 1] = 1
    tracks = type(straight_tracks(LOSS))(
        energy=np.linspace(6, 1, steps, dtype=np.float32),
        deposit=np.full(steps, 1e-3, np.float32),
        chord=np.tile(np.float32([0, 0, 0.01]), (steps, 1)),
        direction=np.tile(np.float32([0, 0, 1]), (steps, 1)),
        is_last=np.arange(steps) == steps - 1,
        freed_first=np.concatenate([[0], np.cumsum(frees)]).astype(np.int32),
        freed_pdg=np.full(4000, 11, np.int32),
        freed_energy=np.full(4000, 0.1, np.float32),
        freed_direction=np.tile(np.float32([0, 0, 1]), (4000, 1)),
    )
    joined_up = merged(tracks, 0.095)
    lengths = joined_up.chord[:, 2]
    ends_in_event = np.diff(joined_up.freed_first) > 0
    # Events per length behind the beginnings of steps are those of all of the track.
    assert ends_in_event.sum() / lengths.sum() == pytest.approx(4000 / (steps * 0.01), rel=1e-6)
    near = ends_in_event & (lengths < 0.0451)
    expected = 1 - 0.95**4
    assert near.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / len(lengths)))


def test_tracks_of_another_extent_than_was_found_before_are_refused() -> None:
    """A file that another process recorded anew in between."""
    tracks = straight_tracks(LOSS, tracks=2)
    with pytest.raises(ValueError, match="Recorded tracks 1 are"):
        joined([lambda: tracks, lambda: straight_tracks(LOSS, tracks=1)], [tracks.extent, tracks.extent])


def test_materials_alike_but_for_density_share_steps_and_others_do_not() -> None:
    groups = group_materials([WATER, HALF, BONE, air()])
    assert groups.group[0] == groups.group[1]
    assert len({int(groups.group[0]), int(groups.group[2]), int(groups.group[3])}) == 3
    # Denser water has 0.2 % less of its stopping power by the density effect, at 1 MeV.
    ratio = groups.length[1] / groups.length[0]
    assert ratio == pytest.approx(1 / 0.9, rel=4e-3)
    assert ratio < 1 / 0.9


def test_matter_that_scatters_more_turns_more_than_the_reference_of_its_group() -> None:
    """Of Z (Z + 1) / A per loss of energy: adipose tissue has less than water, muscle a little more."""
    fat = Material(label=0, name="fat", density=0.95, mass_fractions={"H": 0.114, "C": 0.598, "N": 0.007, "O": 0.281})
    groups = group_materials([fat, WATER, BONE])
    assert groups.turn[1] == pytest.approx(1.0, rel=1e-3)
    references = [groups.references[number] for number in groups.group]
    for one, reference, turn in zip([fat, WATER, BONE], references, groups.turn, strict=True):
        ratio = _scattering_per_loss(one) / _scattering_per_loss(reference)
        assert turn == pytest.approx(np.sqrt(ratio))
        assert abs(np.log(ratio)) < 0.0401


@pytest.mark.parametrize("turn", [0.97, 1.0, 1.03])
@pytest.mark.parametrize("cosine", [0.99, 0.5, -0.3, 0.001])
def test_a_turn_is_scaled_by_its_sine(turn: float, cosine: float) -> None:
    sine = np.sqrt(1 - cosine**2)
    steps = straight_steps([WATER], {}).steps
    steps.data[0, TURNED : TURNED + 3] = 0.6 * sine, 0.8 * sine, cosine
    direction = (0.36, 0.48, 0.8)
    turned = np.array(_turned(direction, steps, 0, turn))
    assert np.linalg.norm(turned) == pytest.approx(1.0)
    # A turn by nearly a right angle cannot be more than one.
    expected = np.copysign(np.sqrt(max(1 - (turn * sine) ** 2, 0.0)), cosine)
    assert turned @ direction == pytest.approx(expected, abs=1e-5 if turn * sine < 1 else 1e-3)


def test_references_are_the_same_whatever_else_a_patient_has_and_waters_is_water() -> None:
    groups = group_materials([WATER, HALF, BONE, air()])
    alone = group_materials([BONE])
    assert groups.references[groups.group[2]].mass_fractions == alone.references[0].mass_fractions
    assert groups.references[groups.group[2]].density == alone.references[0].density
    of_water = groups.references[groups.group[0]]
    assert of_water.mass_fractions == pytest.approx(WATER.mass_fractions)
    assert (of_water.density, groups.length[0]) == (1.0001, pytest.approx(1.0, rel=1e-6))


def test_liquid_water_is_recorded_as_geant4_holds_it_and_alone() -> None:
    groups = group_materials([WATER, water(1), HALF])
    assert groups.group[0] == groups.group[2] != groups.group[1]
    reference = groups.references[groups.group[1]]
    assert is_liquid_water(reference)
    assert groups.length[1] == 1.0


def test_matter_that_scatters_more_than_iron_is_refused() -> None:
    lead = Material(label=0, name="lead", density=11.35, mass_fractions={"Pb": 1.0})
    with pytest.raises(SimulationError, match=r"less than polyethylene or more than iron.*electron_transport to gate"):
        group_materials([lead])


@pytest.mark.parametrize(
    ("density", "effect"),
    [(1.0, 0.2428), (0.00120479, 0.0)],  # ICRU Report 37, table 12.3: 1 MeV in liquid water; in a gas there is none
)
def test_density_effect_at_1_mev(density: float, effect: float) -> None:
    momentum = np.log10(np.sqrt(1.95695 * 3.95695))
    plasma = 28.816 * np.sqrt(density * 0.55509)
    assert _density_effect(momentum, 75.0 if density == 1.0 else 85.7, plasma) == pytest.approx(effect, abs=0.06)


def test_an_element_that_is_not_known_is_named() -> None:
    odd = Material(label=0, name="odd", density=5.0, mass_fractions={"U": 1.0})
    with pytest.raises(SimulationError, match=r"odd: element U .*electron_transport to gate"):
        group_materials([odd])


def test_a_particle_above_the_recorded_energy_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"A particle of 9 MeV .* up to 6 MeV.*electron_transport to gate"):
        replayed(charged(np.array([1.0, 1.5 * HIGHEST])), slabs([0] * 10))


def test_dose_to_water_and_photons_in_gate_are_refused() -> None:
    settings = TransportConfig(electron_transport="replayed")
    with pytest.raises(ValidationError, match="electron_transport replayed needs photon_transport tracked"):
        TransportConfig(electron_transport="replayed", photon_transport="gate")
    with pytest.raises(ValidationError, match=r"dose.dose_to water needs transport.electron_transport gate"):
        Config.model_validate({"transport": {"electron_transport": "replayed"}, "dose": {"dose_to": "water"}})
    followed = FollowedPhotons.__new__(FollowedPhotons)
    with pytest.raises(SimulationError, match="dose to medium only"):
        follow_charged(followed, [], [], settings, seed=1, dose_to="water")
