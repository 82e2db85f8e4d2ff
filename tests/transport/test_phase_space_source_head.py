"""A phase space through jaws and leaves: on the right side, at the right moment, with the right weight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fast_head_deliveries import STX, arc, at_isocentre_plane, beam, delivery, opening, photons
from iaea_files import Particles, particles, write_phase_space

from gatecheck.config import PhaseSpaceConfig
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.fast_head.rays import (
    RAY_ENERGY,
    RAY_PDG,
    RAY_SLOPE_X,
    RAY_SLOPE_Y,
    RAY_WEIGHT,
    RAY_X0,
    RAY_Y0,
)
from gatecheck.transport.fast_head.sample import emitted_rays, plan_emission
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.phase_space_source import HistoryRun, SampledHistories, open_source, sample, sample_histories
from gatecheck.transport.phase_space_source import source as source_module

Array = npt.NDArray[np.float64]

WIDE = {"jaw_x": (-200.0, 200.0), "jaw_y": (-200.0, 200.0)}
_PLANE = 26.7  # cm


def from_target(count: int, x: Any = 0.0, y: Any = 0.0, **columns: Any) -> Particles:
    """Particles of the target that fly towards (x, y) of the isocentre plane, mm along the file's axes."""
    length = np.sqrt(np.square(x) + np.square(y) + 1000.0**2)
    return particles(
        count,
        **{
            "x": np.multiply(x, _PLANE / 1000),
            "y": np.multiply(y, _PLANE / 1000),
            "u": np.divide(x, length),
            "v": np.divide(y, length),
            "w": 1000 / length,
            **columns,
        },
    )


def sampled(
    header: Path,
    plan: Any = None,
    *,
    run: tuple[int, int] | None = None,
    seed: int = 1,
    linac: Any = STX,
    **config: Any,
) -> SampledHistories:
    source = open_source(PhaseSpaceConfig(files=(header,), **config), linac)
    histories = HistoryRun(*run) if run is not None else HistoryRun(0, source.summary.histories)
    return sample_histories(source, plan or delivery(beam(**WIDE)), linac, histories, seed)


@pytest.mark.parametrize(
    ("config", "expected_x", "expected_y"),
    [
        # Flying towards +z, right-handed: y of the file is -y_g.
        ({}, 30.0, -10.0),
        ({"y_axis": "+y"}, 30.0, 10.0),
        ({"x_axis": "-x"}, -30.0, 10.0),
        ({"x_axis": "+y"}, 10.0, 30.0),
        ({"x_axis": "-y", "y_axis": "+x"}, 10.0, -30.0),
    ],
)
@pytest.mark.parametrize("collimator", [0.0, 90.0, 200.0])
def test_an_asymmetric_source_comes_out_on_the_side_that_its_axes_say_at_any_collimator_angle(
    tmp_path: Path, config: dict[str, Any], expected_x: float, expected_y: float, collimator: float
) -> None:
    header = write_phase_space(tmp_path / "beam", from_target(50, 30.0, 10.0))
    phase_space = sampled(header, delivery(beam(collimator=collimator, **WIDE)), **config).phase_space
    assert len(phase_space) == 50
    x, y = at_isocentre_plane(phase_space)
    assert x == pytest.approx(np.full(50, expected_x), abs=1e-3)
    assert y == pytest.approx(np.full(50, expected_y), abs=1e-3)


def test_a_source_in_the_gantry_s_own_system_needs_no_axes(tmp_path: Path) -> None:
    content = from_target(20, 30.0, 10.0, z=73.3)
    content.w *= -1
    phase_space = sampled(write_phase_space(tmp_path / "beam", content), target_z=1000.0).phase_space
    x, y = at_isocentre_plane(phase_space)
    assert x == pytest.approx(np.full(20, 30.0), abs=1e-3)
    assert y == pytest.approx(np.full(20, 10.0), abs=1e-3)


def test_the_source_turns_with_the_gantry(tmp_path: Path) -> None:
    """Gantry 90, head first supine: the source is at the patient's left, x_g points to the back, y_g to the head."""
    header = write_phase_space(tmp_path / "beam", from_target(20, 30.0, 10.0))
    phase_space = sampled(header, delivery(beam(gantry=90.0, **WIDE)), y_axis="+y").phase_space
    assert np.all(phase_space.direction[:, 0] < -0.99)
    way = -phase_space.position[:, 0] / phase_space.direction[:, 0]
    at_isocentre = phase_space.position + way[:, None] * phase_space.direction
    assert at_isocentre == pytest.approx(np.tile([0.0, 30.0, 10.0], (20, 1)), abs=1e-3)
    from_source = phase_space.position[:, 0]
    assert from_source == pytest.approx(STX.machine.source_axis_distance - STX.machine.exit_plane, abs=1e-6)


@pytest.mark.parametrize(
    ("collimator", "jaw_x", "jaw_y", "passes"),
    [
        (0.0, (25.0, 35.0), (5.0, 15.0), True),
        (0.0, (-35.0, -25.0), (5.0, 15.0), False),
        # At 90 degrees x_b lies along y_g and y_b along -x_g.
        (90.0, (5.0, 15.0), (-35.0, -25.0), True),
        (90.0, (5.0, 15.0), (25.0, 35.0), False),
        (270.0, (-15.0, -5.0), (25.0, 35.0), True),
    ],
)
def test_jaws_turn_below_the_phase_space(
    tmp_path: Path, collimator: float, jaw_x: tuple[float, float], jaw_y: tuple[float, float], passes: bool
) -> None:
    header = write_phase_space(tmp_path / "beam", from_target(200, 30.0, 10.0))
    plan = delivery(beam(collimator=collimator, jaw_x=jaw_x, jaw_y=jaw_y))
    weight = sampled(header, plan, y_axis="+y").phase_space.weight
    if passes:
        assert weight.tolist() == [1.0] * 200
    else:
        # 79 mm of tungsten alloy twice let less than a thousandth pass.
        assert weight.sum() < 10


def test_leaves_shadow_the_phase_space(tmp_path: Path) -> None:
    leaves = opening((25.0, 35.0), (5.0, 15.0))
    plan = delivery(beam(leaf_positions=leaves, **WIDE))
    here = write_phase_space(tmp_path / "here", from_target(200, 30.0, 10.0))
    there = write_phase_space(tmp_path / "there", from_target(2000, 30.0, -10.0))
    assert sampled(here, plan, y_axis="+y").phase_space.weight.sum() == 200
    # One leaf of tungsten alloy lets 1 to 2 % of a 6 MV beam through, less of 1 MeV: well below a tenth in any case.
    assert sampled(there, plan, y_axis="+y").phase_space.weight.sum() < 200


def _gantry(phase_space: PhaseSpace) -> Array:
    """Angle at which particles on the axis left an isocentric head, head first supine, degrees."""
    return np.degrees(np.arctan2(phase_space.position[:, 0], -phase_space.position[:, 1]))


def _round_trip() -> Any:
    nodes = 73
    return delivery(beam(nodes=nodes, gantry=np.linspace(-180.0, 180.0, nodes), **WIDE))


def test_particles_of_a_history_share_its_moment_and_histories_cover_the_delivery_evenly(tmp_path: Path) -> None:
    count = 300
    content = from_target(3 * count, new=np.arange(3 * count) % 3 == 0)
    result = sampled(write_phase_space(tmp_path / "beam", content), _round_trip())
    angle = _gantry(result.phase_space)
    for history in range(count):
        (its,) = np.split(angle[result.history == history], 1)
        assert len(its) == 3
        assert np.ptp(its) == 0
        # One history in each of equal strata of the meterset, in the order of the file.
        assert -180 + 360 * history / count <= its[0] + 1e-9
        assert its[0] - 1e-9 <= -180 + 360 * (history + 1) / count


def test_recycled_histories_have_as_many_moments_spread_over_the_delivery(tmp_path: Path) -> None:
    count, recycle = 200, 4
    header = write_phase_space(tmp_path / "beam", from_target(count), original_histories=1000)
    result = sampled(header, _round_trip(), recycle=recycle)
    assert len(result.phase_space) == count * recycle == result.phase_space.histories
    assert result.phase_space.nominal_photons == pytest.approx(1000 * recycle)
    angle = _gantry(result.phase_space)
    for history in range(count):
        its = np.sort(angle[result.history == history])
        assert len(np.unique(its)) == recycle
        assert np.diff(its) == pytest.approx(np.full(recycle - 1, 90.0), abs=360 / count)


def test_histories_are_shuffled_whole_with_all_their_uses(tmp_path: Path) -> None:
    content = from_target(900, new=np.arange(900) % 3 == 0)
    result = sampled(write_phase_space(tmp_path / "beam", content), recycle=5)
    history = result.history
    changes = np.flatnonzero(np.diff(history))
    assert len(history) == 4500
    assert len(changes) + 1 == len(np.unique(history)) == 300
    order = history[np.concatenate([[0], changes + 1])]
    assert not np.array_equal(order, np.sort(order))
    # Any leading part covers the whole file: the mean of the first 100 of 300 numbers, sigma 7.
    assert order[:100].mean() == pytest.approx(149.5, abs=4 * 7)


def test_the_same_run_and_seed_give_the_same_particles_however_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(8)
    x, y = random.uniform(-60, 60, (2, 3000))
    header = write_phase_space(tmp_path / "beam", from_target(3000, x, y, new=np.arange(3000) % 4 == 0))
    plan = delivery(beam(nodes=5, gantry=np.linspace(0, 90, 5)))
    first = sampled(header, plan, run=(100, 400), seed=5)
    monkeypatch.setattr(source_module, "BLOCK", 97)
    again = sampled(header, plan, run=(100, 400), seed=5)
    other = sampled(header, plan, run=(100, 400), seed=6)
    for name in ("energy", "position", "direction", "weight", "pdg_code", "beam_number"):
        assert np.array_equal(getattr(first.phase_space, name), getattr(again.phase_space, name))
    assert np.array_equal(first.history, again.history)
    assert first.history.min() >= 100
    assert first.history.max() < 500
    assert not np.array_equal(first.phase_space.position[:50], other.phase_space.position[:50])


def test_particles_are_turned_about_the_axis_only_if_asked(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", from_target(400, 30.0, 10.0))
    x, y = at_isocentre_plane(sampled(header, recycle=3).phase_space)
    assert np.ptp(x) < 1e-6
    assert np.ptp(y) < 1e-6
    x, y = at_isocentre_plane(sampled(header, recycle=3, rotate=True).phase_space)
    assert np.hypot(x, y) == pytest.approx(np.full(1200, np.hypot(30.0, 10.0)), abs=1e-3)
    # 1200 even angles: the mean of each coordinate has a sigma of 31.6 / sqrt(2400) = 0.65 mm; 4 sigma.
    assert abs(x.mean()) < 2.6
    assert abs(y.mean()) < 2.6


def test_particles_of_one_history_are_turned_together(tmp_path: Path) -> None:
    content = from_target(200, np.tile([30.0, 0.0], 100), np.tile([0.0, 30.0], 100), new=np.arange(200) % 2 == 0)
    result = sampled(write_phase_space(tmp_path / "beam", content), rotate=True)
    x, y = at_isocentre_plane(result.phase_space)
    angle = np.degrees(np.arctan2(y, x)).reshape(-1, 2)
    assert np.all(result.history.reshape(-1, 2).std(axis=1) == 0)
    assert np.abs((angle[:, 1] - angle[:, 0]) % 180) == pytest.approx(np.full(100, 90.0), abs=1e-3)


def test_photons_electrons_and_positrons_stay_what_they_are_and_charged_ones_end_in_metal(tmp_path: Path) -> None:
    kind = np.tile([1, 2, 3], 100)
    header = write_phase_space(tmp_path / "beam", from_target(300, 30.0, 10.0, kind=kind))
    codes, counts = np.unique(sampled(header).phase_space.pdg_code, return_counts=True)
    assert dict(zip(codes.tolist(), counts.tolist(), strict=True)) == {-11: 100, 11: 100, 22: 100}
    closed = sampled(header, delivery(beam(jaw_x=(-50.0, -40.0)))).phase_space
    assert set(closed.pdg_code.tolist()) <= {22}


def test_neutrons_protons_and_particles_that_fly_back_or_aside_are_left_out_and_said(tmp_path: Path) -> None:
    content = from_target(50, kind=np.repeat([1, 4, 5, 1, 1], 10), weight=2.0)
    content.w[30:40] *= -1
    content.u[40:], content.w[40:] = 0.995, np.sqrt(1 - 0.995**2)
    header = write_phase_space(tmp_path / "beam", content, stored=("x", "y", "u", "v", "w", "weight"))
    phase_space = sampled(header).phase_space
    assert len(phase_space) == 10
    assert phase_space.fates["emitted"] == pytest.approx(20)
    summary = open_source(PhaseSpaceConfig(files=(header,)), STX).summary
    assert summary.files[0].not_followed == pytest.approx(0.8)
    assert any("80 % of the energy are not followed" in warning for warning in summary.warnings)


@pytest.mark.parametrize("weight", [1e-6, 0.1, 250.0])
def test_weights_scale_the_result_and_nothing_else(tmp_path: Path, weight: float) -> None:
    random = np.random.default_rng(4)
    x, y = random.uniform(-60, 60, (2, 2000))
    one = write_phase_space(tmp_path / "one", from_target(2000, x, y), original_histories=5000)
    scaled = write_phase_space(
        tmp_path / "scaled",
        from_target(2000, x, y, weight=weight),
        stored=("x", "y", "u", "v", "w", "weight"),
        original_histories=5000,
    )
    plan = delivery(beam(leaf_positions=opening((-20.0, 30.0), (-15.0, 15.0))))
    first, second = sampled(one, plan).phase_space, sampled(scaled, plan).phase_space
    assert second.weight == pytest.approx(weight * first.weight, rel=1e-6)
    assert second.nominal_photons == first.nominal_photons == pytest.approx(5000)
    assert second.fates["emitted"] == pytest.approx(weight * 2000, rel=1e-6)


def test_unequal_weights_keep_the_energy_through_an_opening(tmp_path: Path) -> None:
    """Some are split, others play roulette: 4 sigma of the roulette."""
    weight = np.tile([0.2, 1.0, 7.0], 3000)
    content = from_target(9000, 10.0, 5.0, weight=weight)
    header = write_phase_space(tmp_path / "beam", content, stored=("x", "y", "u", "v", "w", "weight"))
    found = sampled(header).phase_space.weight
    typical = np.median(weight)
    # A weight w below the typical one survives with chance w / typical and then weighs as much as that.
    sigma = np.sqrt((weight * (typical - weight))[weight < typical].sum())
    assert found.sum() == pytest.approx(weight.sum(), abs=4 * sigma)
    assert found.max() <= typical * (1 + 1e-9)


def test_soft_photons_pass_an_opening_and_no_metal(tmp_path: Path) -> None:
    header = write_phase_space(tmp_path / "beam", from_target(300, 10.0, 5.0, energy=0.03))
    phase_space = sampled(header).phase_space
    assert phase_space.energy == pytest.approx(np.full(300, 0.03), rel=1e-6)
    assert len(sampled(header, delivery(beam(jaw_x=(-50.0, -40.0)))).phase_space) == 0


def test_backscatter_into_the_monitor_chamber_scales_nominal_photons(tmp_path: Path) -> None:
    table = STX.calibration.monitor_backscatter.model_copy(
        update={"x_opening": (100.0,), "y_opening": (100.0,), "photons_per_mu": ((1.25,),)}
    )
    calibration = STX.calibration.model_copy(update={"monitor_backscatter": table})
    linac = STX.model_copy(update={"calibration": calibration})
    header = write_phase_space(tmp_path / "beam", from_target(100), original_histories=1000)
    # 1000 original histories are then 1.25 times as much per MU as at the reference field.
    assert sampled(header, linac=linac).phase_space.nominal_photons == pytest.approx(800)


def test_public_example_goes_through_the_head(shared_folder: Callable[[str], Path]) -> None:
    header = shared_folder("data/iaea_phsp") / "PSF_example.IAEAheader"
    phase_space = sampled(header, recycle=2).phase_space
    codes, counts = np.unique(phase_space.pdg_code, return_counts=True)
    assert dict(zip(codes.tolist(), counts.tolist(), strict=True)) == {-11: 80, 11: 80, 22: 80}
    assert phase_space.weight == pytest.approx(np.full(240, 0.1), rel=1e-6)
    assert phase_space.nominal_photons == pytest.approx(2000)


@pytest.fixture(scope="module")
def model_s_own_phase_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the source model emits, over its whole solid angle, written at 267 mm.

    Aimed at 160 x 160 mm, where photons have weight 1; farther out there are fewer and heavier ones.
    """
    plan = plan_emission(delivery(beam(jaw_x=(-80.0, 80.0), jaw_y=(-80.0, 80.0))), STX, 900_000)
    rows = np.concatenate([rays.rows for rays in emitted_rays(plan, 77)])
    # The source model emits component after component; a recorded phase space has its histories in no order.
    np.random.default_rng(78).shuffle(rows)
    length = np.sqrt(1 + rows[:, RAY_SLOPE_X] ** 2 + rows[:, RAY_SLOPE_Y] ** 2)
    content = particles(
        len(rows),
        kind=np.where(rows[:, RAY_PDG] == 22, 1, 2),
        energy=rows[:, RAY_ENERGY],
        x=(rows[:, RAY_X0] + 10 * _PLANE * rows[:, RAY_SLOPE_X]) / 10,
        y=(rows[:, RAY_Y0] + 10 * _PLANE * rows[:, RAY_SLOPE_Y]) / 10,
        u=rows[:, RAY_SLOPE_X] / length,
        v=rows[:, RAY_SLOPE_Y] / length,
        w=1 / length,
        weight=rows[:, RAY_WEIGHT],
    )
    return write_phase_space(
        tmp_path_factory.mktemp("phase_space") / "model",
        content,
        stored=("x", "y", "u", "v", "w", "weight"),
        original_histories=round(plan.nominal_photons),
    )


def _scores(phase_space: PhaseSpace, chosen: npt.NDArray[np.bool_]) -> Array:
    return (phase_space.weight * phase_space.energy / np.abs(phase_space.direction[:, 1]))[chosen]


def _fluence(
    phase_space: PhaseSpace, chosen: npt.NDArray[np.bool_], history: npt.NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """Energy fluence times area per nominal photon, and its sigma; particles of one history count together."""
    scores = _scores(phase_space, chosen)
    if history is not None:
        scores = np.bincount(np.unique(history[chosen], return_inverse=True)[1], weights=scores)
    return scores.sum() / phase_space.nominal_photons, float(np.sqrt((scores**2).sum()) / phase_space.nominal_photons)


def _regions(phase_space: PhaseSpace) -> dict[str, npt.NDArray[np.bool_]]:
    x, y = at_isocentre_plane(phase_space)
    photon = photons(phase_space)
    inside = (x > -20) & (x < 40) & (y > -15) & (y < 15)
    near = (x > -35) & (x < 55) & (y > -30) & (y < 30)
    return {
        "left half of the opening": photon & inside & (x < 10),
        "right half of the opening": photon & inside & (x >= 10),
        "upper half of the opening": photon & inside & (y > 0),
        "edges": photon & near & ~inside,
        "outside": photon & ~near & (np.abs(x) < 150) & (np.abs(y) < 150),
        "electrons": (phase_space.pdg_code == 11) & (np.abs(x) < 300) & (np.abs(y) < 300),
    }


def _plan_of_the_comparison() -> Any:
    # Collimator 0, so that the regions lie along the leaves; both ends of x and y differ.
    leaves = opening((-20.0, 40.0), (-15.0, 15.0))
    return delivery(beam(jaw_x=(-25.0, 45.0), jaw_y=(-20.0, 20.0), leaf_positions=leaves))


def test_the_source_model_s_own_phase_space_gives_the_energy_fluence_of_the_source_model(
    model_s_own_phase_space: Path,
) -> None:
    """Six regions at 3 sigma each: fails by chance once in 60; the opening's halves are known to 1 %."""
    plan = _plan_of_the_comparison()
    model = sample_phase_space(plan, STX, 600_000, 11)
    result = sampled(model_s_own_phase_space, plan, y_axis="+y")
    recorded = _regions(result.phase_space)
    for name, region in _regions(model).items():
        expected, sigma_expected = _fluence(model, region)
        found, sigma_found = _fluence(result.phase_space, recorded[name], result.history)
        sigma = np.hypot(sigma_expected, sigma_found)
        assert abs(found - expected) < 3 * sigma, f"{name}: {found:.5g} and {expected:.5g}, sigma {sigma:.2g}"
        if "half" in name:
            assert sigma < 0.013 * expected


def test_recycling_changes_no_energy_fluence_and_sigma_falls_no_lower_than_the_latent_one(
    model_s_own_phase_space: Path,
) -> None:
    """A static field through an opening: each use of a photon is the same, so its fluence is as uncertain as before."""
    plan = delivery(beam(jaw_x=(-50.0, 50.0), jaw_y=(-50.0, 50.0)))
    run = (0, 150_000)
    once = sampled(model_s_own_phase_space, plan, run=run, y_axis="+y")
    often = sampled(model_s_own_phase_space, plan, run=run, y_axis="+y", recycle=4)
    x, y = at_isocentre_plane(once.phase_space)
    x4, y4 = at_isocentre_plane(often.phase_space)
    first, sigma = _fluence(once.phase_space, photons(once.phase_space) & (np.abs(x) < 20) & (np.abs(y) < 20))
    region = photons(often.phase_space) & (np.abs(x4) < 20) & (np.abs(y4) < 20)
    second, by_particle = _fluence(often.phase_space, region)
    _, by_history = _fluence(often.phase_space, region, often.history)
    # Only what the jaws scatter into the square, less than 1 % of the fluence, differs from use to use.
    assert abs(second - first) < 0.25 * sigma
    assert by_history == pytest.approx(sigma, rel=0.03)
    assert by_particle == pytest.approx(sigma / 2, rel=0.03)
    # The latent uncertainty is stated for 40 x 40 mm, too, and for as many of the histories.
    source = open_source(PhaseSpaceConfig(files=(model_s_own_phase_space,), y_axis="+y"), STX)
    latent = source.latent_relative_sigma(150_000)["40"]
    assert latent is not None
    # Jaws at 50 mm leave the inner 40 x 40 mm alone; the sigma from so many photons is good to some per cent.
    assert sigma / first == pytest.approx(latent, rel=0.05)


def test_following_leakage_as_thin_sample_is_unbiased(
    model_s_own_phase_space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against following every photon as one aimed at the opening: six regions at 3.5 sigma; by chance once in 360."""
    plan = _plan_of_the_comparison()
    usual = sampled(model_s_own_phase_space, plan, y_axis="+y", seed=3)
    monkeypatch.setattr(sample, "_goes_to_opening", lambda rows, stretches: np.ones(len(rows), dtype=bool))
    plain = sampled(model_s_own_phase_space, plan, y_axis="+y", seed=4)
    regions = _regions(plain.phase_space)
    for name, region in _regions(usual.phase_space).items():
        first, sigma_first = _fluence(usual.phase_space, region, usual.history)
        second, sigma_second = _fluence(plain.phase_space, regions[name], plain.history)
        assert abs(first - second) < 3.5 * np.hypot(sigma_first, sigma_second), name
    assert len(usual.phase_space) < len(plain.phase_space)


def test_an_arc_with_moving_leaves_gives_the_fluence_of_the_source_model(model_s_own_phase_space: Path) -> None:
    """Energy below the head per nominal photon over a full arc; 3 sigma, by chance once in 370."""
    model = sample_phase_space(arc(), STX, 300_000, 21)
    result = sampled(model_s_own_phase_space, arc(), y_axis="+y", recycle=3)

    def energy(phase_space: PhaseSpace, history: npt.NDArray[np.int64] | None) -> tuple[float, float]:
        chosen = photons(phase_space)
        scores = (phase_space.weight * phase_space.energy)[chosen]
        if history is not None:
            scores = np.bincount(np.unique(history[chosen], return_inverse=True)[1], weights=scores)
        return scores.sum() / phase_space.nominal_photons, float(
            np.sqrt((scores**2).sum()) / phase_space.nominal_photons
        )

    expected, sigma_expected = energy(model, None)
    found, sigma_found = energy(result.phase_space, result.history)
    assert abs(found - expected) < 3 * np.hypot(sigma_expected, sigma_found)
    assert sigma_found < 0.03 * found
