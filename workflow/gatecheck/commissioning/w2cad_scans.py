"""The syntax of W2CAD files: text to scans with keywords and rows, before anything is made of them.

A file is a sequence of scans, each between `$STOM` and `$ENOM`; within a scan, `%KEYWORD value` lines and rows
`<x y z dose>` stand in any order, `#` begins a comment. `$NUMS` counts the scans and `$ENOF` ends the file; both may
be left out. Upper and lower case are the same. Described from files as clinics exchange them; the vendor's own
description is in the appendices of its Eclipse algorithm guides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.errors import InputError

FloatArray = npt.NDArray[np.float64]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_ROW = re.compile(rf"<\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*>", re.ASCII)
_KEYWORD = re.compile(r"%\s*([A-Za-z]\w*)\s*(.*)")
_MARK = re.compile(r"\$\s*([A-Za-z]+)\s*(.*)")
_DETECTOR = re.compile(rf"#\s*detector_mm\s*[:=]\s*({_NUMBER})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword's value and its line in the file."""

    value: str
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One measurement of a W2CAD file, as it stands there.

    Attributes
    ----------
    file : str
    number : int
        Counted from 1 in the file.
    keywords : dict of Keyword
        By name in upper case, without `%`.
    rows : ndarray of shape (n, 4)
        x, y, z and dose.
    detector_diameter : float or None
        From a comment `# detector_mm: 6.1`, gatecheck's own addition to the format.
    """

    file: str
    number: int
    keywords: dict[str, Keyword]
    rows: FloatArray
    detector_diameter: float | None

    def refuse(self, keyword: str, reason: str) -> InputError:
        """The error for a keyword or, where none is to blame, a scan; to be raised."""
        found = self.keywords.get(keyword)
        line = f" (line {found.line})" if found else ""
        return InputError(f"{self.file}, scan {self.number}, %{keyword}{line}: {reason}.")

    def has(self, keyword: str) -> bool:
        """Whether the keyword is there with a value."""
        return keyword in self.keywords and self.keywords[keyword].value != ""

    def text(self, keyword: str) -> str:
        """The keyword's value in upper case."""
        if not self.has(keyword):
            raise self.refuse(keyword, "nothing found, expected a value")
        return self.keywords[keyword].value.upper()

    def number_of(self, keyword: str) -> float:
        """The keyword's value as a number."""
        text = self.text(keyword)
        if not re.fullmatch(_NUMBER, text, re.ASCII):
            raise self.refuse(keyword, f"{text!r} found, expected a number")
        return float(text)


@dataclass(slots=True)
class _OpenScan:
    """A scan while its lines are read."""

    line: int
    keywords: dict[str, Keyword] = field(default_factory=dict)
    rows: list[tuple[float, float, float, float]] = field(default_factory=list)
    detector_diameter: float | None = None


def read_scans(path: Path) -> tuple[Scan, ...]:
    """Split a W2CAD file into its scans.

    Raises
    ------
    InputError
        Naming file, line and scan for what is not W2CAD, for scans that are not closed, and for counts ($NUMS, %PNTS)
        that do not match what is there.
    """
    reader = _Reader(path.name)
    for number, line in enumerate(_lines(path), start=1):
        reader.take(number, line.strip())
    return reader.finish()


def is_w2cad(path: Path) -> bool:
    """Whether the first line that is no comment begins like a W2CAD file.

    Raises
    ------
    InputError
        When the file cannot be read.
    """
    for line in _lines(path):
        if line.strip() and not line.lstrip().startswith("#"):
            return line.lstrip()[0] in "$%<"
    return False


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path.name}: not found in {path.parent.name}/.") from None
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}).") from error
    if b"\0" in content:
        raise InputError(f"{path.name}: binary content found, expected beam data as text (CSV or W2CAD).")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        # Comments are in the language of the clinic and the code page of its scanner.
        return content.decode("latin-1").splitlines()


class _Reader:
    """Takes lines, gives scans."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._scans: list[Scan] = []
        self._open: _OpenScan | None = None
        self._stated: Keyword | None = None
        self._ended_at: int | None = None
        self._detector_of_file: float | None = None

    def take(self, line: int, text: str) -> None:
        """One line."""
        if not text:
            return
        if text.startswith("#"):
            self._comment(text)
        elif self._ended_at is not None:
            raise self._refuse(line, f"{text[:20]!r} found behind $ENOF, expected nothing")
        elif text.startswith("$"):
            self._mark(line, text)
        elif text.startswith("%"):
            self._keyword(line, text)
        elif text.startswith("<"):
            self._row(line, text)
        else:
            raise self._refuse(line, f"{text[:20]!r} found, expected a line that begins with $, %, < or #")

    def finish(self) -> tuple[Scan, ...]:
        """All scans, when the file has been read to its end."""
        if self._open is not None:
            raise self._refuse(self._open.line, "$STOM found without an $ENOM that closes the scan")
        if not self._scans:
            raise InputError(f"{self._file}: no scan found, expected $STOM ... $ENOM.")
        if self._stated is not None and self._stated.value != str(len(self._scans)):
            raise InputError(
                f"{self._file}, line {self._stated.line}, $NUMS: {self._stated.value} scans stated, "
                f"{len(self._scans)} found. Export the file again; it may have been cut."
            )
        return tuple(self._scans)

    def _refuse(self, line: int, reason: str) -> InputError:
        scan = f", scan {len(self._scans) + 1}" if self._open is not None else ""
        return InputError(f"{self._file}, line {line}{scan}: {reason}.")

    def _comment(self, text: str) -> None:
        found = _DETECTOR.match(text)
        if found is None:
            return
        if self._open is None:
            self._detector_of_file = float(found[1])
        else:
            self._open.detector_diameter = float(found[1])

    def _mark(self, line: int, text: str) -> None:
        found = _MARK.fullmatch(text)
        name = found[1].upper() if found else ""
        if name == "STOM":
            if self._open is not None:
                raise self._refuse(line, "$STOM found, expected $ENOM of the scan before")
            self._open = _OpenScan(line)
        elif name == "ENOM":
            self._close(line)
        elif name == "ENOF":
            if self._open is not None:
                raise self._refuse(line, "$ENOF found, expected $ENOM of the scan before")
            self._ended_at = line
        elif name == "NUMS" and found and self._stated is None and found[2].isascii() and found[2].isdigit():
            self._stated = Keyword(str(int(found[2])), line)
        else:
            raise self._refuse(line, f"{text[:20]!r} found, expected $STOM, $ENOM, $ENOF or one $NUMS with a number")

    def _keyword(self, line: int, text: str) -> None:
        found = _KEYWORD.fullmatch(text)
        if found is None:
            raise self._refuse(line, f"{text[:20]!r} found, expected %KEYWORD and a value")
        name = found[1].upper()
        if self._open is None:
            raise self._refuse(line, f"%{name} found outside of a scan, expected between $STOM and $ENOM")
        if name in self._open.keywords:
            raise self._refuse(line, f"%{name} found a second time, expected once in a scan")
        self._open.keywords[name] = Keyword(found[2].strip(), line)

    def _row(self, line: int, text: str) -> None:
        if self._open is None:
            raise self._refuse(line, "a row of data found outside of a scan, expected between $STOM and $ENOM")
        found = _ROW.fullmatch(text)
        if found is None:
            raise self._refuse(line, f"{text[:40]!r} found, expected <x y z dose> with four numbers")
        x, y, z, dose = (float(number) for number in found.groups())
        self._open.rows.append((x, y, z, dose))

    def _close(self, line: int) -> None:
        if self._open is None:
            raise self._refuse(line, "$ENOM found without a $STOM before it")
        scan = Scan(
            file=self._file,
            number=len(self._scans) + 1,
            keywords=self._open.keywords,
            rows=np.array(self._open.rows, dtype=float).reshape(-1, 4),
            detector_diameter=(
                self._detector_of_file if self._open.detector_diameter is None else self._open.detector_diameter
            ),
        )
        if not len(scan.rows):
            raise self._refuse(line, "no row of data found, expected <x y z dose>")
        if scan.has("PNTS") and scan.number_of("PNTS") != len(scan.rows):
            stated = scan.text("PNTS")
            raise scan.refuse("PNTS", f"{stated} points stated, {len(scan.rows)} rows found")
        self._scans.append(scan)
        self._open = None
