"""What the site needs beside its pages: the reference made when it is built, and equations as MathML.

Equations are written as LaTeX between dollar signs and become MathML here, which browsers draw by themselves: nothing
is loaded from elsewhere.
"""

from __future__ import annotations

import html
import re
from typing import Any

import latex2mathml.converter
from mkdocs.structure.files import File, Files

import reference

_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of the reference."""
    for path, content in reference.pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Equations of a page."""
    return _EQUATION.sub(_as_mathml, content)


def _as_mathml(found: re.Match[str]) -> str:
    tag, opening, latex = found.groups()
    is_block = opening == "["
    drawn = latex2mathml.converter.convert(html.unescape(latex).strip(), display="block" if is_block else "inline")
    return f'<{tag} class="equation">{drawn}</{tag}>' if is_block else drawn
