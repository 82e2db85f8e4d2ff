"""Running text of the PDF: fonts, what they hold, and how wide words are."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib as mpl
from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Paragraph

from gatecheck.errors import WriteError
from gatecheck.report.pdf_elements import Element

INK, SOFT, RULE, TINT = "#1d2733", "#55626f", "#c3cad1", "#f5f7f9"
ACCENT, ALARM, ALARM_TINT, PASS = "#1f4e79", "#8a2a00", "#fff1e6", "#1b5e3a"

SMALLEST = 6.5
"""No text is set smaller, points."""

INLINE = frozenset({"a", "abbr", "b", "br", "code", "em", "i", "mark", "small", "span", "strong", "sub", "sup", "time"})

_SANS, _MONO = "DejaVuSans", "DejaVuSansMono"
# The DejaVu fonts come with matplotlib, which draws the figures in them.
_FILES = {
    (_SANS, False, False): "DejaVuSans",
    (_SANS, True, False): "DejaVuSans-Bold",
    (_SANS, False, True): "DejaVuSans-Oblique",
    (_SANS, True, True): "DejaVuSans-BoldOblique",
    (_MONO, False, False): "DejaVuSansMono",
    (_MONO, True, False): "DejaVuSansMono-Bold",
    (_MONO, False, True): "DejaVuSansMono-Oblique",
    (_MONO, True, True): "DejaVuSansMono-BoldOblique",
}
_LEADING = 1.32
_SMALL = 0.87  # of the size of the text round it
_RAISED = 0.7
# Right to left, which would need setting in another order; and marks that would need joining or placing.
_NOT_SET = frozenset({"R", "AL", "RLE", "RLO", "RLI", "AN"})
_SPACES = re.compile(r"([ \t\n\r]+)")


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How a run of text is set; size in points. In a table's cell, what is <small> stands in a line of its own."""

    size: float = 8.5
    bold: bool = False
    italic: bool = False
    mono: bool = False
    colour: str = INK
    raised: int = 0
    align_right: bool = False
    in_cell: bool = False

    @property
    def font(self) -> str:
        return _FILES[_MONO if self.mono else _SANS, self.bold, self.italic]

    @property
    def small(self) -> TextStyle:
        return replace(self, size=max(SMALLEST, _SMALL * self.size), bold=False, colour=SOFT)


@dataclass(slots=True)
class Replacements:
    """Characters that could not be set and are given by their Unicode numbers instead."""

    characters: set[str] = field(default_factory=set)

    def settable(self, text: str, font: str) -> str:
        """The text with each character that the font lacks, or that runs from right to left, as [U+0000]."""
        composed = unicodedata.normalize("NFC", text)
        return "".join(self._settable(character, font) for character in composed)

    def _settable(self, character: str, font: str) -> str:
        if character == "\u200b":  # where a line may end; the writer breaks long words anywhere
            return ""
        if character == "\u202f":  # reportlab would take it for a place to break a line
            return "\u00a0"
        if character in " \t\n\r" or _is_settable(character, font):
            return character
        self.characters.add(character)
        return f"[U+{ord(character):04X}]"


@functools.cache
def _is_settable(character: str, font: str) -> bool:
    if unicodedata.bidirectional(character) in _NOT_SET or unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co"}:
        return False
    _fonts()
    return ord(character) in pdfmetrics.getFont(font).face.charToGlyph


@functools.cache
def _fonts() -> None:
    """Register the fonts with reportlab, once.

    Raises
    ------
    WriteError
        When matplotlib's installation lacks one of its fonts.
    """
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name in _FILES.values():
        path = folder / f"{name}.ttf"
        if not path.exists():
            raise WriteError(f"{path.name}: not found among matplotlib's fonts. Install matplotlib again.")
        pdfmetrics.registerFont(TTFont(name, str(path)))


def text_width(text: str, style: TextStyle) -> float:
    """Points."""
    _fonts()
    return float(pdfmetrics.stringWidth(text, style.font, style.size))


@dataclass(slots=True)
class Run:
    """Text that stands in one paragraph, and the widths that a table's columns are made by."""

    style: TextStyle
    pieces: list[tuple[str, TextStyle]] = field(default_factory=list)

    def add(self, text: str, style: TextStyle) -> None:
        self.pieces.append((text, style))

    @property
    def is_blank(self) -> bool:
        return not any(text.strip(" \t\n\r") for text, _ in self.pieces)

    @property
    def widest_line(self) -> float:
        """Points that the text takes where no line is broken but at <br>."""
        return max((sum(words) + gaps for words, gaps in self._lines()), default=0.0)

    @property
    def widest_word(self) -> float:
        """Points that the widest part that is not to be broken takes."""
        return max((max(words, default=0.0) for words, _ in self._lines()), default=0.0)

    def _lines(self) -> Iterator[tuple[list[float], float]]:
        words, gaps = [0.0], 0.0
        for text, style in self.pieces:
            if text == "\v":
                yield words, gaps
                words, gaps = [0.0], 0.0
                continue
            for part in _SPACES.split(text):
                if part and _SPACES.fullmatch(part):
                    gaps += text_width(" ", style)
                    words.append(0.0)
                else:
                    words[-1] += text_width(part, style)
        yield words, gaps

    def paragraph(self, *, space_after: float = 0.0) -> Paragraph:
        _fonts()
        style = ParagraphStyle(
            "run",
            fontName=self.style.font,
            fontSize=self.style.size,
            leading=_LEADING * self.style.size,
            textColor=self.style.colour,
            alignment=TA_RIGHT if self.style.align_right else TA_LEFT,
            spaceAfter=space_after,
            allowWidows=0,
            allowOrphans=0,
        )
        return Paragraph("".join(_marked_up(*piece) for piece in self.pieces), style)


def _marked_up(text: str, style: TextStyle) -> str:
    if text == "\v":
        return "<br/>"
    marked = f'<font name="{style.font}" size="{style.size:.2f}" color="{style.colour}">{escape(text)}</font>'
    if style.raised:
        name = "super" if style.raised > 0 else "sub"
        return f'<{name} size="{style.size:.2f}">{marked}</{name}>'
    return marked


def plain_run(text: str, style: TextStyle) -> Run:
    """A run of one text."""
    return Run(style, [(text, style)])


def add_inline(run: Run, nodes: Sequence[Element | str], style: TextStyle, replaced: Replacements) -> None:
    """Add texts and elements that stand in a line to a run.

    Raises
    ------
    WriteError
        When one of them is not known to this writer.
    """
    for node in nodes:
        if isinstance(node, str):
            run.add(replaced.settable(node, style.font), style)
        elif node.tag == "br":
            run.add("\v", style)
        elif node.tag in INLINE:
            add_inline(run, node.children, inline_style(node, style), replaced)
        else:
            raise unknown_element(node)


def is_inline(node: Element | str, style: TextStyle) -> bool:
    """Whether a node stands in a line with its neighbours."""
    if isinstance(node, str):
        return True
    if node.tag not in INLINE or node.classes & {"block", "outcome"} or (node.tag == "small" and style.in_cell):
        return False
    return all(is_inline(child, style) for child in node.children)


def inline_style(element: Element, style: TextStyle) -> TextStyle:
    """The style of what stands in an element of a line."""
    tag = element.tag
    if tag in {"b", "strong"}:
        style = replace(style, bold=True)
    elif tag in {"i", "em"}:
        style = replace(style, italic=True)
    elif tag == "code" or "mono" in element.classes:
        style = replace(style, mono=True)
    elif tag == "small":
        style = style.small
    elif tag in {"sub", "sup"}:
        style = replace(style, size=max(SMALLEST, _RAISED * style.size), raised=1 if tag == "sup" else -1)
    return style


def unknown_element(element: Element) -> WriteError:
    """The refusal of an element that this writer cannot set."""
    where = f' class="{element.attributes["class"]}"' if "class" in element.attributes else ""
    return WriteError(
        f"report.pdf: <{element.tag}{where}> found in the report where this writer knows none; it would be missing "
        "from the PDF. Teach gatecheck.report.pdf_layout to set it."
    )
