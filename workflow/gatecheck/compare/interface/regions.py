"""Dose, gradient and gamma in shells round the tumour, in its core, and in the hottest part of the cord."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.gamma import GammaCriteria
from gatecheck.compare.interface.doses import RegionDoses, SampledDoses, at_places, places_in, sampled
from gatecheck.compare.interface.estimates import mean_estimate
from gatecheck.compare.interface.gamma_rates import REFERENCES, GammaPoints, Way, gamma_rates
from gatecheck.compare.interface.model import (
    Estimate,
    GammaRate,
    GradientClass,
    Plateau,
    ShellComparison,
)
from gatecheck.compare.interface.shells import SHELL_EDGES, InterfacePoints, Shell, shells_of

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

GRADIENT_EDGES = (0.0, 2.0, 5.0, 10.0, np.inf)
"""Per cent of the prescription a mm."""

_STEP = 0.5
_LEAST_POINTS = 5
_CORE_VOXELS = 4.0
_CORE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Slopes:
    """Fall of dose along normals, Gy/mm: (n, points) of the batches, and of the TPS."""

    batches: FloatArray
    tps: FloatArray | None


def slopes_along(doses: RegionDoses, points_xyz: FloatArray, normals_xyz: FloatArray) -> Slopes:
    """Central differences over 1 mm along given directions; linear in dose, so that noise does not raise them."""
    ahead, behind = (sampled(doses, points_xyz + sign * _STEP * normals_xyz) for sign in (1.0, -1.0))
    tps = None if ahead.tps is None or behind.tps is None else (behind.tps - ahead.tps) / (2 * _STEP)
    return Slopes((behind.batches - ahead.batches) / (2 * _STEP), tps)


def steepness(dose_zyx: FloatArray, doses: RegionDoses, points_xyz: FloatArray) -> FloatArray:
    """Magnitude of a dose's gradient at points, Gy/mm."""
    squares = np.zeros(len(points_xyz))
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = _STEP
        ahead = at_places(dose_zyx, places_in(doses.grid, points_xyz + step))
        behind = at_places(dose_zyx, places_in(doses.grid, points_xyz - step))
        squares += ((ahead - behind) / (2 * _STEP)) ** 2
    found: FloatArray = np.sqrt(squares)
    return found


def compare_shells(
    points: InterfacePoints,
    at: SampledDoses,
    slopes: Slopes,
    *,
    has_cord: bool,
    prescription_gy: float,
    gamma: Sequence[Sequence[GammaRate | None]],
) -> tuple[ShellComparison, ...]:
    """One row a shell; `gamma` holds, for each criterion and direction, the rates in the order of `shells_of`."""
    rows = []
    for index, shell in enumerate(shells_of(points, has_cord=has_cord)):
        rates = [one[index] for one in gamma]
        kept = [rate for rate in rates if rate is not None]
        rows.append(_shell_row(shell, points, at, slopes, prescription_gy=prescription_gy, gamma=kept))
    return tuple(rows)


def _shell_row(
    shell: Shell,
    points: InterfacePoints,
    at: SampledDoses,
    slopes: Slopes,
    *,
    prescription_gy: float,
    gamma: list[GammaRate],
) -> ShellComparison:
    chosen, percent = shell.chosen, 100 / prescription_gy
    is_filled = int(chosen.sum()) >= _LEAST_POINTS
    mc = at.batches[:, chosen].mean(axis=1) if is_filled else None
    tps = float(at.tps[chosen].mean()) if is_filled and at.tps is not None else None
    other = float(at.tps_otherwise[chosen].mean()) if is_filled and at.tps_otherwise is not None else None
    fall = slopes.batches[:, chosen].mean(axis=1) if is_filled else None
    tps_fall = float(slopes.tps[chosen].mean()) if is_filled and slopes.tps is not None else None
    difference = None if mc is None or tps is None else mc - tps
    return ShellComparison(
        name=shell.name,
        nearest=shell.nearest,
        furthest=shell.furthest,
        region=shell.region,
        volume_ml=int(chosen.sum()) * points.volume / 1000,
        mc_mean_gy=_optional(mc),
        tps_mean_gy=tps,
        difference_gy=_optional(difference),
        difference_percent=_optional(None if difference is None else difference * percent),
        grid_error_gy=None if other is None or tps is None else abs(other - tps),
        mc_gradient_gy_per_mm=_optional(fall),
        tps_gradient_gy_per_mm=tps_fall,
        mc_gradient_percent_per_mm=_optional(None if fall is None else fall * percent),
        tps_gradient_percent_per_mm=None if tps_fall is None else tps_fall * percent,
        gamma=tuple(gamma),
    )


def _optional(of_batches: FloatArray | None) -> Estimate | None:
    return None if of_batches is None else mean_estimate(of_batches)


def compare_gamma(
    doses: RegionDoses,
    at: GammaPoints,
    criteria: Sequence[GammaCriteria],
    *,
    has_cord: bool,
    prescription_gy: float,
) -> tuple[list[list[GammaRate | None]], tuple[GradientClass, ...]]:
    """Rates by shell (for each criterion, both ways, in the order of `shells_of`), and by gradient class."""
    shells = [shell.chosen for shell in shells_of(at.points, has_cord=has_cord)]
    has_tps = doses.tps_zyx is not None
    steep_by = doses.tps_zyx if doses.tps_zyx is not None else doses.batches_zyx.mean(axis=0)
    steep = 100 / prescription_gy * steepness(steep_by, doses, at.points.points_xyz)
    near = at.points.distance <= SHELL_EDGES[-1]
    edges = list(itertools.pairwise(GRADIENT_EDGES))
    classes = [near & (steep >= low) & (steep < high) for low, high in edges]
    parts = [*shells, *classes]
    ways = [Way(one, reference) for one in criteria for reference in REFERENCES] if has_tps else []
    found = gamma_rates(doses, at, parts, ways=ways, prescription_gy=prescription_gy)
    rows = []
    for index, (low, high) in enumerate(edges):
        rates = [one[len(shells) + index] for one in found]
        rows.append(
            GradientClass(
                name=f"{low:g}-{high:g} %/mm" if np.isfinite(high) else f"from {low:g} %/mm",
                steepest_by="TPS" if has_tps else "MC",
                volume_ml=float(at.volumes[classes[index]].sum() / 1000),
                gamma=tuple(rate for rate in rates if rate is not None),
            )
        )
    return [one[: len(shells)] for one in found], tuple(rows)


def compare_plateau(
    points: InterfacePoints,
    at: SampledDoses,
    doses: RegionDoses,
    *,
    prescription_gy: float,
    largest_gradient: float,
    least_depth: float,
) -> Plateau | None:
    """Dose in the tumour's core: as deep as asked, and flatter than asked; else its innermost part.

    None without a TPS dose.
    """
    if at.tps is None or at.tps_otherwise is None or doses.tps_zyx is None:
        return None
    inside = np.flatnonzero(points.distance < 0)
    steep = 100 / prescription_gy * steepness(doses.tps_zyx, doses, points.points_xyz[inside])
    is_core = (points.distance[inside] <= -least_depth) & (steep < largest_gradient)
    least_volume = _CORE_VOXELS * float(np.prod(doses.grid.spacing))
    is_flat = float(is_core.sum()) * points.volume >= least_volume
    if not is_flat:
        wanted = max(least_volume, _CORE_SHARE * len(inside) * points.volume)
        deepest = np.argsort(points.distance[inside])[: max(_LEAST_POINTS, round(wanted / points.volume))]
        is_core = np.zeros(len(inside), dtype=np.bool_)
        is_core[deepest] = True
    core = inside[is_core]
    tps, other = float(at.tps[core].mean()), float(at.tps_otherwise[core].mean())
    mc = at.batches[:, core].mean(axis=1)
    flat = f"at least {least_depth:g} mm deep, and the TPS dose changes by less than {largest_gradient:g} %/mm"
    return Plateau(
        definition=flat if is_flat else f"innermost part: hardly any of the tumour is {flat}",
        is_flat=is_flat,
        volume_ml=len(core) * points.volume / 1000,
        depth=float(-points.distance[core].max()),
        gradient_percent_per_mm=float(steep[is_core].mean()),
        mc_mean_gy=mean_estimate(mc),
        tps_mean_gy=tps,
        difference_percent=mean_estimate(100 * (mc - tps) / tps),
        grid_error_percent=abs(100 * (other - tps) / tps),
    )
