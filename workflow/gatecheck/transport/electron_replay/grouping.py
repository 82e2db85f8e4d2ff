"""Materials that electrons cannot tell apart but by their density share recorded steps.

Steps are recorded in one material of each group. In another of the group, lengths are those of the first times the
ratio of their linear stopping powers: for equal composition that is exact but for the density effect (Kawrakow, Fippel
and Friedrich, Med. Phys. 23 (1996) 445), so groups are also divided by density; angles are those of the first, so
groups are divided by scattering power.
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
_STOPPING_POWER_ENERGY = 0.5  # MeV; ratios within a group vary by less than 0.1 % from 0.1 to 6 MeV


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
    """Of collisions, without density effect, in relative units (Berger and Seltzer, ICRU Report 37, equation 2.13)."""
    tau = _STOPPING_POWER_ENERGY / ELECTRON_REST_ENERGY
    squared = 1 - 1 / (1 + tau) ** 2
    kinetic = (1 - squared) * (1 + tau * tau / 8 - (2 * tau + 1) * math.log(2))
    electrons = sum(share * z / a for share, z, a in _constituents(material))
    excitation = mean_excitation_energy_of(material.mass_fractions) * 1e-6 / ELECTRON_REST_ENERGY
    logarithm = math.log(tau * tau * (tau + 2) / (2 * excitation * excitation)) + kinetic
    return material.density * electrons * logarithm
