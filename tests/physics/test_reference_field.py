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

from gatecheck.config import TransportConfig
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

HISTORIES = 2_500_000
BATCHES = 10
RADIUS = 32.0
TANK = HomogeneousVolume(
    name="water tank",
    material_label=0,
    lower=(-200.0, 0.0, -200.0),
    upper=(200.0, 350.0, 200.0),
    scoring_size=(80, 140, 80),
)


def simulated(*, seed: int) -> Array:
    """Energy of each batch in the voxels near the axis, shape (BATCHES, n_depths, n_voxels)."""
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
    return np.array([batch.transpose(1, 0, 2)[:, near] for batch in run.scores[0].batches])


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


def test_depth_dose_of_the_reference_field_is_within_two_percent_of_measurement() -> None:
    """Relative to the dose at 15 mm, the measured maximum. Sigma below 0.8 % (at 300 mm), and none is allowed for."""
    batches = np.concatenate(run_in_processes(simulated, [{"seed": 1}, {"seed": 2}], processes=2))
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
