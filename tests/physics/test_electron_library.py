"""Dose in water from the library of electrons' deposits against the same photons with GATE's electrons.

The same source, 100 x 100 mm at SSD 1000 mm, the mean dose in squares of 80 mm across the beam, 5 mm thick.
Electrons of the head and of the air are in both.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water.electron_library import electron_library
from gatecheck.commissioning.water.source_basis import BeamSampling
from gatecheck.commissioning.water.tank import TankSetup, detectors_for, field_delivery, simulate_field
from gatecheck.config_transport import TransportConfig
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.fast_head.tables import source_of
from gatecheck.transport.geant4_data.folders import cache_folder
from gatecheck.transport.materials import water
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.run import run_transport
from gatecheck.transport.volumes import HomogeneousVolume

pytestmark = [pytest.mark.physics, pytest.mark.gate]

Array = npt.NDArray[np.float64]
logger = logging.getLogger(__name__)

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
FIELD = JawField.of_size(100.0, 100.0)
LAYERS = np.array([2.5, 7.5, 12.5, 17.5, 22.5, 52.5, 102.5, 152.5, 202.5, 302.5])
HALF = 40.0
BATCHES = 10
MEV_TANK = HomogeneousVolume("water tank", 0, (-200.0, 0.0, -200.0), (200.0, 450.0, 200.0), (20, 90, 20))


def by_gate(*, seed: int) -> Array:
    """MeV/g per nominal photon in each layer, of each batch."""
    linac = load_linac_model(MODELS / "truebeam_stx")
    phase_space = sample_phase_space(field_delivery(FIELD, linac), linac, 2_500_000, seed)
    run = run_transport(
        volumes=[MEV_TANK],
        materials=[water()],
        phase_space=phase_space,
        settings=TransportConfig(),
        seed=seed,
        batches=BATCHES,
    )
    rows = np.round(LAYERS / 5.0 - 0.5).astype(int)
    grams = (2 * HALF) ** 2 * 5.0 * 1e-3
    middle = slice(8, 12)
    return np.array(
        [batch.transpose(1, 0, 2)[rows][:, middle, middle].sum(axis=(1, 2)) / grams for batch in run.scores[0].batches]
    ) / (phase_space.nominal_photons / BATCHES)


def by_library(*, seed: int) -> Array:
    """The same from the library."""
    linac = load_linac_model(MODELS / "truebeam_stx")
    library = electron_library(TransportConfig(), cache_folder() / "water")
    setup = TankSetup(1000.0, 320.0, tuple(LAYERS.tolist()))
    detectors = detectors_for(FIELD, setup, linac)._replace(half_thickness=2.5, half_width=HALF)
    (response,) = simulate_field(
        field=FIELD,
        setups=[setup],
        linac=linac,
        sampling=BeamSampling(source_of(linac)),
        library=library,
        histories=2_500_000,
        batches=BATCHES,
        seed=seed,
        detectors=[detectors],
    )
    inside = response.position < HALF
    return np.asarray(response.profile[:, :, 0, inside, 0].mean(axis=2))


def test_the_library_gives_the_dose_that_gate_gives() -> None:
    """Every layer within 0.7 % and 3 sigma together; the mean beyond the build-up within 0.3 % and 3 sigma."""
    gate = np.concatenate(run_in_processes(by_gate, [{"seed": 1}, {"seed": 2}], processes=2))
    library = by_library(seed=3)
    ratio = library.mean(axis=0) / gate.mean(axis=0) - 1.0
    sigma = np.hypot(
        gate.std(axis=0, ddof=1) / np.sqrt(len(gate)) / gate.mean(axis=0),
        library.std(axis=0, ddof=1) / np.sqrt(len(library)) / library.mean(axis=0),
    )
    report = (
        f"library over GATE - 1: {np.round(100 * ratio, 2).tolist()} %, sigma {np.round(100 * sigma, 2).tolist()} %"
    )
    logger.info("%s", report)
    assert sigma.max() < 0.01, report
    assert np.all(np.abs(ratio) < 0.007 + 3 * sigma), report
    beyond = LAYERS > 10.0
    weight = 1 / sigma[beyond] ** 2
    mean = float((weight * ratio[beyond]).sum() / weight.sum())
    assert abs(mean) < 0.003 + 3 / np.sqrt(weight.sum()), report
