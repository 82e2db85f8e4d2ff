"""The embedded data set: built from installed packages, kept in the user's cache, verified by a manifest."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from gatecheck.errors import GatecheckError, WriteError
from gatecheck.files import sha256_of_file, sha256_of_json
from gatecheck.transport.geant4_data import bremsstrahlung, photons
from gatecheck.transport.geant4_data.folders import cache_folder

Array = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and what is being done."""

EMBEDDED_VERSION = 1
"""To be raised whenever a number in any file changes."""

LOW_ENERGY_FOLDER = "G4EMLOW8.8"
LEVELS_FOLDER = "G4ENSDFSTATE3.0"
MANIFEST = "manifest.json"

_SQUARE_MILLIMETRES_PER_BARN = 1e-22
_NEVER = 1e9  # MeV, a threshold that no photon reaches
_GEANT4_LINEAR_GRID = 5  # type number at the head of a two-dimensional table
_RENAME_ATTEMPTS = 5


class FileEntry(BaseModel):
    """One file of the set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    sha256: str


class Manifest(BaseModel):
    """What the set is made of; its own content identity is `content_sha256`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    embedded_version: int
    packages: dict[str, str]
    source_sha256: str
    highest_element: int
    content_sha256: str
    files: dict[str, FileEntry]


def packages() -> dict[str, str]:
    """Versions of the packages that the numbers come from."""
    return {name: version(name) for name in ("spekpy", "xraylib")}


@cache
def source_sha256() -> str:
    """SHA-256 of the code that makes the numbers: a set built by other code is built again."""
    modules = (bremsstrahlung.__file__, photons.__file__, __file__)
    return sha256_of_json({Path(name).name: sha256_of_file(Path(name)) for name in modules})


def default_folder() -> Path:
    """Where the set for the installed packages is kept."""
    used = "-".join(f"{name}-{number}" for name, number in sorted(packages().items()))
    return cache_folder() / "geant4-data" / f"embedded-{EMBEDDED_VERSION}-{used}"


def description(manifest: Manifest) -> str:
    """One line for reports."""
    return (
        f"gatecheck embedded set {manifest.embedded_version} (xraylib {manifest.packages['xraylib']}, "
        f"bremsstrahlung from theory and the NIST tables in spekpy {manifest.packages['spekpy']}), NOT for clinical use"
    )


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a set, or None where there is none that can be read."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def problems(folder: Path, *, in_full: bool) -> list[str]:
    """What is wrong with the set in `folder` as the one for this gatecheck and the installed packages.

    Names and sizes are compared with the manifest, and every SHA-256 when `in_full`.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        if manifest.embedded_version != EMBEDDED_VERSION or manifest.packages != packages():
            return ["built by another version of gatecheck, xraylib or spekpy"]
        if manifest.source_sha256 != source_sha256():
            return ["built by another version of gatecheck"]
    return damage(folder, in_full=in_full)


def damage(folder: Path, *, in_full: bool) -> list[str]:
    """What differs between the set in `folder` and its own manifest, whichever version built it."""
    manifest = read_manifest(folder)
    if manifest is None:
        return [f"{MANIFEST} is missing or damaged"]
    found = [] if manifest.files else [f"{MANIFEST} lists no file"]
    for name, entry in manifest.files.items():
        found += _file_problems(folder / name, name, entry, in_full=in_full)
    return found


def _file_problems(path: Path, name: str, entry: FileEntry, *, in_full: bool) -> list[str]:
    try:
        size = path.stat().st_size
    except OSError:
        return [f"{name} is missing"]
    if size != entry.size:
        return [f"{name} has {size} bytes, expected {entry.size}"]
    if in_full and sha256_of_file(path) != entry.sha256:
        return [f"{name} differs from what was built"]
    return []


def ensure(progress: Progress | None = None) -> tuple[Path, Manifest]:
    """The set in the user's cache, built when it is missing, damaged or of another version.

    Raises
    ------
    GatecheckError
        When the cache folder cannot be written, or the packages lack the data.
    """
    folder = default_folder()
    if problems(folder, in_full=False):
        build(folder, progress=progress)
    manifest = read_manifest(folder)
    if manifest is None:
        raise GatecheckError(
            f"The embedded Geant4 data set disappeared from the cache ({folder.name}) right after it was built. "
            "Is another program clearing the cache? Set GATECHECK_CACHE to a folder of its own."
        )
    return folder, manifest


def build(folder: Path | None = None, *, progress: Progress | None = None) -> Path:
    """Build the embedded set and put it in `folder` (default: the user's cache) in one step.

    A complete set is never seen half-written: it is built next to `folder` and renamed. Of two
    processes that build at once, the first to finish wins and both succeed.

    Raises
    ------
    WriteError
        When the folder cannot be written, or holds something that gatecheck did not put there.
    """
    target = default_folder() if folder is None else folder
    if target.exists() and not _replaceable(target):
        raise WriteError(
            f"{target.name}: the folder holds something else than a gatecheck data set. Give an empty or new folder."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_beside(target) as temporary:
            _write_set(temporary, progress or _silent)
            _put_in_place(temporary, target)
    except OSError as error:
        raise WriteError(
            f"The embedded Geant4 data set cannot be written to {target.name} ({error.strerror or error}). "
            "Set GATECHECK_CACHE to a folder that can be written."
        ) from error
    return target


def _silent(share: float, what: str) -> None:
    """Progress that nobody asked for."""


def _replaceable(target: Path) -> bool:
    """An empty folder, or one that gatecheck built (whole or damaged); never a person's own files."""
    names = {entry.name for entry in target.iterdir()} if target.is_dir() else {""}
    return names <= {MANIFEST, LOW_ENERGY_FOLDER, LEVELS_FOLDER}


@contextmanager
def _temporary_beside(target: Path) -> Iterator[Path]:
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.building-", dir=target.parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, target: Path) -> None:
    """Rename; where another process was faster its set is kept, and a damaged one is moved away."""
    temporary.chmod(0o755)
    for _ in range(_RENAME_ATTEMPTS):
        try:
            temporary.rename(target)
        except OSError:
            if not target.exists():
                raise
            if not problems(target, in_full=True):
                return
            with _temporary_beside(target) as aside, _lost_race_is_fine():
                target.rename(aside / target.name)
        else:
            return
    raise WriteError(f"{target.name}: the folder changes while the data set is put in place. Try again.")


@contextmanager
def _lost_race_is_fine() -> Iterator[None]:
    """Another process may move the damaged set away first; then there is nothing left to do."""
    try:
        yield
    except FileNotFoundError:
        return


def _write_set(folder: Path, progress: Progress) -> None:
    highest = photons.highest_element()
    low_energy = folder / LOW_ENERGY_FOLDER
    for name in ("brem_SB", "epics2017/phot", "epics2017/rayl"):
        (low_energy / name).mkdir(parents=True)
    for atomic_number in range(1, highest + 1):
        progress((atomic_number - 1) / highest, f"element {atomic_number} of {highest}")
        for name, text in element_files(atomic_number).items():
            (low_energy / name).write_text(text, encoding="ascii", newline="\n")
    levels = folder / LEVELS_FOLDER
    levels.mkdir()
    # Geant4 opens this list of excited nuclides at start; photons and electrons need none of them.
    (levels / "ENSDFSTATE.dat").write_text("", encoding="ascii")
    _write_manifest(folder, highest)
    progress(1.0, "done")


def _write_manifest(folder: Path, highest: int) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = {
        path.relative_to(folder).as_posix(): FileEntry(size=path.stat().st_size, sha256=sha256_of_file(path))
        for path in paths
    }
    content = sha256_of_json({name: entry.sha256 for name, entry in entries.items()})
    manifest = Manifest(
        embedded_version=EMBEDDED_VERSION,
        packages=packages(),
        source_sha256=source_sha256(),
        highest_element=highest,
        content_sha256=content,
        files=entries,
    )
    path = folder / MANIFEST
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(manifest.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())


def element_files(atomic_number: int) -> dict[str, str]:
    """All files of one element in Geant4's formats: path below the G4LEDATA folder to text."""
    photo = photons.photoelectric(atomic_number)
    scattering = photons.rayleigh(atomic_number)
    squared = scattering.energies**2 * scattering.barns * _SQUARE_MILLIMETRES_PER_BARN
    return {
        f"brem_SB/br{atomic_number}": _table_text(bremsstrahlung.scaled_cross_section(atomic_number)),
        f"epics2017/phot/pe-cs-{atomic_number}.dat": _cubed_text(photo.above),
        f"epics2017/phot/pe-le-cs-{atomic_number}.dat": _cubed_text(photo.below),
        f"epics2017/phot/pe-high-{atomic_number}.dat": _fit_text(photons.TABLE_TOP_ENERGY, photo.edge, photo.asymptote),
        f"epics2017/phot/pe-low-{atomic_number}.dat": _fit_text(_NEVER, photo.edge, 0.0),
        f"epics2017/rayl/re-cs-{atomic_number}.dat": _vector_text(scattering.energies, squared),
    }


def _number(value: float) -> str:
    """Seven digits: more would make the bytes depend on the processor's rounding."""
    return f"{value:.7g}"


def _cubed_text(cross_section: photons.CrossSection) -> str:
    """Geant4 tabulates E³ sigma of the photoelectric effect, MeV³ barn."""
    return _vector_text(cross_section.energies, cross_section.energies**3 * cross_section.barns)


def _vector_text(energies: Array, values: Array) -> str:
    """G4PhysicsFreeVector: both ends and the length, the length again, then a pair a line."""
    count = len(energies)
    lines = [f"{_number(energies[0])} {_number(energies[-1])} {count}", str(count)]
    lines += [f"{_number(energy)} {_number(value)}" for energy, value in zip(energies, values, strict=True)]
    return "\n".join(lines) + "\n"


def _fit_text(threshold: float, edge: float, coefficient: float) -> str:
    """Fit of G4LivermorePhotoElectricModel above `threshold`: sigma = a1/E + a2/E² + ... + a6/E⁶ barn.

    Two shells are declared and one is used: Geant4 takes the last row for the cross section, reads
    the table below the K edge only where there are two, and subtracts the first row's binding energy
    from the photoelectron.
    """
    row = f"{_number(coefficient)} 0 0 0 0 0"
    rows = [f"{_number(edge)} {row}", f"{_number(photons.ABSOLUTE_BOTTOM_ENERGY)} {row}"]
    return "\n".join(["2 1", _number(threshold), *rows]) + "\n"


def _table_text(scaled: Array) -> str:
    """G4Physics2DVector: k/T along the first axis, ln(T/MeV) along the second, one row per energy."""
    kappas, logs = bremsstrahlung.KAPPAS, np.log(bremsstrahlung.ENERGIES)
    rows = [kappas, logs, *scaled]
    lines = [f"{_GEANT4_LINEAR_GRID} {len(kappas)} {len(logs)}"]
    lines += [" ".join(_number(value) for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def sha256_of_folder(folders: dict[str, Path], *, by_size: bool) -> str:
    """Identity of a data set that gatecheck did not build, independent of where it lies.

    By every file's bytes; or, for the gigabytes of the official sets, by every file's name and size.
    """
    entries: dict[str, str] = {}
    for folder in folders.values():
        for path in folder.rglob("*"):
            if path.is_file():
                name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
                entries[name] = str(path.stat().st_size) if by_size else sha256_of_file(path)
    names = hashlib.sha256(" ".join(sorted(folder.name for folder in folders.values())).encode()).hexdigest()
    return sha256_of_json({"folders": names, "files": entries})
