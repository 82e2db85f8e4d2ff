"""The table inside of a beam data file: comments, descriptions, header and rows, still text, with their lines."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatecheck.commissioning.beam_data import NOT_STATED, check_line
from gatecheck.errors import InputError

REQUIRED_COLUMNS = ("quantity", "field_x_mm", "field_y_mm", "ssd_mm", "depth_mm", "value", "unit")
OPTIONAL_COLUMNS = (
    "axis",
    "off_axis_mm",
    "sigma",
    "detector_mm",
    "jaw_x1_mm",
    "jaw_x2_mm",
    "jaw_y1_mm",
    "jaw_y2_mm",
    "reference_x_mm",
    "reference_y_mm",
    "label",
)
COLUMNS = REQUIRED_COLUMNS + OPTIONAL_COLUMNS

# What float() takes besides (infinities, underscores, other scripts' digits) is no beam data.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

DESCRIPTIONS = ("machine", "beam", "detector", "source")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, still text."""

    file: str
    line: int
    cells: dict[str, str]

    def has(self, column: str) -> bool:
        """Whether the cell holds anything."""
        return bool(self.cells.get(column))

    def refuse(self, column: str, expected: str) -> InputError:
        """The error for a cell, to be raised."""
        found = self.cells.get(column, "")
        what = f"{found!r} found" if found else "nothing found"
        return InputError(f"{self.file}, line {self.line}, column {column}: {what}, expected {expected}.")

    def text(self, column: str, allowed: tuple[str, ...]) -> str:
        """One of the texts allowed."""
        value = self.cells.get(column, "")
        if value not in allowed:
            raise self.refuse(column, allowed[0] if len(allowed) == 1 else f"one of {', '.join(allowed)}")
        return value

    def number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number within limits."""
        text = self.cells.get(column, "")
        if not _NUMBER.fullmatch(text):
            raise self.refuse(column, "a number, with a decimal point")
        value = float(text)
        if not (low <= value <= high and math.isfinite(value)):
            raise self.refuse(column, f"a number {_limits(low, high)}")
        return value

    def optional_number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """The same; None for an empty cell or a column that is not there."""
        return self.number(column, low, high) if self.has(column) else None


def _limits(low: float, high: float) -> str:
    if high == math.inf:
        return "that is finite" if low == -math.inf else f"not below {low:g}"
    return f"from {low:g} to {high:g}"


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds.

    Attributes
    ----------
    machine, beam, detector, source : str
        Its descriptions.
    rows : tuple of Row
    """

    machine: str
    beam: str
    detector: str
    source: str
    rows: tuple[Row, ...]


def read_table(path: Path) -> Table:
    """Read descriptions and rows.

    Raises
    ------
    InputError
        Naming file, line and, where it is one, the column.
    """
    try:
        # Spreadsheets begin UTF-8 with a byte order mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path.name}: not found in {path.parent.name}/.") from None
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: not a text file in UTF-8, expected beam data as CSV.") from None
    descriptions: dict[str, str] = {}
    for index, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not line.lstrip().startswith("#"):
            header = _header(path.name, index, line)
            texts = {key: descriptions.get(key, NOT_STATED) for key in DESCRIPTIONS}
            return Table(**texts, rows=tuple(_rows(path.name, lines, index, header)))
        _describe(descriptions, path.name, index, line)
    raise InputError(f"{path.name}: no header found, expected a line with the columns {', '.join(REQUIRED_COLUMNS)}.")


def _describe(descriptions: dict[str, str], name: str, index: int, line: str) -> None:
    key, colon, text = line.lstrip().lstrip("#").partition(":")
    key = key.strip().lower()
    if not colon or key not in DESCRIPTIONS:
        return
    if key in descriptions:
        raise InputError(f"{name}, line {index}: '# {key}:' found a second time, expected once.")
    text = " ".join(text.split())
    try:
        check_line(key, text)
    except ValueError as error:
        raise InputError(f"{name}, line {index}: {error}.") from error
    if not text:
        raise InputError(f"{name}, line {index}: '# {key}:' found with nothing behind it, expected a description.")
    descriptions[key] = text


def _header(name: str, index: int, line: str) -> list[str]:
    header = _cells(name, index, line)
    if len(header) == 1 and ";" in line:
        raise InputError(f"{name}, line {index}: columns parted by ';' found, expected ',' (and decimal points).")
    for column in header:
        if column not in COLUMNS:
            raise InputError(f"{name}, line {index}, column {column!r} found, expected one of {', '.join(COLUMNS)}.")
        if header.count(column) > 1:
            raise InputError(
                f"{name}, line {index}, column {column}: found {header.count(column)} times, expected once."
            )
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if missing:
        raise InputError(f"{name}, line {index}, column {missing[0]}: not found, expected in the header.")
    return header


def _cells(name: str, index: int, line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise InputError(
            f"{name}, line {index}: a quotation mark that is not closed or misplaced ({error})."
        ) from error


def _rows(name: str, lines: list[str], header_line: int, header: list[str]) -> Iterator[Row]:
    for index, line in enumerate(lines[header_line:], start=header_line + 1):
        # Spreadsheets leave rows of commas behind.
        if not line.strip(" ,\t") or line.lstrip().startswith("#"):
            continue
        cells = _cells(name, index, line)
        if len(cells) != len(header):
            raise InputError(
                f"{name}, line {index}: {len(cells)} cells found, expected {len(header)} as in the header."
            )
        yield Row(name, index, dict(zip(header, cells, strict=True)))
