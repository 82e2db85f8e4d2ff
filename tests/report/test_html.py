"""report.html: one whole, escaped, self-contained file that says everything."""

from __future__ import annotations

import re
import shutil
import time
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_results import AWKWARD_NAME, Wanted, Written, make_results, write

from gatecheck.config import ReportConfig
from gatecheck.layout import CaseLayout
from gatecheck.report import html as html_of_report
from gatecheck.report.html import MAXIMUM_BYTES, METRICS, write_report
from gatecheck.report.numbers import number
from gatecheck.report.words import gray

VOID = {"meta", "img", "br", "source", "link", "input", "hr"}
BANNER = "Every number and figure below is for testing and demonstration only."


class Page(HTMLParser):
    """The tags, attributes and text of a page; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        assert len({name for name, _ in attrs}) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="session")
def page(with_tps: Written) -> Page:
    return Page(with_tps.html)


@pytest.fixture(scope="session")
def clinical_page(clinical: Written) -> Page:
    return Page(clinical.html)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Beams that aim beside the CT, a prescription far from the dose, a site's own title and order."""
    wanted = Wanted(tps=False, prescription_gy=400.0, beams_aim_at=(10.0, -8.0, 500.0), organs=0)
    settings = ReportConfig(title="Second check <A&E>", structures=("SPINALCORD",))
    return write(tmp_path_factory.mktemp("odd") / "case", wanted, settings)


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    assert page.tags.count("script") == 2, "the slice viewer and its data"
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    links = [value for _, name, value in page.attributes if name in {"src", "srcset", "href", "poster", "action"}]
    assert links
    assert all(value.startswith("data:image/") for value in links)


def test_the_page_asks_for_nothing_in_its_styles(with_tps: Written) -> None:
    styles = re.search(r"<style>(.*?)</style>", with_tps.html, re.DOTALL)
    assert styles is not None
    assert "url(" not in styles[1]
    assert "@import" not in styles[1]


def test_ids_are_unique_and_labels_point_to_them(page: Page) -> None:
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    assert {value for _, name, value in page.attributes if name == "aria-labelledby"} <= set(ids)


def test_every_image_is_described(page: Page) -> None:
    described = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(described) == page.tags.count("img")
    assert all(described)


def test_the_page_starts_as_html_does(with_tps: Written) -> None:
    assert with_tps.html.startswith("<!DOCTYPE html>\n<html lang=")


def test_names_are_escaped_and_readable(with_tps: Written, page: Page) -> None:
    assert "<script>alert" not in with_tps.html
    assert plain(AWKWARD_NAME) in page.text
    assert "Field 2 <lat>" in page.text
    assert any(AWKWARD_NAME in value for _, name, value in page.attributes if name == "alt")


def test_an_embedded_data_set_is_not_for_clinical_use_and_says_so_first(page: Page) -> None:
    banner = page.text.index(BANNER)
    assert banner < page.text.index("Warnings (")
    assert page.text.count("ot for clinical use") >= 4


def test_an_official_data_set_has_no_banner(clinical_page: Page) -> None:
    assert BANNER not in clinical_page.text
    assert "ot for clinical use" not in clinical_page.text


@pytest.mark.parametrize("which", ["with_tps", "clinical"])
def test_data_set_physics_and_versions_are_stated(which: str, request: pytest.FixtureRequest) -> None:
    text = Page(request.getfixturevalue(which).html).text
    for expected in ("embedded set 1 (xraylib, theory)", "G4EmStandardPhysics", "opengate 10.1.1", "Geant4 11.4.0"):
        assert expected in text


def test_the_plan_as_a_whole_is_not_judged(page: Page) -> None:
    assert "the plan as a whole is not judged: that is for the signing physicist" in page.text
    # But for the boxes that the one who signs ticks by hand.
    unticked = re.sub(r"☐ (not )?accepted( with remarks)?", "", page.text)
    assert page.text.count("☐") == 3
    assert not re.search(r"\b(accept|reject)", unticked, re.IGNORECASE)


def test_every_warning_is_shown_openly(with_tps: Written, page: Page) -> None:
    assert "details" not in page.tags
    assert with_tps.summary.warnings
    for warning in with_tps.summary.warnings:
        assert plain(warning.message) in page.text
    assert f"Warnings ({len(with_tps.summary.warnings)})" in page.text


def test_every_metric_stands_in_the_table_with_its_standard_deviation(with_tps: Written) -> None:
    table = with_tps.html[with_tps.html.index('id="metrics"') :]
    checked = 0
    for structure in with_tps.summary.structures.values():
        for dose in (structure.mc, structure.tps):
            if dose is None:
                continue
            for key, _ in METRICS:
                assert f">{escape(gray(getattr(dose, key)))}</td>" in table
                checked += 1
    assert checked == 2 * 7 * 8


def test_beams_are_listed_with_what_moves(with_tps: Written, page: Page) -> None:
    for beam in with_tps.summary.beams:
        assert number(beam.meterset, 2) in page.text
    assert "181.0° → 179.0°, clockwise 358.0°" in page.text


def test_no_identity_reaches_the_report(with_tps: Written, page: Page) -> None:
    folder = with_tps.made.layout.folder
    everything = with_tps.html + (folder / "report" / "summary.json").read_text()
    for part in ("DOE", "JANE", "19450101", str(folder.parent)):
        assert part not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", everything)
    assert "Plan label" not in page.text
    assert not re.search(r"\b(19|20)\d\d-[01]\d-[0-3]\d\b", page.text)


def test_the_plan_label_is_shown_when_it_was_asked_for(clinical_page: Page) -> None:
    assert "Plan label PLAN <7>" in re.sub(r"(?<=label)(?=PLAN)", " ", clinical_page.text)


def test_a_difference_map_is_there_when_there_is_a_tps_dose_and_only_then(page: Page, clinical_page: Page) -> None:
    assert "neither dose rescaled" in page.text
    assert "neither dose rescaled" not in clinical_page.text
    assert "TPS, dashed" not in clinical_page.text


def test_isodoses_say_what_they_are_normalised_to(page: Page, clinical_page: Page, clinical: Written) -> None:
    assert "100 % = 40.00 Gy, the target prescription dose of the plan" in page.text
    assert "95 % = 38.00 Gy" in page.text
    maximum = number(clinical.summary.maximum_gy, 2)
    assert f"100 % = {maximum} Gy, the maximum of the Monte Carlo dose" in clinical_page.text
    assert "The plan carries no target prescription dose." in clinical_page.text


def test_several_isocentres_are_said(clinical_page: Page) -> None:
    assert "The plan has 2 isocentres. These planes pass through that of beam 1." in clinical_page.text


def test_many_structures_share_several_charts_and_all_have_a_curve(clinical: Written, clinical_page: Page) -> None:
    charts = [value for tag, name, value in clinical_page.attributes if (tag, name) == ("source", "srcset")]
    assert len(charts) == 3 + 3 + 1  # of structures, of profiles, of the convergence
    start = clinical.html.index('id="dvh"')
    legends = clinical.html[start : clinical.html.index('id="metrics"')]
    for index in range(12):
        assert f"Organ {index + 1}<" in legends


def test_of_the_organs_the_smallest_are_drawn_on_ct(clinical: Written) -> None:
    key = clinical.html[clinical.html.index('id="isodoses"') : clinical.html.index('id="viewer-title"')]
    drawn = [unescape(name) for name in re.findall(r"<b>[A-F]</b> ([^<]*)<", key)]
    assert drawn[:4] == ["GTVp", "PTV4140", "PTV4140 (2)", "SPINALCORD"]
    assert len(drawn) == 6
    assert AWKWARD_NAME not in drawn


def test_the_targets_sigma_is_stated_beside_the_mean_sigma(with_tps: Written, page: Page) -> None:
    dose = with_tps.summary.structures["GTVp"].mc
    assert dose is not None
    expected = f"GTVp: mean {gray(dose.mean_gy)} Gy, D95 % {gray(dose.d95_gy)} Gy"
    assert plain(expected) in plain(page.text)


def test_structures_not_drawn_on_ct_are_named(clinical_page: Page) -> None:
    assert re.search(r"Crossing these planes too, but not drawn: .*Organ \d", clinical_page.text)


def test_preferred_structures_come_first_and_the_title_is_the_sites(odd: Written) -> None:
    assert "<h1>Second check &lt;A&amp;E&gt;</h1>" in odd.html
    table = odd.html[odd.html.index('id="metrics"') : odd.html.index('id="interface"')]
    rows = re.findall(r'<th scope="rowgroup"[^>]*>([^<]*)<', table)
    assert rows[0] == "SPINALCORD"
    assert len(rows) == len(odd.made.case.structures)


def test_an_isocentre_outside_the_ct_is_said(odd: Written) -> None:
    assert "The isocentre lies outside the CT." in Page(odd.html).text


def test_a_prescription_far_from_the_dose_is_said_and_not_used(odd: Written) -> None:
    text = Page(odd.html).text
    assert "The plan's target prescription dose is 400.00 Gy" in text
    assert "isodoses refer to the maximum instead" in text


def test_nothing_is_left_behind_when_drawing_fails(
    with_tps: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "case"
    shutil.copytree(with_tps.made.layout.folder, folder, ignore=shutil.ignore_patterns("report"))

    def broken(*_: object) -> str:
        raise RuntimeError("no ink")

    monkeypatch.setattr(html_of_report, "draw_figures", broken)
    layout = CaseLayout(folder)
    with pytest.raises(RuntimeError, match="no ink"):
        write_report(folder, layout.calibration, ReportConfig())
    assert not layout.report.exists()


def test_a_large_noisy_case_is_drawn_within_its_time_and_size(tmp_path: Path) -> None:
    """200 x 200 x 150 dose voxels: below 20 s of processor time and 15 MB."""
    wanted = Wanted(
        organs=0,
        ct_size=(512, 512, 24),
        ct_spacing=(0.8, 0.8, 9.0),
        dose_size=(200, 200, 150),
        dose_spacing=(2.0, 2.0, 2.0),
        noise_hu=120.0,
    )
    made = make_results(tmp_path / "case", wanted)
    start = time.process_time()
    path = write_report(made.layout.folder, made.calibration, ReportConfig())
    assert time.process_time() - start < 20
    assert path.stat().st_size < MAXIMUM_BYTES
