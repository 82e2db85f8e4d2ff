"""Photon attenuation in the head's metals.

Total mass attenuation coefficients are NIST's (Hubbell and Seltzer, NISTIR 5632, 1995). Coherent
scattering, which hardly turns a photon at these energies, is not counted as removal: it is taken off
with xraylib's cross sections, continued above 0.8 MeV by their 1/E^2 asymptote.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import xraylib

from gatecheck.linac.model import Alloy

FloatArray = npt.NDArray[np.float64]

ELECTRON_REST_ENERGY = 0.51099895  # MeV, CODATA 2018
CLASSICAL_ELECTRON_RADIUS = 2.8179403262e-13  # cm, CODATA 2018
AVOGADRO = 6.02214076e23  # 1/mol, exact

LOWEST_ENERGY = 0.1  # MeV: above all K edges, of which tungsten's 0.0695 MeV is the highest
_HIGHEST_COHERENT_ENERGY = 0.8  # MeV, where xraylib's tables end

_NIST_ENERGY = np.array(
    [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0]
)
# cm2/g
# fmt: off
_NIST_TOTAL = {
    "Al": (
        0.1704, 0.1378, 0.1223, 0.1042, 0.09276, 0.08445, 0.07802, 0.06841, 0.06146, 0.05496,
        0.05006, 0.04324, 0.03541, 0.03106, 0.02836, 0.02655, 0.02437, 0.02318, 0.02195, 0.02168,
    ),
    "Fe": (
        0.3717, 0.1964, 0.146, 0.1099, 0.094, 0.08414, 0.07704, 0.06699, 0.05995, 0.0535,
        0.04883, 0.04265, 0.03621, 0.03312, 0.03146, 0.03057, 0.02991, 0.02994, 0.03092, 0.03224,
    ),
    "Ni": (
        0.444, 0.2208, 0.1582, 0.1154, 0.09765, 0.08698, 0.07944, 0.06891, 0.0616, 0.05494,
        0.05015, 0.04387, 0.03745, 0.03444, 0.03289, 0.0321, 0.03164, 0.03185, 0.0332, 0.03476,
    ),
    "Cu": (
        0.4584, 0.2217, 0.1559, 0.1119, 0.09413, 0.08362, 0.07625, 0.06605, 0.05901, 0.05261,
        0.04803, 0.04205, 0.03599, 0.03318, 0.03177, 0.03108, 0.03074, 0.03103, 0.03247, 0.03408,
    ),
    "W": (
        4.438, 1.581, 0.7844, 0.3238, 0.1925, 0.1378, 0.1093, 0.08066, 0.06618, 0.05577,
        0.05, 0.04433, 0.04075, 0.04038, 0.04103, 0.0421, 0.04472, 0.04747, 0.05384, 0.05893,
    ),
}
# fmt: on
_ATOMIC_NUMBER = {"Al": 13, "Fe": 26, "Ni": 28, "Cu": 29, "W": 74}


def mass_attenuation(element: str, energy: npt.ArrayLike) -> FloatArray:
    """Total mass attenuation coefficient, coherent scattering included, cm2/g.

    Parameters
    ----------
    element : str
        Al, Fe, Ni, Cu or W.
    energy : array_like
        MeV, from 0.1 to 20; log-log interpolation between NIST's energies.
    """
    values = np.asarray(energy, dtype=float)
    if np.any((values < _NIST_ENERGY[0]) | (values > _NIST_ENERGY[-1])):
        raise ValueError("attenuation is tabulated from 0.1 to 20 MeV")
    result: FloatArray = np.exp(np.interp(np.log(values), np.log(_NIST_ENERGY), np.log(_NIST_TOTAL[element])))
    return result


@functools.cache
def _coherent_table(element: str) -> tuple[FloatArray, FloatArray]:
    energy = np.geomspace(LOWEST_ENERGY, _HIGHEST_COHERENT_ENERGY, 40)
    energy[-1] = _HIGHEST_COHERENT_ENERGY
    number = _ATOMIC_NUMBER[element]
    return energy, np.array([xraylib.CS_Rayl(number, 1000 * e) for e in energy])


def coherent_mass_attenuation(element: str, energy: npt.ArrayLike) -> FloatArray:
    """Coherent (Rayleigh) part of `mass_attenuation`, cm2/g."""
    values = np.asarray(energy, dtype=float)
    table_energy, table = _coherent_table(element)
    inside = np.exp(np.interp(np.log(values), np.log(table_energy), np.log(table)))
    result: FloatArray = np.where(
        values > table_energy[-1], table[-1] * (table_energy[-1] / np.maximum(values, LOWEST_ENERGY)) ** 2, inside
    )
    return result


def klein_nishina_per_electron(energy: npt.ArrayLike) -> FloatArray:
    """Total Klein-Nishina cross section of a free electron, cm2 (Klein and Nishina 1929)."""
    a = np.asarray(energy, dtype=float) / ELECTRON_REST_ENERGY
    log = np.log(1 + 2 * a)
    first = (1 + a) / a**2 * (2 * (1 + a) / (1 + 2 * a) - log / a)
    result: FloatArray = (
        2 * np.pi * CLASSICAL_ELECTRON_RADIUS**2 * (first + log / (2 * a) - (1 + 3 * a) / (1 + 2 * a) ** 2)
    )
    return result


def removal_coefficient(alloy: Alloy, energy: npt.ArrayLike) -> FloatArray:
    """Linear attenuation coefficient without coherent scattering, 1/mm."""
    per_gram = sum(
        fraction * (mass_attenuation(element, energy) - coherent_mass_attenuation(element, energy))
        for element, fraction in alloy.mass_fractions.items()
    )
    return np.asarray(per_gram * alloy.density / 10)


def compton_coefficient(alloy: Alloy, energy: npt.ArrayLike) -> FloatArray:
    """Linear coefficient of Compton scattering off free electrons, 1/mm."""
    electrons_per_gram = sum(
        fraction * AVOGADRO * _ATOMIC_NUMBER[element] / xraylib.AtomicWeight(_ATOMIC_NUMBER[element])
        for element, fraction in alloy.mass_fractions.items()
    )
    return np.asarray(klein_nishina_per_electron(energy) * electrons_per_gram * alloy.density / 10)
