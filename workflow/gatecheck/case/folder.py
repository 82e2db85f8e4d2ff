"""Finds what a folder holds, in any order and nesting, with strangers among it."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    RTDoseStorage,
    RTIonPlanStorage,
    RTPlanStorage,
    RTStructureSetStorage,
)

from gatecheck.case.attributes import DAMAGE, Notes, called, code, text
from gatecheck.errors import InputError, UnsupportedPlanError

logger = logging.getLogger(__name__)

_PREAMBLE = 128
_MAGIC = b"DICM"
# A data set without preamble starts with group 0002 or 0008 in little endian.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
_ELEMENT_HEADER = 8  # bytes: tag, VR and length
_FILLING = b"\0\t\n\r \x1a"  # what transfers and archives leave behind a file
_STORAGE_CLASS = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.[0-9.]+")
_NOT_DICOM = "not DICOM"
_DAMAGED = "damaged DICOM of another kind"

_KINDS: dict[str, str] = {
    CTImageStorage: "CT",
    RTStructureSetStorage: "RTSTRUCT",
    RTPlanStorage: "RTPLAN",
    RTDoseStorage: "RTDOSE",
}
# One of these has to be there, near the end of the file: cut off between two attributes, the rest looks whole.
_CONTENT: dict[str, tuple[str, ...]] = {
    "CT": ("PixelData",),
    "RTSTRUCT": ("ROIContourSequence",),
    "RTPLAN": ("BeamSequence", "IonBeamSequence", "ApplicationSetupSequence"),
    "RTDOSE": ("PixelData", "DVHSequence"),
}
_REFUSED: dict[str, str] = {
    RTIonPlanStorage: "an RT Ion Plan (protons or ions)",
    EnhancedCTImageStorage: "an Enhanced CT (multi-frame)",
    LegacyConvertedEnhancedCTImageStorage: "a Legacy Converted Enhanced CT (multi-frame)",
}


@dataclass(frozen=True)
class DicomFile:
    """One DICOM file, whole.

    Attributes
    ----------
    place : str
        Names the file in messages by its place among the folder's files; a file name might identify.
    """

    place: str
    sha256: str
    dataset: Dataset

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return text(self.dataset, "SOPInstanceUID")


@dataclass(frozen=True)
class DicomFolder:
    """The files of a folder that can belong to a plan."""

    ct: tuple[DicomFile, ...]
    plans: tuple[DicomFile, ...]
    structure_sets: tuple[DicomFile, ...]
    doses: tuple[DicomFile, ...]


def read_folder(folder: Path, notes: Notes) -> DicomFolder:
    """Read all files of a folder and sort them by kind.

    Raises
    ------
    InputError
        For a folder that is missing, empty or without DICOM, and for a truncated file of a kind that is read.
    UnsupportedPlanError
        For kinds of plans and images that are refused by name.
    """
    if not folder.is_dir():
        raise InputError("The DICOM folder does not exist or is not a folder. Give the folder of the exported plan.")
    # Hidden files are notes of file systems and of the workflow, no part of an export.
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise InputError("The DICOM folder is empty. Export CT, RTSTRUCT, RTPLAN and, if any, RTDOSE into it.")
    found: dict[str, list[DicomFile]] = {kind: [] for kind in _KINDS.values()}
    others: Counter[str] = Counter()
    known: dict[str, str] = {}
    for index, path in enumerate(paths):
        file = _read(path, f"File {index + 1} of {len(paths)} (in order of path)")
        if isinstance(file, str):
            others[file] += 1
            continue
        kind = _kind(file)
        if kind not in found:
            others[kind] += 1
        else:
            _check_content(file, kind)
            if not _is_repeated(file, known):
                found[kind].append(file)
    if others[_NOT_DICOM] == len(paths):
        raise InputError(
            f"None of the {len(paths)} files of the folder is DICOM. Export CT, RTSTRUCT, RTPLAN and, if any, RTDOSE."
        )
    _note_others(others, notes)
    logger.info("found %s", ", ".join(f"{len(files)} {kind}" for kind, files in found.items()))
    return DicomFolder(
        ct=tuple(found["CT"]),
        plans=tuple(found["RTPLAN"]),
        structure_sets=tuple(found["RTSTRUCT"]),
        doses=tuple(found["RTDOSE"]),
    )


def read_one(path: Path, place: str, kind: str) -> DicomFile:
    """Read one file that has to be of a given kind (CT, RTSTRUCT, RTPLAN or RTDOSE).

    Parameters
    ----------
    place : str
        What messages call the file; its name might identify.

    Raises
    ------
    InputError
        When it is missing, no DICOM, damaged, or of another kind.
    UnsupportedPlanError
        For kinds of plans and images that are refused by name.
    """
    if not path.is_file():
        raise InputError(f"{place}: there is no such file.")
    file = _read(path, place)
    found = file if isinstance(file, str) else _kind(file)
    if isinstance(file, str) or found != kind:
        raise InputError(f"{place}: {found} found, {kind} expected.")
    _check_content(file, kind)
    return file


def _read(path: Path, place: str) -> DicomFile | str:
    """Read one file; of a stranger that cannot be read, what it is called in the note."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{place} cannot be read ({error.strerror}).") from None
    has_preamble = content[_PREAMBLE : _PREAMBLE + 4] == _MAGIC
    if not has_preamble and not content.startswith(_FIRST_GROUPS):
        return _NOT_DICOM
    stream = _WatchedStream(content)
    try:
        dataset = dcmread(stream, force=not has_preamble)
    except DAMAGE:
        return _damaged(content, place) if has_preamble else _NOT_DICOM
    if "SOPClassUID" not in dataset and "MediaStorageSOPClassUID" not in dataset.file_meta:
        return _damaged(content, place) if has_preamble else _NOT_DICOM
    if stream.ran_short or _ends_within_a_header(stream.remainder, dataset):
        return _damaged(content, place)
    if _ends_within_a_value(dataset) or _ends_within_a_value(dataset.file_meta):
        return _damaged(content, place)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return DicomFile(place, hashlib.sha256(content).hexdigest(), dataset)


class _WatchedStream(io.BytesIO):
    """Bytes that remember whether a read ended in the middle of what was asked for.

    Attributes
    ----------
    remainder : bytes
        What was left where the header of another element was looked for, too short for one.
    """

    ran_short = False
    remainder = b""

    def read(self, size: int | None = -1, /) -> bytes:
        got = super().read(size)
        if size == _ELEMENT_HEADER and 0 < len(got) < size:
            self.remainder = got
        elif size is not None and 0 < len(got) < size:
            self.ran_short = True
        return got


def _ends_within_a_header(remainder: bytes, dataset: Dataset) -> bool:
    """Filling behind a whole file is none of it, and after the pixels no element follows that is read."""
    return bool(remainder.strip(_FILLING)) and "PixelData" not in dataset


def _ends_within_a_value(dataset: Dataset) -> bool:
    return any(
        isinstance(element, RawDataElement)
        and element.length != 0xFFFFFFFF
        and len(element.value or b"") < element.length
        for element in dataset.values()
    )


def _check_content(file: DicomFile, kind: str) -> None:
    expected = _CONTENT[kind]
    if not any(keyword in file.dataset for keyword in expected):
        raise InputError(
            f"{file.place} holds {kind} without {called(expected[0])}: truncated or empty. Copy or export it again."
        )


def _damaged(content: bytes, place: str) -> str:
    """What a damaged file is called among the files not used.

    Raises
    ------
    InputError
        When it is of a kind that is read or refused by name: the plan may need it.
    """
    found = _STORAGE_CLASS.search(content)  # the first one is the file's own, in the file meta information
    sop_class = found.group().decode("ascii") if found else ""
    if sop_class in _KINDS or sop_class in _REFUSED:
        raise InputError(
            f"{place} is DICOM but truncated or damaged: it ends before its content does. Copy or export it again."
        )
    return _DAMAGED


def _kind(file: DicomFile) -> str:
    """CT, RTSTRUCT, RTPLAN or RTDOSE, else what DICOM calls it; refuses kinds that are not supported by name."""
    dataset = file.dataset
    sop_class = text(dataset, "SOPClassUID") or text(dataset.file_meta, "MediaStorageSOPClassUID")
    if sop_class in _REFUSED:
        raise UnsupportedPlanError(
            f"{file.place} is {_REFUSED[sop_class]}, which gatecheck does not support. "
            "Expected photon RTPLAN, single-frame CT, RTSTRUCT and RTDOSE. Take it out of the folder or export those."
        )
    kind = _KINDS.get(sop_class)
    if kind is None:
        name = UID(sop_class).name
        return "DICOM of another kind" if name == sop_class else name.removesuffix(" Storage")
    if kind == "CT" and "LOCALIZER" in code(dataset, "ImageType"):
        return "CT localizer"
    return kind


def _is_repeated(file: DicomFile, known: dict[str, str]) -> bool:
    """The same file copied twice counts once; two different files of one UID are refused."""
    uid = file.sop_instance_uid
    if not uid:
        raise InputError(f"{file.place}: SOP Instance UID (0008,0018) is missing. Export the file again.")
    if uid not in known:
        known[uid] = file.sha256
        return False
    if known[uid] != file.sha256:
        raise InputError(
            f"{file.place}: an earlier file of the folder has the same SOP Instance UID (0008,0018) and another "
            "content. Keep only one export in the folder."
        )
    return True


def _note_others(others: Counter[str], notes: Notes) -> None:
    if others:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        notes.add("files-not-used", f"{sum(others.values())} files of the folder were not used: {listed}.")
