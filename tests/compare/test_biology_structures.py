"""Which structures are cord and tumour, and the cord without the tumour."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from gatecheck.case.model import Structure
from gatecheck.compare.biology.structures import configured_roles, is_named, normal_cord, roles_of, without
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.config_setup import SetupConfig
from gatecheck.errors import ResultError
from gatecheck.files import array_zyx, image_from_zyx


def _structure(name: str, kind: str = "ORGAN", *, is_empty: bool = False) -> Structure:
    return Structure(number=1, name=name, interpreted_type=kind, volume_ml=1.0, mask=None if is_empty else "a.mha")


def _image(values: np.ndarray, first: tuple[int, int, int]) -> sitk.Image:
    origin = tuple(0.5 + 2.0 * index for index in first)
    return image_from_zyx(values.astype(np.float32), origin=origin, spacing=(2.0, 2.0, 2.0))


def test_names_are_compared_without_case_and_separators() -> None:
    assert is_named("spinal_cord", ("SpinalCord",))
    assert is_named("Spinal Cord", ("SpinalCord",))
    assert not is_named("SpinalCord_PRV01", ("SpinalCord",))


def test_the_cord_is_found_by_name_and_the_tumour_by_type() -> None:
    found = roles_of([_structure("Spinal_Cord"), _structure("T1", "GTV"), _structure("PTV", "PTV")])
    assert found.cord is not None
    assert found.tumour is not None
    assert (found.cord.name, found.tumour.name, found.notes) == ("Spinal_Cord", "T1", ())


def test_what_is_missing_or_ambiguous_is_said() -> None:
    nothing = roles_of([_structure("Cord", is_empty=True)])
    assert (nothing.cord, nothing.tumour) == (None, None)
    assert len(nothing.notes) == 2
    several = roles_of([_structure("Cord"), _structure("a", "GTV"), _structure("b", "GTV")])
    assert several.tumour is None
    assert "2 structures of type GTV" in several.notes[0]
    named = roles_of([_structure("Cord"), _structure("a", "GTV"), _structure("b", "GTV")], tumour="B")
    assert named.tumour is not None
    assert named.tumour.name == "b"
    twice = roles_of([_structure("Cord"), _structure("SpinalCord")])
    assert twice.cord is None
    assert "2 structures called" in twice.notes[0]


def test_the_normal_cord_is_without_every_tumour_though_none_of_several_is_followed() -> None:
    masks = {"Cord": _image(np.ones((6, 2, 2)), (0, 0, 0))}
    for name, first in (("a", 1), ("b", 4)):
        masks[name] = _image(np.ones((1, 2, 2)), (0, 0, first))
    structures = [_structure("Cord"), _structure("a", "GTV"), _structure("b", "GTV")]
    found = configured_roles(structures, SetupConfig(), ComparisonConfig())
    assert found.tumour is None
    assert [one.name for one in found.tumours] == ["a", "b"]
    normal = normal_cord(found, lambda one: masks[one.name])
    assert normal is not None
    assert array_zyx(normal)[:, 0, 0].tolist() == [1, 0, 1, 1, 0, 1]
    followed = configured_roles(structures, SetupConfig(tumour="b"), ComparisonConfig())
    assert [one.name for one in followed.tumours] == ["b", "a"]
    assert normal_cord(roles_of([_structure("Cord")]), lambda one: masks[one.name]) is None


@pytest.mark.parametrize("name", ["Myelon", "Rückenmark", "Medulla spinalis"])
def test_a_cord_by_another_name_is_the_one_that_the_interface_finds(name: str) -> None:
    structures = [_structure(name), _structure("Myelon_PRV"), _structure("T1", "GTV")]
    found = configured_roles(structures, SetupConfig(), ComparisonConfig())
    assert found.cord is not None
    assert (found.cord.name, found.notes) == (name, ())
    named = configured_roles(structures, SetupConfig(cord="Myelon_PRV"), ComparisonConfig())
    assert named.cord is not None
    assert named.cord.name == "Myelon_PRV"


@pytest.mark.parametrize("first", [(2, 2, 2), (-1, 0, 3), (3, 3, 3), (9, 9, 9)])
def test_a_structure_without_another_loses_what_both_fill(first: tuple[int, int, int]) -> None:
    """Against the same on one common grid; the other reaches over the edge of the first's crop, or lies off it."""
    generator = np.random.default_rng(8)
    one, other = generator.uniform(0, 1, (5, 5, 5)), generator.uniform(0, 1, (3, 3, 3))
    found = array_zyx(without(_image(one, (1, 1, 1)), _image(other, first)))
    common = np.zeros((16, 16, 16))
    x, y, z = (index + 2 for index in first)
    common[z : z + 3, y : y + 3, x : x + 3] = other
    assert found == pytest.approx(np.maximum(one - common[3:8, 3:8, 3:8], 0.0), abs=1e-6)


def test_masks_of_different_grids_are_refused() -> None:
    one = _image(np.ones((3, 3, 3)), (0, 0, 0))
    shifted = image_from_zyx(np.ones((3, 3, 3), np.float32), origin=(1.0, 0.5, 0.5), spacing=(2.0, 2.0, 2.0))
    with pytest.raises(ResultError, match="one grid"):
        without(one, shifted)
