"""The official Geant4 data sets, found and fetched by opengate's own mechanism."""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gatecheck.errors import GatecheckError
from gatecheck.transport.geant4_data.folders import LOW_ENERGY, low_energy_is_whole, set_folders

Progress = Callable[[str], None]
"""Called with one line of text."""

_PROBE_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 60.0  # a server that sends nothing for so long is given up
_POLL_SECONDS = 5.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OfficialSets:
    """What opengate_core expects: where, which folders, and from which addresses."""

    root: Path
    folders: Mapping[str, Path]
    addresses: Mapping[str, str]
    download_one: Callable[[int, str, int], object]

    def missing(self) -> list[str]:
        """Variables whose folder is not there, is empty or was cut off while it was unpacked."""
        return [name for name, folder in self.folders.items() if not self._is_there(name, folder)]

    @staticmethod
    def _is_there(name: str, folder: Path) -> bool:
        if not folder.is_dir() or not any(folder.iterdir()):
            return False
        return name != LOW_ENERGY or low_energy_is_whole(folder)


def official_sets() -> OfficialSets:
    """Read opengate_core's own list, without importing opengate_core (which would start a download).

    Raises
    ------
    GatecheckError
        When opengate_core is not installed, or its data mechanism has changed.
    """
    module = _setup_module()
    try:
        return OfficialSets(
            root=Path(module.get_g4_data_folder()),
            folders={name: Path(folder) for name, folder in module.get_g4_data_paths().items()},
            addresses=dict(module.data_packages),
            download_one=module.download_g4_one_data_folder,
        )
    except AttributeError as error:
        raise GatecheckError(
            f"This version of opengate_core keeps its Geant4 data differently ({error}); gatecheck knows 10.1."
        ) from error


def _setup_module() -> Any:
    package = find_spec("opengate_core")
    if package is None or package.origin is None:
        raise GatecheckError("opengate_core is not installed. Install opengate 10.1 and try again.")
    path = Path(package.origin).parent / "g4DataSetup.py"
    specification = spec_from_file_location("gatecheck_opengate_data_setup", path)
    if specification is None or specification.loader is None or not path.exists():
        raise GatecheckError("This version of opengate_core has no g4DataSetup.py; gatecheck knows 10.1.")
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def present_folders(sets: OfficialSets) -> dict[str, Path]:
    """The official folders that are there, by Geant4's variable."""
    return set_folders(sets.root) if sets.root.is_dir() else {}


def install(progress: Progress) -> Path:
    """Fetch the missing official sets with opengate_core's own functions.

    Raises
    ------
    GatecheckError
        When the host cannot be reached (known after 15 seconds at most), the download breaks off, or
        opengate_core's folder cannot be written. What was fetched whole is kept.
    """
    sets = official_sets()
    missing = [name for name in sets.missing() if name in sets.addresses]
    if not missing:
        progress("all official data sets are present")
        return sets.root
    progress("asking the data host")
    check_host(sets.addresses[missing[0]])
    for index, name in enumerate(missing):
        address = sets.addresses[name]
        archive = address.rsplit("/", 1)[-1]
        progress(f"{archive} ({index + 1} of {len(missing)})")
        with _watched(sets.root / f"{archive}.part", archive, progress):
            _download(sets, index, address, len(missing))
    progress("all official data sets are present")
    return sets.root


def check_host(address: str) -> None:
    """Ask for the head of one archive; a host that does not answer is known within 15 seconds.

    The question is asked in a thread of its own: neither the look-up of a name nor a proxy keeps to
    the time limits of the request.
    """
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(_reason_unreachable(address)), daemon=True)
    asking.start()
    asking.join(_PROBE_SECONDS)
    reason = answers[0] if answers else f"no answer within {_PROBE_SECONDS:.0f} s"
    if reason:
        raise GatecheckError(
            f"The host of the official Geant4 data ({urlsplit(address).hostname}) cannot be reached: {reason}. "
            "Check the network or the proxy (HTTPS_PROXY), copy a complete data folder from another machine and name "
            "it in GATECHECK_GEANT4_DATA, or go on with the embedded set (not for clinical use)."
        )


def _reason_unreachable(address: str) -> str:
    import requests  # noqa: PLC0415 - opengate_core's own downloader; needed for an installation only

    try:
        answer = requests.head(address, timeout=(_CONNECT_SECONDS, _PROBE_SECONDS), allow_redirects=True)
    except requests.exceptions.RequestException as error:
        _logger.debug("probe of %s: %s", address, error)
        return type(error).__name__
    return "" if answer.ok else f"it answers {answer.status_code}"


def _download(sets: OfficialSets, index: int, address: str, total: int) -> None:
    spoken = io.StringIO()
    before = socket.getdefaulttimeout()
    # opengate_core downloads without a time limit; this is the one limit it cannot override.
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    try:
        with redirect_stdout(spoken):
            sets.download_one(index, address, total)
    except Exception as error:  # opengate raises requests, tarfile and plain exceptions alike
        raise GatecheckError(
            f"{address.rsplit('/', 1)[-1]}: the download failed ({type(error).__name__}: {error}). "
            "What was fetched is kept; run `gatecheck geant4-data install` again to go on."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
        _logger.debug("opengate_core: %s", spoken.getvalue())


@contextmanager
def _watched(part: Path, archive: str, progress: Progress) -> Iterator[None]:
    """Report the growing size of the archive that opengate_core is writing."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_POLL_SECONDS):
            if part.exists():
                progress(f"{archive}: {part.stat().st_size / 1e6:.0f} MB")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
