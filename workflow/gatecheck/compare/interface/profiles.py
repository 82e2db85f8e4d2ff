"""Dose along the normals of the tumour's surface, and where it passes isodoses.

The distance of an isodose along a ray is the length over which the dose stays above its level, from the ray's inner
end. For a dose that falls it is where the level is passed; for a noisy dose, which passes it several times, it is the
mean of the passes with their signs, which noise pushes neither in nor out, as it does the first or the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.compare.interface.geometry import Surface

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_Kind = TypeVar("_Kind", bound=np.generic)

STEP = 0.25
"""mm between points of a ray."""

LARGEST_DEPTH = 15.0
_SLACK_INSIDE, _SLACK_OUTSIDE = 0.3, 1.0
"""mm by which the surface may come nearer to a ray's point than its own foot before the ray ends: it has then passed
the tumour's middle, or, outside, come to another part of the surface."""


@dataclass(frozen=True, slots=True)
class Rays:
    """Lines along the outward normals of a surface, all with the same marks; each stands for the same area.

    Attributes
    ----------
    feet_xyz, normals_xyz : ndarray of shape (n, 3)
        Where they pass the surface, and unit vectors.
    marks : ndarray of shape (m,)
        mm along the normal, negative inside the tumour.
    first, last : ndarray of shape (n,), int
        The marks between which each ray is used.
    """

    feet_xyz: FloatArray
    normals_xyz: FloatArray
    marks: FloatArray
    first: npt.NDArray[np.int_]
    last: npt.NDArray[np.int_]

    @property
    def points_xyz(self) -> FloatArray:
        """All marks of all rays, (n * m, 3), ray by ray."""
        points = self.feet_xyz[:, None, :] + self.marks[None, :, None] * self.normals_xyz[:, None, :]
        return points.reshape(-1, 3)

    def of_rays(self, values: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
        """Values (..., n * m) at the points as (..., n, m)."""
        return values.reshape(*values.shape[:-1], len(self.feet_xyz), len(self.marks))


def rays_from(surface: Surface, *, count: int, reach: float) -> Rays:
    """About `count` rays, evenly by area, from the tumour's middle to `reach` mm outside."""
    cumulative = np.cumsum(surface.areas)
    wanted = (np.arange(count) + 0.5) / count * cumulative[-1]
    # Points are listed in the order of the lattice, so that every so-many-th by area lies all over the surface.
    chosen = np.unique(np.searchsorted(cumulative, wanted).clip(0, len(cumulative) - 1))
    feet, normals = surface.points_xyz[chosen], surface.normals_xyz[chosen]
    marks: FloatArray = STEP * np.arange(-round(LARGEST_DEPTH / STEP), round(reach / STEP) + 1, dtype=np.float64)
    everything = Rays(feet, normals, marks, np.zeros(len(feet), int), np.full(len(feet), len(marks) - 1))
    distance = everything.of_rays(surface.signed_distance(everything.points_xyz))
    is_own = np.where(
        marks < 0,
        distance <= marks + _SLACK_INSIDE,
        (distance >= marks - _SLACK_OUTSIDE) & (distance >= -_SLACK_INSIDE),
    )
    middle = int(np.flatnonzero(marks == 0)[0])
    first = middle - _run_length(is_own[:, :middle][:, ::-1])
    last = middle + _run_length(is_own[:, middle + 1 :])
    used = slice(int(first.min()), int(last.max()) + 1)
    return Rays(feet, normals, marks[used], first - used.start, last - used.start)


def _run_length(holds: BoolArray) -> npt.NDArray[np.int_]:
    """How many are true in a row from the start of each row."""
    length: npt.NDArray[np.int_] = np.cumprod(holds, axis=1, dtype=np.int64).sum(axis=1)
    return length


@dataclass(frozen=True, slots=True)
class Passes:
    """Where one dose passes one isodose.

    Attributes
    ----------
    distance : ndarray of shape (n,)
        mm from the surface, positive outside; the ray's own end where the isodose is not met.
    is_below, is_above : ndarray of shape (n,), bool
        The dose stays below, or above, the level along all of the ray.
    """

    distance: FloatArray
    is_below: BoolArray
    is_above: BoolArray

    @property
    def is_met(self) -> BoolArray:
        """The isodose is passed on the ray."""
        return ~(self.is_below | self.is_above)


def passes(rays: Rays, dose: FloatArray, level: float) -> Passes:
    """Where a dose (n, m) along the rays passes a level, Gy."""
    length = _lengths_above(np.ascontiguousarray(dose, dtype=np.float64), float(level), rays.first, rays.last) * STEP
    whole = (rays.last - rays.first) * STEP
    return Passes(
        distance=rays.marks[rays.first] + length,
        is_below=length <= 0,
        is_above=length >= whole,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _lengths_above(
    dose: FloatArray, level: float, first: npt.NDArray[np.int_], last: npt.NDArray[np.int_]
) -> FloatArray:
    """In steps: along how much of each ray the dose, straight between marks, lies above a level."""
    lengths = np.zeros(len(dose))
    for ray in range(len(dose)):
        for mark in range(first[ray], last[ray]):
            here, ahead = dose[ray, mark] - level, dose[ray, mark + 1] - level
            if here >= 0 and ahead >= 0:
                lengths[ray] += 1.0
            elif not (here <= 0 and ahead <= 0):
                lengths[ray] += max(here, ahead) / abs(ahead - here)
    return lengths
