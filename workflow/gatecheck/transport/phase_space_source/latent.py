"""The latent uncertainty: what a finite phase space leaves uncertain however often it is used.

Sempau, Sánchez-Reyes, Salvat, ben Tahar, Jiang and Fernández-Varea (Phys. Med. Biol. 46 (2001) 1163) call latent
variance that part of the variance of a dose which remains when a phase space's particles are followed infinitely often.
Here it is estimated for the photons' energy fluence in a square of the isocentre plane, centred on the axis, before
jaws and leaves: with f_h the sum over the particles of original history h that cross the square of weight x energy /
cosine, and N original histories (those that left no particle have f_h = 0),

    latent = sqrt( (<f^2> - <f>^2) / (N - 1) ) / <f>

It is the relative sigma (k = 1) of the mean over independent histories; particles of one history count together. The
dose in a voxel that sees the source through such a square cannot be known better from this phase space. Turning the
particles about the axis (machine.phase_space.rotate) lowers the floor away from the axis, which is not counted here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gatecheck.transport.phase_space_source.frame import SMALLEST_COSINE, GantryRays

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SQUARES = (10.0, 40.0, 100.0)
"""Sides of the squares, mm at the isocentre plane."""


@dataclass(slots=True)
class EnergyFluence:
    """Sums over histories of f_h and its square, for each of SQUARES."""

    total: FloatArray = field(default_factory=lambda: np.zeros(len(SQUARES)))
    squares: FloatArray = field(default_factory=lambda: np.zeros(len(SQUARES)))

    def add(
        self, rays: GantryRays, weighted_energy: FloatArray, photon: BoolArray, history: IntArray, axis_distance: float
    ) -> None:
        """Add whole histories; `history` numbers them from 0 and never falls."""
        at_isocentre = rays.intercept + rays.slope * axis_distance
        flies = photon & (rays.cosine >= SMALLEST_COSINE)
        farthest = np.where(flies, np.abs(at_isocentre).max(axis=1), np.inf)
        for place, side in enumerate(SQUARES):
            crosses = farthest < side / 2
            if not crosses.any():
                continue
            scores = weighted_energy[crosses] / rays.cosine[crosses]
            per_history = np.bincount(history[crosses] - history[0], weights=scores)
            self.total[place] += per_history.sum()
            self.squares[place] += (per_history**2).sum()


def latent_uncertainty(total: Sequence[float], squares: Sequence[float], histories: Sequence[int]) -> float | None:
    """Relative sigma of the sum over several files, or None where fewer than two histories cross the square.

    Parameters
    ----------
    total, squares : sequence of float
        Each file's sums of f_h and its square.
    histories : sequence of int
        Each file's original histories.
    """
    mean = math.fsum(total)
    if mean <= 0 or sum(histories) < 2:
        return None
    variance = math.fsum(
        (square - part**2 / number) * number / max(number - 1, 1)
        for part, square, number in zip(total, squares, histories, strict=True)
    )
    return math.sqrt(max(variance, 0.0)) / mean
