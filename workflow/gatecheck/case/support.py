"""What a photon beam may carry; everything else is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pydicom.dataset import Dataset

from gatecheck.case.attributes import Notes, called, code, items, number, required_integer, text
from gatecheck.case.beams import JAW_X_TYPES, JAW_Y_TYPES, MLC_TYPE, leaves_move
from gatecheck.errors import InputError, UnsupportedPlanError

_DUAL_LAYER_TYPES = ("MLCX1", "MLCX2", "MLCY1", "MLCY2")

_WEDGES = {
    "STANDARD": "a physical wedge",
    "DYNAMIC": "an enhanced dynamic (virtual) wedge",
    "MOTORIZED": "a motorised wedge",
    "PARTIAL_STANDARD": "a partial physical wedge",
    "PARTIAL_MOTORIZ": "a partial motorised wedge",
}

_TECHNIQUES = ("", "NORMAL", "SRS")
"""High Dose Technique Types that change limits of the machine, not its beam."""

_FLUENCE_COMPENSATORS = ("OPTIMAL", "TOTAL_ACTUAL")
"""Compensator Types under which Eclipse exports the fluence map that its leaf motions were made from."""

_TRAY_FACTORS = {
    "TotalBlockTrayFactor": "a block tray",
    "TotalCompensatorTrayFactor": "a compensator tray",
}
_TRAY_THICKNESSES = {
    "TotalWedgeTrayWaterEquivalentThickness": "a wedge tray",
    "TotalBlockTrayWaterEquivalentThickness": "a block tray",
    "TotalCompensatorTrayWaterEquivalentThickness": "a compensator tray",
}
_NO_TRAY = 1e-4  # of the dose, or mm: the rounding of a factor of 1 and of a thickness of 0

_TABLE_TOP = ("TableTopVerticalPosition", "TableTopLongitudinalPosition", "TableTopLateralPosition")
_TABLE_TOP_STANDS = 0.5  # mm

_OTHER_MACHINES = (
    *("Clinac", "Trilogy", "iX", "Unique", "Halcyon", "Ethos"),  # Varian
    *("Synergy", "Versa", "Infinity", "Unity"),  # Elekta
    *("Primus", "Oncor", "Artiste"),  # Siemens
    *("Tomo", "Radixact", "CyberKnife"),  # Accuray
)
"""Words in a model name that stand for a machine with another head than that of the TrueBeam family."""

_TILTS = ("TableTopEccentricAngle", "TableTopPitchAngle", "TableTopRollAngle", "GantryPitchAngle")
_UPRIGHT = 0.01  # degrees


def check_supported(beams: Sequence[Dataset], notes: Notes) -> None:
    """Check that treatment beams are such as gatecheck models.

    Raises
    ------
    UnsupportedPlanError
        Naming the beam and what is not supported.
    """
    with_maps = []
    for dataset in beams:
        place = _place(dataset)
        _check_radiation(dataset, place)
        _check_accessories(dataset, place)
        _check_trays(dataset, place)
        if _has_fluence_maps(dataset, place):
            with_maps.append(place)
        _check_devices(dataset, place)
        _check_control_points(dataset, place)
        _check_table_top(dataset, place)
    if with_maps:
        notes.add(
            "fluence-compensators-not-used",
            f"{', '.join(with_maps)}: the compensators are fluence maps without material or tray (optimal fluence); "
            "the leaf motions of the control points were used, the maps were not.",
        )
    _note_machines(beams, notes)
    _note_models(beams, notes)
    _note_fluence_modes(beams, notes)


def _place(dataset: Dataset) -> str:
    return f"Beam {required_integer(dataset, 'BeamNumber', 'RTPLAN')}"


def _places(beams: Iterable[Dataset]) -> str:
    return ", ".join(_place(beam) for beam in beams)


def _refused(place: str, what: str) -> UnsupportedPlanError:
    return UnsupportedPlanError(
        f"{place} uses {what}, which gatecheck does not support. "
        "Supported are photon beams shaped by jaws and one MLC moving along X."
    )


def _check_radiation(dataset: Dataset, place: str) -> None:
    radiation = code(dataset, "RadiationType")
    if radiation != "PHOTON":
        known = {"ELECTRON": "electrons", "PROTON": "protons", "NEUTRON": "neutrons", "ION": "ions"}
        raise _refused(place, known.get(radiation, f"no photons by {called('RadiationType')}"))
    if code(dataset, "HighDoseTechniqueType") not in _TECHNIQUES:
        raise _refused(place, f"a special technique by {called('HighDoseTechniqueType')} (total body, high dose)")
    unit = code(dataset, "PrimaryDosimeterUnit")
    if unit not in {"", "MU"}:
        raise _refused(place, f"a meterset that is not in MU by {called('PrimaryDosimeterUnit')}")


def _check_accessories(dataset: Dataset, place: str) -> None:
    wedges = items(dataset, "WedgeSequence", place)
    if _count(dataset, "NumberOfWedges", place) or wedges:
        kind = code(wedges[0], "WedgeType") if wedges else ""
        raise _refused(place, _WEDGES.get(kind, "a wedge"))
    if _count(dataset, "NumberOfBlocks", place) or items(dataset, "BlockSequence", place):
        raise _refused(place, "a block")
    if _count(dataset, "NumberOfBoli", place) or items(dataset, "ReferencedBolusSequence", place):
        raise _refused(place, "a bolus")
    for applicator in items(dataset, "ApplicatorSequence", place):
        is_cone = code(applicator, "ApplicatorType") == "STEREOTACTIC"
        raise _refused(place, "a stereotactic cone" if is_cone else "an applicator")
    if items(dataset, "GeneralAccessorySequence", place):
        raise _refused(place, "an accessory in the beam (General Accessory Sequence (300A,0420))")


def _check_trays(dataset: Dataset, place: str) -> None:
    """A tray weakens the beam even where no block, compensator or wedge lies on it."""
    for expected, trays in ((1.0, _TRAY_FACTORS), (0.0, _TRAY_THICKNESSES)):
        for keyword, tray in trays.items():
            found = number(dataset, keyword, place)
            if found is not None and abs(found - expected) > _NO_TRAY:
                raise _refused(place, f"{tray} ({called(keyword)} is {found:g}, {expected:g} expected)")


def _has_fluence_maps(dataset: Dataset, place: str) -> bool:
    """Let fluence maps pass that the leaf motions already deliver; refuse blocks of metal."""
    compensators = items(dataset, "CompensatorSequence", place)
    if not compensators:
        if _count(dataset, "NumberOfCompensators", place):
            raise _refused(place, "a compensator")
        return False
    for compensator in compensators:
        is_map = (
            code(compensator, "CompensatorType") in _FLUENCE_COMPENSATORS
            and not text(compensator, "MaterialID")
            and number(compensator, "SourceToCompensatorTrayDistance", place) is None
            and "CompensatorThicknessData" not in compensator
        )
        if not is_map:
            raise _refused(place, "a compensator")
    if not leaves_move(dataset, place):
        raise _refused(place, "an optimal fluence without leaf motions that deliver it")
    return True


def _check_devices(dataset: Dataset, place: str) -> None:
    kinds = [code(item, "RTBeamLimitingDeviceType") for item in items(dataset, "BeamLimitingDeviceSequence", place)]
    layered = [kind for kind in kinds if kind in _DUAL_LAYER_TYPES]
    if layered or items(dataset, "EnhancedRTBeamLimitingDeviceSequence", place):
        raise _refused(place, f"a dual-layer MLC ({', '.join(layered) or 'enhanced beam limiting devices'})")
    for kind in kinds:
        if kind == "MLCY":
            raise _refused(place, "an MLC moving along Y (MLCY)")
        if kind not in (*JAW_X_TYPES, *JAW_Y_TYPES, MLC_TYPE):
            raise _refused(
                place, f"a beam limiting device that is no jaw and no MLC by {called('RTBeamLimitingDeviceType')}"
            )
    for axis, types in (("X", JAW_X_TYPES), ("Y", JAW_Y_TYPES), ("MLC", (MLC_TYPE,))):
        found = sum(kind in types for kind in kinds)
        if found > 1:
            raise InputError(f"{place} has {found} {axis} devices, 1 expected. Export the plan again.")
        if found == 0 and axis != "MLC":
            raise _refused(place, f"no {axis} jaws")


def _check_control_points(dataset: Dataset, place: str) -> None:
    for index, item in enumerate(items(dataset, "ControlPointSequence", place)):
        here = f"{place}, control point {index}"
        for keyword in _TILTS:
            angle = number(item, keyword, here) or 0.0
            if min(angle % 360.0, -angle % 360.0) > _UPRIGHT:
                raise UnsupportedPlanError(
                    f"{here}: {called(keyword)} is {angle:g} degrees; only 0 is supported. Plan without it."
                )
        if any(code(wedge, "WedgePosition") == "IN" for wedge in items(item, "WedgePositionSequence", here)):
            raise _refused(here, "a wedge")


def _check_table_top(dataset: Dataset, place: str) -> None:
    """Where the couch stands does not matter, the isocentre says it; that it moves would."""
    for keyword in _TABLE_TOP:
        stated = [
            (index, position)
            for index, item in enumerate(items(dataset, "ControlPointSequence", place))
            if (position := number(item, keyword, f"{place}, control point {index}")) is not None
        ]
        for index, position in stated:
            moved = position - stated[0][1]
            if abs(moved) > _TABLE_TOP_STANDS:
                raise UnsupportedPlanError(
                    f"{place}, control point {index}: {called(keyword)} has changed by {moved:g} mm since control "
                    f"point {stated[0][0]}; only a couch that stands still within a beam is supported. Plan without it."
                )


def _note_machines(beams: Sequence[Dataset], notes: Notes) -> None:
    by_machine: dict[str, list[Dataset]] = {}
    for beam in beams:
        by_machine.setdefault(text(beam, "TreatmentMachineName"), []).append(beam)
    by_machine.pop("", None)
    if len(by_machine) > 1:
        notes.add(
            "several-machines",
            f"The beams name {len(by_machine)} machines ({called('TreatmentMachineName')}): "
            f"{'; '.join(_places(same) for same in by_machine.values())}. One machine model is used for all of them.",
        )


def _note_models(beams: Sequence[Dataset], notes: Notes) -> None:
    by_word: dict[str, list[Dataset]] = {}
    for beam in beams:
        word = _other_machine(text(beam, "ManufacturerModelName"))
        if word:
            by_word.setdefault(word, []).append(beam)
    for word, named in by_word.items():
        notes.add(
            "not-a-truebeam",
            f"{_places(named)}: {called('ManufacturerModelName')} says {word}, but the machine models are of the "
            "TrueBeam family. The dose is that of another machine than the plan's.",
        )


def _other_machine(model: str) -> str:
    """The word of another machine that begins in the model's name, or empty; a word of two letters also ends there."""
    for word in _OTHER_MACHINES:
        end = "(?![a-z])" if len(word) == 2 else ""
        if re.search(f"(?<![a-z]){word}{end}", model, re.IGNORECASE):
            return word
    return ""


def _note_fluence_modes(beams: Sequence[Dataset], notes: Notes) -> None:
    silent = [beam for beam in beams if not items(beam, "PrimaryFluenceModeSequence", _place(beam))]
    if silent:
        notes.add(
            "fluence-mode-not-stated",
            f"{_places(silent)}: {called('PrimaryFluenceModeSequence')} is missing; a flattened beam was assumed. "
            "Check that it is not flattening filter free (FFF).",
        )


def _count(dataset: Dataset, keyword: str, place: str) -> int:
    return int(number(dataset, keyword, place) or 0)
