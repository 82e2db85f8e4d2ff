"""What is read off depth doses and profiles: maxima, normalisation, widths and penumbrae.

The same functions serve measured and simulated curves, so that both are treated alike. Where standard uncertainties
are given, those of the points are taken as independent of each other and are propagated to first order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline, PchipInterpolator

FloatArray = npt.NDArray[np.float64]

# The maximum of a depth dose is fitted where the dose exceeds this share of it. A cubic in the logarithm of the depth
# follows megavoltage curves there to better than 0.1 % of the maximum.
_MAXIMUM_WINDOW = 0.95
_MAXIMUM_DEGREE = 3
_FEWEST_AT_MAXIMUM = 6

# On the axis a parabola is fitted within this share of the distance from the axis to the field's edge.
_AXIS_WINDOW = 0.25
_WIDEST_AXIS_WINDOW = 10.0
_FEWEST_ON_AXIS = 4

_FEWEST_TO_SMOOTH = 5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number read off a curve.

    Attributes
    ----------
    value : float
    sigma : float or None
        Standard uncertainty, None where the curve's own is not known.
    """

    value: float
    sigma: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A curve made from another.

    Attributes
    ----------
    place : ndarray of shape (n,)
        Positions or depths, rising.
    dose : ndarray of shape (n,)
    sigma : ndarray of shape (n,) or None
        Standard uncertainty of `dose`.
    """

    place: FloatArray
    dose: FloatArray
    sigma: FloatArray | None = None


def dose_at(place: FloatArray, dose: FloatArray, at: FloatArray) -> FloatArray:
    """Dose between the points of a curve, by a piecewise cubic that makes no new maxima (PCHIP).

    Parameters
    ----------
    place, dose : ndarray of shape (n,)
        A curve, n of 2 or more, `place` rising.
    at : ndarray of shape (m,)

    Raises
    ------
    ValueError
        When a place lies outside of the curve.
    """
    at = np.asarray(at, dtype=float)
    if at.size and (at.min() < place[0] or at.max() > place[-1]):
        raise ValueError(
            f"dose at {at.min():g} to {at.max():g} mm is asked for; the curve runs from {place[0]:g} to {place[-1]:g}"
        )
    result: FloatArray = PchipInterpolator(place, dose)(at)
    return result


def smoothed_at(
    place: FloatArray, dose: FloatArray, at: FloatArray, half_window: FloatArray, sigma: FloatArray | None = None
) -> Curve:
    """Dose of a least-squares parabola through the points near each place, or from between points where they are few.

    Parameters
    ----------
    place, dose : ndarray of shape (n,)
        A curve, n of 2 or more, `place` rising.
    at : ndarray of shape (m,)
        Rising, within the curve.
    half_window : ndarray of shape (m,)
        mm; with fewer than 5 points so near to a place, the dose there is that of `dose_at`.
    sigma : ndarray of shape (n,), optional

    Raises
    ------
    ValueError
        When a place lies outside of the curve.
    """
    values = dose_at(place, dose, at)
    spread = None if sigma is None else np.interp(at, place, sigma)
    for index, (centre, reach) in enumerate(zip(at, half_window, strict=True)):
        near = np.abs(place - centre) <= reach
        if np.count_nonzero(near) < _FEWEST_TO_SMOOTH:
            continue
        weights = np.linalg.pinv(((place[near] - centre) / reach)[:, None] ** np.arange(3))[0]
        values[index] = weights @ dose[near]
        if sigma is not None and spread is not None:
            spread[index] = np.linalg.norm(weights * sigma[near])
    return Curve(np.asarray(at, dtype=float), values, spread)


@dataclass(frozen=True, slots=True)
class DepthDoseMaximum:
    """The maximum of a depth dose.

    Attributes
    ----------
    depth : Estimate
        mm.
    dose : Estimate
        In the curve's unit.
    """

    depth: Estimate
    dose: Estimate


def depth_dose_maximum(depth: FloatArray, dose: FloatArray, sigma: FloatArray | None = None) -> DepthDoseMaximum:
    """The maximum of a smooth curve through the points round it.

    The largest of many noisy points lies above the maximum of what they are drawn from. So a cubic in the logarithm
    of the depth is fitted by least squares where the dose exceeds 95 % of the maximum.

    Parameters
    ----------
    depth, dose : ndarray of shape (n,)
        Depths above 0 that rise; points at depth 0 are passed over.
    sigma : ndarray of shape (n,), optional
        Weighs the points when all are above 0.

    Raises
    ------
    ValueError
        When fewer than 6 points lie within 5 % of the maximum, or none deeper or none shallower than the maximum.
    """
    below_surface = depth > 0
    logs, values = np.log(depth[below_surface]), dose[below_surface]
    errors = None if sigma is None else sigma[below_surface]
    level = _MAXIMUM_WINDOW * float(_running_mean(values).max())
    fit = None
    # The second round's window follows from the fitted maximum instead of from the noisy points.
    for _ in range(2):
        inside = _contiguous_above(_running_mean(values), level)
        if np.count_nonzero(inside) < _FEWEST_AT_MAXIMUM:
            raise ValueError(
                f"{np.count_nonzero(inside)} points within 5 % of the maximum, expected {_FEWEST_AT_MAXIMUM} or more"
            )
        fit = _PolynomialFit.of(logs[inside], values[inside], None if errors is None else errors[inside])
        level = _MAXIMUM_WINDOW * fit.value(fit.top())
    assert fit is not None
    top = fit.top()
    if not fit.low < top < fit.high:
        raise ValueError("the dose has its maximum at an end of the curve, expected points on both sides of it")
    return DepthDoseMaximum(
        depth=Estimate(float(np.exp(top)), None if errors is None else float(np.exp(top)) * fit.top_sigma()),
        dose=Estimate(fit.value(top), None if errors is None else fit.sigma(top)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _PolynomialFit:
    """A least-squares polynomial about the middle of its points."""

    middle: float
    low: float
    high: float
    coefficients: FloatArray
    covariance: FloatArray

    @classmethod
    def of(
        cls, x: FloatArray, y: FloatArray, sigma: FloatArray | None, *, powers: tuple[int, ...] | None = None
    ) -> _PolynomialFit:
        powers = tuple(range(_MAXIMUM_DEGREE + 1)) if powers is None else powers
        middle = 0.5 * (x[0] + x[-1]) if powers[1:2] == (1,) else 0.0
        design = (x - middle)[:, None] ** np.array(powers)
        weights = 1 / sigma if sigma is not None and np.all(sigma > 0) else np.ones_like(y)
        inverse = np.linalg.pinv(design * weights[:, None])
        # The covariance of what is fitted follows from the points' own sigma, whatever the weights.
        spread = inverse * (weights * (sigma if sigma is not None else np.zeros_like(y)))
        full = np.zeros(max(powers) + 1)
        covariance = np.zeros((full.size, full.size))
        full[list(powers)] = inverse @ (y * weights)
        covariance[np.ix_(powers, powers)] = spread @ spread.T
        return cls(float(middle), float(x[0]), float(x[-1]), full, covariance)

    def _row(self, x: float, derivative: int = 0) -> FloatArray:
        row = np.zeros(self.coefficients.size)
        for power in range(derivative, row.size):
            factor = np.prod(np.arange(power, power - derivative, -1)) if derivative else 1.0
            row[power] = factor * (x - self.middle) ** (power - derivative)
        return row

    def value(self, x: float) -> float:
        return float(self._row(x) @ self.coefficients)

    def sigma(self, x: float) -> float:
        row = self._row(x)
        return float(np.sqrt(row @ self.covariance @ row))

    def top(self) -> float:
        """Where the polynomial is largest between its ends, to a 4000th of the distance between them."""
        x = np.linspace(self.low, self.high, 4001)
        return float(x[np.argmax(np.polynomial.polynomial.polyval(x - self.middle, self.coefficients))])

    def top_sigma(self) -> float:
        top = self.top()
        slope = self._row(top, 1)
        curvature = float(self._row(top, 2) @ self.coefficients)
        return float(np.sqrt(slope @ self.covariance @ slope)) / abs(curvature) if curvature else np.inf


def _running_mean(values: FloatArray) -> FloatArray:
    """Mean of five neighbours, of fewer at the ends; nothing is averaged over in a short curve."""
    reach = 2 if values.size >= 60 else 1 if values.size >= 30 else 0
    padded = np.pad(values, reach, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    mean: FloatArray = np.nanmean(windows, axis=1)
    return mean


def _contiguous_above(values: FloatArray, level: float) -> npt.NDArray[np.bool_]:
    """The run of points above a level that holds the largest."""
    above = values >= level
    top = int(np.argmax(values))
    first, last = top, top
    while first > 0 and above[first - 1]:
        first -= 1
    while last < values.size - 1 and above[last + 1]:
        last += 1
    inside = np.zeros(values.size, dtype=bool)
    inside[first : last + 1] = True
    return inside


def normalised_to_maximum(depth: FloatArray, dose: FloatArray, sigma: FloatArray | None = None) -> Curve:
    """A depth dose in % of the maximum of a smooth curve through it.

    The maximum's uncertainty is added to that of every point in quadrature (in relative terms), as though they were
    independent; near the maximum, where they are not, this is on the safe side.

    Raises
    ------
    ValueError
        As `depth_dose_maximum`.
    """
    top = depth_dose_maximum(depth, dose, sigma).dose
    return _scaled(depth, dose, sigma, top)


def _scaled(place: FloatArray, dose: FloatArray, sigma: FloatArray | None, hundred: Estimate) -> Curve:
    percent = 100 * dose / hundred.value
    if sigma is None or hundred.sigma is None:
        return Curve(place, percent, None)
    spread = np.hypot(100 * sigma / hundred.value, percent * hundred.sigma / hundred.value)
    return Curve(place, percent, spread)


def dose_ratio(depth: FloatArray, dose: FloatArray, deep: float = 200.0, shallow: float = 100.0) -> float:
    """Dose at one depth over that at another, for instance D20/D10, the beam quality at a fixed SSD.

    Raises
    ------
    ValueError
        When a depth lies outside of the curve.
    """
    at = dose_at(depth, dose, np.array([deep, shallow]))
    return float(at[0] / at[1])


def dose_on_axis(position: FloatArray, dose: FloatArray, sigma: FloatArray | None = None) -> Estimate:
    """Dose on the axis from a parabola through the points near it.

    The parabola is fitted within a quarter of the distance to the field's edge and within 10 mm; that of a half
    profile is even. With fewer than 4 points there, the dose is interpolated to the axis.

    Parameters
    ----------
    position, dose : ndarray of shape (n,)
    sigma : ndarray of shape (n,), optional

    Raises
    ------
    ValueError
        When the profile does not reach the axis.
    """
    if not position[0] <= 0 <= position[-1]:
        raise ValueError(f"the profile runs from {position[0]:g} to {position[-1]:g} mm and does not reach the axis")
    at_axis = float(np.interp(0, position, dose))
    edge = min(abs(x) for x in _ends_above(position, dose, 0.5 * at_axis))
    inside = np.abs(position) <= min(_WIDEST_AXIS_WINDOW, _AXIS_WINDOW * edge)
    if np.count_nonzero(inside) < _FEWEST_ON_AXIS:
        return Estimate(at_axis, None if sigma is None else float(np.interp(0, position, sigma)))
    fit = _PolynomialFit.of(
        position[inside],
        dose[inside],
        None if sigma is None else sigma[inside],
        powers=(0, 2) if position[0] >= 0 else (0, 1, 2),
    )
    return Estimate(fit.value(0.0), None if sigma is None else fit.sigma(0.0))


def _ends_above(position: FloatArray, dose: FloatArray, level: float) -> list[float]:
    """Outermost points at or above a level on each side that the profile has."""
    above = position[dose >= level]
    ends = [float(above[-1])] if above.size else [float(position[-1])]
    if position[0] < 0:
        ends.append(float(above[0]) if above.size else float(position[0]))
    return [x for x in ends if x != 0] or [float(position[-1])]


def normalised_to_axis(position: FloatArray, dose: FloatArray, sigma: FloatArray | None = None) -> Curve:
    """A profile in % of the dose on the axis, as `dose_on_axis` finds it.

    Raises
    ------
    ValueError
        When the profile does not reach the axis.
    """
    return _scaled(position, dose, sigma, dose_on_axis(position, dose, sigma))


@dataclass(frozen=True, slots=True)
class Crossings:
    """Where a profile passes through a level, outermost on each side; None where it does not.

    Attributes
    ----------
    left, right : Estimate or None
        Positions in mm. A half profile has no left one.
    """

    left: Estimate | None
    right: Estimate | None


def crossings(position: FloatArray, dose: FloatArray, level: float, sigma: FloatArray | None = None) -> Crossings:
    """Outermost places where a profile passes through a level.

    Parameters
    ----------
    position, dose : ndarray of shape (n,)
    level : float
        In the unit of `dose`.
    sigma : ndarray of shape (n,), optional
    """
    right = _outermost(position, dose, level, sigma)
    left = None
    if position[0] < 0:
        mirrored = None if sigma is None else sigma[::-1]
        found = _outermost(-position[::-1], dose[::-1], level, mirrored)
        left = None if found is None else Estimate(-found.value, found.sigma)
    return Crossings(left, right)


def _outermost(position: FloatArray, dose: FloatArray, level: float, sigma: FloatArray | None) -> Estimate | None:
    above = np.flatnonzero((dose >= level) & (position >= 0))
    if not above.size or above[-1] == position.size - 1:
        return None
    index = int(above[-1])
    # A spline through a few neighbours: an edge of 2 mm known every 2 mm is placed to 0.01 mm.
    near = slice(max(index - 3, 0), index + 5)
    roots = CubicSpline(position[near], dose[near]).solve(level, extrapolate=False)
    roots = roots[(roots >= position[index]) & (roots <= position[index + 1])]
    # A level that is exactly a point's dose has its root at that point, give or take a rounding.
    place = float(roots[-1]) if roots.size else float(position[index])
    if sigma is None:
        return Estimate(place)
    share = (place - position[index]) / (position[index + 1] - position[index])
    slope = (dose[index + 1] - dose[index]) / (position[index + 1] - position[index])
    spread = np.hypot((1 - share) * sigma[index], share * sigma[index + 1])
    return Estimate(place, float(spread / abs(slope)))


def field_width(
    position: FloatArray, dose: FloatArray, sigma: FloatArray | None = None, *, on_axis: float | None = None
) -> Estimate:
    """Distance between the points at 50 % of the dose on the axis; twice the edge's position for a half profile.

    Parameters
    ----------
    position, dose : ndarray of shape (n,)
        A profile through both edges, or through the right one if it has no positions below 0.
    sigma : ndarray of shape (n,), optional
    on_axis : float, optional
        Dose on the axis in the unit of `dose`; that of `dose_on_axis` when not given.

    Raises
    ------
    ValueError
        When the profile does not reach the axis or does not pass through 50 %.
    """
    half = 0.5 * (dose_on_axis(position, dose, sigma).value if on_axis is None else on_axis)
    found = crossings(position, dose, half, sigma)
    if found.right is None or (position[0] < 0 and found.left is None):
        raise ValueError("the profile does not fall below 50 % of the dose on the axis")
    if found.left is None:
        doubled = None if found.right.sigma is None else 2 * found.right.sigma
        return Estimate(2 * found.right.value, doubled)
    return Estimate(found.right.value - found.left.value, _quadrature(found.right.sigma, found.left.sigma))


def penumbra(
    position: FloatArray, dose: FloatArray, sigma: FloatArray | None = None, *, on_axis: float | None = None
) -> Estimate:
    """Distance between 80 % and 20 % of the dose on the axis, mean of the sides that the profile has.

    Parameters are those of `field_width`.

    Raises
    ------
    ValueError
        When the profile does not reach the axis or does not pass through both levels.
    """
    hundred = dose_on_axis(position, dose, sigma).value if on_axis is None else on_axis
    high = crossings(position, dose, 0.8 * hundred, sigma)
    low = crossings(position, dose, 0.2 * hundred, sigma)
    sides = [(high.right, low.right)] + ([(high.left, low.left)] if position[0] < 0 else [])
    widths, spreads = [], []
    for inner, outer in sides:
        if inner is None or outer is None:
            raise ValueError("the profile does not fall below 20 % of the dose on the axis")
        widths.append(abs(outer.value - inner.value))
        spreads.append(_quadrature(inner.sigma, outer.sigma))
    mean_spread = None if None in spreads else float(np.linalg.norm([s or 0.0 for s in spreads])) / len(spreads)
    return Estimate(float(np.mean(widths)), mean_spread)


def _quadrature(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else float(np.hypot(first, second))


def symmetric_mean(position: FloatArray, dose: FloatArray, sigma: FloatArray | None = None) -> Curve:
    """Mean of the left and right halves of a profile, at positions from 0 up.

    Positions are those of the right half as far as the left one reaches; where the left has no point at the mirrored
    place its dose is interpolated (PCHIP) and its sigma taken from between its neighbours.

    Raises
    ------
    ValueError
        When the profile does not have points on both sides of the axis.
    """
    if not position[0] < 0 < position[-1]:
        raise ValueError(f"the profile runs from {position[0]:g} to {position[-1]:g} mm, expected both halves")
    reach = min(-position[0], position[-1]) + 1e-9
    places = position[(position >= 0) & (position <= reach)]
    mirrored = np.clip(-places, position[0], None)
    other = PchipInterpolator(position, dose)(mirrored)
    inside = np.isin(position, places)
    mean = 0.5 * (dose[inside] + other)
    if sigma is None:
        return Curve(places, mean)
    spread = 0.5 * np.hypot(sigma[inside], np.interp(mirrored, position, sigma))
    # The point on the axis is its own mirror image.
    spread[places == 0] = sigma[position == 0]
    return Curve(places, mean, spread)


def centre_of_field(position: FloatArray, dose: FloatArray) -> float:
    """Middle between the two points at 50 % of the dose on the axis.

    Raises
    ------
    ValueError
        When the profile does not pass through 50 % on both sides.
    """
    found = crossings(position, dose, 0.5 * dose_on_axis(position, dose).value)
    if found.left is None or found.right is None:
        raise ValueError("the profile does not pass through 50 % of the dose on the axis on both sides")
    return 0.5 * (found.left.value + found.right.value)
