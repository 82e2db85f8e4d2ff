"""What the comparison hands on beside dose-volume histograms: interface, EQD2, setup errors, gamma, profiles."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from gatecheck.compare.biology.model import Biology
from gatecheck.compare.interface.model import Interface
from gatecheck.compare.profiles import Profiles
from gatecheck.compare.setup_errors.model import SetupCheck, SetupRobustness
from gatecheck.compare.volume_gamma.model import VolumeGamma
from gatecheck.errors import ResultError
from gatecheck.files import read_json, sha256_of_file

FloatArray = npt.NDArray[np.float64]

INTERFACE, BIOLOGY, SETUP, SETUP_CHECK = "interface", "biology", "setup", "setup_check"
GAMMA, PROFILES = "gamma", "profiles"

_MADE_FROM = {
    INTERFACE: ("case", "merge", "mc_dose"),
    BIOLOGY: ("case", "mc_dose", "mc_sigma"),
    SETUP: ("case", "mc_dose"),
    GAMMA: ("case", "merge", "mc_dose"),
    PROFILES: ("case", "merge", "mc_dose", "mc_sigma"),
}
_CHECKED = ("mc_dose", SETUP)
_STALE = (
    "setup_check.json was made from another dose or other sampled courses than those that are there now (by SHA-256), "
    "and is left out. Run setup-check again."
)
_DAMAGED = (
    "setup_check.json is damaged or of another version of gatecheck, and is left out. Delete it and run setup-check "
    "again."
)


@dataclass(frozen=True, slots=True)
class SurfaceTable:
    """Distance to agreement on each ray of a tumour's surface, as `compare` wrote it.

    Attributes
    ----------
    points_xyz : ndarray of shape (n, 3)
        Where the rays leave the surface, LPS mm.
    agreement, sigma : dict from per cent of the prescription to ndarray of shape (n,)
        mm, positive where the Monte Carlo's isodose lies further out, and its sigma (k = 1); NaN where an isodose is
        not met.
    """

    points_xyz: FloatArray
    agreement: dict[float, FloatArray]
    sigma: dict[float, FloatArray]


@dataclass(frozen=True, slots=True)
class Compared:
    """All that `compare` wrote, dose-volume histograms apart.

    Attributes
    ----------
    setup_check : SetupCheck, optional
        None where there is none, or none of this dose.
    setup_check_left_out : str
        Why one that is there is not shown; else empty.
    surface_maps : tuple of SurfaceTable or None
        Of each tumour of the interface, in its order.
    gamma : VolumeGamma
    profiles : Profiles
    hashes : dict of str to str
        SHA-256 of the tables and of the maps of gamma, and of the setup check where it is shown.
    """

    interface: Interface
    biology: Biology
    setup: SetupRobustness
    setup_check: SetupCheck | None
    setup_check_left_out: str
    surface_maps: tuple[SurfaceTable | None, ...]
    gamma: VolumeGamma
    profiles: Profiles
    hashes: dict[str, str]


def compared_files(folder: Path) -> dict[str, Path]:
    """Role of each document that must be in the folder of the comparison: its path."""
    return {role: folder / f"{role}.json" for role in _MADE_FROM}


def read_compared(folder: Path, hashes: Mapping[str, str]) -> Compared:
    """Read the documents and tables.

    Parameters
    ----------
    folder : of the comparison
    hashes : mapping of str to str
        Role of each file read, mc_dose and setup among them: its SHA-256. By them a setup check is known to be of
        this dose, or is left out.

    Raises
    ------
    ResultError
        When a file is missing or damaged.
    """
    files = compared_files(folder)
    interface = read_json(files[INTERFACE], Interface)
    names = [tumour.surface_map for tumour in interface.tumours]
    tables = {name: _read_whole(folder / name) for name in names if name is not None}
    check_file = folder / f"{SETUP_CHECK}.json"
    check, left_out = _setup_check(check_file, hashes)
    gamma = read_json(files[GAMMA], VolumeGamma)
    beside = [*tables, *(one.file for one in gamma.maps)]
    found = {_role(name): _hash_of(folder / name) for name in beside}
    return Compared(
        interface=interface,
        biology=read_json(files[BIOLOGY], Biology),
        setup=read_json(files[SETUP], SetupRobustness),
        setup_check=check,
        setup_check_left_out=left_out,
        surface_maps=tuple(None if name is None else tables[name] for name in names),
        gamma=gamma,
        profiles=read_json(files[PROFILES], Profiles),
        hashes=found | ({} if check is None else {SETUP_CHECK: sha256_of_file(check_file)}),
    )


def check_compared(compared: Compared, hashes: Mapping[str, str]) -> None:
    """Refuse documents that are not of the files that are there now.

    Raises
    ------
    ResultError
        Naming the document, what it was not made from, and the step to run.
    """
    made_from = {
        INTERFACE: compared.interface.made_from,
        BIOLOGY: compared.biology.made_from,
        SETUP: compared.setup.made_from,
        GAMMA: compared.gamma.made_from,
        PROFILES: compared.profiles.made_from,
    }
    for role, named in made_from.items():
        _check_made_from(role, named, hashes)


def _check_made_from(role: str, made_from: Mapping[str, str], hashes: Mapping[str, str]) -> None:
    for needed in sorted(set(_MADE_FROM[role]) | (made_from.keys() & hashes.keys())):
        if made_from.get(needed) != hashes[needed]:
            raise ResultError(
                f"{role}.json: not made from the {needed} that is there now (by SHA-256). Run compare again."
            )


def _setup_check(path: Path, hashes: Mapping[str, str]) -> tuple[SetupCheck | None, str]:
    """The check and nothing, or nothing and why: it is an addition, and never keeps a report from being made."""
    if not path.exists():
        return None, ""
    try:
        check = SetupCheck.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        return None, _DAMAGED
    if any(check.made_from.get(role) != hashes[role] for role in _CHECKED):
        return None, _STALE
    return check, ""


def _role(name: str) -> str:
    """Of a file beside the documents, none of whose names it may take."""
    return f"{Path(name).stem}_map" if Path(name).suffix == ".mha" else Path(name).stem


def _hash_of(path: Path) -> str:
    """Of a file that a document names and that must be there."""
    _check_is_there(path)
    return sha256_of_file(path)


def _check_is_there(path: Path) -> None:
    if not path.exists():
        raise ResultError(f"{path.name}: not found in {path.parent.name}/. Run compare again.")


def _read_whole(path: Path) -> SurfaceTable:
    """A table that `interface.json` names and that must be there."""
    _check_is_there(path)
    return read_surface_table(path)


def read_surface_table(path: Path) -> SurfaceTable:
    """Read a map of a tumour's surface.

    Raises
    ------
    ResultError
        When it is not such a table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file))
        values = np.array([[float(field) if field else np.nan for field in row] for row in rows], dtype=np.float64)
        columns = dict(zip(header, values.reshape(len(rows), len(header)).T, strict=True))
        percents = {name: float(name.removeprefix("dta_")) for name in header if _is_agreement(name)}
        return SurfaceTable(
            points_xyz=np.stack([columns[axis] for axis in "xyz"], axis=1),
            agreement={percent: columns[name] for name, percent in percents.items()},
            sigma={percent: columns[f"{name}_sigma"] for name, percent in percents.items()},
        )
    except (ValueError, KeyError) as error:
        raise ResultError(f"{path.name}: not a map of a surface. Run compare again.") from error


def _is_agreement(column: str) -> bool:
    return column.startswith("dta_") and not column.endswith("_sigma")
