"""How much of a structure is air, where dose is known to be too low: see docs/explanation/electrons.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.compare.sampling import PlacedPoints
from gatecheck.dose.joining import empty, put
from gatecheck.transport.patient_files import PatientMatter
from gatecheck.transport.volumes import density_zyx

BoolArray = npt.NDArray[np.bool_]

DENSEST_AIR = 0.05
"""g/cm3; lung, of 0.1 and more, is right within what was measured."""

MUCH_AIR = 0.03
"""Of a structure's volume: with less its means are off by less than half a per cent of themselves."""


def air_of(patient_folder: Path) -> BoolArray:
    """Which voxels of the joined grid lie in air, as it was simulated, indexed [z, y, x].

    Raises
    ------
    ResultError
        When a file of the patient is missing or damaged.
    """
    matter = PatientMatter.read(patient_folder)
    patient = matter.patient
    air = empty(patient.joined_grid)
    for box, volume in zip(patient.boxes, matter.volumes, strict=True):
        put(air, patient.joined_grid, box, (density_zyx(volume, patient.materials) < DENSEST_AIR).astype(np.float32))
    return np.asarray(air > 0)


def share_of_air(placed: PlacedPoints, air_zyx: BoolArray) -> float:
    """Part of a structure's volume within the dose grid that is air; 0 for one outside of it."""
    volume = placed.volumes.sum(dtype=np.float64)
    if volume <= 0:
        return 0.0
    highest = np.array(air_zyx.shape)[:, None] - 1
    nearest = np.clip(np.floor(placed.place_zyx + 0.5).astype(np.int64), 0, highest)
    return float(placed.volumes[air_zyx[tuple(nearest)]].sum(dtype=np.float64) / volume)


def air_warnings(shares: Iterable[tuple[str, float]]) -> list[str]:
    """What is known of dose in air, where structures have much of it.

    Parameters
    ----------
    shares : iterable of name and part of the volume
    """
    found = [f"{name} {100 * share:.0f} %" for name, share in shares if share > MUCH_AIR]
    if not found:
        return []
    return [
        f"Partly air (below {DENSEST_AIR:g} g/cm3): {', '.join(found)} of the volume. Dose in air is too low, and no "
        "interval holds that: in a thin gap between solids by 13.8 % (sigma 0.7 %) where GATE follows electrons, "
        "and by 5.1 % (sigma 0.7 %) where they follow recorded steps, with electrons of at most 0.44 MeV; a patient's "
        "are faster and miss less."
    ]
