"""What the structure set says about matter and only the configuration can bring in: couches, boluses, densities."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from gatecheck.case.attributes import Notes, called, code, items, number, required_integer
from gatecheck.case.contours import DrawnStructure

_PLACE = "RTSTRUCT"

# RT ROI interpreted types of what is not the patient, with the warning that each gives.
_OUTSIDE = {"SUPPORT": "support-structure", "FIXATION": "support-structure", "BOLUS": "bolus-structure"}

# Defined terms of ROI Physical Property (PS3.3 C.8.8.8.1); any other text is not quoted.
_PROPERTIES = (
    "REL_MASS_DENSITY",
    "REL_ELEC_DENSITY",
    "EFFECTIVE_Z",
    "EFF_Z_PER_A",
    "REL_STOP_RATIO",
    "ELEM_FRACTION",
    "MEAN_EXCI_ENERGY",
)


def warn_of_unused_matter(dataset: Dataset, structures: Sequence[DrawnStructure], notes: Notes) -> None:
    """Say of every structure what the planning system made of it and the simulation will not by itself."""
    properties = _properties_by_roi(dataset)
    for structure in structures:
        if not structure.planes:
            continue
        kind = structure.interpreted_type
        if kind in _OUTSIDE:
            notes.add(
                _OUTSIDE[kind],
                f"Structure {structure.name} is of {called('RTROIInterpretedType')} {kind}: what of it lies outside of "
                "the body is air in the simulation, unless patient.couch_structures names it (its CT numbers are then "
                "kept) or patient.density_overrides gives its density.",
            )
        if structure.number in properties:
            notes.add(
                "density-override-in-rtstruct",
                f"Structure {structure.name} has physical properties in the RTSTRUCT "
                f"({called('ROIPhysicalPropertiesSequence')}: {', '.join(properties[structure.number])}), which are "
                "not applied: its CT numbers count. If the plan was calculated with them, give the density in "
                "patient.density_overrides.",
            )


def _properties_by_roi(dataset: Dataset) -> dict[int, list[str]]:
    """What overrides the CT numbers, by ROI number; a structure may be observed more than once."""
    found: dict[int, list[str]] = {}
    for observation in items(dataset, "RTROIObservationsSequence", _PLACE):
        for item in items(observation, "ROIPhysicalPropertiesSequence", _PLACE):
            roi = required_integer(observation, "ReferencedROINumber", _PLACE)
            found.setdefault(roi, []).append(_described(item))
    return found


def _described(item: Dataset) -> str:
    name = code(item, "ROIPhysicalProperty")
    value = number(item, "ROIPhysicalPropertyValue", _PLACE)
    known = name if name in _PROPERTIES else "another property"
    return known if value is None else f"{known} {value:g}"
