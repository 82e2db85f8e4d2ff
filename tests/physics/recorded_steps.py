"""The same photons in matter with electrons by GATE and along recorded steps, for tests that compare the two."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water.tank import field_delivery
from gatecheck.config_transport import TransportConfig
from gatecheck.linac.load import load_linac_model
from gatecheck.patient.model import Material
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.gate import GateRun
from gatecheck.transport.process import run_in_processes
from gatecheck.transport.run import run_transport
from gatecheck.transport.volumes import VoxelVolume

logger = logging.getLogger(__name__)

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
BATCHES = 20


def transported(
    *, settings: TransportConfig, volume: VoxelVolume, materials: Sequence[Material], photons: int
) -> GateRun:
    """Photons of 6 MV, 60 x 60 mm, along y; in a process of its own."""
    describe_engine(settings)
    linac = load_linac_model(MODELS / "truebeam_stx")
    phase_space = sample_phase_space(field_delivery(JawField.of_size(60.0, 60.0), linac), linac, photons, 7)
    return run_transport(
        volumes=[volume],
        materials=materials,
        phase_space=phase_space,
        settings=settings,
        seed=11,
        batches=BATCHES,
    )


def by_gate_and_replayed(
    volume: VoxelVolume, materials: Sequence[Material], photons: int, by_gate: TransportConfig
) -> tuple[GateRun, GateRun]:
    """Both take the same photon interactions and start the same electrons."""
    gate, replayed = transported_by([(by_gate, materials), (replayed_like(by_gate), materials)], volume, photons)
    logger.info("GATE %.0f s, recorded steps %.0f s", gate.seconds_transport, replayed.seconds_transport)
    return gate, replayed


def replayed_like(by_gate: TransportConfig) -> TransportConfig:
    """Settings with which electrons that are set free alike go along recorded steps; all that come into air go on."""
    return TransportConfig(
        electron_transport="replayed", photon_splitting=by_gate.photon_copies, air_electron_survival=1.0
    )


def transported_by(
    ways: Sequence[tuple[TransportConfig, Sequence[Material]]], volume: VoxelVolume, photons: int
) -> list[GateRun]:
    """The same photons each way, two at a time."""
    asked = [
        {"settings": settings, "volume": volume, "materials": materials, "photons": photons}
        for settings, materials in ways
    ]
    return run_in_processes(transported, asked, processes=2)


def apart(
    by_gate: npt.NDArray[np.float64], replayed: npt.NDArray[np.float64], of: float | None = None
) -> tuple[float, float]:
    """Mean difference and its sigma, per cent of GATE's mean or of what is given, from doses of shape (batches,)."""
    difference = 100 * (replayed - by_gate) / (by_gate.mean() if of is None else of)
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))
