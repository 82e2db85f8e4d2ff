"""Which structures are the cord and the tumour, and the cord without all tumours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from gatecheck.case.model import Structure
from gatecheck.compare.interface.structures import find_structures
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.config_setup import SetupConfig
from gatecheck.errors import ResultError
from gatecheck.files import image_from_zyx
from gatecheck.patient.structures import by_name

NORMAL_CORD = "normal cord"
"""What the cord without all tumours is called."""

CORD_NAMES = ("SpinalCord", "Cord")
"""Names of the cord; whatever structure has its role counts as called by the first of them too."""

TARGET_TYPES = ("GTV", "CTV", "PTV")
NOT_TISSUE = ("EXTERNAL", "SUPPORT", "FIXATION")
"""Interpreted types of structures that have no biology of their own."""

_SAME_PLACE = 0.01  # of a voxel


@dataclass(frozen=True, slots=True)
class Roles:
    """The cord and the tumour, where the case has them; `notes` say what was not found, or not told apart.

    Attributes
    ----------
    tumour : Structure or None
        The one that is followed.
    others : tuple of Structure
        What the interface is compared at; with it they are what the normal cord is without.
    """

    cord: Structure | None
    tumour: Structure | None
    notes: tuple[str, ...] = ()
    others: tuple[Structure, ...] = ()

    @property
    def tumours(self) -> tuple[Structure, ...]:
        """All of them, each once."""
        followed = () if self.tumour is None else (self.tumour,)
        return (*followed, *(one for one in self.others if one not in followed))


def plain(name: str) -> str:
    """A structure's name without what does not count: case, spaces, underscores, hyphens and the like."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def is_named(structure: str, names: Iterable[str]) -> bool:
    """Whether a structure's name is one of some names."""
    return plain(structure) in {plain(name) for name in names}


def is_meant(structure: str, names: Iterable[str], *, cord: str | None) -> bool:
    """`is_named`, where the structure called `cord`, which has the role of the cord, is a SpinalCord too.

    Without this a cord called Myelon or Medulla spinalis would have neither the cord's alpha/beta nor its limits.
    """
    known = tuple(names)
    return is_named(structure, known) or (structure == cord and is_named(CORD_NAMES[0], known))


def roles_of(
    structures: Sequence[Structure],
    *,
    cord: str | None = None,
    tumour: str | None = None,
    other_cord: Structure | None = None,
    others: tuple[Structure, ...] = (),
) -> Roles:
    """Find cord and tumour.

    Parameters
    ----------
    cord, tumour : str, optional
        Names to look for; without one, the cord is the structure called as in `CORD_NAMES`, the tumour the only GTV,
        else the only CTV, else the only PTV.
    other_cord : Structure, optional
        The cord where these names find none.
    others : tuple of Structure
        Further tumours.
    """
    filled = [structure for structure in structures if structure.mask is not None]
    notes: list[str] = []
    found_cord = _by_name(filled, (cord,) if cord else CORD_NAMES, "cord", notes)
    if found_cord is None and other_cord is not None:
        found_cord, notes = other_cord, []
    found_tumour = _by_name(filled, (tumour,), "tumour", notes) if tumour else _only_target(filled, notes)
    return Roles(found_cord, found_tumour, tuple(notes), others)


def configured_roles(structures: Sequence[Structure], setup: SetupConfig, comparison: ComparisonConfig) -> Roles:
    """`roles_of` with the names that the configuration gives: its section `setup` before `comparison`.

    A cord that neither names, and that is not called as in `CORD_NAMES`, is the one that the interface finds.

    Raises
    ------
    InputError
        When a structure that it names is missing, ambiguous or empty.
    """
    for key, name in (("setup.cord", setup.cord), ("setup.tumour", setup.tumour)):
        if name is not None:
            by_name(structures, name, key=key)
    at_interface = find_structures(structures, comparison)
    only = comparison.tumour_structures[0] if len(comparison.tumour_structures) == 1 else None
    return roles_of(
        structures,
        cord=setup.cord or comparison.cord_structure,
        tumour=setup.tumour or only,
        other_cord=None if setup.cord else at_interface.cord,
        others=at_interface.tumours,
    )


def _by_name(filled: list[Structure], names: Sequence[str], role: str, notes: list[str]) -> Structure | None:
    found = [structure for structure in filled if is_named(structure.name, names)]
    if len(found) == 1:
        return found[0]
    how_many = f"{len(found)} structures" if found else "No structure with a volume"
    notes.append(f"{how_many} called {' or '.join(names)}: nothing is said of the {role}.")
    return None


def _only_target(filled: list[Structure], notes: list[str]) -> Structure | None:
    for kind in TARGET_TYPES:
        found = [structure for structure in filled if structure.interpreted_type == kind]
        if len(found) == 1:
            return found[0]
        if found:
            notes.append(
                f"{len(found)} structures of type {kind}: name the tumour in setup.tumour to have it followed."
            )
            return None
    notes.append("No structure of type GTV, CTV or PTV with a volume: nothing is said of a tumour.")
    return None


def normal_cord(roles: Roles, mask_of: Callable[[Structure], sitk.Image]) -> sitk.Image | None:
    """The cord's mask without all tumours; None without a cord or a tumour."""
    if roles.cord is None or not roles.tumours:
        return None
    rest = mask_of(roles.cord)
    for tumour in roles.tumours:
        rest = without(rest, mask_of(tumour))
    return rest


def without(mask: sitk.Image, other: sitk.Image) -> sitk.Image:
    """Inside fractions of a structure less those of another, both on the CT's grid, each cropped to itself.

    Within a voxel that both fill in part the other is taken to lie inside the first as far as it can.

    Raises
    ------
    ResultError
        When the two do not lie on one grid.
    """
    spacing = np.array(mask.GetSpacing())
    offset = (np.array(other.GetOrigin()) - np.array(mask.GetOrigin())) / spacing
    if np.abs(offset - np.round(offset)).max() > _SAME_PLACE or not np.allclose(spacing, other.GetSpacing(), rtol=1e-5):
        raise ResultError("Masks of two structures do not lie on one grid. Run ingest again.")
    rest = sitk.GetArrayFromImage(mask).astype(np.float32)
    taken = sitk.GetArrayFromImage(other).astype(np.float32)
    here, there = [], []
    for shift, size, other_size in zip(np.round(offset).astype(int)[::-1], rest.shape, taken.shape, strict=True):
        first, last = max(shift, 0), min(shift + other_size, size)
        here.append(slice(first, max(first, last)))
        there.append(slice(first - shift, max(first, last) - shift))
    part = rest[tuple(here)]
    if part.size:
        part -= np.minimum(part, taken[tuple(there)])
    return image_from_zyx(rest, origin=mask.GetOrigin(), spacing=mask.GetSpacing())
