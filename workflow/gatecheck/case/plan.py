"""The RTPLAN: which beams treat, how often, with how much meterset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from gatecheck.case.attributes import (
    Notes,
    called,
    code,
    items,
    number,
    references,
    required_integer,
    text,
)
from gatecheck.case.beams import read_beam
from gatecheck.case.ct import checked_position
from gatecheck.case.folder import DicomFile
from gatecheck.case.model import Beam, PatientPosition
from gatecheck.case.support import check_supported
from gatecheck.errors import InputError, UnsupportedPlanError

_PLACE = "RTPLAN"
_TREATS = ("", "TREATMENT")
_DOES_NOT_TREAT = ("SETUP", "OPEN_PORTFILM", "TRMT_PORTFILM")


@dataclass(frozen=True)
class Plan:
    """One photon plan.

    Attributes
    ----------
    patient_position : str or None
        None when the plan does not say.
    structure_set_uid : str
        SOP Instance UID of the structure set that the plan names, or empty.
    frame_of_reference : str
        Empty when the plan does not say.
    """

    label: str
    beams: tuple[Beam, ...]
    fractions: int
    target_prescription_gy: float | None
    patient_position: PatientPosition | None
    structure_set_uid: str
    frame_of_reference: str
    file: DicomFile


def read_plan(files: Sequence[DicomFile], notes: Notes) -> Plan:
    """Read the one plan of a folder.

    Raises
    ------
    InputError
        For no plan, two plans, damaged plans and plans without meterset.
    UnsupportedPlanError
        For everything that is refused by name.
    """
    file = _one_plan(files)
    dataset = file.dataset
    _check_kind(dataset)
    group = _fraction_group(dataset)
    fractions = required_integer(group, "NumberOfFractionsPlanned", _PLACE)
    if fractions < 1:
        raise InputError(f"{_PLACE}: {called('NumberOfFractionsPlanned')} is {fractions}, at least 1 expected.")
    treating = _treating_beams(dataset, _metersets(group), notes)
    check_supported([beam for beam, _ in treating], notes)
    structure_sets = references(dataset, "ReferencedStructureSetSequence", _PLACE)
    return Plan(
        label=text(dataset, "RTPlanLabel"),
        beams=tuple(read_beam(beam, meterset) for beam, meterset in treating),
        fractions=fractions,
        target_prescription_gy=_prescription(dataset, notes),
        patient_position=_patient_position(dataset, [beam for beam, _ in treating]),
        structure_set_uid=structure_sets[0] if structure_sets else "",
        frame_of_reference=text(dataset, "FrameOfReferenceUID"),
        file=file,
    )


def _one_plan(files: Sequence[DicomFile]) -> DicomFile:
    if not files:
        raise InputError("No RTPLAN in the folder. Export the plan with its CT, RTSTRUCT and RTDOSE.")
    if len(files) > 1:
        places = "; ".join(file.place for file in files)
        raise InputError(
            f"{len(files)} plans found (RTPLAN), 1 expected: {places}. Keep the one to be verified in the folder and "
            "move the others away."
        )
    return files[0]


def _check_kind(dataset: Dataset) -> None:
    if "ApplicationSetupSequence" in dataset or "SourceSequence" in dataset:
        raise UnsupportedPlanError("The plan is a brachytherapy plan, which gatecheck does not support.")
    if "IonBeamSequence" in dataset:
        raise UnsupportedPlanError("The plan has ion beams (protons or ions), which gatecheck does not support.")
    if not items(dataset, "BeamSequence", _PLACE):
        raise InputError(f"{_PLACE}: {called('BeamSequence')} is missing; the file may be truncated. Export it again.")


def _fraction_group(dataset: Dataset) -> Dataset:
    groups = items(dataset, "FractionGroupSequence", _PLACE)
    if len(groups) != 1:
        raise UnsupportedPlanError(
            f"{_PLACE}: {len(groups)} fraction groups found ({called('FractionGroupSequence')}), 1 expected. "
            "Export one plan for each."
        )
    group = groups[0]
    if number(group, "NumberOfBrachyApplicationSetups", _PLACE):
        raise UnsupportedPlanError("The plan has brachytherapy applications, which gatecheck does not support.")
    return group


def _metersets(group: Dataset) -> dict[int, float]:
    """MU per fraction by ReferencedBeamNumber; a beam without Beam Meterset has 0."""
    metersets: dict[int, float] = {}
    referenced = items(group, "ReferencedBeamSequence", _PLACE)
    for item in referenced:
        beam_number = required_integer(item, "ReferencedBeamNumber", _PLACE)
        meterset = number(item, "BeamMeterset", f"Beam {beam_number}") or 0.0
        if meterset < 0:
            raise InputError(f"Beam {beam_number}: {called('BeamMeterset')} is negative. Export the plan again.")
        if beam_number in metersets:
            raise InputError(f"Beam {beam_number} is referenced twice by the fraction group. Export the plan again.")
        metersets[beam_number] = meterset
    stated = number(group, "NumberOfBeams", _PLACE)
    if stated is not None and int(stated) != len(referenced):
        raise InputError(
            f"{_PLACE}: the fraction group references {len(referenced)} beams, {int(stated)} expected by "
            f"{called('NumberOfBeams')}. The file is damaged; export it again."
        )
    return metersets


def _treating_beams(dataset: Dataset, metersets: dict[int, float], notes: Notes) -> list[tuple[Dataset, float]]:
    """Beams of non-zero meterset that treat, in the plan's order, with their meterset."""
    beams: dict[int, Dataset] = {}
    for item in items(dataset, "BeamSequence", _PLACE):
        beam_number = required_integer(item, "BeamNumber", _PLACE)
        if beam_number in beams:
            raise InputError(f"{_PLACE}: two beams have number {beam_number}. Export the plan again.")
        beams[beam_number] = item
    missing = [beam_number for beam_number in metersets if beam_number not in beams]
    if missing:
        raise InputError(
            f"{_PLACE}: the fraction group references {_listed(missing)}, missing in {called('BeamSequence')}. "
            "The file may be truncated; export it again."
        )
    unused, treating = [], []
    for beam_number, item in beams.items():
        meterset = metersets.get(beam_number, 0.0)
        delivery = code(item, "TreatmentDeliveryType")
        if meterset == 0.0:
            unused.append(beam_number)
        elif delivery in _DOES_NOT_TREAT:
            notes.add(
                "setup-beam-with-meterset",
                f"Beam {beam_number} is no treatment beam ({called('TreatmentDeliveryType')} {delivery}) and was left "
                f"out, with its {meterset:g} MU.",
            )
        elif delivery not in _TREATS:
            raise UnsupportedPlanError(
                f"Beam {beam_number}: {called('TreatmentDeliveryType')} is not TREATMENT (a continued treatment or "
                "another kind), which gatecheck does not support. Export the whole plan."
            )
        else:
            treating.append((item, meterset))
    if not treating:
        raise InputError(
            f"{_PLACE}: none of its {len(beams)} beams has a meterset ({called('BeamMeterset')}), so there is nothing "
            "to verify. Calculate the plan's dose and meterset, and export it again."
        )
    if unused:
        left_out = _listed(unused).capitalize()
        notes.add("beams-without-meterset", f"{left_out} left out: no meterset (setup or imaging).")
    return treating


def _listed(numbers_of_beams: Sequence[int]) -> str:
    word = "beam" if len(numbers_of_beams) == 1 else "beams"
    return f"{word} {', '.join(map(str, numbers_of_beams))}"


def _prescription(dataset: Dataset, notes: Notes) -> float | None:
    """Highest dose prescribed to a target, Gy for the course."""
    doses = {
        dose
        for item in items(dataset, "DoseReferenceSequence", _PLACE)
        if code(item, "DoseReferenceType") == "TARGET"
        and (dose := number(item, "TargetPrescriptionDose", _PLACE)) is not None
        and dose > 0
    }
    if len(doses) > 1:
        notes.add(
            "several-prescriptions",
            f"The plan prescribes {', '.join(f'{dose:g}' for dose in sorted(doses))} Gy; the highest is reported.",
        )
    return max(doses, default=None)


def _patient_position(dataset: Dataset, beams: Sequence[Dataset]) -> PatientPosition | None:
    """The position in which the treating beams are delivered."""
    setups: dict[int, str] = {}
    for item in items(dataset, "PatientSetupSequence", _PLACE):
        setups[required_integer(item, "PatientSetupNumber", _PLACE)] = code(item, "PatientPosition")
    used = {number(beam, "ReferencedPatientSetupNumber", _PLACE) for beam in beams}
    positions = {setups[int(setup)] for setup in used if setup is not None and int(setup) in setups}
    if not positions and len(set(setups.values())) == 1:
        positions = set(setups.values())
    positions.discard("")
    if len(positions) > 1:
        raise UnsupportedPlanError(
            f"{_PLACE}: its beams are delivered in {len(positions)} patient positions, 1 expected. "
            "Export a plan for each."
        )
    return checked_position(positions.pop() if positions else "", "The plan")
