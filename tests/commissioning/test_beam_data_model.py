"""Typed beam data exist in a valid state or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.commissioning.beam_data import BeamData, DepthDose, JawField, OutputFactor, Profile, ProfileWidth

SQUARE = JawField.of_size(100.0, 100.0)
DEPTH = np.array([10.0, 15.0, 20.0])


def depth_dose(**changes: object) -> DepthDose:
    given = {"jaws": SQUARE, "source_surface_distance": 1000.0, "depth": DEPTH, "dose": np.array([98.0, 100.0, 98.5])}
    return DepthDose(**(given | changes))  # type: ignore[arg-type]


def profile(**changes: object) -> Profile:
    given = {
        "jaws": SQUARE,
        "source_surface_distance": 1000.0,
        "depth": 100.0,
        "axis": "x",
        "position": np.array([-20.0, 0.0, 20.0]),
        "dose": np.array([99.0, 100.0, 99.5]),
    }
    return Profile(**(given | changes))  # type: ignore[arg-type]


def test_sizes_are_those_between_the_jaws() -> None:
    jaws = JawField(x1=-20.0, x2=80.0, y1=-150.0, y2=50.0)
    curve = depth_dose(jaws=jaws)
    assert (curve.field_x, curve.field_y) == (100.0, 200.0)
    assert not jaws.is_centred
    assert str(jaws) == "X -20 to 80, Y -150 to 50 mm"
    assert str(SQUARE) == "100 x 100 mm"


def test_a_curve_cannot_be_changed_from_outside() -> None:
    dose = np.array([98.0, 100.0, 98.5])
    curve = depth_dose(dose=dose)
    dose[1] = 0.0
    assert curve.dose[1] == 100.0
    with pytest.raises(ValueError, match="read-only"):
        curve.dose[1] = 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": DEPTH[::-1]}, "does not rise"),
        ({"depth": np.array([10.0, 10.0, 20.0])}, "does not rise"),
        ({"depth": DEPTH[:2]}, "equal lengths"),
        ({"depth": np.array([]), "dose": np.array([])}, "lengths of 1 or more"),
        ({"depth": DEPTH - 11.0}, "depth is -1 mm, expected 0"),
        ({"dose": np.array([98.0, np.nan, 97.0])}, "dose has values that are not finite"),
        ({"dose": np.array([0.98, 1.0, 0.985])}, "expected per cent of the curve's maximum"),
        ({"dose": np.array([98.0, 104.0, 97.0])}, "expected per cent of the curve's maximum"),
        ({"sigma": np.array([0.1, -0.1, 0.1])}, "sigma has values below 0"),
        ({"source_surface_distance": 100.0}, "source_surface_distance is 100 mm, expected 500 to 3000 mm"),
        ({"detector_diameter": -1.0}, "detector_diameter is -1 mm"),
        ({"normalisation": "axis"}, "normalisation 'axis', expected 'maximum' or 'as measured'"),
        ({"label": "two\nlines"}, "label is not one line"),
    ],
)
def test_a_depth_dose_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth_dose(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis": "z"}, "axis 'z', expected one of x, y, mean"),
        ({"axis": "mean"}, "position -20 mm on axis mean, expected none below 0"),
        ({"dose": np.array([90.0, 95.0, 90.0])}, "dose 95 on the axis, expected 100"),
        ({"dose": np.array([0.99, 1.0, 0.995])}, "expected per cent of the dose on the axis"),
        ({"depth": 700.0}, "depth is 700 mm, expected 0 to 600 mm"),
        ({"normalisation": "maximum"}, "normalisation 'maximum', expected 'axis' or 'as measured'"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile(**changes)


def test_a_curve_as_measured_may_have_any_unit() -> None:
    assert depth_dose(dose=np.array([0.98, 1.0, 0.985]), normalisation="as measured").dose[1] == 1.0


def test_a_profile_outside_of_the_field_may_be_low() -> None:
    tail = profile(position=np.array([80.0, 90.0]), dose=np.array([1.5, 1.2]))
    assert tail.is_half


def test_a_width_needs_a_value_and_its_sigma_a_width() -> None:
    conditions = {"jaws": SQUARE, "source_surface_distance": 1000.0, "depth": 100.0, "axis": "mean"}
    with pytest.raises(ValueError, match="neither width_50 nor penumbra_80_20"):
        ProfileWidth(**conditions)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="penumbra_sigma is given for a value that is not"):
        ProfileWidth(**conditions, width_50=110.0, penumbra_sigma=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width_50 is 0 mm"):
        ProfileWidth(**conditions, width_50=0.0)  # type: ignore[arg-type]


def test_an_output_factor_in_per_cent_is_refused() -> None:
    with pytest.raises(ValueError, match=r"output factor 90\.6, expected a ratio"):
        OutputFactor(jaws=SQUARE, source_surface_distance=950.0, depth=50.0, value=90.6)


@pytest.mark.parametrize(
    ("x1", "x2", "message"),
    [(50.0, -50.0, "x2 above x1"), (-300.0, 50.0, "expected between -250 and 250"), (10.0, 10.0, "x2 above x1")],
)
def test_jaws_that_cannot_be_are_refused(x1: float, x2: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JawField(x1=x1, x2=x2, y1=-50.0, y2=50.0)


def test_beam_data_know_whether_they_hold_anything() -> None:
    assert BeamData().is_empty
    assert not BeamData(depth_doses=(depth_dose(),)).is_empty
    with pytest.raises(ValueError, match="machine is empty"):
        BeamData(machine="")
