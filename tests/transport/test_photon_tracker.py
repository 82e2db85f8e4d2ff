"""Tracked photons without GATE: attenuation, kinematics, energy, boxes, copies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from made_patient import BONE, parallel_beam

from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.patient.model import Material
from gatecheck.transport.materials import air, water
from gatecheck.transport.photon_tracker import Roulette, TrackedPhotons, track_photons
from gatecheck.transport.photon_tracker.cross_sections import linear_coefficients, matter_of, pair_per_atom
from gatecheck.transport.photon_tracker.kernel import longest_range
from gatecheck.transport.volumes import HomogeneousVolume, Volume, VoxelVolume

# Hubbell and Seltzer, NISTIR 5632: total attenuation with coherent scattering, cm2/g.
ENERGIES = np.array([0.03, 0.06, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0])
NIST = {
    "water": (0.3756, 0.2059, 0.1707, 0.1370, 0.09687, 0.07072, 0.05754, 0.04942, 0.03969, 0.03403, 0.03031, 0.02770),
    "bone": (1.331, 0.3148, 0.1855, 0.1309, 0.09022, 0.06566, 0.05346, 0.04607, 0.03745, 0.03257, 0.02946, 0.02734),
}
BONE_44 = Material(
    label=1,
    name="cortical bone, ICRU 44",
    density=1.0,
    mass_fractions={
        "H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Na": 0.001, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.225,
    },
)  # fmt: skip
LARGE = HomogeneousVolume("large", 0, (-500.0, 0.0, -500.0), (500.0, 1000.0, 500.0), (1, 1, 1))


def _tracked(
    volumes: list[Volume], materials: list[Material], photons: int, energy: float, seed: int = 1, **options: Any
) -> TrackedPhotons:
    beam = parallel_beam(photons, half_width=1.0, energy=energy, seed=seed, start=-50.0)
    return track_photons(beam, volumes, materials, seed=seed, **options)


@pytest.mark.parametrize(("name", "material"), [("water", water()), ("bone", BONE_44)])
def test_attenuation_is_nists_within_one_percent_and_two_below_0_1_mev(name: str, material: Material) -> None:
    found = linear_coefficients(material, ENERGIES).sum(axis=0) * 10
    limit = np.where(ENERGIES >= 0.1, 0.01, 0.02)
    assert np.all(np.abs(found / np.array(NIST[name]) - 1) < limit), found / np.array(NIST[name]) - 1


def test_pairs_are_made_above_twice_the_electrons_mass_only() -> None:
    """How many is part of the totals above: 12 % of water's and 17 % of bone's at 6 MeV."""
    found = pair_per_atom(8, np.array([1.0, 1.0219, 1.0221, 1.5, 2.0, 6.0]))
    assert np.all(found[:2] == 0.0)
    assert np.all(np.diff(found[1:]) > 0.0)


@pytest.mark.parametrize("energy", [0.06, 2.0, 6.0])
def test_the_way_to_the_first_interaction_is_exponential(energy: float) -> None:
    """Photons pass a slab of two materials with exp(-tau): within 3.5 sigma, 0.05 % by chance."""
    labels = np.zeros((1, 10, 1), np.uint16)
    labels[0, 4:7, 0] = 1
    slab = VoxelVolume("slab", labels, (400.0, 5.0, 400.0), (0.0, 2.5, 0.0))
    photons = 40_000
    run = _tracked([slab], [water(0), BONE], photons, energy)
    depth = sum(
        float(linear_coefficients(material, np.array([energy])).sum()) * length
        for material, length in ((water(), 35.0), (BONE, 15.0))
    )
    expected = photons * math.exp(-depth)
    sigma = math.sqrt(expected * (1 - math.exp(-depth)))
    assert run.untouched == pytest.approx(expected, abs=3.5 * sigma)


def test_energy_is_conserved_and_split_between_what_stays_and_what_goes() -> None:
    run = _tracked([LARGE], [water()], 2_000, 4.0, copies=3)
    pairs = float(run.charged.weight[run.charged.pdg_code == -11].sum()) * 2 * 0.51099895
    total = run.escaped + run.deposited + run.charged_energy + pairs
    assert total == pytest.approx(2_000 * 4.0, rel=1e-9)
    charged = float((run.charged.weight * run.charged.energy).sum())
    assert charged == pytest.approx(run.charged_energy, rel=1e-9)
    local = sum(float(part.energy_zyx.sum()) for batch in run.deposits for part in batch)
    assert local == pytest.approx(run.deposited, rel=1e-9)


def test_compton_electrons_keep_momentum_and_energy() -> None:
    """First interactions of 1 MeV photons: cot(phi) = (1 + k) tan(theta / 2), T from the angle alone."""
    thin = HomogeneousVolume("thin", 0, (-500.0, 0.0, -500.0), (500.0, 0.5, 500.0), (1, 1, 1))
    run = _tracked([thin], [water()], 400_000, 1.0, score_on_the_spot=False)
    first = np.abs(run.charged.direction[:, 1]) > 0.2
    cosine, kinetic = run.charged.direction[first, 1], run.charged.energy[first]
    k = 1.0 / 0.51099895
    expected = 2 * k**2 * cosine**2 / ((1 + k) ** 2 - k**2 * cosine**2) * 0.51099895
    # Photoelectrons and second interactions are rare.
    assert np.mean(np.abs(kinetic - expected) < 1e-6) > 0.98


def test_copies_share_the_weight_and_are_not_the_same() -> None:
    one, five = (_tracked([LARGE], [water()], 3_000, 2.0, copies=copies) for copies in (1, 5))
    assert np.all(five.charged.weight == 0.2)
    assert len(np.unique(five.charged.energy)) == len(five.charged)
    taken = [run.charged_energy + run.deposited for run in (one, five)]
    # Each photon leaves 1.9 of its 2 MeV, give or take 0.2: 4 sigma.
    assert taken[0] == pytest.approx(taken[1], abs=4 * 0.25 * math.sqrt(3_000 * 1.2))


def test_the_phase_spaces_own_electrons_are_passed_on_with_their_weight_shared() -> None:
    beam = parallel_beam(100, energy=2.0, start=-50.0)
    beam.pdg_code[:40] = 11
    run = track_photons(beam, [LARGE], [water()], seed=1, copies=4)
    own = run.charged.position[:, 1] == -50.0
    assert np.count_nonzero(own) == 160
    assert run.charged.weight[own].sum() == pytest.approx(40.0)


def test_boxes_side_by_side_are_one(tmp_path: object) -> None:
    """The same seed gives the same electrons, however the water is divided."""
    half = [
        HomogeneousVolume("left", 0, (-500.0, 0.0, -500.0), (0.0, 1000.0, 500.0), (2, 4, 4)),
        VoxelVolume("right", np.zeros((4, 4, 2), np.uint16), (250.0, 250.0, 250.0), (125.0, 125.0, -375.0)),
    ]
    whole = _tracked([LARGE], [water()], 2_000, 2.0, score_on_the_spot=False)
    divided = _tracked(list(half), [water()], 2_000, 2.0, score_on_the_spot=False)
    np.testing.assert_array_equal(whole.charged.energy, divided.charged.energy)
    np.testing.assert_allclose(whole.charged.position, divided.charged.position)


def test_batches_are_the_photons_in_order() -> None:
    run = _tracked([LARGE], [water()], 1_000, 2.0, batches=4)
    assert sum(run.batch_sizes) == len(run.charged)
    assert min(run.batch_sizes) > 0.8 * max(run.batch_sizes)
    assert len(run.deposits) == 4
    whole = _tracked([LARGE], [water()], 1_000, 2.0)
    np.testing.assert_array_equal(run.charged.energy, whole.charged.energy)


def test_an_electron_that_could_leave_its_voxel_is_not_deposited_in_it() -> None:
    """Voxels of 1 mm: whatever stays lies further from every face than the range of an electron of its energy."""
    labels = np.zeros((40, 40, 40), np.uint16)
    small = VoxelVolume("small", labels, (1.0, 1.0, 1.0), (-19.5, 0.5, -19.5))
    run = _tracked([small], [water()], 50_000, 0.5)
    assert 0 < run.deposited < 0.25 * run.charged_energy
    # NIST ESTAR, continuous slowing down in water (cm): none may exceed our length.
    for kinetic, estar in ((0.05, 0.00432), (0.1, 0.01431), (0.2, 0.04488)):
        assert 10 * estar < longest_range(kinetic, 1.0) < 13.5 * estar


def test_a_photon_in_air_on_its_way_may_interact_there() -> None:
    """50 mm of air before a box of water, at 0.1 MeV: 0.093 % interact; 4 sigma."""
    run = _tracked([LARGE], [water()], 400_000, 0.1, score_on_the_spot=False)
    outside = np.count_nonzero(run.charged.position[:, 1] < 0)
    coefficient = float(linear_coefficients(air(), np.array([0.1]))[:2].sum())
    expected = 400_000 * coefficient * 50.0
    # Backscatter from the water adds a tenth at the most.
    assert expected - 4 * math.sqrt(expected) < outside < 1.15 * expected + 4 * math.sqrt(expected)


def test_a_label_without_a_material_is_refused() -> None:
    with pytest.raises(SimulationError, match="no material for label 7"):
        _tracked([HomogeneousVolume("odd", 7, (0.0,) * 3, (1.0,) * 3, (1, 1, 1))], [water()], 1, 1.0)


def test_the_majorant_is_no_smaller_than_any_total() -> None:
    matter = matter_of([water(), BONE, air()])
    assert np.all(matter.majorant >= matter.total)
    assert np.all(matter.compton <= matter.photoelectric)
    assert np.all(matter.photoelectric <= matter.pair)
    assert np.all(matter.pair <= 1 + 1e-12)


def test_tracking_is_refused_for_physics_whose_cross_sections_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="use auto or gate"):
        TransportConfig(photon_transport="tracked", physics_list="G4EmStandardPhysics_option4")
    assert not TransportConfig(physics_list="G4EmStandardPhysics_option4").tracks_photons


def test_few_electrons_are_followed_where_they_cannot_reach_the_region_of_interest_and_stand_for_all() -> None:
    """Near a box every electron keeps its weight; far from it one in ten is left with ten times that.

    Their number and energy are those of all within 4 sigma: each stands for what a binomial number spreads by.
    """
    box = Roulette((-20.0, 80.0, -20.0), (20.0, 120.0, 20.0), 0.1)
    every = _tracked([LARGE], [water()], 20_000, 2.0, score_on_the_spot=False)
    few = _tracked([LARGE], [water()], 20_000, 2.0, score_on_the_spot=False, roulette=box)

    def apart(run: TrackedPhotons) -> np.ndarray:
        beyond = np.maximum(np.array(box.lower) - run.charged.position, run.charged.position - np.array(box.upper))
        return np.sqrt((np.maximum(beyond, 0.0) ** 2).sum(axis=1))

    reach = np.array([longest_range(energy, 1.0) for energy in few.charged.energy])
    assert np.all(few.charged.weight[apart(few) <= reach] == 1.0)
    far = apart(few) > reach
    np.testing.assert_allclose(few.charged.weight[far], 10.0)
    assert far.sum() < 0.15 * len(every.charged)
    reach = np.array([longest_range(energy, 1.0) for energy in every.charged.energy])
    beyond = apart(every) > reach
    energies = every.charged.energy[beyond]
    number, total = few.charged.weight[far].sum(), (few.charged.weight * few.charged.energy)[far].sum()
    # Photons of the two runs are other ones after the first electron: their own spread comes on top, twice.
    spread = math.sqrt(2 + 9)
    assert number == pytest.approx(len(energies), abs=4 * spread * math.sqrt(len(energies)))
    assert total == pytest.approx(energies.sum(), abs=4 * spread * math.sqrt((energies**2).sum()))
    assert few.charged_energy == pytest.approx(every.charged_energy, rel=0.02)


def test_few_photons_are_followed_that_scatter_past_the_region_of_interest_and_stand_for_all() -> None:
    """One in five, with five times the weight, and what they set free far from the box plays that much less.

    Energy set free near to the box and far from it is that of all within 4 sigma.
    """
    box = Roulette((-20.0, 80.0, -20.0), (20.0, 120.0, 20.0), 0.1, 0.2)
    every = _tracked([LARGE], [water()], 20_000, 2.0, score_on_the_spot=False)
    few = _tracked([LARGE], [water()], 20_000, 2.0, score_on_the_spot=False, roulette=box)

    def near_and_far(run: TrackedPhotons) -> tuple[np.ndarray, np.ndarray]:
        beyond = np.maximum(np.array(box.lower) - run.charged.position, run.charged.position - np.array(box.upper))
        apart = np.sqrt((np.maximum(beyond, 0.0) ** 2).sum(axis=1))
        near = apart <= np.array([longest_range(energy, 1.0) for energy in run.charged.energy])
        return near, ~near

    for of_every, of_few, weights in zip(near_and_far(every), near_and_far(few), ((1.0, 5.0), (10.0,)), strict=True):
        assert set(few.charged.weight[of_few].round(9)) == set(weights)
        energies, weight = every.charged.energy[of_every], few.charged.weight[of_few]
        carried = weight * few.charged.energy[of_few]
        sigma = math.sqrt((energies**2).sum() + (carried**2).sum())
        assert carried.sum() == pytest.approx(energies.sum(), abs=4 * sigma)
        assert sigma < 0.05 * energies.sum()


def test_without_roulette_nothing_changes() -> None:
    box = Roulette((-20.0, 80.0, -20.0), (20.0, 120.0, 20.0), 1.0)
    plain, played = _tracked([LARGE], [water()], 500, 2.0), _tracked([LARGE], [water()], 500, 2.0, roulette=box)
    np.testing.assert_array_equal(plain.charged.energy, played.charged.energy)
