"""Reading contours: split structures, jittered planes, copies and crossings that must not cancel each other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from synthetic_dicom import DicomSet

from gatecheck.case.attributes import Notes, quiet_dicom
from gatecheck.case.contours import DrawnStructure, Plane, grouped, read_structures, without_cancelling
from gatecheck.case.grid import Grid
from gatecheck.case.masks import make_mask, plane_coverage

Read = Callable[..., tuple[tuple[DrawnStructure, ...], Notes]]

PIXELS = Grid(size=(400, 400, 1), spacing=(0.1, 0.1, 1.0), origin=(-19.95, -19.95, 0.0))
CT = Grid(size=(40, 40, 12), spacing=(1.0, 1.0, 4.0), origin=(-19.5, -19.5, -20.0))


@pytest.fixture
def read(dicom_set: DicomSet) -> Read:
    """Read the structure set after a change."""

    def changed(change: Callable[[Dataset], object]) -> tuple[tuple[DrawnStructure, ...], Notes]:
        with quiet_dicom():
            dicom_set.edit("RTSTRUCT", change)
            return read_file(dicom_set.file("RTSTRUCT"))

    return changed


def read_file(path: Path) -> tuple[tuple[DrawnStructure, ...], Notes]:
    notes = Notes()
    dataset = dcmread(path)
    frame = dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    return read_structures(dataset, frame, notes), notes


def circle(radius: float, centre: tuple[float, float] = (0.0, 0.0), points: int = 720) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)])


def rectangle(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def combined(*contours: np.ndarray, is_xor: bool = False) -> tuple[float, list[str]]:
    """Area of contours of one plane, and the short names of what is said of them."""
    notes = Notes()
    (plane,) = without_cancelling([Plane(0.0, contours, is_xor)], "GTV", notes)
    area = float(plane_coverage(plane.contours, PIXELS).sum()) * 0.01
    return area, [warning.code for warning in notes.warnings]


def lens(radius: float, distance: float) -> float:
    """Overlap of two circles of one radius."""
    return float(
        2 * radius**2 * np.arccos(distance / (2 * radius)) - distance / 2 * np.sqrt(4 * radius**2 - distance**2)
    )


def repeated(contour: np.ndarray) -> np.ndarray:
    return np.concatenate([contour, contour[:1]])


def keyhole(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    return np.concatenate([repeated(outer), repeated(inner[::-1])])


@pytest.mark.parametrize(
    "again",
    [
        lambda contour: contour,
        lambda contour: np.roll(contour, 100, axis=0),
        lambda contour: contour[::-1],
        lambda contour: np.roll(contour[::-1], 100, axis=0).round(2),
        repeated,
    ],
    ids=["same", "begun elsewhere", "other way", "all of it, rounded", "first point repeated"],
)
def test_a_contour_stored_twice_counts_once_and_that_is_said(again: Callable[[np.ndarray], np.ndarray]) -> None:
    contour = circle(5.0, (1.0, 2.0))
    area, said = combined(contour, again(contour))
    assert area == pytest.approx(np.pi * 25, rel=1e-3)
    assert said == ["contours-stored-twice"]


def test_a_contour_stored_three_times_counts_once_and_so_does_a_hole() -> None:
    outer, hole = circle(5.0), circle(2.0)
    area, said = combined(outer, hole, outer, outer[::-1], hole)
    assert area == pytest.approx(np.pi * (25 - 4), rel=1e-3)
    assert said == ["contours-stored-twice"]


def test_a_keyhole_stored_twice_keeps_its_hole() -> None:
    contour = keyhole(circle(6.0), circle(3.0))
    area, said = combined(contour, contour[::-1])
    assert area == pytest.approx(np.pi * (36 - 9), rel=1e-3)
    assert said == ["contours-stored-twice"]


def test_a_contour_drawn_twice_with_other_points_counts_once() -> None:
    area, said = combined(circle(5.0, points=40), circle(5.0, points=31))
    assert area == pytest.approx(np.pi * 25, rel=5e-3)
    assert said == ["contours-cross"]


def test_contours_that_cross_keep_their_overlap_and_that_is_said() -> None:
    area, said = combined(circle(5.0, (-3.0, 0.0)), circle(5.0, (3.0, 0.0)))
    assert area == pytest.approx(2 * np.pi * 25 - lens(5.0, 6.0), rel=1e-3)
    assert said == ["contours-cross"]


def test_contours_that_cross_by_declared_even_odd_lose_their_overlap() -> None:
    area, said = combined(circle(5.0, (-3.0, 0.0)), circle(5.0, (3.0, 0.0)), is_xor=True)
    assert area == pytest.approx(2 * np.pi * 25 - 2 * lens(5.0, 6.0), rel=1e-3)
    assert said == []


def test_a_hole_in_one_or_both_of_crossing_contours_stays_a_hole() -> None:
    left, right = rectangle(-10, 2, -5, 5), rectangle(-2, 10, -5, 5)
    area, _ = combined(left, right, circle(1.5, (-6.0, 0.0)))
    assert area == pytest.approx(200 - np.pi * 2.25, rel=1e-3)
    area, _ = combined(left, right, circle(1.5))
    assert area == pytest.approx(200 - np.pi * 2.25, rel=1e-3)


def test_a_contour_that_crosses_a_ring_keeps_the_rest_of_its_hole() -> None:
    bar = rectangle(0, 12, -1, 1)
    ring = np.pi * (100 - 36)
    shape = shapely.Polygon(circle(10.0), [circle(6.0)]).union(shapely.Polygon(bar))
    assert shape.area > ring + 12
    for drawn in ([circle(10.0), circle(6.0), bar], [keyhole(circle(10.0), circle(6.0)), bar]):
        area, said = combined(*drawn)
        assert area == pytest.approx(shape.area, rel=1e-3)
        assert said == ["contours-cross"]


def test_islands_beside_crossing_contours_and_islands_in_their_holes_stay() -> None:
    area, said = combined(
        rectangle(-10, 2, -5, 5),
        rectangle(-2, 10, -5, 5),
        circle(3.0, (-6.0, 0.0)),
        circle(1.0, (-6.0, 0.0)),
        circle(2.0, (0.0, 12.0)),
    )
    assert area == pytest.approx(200 - np.pi * (9 - 1 - 4), rel=1e-3)
    assert said == ["contours-cross"]


def test_two_holes_that_cross_are_one_hole() -> None:
    area, said = combined(circle(10.0), circle(3.0, (-2.0, 0.0)), circle(3.0, (2.0, 0.0)))
    assert area == pytest.approx(np.pi * 100 - 2 * np.pi * 9 + lens(3.0, 4.0), rel=1e-3)
    assert said == ["contours-cross"]


@pytest.mark.parametrize(
    "contours",
    [
        [circle(6.0), circle(3.0), circle(1.0)],
        [circle(3.0, (-6.0, 0.0)), circle(3.0, (6.0, 0.0))],
        [keyhole(circle(6.0), circle(3.0)), circle(1.0)],
        [rectangle(0, 5, 0, 5), rectangle(5, 9, 0, 5)],
        [rectangle(0, 9, 0, 5), rectangle(0, 5, 1, 3)],
        [rectangle(0, 9, 0, 5), rectangle(-0.05, 5, 1, 3)],
        [rectangle(0, 5, 0, 5), rectangle(4.95, 9, 0, 5)],
        [circle(5.0), circle(4.97)],
        [circle(5.0), np.zeros((3, 2)), np.zeros((3, 2))],
    ],
    ids=[
        "island in a hole",
        "apart",
        "island in a keyhole",
        "sharing an edge",
        "hole at the edge",
        "hole over the edge by rounding",
        "overlapping by rounding",
        "thin ring",
        "points",
    ],
)
def test_contours_nested_or_apart_stay_as_they_are(contours: list[np.ndarray]) -> None:
    notes = Notes()
    planes = (Plane(0.0, tuple(contours)),)
    assert without_cancelling(planes, "GTV", notes)[0] is planes[0]
    assert not notes.warnings


def test_copies_and_crossings_are_counted_over_all_planes() -> None:
    notes = Notes()
    crossing = (circle(5.0, (-3.0, 0.0)), circle(5.0, (3.0, 0.0)))
    planes = [Plane(0.0, crossing), Plane(4.0, (circle(5.0),) * 3), Plane(8.0, crossing)]
    structure = DrawnStructure(1, "GTV", "GTV", tuple(planes), frozenset())
    mask = make_mask(structure, CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx((2 * (2 * np.pi * 25 - lens(5.0, 6.0)) + np.pi * 25) * 4 / 1000, rel=2e-3)
    assert [warning.message for warning in notes.warnings] == [
        "Structure GTV: 2 contours are stored again in the same plane; each was used once.",
        "Structure GTV: contours cross each other in 2 planes and were united there. Check the structure's volume.",
    ]


def test_copies_beside_each_other_in_z_are_found_on_their_slice() -> None:
    notes = Notes()
    planes = (Plane(-0.05, (circle(5.0),)), Plane(0.05, (circle(5.0),)))
    mask = make_mask(DrawnStructure(1, "GTV", "GTV", planes, frozenset()), CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(np.pi * 25 * 4 / 1000, rel=2e-3)
    assert [warning.code for warning in notes.warnings] == ["contours-stored-twice"]


def test_planes_are_told_from_each_other_before_one_contour_alone_is_moved_to_its_slice() -> None:
    """The outer contours lie near enough to a slice to be moved there, the holes do not."""
    outer = [Plane(z - 0.03, (circle(6.0),)) for z in (0.0, 4.0)]
    holes = [Plane(z - 0.08, (circle(3.0),)) for z in (0.0, 4.0)]
    notes = Notes()
    mask = make_mask(DrawnStructure(1, "GTV", "GTV", grouped([*outer, *holes]), frozenset()), CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(np.pi * (36 - 9) * 8 / 1000, rel=2e-3)
    assert not notes.warnings


def test_a_structure_split_over_several_items_is_whole(read: Read) -> None:
    def split(dataset: Dataset) -> None:
        body, gtv = dataset.ROIContourSequence
        rest = copy.deepcopy(gtv)
        gtv.ContourSequence, rest.ContourSequence = gtv.ContourSequence[:1], gtv.ContourSequence[1:]
        dataset.ROIContourSequence = Sequence([gtv, body, rest])

    (_, gtv), notes = read(split)
    assert [plane.z for plane in gtv.planes] == pytest.approx([-4.0, 0.0, 4.0])
    assert len(gtv.image_uids) == 3
    assert not notes.warnings


def test_an_item_of_contours_stored_twice_does_not_empty_the_structure(read: Read) -> None:
    (_, gtv), notes = read(lambda data: data.ROIContourSequence.append(copy.deepcopy(data.ROIContourSequence[1])))
    assert [len(plane.contours) for plane in gtv.planes] == [2, 2, 2]
    mask = make_mask(gtv, CT, notes)
    assert mask is not None
    assert mask.volume_ml == pytest.approx(np.pi * 64 * 12 / 1000, rel=2e-3)
    assert [warning.code for warning in notes.warnings] == ["contours-stored-twice"]


def test_z_that_jitters_by_0_02_mm_within_a_contour_is_one_plane(read: Read) -> None:
    def jitter(dataset: Dataset) -> None:
        for contour in dataset.ROIContourSequence[1].ContourSequence:
            points = np.reshape(np.array(contour.ContourData, dtype=float), (-1, 3))
            points[::2, 2] += 0.02
            points[1::3, 2] -= 0.02
            contour.ContourData = [f"{value:.3f}" for value in points.ravel()]

    (_, gtv), notes = read(jitter)
    assert [plane.z for plane in gtv.planes] == pytest.approx([-4.0, 0.0, 4.0], abs=0.02)
    assert not notes.warnings


@pytest.mark.parametrize("kind", ["CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"])
def test_contours_declared_to_combine_by_even_odd_are_known(read: Read, kind: str) -> None:
    def declare(dataset: Dataset) -> None:
        for contour in dataset.ROIContourSequence[1].ContourSequence:
            contour.ContourGeometricType = kind

    (body, gtv), _ = read(declare)
    assert [plane.is_xor for plane in gtv.planes] == [True] * 3
    assert not any(plane.is_xor for plane in body.planes)


def test_control_characters_in_names_become_a_space(read: Read) -> None:
    def rename(dataset: Dataset) -> None:
        body, gtv = dataset.StructureSetROISequence
        body.ROIName = "BO\r\nDY\t"
        gtv.ROIName = "G\x1b[31mTV\x7f"

    structures, _ = read(rename)
    assert [structure.name for structure in structures] == ["BO DY", "G [31mTV"]


def test_names_that_differ_by_control_characters_alone_are_told_apart(read: Read) -> None:
    def rename(dataset: Dataset) -> None:
        body, gtv = dataset.StructureSetROISequence
        body.ROIName, gtv.ROIName = "A\nB", "A B"

    structures, notes = read(rename)
    assert [structure.name for structure in structures] == ["A B #1", "A B #2"]
    assert [warning.code for warning in notes.warnings] == ["structure-names-repeated"]
