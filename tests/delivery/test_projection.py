"""The patient seen from the source, against places worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from gatecheck.delivery.model import MachineState
from gatecheck.delivery.projection import (
    patient_axes_in_view,
    project_points,
    shadow_of_mask,
    state_at_control_point,
)
from gatecheck.delivery.timeline import timeline_of

SAD = 1000.0
ISOCENTRE = (10.0, -20.0, 30.0)
# 40 mm to the patient's left, 50 mm to his back and 20 mm to his head from the isocentre.
MARKER = (50.0, 30.0, 50.0)


def state(gantry: float = 0.0, collimator: float = 0.0, couch: float = 0.0) -> MachineState:
    return MachineState(
        meterset=0.0,
        gantry=gantry,
        collimator=collimator,
        couch=couch,
        jaw_x=(-50.0, 50.0),
        jaw_y=(-50.0, 50.0),
        leaf_positions=None,
        isocentre=ISOCENTRE,
    )


@pytest.mark.parametrize(
    ("patient_position", "gantry", "collimator", "couch", "across", "along", "distance"),
    [
        # across and along: mm from the axis at the marker's depth; distance: from the source, along the axis.
        # Supine, source overhead: the back is 50 mm farther; left is at the observer's right, the head at the gantry.
        ("HFS", 0, 0, 0, 40, 20, 1050),
        # Prone: the back is nearer, left at the observer's left.
        ("HFP", 0, 0, 0, -40, 20, 950),
        # Feet at the gantry: supine left is at the observer's left, and the head is with him.
        ("FFS", 0, 0, 0, -40, -20, 1050),
        ("FFP", 0, 0, 0, 40, -20, 950),
        # Source at the observer's right, which is the left of who lies HFS: 40 mm nearer. x_g points down: to the back.
        ("HFS", 90, 0, 0, 50, 20, 960),
        # At his left x_g points up.
        ("HFS", 270, 0, 0, -50, 20, 1040),
        ("HFS", 180, 0, 0, -40, 20, 950),
        # Prone, down is the front; the observer's right is the patient's right.
        ("HFP", 90, 0, 0, -50, 20, 1040),
        ("FFS", 90, 0, 0, 50, -20, 1040),
        ("FFP", 90, 0, 0, -50, -20, 960),
        # Collimator 90: x_b points where y_g did, y_b where -x_g did.
        ("HFS", 0, 90, 0, 20, -40, 1050),
        ("HFS", 90, 90, 0, 20, -50, 960),
        # Collimator 270 the other way round.
        ("HFP", 0, 270, 0, -20, -40, 950),
        # Couch 90, counter-clockwise from above: left points to the gantry, the head to the observer's left.
        ("HFS", 0, 0, 90, -20, 40, 1050),
        # Collimator and couch turn together about an overhead beam: nothing moves in the view.
        ("HFS", 0, 90, 90, 40, 20, 1050),
        # Couch 90, gantry 90: the source is at the patient's feet; the head is 20 mm farther from it.
        ("HFS", 90, 0, 90, 50, 40, 1020),
    ],
)
def test_a_marker_is_seen_where_it_was_worked_out_by_hand(
    *,
    patient_position: str,
    gantry: float,
    collimator: float,
    couch: float,
    across: float,
    along: float,
    distance: float,
) -> None:
    seen = project_points(
        [MARKER], state(gantry, collimator, couch), patient_position=patient_position, source_axis_distance=SAD
    )
    np.testing.assert_allclose(seen, [(across * SAD / distance, along * SAD / distance)], atol=1e-9)


@pytest.mark.parametrize("patient_position", ["HFS", "HFP", "FFS", "FFP"])
@pytest.mark.parametrize("angles", [(0, 0, 0), (51, 0, 0), (200, 30, 0), (330, 300, 15)])
def test_the_patients_axes_point_the_way_in_which_a_point_moves(
    patient_position: str, angles: tuple[float, float, float]
) -> None:
    axes = patient_axes_in_view(state(*angles), patient_position=patient_position)
    for step, axis in zip(np.eye(3) * 1e-3, axes, strict=True):
        moved = project_points(
            [ISOCENTRE, np.array(ISOCENTRE) + step],
            state(*angles),
            patient_position=patient_position,
            source_axis_distance=SAD,
        )
        np.testing.assert_allclose((moved[1] - moved[0]) / 1e-3, axis[:2], atol=1e-5)


def ball(centre: tuple[float, float, float], radius: float) -> sitk.Image:
    """A ball as inside fractions, soft over a voxel, cropped to the voxels that it meets."""
    spacing = np.array([1.0, 1.0, 2.0])
    low = np.floor((np.array(centre) - radius - 1) / spacing)
    size = np.ceil((np.array(centre) + radius + 1) / spacing) - low + 1
    x, y, z = (s * (start + np.arange(n)) for start, n, s in zip(low, size.astype(int), spacing, strict=True))
    distance = np.sqrt(
        (x[None, None, :] - centre[0]) ** 2 + (y[None, :, None] - centre[1]) ** 2 + (z[:, None, None] - centre[2]) ** 2
    )
    image = sitk.GetImageFromArray(np.clip(0.5 + radius - distance, 0, 1).astype(np.float32))
    image.SetOrigin([float(v) for v in low * spacing])
    image.SetSpacing([float(v) for v in spacing])
    return image


@pytest.mark.parametrize(
    ("patient_position", "angles"),
    [("HFS", (0, 0, 0)), ("HFS", (51, 0, 0)), ("FFS", (90, 45, 0)), ("HFP", (200, 330, 20)), ("FFP", (300, 90, 340))],
)
def test_a_balls_shadow_lies_round_its_centres_place_and_is_magnified_from_the_source(
    patient_position: str, angles: tuple[float, float, float]
) -> None:
    radius = 18.0
    grid = np.arange(-100, 100.5, 1.0)
    view = {"patient_position": patient_position, "source_axis_distance": SAD}
    seen = shadow_of_mask(ball(MARKER, radius), state(*angles), x=grid, y=grid, **view) > 0.5
    assert seen.shape == (len(grid), len(grid))
    place = project_points([MARKER], state(*angles), **view)[0]
    rows, columns = np.nonzero(seen)
    # Cast aslant, a ball's shadow is an ellipse whose middle lies a little farther out than the centre's place.
    assert np.hypot(grid[columns].mean() - place[0], grid[rows].mean() - place[1]) < 0.3
    depth = patient_axes_in_view(state(*angles), patient_position=patient_position)[:, 2] @ (40.0, 50.0, 20.0)
    # Half-angle of the tangent cone: sin a = r / distance.
    half = SAD * np.tan(np.arcsin(radius / (SAD - depth)))
    assert seen.sum() == pytest.approx(np.pi * half**2, rel=0.03)


def test_a_structure_that_fills_its_image_ends_half_a_voxel_behind_its_last_voxels() -> None:
    """A cube of 5 voxels of 4 mm round the isocentre, the front face 10 mm nearer to the source."""
    image = sitk.GetImageFromArray(np.ones((5, 5, 5), dtype=np.float32))
    image.SetOrigin([c - 8.0 for c in ISOCENTRE])
    image.SetSpacing((4.0, 4.0, 4.0))
    grid = np.arange(-20, 20.01, 0.25)
    seen = shadow_of_mask(image, state(), x=grid, y=np.zeros(1), patient_position="HFS", source_axis_distance=SAD)
    wide = grid[seen[0] > 0.5]
    edge = 10.0 * SAD / (SAD - 10.0)
    # The linear fall to nothing rounds the front edge: half a voxel at most is lost there.
    assert wide.max() == pytest.approx(edge, abs=0.4)
    assert wide.min() == pytest.approx(-edge, abs=0.4)


def test_a_control_point_is_told_from_the_next_one_at_the_same_meterset(plans) -> None:  # type: ignore[no-untyped-def]
    points = [
        plans.control_point(0.0, jaw_x=(-50.0, 50.0)),
        plans.control_point(0.5, jaw_x=(-50.0, 50.0)),
        plans.control_point(0.5, jaw_x=(-10.0, 20.0), gantry_angle=0.0),
        plans.control_point(1.0, jaw_x=(-10.0, 20.0)),
    ]
    beam = timeline_of(plans.beam(points, technique="step-and-shoot"))
    before, after = state_at_control_point(beam, 1), state_at_control_point(beam, 2)
    assert before.meterset == after.meterset == 50.0
    assert before.jaw_x == (-50.0, 50.0)
    assert after.jaw_x == (-10.0, 20.0)
    assert before.leaf_positions is None
    assert replace(before, jaw_x=after.jaw_x) == after


@pytest.mark.parametrize("index", [-1, 2])
def test_a_control_point_that_is_not_there_is_refused_with_those_that_are(plans, index: int) -> None:  # type: ignore[no-untyped-def]
    beam = timeline_of(plans.beam([plans.control_point(0.0), plans.control_point(1.0)], technique="static"))
    with pytest.raises(IndexError, match="control points 0 to 1"):
        state_at_control_point(beam, index)
