"""Dose by recorded steps against GATE's own electrons, the same photons and the same electrons set free.

Slabs of water, bone, lung and air, 2 mm thick each, in a beam of 6 MV of 60 x 60 mm, and a cube of water in air;
both runs take the same photon interactions, so that what differs is the electrons. Sigma is of the difference of
batches; differences are held to 4 sigma, and to 0.2 % where that is more.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water.tank import field_delivery
from gatecheck.config_transport import TransportConfig
from gatecheck.linac.load import load_linac_model
from gatecheck.patient.model import Material
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.gate import GateRun
from gatecheck.transport.materials import air, water
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.run import run_transport
from gatecheck.transport.volumes import VoxelVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

logger = logging.getLogger(__name__)

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
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
BATCHES = 20
# Slabs of 2 mm, along the beam.
LAYERS = [0] * 15 + [1] * 5 + [0] * 5 + [2] * 10 + [0] * 5 + [3] * 5 + [0] * 15


# Voxels of 4 mm: 10 of air, 25 of water, 10 of air along each side.
AROUND, CUBE = 10, 25


def slabs() -> VoxelVolume:
    labels_zyx = np.broadcast_to(np.array(LAYERS, np.uint16)[None, :, None], (60, len(LAYERS), 60)).copy()
    return VoxelVolume("slabs", labels_zyx, (2.0, 2.0, 2.0), (-59.0, 1.0, -59.0))


def cube_in_air() -> VoxelVolume:
    labels_zyx = np.full(3 * [CUBE + 2 * AROUND], 3, np.uint16)
    labels_zyx[3 * (slice(AROUND, -AROUND),)] = 0
    return VoxelVolume("cube", labels_zyx, (4.0, 4.0, 4.0), (-88.0, -38.0, -88.0))


def transported(*, electrons: str, volume: VoxelVolume, photons: int) -> GateRun:
    """The same photons with electrons of either kind; in a process of its own."""
    settings = TransportConfig(electron_transport=electrons)
    describe_engine(settings)
    linac = load_linac_model(MODELS / "truebeam_stx")
    phase_space = sample_phase_space(field_delivery(JawField.of_size(60.0, 60.0), linac), linac, photons, 7)
    return run_transport(
        volumes=[volume],
        materials=MATERIALS,
        phase_space=phase_space,
        settings=settings,
        seed=11,
        batches=BATCHES,
    )


def per_batch(run: GateRun, across: slice) -> npt.NDArray[np.float64]:
    """MeV in each slab within some rows across the beam, (batches, slabs)."""
    return np.array([batch[across, :, across].sum(axis=(0, 2)) for batch in run.scores[0].batches])


def both(volume: VoxelVolume, photons: int) -> tuple[GateRun, GateRun]:
    asked = [{"electrons": electrons, "volume": volume, "photons": photons} for electrons in ("gate", "replayed")]
    by_gate, replayed = run_in_processes(transported, asked, processes=2)
    logger.info("GATE %.0f s, recorded steps %.0f s", by_gate.seconds_transport, replayed.seconds_transport)
    return by_gate, replayed


@pytest.fixture(scope="module")
def runs() -> tuple[GateRun, GateRun]:
    return both(slabs(), 8_000_000)


@pytest.fixture(scope="module")
def cube_runs() -> tuple[GateRun, GateRun]:
    return both(cube_in_air(), 3_000_000)


# Slabs, and the largest sigma, %.
REGIONS = {
    "water before": (slice(2, 15), 0.1),
    "bone": (slice(15, 20), 0.1),
    "water behind bone": (slice(20, 25), 0.15),
    "first of lung": (slice(25, 27), 0.5),
    "lung": (slice(27, 33), 0.3),
    "last of lung": (slice(33, 35), 0.5),
    "first behind lung": (slice(35, 36), 0.4),
    "air": (slice(40, 45), 1.0),
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
    difference = 100 * (replayed - by_gate) / by_gate.mean()
    mean, sigma = difference.mean(), difference.std(ddof=1) / np.sqrt(BATCHES)
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
    axis = by_gate[:, MIDDLE].mean()
    difference = 100 * (replayed - by_gate)[:, rows].mean(axis=1) / axis
    mean, sigma = difference.mean(), difference.std(ddof=1) / np.sqrt(BATCHES)
    logger.info("%s, %s: %+.2f +- %.2f %% of the axis", matter, place, mean, sigma)
    assert sigma < 0.5
    assert abs(mean) < max(4 * sigma, 0.1)


def test_squares_are_gates(runs: tuple[GateRun, GateRun]) -> None:
    squares = [run.scores[0].energy_squared_zyx.sum() for run in runs]
    assert squares[1] == pytest.approx(squares[0], rel=0.05)


BEHIND = slice(AROUND + CUBE, None)
# Of the cube in air: rows along the beam, and which of the others by the larger of their distances from the axis, mm.
AIR_ROUND_CUBE = {
    "behind, outside of the field": (BEHIND, (40.0, 90.0)),
    "behind, in the field": (BEHIND, (0.0, 28.0)),
    "at the sides": (slice(AROUND, AROUND + CUBE), (50.0, 90.0)),
}


@pytest.mark.parametrize("place", AIR_ROUND_CUBE)
def test_air_round_a_cube_of_water_gets_gates_dose(cube_runs: tuple[GateRun, GateRun], place: str) -> None:
    """Within 4 sigma, or 2 %: GATE's own moves by 1 to 3 % with its final range and with the faces of voxels there."""
    along, (nearest, farthest) = AIR_ROUND_CUBE[place]
    across = np.abs(4.0 * (np.arange(CUBE + 2 * AROUND) - AROUND - CUBE // 2))
    from_axis = np.maximum(across[:, None], across[None, :])
    chosen = (from_axis > nearest - 1e-6) & (from_axis < farthest)
    by_gate, replayed = (
        np.array([batch[:, along].sum(axis=1)[chosen].sum() for batch in run.scores[0].batches]) for run in cube_runs
    )
    difference = 100 * (replayed - by_gate) / by_gate.mean()
    mean, sigma = difference.mean(), difference.std(ddof=1) / np.sqrt(BATCHES)
    logger.info("air %s: %+.2f +- %.2f %%", place, mean, sigma)
    assert sigma < 2.0
    assert abs(mean) < max(4 * sigma, 2.0)
