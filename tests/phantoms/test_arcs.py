"""Arcs onto a target far from the isocentre, whose leaf pairs open and close on the way."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.delivery.timeline import timeline_of
from gatecheck.phantoms.arcs import HD120_LEAF_BOUNDARIES, ArcPrescription, arc_onto_target

LEAF_SPEED, GANTRY_SPEED = 25.0, 6.0


def _sphere(centre, radius):
    direction = np.random.default_rng(1).normal(size=(500, 3))
    return np.array(centre) + radius * direction / np.linalg.norm(direction, axis=1)[:, np.newaxis]


@pytest.fixture(scope="module")
def arc():
    return arc_onto_target(
        ArcPrescription(1, "arc", 181.0, 179.0, "CW", 45.0, 200.0),
        target_surface=_sphere((20.0, 0.0, 0.0), 6.0),
        isocentre=(0.0, 0.0, 0.0),
        patient_position="HFS",
        aperture_margin=1.0,
        jaw_margin=3.0,
        control_points=90,
        relative_dose_rate=lambda gantry: 1.0,
    )


def test_hd120_has_32_inner_pairs_of_2_5_and_28_outer_of_5_mm():
    widths = np.diff(HD120_LEAF_BOUNDARIES)
    np.testing.assert_array_equal(widths, [5.0] * 14 + [2.5] * 32 + [5.0] * 14)
    assert (HD120_LEAF_BOUNDARIES[0], HD120_LEAF_BOUNDARIES[-1]) == (-110.0, 110.0)


def test_aperture_swings_from_side_to_side_with_the_gantry(arc):
    # The target is 20 mm to the left. From the front (gantry 0) at collimator 45 it is seen at
    # x_b = 20 cos 45 = 14.1, y_b = -14.1; from behind at -14.1, +14.1; from its own side near the axis.
    middle_of_pairs = 0.5 * (np.array(HD120_LEAF_BOUNDARIES[1:]) + np.array(HD120_LEAF_BOUNDARIES[:-1]))
    for gantry, expected in ((0.0, (14.1, -14.1)), (180.0, (-14.1, 14.1)), (90.0, (0.0, 0.0)), (270.0, (0.0, 0.0))):
        point = min(arc.control_points, key=lambda p: abs((p.gantry_angle - gantry + 180) % 360 - 180))
        leaves = np.array(point.leaf_positions)
        width = leaves[1] - leaves[0]
        centre = (np.average(0.5 * leaves.sum(axis=0), weights=width), np.average(middle_of_pairs, weights=width))
        assert centre == pytest.approx(expected, abs=1.3)


def test_pairs_that_wait_are_closed_inside_the_jaws_beside_the_aperture(arc):
    leaves = timeline_of(arc).leaf_positions
    is_open = leaves[:, 1] > leaves[:, 0]
    ever_open = is_open.any(axis=0)
    waiting = ~is_open & ever_open
    assert waiting.any(), "the case must have pairs that open and close"
    assert np.all(leaves[:, 1][waiting] == leaves[:, 0][waiting])
    beside = 0
    for node, pair in np.argwhere(waiting):
        opened = np.flatnonzero(is_open[node])
        edge = opened[0] if pair < opened[0] else opened[-1]
        assert leaves[node, 0, edge] <= leaves[node, 0, pair] <= leaves[node, 1, edge]
        beside += abs(pair - edge) == 1
    assert beside > 50


def test_pair_waits_at_the_end_of_the_projection_that_is_nearer_to_it():
    # An ellipsoid 40 mm long leans in the view at collimator 45, so that its two ends are far apart in x_b.
    direction = np.random.default_rng(2).normal(size=(500, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, np.newaxis]
    leaning = arc_onto_target(
        ArcPrescription(1, "arc", 181.0, 179.0, "CW", 45.0, 200.0),
        target_surface=direction * [3.0, 3.0, 20.0] + [20.0, 0.0, 0.0],
        isocentre=(0.0, 0.0, 0.0),
        patient_position="HFS",
        aperture_margin=1.0,
        jaw_margin=3.0,
        control_points=90,
        relative_dose_rate=lambda gantry: 1.0,
    )
    # From the front the target is centred at (14, -14) and its ends are at (14 - 14, -28) and (14 + 14, 0).
    point = min(leaning.control_points, key=lambda p: min(p.gantry_angle, 360 - p.gantry_angle))
    leaves = np.array(point.leaf_positions)
    opened = np.flatnonzero(leaves[1] > leaves[0])
    # Superior is at x_b = +sin 45: the upper end is the one at larger x_b.
    assert leaves[0, opened[-1] + 1] == pytest.approx(28.0, abs=2.0)


def test_pairs_open_at_a_speed_that_leaves_have(arc):
    timeline = timeline_of(arc)
    seconds = np.diff(timeline.gantry) / GANTRY_SPEED
    way = np.abs(np.diff(timeline.leaf_positions, axis=0)).max(axis=(1, 2))
    assert np.all(way / seconds < LEAF_SPEED)
