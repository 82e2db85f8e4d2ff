"""The body found by itself: without the table, with lungs and gas."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage

from gatecheck.patient.body import TOUCHING, fill_holes, find_body, hollow_fraction, sides_touching_border


def test_body_is_found_with_lungs_and_without_the_table(torso: Any) -> None:
    x, y, _ = torso.points_xyz
    body = find_body(torso.ct_zyx, torso.spacing)
    expected = np.broadcast_to((x / 90) ** 2 + (y / 60) ** 2 < 1, body.shape)
    overlap = 2 * (body & expected).sum() / (body.sum() + expected.sum())
    assert overlap > 0.995
    assert not body[:, np.ravel(y) > 68, :].any()


def test_a_table_shell_that_touches_the_body_is_left_out_but_for_the_contact(torso: Any) -> None:
    torso.ct_zyx[:, 69:71, 5:115] = 100  # y 58-60 mm: a shell 4 mm thick on which the trunk lies
    x, y, _ = torso.points_xyz
    body = find_body(torso.ct_zyx, torso.spacing)
    expected = np.broadcast_to((x / 90) ** 2 + (y / 60) ** 2 < 1, body.shape)
    assert not (expected & ~body).any()
    distance = scipy.ndimage.distance_transform_edt(~expected, sampling=torso.spacing[::-1])
    # Radii are rounded to voxels of 2 mm, twice.
    assert distance[body].max() <= TOUCHING + 2 * 2.0


def test_a_lung_behind_a_chest_wall_as_thin_as_a_table_top_belongs_to_the_body(torso: Any) -> None:
    x, y, _ = torso.points_xyz
    trunk = np.broadcast_to((x / 90) ** 2 + (y / 60) ** 2 < 1, torso.ct_zyx.shape)
    lung = np.broadcast_to(((x - 42) / 34) ** 2 + (y / 42) ** 2 < 1, trunk.shape)
    wall = scipy.ndimage.distance_transform_edt(trunk, sampling=torso.spacing[::-1]) <= 4.0
    torso.ct_zyx[lung & ~wall] = -800
    torso.ct_zyx[wall & trunk] = 40
    assert (lung & ~wall).sum() > 1000
    body = find_body(torso.ct_zyx, torso.spacing)
    assert (body != trunk).sum() / trunk.sum() < 0.005


def test_no_body_is_found_in_air() -> None:
    assert not find_body(np.full((4, 20, 20), -1000, dtype=np.int16), (2.0, 2.0, 2.0)).any()


def test_holes_are_filled_slice_by_slice_also_where_the_body_touches_the_border() -> None:
    mask = np.zeros((2, 9, 9), dtype=bool)
    mask[0, 1:8, 1:8], mask[0, 3:6, 3:6] = True, False
    mask[1, :, :5], mask[1, 3:6, 2:4] = True, False
    filled = fill_holes(mask)
    assert filled[0].sum() == 49
    assert filled[1].sum() == 45


def test_a_shell_is_told_from_a_body() -> None:
    body = np.zeros((3, 20, 20), dtype=np.float32)
    body[:, 2:18, 2:18] = 1
    shell = body.copy()
    shell[:, 4:16, 4:16] = 0
    assert hollow_fraction(body) == 0
    assert hollow_fraction(shell) > 0.5


def test_sides_where_the_body_is_cut_are_named_by_the_patients_directions() -> None:
    mask = np.zeros((2, 6, 6), dtype=bool)
    mask[:, 2:, 2:4] = True
    assert sides_touching_border(mask) == ("posterior",)
    mask[:, 2, :4] = True
    assert sides_touching_border(mask) == ("right", "posterior")
