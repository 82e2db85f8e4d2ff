"""Published interaction data of photons and electrons in water, and the thickness laws of a 6 MV head.

A planning system's own physics: nothing here is shared with the Monte Carlo path.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ELECTRON_REST_ENERGY = 0.51099895  # MeV, CODATA 2018
_CLASSICAL_ELECTRON_RADIUS_SQUARED = 7.940787e-26  # cm2, CODATA 2018
_AVOGADRO = 6.02214076e23
_ELECTRONS_PER_GRAM_OF_WATER = 3.3428e23

# Hubbell and Seltzer, NISTIR 5632 (1995), tables 3 and 4: mass attenuation coefficients with coherent
# scattering, cm2/g, at these energies in MeV.
PHOTON_ENERGY = np.array([
    0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8,
    1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0,
])  # fmt: skip
WATER_ATTENUATION = np.array([
    5.329, 1.673, 0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505, 0.1370, 0.1186, 0.1061, 0.09687,
    0.08956, 0.07865, 0.07072, 0.06323, 0.05754, 0.04942, 0.03969, 0.03403, 0.03031, 0.02770,
])  # fmt: skip
_HEAD_ENERGY = PHOTON_ENERGY[8:]
_TUNGSTEN_ATTENUATION = np.array([
    4.438, 1.581, 0.7844, 0.3238, 0.1925, 0.1378, 0.1093, 0.08066, 0.06618, 0.05577, 0.05000, 0.04433, 0.04075,
    0.04038, 0.04103, 0.04210,
])  # fmt: skip
_ALUMINIUM_ATTENUATION = np.array([
    0.1704, 0.1378, 0.1223, 0.1042, 0.09276, 0.08445, 0.07802, 0.06841, 0.06146, 0.05496, 0.05006, 0.04324, 0.03541,
    0.03106, 0.02836, 0.02655,
])  # fmt: skip

# NIST ESTAR (NISTIR 4999), liquid water: total and radiative mass stopping power, MeV cm2/g, at MeV.
ELECTRON_ENERGY = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0])
COLLISION_STOPPING_POWER = np.array([
    22.56, 13.17, 6.603, 4.115, 2.793, 2.355, 2.034, 1.917, 1.849, 1.822, 1.824, 1.846, 1.870, 1.892, 1.911,
])  # fmt: skip
RADIATIVE_STOPPING_POWER = np.array([
    0.0039, 0.0040, 0.0040, 0.0042, 0.0046, 0.0052, 0.0066, 0.0084, 0.0128, 0.0199, 0.0288, 0.0487, 0.0703, 0.0928,
    0.1166,
])  # fmt: skip

# Ali and Rogers, Phys. Med. Biol. 57 (2012) 31, equation 12 and their fit to a Varian Clinac 6 MV beam.
_TUNGSTEN_CM, _ALUMINIUM_CM, _SHAPE, _ELECTRON_ENERGY = 1.222, 5.147, -1.186, 5.76


def _log_interpolated(energy: npt.ArrayLike, at: FloatArray, values: FloatArray) -> FloatArray:
    interpolated: FloatArray = np.exp(np.interp(np.log(np.asarray(energy, dtype=float)), np.log(at), np.log(values)))
    return interpolated


def water_attenuation(energy: npt.ArrayLike) -> FloatArray:
    """Mass attenuation coefficient of water, cm2/g, at photon energies in MeV."""
    return _log_interpolated(energy, PHOTON_ENERGY, WATER_ATTENUATION)


def tungsten_attenuation(energy: npt.ArrayLike) -> FloatArray:
    """Mass attenuation coefficient of tungsten, cm2/g, at photon energies from 0.1 MeV."""
    return _log_interpolated(energy, _HEAD_ENERGY, _TUNGSTEN_ATTENUATION)


def clinac_spectrum(energy: FloatArray) -> FloatArray:
    """Photons per energy of a Varian 6 MV beam on its axis, in any unit (Ali and Rogers 2012, equation 12).

    Their equation is the energy fluence of a thin target behind tungsten of c1² and aluminium of c2², g/cm2.
    """
    electron = _ELECTRON_ENERGY
    thin_target = (1 + _SHAPE * energy / electron + (energy / electron) ** 2) * (
        np.log(electron * (electron - energy) / energy + 1.65) - 0.5
    )
    filtered = np.exp(
        -(_TUNGSTEN_CM**2) * tungsten_attenuation(energy)
        - _ALUMINIUM_CM**2 * _log_interpolated(energy, _HEAD_ENERGY, _ALUMINIUM_ATTENUATION)
    )
    photons: FloatArray = np.maximum(thin_target, 0.0) * filtered / energy
    return photons


def klein_nishina(energy: FloatArray) -> FloatArray:
    """Incoherent attenuation of free electrons in water, cm2/g (Evans, The Atomic Nucleus (1955), page 684)."""
    k = energy / ELECTRON_REST_ENERGY
    log = np.log1p(2 * k)
    per_electron = (
        (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - log / k) + log / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2
    )
    attenuation: FloatArray = (
        2 * math.pi * _CLASSICAL_ELECTRON_RADIUS_SQUARED * per_electron * _ELECTRONS_PER_GRAM_OF_WATER
    )
    return attenuation


_HARD_COLLISIONS = 20.0  # in one transport mean free path; what they leave is a hundredth of a radian or two
_HYDROGEN_AND_OXYGEN = ((0.111894, 1, 1.008), (0.888106, 8, 15.999))  # share of water's mass, number, atomic mass


class Elastic(NamedTuple):
    """Elastic scattering of electrons in water, each of shape (n_energies,).

    The variable is m = (1 - cos θ) / 2. Below `cut` collisions are soft and taken together; each above it is hard. The
    cross-section is K / (m + screening)², times a chance that `is_allowed` of a collision found by it.

    Attributes
    ----------
    soft : ndarray
        Rate at which <1 - cos θ> grows by soft collisions, cm2/g.
    hard : ndarray
        Rate of hard collisions, allowed or not, cm2/g.
    screening, cut : ndarray
    by_electrons : ndarray
        Share of collisions with atomic electrons.
    farthest : ndarray
        The largest m in those: beyond, the other electron would go on with more than half of the energy.
    squared_speed : ndarray
        β², of which collisions with nuclei lose the share m.
    """

    soft: FloatArray
    hard: FloatArray
    screening: FloatArray
    cut: FloatArray
    by_electrons: FloatArray
    farthest: FloatArray
    squared_speed: FloatArray


def elastic(energy: FloatArray) -> Elastic:
    """Scattering on water's nuclei and electrons at kinetic energies in MeV.

    Screened Rutherford cross-sections with Molière's screening angle (Kawrakow and Bielajew, Nucl. Instrum. Methods B
    134 (1998) 325, equation 6), for nuclei with Mott's factor for light ones, 1 - β² sin²(θ/2) (McKinley and Feshbach,
    Phys. Rev. 74 (1948) 1759, leading term), for electrons up to the angle at which they share the energy evenly.
    """
    tau = energy / ELECTRON_REST_ENERGY
    squared_speed = tau * (tau + 2) / (tau + 1) ** 2
    nuclei = sum(share / mass * number**2 for share, number, mass in _HYDROGEN_AND_OXYGEN)
    electrons = sum(share / mass * number for share, number, mass in _HYDROGEN_AND_OXYGEN)
    log_screening = np.zeros_like(energy)
    for share, number, mass in _HYDROGEN_AND_OXYGEN:
        unscreened = number ** (1 / 3) / (0.885 * 137.036 * np.sqrt(squared_speed) * (tau + 1))
        squared_angle = unscreened**2 * (1.13 + 3.76 * (number / 137.036) ** 2 / squared_speed)
        log_screening += share / mass * number * (number + 1) * np.log(0.25 * squared_angle) / (nuclei + electrons)
    screening = np.exp(log_screening)
    rate = (
        math.pi * _AVOGADRO * _CLASSICAL_ELECTRON_RADIUS_SQUARED
        * ((tau + 1) / (tau * (tau + 2))) ** 2 * (nuclei + electrons)
    )  # fmt: skip
    unrestricted = 2 * (np.log1p(1 / screening) - 1 / (1 + screening))
    hard = _HARD_COLLISIONS * unrestricted
    cut = 1 / (hard + 1 / (1 + screening)) - screening
    log, share_below = np.log1p(cut / screening), cut / (cut + screening)
    by_electrons = electrons / (nuclei + electrons)
    lost = (1 - by_electrons) * squared_speed * (cut - 2 * screening * log + screening * share_below)
    # Even shares of the energy: sin² θ = 2 / (τ + 4) for both.
    farthest = (1 - np.sqrt(1 - 2 / (tau + 4))) / 2
    return Elastic(
        soft=rate * 2 * (log - share_below - lost),
        hard=rate * hard,
        screening=screening,
        cut=cut,
        by_electrons=np.full_like(energy, by_electrons),
        farthest=farthest,
        squared_speed=squared_speed,
    )
