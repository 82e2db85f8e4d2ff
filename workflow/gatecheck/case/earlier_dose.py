"""The dose of an earlier course: one RTDOSE that the planning system exported in this CT's frame of reference."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.case.attributes import called, code, quiet_dicom, text
from gatecheck.case.dose import dose_grid
from gatecheck.case.folder import read_one
from gatecheck.case.grid import Grid
from gatecheck.errors import InputError, ResultError, UnsupportedPlanError

_WHOLE_COURSES = ("PLAN", "MULTI_PLAN")


@dataclass(frozen=True, slots=True)
class EarlierDose:
    """Physical dose of a whole earlier course in the frame of reference of this plan's CT.

    Attributes
    ----------
    values_zyx : ndarray of shape (nz, ny, nx), float32
        Gy.
    grid : Grid
    sha256 : str
        Of the file.
    """

    values_zyx: npt.NDArray[np.float32]
    grid: Grid
    sha256: str


def sha256_of_frame(frame_of_reference: str) -> str:
    """SHA-256 of a Frame of Reference UID, as `Case` keeps it."""
    return hashlib.sha256(frame_of_reference.encode("utf-8")).hexdigest()


def read_earlier_dose(path: Path, *, frame_of_reference_sha256: str, place: str) -> EarlierDose:
    """Read the RTDOSE of an earlier course.

    Parameters
    ----------
    frame_of_reference_sha256 : str
        Of the case.
    place : str
        What messages call the file, for example the key of the configuration.

    Raises
    ------
    InputError
        When it is missing, no RTDOSE, damaged, empty, or in another frame of reference.
    UnsupportedPlanError
        When it is not the physical dose of a whole course in Gy.
    ResultError
        When the case does not say its frame of reference.
    """
    if not frame_of_reference_sha256:
        raise ResultError("case.json: written by a version of gatecheck without the frame of reference. Ingest again.")
    with quiet_dicom():
        file = read_one(path, place, "RTDOSE")
        frame = text(file.dataset, "FrameOfReferenceUID")
        if not frame or sha256_of_frame(frame) != frame_of_reference_sha256:
            raise InputError(
                f"{place}: {called('FrameOfReferenceUID')} is not that of this plan's CT, so the doses cannot be added "
                "point by point. Register the earlier course to this CT and export its dose in this CT's frame."
            )
        summation = code(file.dataset, "DoseSummationType")
        if summation not in _WHOLE_COURSES:
            raise UnsupportedPlanError(
                f"{place}: {called('DoseSummationType')} is neither PLAN nor MULTI_PLAN, so it is not known to be the "
                "dose of the whole course. Export the earlier plan's whole dose."
            )
        try:
            values, grid = dose_grid(file.dataset)
        except InputError as error:
            raise type(error)(f"{place}: {error}") from error
    if values.max() <= 0:
        raise InputError(f"{place}: the dose is zero everywhere. Export the earlier plan's calculated dose.")
    return EarlierDose(values.astype(np.float32), grid, file.sha256)
