"""Which structure is the body and which are the targets."""

from __future__ import annotations

import pytest

from gatecheck.case.model import Structure
from gatecheck.errors import InputError
from gatecheck.patient.structures import body_candidates, by_name, targets


def _structure(name: str, interpreted_type: str = "", volume: float = 1.0, *, empty: bool = False) -> Structure:
    return Structure(
        number=1,
        name=name,
        interpreted_type=interpreted_type,
        volume_ml=0.0 if empty else volume,
        mask=None if empty else "structures/1.mha",
    )


def _names(structures: tuple[Structure, ...]) -> list[str]:
    return [structure.name for structure in structures]


def test_the_body_is_external_by_type_before_by_name_and_the_largest_first() -> None:
    small, large = _structure("outline", "EXTERNAL", 5.0), _structure("contour", "EXTERNAL", 9.0)
    assert _names(body_candidates([_structure("BODY"), small, large])) == ["contour", "outline"]


@pytest.mark.parametrize("name", ["BODY", "Body ", "external", "Skin"])
def test_the_body_is_known_by_its_name(name: str) -> None:
    assert len(body_candidates([_structure("Lung"), _structure(name)])) == 1


@pytest.mark.parametrize("name", ["BODY-PTV", "skin_3mm", "Antibody"])
def test_a_name_that_only_contains_body_or_skin_is_not_the_body(name: str) -> None:
    assert body_candidates([_structure(name), _structure("BODY", empty=True)]) == ()


def test_targets_are_gross_tumour_volumes_first_then_clinical_then_planning() -> None:
    gtv, ctv, ptv = _structure("GTVp", "GTV"), _structure("CTVp", "CTV"), _structure("PTV", "PTV")
    assert _names(targets([ptv, ctv, gtv])) == ["GTVp"]
    assert _names(targets([ptv, ctv, _structure("GTV 2", "GTV", empty=True)])) == ["CTVp"]
    assert _names(targets([ptv])) == ["PTV"]
    assert targets([_structure("HEART")]) == ()


def test_targets_are_known_by_name_only_where_the_type_says_nothing_else() -> None:
    assert _names(targets([_structure("gtv_boost"), _structure("GTV+5", "PTV")])) == ["gtv_boost"]


def test_a_structure_is_found_whatever_its_case_unless_both_exist() -> None:
    assert by_name([_structure("Couch")], "COUCH", key="k").name == "Couch"
    assert by_name([_structure("Couch"), _structure("COUCH")], "COUCH", key="k").name == "COUCH"


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        ([_structure("Heart"), _structure("Cord")], "Structures there: Heart, Cord"),
        ([], "no structures"),
        ([_structure("Couch", empty=True)], "is empty"),
        ([_structure("Couch"), _structure("Couch")], "2 structures"),
    ],
)
def test_a_structure_that_cannot_be_used_is_refused_naming_the_key(structures: list[Structure], message: str) -> None:
    with pytest.raises(InputError, match=r"patient\.couch_structures") as caught:
        by_name(structures, "Couch", key="patient.couch_structures")
    assert message in str(caught.value)
