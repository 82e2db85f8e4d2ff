"""The made neck has the anatomy that clinical case 1 asks for."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from gatecheck.phantoms import neck
from gatecheck.phantoms.clinical_case_1 import clinical_case_1_ct
from gatecheck.phantoms.solids import contours_of

PLANES = neck.RASTER.centres(2)


@pytest.fixture(scope="module")
def ct_numbers_zyx():
    return clinical_case_1_ct()


def _at(ct_numbers_zyx, x, y, z):
    index = np.rint((np.array([x, y, z]) - neck.RASTER.origin) / neck.RASTER.spacing).astype(int)
    return int(ct_numbers_zyx[index[2], index[1], index[0]])


def test_tumour_is_0_3_ml_as_a_solid_and_as_contours_on_slices():
    solid = 4 / 3 * np.pi * np.prod(neck.TUMOUR_SEMI_AXES)
    assert solid == pytest.approx(300.0, abs=1.0)
    drawn = sum(shapely.Polygon(contour[:, :2]).area for contour in contours_of(neck.tumour, PLANES))
    assert drawn == pytest.approx(solid, rel=0.005)


def test_tumour_is_left_of_the_midline_and_wholly_inside_the_cord():
    surface = neck.tumour_surface(rings=60, points=120)
    assert surface[:, 0].mean() == pytest.approx(1.6, abs=0.01), "the patient's left is +x"
    for x, y, z in surface:
        (cord,) = neck.spinal_cord(float(z))
        assert cord.contains(np.array(x), np.array(y))


def test_tumour_surface_lies_on_the_ellipsoid():
    scaled = (neck.tumour_surface() - np.array(neck.TUMOUR_CENTRE)) / np.array(neck.TUMOUR_SEMI_AXES)
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), 1.0, atol=1e-12)


def test_cord_is_8_to_12_mm_wide_and_inside_the_canal_everywhere():
    for z in PLANES:
        (cord,) = neck.spinal_cord(float(z))
        (canal,) = neck.spinal_canal(float(z))
        assert 8.0 <= 2 * cord.semi_axes[0] <= 12.0
        assert 6.0 <= 2 * cord.semi_axes[1] <= 9.0
        assert canal.contains(*cord.contour().T).all()


def test_neck_is_lordotic_and_its_middle_lies_furthest_in_front():
    curve = np.array([neck.spine_y(float(z)) for z in PLANES])
    assert PLANES[np.argmin(curve)] == pytest.approx(neck.CORD_CENTRE[2], abs=1.0)
    assert 2.0 < curve.max() - curve.min() < 15.0


def test_body_is_wider_at_the_shoulders_and_inside_the_scan(ct_numbers_zyx):
    (lowest,), (highest,) = neck.body(float(PLANES[0])), neck.body(float(PLANES[-1]))
    assert lowest.semi_axes[0] > highest.semi_axes[0] + 15
    for border_zy in (ct_numbers_zyx[:, :, 0], ct_numbers_zyx[:, :, -1], ct_numbers_zyx[:, 0], ct_numbers_zyx[:, -1]):
        assert np.all(border_zy == -1000)


def test_each_tissue_is_where_it_belongs(ct_numbers_zyx):
    z = 33.5  # half way up the vertebra above the tumour's disc
    y = neck.spine_y(z)
    assert _at(ct_numbers_zyx, 0.5, y, z) == neck.CORD
    assert _at(ct_numbers_zyx, 8.5, y, z) == neck.CEREBROSPINAL_FLUID
    assert _at(ct_numbers_zyx, 0.5, y - 17.5, z) == neck.CANCELLOUS_BONE
    assert _at(ct_numbers_zyx, 0.5, y - 46, z) == neck.TRACHEAL_AIR
    assert _at(ct_numbers_zyx, 45.5, y, z) == neck.MUSCLE
    assert _at(ct_numbers_zyx, 56.5, -146.5, z) == neck.FAT
    assert _at(ct_numbers_zyx, neck.TUMOUR_CENTRE[0], neck.TUMOUR_CENTRE[1], 25.5) == neck.TUMOUR
    # The vertebra's front wall, 1.5 mm of cortical bone, shows as such in a 1 mm pixel.
    front_wall = ct_numbers_zyx[int(z + 44.5), :, 100][int(y - 28 + 229.5) : int(y - 22 + 229.5)]
    assert front_wall.max() > 900
    # At the tumour's level there is the disc, not bone.
    assert _at(ct_numbers_zyx, 0.5, -157.5, 24.5) == neck.DISC


def test_skin_covers_the_whole_outline(ct_numbers_zyx):
    for z in PLANES[::20]:
        (body,) = neck.body(float(z))
        just_inside = body.grown(-1.0).contour(72)
        values = [_at(ct_numbers_zyx, x, y, z) for x, y in just_inside]
        assert np.median(values) == neck.SKIN


def test_vertebral_bodies_are_18_mm_apart():
    drawn = [bool(neck.vertebral_bodies(float(z))) for z in PLANES]
    starts = np.flatnonzero(np.diff(np.array(drawn, dtype=int)) == 1)
    assert len(starts) >= 7
    assert set(np.diff(starts)) == {18}
