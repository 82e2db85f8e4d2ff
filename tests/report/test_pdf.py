"""report.pdf: what report.html says, all of it, on pages that can be printed, signed and filed."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from made_results import Written
from pypdf import PageObject, PdfReader

from gatecheck.config import ReportConfig
from gatecheck.errors import WriteError
from gatecheck.layout import CaseLayout
from gatecheck.report import html as html_of_report
from gatecheck.report.html import MAXIMUM_BYTES, write_report
from gatecheck.report.pdf import NOT_CLINICAL, Running, pdf_of
from gatecheck.report.pdf_elements import Element, read_body
from gatecheck.report.pdf_parts import BOTTOM, FRAME_HEIGHT, FRAME_WIDTH, LEFT, RIGHT, TOP, PageTable
from gatecheck.report.pdf_text import SMALLEST

RUNNING = Running("Second check", "case-07", "gatecheck 9.9", is_clinical=True)
A4 = (595.3, 841.9)

# Classes that the templates use and the PDF's layout has been looked at with: a new one is to be looked at, too.
CLASSES_SEEN = {
    *("banner", "block", "cards", "charts", "facts", "fail", "finding"),
    *("glance", "group", "key", "legend", "mono", "not-assessed", "notes"),
    *("number", "one", "outcome", "outcomes", "pass", "planes", "quiet", "quote", "rates", "remarks"),
    *("screen-only", "signature", "statement", "tall", "ticks", "title", "undecided", "verdicts", "warnings"),
}


def page(content: str, head: str = "") -> str:
    return f"<!DOCTYPE html><html><head><title>t</title>{head}</head><body>{content}</body></html>"


def read(content: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(content), strict=True)


def made(content: str, running: Running = RUNNING) -> PdfReader:
    return read(pdf_of(page(content), running))


def squeezed(text: str) -> str:
    """Without white space: where a PDF breaks a line is its own matter."""
    return re.sub(r"[\s\u200b]+", "", text)


def text_of(reader: PdfReader) -> str:
    """What stands in the frames of all pages, without the running lines."""
    return squeezed("".join(page_text(reader, number) for number in range(len(reader.pages))))


def page_text(reader: PdfReader, number: int) -> str:
    """What stands in the frame of one page."""
    kept: list[str] = []

    def visit(text: str, _user: list[float], matrix: list[float], *_: object) -> None:
        if 50 < placed(_user, matrix)[1] < A4[1] - 58:
            kept.append(text)

    reader.pages[number].extract_text(visitor_text=visit)
    return "".join(kept)


def placed(user: list[float], matrix: list[float]) -> tuple[float, float]:
    x, y = matrix[4], matrix[5]
    return user[0] * x + user[2] * y + user[4], user[1] * x + user[3] * y + user[5]


def printed_texts(element: Element) -> Iterator[str]:
    """The smallest parts of a page that hold text, in their order."""
    for child in element.children:
        if isinstance(child, str):
            if child.strip():
                yield child
        elif child.tag != "svg":
            yield from printed_texts(child)


def pdf_path(written: Written) -> Path:
    return written.made.layout.report / "report.pdf"


@pytest.fixture(scope="session", params=["with_tps", "clinical", "without_tps"])
def written(request: pytest.FixtureRequest) -> Written:
    found: Written = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def reader(written: Written) -> PdfReader:
    return PdfReader(pdf_path(written), strict=True)


@pytest.fixture(scope="session")
def everything(reader: PdfReader) -> str:
    return text_of(reader)


def test_every_text_of_the_page_stands_in_the_pdf_as_often_as_there(written: Written, everything: str) -> None:
    texts = [squeezed(text) for text in printed_texts(read_body(written.html))]
    assert len(texts) > 300
    for text in set(texts):
        assert everything.count(text) >= texts.count(text), text


def test_texts_follow_each_other_as_on_the_page(written: Written, everything: str) -> None:
    position = 0
    headings = [one for one in read_body(written.html).walk() if one.tag in {"h1", "h2", "h3", "h4"}]
    for heading in headings:
        position = everything.index(squeezed(heading.text), position) + 1


def test_every_warning_is_there_whole(written: Written, everything: str) -> None:
    assert squeezed(f"Warnings ({len(written.summary.warnings)})") in everything
    for warning in written.summary.warnings:
        assert squeezed(warning.message) in everything


def images_drawn(page: PageObject) -> int:
    """How often images are drawn on a page: of equal ones the file holds one."""
    contents = page.get_contents()
    assert contents is not None
    objects = page["/Resources"].get("/XObject", {})  # type: ignore[union-attr]
    images = {name for name, one in objects.items() if one.get_object()["/Subtype"] == "/Image"}
    return sum(name.decode() in images for name in re.findall(rb"(/\S+) Do", contents.get_data()))


def test_every_image_is_placed(written: Written, reader: PdfReader) -> None:
    pixels = sum(map(images_drawn, reader.pages))
    assert pixels == written.html.count('<img src="data:image/png')
    assert pixels >= 6


def test_every_page_says_whose_and_which_it_is(written: Written, reader: PdfReader) -> None:
    count = len(reader.pages)
    for number, one in enumerate(reader.pages, 1):
        text = one.extract_text()
        assert f"Page {number} of" in text
        assert re.search(rf"^{count}$|of\s+{count}\b", text, re.MULTILINE)
        assert written.summary.case_id in text
        assert f"gatecheck {written.summary.gatecheck}" in text
        assert (NOT_CLINICAL in text) is not written.summary.clinical


def test_pages_are_a4_and_no_ink_lies_beyond_their_margins(written: Written) -> None:
    for drawn in pypdfium2.PdfDocument(pdf_path(written)):
        assert drawn.get_size() == pytest.approx(A4, abs=0.1)
        ink = np.argwhere(drawn.render(grayscale=True).to_numpy().squeeze() < 250)
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
        assert left >= LEFT - 3
        assert right <= A4[0] - RIGHT + 3
        assert top >= 14
        assert bottom <= A4[1] - 25
        inside = ink[(ink[:, 0] > TOP + 3) & (ink[:, 0] < A4[1] - BOTTOM - 1)]
        assert len(inside) > 200  # no page but for its running lines


def test_no_text_is_smaller_than_can_be_read(reader: PdfReader) -> None:
    sizes: list[float] = []

    def visit(text: str, *place: Any) -> None:
        if text.strip():
            sizes.append(place[-1])

    for one in reader.pages:
        one.extract_text(visitor_text=visit)
    assert len(sizes) > 300
    assert min(sizes) > SMALLEST - 0.01


def test_the_outline_has_every_heading(written: Written, reader: PdfReader) -> None:
    def titles(outline: list[object]) -> list[str]:
        flat: list[str] = []
        for one in outline:
            flat += titles(one) if isinstance(one, list) else [one["/Title"]]  # type: ignore[index]
        return flat

    headings = [one for one in read_body(written.html).walk() if one.tag in {"h1", "h2", "h3", "h4"}]
    assert titles(reader.outline) == [" ".join(one.text.split()) for one in headings]


def test_outline_entries_lead_to_their_pages(reader: PdfReader) -> None:
    numbers = [reader.get_destination_page_number(one) for one in reader.outline if not isinstance(one, list)]
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0]


def test_it_tells_its_language_and_title_and_neither_author_nor_date(written: Written, reader: PdfReader) -> None:
    assert reader.root_object["/Lang"] == "en"
    assert reader.metadata is not None
    assert set(reader.metadata) == {"/Title", "/Producer", "/Creator"}
    assert written.summary.case_id in str(reader.metadata.title)
    assert not re.search(rb"D:\d{8}", pdf_path(written).read_bytes())


def test_no_identity_reaches_the_pdf(with_tps: Written) -> None:
    everything = "".join(one.extract_text() for one in PdfReader(pdf_path(with_tps)).pages)
    for part in (b"DOE", b"JANE", b"19450101"):
        assert part not in pdf_path(with_tps).read_bytes()
        assert part.decode() not in everything


def test_it_is_the_same_every_time_and_small(with_tps: Written) -> None:
    running = Running(
        ReportConfig().title, with_tps.summary.case_id, f"gatecheck {with_tps.summary.gatecheck}", is_clinical=False
    )
    assert pdf_of(with_tps.html, running) == pdf_path(with_tps).read_bytes()
    assert pdf_path(with_tps).stat().st_size < MAXIMUM_BYTES


def test_every_class_of_the_report_has_been_looked_at_on_paper(written: Written) -> None:
    classes = {name for one in read_body(written.html).walk() for name in one.classes}
    assert classes <= CLASSES_SEEN


def test_nothing_is_written_where_the_pdf_cannot_be_made(
    without_tps: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "case"
    shutil.copytree(without_tps.made.layout.folder, folder, ignore=shutil.ignore_patterns("report"))
    monkeypatch.setattr(html_of_report, "render", lambda *_, **__: page("<marquee>new</marquee>"))
    layout = CaseLayout(folder)
    with pytest.raises(WriteError, match="<marquee>"):
        write_report(folder, without_tps.made.calibration, ReportConfig())
    assert not layout.report.exists() or not list(layout.report.iterdir())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("<section><details><summary>Warnings</summary></details></section>", "<details>"),
        ("<p>text <button>press</button></p>", "<button>"),
        ("<table><tbody><tr><td><canvas></canvas></td></tr></tbody></table>", "<canvas>"),
        ("<ul><p>no item</p></ul>", "<p>"),
        ("<dl><dd>no term</dd></dl>", "<dd>"),
        ("<p><svg viewBox='0 0 9 9'></svg> in a line</p>", "<svg>"),
        ('<figure><img src="https://example.org/a.png" alt="far"></figure>', "an image 'https"),
        ('<figure><img src="data:image/png;base64,AAAA" alt="broken"></figure>', "PNG of the report cannot be read"),
        ("<p>not closed", "<body>|</body> found"),
        ("<div><p>crossed</div></p>", "do not nest"),
    ],
)
def test_what_it_does_not_know_is_refused_and_not_left_out(content: str, named: str) -> None:
    with pytest.raises(WriteError, match=named):
        made(content)


def test_what_works_on_screens_alone_is_replaced_by_a_line_that_says_so() -> None:
    reader = made(
        '<section class="screen-only"><h2>Slice viewer</h2><canvas></canvas><button>next</button>'
        "<script>draw()</script></section><p>after</p>"
    )
    text = reader.pages[0].extract_text()
    assert "Slice viewer" in text
    assert "An interactive viewer stands here in report.html; it cannot be printed." in text
    assert "next" not in text
    assert "draw()" not in text
    assert "after" in text


def test_a_list_of_warnings_of_several_pages_is_printed_whole() -> None:
    words = [f"warning {number}: {'what was found, and what was expected; ' * 4}end {number}." for number in range(60)]
    items = "".join(f"<li><b>compare</b> · code-{number}<br>{word}</li>" for number, word in enumerate(words))
    reader = made(f'<h2>Warnings (60)</h2><ul class="warnings">{items}</ul>')
    assert len(reader.pages) >= 3
    everything = text_of(reader)
    for word in words:
        assert squeezed(word) in everything


def test_a_warning_longer_than_a_page_goes_on_on_the_next() -> None:
    long = " ".join(f"word{number}" for number in range(3000))
    reader = made(f'<ul class="warnings"><li><b>case</b><br>{long}</li></ul>')
    assert len(reader.pages) >= 3
    assert squeezed(long) in text_of(reader)


def table(rows: int, columns: int, cell: str) -> str:
    head = "".join(f'<th scope="col" class="number">Column {column}<small>Gy</small></th>' for column in range(columns))
    body = "".join(
        f'<tr><th scope="row">Row {row}</th>' + f'<td class="number">{cell}</td>' * columns + "</tr>"
        for row in range(rows)
    )
    return (
        f'<table><caption>A caption</caption><thead><tr><th scope="col">Name</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def test_a_long_table_repeats_its_head_on_every_page() -> None:
    reader = made(table(120, 3, "1.23"))
    assert len(reader.pages) >= 3
    assert all("Column 2" in one.extract_text() for one in reader.pages)
    assert text_of(reader).count("1.23") == 360


def test_a_table_too_wide_for_a_page_is_shared_out_with_its_rows_named_in_each_part() -> None:
    reader = made(table(3, 24, "12.34\u00a0±\u00a00.56"))
    text = text_of(reader)
    assert text.count("12.34±0.56") == 72
    assert text.count("Row1") >= 3
    for column in range(24):
        assert f"Column{column}" in text


def test_a_row_higher_than_a_page_goes_on_on_the_next() -> None:
    long = " ".join(f"word{number}" for number in range(2500))
    head = "<thead><tr><th>Head</th><th>More</th></tr></thead>"
    reader = made(f"<table>{head}<tr><td>short</td><td>{long}</td></tr></table>")
    assert len(reader.pages) >= 2
    assert text_of(reader).replace("HeadMore", "").endswith(squeezed(long))


def test_a_row_that_fits_a_page_is_not_parted() -> None:
    filler = "<p>line</p>" * 30
    tall = "<br>".join(f"part {number}" for number in range(30))
    reader = made(f"{filler}<table><tr><td>first</td><td>row</td></tr><tr><td>tall</td><td>{tall}</td></tr></table>")
    with_part_0 = next(one for one in reader.pages if "part 0" in one.extract_text())
    assert "part 29" in with_part_0.extract_text()


def test_rows_that_share_a_cell_stay_on_one_page() -> None:
    groups = "".join(
        f'<tbody class="group"><tr><th rowspan="2">Organ {number}</th><td>MC {number}</td></tr>'
        f"<tr><td>TPS {number}</td></tr></tbody>"
        for number in range(70)
    )
    reader = made(f"<table><thead><tr><th>Structure</th><th>Dose</th></tr></thead>{groups}</table>")
    assert len(reader.pages) >= 2
    texts = [one.extract_text() for one in reader.pages]
    for number in range(70):
        holding = [re.search(rf"\b(MC|TPS|Organ) {number}\b", text) is not None for text in texts]
        assert sum(holding) == 1


@pytest.mark.parametrize("lines", range(36, 56))
def test_a_heading_stands_on_the_page_of_what_it_heads(lines: int) -> None:
    reader = made("<p>filler</p>" * lines + "<h2>Heading</h2><h3>Below it</h3>" + table(4, 2, "7.89"))
    pages = [one.extract_text() for one in reader.pages]
    with_heading = next(text for text in pages if "Heading" in text)
    for part in ("Below it", "A caption", "Column 1", "Row 0"):
        assert part in with_heading


SYMBOLS = (
    "\N{GREEK SMALL LETTER SIGMA} ± \N{MINUS SIGN} \N{MULTIPLICATION SIGN} · ≥ ≤ ² ³ ⁸ \N{GREEK SMALL LETTER ALPHA} β "
    "χ ° → “ ” … \N{EN DASH} µ Δ √ é ß Ł Ж"
)


def test_symbols_of_the_field_are_printed_as_they_are() -> None:
    text = made(f"<p>{SYMBOLS}</p><p><b>{SYMBOLS}</b></p><h2>{SYMBOLS}</h2>").pages[0].extract_text()
    for symbol in SYMBOLS.split():
        assert text.count(symbol) >= 3
    assert "[U+" not in text


def test_numbers_with_their_units_are_not_broken_at_narrow_spaces() -> None:
    text = made("<p>" + "1\u202f234\u202f567\u202fGy " * 60 + "</p>").pages[0].extract_text()
    assert len(re.findall(r"1[\u00a0 ]234[\u00a0 ]567[\u00a0 ]Gy", text)) == 60


@pytest.mark.parametrize("name", ["脊髄", "נפח", "حبل", "🧠", "a\u202eb"])
def test_a_name_that_the_font_lacks_is_printed_by_numbers_and_said(name: str) -> None:
    reader = made(f"<header><h1>Title</h1></header><p>before {name} after</p>", Running(name, name, "gatecheck", True))
    text = squeezed(text_of(reader))
    number = f"[U+{max(ord(character) for character in name):04X}]"
    assert text.count(number) == 2
    assert "CharactersthatthefontofthisPDFlacks" in text
    assert number in reader.pages[0].extract_text().replace(page_text(reader, 0), "")


def test_a_composed_name_is_printed_as_it_is() -> None:
    assert "Rückenmark" in made("<p>Ru\u0308ckenmark</p>").pages[0].extract_text()


def test_a_signature_block_leaves_room_to_write() -> None:
    block = (
        '<section class="signature"><h2>Signed</h2><table><tr><th>Name</th><th>Date</th></tr>'
        "<tr><td></td><td></td></tr></table><dl><div><dt>Role</dt><dd></dd></div></dl></section><p>after</p>"
    )
    height: dict[str, float] = {}

    def visit(text: str, user: list[float], matrix: list[float], *_: object) -> None:
        if text.strip():
            height[text.strip()] = placed(user, matrix)[1]

    made(block).pages[0].extract_text(visitor_text=visit)
    assert height["Name"] - height["Role"] > 30
    assert height["Role"] - height["after"] > 20


def test_a_table_knows_its_least_height_and_its_groups_after_it_was_parted() -> None:
    rows = [[f"row {number}"] for number in range(100)]
    whole = PageTable(rows, repeatRows=1)
    whole.groups = ((1, 2), (90, 91))
    whole.wrap(FRAME_WIDTH, FRAME_HEIGHT)
    assert whole.least_height == pytest.approx(3 * 18)
    parts = whole.split(FRAME_WIDTH, 10 * 18 + 1)
    assert len(parts) == 2
    parts[1].wrap(FRAME_WIDTH, FRAME_HEIGHT)
    assert parts[1].groups == ((81, 82),)
    assert parts[1]._cellvalues[81] == ["row 90"]
