"""Joining files, and the beam data that come with the machine models."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatecheck.commissioning.beam_data import NOT_STATED, BeamData, JawField, OutputFactor
from gatecheck.commissioning.csv_format import write_csv
from gatecheck.commissioning.read_beam_data import read_beam_data
from gatecheck.errors import InputError
from gatecheck.linac.load import load_linac_model

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
NAMES = ["truebeam_stx", "truebeam_m120"]

W2CAD = "$STOM\n%TYPE OPP\n%FLSZ 100*100\n%SSD 1000\n%DETY DIO\n" + "".join(
    f"<{x} 0 100 {dose}>\n" for x, dose in ((-60, 10), (-50, 90), (0, 100), (50, 90), (60, 10))
)


def factors(*values: float, machine: str = NOT_STATED) -> BeamData:
    made = (
        OutputFactor(jaws=JawField.of_size(40.0 + i, 40.0), source_surface_distance=950.0, depth=50.0, value=value)
        for i, value in enumerate(values)
    )
    return BeamData(machine=machine, detector="diode", source="a test", output_factors=tuple(made))


def test_files_of_both_formats_are_joined_in_their_order(tmp_path: Path) -> None:
    scans, table = tmp_path / "scans.csv", tmp_path / "table.txt"
    scans.write_text(W2CAD + "$ENOM\n", encoding="utf-8")
    write_csv(table, factors(0.9, 0.91, machine="Linac 1"))
    data = read_beam_data([scans, table], detector_diameter=2.2)
    assert [p.detector_diameter for p in data.profiles] == [2.2]
    assert [f.value for f in data.output_factors] == [0.9, 0.91]
    assert (data.machine, data.beam, data.detector) == ("Linac 1", NOT_STATED, "diode")
    assert data.source == "W2CAD, open fields: 1; a test"
    assert data.sha256 != read_beam_data([table, scans]).sha256
    assert len(data.sha256) == 64


def test_files_of_different_machines_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    write_csv(first, factors(0.9, machine="Linac 1"))
    write_csv(second, factors(0.91, machine="Linac 2"))
    with pytest.raises(InputError, match=r"second\.csv: machine 'Linac 2' found, expected 'Linac 1' as in first\.csv"):
        read_beam_data([first, second])


def test_a_file_given_twice_and_none_at_all_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "first.csv"
    write_csv(path, factors(0.9))
    with pytest.raises(InputError, match=r"first\.csv: the same content as first\.csv"):
        read_beam_data([path, path])
    with pytest.raises(InputError, match="no file given"):
        read_beam_data([])


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_data_hold_what_the_paper_gives(name: str) -> None:
    data = read_beam_data([MODELS / name / "beam_data_6x.csv"])
    assert len(data.depth_doses) == 3
    assert {curve.depth.size for curve in data.depth_doses} == {12}
    assert [(w.field_x, w.depth, w.width_50, w.penumbra_80_20) for w in data.widths] == [
        (100.0, 15.0, 102.0, 5.4),
        (100.0, 100.0, 110.5, 6.8),
        (100.0, 200.0, 120.7, 8.6),
        (300.0, 15.0, 306.1, 5.7),
        (300.0, 100.0, 331.5, 9.2),
        (300.0, 200.0, 360.8, 18.6),
    ]
    assert [(f.field_x, f.value) for f in data.output_factors] == [(40.0, 0.906), (100.0, 1.0), (300.0, 1.104)]
    by_field = {curve.field_x: curve.dose for curve in data.depth_doses}
    assert by_field[100.0].tolist() == [88.0, 98.8, 100.0, 98.7, 94.5, 86.1, 73.9, 66.4, 50.4, 38.1, 28.9, 22.0]
    profile = next(p for p in data.profiles if (p.field_x, p.depth) == (300.0, 200.0))
    assert profile.dose.tolist() == [100.3, 100.1, 100.0, 99.2, 97.8, 95.7, 92.4]
    assert {p.detector_diameter for p in data.profiles} == {6.0}
    assert "Med. Phys. 39 (2012) 6981" in data.source
    assert data.notes == ()


def test_machine_models_load_with_beam_data_beside_them_and_share_the_data() -> None:
    assert [load_linac_model(MODELS / name).name for name in NAMES] == NAMES
    first, second = ((MODELS / name / "beam_data_6x.csv").read_bytes() for name in NAMES)
    assert first == second
