"""The fast head keeps ahead of the patient's transport: source photons per second of one core."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.fast_head import sample_phase_space

pytestmark = pytest.mark.physics

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
NODES = 178
HISTORIES = 1_000_000


def small_arc(boundaries: tuple[float, ...]) -> Delivery:
    """A full arc of 178 control points whose leaves follow a target of 12 mm."""
    edges = np.array(boundaries)
    half = np.sqrt(np.maximum(36.0 - ((edges[1:] + edges[:-1]) / 2) ** 2, 0.0))
    swing = 3.0 * np.sin(np.linspace(0, 2 * np.pi, NODES))[:, np.newaxis]
    beam = BeamTimeline(
        number=1,
        name="arc",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        meterset=np.linspace(0.0, 100.0, NODES),
        gantry=np.linspace(-180.0, 180.0, NODES),
        collimator=np.full(NODES, 30.0),
        couch=np.zeros(NODES),
        jaw_x=np.tile([-20.0, 20.0], (NODES, 1)),
        jaw_y=np.tile([-12.0, 12.0], (NODES, 1)),
        leaf_positions=np.stack([swing - half, swing + half], axis=1),
        leaf_boundaries=edges,
        isocentre=np.zeros((NODES, 3)),
    )
    return Delivery(beams=(beam,), patient_position="HFS", fractions=1, made_from_sha256="0")


def test_a_core_samples_a_million_source_photons_a_second_after_compiling() -> None:
    """Processor time, the best of five: other programs on the machine slow a core down but never speed it up."""
    linac = load_linac_model(MODELS / "truebeam_stx")
    arc = small_arc(linac.machine.mlc.boundaries)
    sample_phase_space(arc, linac, 1000, 1)
    seconds = []
    for seed in range(5):
        started = time.process_time()
        phase_space = sample_phase_space(arc, linac, HISTORIES, seed)
        seconds.append(time.process_time() - started)
    assert len(phase_space) > 10_000
    assert HISTORIES / min(seconds) > 1e6
