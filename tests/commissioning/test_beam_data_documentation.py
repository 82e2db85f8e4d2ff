"""What the page on commissioning says of the formats is what the readers do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gatecheck.commissioning.beam_data import AXES
from gatecheck.commissioning.csv_format import UNITS
from gatecheck.commissioning.csv_table import COLUMNS, DESCRIPTIONS
from gatecheck.commissioning.read_beam_data import read_beam_data
from gatecheck.errors import InputError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "commissioning.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(text)


def test_the_csv_example_is_read(tmp_path: Path) -> None:
    path = tmp_path / "beam.csv"
    path.write_text(example("csv"), encoding="utf-8")
    data = read_beam_data([path])
    assert (data.machine, data.beam) == ("Linac 2", "6X")
    assert [c.depth.tolist() for c in data.depth_doses] == [[15.0, 100.0]]
    assert [p.position.tolist() for p in data.profiles] == [[-20.0, 0.0, 20.0]]
    assert [(w.width_50, w.penumbra_80_20, w.detector_diameter) for w in data.widths] == [(110.4, 5.9, 2.2)]
    assert [f.value for f in data.output_factors] == [0.906]


def test_the_w2cad_example_is_read(tmp_path: Path) -> None:
    path = tmp_path / "beam.asc"
    path.write_text(example("w2cad"), encoding="utf-8")
    data = read_beam_data([path])
    assert [c.dose.tolist() for c in data.depth_doses] == [[100.0, 66.3, 38.0]]
    assert [p.dose.tolist() for p in data.profiles] == [[3.1, 96.9, 100.0, 97.0, 3.0]]
    assert {m.detector_diameter for m in (*data.depth_doses, *data.profiles)} == {5.5}


@pytest.mark.parametrize("word", [*COLUMNS, *UNITS, *sorted({u for units in UNITS.values() for u in units}), *AXES])
def test_every_column_quantity_unit_and_axis_is_explained(word: str) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("word", DESCRIPTIONS)
def test_every_description_is_explained(word: str) -> None:
    assert f"`# {word}:`" in PAGE


def test_the_error_that_the_page_shows_is_the_error_that_appears(tmp_path: Path) -> None:
    (shown,) = re.findall(r"`(beam\.csv, line 17, .*?)`", PAGE)
    row = "depth_dose,100,100,{ssd},{depth},100,percent_of_maximum"
    lines = ["quantity,field_x_mm,field_y_mm,ssd_mm,depth_mm,value,unit"]
    lines += [row.format(ssd=1000, depth=depth) for depth in range(15)]
    path = tmp_path / "beam.csv"
    path.write_text("\n".join([*lines, row.format(ssd=100, depth=99)]) + "\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_beam_data([path])
    assert str(error.value) == shown
