"""Tumours and cord by type and name."""

from __future__ import annotations

import pytest

from gatecheck.case.model import Structure
from gatecheck.compare.interface.structures import find_structures
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.errors import InputError


def _structures(*pairs: tuple[str, str]) -> list[Structure]:
    return [
        Structure(number=i, name=name, interpreted_type=kind, volume_ml=1.0, mask=f"structures/{i:02d}.mha")
        for i, (name, kind) in enumerate(pairs)
    ]


def test_margins_canal_and_other_cords_are_not_the_spinal_cord() -> None:
    found = find_structures(
        _structures(
            ("GTV", "GTV"), ("SpinalCord", "ORGAN"), ("SpinalCord_PRV05", ""), ("SpinalCanal", ""), ("Vocal cords", "")
        ),
        ComparisonConfig(),
    )
    assert found.cord is not None
    assert found.cord.name == "SpinalCord"
    assert found.notes == ()


def test_two_possible_cords_are_not_chosen_between() -> None:
    found = find_structures(_structures(("GTV", "GTV"), ("Cord", ""), ("Spinal cord", "")), ComparisonConfig())
    assert found.cord is None
    assert "comparison.cord_structure" in found.notes[0]


def test_without_a_tumour_the_reason_is_given() -> None:
    found = find_structures(_structures(("Spinal cord", "")), ComparisonConfig())
    assert found.tumours == ()
    assert "No tumour structure" in found.notes[0]


def test_a_name_of_the_configuration_that_is_missing_is_refused() -> None:
    with pytest.raises(InputError, match="cord_structure"):
        find_structures(_structures(("GTV", "GTV")), ComparisonConfig(cord_structure="Myelon"))
