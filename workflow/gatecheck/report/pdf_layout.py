"""The report's elements as the blocks of a PDF's pages. An element that is not known here is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.platypus import CondPageBreak, Flowable, Paragraph, Spacer, Table

from gatecheck.report.pdf_elements import Element
from gatecheck.report.pdf_parts import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    Heading,
    LegendRow,
    Outcome,
    PageTable,
    PictureFlowable,
    read_picture,
    svg_text,
)
from gatecheck.report.pdf_svg import read_svg
from gatecheck.report.pdf_tables import lay_out_table
from gatecheck.report.pdf_text import (
    ACCENT,
    ALARM,
    ALARM_TINT,
    INLINE,
    RULE,
    SOFT,
    TINT,
    Replacements,
    Run,
    TextStyle,
    add_inline,
    inline_style,
    is_inline,
    plain_run,
    unknown_element,
)

BODY = TextStyle(8.5)
_CAPTION = TextStyle(7.5, colour=SOFT)
_GAP = 5.0  # below a paragraph
_INDENT = 11.0
_OUTCOME = 92.0  # width kept for an outcome before its words
_REMARKS = 26.0  # height to write remarks by hand in
_SIGNING = 17.0  # height of an empty field of the signature block, to be written in by hand
_GLANCE_COLUMNS = 4
_TERM_SHARE = 0.32  # of the width of a list of facts
_PICTURE_SHARE = 0.6  # of the width of a figure with its legend beside it
_TRANSPARENT = frozenset({"article", "body", "div", "header", "main", "section"})
_SECTION_SHARE = 0.72  # of a page: a section's start down to its first figures is kept together where it takes no more
_BUTT = 0  # how lines end
_HEADINGS = ("h1", "h2", "h3", "h4")
_MOST_OF_A_PAGE: float = 0.95 * FRAME_HEIGHT
_LINES_KEPT = 3  # lines of a paragraph that follow a heading on its page

Flowables = list[Any]


class Layout:
    """Makes blocks of elements.

    Attributes
    ----------
    replaced : characters that were given by their numbers
    pictures : how many images were placed
    """

    def __init__(self) -> None:
        self.replaced = Replacements()
        self.pictures = 0
        self._headings = 0
        self._outline_level = -1

    def pages(self, body: Element) -> Flowables:
        """All blocks of a page of HTML, headings kept with what follows them.

        Raises
        ------
        WriteError
            When an element is not known or cannot be set.
        """
        blocks = self.flow(body.children, FRAME_WIDTH, BODY)
        return self._with_headings_kept(blocks)

    def flow(self, nodes: Sequence[Element | str], width: float, style: TextStyle) -> Flowables:
        """Texts and elements one below another: what stands in a line becomes paragraphs, all else blocks."""
        blocks: Flowables = []
        run = Run(style)
        for node in nodes:
            if isinstance(node, Element) and not is_inline(node, style):
                self._end(run, blocks)
                run = Run(style)
                blocks += self._block(node, width, style)
            else:
                add_inline(run, [node], style, self.replaced)
        self._end(run, blocks)
        return blocks

    @staticmethod
    def _end(run: Run, blocks: Flowables) -> None:
        if not run.is_blank:
            blocks.append(run.paragraph())

    def _block(self, element: Element, width: float, style: TextStyle) -> Flowables:
        tag, classes = element.tag, element.classes
        if "outcome" in classes:
            return [Outcome(element, style.size)]
        if tag in INLINE:
            return self.flow(element.children, width, inline_style(element, style))
        maker = self._maker_of(tag, classes)
        if maker is None:
            raise unknown_element(element)
        return maker(element, width, style)

    def _maker_of(self, tag: str, classes: frozenset[str]) -> Callable[[Element, float, TextStyle], Flowables] | None:
        by_class = {
            "banner": self._banner,
            "key": self._key,
            "planes": self._figures,
            "charts": self._figures,
        }
        by_tag = {
            "p": self._paragraph,
            "dl": self._definitions,
            "ul": self._list,
            "ol": self._list,
            "figure": self._figure,
            "img": self._lone_image,
            "picture": self._lone_image,
            "table": self._table,
            "footer": self._footer,
            "hr": self._rule,
            **dict.fromkeys(_HEADINGS, self._heading),
            **dict.fromkeys(_TRANSPARENT, self._container),
        }
        named = [by_class[name] for name in by_class if name in classes and tag == "div"]
        return named[0] if named else by_tag.get(tag)

    def _container(self, element: Element, width: float, style: TextStyle) -> Flowables:
        blocks = self.flow(element.children, width, style)
        return [*blocks, Spacer(1, 2)] if "finding" in element.classes else blocks

    def _heading(self, element: Element, _width: float, _style: TextStyle) -> Flowables:
        level = int(element.tag[1])
        style = Heading.style(level)
        run = Run(style)
        add_inline(run, element.children, style, self.replaced)
        self._headings += 1
        self._outline_level = min(max(0, level - 2), self._outline_level + 1)
        text = " ".join(element.text.split())
        return [Heading(run.paragraph(), text, level, f"heading-{self._headings}", self._outline_level)]

    def _paragraph(self, element: Element, width: float, style: TextStyle) -> Flowables:
        if "quote" in element.classes:
            return self._quotation(element, width, style)
        if "remarks" in element.classes:
            return [*self.flow(element.children, width, style), Spacer(1, _REMARKS)]
        if "statement" in element.classes:
            style = replace(style, bold=True)
        if "quiet" in element.classes:
            style = replace(style, colour=SOFT)
        blocks = self.flow(element.children, width, style)
        return [*blocks, Spacer(1, _GAP)] if blocks else []

    def _quotation(self, element: Element, width: float, style: TextStyle) -> Flowables:
        content = self.flow(element.children, width - 14, replace(style, size=8.0))
        return [
            _boxed(content, width, [("LINEBEFORE", (0, 0), (0, -1), 2.5, HexColor(ACCENT), _BUTT)]),
            Spacer(1, _GAP),
        ]

    def _banner(self, element: Element, width: float, style: TextStyle) -> Flowables:
        content: Flowables = []
        for child in element.elements:
            if child.tag == "strong":
                alarm = TextStyle(14, bold=True, colour=ALARM)
                run = Run(alarm)
                add_inline(run, child.children, alarm, self.replaced)
                content.append(run.paragraph(space_after=2))
            else:
                content += self._block(child, width - 20, style)
        box = [("BOX", (0, 0), (-1, -1), 1.8, HexColor(ALARM)), ("BACKGROUND", (0, 0), (-1, -1), HexColor(ALARM_TINT))]
        return [Spacer(1, 6), _boxed(content, width, box), Spacer(1, 8)]

    def _key(self, element: Element, width: float, style: TextStyle) -> Flowables:
        content = self.flow(element.children, width - 16, replace(style, size=8.0))
        box = [
            ("BOX", (0, 0), (-1, -1), 0.5, HexColor(RULE)),
            ("BACKGROUND", (0, 0), (-1, -1), HexColor(TINT)),
        ]
        return [_boxed(content, width, box), Spacer(1, 6)]

    def _footer(self, element: Element, width: float, style: TextStyle) -> Flowables:
        content = self.flow(element.children, width, replace(style, size=7.5, colour=SOFT))
        return [Spacer(1, 14), *self._rule(element, width, style), *content]

    def _rule(self, _element: Element, width: float, _style: TextStyle) -> Flowables:
        line = Table([[""]], colWidths=[width], rowHeights=[4])
        line.setStyle([("LINEABOVE", (0, 0), (-1, -1), 0.6, HexColor(RULE))])
        return [line]

    def _definitions(self, element: Element, width: float, style: TextStyle) -> Flowables:
        pairs = _pairs_of(element)
        if "glance" in element.classes:
            return self._glance(pairs, width, style)
        term_width = _TERM_SHARE * width
        rows = [
            [
                self.flow(term.children, term_width - 8, replace(style, colour=SOFT)),
                self.flow(value.children, width - term_width - 8, inline_style(value, style))
                or [Spacer(1, _SIGNING if term.text.strip() else 1)],
            ]
            for term, value in pairs
        ]
        table = PageTable(rows, colWidths=[term_width, width - term_width])
        table.setStyle([*_PLAIN_CELLS, ("LINEBELOW", (0, 0), (-1, -1), 0.4, HexColor(RULE))])
        return [table, Spacer(1, 8)]

    def _glance(self, pairs: list[tuple[Element, Element]], width: float, style: TextStyle) -> Flowables:
        column = width / _GLANCE_COLUMNS
        cells = []
        for term, value in pairs:
            label = self.flow(term.children, column - 16, replace(style, size=7.5, colour=SOFT))
            large = replace(inline_style(value, style), size=10, bold=True)
            cells.append([*label, *self.flow(value.children, column - 16, large)])
        rows = [cells[start : start + _GLANCE_COLUMNS] for start in range(0, len(cells), _GLANCE_COLUMNS)]
        rows[-1] += [[Spacer(1, 1)]] * (_GLANCE_COLUMNS - len(rows[-1]))
        table = PageTable(rows, colWidths=[column] * _GLANCE_COLUMNS)
        table.setStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.5, HexColor(RULE)),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                *_padding(8, 5),
            ]
        )
        return [table, Spacer(1, 8)]

    def _list(self, element: Element, width: float, style: TextStyle) -> Flowables:
        items = [child for child in element.elements if child.tag == "li"]
        if len(items) != len(element.elements):
            raise unknown_element(next(child for child in element.elements if child.tag != "li"))
        if "legend" in element.classes:
            return self._legend(items, width, replace(style, size=7.8))
        if "warnings" in element.classes:
            return [block for item in items for block in self._warning(item, width, style)]
        if "outcomes" in element.classes:
            return self._outcomes(items, width, style)
        if "ticks" in element.classes:
            return self._ticks(items, width, style)
        blocks: Flowables = []
        for number, item in enumerate(items, 1):
            bullet = f"{number}." if element.tag == "ol" else "•"
            label = plain_run(bullet, style).paragraph()
            indent = _INDENT if element.tag == "ul" else 1.8 * _INDENT
            content = self.flow(item.children, width - indent, style) or [Spacer(1, style.size)]
            table = PageTable([[[label], content]], colWidths=[indent, width - indent])
            table.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_padding(0, 1.2)])
            blocks.append(table)
        return [*blocks, Spacer(1, _GAP)]

    def _outcomes(self, items: Sequence[Element], width: float, style: TextStyle) -> Flowables:
        """The outcomes of the first page, two in a row."""
        half = width / 2
        cells: list[Flowables] = [[self._outcome_and_words(item, half - 6, style)] for item in items]
        cells += [[Spacer(1, 1)]] * (len(cells) % 2)
        table = PageTable([cells[start : start + 2] for start in range(0, len(cells), 2)], colWidths=[half, half])
        table.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_padding(0, 0.6)])
        return [table, Spacer(1, _GAP)]

    def _outcome_and_words(self, item: Element, width: float, style: TextStyle) -> PageTable:
        """An outcome's mark and beside it what it is of: one line of the first page."""
        small = replace(style, size=8.0)
        marks = [child for child in item.elements if "outcome" in child.classes]
        mark = [Outcome(one, small.size) for one in marks]
        words = self.flow([child for child in item.children if child not in marks], width - _OUTCOME, small)
        table = PageTable([[mark, words]], colWidths=[_OUTCOME, width - _OUTCOME])
        table.setStyle([("VALIGN", (0, 0), (-1, -1), "MIDDLE"), *_padding(0, 0.6)])
        return table

    def _ticks(self, items: Sequence[Element], width: float, style: TextStyle) -> Flowables:
        """Boxes to tick, side by side."""
        column = width / len(items)
        table = PageTable(
            [[self.flow(item.children, column, style) for item in items]], colWidths=[column] * len(items)
        )
        table.setStyle([*_padding(0, 1.2)])
        return [table, Spacer(1, _GAP)]

    def _warning(self, item: Element, width: float, style: TextStyle) -> Flowables:
        content = self.flow(item.children, width - 20, style)
        box = [
            ("LINEBEFORE", (0, 0), (0, -1), 4, HexColor(ALARM), _BUTT),
            ("BACKGROUND", (0, 0), (-1, -1), HexColor(ALARM_TINT)),
        ]
        return [_boxed(content, width, box), Spacer(1, 4)]

    def _legend(self, items: Sequence[Element], width: float, style: TextStyle) -> Flowables:
        rows: Flowables = []
        entries: list[tuple[Any, Paragraph, float]] = []
        used = 0.0
        for item in items:
            marks = [child for child in item.elements if child.tag == "svg"]
            mark = read_svg(svg_text(marks[0])) if marks else None
            run = Run(style)
            add_inline(run, [child for child in item.children if child not in marks[:1]], style, self.replaced)
            mark_width = mark.width + LegendRow.GAP if mark else 0.0
            # A hair more than the text takes, so that rounding does not break its line.
            text_width = min(run.widest_line + 0.5, width - mark_width)
            if entries and used + mark_width + text_width > width:
                rows.append(LegendRow(entries))
                entries, used = [], 0.0
            entries.append((mark, run.paragraph(), text_width))
            used += mark_width + text_width + LegendRow.BETWEEN
        return [*rows, LegendRow(entries), Spacer(1, 4)] if entries else rows

    def _figures(self, element: Element, width: float, style: TextStyle) -> Flowables:
        """Planes three in a row, charts one below another with their legends beside them."""
        if "charts" in element.classes or any(child.tag != "figure" for child in element.elements):
            return self.flow(element.children, width, style)
        columns, gap = 3, 8.0
        column = (width - (columns - 1) * gap) / columns
        figures = [self._figure(child, column, style) for child in element.elements]
        rows = [figures[start : start + columns] for start in range(0, len(figures), columns)]
        blocks: Flowables = []
        for row in rows:
            cells = [*row, *([[Spacer(1, 1)]] * (columns - len(row)))]
            table = Table([cells], colWidths=[column + gap, column + gap, column])
            gaps = ("RIGHTPADDING", (0, 0), (columns - 2, -1), gap)
            table.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_padding(0, 0), gaps])
            blocks += [_Figures(table), Spacer(1, 6)]
        return blocks

    def _figure(self, element: Element, width: float, style: TextStyle) -> Flowables:
        pictures = [child for child in element.elements if child.tag in {"img", "picture"}]
        legends = [child for child in element.elements if child.tag == "ul"]
        captions = [child for child in element.elements if child.tag == "figcaption"]
        rest = [child for child in element.children if child not in [*pictures, *legends, *captions]]
        picture_width = _PICTURE_SHARE * width if legends else width
        blocks = [self._picture(child, picture_width, framed=not legends) for child in pictures]
        if legends:
            beside = [
                one for legend in legends for one in self._column_legend(legend, width - picture_width - 14, style)
            ]
            table = Table([[blocks, beside]], colWidths=[picture_width + 14, width - picture_width - 14])
            table.setStyle([("VALIGN", (0, 0), (-1, -1), "MIDDLE"), *_padding(0, 0)])
            blocks = [_Figures(table)]
        blocks += self.flow(rest, width, style)
        for caption in captions:
            blocks += [Spacer(1, 2), *self.flow(caption.children, width, _CAPTION)]
        return [*blocks, Spacer(1, 4)]

    def _column_legend(self, legend: Element, width: float, style: TextStyle) -> Flowables:
        """One entry a line."""
        return [row for item in legend.elements for row in self._legend([item], width, replace(style, size=7.8))]

    def _lone_image(self, element: Element, width: float, _style: TextStyle) -> Flowables:
        return [self._picture(element, width, framed=False), Spacer(1, 4)]

    def _picture(self, element: Element, width: float, *, framed: bool) -> PictureFlowable:
        image = element.first("img")
        if image is None:
            raise unknown_element(element)
        picture = read_picture(image)
        self.pictures += 1
        return PictureFlowable(picture, width, 0.8 * FRAME_HEIGHT, framed=framed)

    def _table(self, element: Element, width: float, _style: TextStyle) -> Flowables:
        blocks: Flowables = [Spacer(1, 3)]
        caption = element.first("caption")
        if caption is not None:
            blocks += [_Kept(block) for block in self.flow(caption.children, width, _CAPTION)] + [_Kept(Spacer(1, 3))]
        return [*blocks, *lay_out_table(element, width, self.flow, self.replaced), Spacer(1, 10)]

    def _with_headings_kept(self, blocks: Flowables) -> Flowables:
        """A page break before headings and captions that would stand at a page's foot without what they head."""
        kept: Flowables = []
        for position, block in enumerate(blocks):
            before = blocks[position - 1] if position else None
            if _heads(block) and not _heads(before):
                kept.append(CondPageBreak(_needed(blocks[position:])))
            kept.append(block.block if isinstance(block, _Kept) else block)
        return kept


class _Wrapped(Flowable):  # type: ignore[misc]
    """A block with a part to play in where pages end."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def wrap(self, available_width: float, available_height: float) -> tuple[float, float]:
        size: tuple[float, float] = self.block.wrap(available_width, available_height)
        return size

    def draw(self) -> None:
        self.block.drawOn(self.canv, 0, 0)


class _Kept(_Wrapped):
    """A block that is to stand on one page with the block after it."""


class _Figures(_Wrapped):
    """Figures side by side, which stand on the page of the section's heading where they can."""


def _heads(block: Any) -> bool:
    return isinstance(block, Heading | _Kept)


def _needed(blocks: Flowables) -> float:
    """Height that is to be left on a page for headings: down to the first figures, or to the least that follows."""
    height = 0.0
    least: float | None = None
    for block in blocks:
        if least is not None and isinstance(block, Heading) and block.level <= 2:
            break
        height += float(block.getSpaceBefore() + block.getSpaceAfter())
        if not _heads(block) and not isinstance(block, Spacer) and least is None:
            least = height + _least(block)
        height += float(block.wrap(FRAME_WIDTH, 1e6)[1])
        if height > _SECTION_SHARE * FRAME_HEIGHT:
            break
        if isinstance(block, _Figures):
            return height
    return min(height if least is None else least, _MOST_OF_A_PAGE)


def _least(block: Any) -> float:
    height = float(block.wrap(FRAME_WIDTH, 1e6)[1])
    if isinstance(block, Paragraph):
        return min(height, _LINES_KEPT * float(block.style.leading))
    return float(block.least_height) if isinstance(block, PageTable) else height


def _pairs_of(definitions: Element) -> list[tuple[Element, Element]]:
    """Terms with their values, each pair perhaps in a <div>."""
    parts = [part for child in definitions.elements for part in (child.elements if child.tag == "div" else [child])]
    pairs = list(zip(parts[::2], parts[1::2], strict=len(parts) % 2 == 0))
    for part, wanted in zip(parts, len(parts) * ["dt", "dd"], strict=False):
        if part.tag != wanted:
            raise unknown_element(part)
    return pairs


def _padding(sides: float, ends: float) -> list[tuple[Any, ...]]:
    everywhere = ((0, 0), (-1, -1))
    return [
        ("LEFTPADDING", *everywhere, sides),
        ("RIGHTPADDING", *everywhere, sides),
        ("TOPPADDING", *everywhere, ends),
        ("BOTTOMPADDING", *everywhere, ends),
    ]


_PLAIN_CELLS = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    *_padding(0, 2.4),
    ("RIGHTPADDING", (0, 0), (0, -1), 8),
]


def _boxed(content: Flowables, width: float, commands: list[tuple[Any, ...]]) -> PageTable:
    """Blocks in a box that may go on on the next page."""
    table = PageTable([[content]], colWidths=[width])
    table.setStyle([*_padding(9, 5), *commands])
    return table
