"""Whether a command that is not run here could be: its verb and options exist, and so do the files that it names."""

from __future__ import annotations

import re
import shlex
import tomllib

from commands import verbs
from gatecheck.config import project_folder


def fault_of(command: str) -> str | None:
    """What is wrong with a command; None where nothing is found."""
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    program = words[0].rsplit("/", 1)[-1] if words else ""
    checks = {
        "gatecheck": _gatecheck,
        "make": _make,
        "snakemake": _snakemake,
        "sbatch": _sbatch,
        "pip": _pip,
        "apptainer": _apptainer,
        "python": _python,
    }
    if program not in checks:
        return f"{program}: not a program that the documentation may use without being run"
    return checks[program](words[1:])


def _gatecheck(words: list[str]) -> str | None:
    known = {verb.name: verb for verb in verbs()}
    verb = known.get(tuple(words[:2])) or known.get(tuple(words[:1]))
    if verb is None:
        return f"gatecheck {' '.join(words[:1])}: no such verb"
    options = {name: option for option in verb.options for name in option.names}
    free = 0
    places = iter(words[len(verb.name) :])
    for word in places:
        name = word.split("=", 1)[0]
        if not name.startswith("--"):
            free += 1
        elif name not in options:
            return f"gatecheck {verb.name[-1]}: no option {name}"
        elif not options[name].is_switch and "=" not in word and next(places, None) is None:
            return f"gatecheck {verb.name[-1]}: {name} without a value"
    if free < sum(one.is_needed for one in verb.arguments):
        return f"gatecheck {verb.name[-1]}: an argument is missing"
    if free > len(verb.arguments) and not any(one.is_repeated for one in verb.arguments):
        return f"gatecheck {verb.name[-1]}: too many arguments"
    return _missing_file(words)


def _missing_file(words: list[str]) -> str | None:
    for word in words:
        path = word.split("=", 1)[-1]
        if "/" in path and not path.startswith(("/", "$")) and path.split("/")[0] in _of_the_project():
            if path.startswith("results/"):
                continue
            if not (project_folder() / path).exists():
                return f"{path}: not in the project"
    return None


def _of_the_project() -> set[str]:
    return {path.name for path in project_folder().iterdir() if not path.name.startswith(".")}


def _make(words: list[str]) -> str | None:
    text = (project_folder() / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) [?:]?=", text, re.MULTILINE))
    for word in words:
        name, is_variable = word.split("=", 1)[0], "=" in word
        if name not in (variables if is_variable else targets):
            return f"make: no {'variable' if is_variable else 'target'} {name}"
    return None


def _snakemake(words: list[str]) -> str | None:
    unknown = [word for word in words if word.startswith("-") and word not in ("--cores", "--configfile", "-n")]
    return f"snakemake: {unknown[0]} is not checked" if unknown else None


def _sbatch(words: list[str]) -> str | None:
    if "--wrap" not in words:
        return "sbatch: --wrap expected"
    return fault_of(words[words.index("--wrap") + 1])


def _pip(words: list[str]) -> str | None:
    project = tomllib.loads((project_folder() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [re.fullmatch(r"gatecheck\[(\w+)\]", word) for word in words if word != "install"]
    for found in wanted:
        if found is None or found[1] not in project["optional-dependencies"]:
            return f"pip: gatecheck has no such extra in {' '.join(words)}"
    return None


def _apptainer(words: list[str]) -> str | None:
    if words[0] == "build":
        return _missing_file(words[1:])
    inner = words[words.index("gatecheck.sif") + 1 :]
    return _gatecheck(inner)


def _python(words: list[str]) -> str | None:
    return None if (project_folder() / words[0]).is_file() else f"python: {words[0]} is not in the project"
