"""With several tumours the normal cord is what is left of the cord without any of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from tests.compare.interface_case import MC_GRID, TUMOUR_RADIUS, case, cord_mask, tumour_mask

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.interface.cord_maximum import compare_cord_maximum
from gatecheck.compare.interface.geometry import Surface, fractions_around, surface_of
from gatecheck.compare.interface.preparation import InterfaceInput, other_tumours
from gatecheck.compare.interface.shells import fill

_AWAY = 10
"""mm along the cord from one tumour to the other: less than 2 mm lie between them."""

_TUMOUR_ML = 4 / 3 * np.pi * TUMOUR_RADIUS**3 / 1000


def _moved_tumour(to_z: int) -> sitk.Image:
    found = sitk.Image(tumour_mask())
    x, y, z = found.GetOrigin()
    found.SetOrigin((x, y, z + to_z))
    return found


def _surface(mask: sitk.Image, *, is_closed: bool = True) -> Surface:
    surface = surface_of(fractions_around(mask, name="structure"), is_closed=is_closed)
    assert surface is not None
    return surface


def test_no_point_of_another_tumour_is_normal_cord() -> None:
    tumour, other = _surface(tumour_mask()), _surface(_moved_tumour(_AWAY))
    points = fill(tumour, _surface(cord_mask()), reach=6.0, others=(other,))
    in_other = np.linalg.norm(points.points_xyz - [0.0, 0.0, _AWAY], axis=1) < TUMOUR_RADIUS - 0.1
    assert in_other.sum() > 100
    assert not points.in_cord[in_other].any()
    assert (points.in_cord & (points.points_xyz[:, 2] < 0)).any()


def _cord_of(given: InterfaceInput) -> tuple[float, float]:
    """Volume of the normal cord, ml, and its maximum, Gy."""
    found = compare_cord_maximum(given, (_surface(given.tumour_mask), *other_tumours(given)), [])
    assert found is not None
    return found.cord_volume_ml, found.mc_gy.value


def test_the_dose_within_another_tumour_is_not_the_cords_maximum() -> None:
    """80 Gy more in the other tumour's middle, 48 Gy where its hottest 0.03 ml end, and 7 Gy at its surface."""
    given = case(batches=4)
    x, y, z = (o + s * np.arange(n) for o, s, n in zip(MC_GRID.origin, MC_GRID.spacing, MC_GRID.size, strict=True))
    square = x[None, None, :] ** 2 + y[None, :, None] ** 2 + (z[:, None, None] - _AWAY) ** 2
    hot = 80.0 * np.exp(-square / (2 * 1.9**2))
    given = dataclasses.replace(
        given, mc=DoseImage(given.mc.values_zyx + hot, MC_GRID), batches_zyx=given.batches_zyx + hot, tps=None
    )
    volume, maximum = _cord_of(given)
    without, lower = _cord_of(dataclasses.replace(given, other_tumour_masks=(_moved_tumour(_AWAY),)))
    assert volume - without == pytest.approx(_TUMOUR_ML, rel=0.03)
    assert maximum - lower > 20.0
