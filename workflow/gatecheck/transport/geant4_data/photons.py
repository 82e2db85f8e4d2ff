"""Photoelectric and Rayleigh cross sections of the elements, from xraylib.

xraylib tabulates both from 0.1 to 800 keV; below 800 keV its total attenuation agrees with NIST XCOM
within 0.05 %. Above, each follows its asymptotic law, joined smoothly:

- photoelectric: E sigma tends to a constant (Pratt, Phys. Rev. 117 (1960) 1017). Fitted from 400 to
  800 keV and exact at 800 keV, a parabola in 1/E stays above evaluated data and a power law whose
  exponent fades to 1 stays below; their geometric mean is taken.
- Rayleigh: E² sigma tends to a constant, since the form factor cuts the momentum transfer off.

Compton scattering is no data of ours: `G4EmStandardPhysics` takes it from an empirical fit, see
`geant4_compton`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xraylib

Array = npt.NDArray[np.float64]

LOWEST_ENERGY = 1e-4  # MeV, where xraylib's tables begin
HIGHEST_ENERGY = 0.8  # MeV, where they end
TABLE_TOP_ENERGY = 100.0  # MeV, where the files end; Geant4 goes on with the asymptotic law
ABSOLUTE_BOTTOM_ENERGY = 1e-6  # MeV, where Geant4's files begin
POINTS_PER_DECADE = 80  # Geant4 interpolates linearly: leaves less than 0.03 %

_JOINT_FIT_FROM = 0.4  # MeV
_FADING = 0.45  # how fast the exponent fades; fits of it give 0.37 (Z = 92) to 0.65 (Z = 1)
_SHELLS = tuple(range(xraylib.K_SHELL, xraylib.O7_SHELL + 1))
_EDGE_SEARCH = 0.02  # xraylib's edge energies and the steps in its cross sections differ by less
_STEP = 1.01  # a rise by more than this over one part in 10^5 is an edge
_ELECTRON_MASS = 0.51099895  # MeV, CODATA 2018


def highest_element() -> int:
    """Highest atomic number with photoelectric and Rayleigh data and form factors, at most Geant4's 100."""
    number = 0
    while number < 100 and _has_data(number + 1):
        number += 1
    return number


def _has_data(atomic_number: int) -> bool:
    kilo_electron_volt = 1e3 * HIGHEST_ENERGY
    try:
        values = [
            xraylib.CSb_Photo(atomic_number, kilo_electron_volt),
            xraylib.CSb_Rayl(atomic_number, kilo_electron_volt),
            xraylib.FF_Rayl(atomic_number, 1.0),
            xraylib.SF_Compt(atomic_number, 1.0),
        ]
    except ValueError:
        return False
    return all(value > 0 for value in values)


@dataclass(frozen=True, slots=True)
class CrossSection:
    """A cross section per atom: energies in MeV (rising), values in barn, both of shape (n,)."""

    energies: Array
    barns: Array


@dataclass(frozen=True, slots=True)
class Photoelectric:
    """Photoelectric cross section of one element, split at the K edge.

    Attributes
    ----------
    edge : K edge, MeV
    below, above : the two branches
    asymptote : float
        a of sigma = a/E above `TABLE_TOP_ENERGY`, barn MeV.
    """

    edge: float
    below: CrossSection
    above: CrossSection
    asymptote: float


def photoelectric(atomic_number: int) -> Photoelectric:
    """Photoelectric cross section of one element."""
    edges = edge_energies(atomic_number)
    k_edge = _k_edge(atomic_number, edges)
    joint = _PhotoelectricTail(atomic_number)
    energies = _grid(max(LOWEST_ENERGY, k_edge), TABLE_TOP_ENERGY)
    tabulated = energies <= HIGHEST_ENERGY
    values = np.concatenate(
        [_barns(xraylib.CSb_Photo, atomic_number, energies[tabulated]), joint.barns(energies[~tabulated])]
    )
    if k_edge < LOWEST_ENERGY:
        # E³ sigma is held from the K edge of the lightest elements up to xraylib's first energy.
        values = np.concatenate([[values[0] * (LOWEST_ENERGY / k_edge) ** 3], values])
        energies = np.concatenate([[k_edge], energies])
    above = CrossSection(energies, values)
    return Photoelectric(k_edge, _below_k_edge(atomic_number, k_edge, edges), above, float(values[-1] * energies[-1]))


class _PhotoelectricTail:
    """E sigma above 800 keV: the geometric mean of two continuations that both tend to a constant."""

    def __init__(self, atomic_number: int) -> None:
        energies = np.linspace(_JOINT_FIT_FROM, HIGHEST_ENERGY, 41)
        products = energies * _barns(xraylib.CSb_Photo, atomic_number, energies)
        self._at_joint = products[-1]
        distance = 1 / energies - 1 / HIGHEST_ENERGY
        terms = np.stack([distance, distance**2], axis=1) / products[:, None]
        self._parabola, *_ = np.linalg.lstsq(terms, 1 - self._at_joint / products, rcond=None)
        fall = _faded(np.log(energies / HIGHEST_ENERGY))
        self._steepness = -float(fall @ np.log(products / self._at_joint)) / float(fall @ fall)

    def barns(self, energies: Array) -> Array:
        distance = 1 / energies - 1 / HIGHEST_ENERGY
        linear, square = self._parabola
        parabola = self._at_joint + linear * distance + square * distance**2
        power_law = self._at_joint * np.exp(-self._steepness * _faded(np.log(energies / HIGHEST_ENERGY)))
        values: Array = np.sqrt(parabola * power_law) / energies
        return values


def _faded(log_energy: Array) -> Array:
    """Integral over ln E of an exponent that falls as E^-0.45."""
    integral: Array = -np.expm1(-_FADING * log_energy) / _FADING
    return integral


def _k_edge(atomic_number: int, edges: list[float]) -> float:
    if edges:
        nominal = xraylib.EdgeEnergy(atomic_number, xraylib.K_SHELL) * 1e-3
        if abs(edges[-1] / nominal - 1) <= _EDGE_SEARCH:
            return edges[-1]
        return float(nominal)
    return float(xraylib.EdgeEnergy(atomic_number, xraylib.K_SHELL) * 1e-3)


def _below_k_edge(atomic_number: int, k_edge: float, edges: list[float]) -> CrossSection:
    """The other shells: both sides of every edge are grid points, so that no step is smeared out."""
    if k_edge <= LOWEST_ENERGY:
        # Nothing is tabulated there: half the first value keeps the K edge a step.
        energies = np.array([ABSOLUTE_BOTTOM_ENERGY, k_edge])
        first = float(xraylib.CSb_Photo(atomic_number, LOWEST_ENERGY * 1e3))
        return CrossSection(energies, 0.5 * first * (LOWEST_ENERGY / energies) ** 3)
    sides = [edge * side for edge in edges for side in (1 - 1e-5, 1 + 1e-5)]
    top = k_edge * (1 - 1e-5)
    points = np.concatenate([_grid(LOWEST_ENERGY, top), [side for side in sides if LOWEST_ENERGY < side < top]])
    energies = np.unique(points)
    values = _barns(xraylib.CSb_Photo, atomic_number, energies)
    bottom = values[0] * (LOWEST_ENERGY / ABSOLUTE_BOTTOM_ENERGY) ** 3
    return CrossSection(np.concatenate([[ABSOLUTE_BOTTOM_ENERGY], energies]), np.concatenate([[bottom], values]))


def edge_energies(atomic_number: int) -> list[float]:
    """Energies of the steps in xraylib's photoelectric cross section, MeV, rising.

    xraylib's own edge energies differ from the steps of its cross sections by up to 2 %; the steps
    are what counts here.
    """
    found: set[float] = set()
    for shell in _SHELLS:
        try:
            nominal = xraylib.EdgeEnergy(atomic_number, shell) * 1e-3
        except ValueError:
            continue  # xraylib's way of saying that the element has no such shell
        low, high = nominal * (1 - _EDGE_SEARCH), nominal * (1 + _EDGE_SEARCH)
        if low <= LOWEST_ENERGY or high >= HIGHEST_ENERGY:
            continue
        found.update(_steps(atomic_number, low, high))
    return sorted(found)


def _steps(atomic_number: int, low: float, high: float) -> list[float]:
    energies = np.geomspace(low, high, 801)
    values = _barns(xraylib.CSb_Photo, atomic_number, energies)
    rises = np.flatnonzero(values[1:] > values[:-1] * _STEP)
    edges = [_refined(atomic_number, float(energies[i]), float(energies[i + 1])) for i in rises]
    return [edge for edge in edges if edge is not None]


def _refined(atomic_number: int, low: float, high: float) -> float | None:
    """Bisect a rise down to one part in 10^6; None when it turns out to be a slope."""
    floor, ceiling = (float(xraylib.CSb_Photo(atomic_number, energy * 1e3)) for energy in (low, high))
    while high / low > 1 + 1e-6:
        middle = 0.5 * (low + high)
        if float(xraylib.CSb_Photo(atomic_number, middle * 1e3)) > np.sqrt(floor * ceiling):
            high = middle
        else:
            low = middle
    sides = [float(xraylib.CSb_Photo(atomic_number, energy * 1e3)) for energy in (low / 1.000004, high * 1.000004)]
    # Seven digits: the same edge, found from two shells, must be the same number.
    return float(f"{high:.6e}") if sides[1] > sides[0] * _STEP else None


def rayleigh(atomic_number: int) -> CrossSection:
    """Rayleigh cross section of one element, MeV and barn."""
    energies = _grid(LOWEST_ENERGY, TABLE_TOP_ENERGY)
    tabulated = energies <= HIGHEST_ENERGY
    values = _barns(xraylib.CSb_Rayl, atomic_number, energies[tabulated])
    tail = _rayleigh_tail(atomic_number, energies[~tabulated])
    # Far below any resonance the cross section falls as E^4 in theory; xraylib's first value is
    # held instead (as its own form factors do), for the few photons that get there.
    energies = np.concatenate([[ABSOLUTE_BOTTOM_ENERGY], energies])
    return CrossSection(energies, np.concatenate([[values[0]], values, tail]))


def _rayleigh_tail(atomic_number: int, energies: Array) -> Array:
    """E² sigma as a + b/E², from value and slope at the last energy of xraylib (slope by a 5 % step)."""
    at = np.array([0.95 * HIGHEST_ENERGY, HIGHEST_ENERGY])
    products = at**2 * _barns(xraylib.CSb_Rayl, atomic_number, at)
    slope = (products[1] - products[0]) / (at[1] ** -2 - at[0] ** -2)
    values: Array = (products[1] + slope * (energies**-2 - at[1] ** -2)) / energies**2
    return values


def geant4_compton(atomic_number: int, energies: Array) -> Array:
    """Compton cross section per atom of G4KleinNishinaModel above 15 keV, barn (Physics Reference Manual).

    An empirical fit that is up to 1.5 % off around 1 MeV and cannot be given data. It alone puts
    tungsten's total attenuation 1.1 % above NIST at 0.8 to 1.5 MeV; all else is within 0.8 %.
    """
    constant = np.array([2.7965e-1, -1.8300e-1, 6.7527, -1.9798e1])
    linear = np.array([1.9756e-5, -1.0205e-2, -7.3913e-2, 2.7079e-2])
    square = np.array([-3.9178e-7, 6.8241e-5, 6.0480e-5, 3.0274e-4])
    p1, p2, p3, p4 = atomic_number * (constant + linear * atomic_number + square * atomic_number**2)
    x = energies / _ELECTRON_MASS
    value: Array = p1 * np.log1p(2 * x) / x + (p2 + p3 * x + p4 * x**2) / (1 + 20.0 * x + 230.0 * x**2 + 440.0 * x**3)
    return value


def _grid(low: float, high: float) -> Array:
    """Logarithmic grid, both ends and xraylib's last energy included."""
    count = int(np.ceil(np.log10(high / low) * POINTS_PER_DECADE)) + 1
    grid = np.geomspace(low, high, max(count, 2))
    grid[0], grid[-1] = low, high
    if low < HIGHEST_ENERGY < high:
        grid = np.union1d(grid, [HIGHEST_ENERGY])
    return grid


def _barns(function: Callable[[int, float], float], atomic_number: int, energies: Array) -> Array:
    # The top is clipped: 0.8 MeV in keV may come out a rounding above xraylib's last energy.
    kilo_electron_volts = np.clip(energies * 1e3, LOWEST_ENERGY * 1e3, HIGHEST_ENERGY * 1e3)
    return np.array([function(atomic_number, float(energy)) for energy in kilo_electron_volts])
