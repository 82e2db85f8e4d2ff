"""Materials that electrons cannot tell apart but by their density share recorded steps.

Steps are recorded in one material of each group. In another of the group, lengths are those of the first times the
ratio of their linear stopping powers: for equal composition that is exact but for the density effect (Kawrakow, Fippel
and Friedrich, Med. Phys. 23 (1996) 445), which is in the ratio at one energy, so groups are also divided by density;
angles are those of the first, so groups are divided by scattering power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.errors import SimulationError
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.patient.model import Material
from gatecheck.transport.materials import atomic_number_and_mass, mean_excitation_energy_of

# Scattering powers in one group lie within so much of their logarithm.
_WIDTH = 0.04
# g/cm3 between groups of equal scattering power: air and other gases, lung, the rest.
_DENSITY_STEPS = (0.02, 0.15, 0.6)
_STOPPING_POWER_ENERGY = 1.0  # MeV, near where electrons of megavoltage photons do most
_PLASMA_ENERGY = 28.816  # eV, of one electron and g/mol in a cm3


@dataclass(frozen=True, slots=True)
class MatterGroups:
    """How materials are shared out.

    Attributes
    ----------
    references : tuple of Material
        The one of each group in which steps are recorded, labelled 0, 1, ...
    group : ndarray of shape (m,), int64
        Group of each material.
    length : ndarray of shape (m,)
        Lengths in each material over lengths in its group's reference.
    """

    references: tuple[Material, ...]
    group: npt.NDArray[np.int64]
    length: npt.NDArray[np.float64]


def group_materials(materials: Sequence[Material]) -> MatterGroups:
    """Share materials out.

    The reference of a group is its material of middle density, of gases the thinnest.

    Raises
    ------
    SimulationError
        For an element that is not known.
    """
    keys = [
        (int(np.searchsorted(_DENSITY_STEPS, one.density)), round(math.log(_scattering_power(one)) / _WIDTH))
        for one in materials
    ]
    references: list[Material] = []
    group = np.empty(len(materials), dtype=np.int64)
    length = np.empty(len(materials))
    for number, key in enumerate(sorted(set(keys))):
        members = [index for index, one in enumerate(keys) if one == key]
        members.sort(key=lambda index: materials[index].density)
        reference = materials[members[0 if key[0] == 0 else len(members) // 2]]
        references.append(reference.model_copy(update={"label": number}))
        for index in members:
            group[index] = number
            length[index] = _linear_stopping_power(reference) / _linear_stopping_power(materials[index])
    return MatterGroups(tuple(references), group, length)


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
    electrons = sum(share * z / a for share, z, a in _constituents(material))
    energy = mean_excitation_energy_of(material.mass_fractions)
    excitation = energy * 1e-6 / ELECTRON_REST_ENERGY
    logarithm = math.log(tau * tau * (tau + 2) / (2 * excitation * excitation)) + kinetic
    plasma = _PLASMA_ENERGY * math.sqrt(material.density * electrons)
    return material.density * electrons * (logarithm - _density_effect(math.log10(momentum), energy, plasma))


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
