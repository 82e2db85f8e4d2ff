"""Control points become timelines: meterset is conserved, rotations go the way the plan says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatecheck.case.model import WEIGHT_TOLERANCE
from gatecheck.delivery.timeline import deliver, delivering_segments, state_at, states_at, timeline_of
from gatecheck.errors import InputError, UnsupportedPlanError


def test_clockwise_arc_goes_up_through_180_and_0(plans):
    # Clockwise for an observer who faces the gantry is the way of increasing angles: 170, 180, 190 ...
    timeline = timeline_of(plans.arc([170, 190, 350, 10], "CW"))
    np.testing.assert_allclose(timeline.gantry, [170, 190, 350, 370])


def test_counter_clockwise_arc_goes_down_through_0_and_180(plans):
    timeline = timeline_of(plans.arc([10, 350, 190, 170], "CC"))
    np.testing.assert_allclose(timeline.gantry, [10, -10, -170, -190])


def test_full_clinical_arc_turns_by_358_degrees_and_not_by_2(plans):
    assert timeline_of(plans.arc([181, 179], "CW")).gantry[1] == pytest.approx(539)
    assert timeline_of(plans.arc([179, 181], "CC")).gantry[1] == pytest.approx(-179)


def test_half_way_through_an_arc_over_180_the_gantry_is_below_the_couch(plans):
    timeline = timeline_of(plans.arc([170, 190], "CW"))
    assert state_at(timeline, 50.0).gantry == pytest.approx(180)
    timeline = timeline_of(plans.arc([190, 170], "CC"))
    assert state_at(timeline, 50.0).gantry % 360 == pytest.approx(180)
    # The same angles the long way round pass over 0.
    timeline = timeline_of(plans.arc([190, 170], "CW"))
    assert state_at(timeline, 50.0).gantry % 360 == pytest.approx(0)


@pytest.mark.parametrize(
    ("direction", "end"),
    [
        # DICOM PS3.3 C.8.8.14.8, example 3: a table from 170 to 160 degrees, CC, turns by 350 degrees in the
        # direction of increasing IEC angle, since seen from above that is counter-clockwise.
        ("CC", 520.0),
        ("CW", 160.0),
    ],
)
def test_couch_turns_counter_clockwise_seen_from_above_with_increasing_angle(plans, direction, end):
    beam = plans.beam(
        [
            plans.control_point(0, couch_angle=170, couch_rotation_direction=direction),
            plans.control_point(1, couch_angle=160),
        ]
    )
    np.testing.assert_allclose(timeline_of(beam).couch, [170, end])


@pytest.mark.parametrize(("direction", "end"), [("CC", 370.0), ("CW", 10.0)])
def test_collimator_turns_counter_clockwise_seen_from_the_source_with_increasing_angle(plans, direction, end):
    beam = plans.beam(
        [
            plans.control_point(0, collimator_angle=20, collimator_rotation_direction=direction),
            plans.control_point(1, collimator_angle=10),
        ]
    )
    np.testing.assert_allclose(timeline_of(beam).collimator, [20, end])


@pytest.mark.parametrize(
    ("angle", "direction"), [("gantry_angle", "gantry"), ("collimator_angle", "collimator"), ("couch_angle", "couch")]
)
def test_angle_that_changes_without_a_direction_is_refused(plans, angle, direction):
    beam = plans.beam([plans.control_point(0, **{angle: 10}), plans.control_point(1, **{angle: 12})])
    with pytest.raises(InputError, match=r"Beam 1, control point 0: .* from 10 to 12 degrees .* NONE, expected CW or"):
        timeline_of(beam)


def test_angle_written_as_360_instead_of_0_is_no_rotation(plans):
    beam = plans.beam([plans.control_point(0, gantry_angle=0), plans.control_point(1, gantry_angle=360)])
    np.testing.assert_allclose(timeline_of(beam).gantry, [0, 0])


def test_rounding_of_an_angle_without_direction_is_followed_the_short_way(plans):
    beam = plans.beam([plans.control_point(0, gantry_angle=0.0), plans.control_point(1, gantry_angle=359.99)])
    np.testing.assert_allclose(timeline_of(beam).gantry, [0, -0.01], atol=1e-9)


def test_arc_of_two_equal_angles_is_a_full_turn(plans):
    # DICOM PS3.3 C.8.8.14.8, example 2: from 5 to 5 degrees, CW, is a full clockwise rotation.
    np.testing.assert_allclose(timeline_of(plans.arc([5, 5], "CW", technique="conformal-arc")).gantry, [5, 365])
    np.testing.assert_allclose(timeline_of(plans.arc([5, 5], "CC", technique="conformal-arc")).gantry, [5, -355])


def test_static_beam_with_a_direction_is_refused_and_not_turned(plans):
    with pytest.raises(UnsupportedPlanError, match="the beam is no arc"):
        timeline_of(plans.arc([5, 5], "CW", technique="static"))


def test_sliding_window_of_two_control_points_with_a_direction_is_refused_and_not_turned(plans):
    beam = plans.beam([plans.control_point(0, gantry_rotation_direction="CW"), plans.control_point(1, jaw_x=(-10, 50))])
    with pytest.raises(UnsupportedPlanError, match=r"move, as a sliding window\. Expected NONE"):
        timeline_of(beam)


@pytest.mark.parametrize(
    ("angles", "unwrapped"),
    [
        ([0, 10, 10, 20], [0, 10, 10, 20]),
        # Against the direction by no more than the rounding of an angle.
        ([0, 10, 9.98, 20], [0, 10, 9.98, 20]),
        ([5, 5, 5], [5, 5, 5]),
        ([181, 181, 270, 90, 179, 179], [181, 181, 270, 450, 539, 539]),
    ],
)
def test_gantry_that_stays_with_a_direction_among_several_control_points_stands_still(plans, caplog, angles, unwrapped):
    np.testing.assert_allclose(timeline_of(plans.arc(angles, "CW")).gantry, unwrapped, atol=1e-9)
    mirrored = timeline_of(plans.arc([-angle % 360 for angle in angles], "CC")).gantry
    np.testing.assert_allclose(mirrored - mirrored[0], unwrapped[0] - np.array(unwrapped), atol=1e-9)
    assert "the gantry stands still after" in caplog.text


@pytest.mark.parametrize("direction", ["CW", "CC"])
@pytest.mark.parametrize("axis", ["collimator", "couch"])
def test_collimator_and_couch_that_stay_with_a_direction_stand_still(plans, axis, direction):
    changes = {f"{axis}_angle": 30, f"{axis}_rotation_direction": direction}
    beam = plans.beam([plans.control_point(weight, **changes) for weight in (0, 1)])
    np.testing.assert_array_equal(getattr(timeline_of(beam), axis), [30, 30])


def test_arc_that_would_turn_by_more_than_a_full_turn_is_refused(plans):
    with pytest.raises(UnsupportedPlanError, match=r"turns by 370\.0 degrees in the beam"):
        timeline_of(plans.arc([0, 10, 0, 10], "CW"))


def test_meterset_comes_from_weights_of_any_scale(plans):
    beam = plans.beam(
        [plans.control_point(0), plans.control_point(20), plans.control_point(80)],
        meterset=240.0,
        final_cumulative_meterset_weight=80.0,
    )
    np.testing.assert_allclose(timeline_of(beam).meterset, [0, 60, 240])


@pytest.mark.parametrize("final", [1.0, 80.0])
def test_weights_that_end_within_the_tolerance_of_the_final_one_deliver_the_whole_meterset(plans, final):
    weights = np.array([0.2 * WEIGHT_TOLERANCE, 0.5, 1 - 0.8 * WEIGHT_TOLERANCE]) * final
    beam = plans.beam(
        [plans.control_point(weight) for weight in weights], final_cumulative_meterset_weight=final, meterset=200.0
    )
    meterset = timeline_of(beam).meterset
    assert (meterset[0], meterset[-1]) == (0.0, 200.0)
    assert meterset[1] == pytest.approx(100.0, rel=2 * WEIGHT_TOLERANCE)


def test_jump_at_the_end_of_weights_that_end_early_delivers_nothing(plans):
    weights = (0.0, 1 - 0.5 * WEIGHT_TOLERANCE, 1 - 0.5 * WEIGHT_TOLERANCE)
    timeline = timeline_of(plans.beam([plans.control_point(weight) for weight in weights]))
    np.testing.assert_array_equal(delivering_segments(timeline), [0])
    assert timeline.meterset[1] == timeline.total_meterset == 100.0


@pytest.mark.parametrize("weights", [(0, 0.7, 0.5, 1), (0.1, 1), (0, 0.9), (0, 2), (0, float("nan"), 1)])
def test_weights_that_do_not_rise_from_zero_to_the_final_weight_are_refused(plans, weights):
    beam = plans.beam([plans.control_point(weight) for weight in weights])
    with pytest.raises(InputError, match=r"Cumulative Meterset Weight \(300A,0134\)"):
        timeline_of(beam)


@pytest.mark.parametrize("changes", [{"meterset": 0.0}, {"final_cumulative_meterset_weight": 0.0}])
def test_beam_without_meterset_is_refused(plans, changes):
    with pytest.raises(InputError, match="expected both above zero"):
        timeline_of(plans.beam([plans.control_point(0), plans.control_point(1)], **changes))


def test_beam_of_one_control_point_is_refused(plans):
    with pytest.raises(InputError, match="1 control points found"):
        timeline_of(plans.beam([plans.control_point(0)]))


def test_leaves_that_do_not_fit_the_mlc_are_refused_with_both_numbers(plans):
    leaves = ((-10.0, -10.0), (10.0, 10.0))
    beam = plans.beam(
        [plans.control_point(0, leaf_positions=leaves), plans.control_point(1, leaf_positions=((-1.0,), (1.0,)))],
        leaf_boundaries=(-5.0, 0.0, 5.0),
    )
    with pytest.raises(InputError, match="control point 1: 2 leaf positions found, its MLC has 4"):
        timeline_of(beam)


def test_leaves_without_boundaries_are_refused(plans):
    beam = plans.beam([plans.control_point(weight, leaf_positions=((-1.0,), (1.0,))) for weight in (0, 1)])
    with pytest.raises(InputError, match=r"Leaf Position Boundaries \(300A,00BE\)"):
        timeline_of(beam)


def test_every_axis_moves_linearly_in_meterset(plans):
    beam = plans.beam(
        [
            plans.control_point(
                0,
                gantry_angle=350,
                gantry_rotation_direction="CW",
                collimator_angle=10,
                collimator_rotation_direction="CC",
                couch_angle=5,
                couch_rotation_direction="CW",
                jaw_x=(-10, 20),
                jaw_y=(-30, 40),
                leaf_positions=((-10, -20), (30, 40)),
                isocentre=(1, 2, 3),
            ),
            plans.control_point(
                1,
                gantry_angle=30,
                collimator_angle=50,
                couch_angle=325,
                jaw_x=(-14, 28),
                jaw_y=(-34, 80),
                leaf_positions=((-6, -28), (70, 0)),
                isocentre=(5, 10, -5),
            ),
        ],
        leaf_boundaries=(-5.0, 0.0, 5.0),
        meterset=200.0,
    )
    state = state_at(timeline_of(beam), 50.0)
    # A quarter of the way along each axis.
    assert state.gantry == pytest.approx(360)
    assert state.collimator == pytest.approx(20)
    assert state.couch == pytest.approx(-5)
    assert state.jaw_x == pytest.approx((-11, 22))
    assert state.jaw_y == pytest.approx((-31, 50))
    np.testing.assert_allclose(state.leaf_positions, [(-9, -22), (40, 30)])
    assert state.isocentre == pytest.approx((2, 4, 1))


def test_step_and_shoot_delivers_in_the_segments_and_jumps_between_them(plans):
    # Two shapes of 30 and 70 MU; between them the leaves move without meterset.
    first, second = ((-10.0,), (10.0,)), ((-2.0,), (5.0,))
    beam = plans.beam(
        [
            plans.control_point(0.0, leaf_positions=first),
            plans.control_point(0.3, leaf_positions=first),
            plans.control_point(0.3, leaf_positions=second),
            plans.control_point(1.0, leaf_positions=second),
        ],
        technique="step-and-shoot",
        leaf_boundaries=(-5.0, 5.0),
    )
    timeline = timeline_of(beam)
    np.testing.assert_array_equal(delivering_segments(timeline), [0, 2])
    states = states_at(timeline, np.linspace(0, 100, 1001))
    leaves = states.leaf_positions[:, :, 0]
    is_first = np.all(leaves == (-10, 10), axis=1)
    is_second = np.all(leaves == (-2, 5), axis=1)
    assert np.all(is_first | is_second), "no meterset is delivered while the leaves move"
    assert is_first.sum() == 300
    np.testing.assert_array_equal(np.flatnonzero(is_first), np.arange(300))


def test_jumps_at_both_ends_deliver_nothing(plans):
    widths = [(0, 1.0), (0, 2.0), (1, 2.0), (1, 9.0)]
    beam = plans.beam([plans.control_point(weight, jaw_x=(-width, width)) for weight, width in widths])
    states = states_at(timeline_of(beam), [0.0, 50.0, 100.0])
    np.testing.assert_array_equal(states.jaw_x[:, 1], [2, 2, 2])


def test_instant_outside_of_the_beam_is_refused(plans):
    timeline = timeline_of(plans.beam([plans.control_point(0), plans.control_point(1)]))
    for meterset in (-0.1, 100.1, float("nan")):
        with pytest.raises(ValueError, match="outside of beam 1"):
            state_at(timeline, meterset)


def test_delivery_keeps_position_fractions_and_total_meterset(plans):
    beams = [
        plans.beam([plans.control_point(0), plans.control_point(1)], number=number, meterset=meterset)
        for number, meterset in ((1, 120.5), (4, 79.5))
    ]
    delivery = deliver(plans.case(beams, patient_position="FFS", fractions=7))
    assert delivery.total_meterset == pytest.approx(200.0)
    assert (delivery.patient_position, delivery.fractions) == ("FFS", 7)
    assert [beam.number for beam in delivery.beams] == [1, 4]
    changed = deliver(plans.case(beams[:1], patient_position="FFS", fractions=7))
    assert changed.made_from_sha256 != delivery.made_from_sha256


@given(
    increments=st.lists(st.floats(0, 10), min_size=1, max_size=30).filter(lambda values: sum(values) > 0.1),
    scale=st.floats(0.01, 1000),
    meterset=st.floats(0.5, 3000),
)
def test_meterset_is_conserved(plans, increments, scale, meterset):
    weights = np.concatenate([[0.0], np.cumsum(increments)]) * scale
    beam = plans.beam(
        [plans.control_point(weight) for weight in weights],
        meterset=meterset,
        final_cumulative_meterset_weight=float(weights[-1]),
    )
    timeline = timeline_of(beam)
    assert timeline.total_meterset == meterset
    assert timeline.meterset[0] == 0.0
    steps = np.diff(timeline.meterset)
    assert np.all(steps >= 0)
    np.testing.assert_allclose(steps, np.array(increments) / sum(increments) * meterset, atol=1e-9 * meterset)
    assert steps[delivering_segments(timeline)].sum() == pytest.approx(meterset)


@given(
    start=st.floats(0, 359.9),
    steps=st.lists(st.floats(0.1, 10), min_size=1, max_size=35),
    clockwise=st.booleans(),
)
def test_gantry_never_turns_against_its_direction(plans, start, steps, clockwise):
    sign = 1 if clockwise else -1
    planned = start + sign * np.concatenate([[0.0], np.cumsum(steps)])
    timeline = timeline_of(plans.arc(list(planned % 360), "CW" if clockwise else "CC"))
    np.testing.assert_allclose(timeline.gantry, start % 360 + planned - start, atol=1e-6)
    gantry = states_at(timeline, np.linspace(0, timeline.total_meterset, 200)).gantry
    assert np.all(sign * np.diff(gantry) > 0)
