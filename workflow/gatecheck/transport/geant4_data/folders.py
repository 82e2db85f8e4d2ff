"""Where the data lie, and what a folder must hold to be a data set of Geant4 11.4."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

LOW_ENERGY = "G4LEDATA"

FOLDER_PREFIXES: Mapping[str, str] = {
    "G4NEUTRONHPDATA": "G4NDL",
    "G4LEDATA": "G4EMLOW",
    "G4LEVELGAMMADATA": "PhotonEvaporation",
    "G4RADIOACTIVEDATA": "RadioactiveDecay",
    "G4PARTICLEXSDATA": "G4PARTICLEXS",
    "G4PIIDATA": "G4PII",
    "G4REALSURFACEDATA": "RealSurface",
    "G4SAIDXSDATA": "G4SAIDDATA",
    "G4ABLADATA": "G4ABLA",
    "G4INCLDATA": "G4INCL",
    "G4ENSDFSTATEDATA": "G4ENSDFSTATE",
    "G4CHANNELINGDATA": "G4CHANNELING",
}
"""Geant4's data variables, and how the names of their official folders begin (a version follows)."""

REQUIRED_FOLDERS = ("brem_SB", "epics2017/phot", "epics2017/rayl")
"""What `G4EmStandardPhysics` reads below G4LEDATA."""

FULL_FOLDERS = (*REQUIRED_FOLDERS, "epics2017/comp", "epics2017/pair", "fluor", "msc_GS", "penelope")
"""What option 3 and option 4 read besides (Livermore, fluorescence, Goudsmit-Saunderson, Penelope)."""

NO_DOWNLOAD = "GATEONRTD"
"""opengate_core neither looks for data nor downloads them, and leaves the variables alone, when this is set."""


def cache_folder() -> Path:
    """gatecheck's cache: GATECHECK_CACHE, else XDG_CACHE_HOME/gatecheck, else ~/.cache/gatecheck."""
    if named := os.environ.get("GATECHECK_CACHE"):
        return Path(named).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "gatecheck"
    return Path.home() / ".cache" / "gatecheck"


def set_folders(root: Path) -> dict[str, Path]:
    """The folders below `root` that belong to Geant4's variables; the last by name where several fit."""
    entries = sorted(entry for entry in root.iterdir() if entry.is_dir())
    found: dict[str, Path] = {}
    for variable, prefix in FOLDER_PREFIXES.items():
        fitting = [entry for entry in entries if entry.name.startswith(prefix) and _is_version(entry.name, prefix)]
        if fitting:
            found[variable] = fitting[-1]
    return found


def _is_version(name: str, prefix: str) -> bool:
    rest = name.removeprefix(prefix)
    return rest.replace(".", "").isdigit()


# Elements for which each folder of G4EmStandardPhysics must hold a file: hydrogen to uranium.
_ELEMENTS = 92
# Files that the whole of G4EMLOW has at the least; a set that was cut off while unpacking has fewer.
_FULL_LOW_ENERGY_FILES = 1000


def holds_full_data(folders: Mapping[str, Path]) -> bool:
    """Whether option 3 and option 4 can run: all twelve sets, with every low-energy model's files."""
    if set(folders) != set(FOLDER_PREFIXES):
        return False
    return not missing_requirements(folders) and low_energy_is_whole(folders[LOW_ENERGY])


def low_energy_is_whole(folder: Path) -> bool:
    """Whether a G4EMLOW holds every model's files, as far as their number tells."""
    if not all(_has_files(folder / name) for name in FULL_FOLDERS):
        return False
    return sum(path.is_file() for path in folder.rglob("*")) >= _FULL_LOW_ENERGY_FILES


def missing_requirements(folders: Mapping[str, Path]) -> list[str]:
    """What `G4EmStandardPhysics` would miss, in words; empty when it can run."""
    needed = (LOW_ENERGY, "G4ENSDFSTATEDATA")
    missing = [f"{FOLDER_PREFIXES[variable]}..." for variable in needed if variable not in folders]
    if LOW_ENERGY in folders:
        low_energy = folders[LOW_ENERGY]
        missing += [
            f"{low_energy.name}/{name}" for name in REQUIRED_FOLDERS if not _has_all_elements(low_energy / name)
        ]
    return missing


def _has_all_elements(folder: Path) -> bool:
    """Whether there are as many files with content as elements; one file may hold one element's or more."""
    return folder.is_dir() and sum(path.stat().st_size > 0 for path in folder.iterdir() if path.is_file()) >= _ELEMENTS


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def environment_for(folders: Mapping[str, Path]) -> dict[str, str]:
    """Every data variable of Geant4; one without a folder of its own names the low-energy one.

    Geant4 checks at start that several variables are set to a folder, but opens nothing there for
    photons, electrons and positrons.
    """
    fallback = folders[LOW_ENERGY]
    values = {variable: str(folders.get(variable, fallback).resolve()) for variable in FOLDER_PREFIXES}
    return {**values, NO_DOWNLOAD: "1"}
