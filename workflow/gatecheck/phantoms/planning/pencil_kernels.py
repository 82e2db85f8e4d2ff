"""Pencil kernels in water as sums of Gaussians, one set for each interval of photon energy.

A Gaussian kernel blurs a rectangular opening into differences of error functions, so that the dose of any leaf
pattern needs no grid of fluence (the decomposition of Bortfeld, Schlegel and Rhein, Med. Phys. 20 (1993) 311,
with Gaussians for their depth-independent functions). The sum over intervals, weighted by a spectrum, is the beam's
kernel; the spectrum is found when the beam is commissioned, see `commissioning`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import nnls

from gatecheck.files import read_json
from gatecheck.phantoms.planning.kernel_transport import Tally, deposited_energy
from gatecheck.phantoms.planning.photon_data import clinac_spectrum

FloatArray = npt.NDArray[np.float64]

ENERGY_EDGES = np.array([0.1, 0.4, 0.7, 1.0, 1.5, 2.0, 2.75, 3.5, 4.5, 5.7])
"""MeV; within an interval photons follow the published spectrum."""

DEPTH_EDGES = np.concatenate([
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 28.0, 34.0],
    np.arange(40.0, 120.0, 10.0), np.arange(120.0, 361.0, 20.0),
])  # fmt: skip
RADIUS_EDGES = np.concatenate([[0.0], np.geomspace(0.1, 400.0, 50)])

SIGMAS = (0.1, 0.2, 0.4, 0.7, 1.2, 2.0, 3.5, 7.0, 15.0, 30.0, 60.0, 120.0)
"""mm, of the Gaussians."""

HISTORIES = 3_000_000
_SEED = 20
_KERNELS_FILE = Path(__file__).with_name("pencil_kernels.json")


class PencilKernels(BaseModel):
    """Kernels of a photon pencil in water.

    `weights[e][d][s]` is the energy per photon and mm of depth, MeV/mm, of the Gaussian of `sigmas[s]` at
    `depths[d]` for photons of energy interval e.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    energy_edges: tuple[float, ...] = Field(description="MeV")
    depths: tuple[float, ...] = Field(description="mm of water")
    sigmas: tuple[float, ...] = Field(description="mm")
    histories: Annotated[int, Field(gt=0)] = Field(description="of each interval")
    weights: tuple[tuple[tuple[float, ...], ...], ...]


def stored_kernels() -> PencilKernels:
    """The kernels that `calculated_kernels` gave."""
    return read_json(_KERNELS_FILE, PencilKernels)


def calculated_kernels(histories: int = HISTORIES) -> PencilKernels:
    """Calculate the kernels anew: some minutes at the default number of histories."""
    weights = [energy_kernel(index, histories) for index in range(len(ENERGY_EDGES) - 1)]
    return PencilKernels(
        source="gatecheck.phantoms.planning.kernel_transport, with the data of photon_data",
        energy_edges=tuple(ENERGY_EDGES.tolist()),
        depths=tuple((0.5 * (DEPTH_EDGES[1:] + DEPTH_EDGES[:-1])).tolist()),
        sigmas=SIGMAS,
        histories=histories,
        weights=tuple(tuple(tuple(float(f"{w:.4g}") for w in row) for row in one) for one in weights),
    )


def energy_kernel(interval: int, histories: int, *, seed: int = _SEED) -> FloatArray:
    """Weights of the Gaussians for one interval of energy, shape (n_depths, n_sigmas), MeV/mm."""
    energies = energies_of(interval, histories)
    deposited = deposited_energy(energies, Tally(DEPTH_EDGES, RADIUS_EDGES), seed=seed + interval)
    return np.array([gaussian_weights(ring) for ring in deposited])


def energies_of(interval: int, count: int) -> FloatArray:
    """Energies that divide an interval of the published spectrum into equally likely parts, MeV."""
    fine = np.linspace(ENERGY_EDGES[interval], ENERGY_EDGES[interval + 1], 400)
    cumulative = np.concatenate([[0.0], np.cumsum(clinac_spectrum(0.5 * (fine[1:] + fine[:-1])))])
    energies: FloatArray = np.interp((np.arange(count) + 0.5) / count, cumulative / cumulative[-1], fine)
    return energies


def gaussian_weights(rings: FloatArray) -> FloatArray:
    """Non-negative weights of Gaussians whose energy in each ring of RADIUS_EDGES is as given.

    Least squares in the energy within each radius, so that many thin rings of few counts do not count more
    than one thick one.
    """
    within = np.cumsum(rings)
    sigmas = np.array(SIGMAS)
    columns = 1.0 - np.exp(-0.5 * (RADIUS_EDGES[1:, np.newaxis] / sigmas) ** 2)
    weights, _ = nnls(columns, within)
    return np.asarray(weights)
