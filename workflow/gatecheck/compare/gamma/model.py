"""What gamma is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.sampling import VoxelGrid
from gatecheck.errors import InputError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

PASS_LIMIT = 1.0 + 1e-5
"""A gamma of 1 passes. Doses in single precision are off by 6e-8 of themselves, which at a tolerance of 1 % moves gamma
by 6e-6: a dose of exactly the tolerance more must not fail by that."""

# Far beyond what anybody asks; a percentage for a fraction, or metres for mm, is not answered with a number.
_MOST_DISTANCE = 50.0  # mm
_MOST_CAP = 10.0


@dataclass(frozen=True, slots=True)
class GammaCriteria:
    """Criteria of a gamma comparison (Low et al., Med. Phys. 25 (1998) 656).

    Attributes
    ----------
    dose_percent : float
        Dose tolerance, per cent of the normalisation dose, or of each reference point's own dose.
    distance : float
        Distance tolerance, mm.
    is_local : bool
        The dose tolerance is a part of each reference point's own dose.
    cutoff_percent : float
        Reference points of less than this part of the normalisation dose are left out; one of exactly it is not.
    cap : float
        Larger gammas are given as this, more than 1; evaluated dose is looked for as far as `cap` times `distance`.

    Raises
    ------
    InputError
        Naming the criterion that is out of range.
    """

    dose_percent: float
    distance: float
    is_local: bool = False
    cutoff_percent: float = 10.0
    cap: float = 2.0

    def __post_init__(self) -> None:
        _check("dose tolerance", self.dose_percent, 0 < self.dose_percent <= 100, "above 0 and at most 100 %")
        _check(
            "distance tolerance",
            self.distance,
            0 < self.distance <= _MOST_DISTANCE,
            f"above 0 and at most {_MOST_DISTANCE:g} mm",
        )
        _check("cut-off", self.cutoff_percent, 0 <= self.cutoff_percent < 100, "at least 0 and below 100 %")
        # A cap of 1 would let every point pass.
        _check("cap", self.cap, 1 < self.cap <= _MOST_CAP, f"above 1 and at most {_MOST_CAP:g}")

    @property
    def reach(self) -> float:
        """How far from a reference point evaluated dose is looked for, mm."""
        return self.cap * self.distance


def _check(name: str, value: float, is_good: bool, expected: str) -> None:
    if not is_good:  # so is a comparison with a number that is none
        raise InputError(f"Gamma: a {name} of {value:g} found, {expected} expected.")


@dataclass(frozen=True, slots=True)
class GammaValues:
    """Gamma at points.

    Attributes
    ----------
    gamma : ndarray of shape (n,)
        At most the cap.
    is_reached : ndarray of shape (n,), bool
        False where no evaluated dose lies within reach, so that nothing is known; gamma is the cap there.
    """

    gamma: FloatArray
    is_reached: BoolArray

    @property
    def is_passed(self) -> BoolArray:
        """Reached, and gamma at most 1; shape (n,)."""
        passed: BoolArray = self.is_reached & (self.gamma <= PASS_LIMIT)
        return passed


@dataclass(frozen=True, slots=True)
class GammaResult:
    """Gamma on the reference grid.

    Attributes
    ----------
    gamma_zyx : ndarray of shape (nz, ny, nx), float32
        NaN where left out: outside of the body, or below the cut-off.
    is_unreached_zyx : ndarray of shape (nz, ny, nx), bool
        Points evaluated without evaluated dose within reach, whose gamma is the cap and says nothing.
    grid : VoxelGrid
        Of the reference dose.
    criteria : GammaCriteria
    normalisation : float
        Gy.
    points : int
        Reference points evaluated, at least one.
    passed : int
        Of them, those reached with a gamma of at most 1.
    unreachable : int
        Of them, those without evaluated dose within reach; they count as failed, with a gamma of the cap.
    mean, p99 : float
        Mean and 99th percentile of gamma over all points.
    """

    gamma_zyx: Float32Array
    is_unreached_zyx: BoolArray
    grid: VoxelGrid
    criteria: GammaCriteria
    normalisation: float
    points: int
    passed: int
    unreachable: int
    mean: float
    p99: float

    @property
    def pass_rate(self) -> float:
        """Part of the points that passed, 0 to 1."""
        return self.passed / self.points
