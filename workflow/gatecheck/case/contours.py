"""Reads an RTSTRUCT: each structure as closed contours in axial planes.

Contours of a plane combine by even-odd, which makes holes of inner contours. Two that are not nested would
cancel each other where they overlap, so contours stored twice count once and crossing ones are united.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from pydicom.dataset import Dataset

from gatecheck.case.attributes import FloatArray, Notes, code, items, numbers, required_integer, text
from gatecheck.errors import InputError

PLANE_TOLERANCE = 0.06  # mm between z that mean one plane: rounding to one decimal, and a little
# CLOSEDPLANAR_XOR says that contours of a plane combine by even-odd, also where they cross.
_XOR = ("CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
_CLOSED = ("CLOSED_PLANAR", *_XOR)
_COPY_TOLERANCE = 0.01  # mm between the outlines of one contour stored twice
_SLIVER = 0.1  # mm: a strip as narrow as this is the rounding of an outline that two contours share
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PLACE = "RTSTRUCT"


@dataclass(frozen=True)
class Plane:
    """All contours of a structure in one axial plane.

    Attributes
    ----------
    contours : tuple of ndarray of shape (n_points, 2)
        x and y, LPS mm; closed without repeating the first point; combined by even-odd.
    is_xor : bool
        Whether the RTSTRUCT says itself that the contours combine by even-odd, also where they cross.
    """

    z: float
    contours: tuple[FloatArray, ...]
    is_xor: bool = False


@dataclass(frozen=True)
class DrawnStructure:
    """One structure as drawn; without planes it is empty.

    Attributes
    ----------
    planes : tuple of Plane
        By increasing z.
    image_uids : frozenset of str
        SOP Instance UIDs of the images that the contours were drawn on, where they say so.
    """

    number: int
    name: str
    interpreted_type: str
    planes: tuple[Plane, ...]
    image_uids: frozenset[str]


def read_structures(dataset: Dataset, frame_of_reference: str, notes: Notes) -> tuple[DrawnStructure, ...]:
    """Read the structures that are drawn in the CT's frame of reference.

    Raises
    ------
    InputError
        When there is no structure, or contour data are damaged.
    """
    rois = items(dataset, "StructureSetROISequence", _PLACE)
    if not rois:
        raise InputError("RTSTRUCT has no structures (Structure Set ROI Sequence (3006,0020)). Export it again.")
    if "RTROIObservationsSequence" not in dataset:
        notes.add(
            "rtstruct-without-types",
            "RTSTRUCT does not say what its structures are (RT ROI Observations Sequence (3006,0080) is missing); "
            "they are recognised by name.",
        )
    contours = _by_roi(items(dataset, "ROIContourSequence", _PLACE))
    observations = _by_roi(items(dataset, "RTROIObservationsSequence", _PLACE))
    names = _unique_names(rois, notes)
    structures = []
    for roi, name in zip(rois, names, strict=True):
        number = required_integer(roi, "ROINumber", _PLACE)
        frame = text(roi, "ReferencedFrameOfReferenceUID")
        if frame and frame != frame_of_reference:
            notes.add(
                "structure-of-another-frame",
                f"Structure {name} is drawn in another frame of reference than the CT's and was left out.",
            )
            continue
        observation = observations.get(number, [Dataset()])[0]
        drawn = [contour for item in contours.get(number, []) for contour in items(item, "ContourSequence", _PLACE)]
        planes = _planes(drawn, name, notes)
        structures.append(
            DrawnStructure(
                number=number,
                name=name,
                interpreted_type=code(observation, "RTROIInterpretedType"),
                planes=planes,
                image_uids=_image_uids(drawn),
            )
        )
    return tuple(structures)


def _by_roi(sequence: Sequence[Dataset]) -> dict[int, list[Dataset]]:
    """The items of each ROI number: some systems spread one structure over several."""
    by_number: dict[int, list[Dataset]] = {}
    for item in sequence:
        by_number.setdefault(required_integer(item, "ReferencedROINumber", _PLACE), []).append(item)
    return by_number


def _unique_names(rois: Sequence[Dataset], notes: Notes) -> list[str]:
    """Names on one line, else as given; a name used twice, or no name, gets the ROI number with it."""
    given = [_CONTROL_CHARACTERS.sub(" ", text(roi, "ROIName")).strip() for roi in rois]
    count = Counter(given)
    names = []
    for roi, name in zip(rois, given, strict=True):
        number = required_integer(roi, "ROINumber", _PLACE)
        names.append(name if name and count[name] == 1 else f"{name or 'structure'} #{number}")
    repeated = sorted(name for name, times in count.items() if times > 1 and name)
    if repeated:
        notes.add(
            "structure-names-repeated",
            f"Several structures are called {', '.join(repeated)}; their ROI number was added to the name.",
        )
    return names


def _planes(drawn: Sequence[Dataset], name: str, notes: Notes) -> tuple[Plane, ...]:
    closed: list[Plane] = []
    not_closed = too_short = 0
    for index, item in enumerate(drawn):
        kind = code(item, "ContourGeometricType")
        if kind not in _CLOSED:
            not_closed += 1
            continue
        points = _points(item, f"Structure {name}, contour {index + 1} of {len(drawn)}")
        if len(points) < 3:
            too_short += 1
            continue
        z = float(points[:, 2].mean())
        if np.abs(points[:, 2] - z).max() > PLANE_TOLERANCE:
            notes.add("structure-not-axial", f"Structure {name} has contours that are not axial and was left out.")
            return ()
        closed.append(Plane(z, (points[:, :2],), is_xor=kind in _XOR))
    if not_closed:
        notes.add(
            "contours-not-closed",
            f"Structure {name}: {not_closed} contours that are points or open lines enclose nothing and were left out.",
        )
    if too_short:
        notes.add("contours-too-short", f"Structure {name}: {too_short} contours of one or two points were left out.")
    return grouped(closed)


def _points(item: Dataset, place: str) -> FloatArray:
    data = numbers(item, "ContourData", place)
    stated = numbers(item, "NumberOfContourPoints", place)
    if len(data) % 3 or (len(stated) == 1 and 3 * int(stated[0]) != len(data)):
        raise InputError(
            f"{place}: Contour Data (3006,0050) has {len(data)} numbers, three for each of "
            f"{int(stated[0]) if len(stated) else 'the'} points expected. The file is damaged; export it again."
        )
    return data.reshape(-1, 3)


def _image_uids(drawn: Sequence[Dataset]) -> frozenset[str]:
    return frozenset(
        text(image, "ReferencedSOPInstanceUID")
        for item in drawn
        for image in items(item, "ContourImageSequence", _PLACE)
    )


def grouped(planes: Iterable[Plane]) -> tuple[Plane, ...]:
    """Planes by increasing z, those no further apart than the tolerance made one."""
    groups: list[list[Plane]] = []
    for plane in sorted(planes, key=lambda plane: plane.z):
        if groups and plane.z - groups[-1][0].z <= PLANE_TOLERANCE:
            groups[-1].append(plane)
        else:
            groups.append([plane])
    return tuple(_one_plane(group) for group in groups)


def _one_plane(planes: Sequence[Plane]) -> Plane:
    return Plane(
        z=float(np.mean([plane.z for plane in planes])),
        contours=tuple(contour for plane in planes for contour in plane.contours),
        is_xor=any(plane.is_xor for plane in planes),
    )


def without_cancelling(planes: Sequence[Plane], name: str, notes: Notes) -> tuple[Plane, ...]:
    """Planes of a structure without copies of contours, and with contours that cross each other united.

    Nested contours stay as they are, and so do crossing ones where the RTSTRUCT says that they combine by even-odd.
    """
    single = [_without_copies(plane) for plane in planes]
    copies = sum(len(before.contours) - len(after.contours) for before, after in zip(planes, single, strict=True))
    if copies:
        notes.add(
            "contours-stored-twice",
            f"Structure {name}: {copies} contours are stored again in the same plane; each was used once.",
        )
    united = tuple(_united(plane) for plane in single)
    crossing = sum(after is not before for before, after in zip(single, united, strict=True))
    if crossing:
        notes.add(
            "contours-cross",
            f"Structure {name}: contours cross each other in {crossing} planes and were united there. "
            "Check the structure's volume.",
        )
    return united


def _without_copies(plane: Plane) -> Plane:
    if len(plane.contours) == 1:
        return plane
    shapes = _shapes(plane)
    copies = {later for earlier, later in _meeting(shapes) if _are_same(shapes[earlier], shapes[later])}
    if not copies:
        return plane
    kept = tuple(contour for index, contour in enumerate(plane.contours) if index not in copies)
    return replace(plane, contours=kept)


def _united(plane: Plane) -> Plane:
    if plane.is_xor or len(plane.contours) == 1:
        return plane
    shapes = _shapes(plane)
    if not any(_cross(shapes[one], shapes[other]) for one, other in _meeting(shapes)):
        return plane
    return replace(plane, contours=_outlines(_region(shapes)))


def _shapes(plane: Plane) -> list[shapely.Geometry]:
    """What each contour encloses by even-odd."""
    # Made valid, a keyhole keeps its channel as a line; a buffer of nothing leaves areas only.
    return [shapely.buffer(shapely.make_valid(shapely.Polygon(contour)), 0.0) for contour in plane.contours]


def _meeting(shapes: Sequence[shapely.Geometry]) -> Iterator[tuple[int, int]]:
    """Places of two shapes that touch or overlap, each two once."""
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    return ((int(one), int(other)) for one, other in zip(first, second, strict=True) if one < other)


def _are_same(one: shapely.Geometry, other: shapely.Geometry) -> bool:
    """Whether outlines agree, whichever point they begin with and way they run."""
    return bool(np.allclose(one.bounds, other.bounds, rtol=0.0, atol=_COPY_TOLERANCE)) and not _is_wider(
        shapely.symmetric_difference(one, other), 2.0 * _COPY_TOLERANCE
    )


def _cross(one: shapely.Geometry, other: shapely.Geometry) -> bool:
    """Whether shapes overlap and neither lies inside the other; strips from rounding do not count.

    Outlines that cross while both shapes lie inside the other, but for such strips, are one drawn twice.
    """
    return (
        bool(shapely.overlaps(one, other))
        and _reaches_beyond(one, other) == _reaches_beyond(other, one)
        and _is_wider(shapely.intersection(one, other), _SLIVER)
    )


def _lies_in(shape: shapely.Geometry, outer: shapely.Geometry) -> bool:
    return bool(shapely.intersects(shape, outer)) and not (_reaches_beyond(shape, outer) or _cross(shape, outer))


def _reaches_beyond(shape: shapely.Geometry, other: shapely.Geometry) -> bool:
    return _is_wider(shapely.difference(shape, other), _SLIVER)


def _is_wider(shape: shapely.Geometry, width: float) -> bool:
    """Whether something is left of a shape when half a width is taken off its edge."""
    return not shapely.is_empty(shapely.buffer(shape, -0.5 * width))


def _region(shapes: Sequence[shapely.Geometry]) -> shapely.Geometry:
    """Outer shapes united, each without the region of the shapes inside it."""
    outer: list[shapely.Geometry] = []
    inner: list[shapely.Geometry] = []
    for shape in sorted(shapes, key=shapely.area, reverse=True):
        (inner if any(_lies_in(shape, larger) for larger in outer) else outer).append(shape)
    return shapely.union_all(
        [shapely.difference(larger, _region([shape for shape in inner if _lies_in(shape, larger)])) for larger in outer]
    )


def _outlines(region: shapely.Geometry) -> tuple[FloatArray, ...]:
    """All rings of a region as contours: by even-odd they enclose it."""
    return tuple(
        shapely.get_coordinates(ring)[:-1]
        for polygon in shapely.get_parts(region)
        for ring in (polygon.exterior, *polygon.interiors)
    )
