"""report/summary.json: the numbers of one verification, for machines and for people in a hurry."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from gatecheck import __version__
from gatecheck.case.model import Beam, Structure
from gatecheck.compare.biology.model import Biology
from gatecheck.compare.error_budget import ErrorBudget
from gatecheck.compare.interface.model import Interface
from gatecheck.compare.model import DoseMetrics, DvhCurve, StructureComparison
from gatecheck.compare.profiles import Profiles
from gatecheck.compare.recalculation.model import Recalculation
from gatecheck.compare.setup_errors.model import SetupCheck, SetupRobustness
from gatecheck.compare.volume_gamma.model import VolumeGamma
from gatecheck.delivery.logs_followed import LogsFollowed
from gatecheck.delivery.model import BeamTimeline
from gatecheck.dose.model import ConvergenceStep
from gatecheck.files import HandedOn
from gatecheck.linac.acceptance import Acceptance, AcceptedMachine, acceptance_warning, accepted_machine
from gatecheck.linac.model import LinacModel
from gatecheck.patient.model import PatientModel
from gatecheck.report.compared_warnings import compared_warnings
from gatecheck.report.inputs import ReportInputs
from gatecheck.report.recalculated import recalculated_warnings
from gatecheck.report.rounds import SummaryRound, rounds_of
from gatecheck.transport.model import Engine, PhaseSpaceUse, Precision

_LATENT = "latent-uncertainty"
_LATENT_NOT_RECORDED = (
    "The source is a recorded phase space, but chunks.json is not kept: the latent uncertainty of the histories that "
    "the dose was made from is not known."
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SummaryWarning(_Part):
    """Something that a signing physicist has to know."""

    room: str = Field(description="linac, case, patient, transport, dose, compare or report")
    code: str = Field(description="stable short name, empty where the room gives none")
    message: str


class AxisRange(_Part):
    """One axis along a beam: where it starts and stops, how far it goes."""

    start: float
    stop: float
    lowest: float
    highest: float


class SummaryBeam(_Part):
    """One beam as it was simulated. Angles IEC 61217, in degrees; jaws in mm at the isocentre plane."""

    number: int
    name: str
    machine_name: str
    technique: str
    nominal_energy_mv: float
    fluence_mode: str
    meterset: float = Field(description="MU per fraction")
    control_points: int
    gantry: AxisRange = Field(description="continuous (unwrapped): a full arc spans 360")
    collimator: AxisRange
    couch: AxisRange
    jaw_x1: AxisRange
    jaw_x2: AxisRange
    jaw_y1: AxisRange
    jaw_y2: AxisRange
    leaf_pairs: int | None
    isocentre: tuple[float, float, float] = Field(description="DICOM LPS, mm, at the first control point")


class SummaryCalibration(_Part):
    """How dose per photon became dose per MU."""

    machine: str
    linac_sha256: str = Field(description="content of the machine model")
    key_sha256: str
    nominal_photons_per_mu: float
    relative_sigma: float = Field(description="common to every voxel; not part of any other sigma given")
    histories: int
    photon_histories: int = Field(0, description="more, whose photons alone were followed: the control variate's")
    reference: dict[str, float | str]
    phase_space: PhaseSpaceUse | None = Field(None, description="null: the machine model's source")


class SummaryStructure(_Part):
    """One structure: its volume, and its dose by Monte Carlo and, where there is one, by the TPS."""

    volume_ml: float
    interpreted_type: str
    covered_fraction: float
    mc: DoseMetrics | None
    tps: DoseMetrics | None
    mc_dvh: DvhCurve | None = Field(None, description="as drawn")
    tps_dvh: DvhCurve | None = Field(None, description="as drawn")
    note: str = ""


class RecordsItem(_Part):
    """One item of the RECORDS checklist (AAPM TG-268); see `gatecheck.report.records`."""

    item: str
    done: tuple[str, ...] = Field(description="what was done, one statement each")
    sources: tuple[str, ...] = Field(description="where the statements were read")


class Summary(HandedOn):
    """Written as report/summary.json. Doses are in Gy for the whole course; sigma is k = 1."""

    statement: str = Field("", description="one sentence to quote: what was checked, how, found, and not judged")
    case_id: str
    plan_label: str = Field(description="empty unless the configuration shows identities")
    gatecheck: str = Field(description="version that wrote the report; the engine's is in engine")
    machine: str
    accepted_machine: AcceptedMachine | None = Field(None, description="null: drawn without the machine model")
    patient_position: str
    fractions: int
    target_prescription_gy: float | None
    meterset_per_fraction: float
    beams: tuple[SummaryBeam, ...]
    histories: int = Field(description="source photons sampled")
    particles: int = Field(description="phase-space particles aimed at the patient")
    chunks: int = Field(description="independent runs, each with its own seed")
    batches: int
    mean_relative_sigma: float = Field(
        description="over body voxels of the joined grid above half the maximum, from batches: a coarse voxel counts "
        "as often as fine ones fit in it"
    )
    fine_relative_sigma: float = Field(description="over fine voxels above half the prescription, from batches")
    fine_voxels: int
    fine_spacing: tuple[float, float, float] | None = Field(
        None, description="of these voxels along x, y and z, mm; null: of an earlier version"
    )
    fine_above_gy: float | None = Field(
        None, description="the dose that these voxels are above; null: of an earlier version"
    )
    target_relative_sigma: float | None = Field(
        description="what fine_relative_sigma was to be; None: a number of photons was asked for"
    )
    precisions: tuple[Precision, ...] = Field((), description="how well it is known what was to be known")
    chunks_of_rounds: tuple[int, ...] = Field((), description="asked for by the pilot and by each round after it")
    convergence: tuple[ConvergenceStep, ...] = Field((), description="how fine_relative_sigma fell, chunk by chunk")
    rounds: tuple[SummaryRound, ...] = Field((), description="of more photons after the pilot's")
    mean_relative_sigma_history: float
    voxels_above_half_maximum: int
    maximum_gy: float = Field(description="of a voxel of the body as scored; noise picks the highest and so raises it")
    maximum_sigma_gy: float = Field(
        description="sigma (k = 1) of the voxel that has the maximum; not that of a maximum, which noise raises"
    )
    maximum_gy_per_fraction: float
    dose_to: str
    data_set: str
    data_set_kind: str
    clinical: bool = Field(description="False: not for clinical use")
    physics_list: str
    engine: Engine
    phase_space: PhaseSpaceUse | None = Field(
        None, description="recorded source with its latent sigma; null: the machine model's source"
    )
    calibration: SummaryCalibration
    seconds_of_chunks: float
    simulated_at: datetime.datetime | None = Field(
        None, description="when the last chunk ended, UTC; null: of an earlier version"
    )
    peak_memory_mb: float
    has_tps_dose: bool
    warnings: tuple[SummaryWarning, ...]
    structures: dict[str, SummaryStructure]
    interface: Interface = Field(description="compare/interface.json, whole")
    gamma: VolumeGamma | None = Field(None, description="compare/gamma.json, whole; null: of an earlier version")
    profiles: Profiles | None = Field(None, description="compare/profiles.json, whole; null: of an earlier version")
    biology: Biology = Field(description="compare/biology.json, whole")
    setup: SetupRobustness = Field(description="compare/setup.json, whole")
    setup_check: SetupCheck | None = Field(None, description="compare/setup_check.json; null: none of this dose")
    logs: LogsFollowed | None = Field(None, description="delivery/logs.json, whole; null: no trajectory logs given")
    recalculations: tuple[Recalculation, ...] = Field((), description="recalculated/*.json, whole")
    error_budget: ErrorBudget | None = Field(None, description="compare/error_budget.json, whole")
    normalisation_gy: float = Field(0.0, description="what 100 % is in figures and isodoses")
    normalisation_of: str = Field("", description="whose dose that is")
    inputs_sha256: dict[str, str] = Field(description="role of each file that the report was drawn from: SHA-256")
    records: tuple[RecordsItem, ...] = Field((), description="how it was simulated, by the RECORDS checklist")


def summarise(
    inputs: ReportInputs,
    preferred: Sequence[str] = (),
    *,
    records: Sequence[RecordsItem] = (),
    linac: LinacModel | None = None,
    acceptance: Acceptance | None = None,
) -> Summary:
    """Gather the numbers that earlier rooms wrote; nothing is computed but extents of motion.

    Parameters
    ----------
    preferred : names of structures that the configuration wants first; those not there are warned of
    records : the checklist of how it was simulated
    linac, acceptance : the machine model, and who took it for which machine
    """
    accepted = None if linac is None else accepted_machine(linac, acceptance)
    merge, case, calibration = inputs.merge, inputs.case, inputs.calibration
    timelines = {beam.number: beam for beam in inputs.delivery.beams}
    return Summary(
        case_id=case.case_id,
        plan_label=case.plan_label,
        gatecheck=__version__,
        machine=calibration.machine,
        accepted_machine=accepted,
        patient_position=case.patient_position,
        fractions=case.fractions,
        target_prescription_gy=case.target_prescription_gy,
        meterset_per_fraction=merge.meterset_per_fraction,
        beams=tuple(_beam(beam, timelines[beam.number]) for beam in case.beams),
        histories=merge.histories,
        particles=merge.particles,
        chunks=len(merge.chunks),
        batches=merge.batches,
        mean_relative_sigma=merge.mean_relative_sigma,
        fine_relative_sigma=merge.fine_relative_sigma,
        fine_voxels=merge.fine_voxels,
        fine_spacing=fine_spacing(inputs.patient),
        fine_above_gy=merge.fine_above_gy,
        target_relative_sigma=merge.target_relative_sigma,
        precisions=inputs.comparison.precisions,
        chunks_of_rounds=() if inputs.chunk_plan is None else inputs.chunk_plan.chunks_of_rounds,
        convergence=merge.convergence,
        rounds=rounds_of(inputs),
        mean_relative_sigma_history=merge.mean_relative_sigma_history,
        voxels_above_half_maximum=merge.voxels_above_half_maximum,
        maximum_gy=merge.maximum_gy,
        maximum_sigma_gy=merge.maximum_sigma_gy,
        maximum_gy_per_fraction=merge.maximum_gy_per_fraction,
        dose_to=merge.dose_to,
        data_set=merge.engine.data_set,
        data_set_kind=merge.engine.data_set_kind,
        clinical=merge.engine.clinical,
        physics_list=merge.engine.physics_list,
        engine=merge.engine,
        phase_space=inputs.phase_space,
        calibration=SummaryCalibration(
            machine=calibration.machine,
            linac_sha256=calibration.linac_sha256,
            key_sha256=calibration.key_sha256,
            nominal_photons_per_mu=merge.nominal_photons_per_mu,
            relative_sigma=merge.calibration_relative_sigma,
            histories=calibration.histories,
            photon_histories=calibration.photon_histories,
            reference=calibration.reference,
            phase_space=calibration.phase_space,
        ),
        seconds_of_chunks=merge.seconds_of_chunks,
        simulated_at=merge.simulated_at,
        peak_memory_mb=merge.peak_memory_mb,
        has_tps_dose=inputs.has_tps_dose,
        warnings=(*_machine_warnings(inputs, linac, accepted), *_warnings(inputs, preferred)),
        structures={name: _structure(structure) for name, structure in named_structures(inputs)},
        interface=inputs.compared.interface,
        gamma=inputs.compared.gamma,
        profiles=inputs.compared.profiles,
        biology=inputs.compared.biology,
        setup=inputs.compared.setup,
        setup_check=inputs.compared.setup_check,
        logs=inputs.recalculated.logs,
        recalculations=tuple(inputs.recalculated.recalculations.values()),
        error_budget=inputs.recalculated.budget,
        inputs_sha256=inputs.hashes,
        records=tuple(records),
    )


def fine_spacing(patient: PatientModel) -> tuple[float, float, float] | None:
    """Of the fine voxels, mm; without any, of the finest."""
    boxes = [box for box in patient.boxes if box.role == "fine"] or patient.boxes
    return min((box.spacing for box in boxes), default=None)


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Tell equal names apart: the second is "name (2)", unless that is taken too."""
    given = tuple(names)
    reserved = set(given)
    taken: set[str] = set()
    unique = []
    for name in given:
        candidate, count = name, 1
        while candidate in taken or (count > 1 and candidate in reserved):
            count += 1
            candidate = f"{name} ({count})"
        taken.add(candidate)
        unique.append(candidate)
    return tuple(unique)


def _beam(beam: Beam, timeline: BeamTimeline) -> SummaryBeam:
    def axis(values: list[float]) -> AxisRange:
        return AxisRange(start=values[0], stop=values[-1], lowest=min(values), highest=max(values))

    jaw_x, jaw_y = timeline.jaw_x, timeline.jaw_y
    x, y, z = (float(value) for value in timeline.isocentre[0])
    return SummaryBeam(
        number=beam.number,
        name=beam.name,
        machine_name=beam.machine_name,
        technique=beam.technique,
        nominal_energy_mv=beam.nominal_energy_mv,
        fluence_mode=beam.fluence_mode,
        meterset=beam.meterset,
        control_points=len(beam.control_points),
        gantry=axis(timeline.gantry.tolist()),
        collimator=axis(timeline.collimator.tolist()),
        couch=axis(timeline.couch.tolist()),
        jaw_x1=axis(jaw_x[:, 0].tolist()),
        jaw_x2=axis(jaw_x[:, 1].tolist()),
        jaw_y1=axis(jaw_y[:, 0].tolist()),
        jaw_y2=axis(jaw_y[:, 1].tolist()),
        leaf_pairs=None if timeline.leaf_positions is None else int(timeline.leaf_positions.shape[2]),
        isocentre=(x, y, z),
    )


def named_structures(inputs: ReportInputs) -> list[tuple[str, StructureComparison]]:
    """Every structure of the case under a name of its own, those without an evaluated dose last."""
    compared = list(inputs.comparison.structures) + [_not_compared(structure) for structure in _missing(inputs)]
    return list(zip(unique_names(structure.name for structure in compared), compared, strict=True))


def _structure(structure: StructureComparison) -> SummaryStructure:
    return SummaryStructure(
        volume_ml=structure.volume_ml,
        interpreted_type=structure.interpreted_type,
        covered_fraction=structure.covered_fraction,
        mc=structure.mc,
        tps=structure.tps,
        mc_dvh=structure.mc_dvh,
        tps_dvh=structure.tps_dvh,
        note=structure.note,
    )


def _machine_warnings(
    inputs: ReportInputs, linac: LinacModel | None, accepted: AcceptedMachine | None
) -> list[SummaryWarning]:
    if linac is None or accepted is None:
        return []
    found = acceptance_warning(linac, accepted, [beam.machine_name for beam in inputs.case.beams])
    return [] if found is None else [SummaryWarning(room="linac", code=found[0], message=found[1])]


def _warnings(inputs: ReportInputs, preferred: Sequence[str]) -> tuple[SummaryWarning, ...]:
    found = [SummaryWarning(room="case", code=w.code, message=w.message) for w in inputs.case.warnings]
    found += _of_room("patient", inputs.patient.warnings)
    found += _transport_warnings(inputs)
    found += _of_room("dose", inputs.merge.warnings)
    found += _of_room("compare", inputs.comparison.warnings)
    found += [
        SummaryWarning(room="compare", code=code, message=message)
        for code, message in compared_warnings(inputs.compared)
    ]
    found += [
        SummaryWarning(room="compare", code=code, message=message)
        for code, message in recalculated_warnings(inputs.recalculated)
    ]
    found += _own_warnings(inputs)
    known = {structure.name for structure in inputs.case.structures}
    found += [
        _own("unknown-structure", f"The configuration's report.structures names {name}, which the case does not have.")
        for name in preferred
        if name not in known
    ]
    return tuple(found)


def _of_room(room: str, messages: Iterable[str], code: str = "") -> list[SummaryWarning]:
    return [SummaryWarning(room=room, code=code, message=message) for message in messages]


def _transport_warnings(inputs: ReportInputs) -> list[SummaryWarning]:
    """What the files of a phase space gave reason to doubt, and where its latent sigma is the larger one."""
    use = inputs.phase_space
    if use is None:
        lost = inputs.calibration.phase_space is not None
        return _of_room("transport", [_LATENT_NOT_RECORDED] if lost else [], _LATENT)
    found = _of_room("transport", use.warnings, "phase-space")
    floor = use.latent_floor
    reached = inputs.merge.fine_relative_sigma if inputs.merge.fine_voxels else inputs.merge.mean_relative_sigma
    if floor is not None and floor[1] > reached:
        found += _of_room("transport", [_floor_warning(*floor, reached)], _LATENT)
    return found


def _floor_warning(side: float, latent: float, reached: float) -> str:
    return (
        f"The latent uncertainty of the phase space, {100 * latent:.2f} % (k = 1) in a square of {side:g} mm, is "
        f"larger than the mean relative sigma of {100 * reached:.2f} % that the run reached. Using its histories "
        "more often cannot lower it: more histories (other files under machine.phase_space.files) are needed."
    )


def _own_warnings(inputs: ReportInputs) -> list[SummaryWarning]:
    found = []
    for shown, given in named_structures(inputs):
        if shown != given.name:
            found.append(
                _own("duplicate-structure-name", f"Several structures are named {given.name}: one is shown as {shown}.")
            )
    found += [
        _own("structure-not-compared", f"{structure.name}: no dose was evaluated for this structure.")
        for structure in _missing(inputs)
    ]
    return found


def _missing(inputs: ReportInputs) -> list[Structure]:
    """Structures of the case that the comparison does not list, or lists fewer times."""
    left = [structure.name for structure in inputs.comparison.structures]
    missing = []
    for structure in inputs.case.structures:
        if structure.name in left:
            left.remove(structure.name)
        else:
            missing.append(structure)
    return missing


def _not_compared(structure: Structure) -> StructureComparison:
    return StructureComparison(
        name=structure.name,
        interpreted_type=structure.interpreted_type,
        volume_ml=structure.volume_ml,
        covered_fraction=0.0,
        mc=None,
        tps=None,
        mc_dvh=None,
        tps_dvh=None,
        note="no dose was evaluated for this structure",
    )


def _own(code: str, message: str) -> SummaryWarning:
    return SummaryWarning(room="report", code=code, message=message)
