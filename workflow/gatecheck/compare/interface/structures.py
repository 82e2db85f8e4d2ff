"""Which structures are tumours, and which is the spinal cord."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gatecheck.case.model import Structure
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.patient.structures import by_name

_CORD = re.compile(
    r"(spinal[\s_.-]*cord|cord[\s_.-]*spinal|^cord|myelon|medulla[\s_.-]*spinalis|r(ue|ü)ckenmark|moelle)",
    re.IGNORECASE,
)
_NOT_CORD = re.compile(r"(prv|canal|margin|vocal|spermatic|avoid|ring|opt|[+-]\s*\d|_\d+\s*mm|\d\s*mm)", re.IGNORECASE)
_TUMOUR_KINDS = ("GTV", "CTV")


@dataclass(frozen=True, slots=True)
class InterfaceStructures:
    """Tumours, each compared by itself, and the cord; and why any is missing."""

    tumours: tuple[Structure, ...]
    cord: Structure | None
    notes: tuple[str, ...]


def find_structures(structures: Sequence[Structure], settings: ComparisonConfig) -> InterfaceStructures:
    """Find tumours and cord by the configuration, else by type and name.

    Raises
    ------
    InputError
        When the configuration names a structure that is missing, ambiguous or empty.
    """
    notes: list[str] = []
    tumours = _tumours(structures, settings, notes)
    cord = _cord(structures, settings, notes)
    if len(tumours) > 1:
        notes.append(
            f"{len(tumours)} tumours ({', '.join(one.name for one in tumours)}): each is compared by itself; where "
            "they lie within some mm of each other, the dose of one is part of the other's fall-off."
        )
    return InterfaceStructures(tumours, cord, tuple(notes))


def _tumours(structures: Sequence[Structure], settings: ComparisonConfig, notes: list[str]) -> tuple[Structure, ...]:
    if settings.tumour_structures:
        return tuple(
            by_name(structures, name, key="comparison.tumour_structures") for name in settings.tumour_structures
        )
    filled = [one for one in structures if one.mask is not None]
    for kind in _TUMOUR_KINDS:
        typed = [one for one in filled if one.interpreted_type == kind]
        named = [one for one in filled if one.name.strip().upper().startswith(kind)]
        found = typed or named
        if found:
            if kind != "GTV":
                notes.append(f"No GTV: {', '.join(one.name for one in found)} stand for the tumour.")
            return tuple(found)
    notes.append(
        "No tumour structure (type or name GTV or CTV), so there is no interface to compare at. Name one with "
        "comparison.tumour_structures."
    )
    return ()


def _cord(structures: Sequence[Structure], settings: ComparisonConfig, notes: list[str]) -> Structure | None:
    if settings.cord_structure is not None:
        return by_name(structures, settings.cord_structure, key="comparison.cord_structure")
    filled = [one for one in structures if one.mask is not None]
    found = [one for one in filled if _CORD.search(one.name) and not _NOT_CORD.search(one.name)]
    if len(found) == 1:
        return found[0]
    if found:
        notes.append(
            f"Several structures may be the spinal cord ({', '.join(one.name for one in found)}), and none was chosen. "
            "Name it with comparison.cord_structure."
        )
    else:
        notes.append(
            "No spinal cord by name, so normal cord and its maximum are not assessed. Name it with "
            "comparison.cord_structure."
        )
    return None
