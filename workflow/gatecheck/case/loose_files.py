"""A dose and a structure set given as two files, without the CT and the plan that they belong to.

Contours are slices; without the CT, the spacing of the slices is taken from the contours themselves, and each
structure gets a grid of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.attributes import FloatArray, Notes, quiet_dicom, text
from gatecheck.case.contours import PLANE_TOLERANCE, DrawnStructure, read_structures
from gatecheck.case.dose import dose_grid
from gatecheck.case.folder import read_one
from gatecheck.case.grid import Grid, commonest_gap
from gatecheck.case.links import frames_of
from gatecheck.case.masks import Mask, make_mask
from gatecheck.errors import InputError

PIXEL = 0.5
"""mm of a structure's own grid in the plane; 1 mm from WIDE on."""

WIDE = 60.0

_AXES = np.eye(3).ravel()
_ROUND_A_STRUCTURE = 3  # pixels
_ITK_FILES = (".mha", ".mhd")


@dataclass(frozen=True)
class LooseDose:
    """A dose on its grid.

    Attributes
    ----------
    values_zyx : ndarray of shape (nz, ny, nx), float32
        Gy.
    frame_of_reference : str
        UID; empty for a MetaImage, which has none.
    summation_type : str
        What the dose is the sum of, PLAN or BEAM for example; empty where the file does not say.
    """

    values_zyx: npt.NDArray[np.float32]
    grid: Grid
    frame_of_reference: str
    summation_type: str


@dataclass(frozen=True)
class LooseStructures:
    """The structures of an RTSTRUCT with masks on grids of their own; None for one without a volume.

    Attributes
    ----------
    slice_spacing : float
        mm, the commonest between contours.
    """

    structures: tuple[tuple[DrawnStructure, Mask | None], ...]
    slice_spacing: float


def read_loose_dose(path: Path, place: str = "DOSE") -> LooseDose:
    """Read a MetaImage of Gy in LPS millimetres, or an RTDOSE.

    Parameters
    ----------
    place : str
        What messages call the file, whose name may be a patient's.

    Raises
    ------
    InputError, UnsupportedPlanError
        When it is neither, or damaged.
    """
    _check_there(path, place)
    if path.suffix.lower() in _ITK_FILES:
        return _meta_image(path, place)
    with quiet_dicom():
        dataset = read_one(path, place, "RTDOSE").dataset
        values, grid = dose_grid(dataset, place)
        frame, summation = text(dataset, "FrameOfReferenceUID"), text(dataset, "DoseSummationType")
        return LooseDose(values.astype(np.float32), grid, frame, summation)


def _check_there(path: Path, place: str) -> None:
    if not path.is_file():
        raise InputError(f"{place}: there is no such file.")


def _meta_image(path: Path, place: str) -> LooseDose:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        raise InputError(f"{place}: the MetaImage is damaged or truncated. Copy it again.") from None
    components = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() != 3 or components != 1:
        raise InputError(
            f"{place}: an image of {image.GetDimension()} dimensions with {components} values a voxel found, "
            "3 dimensions with 1 value expected."
        )
    # Axes that run backwards or in another order are turned, as `gatecheck gamma` turns them.
    image = sitk.DICOMOrient(image, "LPS")
    if not np.allclose(image.GetDirection(), _AXES, atol=1e-4):
        raise InputError(f"{place}: the image's grid is oblique, axes along x, y and z expected. Resample it.")
    values = np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{place}: the image holds values that are not numbers; Gy expected in every voxel.")
    size, spacing, origin = image.GetSize(), image.GetSpacing(), image.GetOrigin()
    grid = Grid((size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]))
    return LooseDose(values, grid, "", "")


def read_loose_structures(path: Path, frame_of_reference: str, notes: Notes) -> LooseStructures:
    """Read an RTSTRUCT and make masks from its contours alone.

    Parameters
    ----------
    frame_of_reference : str
        UID of the dose's; empty when it has none.

    Raises
    ------
    InputError
        When it is no RTSTRUCT, damaged, drawn in another frame of reference, or no two contours of a structure show
        how far slices are apart.
    """
    _check_there(path, "RTSTRUCT")
    with quiet_dicom():
        file = read_one(path, "RTSTRUCT", "RTSTRUCT")
        frames = frames_of(file.dataset)
        if frame_of_reference and frame_of_reference not in frames:
            raise InputError(
                "RTSTRUCT: drawn in another Frame of Reference (0020,0052) than the RTDOSE's. Give the structure set "
                "of the dose."
            )
        if not frame_of_reference and len(frames) > 1:
            raise InputError(
                f"RTSTRUCT: structures of {len(frames)} frames of reference (0020,0052) found, and a MetaImage does "
                "not say in which it lies. Give the RTDOSE, or a structure set of one frame."
            )
        structures = read_structures(file.dataset, frame_of_reference or next(iter(frames)), notes)
    spacing = _slice_spacing(structures)
    masks = [(one, make_mask(one, _grid(one, spacing), notes) if one.planes else None) for one in structures]
    return LooseStructures(tuple(masks), spacing)


def _slice_spacing(structures: tuple[DrawnStructure, ...]) -> float:
    gaps: FloatArray = np.concatenate(
        [np.empty(0), *(np.diff([plane.z for plane in one.planes]) for one in structures)]
    )
    gaps = gaps[gaps > PLANE_TOLERANCE]
    if not len(gaps):
        raise InputError(
            "RTSTRUCT: no structure has contours in two planes, so that nothing says how far slices are apart. Give a "
            "structure set with at least one structure drawn on several slices."
        )
    return commonest_gap(gaps)


def _grid(structure: DrawnStructure, slice_spacing: float) -> Grid:
    """Pixels round a structure, and slices of which one lies on its first contour."""
    points = np.concatenate([contour for plane in structure.planes for contour in plane.contours])
    low, high = points.min(axis=0), points.max(axis=0)
    pixel = PIXEL if float((high - low).max()) < WIDE else 2 * PIXEL
    first = low - _ROUND_A_STRUCTURE * pixel
    columns, rows = (math.ceil(extent / pixel) for extent in high + _ROUND_A_STRUCTURE * pixel - first)
    bottom, top = structure.planes[0].z, structure.planes[-1].z
    # A contour spacing may be several slices, and its half lies beyond the last contour.
    beyond = 1 + max((math.ceil(gap / slice_spacing) for gap in np.diff([p.z for p in structure.planes])), default=1)
    slices = math.ceil((top - bottom) / slice_spacing) + 1 + 2 * beyond
    return Grid(
        (columns + 1, rows + 1, slices),
        (pixel, pixel, slice_spacing),
        (float(first[0]), float(first[1]), bottom - beyond * slice_spacing),
    )
