"""Values and standard deviations from batches, and what is read off a profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit

from gatecheck.commissioning.analysis import Estimate

FloatArray = npt.NDArray[np.float64]

_SMOOTHED_OVER = 2.0  # mm
_FWHM_PER_SIGMA = float(2.0 * np.sqrt(2.0 * np.log(2.0)))


@dataclass(frozen=True, slots=True)
class Spread:
    """Values with their standard deviations, arrays of one shape."""

    value: FloatArray
    sigma: FloatArray

    def estimate(self, index: int = 0) -> Estimate:
        """One of them."""
        return Estimate(float(self.value.flat[index]), float(self.sigma.flat[index]))


def jackknife(statistic: Callable[..., npt.ArrayLike], *batches: FloatArray) -> Spread:
    """A function of mean doses with its standard deviation, by leaving out one batch after the other.

    Parameters
    ----------
    statistic : callable
        Takes one mean for each of `batches`, each without the first axis.
    batches : ndarray of shape (n_batches, ...)
        Independent and equal; the same number of batches for all.

    Raises
    ------
    ValueError
        For fewer than two batches, or unequal numbers of them.
    """
    count = len(batches[0])
    if count < 2 or any(len(one) != count for one in batches):
        raise ValueError(f"batches {[len(one) for one in batches]} found, expected two or more, as many of each")
    value = np.asarray(statistic(*(one.mean(axis=0) for one in batches)), dtype=float)
    sums = [one.sum(axis=0) for one in batches]
    without = np.array(
        [
            np.asarray(
                statistic(*((total - one[left]) / (count - 1) for total, one in zip(sums, batches, strict=True)))
            )
            for left in range(count)
        ],
        dtype=float,
    )
    return Spread(value, np.asarray(without.std(axis=0) * np.sqrt(count - 1)))


def opening_edges(position: FloatArray, dose: FloatArray) -> tuple[float, float]:
    """Where a profile with one opening passes half of what it has in the middle of it, mm.

    The profile is averaged over about 2 mm first. Half is that between the middle of the opening and the median of the
    whole profile, which is leakage where most of it is closed.

    Raises
    ------
    ValueError
        When the opening reaches an end of the profile.
    """
    step = float(position[1] - position[0])
    # Odd, so that nothing is shifted.
    width = 2 * round(_SMOOTHED_OVER / step / 2) + 1
    smooth = np.convolve(dose, np.full(width, 1.0 / width), mode="same")
    leakage = float(np.median(smooth))
    low, high = _crossings(position, smooth, int(np.argmax(smooth)), leakage + 0.5 * (smooth.max() - leakage))
    quarter = 0.25 * (high - low)
    inside = (position > low + quarter) & (position < high - quarter)
    middle = float(smooth[inside].mean())
    return _crossings(position, smooth, int(np.argmax(smooth)), leakage + 0.5 * (middle - leakage))


def _crossings(position: FloatArray, dose: FloatArray, top: int, level: float) -> tuple[float, float]:
    below = np.flatnonzero(dose < level)
    before, after = below[below < top], below[below > top]
    if not len(before) or not len(after):
        raise ValueError("the opening reaches an end of the profile")
    edges = []
    for outer, inner in ((before[-1], before[-1] + 1), (after[0], after[0] - 1)):
        share = (level - dose[outer]) / (dose[inner] - dose[outer])
        edges.append(float(position[outer] + share * (position[inner] - position[outer])))
    return edges[0], edges[1]


def dip(position: FloatArray, ratio: FloatArray) -> tuple[float, float]:
    """Depth, relative to the level beside it, and full width at half maximum (mm) of a Gaussian dip near 0."""

    def model(x: FloatArray, level: float, depth: float, centre: float, sigma: float) -> FloatArray:
        return np.asarray(level * (1.0 - depth * np.exp(-0.5 * ((x - centre) / sigma) ** 2)))

    (_, depth, _, sigma), _ = curve_fit(
        model, position, ratio, p0=(1.0, 0.2, 0.0, 1.0), bounds=((0.5, -1.0, -1.5, 0.3), (1.5, 1.0, 1.5, 4.0))
    )
    return float(depth), float(sigma * _FWHM_PER_SIGMA)
