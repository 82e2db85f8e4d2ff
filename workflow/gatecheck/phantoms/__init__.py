"""Cases made, not given: complete DICOM sets of known content."""

from __future__ import annotations

from pathlib import Path

from gatecheck.errors import InputError
from gatecheck.phantoms.clinical_case_1 import write_clinical_case_1

_PHANTOMS = {"clinical_case_1": write_clinical_case_1}


def write_phantom(name: str, folder: Path) -> None:
    """Write a phantom's DICOM set.

    Raises
    ------
    InputError
        When there is no phantom of that name.
    """
    if name not in _PHANTOMS:
        raise InputError(f"phantom: {name!r} found, expected one of {', '.join(_PHANTOMS)}.")
    _PHANTOMS[name](folder)
