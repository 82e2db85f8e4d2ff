"""Deliveries by hand, for the tests of the fast head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.model import PhaseSpace

STX = load_linac_model(Path(__file__).resolve().parents[2] / "linac_models" / "truebeam_stx")
M120 = load_linac_model(Path(__file__).resolve().parents[2] / "linac_models" / "truebeam_m120")
BOUNDARIES = np.array(STX.machine.mlc.boundaries)
CENTRES = (BOUNDARIES[1:] + BOUNDARIES[:-1]) / 2
PAIRS = len(CENTRES)

Array = npt.NDArray[np.float64]


def beam(**changes: Any) -> BeamTimeline:
    """A static 100 x 100 mm beam of 100 MU without leaves, with what a test wants changed."""
    nodes = changes.pop("nodes", 2)
    meterset = changes.pop("total", 100.0)
    ones = np.ones(nodes)
    values: dict[str, Any] = {
        "number": 1,
        "name": "beam",
        "nominal_energy_mv": 6.0,
        "fluence_mode": "STANDARD",
        "meterset": np.linspace(0.0, meterset, nodes),
        "gantry": 0.0,
        "collimator": 0.0,
        "couch": 0.0,
        "jaw_x": (-50.0, 50.0),
        "jaw_y": (-50.0, 50.0),
        "leaf_positions": None,
        "leaf_boundaries": None,
        "isocentre": (0.0, 0.0, 0.0),
        **changes,
    }
    for axis in ("gantry", "collimator", "couch"):
        if np.ndim(values[axis]) == 0:
            values[axis] = values[axis] * ones
    for axis in ("jaw_x", "jaw_y", "isocentre"):
        if np.ndim(values[axis]) == 1:
            values[axis] = np.tile(np.asarray(values[axis], dtype=float), (nodes, 1))
    leaves = values["leaf_positions"]
    if leaves is not None:
        values["leaf_positions"] = np.tile(leaves, (nodes, 1, 1)) if leaves.ndim == 2 else leaves
        if values["leaf_boundaries"] is None:
            values["leaf_boundaries"] = BOUNDARIES
    return BeamTimeline(**values)


def delivery(*beams: BeamTimeline, patient_position: str = "HFS") -> Delivery:
    return Delivery(beams=beams, patient_position=patient_position, fractions=1, made_from_sha256="0")


def closed_leaves(at: float = -80.0) -> Array:
    return np.full((2, PAIRS), at)


def opening(x: tuple[float, float], y: tuple[float, float], closed_at: float = -80.0) -> Array:
    """Leaves open in a rectangle, all others closed far away."""
    leaves = closed_leaves(closed_at)
    inside = (y[0] < CENTRES) & (y[1] > CENTRES)
    leaves[0, inside], leaves[1, inside] = x
    return leaves


def arc(nodes: int = 178, radius: float = 6.0) -> Delivery:
    """A full arc whose leaves follow a small target that swings from side to side."""
    half = np.sqrt(np.maximum(radius**2 - CENTRES**2, 0.0))
    swing = 3.0 * np.sin(np.linspace(0, 2 * np.pi, nodes))[:, None]
    leaves = np.stack([swing - half, swing + half], axis=1)
    return delivery(
        beam(
            nodes=nodes,
            gantry=np.linspace(-180.0, 180.0, nodes),
            collimator=30.0,
            jaw_x=(-20.0, 20.0),
            jaw_y=(-12.0, 12.0),
            leaf_positions=leaves,
        )
    )


def at_isocentre_plane(phase_space: PhaseSpace) -> tuple[Array, Array]:
    """x_b, y_b where particles of a gantry-0 HFS beam at the origin cross the isocentre plane (y_p = 0)."""
    position, direction = phase_space.position, phase_space.direction
    way = -position[:, 1] / direction[:, 1]
    return position[:, 0] + way * direction[:, 0], position[:, 2] + way * direction[:, 2]


def photons(phase_space: PhaseSpace) -> npt.NDArray[np.bool_]:
    return phase_space.pdg_code == 22
