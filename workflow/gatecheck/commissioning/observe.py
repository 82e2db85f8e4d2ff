"""What a water tank would show of a source: depth doses, profiles, output, from the responses of its elements.

Every value is a fixed linear combination of bins, so that it is linear in the source's weights and its
standard deviation follows from the spread of batches.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from gatecheck.commissioning.water.tank import Response
from gatecheck.errors import SimulationError

FloatArray = npt.NDArray[np.float64]

CHAMBER_WIDTH = 6.0
"""mm: a profile is averaged over it when no detector is stated."""

# Deeper than this the whole curve is fitted with smooth functions; above it, piece by piece.
_SMOOTH_BELOW = 12.0  # mm
_FITTED_BELOW = 8.0  # mm
_SURFACE_WINDOW = 2.5  # mm, half
_DECAY_LENGTH, _BUILD_UP_LENGTH, _SCALE = 200.0, 4.0, 150.0  # mm
_TERMS = 7
_SHARE_SMOOTH = 0.85  # of half the field: a profile is one even polynomial within it
_POWERS_SMALL, _POWERS_LARGE, _LARGE = 4, 6, 80.0
_MAXIMUM_BETWEEN = (12.0, 30.0)
_LAYERS_APART = 0.5
_SLOPE_OVER = 0.02  # of the axis, on either side of a level


def local_polynomial(bins: FloatArray, place: float, half_window: float, degree: int) -> FloatArray:
    """Weights of the bins that give a least-squares polynomial's value at a place, shape (n_bins,)."""
    near = np.abs(bins - place) <= half_window
    if near.sum() <= degree:
        raise ValueError(f"{int(near.sum())} bins within {half_window:g} mm of {place:g} mm, more than {degree} needed")
    columns = np.vander((bins[near] - place) / half_window, degree + 1, increasing=True)
    weights = np.zeros(len(bins))
    weights[near] = np.linalg.pinv(columns)[0]
    return weights


def even_polynomial(bins: FloatArray, place: float, half_window: float, powers: int) -> FloatArray:
    """Weights of bins (of distance from the axis) that give an even polynomial's value at a place."""
    near = bins <= half_window
    columns = np.stack([(bins[near] / half_window) ** (2 * power) for power in range(powers)], axis=1)
    at = np.array([(place / half_window) ** (2 * power) for power in range(powers)])
    weights = np.zeros(len(bins))
    weights[near] = at @ np.linalg.pinv(columns)
    return weights


def smooth_depth_dose(bins: FloatArray, depth: float) -> FloatArray:
    """Weights of bins that give a smooth depth dose's value at a depth beyond the build-up.

    exp(-d/200) times a polynomial, and exp(-d/4) for the end of the build-up, fitted from 8 mm to the last
    bin; each bin counts with the inverse of its usual variance.
    """
    inside = bins >= _FITTED_BELOW
    root_weight = np.exp(bins[inside] / _DECAY_LENGTH / 2)
    columns = _depth_functions(bins[inside]) * root_weight[:, np.newaxis]
    weights = np.zeros(len(bins))
    at_depth = _depth_functions(np.array([depth]))[0]
    weights[inside] = (at_depth @ np.linalg.pinv(columns)) * root_weight
    return weights


def _depth_functions(depth: FloatArray) -> FloatArray:
    decay = np.exp(-depth / _DECAY_LENGTH)
    t = depth / _SCALE - 1.0
    return np.stack([*(decay * t**power for power in range(_TERMS)), np.exp(-depth / _BUILD_UP_LENGTH)], axis=1)


@functools.lru_cache(maxsize=4096)
def _depth_weights(bins: tuple[float, ...], depth: float) -> FloatArray:
    array = np.array(bins)
    if depth >= _SMOOTH_BELOW:
        return smooth_depth_dose(array, depth)
    return local_polynomial(array, depth, _SURFACE_WINDOW, 2)


def depth_weights(response: Response, depths: npt.ArrayLike) -> FloatArray:
    """Rows of weights that give the dose on the axis at depths, shape (n, n_bins)."""
    wanted = np.atleast_1d(np.asarray(depths, dtype=float))
    return _depth_rows(tuple(response.depth.tolist()), tuple(wanted.tolist()))


@functools.lru_cache(maxsize=4096)
def _depth_rows(bins: tuple[float, ...], depths: tuple[float, ...]) -> FloatArray:
    return np.array([_depth_weights(bins, depth) for depth in depths])


@dataclass(frozen=True, slots=True)
class Curve:
    """A simulated curve with its batches, so that ratios have the right sigma.

    Attributes
    ----------
    value : ndarray of shape (n,)
    batches : ndarray of shape (n_batches, n)
    """

    value: FloatArray
    batches: FloatArray

    @classmethod
    def of(cls, batches: FloatArray) -> Curve:
        """From equal batches."""
        return cls(batches.mean(axis=0), batches)

    def relative_to(self, other: Curve) -> Curve:
        """The ratio, with sigma to first order in the batches' deviations from the means."""
        ratio = self.value / other.value
        batches = ratio * (1.0 + self.batches / self.value - other.batches / other.value)
        return Curve(ratio, batches)

    def scaled(self, factor: float) -> Curve:
        """Times a number."""
        return Curve(self.value * factor, self.batches * factor)

    @property
    def sigma(self) -> FloatArray:
        """Standard deviation of the mean of batches; zero where there is but one."""
        if len(self.batches) < 2:
            return np.zeros_like(self.value)
        return np.asarray(self.batches.std(axis=0, ddof=1) / np.sqrt(len(self.batches)))


def depth_dose(response: Response, weights: FloatArray, depths: npt.ArrayLike) -> Curve:
    """Dose on the axis at depths, MeV/g per nominal photon."""
    rows = depth_weights(response, depths)
    return Curve.of(np.asarray((response.depth_dose @ weights) @ rows.T))


def percent_depth_dose(response: Response, weights: FloatArray, depths: npt.ArrayLike) -> Curve:
    """In per cent of the maximum of the smooth curve."""
    at = np.asarray(depths, dtype=float)
    between = np.arange(*_MAXIMUM_BETWEEN, _LAYERS_APART)
    along = depth_dose(response, weights, between)
    top = int(np.argmax(along.value))
    maximum = Curve(along.value[top : top + 1], along.batches[:, top : top + 1])
    return depth_dose(response, weights, at).relative_to(maximum).scaled(100.0)


def profile_curve(response: Response, weights: FloatArray, *, profile: int, axis: str) -> FloatArray:
    """A folded profile, batch by batch, (n_batches, n_bins), MeV/g per nominal photon."""
    both = np.asarray(response.profile[:, profile] @ weights)
    if axis == "x":
        return np.asarray(both[:, 0])
    if axis == "y":
        return np.asarray(both[:, 1])
    return np.asarray(both.mean(axis=1))


def chambered(folded: FloatArray, width: float) -> FloatArray:
    """A folded profile seen by a detector that averages over `width`, bins of 1 mm; the last axis is the position."""
    if width <= 0:
        return folded
    whole = np.concatenate([folded[..., ::-1], folded], axis=-1)
    cumulative = np.concatenate([np.zeros((*whole.shape[:-1], 1)), np.cumsum(whole, axis=-1)], axis=-1)
    edges = np.arange(cumulative.shape[-1], dtype=float)
    centres = np.arange(folded.shape[-1]) + folded.shape[-1] + 0.5
    upper = np.minimum(centres + width / 2, edges[-1])
    lower = centres - width / 2
    integral = _at(cumulative, upper) - _at(cumulative, lower)
    return np.asarray(integral / (upper - lower))


def _at(cumulative: FloatArray, place: FloatArray) -> FloatArray:
    low = np.minimum(place.astype(int), cumulative.shape[-1] - 2)
    share = place - low
    return np.asarray((1.0 - share) * cumulative[..., low] + share * cumulative[..., low + 1])


def axis_value(response: Response, folded: FloatArray, half_field: float) -> Curve:
    """The profile's value on the axis, from the smooth curve through its middle."""
    return Curve.of((folded @ _profile_weights(response.position, 0.0, half_field))[:, np.newaxis])


def off_axis_ratio(
    response: Response,
    weights: FloatArray,
    *,
    profile: int,
    axis: str,
    places: npt.ArrayLike,
    half_field: float,
    detector: float = CHAMBER_WIDTH,
) -> Curve:
    """Per cent of the axis at places (mm from the axis, at the profile's depth)."""
    folded = profile_curve(response, weights, profile=profile, axis=axis)
    seen = chambered(folded, detector)
    at = np.atleast_1d(np.asarray(places, dtype=float))
    rows = np.array([_profile_weights(response.position, place, half_field) for place in at])
    return Curve.of(seen @ rows.T).relative_to(axis_value(response, folded, half_field)).scaled(100.0)


def _profile_weights(bins: FloatArray, place: float, half_field: float) -> FloatArray:
    """One smooth curve inside the field, bin by bin near its edge and beyond."""
    return _kept_profile_weights(tuple(bins.tolist()), float(place), half_field)


@functools.lru_cache(maxsize=4096)
def _kept_profile_weights(positions: tuple[float, ...], place: float, half_field: float) -> FloatArray:
    bins = np.array(positions)
    inside = _SHARE_SMOOTH * half_field
    if abs(place) <= inside and inside > 4 * _POWERS_SMALL:
        powers = _POWERS_LARGE if half_field > _LARGE else _POWERS_SMALL
        return even_polynomial(bins, abs(place), inside, powers)
    whole = np.concatenate([-bins[::-1], bins])
    weights = local_polynomial(whole, abs(place), 1.2, 1)
    return np.asarray(weights[len(bins) :] + weights[: len(bins)][::-1])


@dataclass(frozen=True, slots=True)
class Edge:
    """Where a profile falls.

    Attributes
    ----------
    width_50, penumbra_80_20 : float
        mm, relative to the dose on the axis.
    width_sigma, penumbra_sigma : float
        Standard deviations.
    """

    width_50: float
    penumbra_80_20: float
    width_sigma: float
    penumbra_sigma: float


def edge(
    response: Response,
    weights: FloatArray,
    *,
    profile: int,
    axis: str,
    half_field: float,
    detector: float = CHAMBER_WIDTH,
) -> Edge:
    """Width at half the dose on the axis and distance from 80 to 20 %, sigma by the jackknife over batches."""
    folded = profile_curve(response, weights, profile=profile, axis=axis)
    whole = _edge_of(response, folded.mean(axis=0), half_field, detector)
    n = len(folded)
    if n < 2:
        return Edge(float(whole[0]), float(whole[1]), 0.0, 0.0)
    left_out = np.array(
        [_edge_of(response, (folded.sum(axis=0) - batch) / (n - 1), half_field, detector) for batch in folded]
    )
    sigma = np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return Edge(float(whole[0]), float(whole[1]), float(sigma[0]), float(sigma[1]))


def penumbra_per_percent(
    response: Response,
    weights: FloatArray,
    *,
    profile: int,
    axis: str,
    half_field: float,
    detector: float = CHAMBER_WIDTH,
) -> float:
    """How far a penumbra is off, mm, when the doses at its 80 and 20 % are each off by 1 % of the axis, independently.

    Deep in a large field the profile is nearly level at both, and a small error of a dose is a large one of a place.
    """
    folded = profile_curve(response, weights, profile=profile, axis=axis).mean(axis=0)
    axis_dose = float(axis_value(response, folded[np.newaxis], half_field).value[0])
    seen = chambered(folded, detector) / axis_dose
    reach = _SLOPE_OVER
    places = [
        crossing(response.position, seen, level - reach) - crossing(response.position, seen, level + reach)
        for level in (0.2, 0.8)
    ]
    return float(np.linalg.norm(places) / (200 * reach))


def _edge_of(response: Response, folded: FloatArray, half_field: float, detector: float) -> FloatArray:
    axis = float(axis_value(response, folded[np.newaxis], half_field).value[0])
    seen = chambered(folded, detector) / axis
    middle = crossing(response.position, seen, 0.5)
    return np.array([2 * middle, crossing(response.position, seen, 0.2) - crossing(response.position, seen, 0.8)])


def crossing(position: FloatArray, value: FloatArray, level: float) -> float:
    """The outermost place where a falling curve crosses a level, from the cubic through the two bins on either side."""
    above = np.flatnonzero(value >= level)
    if above.size == 0 or above[-1] + 1 >= len(value):
        raise SimulationError(
            f"A simulated profile does not fall through {100 * level:g} % of the axis: too much noise, or a field "
            "wider than its tank. Use more source photons (--photons)."
        )
    last = int(above[-1])
    near = slice(max(last - 1, 0), last + 3)
    start = position[last]
    cubic = np.polynomial.Polynomial.fit(position[near] - start, value[near], min(3, len(value[near]) - 1))
    step = position[1] - position[0]
    low, high = -step, 2 * step
    if cubic(low) < level or cubic(high) > level:
        # Noise: the two bins themselves decide.
        low_value, high_value = value[last], value[last + 1]
        return float(start + step * (low_value - level) / (low_value - high_value))
    return float(start + brentq(lambda x: float(cubic(x)) - level, low, high))
