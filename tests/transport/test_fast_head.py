"""The fast head: where particles go, with what weight, and that nothing is lost or made up."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import uproot
from fast_head_deliveries import (
    BOUNDARIES,
    CENTRES,
    M120,
    PAIRS,
    STX,
    arc,
    at_isocentre_plane,
    beam,
    closed_leaves,
    delivery,
    opening,
    photons,
)

from gatecheck.errors import UnsupportedPlanError
from gatecheck.linac.attenuation import removal_coefficient
from gatecheck.linac.geometry import path_in_jaw_pair, path_in_leaves
from gatecheck.linac.photon_source import focal_energy_table, relative_fluence_at
from gatecheck.transport.fast_head import (
    collimation,
    proposal,
    rays,
    sample,
    sample_phase_space,
    tables,
    write_phase_space_root,
)
from gatecheck.transport.model import PhaseSpace

Array = npt.NDArray[np.float64]


def energy_in(phase_space: PhaseSpace, region: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Photon energy in a region per nominal photon, and its sigma."""
    scores = (phase_space.weight * phase_space.energy)[region & photons(phase_space)]
    return scores.sum() / phase_space.nominal_photons, np.sqrt((scores**2).sum()) / phase_space.nominal_photons


def test_the_same_seed_gives_the_same_particles_bit_for_bit() -> None:
    first, again, other = (sample_phase_space(arc(), STX, 20_000, seed) for seed in (7, 7, 8))
    for name in ("energy", "position", "direction", "weight", "pdg_code", "beam_number"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.energy[:50], other.energy[:50])


def test_particles_lie_on_the_exit_plane_and_fly_along_unit_vectors() -> None:
    phase_space = sample_phase_space(delivery(beam()), STX, 20_000, 1)
    # Gantry 0, head first supine: the source is anterior, towards -y.
    assert phase_space.position[:, 1] == pytest.approx(STX.machine.exit_plane - STX.machine.source_axis_distance)
    assert np.linalg.norm(phase_space.direction, axis=1) == pytest.approx(1.0)
    assert np.all(phase_space.direction[:, 1] > 0)


@pytest.mark.parametrize(
    ("collimator", "expected_x", "expected_y"), [(0.0, 35.0, 20.0), (90.0, -20.0, 35.0), (270.0, 20.0, -35.0)]
)
def test_a_leaf_pair_is_where_the_plan_says(collimator: float, expected_x: float, expected_y: float) -> None:
    leaves = opening((30.0, 40.0), (17.5, 22.5))
    phase_space = sample_phase_space(delivery(beam(leaf_positions=leaves, collimator=collimator)), STX, 120_000, 2)
    x, y = at_isocentre_plane(phase_space)
    near = (np.abs(x) < 50) & (np.abs(y) < 50) & (phase_space.weight == 1)
    assert np.count_nonzero(near) > 2000
    # The opening is 10 mm x 5 mm: medians are known to some hundredths of a millimetre.
    assert np.median(x[near]) == pytest.approx(expected_x, abs=0.3)
    assert np.median(y[near]) == pytest.approx(expected_y, abs=0.3)


def test_a_mirrored_leaf_bank_gives_a_mirrored_field() -> None:
    """Pairs at +x and -x are told apart, and so are Y1 and Y2."""
    leaves = closed_leaves()
    leaves[:, np.argmin(np.abs(CENTRES - 31.25))] = (10.0, 20.0)
    leaves[:, np.argmin(np.abs(CENTRES + 16.25))] = (-30.0, -20.0)
    phase_space = sample_phase_space(delivery(beam(leaf_positions=leaves)), STX, 400_000, 3)
    x, y = at_isocentre_plane(phase_space)
    # Windows even about each pair, so that the wide extra-focal tails pull no median to a side.
    right = (phase_space.weight == 1) & (np.abs(x - 15) < 4.5) & (np.abs(y - 31.25) < 5)
    left = (phase_space.weight == 1) & (np.abs(x + 25) < 4.5) & (np.abs(y + 16.25) < 5)
    assert min(np.count_nonzero(right), np.count_nonzero(left)) > 1000
    assert np.median(y[right]) == pytest.approx(31.25, abs=0.2)
    assert np.median(y[left]) == pytest.approx(-16.25, abs=0.2)


def test_gantry_isocentre_and_patient_position_carry_the_beam_into_the_patient() -> None:
    isocentre = np.array([12.0, -34.0, 56.0])
    small = {"jaw_x": (-5.0, 5.0), "jaw_y": (-5.0, 5.0), "isocentre": tuple(isocentre)}
    # The source's side in the patient: gantry 90 is at the left of a supine patient, at the right of a prone one.
    for position, expected in (("HFS", (1.0, 0.0, 0.0)), ("HFP", (-1.0, 0.0, 0.0))):
        phase_space = sample_phase_space(
            delivery(beam(gantry=90.0, **small), patient_position=position), STX, 20_000, 4
        )
        inner = phase_space.weight == 1
        offset = (phase_space.position - isocentre)[inner]
        away = STX.machine.source_axis_distance - STX.machine.exit_plane
        assert np.median(offset, axis=0) == pytest.approx(np.array(expected) * away, abs=0.2)
        assert np.median(phase_space.direction[inner], axis=0) == pytest.approx(-np.array(expected), abs=2e-3)


def test_almost_all_weights_are_one_and_none_is_above_five() -> None:
    weight = sample_phase_space(arc(), STX, 400_000, 5).weight
    assert np.mean(weight == 1.0) > 0.9
    assert weight.max() <= 5.0 * (1 + 1e-9)


def test_no_source_photon_gives_much_more_than_its_own_weight() -> None:
    """Of a large open field, whose thin sample is heavy: one photon's copies and directions together.

    Places of interaction at most double a weight, and the photon itself may pass; what survives a roulette
    comes out with ten times the leakage weight at most. Before, a photon gave up to 70 times its weight.
    """
    emission_plan = sample.plan_emission(delivery(beam(jaw_x=(-100.0, 100.0), jaw_y=(-100.0, 100.0))), STX, 3_000_000)
    own, given = np.zeros(3_000_000), np.zeros(3_000_000)
    for emitted in sample.emitted_rays(emission_plan, 12):
        own[emitted.rows[:, rays.RAY_LABEL].astype(int)] = emitted.rows[:, rays.RAY_WEIGHT]
        for particles in sample.collimated(emitted, emission_plan.setting, np.zeros(len(collimation.FATES))):
            np.add.at(given, particles[:, collimation.LABEL].astype(int), particles[:, collimation.WEIGHT])
    assert np.count_nonzero((own > proposal.RIM_WEIGHT) & (given > 0)) > 100
    assert np.max(given - 3.0 * own) <= 10 * sample.LEAKAGE_WEIGHT


def test_fates_add_up_to_the_photons_emitted() -> None:
    phase_space = sample_phase_space(arc(), STX, 400_000, 6)
    fates = phase_space.fates
    parts = ("open", "transmitted", "interacted_in_jaws", "interacted_in_leaves")
    assert sum(fates[part] for part in parts) == pytest.approx(fates["emitted"], rel=1e-9)
    assert 0 < fates["scattered_out"] < fates["interacted_in_jaws"] + fates["interacted_in_leaves"]
    # The thin sample's photons that fall into the rectangles are left out at random: about 0.4 % of some 90,000.
    assert fates["emitted"] == pytest.approx(phase_space.nominal_photons, rel=5e-3)


def test_aiming_and_roulette_change_no_energy_fluence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against sampling the whole solid angle evenly; 8 regions, 3.5 sigma each: fails by chance once in 270."""
    leaves = opening((-12.0, 18.0), (-10.0, 20.0), closed_at=-25.0)
    plan = delivery(
        beam(jaw_x=(-40.0, 45.0), jaw_y=(-30.0, 35.0), leaf_positions=leaves, collimator=20.0),
        beam(number=2, total=40.0, jaw_x=(-30.0, 60.0), jaw_y=(-20.0, 20.0)),
    )
    aimed = sample_phase_space(plan, STX, 600_000, 10)
    original = proposal.stretches_of

    def nowhere(*arguments: Any) -> proposal.Stretches:
        stretches = original(*arguments)
        return stretches._replace(rectangle=stretches.rectangle * np.array([1, 0, 0, 1, 0, 0]))

    monkeypatch.setattr(proposal, "stretches_of", nowhere)
    monkeypatch.setattr(sample, "_divided", lambda histories, _: (0, histories))
    plain = sample_phase_space(plan, STX, 6_000_000, 11)
    assert plain.fates["emitted"] == pytest.approx(plain.nominal_photons, rel=0.002)
    regions = 0
    for number in (1, 2):
        for low, high in ((0, 10), (10, 40), (40, 90), (90, 400)):
            found = []
            for phase_space in (aimed, plain):
                x, y = at_isocentre_plane(phase_space)
                radius = np.hypot(x, y)
                chosen = (phase_space.beam_number == number) & (radius >= low) & (radius < high)
                found.append(energy_in(phase_space, chosen))
            (a, sigma_a), (b, sigma_b) = found
            assert b > 0
            assert abs(a - b) < 3.5 * np.hypot(sigma_a, sigma_b), f"beam {number}, radius {low} to {high} mm"
            regions += 1
    assert regions == 8


def test_uncollided_photons_agree_with_a_second_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Focal photons alone, through jaws and leaves, by the plain formula; 3 sigma of both samples."""
    monkeypatch.setattr(tables, "compton_coefficient", lambda _alloy, energy: np.zeros_like(energy))
    beam_model = STX.beam.model_copy(
        update={
            "extra_focal": STX.beam.extra_focal.model_copy(update={"fraction": 0.0}),
            "contaminant_electrons": STX.beam.contaminant_electrons.model_copy(update={"per_photon": 0.0}),
        }
    )
    linac = STX.model_copy(update={"beam": beam_model})
    leaves = opening((-20.0, 20.0), (-20.0, 20.0), closed_at=35.0)
    jaws = {"jaw_x": (-60.0, 50.0), "jaw_y": (-50.0, 70.0)}
    phase_space = sample_phase_space(delivery(beam(leaf_positions=leaves, **jaws)), linac, 400_000, 12)
    assert phase_space.fates["scattered_out"] == 0
    x, y = at_isocentre_plane(phase_space)
    side = 80.0
    weight = phase_space.weight[np.maximum(np.abs(x), np.abs(y)) < side]
    found, sigma_found = weight.sum(), np.sqrt((weight**2).sum())
    found, sigma_found = found / phase_space.nominal_photons, sigma_found / phase_space.nominal_photons

    random, count = np.random.default_rng(13), 60_000
    aim = random.uniform(-side, side, (2, count))
    radius = np.hypot(*aim)
    spot = random.multivariate_normal((0, 0), _spot_covariance(linac), count).T
    rays = np.column_stack([spot[0], (aim[0] - spot[0]) / 1000, spot[1], (aim[1] - spot[1]) / 1000])
    radii = np.arange(0.0, 120.0, 5.0)
    table = focal_energy_table(linac.beam, radii)
    quantile = random.uniform(size=count) * (table.shape[1] - 1)
    energy = np.array(
        [np.interp(q, np.arange(table.shape[1]), table[round(r / 5.0)]) for q, r in zip(quantile, radius, strict=True)]
    )
    machine = linac.machine
    in_jaws = sum(
        path_in_jaw_pair(
            rays, positions=jaws[f"jaw_{along}"], along=along, top=pair.top, bottom=pair.bottom, axis_distance=1000.0
        )
        for along, pair in (("x", machine.jaws.x), ("y", machine.jaws.y))
    )
    in_leaves = path_in_leaves(rays, leaves, machine.mlc, axis_distance=1000.0)
    passed = np.exp(
        -in_jaws * removal_coefficient(machine.jaws.alloy, energy)
        - in_leaves * removal_coefficient(machine.mlc.alloy, energy)
    )
    fine = np.linspace(0, machine.primary_collimator.opening_radius, 2001)
    emitted = np.trapezoid(2 * np.pi * fine * relative_fluence_at(linac.beam.off_axis, fine), fine)
    score = passed * relative_fluence_at(linac.beam.off_axis, radius) * (2 * side) ** 2 / emitted
    sigma = score.std() / np.sqrt(count)
    assert sigma / score.mean() < 0.02
    assert abs(score.mean() - found) < 3 * np.hypot(sigma, sigma_found)


def _spot_covariance(linac: Any) -> Array:
    spot = linac.beam.focal_spot
    angle = np.radians(spot.major_axis_from_inplane)
    along = np.array([np.sin(angle), np.cos(angle)])
    across = np.array([np.cos(angle), -np.sin(angle)])
    return np.outer(along, along) * spot.sigma_major**2 + np.outer(across, across) * spot.sigma_minor**2


def test_beams_get_photons_in_proportion_to_their_meterset() -> None:
    plan = delivery(beam(total=30.0), beam(number=2, total=70.0, gantry=90.0))
    phase_space = sample_phase_space(plan, STX, 200_000, 14)
    in_field = phase_space.weight == 1
    first = np.count_nonzero(in_field & (phase_space.beam_number == 1))
    total = np.count_nonzero(in_field)
    # Stratified moments: less scatter than the binomial's, which 3 sigma would allow.
    assert first / total == pytest.approx(0.3, abs=3 * np.sqrt(0.3 * 0.7 / total))


def test_a_nominal_photon_means_the_same_whatever_is_open() -> None:
    """Energy fluence on the axis per nominal photon grows by no more than extra-focal photons with the jaws."""
    values = []
    for half in (20.0, 50.0, 150.0):
        phase_space = sample_phase_space(delivery(beam(jaw_x=(-half, half), jaw_y=(-half, half))), STX, 500_000, 15)
        x, y = at_isocentre_plane(phase_space)
        values.append(energy_in(phase_space, np.hypot(x, y) < 12.0))
    relative = [value / values[1][0] for value, _ in values]
    sigma = [sigma / value for value, sigma in values]
    assert 0.93 < relative[0] < 1.0 + 3 * sigma[0]
    assert 1.0 - 3 * sigma[2] < relative[2] < 1.05


def test_backscatter_into_the_monitor_changes_photons_per_mu() -> None:
    table = STX.calibration.monitor_backscatter.model_copy(
        update={"x_opening": (40.0, 100.0), "photons_per_mu": ((0.97, 1.0),)}
    )
    linac = STX.model_copy(update={"calibration": STX.calibration.model_copy(update={"monitor_backscatter": table})})
    plan = delivery(beam(jaw_x=(-20.0, 20.0)))
    per_photon = []
    for model in (STX, linac):
        phase_space = sample_phase_space(plan, model, 200_000, 16)
        per_photon.append(phase_space.fates["open"] / phase_space.nominal_photons)
    # The same random numbers: the ratio is free of noise.
    assert per_photon[1] / per_photon[0] == pytest.approx(0.97, rel=1e-6)


def test_a_window_sliding_at_constant_speed_gives_an_even_field() -> None:
    """10 mm gap from x = -50 to +40 mm: every point between is open for the same time. 4 sigma of 8 bins."""
    leaves = np.stack([opening((a, a + 10.0), (-20.0, 20.0)) for a in (-50.0, 40.0)])
    phase_space = sample_phase_space(delivery(beam(leaf_positions=leaves)), STX, 1_000_000, 17)
    x, y = at_isocentre_plane(phase_space)
    chosen = (np.abs(y) < 15) & (phase_space.weight == 1) & photons(phase_space)
    counts, edges = np.histogram(x[chosen], bins=8, range=(-36, 36))
    expected = relative_fluence_at(STX.beam.off_axis, np.abs((edges[1:] + edges[:-1]) / 2))
    expected *= counts.sum() / expected.sum()
    assert counts.min() > 2000
    assert np.all(np.abs(counts - expected) < 4 * np.sqrt(expected))


def test_a_jump_between_segments_delivers_nothing_on_the_way() -> None:
    """Step and shoot: two nodes of equal meterset."""
    positions = [opening((x, x + 10.0), (-5.0, 5.0)) for x in (-40.0, -40.0, 30.0, 30.0)]
    step = beam(nodes=4, leaf_positions=np.stack(positions))
    step = dataclasses.replace(step, meterset=np.array([0.0, 50.0, 50.0, 100.0]))
    phase_space = sample_phase_space(delivery(step), STX, 100_000, 18)
    x, y = at_isocentre_plane(phase_space)
    inside = (np.abs(y) < 4) & (phase_space.weight == 1) & photons(phase_space)
    between = np.count_nonzero(inside & (np.abs(x) < 20))
    left, right = (np.count_nonzero(inside & (np.abs(x - centre) < 5)) for centre in (-35.0, 35.0))
    assert between < 0.02 * left
    assert left == pytest.approx(right, rel=4 * np.sqrt(2 / left))


def test_any_part_of_the_phase_space_covers_the_whole_delivery() -> None:
    phase_space = sample_phase_space(arc(), STX, 400_000, 19)
    part = slice(0, len(phase_space) // 10)
    angle = np.arctan2(phase_space.position[part, 0], -phase_space.position[part, 1])
    counts, _ = np.histogram(angle, bins=12, range=(-np.pi, np.pi))
    assert counts.min() > 0.7 * counts.mean()


def test_moments_are_stratified() -> None:
    """Gantry angles of an open arc spread far more evenly than independent ones would."""
    turning = delivery(beam(nodes=3, gantry=np.array([0.0, 170.0, 340.0]), jaw_x=(-5.0, 5.0), jaw_y=(-5.0, 5.0)))
    phase_space = sample_phase_space(turning, STX, 100_000, 20)
    chosen = phase_space.weight == 1
    angle = np.degrees(np.arctan2(phase_space.direction[chosen, 0], phase_space.direction[chosen, 1]))
    counts, _ = np.histogram((-angle) % 360.0, bins=34, range=(0, 340))
    kept = chosen.sum() / 95_000
    # Only whether an aimed photon passes is random: binomial, not Poisson.
    assert counts.std() < 1.6 * np.sqrt(counts.mean() * max(1 - kept, 0.05))


# Water, NISTIR 5632: mass attenuation and energy absorption, cm2/g.
_ENERGY = np.array([0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0])
_WATER = np.array(
    [0.1707, 0.1370, 0.1186, 0.09687, 0.07865, 0.07072, 0.05754, 0.04942, 0.03969, 0.03403, 0.03031, 0.0277]
)
_ABSORBED = np.array(
    [0.02546, 0.02967, 0.03192, 0.03299, 0.03206, 0.03103, 0.02833, 0.02608, 0.02281, 0.02066, 0.01915, 0.01806]
)


def primary_dose_at_100_mm(energy: Array) -> Array:
    """Relative primary dose in water at 100 mm depth per photon of an energy."""
    absorbed = np.interp(energy, _ENERGY, _ABSORBED)
    return np.asarray(energy * absorbed * np.exp(-10 * np.interp(energy, _ENERGY, _WATER)))


def mean_transmission(linac: Any, half: float, seed: int) -> tuple[float, float]:
    """Dose at 100 mm depth below closed leaves over that without leaves, inside of a jaw opening."""
    pairs = len(linac.machine.mlc.boundaries) - 1
    boundaries = np.array(linac.machine.mlc.boundaries)
    jaws = {"jaw_x": (-half, half), "jaw_y": (-half, half)}
    closed = beam(leaf_positions=np.full((2, pairs), -140.0), leaf_boundaries=boundaries, **jaws)
    results = []
    for one, histories in ((closed, 6_000_000), (beam(**jaws), 800_000)):
        phase_space = sample_phase_space(delivery(one), linac, histories, seed)
        x, y = at_isocentre_plane(phase_space)
        inside = (np.abs(x) < half - 10) & (np.abs(y) < half - 10) & photons(phase_space)
        scores = (phase_space.weight * primary_dose_at_100_mm(phase_space.energy))[inside]
        results.append(
            (scores.sum() / phase_space.nominal_photons, np.sqrt((scores**2).sum()) / phase_space.nominal_photons)
        )
    (a, sigma_a), (b, sigma_b) = results
    return a / b, a / b * float(np.hypot(sigma_a / a, sigma_b / b))


def test_closed_hd120_leaves_transmit_about_the_published_share() -> None:
    """Novalis Tx, HD120, 6 MV: 1.17 % (Wang et al. 2009)."""
    value, sigma = mean_transmission(STX, 50.0, 21)
    assert sigma < 0.0005
    assert value == pytest.approx(0.0117, abs=0.002)


def test_closed_millennium_leaves_transmit_about_the_published_share() -> None:
    """1.5 to 1.7 % at 6 MV (LoSasso et al., Med. Phys. 25 (1998) 1919; Heath and Seuntjens 2003)."""
    value, sigma = mean_transmission(M120, 50.0, 22)
    assert sigma < 0.0007
    assert value == pytest.approx(0.016, abs=0.003)


def test_a_plan_for_another_mlc_is_refused() -> None:
    plan = delivery(beam(leaf_positions=closed_leaves(), leaf_boundaries=BOUNDARIES))
    with pytest.raises(UnsupportedPlanError, match=r"MLC of 60 leaf pairs unknown to the machine truebeam_m120"):
        sample_phase_space(plan, M120, 1000, 1)


def test_a_plan_of_another_energy_is_refused() -> None:
    with pytest.raises(UnsupportedPlanError, match="10 MV STANDARD found"):
        sample_phase_space(delivery(beam(nominal_energy_mv=10.0)), STX, 1000, 1)


def test_no_histories_and_no_meterset_are_refused() -> None:
    with pytest.raises(ValueError, match="histories"):
        sample_phase_space(delivery(beam()), STX, 0, 1)
    with pytest.raises(ValueError, match="meterset"):
        sample_phase_space(delivery(beam(total=0.0)), STX, 1000, 1)


def test_leaves_closed_behind_the_jaws_give_leakage_only() -> None:
    leaves = closed_leaves(at=150.0)
    phase_space = sample_phase_space(delivery(beam(leaf_positions=leaves)), STX, 50_000, 23)
    assert phase_space.fates["open"] < 0.002 * phase_space.fates["emitted"]
    assert len(phase_space) > 0
    assert leaves.shape[1] == PAIRS


def test_the_root_file_holds_what_gate_reads(tmp_path: Path) -> None:
    phase_space = sample_phase_space(delivery(beam()), STX, 5_000, 24)
    path = tmp_path / "phase-space.root"
    write_phase_space_root(phase_space, path)
    with uproot.open(path) as file:
        assert file.keys(cycle=False) == ["phsp"]
        tree = file["phsp"].arrays(library="np")
    assert np.array_equal(tree["KineticEnergy"], phase_space.energy.astype(np.float32))
    assert np.array_equal(tree["PDGCode"], phase_space.pdg_code)
    assert tree["Weight"].dtype == np.float32
    for axis, name in enumerate("XYZ"):
        assert np.array_equal(tree[f"PrePosition_{name}"], phase_space.position[:, axis].astype(np.float32))
        assert np.array_equal(tree[f"PreDirection_{name}"], phase_space.direction[:, axis].astype(np.float32))
    assert [entry.name for entry in tmp_path.iterdir()] == ["phase-space.root"]


def test_sampling_leaves_the_delivery_as_it_was() -> None:
    plan = arc()
    before = plan.beams[0].leaf_positions
    assert before is not None
    kept = before.copy()
    sample_phase_space(plan, STX, 1000, 25)
    assert np.array_equal(before, kept)
