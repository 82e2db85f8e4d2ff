"""Geant4's tables end at 1 GeV, and not at 100 TeV: they take a third of the time, and no dose is seen to change.

Electrons and positrons of 6 MeV into water, electrons into lead, of whose energy a quarter leaves it, mostly as
bremsstrahlung, with the commands for tracked photons; photons of 6 MeV through water, bone and air with those for
photons of GATE. Each voxel must get the same dose within 4 sigma of the difference of two independent runs of 100
batches, and all of them together within 3. What would be seen is in `BEAMS`: sigma of the sum, not to be exceeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.config_transport import TransportConfig
from gatecheck.patient.model import Material
from gatecheck.transport import engine
from gatecheck.transport.gate import run_gate
from gatecheck.transport.materials import air, water
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.volumes import HomogeneousVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

FloatArray = npt.NDArray[np.float64]

BATCHES = 100
ENERGY = 6.0
BONE = Material(
    label=1, name="bone", density=1.9, mass_fractions={"H": 0.05, "C": 0.2, "O": 0.43, "P": 0.1, "Ca": 0.22}
)
LEAD = Material(label=3, name="lead", density=11.35, mass_fractions={"Pb": 1.0})
MATERIALS = [water(0), BONE, air(2), LEAD]


@dataclass(frozen=True, slots=True)
class Beam:
    """Along z onto layers of which each is a volume of 10 voxels."""

    pdg_code: int
    particles: int
    sigma: float
    photon_transport: Literal["tracked", "gate"]
    layers: tuple[tuple[int, float], ...]  # label and thickness, mm

    def volumes(self) -> list[HomogeneousVolume]:
        made, start = [], 0.0
        for index, (label, thickness) in enumerate(self.layers):
            lower, upper = (-300.0, -300.0, start), (300.0, 300.0, start + thickness)
            made.append(HomogeneousVolume(f"layer {index}", label, lower, upper, (1, 1, 10)))
            start += thickness
        return made

    def phase_space(self) -> PhaseSpace:
        return PhaseSpace(
            pdg_code=np.full(self.particles, self.pdg_code, np.int32),
            energy=np.full(self.particles, ENERGY),
            position=np.tile([0.0, 0.0, -1.0], (self.particles, 1)),
            direction=np.tile([0.0, 0.0, 1.0], (self.particles, 1)),
            weight=np.ones(self.particles),
            beam_number=np.ones(self.particles, np.int32),
            histories=self.particles,
            nominal_photons=float(self.particles),
        )


BEAMS = {
    "electrons": Beam(11, 60_000, 0.0005, "tracked", ((0, 40.0),)),
    "positrons": Beam(-11, 60_000, 0.002, "tracked", ((0, 40.0),)),
    "electrons into lead": Beam(11, 100_000, 0.002, "tracked", ((3, 5.0),)),
    "photons": Beam(22, 400_000, 0.005, "gate", ((0, 50.0), (1, 30.0), (2, 100.0), (0, 50.0))),
}


def energy_in_batches(beam: Beam, seed: int, highest: str) -> FloatArray:
    """MeV in every voxel of all layers, (batches, voxels)."""
    command = f"/process/eLoss/maxKinEnergy {highest}"
    engine._NO_HIGHER_ENERGY = command
    settings = TransportConfig(photon_transport=beam.photon_transport)
    assert command in engine.geant4_commands(settings)
    run = run_gate(
        volumes=beam.volumes(),
        materials=MATERIALS,
        phase_space=beam.phase_space(),
        settings=settings,
        seed=seed,
        batches=BATCHES,
    )
    return np.concatenate([np.array(score.batches).reshape(BATCHES, -1) for score in run.scores], axis=1)


@pytest.mark.parametrize("name", list(BEAMS))
def test_the_dose_is_that_of_tables_up_to_100_tera_electron_volts(name: str) -> None:
    requests = [
        {"beam": BEAMS[name], "seed": seed, "highest": highest} for seed, highest in ((11, "1 GeV"), (12, "100 TeV"))
    ]
    short, long = run_in_processes(energy_in_batches, requests, processes=2)

    def sigma_of_mean(values: FloatArray) -> FloatArray:
        return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(BATCHES))

    difference = short.mean(axis=0) - long.mean(axis=0)
    sigma = np.hypot(sigma_of_mean(short), sigma_of_mean(long))
    pulls = difference[sigma > 0] / sigma[sigma > 0]
    totals = [values.sum(axis=1) for values in (short, long)]
    of_total = float(totals[0].mean() / totals[1].mean() - 1)
    sigma_of_total = float(np.hypot(*(sigma_of_mean(total) / total.mean() for total in totals)))
    assert np.abs(pulls).max() < 4
    assert abs(of_total) < 3 * sigma_of_total
    assert sigma_of_total < BEAMS[name].sigma
