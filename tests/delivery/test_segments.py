"""A delivery as static segments: nothing is lost, nothing moves, and limits are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.delivery.segments import segmented
from gatecheck.delivery.timeline import delivering_segments, state_at

Array = npt.NDArray[np.float64]


def timeline(meterset: Array, gantry: Array, leaves: Array | None = None, **changes: Any) -> BeamTimeline:
    nodes = len(meterset)
    zeros = np.zeros(nodes)
    beam = BeamTimeline(
        number=1,
        name="beam",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        meterset=meterset,
        gantry=gantry,
        collimator=zeros,
        couch=zeros,
        jaw_x=np.tile([-50.0, 50.0], (nodes, 1)),
        jaw_y=np.tile([-50.0, 50.0], (nodes, 1)),
        leaf_positions=leaves,
        leaf_boundaries=None if leaves is None else np.arange(leaves.shape[2] + 1.0),
        isocentre=np.tile([1.0, 2.0, 3.0], (nodes, 1)),
    )
    return replace(beam, **changes)


def delivery(*beams: BeamTimeline) -> Delivery:
    return Delivery(beams=beams, patient_position="HFS", fractions=3, made_from_sha256="0")


def arc(control_points: int = 178) -> BeamTimeline:
    return timeline(np.linspace(0, 500.0, control_points), np.linspace(179.0, -179.0, control_points))


def sliding_window(travel: float) -> BeamTimeline:
    leaves = np.array([[[-travel / 2], [0.0]], [[travel / 2], [20.0]]])
    return timeline(np.array([0.0, 80.0]), np.zeros(2), leaves)


def test_an_arc_of_178_control_points_is_divided_in_two_pieces_between_each() -> None:
    beam = segmented(delivery(arc())).beams[0]
    segments = delivering_segments(beam)
    assert len(segments) == 2 * 177
    # 358 degrees over 177 intervals are 2.02 degrees each, so that two pieces of 1.01 degrees stay below 2.
    turns = np.diff(beam.gantry[segments])
    assert turns == pytest.approx(np.full(353, -358 / 354))


def test_an_interval_of_exactly_the_limit_is_not_divided() -> None:
    beam = timeline(np.linspace(0, 10.0, 6), 2.0 * np.arange(6.0) + 0.1)
    assert len(delivering_segments(segmented(delivery(beam)).beams[0])) == 5


def test_every_segment_stands_still_at_the_state_of_its_middle() -> None:
    beam = arc(12)
    static = segmented(delivery(beam)).beams[0]
    for node in delivering_segments(static):
        assert static.gantry[node] == static.gantry[node + 1]
        middle = (static.meterset[node] + static.meterset[node + 1]) / 2
        assert static.gantry[node] == pytest.approx(state_at(beam, middle).gantry, abs=1e-9)
    assert static.isocentre.shape == (len(static.meterset), 3)
    assert np.all(static.isocentre == [1.0, 2.0, 3.0])


def test_a_sliding_window_is_resolved_to_the_motion_asked_for() -> None:
    moving = delivery(sliding_window(100.0))
    assert len(delivering_segments(segmented(moving, largest_motion=5.0).beams[0])) == 20
    assert len(delivering_segments(segmented(moving, largest_motion=None).beams[0])) == 1
    leaves = segmented(moving, largest_motion=5.0).beams[0].leaf_positions
    assert leaves is not None
    assert np.diff(leaves[::2, 0, 0]) == pytest.approx(np.full(19, 5.0))
    assert leaves[0, 0, 0] == pytest.approx(-47.5)


def test_moving_jaws_and_a_turning_collimator_are_resolved_too() -> None:
    jaws = np.array([[-50.0, 50.0], [-38.0, 50.0]])
    beam = timeline(np.array([0.0, 10.0]), np.zeros(2), jaw_y=jaws)
    assert len(delivering_segments(segmented(delivery(beam)).beams[0])) == 3
    turning = timeline(np.array([0.0, 10.0]), np.zeros(2), collimator=np.array([0.0, 9.0]))
    assert len(delivering_segments(segmented(delivery(turning)).beams[0])) == 5


def test_jumps_without_meterset_make_no_segment() -> None:
    meterset = np.array([0.0, 0.0, 10.0, 10.0, 30.0, 30.0])
    gantry = np.array([0.0, 20.0, 20.0, 80.0, 80.0, 90.0])
    static = segmented(delivery(timeline(meterset, gantry))).beams[0]
    assert static.meterset.tolist() == [0.0, 10.0, 10.0, 30.0]
    assert static.gantry.tolist() == [20.0, 20.0, 80.0, 80.0]


@pytest.mark.parametrize("name", ["largest_rotation", "largest_motion"])
@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_not_above_zero_is_refused(name: str, limit: float) -> None:
    with pytest.raises(ValueError, match=name):
        segmented(delivery(arc(3)), **{name: limit})


@given(
    weights=st.lists(st.floats(0.01, 30.0), min_size=1, max_size=8),
    turns=st.lists(st.floats(-12.0, 12.0), min_size=8, max_size=8),
    largest=st.floats(0.5, 5.0),
)
@settings(max_examples=60, deadline=None)
def test_meterset_is_conserved_and_the_mean_angle_kept(
    weights: list[float], turns: list[float], largest: float
) -> None:
    meterset = np.concatenate([[0.0], np.cumsum(weights)])
    gantry = np.concatenate([[0.0], np.cumsum(turns[: len(weights)])])
    static = segmented(delivery(timeline(meterset, gantry)), largest_rotation=largest).beams[0]
    assert static.total_meterset == meterset[-1]
    assert np.all(np.diff(static.meterset) >= 0)
    share = np.diff(static.meterset)[::2]
    assert share.sum() == pytest.approx(meterset[-1])
    # Pieces of equal meterset at their middles keep the meterset-weighted mean of a linear motion.
    moving = np.sum((gantry[:-1] + gantry[1:]) / 2 * np.diff(meterset))
    assert np.sum(static.gantry[::2] * share) == pytest.approx(moving, abs=1e-6 * meterset[-1])
    assert np.abs(np.diff(static.gantry[::2])).max(initial=0.0) <= largest * (1 + 1e-5)
