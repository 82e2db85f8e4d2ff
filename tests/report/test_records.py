"""The RECORDS checklist says what the run's files say, and nothing that they do not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_results import MadeResults, Wanted, Written, engine, make_results

from gatecheck.config import Config, validate_config
from gatecheck.errors import ResultError
from gatecheck.files import write_json
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import BeamFit, FittedValue, LinacModel
from gatecheck.linac.photon_source import mean_energy
from gatecheck.report.inputs import ReportInputs, read_inputs
from gatecheck.report.records import NOT_RECORDED, records_of
from gatecheck.report.summary import RecordsItem, Summary, summarise
from gatecheck.transport.head_settings import PRODUCTION_CUT, STEP_FUNCTION, head_settings
from gatecheck.transport.model import Chunk, ChunkPlan, ChunkResult

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
ITEMS = (
    "Code and version",
    "Validation",
    "Timing",
    "Source",
    "Geometry",
    "Cross sections",
    "Transport parameters",
    "Variance reduction",
    "Scored quantities",
    "Histories and uncertainty",
    "Statistical methods",
    "Post-processing",
)


@pytest.fixture(scope="module")
def linac() -> LinacModel:
    return load_linac_model(MODELS / "truebeam_stx")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeResults:
    return make_results(tmp_path_factory.mktemp("records") / "case", Wanted(organs=0))


@pytest.fixture
def inputs(made: MadeResults) -> ReportInputs:
    return read_inputs(made.layout, made.calibration)


def by_name(items: tuple[RecordsItem, ...]) -> dict[str, RecordsItem]:
    assert tuple(item.item for item in items) == ITEMS
    return {item.item: item for item in items}


def words(item: RecordsItem) -> str:
    """As read, with plain spaces."""
    return " ".join("\n".join(item.done).replace("\N{NARROW NO-BREAK SPACE}", " ").split())


def write_chunks(made: MadeResults, count: int = 10, inputs_sha256: str = "5" * 64) -> None:
    chunks = tuple(Chunk(index=index, histories=1000, seed=100 + index) for index in range(count))
    write_json(
        made.layout.chunk_plan,
        ChunkPlan(
            inputs_sha256=inputs_sha256,
            chunks=chunks,
            target_relative_sigma=0.025,
            expected_relative_sigma=0.024,
            seconds_per_history=1e-5,
            pilot_histories=100,
        ),
    )
    for chunk in chunks:
        write_json(
            made.layout.chunk(chunk.index),
            ChunkResult(
                inputs_sha256=inputs_sha256,
                index=chunk.index,
                seed=chunk.seed,
                histories=chunk.histories,
                nominal_photons=1e5,
                particles=200,
                boxes=(),
                engine=engine(Wanted()),
                fates={"emitted": 200.0, "open": 50.0, "interacted_in_jaws": 149.0, "missed_patient": 1.0},
                energy={"entered": 1000.0, "deposited": 400.0 + chunk.index},
                seconds={"head": 1.0},
                peak_memory_mb=1.0,
            ),
        )


def test_every_item_is_there_and_says_something_with_its_sources(inputs: ReportInputs, linac: LinacModel) -> None:
    for item in by_name(records_of(inputs, linac=linac, config=Config())).values():
        assert item.done
        assert all(statement.strip() for statement in item.done)
        assert item.sources


def test_numbers_are_those_of_the_runs_own_files(inputs: ReportInputs) -> None:
    found = by_name(records_of(inputs))
    merge, patient = inputs.merge, inputs.patient
    assert f"opengate {merge.engine.opengate}, Geant4 {merge.engine.geant4}" in words(found["Code and version"])
    assert "61 234 567 histories in 10 independent runs" in words(found["Histories and uncertainty"])
    assert "fine voxels of 4 mm above 20.0 Gy: 2.13 %" in words(found["Histories and uncertainty"])
    assert "coarse ones as often as fine ones fit in them: 2.49 %" in words(found["Histories and uncertainty"])
    assert "0.38 %" in words(found["Histories and uncertainty"])
    assert f"Data set: {merge.engine.data_set}" in words(found["Cross sections"])
    transport = words(found["Transport parameters"])
    assert "Physics list: G4EmStandardPhysics" in transport
    assert "Electron production cut (mm): 0.2" in transport
    assert "Apply cuts: false" in transport
    assert patient.calibration in words(found["Geometry"])
    assert "No couch structure was kept." in words(found["Geometry"])
    assert "Dose to medium" in words(found["Scored quantities"])
    assert "80 \N{MULTIPLICATION SIGN} 60 \N{MULTIPLICATION SIGN} 36 voxels" in words(found["Scored quantities"])


def test_what_the_chunks_were_made_with_is_said_with_all_versions(inputs: ReportInputs) -> None:
    made_with = {"Python": "3.11.7", "numba": "0.61.0 and 0.62.1", "code_sha256": "a" * 64}
    run = replace(inputs, merge=inputs.merge.model_copy(update={"made_with": made_with}))
    said = words(by_name(records_of(run))["Code and version"])
    assert "Made with: Python 3.11.7, numba 0.61.0 and 0.62.1, code of SHA-256 aaaaaaaa" in said
    assert "a" * 20 not in said


def test_another_run_says_other_things(inputs: ReportInputs) -> None:
    """No statement is written by hand: each changes with the file that it is read from."""
    changed_engine = inputs.merge.engine.model_copy(
        update={
            "geant4": "99.9",
            "physics_list": "G4Other",
            "data_set": "official",
            "settings": {"photon_transport": "X"},
        }
    )
    merge = inputs.merge.model_copy(
        update={
            "engine": changed_engine,
            "histories": 77,
            "batches": 13,
            "chunks": (1, 2),
            "dose_to": "water",
            "mean_relative_sigma": 0.5,
            "calibration_relative_sigma": 0.25,
            "fractions": 3,
        }
    )
    before, after = by_name(records_of(inputs)), by_name(records_of(replace(inputs, merge=merge)))
    changed = {name for name in ITEMS if before[name] != after[name]}
    assert changed == set(ITEMS) - {"Source", "Geometry", "Post-processing"}
    assert "99.9" in words(after["Code and version"])
    assert "from the spread of 13 batches" in words(after["Statistical methods"])
    assert "Dose to water" in words(after["Scored quantities"])
    assert f"Production cuts: {NOT_RECORDED}" in words(after["Transport parameters"])


def test_without_machine_configuration_and_chunks_the_items_say_not_recorded(inputs: ReportInputs) -> None:
    found = by_name(records_of(inputs))
    assert f"Source model: {NOT_RECORDED}" in words(found["Source"])
    assert f"Kind of source and head: {NOT_RECORDED}" in words(found["Source"])
    assert f"Head: {NOT_RECORDED}" in words(found["Geometry"])
    assert f"Machine model against measurements: {NOT_RECORDED}" in words(found["Validation"])
    assert f"Seeds: {NOT_RECORDED}" in words(found["Statistical methods"])
    assert f"Configured seed: {NOT_RECORDED}" in words(found["Statistical methods"])
    assert f"in the head: {NOT_RECORDED}" in words(found["Variance reduction"])
    assert "chunk files" not in found["Variance reduction"].sources


def test_source_and_head_are_the_machine_models(inputs: ReportInputs, linac: LinacModel) -> None:
    found = by_name(records_of(inputs, linac=linac, config=Config()))
    source, geometry = words(found["Source"]), words(found["Geometry"])
    spectrum = linac.beam.spectrum
    assert f"{spectrum.lowest_energy:g} to {spectrum.electron_energy:g} MeV" in source
    assert f"{mean_energy(spectrum):.3f} MeV" in source
    assert "fast head below it" in source
    mlc = linac.machine.mlc
    assert f"HD120: 60 leaf pairs, mid-height {mlc.leaf_centre:g} mm" in geometry
    assert f"tip radius {mlc.tip_radius:g} mm" in geometry
    assert f"{linac.machine.jaws.alloy.density:g} g/cm³" in geometry
    other = load_linac_model(MODELS / "truebeam_m120")
    assert "Millennium" in words(by_name(records_of(inputs, linac=other))["Geometry"])


def test_the_head_and_a_full_ones_cut_steps_and_segments_are_stated(inputs: ReportInputs) -> None:
    def said(settings: dict[str, str]) -> tuple[str, str]:
        engine = inputs.merge.engine.model_copy(update={"settings": settings})
        merge = inputs.merge.model_copy(update={"engine": engine})
        found = by_name(records_of(replace(inputs, merge=merge)))
        return words(found["Geometry"]), words(found["Transport parameters"])

    assert f"Way through the head: {NOT_RECORDED}" in said({})[0]
    fast, _ = said(head_settings("fast"))
    assert "Way through the head: fast: rays through jaws and leaves" in fast
    assert "segments" not in fast
    full, transport = said(head_settings("full"))
    assert "Way through the head: full: jaws and leaves as GATE volumes, static in segments of at most 2 deg" in full
    assert f"Head production cut (mm): {PRODUCTION_CUT:g}" in transport
    assert f"Head electron step function: {STEP_FUNCTION[0]:g}, {STEP_FUNCTION[1]:g} mm" in transport


def test_a_fit_to_beam_data_is_stated_and_its_absence_too(inputs: ReportInputs, linac: LinacModel) -> None:
    bare = linac.model_copy(update={"beam": linac.beam.model_copy(update={"fit": None})})
    said = words(by_name(records_of(inputs, linac=bare))["Validation"])
    assert f"truebeam_stx, beam 6X, against measurements: {NOT_RECORDED}" in said
    fit = BeamFit(
        source="gatecheck commission, a test",
        beam_data_sha256="abcdef" + "0" * 58,
        chi_squared=123.4,
        degrees_of_freedom=98,
        parameters={"electron_energy": FittedValue(value=5.9, uncertainty=0.02, fitted_to="depth dose")},
    )
    fitted = linac.model_copy(update={"beam": linac.beam.model_copy(update={"fit": fit})})
    found = by_name(records_of(inputs, linac=fitted))
    assert "1 parameter of the source fitted to beam data of SHA-256 abcdef" in words(found["Validation"])
    assert "= 123.4 with 98 degrees of freedom" in words(found["Validation"])
    assert "Fitted parameters: electron_energy" in words(found["Source"])


def test_a_phase_space_source_is_stated_without_its_paths(inputs: ReportInputs, tmp_path: Path) -> None:
    header = tmp_path / "SECRET.IAEAheader"
    content = {"machine": {"source": "phase_space", "phase_space": {"files": [str(header)], "recycle": 4}}}
    config = validate_config(content, source="test", check_inputs=False)
    source = words(by_name(records_of(inputs, config=config))["Source"])
    assert "Phase space above the jaws from 1 file in IAEA format, each history used 4 times" in source
    assert "SECRET" not in source


def test_chunks_tell_of_seeds_energy_and_fates(tmp_path: Path) -> None:
    made = make_results(tmp_path / "case", Wanted(organs=0))
    write_chunks(made)
    found = by_name(records_of(read_inputs(made.layout, made.calibration), config=Config()))
    assert "Seeds: 10 different ones for 10 runs, the first 100" in words(found["Statistical methods"])
    # 400 + 4.5 MeV on average of 1000 that entered
    assert "deposited in the patient: 40.45 %" in words(found["Validation"])
    fates = words(found["Variance reduction"])
    assert "open 25.00 %, interacted in jaws 74.50 %, missed patient 0.50 %" in fates
    assert "chunk files" in found["Variance reduction"].sources


@pytest.mark.parametrize("what", ["chunks.json", "chunk-0000.json"])
def test_chunks_of_other_inputs_are_refused(what: str, tmp_path: Path) -> None:
    made = make_results(tmp_path / "case", Wanted(organs=0))
    write_chunks(made, inputs_sha256="8" * 64)
    (made.layout.chunk(0) if what == "chunks.json" else made.layout.chunk_plan).unlink()
    with pytest.raises(ResultError, match=rf"{what}: made from other inputs than merge\.json"):
        records_of(read_inputs(made.layout, made.calibration))


def test_summary_and_report_hold_the_same_table(with_tps: Written) -> None:
    document = json.loads((with_tps.made.layout.report / "summary.json").read_text(encoding="utf-8"))
    assert document["schema_version"] == 1
    assert [item["item"] for item in document["records"]] == list(ITEMS)
    section = with_tps.html[with_tps.html.index('id="records"') :]
    assert section.index("Code and version") > 0
    for item in with_tps.summary.records:
        assert f'<th scope="row">{item.item}</th>' in section
    assert section.count(NOT_RECORDED) >= sum(NOT_RECORDED in s for i in with_tps.summary.records for s in i.done)
    assert with_tps.html.index('id="records"') > with_tps.html.index('id="provenance"')


def test_a_summary_written_before_there_were_records_is_still_read(with_tps: Written, tmp_path: Path) -> None:
    old = tmp_path / "summary.json"
    shutil.copy(with_tps.made.layout.report / "summary.json", old)
    document = json.loads(old.read_text(encoding="utf-8"))
    del document["records"]
    assert Summary.model_validate_json(json.dumps(document)).records == ()


def test_summarise_keeps_the_records_that_it_is_given(inputs: ReportInputs) -> None:
    items = records_of(inputs)
    assert summarise(inputs, records=items).records == items
