"""Profiles and convergence: what is drawn is in the summary, and the page says in which units."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from made_results import Wanted, Written, make_results

from gatecheck.config import ReportConfig
from gatecheck.errors import ResultError
from gatecheck.files import read_image
from gatecheck.report.convergence_figures import ASKED_COLOUR, convergence_chart
from gatecheck.report.html import write_report
from gatecheck.report.inputs import read_inputs
from gatecheck.report.profile_figures import draw_profiles
from gatecheck.report.rounds import rounds_of
from gatecheck.transport.model import Chunk, ChunkPlan, Precision, TopUp


def _section(written: Written, name: str) -> str:
    return written.html.split(f'<h2 id="{name}">')[1].split("</section>")[0]


def _svg(uri: str) -> str:
    return base64.b64decode(uri.split(",")[1]).decode()


def test_each_axis_has_a_chart_and_its_numbers_are_those_of_the_dose(with_tps: Written) -> None:
    profiles = with_tps.summary.profiles
    assert profiles is not None
    assert [one.axis for one in profiles.profiles] == ["x", "y", "z"]
    assert _section(with_tps, "profiles").count("<picture>") == 3
    dose = read_image(with_tps.made.layout.dose / "mc_dose.mha")
    for axis, one in enumerate(profiles.profiles):
        middle = len(one.position) // 2
        place = list(profiles.point)
        place[axis] = one.position[middle]
        value = one.mc_gy[middle]
        assert value == pytest.approx(dose.EvaluateAtPhysicalPoint(place), abs=2e-4)
        assert one.tps_gy is not None


def test_the_tps_is_named_only_where_there_is_one(with_tps: Written, without_tps: Written) -> None:
    assert "TPS, dashed" in _section(with_tps, "profiles")
    assert "TPS" not in _section(without_tps, "profiles")
    assert "±1 \N{GREEK SMALL LETTER SIGMA} (k = 1)" in _section(without_tps, "profiles")


def test_the_band_is_one_sigma_wide_and_the_tps_is_dashed(with_tps: Written) -> None:
    profiles = with_tps.summary.profiles
    assert profiles is not None
    first = profiles.profiles[0]
    wider = first.model_copy(update={"mc_sigma_gy": tuple(5 * one if one else one for one in first.mc_sigma_gy)})
    without = first.model_copy(update={"tps_gy": None})

    def drawn(profile: object) -> str:
        (chart,) = draw_profiles(profiles.model_copy(update={"profiles": (profile,)}), "")
        return _svg(chart.wide)

    assert drawn(first) != drawn(wider)
    assert drawn(first).count("stroke-dasharray: 5.2") == drawn(without).count("stroke-dasharray: 5.2") + 1


def test_a_line_that_misses_the_body_says_so(with_tps: Written) -> None:
    profiles = with_tps.summary.profiles
    assert profiles is not None
    empty = profiles.profiles[0].model_copy(update={"position": (), "mc_gy": (), "mc_sigma_gy": (), "tps_gy": ()})
    (chart,) = draw_profiles(profiles.model_copy(update={"profiles": (empty,)}), "")
    assert (chart.wide, chart.narrow) == ("", "")


def test_profiles_of_another_dose_are_refused(tmp_path: Path) -> None:
    made = make_results(tmp_path / "case", Wanted(organs=0))
    path = made.layout.compare / "profiles.json"
    path.write_text(re.sub(r'("mc_dose": ")\w{4}', r"\g<1>0000", path.read_text()))
    with pytest.raises(ResultError, match=r"profiles\.json: not made from the mc_dose"):
        read_inputs(made.layout, made.calibration)


def test_a_map_of_gamma_that_is_missing_is_named(tmp_path: Path) -> None:
    made = make_results(tmp_path / "case", Wanted(organs=0))
    (made.layout.compare / "gamma_tps.mha").unlink()
    with pytest.raises(ResultError, match=r"gamma_tps\.mha: not found in compare/\. Run compare again"):
        read_inputs(made.layout, made.calibration)


def test_every_step_of_the_convergence_is_a_row(with_tps: Written) -> None:
    section = _section(with_tps, "convergence")
    assert len(with_tps.summary.convergence) == 4
    for step in with_tps.summary.convergence:
        row = next(row for row in section.split("<tr>") if re.search(rf'row">(?:all )?{step.batches}</th>', row))
        assert f">{100 * step.fine_relative_sigma:.2f}</td>" in row
        assert f">{100 * step.expected_relative_sigma:.2f}</td>" in row
    assert "asked for, dotted: 2.00" in section
    assert "What was asked for, and reached" in section


def test_no_steps_no_chart(with_tps: Written) -> None:
    steps = with_tps.summary.convergence
    assert convergence_chart((), 0.01, "", narrow=False) == ""
    with_target, without = (convergence_chart(steps, target, "", narrow=False) for target in (0.01, None))
    assert ASKED_COLOUR.lower() in _svg(with_target)
    assert ASKED_COLOUR.lower() not in _svg(without)


def test_rounds_say_what_was_known_before_each(tmp_path: Path) -> None:
    made = make_results(tmp_path / "case", Wanted(tps=False, organs=0))
    inputs_sha256 = "5" * 64
    common = {"inputs_sha256": inputs_sha256}

    def chunks(first: int, number: int) -> list[dict[str, int]]:
        return [{"index": index, "histories": 1000, "seed": index} for index in range(first, first + number)]

    plan = ChunkPlan.model_validate(
        common
        | {
            "chunks": chunks(1, 10),
            "target_relative_sigma": 0.02,
            "expected_relative_sigma": 0.02,
            "seconds_per_history": 1e-6,
            "seconds_start_up": 1.0,
            "pilot_histories": 1000,
        }
    )
    made.layout.chunk_plan.write_text(plan.model_dump_json())
    for number, (reached, more) in enumerate(((3.1, chunks(11, 4)), (1.9, [])), start=1):
        precision = Precision(name="relative_sigma", wanted=2.0, reached=reached)
        top_up = TopUp(
            number=number,
            precisions=(precision,),
            chunks=tuple(Chunk.model_validate(one) for one in more),
            **common,
        )
        (made.layout.transport / f"top-up-{number}.json").write_text(top_up.model_dump_json())
    rounds = rounds_of(read_inputs(made.layout, made.calibration))
    assert [(one.chunks_before, one.histories_before, one.chunks_asked_for) for one in rounds] == [
        (10, 10_000, 4),
        (14, 14_000, 0),
    ]
    page = write_report(made.layout.folder, made.calibration, ReportConfig())
    words = re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))
    assert re.search(r"Before round 1\s+10 runs", words)
    assert "4 runs more" in words
    assert np.isclose(rounds[0].precisions[0].reached or 0, 3.1)
