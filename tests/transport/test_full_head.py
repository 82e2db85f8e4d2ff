"""The full head's solids, source and coordinates, without the engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fast_head_deliveries import BOUNDARIES, M120, PAIRS, STX, arc, beam, closed_leaves, delivery, opening

from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.coordinates import beam_limiting_device_to_patient
from gatecheck.delivery.segments import segmented
from gatecheck.errors import InputError, SimulationError
from gatecheck.linac.geometry import path_in_jaw_pair, path_in_leaves
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head.rays import PHOTON_PDG, RAY_COLUMNS, RAY_ENERGY, RAY_PDG, RAY_WEIGHT
from gatecheck.transport.fast_head.sample import LEAKAGE_WEIGHT
from gatecheck.transport.full_head.exit import Crossings, copies_for_patient, fates_of, in_patient
from gatecheck.transport.full_head.simulate import explained, run_full_head
from gatecheck.transport.full_head.solids import JawBlock, LeafPiece, Leaves, jaw_blocks, leaves_of
from gatecheck.transport.full_head.source import (
    EngineSource,
    as_geant4_reads,
    copies_of,
    parts_of,
    source_for_engine,
)
from gatecheck.transport.full_head.states import states_of

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
SAD = 1000.0


def in_jaw(points: Array, jaw: JawBlock, position: float) -> Flags:
    """Whether points (n, 3) of the beam limiting device system lie in a jaw as GATE gets it."""
    pose = jaw.pose(position, SAD)
    own = (points - pose.translation) @ pose.rotation
    travel, across = (own[:, 0], own[:, 1]) if jaw.along == "x" else (own[:, 1], own[:, 0])
    away, depth = jaw.bank * travel, -own[:, 2]
    inside = (away > 0) & (away < jaw.length) & (np.abs(across) < jaw.half_width)
    inside &= (depth > jaw.top) & (depth < jaw.bottom)
    trimmed = depth + jaw.trim_tangent * away > jaw.bottom * np.hypot(1, jaw.trim_tangent)
    return np.asarray(inside & ~trimmed)


def in_piece(points: Array, piece: LeafPiece, leaves: Leaves, position: float) -> Flags:
    """Whether points (n, 3) of the beam limiting device system lie in a piece of a leaf as GATE gets it."""
    x, y, s = points[:, 0] - leaves.arc_centre(position, piece.bank), points[:, 1], SAD - points[:, 2]
    share = (s - piece.top) / (piece.bottom - piece.top)
    low = piece.low_at_top + share * (piece.low_at_bottom - piece.low_at_top)
    high = piece.high_at_top + share * (piece.high_at_bottom - piece.high_at_top)
    inside = (share > 0) & (share < 1) & (y > low) & (y < high)
    inside &= (x > min(piece.near, piece.far)) & (x < max(piece.near, piece.far))
    if piece.is_tip:
        inside &= np.hypot(x, s - leaves.leaf_centre) < leaves.tip_radius
    return np.asarray(inside)


def rays_within_the_primary_collimator(count: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    radius, angle = 240 * np.sqrt(random.random(count)), 2 * np.pi * random.random(count)
    start = random.normal(0, 1.0, (2, count))
    aim = np.array([radius * np.cos(angle), radius * np.sin(angle)])
    slope = (aim - start) / SAD
    return np.column_stack([start[0], slope[0], start[1], slope[1]])


def points_along(ray: Array, s: Array) -> Array:
    return np.column_stack([ray[0] + ray[1] * s, ray[2] + ray[3] * s, SAD - s])


@pytest.mark.parametrize("linac", [STX, M120], ids=lambda linac: linac.name)
def test_leaf_pieces_fill_what_the_fast_heads_rays_meet(linac: LinacModel) -> None:
    leaves = leaves_of(linac.machine)
    positions = np.sort(np.random.default_rng(4).uniform(-180, 180, (2, PAIRS)), axis=0)
    mlc, points = linac.machine.mlc, 1500
    s = mlc.leaf_centre + ((np.arange(points) + 0.5) / points - 0.5) * mlc.leaf_height
    rays = rays_within_the_primary_collimator(60, 5)
    expected = path_in_leaves(rays, positions, mlc, axis_distance=SAD)
    for ray, length in zip(rays, expected, strict=True):
        hits = np.zeros(points)
        along = points_along(ray, s)
        for piece in leaves.pieces:
            hits += in_piece(along, piece, leaves, positions[0 if piece.bank < 0 else 1, piece.pair])
        # No place belongs to two pieces, whatever their neighbours do.
        assert hits.max() <= 1
        found = hits.mean() * mlc.leaf_height * np.sqrt(1 + ray[1] ** 2 + ray[3] ** 2)
        # A handful of surfaces, each found within half a spacing of the points.
        assert found == pytest.approx(length, abs=4 * mlc.leaf_height / points)
    assert np.count_nonzero(expected) > 20


@pytest.mark.parametrize(
    ("jaw_x", "jaw_y"),
    [((-50.0, 30.0), (-20.0, 60.0)), ((-200.0, 200.0), (-200.0, 200.0)), ((-20.0, 20.0), (-5.0, 0.0))],
)
def test_jaw_blocks_fill_what_the_fast_heads_rays_meet(jaw_x: tuple[float, float], jaw_y: tuple[float, float]) -> None:
    jaws = jaw_blocks(STX.machine, min(jaw_y[1], -jaw_y[0]))
    points = 8000
    s = 200.0 + (np.arange(points) + 0.5) / points * 275.0
    rays = rays_within_the_primary_collimator(200, 6)
    for along in ("x", "y"):
        pair = STX.machine.jaws.x if along == "x" else STX.machine.jaws.y
        positions = jaw_x if along == "x" else jaw_y
        expected = path_in_jaw_pair(
            rays,
            positions=positions,
            along=along,
            top=pair.top,
            bottom=pair.bottom,
            axis_distance=pair.turning_distance(SAD),
        )
        blocks = [jaw for jaw in jaws if jaw.along == along]
        for ray, length in zip(rays, expected, strict=True):
            across = ray[0] + ray[1] * pair.bottom if along == "y" else ray[2] + ray[3] * pair.bottom
            if abs(across) > pair.half_width - 1.0:
                # Beside a Y jaw, where the X jaws always stand.
                continue
            hits = sum(
                in_jaw(points_along(ray, s), jaw, positions[0 if jaw.bank < 0 else 1]).astype(float) for jaw in blocks
            )
            found = hits.mean() * 275.0 * np.sqrt(1 + ray[1] ** 2 + ray[3] ** 2)
            assert found == pytest.approx(length, abs=3 * 275.0 / points)
        assert np.count_nonzero(expected) > 20


def test_a_y_jaw_beyond_the_axis_is_trimmed_only_far_from_its_face() -> None:
    trimmed = jaw_blocks(STX.machine, -100.0)[1]
    whole = jaw_blocks(STX.machine, 0.0)[1]
    assert whole.trim_tangent == 0
    random = np.random.default_rng(7)
    points = np.column_stack(
        [random.uniform(-80, 80, 200_000), random.uniform(-60, 200, 200_000), SAD - random.uniform(270, 400, 200_000)]
    )
    in_whole, in_trimmed = in_jaw(points, whole, -100.0), in_jaw(points, trimmed, -100.0)
    assert not np.any(in_trimmed & ~in_whole)
    cut = points[in_whole & ~in_trimmed]
    assert len(cut) > 100
    # Nothing is cut above the lower edge of a Y jaw at 0, and all below is.
    assert SAD - cut[:, 2].max() == pytest.approx(STX.machine.jaws.y.bottom, abs=0.2)
    assert np.all(SAD - points[in_trimmed, 2] < STX.machine.jaws.y.bottom + 1e-9)


def test_all_within_the_primary_collimator_lies_behind_a_closed_head() -> None:
    jaws = jaw_blocks(STX.machine, -100.0)
    rays = rays_within_the_primary_collimator(2000, 8)
    s = 200.0 + (np.arange(3000) + 0.5) / 3000 * 275.0
    for position_y, position_x in (((-100.0, -100.0), (-200.0, 200.0)), ((-200.0, 200.0), (20.0, 20.0))):
        for ray in rays[:300]:
            hit = np.zeros(len(s), dtype=bool)
            for jaw in jaws:
                pair = position_x if jaw.along == "x" else position_y
                hit |= in_jaw(points_along(ray, s), jaw, pair[0 if jaw.bank < 0 else 1])
            assert hit.any()


def test_y_jaws_that_open_x_jaws_would_run_into_are_refused() -> None:
    jaws = STX.machine.jaws
    wide = jaws.model_copy(update={"y": jaws.y.model_copy(update={"half_width": 95.0})})
    with pytest.raises(InputError, match=r"jaws\.y\.half_width: 95 mm found, expected below 87\.\d mm"):
        jaw_blocks(STX.machine.model_copy(update={"jaws": wide}), 0.0)


def test_leaves_are_as_many_pieces_as_their_steps_ask_for() -> None:
    # Two parts of a leaf with a step on either side, each with tip and body, in two banks.
    assert len(leaves_of(STX.machine).pieces) == 2 * PAIRS * 4
    mlc = STX.machine.mlc
    plain = {name: kind.model_copy(update={"step_width": 0.0}) for name, kind in mlc.kinds.items()}
    machine = STX.machine.model_copy(update={"mlc": mlc.model_copy(update={"kinds": plain})})
    assert len(leaves_of(machine).pieces) == 2 * PAIRS * 2


def test_the_gap_offset_opens_a_pair_to_both_sides() -> None:
    leaves = dataclasses.replace(leaves_of(STX.machine), gap_offset=0.6)
    without = dataclasses.replace(leaves, gap_offset=0.0)
    shift = 0.3 * leaves.leaf_centre / SAD
    for bank in (-1.0, 1.0):
        assert leaves.arc_centre(0.0, bank) - without.arc_centre(0.0, bank) == pytest.approx(bank * shift, rel=1e-3)


def test_states_are_those_of_the_segments_and_know_their_place() -> None:
    plan = segmented(delivery(beam(gantry=np.array([10.0, 14.0])), beam(number=7, gantry=90.0)))
    states = states_of(plan)
    assert [(state.beam_number, state.segment, state.segments) for state in states] == [(1, 1, 2), (1, 2, 2), (7, 1, 1)]
    assert [state.gantry for state in states] == pytest.approx([11.0, 13.0, 90.0])
    assert states[1].place == "beam 1, segment 2 of 2 (gantry 13.0 degrees)"
    assert states[0].jaw("x", -1.0) == -50.0
    assert states[0].leaf(1.0, 3) is None


def test_a_machine_that_moves_within_a_segment_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"beam 1, segment 1 of 1 .*: gantry moves within the segment"):
        states_of(delivery(beam(gantry=np.array([0.0, 2.0]))))


def test_a_position_that_is_no_number_is_refused_by_segment() -> None:
    leaves = closed_leaves()
    leaves[1, 5] = np.nan
    with pytest.raises(SimulationError, match=r"beam 1, segment 1 of 1 .*: leaf_positions is not a finite number"):
        states_of(delivery(beam(leaf_positions=leaves)))


@pytest.fixture(scope="module")
def source() -> EngineSource:
    leaves = opening((-12.0, 18.0), (-10.0, 20.0), closed_at=-25.0)
    plan = delivery(
        beam(jaw_x=(-40.0, 45.0), jaw_y=(-30.0, 35.0), leaf_positions=leaves, gantry=np.array([0.0, 4.0])),
        beam(number=2, total=40.0, jaw_x=(-30.0, 60.0), jaw_y=(-20.0, 20.0)),
    )
    return source_for_engine(segmented(plan), STX, 60_000, 9)


def test_source_particles_are_sorted_by_segment_in_proportion_to_meterset(source: EngineSource) -> None:
    assert source.first[0] == 0
    assert source.first[-1] == len(source.rows)
    parts = [source.rows[a:b, RAY_WEIGHT] for a, b in zip(source.first[:-1], source.first[1:], strict=True)]
    total = sum(part.sum() for part in parts)
    for part, share in zip(parts, (50 / 140, 50 / 140, 40 / 140), strict=True):
        # Every segment emits over the whole cone, whatever is open. Four sigma of what survived the roulette.
        assert abs(part.sum() - share * total) < 4 * np.sqrt((part**2).sum())
        assert np.sqrt((part**2).sum()) < 0.05 * total


def test_the_emitted_weight_is_that_of_the_nominal_photons(source: EngineSource) -> None:
    # A few thousand heavy rays of the thin sample carry most of it.
    assert source.emitted == pytest.approx(source.nominal_photons, rel=0.03)


@pytest.mark.parametrize("leaf_weight", [np.inf, 4.0])
def test_splitting_and_roulette_keep_every_weight_on_average(leaf_weight: float) -> None:
    random = np.random.default_rng(12)
    rows = np.zeros((300, RAY_COLUMNS))
    rows[:, RAY_PDG] = PHOTON_PDG
    rows[:, RAY_WEIGHT] = random.choice([1.0, 16.0, 90.0, 700.0], 300)
    depth = random.exponential(4.0, 300) * (random.random(300) < 0.8)
    parts = parts_of(rows, depth, leaf_weight, 100.0 * leaf_weight)
    each = rows[:, RAY_WEIGHT] / parts
    repeats = np.array([copies_of(parts, np.random.default_rng(seed)) * each for seed in range(2000)])
    mean, sigma = repeats.mean(axis=0), repeats.std(axis=0, ddof=1) / np.sqrt(len(repeats))
    # 300 rays within 4.5 sigma: fails by chance once in 490. Without roulette there is no chance in it.
    assert np.all(np.abs(mean - rows[:, RAY_WEIGHT]) <= 4.5 * sigma + 1e-9)
    assert np.count_nonzero(sigma > 0) >= (20 if leaf_weight == np.inf else 3)
    behind = (rows[:, RAY_WEIGHT] > LEAKAGE_WEIGHT) & (depth > 0)
    assert each[behind & (depth < 7.0)].max() <= leaf_weight
    assert each[behind].max() <= 100.0 * leaf_weight


def test_copies_are_expected_to_carry_the_whole_weight() -> None:
    rows = np.zeros((40_000, RAY_COLUMNS))
    rows[:, RAY_PDG] = PHOTON_PDG
    rows[:, RAY_WEIGHT] = 200.0
    for depth, expected in ((0.0, 1.0), (1.0, np.ceil(200 / (LEAKAGE_WEIGHT * np.exp(0.5)))), (8.0, None)):
        copies = copies_of(parts_of(rows, np.full(len(rows), depth)), np.random.default_rng(3))
        if expected is not None:
            assert np.all(copies == expected)
        else:
            chance = 200 / (LEAKAGE_WEIGHT * np.exp(4.0))
            assert copies.max() == 1
            # Four sigma of a binomial share: fails by chance once in 16,000.
            assert copies.mean() == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / len(rows)))


def test_geant4_gets_unit_directions_from_the_sources_own_planes(source: EngineSource) -> None:
    arrays = as_geant4_reads(source.rows[:500], SAD)
    direction = np.stack([arrays[f"Direction{axis}"] for axis in "XYZ"])
    assert np.linalg.norm(direction, axis=0) == pytest.approx(1.0, abs=1e-6)
    assert np.all(direction[2] < 0)
    assert set(np.unique(arrays["PositionZ"])) <= {1000.0, 875.0}
    assert arrays["Energy"].dtype == np.float32
    assert arrays["PDGCode"].dtype == np.int32


def test_the_same_seed_gives_the_same_source() -> None:
    plan = segmented(arc(12))
    first, again, other = (source_for_engine(plan, STX, 5000, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows[:100], other.rows[:100])


def crossings_of(segment: list[int], position: Array, direction: Array, weight: float = 1.0) -> Crossings:
    count = len(segment)
    return Crossings(
        ray=np.arange(count),
        segment=np.array(segment),
        pdg_code=np.full(count, 22),
        energy=np.ones(count),
        weight=np.full(count, weight),
        position=position,
        direction=direction,
        has_interacted=np.zeros(count, dtype=bool),
    )


def test_every_crossing_is_turned_by_its_own_segments_angles() -> None:
    angles = np.array([0.0, 90.0])
    states = states_of(
        delivery(
            *(beam(number=n + 1, gantry=a, collimator=30.0, isocentre=(5.0, 6.0, 7.0)) for n, a in enumerate(angles))
        )
    )
    position = np.array([[10.0, 20.0, 450.0], [-3.0, 4.0, 450.0], [1.0, 2.0, 450.0]])
    direction = np.array([[0.0, 0.0, -1.0], [0.0, 0.6, -0.8], [0.6, 0.0, -0.8]])
    found_position, found_direction = in_patient(crossings_of([1, 0, 1], position, direction), states, "HFS")
    for index, gantry in enumerate((90.0, 0.0, 90.0)):
        transform = beam_limiting_device_to_patient(
            gantry=gantry, collimator=30.0, couch=0.0, isocentre=(5.0, 6.0, 7.0), patient_position="HFS"
        )
        assert found_position[index] == pytest.approx(transform.apply(position[index]))
        assert found_direction[index] == pytest.approx(transform.rotate(direction[index]))
    # Gantry 90 looks at a supine patient from his left, +x.
    assert found_direction[0] == pytest.approx([-1.0, 0.0, 0.0], abs=1e-12)


def test_what_is_handed_on_is_no_heavier_than_leakage() -> None:
    weight = np.array([0.3, 1.0, LEAKAGE_WEIGHT, LEAKAGE_WEIGHT * 1.01, 40.0])
    copies = copies_for_patient(weight)
    assert copies.tolist() == [1, 1, 1, 2, 8]
    assert np.all(weight / copies <= LEAKAGE_WEIGHT * (1 + 1e-6))


def test_fates_tell_open_from_transmitted_from_scattered() -> None:
    rows = np.zeros((4, RAY_COLUMNS))
    rows[:, RAY_PDG], rows[:, RAY_WEIGHT], rows[:, RAY_ENERGY] = 22, 2.0, 1.0
    source = EngineSource(rows, np.array([False, True, True, True]), np.array([0, 4]), 8.0, 8.0)
    crossings = crossings_of([0, 0, 0], np.zeros((3, 3)), np.zeros((3, 3)), weight=2.0)
    crossings.has_interacted[2] = True
    fates = fates_of(crossings, source)
    assert fates == {
        "emitted": 8.0,
        "open": 2.0,
        "transmitted": 2.0,
        "interacted_in_head": 4.0,
        "scattered_out": 2.0,
        "charged_out": 0.0,
    }


def test_a_processs_sudden_end_names_the_segment_under_way(tmp_path: Path) -> None:
    error = SimulationError("A simulation process ended without a result.")
    assert explained(error, tmp_path) is error
    (tmp_path / "segment.txt").write_text("beam 2, segment 17 of 354 (gantry 31.0 degrees)")
    assert str(explained(error, tmp_path)).startswith(
        "Full head: beam 2, segment 17 of 354 (gantry 31.0 degrees): A simul"
    )


def test_no_histories_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 histories"):
        run_full_head(delivery(beam()), STX, histories=0, seed=1, settings=TransportConfig(), work_folder=tmp_path)


def test_the_fast_heads_boundaries_are_the_pieces() -> None:
    """A leaf's sides at the isocentre plane's magnification, between the steps and gaps of its neighbours."""
    mlc = STX.machine.mlc
    for piece in leaves_of(STX.machine).pieces:
        width = (piece.high_at_top - piece.low_at_top) * SAD / piece.top
        planned = BOUNDARIES[piece.pair + 1] - BOUNDARIES[piece.pair]
        outermost = piece.pair in (0, PAIRS - 1)
        spread = (mlc.kinds["half"].step_width / 2 if outermost else 0.0) + mlc.interleaf_gap
        assert abs(width - planned) <= spread * SAD / piece.top + 1e-9
