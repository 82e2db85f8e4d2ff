"""Equal angles with a direction: a full turn only where a machine can make one, otherwise a stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from synthetic_dicom import DicomSet, beam, control_point, leaves

from gatecheck.case.model import Beam, Case
from gatecheck.delivery.timeline import timeline_of

Ingested = Callable[[], Case]
Refusal = Callable[[], str]


def turning_beam(
    angles: Sequence[float], direction: str, *, axis: str = "gantry", shifts: Sequence[float] = (), **changes: Any
) -> Beam:
    """Control points at equal steps of meterset, all of one direction but the last."""
    last = len(angles) - 1
    points = [
        control_point(
            index / last,
            leaf_positions=leaves(shifts[index] if shifts else 0.0),
            **{f"{axis}_angle": angle, f"{axis}_rotation_direction": direction if index < last else "NONE"},
        )
        for index, angle in enumerate(angles)
    ]
    return beam(1, **({"beam_type": "DYNAMIC", "control_points": tuple(points)} | changes))


@pytest.mark.parametrize(
    ("angles", "direction", "technique", "unwrapped"),
    [
        ([51.0, 51.0, 51.0, 51.0], "CW", "sliding-window", [51, 51, 51, 51]),
        ([51.0, 51.0, 51.0, 51.0], "CC", "sliding-window", [51, 51, 51, 51]),
        ([181.0, 181.0, 270.0, 10.0], "CW", "vmat", [181, 181, 270, 370]),
        ([10.0, 270.0, 270.01, 181.0], "CC", "vmat", [10, -90, -89.99, -179]),
    ],
)
def test_a_gantry_that_stays_with_a_direction_stands_still_and_is_said(
    dicom_set: DicomSet,
    ingested: Ingested,
    *,
    angles: list[float],
    direction: str,
    technique: str,
    unwrapped: list[float],
) -> None:
    dicom_set.plan([turning_beam(angles, direction, shifts=[0.0, 1.0, 3.0, 4.0])])
    case = ingested()
    (warning,) = case.warnings
    assert warning.code == "direction-without-rotation"
    assert "Beam 1: the gantry angle stays after" in warning.message
    assert "Gantry Rotation Direction (300A,011F)" in warning.message
    assert case.beams[0].technique == technique
    np.testing.assert_allclose(timeline_of(case.beams[0]).gantry, unwrapped, atol=1e-9)


def test_an_arc_whose_angles_all_differ_is_read_without_a_warning(dicom_set: DicomSet, ingested: Ingested) -> None:
    dicom_set.plan([turning_beam([181.0, 300.0, 60.0, 179.0], "CW", shifts=[0.0, 1.0, 3.0, 4.0])])
    case = ingested()
    assert not case.warnings
    assert timeline_of(case.beams[0]).gantry[-1] == pytest.approx(539.0)


@pytest.mark.parametrize(("direction", "end"), [("CW", 540.0), ("CC", -180.0)])
def test_a_conformal_arc_of_two_equal_angles_turns_fully(
    dicom_set: DicomSet, ingested: Ingested, direction: str, end: float
) -> None:
    dicom_set.plan([turning_beam([180.0, 180.0], direction)])
    case = ingested()
    assert case.beams[0].technique == "conformal-arc"
    assert not case.warnings
    assert timeline_of(case.beams[0]).gantry[-1] == end


@pytest.mark.parametrize("end", [51.0, 50.99])
def test_a_sliding_window_of_two_control_points_is_not_turned_into_an_arc(
    dicom_set: DicomSet, refusal: Refusal, end: float
) -> None:
    dicom_set.plan([turning_beam([51.0, end], "CW", shifts=[0.0, 5.0])])
    message = refusal()
    assert "Beam 1, control point 0: the gantry angle stays with Gantry Rotation Direction (300A,011F) CW" in message
    assert "as a sliding window. Expected NONE" in message


def test_jaws_that_move_at_a_gantry_that_stays_are_not_turned_into_an_arc(
    dicom_set: DicomSet, refusal: Refusal
) -> None:
    points = (
        control_point(0.0, gantry_rotation_direction="CC"),
        control_point(1.0, jaw_x=(-5.0, 20.0)),
    )
    dicom_set.plan([beam(1, beam_type="DYNAMIC", control_points=points)])
    assert "its leaves or jaws move" in refusal()


def test_a_static_beam_of_two_equal_angles_with_a_direction_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.plan([turning_beam([180.0, 180.0], "CW", beam_type="STATIC")])
    assert "which DICOM reads as a full turn, but the beam is no arc. Expected NONE" in refusal()


@pytest.mark.parametrize(
    ("axis", "name"),
    [
        ("collimator", "beam limiting device angle stays after 1 of 2 control points"),
        ("couch", "patient support angle stays after 1 of 2 control points"),
    ],
)
@pytest.mark.parametrize("end", [30.0, 29.98, 30.02])
def test_collimator_and_couch_never_turn_fully(
    dicom_set: DicomSet, ingested: Ingested, axis: str, name: str, end: float
) -> None:
    """At most one of the two directions is against a step within rounding, so that either is tried."""
    for direction, back in (("CW", end >= 30.0), ("CC", end <= 30.0)):
        dicom_set.plan([turning_beam([30.0, end], direction, axis=axis)])
        case = ingested()
        assert [name in warning.message for warning in case.warnings] == [True] * back
        np.testing.assert_allclose(getattr(timeline_of(case.beams[0]), axis), [30.0, end], atol=1e-9)


@pytest.mark.parametrize("axis", ["gantry", "collimator", "couch"])
def test_more_than_a_full_turn_is_refused_before_anything_is_written(
    dicom_set: DicomSet, refusal: Refusal, axis: str
) -> None:
    dicom_set.plan([turning_beam([0.0, 100.0, 90.0, 100.0], "CW" if axis == "gantry" else "CC", axis=axis)])
    assert "turns by 460.0 degrees in the beam, expected at most one full turn" in refusal()


def test_an_angle_that_changes_without_a_direction_is_refused_before_anything_is_written(
    dicom_set: DicomSet, refusal: Refusal
) -> None:
    dicom_set.plan([turning_beam([10.0, 12.0], "NONE")])
    assert "Beam 1, control point 0: the gantry angle changes from 10 to 12 degrees" in refusal()
