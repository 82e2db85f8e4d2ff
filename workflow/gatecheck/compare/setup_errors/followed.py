"""Structures as the few points that setup errors are followed with, and the part of the dose that they can reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Case, Structure
from gatecheck.case.storage import read_mask
from gatecheck.compare.biology.structures import NORMAL_CORD, Roles, is_named, normal_cord
from gatecheck.compare.sampling import VoxelGrid, place, points_of
from gatecheck.config_setup import SetupMetric

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
DoseArray = npt.NDArray[np.floating]

METRICS: tuple[SetupMetric, ...] = ("d0_03cc_gy", "d95_gy", "mean_gy")
"""Order of the values of `metrics_of`."""

HOTTEST_POINTS = 5000
OTHER_POINTS = 5000

_HOT_VOLUME_ML = 0.03
_D95 = 0.95
_WHOLE = 0.999
_REACH = 3  # voxels: how far round a point the dose counts for its being among the hottest


@dataclass(frozen=True, slots=True)
class FollowedStructure:
    """A structure as points with volumes.

    Attributes
    ----------
    points_xyz : ndarray of shape (n, 3), float32
        LPS mm.
    volumes : ndarray of shape (n,)
        mm3.
    volume_ml : float
        Of the whole structure.
    covered_fraction : float
        Part of it within the dose grid; the points are of that part.
    """

    name: str
    points_xyz: Float32Array
    volumes: FloatArray
    volume_ml: float
    covered_fraction: float


def follow(name: str, mask: sitk.Image, dose_zyx: DoseArray, grid: VoxelGrid) -> FollowedStructure | None:
    """Represent a structure by at most HOTTEST_POINTS + OTHER_POINTS points; None when none lies within the dose.

    All points are kept where setup errors can bring the hottest dose, for the 0.03 ml that receive most; of the others
    every so many one, in the order in which they fill the structure, with the volume of those left out added to it.
    """
    points = points_of(mask, largest_step=min(grid.spacing) / 2)
    placed = place(points, grid)
    if not placed.volumes.size:
        return None
    reached = _highest_around(dose_zyx, placed.place_zyx)
    chosen = grid.holds(points.points_xyz)
    is_hot = np.zeros(len(reached), dtype=np.bool_)
    is_hot[np.argsort(-reached, kind="stable")[:HOTTEST_POINTS]] = True
    others = np.flatnonzero(~is_hot)
    step = max(1, -(-len(others) // OTHER_POINTS))
    kept = np.concatenate([np.flatnonzero(is_hot), others[step // 2 :: step]])
    volumes = placed.volumes.astype(np.float64)
    weights = volumes[kept]
    if len(others) and len(others[step // 2 :: step]):
        rest = slice(int(is_hot.sum()), None)
        weights[rest] *= volumes[others].sum() / weights[rest].sum()
    return FollowedStructure(
        name, points.points_xyz[chosen][kept], weights, points.total_volume / 1000, placed.covered_fraction
    )


def follow_all(
    *,
    case_folder: Path,
    case: Case,
    roles: Roles,
    more: Sequence[str],
    dose_zyx: DoseArray,
    grid: VoxelGrid,
    notes: list[str],
) -> list[FollowedStructure]:
    """Cord, tumour, more structures by name, and the cord without the tumour; what is missing goes to `notes`."""
    masks = {one.name: read_mask(case_folder, one) for one in _chosen(case.structures, roles, more, notes)}
    normal = normal_cord(roles, lambda one: read_mask(case_folder, one))
    if normal is not None:
        masks[NORMAL_CORD] = normal
    followed = []
    for name, mask in masks.items():
        found = follow(name, mask, dose_zyx, grid)
        if found is None:
            notes.append(f"{name}: wholly outside of the Monte Carlo dose grid, or empty.")
            continue
        if found.covered_fraction < _WHOLE:
            missing = 100 * (1 - found.covered_fraction)
            notes.append(f"{name}: {missing:.1f} % of the volume lies outside of the dose grid, left out.")
        followed.append(found)
    return followed


def _chosen(structures: Sequence[Structure], roles: Roles, more: Sequence[str], notes: list[str]) -> list[Structure]:
    filled = [one for one in structures if one.mask is not None]
    chosen = [one for one in (roles.cord, roles.tumour) if one is not None]
    for name in more:
        found = [one for one in filled if is_named(one.name, (name,))]
        if not found:
            notes.append(f"setup.structures: no structure with a volume is called {name}.")
        chosen += [one for one in found if one not in chosen]
    return chosen


def metrics_of(values: FloatArray, volumes: FloatArray) -> FloatArray:
    """D0.03cc, D95 and mean dose of values at points, in the order of METRICS; not a number where there is none."""
    order = np.argsort(-values)
    sorted_values, sorted_volumes = values[order], volumes[order]
    total = sorted_volumes.sum()
    middles = np.cumsum(sorted_volumes) - sorted_volumes / 2
    hot = _HOT_VOLUME_ML * 1000
    return np.array(
        [
            np.interp(hot, middles, sorted_values) if total >= hot else np.nan,
            np.interp(_D95 * total, middles, sorted_values),
            sorted_values @ sorted_volumes / total,
        ]
    )


def _highest_around(dose_zyx: DoseArray, place_zyx: Float32Array) -> FloatArray:
    """The highest dose within _REACH voxels along each axis of each place."""
    nearest = np.rint(place_zyx).astype(np.int64)
    low = np.maximum(nearest.min(axis=1) - _REACH, 0)
    high = np.minimum(nearest.max(axis=1) + _REACH + 1, dose_zyx.shape)
    part = dose_zyx[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    # A separable maximum filter, by shifts: few, and without a library's own edges.
    for axis in range(3):
        padding = [(0, 0)] * 3
        padding[axis] = (_REACH, _REACH)
        padded = np.pad(part, padding, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1, axis=axis)
        part = windows.max(axis=-1)
    shifted = np.clip(nearest - low[:, np.newaxis], 0, np.array(part.shape)[:, np.newaxis] - 1)
    found: FloatArray = part[tuple(shifted)].astype(np.float64)
    return found
