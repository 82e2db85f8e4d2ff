"""Which structures mean what: the body, the target of the fine region, the couch, the overrides."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gatecheck.case.model import Structure
from gatecheck.errors import InputError

_BODY_NAME = re.compile(r"(body|external|skin)", re.IGNORECASE)
_TARGET_KINDS = ("GTV", "CTV", "PTV")


def by_name(structures: Sequence[Structure], name: str, *, key: str) -> Structure:
    """The structure of that name that has a volume (upper and lower case matter only where both exist).

    Raises
    ------
    InputError
        Naming the configuration key and the structures there are, when it is missing, ambiguous or empty.
    """
    found = [s for s in structures if s.name == name] or [s for s in structures if _plain(s.name) == _plain(name)]
    if not found:
        raise InputError(f"{key}: no structure {name!r}. {listed(structures)}")
    filled = [s for s in found if s.mask is not None]
    if not filled:
        raise InputError(f"{key}: structure {name!r} is empty; expected one with a volume.")
    if len(filled) > 1:
        raise InputError(f"{key}: {len(filled)} structures are called {name!r}; expected one. Rename them.")
    return filled[0]


def body_candidates(structures: Sequence[Structure]) -> tuple[Structure, ...]:
    """Structures that are the body by type, else by name; the largest first."""
    filled = [s for s in structures if s.mask is not None]
    external = [s for s in filled if s.interpreted_type == "EXTERNAL"]
    named = [s for s in filled if _BODY_NAME.fullmatch(s.name.strip())]
    return tuple(sorted(external or named, key=lambda s: -s.volume_ml))


def targets(structures: Sequence[Structure]) -> tuple[Structure, ...]:
    """All gross tumour volumes; without any, all clinical, else all planning target volumes."""
    filled = [s for s in structures if s.mask is not None]
    for kind in _TARGET_KINDS:
        chosen = [s for s in filled if _is_of_kind(kind)(s)]
        if chosen:
            return tuple(chosen)
    return ()


def _is_of_kind(kind: str) -> Callable[[Structure], bool]:
    def matches(structure: Structure) -> bool:
        if structure.interpreted_type in _TARGET_KINDS:
            return structure.interpreted_type == kind
        return structure.name.strip().upper().startswith(kind)

    return matches


def listed(structures: Sequence[Structure]) -> str:
    """One sentence with the names of all structures, for messages."""
    if not structures:
        return "The structure set has no structures."
    return f"Structures there: {', '.join(structure.name for structure in structures)}."


def _plain(name: str) -> str:
    return name.strip().casefold()
