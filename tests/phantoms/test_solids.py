"""Bodies made of superellipses: the contours drawn and the CT numbers painted are those of the analytic solid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gatecheck.phantoms.solids import Raster, Section, Solid, contours_of, paint

SPHERE_RADIUS = 6.0


def _sphere(z):
    return () if abs(z) >= SPHERE_RADIUS else (Section((1.0, 2.0), (math.sqrt(SPHERE_RADIUS**2 - z * z),) * 2),)


def test_area_of_an_ellipse_and_of_a_near_rectangle():
    assert Section((0, 0), (3.0, 2.0)).area == pytest.approx(math.pi * 6)
    # |x|^n + |y|^n tends to the square as n grows.
    assert Section((0, 0), (3.0, 2.0), 200.0).area == pytest.approx(24.0, rel=1e-3)


@given(
    a=st.floats(0.5, 90), b=st.floats(0.5, 90), exponent=st.floats(1.2, 6), points=st.sampled_from([24, 96]),
    x=st.floats(-100, 100), y=st.floats(-100, 100),
)  # fmt: skip
def test_contour_has_the_area_of_its_section_and_its_centre(*, a, b, exponent, points, x, y):
    section = Section((x, y), (a, b), exponent)
    polygon = shapely.Polygon(section.contour(points))
    assert polygon.is_valid
    assert polygon.area == pytest.approx(section.area, rel=1e-9)
    assert (polygon.centroid.x, polygon.centroid.y) == pytest.approx((x, y), abs=1e-6)


def test_contours_of_a_sphere_stacked_give_its_volume():
    planes = np.arange(-9.5, 10.0, 1.0)
    contours = contours_of(_sphere, planes)
    assert len(contours) == 12
    assert all(len(np.unique(contour[:, 2])) == 1 for contour in contours)
    volume = sum(shapely.Polygon(contour[:, :2]).area for contour in contours)
    # The midpoint rule over a parabola of areas: pi (R² - z²) at 12 planes is 0.35 % above the integral.
    assert volume == pytest.approx(4 / 3 * math.pi * SPHERE_RADIUS**3, rel=0.004)


def test_drawing_overlapping_sections_is_refused():
    def twins(z):
        return (Section((0.0, 0.0), (2.0, 2.0)), Section((1.0, 0.0), (2.0, 2.0)))

    with pytest.raises(ValueError, match="2 sections found"):
        contours_of(twins, np.array([0.0]))


def test_painted_sphere_has_its_volume_and_lies_where_it_was_put():
    raster = Raster(size=(30, 24, 20), spacing=(1.0, 1.0, 1.0), origin=(-12.5, -9.5, -9.5))
    ct_numbers_zyx = paint([Solid("sphere", 0.0, _sphere)], raster)
    assert ct_numbers_zyx.shape == (20, 24, 30)
    share_zyx = (ct_numbers_zyx + 1000.0) / 1000.0
    assert share_zyx.sum() == pytest.approx(4 / 3 * math.pi * SPHERE_RADIUS**3, rel=0.01)
    centre = [
        float((share_zyx * raster.centres(axis).reshape([-1 if i == 2 - axis else 1 for i in range(3)])).sum())
        / share_zyx.sum()
        for axis in range(3)
    ]
    assert centre == pytest.approx((1.0, 2.0, 0.0), abs=0.02)


def test_later_body_replaces_an_earlier_one():
    raster = Raster(size=(10, 10, 1), spacing=(1.0, 1.0, 1.0), origin=(-4.5, -4.5, 0.0))

    def disc(radius):
        return lambda z: (Section((0.0, 0.0), (radius, radius)),)

    ct_numbers_zyx = paint([Solid("outer", 50.0, disc(4.0)), Solid("inner", 900.0, disc(2.0))], raster)
    # one pixel right of the middle, then 2.5 mm off, then in the corner
    assert ct_numbers_zyx[0, 5, [5, 7]].tolist() == [900, 50]
    assert ct_numbers_zyx[0, 0, 0] == -1000
