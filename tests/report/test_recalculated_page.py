"""The report's sections on what was delivered and on the error budget, and their refusal of what is of another dose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_results import MadeResults, Wanted, make_results

from gatecheck.compare.error_budget import BudgetOfMetric, BudgetTerm, ErrorBudget
from gatecheck.compare.recalculation.model import ChangedMetric, Recalculation
from gatecheck.config import Config, validate_config
from gatecheck.config_recalculation import Change
from gatecheck.delivery.logs_followed import FollowedAxis, FollowedBeam, LogsFollowed
from gatecheck.delivery.storage import read_delivery, write_delivery
from gatecheck.errors import ResultError
from gatecheck.files import read_image, read_json, sha256_of_file, write_image, write_json
from gatecheck.report.compared_words import times_as_many
from gatecheck.report.html import write_report


def config(*changes: Change, logs: bool = True) -> Config:
    content = {
        "case": {"trajectory_logs": ["a.bin"] if logs else []},
        "recalculation": {"changes": [one for one in changes if one != "as_delivered"]},
    }
    return validate_config(content, source="test", check_inputs=False)


def recalculation(change: Change, made_from: dict[str, str]) -> Recalculation:
    metrics = tuple(
        ChangedMetric(
            structure="GTVp",
            metric=metric,
            region=region,
            planned_gy=40.0,
            difference_gy=0.123,
            sigma_gy=0.011,
            sigma_apart_gy=0.11,
        )
        for metric, region in (("d95_gy", ""), ("mean_gy", "inside 0-1 mm"))
    )
    return Recalculation(
        made_from=made_from,
        change=change,
        size=None if change == "as_delivered" else 0.1,
        unit="" if change == "as_delivered" else "mm",
        photons=4_000_000,
        pairs=10,
        prescription_gy=40.0,
        mean_relative_difference=0.0031,
        mean_relative_sigma=0.0004,
        metrics=metrics,
        gain=100.0,
        difference=f"{change}-difference.mha",
        difference_sha256=made_from.get("difference", ""),
    )


def logs() -> LogsFollowed:
    beam = FollowedBeam(
        number=1,
        log=1,
        sub_beam=1,
        version="2.1",
        mlc="HD120",
        is_truncated=False,
        names_plan=False,
        seconds=60.0,
        meterset_planned=500.0,
        meterset_delivered=500.01,
        axes=(FollowedAxis(axis="gantry", unit="degrees", root_mean_square=0.123, largest=-0.456),),
        leaf_root_mean_square_x1=(0.01, 0.777, 0.02),
        leaf_root_mean_square_x2=(0.0, 0.0, 0.0),
        gantry_lag_seconds=0.042,
    )
    return LogsFollowed(made_from_sha256="1" * 64, logs_sha256=("2" * 64,), beams=(beam,))


def budget(made_from: dict[str, str]) -> ErrorBudget:
    terms = (
        BudgetTerm(source="noise", gy=0.3, in_total=True),
        BudgetTerm(source="calibration", gy=0.4, in_total=True),
        BudgetTerm(source="output", gy=None, in_total=True),
        BudgetTerm(source="leaf_gap", gy=0.6, sigma_gy=0.02, in_total=True),
        BudgetTerm(source="materials", gy=None, in_total=True),
        BudgetTerm(source="control_points", gy=-0.07, sigma_gy=0.01, in_total=False),
        BudgetTerm(source="dose_to", gy=0.35, in_total=False),
    )
    one = BudgetOfMetric(
        structure="GTVp", metric="d95_gy", value_gy=40.0, terms=terms, total_gy=0.78, unknown=("output", "materials")
    )
    return ErrorBudget(
        made_from=made_from,
        leaf_gap_mm=0.1,
        density_percent=1.0,
        calibration_relative_sigma=0.004,
        output_percent=None,
        dose_to="medium",
        metrics=(one,),
    )


@pytest.fixture
def made(tmp_path: Path) -> MadeResults:
    return with_all_recalculated(tmp_path / "case")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The page and the summary of one as it was made."""
    found = with_all_recalculated(tmp_path_factory.mktemp("shown") / "case")
    text = page(found, config("leaf_gap"))
    return text, json.loads((found.layout.report / "summary.json").read_text(encoding="utf-8"))


def with_all_recalculated(folder: Path) -> MadeResults:
    """With all that can be recalculated."""
    found = make_results(folder, Wanted(organs=0))
    layout = found.layout
    made_from = {"mc_dose": sha256_of_file(layout.dose / "mc_dose.mha")}
    write_delivery(replace(read_delivery(layout.delivery), made_from_sha256="1" * 64), layout.delivered)
    dose = read_image(layout.dose / "mc_dose.mha")
    write_image(layout.recalculations / "as_delivered-difference.mha", dose * 0.01)
    difference = sha256_of_file(layout.recalculations / "as_delivered-difference.mha")
    of_logs = {"delivery": sha256_of_file(layout.delivered), "difference": difference}
    write_json(layout.recalculation("as_delivered"), recalculation("as_delivered", made_from | of_logs))
    write_json(layout.recalculation("leaf_gap"), recalculation("leaf_gap", made_from))
    write_json(layout.logs_followed, logs())
    leaf_gap = {"leaf_gap": sha256_of_file(layout.recalculation("leaf_gap"))}
    write_json(layout.compare / "error_budget.json", budget(made_from | leaf_gap))
    return found


def page(made: MadeResults, settings: Config) -> str:
    path = write_report(made.layout.folder, made.calibration, settings.report, config=settings)
    return " ".join(path.read_text(encoding="utf-8").split())


def test_what_was_delivered_is_shown_with_its_noise_and_what_was_gained(shown: tuple[str, dict[str, Any]]) -> None:
    text, _ = shown
    assert 'id="delivered">As delivered' in text
    assert "0.123<small>\N{MINUS SIGN}0.456</small>" in text
    assert "2: 0.777; 3: 0.020" in text
    assert "±1.20 Gy (±3 % of 40.00 Gy" in text
    assert text.index("Delivered \N{MINUS SIGN} planned dose") < text.index('id="budget"')
    assert "matched by its shape: the log names no plan" in text
    assert "+0.123 ± 0.011" in text
    assert f"With photons of their own, {times_as_many(100.0)} times as many" in text
    assert "by +0.31 ± 0.04 %" in text


def test_the_budget_says_what_is_unknown_and_keeps_signs_out_of_the_total(shown: tuple[str, dict[str, Any]]) -> None:
    text, _ = shown
    assert "Leaf gap, 0.1 mm wider" in text
    assert "0.60 ± 0.02" in text
    assert "at least 0.78" in text
    assert "not assessed" in text
    total = text.index("Total (k = 1)")
    assert (
        text.index("Materials: densities, 1 % lower") < total < text.index("Dose to water in place of dose to medium")
    )
    assert "-0.07".replace("-", "\N{MINUS SIGN}") in text


def test_all_of_it_is_in_the_summary(shown: tuple[str, dict[str, Any]]) -> None:
    _, summary = shown
    assert summary["logs"]["beams"][0]["leaf_root_mean_square_x1"][1] == 0.777
    assert [one["change"] for one in summary["recalculations"]] == ["as_delivered", "leaf_gap"]
    assert summary["error_budget"]["metrics"][0]["unknown"] == ["output", "materials"]
    assert {"recalculated as_delivered", "logs", "error_budget"} <= summary["inputs_sha256"].keys()


def test_what_is_said_of_the_machine_and_of_the_dose_has_to_be_of_the_same_logs(made: MadeResults) -> None:
    write_json(made.layout.logs_followed, logs().model_copy(update={"made_from_sha256": "3" * 64}))
    with pytest.raises(ResultError, match=r"logs.json: of other logs than delivered.parquet"):
        page(made, config("leaf_gap"))
    write_json(made.layout.logs_followed, logs())
    write_delivery(replace(read_delivery(made.layout.delivered), fractions=3), made.layout.delivered)
    with pytest.raises(ResultError, match=r"as_delivered.json: of another delivered.parquet"):
        page(made, config("leaf_gap"))


def test_a_budget_of_another_recalculation_is_refused(made: MadeResults) -> None:
    path = made.layout.recalculation("leaf_gap")
    write_json(path, read_json(path, Recalculation).model_copy(update={"photons": 1}))
    with pytest.raises(ResultError, match=r"error_budget.json: made from another recalculated/leaf_gap.json"):
        page(made, config("leaf_gap"))


def test_a_map_of_another_recalculation_is_refused(made: MadeResults) -> None:
    path = made.layout.recalculations / "as_delivered-difference.mha"
    write_image(path, read_image(path) * 2.0)
    with pytest.raises(ResultError, match=r"as_delivered-difference.mha: not the one that as_delivered.json is of"):
        page(made, config("leaf_gap"))


def test_few_pairs_little_gain_and_another_meterset_are_warned_of(made: MadeResults) -> None:
    layout = made.layout
    path = layout.recalculation("as_delivered")
    write_json(path, read_json(path, Recalculation).model_copy(update={"pairs": 4, "gain": 1.4}))
    (beam,) = logs().beams
    short = beam.model_copy(update={"meterset_delivered": 495.5})
    write_json(layout.logs_followed, logs().model_copy(update={"beams": (short,)}))
    text = page(made, config("leaf_gap"))
    assert "Recalculation as_delivered: 4 pairs of runs; its sigma is itself known to 41 % only." in text
    assert "the same photons save 1.4 times as many" in text
    assert "Beam 1: its log says 495.50 MU were delivered, 500.00 are planned (-0.90 %)." in text


def test_what_the_configuration_does_not_ask_for_any_more_is_not_shown(made: MadeResults) -> None:
    (made.layout.compare / "error_budget.json").unlink()
    text = page(made, config(logs=False))
    assert 'id="delivered"' not in text
    assert "Leaf gap wider" not in text


def test_a_recalculation_or_budget_of_another_dose_is_refused(made: MadeResults) -> None:
    stale = {"mc_dose": "9" * 64}
    write_json(made.layout.compare / "error_budget.json", budget(stale))
    with pytest.raises(ResultError, match=r"error_budget.json: not made from the mc_dose .* Run error-budget again"):
        page(made, config("leaf_gap"))
    write_json(made.layout.recalculation("leaf_gap"), recalculation("leaf_gap", stale))
    with pytest.raises(ResultError, match=r"recalculated/leaf_gap.json: not made from the mc_dose"):
        page(made, config("leaf_gap"))


def test_a_recalculation_that_is_asked_for_and_missing_is_refused(made: MadeResults) -> None:
    with pytest.raises(ResultError, match=r"density\.json"):
        page(made, config("density"))
