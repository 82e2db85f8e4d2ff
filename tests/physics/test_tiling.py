"""Fine and coarse boxes side by side give the dose of any other split."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.config_transport import TransportConfig
from gatecheck.patient.boxes import Extent, tile
from gatecheck.patient.model import Material
from gatecheck.transport.gate import Score
from gatecheck.transport.materials import air, water
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.process import run_in_process
from gatecheck.transport.run import run_transport
from gatecheck.transport.scored_dose import dose_from_energy
from gatecheck.transport.volumes import VoxelVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

FloatArray = npt.NDArray[np.float64]

PHOTONS = 400_000
BATCHES = 20
COARSE = 4.0
CUBE = Extent((-40.0, -40.0, -40.0), (40.0, 40.0, 40.0))
BONE = Material(
    label=1,
    name="cortical bone",
    density=1.92,
    mass_fractions={"H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.226},
)
MATERIALS = [water(0), BONE, air(2)]

# The split's faces lie in the beam, beside it, and in bone and air.
SPLITS: dict[str, Extent | None] = {
    "none": None,
    "in the beam": Extent((-12.0, -20.0, -8.0), (8.0, 12.0, 12.0)),
    "around the beam": Extent((-28.0, -12.0, -28.0), (28.0, 24.0, 28.0)),
}


def _volumes(fine: Extent | None) -> list[VoxelVolume]:
    tiling = tile(CUBE, fine, anchor=(0.0, 0.0, 0.0), coarse_spacing=COARSE, fine_spacing=2.0)
    volumes = []
    for box in tiling.boxes:
        grid = box.grid
        axes = [grid.corner[axis] + grid.spacing * (np.arange(grid.size[axis]) + 0.5) for axis in range(3)]
        z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
        labels = np.zeros(z.shape, np.uint16)
        labels[(y > -4) & (y < 4) & (x < 8)] = 1
        labels[(np.abs(x - 4) < 8) & (y > 8) & (y < 16)] = 2
        first = (float(axes[0][0]), float(axes[1][0]), float(axes[2][0]))
        volumes.append(VoxelVolume(box.name, labels, (grid.spacing,) * 3, first))
    return volumes


def _phase_space(seed: int) -> PhaseSpace:
    random = np.random.default_rng(seed)
    position = np.full((PHOTONS, 3), -100.0)
    position[:, 0] = random.uniform(-10, 10, PHOTONS)
    position[:, 2] = random.uniform(-10, 10, PHOTONS)
    return PhaseSpace(
        pdg_code=np.full(PHOTONS, 22, np.int32),
        energy=np.full(PHOTONS, 2.0),
        position=position,
        direction=np.tile([0.0, 1.0, 0.0], (PHOTONS, 1)),
        weight=np.ones(PHOTONS),
        beam_number=np.ones(PHOTONS, np.int32),
        histories=PHOTONS,
        nominal_photons=float(PHOTONS),
    )


def _energy_on_coarse_voxels(fine: Extent | None, seed: int) -> FloatArray:
    """Energy per coarse voxel and batch, shape (batches, 20, 20, 20)."""
    volumes = _volumes(fine)
    run = run_transport(
        volumes=volumes,
        materials=MATERIALS,
        phase_space=_phase_space(seed),
        settings=TransportConfig(),
        seed=seed,
        batches=BATCHES,
    )
    result = np.zeros((BATCHES, 20, 20, 20))
    for volume, score in zip(volumes, run.scores, strict=True):
        ratio = round(COARSE / volume.spacing[0])
        start = [round((low + 40.0) / COARSE) for low in volume.lower]
        for number, batch in enumerate(score.batches):
            nz, ny, nx = (length // ratio for length in batch.shape)
            summed = batch.reshape(nz, ratio, ny, ratio, nx, ratio).sum(axis=(1, 3, 5))
            result[number, start[2] : start[2] + nz, start[1] : start[1] + ny, start[0] : start[0] + nx] += summed
    return result


@pytest.fixture(scope="module")
def energies() -> dict[str, FloatArray]:
    return {
        name: run_in_process(_energy_on_coarse_voxels, fine=fine, seed=20 + number)
        for number, (name, fine) in enumerate(SPLITS.items())
    }


def _compare(one: FloatArray, other: FloatArray, **axes: Any) -> tuple[FloatArray, FloatArray]:
    """Differences of sums over axes, in sigma (from the spread of batches), and relative to the larger."""
    a, b = one.sum(**axes), other.sum(**axes)
    sigma = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / BATCHES)
    difference = b.mean(axis=0) - a.mean(axis=0)
    return difference / sigma, difference / np.maximum(a.mean(axis=0), b.mean(axis=0)).max()


@pytest.mark.parametrize("split", ["in the beam", "around the beam"])
def test_the_dose_does_not_change_when_the_split_moves(energies: dict[str, FloatArray], split: str) -> None:
    """Total energy within 3 sigma; slices along each axis within 4.5 sigma (60 values of Student's t with 38
    degrees of freedom: 0.4 % by chance), and as a whole by their sum of squares."""
    one, other = energies["none"], energies[split]
    total, _ = _compare(one, other, axis=(1, 2, 3))
    assert abs(float(total)) < 3
    for axes in ((1, 2), (1, 3), (2, 3)):
        in_sigma, _ = _compare(one, other, axis=axes)
        assert np.max(np.abs(in_sigma)) < 4.5
        # Chi square of 20 correlated slices: mean 20, sigma about 6.5; 4 sigma allowed.
        assert float((in_sigma**2).sum()) < 46


def test_two_halves_of_a_split_hold_the_density_that_the_labels_say() -> None:
    """Dose is energy by mass, whatever the size of a voxel."""
    for volume in _volumes(SPLITS["in the beam"]):
        energy = np.ones(volume.labels_zyx.shape)
        dose, _ = dose_from_energy(Score(energy, energy), volume, MATERIALS, "medium")
        bone = volume.labels_zyx == 1
        if bone.any() and (volume.labels_zyx == 0).any():
            ratio = dose[volume.labels_zyx == 0][0] / dose[bone][0]
            assert ratio == pytest.approx(1.92)
