"""The report's own HTML as a tree, for a writer that must not leave out any of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from gatecheck.errors import WriteError

VOID = frozenset({"meta", "img", "br", "source", "hr", "link", "input", "col"})
NOT_PRINTED = frozenset({"head", "script", "style", "template"})
"""Tags whose content no reader of a page sees."""

SCREEN_ONLY = "screen-only"
"""Class of what works on a screen alone; a print says in its place where it is."""

SCREEN_ONLY_NOTE = "An interactive viewer stands here in report.html; it cannot be printed."


@dataclass(slots=True)
class Element:
    """One element of a page: its tag, attributes and what it holds, elements and texts in their order."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    @property
    def classes(self) -> frozenset[str]:
        return frozenset(self.attributes.get("class", "").split())

    @property
    def elements(self) -> list[Element]:
        return [child for child in self.children if isinstance(child, Element)]

    @property
    def is_empty(self) -> bool:
        """Whether it shows nothing at all."""
        return not self.text.strip() and not any(one.tag in {"img", "svg"} for one in self.walk())

    @property
    def text(self) -> str:
        """All texts in it, one after another."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def walk(self) -> Iterator[Element]:
        """Itself and all elements in it, in the order of the page."""
        yield self
        for child in self.elements:
            yield from child.walk()

    def first(self, tag: str) -> Element | None:
        return next((one for one in self.walk() if one.tag == tag), None)

    def number(self, name: str, default: int) -> int:
        """An attribute that is a whole number, as rowspan."""
        return int(self.attributes.get(name, default))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if len(self.open) == 1 or self.open[-1].tag != tag:
            raise WriteError(
                f"report.html: </{tag}> found where </{self.open[-1].tag}> was expected; no PDF is made from a page "
                "whose elements do not nest."
            )
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read_body(html: str) -> Element:
    """The body of a page, without what no reader sees.

    Raises
    ------
    WriteError
        When elements do not nest or there is no body.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    body = reader.root.first("body")
    if body is None or len(reader.open) != 1:
        raise WriteError("report.html: no whole <body> found; no PDF can be made from it.")
    return _printed(body)


def _printed(element: Element) -> Element:
    kept: list[Element | str] = []
    for child in element.children:
        if isinstance(child, str):
            kept.append(child)
        elif child.tag in NOT_PRINTED:
            continue
        elif SCREEN_ONLY in child.classes:
            kept += _in_place_of(child)
        else:
            kept.append(_printed(child))
    return Element(element.tag, element.attributes, kept)


def _in_place_of(screen_only: Element) -> list[Element | str]:
    """The headings of what works on a screen alone, and where to find it."""
    headings = [one for one in screen_only.walk() if one.tag in {"h2", "h3"}][:1]
    note = Element("p", {"class": "quiet"}, [SCREEN_ONLY_NOTE])
    return [*headings, note]
