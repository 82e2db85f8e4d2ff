"""What a detector of finite width makes of a profile.

Simulated profiles are folded with the detector before they are compared with measured ones; measured profiles are
never unfolded, which would amplify their noise.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from gatecheck.commissioning.analysis import Curve

FloatArray = npt.NDArray[np.float64]
DetectorShape = Literal["box", "cylinder"]

_CYLINDER_NODES = 32


def folding_matrix(
    position: FloatArray, width: float, *, shape: DetectorShape = "box", at: FloatArray | None = None
) -> FloatArray:
    """What a detector of finite width makes of a profile, as a matrix that acts on the doses.

    The profile is a cubic spline through its points; a half profile is mirrored at the axis. A `box` averages
    uniformly over `width`. A `cylinder` of diameter `width`, its axis across the scan, weighs by the chord through the
    circle: w(u) = 2 sqrt(r^2 - u^2) / (pi r^2), taken by Gauss-Chebyshev quadrature of the second kind.

    Parameters
    ----------
    position : ndarray of shape (n,)
        Rising; n of 4 or more.
    width : float
        0 for no folding.
    shape : {"box", "cylinder"}
    at : ndarray of shape (m,), optional
        Where the detector's centre is; all of `position` at which the detector lies within the profile when not given.

    Returns
    -------
    ndarray of shape (m, n)

    Raises
    ------
    ValueError
        When the detector reaches beyond the profile at one of `at`.
    """
    places = places_within(position, width) if at is None else np.asarray(at, dtype=float)
    mirrored, unmirrored = _mirrored(position)
    if places.size and (
        places.min() - width / 2 < mirrored[0] - 1e-9 or places.max() + width / 2 > mirrored[-1] + 1e-9
    ):
        raise ValueError(
            f"a detector {width:g} mm wide at {places.min():g} to {places.max():g} mm reaches beyond the profile, "
            f"which ends at {position[-1]:g} mm"
        )
    spline = CubicSpline(mirrored, np.eye(mirrored.size), axis=0)
    matrix: FloatArray = _averaged(spline, places, width, shape) @ unmirrored
    return matrix


def _averaged(spline: CubicSpline, places: FloatArray, width: float, shape: DetectorShape) -> FloatArray:
    if width == 0:
        at_points: FloatArray = spline(places)
        return at_points
    if shape == "box":
        integral = spline.antiderivative()
        box: FloatArray = (integral(places + width / 2) - integral(places - width / 2)) / width
        return box
    angles = np.pi * np.arange(1, _CYLINDER_NODES + 1) / (_CYLINDER_NODES + 1)
    weights = 2 / (_CYLINDER_NODES + 1) * np.sin(angles) ** 2
    nodes = spline(places[:, None] + width / 2 * np.cos(angles))
    cylinder: FloatArray = np.einsum("k,mkn->mn", weights, nodes)
    return cylinder


def _mirrored(position: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positions of the whole profile, and the matrix that makes its doses from those given."""
    n = position.size
    if position[0] < 0:
        return position, np.eye(n)
    left = np.arange(n - 1, -1 if position[0] > 0 else 0, -1)
    order = np.concatenate([left, np.arange(n)])
    sign = np.concatenate([-np.ones(left.size), np.ones(n)])
    return sign * position[order], np.eye(n)[order]


def places_within(position: FloatArray, width: float) -> FloatArray:
    """Those positions at which a detector of this width lies within the profile."""
    low = -position[-1] if position[0] >= 0 else position[0]
    tolerance = 1e-9
    inside = (position - width / 2 >= low - tolerance) & (position + width / 2 <= position[-1] + tolerance)
    result: FloatArray = position[inside]
    return result


def folded(
    position: FloatArray,
    dose: FloatArray,
    width: float,
    sigma: FloatArray | None = None,
    *,
    shape: DetectorShape = "box",
    at: FloatArray | None = None,
) -> Curve:
    """A profile as a detector of finite width sees it; see `folding_matrix`.

    Raises
    ------
    ValueError
        When the detector reaches beyond the profile at one of `at`.
    """
    places = places_within(position, width) if at is None else np.asarray(at, dtype=float)
    matrix = folding_matrix(position, width, shape=shape, at=places)
    spread = None if sigma is None else np.sqrt(matrix**2 @ sigma**2)
    return Curve(places, matrix @ dose, spread)
