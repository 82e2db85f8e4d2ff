"""Where each room's files lie below results/, said once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from gatecheck.config import Config
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_file, sha256_of_json, write_atomically

DIGITS_OF_PSEUDONYM = 8


@dataclass(frozen=True, slots=True)
class CaseLayout:
    """The folder of one case, results/<case>."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration that this case was made with."""
        return self.folder / "config.yaml"

    @property
    def dicom(self) -> Path:
        """The DICOM files: a link to the folder given, or the phantom made."""
        return self.folder / "dicom"

    @property
    def case(self) -> Path:
        return self.folder / "case"

    @property
    def delivery(self) -> Path:
        return self.folder / "delivery" / "timeline.parquet"

    @property
    def patient(self) -> Path:
        return self.folder / "patient"

    @property
    def transport(self) -> Path:
        return self.folder / "transport"

    @property
    def calibration(self) -> Path:
        """This case's copy of the machine's calibration."""
        return self.transport / "calibration.json"

    @property
    def chunk_plan(self) -> Path:
        return self.transport / "chunks.json"

    def chunk(self, index: int) -> Path:
        return self.transport / f"chunk-{index:04d}.json"

    @property
    def dose(self) -> Path:
        return self.folder / "dose"

    @property
    def compare(self) -> Path:
        return self.folder / "compare"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"


@dataclass(frozen=True, slots=True)
class PreparedCase:
    """A case folder that is ready for the workflow.

    Attributes
    ----------
    name : str
    layout : CaseLayout
    source_signature : str
        Changes when a file of the DICOM folder does; "phantom:<name>" for a made case.
    """

    name: str
    layout: CaseLayout
    source_signature: str


def linac_results_folder(results_folder: Path) -> Path:
    """Calibrations, shared by all cases."""
    return results_folder / "linac"


def locate_case(config: Config) -> CaseLayout:
    """The case's folder, made when it is not there; nothing in it is touched.

    Raises
    ------
    InputError
        When the DICOM folder is not a folder.
    """
    layout = CaseLayout(config.results_folder / _name_of(config))
    layout.folder.mkdir(parents=True, exist_ok=True)
    return layout


def _name_of(config: Config) -> str:
    source = config.case.dicom_folder
    if source is not None and not source.is_dir():
        raise InputError("case.dicom_folder: not a folder. Give the folder that holds the exported DICOM files.")
    return config.case.name or (pseudonym_of(source) if source is not None else config.case.phantom)


def prepare_case(config: Config) -> PreparedCase:
    """Make results/<case> with its configuration and, for a given folder, a link to the DICOM files.

    The workflow sees only the link, so that no path of the site, which may hold a patient's name,
    reaches a log.

    Raises
    ------
    InputError
        When the DICOM folder is not a folder, or the case folder belongs to another DICOM folder.
    """
    source = config.case.dicom_folder
    layout = locate_case(config)
    name = layout.folder.name
    layout.logs.mkdir(exist_ok=True)
    if source is None:
        signature = f"phantom:{config.case.phantom}"
        if layout.dicom.is_symlink():
            raise InputError(f"case.name: {name} holds a verified DICOM folder. Choose another name for the phantom.")
    else:
        _link(layout.dicom, source, name)
        signature = _signature_of(source)
    _write_config(layout.config, config, name)
    return PreparedCase(name, layout, signature)


def pseudonym_of(dicom_folder: Path) -> str:
    """case- and the first digits of a hash over the content of all files, whatever they are called."""
    digests = sorted(sha256_of_file(path) for path in _files_below(dicom_folder))
    return f"case-{sha256_of_json(digests)[:DIGITS_OF_PSEUDONYM]}"


def _files_below(folder: Path) -> list[Path]:
    return sorted(Path(root) / name for root, _, names in os.walk(folder) for name in names)


def _signature_of(folder: Path) -> str:
    """Quick to make, since every job of the workflow makes it: places, sizes and times, not content."""
    digest = hashlib.sha256()
    for path in _files_below(folder):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _link(link: Path, source: Path, name: str) -> None:
    if link.is_symlink():
        if link.resolve() == source.resolve():
            return
        raise InputError(
            f"case.name: {name} was made from another DICOM folder. Choose another name, or remove results/{name}."
        )
    if link.exists():
        raise InputError(f"case.name: {name} holds a made phantom. Choose another name, or remove results/{name}.")
    link.symlink_to(source.resolve(), target_is_directory=True)


def _write_config(path: Path, config: Config, name: str) -> None:
    """Keep what the steps are called with, without the site's own paths; untouched when nothing changed."""
    content = config.model_dump(mode="json")
    content["case"]["name"] = name
    content["case"]["dicom_folder"] = str(path.parent / "dicom") if config.case.dicom_folder is not None else None
    text = yaml.safe_dump(content, sort_keys=False)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
