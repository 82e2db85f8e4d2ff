"""Bremsstrahlung cross sections of the elements, from theory corrected to the NIST tables of seven metals.

The quantity tabulated is the scaled cross section of Seltzer and Berger (At. Data Nucl. Data Tables
35 (1986) 345, eq. 1), chi = (beta/Z)^2 k d(sigma)/dk in millibarn, a function of the electron's
kinetic energy T and of kappa = k/T; it holds the nuclear and the electron-electron part.

Built up as follows:

1. Nuclear part, Born approximation: formula 3BN of Koch and Motz (Rev. Mod. Phys. 31 (1959) 920),
   times the Elwert factor (Ann. Physik 34 (1939) 178), times a screening ratio from the
   high-energy formulae with the atomic form factors of xraylib.
2. Ratio "NIST / step 1" below 1 MeV, for the metals that spekpy carries (Z = 24 to 79): smooth in Z,
   exactly 1 at Z = 0, where the Born approximation is exact.
3. Above 50 MeV the ratio is the Coulomb correction of Davies, Bethe and Maximon; between 1 and
   50 MeV it is interpolated in ln T, as Seltzer and Berger do between their own two theories.
4. Electron-electron part: Baring et al. (Astrophys. J. 513 (1999) 311, appendix A), screened with
   the incoherent scattering functions of xraylib.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xraylib
from numpy.polynomial.legendre import leggauss

from gatecheck.errors import GatecheckError

Array = npt.NDArray[np.float64]

FINE_STRUCTURE = 7.2973525693e-3  # CODATA 2018
ELECTRON_MASS = 0.51099895  # MeV, CODATA 2018
ELECTRON_RADIUS_CM = 2.8179403262e-13  # CODATA 2018
COMPTON_WAVELENGTH = 0.0242631023867  # angstrom, CODATA 2018
MILLIBARN_PER_CM2 = 1e27
BORN_UNIT = FINE_STRUCTURE * ELECTRON_RADIUS_CM**2 * MILLIBARN_PER_CM2  # alpha r_e^2, mb

NIST_METALS = (24, 29, 42, 45, 47, 74, 79)
NIST_TOP_ENERGY = 1.0  # MeV, where spekpy's copy of the NIST tables ends
HIGH_ENERGY_THEORY_FROM = 50.0  # MeV, Seltzer and Berger (1986), section 2

ENERGIES: Array = np.array(
    [m * 10.0**d for d in range(-3, 4) for m in (1, 1.5, 2, 3, 4, 5, 6, 8)] + [1e4], dtype=np.float64
)
"""Electron kinetic energies of the tables, MeV: the 57 of Seltzer and Berger (1986)."""

KAPPAS: Array = np.array(
    [
        *(0, 0.025, 0.05, 0.075, *np.arange(0.1, 0.9, 0.05).round(2), 0.9, 0.925, 0.95, 0.97),
        *(0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99995, 0.99999, 1),
    ]
)
"""Photon energies k/T of the tables: the 32 of Seltzer and Berger (1986)."""

# Seen by an outgoing electron slower than this, the Coulomb field is no small correction and the
# theory of Davies, Bethe and Maximon ends; the tip then keeps the Elwert factor's value.
_COULOMB_ONSET = 2.3  # MeV
# Threshold factor D/(D + this) of electron-electron bremsstrahlung, D = energy below the highest
# photon energy: the formula for fast electrons knows no threshold. About 1.25 electron masses.
_ELECTRON_THRESHOLD_WIDTH = 0.65  # MeV
_SLOW_BELOW = 0.5  # MeV: Baring's slow-electron formula (eq. A5) is taken up to here
_FAST_ABOVE = 10.0  # MeV: and his fast-electron formula (eq. A1) from here

_KAPPA_AT_ZERO = 1e-8  # stands for kappa = 0, where the unscreened formulae diverge
_KAPPA_AT_ONE = 1 - 1e-10  # stands for kappa = 1, where they are 0/0
_LOG_TRANSFER: Array = np.linspace(np.log(1e-12), 0.0, 1200)  # ln of momentum transfer / (m_e c)
_NODES, _WEIGHTS = leggauss(96)
_FORM_FACTOR_SWITCH = 1.0  # 1/angstrom: outside xraylib's tables, below is "small", above "large"


@dataclass(frozen=True, slots=True)
class Kinematics:
    """An electron of energy `initial` that radiates `photon`, in units of the electron's mass.

    All arrays have the shape (n_energies, n_kappas).
    """

    initial: Array
    final: Array
    photon: Array

    @property
    def beta_squared(self) -> Array:
        """Speed squared of the incoming electron, in units of c²."""
        return 1 - 1 / self.initial**2

    @property
    def smallest_transfer(self) -> Array:
        """Smallest momentum transfer of fast electrons, k/(2 E1 E2), in m_e c (below 1)."""
        transfer: Array = np.minimum(self.photon / (2 * self.initial * self.final), 1 - 1e-6)
        return transfer


def kinematics(energies: Array = ENERGIES, kappas: Array = KAPPAS) -> Kinematics:
    """Kinematics on the grid of kinetic energies (MeV) by fractions k/T."""
    kinetic = np.asarray(energies, dtype=np.float64)[:, None] / ELECTRON_MASS
    fraction = np.clip(np.asarray(kappas, dtype=np.float64), _KAPPA_AT_ZERO, _KAPPA_AT_ONE)[None, :]
    return Kinematics(1 + kinetic + 0 * fraction, 1 + kinetic * (1 - fraction), kinetic * fraction)


def born(motion: Kinematics) -> Array:
    """Scaled cross section of an unscreened nucleus in Born approximation, mb per Z².

    Koch and Motz (1959), formula 3BN. Evaluated in extended precision: its terms cancel to many
    digits for fast electrons and soft photons.
    """
    e1, e2, k = (np.asarray(value, dtype=np.longdouble) for value in (motion.initial, motion.final, motion.photon))
    p1 = np.sqrt((e1 - 1) * (e1 + 1))
    p2 = np.sqrt((e2 - 1) * (e2 + 1))
    log_both = 2 * np.log((e1 * e2 + p1 * p2 - 1) / k)
    log_1, log_2 = 2 * np.log(e1 + p1), 2 * np.log(e2 + p2)
    product = p1 * p2
    plain = 4 / np.longdouble(3) - 2 * e1 * e2 * (p1**2 + p2**2) / product**2
    plain += log_1 * e2 / p1**3 + log_2 * e1 / p2**3 - log_1 * log_2 / product
    bracket = 8 * e1 * e2 / (3 * product) + k**2 * ((e1 * e2) ** 2 + product**2) / product**3
    bracket += (
        k
        / (2 * product)
        * ((e1 * e2 + p1**2) / p1**3 * log_1 - (e1 * e2 + p2**2) / p2**3 * log_2 + 2 * k * e1 * e2 / product**2)
    )
    scaled = BORN_UNIT * (p1 / e1) ** 2 * p2 / p1 * (plain + log_both * bracket)
    return np.asarray(scaled, dtype=np.float64)


def elwert_factor(atomic_number: int, motion: Kinematics) -> Array:
    """Distortion of the electron's waves by the nucleus, Elwert (1939); see Koch and Motz (1959), eq. II-6."""
    strength = 2 * np.pi * FINE_STRUCTURE * atomic_number
    beta_1 = np.sqrt(motion.beta_squared)
    beta_2 = np.sqrt((motion.final - 1) * (motion.final + 1)) / motion.final
    factor: Array = beta_1 / beta_2 * np.expm1(-strength / beta_1) / np.expm1(-strength / beta_2)
    return factor


def fast_electron(motion: Kinematics, weight: Array, coulomb_correction: float = 0.0) -> Array:
    """Scaled cross section of fast electrons for a target of transfer-dependent strength, mb per Z².

    Bethe (Proc. Camb. Phil. Soc. 30 (1934) 524); Koch and Motz (1959), formula 3CS: two integrals over
    the momentum transfer from its smallest value to 1, `weight` = (1 - F/Z)² for the nucleus screened
    by its electrons, S/Z for the electrons themselves, 1 for a bare nucleus.

    Parameters
    ----------
    weight : ndarray of shape (1200,)
        On the module's grid of momentum transfers.
    coulomb_correction : float
        f(Z) of Davies, Bethe and Maximon (Phys. Rev. 93 (1954) 788).
    """
    log_smallest = np.log(motion.smallest_transfer)[..., None]
    log_transfer = log_smallest * (1 - 0.5 * (_NODES + 1))
    measure = np.interp(log_transfer, _LOG_TRANSFER, weight) * (-log_smallest * 0.5 * _WEIGHTS)
    ratio = np.exp(log_smallest - log_transfer)
    first = ((1 - ratio) ** 2 * measure).sum(-1) + 1
    logs = log_transfer - log_smallest
    second = ((1 - 6 * ratio**2 * logs + 3 * ratio**2 - 4 * ratio**3) * measure).sum(-1) + 5 / 6
    kept = motion.final / motion.initial
    amplitude = (1 + kept**2) * (first - coulomb_correction) - 2 / 3 * kept * (second - coulomb_correction)
    scaled: Array = 4 * BORN_UNIT * motion.beta_squared * amplitude
    return scaled


def coulomb_correction(atomic_number: int) -> float:
    """f(Z) of Davies, Bethe and Maximon (1954), in the series of their eq. 38."""
    a = (FINE_STRUCTURE * atomic_number) ** 2
    return float(a * (1 / (1 + a) + 0.20206 - 0.0369 * a + 0.0083 * a**2 - 0.002 * a**3))


@dataclass(frozen=True, slots=True)
class Screening:
    """How strongly an atom's nucleus and electrons act at each momentum transfer (0 to 1), shape (1200,)."""

    nucleus: Array
    electrons: Array


@cache
def screening(atomic_number: int) -> Screening:
    """From xraylib's form factor F and incoherent scattering function S: (1 - F/Z)² and S/Z."""
    inverse_angstrom = np.exp(_LOG_TRANSFER) / (2 * COMPTON_WAVELENGTH)
    form = _tabulated(xraylib.FF_Rayl, atomic_number, inverse_angstrom, small=atomic_number, large=0.0)
    incoherent = _tabulated(xraylib.SF_Compt, atomic_number, inverse_angstrom, small=0.0, large=atomic_number)
    return Screening((1 - form / atomic_number) ** 2, incoherent / atomic_number)


def _tabulated(
    function: Callable[[int, float], float], atomic_number: int, arguments: Array, *, small: float, large: float
) -> Array:
    """xraylib's function, and its known limits outside the range that xraylib tabulates."""

    def value(argument: float) -> float:
        try:
            return float(function(atomic_number, argument))
        except ValueError:
            return small if argument < _FORM_FACTOR_SWITCH else large

    return np.array([value(float(argument)) for argument in arguments])


_BARE: Array = np.ones_like(_LOG_TRANSFER)


def nuclear_theory(atomic_number: int, motion: Kinematics) -> Array:
    """Nuclear part before any correction (step 1 of the module), mb."""
    screened = fast_electron(motion, screening(atomic_number).nucleus) / fast_electron(motion, _BARE)
    return born(motion) * elwert_factor(atomic_number, motion) * screened


def electron_part(atomic_number: int, motion: Kinematics) -> Array:
    """Electron-electron part (step 4 of the module) in the units of the nuclear one, mb."""
    screened = fast_electron(motion, screening(atomic_number).electrons) / fast_electron(motion, _BARE)
    part: Array = motion.beta_squared * free_electron_bremsstrahlung(motion) * screened / atomic_number
    return part


def free_electron_bremsstrahlung(motion: Kinematics) -> Array:
    """k d(sigma)/dk of an electron on a free electron at rest, mb.

    Baring et al. (1999): eq. A5 for slow and eq. A1 for fast electrons. Between them both are
    interpolated in ln T at equal k/k_max, since neither holds there (their sum of validity is 2 MeV).
    """
    energy = motion.initial
    highest = (energy - 1) / (energy + 1 - np.sqrt((energy - 1) * (energy + 1)))
    fraction = motion.photon / highest
    kinetic = (energy - 1) * ELECTRON_MASS
    mix = np.clip(np.log(kinetic / _SLOW_BELOW) / np.log(_FAST_ABOVE / _SLOW_BELOW), 0, 1)
    slow = _slow_ratio(np.minimum(kinetic, _SLOW_BELOW), fraction)
    fast = _fast_ratio(np.maximum(kinetic, _FAST_ABOVE), fraction)
    reference = born(motion) / motion.beta_squared
    return np.where(fraction < 1, ((1 - mix) * slow + mix * fast) * reference, 0.0)


def _equivalent(kinetic: Array, fraction: Array) -> Kinematics:
    """Kinematics at another energy (MeV), at the same fraction of the highest photon energy."""
    energy = 1 + kinetic / ELECTRON_MASS
    highest = (energy - 1) / (energy + 1 - np.sqrt((energy - 1) * (energy + 1)))
    photon = np.minimum(fraction, 1.0) * highest
    return Kinematics(energy, energy - photon, photon)


def _slow_ratio(kinetic: Array, fraction: Array) -> Array:
    """Electron-electron over electron-proton bremsstrahlung, slow electrons (Baring eq. A5 to A7)."""
    motion = _equivalent(kinetic, fraction)
    gamma = motion.initial
    momentum = np.sqrt((gamma - 1) * (gamma + 1))
    x = 4 * motion.photon / momentum**2
    inside = x < 1
    x = np.where(inside, x, 0.5)
    root = np.sqrt(1 - x)
    b = 1 + 0.5 * momentum**2
    c = 10 * x * momentum * (2 + momentum) / (1 + x**2 * momentum**2)
    shape = b * (17 - 3 * x**2 / (2 - x) ** 2 - c) * root
    shape += (12 * (2 - x) - 7 * x**2 / (2 - x) - 3 * x**4 / (2 - x) ** 3) * np.log((1 + root) / np.sqrt(x))
    value = np.where(inside, np.maximum(4 / 15 * BORN_UNIT * shape, 0.0), 0.0)
    return value * motion.beta_squared / born(motion)


def _fast_ratio(kinetic: Array, fraction: Array) -> Array:
    """Electron-electron over electron-proton bremsstrahlung, fast electrons (Baring eq. A1 to A4)."""
    motion = _equivalent(kinetic, fraction)
    gamma, k = motion.initial, motion.photon
    incoming = 4 * (1 + (1 / 3 - k / gamma) * (1 - k / gamma)) * (np.log(2 * gamma * (gamma - k) / k) - 0.5)
    suppression = 1 - 8 / 3 * (gamma - 1) ** 0.2 / (gamma + 1) * np.cbrt(k / gamma)
    value = BORN_UNIT * (incoming + _recoiling(gamma, k)) * suppression
    highest = (gamma - 1) / (gamma + 1 - np.sqrt((gamma - 1) * (gamma + 1)))
    below_highest = np.maximum(highest - k, 0) * ELECTRON_MASS
    return value * below_highest / (below_highest + _ELECTRON_THRESHOLD_WIDTH) * motion.beta_squared / born(motion)


def _recoiling(gamma: Array, k: Array) -> Array:
    """Radiation of the struck electron, in units of alpha r_e² (Baring eq. A3)."""
    soft = np.minimum(k, 0.5 - 1e-9)
    log_soft = np.log1p(-2 * soft)
    low = 16 * (1 - soft + soft**2) * np.log(gamma / soft) - 1 / soft**2 + 3 / soft - 4 + 4 * soft - 8 * soft**2
    low -= 2 * (1 - 2 * soft) * log_soft * (1 / (4 * soft**3) - 1 / (2 * soft**2) + 3 / soft - 2 + 4 * soft)
    # Below this, the terms in 1/k cancel to more digits than a double has; their limit is known.
    low = np.where(soft < 1e-3, 16 * np.log(gamma / soft) - 4 + 8, low)
    hard = np.maximum(k, 0.5)
    high = 2 / hard * ((4 - 1 / hard + 1 / (4 * hard**2)) * np.log(2 * gamma) - 2 + 2 / hard - 5 / (8 * hard**2))
    return np.where(k <= 0.5, low, high) / 3


@dataclass(frozen=True, slots=True)
class NistTables:
    """The NIST (Seltzer and Berger) tables that spekpy carries.

    Attributes
    ----------
    energies : ndarray of shape (25,), MeV, 0.001 to 1
    kappas : ndarray of shape (32,)
    scaled : atomic number to ndarray of shape (25, 32), mb
    """

    energies: Array
    kappas: Array
    scaled: Mapping[int, Array]


def _package_folder(name: str) -> Path:
    """Folder of an installed package, found without importing it (spekpy pulls in matplotlib)."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise GatecheckError(f"The package {name} is not installed; it comes with opengate. Install it and try again.")
    return Path(spec.origin).parent


@cache
def nist_tables() -> NistTables:
    """Read the NIST tables of seven metals out of the installed spekpy."""
    with np.load(_package_folder("spekpy") / "data" / "tables" / "advanced" / "NIST.npz") as data:
        scaled = {z: np.asarray(data[f"chi{z}"], dtype=np.float64) for z in NIST_METALS}
        energies = np.asarray(data["E"], dtype=np.float64) / 1e3
        return NistTables(energies, np.asarray(data["u"], dtype=np.float64), scaled)


@dataclass(frozen=True, slots=True)
class RatioModel:
    """ln(NIST / theory) of the nuclear part for any Z, at the NIST energies and kappas.

    ln R = c1 a + c2 a² + c3 a³ (a = alpha Z) by least squares over the metals, and what the fit leaves
    over at each metal interpolated linearly in Z (zero at Z = 0, constant beyond the heaviest).
    """

    energies: Array
    metals: tuple[int, ...]
    coefficients: Array
    residuals: Array

    def log_ratio(self, atomic_number: int) -> Array:
        """ln R of one element, shape (n_energies, n_kappas)."""
        powers = (FINE_STRUCTURE * atomic_number) ** np.arange(1, 4)
        smooth = np.tensordot(powers, self.coefficients, axes=1)
        knots = np.array([0, *self.metals], dtype=np.float64)
        place = np.interp(atomic_number, knots, np.arange(len(knots)))
        lower = min(int(place), len(knots) - 2)
        share = place - lower
        left_over = (1 - share) * self.residuals[lower] + share * self.residuals[lower + 1]
        ratio: Array = smooth + left_over
        return ratio


@cache
def ratio_model(metals: tuple[int, ...] = NIST_METALS) -> RatioModel:
    """Compare theory with the NIST tables of `metals` (a subset serves to test the interpolation)."""
    tables = nist_tables()
    motion = kinematics(tables.energies, tables.kappas)
    logs = np.stack([_log_ratio_to_nist(z, motion, tables) for z in metals])
    powers = (FINE_STRUCTURE * np.array(metals))[:, None] ** np.arange(1, 4)
    flat, *_ = np.linalg.lstsq(powers, logs.reshape(len(metals), -1), rcond=None)
    residuals = logs - (powers @ flat).reshape(logs.shape)
    residuals = np.concatenate([np.zeros_like(residuals[:1]), residuals])
    coefficients: Array = np.asarray(flat, dtype=np.float64).reshape(3, *logs.shape[1:])
    return RatioModel(tables.energies, metals, coefficients, residuals)


def _log_ratio_to_nist(atomic_number: int, motion: Kinematics, tables: NistTables) -> Array:
    nuclear = tables.scaled[atomic_number] - electron_part(atomic_number, motion)
    ratio: Array = np.log(nuclear / nuclear_theory(atomic_number, motion))
    return ratio


def high_energy_ratio(atomic_number: int, motion: Kinematics) -> Array:
    """Coulomb correction of fast electrons, fading where the outgoing electron is slow."""
    weight = screening(atomic_number).nucleus
    corrected = fast_electron(motion, weight, coulomb_correction(atomic_number)) / fast_electron(motion, weight)
    outgoing = (motion.final - 1) * ELECTRON_MASS
    share = outgoing**2 / (outgoing**2 + _COULOMB_ONSET**2)
    return 1 + share * (corrected - 1)


def scaled_cross_section(atomic_number: int, metals: tuple[int, ...] = NIST_METALS) -> Array:
    """Scaled bremsstrahlung cross section of one element, mb, on `ENERGIES` by `KAPPAS`.

    Parameters
    ----------
    metals : the elements whose NIST tables correct the theory

    Returns
    -------
    ndarray of shape (57, 32)
    """
    motion = kinematics()
    low = ENERGIES <= NIST_TOP_ENERGY * (1 + 1e-9)
    high = ENERGIES >= HIGH_ENERGY_THEORY_FROM
    known = low | high
    logs = np.concatenate(
        [ratio_model(metals).log_ratio(atomic_number), np.log(high_energy_ratio(atomic_number, motion)[high])]
    )
    from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 - half a second, and the set is built once

    ratio = np.exp(PchipInterpolator(np.log(ENERGIES[known]), logs, axis=0)(np.log(ENERGIES)))
    total: Array = nuclear_theory(atomic_number, motion) * ratio + electron_part(atomic_number, motion)
    return total


def radiative_stopping_power(scaled: Array, atomic_number: int, atomic_weight: float) -> Array:
    """Radiative mass stopping power on `ENERGIES`, MeV cm²/g.

    S/rho = (N_A/A) Z²/beta² T * integral of chi over kappa (Seltzer and Berger 1986, eq. 6).
    """
    avogadro = 6.02214076e23
    motion = kinematics()
    mean = np.trapezoid(scaled, KAPPAS, axis=1)
    beta_squared = motion.beta_squared[:, 0]
    power: Array = avogadro / atomic_weight * atomic_number**2 / beta_squared * ENERGIES * mean / MILLIBARN_PER_CM2
    return power
