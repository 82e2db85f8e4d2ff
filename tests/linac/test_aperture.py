"""What gets through jaws and leaves, and where the light field ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.delivery.model import MachineState
from gatecheck.delivery.projection import project_points
from gatecheck.linac.aperture import aperture, light_edges, transmission
from gatecheck.linac.attenuation import removal_coefficient
from gatecheck.linac.geometry import path_in_jaw_pair, path_in_leaves, tip_centre
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import Alloy, LinacModel
from gatecheck.linac.photon_source import energy_fluence, photon_number

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
SAD = 1000.0
PAIRS = 60
Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def linac() -> LinacModel:
    return load_linac_model(MODELS / "truebeam_stx")


def state(leaves: Array | None = None, **changes: object) -> MachineState:
    standard = MachineState(
        meterset=0.0,
        gantry=0.0,
        collimator=0.0,
        couch=0.0,
        jaw_x=(-40.0, 60.0),
        jaw_y=(-50.0, 30.0),
        leaf_positions=leaves,
        isocentre=(0.0, 0.0, 0.0),
    )
    return replace(standard, **changes)  # type: ignore[arg-type]


def asymmetric_leaves() -> Array:
    """Closed at x = -32 but for pairs 43 to 46 (y from 30 to 40 mm), which are open from 12 to 38 mm."""
    leaves = np.full((2, PAIRS), -32.0)
    leaves[:, 42:46] = [[12.0], [38.0]]
    return leaves


def attenuated(alloy: Alloy, length: float, linac: LinacModel) -> float:
    """Energy fluence behind a length of metal, over the whole spectrum."""
    energy, _ = photon_number(linac.beam.spectrum)
    fluence = energy_fluence(linac.beam.spectrum, energy)
    behind = fluence * np.exp(-removal_coefficient(alloy, energy) * length)
    return float(np.trapezoid(behind, energy) / np.trapezoid(fluence, energy))


def test_an_open_field_lets_everything_through_and_nothing_else_does(linac: LinacModel) -> None:
    x, y = np.array([-70.0, -39.9, 0.0, 59.9, 90.0]), np.array([-80.0, -49.9, 0.0, 29.9, 60.0])
    found = aperture(state(), linac, x=x, y=y)
    inside = np.ix_(range(1, 4), range(1, 4))
    assert np.all(found.transmission[inside] == 1.0)
    assert np.all(found.light[inside])
    assert found.light.sum() == 9
    outside = np.ones((5, 5), dtype=bool)
    outside[inside] = False
    assert np.all(found.transmission[outside] < 0.02)


@pytest.mark.parametrize(("x", "y", "axis"), [(0.0, 80.0, "y"), (0.0, -100.0, "y"), (110.0, 0.0, "x"), (-90.0, 0, "x")])
def test_under_one_jaw_attenuation_is_exponential_in_its_thickness(
    x: float, y: float, axis: str, linac: LinacModel
) -> None:
    jaws = linac.machine.jaws
    found = float(aperture(state(), linac, x=[x], y=[y]).transmission[0, 0])
    thickness = (jaws.x if axis == "x" else jaws.y).thickness
    # Through the flat upper and lower surfaces, at most 6 degrees aslant to them.
    expected = attenuated(jaws.alloy, thickness, linac)
    assert found == pytest.approx(expected, rel=0.04)
    energy, _ = photon_number(linac.beam.spectrum)
    rates = removal_coefficient(jaws.alloy, energy[energy > 1.0])
    assert np.exp(-rates.max() * thickness) < found < np.exp(-rates.min() * thickness)


def test_under_a_leaf_a_ray_loses_what_the_leafs_height_takes(linac: LinacModel) -> None:
    mlc = linac.machine.mlc
    leaves = np.full((2, PAIRS), 20.0)
    # In the middle of pair 31, y from 0 to 2.5 mm, far behind the tip and inside of the jaws.
    found = float(aperture(state(leaves), linac, x=[-20.0], y=[1.25]).transmission[0, 0])
    assert found == pytest.approx(attenuated(mlc.alloy, mlc.leaf_height, linac), rel=0.02)
    assert 0.005 < found < 0.03


def test_the_average_over_the_spectrum_holds_from_thin_to_thick_metal(linac: LinacModel) -> None:
    alloy = linac.machine.mlc.alloy
    for length in (0.5, 5.0, 30.0, 80.0):
        found = float(transmission(np.zeros(1), np.array([length]), linac)[0])
        assert found == pytest.approx(attenuated(alloy, length, linac), rel=0.02)


def test_every_ray_takes_the_lengths_that_the_geometry_gives(linac: LinacModel) -> None:
    """Ray by ray through the public functions of the geometry."""
    random = np.random.default_rng(3)
    leaves = np.sort(random.uniform(-60, 60, (2, PAIRS)), axis=0)
    x, y = np.sort(random.uniform(-90, 90, 9)), np.sort(random.uniform(-90, 90, 8))
    machine = linac.machine
    for j, row in enumerate(aperture(state(leaves), linac, x=x, y=y).transmission):
        rays = np.column_stack([np.zeros(9), x / SAD, np.zeros(9), np.full(9, y[j] / SAD)])
        in_jaws = np.zeros(9)
        for along, pair, places in (("x", machine.jaws.x, (-40.0, 60.0)), ("y", machine.jaws.y, (-50.0, 30.0))):
            in_jaws += path_in_jaw_pair(
                rays,
                positions=places,
                along=along,
                top=pair.top,
                bottom=pair.bottom,
                axis_distance=pair.turning_distance(SAD),
            )
        in_leaves = path_in_leaves(rays, leaves, machine.mlc, axis_distance=SAD)
        np.testing.assert_allclose(row, transmission(in_jaws, in_leaves, linac), rtol=1e-9)


def test_rows_run_from_y1_to_y2_and_columns_from_x1_to_x2(linac: LinacModel) -> None:
    """The one opening lies at positive x and positive y, and none at its three mirror images."""
    x, y = np.arange(-45.0, 46.0, 5.0), np.arange(-48.75, 50.0, 2.5)
    wide = {"jaw_x": (-50.0, 50.0), "jaw_y": (-50.0, 50.0)}
    light = aperture(state(asymmetric_leaves(), **wide), linac, x=x, y=y).light
    rows, columns = np.nonzero(light)
    assert (y[rows].min(), y[rows].max()) == (31.25, 38.75)
    assert (x[columns].min(), x[columns].max()) == (15.0, 35.0)
    assert light.sum() == 4 * 5


@pytest.mark.parametrize(
    ("collimator", "marker"),
    [
        # 25 mm to the patient's left (x_b) and 35 mm to his head (y_b), supine and head first under an overhead source.
        (0.0, (25.0, 0.0, 35.0)),
        # Collimator 90: x_b points to the head, y_b to the patient's right.
        (90.0, (-35.0, 0.0, 25.0)),
        (180.0, (-25.0, 0.0, -35.0)),
        (270.0, (35.0, 0.0, -25.0)),
    ],
)
def test_a_marker_behind_the_opening_is_lit_and_its_mirror_images_are_not(
    collimator: float, marker: tuple[float, float, float], linac: LinacModel
) -> None:
    turned = state(asymmetric_leaves(), collimator=collimator, jaw_x=(-50.0, 50.0), jaw_y=(-50.0, 50.0))
    left, back, head = marker
    mirrored = [(left, back, head), (-left, back, head), (left, back, -head), (-left, back, -head), (head, back, left)]
    seen = project_points(mirrored, turned, patient_position="HFS", source_axis_distance=SAD)
    lit = [bool(aperture(turned, linac, x=[a], y=[b]).light[0, 0]) for a, b in seen]
    assert lit == [True, False, False, False, False]


@pytest.mark.parametrize("name", ["truebeam_stx", "truebeam_m120"])
def test_leaf_ends_are_those_of_the_plan_set_back_by_half_the_gap_offset(name: str) -> None:
    model = load_linac_model(MODELS / name)
    leaves = np.sort(np.random.default_rng(5).uniform(-100, 100, (2, PAIRS)), axis=0)
    ends = light_edges(state(leaves), model).leaf_ends
    assert ends is not None
    half = model.machine.mlc.physical_gap_offset / 2
    np.testing.assert_allclose(ends, leaves + np.array([[-half], [half]]), atol=1e-6)


def test_the_radiation_edge_lies_behind_the_light_edge_within_the_tips_own_set_back(linac: LinacModel) -> None:
    """Between the tangent ray and the ray that meets as much metal as halves the beam."""
    mlc, planned, y = linac.machine.mlc, 40.0, 1.25
    leaves = np.stack([np.full(PAIRS, -90.0), np.full(PAIRS, planned)])
    wide = state(leaves, jaw_x=(-100.0, 100.0), jaw_y=(-50.0, 50.0))
    x = np.arange(planned - 1.0, planned + 12.0, 0.01)
    through = aperture(wide, linac, x=x, y=[y]).transmission[0]
    assert np.all(through[x < planned - 0.005 + mlc.physical_gap_offset / 2] == 1.0)
    assert np.all(np.diff(through) <= 0)
    half = x[np.argmax(through < 0.5)]
    tip = tip_centre(planned, 1.0, mlc.leaf_centre, mlc.tip_radius, SAD) - mlc.tip_radius
    set_back = tip * SAD / mlc.leaf_centre - planned
    assert planned < half < planned + set_back + 2.0
    assert set_back == pytest.approx(mlc.tip_radius * (np.hypot(1, planned / SAD) - 1) * SAD / mlc.leaf_centre)


def test_leaf_shadows_tile_the_field_and_overlap_their_neighbours_by_the_step(linac: LinacModel) -> None:
    mlc = linac.machine.mlc
    sides = light_edges(state(np.zeros((2, PAIRS))), linac).leaf_sides
    assert sides is not None
    boundaries = np.array(mlc.boundaries)
    # The largest step and gap, seen from the target at the leaves' upper surface.
    widest = max(kind.step_width for kind in mlc.kinds.values())
    reach = (widest / 2 + mlc.interleaf_gap) * SAD / (mlc.leaf_centre - mlc.leaf_height / 2)
    assert np.abs(sides[:, 0] - boundaries[:-1]).max() < reach
    assert np.abs(sides[:, 1] - boundaries[1:]).max() < reach
    # Tongue and groove: nowhere does light get between two leaves.
    assert np.all(sides[:-1, 1] > sides[1:, 0])


def test_jaw_edges_are_those_of_the_plan_by_the_jaws_calibration(linac: LinacModel) -> None:
    edges = light_edges(state(jaw_x=(-97.5, 12.0), jaw_y=(-3.0, 180.0)), linac)
    scale = linac.machine.jaws.x.position_scale
    assert scale == linac.machine.jaws.y.position_scale != 1.0
    assert edges.jaw_x == pytest.approx((-97.5 * scale, 12.0 * scale), abs=1e-6)
    assert edges.jaw_y == pytest.approx((-3.0 * scale, 180.0 * scale), abs=1e-6)
    assert edges.leaf_ends is None
    assert edges.leaf_sides is None


def test_nothing_gets_through_the_primary_collimator(linac: LinacModel) -> None:
    radius = linac.machine.primary_collimator.opening_radius
    wide = state(jaw_x=(-200.0, 200.0), jaw_y=(-200.0, 200.0))
    corner = radius / np.sqrt(2)
    found = aperture(wide, linac, x=[corner - 0.1, corner + 0.1], y=[corner - 0.1, corner + 0.1]).transmission
    assert found[0, 0] == 1.0
    assert found[1, 1] == 0.0


def test_leaves_of_another_machine_are_refused_by_number(linac: LinacModel) -> None:
    with pytest.raises(ValueError, match=r"\(2, 40\) found, HD120 has 2 x 60 leaves"):
        aperture(state(np.zeros((2, 40))), linac, x=[0.0], y=[0.0])
