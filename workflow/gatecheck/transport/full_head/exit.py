"""What left the head, from GATE's list of crossings to a phase space in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.coordinates import beam_limiting_device_to_patient
from gatecheck.errors import SimulationError
from gatecheck.transport.fast_head.rays import PHOTON_PDG, RAY_ENERGY, RAY_PDG, RAY_WEIGHT
from gatecheck.transport.fast_head.sample import LEAKAGE_WEIGHT
from gatecheck.transport.full_head.source import EngineSource
from gatecheck.transport.full_head.states import HeadState

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_DIRECTIONS = tuple(f"PreDirection_{axis}" for axis in "XYZ")
_POSITIONS = tuple(f"PrePosition_{axis}" for axis in "XYZ")
ATTRIBUTES = ("RunID", "EventID", "ParentID", "PDGCode", "KineticEnergy", "PrePosition", "PreDirection")
"""What GATE is to write of every crossing."""

# GATE takes energies in single precision and keeps them so; a photon that lost more has interacted.
_SAME_ENERGY = 1e-6


@dataclass(frozen=True, slots=True)
class Crossings:
    """Particles that crossed the exit plane, in the beam limiting device system of their segment.

    Attributes
    ----------
    ray : ndarray of shape (n,)
        Row of the source particle in `EngineSource.rows`.
    segment : ndarray of shape (n,)
    pdg_code : ndarray of shape (n,)
    energy, weight : ndarray of shape (n,)
    position, direction : ndarray of shape (n, 3)
    has_interacted : ndarray of shape (n,), bool
        Not the source's own photon or electron with all of its energy.
    seconds_start_up : float
        Of the engine's time, what more particles would not add to.
    """

    ray: IntArray
    segment: IntArray
    pdg_code: IntArray
    energy: FloatArray
    weight: FloatArray
    position: FloatArray
    direction: FloatArray
    has_interacted: npt.NDArray[np.bool_]
    seconds_start_up: float = 0.0


def read_crossings(path: Path, runs: Sequence[int], source: EngineSource) -> Crossings:
    """Read GATE's ROOT file.

    Parameters
    ----------
    runs : sequence of int
        The segment of every run.

    Raises
    ------
    SimulationError
        When the file is missing or names particles that were not there.
    """
    columns = _columns(path)
    segment = np.array(runs, dtype=np.int64)[columns["RunID"].astype(np.int64)]
    ray = source.first[segment] + columns["EventID"].astype(np.int64)
    if np.any(ray >= source.first[segment + 1]):
        raise SimulationError("Full head: GATE names source particles that it was not given. Please report this.")
    energy = columns["KineticEnergy"].astype(np.float64)
    rows = source.rows[ray]
    is_own = (columns["ParentID"] == 0) & (np.abs(energy - rows[:, RAY_ENERGY]) <= _SAME_ENERGY * energy)
    return Crossings(
        ray=ray,
        segment=segment,
        pdg_code=columns["PDGCode"].astype(np.int64),
        energy=energy,
        weight=rows[:, RAY_WEIGHT].copy(),
        position=np.stack([columns[name] for name in _POSITIONS], axis=1).astype(np.float64),
        direction=np.stack([columns[name] for name in _DIRECTIONS], axis=1).astype(np.float64),
        has_interacted=~is_own,
    )


def _columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    import uproot  # noqa: PLC0415 - half a second, for the full head alone

    names = [name for name in ATTRIBUTES if not name.startswith("Pre")] + [*_POSITIONS, *_DIRECTIONS]
    try:
        with uproot.open(path) as file:
            trees = file.keys(filter_classname="TTree")
            if not trees:
                # GATE leaves the tree out when nothing crossed.
                return {name: np.empty(0) for name in names}
            found: dict[str, npt.NDArray[Any]] = file[trees[0]].arrays(names, library="np")
            return found
    except (OSError, ValueError, uproot.KeyInFileError) as error:
        raise SimulationError("Full head: GATE left no list of the particles below the head.") from error


def fates_of(crossings: Crossings, source: EngineSource) -> dict[str, float]:
    """Where the photons' weight went; as the fast head's fates, but jaws and leaves taken together.

    The source's own photons that come out are counted apart by whether their straight way meets metal; the
    rest of those emitted interacted. What comes out of that, photons and electrons, is counted too.
    """
    is_photon = source.rows[crossings.ray, RAY_PDG] == PHOTON_PDG
    own = is_photon & ~crossings.has_interacted
    metal = source.meets_metal[crossings.ray]
    weight = crossings.weight
    open_photons = float(weight[own & ~metal].sum())
    transmitted = float(weight[own & metal].sum())
    new = crossings.has_interacted
    return {
        "emitted": source.emitted,
        "open": open_photons,
        "transmitted": transmitted,
        "interacted_in_head": source.emitted - open_photons - transmitted,
        "scattered_out": float(weight[new & (crossings.pdg_code == PHOTON_PDG)].sum()),
        "charged_out": float(weight[new & (crossings.pdg_code != PHOTON_PDG)].sum()),
    }


def in_patient(
    crossings: Crossings, states: Sequence[HeadState], patient_position: str
) -> tuple[FloatArray, FloatArray]:
    """Positions (LPS mm) and directions of the crossings, each turned by its segment's angles."""
    position, direction = np.empty_like(crossings.position), np.empty_like(crossings.direction)
    order = np.argsort(crossings.segment, kind="stable")
    bounds = np.searchsorted(crossings.segment[order], np.arange(len(states) + 1))
    for segment, state in enumerate(states):
        chosen = order[bounds[segment] : bounds[segment + 1]]
        transform = beam_limiting_device_to_patient(
            gantry=state.gantry,
            collimator=state.collimator,
            couch=state.couch,
            isocentre=state.isocentre,
            patient_position=patient_position,
        )
        position[chosen] = transform.apply(crossings.position[chosen])
        direction[chosen] = transform.rotate(crossings.direction[chosen])
    return position, direction


def copies_for_patient(weight: FloatArray) -> IntArray:
    """How many equal particles hand on each one's weight, so that none is heavier than the fast head's leakage."""
    copies: IntArray = np.maximum(np.ceil(weight / LEAKAGE_WEIGHT * (1 - 1e-9)), 1).astype(np.int64)
    return copies
