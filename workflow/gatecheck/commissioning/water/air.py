"""Electrons on their way through the air above the water: they lose energy and, above all, direction. Compiled.

Half a metre of air turns an electron of 1 MeV by some 15 degrees. What comes from the head is spread over
decimetres, and a tank without air would give several per cent too much dose near the surface of a small field.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.transport.fast_head.compton import turned
from gatecheck.transport.fast_head.random import normal_pair, uniform
from gatecheck.transport.materials import air

FloatArray = npt.NDArray[np.float64]

STEP = 20.0
"""mm along an electron's way between two changes of direction."""

_FINE_STRUCTURE = 1.0 / 137.036
_RADIUS_SQUARED_AVOGADRO = 0.0478286
"""Square of the classical electron radius times Avogadro's number, cm2/mol."""

_THOMAS_FERMI = 1.130
_LARGEST_ANGLE = 1.0  # rad: ICRU 35's, where nuclei are seen as points
_COLLISION = 0.153536  # MeV cm2/mol, 2 pi r_e² N_A mc²
_EXCITATION_ENERGY = 85.7e-6  # MeV, dry air: ICRU Report 37 (1984), table 5.3
_ATOMS = {"C": (6, 12.011), "N": (7, 14.007), "O": (8, 15.999), "Ar": (18, 39.948)}
_SLOWEST = 0.02  # MeV: what has less is not worth following


def _atoms() -> FloatArray:
    """Rows of 4 pi r_e² N_A w Z (Z + 1) / A in cm2/g, and 1.13 alpha Z^(1/3), one for each element."""
    fractions = air().mass_fractions
    rows = []
    for symbol, fraction in fractions.items():
        number, mass = _ATOMS[symbol]
        strength = 4.0 * math.pi * _RADIUS_SQUARED_AVOGADRO * fraction * number * (number + 1) / mass
        rows.append((strength, _THOMAS_FERMI * _FINE_STRUCTURE * number ** (1.0 / 3.0)))
    return np.array(rows)


def _electrons_per_gram() -> float:
    """Moles of electrons in a gram of air."""
    return sum(fraction * _ATOMS[symbol][0] / _ATOMS[symbol][1] for symbol, fraction in air().mass_fractions.items())


_ROWS = _atoms()
_MOLES = _electrons_per_gram()
_DENSITY = air().density


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def scattering_power(energy: float) -> float:
    """Mean square angle per mass thickness, rad² cm²/g.

    ICRU Report 35 (1984), equation 2.12, with Z (Z + 1) in place of Z² for the scatter by electrons.
    """
    tau = energy / ELECTRON_REST_ENERGY
    gamma = tau + 1.0
    beta_squared = 1.0 - 1.0 / (gamma * gamma)
    momentum = math.sqrt(gamma * gamma - 1.0)
    total = 0.0
    for row in range(len(_ROWS)):
        screening = _ROWS[row, 1] / momentum
        squared = (_LARGEST_ANGLE / screening) ** 2
        total += _ROWS[row, 0] * (math.log(1.0 + squared) - 1.0 + 1.0 / (1.0 + squared))
    return total / (gamma * beta_squared) ** 2


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def stopping_power(energy: float) -> float:
    """Collisions' mass stopping power, MeV cm²/g: ICRU Report 37 (1984), equation 2.11, without density effect."""
    tau = energy / ELECTRON_REST_ENERGY
    gamma = tau + 1.0
    beta_squared = 1.0 - 1.0 / (gamma * gamma)
    excitation = _EXCITATION_ENERGY / ELECTRON_REST_ENERGY
    close = 1.0 - beta_squared + (tau * tau / 8.0 - (2.0 * tau + 1.0) * math.log(2.0)) / (gamma * gamma)
    return _COLLISION * _MOLES / beta_squared * (math.log(tau * tau * (tau + 2.0) / (2.0 * excitation**2)) + close)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def through_air(
    energy: float, x: float, y: float, z: float, u: float, v: float, w: float, surface: float, state: Any
) -> tuple[float, float, float, float, float, float, float]:
    """An electron above the plane y = surface, flown to it.

    Returns
    -------
    tuple of float
        Energy, MeV, place, mm, and direction at the surface; energy 0 where it does not reach it.
    """
    while y < surface:
        if v <= 0.0:
            return 0.0, x, y, z, u, v, w
        step = min(STEP, (surface - y) / v)
        mass_thickness = 0.1 * step * _DENSITY
        energy -= mass_thickness * stopping_power(energy)
        if energy < _SLOWEST:
            return 0.0, x, y, z, u, v, w
        half = 0.5 * step
        x, y, z = x + half * u, y + half * v, z + half * w
        a, b = normal_pair(state)
        angle = math.sqrt(0.5 * mass_thickness * scattering_power(energy) * (a * a + b * b))
        u, v, w = turned(u, v, w, math.cos(min(angle, math.pi)), 2.0 * math.pi * uniform(state))
        if v <= 0.0:
            return 0.0, x, y, z, u, v, w
        # On to the surface at most: the second half of a last step may be shorter or longer than the first.
        half = (surface - y) / v if surface - y <= half * v or step < STEP else half
        x, y, z = x + half * u, y + half * v, z + half * w
    return energy, x, surface + 1e-9, z, u, v, w
