"""Excitation energies and density effects by which recorded steps are made longer, against Geant4's own.

Geant4 gives no stopping power of electrons to ask for here (0 comes), but one of protons: in Bethe's formula both are
the same for a proton as fast as an electron of 1 MeV.
"""

from __future__ import annotations

import logging
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest

from gatecheck.config_transport import TransportConfig
from gatecheck.patient.composition import ELEMENTS, FIRST_CT_NUMBERS, MASS_FRACTIONS, composition_number_of_density
from gatecheck.patient.model import Material
from gatecheck.transport.electron_replay.grouping import group_materials, stopping_parameters
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.gate import add_materials
from gatecheck.transport.gate_run import new_simulation, run_simulation, take_process
from gatecheck.transport.geant4_data import activate, resolve
from gatecheck.transport.materials import air, water
from gatecheck.transport.process import run_in_processes

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.physics, pytest.mark.gate]

DENSITIES = (
    0.1,
    0.26,
    0.5,
    0.7,
    0.93,
    1.0,
    1.03,
    1.06,
    1.15,
    1.3,
    1.45,
    1.6,
    1.75,
    1.8,
    1.86,
    1.88,
    1.9,
    1.95,
    2.1,
    4.5,
)


def tissue(label: int, density: float) -> Material:
    """Schneider's of a density, g/cm3."""
    row = int(np.searchsorted(FIRST_CT_NUMBERS, composition_number_of_density(density), side="right")) - 1
    fractions = {name: float(share) for name, share in zip(ELEMENTS, MASS_FRACTIONS[row], strict=True) if share > 0}
    return Material(label=label, name=f"tissue of {density}", density=density, mass_fractions=fractions)


def materials() -> list[Material]:
    """Tissues, titanium, air, and water that Geant4 does not take for liquid water."""
    return [*(tissue(label, density) for label, density in enumerate(DENSITIES)), air(90), water(91, density=1.0001)]


def with_references() -> list[Material]:
    """These, and what the steps of all of them are recorded in."""
    given = materials()
    return given + [one.model_copy(update={"label": 100 + one.label}) for one in group_materials(given).references]


def stopping_powers(energy: float) -> list[float]:
    """Of collisions, MeV cm2/g, as Geant4 computes them; in a process of its own."""
    settings = TransportConfig()
    describe_engine(settings)
    with tempfile.TemporaryDirectory() as folder:
        take_process()
        activate(resolve(settings.geant4_data))
        simulation = new_simulation(settings, seed=1, folder=Path(folder))
        names = add_materials(simulation, with_references())
        for number, name in enumerate(names.values()):
            box = simulation.add_volume("Box", f"box_{number}")
            box.size, box.material, box.translation = [1.0] * 3, name, [2.0 * number - 60.0, 0.0, 0.0]
            table = simulation.add_actor("EmCalculatorActor", f"table_{number}")
            table.attached_to, table.is_ion, table.particle_name = f"box_{number}", False, "proton"
            table.material, table.nominal_energies = name, [energy]
            table.savefile_path = str(Path(folder) / f"{number}.txt")
        source = simulation.add_source("GenericSource", "source")
        source.particle, source.n, source.energy.mono = "geantino", 1, 1.0
        run_simulation(simulation)
        return [_in_table(Path(folder) / f"{number}.txt") for number in range(len(names))]


def _in_table(path: Path) -> float:
    return float(path.read_text().split()[-1])


ELECTRON_MASS, PROTON_MASS = 0.51099895, 938.272088  # MeV
GAMMA = 1 + 1.0 / ELECTRON_MASS


def by_bethe(material: Material) -> float:
    """Of a proton, in relative units, per g/cm2."""
    momentum_squared = GAMMA**2 - 1
    speed_squared = momentum_squared / GAMMA**2
    ratio = ELECTRON_MASS / PROTON_MASS
    most = 2 * ELECTRON_MASS * momentum_squared / (1 + 2 * GAMMA * ratio + ratio**2)
    electrons, excitation, density_effect = stopping_parameters(material, math.log10(momentum_squared) / 2)
    argument = 2 * ELECTRON_MASS * momentum_squared * most / (1e-6 * excitation) ** 2
    return electrons * (math.log(argument) - 2 * speed_squared - density_effect)


def test_stopping_powers_are_in_geant4s_ratios() -> None:
    """Of each material to what its steps are recorded in, within 0.05 %.

    Not of all to water: for titanium alone Geant4 has a density effect of its own, 0.8 % of its stopping power.
    """
    energy = (GAMMA - 1) * PROTON_MASS
    (by_geant4,) = run_in_processes(stopping_powers, [{"energy": energy}], processes=1)
    of_water = by_geant4[len(materials()) - 1] / by_bethe(materials()[-1])
    apart = np.array([by_bethe(one) for one in with_references()]) / np.array(by_geant4) * of_water
    groups = group_materials(materials())
    references = apart[len(materials()) :][groups.group]
    for one, ratio, reference in zip(materials(), apart, references, strict=False):
        logger.info(
            "%s, %.4f g/cm3: to water %+.3f %%, to its reference %+.3f %%",
            *(one.name, one.density, 100 * ratio - 100, 100 * ratio / reference - 100),
        )
    np.testing.assert_allclose(apart[: len(materials())] / references, 1.0, atol=5e-4)
