"""Percentiles of a metric over the sampled courses, with what the Monte Carlo noise does to them taken away.

The points of a displaced patient see another part of the noise in every course, which spreads the courses' metrics
though nothing moved that matters; and noise makes the hottest volume too hot and the coldest too cold. Fields of noise
(`halves`) tell both: with m(c) the metric of course c in the dose, and m+(c), m-(c) in the dose with a field added and
taken away, which are the doses of two halves of the batches,

    noise    e(c) = (m+(c) - m-(c)) / 2
    bias     b(c) = (m+(c) + m-(c)) / 2 - m(c), mean over the fields    Quenouille's correction of two halves

The bias differs between courses: where points lie between voxels, or many places are averaged, noise is less. So the
variance over the courses that moving the patient makes is taken as that of m - b less that of e. The deviations of the
courses from their mean are made smaller to have it, and the mean bias is taken off. What is left of the noise moves all
courses together; it is the percentiles' sigma. Unlike `gatecheck.compare.debias`, which would be too slow for each
course, this takes only a part of the bias off where the dose is flatter than the noise over much more than the volume
that counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.model import Metric
from gatecheck.compare.setup_errors.model import Band

FloatArray = npt.NDArray[np.float64]

PERCENTILES = (5.0, 25.0, 50.0, 75.0, 95.0)

_DOMINATES = 0.5
"""Part of the variance over the courses from which on the noise is said to dominate."""


@dataclass(frozen=True, slots=True)
class SampledMetric:
    """One metric of one structure, Gy.

    Attributes
    ----------
    nominal : float
        Of the patient where it was planned.
    nominal_halves : ndarray of shape (2, fields)
        The same with each field of noise added (row 0) and taken away (row 1).
    courses : ndarray of shape (courses,)
    halves : ndarray of shape (2, some courses, fields)
        The same of the first of the courses.
    """

    nominal: float
    nominal_halves: FloatArray
    courses: FloatArray
    halves: FloatArray


@dataclass(frozen=True, slots=True)
class Spread:
    """What setup errors do to a metric, Gy.

    Attributes
    ----------
    courses : ndarray of shape (courses,)
        Without the spread and the bias of the noise.
    deviation, noise_deviation : float
        Over the courses, of the setup errors and of the noise.
    """

    nominal: Metric
    courses: FloatArray
    bands: tuple[Band, ...]
    deviation: float
    noise_deviation: float
    is_noise_dominated: bool


def spread_of(sampled: SampledMetric) -> Spread:
    """Take the noise away and describe what is left."""
    courses = sampled.courses
    added, taken = sampled.halves
    followed = courses[: len(added)]
    biases = ((added + taken) / 2).mean(axis=1) - followed
    of_noise = ((added - taken) / 2).var(axis=0, ddof=1).mean()
    of_followed = followed.var(ddof=1)
    without_noise = (followed - biases).var(ddof=1) - of_noise
    left = float(np.clip(without_noise / of_followed, 0.0, 1.0)) if of_followed > 0 else 1.0
    bias = float(biases.mean())
    variance = float(courses.var(ddof=1))
    corrected = courses.mean() + np.sqrt(left) * (courses - courses.mean()) - bias
    return Spread(
        nominal=_nominal(sampled),
        courses=corrected,
        bands=_bands(corrected, _noise_of_percentiles(added, taken)),
        deviation=float(np.sqrt(left * variance)),
        noise_deviation=float(np.sqrt((1 - left) * variance)),
        is_noise_dominated=1 - left > _DOMINATES,
    )


def _nominal(sampled: SampledMetric) -> Metric:
    added, taken = sampled.nominal_halves
    bias = float(((added + taken) / 2).mean()) - sampled.nominal
    return Metric(value=sampled.nominal - bias, sigma=float(np.sqrt(np.mean(((added - taken) / 2) ** 2))))


def _noise_of_percentiles(added: FloatArray, taken: FloatArray) -> FloatArray:
    """Sigma of each of PERCENTILES; with one field the halves' percentiles differ by twice their noise."""
    difference = np.percentile(added, PERCENTILES, axis=0) - np.percentile(taken, PERCENTILES, axis=0)
    sigma: FloatArray = np.sqrt(np.mean((difference / 2) ** 2, axis=1))
    return sigma


def _bands(courses: FloatArray, noise: FloatArray) -> tuple[Band, ...]:
    """Percentiles with their sampling error: half the distance between those that lie one sigma of rank away.

    The rank of a percentile p among N courses has the standard deviation sqrt(p (1 - p) / N), whatever the distribution
    (David and Nagaraja, Order Statistics, 3rd edition 2003, section 7.1).
    """
    levels = np.array(PERCENTILES) / 100
    reach = np.sqrt(levels * (1 - levels) / len(courses))
    below, above = np.clip(levels - reach, 0, 1), np.clip(levels + reach, 0, 1)
    errors = (np.quantile(courses, above) - np.quantile(courses, below)) / 2
    values = np.quantile(courses, levels)
    return tuple(
        Band(percentile=level, value=float(value), noise_sigma=float(sigma), sampling_error=float(error))
        for level, value, sigma, error in zip(PERCENTILES, values, noise, errors, strict=True)
    )
