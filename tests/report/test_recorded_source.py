"""A recorded phase space: how much of it was used, its latent uncertainty and its warnings reach the reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_results import MadeResults, Wanted, make_results

from gatecheck.config import ReportConfig
from gatecheck.files import read_json, sha256_of_file, write_json
from gatecheck.linac.load import load_linac_model
from gatecheck.report.html import write_report
from gatecheck.report.inputs import ReportInputs, read_inputs
from gatecheck.report.records import NOT_RECORDED, records_of
from gatecheck.report.summary import Summary, SummaryWarning, summarise
from gatecheck.report.words import latent, recorded_source
from gatecheck.transport.model import CalibrationResult, Chunk, ChunkPlan, PhaseSpaceUse

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
DOUBT = "beam.IAEAphsp: 3 % of its energy is in neutrons."
USE = PhaseSpaceUse(
    files=2,
    particles=3_000_000,
    histories=1_200_000,
    histories_used=800_000,
    recycle=5,
    rotate=True,
    latent_relative_sigma={"10": 0.0123, "40": 0.0031, "100": None},
    warnings=(DOUBT,),
)
OF_CALIBRATION = USE.model_copy(update={"histories_used": 345_678})
CANNOT = "cannot be simulated away"
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"


def made_with(folder: Path, use: PhaseSpaceUse | None = USE, *, keeps_plan: bool = True) -> MadeResults:
    """A made case whose plan and calibration used a phase space."""
    made = make_results(folder / "case", Wanted(tps=False, organs=0))
    if keeps_plan:
        plan = ChunkPlan(
            inputs_sha256="5" * 64,
            chunks=tuple(Chunk(index=index, histories=400_000, seed=index) for index in range(1, 11)),
            target_relative_sigma=0.025,
            expected_relative_sigma=0.024,
            seconds_per_history=1e-5,
            pilot_histories=100,
            phase_space=use,
        )
        write_json(made.layout.chunk_plan, plan)
    if use is not None:
        calibration = read_json(made.calibration, CalibrationResult)
        write_json(made.calibration, calibration.model_copy(update={"phase_space": OF_CALIBRATION}))
    return made


def inputs_of(made: MadeResults) -> ReportInputs:
    return read_inputs(made.layout, made.calibration)


def of_transport(summary: Summary) -> list[SummaryWarning]:
    return [warning for warning in summary.warnings if warning.room == "transport"]


def plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ")


def said(inputs: ReportInputs, item: str) -> str:
    linac = load_linac_model(MODELS / "truebeam_stx")
    return plain("\n".join(next(one for one in records_of(inputs, linac=linac) if one.item == item).done))


def test_words_say_what_there_is_what_was_used_and_what_each_square_is() -> None:
    assert plain(recorded_source(USE)) == (
        "2 files with 3 000 000 particles of 1 200 000 histories; 800 000 of the histories used 5 times each, each use "
        "turned about the beam axis by an angle of its own"
    )
    once = USE.model_copy(update={"files": 1, "recycle": 1, "rotate": False})
    assert plain(recorded_source(once)).endswith("of the histories used once each")
    assert plain(recorded_source(once)).startswith("1 file with")
    assert plain(latent(USE)).startswith("10 mm: 1.23 %; 40 mm: 0.31 %; 100 mm: no photon crosses it: ")


def test_the_report_shows_the_latent_sigma_beside_the_sigma_with_the_warnings(tmp_path: Path) -> None:
    made = made_with(tmp_path)
    path = write_report(made.layout.folder, made.calibration, ReportConfig())
    summary = read_json(path.parent / "summary.json", Summary)
    assert summary.phase_space == USE
    assert summary.calibration.phase_space == OF_CALIBRATION
    assert summary.inputs_sha256["chunk_plan"] == sha256_of_file(made.layout.chunk_plan)
    text = plain(path.read_text(encoding="utf-8"))
    section = text[text.index('id="simulation"') : text.index('id="isodoses"')]
    before, after = f"Mean relative {SIGMA} (k = 1)<", f"{SIGMA} in the targets (k = 1)<"
    own = section.index(f"Latent relative {SIGMA} (k = 1) of the phase space<")
    assert section.index(before) < own < section.index(after)
    assert "10 mm: 1.23 %" in section
    assert CANNOT in section
    assert DOUBT in text[text.index('id="warnings"') : text.index('id="plan"')]


def test_uses_of_one_history_are_not_called_independent(tmp_path: Path) -> None:
    once = USE.model_copy(update={"recycle": 1})
    assert "over independent histories" in said(inputs_of(made_with(tmp_path / "once", once)), "Statistical methods")
    often = said(inputs_of(made_with(tmp_path / "often", USE)), "Statistical methods")
    assert "over the 5 uses of each history as if they were independent" in often


def test_the_machine_models_source_has_none_of_it(tmp_path: Path) -> None:
    inputs = inputs_of(made_with(tmp_path, None))
    summary = summarise(inputs)
    assert summary.phase_space is None
    assert summary.calibration.phase_space is None
    assert of_transport(summary) == []
    assert "atent" not in said(inputs, "Histories and uncertainty")
    assert "Spectrum: " in said(inputs, "Source")
    assert "aimed at what is open" in said(inputs, "Variance reduction")


@pytest.mark.parametrize(
    ("sides", "warns"),
    [
        # The made run reached 2.13 % in its fine voxels.
        ({"10": 0.0214, "40": 0.0031, "100": 0.001}, True),
        ({"10": 0.0212, "40": 0.0212, "100": 0.001}, False),
        ({"10": None, "40": 0.0260, "100": 0.001}, True),
        ({"10": None, "40": None, "100": None}, False),
    ],
)
def test_a_latent_sigma_larger_than_the_mean_sigma_reached_is_warned_of(
    sides: dict[str, float | None], warns: bool, tmp_path: Path
) -> None:
    use = USE.model_copy(update={"latent_relative_sigma": sides, "warnings": ()})
    found = of_transport(summarise(inputs_of(made_with(tmp_path, use))))
    assert [warning.code for warning in found] == (["latent-uncertainty"] if warns else [])
    if warns:
        for part in ("2.13 %", f"{100 * (sides['10'] or sides['40'] or 0):.2f} %", "machine.phase_space.files"):
            assert part in found[0].message


def test_warnings_of_the_files_stand_in_the_order_of_the_rooms(tmp_path: Path) -> None:
    summary = summarise(inputs_of(made_with(tmp_path)))
    assert of_transport(summary) == [SummaryWarning(room="transport", code="phase-space", message=DOUBT)]
    rooms = [warning.room for warning in summary.warnings]
    assert rooms.index("patient") < rooms.index("transport") < rooms.index("dose")


def test_records_state_the_phase_space_and_not_the_source_model(tmp_path: Path) -> None:
    inputs = inputs_of(made_with(tmp_path))
    source = said(inputs, "Source")
    assert plain(recorded_source(USE)) in source
    assert DOUBT in source
    assert "Spectrum: " not in source
    assert "aimed at what is open" not in said(inputs, "Variance reduction")
    assert "uses of each history: 5" in said(inputs, "Variance reduction")
    assert f"Phase space against measurements: {NOT_RECORDED}" in said(inputs, "Validation")
    uncertainty = said(inputs, "Histories and uncertainty")
    assert "10 mm: 1.23 %" in uncertainty
    assert CANNOT in uncertainty
    assert "345 678 histories of the same phase space" in uncertainty


def test_without_the_plan_the_latent_sigma_is_said_to_be_unknown(tmp_path: Path) -> None:
    inputs = inputs_of(made_with(tmp_path, keeps_plan=False))
    summary = summarise(inputs)
    assert summary.phase_space is None
    (warning,) = of_transport(summary)
    assert warning.code == "latent-uncertainty"
    assert "chunks.json is not kept" in warning.message
    assert f"of the phase space: {NOT_RECORDED}" in said(inputs, "Histories and uncertainty")
    assert "Spectrum: " not in said(inputs, "Source")


def test_a_summary_of_before_is_still_read(tmp_path: Path) -> None:
    document = json.loads(summarise(inputs_of(made_with(tmp_path))).model_dump_json())
    del document["phase_space"], document["calibration"]["phase_space"]
    assert Summary.model_validate_json(json.dumps(document)).phase_space is None
