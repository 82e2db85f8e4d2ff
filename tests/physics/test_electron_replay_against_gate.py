"""Dose by recorded steps against GATE's own electrons, the same photons and the same electrons set free.

Slabs of water, bone, lung and air, 2 mm thick each, in a beam of 6 MV of 60 x 60 mm; both runs take the same photon
interactions, so that what differs is the electrons. Sigma is of the difference of batches; differences are
held to 4 sigma, and to 0.2 % where that is more. Air, where GATE's own dose depends on its steps, has tests of its own.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pytest
from recorded_steps import apart, by_gate_and_replayed

from gatecheck.config_transport import TransportConfig
from gatecheck.patient.model import Material
from gatecheck.transport.gate import GateRun
from gatecheck.transport.materials import air, water
from gatecheck.transport.volumes import VoxelVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

logger = logging.getLogger(__name__)

BONE = Material(
    label=1,
    name="bone",
    density=1.45,
    mass_fractions={"H": 0.05, "C": 0.212, "N": 0.04, "O": 0.435, "Mg": 0.002, "P": 0.081, "S": 0.003, "Ca": 0.177},
)
LUNG = Material(
    label=2, name="lung", density=0.26, mass_fractions={"H": 0.103, "C": 0.105, "N": 0.031, "O": 0.759, "Cl": 0.002}
)
MATERIALS = [water(0), BONE, LUNG, air(3)]
PHOTONS = 10_000_000
# Slabs of 2 mm, along the beam.
LAYERS = [0] * 15 + [1] * 5 + [0] * 5 + [2] * 10 + [0] * 5 + [3] * 5 + [0] * 15


def per_batch(run: GateRun, across: slice) -> npt.NDArray[np.float64]:
    """MeV in each slab within some rows across the beam, (batches, slabs)."""
    return np.array([batch[across, :, across].sum(axis=(0, 2)) for batch in run.scores[0].batches])


@pytest.fixture(scope="module")
def runs() -> tuple[GateRun, GateRun]:
    labels_zyx = np.broadcast_to(np.array(LAYERS, np.uint16)[None, :, None], (60, len(LAYERS), 60)).copy()
    volume = VoxelVolume("slabs", labels_zyx, (2.0, 2.0, 2.0), (-59.0, 1.0, -59.0))
    return by_gate_and_replayed(volume, MATERIALS, PHOTONS, TransportConfig())


# Slabs, and the largest sigma, %.
REGIONS = {
    "water before": (slice(2, 15), 0.1),
    "bone": (slice(15, 20), 0.1),
    "water behind bone": (slice(20, 25), 0.15),
    "first of lung": (slice(25, 27), 0.5),
    "lung": (slice(27, 33), 0.3),
    "last of lung": (slice(33, 35), 0.5),
    "first behind lung": (slice(35, 36), 0.4),
    "first behind air": (slice(45, 46), 0.4),
    "water behind": (slice(46, 60), 0.1),
    "everything": (slice(0, 60), 0.05),
}
# Within the field, 60 mm wide in 120 mm.
MIDDLE = slice(17, 43)


@pytest.mark.parametrize("region", REGIONS)
def test_mean_dose_in_slabs_is_gates(runs: tuple[GateRun, GateRun], region: str) -> None:
    slabs, largest_sigma = REGIONS[region]
    by_gate, replayed = (per_batch(run, MIDDLE)[:, slabs].sum(axis=1) for run in runs)
    mean, sigma = apart(by_gate, replayed)
    logger.info("%s: %+.2f +- %.2f %%", region, mean, sigma)
    assert sigma < largest_sigma
    assert abs(mean) < max(4 * sigma, 0.2)


# Rows across the field's edge, which is between rows 14 and 15, and as many from the other side.
EDGE = {"far outside": (5, 11), "outside": (11, 15), "inside": (15, 17), "well inside": (17, 21)}


@pytest.mark.parametrize("matter", ["water before", "lung"])
@pytest.mark.parametrize("place", EDGE)
def test_penumbra_is_gates(runs: tuple[GateRun, GateRun], matter: str, place: str) -> None:
    """Mean dose of rows beside the field's edge, in per cent of the axis: within 4 sigma, or 0.1 %."""
    rows = [*range(*EDGE[place]), *(59 - row for row in range(*EDGE[place]))]
    by_gate, replayed = (
        np.array([batch[MIDDLE][:, REGIONS[matter][0]].sum(axis=(0, 1)) for batch in run.scores[0].batches])
        for run in runs
    )
    mean, sigma = apart(by_gate[:, rows].mean(axis=1), replayed[:, rows].mean(axis=1), by_gate[:, MIDDLE].mean())
    logger.info("%s, %s: %+.2f +- %.2f %% of the axis", matter, place, mean, sigma)
    assert sigma < 0.5
    assert abs(mean) < max(4 * sigma, 0.1)


def test_squares_are_gates(runs: tuple[GateRun, GateRun]) -> None:
    squares = [run.scores[0].energy_squared_zyx.sum() for run in runs]
    assert squares[1] == pytest.approx(squares[0], rel=0.05)
