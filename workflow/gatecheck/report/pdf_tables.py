"""Tables of the PDF: columns as wide as their words need, rows whole, headings repeated on every page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.platypus import Spacer

from gatecheck.errors import WriteError
from gatecheck.report.pdf_elements import Element
from gatecheck.report.pdf_parts import Outcome, PageTable
from gatecheck.report.pdf_text import (
    INK,
    RULE,
    SMALLEST,
    Replacements,
    Run,
    TextStyle,
    add_inline,
    inline_style,
    is_inline,
    unknown_element,
)

Flow = Callable[[Sequence[Element | str], float, TextStyle], list[Any]]

_PAD = 3.2  # to the left and right of a cell's text, points
_GREED = 0.72  # power of what a column could use by which it gets of what is left
_TO_WRITE_IN = 17.0  # height of an empty cell of a signature block


@dataclass(frozen=True, slots=True)
class _Breaking:
    """How far text in cells may be broken, and at which sizes that is tried.

    Attributes
    ----------
    whole_lines : lines of cells with numbers are kept whole, not their words alone
    longest_word : points; longer words of text, not of numbers, are broken
    """

    whole_lines: bool
    longest_word: float
    sizes: tuple[float, ...]


_BREAKINGS = (
    _Breaking(whole_lines=True, longest_word=110.0, sizes=(8.0, 7.5, 7.0)),
    _Breaking(whole_lines=False, longest_word=110.0, sizes=(8.0, 7.5, 7.0, SMALLEST)),
    _Breaking(whole_lines=False, longest_word=58.0, sizes=(SMALLEST,)),
)


@dataclass(frozen=True, slots=True)
class _Cell:
    element: Element
    row: int
    column: int
    rows: int
    columns: int

    @property
    def is_number(self) -> bool:
        return "number" in self.element.classes


@dataclass(frozen=True, slots=True)
class _Grid:
    """A table's cells in their places.

    Attributes
    ----------
    head_rows : rows that are repeated on every page
    groups : first row and last of each group of rows that is not to be parted
    """

    cells: tuple[_Cell, ...]
    row_count: int
    column_count: int
    head_rows: int
    groups: tuple[tuple[int, int], ...]

    def of_columns(self, columns: Sequence[int]) -> _Grid:
        """The same table with some of its columns alone."""
        place = {column: position for position, column in enumerate(columns)}
        cells = tuple(replace(one, column=place[one.column]) for one in self.cells if one.column in place)
        return replace(self, cells=cells, column_count=len(columns))


def lay_out_table(element: Element, width: float, flow: Flow, replaced: Replacements) -> list[Any]:
    """A table as one block, or as several with its columns shared out where they do not fit side by side.

    Raises
    ------
    WriteError
        When it holds something that is not known in a table.
    """
    grid = _grid_of(element)
    for breaking in _BREAKINGS:
        for size in breaking.sizes:
            least, most = _column_widths(grid, size, breaking, replaced)
            if sum(least) <= width:
                return [_table_of(grid, _shared(least, most, width), size, flow)]
    least, most = _column_widths(grid, SMALLEST, _BREAKINGS[-1], replaced)
    blocks: list[Any] = []
    for columns in _parts_that_fit(grid, least, width):
        part = grid.of_columns(columns)
        widths = _shared([least[one] for one in columns], [most[one] for one in columns], width)
        blocks += [_table_of(part, widths, SMALLEST, flow), Spacer(1, 8)]
    return blocks[:-1]


def _grid_of(table: Element) -> _Grid:
    head: list[Element] = []
    bodies: list[list[Element]] = []
    for child in table.elements:
        if child.tag == "thead":
            head += child.elements
        elif child.tag in {"tbody", "tfoot"}:
            bodies.append(child.elements)
        elif child.tag == "tr":
            bodies.append([child])
        elif child.tag != "caption":
            raise unknown_element(child)
    rows = [*head, *(row for body in bodies for row in body)]
    cells = tuple(_placed(rows))
    if not cells:
        raise WriteError("report.pdf: a table of the report has no cells.")
    return _Grid(
        cells=cells,
        row_count=len(rows),
        column_count=max(one.column + one.columns for one in cells),
        head_rows=len(head),
        groups=tuple((one.row, one.row + one.rows - 1) for one in cells if one.rows > 1),
    )


def _placed(rows: Sequence[Element]) -> Iterator[_Cell]:
    taken: set[tuple[int, int]] = set()
    for number, row in enumerate(rows):
        if row.tag != "tr":
            raise unknown_element(row)
        column = 0
        for child in row.elements:
            if child.tag not in {"td", "th"}:
                raise unknown_element(child)
            while (number, column) in taken:
                column += 1
            cell = _Cell(child, number, column, child.number("rowspan", 1), child.number("colspan", 1))
            taken |= {(number + down, column + across) for down in range(cell.rows) for across in range(cell.columns)}
            yield cell
            column += cell.columns


def _style_of(cell: _Cell, size: float, head_rows: int) -> TextStyle:
    bold = cell.element.tag == "th"
    if cell.row < head_rows:
        size = max(SMALLEST, size - 0.5)
    return replace(inline_style(cell.element, TextStyle(size, bold=bold, in_cell=True)), align_right=cell.is_number)


def _column_widths(
    grid: _Grid, size: float, breaking: _Breaking, replaced: Replacements
) -> tuple[list[float], list[float]]:
    """The least width that each column needs and the most that it can use, points."""
    least, most = [0.0] * grid.column_count, [0.0] * grid.column_count
    for cell in grid.cells:
        if cell.columns > 1:
            continue
        narrow, wide = _widths(cell.element.children, _style_of(cell, size, grid.head_rows), replaced)
        if not cell.is_number:
            narrow = min(narrow, max(breaking.longest_word, _outcome_width(cell.element, size)))
        elif breaking.whole_lines and cell.row >= grid.head_rows:
            narrow = wide
        # A hair more than the text takes, so that rounding does not break a line.
        least[cell.column] = max(least[cell.column], narrow + 2 * _PAD + 0.5)
        most[cell.column] = max(most[cell.column], wide + 2 * _PAD + 0.5)
    return least, most


def _outcome_width(element: Element, size: float) -> float:
    return max((Outcome(one, size).width for one in element.walk() if "outcome" in one.classes), default=0.0)


def _widths(nodes: Sequence[Element | str], style: TextStyle, replaced: Replacements) -> tuple[float, float]:
    """Widest word and widest line of what stands in a cell, points."""
    narrow = wide = 0.0
    run = Run(style)
    for node in [*nodes, Element("br")]:
        is_break = isinstance(node, Element) and node.tag == "br"
        if not is_break and is_inline(node, style):
            add_inline(run, [node], style, replaced)
            continue
        narrow, wide = max(narrow, run.widest_word), max(wide, run.widest_line)
        run = Run(style)
        if isinstance(node, Element) and not is_break:
            if "outcome" in node.classes:
                inner = (Outcome(node, style.size).width,) * 2
            else:
                inner = _widths(node.children, inline_style(node, style), replaced)
            narrow, wide = max(narrow, inner[0]), max(wide, inner[1])
    return narrow, wide


def _shared(least: Sequence[float], most: Sequence[float], width: float) -> list[float]:
    """Widths of columns that fill a width together: what they need, and of the rest by how much they could use."""
    if sum(least) > width:
        return [one * width / sum(least) for one in least]
    if sum(most) <= width:
        return [high + (width - sum(most)) / len(most) for high in most]
    widths, spare = list(least), width - sum(least)
    # Less than in proportion to what each could use, so that one long text does not starve columns that want little.
    while spare > 0.01:
        wishes = [max(0.0, high - one) for one, high in zip(widths, most, strict=True)]
        weights = [wish**_GREED for wish in wishes]
        given = [min(wish, spare * one / sum(weights)) for wish, one in zip(wishes, weights, strict=True)]
        widths = [one + more for one, more in zip(widths, given, strict=True)]
        spare -= sum(given)
    return widths


def _parts_that_fit(grid: _Grid, least: Sequence[float], width: float) -> list[list[int]]:
    """Columns of each part; the columns before the last run of numbers say what a row is, and stand in every part."""
    numbers = {cell.column for cell in grid.cells if cell.is_number}
    keys = max((column for column in range(grid.column_count) if column not in numbers), default=-1) + 1
    if keys == grid.column_count:
        return [list(range(grid.column_count))]
    first = list(range(keys))
    parts: list[list[int]] = []
    for column in range(keys, grid.column_count):
        if not parts or sum(least[one] for one in [*parts[-1], column]) > width:
            parts.append(list(first))
        parts[-1].append(column)
    return parts


def _table_of(grid: _Grid, widths: Sequence[float], size: float, flow: Flow) -> PageTable:
    content: list[list[Any]] = [[""] * grid.column_count for _ in range(grid.row_count)]
    commands: list[tuple[Any, ...]] = [
        ("LEFTPADDING", (0, 0), (-1, -1), _PAD),
        ("RIGHTPADDING", (0, 0), (-1, -1), _PAD),
        ("TOPPADDING", (0, 0), (-1, -1), 2.6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.2),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, HexColor(RULE)),
    ]
    if grid.head_rows:
        commands += [
            ("VALIGN", (0, 0), (-1, grid.head_rows - 1), "BOTTOM"),
            ("LINEBELOW", (0, grid.head_rows - 1), (-1, grid.head_rows - 1), 1.1, HexColor(INK)),
        ]
    for cell in grid.cells:
        style = _style_of(cell, size, grid.head_rows)
        room = sum(widths[cell.column : cell.column + cell.columns]) - 2 * _PAD
        empty = [Spacer(1, _TO_WRITE_IN if cell.element.is_empty and cell.row >= grid.head_rows else 1)]
        content[cell.row][cell.column] = flow(cell.element.children, room, style) or empty
        if cell.rows > 1 or cell.columns > 1:
            last = (cell.column + cell.columns - 1, cell.row + cell.rows - 1)
            commands.append(("SPAN", (cell.column, cell.row), last))
    for first, last_row in grid.groups:
        commands.append(("NOSPLIT", (0, first), (-1, last_row)))
    table = PageTable(content, colWidths=list(widths), repeatRows=grid.head_rows)
    table.setStyle(commands)
    table.groups = grid.groups
    return table
