"""Hand-worked cases of the IEC 61217 and patient systems, each derived in its comment from the standard's words.

Words used: the observer stands in front of the machine and faces the gantry. Left, posterior and
superior are the patient's own, +x, +y and +z of DICOM LPS.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gatecheck.delivery.coordinates import (
    PATIENT_POSITION_CODES,
    beam_limiting_device_to_patient,
    bld_to_patient_entries,
    position_code_of,
    project_to_isocentre_plane,
    rotation_arrays_for,
    source_position,
)
from gatecheck.errors import UnsupportedPlanError

HD120_BOUNDARIES = np.concatenate(
    [np.arange(-110.0, -40.0, 5.0), np.arange(-40.0, 40.0, 2.5), np.arange(40.0, 110.1, 5.0)]
)

angles = st.floats(-720, 720)
positions = st.sampled_from(sorted(PATIENT_POSITION_CODES))
coordinates = st.floats(-300, 300)
points = st.tuples(coordinates, coordinates, coordinates)


@pytest.mark.parametrize(
    ("patient_position", "gantry", "couch", "expected"),
    [
        # Supine, so the face is up: a source overhead is anterior, one under the table posterior.
        ("HFS", 0, 0, (0, -1000, 0)),
        ("HFS", 180, 0, (0, 1000, 0)),
        # At 90 degrees the source is at the observer's right. The patient lies on his back with his head
        # at the gantry, so the observer's right is his left.
        ("HFS", 90, 0, (1000, 0, 0)),
        ("HFS", 270, 0, (-1000, 0, 0)),
        # 30 degrees clockwise from overhead: mostly anterior, half of the distance to the left.
        ("HFS", 30, 0, (500, -866.0254, 0)),
        # Prone turns left to right and front to back.
        ("HFP", 0, 0, (0, 1000, 0)),
        ("HFP", 180, 0, (0, -1000, 0)),
        ("HFP", 90, 0, (-1000, 0, 0)),
        ("HFP", 270, 0, (1000, 0, 0)),
        # Feet at the gantry, face up: the observer's right is the patient's right.
        ("FFS", 0, 0, (0, -1000, 0)),
        ("FFS", 180, 0, (0, 1000, 0)),
        ("FFS", 90, 0, (-1000, 0, 0)),
        ("FFS", 270, 0, (1000, 0, 0)),
        # Feet at the gantry, face down: the observer's right is the patient's left again.
        ("FFP", 0, 0, (0, 1000, 0)),
        ("FFP", 180, 0, (0, -1000, 0)),
        ("FFP", 90, 0, (1000, 0, 0)),
        ("FFP", 270, 0, (-1000, 0, 0)),
        # Couch 90: counter-clockwise from above, so what lay at the gantry is now at the observer's left
        # and what lay at the observer is at his right, where a gantry of 90 degrees has the source.
        ("HFS", 90, 90, (0, 0, -1000)),
        ("HFS", 270, 90, (0, 0, 1000)),
        ("HFP", 90, 90, (0, 0, -1000)),
        ("HFP", 270, 90, (0, 0, 1000)),
        ("FFS", 90, 90, (0, 0, 1000)),
        ("FFS", 270, 90, (0, 0, -1000)),
        ("FFP", 90, 90, (0, 0, 1000)),
        ("FFP", 270, 90, (0, 0, -1000)),
        # Couch 270 the other way round.
        ("HFS", 90, 270, (0, 0, 1000)),
        # A couch cannot move an overhead source over the patient.
        ("HFS", 0, 45, (0, -1000, 0)),
        # Couch 30, gantry 90: the head has swung to the observer's left, so the source at his right sees
        # the left side from below (towards the feet): left cos 30, inferior sin 30.
        ("HFS", 90, 30, (866.0254, 0, -500)),
        # Couch 330: the head has swung to the observer's right, so the source is towards the head.
        ("HFS", 90, 330, (866.0254, 0, 500)),
        # Couch 30 prone: right side, towards the feet. Feet first supine: right side, towards the head.
        ("HFP", 90, 30, (-866.0254, 0, -500)),
        ("FFS", 90, 30, (-866.0254, 0, 500)),
        ("FFP", 90, 30, (866.0254, 0, 500)),
        # Gantry 60, couch 30: half of the way up (cos 60 = 0.5), and of the sin 60 = 0.866 at the side
        # cos 30 to the left and sin 30 to the feet.
        ("HFS", 60, 30, (750, -500, -433.0127)),
    ],
)
def test_source_is_on_the_side_of_the_patient_that_the_standard_says(patient_position, gantry, couch, expected):
    isocentre = np.array([12.0, -34.0, 56.0])
    found = source_position(gantry=gantry, couch=couch, isocentre=isocentre, patient_position=patient_position)
    np.testing.assert_allclose(found - isocentre, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("patient_position", "gantry", "collimator", "couch", "marker", "expected"),
    [
        # Gantry 0: x_b to the observer's right (patient's left), y_b to the gantry (superior).
        ("HFS", 0, 0, 0, (10, 0, 0), (10, 0)),
        ("HFS", 0, 0, 0, (0, 0, 20), (0, 20)),
        # A marker on the axis stays on the axis wherever it is along it.
        ("HFS", 0, 0, 0, (0, 150, 0), (0, 0)),
        # 100 mm posterior is 1100 mm from the source: 11 mm away from the axis is seen at 10 mm.
        ("HFS", 0, 0, 0, (11, 100, 22), (10, 20)),
        # 100 mm anterior is 900 mm from the source: 9 mm is seen at 10 mm.
        ("HFS", 0, 0, 0, (9, -100, 18), (10, 20)),
        # Gantry 90: what pointed to the right now points down, so x_b is posterior.
        ("HFS", 90, 0, 0, (0, 10, 0), (10, 0)),
        ("HFS", 90, 0, 0, (0, 0, 20), (0, 20)),
        # The source is at the patient's left: 50 mm to the left is 950 mm from it.
        ("HFS", 90, 0, 0, (50, 9.5, 19), (10, 20)),
        # Gantry 180: x_b to the observer's left, the patient's right.
        ("HFS", 180, 0, 0, (-10, 0, 20), (10, 20)),
        # Gantry 270: x_b is up, anterior.
        ("HFS", 270, 0, 0, (0, -10, 20), (10, 20)),
        # Collimator 90 counter-clockwise seen from the source: x_b takes the place of y_g (superior), y_b that
        # of -x_g (patient's right).
        ("HFS", 0, 90, 0, (10, 0, 20), (20, -10)),
        # Collimator 270: x_b inferior, y_b left.
        ("HFS", 0, 270, 0, (10, 0, 20), (-20, 10)),
        # Collimator 30: x_b leans to superior by 30 degrees.
        ("HFS", 0, 30, 0, (10, 0, 0), (8.660254, -5)),
        ("HFS", 0, 30, 0, (0, 0, 10), (5, 8.660254)),
        # Gantry 90, collimator 90: x_b superior; y_b is where -x_g points, up, anterior.
        ("HFS", 90, 90, 0, (0, -10, 20), (20, 10)),
        # Prone: the patient's left is at the observer's left.
        ("HFP", 0, 0, 0, (10, 0, 20), (-10, 20)),
        # Prone, gantry 90: x_b is down, anterior.
        ("HFP", 90, 0, 0, (0, -10, 20), (10, 20)),
        # Feet first supine: left at the observer's left, superior towards the observer.
        ("FFS", 0, 0, 0, (10, 0, 20), (-10, -20)),
        ("FFS", 90, 0, 0, (0, 10, 20), (10, -20)),
        # Feet first prone: left at the observer's right, superior towards the observer.
        ("FFP", 0, 0, 0, (10, 0, 20), (10, -20)),
        ("FFP", 90, 0, 0, (0, -10, 20), (10, -20)),
        # Couch 90 (head at the observer's left): left points to the gantry, y_b; superior to -x_b.
        ("HFS", 0, 0, 90, (10, 0, 20), (-20, 10)),
        # Feet first supine at couch 90: superior pointed at the observer, now to his right, +x_b; the
        # patient's left pointed to the observer's left, now to the observer, -y_b.
        ("FFS", 0, 0, 90, (10, 0, 20), (20, -10)),
        ("HFP", 0, 0, 90, (10, 0, 20), (-20, -10)),
        ("FFP", 0, 0, 90, (10, 0, 20), (20, 10)),
        # Couch 30 head first supine, overhead: superior has swung from +y_b to the left, to -x_b, by 30.
        ("HFS", 0, 0, 30, (0, 0, 10), (-5, 8.660254)),
        # A collimator of the same angle follows the couch, so that the view is that of couch 0.
        ("HFS", 0, 30, 30, (10, 0, 20), (10, 20)),
        # Couch 90, gantry 90 (source at the feet): x_b is down, posterior; y_b to the gantry, left. The
        # marker is 100 mm superior, 1100 mm from the source.
        ("HFS", 90, 0, 90, (22, 11, 100), (10, 20)),
    ],
)
def test_marker_is_seen_where_it_must_be_in_the_beams_eye_view(
    *, patient_position, gantry, collimator, couch, marker, expected
):
    isocentre = np.array([-7.0, 21.0, 130.0])
    seen = project_to_isocentre_plane(
        isocentre + np.array(marker, dtype=float),
        gantry=gantry,
        collimator=collimator,
        couch=couch,
        isocentre=isocentre,
        patient_position=patient_position,
    )
    np.testing.assert_allclose(seen, [expected], atol=1e-5)


def test_marker_behind_an_off_axis_leaf_is_covered_by_that_leaf_and_bank_alone():
    # Supine, gantry 270, collimator 90, isocentre 0. The source is at the patient's right. x_g is up
    # (anterior), y_g superior; at collimator 90 x_b is superior and y_b is where -x_g points, posterior.
    # The marker is 200 mm to the left, 1200 mm from the source, so it is seen at 1000/1200 of its
    # distance from the axis: 36 mm superior at x_b = +30, 63 mm posterior at y_b = +52.5.
    seen = project_to_isocentre_plane(
        (200.0, 63.0, 36.0), gantry=270, collimator=90, couch=0, isocentre=(0, 0, 0), patient_position="HFS"
    )[0]
    np.testing.assert_allclose(seen, (30.0, 52.5), atol=1e-9)
    # HD120 from Y1 to Y2: 14 pairs of 5 mm to -40, 32 of 2.5 mm to +40, then 40-45, 45-50, 50-55: pair 48.
    pair = int(np.searchsorted(HD120_BOUNDARIES, seen[1])) - 1
    assert (pair, HD120_BOUNDARIES[pair], HD120_BOUNDARIES[pair + 1]) == (48, 50.0, 55.0)
    # Open from -20 to +35 shows it; the X2 leaf at +25 covers it; the X1 leaf at +25 would not.
    assert -20 < seen[0] < 35
    assert seen[0] > 25


def test_marker_moves_with_the_isocentre():
    view = {"gantry": 40, "collimator": 10, "couch": 20, "patient_position": "FFS"}
    at_origin = project_to_isocentre_plane((3, 4, 5), isocentre=(0, 0, 0), **view)
    moved = project_to_isocentre_plane((103, -196, 305), isocentre=(100, -200, 300), **view)
    np.testing.assert_allclose(moved, at_origin, atol=1e-9)


def test_source_axis_distance_changes_magnification():
    # 100 mm below an isocentre at 800 mm is 900 mm from the source.
    seen = project_to_isocentre_plane(
        (9, 100, 18),
        gantry=0,
        collimator=0,
        couch=0,
        isocentre=(0, 0, 0),
        patient_position="HFS",
        source_axis_distance=800,
    )
    np.testing.assert_allclose(seen, [(8, 16)], atol=1e-9)


def test_point_above_the_source_is_refused():
    with pytest.raises(ValueError, match="above the source"):
        project_to_isocentre_plane(
            (0, -1000, 0), gantry=0, collimator=0, couch=0, isocentre=(0, 0, 0), patient_position="HFS"
        )


@pytest.mark.parametrize("patient_position", ["HFDL", "", "hfs"])
def test_position_that_is_not_modelled_is_refused_by_name(patient_position):
    with pytest.raises(UnsupportedPlanError, match=r"Patient Position \(0018,5100\).*HFS, HFP, FFS, FFP"):
        position_code_of(patient_position)


def _second_implementation(gantry, collimator, couch, patient_position):
    """The standard's chain of daughter systems by another library, and the patient as a body that is turned."""
    # Patient to patient support, head first supine: left = x_s, posterior = -z_s, superior = y_s: a quarter
    # turn about x. The other positions turn that body about the table's axes.
    head_first_supine = Rotation.from_euler("x", 90, degrees=True).inv()
    turn = {"HFS": (0, 0), "HFP": (180, 0), "FFS": (0, 180), "FFP": (180, 180)}[patient_position]
    on_table = Rotation.from_euler("z", turn[1], degrees=True) * Rotation.from_euler("y", turn[0], degrees=True)
    patient_to_fixed = Rotation.from_euler("z", couch, degrees=True) * on_table * head_first_supine
    bld_to_fixed = Rotation.from_euler("y", gantry, degrees=True) * Rotation.from_euler("z", collimator, degrees=True)
    return (patient_to_fixed.inv() * bld_to_fixed).as_matrix()


@given(gantry=angles, collimator=angles, couch=angles, patient_position=positions)
def test_matrix_agrees_with_a_composition_by_scipy(gantry, collimator, couch, patient_position):
    expected = _second_implementation(gantry, collimator, couch, patient_position)
    found = rotation_arrays_for(gantry, collimator, couch, patient_position)[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@settings(deadline=None)  # the first call compiles
@given(gantry=angles, collimator=angles, couch=angles, patient_position=positions)
def test_compiled_matrix_is_the_vectorised_one(gantry, collimator, couch, patient_position):
    compiled = np.reshape(bld_to_patient_entries(gantry, collimator, couch, position_code_of(patient_position)), (3, 3))
    vectorised = rotation_arrays_for(gantry, collimator, couch, patient_position)[0]
    np.testing.assert_allclose(compiled, vectorised, atol=1e-12)


@given(gantry=angles, collimator=angles, couch=angles, patient_position=positions)
def test_matrix_is_a_proper_rotation_and_mirrors_nothing(gantry, collimator, couch, patient_position):
    matrix = rotation_arrays_for(gantry, collimator, couch, patient_position)[0]
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-12)


@given(gantry=angles, collimator=angles, couch=angles, patient_position=positions, isocentre=points, point=points)
def test_inverse_brings_every_point_back(*, gantry, collimator, couch, patient_position, isocentre, point):
    transform = beam_limiting_device_to_patient(
        gantry=gantry, collimator=collimator, couch=couch, isocentre=isocentre, patient_position=patient_position
    )
    np.testing.assert_allclose(transform.inverse().apply(transform.apply([point])), [point], atol=1e-9)
    np.testing.assert_allclose(transform.apply(transform.inverse().apply([point])), [point], atol=1e-9)
    np.testing.assert_allclose(transform.rotate([point]), transform.apply([point]) - np.asarray(isocentre), atol=1e-9)


@given(
    gantry=angles,
    collimator=angles,
    couch=angles,
    patient_position=positions,
    x=st.floats(-200, 200),
    y=st.floats(-200, 200),
    z=st.floats(-400, 400),
)
def test_point_on_a_ray_is_seen_where_the_ray_starts(*, gantry, collimator, couch, patient_position, x, y, z):
    view = {"gantry": gantry, "collimator": collimator, "couch": couch, "patient_position": patient_position}
    transform = beam_limiting_device_to_patient(isocentre=(5, 6, 7), **view)
    on_ray = transform.apply([(x * (1000 - z) / 1000, y * (1000 - z) / 1000, z)])
    seen = project_to_isocentre_plane(on_ray, isocentre=(5, 6, 7), **view)
    np.testing.assert_allclose(seen, [(x, y)], atol=1e-8)


def test_rotations_of_many_angles_are_those_of_each():
    gantry, collimator, couch = np.array([0.0, 123.0, 359.0]), np.array([10.0, 20.0, 30.0]), np.array([0.0, 45.0, 90.0])
    together = rotation_arrays_for(gantry, collimator, couch, "FFP")
    assert together.shape == (3, 3, 3)
    for index in range(3):
        alone = rotation_arrays_for(gantry[index], collimator[index], couch[index], "FFP")[0]
        np.testing.assert_array_equal(together[index], alone)
