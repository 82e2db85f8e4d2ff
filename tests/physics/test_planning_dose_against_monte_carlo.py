"""The stand-in planning system against the workflow's Monte Carlo in water, for apertures as the clinical cases have.

Static HD120 apertures, the isocentre 60 mm deep. Both doses are absolute: Monte Carlo's by a reference field simulated
here, the engine's by the same reference condition of its own. Allowed is 2 % in the plateau; voxel by voxel 2 % of
the maximum, or 2 mm, and 3 sigma of a single voxel's noise. The engine was fitted to measurements of fields from 40 mm,
never to this.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from scipy.optimize import brentq

from gatecheck.config_transport import CalibrationConfig, TransportConfig
from gatecheck.delivery.model import Delivery
from gatecheck.delivery.timeline import timeline_of
from gatecheck.linac.load import load_linac_model
from gatecheck.phantoms.arcs import HD120_LEAF_BOUNDARIES
from gatecheck.phantoms.planning.beam_model import stored_beam
from gatecheck.phantoms.planning.engine import DoseEngine, Patient
from gatecheck.phantoms.planning.openings import segments_of
from gatecheck.phantoms.planning.plane_dose import commissioned
from gatecheck.phantoms.planning.tissue import electron_density, electrons_per_gram
from gatecheck.phantoms.solids import Raster
from gatecheck.phantoms.water_tank import static_beam
from gatecheck.transport.calibrate import calibrate
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.materials import water
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.run import run_transport
from gatecheck.transport.scored_dose import MEV_PER_GRAM_IN_GRAY
from gatecheck.transport.volumes import HomogeneousVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

logger = logging.getLogger(__name__)

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
HISTORIES, BATCHES = 8_000_000, 10  # some 200 s of one core for each aperture, 20 core-minutes for the calibration
CALIBRATION_SIGMA = 0.003
SIGMAS = 3.0
TANK = HomogeneousVolume(
    name="water tank",
    material_label=0,
    lower=(-50.0, -60.0, -50.0),
    upper=(50.0, 100.0, 50.0),
    scoring_size=(50, 32, 50),
)
# Water 140 mm wide and 200 mm deep round the tank: what scatters beyond the tank is of no account.
CT_RASTER = Raster((120, 180, 120), (1.0, 1.0, 1.0), (-59.5, -59.5, -59.5))


def _aperture(half_width: float, pairs: int) -> Any:
    """Leaves open by twice the half width over some of the 2.5 mm pairs round the axis."""
    centres = 0.5 * (np.array(HD120_LEAF_BOUNDARIES[1:]) + np.array(HD120_LEAF_BOUNDARIES[:-1]))
    leaves = np.full((2, len(centres)), 25.0)
    opened = np.abs(centres) < 2.5 * pairs / 2
    leaves[0, opened], leaves[1, opened] = -half_width, half_width
    return static_beam(
        jaw_x=(-half_width - 4.0, half_width + 4.0),
        jaw_y=(-1.25 * pairs - 4.0, 1.25 * pairs + 4.0),
        meterset=100.0,
        leaf_boundaries=HD120_LEAF_BOUNDARIES,
        leaf_positions=(tuple(leaves[0]), tuple(leaves[1])),
    )


def simulated(*, half_width: float, pairs: int, seed: int) -> tuple[np.ndarray, float]:
    """Energy of each batch in the tank, (BATCHES, nz, ny, nx), MeV, and the nominal photons of one batch."""
    linac = load_linac_model(MODELS / "truebeam_stx")
    beam = _aperture(half_width, pairs)
    delivery = Delivery(beams=(timeline_of(beam),), patient_position="HFS", fractions=1, made_from_sha256="0")
    phase_space = sample_phase_space(delivery, linac, HISTORIES, seed)
    run = run_transport(
        volumes=[TANK],
        materials=[water()],
        phase_space=phase_space,
        settings=TransportConfig(),
        seed=seed,
        batches=BATCHES,
    )
    return np.array(run.scores[0].batches), phase_space.nominal_photons / BATCHES


@pytest.fixture(scope="module")
def photons_per_mu(tmp_path_factory) -> float:
    linac = load_linac_model(MODELS / "truebeam_stx")
    folder = tmp_path_factory.mktemp("linac")
    wanted = CalibrationConfig(relative_sigma=CALIBRATION_SIGMA)
    return calibrate(linac, TransportConfig(), wanted, "medium", folder).nominal_photons_per_mu


def _engine_dose(beam: Any) -> np.ndarray:
    """Gy in the tank's voxels (nz, ny, nx), each the mean of 2 x 3 x 2 points."""
    # The engine's CT number of water's electrons per volume; per gram that tissue has a few less.
    like_water = round(brentq(lambda number: electron_density(number) - 1.0, -60.0, 0.0))
    ct = np.full(CT_RASTER.size[::-1], like_water, dtype=np.int16)
    model = stored_beam()
    engine = DoseEngine(commissioned(model), Patient(ct, CT_RASTER, "HFS"))
    axes = []
    for axis, parts in enumerate((2, 3, 2)):
        count = TANK.scoring_size[axis] * parts
        axes.append(TANK.lower[axis] + (np.arange(count) + 0.5) * TANK.spacing[axis] / parts)
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    dose = engine.dose(segments_of(beam, model), np.stack([x, y, z], axis=-1).reshape(-1, 3))
    nx, ny, nz = TANK.scoring_size
    means = dose / electrons_per_gram(like_water)
    means = means.reshape(nz, 2, ny, 3, nx, 2).mean(axis=(1, 3, 5))
    return np.asarray(means)


@pytest.mark.parametrize(("half_width", "pairs"), [(4.0, 6), (10.0, 8)])
def test_small_apertures_in_water_are_within_2_percent_or_2_mm(half_width, pairs, photons_per_mu):
    beam = _aperture(half_width, pairs)
    (energies, photons), *_ = run_in_processes(
        simulated, [{"half_width": half_width, "pairs": pairs, "seed": 5}], processes=1
    )
    grams = float(np.prod(TANK.spacing)) * 1e-3
    doses = energies * MEV_PER_GRAM_IN_GRAY / grams / photons * photons_per_mu * beam.meterset
    mean = doses.mean(axis=0)
    engine = _engine_dose(beam)
    deep = slice(4, None)  # beyond 20 mm: in the build-up the engine is that of the measured fit

    # Output in the aperture's plateau: its own statement, beyond 20 mm deep.
    plateau = engine[:, deep] > 0.85 * engine[:, deep].max(axis=(0, 2), keepdims=True)
    ratio = mean[:, deep][plateau].sum() / engine[:, deep][plateau].sum()
    spread = np.array([dose[:, deep][plateau].sum() for dose in doses]) / mean[:, deep][plateau].sum()
    error = float(np.hypot(spread.std(ddof=1) / np.sqrt(BATCHES), CALIBRATION_SIGMA))
    logger.info("%g mm x %g mm: Monte Carlo / engine %.4f +- %.4f", 2 * half_width, 2.5 * pairs, ratio, error)
    # So well known that a true difference of 3 % passes once in 40 times, and one of 1 % fails as seldom.
    assert error < 0.005
    assert abs(ratio - 1.0) < 0.02

    # Everywhere: within 2 % of the maximum, or between the engine's doses 2 mm away, in layers of 20 mm.
    layers, expected = _layers(doses[:, :, deep]), _layers(engine[:, deep])
    found = layers.mean(axis=0)
    sigma = uniform_filter(layers.std(axis=0, ddof=1) / np.sqrt(BATCHES), 3)  # one voxel's alone is known to 24 %
    allowed = 0.02 * expected.max() + SIGMAS * np.hypot(sigma, CALIBRATION_SIGMA * expected)
    around = [np.roll(expected, (dz, dx), axis=(0, 2)) for dz in (-1, 0, 1) for dx in (-1, 0, 1)]
    agrees = (found > np.min(around, axis=0) - allowed) & (found < np.max(around, axis=0) + allowed)
    share = agrees[1:-1, :, 1:-1].mean()
    logger.info("share of voxels within 2 %% or 2 mm: %.5f", share)
    assert share > 0.995


def _layers(dose: np.ndarray) -> np.ndarray:
    """Means of four layers of 5 mm along y, the last axis but one."""
    *outer, ny, nx = dose.shape
    return np.asarray(dose.reshape(*outer, ny // 4, 4, nx).mean(axis=-2))
