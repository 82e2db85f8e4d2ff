"""Writes a case to its folder and reads it back."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.grid import Grid
from gatecheck.case.model import Case, Image, Structure
from gatecheck.errors import ResultError, WriteError
from gatecheck.files import image_from_zyx, read_image, read_json, sha256_of_file, write_image

CASE_FILE = "case.json"
CT_FILE = "ct.mha"
DOSE_FILE = "tps_dose.mha"
STRUCTURES_FOLDER = "structures"


def read_case(case_folder: Path, *, check_images: bool = False) -> Case:
    """Read `case.json`.

    Parameters
    ----------
    check_images : bool
        Also check that the images beside it are those that it was written with.

    Raises
    ------
    ResultError
        When it is missing or damaged, or an image changed.
    """
    case = read_json(case_folder / CASE_FILE, Case)
    if check_images:
        for image in [case.ct, *([case.tps_dose.image] if case.tps_dose else [])]:
            _check_image(case_folder, image)
    return case


def _check_image(case_folder: Path, image: Image) -> None:
    path = case_folder / image.file
    if not path.exists():
        raise ResultError(f"{image.file}: not found beside {CASE_FILE}. Run ingest again.")
    if sha256_of_file(path) != image.sha256:
        raise ResultError(f"{image.file}: changed since {CASE_FILE} was written. Run ingest again.")


def read_mask(case_folder: Path, structure: Structure) -> sitk.Image:
    """Read a structure's inside fractions (float32, on the grid of the CT cropped to the structure).

    Raises
    ------
    ResultError
        When the structure is empty, or its mask is missing or damaged.
    """
    if structure.mask is None:
        raise ResultError(f"Structure {structure.name} is empty and has no mask.")
    return read_image(case_folder / structure.mask)


def write_grid(case_folder: Path, file: str, values_zyx: npt.NDArray[np.generic], grid: Grid) -> Image:
    """Write an image beside `case.json` and describe it."""
    write_image(case_folder / file, image_from_zyx(values_zyx, origin=grid.origin, spacing=grid.spacing))
    return Image(
        file=file,
        sha256=sha256_of_file(case_folder / file),
        size=grid.size,
        spacing=grid.spacing,
        origin=grid.origin,
    )


def mask_file(place: int) -> str:
    """Path of a structure's mask relative to the case folder, by number alone (a name might identify)."""
    return f"{STRUCTURES_FOLDER}/{place:02d}.mha"


def remove_earlier_case(case_folder: Path) -> None:
    """Take away what an earlier ingest wrote, `case.json` first, so that no mixture can be taken for a case.

    Raises
    ------
    WriteError
        When the folder is a file, or something in it cannot be taken away.
    """
    try:
        if case_folder.is_file():
            raise WriteError("The folder to write the case to is a file. Give a folder, or move the file away.")
        masks = sorted((case_folder / STRUCTURES_FOLDER).glob("*.mha"))
        for path in (case_folder / CASE_FILE, case_folder / CT_FILE, case_folder / DOSE_FILE, *masks):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise _not_replaced(Path(error.filename), error) from None


def _not_replaced(path: Path, error: OSError) -> WriteError:
    reason = "it is a folder" if error.errno in (errno.EISDIR, errno.EPERM) and path.is_dir() else error.strerror
    return WriteError(
        f"{path.name}: cannot be replaced by the new case's ({reason}). Move it away, or give another folder."
    )
