"""No pass rate stands in the report without its points, those not reached and sigma in the high-dose region."""

from __future__ import annotations

import base64
import io
import itertools
import re
from html import unescape

import matplotlib.image
import numpy as np
import pytest
import SimpleITK as sitk
from made_results import Written

from gatecheck.compare.volume_gamma.model import UNREACHED
from gatecheck.report.figures import Scene
from gatecheck.report.gamma_figures import FAILING, NOT_ASKED, PASSING, gamma_figure
from gatecheck.report.numbers import number
from gatecheck.report.planes import planes_through
from gatecheck.report.sections import volume_gamma_table
from gatecheck.report.words import percent

_RATE = re.compile(r"\d[\d.]*\s*%\s+(?:of (?:the )?\w+ )?pass(?:es|ed)?\b|pass rate[^.;]{0,20}\s\d|\d[\d.]*\s*% gamma")


def _tables(html: str) -> list[str]:
    return re.findall(r"<table.*?</table>", html, re.DOTALL)


def _rate_cells(table: str) -> list[str]:
    return re.findall(r'<td data-label="[^"]*reference (?:TPS|MC) \(%\)"[^>]*>(.*?)</td>', table, re.DOTALL)


@pytest.mark.parametrize("which", ["with_tps", "without_tps", "clinical"])
def test_every_cell_with_a_rate_has_its_points_and_its_table_says_sigma(
    which: str, request: pytest.FixtureRequest
) -> None:
    written: Written = request.getfixturevalue(which)
    sigma = percent(written.summary.mean_relative_sigma)
    with_rates = [table for table in _tables(written.html) if _rate_cells(table)]
    assert bool(with_rates) == written.summary.has_tps_dose
    for table in with_rates:
        caption = table[table.index("<caption>") : table.index("</caption>")]
        assert (
            f"high-dose region (body voxels above half the maximum): mean \N{GREEK SMALL LETTER SIGMA} {sigma} (k = 1)"
            in caption
        )
        for cell in _rate_cells(table):
            if "<span>" in cell:
                assert re.search(r"\d points, \d[^<]* not reached", cell), cell


def test_no_table_holds_a_rate_under_another_name(with_tps: Written) -> None:
    """A word for passing beside a number in per cent, anywhere but in the tables of rates, would be a bare rate."""
    page = with_tps.html
    for table in _tables(page):
        if _rate_cells(table):
            page = page.replace(table, "")
    words = unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))
    assert _RATE.search("98.5 % pass") is not None
    assert _RATE.search("98.5 % of the points passed") is not None
    assert _RATE.findall(words) == []


def test_every_rate_of_the_summary_is_on_the_page_with_its_numbers(with_tps: Written) -> None:
    gamma = with_tps.summary.gamma
    assert gamma is not None
    columns, rows = volume_gamma_table(gamma)
    assert len(columns) * len(rows) == len(gamma.rates) == 12
    table = next(table for table in _tables(with_tps.html) if "Reference dose of at least" in table)
    cells = _rate_cells(table)
    for cell, rate in zip(cells, [rate for row in rows for rate in row.rates], strict=True):
        assert rate is not None
        assert f"{number(rate.points)} points, {number(rate.unreached)} not reached" in cell
        assert f"as computed {number(rate.as_computed_percent, 1)}" in cell
        free = rate.pass_percent
        assert ("too few batches or points" in cell) == (free is None)
        if free is not None:
            assert f"<span>{number(free.value, 1)}<small>{number(free.low, 1)} to {number(free.high, 1)}" in cell


def test_without_a_tps_dose_it_says_why_there_is_no_gamma(without_tps: Written) -> None:
    section = without_tps.html.split('<h2 id="gamma">')[1].split("</section>")[0]
    assert "No TPS dose: there is no gamma." in section
    assert "<img" not in section


def test_both_directions_are_drawn_in_three_planes(with_tps: Written) -> None:
    section = with_tps.html.split('<h2 id="gamma">')[1].split("</section>")[0]
    for reference in ("TPS", "MC"):
        assert f"<h3>{reference} dose as reference, 2 %/1 mm: whole dose grid</h3>" in section
    assert section.count('alt="Gamma, axial plane') == section.count('alt="Gamma, sagittal plane') >= 2


def test_the_colours_of_gamma_grow_darker_with_gamma() -> None:
    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    steps = [lightness(colour) for colour in (NOT_ASKED, *PASSING, *FAILING)]
    assert all(a - b > 25 for a, b in itertools.pairwise(steps))


def test_passing_failing_unreached_and_unasked_points_look_different() -> None:
    size = 40
    values = np.full((size, size, size), np.nan, dtype=np.float32)
    quarters = {"passing": 0.2, "failing": 1.7, "unreached": UNREACHED}
    for index, value in enumerate(quarters.values()):
        values[:, :, 10 * index : 10 * (index + 1)] = value
    image = sitk.GetImageFromArray(values)
    scene = Scene((), sitk.GetImageFromArray(np.ones_like(values, dtype=np.uint8)), (20.0, 20.0, 20.0), "")
    plane = planes_through((20.0, 20.0, 20.0), (19.5, 19.5, 19.5), 40.0)[0]
    pixels = _pixels(gamma_figure(plane, image, scene))
    height, width = pixels.shape[:2]
    rows = slice(int(0.6 * height), int(0.8 * height))
    parts = [
        pixels[rows, int((0.27 + 0.25 * index - 0.25 + 0.02) * width) :][:, : int(0.16 * width)] for index in range(4)
    ]
    means = [part.mean() for part in parts]
    assert means[0] > means[1] + 50
    assert parts[2].std(axis=(0, 1)).min() > 30  # hatched
    assert parts[0].std(axis=(0, 1)).max() < 5
    assert parts[3].mean() > 250


def _pixels(uri: str) -> np.ndarray:
    read = matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.split(",")[1])), format="png")
    return (255 * read[..., :3]).astype(float)
