"""Cases made, not given: complete DICOM sets of known content."""

from __future__ import annotations

from pathlib import Path

from gatecheck.errors import InputError
from gatecheck.phantoms import clinical_case_1, clinical_case_2
from gatecheck.phantoms.clinical_case import write_clinical_case

_PHANTOMS = {module.CASE.name: module.CASE for module in (clinical_case_1, clinical_case_2)}


def write_phantom(name: str, folder: Path) -> None:
    """Write a phantom's DICOM set.

    Raises
    ------
    InputError
        When there is no phantom of that name.
    """
    if name not in _PHANTOMS:
        raise InputError(f"phantom: {name!r} found, expected one of {', '.join(_PHANTOMS)}.")
    write_clinical_case(_PHANTOMS[name], folder)
