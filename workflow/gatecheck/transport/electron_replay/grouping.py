"""Materials that electrons cannot tell apart but by the length of their way share recorded steps.

Steps are recorded in a reference of each group: a mixture of a few substances, the same for all patients, so that they
are recorded once. In a material of the group, lengths are those in the reference times the ratio of their linear
stopping powers: for equal composition that is exact but for the density effect (Kawrakow, Fippel and Friedrich, Med.
Phys. 23 (1996) 445), which is in the ratio at one energy, so groups are also divided by density. Turns are those in the
reference times the root of the ratio of the scattering powers that belong to a loss of energy, as the spread of many
small turns is; groups are divided by it all the same, for single turns are not many and bremsstrahlung goes with it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.errors import SimulationError
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.patient.model import Material
from gatecheck.transport.materials import (
    WATER_FRACTIONS,
    atomic_number_and_mass,
    is_liquid_water,
    mean_excitation_energy_in_geant4,
    mean_excitation_energy_of_geant4,
    water,
)

# Scattering per energy lost in one group lies within so much of its logarithm; water is in the middle of its own.
_WIDTH = 0.08
# g/cm3 between groups of equal scattering, and what references of the thinner ones have: air and other gases, lung full
# of air, lung. The rest has what its substances have. The first is where a bin of a patient's materials begins.
_DENSITY_STEPS = (0.022, 0.15, 0.6)
_THIN_DENSITIES = (0.0012, 0.08, 0.3)
# Density and composition of what references are mixed from, by increasing scattering: polyethylene, water, cortical
# bone (ICRU Report 44), titanium, iron. Water's density keeps it apart from Geant4's liquid water, whose density effect
# is not the general formula's: that is a group of its own.
_SUBSTANCES: tuple[tuple[float, dict[str, float]], ...] = (
    (0.94, {"H": 0.1437, "C": 0.8563}),
    (1.0001, WATER_FRACTIONS),
    (
        1.92,
        {
            "H": 0.034,
            "C": 0.155,
            "N": 0.042,
            "O": 0.435,
            "Na": 0.001,
            "Mg": 0.002,
            "P": 0.103,
            "S": 0.003,
            "Ca": 0.225,
        },
    ),
    (4.54, {"Ti": 1.0}),
    (7.87, {"Fe": 1.0}),
)
_LIQUID_WATER = (-1, 0)
_STOPPING_POWER_ENERGY = 1.0  # MeV, near where electrons of megavoltage photons do most
_PLASMA_ENERGY = 28.816  # eV, of one electron and g/mol in a cm3


@dataclass(frozen=True, slots=True)
class MatterGroups:
    """How materials are shared out.

    Attributes
    ----------
    references : tuple of Material
        That in which the steps of each group are recorded, labelled 0, 1, ...
    group : ndarray of shape (m,), int64
        Group of each material.
    length, turn : ndarray of shape (m,)
        Lengths in each material over lengths in its group's reference, and sines of turns likewise.
    is_gas : ndarray of shape (m,), bool
        But for the air outside of the body.
    """

    references: tuple[Material, ...]
    group: npt.NDArray[np.int64]
    length: npt.NDArray[np.float64]
    turn: npt.NDArray[np.float64]
    is_gas: npt.NDArray[np.bool_]


def group_materials(materials: Sequence[Material]) -> MatterGroups:
    """Share materials out.

    Raises
    ------
    SimulationError
        For an element that is not known, or matter that scatters less than polyethylene or more than iron.
    """
    keys = [_key(one) for one in materials]
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    references = tuple(_reference(*key).model_copy(update={"label": number}) for key, number in numbers.items())
    group = np.array([numbers[key] for key in keys], dtype=np.int64)
    length = np.array(
        [
            _linear_stopping_power(references[number]) / _linear_stopping_power(one)
            for number, one in zip(group, materials, strict=True)
        ]
    )
    turn = np.array(
        [
            math.sqrt(_scattering_per_loss(one) / _scattering_per_loss(references[number]))
            for number, one in zip(group, materials, strict=True)
        ]
    )
    return MatterGroups(references, group, length, turn, np.array([is_gas(one) for one in materials]))


def is_gas(material: Material) -> bool:
    """Whether it is one, and not the air around the body."""
    return material.density < _DENSITY_STEPS[0] and not material.is_outside


def _key(material: Material) -> tuple[int, int]:
    """The step of density, and scattering per energy lost in whole widths above water's."""
    if is_liquid_water(material):
        return _LIQUID_WATER
    density_step = int(np.searchsorted(_DENSITY_STEPS, material.density))
    return density_step, round(math.log(_scattering_per_loss(material) / _of_water()) / _WIDTH)


@functools.cache
def _of_water() -> float:
    return _scattering_per_loss(water())


@functools.cache
def _reference(density_step: int, scattering: int) -> Material:
    """The mixture in the middle of a group."""
    if (density_step, scattering) == _LIQUID_WATER:
        return water()
    wanted = _of_water() * math.exp(scattering * _WIDTH)
    for number in range(len(_SUBSTANCES) - 1):
        ends = [_mixture(density_step, number, share) for share in (0.0, 1.0)]
        low, high = (_scattering_per_loss(end) for end in ends)
        # Half a width beyond the ends is as near as it is within a group.
        if low * math.exp(-_WIDTH / 2) <= wanted <= high * math.exp(_WIDTH / 2):
            share = _share(density_step, number, wanted)
            return _mixture(density_step, number, share).model_copy(
                update={"name": f"electron-steps-{density_step}-{scattering}"}
            )
    raise SimulationError(
        "Electrons' recorded steps: matter found that scatters less than polyethylene or more than iron. Set "
        "transport.electron_transport to gate."
    )


def _share(density_step: int, number: int, wanted: float) -> float:
    """Of the second of two neighbouring substances, for what is wanted of their mixture; by halving, to 1e-4."""
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        if _scattering_per_loss(_mixture(density_step, number, middle)) < wanted:
            low = middle
        else:
            high = middle
    return round(low, 4)


def _mixture(density_step: int, number: int, share: float) -> Material:
    """Of two neighbouring substances, in the density of a step."""
    (thin, first), (dense, second) = itertools.islice(_SUBSTANCES, number, number + 2)
    fractions = {
        symbol: round((1 - share) * first.get(symbol, 0.0) + share * second.get(symbol, 0.0), 6)
        for symbol in sorted(first | second)
    }
    density = round(1 / ((1 - share) / thin + share / dense), 4)
    if density_step < len(_THIN_DENSITIES):
        density = _THIN_DENSITIES[density_step]
    return Material(
        label=0,
        name="mixture",
        density=density,
        mass_fractions={symbol: fraction for symbol, fraction in fractions.items() if fraction > 0},
    )


def _scattering_per_loss(material: Material) -> float:
    return _scattering_power(material) * material.density / _linear_stopping_power(material)


def _constituents(material: Material) -> list[tuple[float, int, float]]:
    """Mass fraction, atomic number and atomic mass of each element."""
    try:
        return [(share, *atomic_number_and_mass(symbol)) for symbol, share in material.mass_fractions.items()]
    except KeyError as error:
        raise SimulationError(
            f"Material {material.name}: element {error.args[0]} is not known to the electrons' recorded steps. Set "
            "transport.electron_transport to gate."
        ) from error


def _scattering_power(material: Material) -> float:
    """Sum of w Z (Z + 1) / A, to which the mass scattering power is in proportion but for a logarithm."""
    return sum(share * z * (z + 1) / a for share, z, a in _constituents(material))


def _linear_stopping_power(material: Material) -> float:
    """Of collisions, in relative units (Berger and Seltzer, ICRU Report 37, equation 2.13)."""
    tau = _STOPPING_POWER_ENERGY / ELECTRON_REST_ENERGY
    momentum = math.sqrt(tau * (tau + 2))
    squared = 1 - 1 / (1 + tau) ** 2
    kinetic = (1 - squared) * (1 + tau * tau / 8 - (2 * tau + 1) * math.log(2))
    electrons, excitation, effect = stopping_parameters(material, math.log10(momentum))
    excitation *= 1e-6 / ELECTRON_REST_ENERGY
    logarithm = math.log(tau * tau * (tau + 2) / (2 * excitation * excitation)) + kinetic
    return material.density * electrons * (logarithm - effect)


def water_to_medium(material: Material) -> float:
    """Mass stopping power (of collisions, unrestricted) of water over that of a material, for electrons of 1 MeV.

    Dose to water in its place is so many times the dose to it (Bragg and Gray; Siebers et al., Phys. Med. Biol. 45
    (2000) 983). A 6 MV beam's electrons have about that energy; from 0.3 to 3 MeV the ratio of bone changes by 0.5 %.
    """
    reference = water()
    of_water = _linear_stopping_power(reference) / reference.density
    return of_water / (_linear_stopping_power(material) / material.density)


def stopping_parameters(material: Material, log_momentum: float) -> tuple[float, float, float]:
    """Electrons, mol/g, mean excitation energy, eV, and density effect at log10 of momentum over mass, as Geant4's.

    Geant4 takes Sternheimer and Peierls' formula with its own excitation energy, and shifts it as a whole when it is
    given another (G4IonisParamMat). So the formula's cases are those of its own: Schneider's bone from CT number 1000
    to 1400 is among matter below 100 eV, with 93 to 99 eV, though it is given 100 to 108 eV.
    """
    electrons = sum(share * z / a for share, z, a in _constituents(material))
    excitation = mean_excitation_energy_in_geant4(material)
    own = mean_excitation_energy_of_geant4(material)
    plasma = _PLASMA_ENERGY * math.sqrt(material.density * electrons)
    return electrons, excitation, _density_effect(log_momentum - math.log10(excitation / own), own, plasma)


def _density_effect(log_momentum: float, excitation: float, plasma: float) -> float:
    """Of condensed matter by the general formula (Sternheimer and Peierls, Phys. Rev. B 3 (1971) 3681)."""
    c = 2 * math.log(excitation / plasma) + 1
    if excitation < 100:
        begins, ends = (0.2 if c < 3.681 else 0.326 * c - 1.0), 2.0
    else:
        begins, ends = (0.2 if c < 5.215 else 0.326 * c - 1.5), 3.0
    if log_momentum <= begins:
        return 0.0
    effect = 2 * math.log(10) * log_momentum - c
    if log_momentum < ends:
        effect += (c - 2 * math.log(10) * begins) * ((ends - log_momentum) / (ends - begins)) ** 3
    return effect
