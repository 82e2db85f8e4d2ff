"""What matter consists of: Schneider's table of compositions by CT number, and implants above bone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

ELEMENTS = ("H", "C", "N", "O", "Na", "Mg", "P", "S", "Cl", "Ar", "K", "Ca", "Ti", "Cr", "Fe", "Ni")

TITANIUM_FROM = 4000.0
STEEL_FROM = 11_000.0
"""Composition numbers of metals. They are reached through a density (an override, or a site's own curve
that goes on to metal), never by Schneider's calibration."""

TITANIUM_DENSITY_FROM = 3.0
STEEL_DENSITY_FROM = 6.0
HIGHEST_DENSITY = 9.0
"""g/cm3: above bone and tooth titanium (4.5) is meant, then stainless steel and cobalt alloys (7.8 to 8.4);
there is no composition here for what is denser (amalgam, gold)."""

_TITANIUM_NUMBER = 7500.0
_STEEL_NUMBER = 15_000.0

# Schneider, Bortfeld, Schlegel, Phys. Med. Biol. 45 (2000) 459-478, table 6: first CT number of the bin, then
# per cent by mass of H C N O Na Mg P S Cl Ar K Ca.
_SCHNEIDER = """
-1000   0    0   75.5 23.2 0   0   0    0   0   1.3 0    0
 -950 10.3 10.5  3.1 74.9 0.2 0   0.2  0.3 0.3 0   0.2  0
 -120 11.6 68.1  0.2 19.8 0.1 0   0    0.1 0.1 0   0    0
  -82 11.3 56.7  0.9 30.8 0.1 0   0    0.1 0.1 0   0    0
  -52 11.0 45.8  1.5 41.1 0.1 0   0.1  0.2 0.2 0   0    0
  -22 10.8 35.6  2.2 50.9 0   0   0.1  0.2 0.2 0   0    0
    8 10.6 28.4  2.6 57.8 0   0   0.1  0.2 0.2 0   0.1  0
   19 10.3 13.4  3.0 72.3 0.2 0   0.2  0.2 0.2 0   0.2  0
   80  9.4 20.7  6.2 62.2 0.6 0   0    0.6 0.3 0   0    0
  120  9.5 45.5  2.5 35.5 0.1 0   2.1  0.1 0.1 0   0.1  4.5
  200  8.9 42.3  2.7 36.3 0.1 0   3.0  0.1 0.1 0   0.1  6.4
  300  8.2 39.1  2.9 37.2 0.1 0   3.9  0.1 0.1 0   0.1  8.3
  400  7.6 36.1  3.0 38.0 0.1 0.1 4.7  0.2 0.1 0   0   10.1
  500  7.1 33.5  3.2 38.7 0.1 0.1 5.4  0.2 0   0   0   11.7
  600  6.6 31.0  3.3 39.4 0.1 0.1 6.1  0.2 0   0   0   13.2
  700  6.1 28.7  3.5 40.0 0.1 0.1 6.7  0.2 0   0   0   14.6
  800  5.6 26.5  3.6 40.5 0.1 0.2 7.3  0.3 0   0   0   15.9
  900  5.2 24.6  3.7 41.1 0.1 0.2 7.8  0.3 0   0   0   17.0
 1000  4.9 22.7  3.8 41.6 0.1 0.2 8.3  0.3 0   0   0   18.1
 1100  4.5 21.0  3.9 42.0 0.1 0.2 8.8  0.3 0   0   0   19.2
 1200  4.2 19.4  4.0 42.5 0.1 0.2 9.2  0.3 0   0   0   20.1
 1300  3.9 17.9  4.1 42.9 0.1 0.2 9.6  0.3 0   0   0   21.0
 1400  3.6 16.5  4.2 43.2 0.1 0.2 10.0 0.3 0   0   0   21.9
 1500  3.4 15.5  4.2 43.5 0.1 0.2 10.3 0.3 0   0   0   22.5
"""

# Stainless steel AISI 316 without its minor elements (ASTM F138: Cr 17-19, Ni 13-15 per cent by mass).
_STEEL = {"Cr": 18.0, "Fe": 68.0, "Ni": 14.0}

FIRST_BONE_BIN = 9
TITANIUM_BIN = 24
STEEL_BIN = 25


def _table() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows = np.array([line.split() for line in _SCHNEIDER.strip().splitlines()], dtype=np.float64)
    firsts = np.concatenate([rows[:, 0], [TITANIUM_FROM, STEEL_FROM]])
    fractions = np.zeros((len(firsts), len(ELEMENTS)))
    fractions[: len(rows), : rows.shape[1] - 1] = rows[:, 1:]
    fractions[TITANIUM_BIN, ELEMENTS.index("Ti")] = 1.0
    for element, share in _STEEL.items():
        fractions[STEEL_BIN, ELEMENTS.index(element)] = share
    # The paper's rows are rounded to 0.1 %; some sum to 99.9 or 100.1.
    return firsts, fractions / fractions.sum(axis=1, keepdims=True)


FIRST_CT_NUMBERS, MASS_FRACTIONS = _table()
"""First CT number of each bin, and its mass fractions (n_bins, n_elements), each row summing to 1."""


def composition_bin(composition_number: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Row of MASS_FRACTIONS for a CT number (below the first bin: air)."""
    bins = np.searchsorted(FIRST_CT_NUMBERS, composition_number, side="right") - 1
    return np.clip(bins, 0, None).astype(np.uint8)


def composition_number_of_density(density: float | npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """The CT number of Schneider's table at which matter has a density in g/cm3.

    Between 1.076 and 1.120 g/cm3 both connective tissue and bone marrow are possible (Schneider's
    curve steps down at CT number 100); soft tissue is taken. Above 3 g/cm3 titanium is taken,
    above 6 g/cm3 stainless steel.
    """
    # Ends of the pieces of Schneider's curve (see calibration.py), as CT number by density.
    water_like, connective = 1.030, 1.1199
    nodes = [
        (1.21e-3, -1000.0),
        (0.930486, -98.0),
        (water_like, (water_like - 1.018) / 0.893e-3),
        (math.nextafter(water_like, 2.0), (water_like - 1.003) / 1.169e-3),
        (connective, 100.0),
        (math.nextafter(connective, 2.0), (connective - 1.017) / 0.592e-3),
        (2.793, 3000.0),
    ]
    densities, numbers = np.array(nodes).T
    given = np.asarray(density)
    number = np.interp(given, densities, numbers)
    number = np.where(given >= TITANIUM_DENSITY_FROM, _TITANIUM_NUMBER, number)
    return np.where(given >= STEEL_DENSITY_FROM, _STEEL_NUMBER, number).astype(np.float32)
