"""Which Geant4 data are used: configured folder, official sets, or the embedded set, in this order."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gatecheck.errors import GatecheckError
from gatecheck.transport.geant4_data import embedded, official
from gatecheck.transport.geant4_data.folders import (
    environment_for,
    holds_full_data,
    missing_requirements,
    set_folders,
)

CONFIGURED_VARIABLE = "GATECHECK_GEANT4_DATA"
STANDARD_LIST = "G4EmStandardPhysics"
"""The one physics list that the embedded set serves."""

GEANT4_COMMANDS = ("/process/em/UseGeneralProcess false", "/process/em/binsPerDecade 50")
"""For `Simulation.g4_commands_before_init`: Geant4 interpolates photon cross sections between 7 energies a
decade, and between other ones in its general gamma process; in tungsten this costs up to 1.6 % at 0.3 MeV
and 2 % at 1.5 MeV, whatever the data."""

_HASHED_UP_TO = 64_000_000  # bytes; above, a set is known by names and sizes


@dataclass(frozen=True, slots=True)
class Geant4DataSet:
    """A set of data that Geant4 can run with.

    Attributes
    ----------
    kind : where it came from
    folder : its root
    environment : every G4...DATA variable and GATEONRTD; the values are existing folders
    description : one line for reports, without any path
    clinical : whether a dose made with it may be used for patients; only complete official data
    content_sha256 : identity of the content, wherever it lies
    complete : whether it holds what option 3 and option 4 of the physics lists need
    """

    kind: Literal["configured", "official", "embedded"]
    folder: Path
    environment: Mapping[str, str]
    description: str
    clinical: bool
    content_sha256: str
    complete: bool


@dataclass(frozen=True, slots=True)
class DataStatus:
    """What there is on this machine.

    Attributes
    ----------
    active : the set that would be used now, None when `problem` says why there is none
    configured : the folder named in GATECHECK_GEANT4_DATA, if any
    official_folder, official_missing : where opengate_core keeps the official sets, and which of
        Geant4's variables have none
    embedded_folder, embedded_problems : the cached embedded set, verified byte for byte; no
        problems means that it is whole
    embedded_present : whether there is a cached set at all
    """

    active: Geant4DataSet | None
    problem: str | None
    configured: Path | None
    official_folder: Path
    official_missing: tuple[str, ...]
    embedded_folder: Path
    embedded_present: bool
    embedded_problems: tuple[str, ...]

    def lines(self) -> list[str]:
        """The same in words, for the command line (folders are named: this is no report)."""
        missing = len(self.official_missing)
        official_state = f"{missing} sets missing" if missing else "complete"
        embedded_state = "not built yet"
        if self.embedded_present:
            embedded_state = "; ".join(self.embedded_problems[:3]) or "whole (every file verified)"
        return [
            f"configured: {self.configured or 'none'}",
            f"official:   {self.official_folder}: {official_state}",
            f"embedded:   {self.embedded_folder}: {embedded_state}",
            f"in use:     {self.active.description if self.active else self.problem}",
        ]


def resolve(configured: Path | None = None, *, progress: embedded.Progress | None = None) -> Geant4DataSet:
    """Find the data: configured folder, complete official sets, else the embedded set (built if needed).

    Parameters
    ----------
    configured : folder named in the configuration; None looks at GATECHECK_GEANT4_DATA
    progress : told how far a build is

    Raises
    ------
    GatecheckError
        When a folder is configured that cannot serve (it is never silently passed over), or the
        embedded set cannot be built.
    """
    folder = configured if configured is not None else configured_folder()
    if folder is not None:
        return _configured_set(folder)
    found = _official_set()
    if found is not None:
        return found
    return _embedded_set(*embedded.ensure(progress))


def configured_folder() -> Path | None:
    """The folder named in GATECHECK_GEANT4_DATA, if any."""
    named = os.environ.get(CONFIGURED_VARIABLE)
    return Path(named).expanduser() if named else None


def _configured_set(folder: Path) -> Geant4DataSet:
    if not folder.is_dir():
        raise GatecheckError(
            f"Geant4 data: the configured folder {folder.name} does not exist. Correct `geant4_data` in the "
            f"configuration or {CONFIGURED_VARIABLE}, or remove it to use the official or the embedded set."
        )
    folders = set_folders(folder)
    missing = missing_requirements(folders)
    if missing:
        raise GatecheckError(
            f"Geant4 data: the configured folder {folder.name} lacks {', '.join(missing)}. It must hold the folders of "
            "Geant4 11.4's data sets side by side."
        )
    if embedded.read_manifest(folder) is not None:
        return _configured_embedded_set(folder)
    complete = holds_full_data(folders)
    identity = embedded.sha256_of_folder(folders, by_size=_is_large(folders))
    kind = f"complete official sets, {folders['G4LEDATA'].name}" if complete else "reduced set, NOT for clinical use"
    return Geant4DataSet(
        kind="configured",
        folder=folder,
        environment=environment_for(folders),
        description=f"configured Geant4 data ({kind}, SHA-256 {identity[:12]})",
        clinical=complete,
        content_sha256=identity,
        complete=complete,
    )


def _configured_embedded_set(folder: Path) -> Geant4DataSet:
    """A folder made by `gatecheck geant4-data build`: known by its manifest, verified in full."""
    wrong = embedded.damage(folder, in_full=True)
    manifest = embedded.read_manifest(folder)
    if wrong or manifest is None:
        raise GatecheckError(
            f"Geant4 data: the configured folder {folder.name} was built by gatecheck, but {'; '.join(wrong[:3])}. "
            "Build it again with `gatecheck geant4-data build`."
        )
    found = _embedded_set(folder, manifest)
    return Geant4DataSet(
        "configured", folder, found.environment, found.description, found.clinical, found.content_sha256, found.complete
    )


def _official_set() -> Geant4DataSet | None:
    """The official sets inside opengate_core, if option 3 and 4 could run with them."""
    sets = official.official_sets()
    folders = {name: folder for name, folder in sets.folders.items() if folder.is_dir()}
    if sets.missing() or not holds_full_data({name: path for name, path in folders.items() if name in sets.addresses}):
        return None
    identity = embedded.sha256_of_folder({"G4LEDATA": folders["G4LEDATA"]}, by_size=True)
    return Geant4DataSet(
        kind="official",
        folder=sets.root,
        environment=environment_for(folders),
        description=f"official Geant4 data of opengate_core ({folders['G4LEDATA'].name}, SHA-256 {identity[:12]})",
        clinical=True,
        content_sha256=identity,
        complete=True,
    )


def _embedded_set(folder: Path, manifest: embedded.Manifest) -> Geant4DataSet:
    return Geant4DataSet(
        kind="embedded",
        folder=folder,
        environment=environment_for(set_folders(folder)),
        description=embedded.description(manifest),
        clinical=False,
        content_sha256=manifest.content_sha256,
        complete=False,
    )


def _is_large(folders: Mapping[str, Path]) -> bool:
    total = 0
    for folder in folders.values():
        for path in folder.rglob("*"):
            total += path.stat().st_size if path.is_file() else 0
            if total > _HASHED_UP_TO:
                return True
    return False


def activate(data_set: Geant4DataSet) -> None:
    """Put the set's variables into this process's environment, before `import opengate`.

    Raises
    ------
    GatecheckError
        When opengate_core is already imported and its Geant4 was given other data.
    """
    different = [name for name, value in data_set.environment.items() if os.environ.get(name) != value]
    if different and "opengate_core" in sys.modules:
        raise GatecheckError(
            f"opengate is already imported with other Geant4 data ({', '.join(sorted(different)[:3])} differ). "
            "Choose the data before the first import, or use a new process."
        )
    os.environ.update(data_set.environment)


def check_physics_list(physics_list: str, data_set: Geant4DataSet) -> None:
    """Refuse a physics list that the set cannot serve (Geant4 would end with a fatal exception).

    Raises
    ------
    GatecheckError
        For anything but `G4EmStandardPhysics` on a set that is not complete.
    """
    if physics_list == STANDARD_LIST or data_set.complete:
        return
    raise GatecheckError(
        f"Physics list {physics_list} needs the complete official Geant4 data, found: {data_set.description}. "
        f"Choose {STANDARD_LIST}, or fetch the official data with `gatecheck geant4-data install`."
    )


def status() -> DataStatus:
    """What there is on this machine; builds and downloads nothing, verifies the embedded set in full."""
    sets = official.official_sets()
    folder = embedded.default_folder()
    present = folder.is_dir()
    wrong = tuple(embedded.problems(folder, in_full=True)) if present else ()
    active, problem = _active_without_building(whole=present and not wrong)
    return DataStatus(
        active=active,
        problem=problem,
        configured=configured_folder(),
        official_folder=sets.root,
        official_missing=tuple(sets.missing()),
        embedded_folder=folder,
        embedded_present=present,
        embedded_problems=wrong,
    )


def _active_without_building(*, whole: bool) -> tuple[Geant4DataSet | None, str | None]:
    try:
        if configured_folder() is not None or whole or _official_set() is not None:
            return resolve(), None
    except GatecheckError as error:
        return None, str(error)
    return None, "No data yet: the embedded set is built at first use (or now: `gatecheck geant4-data build`)."
