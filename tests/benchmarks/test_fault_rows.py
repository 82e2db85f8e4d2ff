"""Rows read off comparisons, the rule that they must keep, and the table as people read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fault_table
import pytest
from fault_page import markdown
from fault_rows import (
    FAULT_FREE,
    QUESTIONS,
    FaultRow,
    FaultTable,
    GammaRow,
    MetricRow,
    gamma_rows,
    metric_rows,
    question_row,
    shortcomings,
    told_by,
    with_changes,
)
from made_fault_free import write_fault_free

from gatecheck.compare.interface.model import (
    GammaRate,
    InterfaceComparison,
    NoiseFreeEstimate,
    ShellComparison,
    Verdict,
)
from gatecheck.compare.interface.verdicts import Measured, judge, not_assessed, verdict
from gatecheck.compare.model import Comparison, DoseMetrics, Metric, StructureComparison
from gatecheck.errors import InputError

TOLERANCES = {"output": (2.0, "%"), "position": (0.5, "mm"), "spread": (0.5, "mm"), "cord maximum": (3.0, "%")}


def verdict_of(question: Any, *values: float, sigma: float = 0.1) -> Verdict:
    tolerance, unit = TOLERANCES[question]
    findings = [
        judge(Measured(f"{question} {number}", unit, value, sigma, 11), tolerance, "a report", photons=1e6)
        for number, value in enumerate(values)
    ]
    return verdict(question, findings)


def tumour(name: str = "GTV", sigma: float = 0.1, **values: float | tuple[float, ...]) -> InterfaceComparison:
    """Verdicts on the values given; the others are 0.05."""
    verdicts = []
    for question in QUESTIONS:
        value = values.get(question.replace(" ", "_"), 0.05)
        verdicts.append(verdict_of(question, *(value if isinstance(value, tuple) else (value,)), sigma=sigma))
    return InterfaceComparison(
        tumour=name,
        cord="Cord",
        relation="in the cord",
        tumour_volume_ml=0.3,
        prescription_gy=39.0,
        batches=12,
        photons=1e6,
        calibration_relative_sigma=0.004,
        verdicts=tuple(verdicts),
    )


def row(name: str, *tumours: InterfaceComparison, must_be_seen: bool = False, work: str = "simulate") -> FaultRow:
    return FaultRow(
        fault=name,
        is_gross=False,
        must_be_seen=must_be_seen,
        work=work,
        photons=4_000_000,
        mean_relative_sigma=0.025,
        seconds_of_chunks=600.0,
        core_seconds=660.0,
        questions=tuple(question_row(question, tumours or (tumour(),)) for question in QUESTIONS),
        gamma=(
            GammaRow(
                tumour="GTV",
                criteria="2 %/1 mm",
                pass_percent=99.0,
                lowest_percent=97.0,
                lowest_sigma=0.5,
                lowest_shell="outside 1-2 mm, cord",
            ),
        ),
        metrics=(MetricRow(name="GTV D95", difference_gy=0.4, sigma_gy=0.2, significance=2.0),),
    )


def table(*rows: FaultRow) -> FaultTable:
    changed = with_changes(rows)
    return FaultTable(case="made", calibration_relative_sigma=0.004, clinical=False, rows=changed)


def test_a_question_takes_its_worst_tumour_and_its_most_significant_finding() -> None:
    found = question_row("spread", (tumour("A", spread=(0.01, -0.4)), tumour("B", spread=(0.9, 0.0))))
    assert found.outcome == "fail"
    assert found.is_seen
    assert [(one.tumour, one.quantity) for one in found.findings[:2]] == [("B", "spread 0"), ("A", "spread 1")]
    assert found.findings[1].significance == pytest.approx(-4.0)


def test_what_is_not_assessed_is_neither_passed_nor_seen() -> None:
    silent = tumour().model_copy(update={"verdicts": (not_assessed("output", "no TPS dose"),)})
    for given in ((silent,), ()):
        found = question_row("output", given)
        assert (found.outcome, found.is_seen, found.findings) == ("not assessed", False, ())


def test_changes_are_from_the_fault_free_case_over_both_noises() -> None:
    rows = with_changes([row(FAULT_FREE, tumour(position=0.2)), row("bank", tumour(position=0.8))])
    position = rows[1].questions[1].findings[0]
    assert position.change == pytest.approx(0.6)
    assert position.change_significance == pytest.approx(0.6 / (0.1 * 2**0.5))
    assert rows[0].questions[1].findings[0].change is None


def test_the_requirement_is_met_when_all_that_must_be_seen_is_and_the_fault_free_case_passes() -> None:
    met = table(row(FAULT_FREE), row("gap", tumour(spread=0.75), must_be_seen=True), row("stuck"))
    assert shortcomings(met) == ()
    assert met.rows[1].seen_by == ("spread",)


def test_a_fault_that_must_be_seen_and_is_not_is_named_with_what_came_nearest() -> None:
    found = shortcomings(table(row(FAULT_FREE), row("gap", tumour(spread=0.28), must_be_seen=True)))
    assert len(found) == 1
    assert '"gap" must be seen and is not (most significant: spread at 2.8 sigma' in found[0]


def test_a_fault_that_need_not_be_seen_may_stay_unseen() -> None:
    assert shortcomings(table(row(FAULT_FREE), row("stuck"))) == ()


@pytest.mark.parametrize(("value", "outcome"), [(0.9, "fail"), (0.45, "undecided")])
def test_a_fault_free_case_that_does_not_pass_is_named(value: float, outcome: str) -> None:
    found = shortcomings(table(row(FAULT_FREE, tumour(position=value))))
    assert found == (f"The fault-free case does not pass: position is {outcome}.",)


def test_what_the_fault_free_case_shows_as_well_tells_no_fault() -> None:
    planned, same, larger = row(FAULT_FREE, tumour(sigma=0.05, spread=0.2)), 0.22, 0.55
    rows = with_changes(
        [planned, row("a", tumour(sigma=0.05, spread=same)), row("b", tumour(sigma=0.05, spread=larger))]
    )
    assert rows[1].seen_by == rows[2].seen_by == ("spread",)
    assert told_by(rows[1]) == ()
    assert told_by(rows[2]) == ("spread",)
    required = rows[1].model_copy(update={"must_be_seen": True})
    assert len(shortcomings(table(planned, required))) == 1


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (0.29, 0.31, ()),  # just below 3 sigma and just above: no change
        (0.36, 0.41, ()),  # the same about Student's 3.85 for 11 degrees of freedom
        (-0.7, 0.05, ()),  # a change of 5 sigma to what nobody would notice
        (-0.7, 0.7, ("spread",)),
        (0.0, 0.5, ()),  # 5 sigma from zero, 3.5 of both noises from the fault-free case
        (0.0, 0.6, ("spread",)),
    ],
)
def test_a_fault_is_told_by_what_differs_from_zero_and_from_the_fault_free_case(
    before: float, after: float, told: tuple[str, ...]
) -> None:
    rows = with_changes([row(FAULT_FREE, tumour(spread=before)), row("gap", tumour(spread=after))])
    assert told_by(rows[1]) == told


def test_between_two_readings_of_the_same_photons_a_change_stands_out_from_one_noise() -> None:
    planned, moved = row(FAULT_FREE, tumour(spread=0.1)), tumour(spread=0.55)
    rows = with_changes([planned, row("grid", moved, work="compare"), row("gap", moved)])
    assert told_by(rows[1]) == ("spread",)
    assert told_by(rows[2]) == ()
    seen = row(FAULT_FREE, tumour(spread=0.55))
    (hardly,) = with_changes([seen, row("output", tumour(spread=0.56), work="merge")])[1:]
    assert told_by(hardly) == ()


def test_a_table_without_the_fault_free_case_meets_nothing() -> None:
    assert shortcomings(table(row("gap", tumour(spread=0.9), must_be_seen=True))) != ()


def shell(name: str, region: Any, points: int, rate: float) -> ShellComparison:
    rates = [
        GammaRate(
            criteria="3 %/2 mm",
            reference=reference,
            points=points,
            unreached_percent=0.0,
            pass_percent=NoiseFreeEstimate(
                value=value, sigma=0.4, low=value, high=value, as_computed=value, extrapolation_sigma=0.1
            ),
        )
        for reference, value in (("TPS", rate), ("MC", 1.0))
    ]
    empty: dict[str, Any] = {
        f"{which}_{what}": None
        for which in ("mc", "tps")
        for what in ("mean_gy", "gradient_gy_per_mm", "gradient_percent_per_mm")
    }
    empty |= {"difference_gy": None, "difference_percent": None, "grid_error_gy": None}
    return ShellComparison(
        name=name, nearest=0.0, furthest=1.0, region=region, volume_ml=1.0, gamma=tuple(rates), **empty
    )


def test_gamma_counts_each_point_once_and_names_the_lowest_shell() -> None:
    shells = (shell("in", "tumour", 100, 100.0), shell("out", "cord", 50, 80.0), shell("out", "all", 300, 90.0))
    (found,) = gamma_rows(tumour().model_copy(update={"shells": shells}))
    assert found.pass_percent == pytest.approx((100 * 100 + 300 * 90) / 400)
    assert (found.lowest_percent, found.lowest_shell) == (80.0, "out, cord")


def doses(value: float, sigma: float | None) -> DoseMetrics:
    metric = Metric(value=value, sigma=sigma)
    return DoseMetrics(
        mean_gy=metric, d95_gy=metric, d50_gy=metric, d2_gy=metric, d003cc_gy=metric, d001cc_gy=metric, max_gy=metric
    )


def test_doses_to_volumes_have_the_sigma_of_noise_and_calibration() -> None:
    structures = tuple(
        StructureComparison(
            name=name,
            interpreted_type="",
            volume_ml=1.0,
            covered_fraction=1.0,
            mc=doses(40.0, 0.3),
            tps=doses(39.0, None),
            mc_dvh=None,
            tps_dvh=None,
        )
        for name in ("GTV", "Cord")
    )
    comparison = Comparison(made_from={}, structures=structures, has_tps_dose=True)
    found = metric_rows((tumour(),), comparison, 0.01)
    assert [one.name for one in found] == ["GTV D95", "Cord D0.03cc"]
    for one in found:
        assert one.difference_gy == pytest.approx(1.0)
        assert one.sigma_gy == pytest.approx(0.5)
        assert one.significance == pytest.approx(2.0)


def test_the_page_is_of_even_tables_and_says_what_is_not_met() -> None:
    page = markdown(table(row(FAULT_FREE), row("gap", tumour(spread=0.28), must_be_seen=True)))
    assert "**Not met:**" in page
    assert "not for clinical use" in page
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 4
    for lines in blocks:
        assert len({line.count("|") for line in lines}) == 1
    assert len(blocks[0]) == 2 + 2


def test_the_page_shows_who_sees_what_at_which_significance() -> None:
    page = markdown(table(row(FAULT_FREE), row("gap", tumour(spread=0.9), must_be_seen=True)))
    assert "every fault here that must be seen is seen" in page
    line = next(line for line in page.splitlines() if line.startswith("| gap | yes |"))
    assert "**spread**" in line
    assert "fail, +0.90 mm (+9.0 sigma)" in line
    assert "+0.40 Gy (+2.0 sigma)" in page
    assert "99.0; 97.0 ± 0.5 (outside 1-2 mm, cord)" in page


@pytest.mark.parametrize(("spread", "code"), [(0.9, 0), (0.1, 1)])
def test_the_exit_code_says_whether_the_requirement_is_met(
    spread: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fault_free(tmp_path / "made")
    made = table(row(FAULT_FREE), row("gap", tumour(spread=spread), must_be_seen=True))
    monkeypatch.setattr(fault_table, "make_table", lambda *_: made)
    assert fault_table.main([str(tmp_path / "made"), "--docs", str(tmp_path / "docs")]) == code
    assert ("NOT MET" in capsys.readouterr().out) == bool(code)
    assert FaultTable.model_validate_json((tmp_path / "docs" / "made.json").read_text(encoding="utf-8")) == made
    assert (tmp_path / "docs" / "made.md").read_text(encoding="utf-8") == markdown(made)


def test_what_is_refused_exits_with_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert fault_table.main([str(tmp_path / "empty")]) == InputError("").exit_code
    assert "not a finished case" in capsys.readouterr().err


def test_an_unknown_fault_is_refused_with_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fault_free(tmp_path / "made")
    assert fault_table.main([str(tmp_path / "made"), "--only", "gravity"]) != 0
    assert "leaf gap +0.5 mm" in capsys.readouterr().err
