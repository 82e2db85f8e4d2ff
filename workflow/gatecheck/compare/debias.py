"""Doses read from a histogram without what noise adds to them, with their interval.

Noise widens a dose-volume histogram: the hottest 0.03 ml of a noisy dose are hotter, D95 is lower. How much depends
on the dose's shape: for a flat dose the excess grows as the noise's standard deviation, for a peaked one as its
variance. So the noise is added again, in the form that the batches give it (`gatecheck.compare.noise`):

1. The dose is smoothed lightly. What noise it has left is extrapolated to none (simulation and extrapolation, Cook and
   Stefanski, J. Am. Stat. Assoc. 89 (1994) 1314): the quantity at 1, 2 and 4 times that noise's variance is
   continued to 0 along a + b sqrt(c + variance), which holds for both a flat and a peaked dose (it is how the
   quantile of a normal distribution moves when normal noise is added).
2. Smoothing shifts the quantity too. Therefore only a difference is taken from the smoothed dose: what full noise
   adds to it. That is subtracted from the quantity of the dose as it is.

The standard deviation comes from doing all this again on the smoothed dose with each field of noise in turn.

Measured with 20 batches, voxels of 1 and 2 mm and independent noise of 1 and 2 %: what is left of the bias of D0.03cc
is up to 0.2 of the stated sigma for a hot spot of 0.3 ml and at a steep edge (before: up to 0.6), and 0.2 to 0.4 for a
dose that is exactly flat (before: 2.6 to 7 sigma); of a maximum up to 0.35 and 0.55. 95 % intervals held the true value
in 92 to 100 % of 60 runs; in 88 % with 10 batches, and in 90 % for the D50 of a target of 20 ml. The jackknife's
correction (Quenouille, Biometrika 43 (1956) 353), on the same doses, left 5 sigma for a flat dose and spread D2 up to
ten times as widely as noise itself does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special

from gatecheck.compare.noise import NoisyDose

FloatArray = npt.NDArray[np.float64]
Quantities = Callable[[npt.NDArray[np.floating]], FloatArray]
"""From doses at points, shape (n_points,), to numbers, shape (n,)."""

PROBABILITY = 0.95

_ADDED = (1.0, 3.0)  # times the variance that is there already
_FIELDS_IN_A_REPEAT = 6
_LEAST_SIGMA = 1e-9  # of the largest dose, so that weights are finite
_CURVATURES = np.concatenate([[0.0], np.geomspace(0.05, 50.0, 40)])  # c, in units of the variance there


@dataclass(frozen=True, slots=True)
class Estimates:
    """Numbers with their standard deviation, each of shape (n,).

    Attributes
    ----------
    shift : ndarray
        To be added to the number that the noisy dose gives.
    sigma : ndarray
        Standard deviation (k = 1) of the sum.
    half_width : ndarray
        Of the 95 % interval about the sum.
    """

    shift: FloatArray
    sigma: FloatArray
    half_width: FloatArray


def joined(parts: Sequence[Estimates]) -> Estimates:
    """Estimates one after the other."""
    return Estimates(
        np.concatenate([part.shift for part in parts]),
        np.concatenate([part.sigma for part in parts]),
        np.concatenate([part.half_width for part in parts]),
    )


def without_noise(points: NoisyDose, quantities: Quantities) -> Estimates:
    """What noise adds to some numbers, and what is uncertain about them when that is taken away."""
    number = len(points.noise)
    shift = _corrected(points, quantities, range(number)) - quantities(points.dose)
    repeats = []
    for outer in range(number):
        inner = [(outer + 1 + step) % number for step in range(min(_FIELDS_IN_A_REPEAT, number - 1))] or [outer]
        repeat = replace(
            points,
            dose=points.smooth + points.noise[outer],
            smooth=points.twice_smooth + points.smooth_noise[outer],
        )
        repeats.append(_corrected(repeat, quantities, inner))
    sigma = _spread(np.array(repeats), quantities(points.smooth))
    return Estimates(shift, sigma, sigma * width_in_sigma(degrees_of_freedom(number)))


def degrees_of_freedom(fields: int) -> int:
    """Of a standard deviation that is the spread of as many repeats as there are fields of noise."""
    return max(fields - 1, 1)


def in_order(values: FloatArray, sigmas: FloatArray, volumes: FloatArray) -> FloatArray:
    """Least doses to volumes, each corrected by itself, made not to rise with volume.

    Where two are the wrong way round both become their mean, weighted by one over their variance: isotonic regression
    (Ayer et al., Ann. Math. Stat. 26 (1955) 641). What is not a number stays so.

    Parameters
    ----------
    values, sigmas, volumes : ndarray of shape (n,)
        Doses and their standard deviations; a maximum is the dose to a volume of 0.
    """
    ordered = values.copy()
    known = np.flatnonzero(np.isfinite(values))
    if len(known) > 1:
        by_volume = known[np.argsort(volumes[known], kind="stable")]
        floor = _LEAST_SIGMA * max(float(np.abs(values[known]).max()), 1.0)
        weights = np.maximum(sigmas[by_volume], floor) ** -2
        ordered[by_volume] = scipy.optimize.isotonic_regression(values[by_volume], weights=weights, increasing=False).x
    return ordered


def curve_without_noise(points: NoisyDose, volumes: Quantities) -> Estimates:
    """As `without_noise` for a whole curve, of which noise left in the smoothed dose is not taken away."""
    factor = np.float32(math.sqrt(1.0 - _noise_left(points)))
    noisy = np.array([volumes(points.smooth + factor * noise) for noise in points.noise])
    middle = volumes(points.smooth)
    sigma = _spread(noisy, middle)
    width = width_in_sigma(degrees_of_freedom(len(points.noise)))
    return Estimates(middle - noisy.mean(axis=0), sigma, sigma * width)


def width_in_sigma(freedom: int) -> float:
    """Half of the 95 % interval, in standard deviations known with some degrees of freedom (Student's t).

    Fields of noise have a mean of 0: the root of their mean square has as many as there are fields.
    """
    return float(scipy.special.stdtrit(freedom, 0.5 + PROBABILITY / 2))


def _spread(repeats: FloatArray, middle: FloatArray) -> FloatArray:
    spread: FloatArray = repeats.std(axis=0, ddof=1) if len(repeats) > 1 else np.abs(repeats[0] - middle)
    return spread


def _noise_left(points: NoisyDose) -> float:
    """Part of the variance that smoothing leaves."""
    before = float(np.vdot(points.noise, points.noise))
    after = float(np.vdot(points.smooth_noise, points.smooth_noise))
    return min(after / before, 1.0) if before > 0 else 0.0


def _corrected(points: NoisyDose, quantities: Quantities, fields: Sequence[int]) -> FloatArray:
    """Quantities of a dose without what noise adds, by the fields of noise named."""

    def mean(noise: npt.NDArray[np.float32], times: float) -> FloatArray:
        factor = np.float32(math.sqrt(times))
        found: FloatArray = np.mean([quantities(points.smooth + factor * noise[field]) for field in fields], axis=0)
        return found

    # The smoothed dose has some noise, so that it takes the rest to have all of it.
    at_full_noise = mean(points.noise, 1.0 - _noise_left(points))
    levels = [quantities(points.smooth), *(mean(points.smooth_noise, added) for added in _ADDED)]
    return quantities(points.dose) - at_full_noise + _extrapolated(np.array(levels))


def _extrapolated(levels: FloatArray) -> FloatArray:
    """Values at 1, 2 and 4 times a variance, shape (3, n), continued to none along a + b sqrt(c + variance)."""
    variances = 1.0 + np.array([0.0, *_ADDED])
    root = np.sqrt(_CURVATURES[:, None] + variances)
    root -= root.mean(axis=1, keepdims=True)
    centred = levels - levels.mean(axis=0)
    slope = root @ centred / np.square(root).sum(axis=1)[:, None]
    apart = np.square(centred - slope[:, None, :] * root[:, :, None]).sum(axis=1)
    best = apart.argmin(axis=0)
    chosen = np.take_along_axis(slope, best[None, :], axis=0)[0]
    c = _CURVATURES[best]
    extrapolated: FloatArray = levels[0] - chosen * (np.sqrt(c + 1.0) - np.sqrt(c))
    return extrapolated
