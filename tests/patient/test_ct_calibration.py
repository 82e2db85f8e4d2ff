"""CT number to density and composition: published values, a site's own curve, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gatecheck.errors import InputError
from gatecheck.patient.calibration import read_calibration, schneider_2000
from gatecheck.patient.composition import (
    ELEMENTS,
    FIRST_CT_NUMBERS,
    MASS_FRACTIONS,
    STEEL_BIN,
    TITANIUM_BIN,
    composition_bin,
    composition_number_of_density,
)

GOOD_ROWS = "-1000,0.0012\n0,1.0\n1000,1.6\n2000,2.2\n"


def _opengate_table(name: str) -> list[list[str]]:
    """A table that opengate ships, read without importing it (the import may start a download)."""
    specification = importlib.util.find_spec("opengate")
    assert specification is not None
    assert specification.origin is not None
    lines = (Path(specification.origin).parent / "data" / name).read_text().splitlines()
    return [line.split() for line in lines if line.strip() and line.split()[0].lstrip("-").isdigit()]


def _csv(tmp_path: Path, rows: str, header: str = "ct_number,density_g_cm3\n") -> Path:
    path = tmp_path / "curve.csv"
    path.write_text(header + rows)
    return path


@pytest.mark.parametrize(
    ("ct_number", "density"),
    [
        (-1000, 0.00121),  # air
        (-98, 0.9305),  # adipose tissue 3
        (-50, 1.018 + 0.893e-3 * -50),
        (0, 1.018),
        (20, 1.030),
        (50, 1.003 + 1.169e-3 * 50),
        (100, 1.1199),  # end of connective tissue
        (101, 1.0768),  # start of the skeletal line
        (1524, 1.9192),  # cortical bone: 1.92 g/cm3 in ICRU report 46
    ],
)
def test_density_follows_the_equations_of_schneider_2000(ct_number: float, density: float) -> None:
    assert schneider_2000().density(ct_number) == pytest.approx(density, abs=1e-4)


def test_density_agrees_with_the_table_that_opengate_ships_for_schneider_2000() -> None:
    # opengate's nodes are rounded to 0.001 g/cm3, and lie on a line of their own beyond 1600.
    rows = [(float(h), float(d)) for h, d in _opengate_table("Schneider2000DensitiesTable.txt") if float(h) <= 1600]
    assert len(rows) == 8
    for ct_number, density in rows:
        assert schneider_2000().density(ct_number) == pytest.approx(density, abs=0.0015)


def test_compositions_agree_with_the_table_that_opengate_ships_for_schneider_2000() -> None:
    rows = _opengate_table("Schneider2000MaterialsTable.txt")[:24]
    symbols = ["H", "C", "N", "O", "Na", "Mg", "P", "S", "Cl", "Ar", "K", "Ca"]
    for index, row in enumerate(rows):
        weights = np.array([float(value) for value in row[1:13]])
        ours = [MASS_FRACTIONS[index][ELEMENTS.index(symbol)] for symbol in symbols]
        np.testing.assert_allclose(ours, weights / weights.sum(), atol=1e-12)
        if index:
            assert float(row[0]) == FIRST_CT_NUMBERS[index]


def test_mass_fractions_of_every_bin_sum_to_one() -> None:
    np.testing.assert_allclose(MASS_FRACTIONS.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize(
    ("ct_number", "calcium"), [(79, 0.0), (119, 0.0), (120, 0.045), (199, 0.045), (200, 0.064), (1600, 0.225)]
)
def test_a_bin_of_compositions_begins_at_its_first_ct_number(ct_number: float, calcium: float) -> None:
    fractions = MASS_FRACTIONS[composition_bin(ct_number)]
    assert fractions[ELEMENTS.index("Ca")] == pytest.approx(calcium, abs=0.001)


def test_ct_numbers_below_air_are_air_and_beyond_the_line_keep_its_end() -> None:
    calibration = schneider_2000()
    assert calibration.density(-3024) == calibration.density(-1000)
    assert calibration.density(30_000) == pytest.approx(2.793)


@pytest.mark.parametrize("density", [0.3, 0.95, 1.02, 1.06, 1.1, 1.2, 1.5, 1.9])
def test_the_composition_of_a_density_has_that_density_on_schneiders_curve(density: float) -> None:
    number = composition_number_of_density(density)
    assert schneider_2000().density(number) == pytest.approx(density, abs=0.001)


def test_densities_above_bone_are_titanium_then_steel() -> None:
    assert composition_bin(composition_number_of_density(4.5)) == TITANIUM_BIN
    assert composition_bin(composition_number_of_density(7.9)) == STEEL_BIN


def test_a_sites_curve_is_linear_between_its_rows(tmp_path: Path) -> None:
    calibration = read_calibration(_csv(tmp_path, "# scanner 1\n" + GOOD_ROWS))
    np.testing.assert_allclose(calibration.density(np.array([-500, 0, 500])), [0.5006, 1.0, 1.3], atol=1e-6)
    assert "4 rows" in calibration.description


def test_a_sites_curve_takes_composition_by_density(tmp_path: Path) -> None:
    calibration = read_calibration(_csv(tmp_path, GOOD_ROWS))
    ct_numbers = np.array([1000.0])
    number = calibration.composition_number(ct_numbers, calibration.density(ct_numbers))
    # 1.6 g/cm3 lies at (1.6 - 1.017) / 0.592e-3 on Schneider's curve, not at 1000.
    assert number[0] == pytest.approx(984.8, abs=0.5)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("HU,density\n", GOOD_ROWS, "header 'HU,density' found"),
        ("", "", "is empty"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n", "1 row"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n0;1.0\n", "line 3"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n0,1.0,5\n", "line 3"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n0,nan\n1500,2\n", "line 3"),
        ("ct_number,density_g_cm3\n", "-1000,1.2\n0,1000\n1500,1900\n", "kg/m3"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n500,1.2\n0,1.0\n1500,2\n", "CT number 0 follows 500"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n0,1.0\n0,1.1\n1500,2\n", "CT number 0 follows 0"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n0,1.0\n500,0.9\n1500,2\n", "density falls"),
        ("ct_number,density_g_cm3\n", "0,0.001\n1000,1.0\n3000,2.5\n", "begin with air"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n0,1.0\n500,1.3\n", "reach bone"),
        ("ct_number,density_g_cm3\n", "-1000,0.001\n0,0.7\n1500,2.0\n", "at CT number 0"),
    ],
)
def test_a_curve_that_cannot_be_meant_is_refused_naming_the_key(
    tmp_path: Path, header: str, rows: str, message: str
) -> None:
    with pytest.raises(InputError, match=r"patient\.ct_calibration") as caught:
        read_calibration(_csv(tmp_path, rows, header))
    assert message in str(caught.value)
