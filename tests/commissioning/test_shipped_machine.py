"""The shipped beam, the data that it was fitted to and the page that was signed belong together."""

from __future__ import annotations

import html
import re

import pytest
import yaml

from gatecheck.config import project_folder
from gatecheck.files import sha256_of_file

MODELS = project_folder() / "linac_models"
PAGE = project_folder() / "docs" / "commissioning" / "truebeam_stx_6x.html"
# What the machine is known to miss, and what lies outside of what is judged; all else must pass.
MISSED = {("Penumbra 80-20 %, mm", "300 x 300 mm, SSD 1000 mm, depth 200 mm, axis mean")}
NOT_JUDGED = 2
SIGMA = 0.3


def _rows() -> list[list[str]]:
    """The page's pass/fail table: quantity, condition, measured, simulated, difference, sigma, tolerance, result."""
    table = re.search(r"<table.*?</table>", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr.*?</tr>", table.group(0), re.DOTALL)[1:]
    return [
        [
            html.unescape(re.sub("<[^>]+>", " ", cell)).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


@pytest.mark.parametrize("machine", ["truebeam_stx", "truebeam_m120"])
def test_the_beam_was_fitted_to_the_data_beside_it(machine: str) -> None:
    beam = (MODELS / machine / "beam_6x.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(beam)["schema_version"] == 1
    assert sha256_of_file(MODELS / "truebeam_stx" / "beam_data_6x.csv") in beam


def test_the_page_is_of_the_same_data() -> None:
    digest = sha256_of_file(MODELS / "truebeam_stx" / "beam_data_6x.csv")
    assert digest in PAGE.read_text(encoding="utf-8")


def test_every_judged_number_of_the_page_is_within_tolerance_but_what_is_known_to_miss() -> None:
    rows = _rows()
    assert len(rows) == 77
    failed = {(row[0], row[1]) for row in rows if row[7].startswith("fail")}
    assert failed == MISSED
    left_out = [row for row in rows if "not judged" in row[7]]
    assert len(left_out) == NOT_JUDGED
    assert all(row[7].startswith(("pass", "fail")) or "not judged" in row[7] for row in rows)
    loud = [row for row in rows if float(row[5]) > SIGMA]
    assert {(row[0], row[1]) for row in loud} <= MISSED | {(row[0], row[1]) for row in left_out}
