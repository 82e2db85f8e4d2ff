"""CT slices become one volume on a uniform, axis-aligned grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
import numpy.typing as npt

from gatecheck.case.attributes import Notes, called, code, number, required_number, text
from gatecheck.case.axial_plane import AxialPlane, axial_plane
from gatecheck.case.folder import DicomFile
from gatecheck.case.grid import Grid, commonest_gap
from gatecheck.case.model import PatientPosition
from gatecheck.case.pixels import stored_values
from gatecheck.errors import InputError, UnsupportedPlanError

_SAME_POSITION = 0.01  # mm
_IN_PLANE_TOLERANCE = 0.05  # mm, a sheared stack moves more
_SPACING_TOLERANCE = 0.05  # of the spacing: scanners round positions to 0.1 mm
_MISSING_SLICE = 1.5  # spacings
_PADDING_HU = -1024
_HIGHEST_AIR_HU = -900
_HIGHEST_CT_NUMBER = 32767  # extended CT scales end below

_HOUNSFIELD_TYPES = ("", "HU", "US")  # US: unspecified


@dataclass(frozen=True)
class CtVolume:
    """A CT series in LPS.

    Attributes
    ----------
    values_zyx : ndarray of shape (nz, ny, nx), int16 or float32
        CT numbers, HU.
    patient_position : str or None
        None when the series does not say.
    files : tuple of DicomFile
        From the lowest z.
    """

    values_zyx: npt.NDArray[np.generic]
    grid: Grid
    patient_position: PatientPosition | None
    frame_of_reference: str
    series: str
    files: tuple[DicomFile, ...]

    @property
    def sop_instance_uids(self) -> frozenset[str]:
        """SOP Instance UIDs of all slices."""
        return frozenset(file.sop_instance_uid for file in self.files)


@dataclass(frozen=True)
class _Slice:
    file: DicomFile
    plane: AxialPlane

    @property
    def z(self) -> float:
        return self.plane.position[2]


def read_ct(files: Sequence[DicomFile], notes: Notes) -> CtVolume:
    """Assemble the one CT series of a folder.

    Raises
    ------
    InputError
        For no series, two series, missing or repeated slices, or slices that do not belong together.
    UnsupportedPlanError
        For multi-frame, tilted, coronal or sagittal images and for patient positions other than HFS, HFP, FFS, FFP.
    """
    for file in files:
        _check_single_frame(file)
    _check_one_series(files)
    slices = sorted((_Slice(file, axial_plane(file.dataset, file.place)) for file in files), key=lambda s: s.z)
    frame_of_reference = _common(slices, "FrameOfReferenceUID", "frames of reference")
    if not frame_of_reference:
        raise InputError("The CT has no Frame of Reference UID (0020,0052). Export it again with it.")
    _check_planes(slices)
    first = slices[0].plane
    spacing_z = _slice_spacing([s.z for s in slices])
    position = _common(slices, "PatientPosition", "patient positions").upper()
    x, y = first.first_xy
    values = _hounsfield_units(slices, notes)
    if any(code(s.file.dataset, "LossyImageCompression") == "01" for s in slices):
        notes.add("ct-lossy", "The CT was compressed with loss (0028,2110); its CT numbers are approximate.")
    return CtVolume(
        values_zyx=np.ascontiguousarray(first.to_lps(values)),
        grid=Grid(
            (first.columns, first.rows, len(slices)),
            (first.spacing_x, first.spacing_y, spacing_z),
            (x, y, first.position[2]),
        ),
        patient_position=checked_position(position, "The CT"),
        frame_of_reference=frame_of_reference,
        series=text(slices[0].file.dataset, "SeriesInstanceUID"),
        files=tuple(s.file for s in slices),
    )


def checked_position(position: str, place: str) -> PatientPosition | None:
    """One of the four supported patient positions, or None when it is empty.

    Raises
    ------
    UnsupportedPlanError
        For decubitus and other positions.
    """
    if not position:
        return None
    supported = get_args(PatientPosition)
    if position not in supported:
        raise UnsupportedPlanError(
            f"{place}: Patient Position (0018,5100) is none of {', '.join(supported)}, which are all that is supported."
        )
    return cast(PatientPosition, position)


def _check_single_frame(file: DicomFile) -> None:
    frames = number(file.dataset, "NumberOfFrames", file.place)
    if frames is not None and frames > 1:
        raise UnsupportedPlanError(
            f"{file.place}: {called('NumberOfFrames')} of the CT is {frames:g}, 1 expected: enhanced or multi-frame CT "
            "is not supported. Export it as single-frame slices."
        )


def _check_one_series(files: Sequence[DicomFile]) -> None:
    if not files:
        raise InputError("No CT slice in the folder. Export the planning CT with the plan.")
    series = {text(file.dataset, "SeriesInstanceUID") for file in files}
    if len(series) > 1:
        raise InputError(
            f"{len(series)} CT series found (Series Instance UID (0020,000E)), 1 expected. "
            "Keep only the planning CT in the folder."
        )
    if len(files) < 2:
        raise InputError("Only 1 CT slice found, at least 2 expected. Export the whole planning CT.")


def _common(slices: Sequence[_Slice], keyword: str, plural: str) -> str:
    values = {text(s.file.dataset, keyword) for s in slices}
    if len(values) > 1:
        raise InputError(f"The CT series has {len(values)} different {plural}, 1 expected. Export it again.")
    return values.pop()


def _check_planes(slices: Sequence[_Slice]) -> None:
    """One orientation, one matrix, one pixel size, stacked without shear."""
    first = slices[0].plane
    for index, current in enumerate(slices):
        plane = current.plane
        place = f"CT slice {index + 1} of {len(slices)} (from the feet)"
        if (plane.row_sign, plane.column_sign) != (first.row_sign, first.column_sign):
            raise InputError(
                f"{place}: Image Orientation (Patient) (0020,0037) differs from slice 1. Export one series."
            )
        if (plane.rows, plane.columns) != (first.rows, first.columns):
            raise InputError(
                f"{place} has {plane.rows} rows and {plane.columns} columns, {first.rows} and {first.columns} expected."
            )
        if max(abs(plane.spacing_x - first.spacing_x), abs(plane.spacing_y - first.spacing_y)) > 1e-4:
            raise InputError(f"{place}: Pixel Spacing (0028,0030) differs from slice 1. Export one series.")
        shift = max(abs(a - b) for a, b in zip(plane.position[:2], first.position[:2], strict=True))
        if shift > _IN_PLANE_TOLERANCE:
            raise UnsupportedPlanError(
                f"{place} is shifted by {shift:.2f} mm in its plane against slice 1 (Image Position (Patient) "
                "(0020,0032)): a tilted or moving stack is not supported. Reconstruct the CT without tilt."
            )


def _slice_spacing(z: Sequence[float]) -> float:
    """The uniform spacing of sorted slice positions."""
    gaps = np.diff(np.asarray(z))
    count = len(z)
    pairs = [f"CT slices {index + 1} and {index + 2} of {count} (from the feet)" for index in range(count - 1)]
    for pair, gap, position in zip(pairs, gaps, z[:-1], strict=True):
        if gap < _SAME_POSITION:
            raise InputError(f"{pair} lie at the same position, z = {position:g} mm. Keep one series in the folder.")
    usual = commonest_gap(gaps)
    for index, (pair, gap) in enumerate(zip(pairs, gaps, strict=True)):
        if gap > _MISSING_SLICE * usual:
            missing = max(1, round(gap / usual) - 1)
            raise InputError(
                f"{pair} are {gap:g} mm apart (z = {z[index]:g} and {z[index + 1]:g} mm), {usual:g} mm expected: "
                f"{missing} slice{'s are' if missing > 1 else ' is'} missing between them. Export the whole CT series."
            )
    spacing = (z[-1] - z[0]) / (count - 1)
    deviation = np.abs(np.asarray(z) - (z[0] + spacing * np.arange(count)))
    worst = int(deviation.argmax())
    if deviation[worst] > _SPACING_TOLERANCE * spacing:
        raise InputError(
            f"The CT slices are not spaced uniformly: gaps from {gaps.min():g} to {gaps.max():g} mm, slice {worst + 1} "
            f"of {count} (from the feet, z = {z[worst]:g} mm) lies {deviation[worst]:.2f} mm off an even grid. "
            "Reconstruct or export the CT with one slice spacing."
        )
    return spacing


def _hounsfield_units(slices: Sequence[_Slice], notes: Notes) -> npt.NDArray[np.generic]:
    """CT numbers, each slice by its own rescale; int16 when nothing is lost."""
    not_applied: dict[int, float] = {}
    shape = (len(slices), slices[0].plane.rows, slices[0].plane.columns)
    volume: npt.NDArray[np.float32] = np.empty(shape, dtype=np.float32)  # exact for whole numbers below 2**24
    for index, current in enumerate(slices):
        place = f"CT slice {index + 1} of {len(slices)} (from the feet)"
        dataset = current.file.dataset
        if code(dataset, "RescaleType") not in _HOUNSFIELD_TYPES:
            raise UnsupportedPlanError(
                f"{place}: Rescale Type (0028,1054) is not HU: the CT does not hold CT numbers. Export the planning CT."
            )
        slope = required_number(dataset, "RescaleSlope", place)
        intercept = required_number(dataset, "RescaleIntercept", place)
        stored = stored_values(dataset, place)
        volume[index] = stored * slope + intercept
        padding = number(dataset, "PixelPaddingValue", place)
        if padding is not None and (padded := stored == int(padding)).any():
            ct_number = int(padding) * slope + intercept
            if _HIGHEST_AIR_HU <= ct_number <= _HIGHEST_CT_NUMBER:
                not_applied[index] = ct_number
            else:
                volume[index][padded] = _PADDING_HU
    _warn_of_padding(not_applied, notes)
    limits = np.iinfo(np.int16)
    if limits.min <= volume.min() and volume.max() <= limits.max:
        whole = volume.astype(np.int16)
        if (whole == volume).all():
            return whole
    return volume


def _warn_of_padding(not_applied: dict[int, float], notes: Notes) -> None:
    """The same stored value may fill the corners and lie in the patient: air there would be a hole in the dose."""
    if not_applied:
        found = ", ".join(f"{ct_number:g}" for ct_number in sorted(set(not_applied.values())))
        notes.add(
            "ct-padding-not-applied",
            f"{called('PixelPaddingValue')} of {len(not_applied)} CT slices stands for {found} HU, which tissue may "
            f"have; below {_HIGHEST_AIR_HU} HU expected. It was not applied: those voxels keep their CT number. Check "
            "what lies outside of the scanned circle.",
        )
