"""Verdicts, interface, EQD2 and setup errors as the page shows them: all of them, escaped, with what they mean."""

from __future__ import annotations

import re

import pytest
from made_comparisons import NO_TPS, NO_TUMOUR, RAYS
from made_results import AWKWARD_NAME, Written
from markupsafe import escape
from test_html import Page, plain

from gatecheck.compare.interface.model import InterfaceComparison
from gatecheck.report.compared_words import decides, interval, metric_interval, signed_interval, tolerance
from gatecheck.report.numbers import number, signed
from gatecheck.report.words import gray


def section(written: Written, name: str) -> str:
    """The HTML of one section, without its figures."""
    html = written.html
    start = html.index(f'<section aria-labelledby="{name}">')
    return re.sub(r"data:image/[^\"]*", "", html[start : html.index("</section>", start)])


def text(written: Written, name: str) -> str:
    return Page(section(written, name) + "</section>").text


def rows(html: str) -> list[str]:
    return re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)


def row_of(html: str, *starts: str) -> str:
    """The only row that holds all of some texts."""
    found = [row for row in rows(html) if all(start in row for start in starts)]
    assert len(found) == 1, (starts, len(found))
    return found[0]


def test_sections_stand_in_the_order_of_reading(with_tps: Written) -> None:
    names = re.findall(r'<section aria-labelledby="([^"]*)">', with_tps.html)
    assert names[:3] == ["statement", "verdicts", "warnings"]
    assert names[names.index("dvh") :] == [
        "dvh",
        "metrics",
        "interface",
        "biology",
        "setup",
        "convergence",
        "provenance",
        "records",
        "glossary",
    ]


@pytest.mark.parametrize("which", ["with_tps", "without_tps"])
def test_every_verdict_is_a_row_with_its_outcome_in_words_and_its_statement(
    which: str, request: pytest.FixtureRequest
) -> None:
    written = request.getfixturevalue(which)
    html = section(written, "verdicts")
    for tumour in written.summary.interface.tumours:
        for verdict in tumour.verdicts:
            row = row_of(
                html,
                f"{escape(tumour.tumour)}: {verdict.question}<",
            )
            assert f'<span class="outcome {verdict.outcome.replace(" ", "-")}"><svg' in row
            assert f"</svg>{verdict.outcome}</span>" in row
            words = Page(f"<table>{row}</table>").text
            assert plain(verdict.statement) in words
            for finding in verdict.findings:
                assert plain(tolerance(finding)) in words
                assert plain(finding.tolerance_source) in words
                assert plain(decides(finding, tumour.photons)) in words
                assert plain(finding.statement) in words
            if verdict.is_seen:
                assert "Seen: a significant difference" in words


def test_marks_of_outcomes_differ_without_their_colour(with_tps: Written, without_tps: Written) -> None:
    html = section(with_tps, "verdicts") + section(without_tps, "verdicts") + section(with_tps, "biology")
    marks = {name: set() for name in ("pass", "fail", "undecided", "not-assessed")}
    for name, path in re.findall(r'<span class="outcome ([a-z-]*)"><svg.*?<path d="([^"]*)"', html):
        marks[name].add(path)
    assert all(len(paths) == 1 for paths in marks.values())
    assert len(set.union(*marks.values())) == len(marks)


def test_what_more_photons_would_decide_is_said(with_tps: Written) -> None:
    tumour = with_tps.summary.interface.tumours[0]
    findings = [finding for verdict in tumour.verdicts for finding in verdict.findings]
    assert any(finding.more_photons is not None for finding in findings)
    assert "more photons would decide (used so far: 6.1\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}" in section(
        with_tps, "verdicts"
    )


def test_without_a_tumour_the_page_says_why_nothing_was_judged(clinical: Written) -> None:
    page = Page(clinical.html).text
    assert "Nothing was judged at the interface of tumour and cord, for the reasons under Verdicts." in page
    assert f"Nothing was compared at the interface of tumour and cord, because: {NO_TUMOUR}" in page
    assert "Nothing was compared there; the reasons stand under Verdicts." in text(clinical, "interface")


def test_a_report_without_a_tps_dose_says_so_at_the_interface(without_tps: Written) -> None:
    page = text(without_tps, "interface")
    assert NO_TPS in page
    assert "no isodose is met by both doses, as there is no TPS dose to compare with" in page
    assert "TPS, dashed" not in page
    assert "Joint fit" not in page
    assert "reference TPS" not in page
    assert "Nothing was judged at the interface" in Page(without_tps.html).text


def _tumour_html(written: Written, number_of: int) -> str:
    return section(written, "interface").split("<h3>")[number_of + 1]


def tumours(written: Written) -> list[tuple[InterfaceComparison, str]]:
    return [(one, _tumour_html(written, index)) for index, one in enumerate(written.summary.interface.tumours)]


def test_two_tumours_are_shown_one_after_the_other_and_escaped(with_tps: Written) -> None:
    assert len(tumours(with_tps)) == 2
    assert "<script>alert" not in with_tps.html
    heading = Page("<h3>" + _tumour_html(with_tps, 1).split("<dl")[0]).text
    assert plain(f"{AWKWARD_NAME} and SPINALCORD") == heading


@pytest.mark.parametrize("which", ["with_tps", "without_tps"])
def test_every_shell_is_a_row_with_values_and_intervals(which: str, request: pytest.FixtureRequest) -> None:
    for tumour, html in tumours(request.getfixturevalue(which)):
        table = html[html.index("Shells round") :].split("</table>")[0]
        regions = {"tumour": ">tumour<", "cord": "cord, without", "all": "all that lies"}
        for shell in tumour.shells:
            row = row_of(table, f">{shell.name}<", regions[shell.region])
            assert shell.mc_mean_gy is not None
            assert f"{number(shell.mc_mean_gy.value, 2)}<small>{interval(shell.mc_mean_gy)}</small>" in row
            assert shell.mc_gradient_percent_per_mm is not None
            assert interval(shell.mc_gradient_percent_per_mm, 1) in row
            if shell.difference_percent is None:
                assert row.count("\N{EN DASH}") == 6
                continue
            assert shell.difference_gy is not None
            assert shell.grid_error_gy is not None
            assert shell.tps_gradient_gy_per_mm is not None
            assert f"{signed(shell.difference_gy.value)}<small>{signed_interval(shell.difference_gy)}</small>" in row
            assert signed_interval(shell.difference_percent) in row
            assert f">{number(shell.grid_error_gy, 2)}</td>" in row
            assert f">{number(shell.tps_gradient_gy_per_mm, 2)}</td>" in row


def test_every_isodose_is_a_row_with_its_distances_and_the_rays_that_meet_it(with_tps: Written) -> None:
    for tumour, html in tumours(with_tps):
        table = html[html.index("Where isodoses lie") :].split("</table>")[0]
        for one in tumour.isodoses:
            row = row_of(table, f'<th scope="row">{one.percent:g} %<')
            assert f"{one.met_by_both} of {one.rays}" in row
            assert f"{one.never_met_by_mc} | {one.never_met_by_tps}" in row
            assert one.mean is not None
            assert one.median is not None
            assert one.p95_of_absolute is not None
            assert f"{signed(one.mean.value)}<small>{signed_interval(one.mean)}</small>" in row
            assert f"{signed(one.median.value)} | {signed(one.median.as_computed)}" in row
            assert f"{number(one.p95_of_absolute.value, 2)} | {number(one.p95_of_absolute.as_computed, 2)}" in row


def test_core_fit_fall_off_and_cord_maximum_are_stated_with_intervals(with_tps: Written) -> None:
    tumour, html = tumours(with_tps)[0]
    words = Page("<h3>" + html).text
    assert tumour.plateau is not None
    assert tumour.fit is not None
    assert tumour.fall_off is not None
    assert tumour.cord_maximum is not None
    assert plain(tumour.relation) in words
    assert plain(tumour.plateau.definition) in words
    shown = [tumour.plateau.difference_percent, tumour.fit.output_percent, *tumour.fit.shift_xyz, tumour.fit.widening]
    for one in [*shown, tumour.fall_off.difference]:
        assert plain(f"{signed(one.value)}") in words
        assert plain(f"({signed_interval(one)})") in words
    assert plain(f"MC {number(tumour.cord_maximum.mc_gy.value, 2)} Gy ({interval(tumour.cord_maximum.mc_gy)})") in words
    assert "grid error 0.12 %" in words  # of the fit's output: 0.0012 of the dose


def test_no_gamma_rate_stands_without_its_points_and_those_not_reached(with_tps: Written) -> None:
    for tumour, html in tumours(with_tps):
        table = html[html.index("Gamma (global") :].split("</table>")[0]
        cells = re.findall(r'<td data-label="[^"]*reference (?:TPS|MC) \(%\)" class="number">(.*?)</td>', table)
        parts = [*tumour.shells, *tumour.gradient_classes]
        assert len(cells) == sum(len(part.gamma) for part in parts) == 4 * len(parts)
        expected = [rate for part in parts for rate in part.gamma]
        for cell, rate in zip(cells, expected, strict=True):
            assert f"<span>{number(rate.pass_percent.value, 1)}<small>{interval(rate.pass_percent, 1)}</small>" in cell
            assert f"as computed {number(rate.pass_percent.as_computed, 1)}<" in cell
            assert f"{rate.points} points, {rate.unreached} not reached<" in cell
            assert f"({number(rate.unreached_percent, 1)} % of volume)" in cell


def test_maps_say_how_many_rays_they_show(with_tps: Written) -> None:
    words = text(with_tps, "interface")
    assert f"50 % isodose: {RAYS} rays drawn, 0 not met by both" in words
    found = re.search(r"95 % isodose: (\d+) rays drawn, (\d+) not met by both", words)
    assert found is not None
    assert int(found[1]) + int(found[2]) == RAYS
    assert int(found[2]) > 0


def test_every_structure_has_its_effective_doses_of_both_courses(with_tps: Written) -> None:
    html = section(with_tps, "biology")
    for structure in with_tps.summary.biology.structures:
        body = next(part for part in html.split('<tbody class="group">')[1:] if f">{escape(structure.name)}<" in part)
        assert f"{structure.alpha_beta:g} Gy<small>" in body
        for metrics in (structure.this_course, structure.all_courses):
            assert metrics is not None
            for one in (metrics.mean_gy, metrics.max_gy, metrics.d0_03cc_gy):
                assert one is not None
                assert f"<span>{gray(one)}<small>{metric_interval(one)}</small></span>" in body
            assert metrics.d0_01cc_gy is None
    assert "Nieder et al. &lt;2006&gt;" in html
    assert plain(with_tps.summary.biology.alpha_beta_rule) in text(with_tps, "biology")


def test_every_limit_of_the_effective_dose_has_verdict_value_limit_and_reference(with_tps: Written) -> None:
    html = section(with_tps, "biology")
    limits = with_tps.summary.biology.limits
    assert {limit.verdict for limit in limits} == {"pass", "fail"}
    for limit in limits:
        row = row_of(
            html, f">{number(limit.limit_gy, 2)}<small>\N{GREEK SMALL LETTER ALPHA}/β {limit.alpha_beta:g} Gy<"
        )
        assert f"</svg>{limit.verdict}</span>" in row
        assert limit.value is not None
        assert gray(limit.value) in row
        assert plain(limit.reference) in Page(f"<table>{row}</table>").text


def test_earlier_courses_are_listed_as_they_were_counted(with_tps: Written, without_tps: Written) -> None:
    row = row_of(section(with_tps, "biology"), "Earlier course 1")
    assert "30.00 Gy, the same everywhere" in row
    assert ">25</td>" in row
    assert "No earlier course was given" in text(without_tps, "biology")


def test_bands_exceedances_and_worst_courses_are_shown_with_their_errors(with_tps: Written) -> None:
    html, words = section(with_tps, "setup"), text(with_tps, "setup")
    (structure,) = with_tps.summary.setup.structures
    (metric,) = structure.metrics
    for band in metric.bands:
        assert f'data-label="Percentile {band.percentile:g} (Gy)"' in html
        assert f"<span>{number(band.value, 2)}<small>± {number(band.noise_sigma, 2)} noise</small>" in html
        assert f"<small>± {number(band.sampling_error, 2)} sampling</small>" in html
    row = row_of(html, "below 38.00 Gy")
    assert ">12.4</td>" in row
    assert "9.7 to 15.6" in row
    assert "&lt;prescription&gt;" in row
    assert "x +0.82, y \N{MINUS SIGN}1.13, z +0.40" in row_of(html, ">203</td>")
    assert "500 of 20 fractions, seed 1" in words
    assert "bands are not to be used" not in words


def test_bands_that_noise_dominates_are_said_not_to_be_used(without_tps: Written) -> None:
    assert "noise spreads more than the setup errors: bands are not to be used" in text(without_tps, "setup")


def test_the_new_simulation_is_shown_where_it_is_of_this_dose(with_tps: Written, without_tps: Written) -> None:
    assert "Largest difference of all: 0.9 \N{GREEK SMALL LETTER SIGMA}" in text(with_tps, "setup")
    assert "\N{MINUS SIGN}0.30 ± 0.34" in row_of(section(with_tps, "setup"), "Course 17 ·")
    left_out = text(without_tps, "setup")
    assert "Course 17 ·" not in left_out
    assert "Not done for this dose: setup_check.json was made from another dose" in left_out


def test_setup_without_structures_says_why(clinical: Written) -> None:
    words = text(clinical, "setup")
    assert "several isocentres" in words
    assert "No structure was followed through setup errors, for the reasons above." in words
