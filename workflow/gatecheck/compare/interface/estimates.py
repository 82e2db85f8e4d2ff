"""Values with intervals, for people, from the statistics of batches."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gatecheck.compare.interface.model import Estimate, NoiseFreeEstimate
from gatecheck.compare.interface.statistics import WithoutNoise, mean_over_batches, t_quantile


def mean_estimate(of_batches: npt.ArrayLike) -> Estimate:
    """Of a quantity linear in dose, from its values (n,) in each batch."""
    mean = mean_over_batches(of_batches)
    value, sigma = float(mean.value), float(mean.sigma)
    half = t_quantile(mean.degrees_of_freedom) * sigma
    return Estimate(value=value, sigma=sigma, low=value - half, high=value + half)


def free_estimate(
    free: WithoutNoise,
    index: int,
    *,
    is_square: bool = False,
    limits: tuple[float, float] = (-math.inf, math.inf),
    more_sigma: float = 0.0,
) -> NoiseFreeEstimate:
    """One of the values extrapolated to zero noise.

    Parameters
    ----------
    is_square : bool
        The statistic was the square of what is wanted; the interval is that of the square, its root taken.
    limits : (float, float)
        Within which the value can be; the interval is cut there.
    more_sigma : float
        Of another cause, added in quadrature.
    """
    value, as_computed = float(free.value[index]), float(free.as_computed[index])
    form = float(free.extrapolation[index])
    sigma = math.sqrt(float(free.sigma[index]) ** 2 + form**2 + more_sigma**2)
    half = t_quantile(free.degrees_of_freedom) * sigma
    low, high = value - half, value + half
    if is_square:
        roots = [math.sqrt(max(x, 0.0)) for x in (value, low, high, as_computed)]
        # Near zero the root is steep, so that sigma comes from the interval and not from a derivative.
        sigma = (roots[2] - roots[1]) / (2 * t_quantile(free.degrees_of_freedom))
        return NoiseFreeEstimate(
            value=roots[0],
            sigma=sigma,
            low=roots[1],
            high=roots[2],
            as_computed=roots[3],
            extrapolation_sigma=min(sigma, math.sqrt(max(value + form, 0.0)) - roots[0]),
        )
    low, high, value = (float(np.clip(x, *limits)) for x in (low, high, value))
    return NoiseFreeEstimate(
        value=value, sigma=sigma, low=low, high=high, as_computed=as_computed, extrapolation_sigma=form
    )
