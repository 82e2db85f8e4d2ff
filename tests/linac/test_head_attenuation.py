"""Attenuation in the head's alloys against xraylib, theory and published transmission."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xraylib

from gatecheck.linac.attenuation import (
    coherent_mass_attenuation,
    compton_coefficient,
    klein_nishina_per_electron,
    mass_attenuation,
    removal_coefficient,
)
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.photon_source import photon_number

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
LINAC = load_linac_model(MODELS / "truebeam_stx")


@pytest.mark.parametrize("element", ["Al", "Fe", "Ni", "Cu", "W"])
@pytest.mark.parametrize("energy", [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8])
def test_nist_attenuation_agrees_with_xraylib(element: str, energy: float) -> None:
    other = xraylib.CS_Total(xraylib.SymbolToAtomicNumber(element), 1000 * energy)
    assert mass_attenuation(element, energy) == pytest.approx(other, rel=0.01)


@pytest.mark.parametrize("element", ["Al", "Fe", "Ni", "Cu", "W"])
def test_attenuation_between_the_tables_energies_has_no_wrong_digit(element: str) -> None:
    """A mistyped value would stand out of a smooth curve: second differences on the log grid stay small."""
    energy = np.geomspace(0.8, 10, 12)
    slope = np.diff(np.log(mass_attenuation(element, energy))) / np.diff(np.log(energy))
    assert np.abs(np.diff(slope)).max() < 0.22


def test_klein_nishina_approaches_thomson_and_the_published_value_at_1_mev() -> None:
    assert klein_nishina_per_electron(1e-3) == pytest.approx(0.6652e-24 * (1 - 2 * 1e-3 / 0.511), rel=1e-3)
    assert klein_nishina_per_electron(1.0) == pytest.approx(0.2112e-24, rel=1e-3)


@pytest.mark.parametrize("energy", [0.2, 1.0, 2.0, 6.0])
def test_compton_scattering_is_part_of_the_removal(energy: float) -> None:
    alloy = LINAC.machine.jaws.alloy
    assert 0 < compton_coefficient(alloy, energy) < removal_coefficient(alloy, energy)


def test_coherent_scattering_falls_with_the_square_of_energy_beyond_the_tables() -> None:
    assert coherent_mass_attenuation("W", 3.2) == pytest.approx(coherent_mass_attenuation("W", 1.6) / 4, rel=1e-9)
    assert coherent_mass_attenuation("W", 2.0) < 0.02 * mass_attenuation("W", 2.0)


def test_energies_outside_of_the_tables_are_not_extrapolated() -> None:
    with pytest.raises(ValueError, match="tabulated"):
        mass_attenuation("W", 0.05)


def test_a_jaw_lets_less_than_half_a_percent_of_the_beam_through() -> None:
    energy, number = photon_number(LINAC.beam.spectrum)
    jaws = LINAC.machine.jaws.x
    passed = np.exp(-jaws.thickness * removal_coefficient(LINAC.machine.jaws.alloy, energy))
    fraction = np.sum(energy * number * passed) / np.sum(energy * number)
    assert 0.0005 < fraction < 0.005
