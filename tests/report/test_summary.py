"""summary.json says what the rooms before it wrote."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import AWKWARD_NAME, MadeResults, Wanted, Written, make_results

from gatecheck.files import write_json
from gatecheck.report.inputs import ReportInputs, read_inputs
from gatecheck.report.summary import summarise, unique_names

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
