"""Dose-volume histograms and the doses read from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.sampling import PlacedPoints

FloatArray = npt.NDArray[np.float64]

WHOLE_METRICS = ("mean_gy", "d95_gy", "d50_gy", "d2_gy")
HOT_METRICS = ("d003cc_gy", "d001cc_gy", "max_gy")
METRICS = (*WHOLE_METRICS, *HOT_METRICS)
"""Names as in `DoseMetrics`: those read from the whole structure, and those read from its hottest part."""

SMALL_VOLUMES = {"d003cc_gy": 30.0, "d001cc_gy": 10.0}
"""mm3."""


@dataclass(frozen=True, slots=True)
class DoseDistribution:
    """Dose in a structure's volume, sorted.

    Attributes
    ----------
    doses : ndarray of shape (n,)
        Gy, increasing.
    volumes_from : ndarray of shape (n + 1,)
        Fraction of volume in points from i on: 1 at first, 0 at last.
    volume : float
        mm3 of all points.
    mean, maximum : float
        Gy. The mean is weighted by volume. The maximum is the highest dose at a point, or at the centre of a dose
        voxel, that lies inside; inside is where more than half of the point's part of a CT voxel, or of the CT
        voxel, is in the structure.
    """

    doses: FloatArray
    volumes_from: FloatArray
    volume: float
    mean: float
    maximum: float

    def dose_to_volume(self, fraction: float) -> float:
        """Least dose to the `fraction` of volume that receives most, Gy (D95 is `dose_to_volume(0.95)`)."""
        middles = (self.volumes_from[1:] + self.volumes_from[:-1]) / 2
        return float(np.interp(fraction, middles[::-1], self.doses[::-1]))

    def dose_to_small_volume(self, volume: float) -> float:
        """Least dose to the hottest `volume` in mm3, Gy; not a number where the structure is smaller."""
        return self.dose_to_volume(volume / self.volume) if volume <= self.volume else float("nan")

    def volume_receiving(self, dose_axis: FloatArray) -> FloatArray:
        """Fraction of volume that receives at least each dose."""
        return self.volumes_from[np.searchsorted(self.doses, dose_axis, side="left")]


def distribution(points: PlacedPoints, dose: SplineFields) -> DoseDistribution:
    """Sample a dose (the first field) at a structure's points, at least one, and sort it."""
    doses = dose.at(points.place_zyx)[0].astype(np.float64)
    at_centres = dose.at(points.centres_zyx)[0]
    volumes = points.volumes.astype(np.float64)
    total = float(volumes.sum())
    order = np.argsort(doses)
    volumes_from = np.zeros(len(doses) + 1)
    volumes_from[:-1] = np.cumsum(volumes[order][::-1])[::-1] / total
    volumes_from[0] = 1.0
    return DoseDistribution(
        doses=doses[order],
        volumes_from=volumes_from,
        volume=total,
        mean=float(volumes @ doses / total),
        maximum=float(max(doses[points.inside].max(), at_centres.max(initial=-np.inf))),
    )


def whole_metrics(found: DoseDistribution) -> FloatArray:
    """Mean, D95, D50 and D2 in Gy, in the order of WHOLE_METRICS."""
    return np.array([found.mean, *(found.dose_to_volume(fraction) for fraction in (0.95, 0.50, 0.02))])


def hot_metrics(found: DoseDistribution) -> FloatArray:
    """D0.03cc, D0.01cc and maximum in Gy, in the order of HOT_METRICS."""
    return np.array([*(found.dose_to_small_volume(volume) for volume in SMALL_VOLUMES.values()), found.maximum])


def jackknife_sigma(left_out: npt.ArrayLike) -> FloatArray:
    """Standard deviation (k = 1) of a quantity from its values with one batch left out at a time.

    sigma^2 = (n - 1) / n sum_i (t_i - mean(t))^2 for n equal batches (Efron and Stein, Ann. Stat. 9 (1981) 586). It
    holds for what changes smoothly with dose, such as means. A dose to a volume does not: one batch less moves so
    few voxels past each other that its sigma comes out up to several times too large; `gatecheck.compare.debias`
    is for these.

    Parameters
    ----------
    left_out : array of shape (n, ...)
        At least two.
    """
    values = np.asarray(left_out, dtype=np.float64)
    n = len(values)
    if n < 2:
        raise ValueError(f"{n} batch, expected at least 2")
    sigma: FloatArray = np.sqrt((n - 1) / n * ((values - values.mean(axis=0)) ** 2).sum(axis=0))
    return sigma
