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
from gatecheck.case.beams import MLC_TYPE, leaves_move, read_beam
from gatecheck.case.ct import checked_position
from gatecheck.case.folder import DicomFile
from gatecheck.case.model import Beam, PatientPosition
from gatecheck.case.support import check_supported
from gatecheck.errors import InputError, UnsupportedPlanError

_PLACE = "RTPLAN"
_TREATS = ("", "TREATMENT")
_DOES_NOT_TREAT = ("SETUP", "OPEN_PORTFILM", "TRMT_PORTFILM")
_POINTS_OF_A_SETUP_BEAM = 2


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
    treating = _treating_beams(dataset, _references(group), notes)
    check_supported([beam for beam, _ in treating], notes)
    structure_sets = references(dataset, "ReferencedStructureSetSequence", _PLACE)
    return Plan(
        label=text(dataset, "RTPlanLabel"),
        beams=tuple(read_beam(beam, meterset, notes) for beam, meterset in treating),
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


def _references(group: Dataset) -> dict[int, Dataset]:
    """What the fraction group says of each beam, by ReferencedBeamNumber."""
    referenced: dict[int, Dataset] = {}
    sequence = items(group, "ReferencedBeamSequence", _PLACE)
    for item in sequence:
        beam_number = required_integer(item, "ReferencedBeamNumber", _PLACE)
        if beam_number in referenced:
            raise InputError(f"Beam {beam_number} is referenced twice by the fraction group. Export the plan again.")
        referenced[beam_number] = item
    stated = number(group, "NumberOfBeams", _PLACE)
    if stated is not None and int(stated) != len(sequence):
        raise InputError(
            f"{_PLACE}: the fraction group references {len(sequence)} beams, {int(stated)} expected by "
            f"{called('NumberOfBeams')}. The file is damaged; export it again."
        )
    return referenced


def _meterset(reference: Dataset | None, beam_number: int) -> float | None:
    """MU per fraction; None for a beam of which the fraction group says nothing, which is not the same as 0."""
    meterset = None if reference is None else number(reference, "BeamMeterset", f"Beam {beam_number}")
    if meterset is not None and meterset < 0:
        raise InputError(f"Beam {beam_number}: {called('BeamMeterset')} is negative. Export the plan again.")
    return meterset


def _treating_beams(dataset: Dataset, referenced: dict[int, Dataset], notes: Notes) -> list[tuple[Dataset, float]]:
    """Beams of non-zero meterset that treat, in the plan's order, with their meterset."""
    beams = _numbered_beams(dataset, referenced)
    unused: list[int] = []
    lost: list[int] = []
    treating = []
    for beam_number, item in beams.items():
        reference = referenced.get(beam_number)
        meterset = _meterset(reference, beam_number)
        delivery = code(item, "TreatmentDeliveryType")
        if meterset is None and delivery not in _DOES_NOT_TREAT:
            _refuse_a_lost_meterset(item, reference, f"Beam {beam_number}")
            lost.append(beam_number)
        elif not meterset:
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
    all_have_leaves = all(_has_leaves(item) for item, _ in treating)
    imaging = [n for n in lost if n in referenced and all_have_leaves and _is_bare(beams[n])]
    _note_left_out([n for n in beams if n in {*unused, *imaging}], [n for n in lost if n not in imaging], notes)
    return treating


def _numbered_beams(dataset: Dataset, referenced: dict[int, Dataset]) -> dict[int, Dataset]:
    beams: dict[int, Dataset] = {}
    for item in items(dataset, "BeamSequence", _PLACE):
        beam_number = required_integer(item, "BeamNumber", _PLACE)
        if beam_number in beams:
            raise InputError(f"{_PLACE}: two beams have number {beam_number}. Export the plan again.")
        beams[beam_number] = item
    missing = [beam_number for beam_number in referenced if beam_number not in beams]
    if missing:
        raise InputError(
            f"{_PLACE}: the fraction group references {_listed(missing)}, missing in {called('BeamSequence')}. "
            "The file may be truncated; export it again."
        )
    return beams


def _refuse_a_lost_meterset(item: Dataset, reference: Dataset | None, place: str) -> None:
    """A beam without meterset that looks as if it treated must not vanish from the dose."""
    sign = _sign_of_treating(item, reference, place)
    if not sign:
        return
    lost = "the fraction group does not reference it" if reference is None else f"{called('BeamMeterset')} is missing"
    raise InputError(
        f"{place}: {lost}, but the beam {sign}, so that it seems to treat. Calculate the plan's dose and meterset and "
        f"export it again; a beam that does not treat needs {called('TreatmentDeliveryType')} SETUP or a meterset of 0."
    )


def _sign_of_treating(item: Dataset, reference: Dataset | None, place: str) -> str:
    dose = None if reference is None else number(reference, "BeamDose", place)
    if dose is not None and dose > 0:
        return f"has {called('BeamDose')} {dose:g} Gy"
    if leaves_move(item, place):
        return f"moves its leaves ({called('LeafJawPositions')})"
    points = len(items(item, "ControlPointSequence", place))
    return f"has {points} control points" if points > _POINTS_OF_A_SETUP_BEAM else ""


def _has_leaves(item: Dataset) -> bool:
    devices = items(item, "BeamLimitingDeviceSequence", _PLACE)
    return any(code(device, "RTBeamLimitingDeviceType") == MLC_TYPE for device in devices)


def _is_bare(item: Dataset) -> bool:
    """A static beam of jaws alone: how Eclipse exports setup and imaging fields, as TREATMENT without meterset."""
    return code(item, "BeamType") == "STATIC" and not _has_leaves(item)


def _note_left_out(unused: Sequence[int], lost: Sequence[int], notes: Notes) -> None:
    if unused:
        left_out = _listed(unused).capitalize()
        notes.add("beams-without-meterset", f"{left_out} left out: no meterset (setup or imaging).")
    if lost:
        notes.add(
            "treatment-beams-without-meterset",
            f"NOT VERIFIED: {_listed(lost)} left out. {called('TreatmentDeliveryType')} does not say SETUP, but there "
            f"is no {called('BeamMeterset')}. If one of them treats, the dose is wrong: calculate its meterset and "
            "export the plan again.",
        )


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
