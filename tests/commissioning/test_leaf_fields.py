"""Leaf fields as deliveries, the dosimetric leaf gap from known doses, and what is read off known profiles."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gatecheck.commissioning import leaf_fields
from gatecheck.commissioning.analysis import Estimate
from gatecheck.commissioning.beam_data import BeamData, DosimetricLeafGap, JawField, LeafTransmission
from gatecheck.commissioning.csv_format import read_csv, write_csv
from gatecheck.commissioning.leaf_checks import pattern_line
from gatecheck.commissioning.leaf_fields import GAPS
from gatecheck.commissioning.leaf_fit import one_step, stated_value, with_density, with_gap_offset
from gatecheck.commissioning.leaf_gap import gap_line
from gatecheck.commissioning.leaf_statistics import dip, jackknife, opening_edges
from gatecheck.delivery.coordinates import beam_limiting_device_to_patient
from gatecheck.delivery.model import Delivery
from gatecheck.errors import InputError
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import LinacModel

MODELS = Path(__file__).resolve().parents[2] / "linac_models"


@pytest.fixture(scope="module", params=["truebeam_stx", "truebeam_m120"])
def linac(request: pytest.FixtureRequest) -> LinacModel:
    return load_linac_model(MODELS / request.param)


def leaves_of(delivery: Delivery) -> np.ndarray:
    (beam,) = delivery.beams
    assert beam.leaf_positions is not None
    assert beam.leaf_boundaries is not None
    assert beam.leaf_positions.shape == (2, 2, len(beam.leaf_boundaries) - 1)
    assert np.all(beam.leaf_positions[:, 0] <= beam.leaf_positions[:, 1])
    return beam.leaf_positions


# Deliveries


@pytest.mark.parametrize(("bank", "meeting"), [("X1", 70.0), ("X2", -70.0)])
def test_closed_pairs_meet_behind_a_jaw_on_the_far_side_of_their_bank(
    linac: LinacModel, bank: leaf_fields.Bank, meeting: float
) -> None:
    delivery = leaf_fields.closed_leaves(linac, bank)
    assert np.all(leaves_of(delivery) == meeting)
    assert delivery.beams[0].jaw_x.tolist() == [[-50.0, 50.0]] * 2


@pytest.mark.parametrize("gap", GAPS)
def test_every_point_of_the_opening_sees_a_sweeping_gap_equally_long(linac: LinacModel, gap: float) -> None:
    start, end = leaves_of(leaf_fields.sweeping_gap(linac, gap))
    assert np.allclose(start[1] - start[0], gap)
    assert np.allclose(end[1] - end[0], gap)
    moments = (np.arange(100_000) + 0.5) / 100_000
    low, high = ((1 - moments) * start[bank, 0] + moments * end[bank, 0] for bank in range(2))
    for x in (-49.9, -20.0, 0.0, 33.0, 49.9):
        seen = float(np.mean((low < x) & (x < high)))
        assert seen * leaf_fields.gap_travel(gap) == pytest.approx(gap, abs=0.01)


def test_a_gap_that_is_closed_is_refused(linac: LinacModel) -> None:
    with pytest.raises(ValueError, match="expected one above 0"):
        leaf_fields.sweeping_gap(linac, 0.0)


def test_complementary_fields_open_every_pair_once(linac: LinacModel) -> None:
    pairs = (
        [leaf_fields.interdigitated(linac, first_open=number) for number in (0, 1)],
        [leaf_fields.half_open(linac, "Y1"), leaf_fields.half_open(linac, "Y2")],
    )
    for fields in pairs:
        first, second = (leaves_of(field)[0, 1] - leaves_of(field)[0, 0] > 0 for field in fields)
        assert np.all(first ^ second)
    every_other = leaves_of(pairs[0][0])[0]
    assert np.all(np.diff((every_other[1] > every_other[0]).astype(int)) != 0)


def test_half_a_field_ends_on_the_axis(linac: LinacModel) -> None:
    leaves = leaves_of(leaf_fields.half_open(linac, "Y1"))[0]
    is_open = leaves[1] > leaves[0]
    edges = np.array(linac.machine.mlc.boundaries)
    assert edges[1:][is_open].max() == pytest.approx(0.0)
    assert edges[:-1][~is_open].min() == pytest.approx(0.0)


def test_the_pattern_has_one_pair_on_each_side_and_no_symmetry(linac: LinacModel) -> None:
    first, second = leaf_fields.asymmetric_openings(linac.machine.mlc)
    leaves = leaves_of(leaf_fields.asymmetric_pattern(linac, 90.0))[0]
    is_open = leaves[1] > leaves[0]
    assert np.flatnonzero(is_open).tolist() == sorted([first.pair, second.pair])
    edges = np.array(linac.machine.mlc.boundaries)
    for opening in (first, second):
        assert leaves[:, opening.pair].tolist() == [opening.x1, opening.x2]
        assert edges[opening.pair] < opening.y < edges[opening.pair + 1]
    assert min(first.x1, first.x2) > 0 > max(second.x1, second.x2)
    for mirrored in (leaves[:, ::-1], -leaves[::-1], -leaves[::-1, ::-1]):
        assert not np.any((mirrored == leaves) & (mirrored[0] < mirrored[1]) & is_open)


@pytest.mark.parametrize("collimator", [0.0, 90.0])
def test_the_patterns_lines_lie_where_the_conversions_put_the_openings(linac: LinacModel, collimator: float) -> None:
    for opening in leaf_fields.asymmetric_openings(linac.machine.mlc):
        line = pattern_line(opening, collimator)
        x = (opening.x1 + opening.x2) / 2
        point = beam_limiting_device_to_patient(
            gantry=0.0,
            collimator=collimator,
            couch=0.0,
            isocentre=(0.0, 0.0, 0.0),
            patient_position="HFS",
        ).apply([x, opening.y, 0.0])
        along, across = (0, 2) if line.along == "x" else (2, 0)
        assert point[along] == pytest.approx(x)
        assert point[across] == pytest.approx(line.across)


def test_a_line_at_another_angle_is_refused(linac: LinacModel) -> None:
    opening = leaf_fields.asymmetric_openings(linac.machine.mlc)[0]
    with pytest.raises(ValueError, match="expected 0 or 90"):
        pattern_line(opening, 45.0)


def test_a_moved_delivery_differs_by_its_isocentre_alone(linac: LinacModel) -> None:
    given = leaf_fields.open_field(linac)
    there = leaf_fields.moved(given, 10.0, -4.0)
    assert (there.beams[0].isocentre - given.beams[0].isocentre).tolist() == [[10.0, 0.0, -4.0]] * 2


def test_uniform_edges_are_those_of_leaves_as_wide_as_the_central_ones(linac: LinacModel) -> None:
    edges = leaf_fields.uniform_edges(linac.machine.mlc, 60.0)
    known = {"HD120": (-40.0, 40.0, 2.5), "Millennium 120": (-60.0, 60.0, 5.0)}
    low, high, width = known[linac.machine.mlc.name]
    assert (edges[0], edges[-1]) == (low, high)
    assert np.allclose(np.diff(edges), width)


# Dosimetric leaf gap


def known_doses(leaf_gap: float, transmission: float, slope: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    gaps = np.array(GAPS)
    travel = 100.0 + gaps
    return slope * (gaps + leaf_gap) / travel + transmission * (1.0 - gaps / travel), travel


@pytest.mark.parametrize("leaf_gap", [-0.3, 0.0, 0.9, 2.1])
@pytest.mark.parametrize("transmission", [0.0, 0.012, 0.02])
def test_the_leaf_gap_of_known_doses_is_found(leaf_gap: float, transmission: float) -> None:
    doses, travel = known_doses(leaf_gap, transmission, slope=0.98)
    line = gap_line(GAPS, doses, travel, transmission)
    assert line.leaf_gap == pytest.approx(leaf_gap, abs=1e-9)
    assert line.slope == pytest.approx(0.98)


def test_transmission_that_is_left_out_makes_the_leaf_gap_too_large() -> None:
    doses, travel = known_doses(0.9, 0.012)
    assert gap_line(GAPS, doses, travel, 0.0).leaf_gap == pytest.approx(0.9 + 1.2, abs=0.01)


def test_one_gap_gives_no_line() -> None:
    with pytest.raises(ValueError, match="expected two or more"):
        gap_line([4.0, 4.0], [0.05, 0.05], [104.0, 104.0], 0.01)


# Statistics and profiles


def test_the_jackknife_gives_the_standard_error_of_a_mean_and_of_a_ratio() -> None:
    random = np.random.default_rng(1)
    a, b = (random.normal(mean, 0.1, size=(20, 1)) for mean in (2.0, 4.0))
    plain = jackknife(lambda x: x, a)
    assert plain.sigma[0] == pytest.approx(a.std(ddof=1) / np.sqrt(20))
    ratio = jackknife(lambda x, y: x / y, a, b)
    expected = ratio.value[0] * np.hypot(a.std(ddof=1) / a.mean(), b.std(ddof=1) / b.mean()) / np.sqrt(20)
    assert ratio.value[0] == pytest.approx(a.mean() / b.mean())
    assert ratio.sigma[0] == pytest.approx(expected, rel=0.3)  # the drawn samples are a little correlated


def test_a_single_batch_has_no_sigma_and_is_refused() -> None:
    with pytest.raises(ValueError, match="expected two or more"):
        jackknife(lambda x: x, np.ones((1, 3)))


def test_edges_are_found_at_half_of_the_middle_over_leakage() -> None:
    place = np.arange(-80.0, 80.0, 0.5)
    rise = np.clip((place - 13.0) / 4.0, 0.0, 1.0) * np.clip((37.0 - place) / 4.0, 0.0, 1.0)
    low, high = opening_edges(place, 0.02 + 3.0 * rise)
    assert (low, high) == (pytest.approx(15.0, abs=0.02), pytest.approx(35.0, abs=0.02))


def test_an_opening_at_the_end_of_a_profile_is_refused() -> None:
    place = np.arange(-80.0, 80.0, 0.5)
    with pytest.raises(ValueError, match="reaches an end"):
        opening_edges(place, (place > 60.0).astype(float) * (1.0 + place))


def test_a_known_dip_is_found() -> None:
    place = np.arange(-10.0, 10.0, 0.25)
    depth, width = dip(place, 1.01 * (1.0 - 0.24 * np.exp(-0.5 * ((place - 0.1) / 0.8) ** 2)))
    assert depth == pytest.approx(0.24)
    assert width == pytest.approx(0.8 * 2.3548, rel=1e-3)


# Fit and beam data


def test_one_step_goes_along_a_straight_line_and_carries_every_sigma() -> None:
    value, uncertainty, slope = one_step(0.0, 0.4, Estimate(0.9, 0.03), Estimate(1.3, 0.04), Estimate(1.1, 0.02))
    assert value == pytest.approx(0.2)
    assert slope == pytest.approx(1.0)
    assert uncertainty == pytest.approx(np.sqrt(0.02**2 + 0.015**2 + 0.02**2))


def test_simulations_that_agree_give_no_step() -> None:
    with pytest.raises(ValueError, match="the same value"):
        one_step(0.0, 0.4, Estimate(0.9), Estimate(0.9), Estimate(1.1))


def test_changed_machines_differ_by_one_value(linac: LinacModel) -> None:
    assert with_density(linac, 18.0).machine.mlc.alloy.density == 18.0
    assert with_gap_offset(linac, 0.3).machine.mlc.physical_gap_offset == 0.3
    assert with_density(with_density(linac, 18.0), linac.machine.mlc.alloy.density) == linac


def test_leaf_values_are_written_and_read_back(tmp_path: Path) -> None:
    jaws = JawField.of_size(100.0, 100.0)
    common = {"jaws": jaws, "source_surface_distance": 900.0, "depth": 100.0}
    transmissions = tuple(
        LeafTransmission(**common, value=value, sigma=0.0002, label=bank)  # type: ignore[arg-type]
        for value, bank in ((0.0115, "bank X1"), (0.0119, "bank X2"))
    )
    gaps = (DosimetricLeafGap(**common, value=0.86, sigma=0.05),)  # type: ignore[arg-type]
    data = BeamData(machine="Linac 2", leaf_transmissions=transmissions, leaf_gaps=gaps)
    path = tmp_path / "leaves.csv"
    write_csv(path, data)
    read = read_csv(path)
    assert (read.leaf_transmissions, read.leaf_gaps) == (transmissions, gaps)
    assert not read.is_empty
    mean = stated_value(read.leaf_transmissions)
    assert (mean.value, mean.sigma) == (pytest.approx(0.0117), pytest.approx(0.0002 / np.sqrt(2)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("leaf_transmission,100,100,900,100,1.17,ratio", "value: '1.17' found, expected a number from 0.0001 to 0.1"),
        ("leaf_transmission,100,100,900,100,1.17,percent", "unit: 'percent' found, expected ratio"),
        ("dosimetric_leaf_gap,100,100,900,100,86,mm", "value: '86' found, expected a number from -2 to 10"),
    ],
)
def test_leaf_values_in_other_units_are_refused(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "leaves.csv"
    path.write_text(f"quantity,field_x_mm,field_y_mm,ssd_mm,depth_mm,value,unit\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(f"leaves.csv, line 2, column {message}")):
        read_csv(path)


def test_a_leaf_value_in_per_cent_is_refused_wherever_it_comes_from() -> None:
    with pytest.raises(ValueError, match="expected a ratio"):
        LeafTransmission(jaws=JawField.of_size(100.0, 100.0), source_surface_distance=900.0, depth=100.0, value=1.17)
