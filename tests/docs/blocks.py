"""Fenced blocks of README.md and docs/, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatecheck.config import project_folder

SHELL = ("sh", "bash", "console")
OTHER = ("yaml", "python", "csv", "w2cad", "json", "text", "mermaid")

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})([^\n]*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes
    ----------
    page : str
        Below the project's folder.
    line : int
        Of its first line of content, from 1.
    """

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a block of shell."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[Path]:
    """README.md, and all of docs/ in the order of their paths."""
    project = project_folder()
    return [project / "README.md", *sorted((project / "docs").rglob("*.md"))]


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page.

    Raises
    ------
    ValueError
        For a fence that is never closed.
    """
    page = path.relative_to(project_folder()).as_posix() if path.is_absolute() else path.as_posix()
    fence, language, start = "", "", 0
    content: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        found = _FENCE.match(line)
        if not fence and found:
            fence, language, start, content = found[2], found[3].strip().split(" ")[0], number + 1, []
        elif fence and found and found[2].startswith(fence) and not found[3].strip():
            yield Block(page, start, language, "\n".join(content) + "\n")
            fence = ""
        elif fence:
            content.append(line)
    if fence:
        raise ValueError(f"{page}:{start}: the fence is not closed")


def commands_of(block: Block) -> Iterator[Command]:
    """Commands, each as it would be typed; comments and, in a console, what is answered are left out."""
    going_on = ""
    first = 0
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        text = line
        if block.language == "console" and not going_on:
            if not line.startswith("$ "):
                continue
            text = line[2:]
        first = first if going_on else number
        going_on += text
        if going_on.endswith("\\"):
            going_on = going_on[:-1]
            continue
        command = _without_comment(going_on)
        going_on = ""
        if command:
            yield Command(block.page, first, command)


def _without_comment(line: str) -> str:
    """A # that begins a word, outside of quotes, begins a comment."""
    quote = ""
    for place, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and (place == 0 or line[place - 1].isspace()):
            return _as_on_the_path(line[:place].strip())
    return _as_on_the_path(line.strip())


def _as_on_the_path(command: str) -> str:
    """A program of the environment that make sets up is the one on the PATH."""
    return command.removeprefix(".venv/bin/")


def all_blocks() -> list[Block]:
    """Of all pages."""
    return [block for path in pages() for block in blocks(path)]


def all_commands() -> list[Command]:
    """Of all pages."""
    return [command for block in all_blocks() if block.language in SHELL for command in commands_of(block)]
