"""Parts of a PDF's page that reportlab has not: figures, outcomes, headings that mark the outline."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import Any

from PIL import Image
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.platypus import Flowable, Paragraph, Table

from gatecheck.errors import WriteError
from gatecheck.report.pdf_elements import Element
from gatecheck.report.pdf_svg import Drawing, read_svg
from gatecheck.report.pdf_text import ACCENT, ALARM, INK, PASS, RULE, SOFT, TextStyle, text_width

LEFT, RIGHT, TOP, BOTTOM = 20 * mm, 15 * mm, 21 * mm, 18 * mm
"""Margins of a page, points; the left one is wider, as pages are filed."""

FRAME_WIDTH, FRAME_HEIGHT = A4[0] - LEFT - RIGHT, A4[1] - TOP - BOTTOM
"""What lies within the margins of A4, points."""

_PIXELS_PER_INCH = 160  # of the report's PNGs
_DATA_URI = re.compile(r"data:(image/png|image/svg\+xml);base64,([A-Za-z0-9+/=\s]+)")
_OUTCOMES = {  # colour of the border, of the ground and of the text, and the border's dashes
    "pass": (PASS, None, PASS, ()),
    "fail": (ALARM, ALARM, "#ffffff", ()),
    "undecided": (INK, None, INK, (3, 2)),
    "not-assessed": (SOFT, None, SOFT, (1, 1.5)),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure's image with its natural size in points."""

    content: Drawing | ImageReader
    width: float
    height: float


def read_picture(image: Element) -> Picture:
    """The image of an <img>, which must lie in the page itself as PNG or SVG.

    Raises
    ------
    WriteError
        When it does not, or cannot be read.
    """
    source = image.attributes.get("src", "")
    found = _DATA_URI.fullmatch(source)
    if found is None:
        raise WriteError(f"report.pdf: an image {source[:40]!r} found, expected a PNG or SVG as a data URI.")
    content = base64.b64decode(found[2])
    if found[1] == "image/svg+xml":
        drawing = read_svg(content)
        return Picture(drawing, drawing.width, drawing.height)
    try:
        with Image.open(io.BytesIO(content)) as opened:
            pixels = _on_white(opened)
    except OSError as error:
        raise WriteError(f"report.pdf: a PNG of the report cannot be read ({error}).") from None
    points = 72 / _PIXELS_PER_INCH
    return Picture(ImageReader(pixels), points * pixels.width, points * pixels.height)


def _on_white(image: Image.Image) -> Image.Image:
    """Without transparency, as on paper."""
    if image.mode == "RGB":
        return image.copy()
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(ground, rgba).convert("RGB")


class PictureFlowable(Flowable):  # type: ignore[misc]
    """A figure's image, as wide as wanted but not higher than a page."""

    def __init__(self, picture: Picture, width: float, highest: float, *, framed: bool) -> None:
        super().__init__()
        scale = min(width / picture.width, highest / picture.height)
        self.picture, self.framed = picture, framed
        self.width, self.height = scale * picture.width, scale * picture.height

    def wrap(self, _available_width: float, _available_height: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        content = self.picture.content
        if isinstance(content, Drawing):
            content.draw(self.canv, 0, 0, self.width)
        else:
            self.canv.drawImage(content, 0, 0, self.width, self.height)
        if self.framed:
            self.canv.setStrokeColor(HexColor(RULE))
            self.canv.setLineWidth(0.5)
            self.canv.rect(0, 0, self.width, self.height)


class Outcome(Flowable):  # type: ignore[misc]
    """A verdict's outcome: its mark and its word in a box that can be told without colours."""

    _MARK = 8.5

    def __init__(self, element: Element, size: float) -> None:
        super().__init__()
        names = element.classes & _OUTCOMES.keys()
        mark = element.first("svg")
        if len(names) != 1 or mark is None:
            raise WriteError(
                f"report.pdf: an outcome of class {element.attributes.get('class')!r} found, expected one of "
                f"{', '.join(sorted(_OUTCOMES))} with its mark."
            )
        self.name = min(names)
        self.style = TextStyle(size, bold=True)
        self.words = element.text.strip()
        self.mark = read_svg(svg_text(mark))
        self.width = text_width(self.words, self.style) + self._MARK + 12
        self.height = size + 6.5

    def wrap(self, _available_width: float, _available_height: float) -> tuple[float, float]:
        return self.width, self.height + 2

    def draw(self) -> None:
        border, ground, ink, dashes = _OUTCOMES[self.name]
        canvas = self.canv
        canvas.setStrokeColor(HexColor(border))
        canvas.setLineWidth(1.2)
        canvas.setDash(list(dashes))
        canvas.setFillColor(HexColor(ground or "#ffffff"))
        canvas.rect(0.6, 1, self.width - 1.2, self.height - 1, fill=1)
        canvas.setDash([])
        self.mark.draw(canvas, 4, (self.height - self._MARK) / 2 + 0.5, self._MARK, colour=ink)
        canvas.setFillColor(HexColor(ink))
        canvas.setFont(self.style.font, self.style.size)
        canvas.drawString(self._MARK + 7.5, self.height / 2 + 0.5 - 0.36 * self.style.size, self.words)


class LegendRow(Flowable):  # type: ignore[misc]
    """Entries of a legend side by side, each with its mark."""

    GAP, BETWEEN = 4.5, 13.0

    def __init__(self, entries: list[tuple[Drawing | None, Paragraph, float]]) -> None:
        super().__init__()
        self.entries = entries

    def wrap(self, available_width: float, _available_height: float) -> tuple[float, float]:
        self.heights = [paragraph.wrap(width, 1e6)[1] for _, paragraph, width in self.entries]
        self.height = max(self.heights) + 2.5
        return available_width, self.height

    def draw(self) -> None:
        x = 0.0
        for (mark, paragraph, width), height in zip(self.entries, self.heights, strict=True):
            top = self.height - 1
            if mark is not None:
                mark.draw(self.canv, x, top - mark.height - 1.0, mark.width)
                x += mark.width + self.GAP
            paragraph.drawOn(self.canv, x, top - height)
            x += width + self.BETWEEN


class Heading(Flowable):  # type: ignore[misc]
    """A heading with its place in the PDF's outline, and a rule below it where it starts a section."""

    _SIZES = {1: 17.0, 2: 13.0, 3: 10.5, 4: 9.0}  # noqa: RUF012 - a table that nothing changes
    _ABOVE = {1: 0.0, 2: 16.0, 3: 9.0, 4: 7.0}  # noqa: RUF012

    def __init__(self, paragraph: Paragraph, text: str, level: int, key: str, outline_level: int) -> None:
        super().__init__()
        self.paragraph, self.text, self.level = paragraph, text, level
        self.key, self.outline_level = key, outline_level
        self.spaceBefore, self.spaceAfter = self._ABOVE[level], 5.0 if level == 2 else 3.5

    @classmethod
    def style(cls, level: int) -> TextStyle:
        return TextStyle(cls._SIZES[level], bold=True, colour=ACCENT if level == 2 else INK)

    def wrap(self, available_width: float, available_height: float) -> tuple[float, float]:
        self.width = available_width
        self.text_height = self.paragraph.wrap(available_width, available_height)[1]
        self.height = self.text_height + (3 if self.level == 2 else 0)
        return available_width, self.height

    def draw(self) -> None:
        self.paragraph.drawOn(self.canv, 0, self.height - self.text_height)
        if self.level == 2:
            self.canv.setStrokeColor(HexColor(ACCENT))
            self.canv.setLineWidth(1.2)
            self.canv.line(0, 0, self.width, 0)
        self.canv.bookmarkHorizontal(self.key, 0, self.height + 4)
        self.canv.addOutlineEntry(self.text, self.key, self.outline_level, closed=self.outline_level > 0)


class PageTable(Table):  # type: ignore[misc]
    """A table whose rows are parted only where one alone is higher than a page.

    Attributes
    ----------
    groups : first row and last of each group of rows that belong together, in the whole table
    """

    PAGE_HEIGHT = 0.97 * FRAME_HEIGHT
    groups: tuple[tuple[int, int], ...] = ()

    @property
    def least_height(self) -> float:
        """Points of the rows that are repeated and the first that follow them; known once it was wrapped."""
        first = self.repeatRows
        last = max((last for start, last in self.groups if start == first), default=first)
        return float(sum(self._rowHeights[: last + 1]))

    def split(self, available_width: float, available_height: float) -> list[Any]:
        self._calc(available_width, available_height)
        self.splitInRow = 0
        parts = super().split(available_width, available_height)
        if not parts and self.least_height > self.PAGE_HEIGHT:
            self.splitInRow = 1
            parts = super().split(available_width, available_height)
        for part in parts[1:]:
            done = len(self._rowHeights) - len(part._rowHeights)
            part.groups = tuple((first - done, last - done) for first, last in self.groups if first - done >= 0)
        return list(parts)


def svg_text(element: Element) -> str:
    """An <svg> of the page as a document of its own."""
    return _markup(Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **element.attributes}, element.children))


# HTML is read without regard to case; SVG is not.
_CASED = {"viewbox": "viewBox", "clippath": "clipPath"}


def _markup(element: Element) -> str:
    attributes = "".join(
        f' {_CASED.get(name, name)}="{value.replace("&", "&amp;").replace("<", "&lt;").replace(chr(34), "&quot;")}"'
        for name, value in element.attributes.items()
    )
    tag = _CASED.get(element.tag, element.tag)
    inner = "".join(_markup(child) for child in element.elements)
    return f"<{tag}{attributes}>{inner}</{tag}>"
