"""Links, commands within sentences and JSON schemas of the documentation are of what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

import reference
import schemas
from commands import Verb, verbs
from gatecheck.cli.main import app
from gatecheck.config import Config, project_folder

from .blocks import pages
from .command_line import fault_of

_MADE = ("reference/",)  # pages that are there when the site is built
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$", re.DOTALL | re.MULTILINE)


def _prose(path: Path) -> str:
    return _FENCED.sub("", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(project_folder()).as_posix())
def test_links_lead_to_something(path: Path) -> None:
    broken = []
    for target in _LINK.findall(_prose(path)):
        place = target.split("#")[0]
        if place and not place.startswith(("http://", "https://", "mailto:")):
            found = (path.parent / place).resolve()
            if not found.exists() and not found.relative_to(project_folder() / "docs").as_posix().startswith(_MADE):
                broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.relative_to(project_folder()).as_posix())
def test_commands_within_sentences_exist(path: Path) -> None:
    """With `gatecheck VERB --option`; what they need besides may be left out of a sentence."""
    wrong = []
    for span in re.findall(r"`gatecheck ([^`\n]+)`", _prose(path)):
        fault = fault_of(f"gatecheck {span}")
        if fault is not None and not fault.endswith(("an argument is missing", "without a value")):
            wrong.append(fault)
    assert wrong == []


def test_refusals_are_quoted_as_the_code_has_them() -> None:
    """What a reader looks a message up by; `...` stands for what differs from time to time."""
    source = "".join(path.read_text(encoding="utf-8") for path in (project_folder() / "workflow").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    page = (project_folder() / "docs" / "how-to" / "when-it-refuses.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    parts = [part.strip() for one in quoted for part in one.split("...") if part.strip()]
    assert len(quoted) >= 9
    assert [part for part in parts if part not in joined] == []


def test_a_published_schema_is_what_the_model_gives() -> None:
    wrong = [one.path.name for one in schemas.PUBLISHED if one.path.read_text(encoding="utf-8") != one.text()]
    assert wrong == [], "run make schemas"
    assert set(schemas.FOLDER.glob("*")) == {one.path for one in schemas.PUBLISHED}


@pytest.mark.parametrize("one", schemas.PUBLISHED, ids=lambda one: one.name)
def test_a_published_schema_is_a_schema(one: schemas.Published) -> None:
    jsonschema.Draft202012Validator.check_schema(one.schema())


def test_the_reference_has_every_key_and_every_option() -> None:
    made = reference.pages()
    configuration, commands = made["reference/configuration.md"], made["reference/commands.md"]
    assert all(f"| `{key}` |" in configuration for key in _keys(Config.model_json_schema()))
    for verb in verbs():
        assert f"## {' '.join(verb.name)}\n" in commands
        assert all(f"`{name}`" in commands for option in verb.options for name in option.names)


@pytest.mark.parametrize("verb", verbs(), ids=lambda verb: " ".join(verb.name))
def test_the_reference_has_the_options_that_help_shows(verb: Verb) -> None:
    """The command line answers for itself: no option more, none less."""
    answered = CliRunner().invoke(app, [*verb.name, "--help"], env={"COLUMNS": "200"})
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", answered.output.split("Options:")[1]))
    own = {name for option in verb.options for name in option.names}
    in_words = {name for name in shown - own if name in " ".join(option.words for option in verb.options)}
    assert shown - in_words == own | {"--help"}


def _keys(schema: dict[str, Any]) -> set[str]:
    sections = [*schema["$defs"].values()]
    top = {key for key, field in schema["properties"].items() if "$ref" not in field}
    return top.union(*(section.get("properties", {}) for section in sections))


def test_limits_and_defaults_stand_in_the_reference() -> None:
    rows = [
        line
        for line in reference.configuration_page().splitlines()
        if line.startswith(("| `coarse_voxel_size`", "| `photon_splitting`"))
    ]
    assert rows[0].startswith("| `coarse_voxel_size` | number | `4.0` | > 0, ≤ 1000 |")
    assert rows[1].startswith("| `photon_splitting` | integer or empty | empty | ≥ 1, ≤ 100 |")


def test_a_summary_with_a_key_too_many_is_no_summary() -> None:
    """The schema refuses what the model refuses, so that validating by it means something."""
    schema = json.loads(schemas.HANDED_ON[0].path.read_text(encoding="utf-8"))
    assert schema["additionalProperties"] is False
    assert {"interface", "warnings", "structures", "engine"} <= set(schema["required"])
