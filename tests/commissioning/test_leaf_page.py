"""The MLC's fit on a machine whose leaves are known formulas, and its section of the page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined

from gatecheck.commissioning import leaf_fit, leaves
from gatecheck.commissioning.analysis import Estimate
from gatecheck.commissioning.beam_data import BeamData, DosimetricLeafGap, JawField, LeafTransmission
from gatecheck.commissioning.leaf_fields import GAPS, asymmetric_openings
from gatecheck.commissioning.leaf_fit import DENSITY, GAP_OFFSET, fit_leaves
from gatecheck.commissioning.leaf_page import LeafSection, leaf_rows
from gatecheck.commissioning.leaf_results import COLLIMATORS, FoundOpening, GapDose, LeafCurve, LeafResults
from gatecheck.commissioning.leaf_statistics import Spread
from gatecheck.commissioning.water.electron_library import ElectronLibrary
from gatecheck.errors import InputError
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import LinacModel

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
CONDITION: dict[str, Any] = {
    "jaws": JawField.of_size(100.0, 100.0),
    "source_surface_distance": 900.0,
    "depth": 100.0,
}
LIBRARY = ElectronLibrary(np.ones(2), np.ones(2), np.zeros(2), np.zeros((2, 1, 2)))


@pytest.fixture(scope="module")
def linac() -> LinacModel:
    return load_linac_model(MODELS / "truebeam_stx")


@pytest.fixture
def known_leaves(monkeypatch: pytest.MonkeyPatch) -> list[LinacModel]:
    """Formulas in place of the simulation; gives the machines that were asked for."""
    asked: list[LinacModel] = []

    def formulas(linac: LinacModel, library: ElectronLibrary, **_: object) -> tuple[Estimate, Estimate]:
        asked.append(linac)
        mlc = linac.machine.mlc
        transmission = 0.0134 * math.exp(-0.18 * (mlc.alloy.density - 17.5))
        gap = 0.95 + mlc.physical_gap_offset - 0.05 * (mlc.alloy.density - 17.5)
        return Estimate(transmission, 1e-4), Estimate(gap, 0.04)

    monkeypatch.setattr(leaf_fit, "transmission_and_gap", formulas)
    return asked


def test_nothing_is_simulated_for_beam_data_without_leaves(linac: LinacModel, known_leaves: list[LinacModel]) -> None:
    assert fit_leaves(linac, BeamData(), LIBRARY) == ()
    assert known_leaves == []


def test_density_and_offset_are_found_together(linac: LinacModel, known_leaves: list[LinacModel]) -> None:
    data = BeamData(
        leaf_transmissions=(LeafTransmission(**CONDITION, value=0.0117, sigma=0.0002),),
        leaf_gaps=(DosimetricLeafGap(**CONDITION, value=1.36, sigma=0.05),),
    )
    density, offset = fit_leaves(linac, data, LIBRARY)
    assert (density.name, offset.name) == (DENSITY, GAP_OFFSET)
    expected = 17.5 + math.log(0.0134 / 0.0117) / 0.18
    assert density.value == pytest.approx(expected)
    # The gap is fitted with leaves of the density just found.
    assert offset.value == pytest.approx(1.36 - 0.95 + 0.05 * (expected - 17.5))
    assert offset.slope == pytest.approx(1.0)
    assert density.uncertainty > 0.0002 / 0.0117 / 0.18
    assert len(known_leaves) == 4


def test_an_offset_that_closed_leaves_cannot_have_is_none_or_refused(
    linac: LinacModel, known_leaves: list[LinacModel]
) -> None:
    (near,) = fit_leaves(linac, BeamData(leaf_gaps=(DosimetricLeafGap(**CONDITION, value=0.86, sigma=0.05),)), LIBRARY)
    assert near.value == 0.0
    data = BeamData(source="clinic", leaf_gaps=(DosimetricLeafGap(**CONDITION, value=0.5, sigma=0.05),))
    with pytest.raises(InputError, match=r"a dosimetric leaf gap of 0.5 mm needs mlc.physical_gap_offset at -0.45 mm"):
        fit_leaves(linac, data, LIBRARY)


def test_a_transmission_that_no_leaf_has_is_refused(linac: LinacModel, known_leaves: list[LinacModel]) -> None:
    data = BeamData(source="clinic", leaf_transmissions=(LeafTransmission(**CONDITION, value=0.03),))
    with pytest.raises(InputError, match=r"beam data \(clinic\): a leaf transmission of 0.03 needs mlc.alloy.density"):
        fit_leaves(linac, data, LIBRARY)


def curve(level: float) -> LeafCurve:
    place = np.arange(-60.0, 60.0, 1.0)
    return LeafCurve(place, Spread(np.full(120, level), np.full(120, 0.1)))


def made_results(linac: LinacModel, *, shift: float = 0.1) -> LeafResults:
    openings = tuple(
        FoundOpening(collimator, opening, Estimate(shift, 0.05), Estimate(20.9, 0.1), curve(50.0))
        for collimator in COLLIMATORS
        for opening in asymmetric_openings(linac.machine.mlc)
    )
    return LeafResults(
        transmission=Estimate(0.01234, 0.0001),
        transmission_by_bank={"X1": Estimate(0.0123, 0.0001), "X2": Estimate(0.0124, 0.0001)},
        peak_to_valley=Estimate(1.05, 0.01),
        tongue_and_groove_mean=Estimate(22.0, 0.2),
        tongue_and_groove_boundary=Estimate(24.0, 0.3),
        junction_depth=Estimate(13.0, 0.5),
        junction_width=Estimate(2.6, 0.2),
        shallow_junction_depth=Estimate(16.0, 1.0),
        shallow_junction_width=Estimate(2.5, 0.3),
        gaps=tuple(GapDose(gap, Estimate((gap + 0.9) / (100 + gap), 1e-4), 0.1) for gap in GAPS),
        leaf_gap=Estimate(0.9, 0.04),
        gap_slope=Estimate(1.0, 0.004),
        openings=openings,
        closed_curve=curve(1.2),
        tongue_and_groove_curve=curve(78.0),
        junction_curve=curve(100.0),
        seconds=200.0,
    )


def test_the_table_shows_what_is_stated_beside_what_is_simulated(linac: LinacModel) -> None:
    data = BeamData(
        leaf_transmissions=(LeafTransmission(**CONDITION, value=0.0117),),
        leaf_gaps=(DosimetricLeafGap(**CONDITION, value=0.86),),
    )
    rows = {row.quantity: row for row in leaf_rows(made_results(linac), data)}
    assert (rows["Leaf transmission, mean"].value, rows["Leaf transmission, mean"].stated) == ("1.234 %", "1.17 %")
    assert (rows["Dosimetric leaf gap"].value, rows["Dosimetric leaf gap"].stated) == ("0.9 mm", "0.86 mm")


@pytest.mark.parametrize(("shift", "passed"), [(0.1, True), (-0.49, True), (0.6, False), (-12.0, False)])
def test_an_opening_far_from_its_plan_fails(linac: LinacModel, shift: float, passed: bool) -> None:
    rows = [row for row in leaf_rows(made_results(linac, shift=shift), BeamData()) if row.passed is not None]
    assert [row.passed for row in rows] == [passed] * 4


def test_the_section_is_complete_with_its_fit(
    linac: LinacModel, known_leaves: list[LinacModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaves, "check_leaves", lambda machine, library, **_: made_results(machine))
    data = BeamData(leaf_gaps=(DosimetricLeafGap(**CONDITION, value=1.06),))
    page = rendered(leaves.commission_leaves(linac, data, LIBRARY))
    assert page.count("data:image/svg+xml;base64,") == 4
    assert "1.06 mm" in page
    assert GAP_OFFSET in page
    assert "0.11" in page


def test_the_section_without_a_fit_has_no_table_of_it(linac: LinacModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "check_leaves", lambda machine, library, **_: made_results(machine))
    page = rendered(leaves.commission_leaves(linac, BeamData(), LIBRARY))
    assert "fitted to the beam data" not in page
    assert "Every other pair, summed: missing, mean" in page


def rendered(section: LeafSection) -> str:
    environment = Environment(
        loader=PackageLoader("gatecheck.commissioning", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("_leaves.html.j2").render(leaves=section)
