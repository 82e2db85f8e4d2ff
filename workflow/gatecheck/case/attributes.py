"""DICOM attributes, read so that a damaged one ends in one clear message that quotes no value.

Values are never quoted: de-identification leaves arbitrary text in dates and codes, and free text
may name the patient. Only attributes that are asked for are converted, so such text trips nothing.
"""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydicom import config
from pydicom.datadict import dictionary_description, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import Tag

from gatecheck.case.model import CaseWarning
from gatecheck.errors import InputError

FloatArray = npt.NDArray[np.float64]

# What pydicom raises for values and sequences that are not what they should be.
DAMAGE = (
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OSError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
)

_DECIMAL_STRINGS = ("DS", "IS")


@dataclass
class Notes:
    """Warnings collected on the way to a case."""

    warnings: list[CaseWarning] = field(default_factory=list)

    def add(self, code: str, message: str) -> None:
        """Keep a warning under its stable short name."""
        self.warnings.append(CaseWarning(code=code, message=message))


@contextlib.contextmanager
def quiet_dicom() -> Iterator[None]:
    """Neither refuse nor complain about values that break their value representation (UUIDs in dates).

    pydicom's warnings quote values, so they must not reach a log.
    """
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")
        warnings.filterwarnings("ignore", category=UserWarning)
        yield


def called(keyword: str) -> str:
    """Name and tag of an attribute, for messages: `Rescale Slope (0028,1053)`."""
    tag = Tag(keyword)
    return f"{dictionary_description(tag)} ({tag.group:04X},{tag.element:04X})"


def text(dataset: Dataset, keyword: str) -> str:
    """The text of an attribute, without surrounding spaces; empty when missing."""
    try:
        value = dataset.get(keyword)
    except DAMAGE:
        raise InputError(f"{called(keyword)} cannot be read. Export the file again.") from None
    return "" if value is None else str(value).strip(" \0")


def code(dataset: Dataset, keyword: str) -> str:
    """The text of a coded attribute in upper case; empty when missing."""
    return text(dataset, keyword).upper()


def numbers(dataset: Dataset, keyword: str, place: str) -> FloatArray:
    """All values of a numeric attribute, shape (n,); n is 0 when it is missing or empty.

    Raises
    ------
    InputError
        Naming `place` and the attribute, when a value is not a finite number.
    """
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return np.empty(0)
    try:
        values = _decimal_strings(dataset, tag)
        if values is None:
            value = dataset[tag].value
            values = np.empty(0) if value is None or value == "" else np.atleast_1d(np.asarray(value, dtype=float))
    except DAMAGE:
        raise InputError(f"{place}: {called(keyword)} is not a number. Export the file again.") from None
    if not np.isfinite(values).all():
        raise InputError(f"{place}: {called(keyword)} is not a finite number. Export the file again.")
    return values


def _decimal_strings(dataset: Dataset, tag: int) -> FloatArray | None:
    """Decimal strings straight from the file's bytes: contours hold millions."""
    raw = dataset.get_item(tag)
    if not isinstance(raw, RawDataElement) or dictionary_VR(tag) not in _DECIMAL_STRINGS:
        return None
    content = (raw.value or b"").decode("ascii").strip(" \0")
    return np.array(content.split("\\"), dtype=float) if content else np.empty(0)


def number(dataset: Dataset, keyword: str, place: str) -> float | None:
    """The one value of a numeric attribute; None when it is missing or empty."""
    values = numbers(dataset, keyword, place)
    if len(values) > 1:
        raise InputError(f"{place}: {called(keyword)} has {len(values)} values, 1 expected. Export the file again.")
    return float(values[0]) if len(values) else None


def required_number(dataset: Dataset, keyword: str, place: str) -> float:
    """The one value of a numeric attribute that has to be there."""
    value = number(dataset, keyword, place)
    if value is None:
        raise InputError(f"{place}: {called(keyword)} is missing. Export the file again.")
    return value


def required_numbers(dataset: Dataset, keyword: str, place: str, *, count: int) -> FloatArray:
    """A given number of values of a numeric attribute that has to be there, shape (count,)."""
    values = numbers(dataset, keyword, place)
    if len(values) != count:
        raise InputError(
            f"{place}: {called(keyword)} has {len(values)} values, {count} expected. Export the file again."
        )
    return values


def required_integer(dataset: Dataset, keyword: str, place: str) -> int:
    """A whole number that has to be there."""
    value = required_number(dataset, keyword, place)
    if value != int(value):
        raise InputError(f"{place}: {called(keyword)} is not a whole number. Export the file again.")
    return int(value)


def items(dataset: Dataset, keyword: str, place: str) -> list[Dataset]:
    """The items of a sequence; none when it is missing."""
    try:
        value = dataset.get(keyword)
        return [] if value is None else list(value)
    except DAMAGE:
        raise InputError(f"{place}: {called(keyword)} is damaged or truncated. Export the file again.") from None


def references(dataset: Dataset, keyword: str, place: str) -> list[str]:
    """Referenced SOP Instance UIDs of a sequence."""
    return [text(item, "ReferencedSOPInstanceUID") for item in items(dataset, keyword, place)]
