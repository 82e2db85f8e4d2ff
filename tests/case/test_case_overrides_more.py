"""Couches, boluses and densities of the structure set: nothing of them is dropped without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from synthetic_dicom import DicomSet, rectangle, slice_positions, structures

from gatecheck.case.model import Case
from gatecheck.phantoms.dicom_writer import StructureDrawing

Ingested = Callable[[], Case]
Codes = Callable[[Case], set[str]]


def draw_beside_the_body(dicom_set: DicomSet, *kinds: str) -> None:
    """Structures of some RT ROI interpreted types, behind the body, numbered from 11."""
    slab = [rectangle(-20, 20, 31, 34, at) for at in slice_positions()]
    dicom_set.draw(
        [
            *structures(),
            *(
                StructureDrawing(number, f"{kind}_{number}", kind, (1, 2, 3), slab)
                for number, kind in enumerate(kinds, start=11)
            ),
        ]
    )


def with_property(roi: int, name: str, value: Any) -> Callable[[Dataset], None]:
    """Give a structure a physical property, as planning systems export a density override."""

    def change(dataset: Dataset) -> None:
        item = Dataset()
        item.ROIPhysicalProperty = name
        item.ROIPhysicalPropertyValue = value
        (observation,) = [o for o in dataset.RTROIObservationsSequence if o.ReferencedROINumber == roi]
        observation.ROIPhysicalPropertiesSequence = Sequence(
            [*observation.get("ROIPhysicalPropertiesSequence", []), item]
        )

    return change


@pytest.mark.parametrize(
    ("kind", "code"),
    [("SUPPORT", "support-structure"), ("FIXATION", "support-structure"), ("BOLUS", "bolus-structure")],
)
def test_a_couch_a_mask_and_a_bolus_are_said_to_be_air_outside_of_the_body_each_with_one_warning(
    dicom_set: DicomSet, ingested: Ingested, kind: str, code: str
) -> None:
    draw_beside_the_body(dicom_set, kind, kind, "ORGAN")
    messages = [warning.message for warning in ingested().warnings if warning.code == code]
    assert [message.split(" is of ")[0] for message in messages] == [f"Structure {kind}_11", f"Structure {kind}_12"]
    assert f"RT ROI Interpreted Type (3006,00A4) {kind}" in messages[0]
    assert "is air in the simulation, unless patient.couch_structures names it" in messages[0]


def test_an_empty_couch_is_only_empty(dicom_set: DicomSet, ingested: Ingested, codes: Codes) -> None:
    dicom_set.draw([*structures(), StructureDrawing(3, "Couch", "SUPPORT", (1, 2, 3), [])])
    assert codes(ingested()) == {"beams-without-meterset", "structure-empty"}


@pytest.mark.parametrize("name", ["REL_MASS_DENSITY", "REL_ELEC_DENSITY"])
def test_a_density_override_of_the_structure_set_is_said_not_to_be_applied(
    dicom_set: DicomSet, ingested: Ingested, name: str
) -> None:
    dicom_set.edit("RTSTRUCT", with_property(2, name, "1.03"))
    (message,) = [w.message for w in ingested().warnings if w.code == "density-override-in-rtstruct"]
    assert message.startswith("Structure GTV has physical properties in the RTSTRUCT")
    assert f"(ROI Physical Properties Sequence (3006,00B0): {name} 1.03)" in message
    assert "not applied" in message
    assert "patient.density_overrides" in message


def test_a_couch_with_a_density_is_warned_of_twice(dicom_set: DicomSet, ingested: Ingested, codes: Codes) -> None:
    draw_beside_the_body(dicom_set, "SUPPORT")
    dicom_set.edit("RTSTRUCT", with_property(11, "REL_ELEC_DENSITY", "0.6"))
    assert codes(ingested()) == {"beams-without-meterset", "support-structure", "density-override-in-rtstruct"}


def test_several_properties_of_a_structure_make_one_warning_that_quotes_no_free_text(
    dicom_set: DicomSet, ingested: Ingested
) -> None:
    dicom_set.edit("RTSTRUCT", with_property(2, "REL_MASS_DENSITY", "1.1"))
    dicom_set.edit("RTSTRUCT", with_property(2, "EFFECTIVE_Z", None))
    dicom_set.edit("RTSTRUCT", with_property(2, "PLANTED TEXT", "7"))
    (message,) = [w.message for w in ingested().warnings if w.code == "density-override-in-rtstruct"]
    assert "REL_MASS_DENSITY 1.1, EFFECTIVE_Z, another property 7)" in message
