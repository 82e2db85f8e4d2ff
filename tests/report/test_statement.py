"""The sentence to quote is true of every state of a verification, and never judges the plan."""

from __future__ import annotations

import re

import pytest
from made_results import Written

from gatecheck.compare.interface.model import Interface, InterfaceComparison
from gatecheck.report.numbers import MINUS, number, power, significant
from gatecheck.report.statement import stated, statement_of
from gatecheck.report.summary import Summary
from gatecheck.transport.model import Precision


def _with_outcomes(summary: Summary, outcome: str, value: float = 0.77) -> Summary:
    """Every finding and verdict at the surfaces with one outcome."""

    def changed(tumour: InterfaceComparison) -> InterfaceComparison:
        verdicts = tuple(
            verdict.model_copy(
                update={
                    "outcome": outcome,
                    "findings": tuple(
                        one.model_copy(update={"outcome": outcome, "value": value}) for one in verdict.findings
                    ),
                }
            )
            for verdict in tumour.verdicts
        )
        return tumour.model_copy(update={"verdicts": verdicts})

    tumours = tuple(changed(one) for one in summary.interface.tumours)
    return summary.model_copy(update={"interface": summary.interface.model_copy(update={"tumours": tumours})})


def _without_tumours(summary: Summary) -> Summary:
    return summary.model_copy(update={"interface": Interface(made_from={}, tumours=(), notes=("No tumour.",))})


def test_it_is_one_sentence_and_the_one_in_summary_json_and_on_the_first_page(with_tps: Written) -> None:
    sentence = with_tps.summary.statement
    assert sentence == statement_of(with_tps.summary)
    assert sentence.endswith(".")
    assert re.search(r"\. [A-Z]", sentence) is None
    before_warnings = with_tps.html.split('<h2 id="warnings">')[0]
    assert 'class="quote"' in before_warnings


def test_it_says_what_was_checked_and_by_what_method(with_tps: Written) -> None:
    summary = with_tps.summary
    for words in (
        summary.case_id,
        f"{len(summary.beams)} beams on the machine model {summary.machine}",
        f"{number(summary.meterset_per_fraction, 1)} MU per fraction",
        f"{summary.fractions} fractions",
        "independently of the planning system, by Monte Carlo",
        f"Geant4 {summary.engine.geant4}",
        power(float(summary.histories)),
        "2.13\N{NO-BREAK SPACE}% at k = 1",
    ):
        assert words in summary.statement


def test_sigma_in_it_is_the_one_that_was_asked_for_with_its_voxels_and_what_was_wanted(with_tps: Written) -> None:
    """Not the mean over all voxels of the joined grid, where a coarse one counts up to 64 times."""
    summary, space = with_tps.summary, "\N{NO-BREAK SPACE}"
    assert summary.fine_relative_sigma != summary.mean_relative_sigma
    size = f"{summary.fine_spacing[0]:g}" if len(set(summary.fine_spacing)) == 1 else "\N{MULTIPLICATION SIGN}"
    voxels = f"over the {number(4000)} fine voxels of {size}"
    assert f"2.13{space}% at k = 1 {voxels}" in summary.statement
    assert f"above 20.0{space}Gy, where 2{space}% was wanted" in summary.statement
    assert f"2.49{space}%" not in summary.statement
    by_photons = summary.model_copy(update={"target_relative_sigma": None, "precisions": ()})
    assert "wanted" not in statement_of(by_photons)
    without = statement_of(summary.model_copy(update={"fine_voxels": 0, "fine_relative_sigma": 0.0}))
    assert f"2.49{space}% at k = 1 over all body voxels of the joined grid above half the maximum" in without


def test_the_highest_voxel_has_no_sigma_and_says_that_noise_raises_it(with_tps: Written) -> None:
    (shown,) = re.findall(r"<dt>Highest dose voxel, whole course</dt><dd>(.*?)</dd>", with_tps.html)
    assert f"{number(with_tps.summary.maximum_gy, 2)} Gy" in shown
    assert "as scored: noise raises the highest of many" in shown
    assert "±" not in shown
    said = [words for item in with_tps.summary.records for words in item.done if "Highest voxel of the body" in words]
    assert len(said) == 1
    assert "\N{GREEK SMALL LETTER SIGMA}" not in said[0]
    assert "noise raises" in said[0]


def test_every_decisive_finding_has_value_interval_and_tolerance(with_tps: Written) -> None:
    summary = with_tps.summary
    decisive = [
        finding
        for tumour in summary.interface.tumours
        for verdict in tumour.verdicts
        for finding in verdict.findings
        if finding.outcome == verdict.outcome and not finding.is_limit
    ]
    assert decisive
    for one in decisive:
        value, low, high = (significant(number_).replace("-", MINUS) for number_ in (one.value, one.low, one.high))
        assert re.search(
            re.escape(f"{value}\N{NO-BREAK SPACE}{one.unit} ({low} to {high}\N{NO-BREAK SPACE}{one.unit}; ")
            + "(tolerance|limit) ",
            summary.statement,
        )


@pytest.mark.parametrize(
    ("outcome", "words"), [("pass", "within it"), ("fail", "beyond it"), ("undecided", "undecided")]
)
def test_outcomes_are_those_of_the_verdicts(with_tps: Written, outcome: str, words: str) -> None:
    sentence = statement_of(_with_outcomes(with_tps.summary, outcome))
    found = set(re.findall(r"(?:tolerance|limit) [^;)]*: ([a-z ]+)\)", sentence))
    assert found == {words}


def test_a_verdict_that_fails_names_the_findings_that_fail_and_no_other(with_tps: Written) -> None:
    tumour = with_tps.summary.interface.tumours[0]
    spread = next(one for one in tumour.verdicts if len(one.findings) > 1)
    first, *rest = spread.findings
    findings = (
        first.model_copy(update={"outcome": "fail", "value": 9.87}),
        *(one.model_copy(update={"outcome": "pass", "value": 0.0123}) for one in rest),
    )
    changed = tumour.model_copy(
        update={"verdicts": (spread.model_copy(update={"outcome": "fail", "findings": findings}),)}
    )
    interface = with_tps.summary.interface.model_copy(update={"tumours": (changed,)})
    sentence = statement_of(with_tps.summary.model_copy(update={"interface": interface}))
    assert "9.87" in sentence
    assert "0.0123" not in sentence


def test_a_dose_against_a_limit_is_no_difference_and_is_said_once(with_tps: Written) -> None:
    sentence = with_tps.summary.statement
    limits = {
        finding.value
        for tumour in with_tps.summary.interface.tumours
        for verdict in tumour.verdicts
        for finding in verdict.findings
        if finding.is_limit
    }
    assert len(limits) == 1
    differences, after = sentence.split("; in SPINALCORD, ")
    assert "limit" not in differences.split("difference from the dose")[1]
    assert after.count("; limit ") == 1


def test_an_output_that_the_joint_fit_contradicts_says_so(with_tps: Written) -> None:
    tumour = with_tps.summary.interface.tumours[0]
    output = next(one for one in tumour.verdicts if one.question == "output")
    passed = tuple(one.model_copy(update={"outcome": "pass"}) for one in output.findings)
    changed = tumour.model_copy(
        update={"verdicts": (output.model_copy(update={"outcome": "undecided", "findings": passed}),)}
    )
    interface = with_tps.summary.interface.model_copy(update={"tumours": (changed,)})
    sentence = statement_of(with_tps.summary.model_copy(update={"interface": interface}))
    assert "undecided, for the joint fit contradicts it" in sentence


def test_a_broken_limit_of_the_effective_dose_is_named(with_tps: Written) -> None:
    broken = [one for one in with_tps.summary.biology.limits if one.verdict == "fail" and one.value is not None]
    assert broken
    for one in broken:
        assert f"{one.structure} " in with_tps.summary.statement
        assert f"above {number(one.limit_gy, 1)}\N{NO-BREAK SPACE}Gy" in with_tps.summary.statement


def test_what_was_not_assessed_is_named(without_tps: Written) -> None:
    sentence = without_tps.summary.statement
    assert "there was no dose of the planning system to compare it with" in sentence
    assert "not assessed: dose in the tumour's core at GTVp, position of the dose at GTVp" in sentence
    assert "difference from the dose of the planning system" not in sentence


def test_nothing_compared_is_said(with_tps: Written, clinical: Written) -> None:
    assert "nothing was compared at an interface" in statement_of(_without_tumours(with_tps.summary))
    assert "nothing could be judged" in statement_of(_with_outcomes(with_tps.summary, "not assessed"))
    assert "there was no dose of the planning system" in clinical.summary.statement


def test_a_dose_that_is_not_clinical_says_so_first_and_a_clinical_one_does_not(
    with_tps: Written, clinical: Written
) -> None:
    assert with_tps.summary.statement.startswith("Not for clinical use")
    assert "clinical use" not in clinical.summary.statement
    assert "PLAN <7>" in clinical.summary.statement


def test_statistics_that_were_not_reached_are_named_and_reached_ones_are_not(with_tps: Written) -> None:
    def with_precision(reached: float | None) -> str:
        precision = Precision(name="cord_d003cc", wanted=1.0, reached=reached)
        return statement_of(with_tps.summary.model_copy(update={"precisions": (precision,)}))

    assert "not reached (cord d003cc: 1 % wanted, 1.7 % reached)" in with_precision(1.7)
    assert "not to be had from this case" in with_precision(None)
    assert "not reached" not in with_precision(0.98)


def test_broken_limits_of_the_effective_dose_and_warnings_are_not_left_out(with_tps: Written) -> None:
    verdicts = [limit.verdict for limit in with_tps.summary.biology.limits]
    assert f"{verdicts.count('fail')} broken" in with_tps.summary.statement
    assert f"{verdicts.count('pass')} kept" in with_tps.summary.statement
    assert f"the report holds {len(with_tps.summary.warnings)} warnings" in with_tps.summary.statement


@pytest.mark.parametrize("which", ["with_tps", "without_tps", "clinical"])
@pytest.mark.parametrize("outcome", ["pass", "fail", "undecided", "not assessed"])
def test_no_state_calls_the_plan_safe_or_judges_it(which: str, outcome: str, request: pytest.FixtureRequest) -> None:
    written: Written = request.getfixturevalue(which)
    sentence = stated(_with_outcomes(written.summary, outcome)).statement
    assert sentence.endswith("otherwise neither the dose nor the plan as a whole was judged.")
    for word in ("safe", "acceptable", "approved", "correct", "can be treated"):
        assert word not in sentence.lower()
