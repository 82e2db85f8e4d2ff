"""Distance to agreement of isodoses along the normals of the tumour's surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatecheck.compare.interface.doses import SampledDoses
from gatecheck.compare.interface.estimates import free_estimate, mean_estimate
from gatecheck.compare.interface.model import DirectionAgreement, Estimate, FallOff, IsodoseAgreement
from gatecheck.compare.interface.profiles import Passes, Rays, passes
from gatecheck.compare.interface.statistics import mean_over_batches, without_noise

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ISODOSES = (95.0, 80.0, 50.0)
"""Per cent of the prescription."""

_DIRECTIONS = (("+x", 0, 1), ("-x", 0, -1), ("+y", 1, 1), ("-y", 1, -1), ("+z", 2, 1), ("-z", 2, -1))
_FURTHEST = 95.0  # percentile
_DRAWS = 3
_LEAST_RAYS = 10


@dataclass(frozen=True, slots=True)
class IsodoseMap:
    """Distance to agreement of one isodose on each ray.

    Attributes
    ----------
    percent : float
    agreement, sigma : ndarray of shape (n,)
        mm, positive where the Monte Carlo's lies further out, and by noise; NaN where either dose never meets it.
    """

    percent: float
    agreement: FloatArray
    sigma: FloatArray


def compare_isodose(
    rays: Rays, along: SampledDoses, percent: float, prescription_gy: float
) -> tuple[IsodoseAgreement, IsodoseMap]:
    """Both doses' distances of one isodose from the surface, and what lies between them."""
    level = percent / 100 * prescription_gy
    batches = rays.of_rays(along.batches)
    mc = passes(rays, batches.mean(axis=0), level)
    tps = None if along.tps is None else passes(rays, rays.of_rays(along.tps), level)
    pseudo = _pseudo_values(rays, batches, mc, level)
    both = mc.is_met if tps is None else mc.is_met & tps.is_met
    nothing = np.full(len(both), np.nan)
    has_both = tps is not None and int(both.sum()) >= _LEAST_RAYS
    agreement = nothing if tps is None else np.where(both, mc.distance - tps.distance, np.nan)
    sigma = np.where(both, mean_over_batches(pseudo).sigma, np.nan)
    mean = median = furthest = None
    directions: tuple[DirectionAgreement, ...] = ()
    if tps is not None and has_both:
        difference = pseudo[:, both] - tps.distance[both]
        mean = mean_estimate(difference.mean(axis=1))
        median, furthest = _percentiles(rays, batches, mc, tps, level)
        directions = _by_direction(rays.normals_xyz[both], difference)
    table = IsodoseAgreement(
        percent=percent,
        level_gy=level,
        rays=len(both),
        met_by_both=int(both.sum()) if tps is not None else 0,
        never_met_by_mc=int((~mc.is_met).sum()),
        never_met_by_tps=None if tps is None else int((~tps.is_met).sum()),
        mc_distance=mean_estimate(pseudo[:, mc.is_met].mean(axis=1)) if mc.is_met.any() else None,
        tps_distance=float(tps.distance[tps.is_met].mean()) if tps is not None and tps.is_met.any() else None,
        mean=mean,
        median=median,
        p95_of_absolute=furthest,
        directions=directions,
    )
    return table, IsodoseMap(percent, agreement, sigma)


def _pseudo_values(rays: Rays, batches: FloatArray, merged: Passes, level: float) -> FloatArray:
    """Jackknife pseudo-values (n, rays) of the distances: their mean has no bias of first order in the variance."""
    n = len(batches)
    mean = batches.mean(axis=0)
    left_out = np.stack([passes(rays, mean + (mean - one) / (n - 1), level).distance for one in batches])
    pseudo: FloatArray = n * merged.distance - (n - 1) * left_out
    return pseudo


def _percentiles(rays: Rays, batches: FloatArray, mc: Passes, tps: Passes, level: float) -> tuple[Any, Any]:
    """Median of the rays on which both doses meet the isodose, and the percentile of the rays on which either does.

    Where one of them never meets it, they lie further apart than can be said: such rays count among the furthest, and
    from 5 % of them on there is no 95th percentile.
    """
    flat = batches.reshape(len(batches), -1)
    both: BoolArray = mc.is_met & tps.is_met
    of_both = _FURTHEST * int((mc.is_met | tps.is_met).sum()) / int(both.sum())

    def statistic(weights: FloatArray) -> FloatArray:
        found = passes(rays, (weights @ flat).reshape(batches.shape[1:]), level)
        difference = (found.distance - tps.distance)[both]
        # The percentile of an absolute value grows with sigma, its square with the variance.
        return np.array([np.median(difference), np.percentile(np.abs(difference), min(of_both, 100.0)) ** 2])

    free = without_noise(statistic, len(batches), draws=_DRAWS)
    median, square = free_estimate(free, 0), free_estimate(free, 1, is_square=True)
    # Half of the rays lie at least as far off as the median: less cannot be, however the extrapolation came out.
    least = abs(median.value)
    p95 = square.model_copy(update={name: max(getattr(square, name), least) for name in ("value", "low", "high")})
    return median, p95 if of_both <= 100.0 else None


def _by_direction(normals: FloatArray, difference: FloatArray) -> tuple[DirectionAgreement, ...]:
    main = np.abs(normals).argmax(axis=1)
    rows = []
    for name, axis, sign in _DIRECTIONS:
        faces = (main == axis) & (np.sign(normals[:, axis]) == sign)
        mean: Estimate | None = mean_estimate(difference[:, faces].mean(axis=1)) if faces.any() else None
        rows.append(DirectionAgreement(direction=name, rays=int(faces.sum()), mean=mean))
    return tuple(rows)


def compare_fall_off(
    rays: Rays, along: SampledDoses, prescription_gy: float, output_of_batches: FloatArray
) -> FallOff | None:
    """Distance between the first and the last isodose, the Monte Carlo's dose brought to the TPS's output.

    Parameters
    ----------
    output_of_batches : ndarray of shape (n,)
        By which fraction each batch's dose is higher; their mean is that of the whole.
    """
    if along.tps is None or along.tps_otherwise is None:
        return None
    batches = rays.of_rays(along.batches)
    flat = batches.reshape(len(batches), -1)
    levels = [percent / 100 * prescription_gy for percent in (ISODOSES[0], ISODOSES[-1])]

    def crossings(dose: FloatArray, scale: float) -> tuple[Passes, Passes]:
        return passes(rays, dose, scale * levels[0]), passes(rays, dose, scale * levels[1])

    tps = crossings(rays.of_rays(along.tps), 1.0)
    mc = crossings(batches.mean(axis=0), 1.0 + float(output_of_batches.mean()))
    other = crossings(rays.of_rays(along.tps_otherwise), 1.0)
    both = tps[0].is_met & tps[1].is_met & mc[0].is_met & mc[1].is_met
    if int(both.sum()) < _LEAST_RAYS:
        return None

    def width(pair: tuple[Passes, Passes]) -> float:
        return float((pair[1].distance - pair[0].distance)[both].mean())

    def statistic(weights: FloatArray) -> FloatArray:
        dose = (weights @ flat).reshape(batches.shape[1:])
        return np.array([width(crossings(dose, 1.0 + float(weights @ output_of_batches))) - width(tps)])

    return FallOff(
        from_percent=ISODOSES[0],
        to_percent=ISODOSES[-1],
        rays=int(both.sum()),
        tps_width=width(tps),
        difference=free_estimate(without_noise(statistic, len(batches), draws=_DRAWS), 0),
        grid_error=abs(width(other) - width(tps)),
    )
