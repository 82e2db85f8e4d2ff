"""Photon cross sections of the patient's materials, those that `G4EmStandardPhysics` uses with the embedded data.

Compton scattering and pair production follow Geant4's own parametrisations, which take no data
(Physics Reference Manual, "Compton scattering" and "Gamma conversion"); photoelectric effect and
Rayleigh scattering are the embedded data set's. So a dose does not depend on who follows the photons.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xraylib

from gatecheck.linac.attenuation import AVOGADRO, ELECTRON_REST_ENERGY
from gatecheck.patient.model import Material
from gatecheck.transport.geant4_data.photons import geant4_compton, photoelectric, rayleigh

FloatArray = npt.NDArray[np.float64]

LOWEST_ENERGY = 0.005  # MeV: a photon below goes less than 0.3 mm in tissue and is deposited where it is
HIGHEST_ENERGY = 30.0  # MeV
_ENERGIES = 500  # on a logarithmic scale: linear interpolation leaves less than 0.05 %
_BARN_PER_ATOM = 1e-24 * AVOGADRO  # to cm2/mol
WAVELENGTH_ENERGY = 0.01239841984  # MeV times ångström, CODATA 2018
_TRANSFERS = 400
_LARGEST_TRANSFER = HIGHEST_ENERGY / WAVELENGTH_ENERGY
_SMALLEST_TRANSFER = 1e-4  # 1/ångström; the form factor is constant below


class Matter(NamedTuple):
    """Tables of all materials, rows by material, columns by ln(energy).

    Attributes
    ----------
    log_lowest, inverse_step : float
        Column of an energy E: (ln E - log_lowest) * inverse_step.
    total : ndarray of shape (n_materials, n)
        Linear attenuation coefficient, 1/mm.
    compton, photoelectric, pair : ndarray of shape (n_materials, n)
        Cumulative shares of the total; the rest is Rayleigh scattering.
    majorant : ndarray of shape (n,)
        The largest total of all materials, 1/mm.
    transfer : ndarray of shape (m,)
        Squared momentum transfer x² = (sin(θ/2) E/hc)², 1/ångström².
    form_factor : ndarray of shape (n_materials, m)
        Integral of the squared form factor of the material's atoms from 0 to `transfer`.
    density : ndarray of shape (n_materials,)
        g/cm3.
    """

    log_lowest: float
    inverse_step: float
    total: FloatArray
    compton: FloatArray
    photoelectric: FloatArray
    pair: FloatArray
    majorant: FloatArray
    transfer: FloatArray
    form_factor: FloatArray
    density: FloatArray


def matter_of(materials: Sequence[Material]) -> Matter:
    """Tables for materials, row by row."""
    log_energy = np.linspace(math.log(LOWEST_ENERGY), math.log(HIGHEST_ENERGY), _ENERGIES)
    energy = np.exp(log_energy)
    parts = np.array([linear_coefficients(material, energy) for material in materials])
    total = parts.sum(axis=1)
    share = np.cumsum(parts, axis=1) / total[:, np.newaxis]
    transfer = np.geomspace(_SMALLEST_TRANSFER, _LARGEST_TRANSFER, _TRANSFERS)
    return Matter(
        log_lowest=float(log_energy[0]),
        inverse_step=float(1 / (log_energy[1] - log_energy[0])),
        total=total,
        compton=np.ascontiguousarray(share[:, 0]),
        photoelectric=np.ascontiguousarray(share[:, 1]),
        pair=np.ascontiguousarray(share[:, 2]),
        majorant=total.max(axis=0),
        transfer=np.concatenate([[0.0], transfer**2]),
        form_factor=np.array([_integrated_form_factor(material, transfer) for material in materials]),
        density=np.array([material.density for material in materials]),
    )


def linear_coefficients(material: Material, energy: FloatArray) -> FloatArray:
    """Compton, photoelectric, pair and Rayleigh coefficients, 1/mm, shape (4, n)."""
    result = np.zeros((4, len(energy)))
    for symbol, fraction in material.mass_fractions.items():
        number = xraylib.SymbolToAtomicNumber(symbol)
        atoms = fraction * material.density * _BARN_PER_ATOM / xraylib.AtomicWeight(number) / 10
        result += atoms * _per_atom(number, tuple(energy))
    return result


@functools.cache
def _per_atom(number: int, energies: tuple[float, ...]) -> FloatArray:
    """Barn, shape (4, n)."""
    energy = np.array(energies)
    absorbed = photoelectric(number).above
    scattered = rayleigh(number)
    below_edge = photoelectric(number).below
    edge = photoelectric(number).edge
    photo = np.where(
        energy >= edge,
        _interpolated(energy, absorbed.energies, absorbed.barns),
        _interpolated(energy, below_edge.energies, below_edge.barns),
    )
    coherent = _interpolated(energy, scattered.energies, scattered.barns)
    return np.array([compton_per_atom(number, energy), photo, pair_per_atom(number, energy), coherent])


def _interpolated(energy: FloatArray, energies: FloatArray, barns: FloatArray) -> FloatArray:
    return np.asarray(np.interp(energy, energies, barns))


def compton_per_atom(number: int, energy: FloatArray) -> FloatArray:
    """Geant4's empirical Compton cross section with its continuation to low energies, barn."""
    joint = 0.04 if number == 1 else 0.015
    above = geant4_compton(number, np.maximum(energy, joint))
    at_joint, beyond = geant4_compton(number, np.array([joint, joint + 0.001]))
    slope = -joint * (beyond - at_joint) / (at_joint * 0.001)
    curvature = 0.15 if number == 1 else 0.375 - 0.0556 * math.log(number)
    y = np.log(np.minimum(energy, joint) / joint)
    return np.asarray(above * np.exp(-y * (slope + curvature * y)))


def pair_per_atom(number: int, energy: FloatArray) -> FloatArray:
    """Geant4's parametrised Bethe-Heitler cross section of pair production, barn.

    Z (Z + 1) (F1 + F2 Z + F3 / Z) with polynomials of ln(E / mc²), above 1.5 MeV; below, it falls
    with the square of the energy above threshold.
    """
    lowest = 1.5
    x = np.log(np.maximum(energy, lowest) / ELECTRON_REST_ENERGY)
    f1 = np.polynomial.polynomial.polyval(x, [8.7842e2, -1.9625e3, 1.2949e3, -2.0028e2, 1.2575e1, -2.8333e-1])
    f2 = np.polynomial.polynomial.polyval(x, [-1.0342e1, 1.7692e1, -8.2381, 1.3063, -9.0815e-2, 2.3586e-3])
    f3 = np.polynomial.polynomial.polyval(x, [-4.5263e2, 1.1161e3, -8.6749e2, 2.1773e2, -2.0467e1, 6.5372e-1])
    microbarn = number * (number + 1) * (f1 + f2 * number + f3 / number)
    threshold = 2 * ELECTRON_REST_ENERGY
    above = np.clip((np.minimum(energy, lowest) - threshold) / (lowest - threshold), 0, None)
    return np.asarray(np.maximum(microbarn, 0.0) * above**2 * 1e-6)


def _integrated_form_factor(material: Material, transfer: FloatArray) -> FloatArray:
    """Integral of sum(n F²) over x² from 0 to each transfer, in any unit, shape (1 + m,)."""
    squared = np.zeros(len(transfer))
    for symbol, fraction in material.mass_fractions.items():
        number = xraylib.SymbolToAtomicNumber(symbol)
        squared += fraction / xraylib.AtomicWeight(number) * _form_factor(number, tuple(transfer)) ** 2
    x2 = transfer**2
    first = squared[0] * x2[0]
    steps = 0.5 * (squared[1:] + squared[:-1]) * np.diff(x2)
    return np.concatenate([[0.0], first + np.concatenate([[0.0], np.cumsum(steps)])])


@functools.cache
def _form_factor(number: int, transfer: tuple[float, ...]) -> FloatArray:
    return np.array([_form_factor_at(number, x) for x in transfer])


def _form_factor_at(number: int, transfer: float) -> float:
    try:
        return float(xraylib.FF_Rayl(number, transfer))
    except ValueError:  # beyond xraylib's table, where next to nothing is scattered
        return 0.0
