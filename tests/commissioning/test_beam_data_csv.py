"""Beam data as CSV: what is written is read back, and every bad row is refused by line and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.commissioning.beam_data import (
    AXES,
    BeamData,
    DepthDose,
    JawField,
    OutputFactor,
    Profile,
    ProfileWidth,
    check_line,
)
from gatecheck.commissioning.csv_format import read_csv, write_csv
from gatecheck.errors import InputError

HEADER = "quantity,field_x_mm,field_y_mm,ssd_mm,depth_mm,axis,off_axis_mm,value,unit,sigma,detector_mm"


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "beam.csv"
    path.write_text("\n".join(["# machine: Test", header, *rows]) + "\n", encoding="utf-8")
    return path


def refusal(folder: Path, *rows: str, header: str = HEADER) -> str:
    with pytest.raises(InputError) as error:
        read_csv(written(folder, *rows, header=header))
    return str(error.value)


def as_plain(data: BeamData) -> list[object]:
    """Everything that a file carries, comparable: arrays as lists."""
    kept: list[object] = [data.machine, data.beam, data.detector, data.source]
    for measurement in (*data.depth_doses, *data.profiles, *data.widths, *data.output_factors):
        names = [name for kind in type(measurement).__mro__ for name in getattr(kind, "__slots__", ())]
        values = {name: getattr(measurement, name) for name in names}
        kept.append({name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in values.items()})
    return kept


# Lines of text ----------------------------------------------------------------------------------------------------


def is_line(text: str) -> bool:
    try:
        check_line("text", text)
    except ValueError:
        return False
    return bool(text)


NUMBERS = st.floats(-2, 100, allow_nan=False)
LINES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(is_line)
DETECTORS = st.none() | st.floats(0, 50)
DEPTHS = st.floats(0, 600)


@st.composite
def jaw_fields(draw: st.DrawFn) -> JawField:
    if draw(st.booleans()):
        return JawField.of_size(draw(st.floats(2, 400)), draw(st.floats(2, 400)))
    low = st.floats(-200, 50)
    x1, y1 = draw(low), draw(low)
    return JawField(x1=x1, x2=x1 + draw(st.floats(2, 150)), y1=y1, y2=y1 + draw(st.floats(2, 150)))


@st.composite
def curves(draw: st.DrawFn, lowest: float) -> tuple[list[float], list[float], list[float] | None]:
    # Curves are short of their field's edges or in any unit, so that no edge contradicts the random field.
    places = sorted(draw(st.lists(st.floats(lowest, 600), min_size=1, max_size=5, unique=True)))
    doses = draw(st.lists(st.floats(90, 102), min_size=len(places), max_size=len(places)))
    sigma = st.lists(st.floats(0, 5), min_size=len(places), max_size=len(places))
    doses = [100.0 if place == 0 else dose for place, dose in zip(places, doses, strict=True)]
    return places, doses, draw(st.none() | sigma)


@st.composite
def measurements(draw: st.DrawFn, index: int) -> DepthDose | Profile | ProfileWidth | OutputFactor:
    common = {
        "jaws": draw(jaw_fields()),
        "source_surface_distance": draw(st.floats(500, 3000)),
        "detector_diameter": draw(DETECTORS),
        # The index keeps any two measurements apart.
        "label": f"{index} {draw(LINES)}",
    }
    kind = draw(st.sampled_from(["depth dose", "profile", "width", "output factor"]))
    axis = draw(st.sampled_from(AXES))
    sigma = st.none() | st.floats(0, 5)
    if kind == "output factor":
        reference = draw(
            st.just(JawField.of_size(100.0, 100.0)) | st.builds(JawField.of_size, *[st.floats(2, 400)] * 2)
        )
        value = draw(st.floats(0.1, 3))
        return OutputFactor(**common, depth=draw(DEPTHS), value=value, sigma=draw(sigma), reference=reference)
    if kind == "width":
        width, fall = draw(st.floats(1, 500)), draw(st.none() | st.floats(1, 50))
        spread = draw(sigma) if fall is not None else None
        return ProfileWidth(
            **common, depth=draw(DEPTHS), axis=axis, width_50=width, penumbra_80_20=fall, penumbra_sigma=spread
        )
    unit = draw(st.booleans())
    places, doses, spreads = draw(curves(0 if kind == "depth dose" or axis == "mean" else -600))
    arrays = {"dose": np.array(doses), "sigma": None if spreads is None else np.array(spreads)}
    if kind == "depth dose":
        normalisation = "maximum" if unit else "as measured"
        off_axis = draw(st.floats(-200, 200))
        return DepthDose(**common, **arrays, depth=np.array(places), normalisation=normalisation, off_axis=off_axis)
    normalisation = "axis" if unit else "as measured"
    position = np.array(places)
    return Profile(**common, **arrays, depth=draw(DEPTHS), axis=axis, position=position, normalisation=normalisation)


@st.composite
def beam_data(draw: st.DrawFn) -> BeamData:
    made = [draw(measurements(index)) for index in range(draw(st.integers(1, 4)))]
    texts = {name: draw(LINES) for name in ("machine", "beam", "detector", "source")}

    def of(kind: type) -> tuple[object, ...]:
        return tuple(m for m in made if isinstance(m, kind))

    return BeamData(
        **texts,
        depth_doses=of(DepthDose),
        profiles=of(Profile),
        widths=of(ProfileWidth),
        output_factors=of(OutputFactor),
    )


@settings(max_examples=150, deadline=None)
@given(data=beam_data())
def test_what_is_written_is_read_back_the_same(tmp_path_factory: pytest.TempPathFactory, data: BeamData) -> None:
    path = tmp_path_factory.mktemp("csv") / "beam.csv"
    write_csv(path, data)
    assert as_plain(read_csv(path)) == as_plain(data)


def test_rows_of_curves_may_be_mixed_and_in_any_order(tmp_path: Path) -> None:
    data = read_csv(
        written(
            tmp_path,
            "depth_dose,100,100,1000,20,,,98.7,percent_of_maximum,,6",
            "# a comment between rows, then a row of commas as spreadsheets leave it",
            ",,,,,,,,,,",
            "depth_dose,40,40,1000,10,,,98.2,percent_of_maximum,,6",
            "depth_dose,100,100,1000,15,,,100,percent_of_maximum,,6",
            "penumbra_80_20,100,100,1000,15,mean,,5.4,mm,,6",
            "output_factor,40,40,950,50,,,0.906,ratio,0.002,6",
            "width_50,100,100,1000,15,mean,,102.0,mm,0.1,6",
        )
    )
    assert [curve.depth.tolist() for curve in data.depth_doses] == [[15.0, 20.0], [10.0]]
    assert data.depth_doses[0].dose.tolist() == [100.0, 98.7]
    (width,) = data.widths
    assert (width.width_50, width.width_sigma, width.penumbra_80_20, width.penumbra_sigma) == (102.0, 0.1, 5.4, None)
    assert data.output_factors[0].reference == JawField.of_size(100.0, 100.0)
    assert data.output_factors[0].sigma == 0.002
    assert data.machine == "Test"
    assert len(data.sha256) == 64


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, "output_factor,40,40,950,50,,,0.906,ratio,,6")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    data = read_csv(path)
    assert data.machine == "Test"
    assert data.output_factors[0].value == 0.906


def test_jaw_positions_make_an_asymmetric_field(tmp_path: Path) -> None:
    header = "quantity,field_x_mm,field_y_mm,ssd_mm,depth_mm,value,unit,jaw_x1_mm,jaw_x2_mm,jaw_y1_mm,jaw_y2_mm"
    data = read_csv(written(tmp_path, "output_factor,100,200,950,50,1.03,ratio,0,100,-150,50", header=header))
    assert data.output_factors[0].jaws == JawField(x1=0.0, x2=100.0, y1=-150.0, y2=50.0)
    message = refusal(tmp_path, "output_factor,100,180,950,50,1.03,ratio,0,100,-150,50", header=header)
    assert "line 3, column field_y_mm: '180' found, expected 200 between the jaws of this row" in message
    message = refusal(tmp_path, "output_factor,100,200,950,50,1.03,ratio,0,100,,50", header=header)
    assert "line 3, column jaw_y1_mm: nothing found, expected a number" in message


GOOD = "profile,100,100,1000,100,x,20,99.9,percent_of_axis,0.1,6"


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        (
            "quantity",
            "pdd",
            "'pdd' found, expected one of depth_dose, profile, width_50, penumbra_80_20, output_factor",
        ),
        ("quantity", "", "nothing found, expected one of depth_dose"),
        ("field_x_mm", "", "nothing found, expected a number"),
        ("field_x_mm", "10 cm", "'10 cm' found, expected a number"),
        ("field_x_mm", "-100", "jaws x at 50 and -50 mm, expected x2 above x1"),
        ("field_x_mm", "900", "jaws x at -450 and 450 mm, expected between -250 and 250 mm"),
        ("field_y_mm", "nan", "'nan' found, expected a number"),
        ("field_y_mm", "1_00", "'1_00' found, expected a number"),
        ("ssd_mm", "100", "'100' found, expected a number from 500 to 3000"),
        ("depth_mm", "-5", "'-5' found, expected a number from 0 to 600"),
        ("axis", "", "nothing found, expected one of x, y, mean, diagonal, antidiagonal"),
        ("axis", "X", "'X' found, expected one of x, y"),
        ("off_axis_mm", "", "nothing found, expected a number"),
        ("off_axis_mm", "2000", "'2000' found, expected a number from -600 to 600"),
        ("value", "99,9", "12 cells found, expected 11"),
        ("value", '"99,9"', "'99,9' found, expected a number, with a decimal point"),
        ("value", "1e999", "'1e999' found, expected a number from -2 to 200"),
        ("value", "250", "'250' found, expected a number from -2 to 200"),
        ("unit", "%", "'%' found, expected one of percent_of_axis, as_measured"),
        ("unit", "percent_of_maximum", "expected one of percent_of_axis, as_measured"),
        ("sigma", "-0.1", "'-0.1' found, expected a number not below 0"),
        ("detector_mm", "600", "'600' found, expected a number from 0 to 50"),
        ("detector_mm", '"6', "quotation mark"),
    ],
)
def test_a_bad_cell_is_refused_by_line_and_column(tmp_path: Path, column: str, cell: str, expected: str) -> None:
    read_csv(written(tmp_path, GOOD))
    cells = GOOD.split(",")
    cells[HEADER.split(",").index(column)] = cell
    message = refusal(tmp_path, "# a comment", ",".join(cells))
    assert message.startswith("beam.csv, line 4")
    assert expected in message
    if "cells found" not in message and "quotation" not in message:
        # Signs and sizes of jaws are one thing; the first column of the pair is named.
        assert f"column {column}:" in message


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("depth_dose,100,100,1000,20,x,,98.7,percent_of_maximum,,6", "axis"),
        ("width_50,100,100,1000,20,x,3,102,mm,,6", "off_axis_mm"),
        ("output_factor,100,100,950,50,,10,1,ratio,,6", "off_axis_mm"),
    ],
)
def test_a_cell_that_says_nothing_of_its_quantity_is_refused(tmp_path: Path, row: str, column: str) -> None:
    assert f"line 3, column {column}: " in refusal(tmp_path, row)


def test_a_half_profile_as_mean_has_no_negative_places(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD.replace(",x,20", ",mean,-20"))
    assert "line 3, column off_axis_mm: '-20' found, expected a number from 0 to 600" in message


def test_a_point_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD, GOOD.replace("99.9", "99.8"))
    assert "line 4, column value: the same point as line 3 found, expected once" in message
    assert "label" in message


def test_repeated_measurements_are_told_apart_by_their_labels(tmp_path: Path) -> None:
    data = read_csv(written(tmp_path, GOOD + ",first", GOOD + ",second", header=HEADER + ",label"))
    assert [curve.label for curve in data.profiles] == ["first", "second"]


def test_a_curve_with_sigma_on_some_points_only_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD, "profile,100,100,1000,100,x,40,96.9,percent_of_axis,,6")
    assert "line 4, column sigma: nothing found, expected a number, since other points" in message


def test_a_curve_in_fractions_is_refused_with_its_lines(tmp_path: Path) -> None:
    rows = [f"depth_dose,100,100,1000,{depth},,,{dose},percent_of_maximum,,6" for depth, dose in ((15, 1), (20, 0.98))]
    message = refusal(tmp_path, *rows)
    assert "lines 3 to 4, depth_dose of 100 x 100 mm: dose from 0.98 to 1, expected per cent" in message


def test_a_profile_that_contradicts_its_field_is_refused(tmp_path: Path) -> None:
    points = ((-70, 5), (-50, 80), (0, 100), (50, 80), (70, 5))
    rows = [f"profile,300,300,1000,100,x,{x},{dose},percent_of_axis,,6" for x, dose in points]
    message = refusal(tmp_path, *rows)
    assert "lines 3 to 7, profile of 300 x 300 mm at 100 mm depth" in message
    assert "its field of 300 x 300 mm at 1100 mm from the source is 330 mm wide" in message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER.replace("unit", "units"), "column 'units' found, expected one of quantity, field_x_mm"),
        (HEADER.replace(",unit", ""), "column unit: not found, expected in the header"),
        (HEADER + ",value", "column value: found 2 times, expected once"),
        (HEADER.replace(",", ";"), "columns parted by ';' found, expected ','"),
    ],
)
def test_a_bad_header_is_refused(tmp_path: Path, header: str, expected: str) -> None:
    message = refusal(tmp_path, GOOD, header=header)
    assert message.startswith("beam.csv, line 2")
    assert expected in message


def _binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\x01")


def _comments_only(path: Path) -> None:
    path.write_text("# machine: Test\n", encoding="utf-8")


def _header_only(path: Path) -> None:
    path.write_text(HEADER + "\n", encoding="utf-8")


def _described_twice(path: Path) -> None:
    path.write_text("# beam: 6X\n# beam: 10X\n" + HEADER + "\n", encoding="utf-8")


def _described_by_nothing(path: Path) -> None:
    path.write_text("# beam:\n" + HEADER + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda path: None, "beam.csv: not found"),
        (Path.mkdir, "beam.csv: cannot be read"),
        (_binary, "not a text file in UTF-8"),
        (_comments_only, "no header found"),
        (_header_only, "no row of data found"),
        (_described_twice, "line 2: '# beam:' found a second time"),
        (_described_by_nothing, "line 1: '# beam:' found with nothing behind it"),
    ],
)
def test_a_file_that_is_no_beam_data_is_refused(tmp_path: Path, write: Callable[[Path], None], expected: str) -> None:
    path = tmp_path / "beam.csv"
    write(path)
    with pytest.raises(InputError, match=expected):
        read_csv(path)


def test_two_measurements_alike_are_not_written(tmp_path: Path) -> None:
    factor = OutputFactor(jaws=JawField.of_size(40.0, 40.0), source_surface_distance=950.0, depth=50.0, value=0.906)
    with pytest.raises(ValueError, match="output_factor of 40 x 40 mm at 50 mm depth is there twice"):
        write_csv(tmp_path / "beam.csv", BeamData(output_factors=(factor, factor)))
    assert list(tmp_path.iterdir()) == []


def test_notes_are_written_as_comments(tmp_path: Path) -> None:
    factor = OutputFactor(jaws=JawField.of_size(40.0, 40.0), source_surface_distance=950.0, depth=50.0, value=0.906)
    path = tmp_path / "beam.csv"
    write_csv(path, BeamData(output_factors=(factor,), notes=("scan 3: left out.",)))
    assert path.read_text(encoding="utf-8").splitlines()[0] == "# Note. scan 3: left out."
    assert read_csv(path).output_factors == (factor,)
