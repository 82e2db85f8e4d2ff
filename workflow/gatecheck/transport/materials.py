"""Materials as Geant4 needs them: mass fractions, density and mean excitation energy."""

from __future__ import annotations

import math

from gatecheck.patient.model import Material

WATER_FRACTIONS = {"H": 0.111894, "O": 0.888106}
AIR_FRACTIONS = {"C": 0.000124, "N": 0.755267, "O": 0.231781, "Ar": 0.012827}

# Mean excitation energy of liquid water, eV: ICRU Report 90 (2016), table 4.1.
_WATER_EXCITATION_ENERGY = 78.0

# Mean excitation energies of elements as constituents of liquids and solids, eV: ICRU Report 37
# (1984), table 5.1. Elements not listed: 1.13 times the value of the element (same table).
_CONDENSED_EXCITATION_ENERGY = {"H": 19.2, "C": 81.0, "N": 82.0, "O": 106.0, "F": 112.0, "Cl": 180.0}
_CONDENSED_FACTOR = 1.13

# Of the elements that are gases, and carbon: what Geant4 has, eV (ICRU Report 37, table 4.3).
_GAS_EXCITATION_ENERGY = {"H": 19.2, "C": 81.0, "N": 82.0, "O": 95.0, "F": 115.0, "Cl": 174.0}

# Mean excitation energies of the elements, eV: ICRU Report 37 (1984), table 4.3.
_ELEMENT_EXCITATION_ENERGY = {
    "Na": 149.0, "Mg": 156.0, "Al": 166.0, "Si": 173.0, "P": 173.0, "S": 180.0, "Ar": 188.0, "K": 190.0,
    "Ca": 191.0, "Ti": 233.0, "Cr": 257.0, "Mn": 272.0, "Fe": 286.0, "Co": 297.0, "Ni": 311.0, "Cu": 322.0,
    "Zn": 330.0, "Br": 357.0, "Sr": 366.0, "Ag": 470.0, "Sn": 488.0, "I": 491.0, "Ba": 491.0, "Au": 790.0,
    "W": 727.0, "Pt": 790.0, "Pb": 823.0,
}  # fmt: skip

_ATOMIC_NUMBER_AND_MASS = {
    "H": (1, 1.008), "C": (6, 12.011), "N": (7, 14.007), "O": (8, 15.999), "F": (9, 18.998), "Na": (11, 22.990),
    "Mg": (12, 24.305), "Al": (13, 26.982), "Si": (14, 28.085), "P": (15, 30.974), "S": (16, 32.06),
    "Cl": (17, 35.45), "Ar": (18, 39.948), "K": (19, 39.098), "Ca": (20, 40.078), "Ti": (22, 47.867),
    "Cr": (24, 51.996), "Mn": (25, 54.938), "Fe": (26, 55.845), "Co": (27, 58.933), "Ni": (28, 58.693),
    "Cu": (29, 63.546), "Zn": (30, 65.38), "Br": (35, 79.904), "Sr": (38, 87.62), "Ag": (47, 107.868),
    "Sn": (50, 118.71), "I": (53, 126.904), "Ba": (56, 137.327), "W": (74, 183.84), "Pt": (78, 195.084),
    "Au": (79, 196.967), "Pb": (82, 207.2),
}  # fmt: skip

# Below this density, g/cm3, a material is a gas, for which Geant4's own values of the elements hold.
_GAS_BELOW = 0.05


def mean_excitation_energy(material: Material) -> float | None:
    """Mean excitation energy of a material in eV, or None where Geant4's own value is kept.

    Bragg's rule over the constituents, ln I = sum(w Z/A ln I) / sum(w Z/A), with the constituents'
    values in condensed matter (ICRU Report 37, equation 5.1 and table 5.1); liquid water by ICRU
    Report 90. Geant4 would take the gases' values of hydrogen to oxygen, 69 eV for water.
    """
    if material.density < _GAS_BELOW:
        return None
    if _is_water(material.mass_fractions):
        return _WATER_EXCITATION_ENERGY
    if not set(material.mass_fractions) <= set(_ATOMIC_NUMBER_AND_MASS):
        return None
    return mean_excitation_energy_of(material.mass_fractions)


def mean_excitation_energy_of(mass_fractions: dict[str, float]) -> float:
    """Of elements bound in condensed matter, by Bragg's rule, eV.

    Raises
    ------
    KeyError
        For an element that is not known.
    """
    condensed = {symbol: _CONDENSED_FACTOR * energy for symbol, energy in _ELEMENT_EXCITATION_ENERGY.items()}
    return _by_braggs_rule(mass_fractions, condensed | _CONDENSED_EXCITATION_ENERGY)


def mean_excitation_energy_in_geant4(material: Material) -> float:
    """As a simulation has it: `mean_excitation_energy`, and of gases Geant4's own by Bragg's rule, eV.

    Raises
    ------
    KeyError
        For an element that is not known.
    """
    energy = mean_excitation_energy(material)
    return mean_excitation_energy_of_geant4(material) if energy is None else energy


def mean_excitation_energy_of_geant4(material: Material) -> float:
    """Geant4's own, before it is given another: by Bragg's rule, eV, of its elements, some of which are gases.

    Raises
    ------
    KeyError
        For an element that is not known.
    """
    return _by_braggs_rule(material.mass_fractions, _GAS_EXCITATION_ENERGY | _ELEMENT_EXCITATION_ENERGY)


def _by_braggs_rule(mass_fractions: dict[str, float], energies: dict[str, float]) -> float:
    weighted = total = 0.0
    for symbol, fraction in mass_fractions.items():
        number, mass = _ATOMIC_NUMBER_AND_MASS[symbol]
        electrons = fraction * number / mass
        weighted += electrons * math.log(energies[symbol])
        total += electrons
    return math.exp(weighted / total)


def atomic_number_and_mass(symbol: str) -> tuple[int, float]:
    """Of an element; the mass in g/mol.

    Raises
    ------
    KeyError
        For an element that is not known.
    """
    return _ATOMIC_NUMBER_AND_MASS[symbol]


def is_liquid_water(material: Material) -> bool:
    """Whether a material is water of unit density."""
    return abs(material.density - 1.0) < 1e-6 and _is_water(material.mass_fractions)


def _is_water(fractions: dict[str, float]) -> bool:
    symbols = set(fractions) | set(WATER_FRACTIONS)
    return all(abs(fractions.get(symbol, 0.0) - WATER_FRACTIONS.get(symbol, 0.0)) < 1e-3 for symbol in symbols)


def water(label: int = 0, density: float = 1.0) -> Material:
    """Liquid water."""
    return Material(label=label, name="water", density=density, mass_fractions=WATER_FRACTIONS)


def air(label: int = 0) -> Material:
    """Dry air at sea level (ICRU Report 37)."""
    return Material(label=label, name="air", density=0.00120479, mass_fractions=AIR_FRACTIONS)
