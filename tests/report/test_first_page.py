"""The first page: whose plan, verdicts, the sentence, and where to sign; and the words at the end."""

from __future__ import annotations

import re

import pytest
from made_results import Written
from markupsafe import escape

from gatecheck.report.compared_words import tolerance


@pytest.mark.parametrize("which", ["with_tps", "without_tps", "clinical"])
def test_what_is_signed_and_the_signature_stand_before_the_warnings(which: str, request: pytest.FixtureRequest) -> None:
    written: Written = request.getfixturevalue(which)
    first = written.html.split('<h2 id="warnings">')[0]
    places = [
        first.index(part)
        for part in (
            "<dt>Case</dt>",
            "<dt>Machine model</dt>",
            'class="quote"',
            '<section class="signature"',
            'id="verdicts"',
        )
    ]
    assert places == sorted(places)


def test_every_verdict_stands_above_the_signature_with_its_tolerance(with_tps: Written) -> None:
    above = with_tps.html.split('<section class="signature"')[0]
    listed = re.findall(r"<li>.*?</svg>([a-z ]+)</span> <span>(.*?)</span></li>", above.split('class="outcomes"')[1])
    verdicts = [(tumour, one) for tumour in with_tps.summary.interface.tumours for one in tumour.verdicts]
    assert len(listed) == len(verdicts) == 8
    for (outcome, words), (tumour, verdict) in zip(listed, verdicts, strict=True):
        assert outcome == verdict.outcome
        assert words.startswith(f"{escape(tumour.tumour)}: {verdict.question}")
        assert all(tolerance(finding) in words for finding in verdict.findings)


def test_the_signature_block_has_two_persons_four_rows_and_three_decisions(with_tps: Written) -> None:
    block = with_tps.html.split('<section class="signature"')[1].split("</section>")[0]
    assert re.findall(r'<th scope="row">(\w+)</th><td></td><td></td>', block) == ["Name", "Role", "Date", "Signature"]
    assert re.findall(r'<th scope="col">([^<]+)</th>', block) == ["Signing physicist", "Checked by (second person)"]
    assert re.findall(r"<li>☐ ([^<]+)</li>", block) == ["accepted", "accepted with remarks", "not accepted"]


def test_nothing_is_filled_in_or_ticked_beforehand(with_tps: Written) -> None:
    block = with_tps.html.split('<section class="signature"')[1].split("</section>")[0]
    assert "☑" not in block
    assert "<input" not in block
    assert with_tps.summary.case_id in block


def test_the_signature_is_kept_together_in_print(with_tps: Written) -> None:
    printed = with_tps.html.split("@media print")[1].split("</style>")[0]
    assert re.search(r"\.signature \{[^}]*break-inside: avoid", printed)


def test_tg_218_and_tg_219_stand_for_what_they_govern(with_tps: Written) -> None:
    glossary = re.sub(r"<[^>]+>", " ", with_tps.html.split('<h2 id="glossary">')[1].split("</section>")[0])
    assert re.search(r"TG-218\s+Governs patient-specific QA of IMRT by measurement", glossary)
    assert re.search(r"TG-219\s+Governs what this report is: the independent verification", glossary)
    # Its limits are claimed for no number of a calculation.
    elsewhere = with_tps.html.split('<h2 id="glossary">')[0]
    assert "TG-218" not in elsewhere
    assert "action limit" not in elsewhere
    assert "tolerance limit" not in elsewhere
