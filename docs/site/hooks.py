"""What the site needs beside its pages: the reference made when it is built, and equations as MathML with their font.

Equations are written as LaTeX between dollar signs and become MathML here, which browsers draw by themselves. Brackets
and roots grow with what they hold in fonts for mathematics alone, which few readers have: the site brings one. So
nothing is loaded from elsewhere.
"""

from __future__ import annotations

import html
import io
import re
from importlib import resources
from typing import Any

import latex2mathml.converter
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import reference

_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
# STIX Two Math (SIL Open Font License), as ziamath brings it: Latin, Greek, accents, operators, arrows, italics.
_FONT = ("fonts/STIXTwoMath-Regular.ttf", "fonts/mathematics.ttf")
_CHARACTERS = (
    range(0x20, 0x180),
    range(0x2B0, 0x400),
    range(0x2000, 0x2300),
    range(0x23B4, 0x23E2),
    range(0x27E6, 0x27F0),
    range(0x1D400, 0x1D800),
)


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of the reference, and the font."""
    for path, content in reference.pages().items():
        files.append(File.generated(config, path, content=content))
    files.append(File.generated(config, _FONT[1], content=_font()))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Equations of a page."""
    return _EQUATION.sub(_as_mathml, content)


def _font() -> bytes:
    """The characters that equations have, and what makes them grow."""
    with resources.files("ziamath").joinpath(_FONT[0]).open("rb") as file:
        font = TTFont(file)
        options = Options(layout_features=["*"], notdef_outline=True, name_IDs=["*"])
        subsetter = Subsetter(options)
        subsetter.populate(unicodes=[code for codes in _CHARACTERS for code in codes])
        subsetter.subset(font)
        written = io.BytesIO()
        font.save(written)
    return written.getvalue()


def _as_mathml(found: re.Match[str]) -> str:
    tag, opening, latex = found.groups()
    is_block = opening == "["
    drawn = latex2mathml.converter.convert(html.unescape(latex).strip(), display="block" if is_block else "inline")
    if "\\" in drawn:
        raise PluginError(f"equation with a command that is not known: {html.unescape(latex)}")
    return f'<{tag} class="equation">{drawn}</{tag}>' if is_block else drawn
