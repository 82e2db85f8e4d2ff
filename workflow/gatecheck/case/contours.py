"""Reads an RTSTRUCT: each structure as closed contours in axial planes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from gatecheck.case.attributes import FloatArray, Notes, code, items, numbers, required_integer, text
from gatecheck.errors import InputError

# CLOSEDPLANAR_XOR says that contours of a plane combine by even-odd; so they do here always.
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
_PLANE_TOLERANCE = 0.01  # mm
_PLACE = "RTSTRUCT"


@dataclass(frozen=True)
class Plane:
    """All contours of a structure in one axial plane.

    Attributes
    ----------
    contours : tuple of ndarray of shape (n_points, 2)
        x and y, LPS mm; closed without repeating the first point; combined by even-odd.
    """

    z: float
    contours: tuple[FloatArray, ...]


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
        observation = observations.get(number, Dataset())
        drawn = items(contours.get(number, Dataset()), "ContourSequence", _PLACE)
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


def _by_roi(sequence: Sequence[Dataset]) -> dict[int, Dataset]:
    by_number: dict[int, Dataset] = {}
    for item in sequence:
        number = required_integer(item, "ReferencedROINumber", _PLACE)
        by_number.setdefault(number, item)
    return by_number


def _unique_names(rois: Sequence[Dataset], notes: Notes) -> list[str]:
    """Names as given; a name used twice, or no name, gets the ROI number with it."""
    given = [text(roi, "ROIName") for roi in rois]
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
    closed: list[tuple[float, FloatArray]] = []
    not_closed = too_short = 0
    for index, item in enumerate(drawn):
        if code(item, "ContourGeometricType") not in _CLOSED:
            not_closed += 1
            continue
        points = _points(item, f"Structure {name}, contour {index + 1} of {len(drawn)}")
        if len(points) < 3:
            too_short += 1
            continue
        if np.ptp(points[:, 2]) > _PLANE_TOLERANCE:
            notes.add("structure-not-axial", f"Structure {name} has contours that are not axial and was left out.")
            return ()
        closed.append((float(points[:, 2].mean()), points[:, :2]))
    if not_closed:
        notes.add(
            "contours-not-closed",
            f"Structure {name}: {not_closed} contours that are points or open lines enclose nothing and were left out.",
        )
    if too_short:
        notes.add("contours-too-short", f"Structure {name}: {too_short} contours of one or two points were left out.")
    return _grouped(closed)


def _points(item: Dataset, place: str) -> FloatArray:
    data = numbers(item, "ContourData", place)
    stated = numbers(item, "NumberOfContourPoints", place)
    if len(data) % 3 or (len(stated) == 1 and 3 * int(stated[0]) != len(data)):
        raise InputError(
            f"{place}: Contour Data (3006,0050) has {len(data)} numbers, three for each of "
            f"{int(stated[0]) if len(stated) else 'the'} points expected. The file is damaged; export it again."
        )
    return data.reshape(-1, 3)


def _grouped(closed: list[tuple[float, FloatArray]]) -> tuple[Plane, ...]:
    planes: list[tuple[float, list[FloatArray]]] = []
    for z, points in sorted(closed, key=lambda entry: entry[0]):
        if planes and z - planes[-1][0] <= _PLANE_TOLERANCE:
            planes[-1][1].append(points)
        else:
            planes.append((z, [points]))
    return tuple(Plane(z, tuple(contours)) for z, contours in planes)


def _image_uids(drawn: Sequence[Dataset]) -> frozenset[str]:
    return frozenset(
        text(image, "ReferencedSOPInstanceUID")
        for item in drawn
        for image in items(item, "ContourImageSequence", _PLACE)
    )
