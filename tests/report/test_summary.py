"""summary.json says what the rooms before it wrote."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_comparisons import NO_TPS, NO_TUMOUR
from made_results import AWKWARD_NAME, MadeResults, Wanted, Written, make_results

from gatecheck.compare.biology.model import Biology
from gatecheck.compare.interface.model import Interface
from gatecheck.compare.setup_errors.model import SetupCheck, SetupRobustness
from gatecheck.files import read_json, write_json
from gatecheck.report.inputs import ReportInputs, read_inputs
from gatecheck.report.summary import Summary, summarise, unique_names

METRICS = ("mean_gy", "d95_gy", "d50_gy", "d2_gy", "d003cc_gy", "d001cc_gy", "max_gy")


def inputs_of(made: MadeResults) -> ReportInputs:
    return read_inputs(made.layout, made.calibration)


def test_the_file_has_the_documented_shape(with_tps: Written) -> None:
    document = json.loads((with_tps.made.layout.report / "summary.json").read_text())
    assert document["schema_version"] == 1
    assert [beam["meterset"] for beam in document["beams"]] == [312.25, 313.25]
    assert document["histories"] == 61_234_567
    assert document["mean_relative_sigma"] == 0.0249
    assert document["data_set"] == "embedded set 1 (xraylib, theory)"
    assert document["physics_list"] == document["engine"]["physics_list"] == "G4EmStandardPhysics"
    assert document["clinical"] is False
    for structure in document["structures"].values():
        assert structure["volume_ml"] >= 0
        for dose in (structure["mc"], structure["tps"]):
            assert dose is None or all(set(dose[metric]) == {"value", "sigma", "interval_95"} for metric in METRICS)


def test_every_metric_is_the_comparisons_own(with_tps: Written) -> None:
    shown = list(with_tps.summary.structures.values())
    for structure, compared in zip(shown, with_tps.made.comparison.structures, strict=True):
        assert structure.mc == compared.mc
        assert structure.tps == compared.tps
        assert structure.volume_ml == compared.volume_ml
    cord = with_tps.summary.structures["SPINALCORD"]
    assert cord.mc is not None
    assert cord.tps is not None
    assert cord.mc.d2_gy.sigma == 0.12
    assert cord.tps.d2_gy.sigma is None


def test_without_a_tps_dose_tps_is_null(clinical: Written) -> None:
    assert not clinical.summary.has_tps_dose
    assert all(structure.tps is None for structure in clinical.summary.structures.values())
    assert clinical.summary.structures["GTVp"].mc is not None


def test_two_structures_of_one_name_are_both_kept_with_a_warning(with_tps: Written) -> None:
    first, second = with_tps.summary.structures["PTV4140"], with_tps.summary.structures["PTV4140 (2)"]
    assert first.volume_ml != second.volume_ml
    assert [w.code for w in with_tps.summary.warnings].count("duplicate-structure-name") == 1


def test_warnings_of_every_room_are_there(with_tps: Written) -> None:
    messages = {(w.room, w.message) for w in with_tps.summary.warnings}
    assert ("case", with_tps.made.case.warnings[0].message) in messages
    assert ("patient", "No couch structure was kept.") in messages
    assert any(room == "dose" and "Not for clinical use" in message for room, message in messages)


def test_a_full_arc_spans_358_degrees_and_a_static_beam_none(with_tps: Written) -> None:
    arc, static = with_tps.summary.beams
    assert arc.gantry.stop - arc.gantry.start == pytest.approx(358.0)
    assert static.gantry.lowest == static.gantry.highest == 90.0
    assert (arc.jaw_x1.lowest, arc.jaw_x1.highest) == (-45.0, -40.0)
    assert arc.leaf_pairs == 60


def test_the_hashes_are_those_of_the_files_read(with_tps: Written) -> None:
    from gatecheck.files import sha256_of_file

    layout = with_tps.made.layout
    hashes = with_tps.summary.inputs_sha256
    assert hashes["mc_dose"] == sha256_of_file(layout.dose / "mc_dose.mha")
    assert hashes["case"] == sha256_of_file(layout.case / "case.json")
    assert set(hashes) >= {"delivery", "patient", "merge", "calibration", "comparison", "ct", "mc_sigma", "tps_dose"}


def test_a_structure_that_was_not_compared_is_listed_all_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    made = make_results(tmp_path / "case", Wanted(tps=False))
    fewer = made.comparison.model_copy(update={"structures": made.comparison.structures[:-1]})
    write_json(made.layout.compare / "comparison.json", fewer)
    summary = summarise(inputs_of(made))
    left_out = summary.structures["Organ 2"]
    assert left_out.mc is None
    assert left_out.volume_ml == made.case.structures[-1].volume_ml
    assert "structure-not-compared" in {w.code for w in summary.warnings}


def test_a_preferred_structure_that_is_not_there_is_warned_of(with_tps: Written) -> None:
    summary = summarise(inputs_of(with_tps.made), ("SPINALCORD", "Spinal cord"))
    messages = [w.message for w in summary.warnings if w.code == "unknown-structure"]
    assert len(messages) == 1
    assert "Spinal cord" in messages[0]


@pytest.mark.parametrize("which", ["with_tps", "clinical", "without_tps"])
def test_the_comparisons_are_in_the_summary_whole(which: str, request: pytest.FixtureRequest) -> None:
    written = request.getfixturevalue(which)
    folder, summary = written.made.layout.compare, written.summary
    assert summary.interface == read_json(folder / "interface.json", Interface)
    assert summary.biology == read_json(folder / "biology.json", Biology)
    assert summary.setup == read_json(folder / "setup.json", SetupRobustness)
    assert Summary.model_validate_json(summary.model_dump_json()) == summary


def test_a_check_of_the_setup_errors_is_in_the_summary_where_it_is_of_this_dose(
    with_tps: Written, without_tps: Written
) -> None:
    assert with_tps.summary.setup_check == read_json(with_tps.made.layout.compare / "setup_check.json", SetupCheck)
    assert without_tps.summary.setup_check is None


def warnings_by_code(written: Written) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for warning in written.summary.warnings:
        if warning.room == "compare":
            found.setdefault(warning.code, []).append(warning.message)
    return found


def test_what_did_not_pass_is_a_warning(with_tps: Written) -> None:
    found = warnings_by_code(with_tps)
    for tumour in with_tps.summary.interface.tumours:
        failed = [verdict.question for verdict in tumour.verdicts if verdict.outcome == "fail"]
        assert failed
        assert f"{tumour.tumour}: {', '.join(failed)}: beyond tolerance." in found["interface-fail"]
    assert any("not decided" in message for message in found["interface-undecided"])
    assert len(found["eqd2-limit-fail"]) == 2
    assert found["biology"] == ["30 Gy in 10 fractions are taken as given everywhere."]


def test_a_case_without_a_tumour_says_so_in_a_warning(clinical: Written) -> None:
    found = warnings_by_code(clinical)
    assert found["interface"] == [NO_TUMOUR]
    assert found["setup"] == list(clinical.summary.setup.notes)


def test_without_tps_dose_cord_or_usable_bands_there_are_warnings(without_tps: Written) -> None:
    found = warnings_by_code(without_tps)
    assert f"GTVp: {NO_TPS}" in found["interface"]
    assert "GTVp: No cord: its maximum is not assessed." in found["interface"]
    assert found["interface-not-assessed"] == ["GTVp: output, position, spread, cord maximum: not assessed."]
    assert "GTVp D95 %" in found["setup-noise"][0]
    assert "Run setup-check again" in found["setup-check-left-out"][0]


def test_an_awkward_name_survives_unchanged(with_tps: Written) -> None:
    assert AWKWARD_NAME in with_tps.summary.structures


@given(st.lists(st.sampled_from(["A", "A (2)", "A (3)", "B", ""]), max_size=12))
def test_names_become_unique_and_the_first_of_each_keeps_its_own(names: list[str]) -> None:
    unique = unique_names(names)
    assert len(set(unique)) == len(unique) == len(names)
    for name in set(names):
        assert unique[names.index(name)] == name


def test_clinical_follows_the_engine_of_the_dose(with_tps: Written) -> None:
    inputs = inputs_of(with_tps.made)
    engine = inputs.merge.engine.model_copy(update={"clinical": True})
    changed = replace(inputs, merge=inputs.merge.model_copy(update={"engine": engine}))
    assert summarise(inputs).clinical is False
    assert summarise(changed).clinical is True
