"""Dose-volume histograms and the doses read from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.sampling import PlacedPoints

FloatArray = npt.NDArray[np.float64]

METRICS = ("mean_gy", "d95_gy", "d50_gy", "d2_gy", "max_gy")
"""Order of the values of `dose_metrics`; names as in `DoseMetrics`."""


@dataclass(frozen=True, slots=True)
class DoseDistribution:
    """Dose in a structure's volume, sorted.

    Attributes
    ----------
    doses : ndarray of shape (n,)
        Gy, increasing.
    volumes_from : ndarray of shape (n + 1,)
        Fraction of volume in points from i on: 1 at first, 0 at last.
    mean, maximum : float
        Gy. The mean is weighted by volume. The maximum is the highest dose of a dose voxel whose
        centre lies inside, or interpolated at a point that lies inside, if that is higher; inside is
        where more than half of the CT voxel, or of the point's part of it, is in the structure.
    """

    doses: FloatArray
    volumes_from: FloatArray
    mean: float
    maximum: float

    def dose_to_volume(self, fraction: float) -> float:
        """Least dose to the `fraction` of volume that receives most, Gy (D95 is `dose_to_volume(0.95)`)."""
        middles = (self.volumes_from[1:] + self.volumes_from[:-1]) / 2
        return float(np.interp(fraction, middles[::-1], self.doses[::-1]))

    def volume_receiving(self, dose_axis: FloatArray) -> FloatArray:
        """Fraction of volume that receives at least each dose."""
        return self.volumes_from[np.searchsorted(self.doses, dose_axis, side="left")]


def distribution(points: PlacedPoints, dose_zyx: npt.NDArray[np.floating]) -> DoseDistribution:
    """Sample a dose at a structure's points (at least one) and sort it."""
    doses = points.dose(dose_zyx)
    volumes = points.volumes.astype(np.float64)
    total = volumes.sum()
    order = np.argsort(doses)
    volumes_from = np.zeros(len(doses) + 1)
    volumes_from[:-1] = np.cumsum(volumes[order][::-1])[::-1] / total
    volumes_from[0] = 1.0
    return DoseDistribution(
        doses=doses[order],
        volumes_from=volumes_from,
        mean=float(volumes @ doses / total),
        maximum=float(max(doses[points.inside].max(), dose_zyx.ravel()[points.centres].max(initial=-np.inf))),
    )


def dose_metrics(found: DoseDistribution) -> FloatArray:
    """Mean, D95, D50, D2 and maximum in Gy, in the order of METRICS."""
    return np.array(
        [
            found.mean,
            found.dose_to_volume(0.95),
            found.dose_to_volume(0.50),
            found.dose_to_volume(0.02),
            found.maximum,
        ]
    )


def without_bias(value: npt.ArrayLike, left_out: npt.ArrayLike) -> FloatArray:
    """A quantity without the part of its expectation that noise adds in proportion to the variance.

    Noise makes a dose-volume histogram wider: D95 falls and D2 rises by more than their own sigma where
    the dose in a structure is flatter than the noise. Quenouille's correction n t - (n - 1) mean(t_i)
    takes the term in 1/n away (Biometrika 43 (1956) 353). For a maximum, which is not smooth, it takes
    only a part away.

    Parameters
    ----------
    value : array of shape (...)
        From all batches.
    left_out : array of shape (n, ...)
        From all batches but one, n at least two.
    """
    values = np.asarray(left_out, dtype=np.float64)
    n = len(values)
    corrected: FloatArray = n * np.asarray(value, dtype=np.float64) - (n - 1) * values.mean(axis=0)
    return corrected


def jackknife_sigma(left_out: npt.ArrayLike) -> FloatArray:
    """Standard deviation (k = 1) of a quantity from its values with one batch left out at a time.

    sigma^2 = (n - 1) / n sum_i (t_i - mean(t))^2 for n equal batches (Efron and Stein, Ann. Stat.
    9 (1981) 586). It holds for what changes smoothly with dose: means, and doses to a volume. For a
    maximum it is the sigma of the voxel where the maximum lies, not of its being picked as the
    highest of many, which noise also raises.

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
