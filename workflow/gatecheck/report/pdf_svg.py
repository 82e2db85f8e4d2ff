"""SVG as matplotlib and our templates write it, drawn on a page of a PDF as lines and areas, not as pixels.

Only what those two use is known: groups, paths of straight lines and Bézier curves, rectangles, circles, uses,
rectangular clips. Anything else is refused, so that no part of a figure is missing on paper.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from reportlab.lib.colors import HexColor
from reportlab.pdfgen.canvas import Canvas

from gatecheck.errors import WriteError

Style = dict[str, str]

_HREF = "{http://www.w3.org/1999/xlink}href"
_NOT_DRAWN = frozenset({"metadata", "title", "desc"})
_PRESENTATION = frozenset(
    {
        *("fill", "fill-opacity", "fill-rule", "opacity", "color"),
        *("stroke", "stroke-opacity", "stroke-width", "stroke-dasharray", "stroke-dashoffset"),
        *("stroke-linecap", "stroke-linejoin", "stroke-miterlimit"),
    }
)
_STRUCTURE = frozenset({"id", "class", "style", "transform", "clip-path", "aria-hidden", "role", _HREF})
_ATTRIBUTES = {
    "svg": {"width", "height", "viewBox", "version"},
    "g": set[str](),
    "defs": set[str](),
    "path": {"d"},
    "rect": {"x", "y", "width", "height"},
    "circle": {"cx", "cy", "r"},
    "use": {"x", "y", "href"},
    "clipPath": set[str](),
    "style": {"type"},
}
_CAPS = {"butt": 0, "round": 1, "square": 2}
_JOINS = {"miter": 0, "round": 1, "bevel": 2}
_INITIAL: Style = {"fill": "#000", "stroke": "none", "stroke-width": "1", "color": "#000"}
_PER_UNIT = {"": 0.75, "px": 0.75, "pt": 1.0}
_NAMED = {"black": "#000000", "white": "#ffffff"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_TOKEN = re.compile(rf"[A-Za-z]|{_NUMBER.pattern}")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "Q": 4, "Z": 0}
_KAPPA = 0.5522847498  # of a Bézier curve that is a quarter of a circle


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG drawing.

    Attributes
    ----------
    width, height : float
        Its natural size, points.
    box : (x, y, width, height)
        Its view box, in units of its own.
    """

    root: ElementTree.Element
    width: float
    height: float
    box: tuple[float, float, float, float]
    named: dict[str, ElementTree.Element]
    defaults: Style

    def draw(self, canvas: Canvas, x: float, y: float, width: float, *, colour: str = "#000") -> None:
        """Draw with the lower left corner at (x, y), points, and its height in proportion to a width.

        Raises
        ------
        WriteError
            When it holds something that this writer cannot draw.
        """
        scale = width / self.box[2]
        canvas.saveState()
        canvas.translate(x, y + scale * self.box[3])
        canvas.scale(scale, -scale)
        canvas.translate(-self.box[0], -self.box[1])
        style = _INITIAL | {"color": colour} | self.defaults
        for child in self.root:
            _draw(canvas, child, style, self)
        canvas.restoreState()


def read_svg(text: str | bytes) -> Drawing:
    """Read an SVG.

    Raises
    ------
    WriteError
        When it is not XML, not an SVG or has no size.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise WriteError(f"report.pdf: a drawing of the report is not valid SVG ({error}).") from None
    if _tag(root) != "svg" or "viewBox" not in root.attrib:
        raise WriteError("report.pdf: a drawing of the report is no <svg> with a viewBox.")
    x, y, width, height = _numbers(root.attrib["viewBox"])
    return Drawing(
        root,
        _length(root.get("width"), width),
        _length(root.get("height"), height),
        (x, y, width, height),
        {one.attrib["id"]: one for one in root.iter() if "id" in one.attrib},
        _default_style(root),
    )


def _length(text: str | None, default: float) -> float:
    found = re.fullmatch(rf"({_NUMBER.pattern})(px|pt)?", text or "")
    if found is None:
        return 0.75 * default
    return float(found[1]) * _PER_UNIT[found[2] or ""]


def _default_style(root: ElementTree.Element) -> Style:
    """What a style sheet of matplotlib says of every element; another sheet is refused."""
    styles: Style = {}
    for one in root.iter():
        if _tag(one) == "style":
            found = re.fullmatch(r"\s*\*\s*\{([^{}]*)\}\s*", one.text or "")
            if found is None:
                raise _unknown(f"the style sheet {one.text!r}")
            styles |= _declarations(found[1])
    return styles


def _draw(canvas: Canvas, element: ElementTree.Element, inherited: Style, drawing: Drawing) -> None:
    tag = _tag(element)
    if tag in _NOT_DRAWN or tag in {"defs", "style", "clipPath"}:
        return
    if tag not in _ATTRIBUTES or tag == "svg":
        raise _unknown(f"<{tag}>")
    style = inherited | _style_of(element, tag)
    canvas.saveState()
    _transform(canvas, element.get("transform", ""))
    _clip(canvas, element, drawing)
    if tag == "g":
        for child in element:
            _draw(canvas, child, style, drawing)
    elif tag == "use":
        canvas.translate(float(element.get("x", "0")), float(element.get("y", "0")))
        _draw(canvas, _referred(element.get(_HREF, element.get("href", "")), drawing), style, drawing)
    else:
        _paint(canvas, _outline(element, tag), style)
    canvas.restoreState()


def _style_of(element: ElementTree.Element, tag: str) -> Style:
    unknown = set(element.attrib) - _PRESENTATION - _STRUCTURE - _ATTRIBUTES[tag]
    if unknown:
        raise _unknown(f"<{tag} {min(unknown)}=...>")
    presentation = {name: value for name, value in element.attrib.items() if name in _PRESENTATION}
    return presentation | _declarations(element.get("style", ""))


def _declarations(text: str) -> Style:
    pairs = [one.split(":", 1) for one in text.split(";") if one.strip()]
    style = {name.strip(): value.strip() for name, value in pairs}
    unknown = set(style) - _PRESENTATION
    if unknown:
        raise _unknown(f"the style {min(unknown)}")
    return style


def _referred(reference: str, drawing: Drawing) -> ElementTree.Element:
    found = drawing.named.get(reference.removeprefix("#"))
    if found is None:
        raise _unknown(f"a reference to {reference!r}, which is not there")
    return found


def _clip(canvas: Canvas, element: ElementTree.Element, drawing: Drawing) -> None:
    reference = element.get("clip-path")
    if reference is None:
        return
    shape = _referred(reference.removeprefix("url(").removesuffix(")"), drawing)
    path = canvas.beginPath()
    for child in shape:
        _append(path, _outline(child, _tag(child)))
    canvas.clipPath(path, stroke=0, fill=0)


def _transform(canvas: Canvas, text: str) -> None:
    for name, arguments in re.findall(r"(\w+)\(([^)]*)\)", text):
        values = _numbers(arguments)
        if name == "translate":
            canvas.translate(values[0], values[1] if len(values) > 1 else 0)
        elif name == "scale":
            canvas.scale(values[0], values[-1])
        elif name == "rotate" and len(values) == 1:
            canvas.rotate(values[0])
        elif name == "matrix":
            canvas.transform(*values)
        else:
            raise _unknown(f"the transform {name}({arguments})")


Step = tuple[str, tuple[float, ...]]


def _outline(element: ElementTree.Element, tag: str) -> tuple[Step, ...]:
    """A shape as absolute moves (M), lines (L), cubic curves (C) and closings (Z)."""

    def value(name: str) -> float:
        return float(element.get(name, "0"))

    if tag == "path":
        return _path(element.get("d", ""))
    if tag == "rect":
        x, y, width, height = value("x"), value("y"), value("width"), value("height")
        corners = ((x + width, y), (x + width, y + height), (x, y + height))
        return (("M", (x, y)), *(("L", corner) for corner in corners), ("Z", ()))
    if tag == "circle":
        x, y, r = value("cx"), value("cy"), value("r")
        k = _KAPPA * r
        return (
            ("M", (x + r, y)),
            ("C", (x + r, y + k, x + k, y + r, x, y + r)),
            ("C", (x - k, y + r, x - r, y + k, x - r, y)),
            ("C", (x - r, y - k, x - k, y - r, x, y - r)),
            ("C", (x + k, y - r, x + r, y - k, x + r, y)),
            ("Z", ()),
        )
    raise _unknown(f"<{tag}> as a shape")


@functools.lru_cache(maxsize=2000)
def _path(text: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    at = start = (0.0, 0.0)
    for command, values in _commands(text):
        kind = command.upper()
        if kind == "Z":
            steps.append(("Z", ()))
            at = start
            continue
        points = _absolute(kind, values, at if command.islower() else None, at)
        if kind == "Q":
            (x, y), (cx, cy), (ex, ey) = at, points[0], points[1]
            points = [((x + 2 * cx) / 3, (y + 2 * cy) / 3), ((ex + 2 * cx) / 3, (ey + 2 * cy) / 3), (ex, ey)]
        at = points[-1]
        if kind == "M":
            start = at
        name = {"M": "M", "C": "C", "Q": "C"}.get(kind, "L")
        steps.append((name, tuple(value for point in points for value in point)))
    return tuple(steps)


def _absolute(
    kind: str, values: list[float], relative_to: tuple[float, float] | None, at: tuple[float, float]
) -> list[tuple[float, float]]:
    x, y = relative_to or (0.0, 0.0)
    if kind == "H":
        return [(x + values[0], at[1])]
    if kind == "V":
        return [(at[0], y + values[0])]
    return [(x + across, y + down) for across, down in zip(values[::2], values[1::2], strict=True)]


def _commands(text: str) -> Iterator[tuple[str, list[float]]]:
    """Commands with their numbers; numbers beyond a command's own repeat it, a move as a line."""
    if re.sub(r"[\s,]", "", _TOKEN.sub("", text)):
        raise _unknown(f"the path {text[:40]!r}")
    tokens = _TOKEN.findall(text)
    position = 0
    while position < len(tokens):
        command = tokens[position]
        count = _ARGUMENTS.get(command.upper(), -1)
        if count < 0:
            raise _unknown(f"the path command {command!r}")
        position += 1
        if count == 0:
            yield command, []
            continue
        while True:
            numbers = tokens[position : position + count]
            if len(numbers) < count or any(one.isalpha() for one in numbers):
                raise _unknown(f"the path {text[:40]!r}, which ends within a command")
            yield command, [float(one) for one in numbers]
            position += count
            command = {"M": "L", "m": "l"}.get(command, command)
            if position >= len(tokens) or tokens[position].isalpha():
                break


def _append(path: Any, steps: tuple[Step, ...]) -> None:
    for kind, values in steps:
        if kind == "M":
            path.moveTo(*values)
        elif kind == "L":
            path.lineTo(*values)
        elif kind == "C":
            path.curveTo(*values)
        else:
            path.close()


def _paint(canvas: Canvas, steps: tuple[Step, ...], style: Style) -> None:
    fill, stroke = _colour(style, "fill"), _colour(style, "stroke")
    if fill is None and stroke is None:
        return
    opacity = float(style.get("opacity", "1"))
    if fill is not None:
        canvas.setFillColor(HexColor(fill))
        canvas.setFillAlpha(opacity * float(style.get("fill-opacity", "1")))
    if stroke is not None:
        canvas.setStrokeColor(HexColor(stroke))
        canvas.setStrokeAlpha(opacity * float(style.get("stroke-opacity", "1")))
        canvas.setLineWidth(float(style["stroke-width"]))
        canvas.setLineCap(_CAPS[style.get("stroke-linecap", "butt")])
        canvas.setLineJoin(_JOINS[style.get("stroke-linejoin", "miter")])
        dashes = _numbers(style.get("stroke-dasharray", "none").replace("none", ""))
        canvas.setDash(dashes, float(style.get("stroke-dashoffset", "0")))
    path = canvas.beginPath()
    _append(path, steps)
    even_odd, non_zero = 0, 1
    rule = even_odd if style.get("fill-rule") == "evenodd" else non_zero
    canvas.drawPath(path, stroke=int(stroke is not None), fill=int(fill is not None), fillMode=rule)


def _colour(style: Style, name: str) -> str | None:
    value = style[name]
    if value == "currentColor":
        value = style["color"]
    if value == "none":
        return None
    value = _NAMED.get(value, value)
    if re.fullmatch(r"#[0-9a-fA-F]{3}", value):
        value = "#" + "".join(2 * digit for digit in value[1:])
    if re.fullmatch(r"#[0-9a-fA-F]{6}", value) is None:
        raise _unknown(f"the colour {value!r}")
    return value


def _numbers(text: str) -> list[float]:
    return [float(one) for one in _NUMBER.findall(text)]


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _unknown(what: str) -> WriteError:
    return WriteError(f"report.pdf: a drawing of the report holds {what}, which this writer cannot draw.")
