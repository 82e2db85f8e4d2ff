"""A place in the patient is seen where a radiologist expects it, in the array and in the drawing."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from gatecheck.files import image_from_zyx
from gatecheck.report.planes import PIXELS, Plane, bounds, planes_through

ORIGIN, SPACING, SIZE = (-59.0, -47.5, -36.0), (2.0, 2.5, 3.0), (60, 40, 25)


def volume(values_zyx: np.ndarray) -> sitk.Image:
    return image_from_zyx(values_zyx.astype(np.float32), origin=ORIGIN, spacing=SPACING)


def coordinates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = (o + s * np.arange(n) for o, s, n in zip(ORIGIN, SPACING, SIZE, strict=True))
    return x[None, None, :], y[None, :, None], z[:, None, None]


def planes(point: tuple[float, float, float], side: float = 60.0) -> dict[str, Plane]:
    return {plane.orientation: plane for plane in planes_through(point, point, side)}


def test_a_linear_field_is_sampled_exactly() -> None:
    x, y, z = coordinates()
    image = volume(0.5 * x - 0.25 * y + 2.0 * z + 7.0)
    point = (4.3, -6.1, 2.2)
    for plane in planes_through(point, point, 20.0):
        columns, rows = plane.pixel_centres()
        where = [np.full((PIXELS, PIXELS), value) for value in point]
        across, vertical, _ = plane.axes
        where[across], where[vertical] = np.meshgrid(columns, rows)
        expected = 0.5 * where[0] - 0.25 * where[1] + 2.0 * where[2] + 7.0
        np.testing.assert_allclose(plane.sample(image, outside=np.nan), expected, atol=2e-4)


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal"])
def test_a_marker_is_found_at_its_own_coordinates(orientation: str) -> None:
    values = np.zeros(SIZE[::-1])
    values[15, 12, 40] = 1.0
    marker = tuple(o + s * i for o, s, i in zip(ORIGIN, SPACING, (40, 12, 15), strict=True))
    plane = planes((marker[0], marker[1], marker[2]), side=80.0)[orientation]
    x, y, z = plane.centre
    shifted = Plane(plane.orientation, plane.point, (x + 5, y - 7, z + 9), 80.0)
    sampled = shifted.sample(volume(values), outside=0.0)
    row, column = np.unravel_index(np.argmax(sampled), sampled.shape)
    columns, rows = shifted.pixel_centres()
    across, vertical, _ = shifted.axes
    assert columns[column] == pytest.approx(marker[across], abs=80 / PIXELS)
    assert rows[row] == pytest.approx(marker[vertical], abs=80 / PIXELS)


def test_beyond_the_volume_there_is_nothing() -> None:
    image = volume(np.ones(SIZE[::-1]))
    sampled = planes((0.0, 0.0, 0.0), side=400.0)["axial"].sample(image, outside=np.nan)
    inside = np.isfinite(sampled)
    assert inside.any()
    assert not inside[:, 0].any()
    assert inside.sum() / inside.size == pytest.approx(120 * 100 / 400**2, rel=0.02)


def test_labels_say_where_the_patient_is() -> None:
    found = {name: plane.labels for name, plane in planes((0.0, 0.0, 0.0)).items()}
    assert found == {
        "axial": ("R", "L", "A", "P"),
        "coronal": ("R", "L", "H", "F"),
        "sagittal": ("A", "P", "H", "F"),
    }


def test_a_window_keeps_the_plane_at_its_point() -> None:
    for plane in planes_through((1.0, 2.0, 3.0), (10.0, 20.0, 30.0), 50.0):
        normal = plane.axes[2]
        assert plane.centre[normal] == plane.point[normal]


def test_bounds_are_the_outer_faces_of_the_voxels() -> None:
    image = volume(np.zeros(SIZE[::-1]))
    low, high = bounds(image)
    assert low == pytest.approx((-60.0, -48.75, -37.5))
    assert high == pytest.approx((60.0, 51.25, 37.5))
