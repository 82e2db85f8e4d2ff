"""Contours to masks: volumes of analytic solids, holes, keyholes, planes off the CT's slices."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.case.attributes import Notes
from gatecheck.case.contours import DrawnStructure, Plane
from gatecheck.case.grid import Grid
from gatecheck.case.masks import Mask, make_mask, plane_coverage

CT = Grid(size=(60, 50, 40), spacing=(1.27, 1.27, 1.0), origin=(-37.0, -31.0, -20.0))
LONG_CT = Grid(size=(60, 50, 110), spacing=(1.27, 1.27, 1.0), origin=(-37.0, -31.0, 0.0))
TUMOUR_ML = 0.3


def circle(radius: float, centre: tuple[float, float] = (0.31, -0.47), points: int = 720) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)])


def rectangle(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def drawn(*planes: tuple[float, list[np.ndarray]]) -> DrawnStructure:
    return DrawnStructure(1, "solid", "GTV", tuple(Plane(z, tuple(contours)) for z, contours in planes), frozenset())


def masked(structure: DrawnStructure, ct: Grid = CT) -> Mask:
    mask = make_mask(structure, ct, Notes())
    assert mask is not None
    return mask


def sphere_of(radius: float, middle: float, planes: np.ndarray) -> DrawnStructure:
    inside = [z for z in planes if abs(z - middle) < radius]
    return drawn(*[(float(z), [circle(np.sqrt(radius**2 - (z - middle) ** 2))]) for z in inside])


SLICES = np.arange(-20.0, 20.0)


@pytest.mark.parametrize("middle", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("pixel", [0.6, 1.0, 1.27])
def test_a_sphere_of_0_3_ml_keeps_its_volume_within_1_percent(middle: float, pixel: float) -> None:
    radius = (TUMOUR_ML * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    ct = Grid((100, 100, 40), (pixel, pixel, 1.0), (-45 * pixel, -48 * pixel, -20.0))
    mask = masked(sphere_of(radius, middle, SLICES), ct)
    assert mask.volume_ml == pytest.approx(TUMOUR_ML, rel=0.01)


def test_a_cylinder_of_0_3_ml_keeps_its_volume_within_1_percent() -> None:
    radius = np.sqrt(TUMOUR_ML * 1000 / (np.pi * 6))
    mask = masked(drawn(*[(z, [circle(radius)]) for z in np.arange(-2.0, 4.0)]))
    assert mask.volume_ml == pytest.approx(TUMOUR_ML, rel=1e-3)
    assert mask.grid.size[2] == 6


@pytest.mark.parametrize("phase", [0.1, 0.5, 0.9])
def test_a_cone_of_0_3_ml_keeps_its_volume_within_1_percent(phase: float) -> None:
    """The base lies half-way between two slices, the tip at any place between two."""
    base = -3.5
    height = 10.0 + phase
    radius = np.sqrt(3 * TUMOUR_ML * 1000 / (np.pi * height))
    planes = [z for z in SLICES if base < z < base + height]
    mask = masked(drawn(*[(z, [circle(radius * (1 - (z - base) / height))]) for z in planes]))
    assert mask.volume_ml == pytest.approx(TUMOUR_ML, rel=0.01)


def test_a_slanted_cylinder_keeps_volume_and_centre() -> None:
    planes = [(z, [circle(4.0, centre=(0.3 * z, -0.2 * z))]) for z in np.arange(-5.0, 6.0)]
    mask = masked(drawn(*planes))
    assert mask.volume_ml == pytest.approx(np.pi * 16 * 11 / 1000, rel=1e-3)
    z, y, x = np.indices(mask.values_zyx.shape)
    centre = [
        np.average(axis, weights=mask.values_zyx) * step + first
        for axis, step, first in zip((x, y, z), mask.grid.spacing, mask.grid.origin, strict=True)
    ]
    np.testing.assert_allclose(centre, (0.0, 0.0, 0.0), atol=0.005)


def test_a_rectangle_covers_pixels_by_its_exact_area() -> None:
    """Against the product of one-dimensional overlaps, edges at arbitrary places between pixel faces."""
    x0, x1, y0, y1 = -3.21, 5.47, -7.02, 2.96
    values = plane_coverage([rectangle(x0, x1, y0, y1)], CT)

    def overlap(low: float, high: float, axis: int) -> np.ndarray:
        faces = CT.low_face(axis) + np.arange(CT.size[axis]) * CT.spacing[axis]
        return np.clip(np.minimum(faces + CT.spacing[axis], high) - np.maximum(faces, low), 0, None) / CT.spacing[axis]

    expected = np.outer(overlap(y0, y1, 1), overlap(x0, x1, 0))
    # Along x exact; along y a horizontal edge falls between two of 26 lines a pixel row.
    np.testing.assert_allclose(values, expected, atol=0.5 / 26 + 1e-9)
    np.testing.assert_allclose(values.sum(axis=0) / values.sum(), expected.sum(axis=0) / expected.sum(), atol=1e-9)


def test_a_polygon_covers_pixels_as_shapely_says() -> None:
    import shapely

    generator = np.random.default_rng(3)
    angle = np.sort(generator.uniform(0, 2 * np.pi, 40))
    radius = generator.uniform(4, 18, 40)
    star = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    values = plane_coverage([star], CT)
    left = CT.low_face(0) + np.arange(CT.size[0]) * CT.spacing[0]
    low = CT.low_face(1) + np.arange(CT.size[1]) * CT.spacing[1]
    pixels = shapely.box(left[None, :], low[:, None], left[None, :] + CT.spacing[0], low[:, None] + CT.spacing[1])
    expected = shapely.area(shapely.intersection(pixels, shapely.Polygon(star))) / (CT.spacing[0] * CT.spacing[1])
    np.testing.assert_allclose(values, expected, atol=0.02)
    assert values.sum() == pytest.approx(expected.sum(), rel=2e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_an_inner_contour_is_a_hole_whichever_way_it_is_drawn(reverse: bool) -> None:
    inner = circle(3.0)[::-1] if reverse else circle(3.0)
    island = circle(1.0)
    mask = masked(drawn(*[(z, [circle(6.0), inner, island]) for z in (0.0, 1.0)]))
    assert mask.volume_ml == pytest.approx(2 * np.pi * (36 - 9 + 1) / 1000, rel=2e-3)
    assert mask.values_zyx.max() <= 1.0


def test_a_keyhole_is_a_hole_and_its_channel_encloses_nothing() -> None:
    outer, inner = circle(6.0), circle(3.0)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    mask = masked(drawn((0.0, [keyhole])))
    assert mask.volume_ml == pytest.approx(np.pi * (36 - 9) / 1000, rel=2e-3)


def test_several_contours_of_a_plane_are_separate_islands() -> None:
    mask = masked(drawn((0.0, [circle(2.0, (-10, 0)), circle(3.0, (10, 5))])))
    assert mask.volume_ml == pytest.approx(np.pi * (4 + 9) / 1000, rel=2e-3)
    assert mask.values_zyx[0, :, mask.grid.size[0] // 2].max() == 0.0


def test_a_contour_that_repeats_its_first_point_is_the_same() -> None:
    closed = np.concatenate([circle(4.0), circle(4.0)[:1]])
    np.testing.assert_array_equal(plane_coverage([closed], CT), plane_coverage([circle(4.0)], CT))


def test_vertices_on_lines_and_pixel_faces_count_once() -> None:
    grid = Grid((10, 10, 2), (1.0, 1.0, 1.0), (0.5, 0.5, 0.0))
    diamond = np.array([[5.0, 1.0], [9.0, 5.0], [5.0, 9.0], [1.0, 5.0]])
    values = plane_coverage([diamond], grid)
    assert values.sum() == pytest.approx(32.0, rel=1e-3)
    np.testing.assert_allclose(values, values.T, atol=1e-2)
    square = rectangle(2.0, 5.0, 3.0, 7.0)
    exact = np.zeros((10, 10))
    exact[3:7, 2:5] = 1.0
    np.testing.assert_allclose(plane_coverage([square], grid), exact, atol=1e-12)


def test_contours_drawn_every_3_mm_fill_the_slices_between() -> None:
    mask = masked(drawn(*[(z, [circle(4.0)]) for z in (-6.0, -3.0, 0.0, 3.0)]))
    assert mask.volume_ml == pytest.approx(np.pi * 16 * 12 / 1000, rel=1e-3)
    assert mask.grid.low_face(2) == pytest.approx(-7.5)
    assert mask.grid.size[2] == 12
    np.testing.assert_allclose(np.ptp(mask.values_zyx, axis=0), 0.0, atol=1e-6)


def test_contours_between_slices_share_themselves_among_the_slices() -> None:
    """Slab from -0.6 to 2.4 on slices of 1 mm: 0.9 of slice -1.. no part is lost."""
    mask = masked(drawn(*[(z, [rectangle(-5, 5, -5, 5)]) for z in (-0.1, 0.9, 1.9)]))
    assert mask.volume_ml == pytest.approx(0.3, rel=2e-3)
    middle = mask.values_zyx[:, mask.grid.size[1] // 2, mask.grid.size[0] // 2]
    np.testing.assert_allclose(middle, [0.1, 1.0, 1.0, 0.9], atol=1e-6)


def test_contours_on_thick_slices_keep_their_volume() -> None:
    thick = Grid((60, 50, 11), (1.27, 1.27, 4.0), (-37.0, -31.0, -20.0))
    mask = masked(drawn(*[(z, [circle(5.0)]) for z in (-4.0, 0.0, 4.0)]), thick)
    assert mask.volume_ml == pytest.approx(np.pi * 25 * 12 / 1000, rel=1e-3)
    fine = masked(drawn(*[(float(z), [circle(5.0)]) for z in range(-5, 7)]), thick)
    assert fine.volume_ml == pytest.approx(np.pi * 25 * 12 / 1000, rel=1e-3)


def test_a_single_contour_is_one_slice_thick() -> None:
    assert masked(drawn((0.0, [circle(5.0)]))).volume_ml == pytest.approx(np.pi * 25 / 1000, rel=1e-3)


@pytest.mark.parametrize("planes", [(30.0, 90.0), (20.0, 50.0, 80.0), (30.3, 90.3), (20.0, 30.0, 40.0)])
def test_few_contours_far_apart_are_one_slice_thick_each_and_that_is_said(planes: tuple[float, ...]) -> None:
    notes = Notes()
    mask = make_mask(drawn(*[(z, [circle(4.0)]) for z in planes]), LONG_CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(len(planes) * np.pi * 16 / 1000, rel=1e-3)
    (warning,) = notes.warnings
    assert warning.code == "contours-far-apart"
    assert f"contours in {len(planes)} planes, {planes[1] - planes[0]:g} mm or more apart" in warning.message
    assert "on CT slices of 1 mm; each was taken to be one slice thick" in warning.message


def test_four_planes_show_that_contours_are_drawn_every_10_mm() -> None:
    notes = Notes()
    mask = make_mask(drawn(*[(z, [circle(4.0)]) for z in (20.0, 30.0, 40.0, 50.0)]), LONG_CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(np.pi * 16 * 40 / 1000, rel=1e-3)
    assert not notes.warnings


@pytest.mark.parametrize(("slice_spacing", "gap"), [(1.0, 5.0), (2.0, 6.0), (4.0, 12.0)])
def test_two_contours_three_slices_or_5_mm_apart_fill_what_lies_between(slice_spacing: float, gap: float) -> None:
    ct = Grid((60, 50, 40), (1.27, 1.27, slice_spacing), (-37.0, -31.0, 0.0))
    notes = Notes()
    mask = make_mask(drawn(*[(z, [circle(4.0)]) for z in (24.0, 24.0 + gap)]), ct, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(np.pi * 16 * 2 * gap / 1000, rel=1e-3)
    assert not notes.warnings


def test_islands_far_apart_do_not_set_the_spacing_of_contours_near_each_other() -> None:
    notes = Notes()
    mask = make_mask(drawn(*[(z, [circle(4.0)]) for z in (10.0, 12.0, 42.0, 72.0)]), LONG_CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(np.pi * 16 * 4 * 2 / 1000, rel=1e-3)
    assert [warning.code for warning in notes.warnings] == ["structure-in-parts"]
    assert "2 gaps between contours that are usually 2 mm apart" in notes.warnings[0].message


@pytest.mark.parametrize("phase", [0.0, 0.4])
@pytest.mark.parametrize("shift", [-0.05, -0.02, 0.02, 0.05])
def test_holes_and_islands_written_beside_their_plane_belong_to_it(phase: float, shift: float) -> None:
    """On slices and between them."""
    notes = Notes()
    outer = [(z + phase, [circle(6.0)]) for z in np.arange(-3.0, 3.0)]
    inner = [(z + phase + shift, [circle(3.0), circle(1.0)]) for z in np.arange(-3.0, 3.0)]
    mask = make_mask(drawn(*sorted(outer + inner, key=lambda plane: plane[0])), CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(6 * np.pi * (36 - 9 + 1) / 1000, rel=2e-3)
    assert not notes.warnings


def test_a_plane_left_out_is_filled_and_a_wide_gap_is_not_and_both_are_said() -> None:
    notes = Notes()
    planes = [(z, [circle(4.0)]) for z in (-8.0, -7.0, -5.0, -4.0, 3.0, 4.0, 5.0)]
    mask = make_mask(drawn(*planes), CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(np.pi * 16 * 8 / 1000, rel=1e-3)
    along = mask.values_zyx[:, mask.grid.size[1] // 2, mask.grid.size[0] // 2]
    np.testing.assert_allclose(along, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1], atol=1e-6)
    assert [warning.code for warning in notes.warnings] == ["contours-skip-planes", "structure-in-parts"]


def test_a_structure_that_reaches_beyond_the_ct_is_cut_off_and_said() -> None:
    notes = Notes()
    mask = make_mask(drawn(*[(z, [circle(5.0)]) for z in np.arange(15.0, 25.0)]), CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(np.pi * 25 * 5 / 1000, rel=1e-3)
    assert [warning.code for warning in notes.warnings] == ["structure-beyond-ct"]
    sideways = make_mask(drawn((0.0, [rectangle(-100, 100, -10, 10)])), CT, notes)
    assert sideways is not None
    assert sideways.volume_ml == pytest.approx(60 * 1.27 * 20 / 1000, rel=2e-3)


def test_a_structure_outside_of_the_ct_or_without_area_is_empty() -> None:
    notes = Notes()
    assert make_mask(drawn((100.0, [circle(5.0)])), CT, notes) is None
    assert make_mask(drawn((0.0, [circle(5.0, (500, 0))])), CT, notes) is None
    assert make_mask(drawn((0.0, [np.array([[0.0, 0.0], [5.0, 5.0], [2.0, 2.0]])])), CT, notes) is None
    assert make_mask(drawn(), CT, notes) is None
    assert {warning.code for warning in notes.warnings} == {"structure-empty", "structure-beyond-ct"}


def test_the_mask_does_not_move_when_the_ct_grid_is_another_crop() -> None:
    structure = drawn(*[(z, [circle(6.0)]) for z in (0.0, 1.0, 2.0)])
    shifted = Grid((50, 40, 30), CT.spacing, (CT.origin[0] + 5 * 1.27, CT.origin[1] + 4 * 1.27, -15.0))
    first, second = masked(structure), masked(structure, shifted)
    np.testing.assert_allclose(first.values_zyx, second.values_zyx, atol=1e-5)
    np.testing.assert_allclose(first.grid.origin, second.grid.origin, atol=1e-9)
