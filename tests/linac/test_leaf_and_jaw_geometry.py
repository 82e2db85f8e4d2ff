"""Path lengths against solids sampled point by point, and against what the solids should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.linac.geometry import (
    BANK_X1,
    BANK_X2,
    jaw_interval,
    leaf_sides,
    path_in_jaw_pair,
    path_in_leaves,
    tip_centre,
)
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import JawPair, MultileafCollimator

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
SAD = 1000.0
Array = npt.NDArray[np.float64]


def mlc_of(name: str) -> MultileafCollimator:
    return load_linac_model(MODELS / name).machine.mlc


def random_rays(count: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    return np.column_stack([random.normal(0, scale, count) for scale in (20, 0.08, 20, 0.08)])


def random_leaves(count: int, seed: int) -> Array:
    return np.sort(np.random.default_rng(seed).uniform(-60, 60, (2, count)), axis=0)


def in_a_leaf(x: Array, y: Array, s: Array, leaves: Array, mlc: MultileafCollimator) -> npt.NDArray[np.bool_]:
    """Point in solid, written from the description and not from the code under test."""
    inside = np.zeros(len(s), dtype=bool)
    top = mlc.leaf_centre - mlc.leaf_height / 2
    kinds = mlc.kind_of_pair
    last = len(kinds) - 1
    for pair, kind_name in enumerate(kinds):
        kind, below = mlc.kinds[kind_name], mlc.kinds[kinds[max(pair - 1, 0)]]
        y_1 = mlc.boundaries[pair] * s / SAD + mlc.interleaf_gap / 2
        y_2 = mlc.boundaries[pair + 1] * s / SAD - mlc.interleaf_gap / 2
        assert kind.tongue_towards == below.tongue_towards == "Y2"
        if pair > 0:
            y_1 = y_1 + np.where(s < top + below.step_below_top, -1, 1) * below.step_width / 2
        if pair < last:
            y_2 = y_2 + np.where(s < top + kind.step_below_top, -1, 1) * kind.step_width / 2
        for bank, planned in ((-1, leaves[0, pair]), (1, leaves[1, pair])):
            theta = np.arctan(planned / SAD)
            centre = mlc.leaf_centre * np.tan(theta) + bank * mlc.tip_radius / np.cos(theta)
            behind = bank * (x - centre) >= 0
            on_disc = (x - centre) ** 2 + (s - mlc.leaf_centre) ** 2 <= mlc.tip_radius**2
            inside |= (y > y_1) & (y < y_2) & (behind | on_disc)
    return inside


@pytest.mark.parametrize("name", ["truebeam_stx", "truebeam_m120"])
def test_paths_in_leaves_agree_with_points_sampled_in_the_solids(name: str) -> None:
    mlc = mlc_of(name)
    rays, leaves = random_rays(300, 1), random_leaves(60, 2)
    points = 3000
    s = mlc.leaf_centre + ((np.arange(points) + 0.5) / points - 0.5) * mlc.leaf_height
    expected = np.array(
        [
            in_a_leaf(x0 + a * s, y0 + b * s, s, leaves, mlc).mean() * mlc.leaf_height * np.sqrt(1 + a * a + b * b)
            for x0, a, y0, b in rays
        ]
    )
    found = path_in_leaves(rays, leaves, mlc, axis_distance=SAD)
    # A ray crosses a handful of surfaces, each of which the points find within half a spacing.
    assert np.abs(found - expected).max() < 4 * mlc.leaf_height / points
    assert np.count_nonzero(expected > 0) > 150


def in_a_jaw(x: Array, s: Array, position: float, bank: float, jaws: JawPair) -> npt.NDArray[np.bool_]:
    """Point in block: turned back about the target, it lies behind 0 and between top and bottom."""
    angle = np.arctan(position / SAD)
    across = np.cos(angle) * x - np.sin(angle) * s
    along = np.sin(angle) * x + np.cos(angle) * s
    inside: npt.NDArray[np.bool_] = (bank * across > 0) & (along > jaws.top) & (along < jaws.bottom)
    return inside


@pytest.mark.parametrize("positions", [(-30.0, 45.0), (-200.0, 200.0), (-150.0, -100.0), (20.0, 20.0)])
def test_paths_in_jaws_agree_with_points_sampled_in_the_solids(positions: tuple[float, float]) -> None:
    jaws = load_linac_model(MODELS / "truebeam_stx").machine.jaws.y
    rays, points = random_rays(500, 3) * (1.0, 3.0, 1.0, 3.0), 40_000
    s = (np.arange(points) + 0.5) / points * SAD
    expected = np.empty(len(rays))
    for index, (_, _, y0, slope) in enumerate(rays):
        y = y0 + slope * s
        inside = sum(in_a_jaw(y, s, *jaw, jaws).sum() for jaw in zip(positions, (BANK_X1, BANK_X2), strict=True))
        expected[index] = inside / points * SAD * np.hypot(1.0, np.hypot(rays[index, 1], slope))
    found = path_in_jaw_pair(rays, positions=positions, along="y", top=jaws.top, bottom=jaws.bottom, axis_distance=SAD)
    # A ray crosses at most four surfaces of a pair, each of which the points find within half a spacing.
    assert np.abs(found - expected).max() < 4 * SAD / points
    assert np.count_nonzero(expected > 0) > 100


@pytest.mark.parametrize("position", [-100.0, 0.0, 40.0, 200.0])
def test_a_jaw_shows_its_whole_thickness_along_its_face(position: float) -> None:
    jaws = load_linac_model(MODELS / "truebeam_stx").machine.jaws.y
    slope = (position + 1e-6) / SAD
    length = path_in_jaw_pair(
        [[0.0, 0.0, 0.0, slope]],
        positions=(-200.0, position),
        along="y",
        top=jaws.top,
        bottom=jaws.bottom,
        axis_distance=SAD,
    )[0]
    assert length == pytest.approx(jaws.thickness, rel=1e-9)


def test_an_open_jaws_far_end_rises_above_its_face() -> None:
    jaws = load_linac_model(MODELS / "truebeam_stx").machine.jaws.x
    angle, away = np.arctan(200.0 / SAD), 100.0
    corner = away * np.cos(angle) + jaws.top * np.sin(angle), jaws.top * np.cos(angle) - away * np.sin(angle)
    # Just inside and just outside of the upper far surface, along a ray that crosses it upright.
    for offset, hits in ((1e-3, True), (-1e-3, False)):
        interval = jaw_interval(
            corner[0], 0.0, 200.0, BANK_X2, SAD, jaws.top, jaws.bottom, corner[1] + offset - 5e-4, corner[1] + offset
        )
        assert (interval[1] > interval[0]) == hits


@pytest.mark.parametrize("planned", [-150.0, -40.0, 0.0, 25.0, 180.0])
@pytest.mark.parametrize("bank", [BANK_X1, BANK_X2])
def test_the_tip_touches_the_planned_ray_from_the_side_of_its_bank(planned: float, bank: float) -> None:
    mlc = mlc_of("truebeam_stx")
    centre = tip_centre(planned, bank, mlc.leaf_centre, mlc.tip_radius, SAD)
    # Distance of the arc's centre from the line x·SAD - planned·s = 0
    distance = (centre * SAD - planned * mlc.leaf_centre) / np.hypot(SAD, planned)
    assert distance == pytest.approx(bank * mlc.tip_radius, rel=1e-12)


@pytest.mark.parametrize("planned", [-90.0, 0.0, 60.0])
def test_light_field_edges_are_where_the_plan_says_to_a_micrometre(planned: float) -> None:
    mlc = mlc_of("truebeam_stx")
    leaves = np.full((2, 60), planned)
    leaves[0] = -200.0
    y = 1.25
    seen = np.array([planned - 1e-3, planned + 1e-3])
    rays = np.column_stack([np.zeros(2), seen / SAD, np.zeros(2), np.full(2, y / SAD)])
    before, behind = path_in_leaves(rays, leaves, mlc, axis_distance=SAD)
    assert before == 0
    assert behind > 0


def test_the_tip_at_the_leaf_plane_is_set_back_as_published() -> None:
    mlc, planned = mlc_of("truebeam_stx"), 120.0
    theta = np.arctan(planned / SAD)
    tip = tip_centre(planned, BANK_X2, mlc.leaf_centre, mlc.tip_radius, SAD) - mlc.tip_radius
    expected = mlc.leaf_centre * planned / SAD + mlc.tip_radius * (1 / np.cos(theta) - 1)
    assert tip == pytest.approx(expected, rel=1e-12)


def test_a_ray_deep_in_a_leaf_crosses_its_whole_height() -> None:
    mlc = mlc_of("truebeam_m120")
    leaves = np.array([np.full(60, 20.0), np.full(60, 30.0)])
    length = path_in_leaves([[0.0, -0.1, 0.0, 0.0025]], leaves, mlc, axis_distance=SAD)[0]
    assert length == pytest.approx(mlc.leaf_height * np.sqrt(1 + 0.1**2 + 0.0025**2), rel=1e-9)


def test_tongue_and_groove_leave_half_a_leaf_in_the_step_and_nothing_in_a_straight_gap() -> None:
    mlc = mlc_of("truebeam_stx")
    closed = np.array([np.full(60, 40.0), np.full(60, 40.0)])
    boundary = 5.0
    plane = mlc.leaf_centre
    kind = mlc.kinds["quarter"]
    offsets = np.array([-kind.step_width / 2, kind.step_width / 2, 0.0])
    rays = np.column_stack([np.zeros(3), np.zeros(3), offsets, np.full(3, boundary / SAD)])
    lower, upper, middle = path_in_leaves(rays, closed, mlc, axis_distance=SAD)
    # Along a gap's upper part the ray misses the metal above the step, and the other way round.
    assert lower == pytest.approx(mlc.leaf_height - kind.step_below_top, rel=1e-3)
    assert upper == pytest.approx(kind.step_below_top, rel=1e-3)
    assert middle == pytest.approx(mlc.leaf_height, rel=1e-3)
    assert plane > 0


def test_the_outermost_sides_have_no_step() -> None:
    sides = leaf_sides(mlc_of("truebeam_stx"))
    assert sides.shift_above[0] == sides.shift_below[-1] == 0
    assert np.all(sides.shift_above[1:-1] < 0)
    assert np.all(sides.shift_below[1:-1] > 0)
