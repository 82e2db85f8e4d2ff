"""The overview of a batch: from summaries to one page."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest
import yaml
from made_results import Written
from test_browser import browser, run  # noqa: F401 - a fixture

from gatecheck.files import read_json
from gatecheck.report.overview import Batch, BatchEntry, BatchMetric, charts_of, entry_of, write_overview

START = datetime.datetime(2026, 3, 1, 20, 0, tzinfo=datetime.UTC)


def entry(number: int, value: float, *, machine: str = "truebeam_stx", site: str = "spine") -> BatchEntry:
    metric = BatchMetric(
        tumour="GTV",
        question="output",
        quantity="Dose in the core",
        unit="%",
        value=value,
        low=value - 1,
        high=value + 1,
        tolerance=2.0,
        is_limit=False,
        outcome="pass",
    )
    return BatchEntry(
        number=number,
        state="verified",
        case=f"case-{number:02d}",
        verified_at=START + datetime.timedelta(hours=(7 * number) % 25),
        machine=machine,
        site=site,
        outcome="pass",
        relative_sigma=0.01,
        metrics=(metric,),
        warnings=2,
    )


def entries() -> list[BatchEntry]:
    values = [0.2 * (-1) ** number for number in range(24)]
    values[10] = 3.0
    made = [entry(number + 1, value) for number, value in enumerate(values)]
    refused = BatchEntry(number=25, state="refused", message="RTPLAN: 2 plans found <script>alert(1)</script>.")
    return [*made, refused, BatchEntry(number=26, state="waiting")]


def test_the_page_names_every_plan_and_escapes_what_it_is_told(tmp_path: Path) -> None:
    text = write_overview(tmp_path, entries()).read_text(encoding="utf-8")
    assert "24 verified, 1 not verified, 1 waiting" in text
    assert '<a href="case-07/report/report.html">case-07</a>' in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert text.count("<script>") == 1
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    batch = read_json(tmp_path / "batch.json", Batch)
    assert batch.entries == tuple(entries())


def test_charts_are_by_machine_and_site_in_the_order_of_time() -> None:
    made = [
        *entries(),
        *(entry(30 + n, 1.0 + 0.1 * n, site="brain") for n in range(3)),
        entry(40, 0.0, machine="other"),
    ]
    charts = list(charts_of(Batch(entries=tuple(made))))
    assert [one.title for one in charts] == [
        "truebeam_stx · spine · not for clinical use: Dose in the core",
        "truebeam_stx · brain · not for clinical use: Dose in the core",
    ]
    spine, brain = charts
    in_time = sorted(entries()[:24], key=lambda one: (one.verified_at, one.number))
    assert spine.chart.values == tuple(one.metrics[0].value for one in in_time)
    assert spine.outside == ("case-11",)
    assert brain.chart.is_provisional
    assert not spine.chart.is_provisional


def test_limits_are_not_charted_and_the_worst_outcome_is_shown(tmp_path: Path) -> None:
    difference = entry(1, 1.5).metrics[0]
    of_limit = {"quantity": "Dose to the cord", "value": 13.0, "tolerance": 14.0, "is_limit": True}
    limit = difference.model_copy(update=of_limit)
    undecided = difference.model_copy(update={"tumour": "other", "value": -1.0, "outcome": "undecided"})
    made = [entry(number, 0.0).model_copy(update={"metrics": (difference, limit, undecided)}) for number in range(1, 5)]
    (chart,) = charts_of(Batch(entries=tuple(made)))
    # One value of each plan: that of the tumour with the worst outcome.
    assert chart.chart.values == (-1.0,) * 4
    text = write_overview(tmp_path, made).read_text(encoding="utf-8")
    assert text.split("Over time")[0].count("-1.00 %") == 4
    assert "+13.00 %" not in text


def test_cases_verified_before_count_in_the_charts_and_are_no_rows(tmp_path: Path) -> None:
    before = [entry(number, 0.5) for number in range(1, 4)]
    now = [entry(number, 1.5) for number in (3, 4)]
    path = write_overview(tmp_path, now, before)
    batch = read_json(tmp_path / "batch.json", Batch)
    assert [one.case for one in batch.earlier] == ["case-01", "case-02"]
    (chart,) = charts_of(batch)
    assert sorted(chart.chart.values) == [0.5, 0.5, 1.5, 1.5]
    assert path.read_text(encoding="utf-8").count("<tr>") == 1 + 2


def test_a_dose_that_is_not_clinical_is_marked_and_kept_apart(tmp_path: Path) -> None:
    made = [entry(number, 0.1 * number).model_copy(update={"clinical": number % 2 == 0}) for number in range(1, 9)]
    text = write_overview(tmp_path, made).read_text(encoding="utf-8")
    assert "<strong>Not for clinical use</strong>" in text
    assert text.count("<b>not for clinical use</b>") == 4
    assert len({one.title for one in charts_of(Batch(entries=tuple(made)))}) == 2
    for_patients = [one.model_copy(update={"clinical": True}) for one in made]
    assert "Not for clinical use" not in write_overview(tmp_path, for_patients).read_text(encoding="utf-8")


def test_outcomes_sort_from_the_worst(tmp_path: Path) -> None:
    outcomes = ("pass", "undecided", "fail", "not assessed")
    made = [entry(number, 0.0).model_copy(update={"outcome": one}) for number, one in enumerate(outcomes, start=1)]
    text = write_overview(tmp_path, made).read_text(encoding="utf-8")
    places = [int(place) for place in re.findall(r'<td data-sort="(\d)"><span class="outcome', text)]
    assert places == [3, 1, 0, 2]


def test_a_verified_case_gives_its_worst_verdict_and_its_site(with_tps: Written, tmp_path: Path) -> None:
    layout = with_tps.made.layout
    config = layout.folder / "config.yaml"
    before = config.read_text(encoding="utf-8") if config.exists() else None
    config.write_text(yaml.safe_dump({"case": {"site": "spine"}}), encoding="utf-8")
    try:
        found = entry_of(3, layout.folder.parent, layout.folder.name)
    finally:
        config.unlink() if before is None else config.write_text(before, encoding="utf-8")
    assert found.verified_at == with_tps.summary.simulated_at  # and not when its report was made
    verdicts = [verdict for tumour in with_tps.summary.interface.tumours for verdict in tumour.verdicts]
    assert found.state == "verified"
    assert found.site == "spine"
    assert found.outcome in {verdict.outcome for verdict in verdicts}
    assert ("fail" in {verdict.outcome for verdict in verdicts}) == (found.outcome == "fail")
    findings = [one for verdict in verdicts for one in verdict.findings]
    for metric in found.metrics:
        assert metric.value in {one.value for one in findings}


@pytest.mark.parametrize("presses", [1, 2])
def test_the_table_sorts_in_a_browser(browser: str, tmp_path: Path, presses: int) -> None:  # noqa: F811
    page = write_overview(tmp_path, entries())
    press = f"""<script>
    const head = [...document.querySelectorAll("thead button")].find((one) => one.textContent === "output");
    for (let k = 0; k < {presses}; k++) head.click();
    const rows = [...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent);
    document.title = rows.join(",");
    </script></body>"""
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", press), encoding="utf-8")
    done = run(browser, page, tmp_path / "profile", "--dump-dom")
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    numbers = [int(number) for number in title[1].split(",")]
    assert sorted(numbers) == list(range(1, 27))
    assert numbers[-2:] == [25, 26]  # without a value, whichever way it is sorted
    values = {one.number: one.metrics[0].value for one in entries()[:24]}
    sorted_values = [values[number] for number in numbers[:24]]
    assert sorted_values == sorted(sorted_values, reverse=presses == 2)
