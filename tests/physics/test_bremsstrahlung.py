"""Bremsstrahlung of the embedded data set, against published NIST values and the shared reference set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gatecheck.transport.geant4_data import bremsstrahlung
from gatecheck.transport.geant4_data.bremsstrahlung import ENERGIES, KAPPAS, NIST_METALS

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "geant4-em-data"
RANGE = (ENERGIES > 0.199) & (ENERGIES < 6.001)  # MeV, the range of the requirement

# NIST ESTAR (M. J. Berger et al., NIST Standard Reference Database 124): radiative mass stopping
# power, MeV cm²/g, of liquid water, dry air and ICRP cortical bone.
ESTAR_ENERGIES = (0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0)  # MeV
ESTAR = {
    "water": (
        *(4.801e-3, 5.514e-3, 7.257e-3, 1.042e-2, 1.280e-2, 1.942e-2),
        *(2.678e-2, 4.299e-2, 6.058e-2, 7.917e-2, 9.854e-2, 1.814e-1),
    ),
    "air": (
        *(4.789e-3, 5.495e-3, 7.223e-3, 1.036e-2, 1.271e-2, 1.927e-2),
        *(2.656e-2, 4.260e-2, 5.999e-2, 7.838e-2, 9.754e-2, 1.795e-1),
    ),
    "bone": (
        *(7.140e-3, 8.129e-3, 1.055e-2, 1.495e-2, 1.824e-2, 2.740e-2),
        *(3.755e-2, 5.981e-2, 8.386e-2, 1.092e-1, 1.355e-1, 2.476e-1),
    ),
}
# Compositions of the same (fractions by weight).
COMPOSITIONS = {
    "water": {1: 0.111894, 8: 0.888106},
    "air": {6: 0.000124, 7: 0.755267, 8: 0.231781, 18: 0.012827},
    "bone": {
        **{1: 0.047234, 6: 0.144330, 7: 0.041990, 8: 0.446096, 12: 0.002200},
        **{15: 0.104970, 16: 0.003150, 20: 0.209930, 30: 0.000100},
    },
}
ATOMIC_WEIGHTS = {
    **{1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999, 12: 24.305},
    **{15: 30.974, 16: 32.06, 18: 39.948, 20: 40.078, 30: 65.38},
}


def allowed(atomic_number: int) -> float:
    """15 % up to calcium, 25 % beyond."""
    return 0.15 if atomic_number <= 20 else 0.25


@dataclass(frozen=True)
class Comparison:
    """Ours and the reference set's scaled cross sections from 0.2 to 6 MeV, at the reference's own kappas."""

    kappas: np.ndarray
    ours: np.ndarray
    reference: np.ndarray

    @property
    def deviation(self) -> np.ndarray:
        return np.abs(self.ours / self.reference - 1)


def compared(atomic_number: int) -> Comparison:
    path = SHARED_DATA / "G4EMLOW8.8" / "brem_SB" / f"br{atomic_number}"
    if not path.exists():
        pytest.skip("the reduced reference data set is not on this machine")
    numbers = path.read_text().split()
    n_kappas, n_energies = int(numbers[1]), int(numbers[2])
    values = np.array(numbers[3:], dtype=float)
    kappas, table = values[:n_kappas], values[n_kappas + n_energies :].reshape(n_energies, n_kappas)
    np.testing.assert_allclose(np.exp(values[n_kappas : n_kappas + n_energies]), ENERGIES, rtol=1e-5)
    common = [int(np.argmin(np.abs(KAPPAS - kappa))) for kappa in kappas]
    np.testing.assert_allclose(KAPPAS[common], kappas)
    return Comparison(kappas, bremsstrahlung.scaled_cross_section(atomic_number)[RANGE][:, common], table[RANGE])


@pytest.mark.parametrize("material", list(ESTAR))
def test_radiative_stopping_power_agrees_with_estar(material: str) -> None:
    """Integrated over the photon's energy; 2 % from 0.2 to 10 MeV (the requirement is 15 %)."""
    total = np.zeros_like(ENERGIES)
    for number, weight in COMPOSITIONS[material].items():
        scaled = bremsstrahlung.scaled_cross_section(number)
        total += weight * bremsstrahlung.radiative_stopping_power(scaled, number, ATOMIC_WEIGHTS[number])
    ours = np.array([total[np.argmin(np.abs(ENERGIES - energy))] for energy in ESTAR_ENERGIES])
    np.testing.assert_allclose(ours / np.array(ESTAR[material]), 1, atol=0.02)


@pytest.mark.parametrize("metal", NIST_METALS)
def test_a_metal_left_out_of_the_correction_agrees_with_its_nist_table(metal: int) -> None:
    """Each metal predicted from the six others, every k/T: 25 % asked for, from 0.2 to 1 MeV."""
    others = tuple(number for number in NIST_METALS if number != metal)
    tables = bremsstrahlung.nist_tables()
    predicted = bremsstrahlung.scaled_cross_section(metal, others)[: len(tables.energies)]
    ratio = (predicted / tables.scaled[metal])[tables.energies > 0.199]
    assert np.abs(ratio - 1).max() < 0.05 if metal not in (NIST_METALS[0], NIST_METALS[-1]) else 0.10


def test_tungsten_agrees_with_its_nist_table() -> None:
    """Tungsten is one of the metals used: from 1 keV to 1 MeV its own table is reproduced to its own digits."""
    tables = bremsstrahlung.nist_tables()
    ours = bremsstrahlung.scaled_cross_section(74)[: len(tables.energies)]
    np.testing.assert_allclose(ours, tables.scaled[74], rtol=2e-5)


@pytest.mark.parametrize("atomic_number", [6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18, 19, 20, 26, 50, 73, 74, 82])
def test_every_photon_energy_agrees_with_the_reference_set(atomic_number: int) -> None:
    """Point by point over k/T = 0 to 1 and 0.2 to 6 MeV; of these elements only tungsten is in the correction."""
    assert compared(atomic_number).deviation.max() < allowed(atomic_number)


@pytest.mark.parametrize("atomic_number", [1, 2, 3, 4, 5])
def test_the_lightest_elements_agree_below_the_tip_of_the_spectrum(atomic_number: int) -> None:
    """Up to k/T = 0.95 point by point; beyond, what differs is less than 1 % of the energy radiated.

    There the reference interpolates across the steep fall of the cross section to its small value at
    the tip, where for so light a nucleus formula 3BN is practically exact. Single points differ by up
    to 79 % (H), 48 % (He), 33 % (Li), 24 % (Be) and 17 % (B).
    """
    both = compared(atomic_number)
    body, tip = both.kappas < 0.951, both.kappas > 0.949
    assert both.deviation[:, body].max() < 0.15
    missed = np.trapezoid((both.ours - both.reference)[:, tip], both.kappas[tip], axis=1)
    assert (np.abs(missed) < 0.01 * np.trapezoid(both.reference, both.kappas, axis=1)).all()


@pytest.mark.parametrize("atomic_number", [1, 6, 8, 13, 20, 29, 50, 74, 82])
def test_radiated_energy_agrees_with_the_reference_set(atomic_number: int) -> None:
    """Mean over k/T: 4 % up to calcium and 6 % beyond, from 0.2 to 6 MeV."""
    both = compared(atomic_number)
    ours, reference = (np.trapezoid(values, both.kappas, axis=1) for values in (both.ours, both.reference))
    assert np.abs(ours / reference - 1).max() < (0.04 if atomic_number <= 20 else 0.06)


def test_high_energies_join_the_screened_high_energy_theory() -> None:
    """At 1 GeV the body of the spectrum of every element is the screened Bethe-Heitler one, within 5 %."""
    motion = bremsstrahlung.kinematics()
    for number in (1, 8, 29, 74):
        atom = bremsstrahlung.screening(number)
        nuclear = bremsstrahlung.fast_electron(motion, atom.nucleus, bremsstrahlung.coulomb_correction(number))
        electrons = bremsstrahlung.fast_electron(motion, atom.electrons) / number
        ours = bremsstrahlung.scaled_cross_section(number)
        row, body = int(np.argmin(np.abs(ENERGIES - 1000))), (KAPPAS > 0.05) & (KAPPAS < 0.91)
        np.testing.assert_allclose((ours / (nuclear + electrons))[row, body], 1, atol=0.05)


def test_born_approximation_without_screening_has_its_known_limit() -> None:
    """Fast electrons, hard photons: 3BN becomes Bethe-Heitler without screening (Koch and Motz 1959, 3BS)."""
    motion = bremsstrahlung.kinematics(np.array([300.0]), np.array([0.3, 0.5, 0.7]))
    bare = bremsstrahlung.fast_electron(motion, np.ones(1200))
    np.testing.assert_allclose(bremsstrahlung.born(motion) / bare, 1, atol=0.002)


def test_cross_sections_are_positive_and_finite_for_every_element() -> None:
    for number in (1, 2, 3, 10, 36, 60, 98):
        scaled = bremsstrahlung.scaled_cross_section(number)
        assert np.isfinite(scaled).all()
        assert (scaled > 0).all()
