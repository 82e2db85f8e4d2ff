"""The made necks have the anatomy that their clinical cases ask for."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from gatecheck.phantoms import clinical_case_1, clinical_case_2, neck
from gatecheck.phantoms.solids import contours_of

CASES = {module.CASE.name: module.CASE for module in (clinical_case_1, clinical_case_2)}


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def ct_numbers_zyx():
    return CASES["clinical_case_1"].ct()


@pytest.fixture(scope="module")
def own():
    """The neck of case 1."""
    return CASES["clinical_case_1"].neck


def _at(ct_numbers_zyx, x, y, z):
    raster = CASES["clinical_case_1"].neck.raster
    index = np.rint((np.array([x, y, z]) - raster.origin) / raster.spacing).astype(int)
    return int(ct_numbers_zyx[index[2], index[1], index[0]])


@pytest.mark.parametrize(
    ("name", "volume", "allowed"), [("clinical_case_1", 0.3, 0.02), ("clinical_case_2", 0.5, 0.03)]
)
def test_tumour_has_the_papers_volume_as_a_solid_and_as_contours_on_slices(name, volume, allowed):
    made = CASES[name].neck
    assert made.tumour_volume == pytest.approx(volume, abs=allowed / 4)
    planes = made.raster.centres(2)
    drawn = sum(shapely.Polygon(contour[:, :2]).area for contour in contours_of(made.tumour, planes)) / 1000
    assert drawn == pytest.approx(made.tumour_volume, rel=0.005)


@pytest.mark.parametrize(("name", "x"), [("clinical_case_1", 1.6), ("clinical_case_2", -1.4)])
def test_tumour_is_on_its_side_of_the_midline_and_wholly_inside_the_cord(name, x):
    made = CASES[name].neck
    surface = made.tumour_surface(rings=60, points=120)
    assert surface[:, 0].mean() == pytest.approx(x, abs=0.01), "the patient's left is +x"
    for px, py, pz in surface:
        (cord,) = made.spinal_cord(float(pz))
        assert cord.contains(np.array(px), np.array(py))


def test_tumour_surface_lies_on_the_ellipsoid(case):
    scaled = (case.neck.tumour_surface() - np.array(case.neck.tumour_centre)) / np.array(case.neck.tumour_semi_axes)
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), 1.0, atol=1e-12)


def test_cord_is_8_to_13_mm_wide_and_inside_the_canal_everywhere(case):
    for z in case.neck.raster.centres(2):
        (cord,) = case.neck.spinal_cord(float(z))
        (canal,) = case.neck.spinal_canal(float(z))
        assert 8.0 <= 2 * cord.semi_axes[0] <= 13.0
        assert 6.0 <= 2 * cord.semi_axes[1] <= 9.5
        assert canal.contains(*cord.contour().T).all()


def test_neck_is_lordotic_and_furthest_in_front_at_the_tumour(case):
    planes = case.neck.raster.centres(2)
    curve = np.array([case.neck.spine_y(float(z)) for z in planes])
    assert planes[np.argmin(curve)] == pytest.approx(case.neck.cord_centre[2], abs=1.0)
    assert 2.0 < curve.max() - curve.min() < 15.0


def test_body_lies_inside_the_scan(case):
    ct = case.ct()
    for border in (ct[:, :, 0], ct[:, :, -1], ct[:, 0], ct[:, -1]):
        assert np.all(border == -1000)


def test_neck_of_case_1_widens_to_the_shoulders_and_that_of_case_2_to_the_head():
    for name, sign in (("clinical_case_1", -1), ("clinical_case_2", 1)):
        made = CASES[name].neck
        planes = made.raster.centres(2)
        (lowest,), (highest,) = made.body(float(planes[0])), made.body(float(planes[-1]))
        assert sign * (highest.semi_axes[0] - lowest.semi_axes[0]) > 8


def test_each_tissue_is_where_it_belongs(ct_numbers_zyx, own):
    z = 33.5  # half way up the vertebra above the tumour's disc
    y = own.spine_y(z)
    assert _at(ct_numbers_zyx, 0.5, y, z) == neck.CORD
    assert _at(ct_numbers_zyx, 8.5, y, z) == neck.CEREBROSPINAL_FLUID
    assert _at(ct_numbers_zyx, 0.5, y - 17.5, z) == neck.CANCELLOUS_BONE
    assert _at(ct_numbers_zyx, 0.5, y - 46, z) == neck.AIRWAY_AIR
    assert _at(ct_numbers_zyx, 45.5, y, z) == neck.MUSCLE
    assert _at(ct_numbers_zyx, 56.5, -146.5, z) == neck.FAT
    assert _at(ct_numbers_zyx, own.tumour_centre[0], own.tumour_centre[1], 25.5) == neck.TUMOUR
    # The vertebra's front wall, 1.5 mm of cortical bone, shows as such in a 1 mm pixel.
    front_wall = ct_numbers_zyx[int(z + 44.5), :, 100][int(y - 28 + 229.5) : int(y - 22 + 229.5)]
    assert front_wall.max() > 900
    # At the tumour's level there is the disc, not bone.
    assert _at(ct_numbers_zyx, 0.5, -157.5, 24.5) == neck.DISC


def test_tumour_of_case_2_lies_in_the_middle_of_a_vertebra():
    made = CASES["clinical_case_2"].neck
    assert made.vertebral_bodies(made.cord_centre[2])
    assert not made.vertebral_bodies(made.cord_centre[2] + 9.5)


def test_skin_covers_the_whole_outline(ct_numbers_zyx, own):
    for z in own.raster.centres(2)[::20]:
        (body,) = own.body(float(z))
        just_inside = body.grown(-1.0).contour(72)
        values = [_at(ct_numbers_zyx, x, y, z) for x, y in just_inside]
        assert np.median(values) == neck.SKIN


def test_vertebral_bodies_follow_each_other_at_their_pitch(case):
    drawn = [bool(case.neck.vertebral_bodies(float(z))) for z in case.neck.raster.centres(2)]
    starts = np.flatnonzero(np.diff(np.array(drawn, dtype=int)) == 1)
    assert len(starts) >= 7
    assert set(np.diff(starts)) == {case.neck.vertebral_pitch}
