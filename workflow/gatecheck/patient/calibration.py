"""CT number to mass density: Schneider 2000, or a site's own curve."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.errors import InputError
from gatecheck.files import sha256_of_file
from gatecheck.patient.composition import HIGHEST_DENSITY, composition_number_of_density

FloatArray = npt.NDArray[np.floating]

AIR_CT_NUMBER = -1000.0
AIR_DENSITY = 1.20479e-3
"""Dry air at 20 degrees Celsius and 101.325 kPa, g/cm3 (ICRU report 37; Geant4's G4_AIR)."""

SCHNEIDER_HIGHEST_COMPOSITION = 1600.0
"""End of Schneider's table of compositions; above it the densest bone's is kept."""

SCHNEIDER_HIGHEST_DENSITY = 3000.0
"""End of the density line here: 2.79 g/cm3, near that of tooth enamel (2.9). What is beyond is metal."""

CSV_HEADER = ("ct_number", "density_g_cm3")
CSV_CT_NUMBERS = (-1100.0, 40_000.0)
CSV_DENSITIES = (0.0, HIGHEST_DENSITY)
CSV_LARGEST_DENSITY_OF_AIR = 0.1
CSV_DENSITIES_OF_WATER = (0.9, 1.1)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A piecewise linear curve from CT number to mass density.

    Attributes
    ----------
    ct_numbers, densities : ndarray of shape (n_nodes,)
        Nodes by increasing CT number; density in g/cm3. A step is two nodes one float apart.
    description : str
        What it is and where from, for the record.
    composition_from_density : bool
        True: Schneider's composition is looked up by density (the site's CT numbers are not those
        of Schneider's scanner). False: by CT number.
    warn_above : float
        CT number above which voxels are counted for a warning.
    """

    ct_numbers: FloatArray
    densities: FloatArray
    description: str
    composition_from_density: bool
    warn_above: float

    @property
    def lowest(self) -> float:
        """CT number of the first node."""
        return float(self.ct_numbers[0])

    @property
    def highest(self) -> float:
        """CT number of the last node."""
        return float(self.ct_numbers[-1])

    def density(self, ct_number: float | npt.NDArray[np.number]) -> npt.NDArray[np.float32]:
        """Mass density in g/cm3; CT numbers beyond the curve take the density of its end."""
        density: npt.NDArray[np.float32] = np.interp(np.asarray(ct_number), self.ct_numbers, self.densities).astype(
            np.float32
        )
        return density

    def composition_number(
        self, ct_number: npt.NDArray[np.number], density: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """The CT number of Schneider's table whose composition the matter has."""
        if self.composition_from_density:
            return composition_number_of_density(density)
        clipped: npt.NDArray[np.float32] = np.clip(ct_number, AIR_CT_NUMBER, self.highest).astype(np.float32)
        return clipped


def schneider_2000() -> Calibration:
    """Mass density of Schneider, Bortfeld and Schlegel, Phys. Med. Biol. 45 (2000) 459-478.

    Linear from air (1.21e-3 g/cm3 at -1000) to adipose tissue at -98, then the paper's equations

    - 1.018 + 0.893e-3 H for -98 <= H <= 14 (eq. 21),
    - 1.030 for 14 < H <= 23,
    - 1.003 + 1.169e-3 H for 23 < H <= 100,
    - 1.017 + 0.592e-3 H for H > 100 (skeletal tissue), up to 3000 here.

    The paper's own step down at H = 100, from connective tissue (1.120) to bone marrow (1.076
    g/cm3), is kept.
    """
    nodes = [
        (-1000.0, 1.21e-3),
        (-98.0, 1.018 - 0.893e-3 * 98),
        (14.0, 1.018 + 0.893e-3 * 14),
        (math.nextafter(14.0, 15.0), 1.030),
        (23.0, 1.030),
        (math.nextafter(23.0, 24.0), 1.003 + 1.169e-3 * 23),
        (100.0, 1.003 + 1.169e-3 * 100),
        (math.nextafter(100.0, 101.0), 1.017 + 0.592e-3 * 100),
        (SCHNEIDER_HIGHEST_DENSITY, 1.017 + 0.592e-3 * SCHNEIDER_HIGHEST_DENSITY),
    ]
    ct_numbers, densities = np.array(nodes).T
    return Calibration(
        ct_numbers=ct_numbers,
        densities=densities,
        description="Schneider, Bortfeld, Schlegel, Phys. Med. Biol. 45 (2000) 459-478: density and composition",
        composition_from_density=False,
        warn_above=SCHNEIDER_HIGHEST_COMPOSITION,
    )


def read_calibration(path: Path | None) -> Calibration:
    """A site's own calibration from a CSV of `ct_number,density_g_cm3`, or Schneider 2000 without one.

    Density is linear between the rows; composition is Schneider's at that density.

    Raises
    ------
    InputError
        When the header, a number, the order or the range is not as expected; the message names the row.
    """
    if path is None:
        return schneider_2000()
    ct_numbers, densities = _read_rows(path)
    _check_order(ct_numbers, densities)
    _check_plausible(ct_numbers, densities)
    return Calibration(
        ct_numbers=ct_numbers,
        densities=densities,
        description=(
            f"calibration of the site, {len(ct_numbers)} rows, SHA-256 {sha256_of_file(path)[:16]}: density; "
            "Schneider, Bortfeld, Schlegel, Phys. Med. Biol. 45 (2000) 459-478: composition at that density"
        ),
        composition_from_density=True,
        warn_above=float(ct_numbers[-1]),
    )


def _refuse(what: str) -> InputError:
    return InputError(f"patient.ct_calibration: {what}")


def _read_rows(path: Path) -> tuple[FloatArray, FloatArray]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _refuse(f"the file cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise _refuse("not a text file in UTF-8.") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if _has_content(line)]
    if not lines:
        raise _refuse(f"the file is empty; expected the header {','.join(CSV_HEADER)} and at least two rows.")
    header = tuple(cell.strip() for cell in next(csv.reader([lines[0][1]])))
    if header != CSV_HEADER:
        raise _refuse(f"header {','.join(header)!r} found, expected {','.join(CSV_HEADER)}.")
    rows = [_row(number, line) for number, line in lines[1:]]
    if len(rows) < 2:
        raise _refuse(f"{len(rows)} row(s) found below the header, expected at least 2.")
    ct_numbers, densities = np.array(rows, dtype=np.float64).T
    return ct_numbers, densities


def _has_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _row(number: int, line: str) -> tuple[float, float]:
    cells = next(csv.reader([line]))
    try:
        ct_number, density = (float(cell) for cell in cells)
    except ValueError:
        raise _refuse(f"line {number}: {line.strip()!r} found, expected two numbers separated by a comma.") from None
    if not CSV_CT_NUMBERS[0] <= ct_number <= CSV_CT_NUMBERS[1]:
        raise _refuse(f"line {number}: CT number {ct_number:g} is outside {CSV_CT_NUMBERS[0]:g} to 40000.")
    if not CSV_DENSITIES[0] <= density <= CSV_DENSITIES[1]:
        raise _refuse(f"line {number}: density {density:g} is outside 0 to {CSV_DENSITIES[1]:g} g/cm3 (kg/m3 given?).")
    return ct_number, density


def _check_order(ct_numbers: FloatArray, densities: FloatArray) -> None:
    rows = np.flatnonzero(np.diff(ct_numbers) <= 0)
    if rows.size:
        i = int(rows[0])
        raise _refuse(
            f"CT number {ct_numbers[i + 1]:g} follows {ct_numbers[i]:g}; expected CT numbers that increase, each once."
        )
    rows = np.flatnonzero(np.diff(densities) < 0)
    if rows.size:
        i = int(rows[0])
        raise _refuse(
            f"density falls from {densities[i]:g} to {densities[i + 1]:g} g/cm3 between CT numbers "
            f"{ct_numbers[i]:g} and {ct_numbers[i + 1]:g}; expected densities that do not fall."
        )


def _check_plausible(ct_numbers: FloatArray, densities: FloatArray) -> None:
    """A curve of relative electron density in wrong units, or shifted by 1000, must not pass."""
    if ct_numbers[0] > -900 or densities[0] > CSV_LARGEST_DENSITY_OF_AIR:
        raise _refuse(
            f"the first row is {densities[0]:g} g/cm3 at CT number {ct_numbers[0]:g}; expected the curve to begin "
            f"with air, at most {CSV_LARGEST_DENSITY_OF_AIR:g} g/cm3 at a CT number of -900 or below."
        )
    if ct_numbers[-1] < 1000:
        raise _refuse(f"the last CT number is {ct_numbers[-1]:g}; expected the curve to reach bone, at least 1000.")
    water = float(np.interp(0.0, ct_numbers, densities))
    if not CSV_DENSITIES_OF_WATER[0] <= water <= CSV_DENSITIES_OF_WATER[1]:
        raise _refuse(f"{water:.3f} g/cm3 at CT number 0; expected {CSV_DENSITIES_OF_WATER[0]} to 1.1 (water).")
