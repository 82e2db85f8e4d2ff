"""Writes a case to its folder and reads it back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.grid import Grid
from gatecheck.case.model import Case, Image, Structure
from gatecheck.errors import ResultError
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


def mask_file(place: int, name: str) -> str:
    """Path of a structure's mask relative to the case folder: `structures/01-cord.mha`."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "structure"
    return f"{STRUCTURES_FOLDER}/{place:02d}-{slug}.mha"


def remove_earlier_case(case_folder: Path) -> None:
    """Take away what an earlier ingest wrote, `case.json` first, so that no mixture can be taken for a case."""
    (case_folder / CASE_FILE).unlink(missing_ok=True)
    for path in (case_folder / CT_FILE, case_folder / DOSE_FILE, *(case_folder / STRUCTURES_FOLDER).glob("*.mha")):
        path.unlink(missing_ok=True)
