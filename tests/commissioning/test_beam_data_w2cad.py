"""W2CAD files in the variants that are met, and the contradictions that are refused by scan and keyword."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from gatecheck.commissioning.beam_data import BeamData, JawField
from gatecheck.commissioning.measured import all_widths
from gatecheck.commissioning.w2cad import read_w2cad
from gatecheck.commissioning.w2cad_scans import is_w2cad
from gatecheck.errors import InputError

DATE = "24-12-1999"
OPERATOR = "J. Doe"


@dataclass(frozen=True)
class Made:
    """One scan to be written: keywords in order, then rows."""

    keywords: dict[str, str]
    rows: list[tuple[float, float, float, float]]
    comments: tuple[str, ...] = field(default=(f"# Operator: {OPERATOR}", "# Comment: Größe"))

    def text(self) -> str:
        lines = ["$STOM", *self.comments]
        lines += [f"%{name} {value}" for name, value in self.keywords.items()]
        lines += [f"<{x:+06.1f} {y:+06.1f} {z:+06.1f} {dose:+06.1f}>" for x, y, z, dose in self.rows]
        return "\n".join([*lines, "$ENOM"])

    def with_keyword(self, name: str, value: str | None) -> Made:
        keywords = {key: text for key, text in (self.keywords | {name: value}).items() if text is not None}
        return replace(self, keywords=keywords)

    def with_rows(self, rows: list[tuple[float, float, float, float]]) -> Made:
        return replace(self, rows=rows).with_keyword("PNTS", str(len(rows)))


def keywords(kind: str, axis: str, points: int, size: str = "100*100") -> dict[str, str]:
    return {
        "VERSION": "02",
        "DATE": DATE,
        "DETY": "CHA",
        "BMTY": "PHO",
        "TYPE": kind,
        "AXIS": axis,
        "PNTS": f"{points:03d}",
        "STEP": "020",
        "SSD": "1000",
        "FLSZ": size,
    }


def depth_dose_scan() -> Made:
    depth = np.arange(0.0, 301.0, 2.0)
    dose = 120 * (np.exp(-0.005 * depth) - 0.789 * np.exp(-0.25 * depth))
    return Made(
        keywords("OPD", "Z", depth.size), [(0.0, 0.0, z, d) for z, d in zip(depth.tolist(), dose.tolist(), strict=True)]
    )


def profile_scan(axis: str = "X", shift: float = 0.0, size: str = "100*100", half_width: float = 55.0) -> Made:
    position = np.arange(-90.0, 90.5, 2.0)
    x = (position - shift) / 4.0
    dose = 35 * (erf(x + half_width / 4) - erf(x - half_width / 4))
    rows = [
        (p, 0.0, 100.0, d) if axis == "X" else (0.0, p, 100.0, d)
        for p, d in zip(position.tolist(), dose.tolist(), strict=True)
    ]
    return Made(keywords("OPP", axis, position.size, size) | {"DPTH": "100"}, rows)


def diagonal_scan(sign: int = 1) -> Made:
    made = profile_scan()
    position = np.arange(-100.0, 100.5, 2.0)
    dose = 35 * (erf((position + 77.8) / 4) - erf((position - 77.8) / 4))
    rows = [
        (p / np.sqrt(2), sign * p / np.sqrt(2), 100.0, d) for p, d in zip(position.tolist(), dose.tolist(), strict=True)
    ]
    return made.with_keyword("TYPE", "DPR").with_keyword("AXIS", "D").with_rows(rows)


def write(folder: Path, *scans: Made, head: str | None = None, tail: str = "$ENOF") -> Path:
    path = folder / "beam.asc"
    head = f"$NUMS {len(scans):03d}" if head is None else head
    path.write_text("\n".join([head, *(scan.text() for scan in scans), tail]) + "\n", encoding="latin-1")
    return path


def refusal(folder: Path, *scans: Made, head: str | None = None, tail: str = "$ENOF") -> str:
    with pytest.raises(InputError) as error:
        read_w2cad(write(folder, *scans, head=head, tail=tail))
    return str(error.value)


def test_scans_of_every_kind_are_read(tmp_path: Path) -> None:
    data = read_w2cad(
        write(tmp_path, depth_dose_scan(), profile_scan("X"), profile_scan("Y"), diagonal_scan(), diagonal_scan(-1))
    )
    assert [p.axis for p in data.profiles] == ["x", "y", "diagonal", "antidiagonal"]
    assert {(p.depth, p.field_x, p.field_y, p.source_surface_distance) for p in data.profiles} == {
        (100, 100, 100, 1000)
    }
    (curve,) = data.depth_doses
    assert curve.jaws == JawField.of_size(100.0, 100.0)
    assert curve.depth.tolist() == np.arange(0.0, 301.0, 2.0).tolist()
    assert data.detector == "ionisation chamber"
    assert len(data.sha256) == 64


def test_depth_doses_come_in_per_cent_of_their_maximum_and_profiles_of_the_axis(tmp_path: Path) -> None:
    data = read_w2cad(write(tmp_path, depth_dose_scan(), profile_scan()))
    (curve,), (profile,) = data.depth_doses, data.profiles
    assert (curve.normalisation, profile.normalisation) == ("maximum", "axis")
    # Doses are written to 0.1, a per mille of the maximum.
    assert curve.dose.max() == pytest.approx(100, abs=0.15)
    assert profile.dose[profile.position == 0] == pytest.approx(100, abs=0.1)
    as_measured = read_w2cad(write(tmp_path, depth_dose_scan(), profile_scan()), normalise=False)
    assert as_measured.depth_doses[0].normalisation == "as measured"
    assert as_measured.profiles[0].dose.max() == pytest.approx(70, abs=0.1)


def test_widths_follow_from_full_profiles(tmp_path: Path) -> None:
    data = read_w2cad(write(tmp_path, depth_dose_scan(), profile_scan("X"), diagonal_scan()))
    widths = all_widths(data)
    assert [w.axis for w in widths] == ["x", "diagonal"]
    assert widths[0].width_50 == pytest.approx(110, abs=0.1)
    # erf(x / 4) is a blur of 4 / sqrt(2).
    assert widths[0].penumbra_80_20 == pytest.approx(1.683242 * 4 / np.sqrt(2), abs=0.05)


def test_centring_is_a_choice_and_a_shift_is_noted_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, profile_scan(shift=0.8))
    with caplog.at_level(logging.WARNING):
        kept = read_w2cad(path, detector_diameter=6.0)
    assert kept.notes == ("beam.asc, scan 1: the field's middle is at +0.8 mm on axis x.",)
    assert kept.profiles[0].position[0] == -90.0
    centred = read_w2cad(path, detector_diameter=6.0, centre=True)
    assert centred.notes == ()
    assert centred.profiles[0].position[0] == pytest.approx(-90.8, abs=0.05)


def test_a_small_shift_is_no_news(tmp_path: Path) -> None:
    assert read_w2cad(write(tmp_path, profile_scan(shift=0.3)), detector_diameter=6.0).notes == ()


@pytest.mark.parametrize("seed", range(5))
def test_lines_within_a_scan_may_stand_in_any_order(tmp_path: Path, seed: int) -> None:
    expected = read_w2cad(write(tmp_path, depth_dose_scan(), profile_scan()))
    shuffled = []
    for scan in (depth_dose_scan(), profile_scan()):
        lines = scan.text().splitlines()
        inner = lines[1:-1]
        random.Random(seed).shuffle(inner)
        shuffled.append("\n".join([lines[0], *inner, lines[-1]]))
    path = tmp_path / "beam.asc"
    path.write_text("\n".join(["$NUMS 2", *shuffled, "$ENOF"]), encoding="utf-8")
    found = read_w2cad(path)
    assert found.depth_doses[0].dose.tolist() == expected.depth_doses[0].dose.tolist()
    assert found.profiles[0].position.tolist() == expected.profiles[0].position.tolist()


def same_content(first: BeamData, second: BeamData) -> bool:
    return all(
        a.jaws == b.jaws and a.dose.tolist() == b.dose.tolist()
        for a, b in zip(first.depth_doses + first.profiles, second.depth_doses + second.profiles, strict=True)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("$NUMS 002\n", ""),
        ("$ENOF", ""),
        ("%FLSZ 100*100", "%FLSZ 100.0 * 100.0"),
        ("%FLSZ 100*100", "%flsz 100X100"),
        ("%SSD 1000", "% SSD   1000.0"),
        ("$STOM", "$ STOM"),
        ("%BMTY PHO", "%BMTY photons"),
        ("%VERSION 02", "%VERSION 2"),
        ("%DETY CHA", "%DETY UNKNOWN"),
        (f"%DATE {DATE}\n", ""),
        ("%AXIS X\n", ""),
        ("%AXIS Z\n", ""),
        ("%PNTS 091\n", ""),
        ("%DPTH 100\n", ""),
        ("\n", "\r\n"),
        ("<+", "< +"),
        (">", "  >"),
        ("%STEP 020", "%STEP 7\n%GANT 0"),
    ],
)
def test_variants_of_the_format_read_the_same(tmp_path: Path, old: str, new: str) -> None:
    path = write(tmp_path, depth_dose_scan(), profile_scan())
    expected = read_w2cad(path)
    text = path.read_text(encoding="latin-1")
    assert old in text
    path.write_bytes(text.replace(old, new).encode("latin-1"))
    assert same_content(read_w2cad(path), expected)


def test_scans_run_either_way_and_z_either_sign(tmp_path: Path) -> None:
    expected = read_w2cad(write(tmp_path, depth_dose_scan(), profile_scan()))
    turned = [
        scan.with_rows([(x, y, -z, d) for x, y, z, d in scan.rows[::-1]])
        for scan in (depth_dose_scan(), profile_scan())
    ]
    found = read_w2cad(write(tmp_path, *turned))
    assert same_content(found, expected)
    assert found.depth_doses[0].depth.tolist() == expected.depth_doses[0].depth.tolist()
    assert found.profiles[0].depth == 100.0


def test_a_profile_without_z_takes_its_depth_from_the_keyword(tmp_path: Path) -> None:
    scan = profile_scan()
    flat = scan.with_rows([(x, y, 0.0, d) for x, y, _, d in scan.rows])
    assert read_w2cad(write(tmp_path, flat)).profiles[0].depth == 100.0


def test_rows_above_the_surface_are_left_out_with_a_note(tmp_path: Path) -> None:
    scan = depth_dose_scan()
    data = read_w2cad(write(tmp_path, scan.with_rows([(0.0, 0.0, -4.0, 20.0), (0.0, 0.0, -2.0, 22.0), *scan.rows])))
    assert data.depth_doses[0].depth[0] == 0.0
    assert any("scan 1: 2 rows above the surface left out" in note for note in data.notes)


def test_a_depth_dose_beside_the_axis_says_so(tmp_path: Path) -> None:
    scan = depth_dose_scan()
    data = read_w2cad(write(tmp_path, scan.with_rows([(30.0, 0.0, z, d) for _, _, z, d in scan.rows])))
    assert data.depth_doses[0].off_axis == 30.0


def test_a_depth_dose_that_begins_below_its_maximum_stays_as_measured(tmp_path: Path) -> None:
    scan = depth_dose_scan()
    data = read_w2cad(write(tmp_path, scan.with_rows([row for row in scan.rows if row[2] >= 40])))
    assert data.depth_doses[0].normalisation == "as measured"
    assert any("scan 1: left as measured" in note for note in data.notes)


def test_the_detectors_size_is_taken_from_a_comment_of_the_scan_or_the_file(tmp_path: Path) -> None:
    own = replace(profile_scan(), comments=("# detector_mm: 2.2",))
    data = read_w2cad(write(tmp_path, profile_scan(), own, head="# Detector_mm = 6.1\n$NUMS 2"))
    assert [p.detector_diameter for p in data.profiles] == [6.1, 2.2]
    data = read_w2cad(write(tmp_path, profile_scan(), own), detector_diameter=5.5)
    assert [p.detector_diameter for p in data.profiles] == [5.5, 2.2]


def test_a_detector_of_unknown_size_is_noted(tmp_path: Path) -> None:
    data = read_w2cad(write(tmp_path, depth_dose_scan(), profile_scan()))
    assert data.profiles[0].detector_diameter is None
    assert any("scans 1, 2: the detector's diameter is not stated" in note for note in data.notes)


def test_wedged_fields_are_left_out_with_a_note_and_a_file_of_nothing_else_is_refused(tmp_path: Path) -> None:
    wedged = depth_dose_scan().with_keyword("TYPE", "WDD").with_keyword("WDGL", "15")
    data = read_w2cad(write(tmp_path, wedged, profile_scan()))
    assert len(data.depth_doses) == 0
    assert any("scan 1 left out: wedged" in note for note in data.notes)
    assert "only wedged fields found" in refusal(tmp_path, wedged)


def test_no_date_or_name_is_carried_on(tmp_path: Path) -> None:
    data = read_w2cad(write(tmp_path, depth_dose_scan(), profile_scan()))
    assert DATE not in repr(data)
    assert "1999" not in repr(data)
    assert "Doe" not in repr(data)


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        (profile_scan().with_keyword("PNTS", "090"), "%PNTS (line 11): 090 points stated, 91 rows found"),
        (profile_scan().with_keyword("PNTS", "many"), "%PNTS (line 11): 'MANY' found, expected a number"),
        (
            profile_scan().with_keyword("TYPE", "OAD"),
            "%TYPE (line 9): 'OAD' found, expected an open field: OPD, OPP, DPR",
        ),
        (profile_scan().with_keyword("TYPE", None), "%TYPE: nothing found, expected a value"),
        (profile_scan().with_keyword("FLSZ", None), "%FLSZ: nothing found, expected a value"),
        (profile_scan().with_keyword("FLSZ", "100"), "%FLSZ (line 14): '100' found, expected X*Y in mm"),
        (profile_scan().with_keyword("FLSZ", "0*100"), "%FLSZ (line 14): jaws x at -0 and 0 mm"),
        (profile_scan().with_keyword("SSD", None), "%SSD: nothing found"),
        (profile_scan().with_keyword("SSD", "100"), "source_surface_distance is 100 mm, expected 500 to 3000 mm"),
        (profile_scan().with_keyword("BMTY", "ELE"), "%BMTY (line 8): 'ELE' found, expected PHO (photons)"),
        (profile_scan().with_keyword("VERSION", "03"), "%VERSION (line 5): '03' found, expected 02"),
        (profile_scan().with_keyword("AXIS", "Z"), "%AXIS (line 10): 'Z' found, expected X or Y for %TYPE OPP"),
        (profile_scan().with_keyword("AXIS", "Y"), "%AXIS (line 10): 'Y' found, but it is x that changes"),
        (depth_dose_scan().with_keyword("AXIS", "X"), "%AXIS (line 10): 'X' found, expected Z for %TYPE OPD"),
        (profile_scan().with_keyword("TYPE", "OPD").with_keyword("AXIS", "Z"), "expected a line in depth (Z)"),
        (profile_scan().with_keyword("DPTH", "050"), "%DPTH (line 15): 50 mm found, but the rows are at 100 mm"),
        (profile_scan().with_keyword("WDGL", "15"), "wedge '15' found in an open field (%TYPE OPP)"),
        (profile_scan().with_keyword("TYPE", "DPR").with_keyword("AXIS", "D"), "rows off the lines x = y and x = -y"),
        (profile_scan().with_keyword("FLSZ", "200*100"), "its field of 200 x 100 mm at 1100 mm from the source is 220"),
        (profile_scan("Y").with_keyword("FLSZ", "100*200"), "the profile on axis y is 110 mm wide at 50 %"),
        (profile_scan().with_keyword("FLSZ", "10*10"), "its field of 10 x 10 mm at 1100 mm from the source is 11 mm"),
    ],
)
def test_a_contradiction_is_refused_by_file_scan_and_keyword(tmp_path: Path, scan: Made, expected: str) -> None:
    message = refusal(tmp_path, scan)
    assert message.startswith("beam.asc, scan 1, %")
    assert expected in message


def test_the_scan_is_counted_in_its_file(tmp_path: Path) -> None:
    message = refusal(tmp_path, depth_dose_scan(), profile_scan(), profile_scan().with_keyword("FLSZ", "100"))
    assert message.startswith("beam.asc, scan 3, %FLSZ")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: [*rows, rows[0]], "two rows at -90 mm found"),
        (lambda rows: [(x, 5.0, z, d) for x, _, z, d in rows], "a profile along x with y at 5 mm found"),
        (lambda rows: [(x, y, z + 0.1 * i, d) for i, (x, y, z, d) in enumerate(rows)], "expected one depth"),
    ],
)
def test_rows_that_are_no_profile_are_refused(tmp_path: Path, change: object, expected: str) -> None:
    scan = profile_scan()
    assert expected in refusal(tmp_path, scan.with_rows(change(scan.rows)))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("$NUMS 002", "$NUMS 003", "line 1, $NUMS: 3 scans stated, 2 found"),
        ("$NUMS 002", "$NUMS two", "line 1: '$NUMS two' found"),
        ("$ENOF", "$ENOF\n%SSD 1000", "found behind $ENOF"),
        ("$ENOM\n$ENOF", "$ENOF", "$ENOF found, expected $ENOM of the scan before"),
        ("$ENOM\n$ENOF", "", "scan 2: $STOM found without an $ENOM that closes the scan"),
        ("$ENOM\n$STOM", "$STOM", "scan 1: $STOM found, expected $ENOM of the scan before"),
        ("$STOM\n", "", "line 4: %VERSION found outside of a scan"),
        ("%TYPE OPP", "%TYPE OPP\n%TYPE OPD", "scan 2: %TYPE found a second time"),
        ("$ENOF", "$WHAT", "'$WHAT' found, expected $STOM, $ENOM, $ENOF"),
        ("%TYPE OPP", "TYPE OPP", "'TYPE OPP' found, expected a line that begins with $, %, < or #"),
        ("<+090.0 +000.0 +100.0 +000.0>", "<+090.0 +000.0 +100.0>", "expected <x y z dose> with four numbers"),
        ("<+090.0 +000.0 +100.0 +000.0>", "<+090,0 +000,0 +100,0 +000,0>", "expected <x y z dose> with four numbers"),
        ("<+090.0 +000.0 +100.0 +000.0>", "<+090.0 +000.0 +100.0 nan>", "expected <x y z dose> with four numbers"),
    ],
)
def test_broken_syntax_is_refused_by_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = write(tmp_path, depth_dose_scan(), profile_scan())
    text = path.read_text(encoding="latin-1")
    assert old in text
    path.write_bytes(text.replace(old, new).encode("latin-1"))
    with pytest.raises(InputError) as error:
        read_w2cad(path)
    assert str(error.value).startswith("beam.asc, line ")
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no scan found"),
        (b"$NUMS 0\n$ENOF\n", "no scan found"),
        (b"$STOM\n%TYPE OPP\n$ENOM\n", "no row of data found"),
        (b"$STOM\0", "binary content found"),
        (b"<1 2 3 4>\n", "a row of data found outside of a scan"),
    ],
)
def test_a_file_that_is_no_w2cad_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "beam.asc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_w2cad(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"beam\.asc: not found in"):
        read_w2cad(tmp_path / "beam.asc")


@pytest.mark.parametrize(
    ("content", "expected"),
    [("# x\n\n$NUMS 1\n", True), ("$STOM\n", True), ("# machine: x\nquantity,value\n", False), ("", False)],
)
def test_w2cad_is_known_by_its_first_line(tmp_path: Path, content: str, expected: bool) -> None:
    path = tmp_path / "beam.txt"
    path.write_text(content, encoding="utf-8")
    assert is_w2cad(path) is expected
