"""How the dose was simulated, item by item of the RECORDS checklist.

Sechopoulos et al., "RECORDS: improved Reporting of montE CarlO RaDiation transport Studies: Report of the AAPM
Research Committee Task Group 268", Med. Phys. 45 (2018) e1, with geometry as an item of its own. Every number is read
from a file of the run, from the machine model that it used or from its configuration; where none of them says
something, the item says that it is not recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gatecheck.compare.setup_errors.model import SetupRobustness
from gatecheck.config import Config
from gatecheck.errors import ResultError
from gatecheck.files import read_json
from gatecheck.linac.model import Alloy, Beam, JawPair, LinacModel, Machine
from gatecheck.linac.photon_source import mean_energy
from gatecheck.report.inputs import ReportInputs
from gatecheck.report.numbers import number
from gatecheck.report.summary import RecordsItem, fine_spacing
from gatecheck.report.words import (
    WHOLE_REGION,
    duration,
    fine_region,
    latent,
    percent,
    reached,
    recorded_source,
    setting_name,
    technique,
)
from gatecheck.transport.model import CalibrationResult, ChunkPlan, ChunkResult, Engine

NOT_RECORDED = "not recorded"

_SOURCE_MODEL, _MACHINE = "machine model, beam file", "machine model, machine file"
_MERGE, _CALIBRATION, _PATIENT, _CASE = "merge.json", "calibration.json", "patient.json", "case.json"
_COMPARED = "interface.json, biology.json, setup.json"
_CHUNKS, _PLAN, _CONFIGURATION, _COMPARISON = "chunk files", "chunks.json", "configuration", "comparison.json"
# Keys of the engine's settings.
_STATED_ELSEWHERE = (
    "photon_transport",
    "photon_cross_sections",
    "far_electrons",
    "far_photons",
    "electrons_into_air",
    "head",
    "head_largest_segment",
)
_DIGITS_OF_HASH = 12
_SIGMA = "\N{GREEK SMALL LETTER SIGMA}"


@dataclass(frozen=True, slots=True)
class Run:
    """What there is to be read of one run.

    Attributes
    ----------
    linac, config : None where the caller has none
    chunks : None where the chunks' files are not kept
    """

    inputs: ReportInputs
    linac: LinacModel | None
    config: Config | None
    chunks: tuple[ChunkResult, ...] | None

    @property
    def plan(self) -> ChunkPlan | None:
        """None where chunks.json is not kept."""
        return self.inputs.chunk_plan

    @property
    def has_recorded_source(self) -> bool:
        """Whether a phase space took the place of the machine model's source, by any file of the run."""
        asked = self.config is not None and self.config.machine.source == "phase_space"
        return asked or self.inputs.phase_space is not None or self.inputs.calibration.phase_space is not None


def records_of(
    inputs: ReportInputs, *, linac: LinacModel | None = None, config: Config | None = None
) -> tuple[RecordsItem, ...]:
    """The checklist's items for one run, in its order.

    Raises
    ------
    ResultError
        When chunks are there that the dose was not made from.
    """
    run = Run(inputs, linac, config, _read_chunks(inputs))
    return tuple(describe(run) for describe in _ITEMS)


def _read_chunks(inputs: ReportInputs) -> tuple[ChunkResult, ...] | None:
    paths = [inputs.layout.chunk(index) for index in inputs.merge.chunks]
    if not all(path.exists() for path in paths):
        return None
    chunks = tuple(read_json(path, ChunkResult) for path in paths)
    for path, chunk in zip(paths, chunks, strict=True):
        if chunk.inputs_sha256 != inputs.merge.inputs_sha256:
            raise ResultError(f"{path.name}: made from other inputs than merge.json. Run merge again.")
    return chunks


def _item(name: str, done: Sequence[str], *sources: str) -> RecordsItem:
    return RecordsItem(item=name, done=tuple(done), sources=sources)


def _by(lengths: Sequence[float]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(f"{length:g}" for length in lengths)


def _count(number_of: int, one: str, several: str) -> str:
    return f"{number_of} {one if number_of == 1 else several}"


def _code(run: Run) -> RecordsItem:
    engine = run.inputs.merge.engine
    done = (
        f"gatecheck {engine.gatecheck}, opengate {engine.opengate}, Geant4 {engine.geant4}",
        f"Made with: {_made_with(run.inputs.merge.made_with)}",
        f"Photons in the patient: {engine.settings.get('photon_transport', NOT_RECORDED)}",
        f"Release dates: {NOT_RECORDED}",
    )
    return _item("Code and version", done, _MERGE)


def _made_with(made_with: Mapping[str, str]) -> str:
    libraries = [f"{name} {version}" for name, version in made_with.items() if name != "code_sha256"]
    hashes = [one[:_DIGITS_OF_HASH] for one in made_with.get("code_sha256", "").split(" and ") if one]
    return ", ".join([*libraries, *(f"code of SHA-256 {one}…" for one in hashes)]) or NOT_RECORDED


def _validation(run: Run) -> RecordsItem:
    merge = run.inputs.merge
    done = [
        f"Phase space against measurements: {NOT_RECORDED}" if run.has_recorded_source else _fit(run.linac),
        f"Mean relative {_SIGMA} of {WHOLE_REGION}, in this run: {percent(merge.mean_relative_sigma)} from batches, "
        f"{percent(merge.mean_relative_sigma_history)} history by history",
        f"Comparison with a TPS dose: {'yes' if run.inputs.has_tps_dose else 'no TPS dose in the case'}",
    ]
    if run.chunks:
        entered = sum(chunk.energy["entered"] for chunk in run.chunks)
        deposited = sum(chunk.energy["deposited"] for chunk in run.chunks)
        done.append(f"Energy deposited in the patient: {percent(deposited / entered)} of what entered its boxes")
    return _item("Validation", done, _SOURCE_MODEL, _MERGE, _COMPARISON, *([_CHUNKS] if run.chunks else []))


def _fit(linac: LinacModel | None) -> str:
    if linac is None:
        return f"Machine model against measurements: {NOT_RECORDED}"
    fit = linac.beam.fit
    if fit is None:
        return f"Machine model {linac.name}, beam {linac.beam.name}, against measurements: {NOT_RECORDED}"
    return (
        f"Machine model {linac.name}, beam {linac.beam.name}: {_count(len(fit.parameters), 'parameter', 'parameters')} "
        f"of the source fitted to beam data of SHA-256 {fit.beam_data_sha256[:_DIGITS_OF_HASH]}…, "
        f"χ² = {fit.chi_squared:.4g} with {fit.degrees_of_freedom} degrees of freedom. {fit.source}"
    )


def _timing(run: Run) -> RecordsItem:
    merge, calibration = run.inputs.merge, run.inputs.calibration
    per_million = 1e6 * merge.seconds_of_chunks / merge.histories
    done = (
        f"{duration(merge.seconds_of_chunks)} for all {len(merge.chunks)} runs together, one process each; "
        f"{duration(per_million)} per million histories",
        f"Largest memory of a process: {number(merge.peak_memory_mb)} MB",
        f"Reference field, once per machine model: {duration(calibration.seconds)}",
        f"Processor: {NOT_RECORDED}",
    )
    return _item("Timing", done, _MERGE, _CALIBRATION)


def _source(run: Run) -> RecordsItem:
    done = [_kind_of_source(run.config)]
    use = run.inputs.phase_space
    if use is not None:
        done += [f"Phase space: {recorded_source(use)}", *use.warnings]
    if run.has_recorded_source:
        done.append("The source of the beam file: not used")
    else:
        done += [f"Source model: {NOT_RECORDED}"] if run.linac is None else _source_model(run.linac)
    done.append(
        f"Machine model SHA-256: {run.inputs.calibration.linac_sha256[:_DIGITS_OF_HASH]}…"
        if run.inputs.calibration.linac_sha256
        else f"Machine model SHA-256: {NOT_RECORDED}"
    )
    return _item("Source", done, _CONFIGURATION, *([_PLAN] if use else []), _SOURCE_MODEL, _CALIBRATION)


def _kind_of_source(config: Config | None) -> str:
    if config is None:
        return f"Kind of source and head: {NOT_RECORDED}"
    machine = config.machine
    if machine.source == "phase_space":
        space = machine.phase_space
        turned = ", each use turned by a random angle" if space.rotate else ""
        return (
            f"Phase space above the jaws from {_count(len(space.files), 'file', 'files')} in IAEA format, each history "
            f"used {_count(space.recycle, 'time', 'times')}{turned}; {machine.head} head below it"
        )
    return f"The machine model's source, {machine.head} head below it"


def _source_model(linac: LinacModel) -> list[str]:
    beam = linac.beam
    spectrum, spot, extra, electrons = beam.spectrum, beam.focal_spot, beam.extra_focal, beam.contaminant_electrons
    return [
        f"{linac.machine.description}, beam {beam.name}: {beam.nominal_energy_mv:g} MV, {beam.fluence_mode}",
        f"Spectrum: {spectrum.lowest_energy:g} to {spectrum.electron_energy:g} MeV, mean photon energy on the axis "
        f"{mean_energy(spectrum):.3f} MeV",
        f"Focal spot: Gaussian, {_SIGMA} {spot.sigma_minor:g} and {spot.sigma_major:g} mm",
        f"Off the axis: fluence and softening tabulated to {beam.off_axis.radius[-1]:g} mm at the isocentre plane",
        f"Extra-focal photons: {percent(extra.fraction)} of all, from a disc of {_SIGMA} {extra.sigma:g} mm, "
        f"{extra.distance:g} mm below the target",
        f"Contaminant electrons: {electrons.per_photon:.4g} per photon, mean energy {electrons.mean_energy:g} MeV",
        _origin_of_values(beam),
    ]


def _origin_of_values(beam: Beam) -> str:
    if beam.fit is None:
        return "Parameters: as the beam file gives them, each section with its source; none marked as fitted"
    return f"Fitted parameters: {', '.join(sorted(beam.fit.parameters))}"


def _geometry(run: Run) -> RecordsItem:
    inputs, patient = run.inputs, run.inputs.patient
    done = [f"Head: {NOT_RECORDED}"] if run.linac is None else _head(run.linac.machine)
    done.append(_way_through_head(inputs.merge.engine))
    done.append(
        "Beams: " + "; ".join(f"{b.number}: {technique(b.technique)}, {b.meterset:.2f} MU" for b in inputs.case.beams)
    )
    done += [f"Patient voxels, {box.name}: {_by(box.size)} of {_by(box.spacing)} mm" for box in patient.boxes]
    done.append(f"CT numbers to density and material: {patient.calibration}; {len(patient.materials)} materials")
    done += patient.warnings
    return _item("Geometry", done, _MACHINE, _MERGE, _CASE, _PATIENT)


def _way_through_head(engine: Engine) -> str:
    """Which head, and how a full one stands in for motion; its cuts and steps are transport parameters."""
    head = engine.settings.get("head", NOT_RECORDED)
    segment = engine.settings.get("head_largest_segment")
    return f"Way through the head: {head}" + ("" if segment is None else f", static in segments of at most {segment}")


def _head(machine: Machine) -> list[str]:
    mlc = machine.mlc

    def jaws(pair: JawPair) -> str:
        return f"{pair.top:g} to {pair.bottom:g} mm"

    return [
        f"Source-axis distance {machine.source_axis_distance:g} mm; primary collimator to "
        f"{machine.primary_collimator.opening_radius:g} mm from the axis at the isocentre plane",
        f"Jaws, from the target along their faces: Y {jaws(machine.jaws.y)}, X {jaws(machine.jaws.x)}; "
        f"{_metal(machine.jaws.alloy)}",
        f"{mlc.name}: {len(mlc.kind_of_pair)} leaf pairs, mid-height {mlc.leaf_centre:g} mm from the target, height "
        f"{mlc.leaf_height:g} mm, tip radius {mlc.tip_radius:g} mm, gap between leaves {mlc.interleaf_gap:g} mm, gap "
        f"offset {mlc.physical_gap_offset:g} mm; {_metal(mlc.alloy)}",
    ]


def _metal(alloy: Alloy) -> str:
    parts = ", ".join(f"{element} {number(100 * share, 2)} %" for element, share in alloy.mass_fractions.items())
    return f"{alloy.density:g} g/cm³ ({parts})"


def _cross_sections(run: Run) -> RecordsItem:
    engine = run.inputs.merge.engine
    done = (
        f"Data set: {engine.data_set} ({engine.data_set_kind}), SHA-256 {engine.data_set_sha256[:_DIGITS_OF_HASH]}…",
        f"Photons in the patient: {engine.settings.get('photon_cross_sections', NOT_RECORDED)}",
    )
    return _item("Cross sections", done, _MERGE)


def _transport(run: Run) -> RecordsItem:
    engine = run.inputs.merge.engine
    done = [f"Physics list: {engine.physics_list}"]
    done += [
        f"{setting_name(key).capitalize()}: {value}"
        for key, value in sorted(engine.settings.items())
        if key not in _STATED_ELSEWHERE
    ]
    if "electron_production_cut_mm" not in engine.settings:
        done.append(f"Production cuts: {NOT_RECORDED}")
    return _item("Transport parameters", done, _MERGE)


def _variance_reduction(run: Run) -> RecordsItem:
    merge = run.inputs.merge
    done = [
        _emission(run),
        f"Particles followed in the patient, those aimed at it: {number(merge.particles)}",
        f"Photons in the patient: {merge.engine.settings.get('photon_transport', NOT_RECORDED)}",
        f"Electrons far from the fine voxels: {merge.engine.settings.get('far_electrons', 'all followed')}",
        f"Photons scattered past the fine voxels: {merge.engine.settings.get('far_photons', 'all followed')}",
        _fates(run.chunks),
    ]
    if merge.electron_steps_sha256 is not None:
        done.insert(
            3,
            f"Electrons in the patient: along recorded steps of SHA-256 {merge.electron_steps_sha256[:_DIGITS_OF_HASH]}"
            f"…; in air in the body: {merge.engine.settings.get('electrons_into_air', 'all followed by GATE')}",
        )
    return _item("Variance reduction", done, _MERGE, *([_CHUNKS] if run.chunks else []))


def _emission(run: Run) -> str:
    merge, use = run.inputs.merge, run.inputs.phase_space
    stand_for = f"{number(merge.histories)} histories stand for {number(merge.nominal_photons)} nominal photons"
    if not run.has_recorded_source:
        return f"Photons of the source aimed at what is open: {stand_for} over its whole opening"
    repeated = NOT_RECORDED if use is None else str(use.recycle)
    return f"Phase space, uses of each history: {repeated}; {stand_for}, those that left no particle included"


def _fates(chunks: tuple[ChunkResult, ...] | None) -> str:
    emitted = sum(chunk.fates.get("emitted", 0.0) for chunk in chunks or ())
    if chunks is None or emitted <= 0:
        return f"Where the emitted weight went in the head: {NOT_RECORDED}"
    names = [name for name in chunks[0].fates if name != "emitted"]
    totals = {name: sum(chunk.fates.get(name, 0.0) for chunk in chunks) for name in names}
    shares = ", ".join(f"{name.replace('_', ' ')} {percent(total / emitted)}" for name, total in totals.items())
    return f"Where the emitted weight went in the head: {shares}"


def _scored(run: Run) -> RecordsItem:
    merge, grid = run.inputs.merge, run.inputs.patient.joined_grid
    reference = "; ".join(
        f"{setting_name(key)} {value if isinstance(value, str) else format(value, 'g')}"
        for key, value in sorted(run.inputs.calibration.reference.items())
    )
    done = (
        f"Dose to {merge.dose_to}, Gy for {merge.fractions} fractions of {merge.meterset_per_fraction:.2f} MU, "
        f"joined on {_by(grid.size)} voxels of {_by(grid.spacing)} mm",
        f"Normalised by {merge.nominal_photons_per_mu:.5g} nominal photons per MU, from the reference field: "
        f"{reference}",
    )
    return _item("Scored quantities", done, _MERGE, _PATIENT, _CALIBRATION)


def _histories(run: Run) -> RecordsItem:
    merge, calibration, use = run.inputs.merge, run.inputs.calibration, run.inputs.phase_space
    done = [
        f"{number(merge.histories)} histories in {len(merge.chunks)} independent runs",
        f"Mean relative {_SIGMA} (k = 1) over the "
        f"{fine_region(merge.fine_voxels, fine_spacing(run.inputs.patient), merge.fine_above_gy)}: "
        f"{percent(merge.fine_relative_sigma) if merge.fine_voxels else NOT_RECORDED}",
        f"Mean relative {_SIGMA} (k = 1) over the {number(merge.voxels_above_half_maximum)} {WHOLE_REGION}: "
        f"{percent(merge.mean_relative_sigma)}",
        *(reached(one) for one in run.inputs.comparison.precisions),
        f"Highest voxel of the body: {merge.maximum_gy:.2f} Gy as scored; noise raises the highest of many",
        f"Calibration, common to all voxels and in no other {_SIGMA}: "
        f"{percent(merge.calibration_relative_sigma)} (k = 1) from {_calibration_histories(calibration)}",
        *_latent(run.inputs),
        f"Uncertainty that is not statistical (beam model, CT numbers, setup): {NOT_RECORDED}",
    ]
    return _item("Histories and uncertainty", done, _MERGE, *([_PLAN] if use else []), _CALIBRATION)


def _calibration_histories(calibration: CalibrationResult) -> str:
    said = f"{number(calibration.histories)} histories"
    if calibration.photon_histories == 0:
        return said
    return (
        f"{said}, and {number(calibration.photon_histories)} more whose photons were followed without their electrons"
    )


def _latent(inputs: ReportInputs) -> list[str]:
    """Of dose and calibration, each from histories of the phase space; nothing where the source is a model."""
    dose, calibration = inputs.phase_space, inputs.calibration.phase_space
    said = [] if dose is None else [f"Latent relative {_SIGMA} (k = 1) of the phase space, {latent(dose)}"]
    if dose is None and calibration is not None:
        said.append(f"Latent relative {_SIGMA} of the phase space: {NOT_RECORDED}")
    if calibration is not None:
        said.append(
            f"The reference field was simulated with {number(calibration.histories_used)} histories of the same phase "
            "space, from its beginning as the plan's were"
        )
    return said


def _statistics(run: Run) -> RecordsItem:
    merge, use = run.inputs.merge, run.inputs.phase_space
    independent = "independent histories"
    if use is not None and use.recycle > 1:
        independent = f"the {number(use.recycle)} uses of each history as if they were independent, which misses their "
        independent += "common part"
    done = [
        f"{_SIGMA} from the spread of {merge.batches} batches; beside it history by history, by sums of squares over "
        f"{independent}",
        f"Seeds: {NOT_RECORDED}" if run.plan is None else _seeds(run.plan),
        f"Configured seed: {NOT_RECORDED if run.config is None else run.config.transport.seed}",
        f"Random number generator: {NOT_RECORDED}",
    ]
    sources = [_MERGE, *([_PLAN] if run.plan else []), *([_CONFIGURATION] if run.config else [])]
    return _item("Statistical methods", done, *sources)


def _seeds(plan: ChunkPlan) -> str:
    seeds = [chunk.seed for chunk in plan.chunks]
    return f"Seeds: {len(set(seeds))} different ones for {len(seeds)} runs, the first {seeds[0]}"


def _sampled(setup: SetupRobustness) -> str:
    if not setup.structures:
        return "not sampled"
    return f"{setup.courses} courses sampled with seed {setup.seed}, in the dose that stands still"


def _post_processing(run: Run) -> RecordsItem:
    comparison, compared = run.inputs.comparison, run.inputs.compared
    done = (
        f"Doses of {_count(len(run.inputs.patient.boxes), 'box', 'boxes')} of voxels joined on one grid, in Gy by the "
        "calibration above",
        f"Dose-volume histograms of {sum(one.mc_dvh is not None for one in comparison.structures)} structures",
        f"Comparison at the surface of {_count(len(compared.interface.tumours), 'tumour', 'tumours')}; EQD2 by the "
        f"linear-quadratic model of {_count(len(compared.biology.structures), 'structure', 'structures')}",
        f"Setup errors: {_sampled(compared.setup)}",
        f"Smoothing or denoising: no step of this run; gatecheck {run.inputs.merge.engine.gatecheck} has none",
    )
    return _item("Post-processing", done, _PATIENT, _COMPARISON, _COMPARED, _MERGE)


_ITEMS: tuple[Callable[[Run], RecordsItem], ...] = (
    _code,
    _validation,
    _timing,
    _source,
    _geometry,
    _cross_sections,
    _transport,
    _variance_reduction,
    _scored,
    _histories,
    _statistics,
    _post_processing,
)
