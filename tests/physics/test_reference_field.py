"""The reference field in water against measurement: 100 x 100 mm, SSD 1000 mm, TrueBeam 6 MV.

Chang et al., Med. Phys. 39 (2012) 6981, mean of three machines, percent of the maximum. The source's
parameters are provisional: depth dose beyond 15 mm has to lie within 2 %.

A smooth surface is fitted to the energy in all voxels within 32 mm of the axis and below 8 mm: along the
axis a polynomial times exp(-depth/200 mm) and exp(-depth/4 mm) for the end of the build-up,
r² across. Its sigma comes from the spread of batches.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.config_transport import TransportConfig
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.materials import water
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.reference_field import reference_delivery
from gatecheck.transport.run import run_transport
from gatecheck.transport.volumes import HomogeneousVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

Array = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
DEPTH = np.array([15.0, 20.0, 30.0, 50.0, 80.0, 100.0, 150.0, 200.0, 250.0, 300.0])
MEASURED = np.array([100.0, 98.7, 94.5, 86.1, 73.9, 66.4, 50.4, 38.1, 28.9, 22.0])

# Left-right mean at the same depth, percent of the axis.
PROFILE_DEPTH = np.array([15.0, 100.0, 200.0])
OFF_AXIS = np.array([20.0, 40.0])
FITTED_HALF = 45.0
MEASURED_OFF_AXIS = np.array([[100.7, 99.5], [99.9, 96.9], [99.6, 96.4]])

HISTORIES = 3_200_000
BATCHES = 10
RADIUS = 32.0
TANK = HomogeneousVolume(
    name="water tank",
    material_label=0,
    lower=(-200.0, 0.0, -200.0),
    upper=(200.0, 350.0, 200.0),
    scoring_size=(80, 140, 80),
)


def simulated(*, seed: int) -> tuple[Array, Array]:
    """Energy of each batch in the voxels near the axis, (BATCHES, n_depths, n_voxels), and in the profiles' places."""
    linac = load_linac_model(MODELS / "truebeam_stx")
    phase_space = sample_phase_space(reference_delivery(linac), linac, HISTORIES, seed)
    run = run_transport(
        volumes=[TANK],
        materials=[water()],
        phase_space=phase_space,
        settings=TransportConfig(),
        seed=seed,
        batches=BATCHES,
    )
    near = squared_radius() <= RADIUS**2
    batches = run.scores[0].batches
    return np.array([batch.transpose(1, 0, 2)[:, near] for batch in batches]), np.array(
        [off_axis(batch) for batch in batches]
    )


def off_axis(energy_zyx: Array) -> Array:
    """Energy on the axis and at each of OFF_AXIS, for each of PROFILE_DEPTH: shape (n_depths, 1 + n).

    A smooth surface is fitted to all voxels within 45 mm of the axis along both sides of the field, from 10 to
    260 mm: polynomials of depth times exp(-depth/200 mm), times even powers across. The chamber's 6 mm
    are less than what the surface bends over.
    """
    across = -200.0 + 5.0 * (np.arange(80) + 0.5)
    depth = 2.5 * (np.arange(140) + 0.5)
    inside, layers = np.abs(across) < FITTED_HALF, (depth > 10.0) & (depth < 260.0)
    block = energy_zyx[np.ix_(inside, layers, inside)]
    z, d, x = np.meshgrid(across[inside], depth[layers], across[inside], indexing="ij")
    root_weight = np.exp(d.ravel() / 400.0)
    columns = _surface(d.ravel(), x.ravel(), z.ravel()) * root_weight[:, np.newaxis]
    fitted, *_ = np.linalg.lstsq(columns, block.ravel() * root_weight, rcond=None)
    places = np.concatenate([[0.0], OFF_AXIS])
    at_depth, at_x = np.meshgrid(PROFILE_DEPTH, places, indexing="ij")
    along_x = _surface(at_depth.ravel(), at_x.ravel(), np.zeros(at_x.size)) @ fitted
    along_z = _surface(at_depth.ravel(), np.zeros(at_x.size), at_x.ravel()) @ fitted
    return np.asarray((along_x + along_z).reshape(at_x.shape) / 2)


def _surface(d: Array, x: Array, z: Array) -> Array:
    t = d / 150.0 - 1.0
    u, v = (x / FITTED_HALF) ** 2, (z / FITTED_HALF) ** 2
    along = [np.exp(-d / 200.0) * t**power for power in range(4)]
    beside = [np.ones_like(d), u + v, u**2 + v**2, u**3 + v**3, u * v]
    return np.stack([a * b for a in along for b in beside], axis=1)


def squared_radius() -> Array:
    across = -200.0 + 5.0 * (np.arange(80) + 0.5)
    return np.asarray(across[:, np.newaxis] ** 2 + across**2)


def on_axis(energy: Array) -> Array:
    """Dose on the axis at DEPTH, in any unit, from the energy of shape (n_depths, n_voxels)."""
    depth = 2.5 * (np.arange(140) + 0.5)
    rows = depth > 8.0
    r = np.tile(squared_radius()[squared_radius() <= RADIUS**2] / RADIUS**2, rows.sum())
    d = np.repeat(depth[rows], energy.shape[1])

    def functions(d: Array, r: Array) -> Array:
        t = d / 150.0 - 1.0
        long = np.exp(-d / 200.0)
        return np.stack([*(long * t**k for k in range(6)), long * r, long * r * t, np.exp(-d / 4.0)], axis=1)

    root_weight = np.exp(d / 400.0)[:, np.newaxis]
    fitted, *_ = np.linalg.lstsq(functions(d, r) * root_weight, energy[rows].ravel() * root_weight[:, 0], rcond=None)
    return np.asarray(functions(DEPTH, np.zeros_like(DEPTH)) @ fitted)


@pytest.fixture(scope="module")
def runs() -> list[tuple[Array, Array]]:
    return run_in_processes(simulated, [{"seed": 1}, {"seed": 2}], processes=2)


def test_depth_dose_of_the_reference_field_is_within_two_percent_of_measurement(
    runs: list[tuple[Array, Array]],
) -> None:
    """Relative to the dose at 15 mm, the measured maximum. Sigma below 0.8 % (at 300 mm), and none is allowed for."""
    batches = np.concatenate([near for near, _ in runs])
    curves = np.array([on_axis(batch) for batch in batches])
    mean = curves.mean(axis=0)
    relative = 100.0 * mean / mean[0]
    # The ratio's sigma: batches are independent, and so the mean's noise is common to both of its parts.
    spread = curves / mean - (curves[:, :1] / mean[0])
    sigma = spread.std(axis=0, ddof=1) / np.sqrt(len(curves))
    assert sigma.max() < 0.008
    deviation = relative / MEASURED - 1.0
    logger.info("deviation %s, sigma %s", np.round(100 * deviation, 2), np.round(100 * sigma, 2))
    assert np.all(np.abs(deviation) < 0.02), dict(zip(DEPTH.tolist(), (100 * deviation).tolist(), strict=True))


def test_profiles_of_the_reference_field_are_within_two_percent_of_measurement(
    runs: list[tuple[Array, Array]],
) -> None:
    """At 20 and 40 mm from the axis, at 15, 100 and 200 mm depth; sigma below 0.6 %, and none is allowed for."""
    batches = np.concatenate([places for _, places in runs])
    mean = batches.mean(axis=0)
    relative = mean[:, 1:] / mean[:, :1]
    spread = batches[:, :, 1:] / mean[:, 1:] - batches[:, :, :1] / mean[:, :1]
    sigma = spread.std(axis=0, ddof=1) / np.sqrt(len(batches))
    deviation = 100 * relative / MEASURED_OFF_AXIS - 1.0
    report = f"deviation {np.round(100 * deviation, 2).tolist()} %, sigma {np.round(100 * sigma, 2).tolist()} %"
    logger.info("%s", report)
    assert sigma.max() < 0.006, report
    assert np.all(np.abs(deviation) < 0.02), report
