"""Where each room's files lie below results/, said once."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from gatecheck.config import Config, DicomDoseKind
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_file, sha256_of_json, write_atomically

DIGITS_OF_PSEUDONYM = 8
# Seconds that a file server's clock may be ahead.
_CLOCKS_AGREE = 5.0


@dataclass(frozen=True, slots=True)
class CaseLayout:
    """The folder of one case, results/<case>."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration that this case was made with."""
        return self.folder / "config.yaml"

    @property
    def inputs(self) -> Path:
        """What each room's result depends on; see `gatecheck.provenance`."""
        return self.folder / "inputs"

    @property
    def lock(self) -> Path:
        """Held by the one run that works on the case; holds its process number and its token."""
        return self.folder / ".lock"

    @property
    def working(self) -> Path:
        """Held by every step while it works on the case."""
        return self.folder / ".working"

    @property
    def dicom(self) -> Path:
        """The DICOM files: a link to the folder given, or the phantom made."""
        return self.folder / "dicom"

    def earlier_dose(self, number: int) -> Path:
        """The dose of an earlier course, from 0: a link to the RTDOSE given."""
        return self.folder / f"earlier_dose_{number}.dcm"

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
    def delivered(self) -> Path:
        """What the machine did, by its trajectory logs."""
        return self.delivery.with_name("delivered.parquet")

    @property
    def logs_followed(self) -> Path:
        """How it followed the plan, by the same logs."""
        return self.delivery.with_name("logs.json")

    def trajectory_log(self, number: int) -> Path:
        """A log, from 1: a link to the file given."""
        return self.folder / f"trajectory_log_{number}.bin"

    @property
    def recalculations(self) -> Path:
        """The case simulated again with something changed."""
        return self.folder / "recalculated"

    def recalculation(self, change: str) -> Path:
        """What a change does to the dose."""
        return self.recalculations / f"{change}.json"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    def dicom_dose(self, kind: DicomDoseKind) -> Path:
        """The RTDOSE file of one kind."""
        return self.report / ("RTDOSE_mc.dcm" if kind == "dose" else f"RTDOSE_mc_{kind}.dcm")

    @property
    def rooms(self) -> tuple[Path, ...]:
        """The folders that hold results."""
        made = (self.case, self.delivery.parent, self.patient, self.transport, self.dose, self.compare, self.report)
        return (self.inputs, *made, self.recalculations)

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
        Changes when the content of the DICOM folder does; "phantom:<name>" for a made case.
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
    return config.case.name or (
        pseudonym_of(source, config.results_folder) if source is not None else config.case.phantom
    )


def remove_interrupted(layout: CaseLayout) -> None:
    """Remove what a killed run was about to write; for the holder of the lock, before it begins, left alone."""
    changed = [path for path in layout.recalculations.glob("*") if path.is_dir()]
    for room in (*layout.rooms, *changed):
        for path in room.glob(".*partial-*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_dated_after(path: Path, moment: float) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:  # renamed meanwhile by a job that outlived its run
        return False
    return not stat.S_ISDIR(found.st_mode) and found.st_mtime > moment


def bring_back_from_the_future(layout: CaseLayout) -> int:
    """Give files that a wrong clock dated after now the time of now, a phantom's too; how many there were.

    Snakemake stops at an input that is newer than what it has just made of it. What lies behind such a file is made
    again, chunks not: their hashes say what they are.
    """
    now = time.time() + _CLOCKS_AGREE
    # Snakemake takes the time of a folder that a rule makes from this file.
    files = [*(path for room in layout.rooms for path in room.glob("*")), layout.dicom / ".snakemake_timestamp"]
    if layout.dicom.is_symlink():  # the site's folder is not ours to touch
        files.pop()
    files += [*layout.folder.glob("earlier_dose_*.dcm"), *layout.folder.glob("trajectory_log_*.bin")]
    dated = [path for path in files if _is_dated_after(path, now)]
    for path in dated:
        with contextlib.suppress(OSError):  # Snakemake says what it makes of it
            os.utime(path, follow_symlinks=False)
    return len(dated)


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
    if source is not None:
        _link(layout.dicom, source, name)
    elif layout.dicom.is_symlink():
        raise InputError(f"case.name: {name} holds a verified DICOM folder. Choose another name for the phantom.")
    _link_earlier_doses(layout, config)
    _link_logs(layout, config)
    _write_config(layout.config, config, name)
    return PreparedCase(name, layout, signature_of(config))


def signature_of(config: Config) -> str:
    """Changes when the DICOM files do, by name or content; "phantom:<name>" for a made case."""
    source = config.case.dicom_folder
    if source is None:
        return f"phantom:{config.case.phantom}"
    return _signature_of(source, config.results_folder)


def pseudonym_of(dicom_folder: Path, results_folder: Path | None = None) -> str:
    """case- and the first digits of a hash over the content of all files, whatever they are called.

    Raises
    ------
    InputError
        When a file cannot be read.
    """
    digests = sorted(_sha256_of_input(path) for path in _files_below(dicom_folder, without=results_folder))
    return f"case-{sha256_of_json(digests)[:DIGITS_OF_PSEUDONYM]}"


def _files_below(folder: Path, *, without: Path | None) -> list[Path]:
    """Regular files, those that ingest looks at; results that lie inside the folder are none of its input."""
    left_out = without.resolve() if without is not None else None
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if (Path(root) / name).resolve() != left_out]
        found += [path for name in names if (path := Path(root) / name).is_file()]
    return sorted(found)


def _signature_of(folder: Path, results_folder: Path) -> str:
    """Names and content of the files."""
    files = _files_below(folder, without=results_folder)
    return sha256_of_json([[path.relative_to(folder).as_posix(), _sha256_of_input(path)] for path in files])


def _sha256_of_input(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise InputError(
            f"case.dicom_folder: a file in it cannot be read ({error.strerror or error}). Check the permissions."
        ) from error


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


def _link_earlier_doses(layout: CaseLayout, config: Config) -> None:
    for number, course in enumerate(config.biology.earlier_courses):
        link = layout.earlier_dose(number)
        if course.dose_file is None or course.dose_file.resolve() == link.resolve():
            continue
        link.unlink(missing_ok=True)
        link.symlink_to(course.dose_file.resolve())


def _link_logs(layout: CaseLayout, config: Config) -> None:
    given = [path.resolve() for path in config.case.trajectory_logs]
    links = [layout.trajectory_log(number) for number in range(1, len(given) + 1)]
    there = sorted(layout.folder.glob("trajectory_log_*.bin"))
    if there == sorted(links) and given == [link.resolve() for link in links]:
        return
    for old in there:
        old.unlink()
    for link, target in zip(links, given, strict=True):
        link.symlink_to(target)


def _write_config(path: Path, config: Config, name: str) -> None:
    """Keep what the steps are called with, without the site's own paths; untouched when nothing changed.

    Folders of the case are named from where the workflow runs, which is the case's folder.
    """
    content = config.model_dump(mode="json")
    content["case"]["name"] = name
    content["case"]["dicom_folder"] = "dicom" if config.case.dicom_folder is not None else None
    numbers = range(1, len(config.case.trajectory_logs) + 1)
    content["case"]["trajectory_logs"] = [CaseLayout(Path()).trajectory_log(number).name for number in numbers]
    for number, course in enumerate(content["biology"]["earlier_courses"]):
        if course["dose_file"] is not None:
            course["dose_file"] = CaseLayout(Path()).earlier_dose(number).name
    content["results_folder"] = ".."
    text = yaml.safe_dump(content, sort_keys=False)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
