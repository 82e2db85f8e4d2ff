"""report/report.pdf: the report's own HTML on paper, so that the two can never say different things."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfdoc import PDFDictionary, PDFInfo, PDFString
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate
from reportlab.platypus.doctemplate import LayoutError

from gatecheck.errors import WriteError
from gatecheck.report.pdf_elements import Element, read_body
from gatecheck.report.pdf_layout import Layout
from gatecheck.report.pdf_parts import BOTTOM, FRAME_HEIGHT, FRAME_WIDTH, LEFT, RIGHT
from gatecheck.report.pdf_text import ALARM, RULE, SOFT, Replacements, TextStyle, text_width

NOT_CLINICAL = "Not for clinical use"
_PAGES = "pages"  # the form that holds the number of all pages, which only the end of writing knows
_RUNNING = TextStyle(7.5, colour=SOFT)
_STAMP = TextStyle(9, bold=True, colour=ALARM)


@dataclass(frozen=True, slots=True)
class Running:
    """What stands on every page.

    Attributes
    ----------
    title : of the report
    case_id : the case's pseudonym, and what else tells it from others
    made_by : program and version
    is_clinical : False puts "Not for clinical use" on every page
    """

    title: str
    case_id: str
    made_by: str
    is_clinical: bool


def pdf_of(html: str, running: Running) -> bytes:
    """The report's HTML as a PDF on A4, the same bytes every time.

    Raises
    ------
    WriteError
        When the HTML holds an element, an image or a drawing that this writer does not know, or a part of it does not
        fit a page: nothing is ever left out.
    """
    body = read_body(html)
    layout = Layout()
    blocks = layout.pages(body)
    if layout.replaced.characters:
        body = _with_note(body, layout.replaced)
        layout = Layout()
        blocks = layout.pages(body)
    _check_images(body, layout)
    buffer = io.BytesIO()
    with _plain_streams():
        document = _Document(buffer, running)
        try:
            document.build(blocks, canvasmaker=_Canvas)
        except LayoutError as error:
            raise WriteError(
                f"report.pdf: a part of the report does not fit a page ({str(error).splitlines()[0][:200]})."
            ) from None
    return buffer.getvalue()


def _check_images(body: Element, layout: Layout) -> None:
    expected = sum(one.tag == "img" for one in body.walk())
    if layout.pictures != expected:
        raise WriteError(f"report.pdf: {layout.pictures} images placed, the report holds {expected}.")


def _with_note(body: Element, replaced: Replacements) -> Element:
    """The body with a sentence, before all else but its header, that says why characters are given by numbers."""
    numbers = ", ".join(f"[U+{ord(character):04X}]" for character in sorted(replaced.characters))
    note = Element(
        "p",
        {"class": "statement"},
        [
            "Characters that the font of this PDF lacks, or that are not written from left to right, are given by "
            f"their Unicode numbers; report.html shows them as they are: {numbers}."
        ],
    )
    position = 1 + next(
        (number for number, child in enumerate(body.children) if isinstance(child, Element) and child.tag == "header"),
        -1,
    )
    return Element("body", body.attributes, [*body.children[:position], note, *body.children[position:]])


@contextlib.contextmanager
def _plain_streams() -> Iterator[None]:
    """Without reportlab's default of writing compressed bytes as text, a quarter larger."""
    before = rl_config.useA85
    rl_config.useA85 = 0
    try:
        yield
    finally:
        rl_config.useA85 = before


class _Info(PDFInfo):  # type: ignore[misc]
    """Title and program; no author, and no date, which reportlab would invent where bytes are to be the same."""

    def format(self, document: Any) -> Any:
        entries = {name: PDFString(getattr(self, name.lower())) for name in ("Title", "Producer", "Creator")}
        return PDFDictionary(entries).format(document)


class _Document(BaseDocTemplate):  # type: ignore[misc]
    def __init__(self, buffer: io.BytesIO, running: Running) -> None:
        title = f"{running.title} · {running.case_id}"
        super().__init__(buffer, pagesize=A4, lang="en", title=title, creator=running.made_by)
        frame = Frame(
            LEFT,
            BOTTOM,
            FRAME_WIDTH,
            FRAME_HEIGHT,
            leftPadding=0,
            rightPadding=0,
            topPadding=0,
            bottomPadding=0,
        )

        def draw(canvas: Canvas, _document: Any) -> None:
            _draw_running(canvas, running)

        self.addPageTemplates(PageTemplate("page", [frame], onPage=draw))


class _Canvas(Canvas):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings | {"invariant": 1, "pageCompression": 1})
        self._doc.info = _Info()
        self.setViewerPreference("DisplayDocTitle", "true")
        self.showOutline()

    def save(self) -> None:
        self.beginForm(_PAGES, 0, -4, 60, 12)
        self.setFont(_RUNNING.font, _RUNNING.size)
        self.setFillColor(HexColor(_RUNNING.colour))
        self.drawString(0, 0, str(self.getPageNumber() - 1))
        self.endForm()
        super().save()


def _draw_running(canvas: Canvas, running: Running) -> None:
    settable = Replacements().settable
    left, right = LEFT, A4[0] - RIGHT
    head, foot = A4[1] - 14 * mm, 11 * mm
    canvas.saveState()
    canvas.setStrokeColor(HexColor(RULE))
    canvas.setLineWidth(0.6)
    canvas.line(left, head - 5, right, head - 5)
    canvas.line(left, foot + 11, right, foot + 11)
    whose = settable(f"{running.case_id} · {running.made_by}", _RUNNING.font)
    whose = _fitted(whose, 0.7 * (right - left), _RUNNING)
    title = settable(running.title, _RUNNING.font)
    room = right - left - text_width(whose, _RUNNING) - 12
    _write(canvas, left, head, _fitted(title, room, _RUNNING), _RUNNING)
    _write(canvas, right - text_width(whose, _RUNNING), head, whose, _RUNNING)
    if not running.is_clinical:
        _write(canvas, (left + right - text_width(NOT_CLINICAL, _STAMP)) / 2, head + 12, NOT_CLINICAL, _STAMP)
        _write(canvas, left, foot, NOT_CLINICAL, _STAMP)
    page = f"Page {canvas.getPageNumber()} of "
    number_at = right - text_width("000", _RUNNING)
    _write(canvas, number_at - text_width(page, _RUNNING), foot, page, _RUNNING)
    canvas.translate(number_at, foot)
    canvas.doForm(_PAGES)
    canvas.restoreState()


def _write(canvas: Canvas, x: float, y: float, text: str, style: TextStyle) -> None:
    canvas.setFont(style.font, style.size)
    canvas.setFillColor(HexColor(style.colour))
    canvas.drawString(x, y, text)


def _fitted(text: str, width: float, style: TextStyle) -> str:
    """A text that is too long ends in "…"; the first page has all of it."""
    if text_width(text, style) <= width:
        return text
    while text and text_width(text + "…", style) > width:
        text = text[:-1]
    return text + "…"
