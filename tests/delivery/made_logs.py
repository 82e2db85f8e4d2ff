"""Trajectory logs written by hand, in every version that is read; all positions as the rest of gatecheck has them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gatecheck.delivery.model import BeamTimeline
from gatecheck.delivery.timeline import MachineStates, states_at

LEAF_PAIRS = 60
_NAMES = ("Patient ID", "Plan Name", "SOP Instance UID", "MU Planned", "MU Remaining", "Energy", "BeamName")


@dataclass
class MadeLog:
    """An arc of n snapshots; actual is expected plus `error`, an offset of each axis by its name."""

    version: str = "3.0"
    mlc: int = 3
    snapshots: int = 200
    meterset: float = 100.0
    gantry: tuple[float, float] = (200.0, 350.0)
    collimator: float = 30.0
    couch: float = 15.0
    jaw_x: tuple[float, float] = (-40.0, 35.0)
    jaw_y: tuple[float, float] = (-30.0, 25.0)
    gap: float = 20.0
    control_points: int = 50
    sub_beams: tuple[tuple[int, float, str], ...] = ((0, 100.0, "arc"),)
    plan: tuple[str, ...] = ()
    error: dict[str, float] = field(default_factory=dict)
    truncated: int = 0
    scale: int = 1
    interval: int = 20

    def leaves(self) -> np.ndarray:
        """(n, 2, pairs), mm: a slit that moves across, its leaves one after another."""
        middle = np.linspace(-20.0, 20.0, self.snapshots)[:, None] + np.linspace(-3.0, 3.0, LEAF_PAIRS)
        return np.stack([middle - self.gap / 2, middle + self.gap / 2], axis=1)

    def gantry_angles(self) -> np.ndarray:
        return np.linspace(*self.gantry, self.snapshots)

    def share(self) -> np.ndarray:
        return np.linspace(0.0, 1.0, self.snapshots)

    def content(self) -> bytes:
        axes = self._axes()
        codes = list(axes)
        samples = [values.shape[1] for values in axes.values()]
        header = struct.pack("<16s16siii", b"VOSTL", self.version.encode(), 1024, self.interval, len(codes))
        header += struct.pack(f"<{len(codes)}i", *codes) + struct.pack(f"<{len(codes)}i", *samples)
        header += struct.pack("<5i", self.scale, len(self.sub_beams), self.truncated, self.snapshots, self.mlc)
        header = header.ljust(1024, b"\0")
        if self.plan:
            names = (
                "Patient ID:",
                "Plan Name:",
                "SOP Instance UID:",
                "MU Planned:",
                "MU Remaining:",
                "Energy:",
                "BeamName:",
            )
            text = "\r\n".join(f"{name}\t{value}" for name, value in zip(names, self.plan, strict=True)).encode()
            header = header[: 1024 - 745] + text.ljust(745, b"\0")
        size = 512 if float(self.version) >= 3 else 32
        for number, (point, meterset, name) in enumerate(self.sub_beams):
            header += struct.pack("<iffi", point, meterset, 60.0, number) + name.encode().ljust(size, b"\0") + bytes(32)
        told = np.concatenate(list(axes.values()), axis=1)
        done = np.concatenate(list(self._axes(self.error).values()), axis=1)
        return header + np.stack([told, done], axis=2).astype("<f4").tobytes() + b"\0\0"

    def _axes(self, error: dict[str, float] | None = None) -> dict[int, np.ndarray]:
        """In the machine's scale, cm."""
        off = error or {}
        one = np.ones(self.snapshots)

        def angle(value: np.ndarray | float, name: str) -> np.ndarray:
            return ((180.0 - (value + off.get(name, 0.0)) * one) % 360.0)[:, None]

        def jaw(value: float, sign: float, name: str) -> np.ndarray:
            return (sign * (value + off.get(name, 0.0)) / 10.0 * one)[:, None]

        leaves = self.leaves()
        carriages = np.zeros((self.snapshots, 2))
        bank_x1 = -(leaves[:, 0] + off.get("leaf X1", 0.0)) / 10.0
        bank_x2 = (leaves[:, 1] + off.get("leaf X2", 0.0)) / 10.0
        axes = {
            0: angle(self.collimator, "collimator"),
            1: angle(self.gantry_angles(), "gantry"),
            2: jaw(self.jaw_y[0], -1, "Y1"),
            3: jaw(self.jaw_y[1], 1, "Y2"),
            4: jaw(self.jaw_x[0], -1, "X1"),
            5: jaw(self.jaw_x[1], 1, "X2"),
            6: 100.0 * one[:, None],
            7: 90.0 * one[:, None],
            8: 100.0 * one[:, None],
            9: angle(self.couch, "couch"),
        }
        if float(self.version) >= 3:
            axes |= {10: 0.0 * one[:, None], 11: 0.0 * one[:, None]}
        return axes | {
            40: (self.meterset * self.share() + off.get("meterset", 0.0) * self.share())[:, None],
            41: 0.0 * one[:, None],
            42: (self.control_points * self.share())[:, None],
            50: np.concatenate([carriages, bank_x2, bank_x1], axis=1),
        }


class LogOfBeam(MadeLog):
    """The log of a planned beam, delivered at an even dose rate."""

    def __init__(self, beam: BeamTimeline, **changes: Any) -> None:
        super().__init__(meterset=beam.total_meterset, sub_beams=((0, beam.total_meterset, "beam"),), **changes)
        self.states: MachineStates = states_at(beam, self.share() * beam.total_meterset)
        self.collimator, self.couch = self.states.collimator, self.states.couch  # type: ignore[assignment]
        self.jaw_x = tuple(self.states.jaw_x.T)  # type: ignore[assignment]
        self.jaw_y = tuple(self.states.jaw_y.T)  # type: ignore[assignment]

    def gantry_angles(self) -> np.ndarray:
        return self.states.gantry

    def leaves(self) -> np.ndarray:
        assert self.states.leaf_positions is not None
        return self.states.leaf_positions
