"""The comparison at a small tumour's surface from masks and doses to verdicts: which fault is seen by which question.

12 batches, 0.6 % noise at the maximum, voxels of 2 mm, a TPS grid of 1.5 mm; the seed is fixed. A question sees a
fault as rarely by chance as 3 sigma, with the grid's error taken off.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.compare.interface_case import Fault, case

from gatecheck.compare.interface.interface import InterfaceResult, compare_interface
from gatecheck.compare.interface.model import InterfaceComparison, Verdict
from gatecheck.compare.interface.surface_map import write_surface_map
from gatecheck.config_comparison import ComparisonConfig, GammaCriterionConfig

# Gamma decides nothing here: one criterion where the doses are equal is enough to see that it is there.
_WITH_GAMMA = ComparisonConfig(gamma=(GammaCriterionConfig(dose_percent=2, distance=1),))
_WITHOUT_GAMMA = ComparisonConfig(gamma=())


_NONE = Fault()


@cache
def _compared(fault: Fault = _NONE) -> InterfaceResult:
    return compare_interface(case(fault), _WITH_GAMMA if fault == _NONE else _WITHOUT_GAMMA)


def _answers(fault: Fault) -> dict[str, Verdict]:
    return {one.question: one for one in _compared(fault).comparison.verdicts}


def test_equal_doses_pass_and_nothing_is_seen() -> None:
    found = _compared().comparison
    assert found.relation == "inside the cord"
    assert [one.question for one in found.verdicts] == ["output", "position", "spread", "cord maximum"]
    assert all(one.outcome in {"pass", "undecided"} for one in found.verdicts)
    assert not any(one.is_seen for one in found.verdicts)
    assert found.notes == ()
    rates = [rate for shell in found.shells for rate in shell.gamma]
    assert len(rates) >= 2
    assert all(rate.pass_percent.high == 100.0 for rate in rates)


def test_a_higher_output_is_seen_as_output_and_not_as_position() -> None:
    answers = _answers(Fault(output=0.02))
    assert answers["output"].is_seen
    assert not answers["position"].is_seen
    plateau = _compared(Fault(output=0.02)).comparison.plateau
    assert plateau is not None
    assert plateau.difference_percent.low - plateau.grid_error_percent < 2.0
    assert plateau.difference_percent.high + plateau.grid_error_percent > 2.0


def test_a_shift_is_seen_as_position_in_its_direction() -> None:
    found = _compared(Fault(shift=1.0)).comparison
    assert _answers(Fault(shift=1.0))["position"].is_seen
    assert _answers(Fault(shift=1.0))["position"].outcome == "fail"
    assert found.fit is not None
    x, y, z = found.fit.shift_xyz
    assert x.value == pytest.approx(1.0, abs=0.03)
    assert abs(y.value) < 0.03
    assert abs(z.value) < 0.03
    # Isodoses lie further out on the side to which the dose has moved, and further in on the other.
    directions = {one.direction: one.mean for one in found.isodoses[1].directions}
    assert directions["+x"] is not None
    assert directions["-x"] is not None
    assert directions["+x"].value > 0.5
    assert directions["-x"].value < -0.5


def test_a_wider_field_is_seen_as_spread() -> None:
    answers = _answers(Fault(wide=0.5))
    assert answers["spread"].is_seen
    assert not answers["position"].is_seen
    fit = _compared(Fault(wide=0.5)).comparison.fit
    assert fit is not None
    assert fit.widening.value == pytest.approx(0.5, abs=0.1)


def test_the_result_survives_json() -> None:
    found = _compared().comparison
    assert InterfaceComparison.model_validate_json(found.model_dump_json()) == found


def test_the_surface_map_is_written_with_empty_fields_where_an_isodose_is_not_met(tmp_path: Path) -> None:
    surface_map = _compared(Fault(shift=1.0)).surface_map
    assert surface_map is not None
    write_surface_map(tmp_path / "surface.csv", surface_map)
    with (tmp_path / "surface.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(surface_map.points_xyz)
    assert tuple(rows[0]) == surface_map.columns
    column = [row["dta_80"] for row in rows]
    assert [text == "" for text in column] == list(~np.isfinite(surface_map.agreement[:, 1]))
    # A ball shifted by 1 mm along x: its isodoses agree to the normal's x component, as far as rays are radial.
    x = np.array([float(row["nx"]) for row in rows])
    distance = np.array([float(text) if text else np.nan for text in column])
    met = np.isfinite(distance)
    assert met.mean() > 0.9
    assert np.polyfit(x[met], distance[met], 1)[0] == pytest.approx(1.0, abs=0.15)
