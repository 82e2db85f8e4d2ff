"""Which particles of a phase space can reach the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gatecheck.transport.model import PhaseSpace

FloatArray = npt.NDArray[np.float64]

_PHOTON = 22
# Photons fly straight to their first interaction. A few per thousand scatter in the air on the way; of
# those that would miss, the small part that turns towards the patient is left out.
_PHOTON_MARGIN = 5.0
# Multiple scattering turns a 1 MeV electron by about 0.3 rad in 400 mm of air.
_ELECTRON_MARGIN = 200.0


def rays_hit_box(
    position: FloatArray, direction: FloatArray, lower: FloatArray, upper: FloatArray
) -> npt.NDArray[np.bool_]:
    """Whether each ray, from its start onwards, meets an axis-aligned box (slab method).

    Parameters
    ----------
    position, direction : ndarray of shape (n, 3)
    lower, upper : ndarray of shape (3,)

    Returns
    -------
    ndarray of shape (n,), bool
    """
    enter = np.zeros(len(position))
    leave = np.full(len(position), np.inf)
    for axis in range(3):
        start, slope = position[:, axis], direction[:, axis]
        parallel = np.abs(slope) < 1e-12
        safe = np.where(parallel, 1.0, slope)
        first, second = (lower[axis] - start) / safe, (upper[axis] - start) / safe
        between = (start >= lower[axis]) & (start <= upper[axis])
        near = np.where(parallel, np.where(between, -np.inf, np.inf), np.minimum(first, second))
        far = np.where(parallel, np.where(between, np.inf, -np.inf), np.maximum(first, second))
        enter, leave = np.maximum(enter, near), np.minimum(leave, far)
    return np.asarray(leave >= enter)


def aimed_at(phase_space: PhaseSpace, lower: FloatArray, upper: FloatArray) -> PhaseSpace:
    """The particles that can reach a box; the weight of the others is counted in the fates."""
    photon = phase_space.pdg_code == _PHOTON
    keep = np.zeros(len(phase_space), dtype=bool)
    for chosen, margin in ((photon, _PHOTON_MARGIN), (~photon, _ELECTRON_MARGIN)):
        keep[chosen] = rays_hit_box(
            phase_space.position[chosen], phase_space.direction[chosen], lower - margin, upper + margin
        )
    fates = {**phase_space.fates, "missed_patient": float(phase_space.weight[~keep].sum())}
    return replace(phase_space.chosen(keep), fates=fates)
