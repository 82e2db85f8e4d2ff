"""The command line as it is declared: every verb with its arguments and options."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

from gatecheck.cli.main import app


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or an option of a verb.

    Attributes
    ----------
    names : tuple of str
        As they are typed, those that switch off last; of an argument, its name in capitals.
    kind : type
        Of one value.
    default : object
        None for none, or where the verb itself decides.
    """

    names: tuple[str, ...]
    is_option: bool
    kind: type
    is_repeated: bool
    is_needed: bool
    default: object
    least: float | None
    words: str

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return self.is_option and self.kind is bool


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be run: the words after `gatecheck`, and what may follow them."""

    name: tuple[str, ...]
    words: str
    parameters: tuple[Parameter, ...]

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        """In their order."""
        return tuple(one for one in self.parameters if not one.is_option)

    @property
    def options(self) -> tuple[Parameter, ...]:
        """In the order of --help."""
        return tuple(one for one in self.parameters if one.is_option)


def verbs() -> tuple[Verb, ...]:
    """All of them, in the order of --help."""
    return tuple(_verbs_of(app, ()))


def _verbs_of(group: typer.Typer, before: tuple[str, ...]) -> Iterator[Verb]:
    for command in group.registered_commands:
        if command.callback is not None:
            name = command.name or command.callback.__name__.replace("_", "-")
            words = " ".join((inspect.getdoc(command.callback) or "").split())
            yield Verb((*before, name), words, tuple(_parameters(command.callback)))
    for inner in group.registered_groups:
        if inner.typer_instance is not None and inner.name is not None:
            yield from _verbs_of(inner.typer_instance, (*before, str(inner.name)))


def _parameters(callback: Callable[..., Any]) -> Iterator[Parameter]:
    hints = typing.get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        value, *extras = typing.get_args(hints[name])
        info = next(one for one in extras if isinstance(one, ArgumentInfo | OptionInfo))
        kind, is_repeated = _kind(value)
        is_option = isinstance(info, OptionInfo)
        is_needed = parameter.default is inspect.Parameter.empty
        yield Parameter(
            names=_names(name, info, kind) if is_option else (name.upper(),),
            is_option=is_option,
            kind=kind,
            is_repeated=is_repeated,
            is_needed=is_needed,
            default=None if is_needed else parameter.default,
            least=info.min,
            words=info.help or "",
        )


def _names(name: str, info: ArgumentInfo | OptionInfo, kind: type) -> tuple[str, ...]:
    # Where a type is annotated typer takes the first name that is given for a default, until the verb is called.
    given = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str) and one.startswith("-")]
    if given:
        return tuple(given)
    long = "--" + name.replace("_", "-")
    return (long, long.replace("--", "--no-", 1)) if kind is bool else (long,)


def _kind(value: Any) -> tuple[type, bool]:
    """Type of one value, and whether there may be several."""
    if isinstance(value, types.UnionType):
        value = next(one for one in typing.get_args(value) if one is not type(None))
    if typing.get_origin(value) is list:
        return typing.get_args(value)[0], True
    return value, False
