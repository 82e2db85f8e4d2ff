"""Pages of the reference, made from the configuration's and the files' models, the command line and the library.

Nothing here knows a key, an option or a function by its name: what is described is what there is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gatecheck
from commands import Parameter, Verb, verbs
from schemas import CONFIGURATION, HANDED_ON, Published

ROOMS = (
    "case",
    "delivery",
    "linac",
    "patient",
    "transport",
    "dose",
    "compare",
    "report",
    "commissioning",
    "phantoms",
)
_LONGEST_DEFAULT = 120  # characters; a longer one has its own row in what follows a table

Schema = Mapping[str, Any]


def pages() -> dict[str, str]:
    """Every page of the reference, by its path below docs/."""
    made = {
        "reference/configuration.md": configuration_page(),
        "reference/commands.md": commands_page(),
        "reference/files.md": files_page(),
        "reference/summary.md": file_page(HANDED_ON[0]),
    }
    made |= {f"reference/{one.name}.md": file_page(one) for one in HANDED_ON[1:]}
    made |= {f"reference/library/{room}.md": library_page(room) for room in ROOMS}
    return made


def configuration_page() -> str:
    """Every key with its type, default, limits and meaning."""
    schema = CONFIGURATION.schema()
    definitions: Schema = schema["$defs"]
    parts = [
        "# Configuration",
        "One YAML file. A key that is not here is refused, with the nearest that is. What is left out has its default; "
        "`gatecheck config FILE` prints a file with all of them filled in, `gatecheck config --schema` the "
        f"[JSON schema](../schemas/{CONFIGURATION.name}.schema.json). Lengths in mm, angles in degrees, energies in "
        "MeV, doses in Gy, densities in g/cm³.",
    ]
    written: set[str] = set()
    top = {name: field for name, field in schema["properties"].items() if "$ref" not in field}
    parts += ["## Top level", *_table({"properties": top}, definitions)]
    for name, field in schema["properties"].items():
        if "$ref" in field:
            parts += _section(name, _name_of(field), definitions, written)
    return "\n\n".join(parts) + "\n"


def _section(title: str, definition: str, definitions: Schema, written: set[str]) -> list[str]:
    """A model under a heading, and after it each model that only it refers to."""
    written.add(definition)
    model = definitions[definition]
    level = "##" if title.count(".") == 0 else "###"
    parts = [f"{level} `{title}` {{ #{_anchor(definition)} }}", _words(model), *_table(model, definitions)]
    for name, field in model.get("properties", {}).items():
        for inner in _references(field):
            if inner not in written:
                parts += _section(f"{title}.{name}", inner, definitions, written)
    return parts


def files_page() -> str:
    """Which JSON files there are."""
    rows = [
        f"| `{one.file}` | [{one.name}]({one.name}.md) | [schema](../schemas/{one.name}.schema.json) "
        f"| {' '.join(_words(one.schema()).split())} |"
        for one in HANDED_ON
    ]
    return "\n".join(
        [
            "# Files handed on",
            "",
            "What one room hands to the next lies in `results/<case>/<room>/`: images as MetaImage (`.mha`, DICOM "
            "patient coordinates, LPS, mm), tables as Parquet or CSV, all else as JSON. Each JSON file is written "
            "from a typed model, whole or not at all, and can be checked against the schema that is published here "
            "(JSON Schema, draft 2020-12). Everything that the report shows is in `report/summary.json`.",
            "",
            "| file | described in | schema | what it is |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def file_page(one: Published) -> str:
    """The keys of one JSON file."""
    schema = one.schema()
    definitions: Schema = schema.get("$defs", {})
    parts = [
        f"# {one.file}",
        f"{_words(schema)}",
        f"The schema: [{one.name}.schema.json](../schemas/{one.name}.schema.json).",
        *_table(schema, definitions, has_defaults=False),
    ]
    for name, definition in definitions.items():
        if "properties" not in definition:
            continue
        parts += [f"## {name} {{ #{_anchor(name)} }}", _words(definition)]
        parts += _table(definition, definitions, has_defaults=False)
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(model: Schema, definitions: Schema, *, has_defaults: bool = True) -> list[str]:
    properties = model.get("properties", {})
    if not properties:
        return []
    names = ["key", "type", *(["default", "limits"] if has_defaults else []), "meaning"]
    rows = [_line(names), _line(["---"] * len(names))]
    long: list[str] = []
    for name, field in properties.items():
        cells = [f"`{name}`", type_of(field, definitions)]
        if has_defaults:
            default = "needed" if name in model.get("required", ()) else _default(field)
            if len(default) > _LONGEST_DEFAULT:
                long += [f"Default of `{name}`:", f"```json\n{json.dumps(field['default'], indent=1)}\n```"]
                default = "see below"
            cells += [default, limits_of(field, definitions)]
        rows.append(_line([*cells, _cell(field.get("description", "") or _of_reference(field, definitions))]))
    return ["\n".join(rows), *long]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return "empty" if value in (None, "", [], {}) else f"`{_plain(value)}`"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_reference(field: Schema, definitions: Schema) -> str:
    """What the models say that a key without a description holds."""
    return " ".join(_words(definitions[name]) for name in _references(field) if name in definitions)


def type_of(field: Schema, definitions: Schema) -> str:
    """A JSON schema's type in a few words, with links to the models that it refers to."""
    if "$ref" in field:
        name = _name_of(field)
        definition = definitions[name]
        return f"[{name}](#{_anchor(name)})" if "properties" in definition else type_of(definition, definitions)
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(type_of(option, definitions) for option in field["anyOf"]))
    if "const" in field or "enum" in field:
        return ", ".join(f"`{_plain(value)}`" for value in field.get("enum", [field.get("const")]))
    return _plain_type(field, definitions)


def _plain_type(field: Schema, definitions: Schema) -> str:
    kind = field.get("type", "any")
    if kind == "array" and "prefixItems" in field:
        return f"{len(field['prefixItems'])} times {type_of(field['prefixItems'][0], definitions)}"
    if kind == "array":
        return f"list of {type_of(field.get('items', {}), definitions)}"
    if kind == "object" and "additionalProperties" in field:
        return f"name: {type_of(field['additionalProperties'], definitions)}"
    words = {"null": "empty", "boolean": "true, false", "string": "text", "object": "keys and values"}
    return "path" if field.get("format") == "path" else words.get(str(kind), str(kind))


_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "{} characters or more",
    "maxLength": "{} characters or fewer",
    "minItems": "{} or more",
    "maxItems": "{} or fewer",
    "pattern": "`{}`",
}


def limits_of(field: Schema, definitions: Schema) -> str:
    """Bounds of a value, or of the values in a list or map; of values in a row, of each where they differ."""
    of_each = [limits_of(one, definitions) for one in field.get("prefixItems", ())]
    if len(set(of_each)) > 1:
        return "; then ".join(of_each)
    found: list[str] = []
    for level in _levels(field, definitions):
        is_tuple = "prefixItems" in level
        for name, words in _LIMITS.items():
            if name in level and not (is_tuple and name.endswith("Items")):
                value = level[name]
                shown = str(value).replace("|", "\\|") if isinstance(value, str) else f"{value:g}"
                found.append(words.format(shown))
    return ", ".join(dict.fromkeys(found))


def _levels(field: Schema, definitions: Schema) -> Iterator[Schema]:
    yield field
    inner = [*field.get("anyOf", ()), *field.get("prefixItems", ())[:1]]
    inner += [
        field[name] for name in ("items", "additionalProperties", "propertyNames") if isinstance(field.get(name), dict)
    ]
    for one in inner:
        if "$ref" not in one:
            yield from _levels(one, definitions)


def _references(field: Schema) -> Iterator[str]:
    if "$ref" in field:
        yield _name_of(field)
    inner = [*field.get("anyOf", ()), *field.get("prefixItems", ())]
    inner += [field[name] for name in ("items", "additionalProperties") if isinstance(field.get(name), dict)]
    for one in inner:
        yield from _references(one)


def _name_of(field: Schema) -> str:
    return str(field["$ref"]).removeprefix("#/$defs/")


def _anchor(name: str) -> str:
    return name.lower().strip("_")


def _words(model: Schema) -> str:
    """A model's docstring; pydantic's own where it has none would be of no use here."""
    return _shown(str(model.get("description", "")).split("\n\nAttributes\n")[0].strip())


def _cell(text: str) -> str:
    return _shown(" ".join(text.split())).replace("|", "\\|")


def _shown(text: str) -> str:
    """Text in which < begins no HTML; within backticks it does not anyway."""
    parts = text.split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def commands_page() -> str:
    """Every command with its arguments and options."""
    parts = [
        "# Commands",
        "`gatecheck` ends with 0 when it did what it was asked, with 2 after a refusal (one sentence on stderr), with "
        "1 when some plans of a batch were not verified.",
    ]
    for verb in verbs():
        parts += _verb(verb)
    return "\n\n".join(parts) + "\n"


def _verb(verb: Verb) -> list[str]:
    shown = [_shown_argument(one) for one in verb.arguments]
    usage = " ".join(["gatecheck", *verb.name, *shown, *(["[OPTIONS]"] if verb.options else [])])
    parts = [f"## {' '.join(verb.name)}", f"```text\n{usage}\n```", _shown(verb.words)]
    if verb.arguments:
        rows = [_line([f"`{one.names[0]}`", _cell(one.words)]) for one in verb.arguments]
        parts.append("\n".join([_line(["argument", "meaning"]), "|---|---|", *rows]))
    if verb.options:
        rows = [_line([_names(one), _kind(one), _default_of(one), _cell(one.words)]) for one in verb.options]
        parts.append("\n".join([_line(["option", "type", "default", "meaning"]), "|---|---|---|---|", *rows]))
    return parts


def _shown_argument(argument: Parameter) -> str:
    shown = f"{argument.names[0]}..." if argument.is_repeated else argument.names[0]
    return shown if argument.is_needed else f"[{shown}]"


def _names(option: Parameter) -> str:
    return ", ".join(f"`{name}`" for name in option.names)


def _kind(option: Parameter) -> str:
    kind = {bool: "switch", int: "whole number", float: "number", str: "text", Path: "path"}[option.kind]
    least = f" ≥ {option.least:g}" if option.least is not None else ""
    return f"{kind}{least}{', may be repeated' if option.is_repeated else ''}"


def _default_of(option: Parameter) -> str:
    if option.is_needed:
        return "needed"
    if option.names == ("--cores",) and option.default == (os.cpu_count() or 1):
        return "all of the machine's"  # the page is the same wherever it is made
    if option.default is None or option.default is False:
        return ""
    return "on" if option.default is True else f"`{option.default}`"


def library_page(room: str) -> str:
    """The public names of one room's modules, by their docstrings."""
    folder = Path(gatecheck.__file__).parent / room
    names = [
        ".".join((room, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted(folder.rglob("*.py"))
        if path.stem == "__init__" or not path.stem.startswith("_")
    ]
    names = sorted(dict.fromkeys(names))
    return "\n".join([f"# gatecheck.{room}", "", *(f"::: gatecheck.{name}\n" for name in names)])
