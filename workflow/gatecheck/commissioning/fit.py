"""Fitting the source model to beam data: least squares over all observations at once.

The responses are simulated once; a trial of the parameters is a product of arrays. The uncertainty of a
parameter is that of the linearised fit, widened where the residuals are larger than the data's stated
uncertainties; it tells nothing of what the model leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from gatecheck.commissioning.observations import PERCENT_PROFILE, Observation
from gatecheck.commissioning.observe import (
    Edge,
    depth_dose,
    edge,
    off_axis_ratio,
    penumbra_per_percent,
    percent_depth_dose,
)
from gatecheck.commissioning.parameters import (
    FLUENCE_KNOTS,
    PARAMETERS,
    SPOT_SCALE,
    Parameter,
    start_values,
    with_values,
)
from gatecheck.commissioning.responses import ResponseSet, profile_index
from gatecheck.commissioning.water.source_basis import weights as basis_weights
from gatecheck.linac.model import Beam

FloatArray = npt.NDArray[np.float64]

BUILD_UP_SHIFT = 2.0
"""mm: what a depth may be wrong by where the dose rises steeply."""

_SHALLOW = 10.0  # mm
_SHALLOWEST = 0.5  # mm, the centre of the first bin
_ROUGHNESS = 0.01  # usual change of the fluence's slope from one knot to the next
_DERIVATIVE_STEP = 0.05  # of a parameter's own step


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the simulation gives for one observation.

    Attributes
    ----------
    nearby : (float, float) or None
        Near the surface: the depth dose BUILD_UP_SHIFT above and below the observation's depth.
    """

    value: float
    sigma: float
    nearby: tuple[float, float] | None = None

    def shifted(self, by: float) -> Simulated:
        """The same, higher by a number."""
        nearby = None if self.nearby is None else (self.nearby[0] + by, self.nearby[1] + by)
        return Simulated(self.value + by, self.sigma, nearby)


@dataclass(frozen=True, slots=True)
class FittedParameter:
    """A parameter with its standard uncertainty."""

    parameter: Parameter
    value: float
    uncertainty: float
    start: float

    @property
    def at_bound(self) -> bool:
        """Whether the fit stopped at a bound: then the data do not determine it."""
        span = self.parameter.high - self.parameter.low
        return min(self.value - self.parameter.low, self.parameter.high - self.value) < 1e-3 * span


@dataclass(frozen=True, slots=True)
class FitResult:
    """The fitted beam and how well it does.

    Attributes
    ----------
    chi_squared : float
        Sum of squared residuals over the data's uncertainties.
    degrees_of_freedom : int
    """

    beam: Beam
    parameters: tuple[FittedParameter, ...]
    observations: tuple[Observation, ...]
    simulated: tuple[Simulated, ...]
    chi_squared: float
    degrees_of_freedom: int

    @property
    def spot_scale(self) -> float:
        """Of the focal spot, relative to the beam that the fit began with."""
        return next((one.value for one in self.parameters if one.parameter.name == SPOT_SCALE.name), 1.0)


def fit(
    beam: Beam,
    observations: Sequence[Observation],
    responses: ResponseSet,
    *,
    parameters: Sequence[Parameter] = PARAMETERS,
    correction: FloatArray | None = None,
    noise: FloatArray | None = None,
) -> FitResult:
    """Fit the parameters of a beam to observations.

    Parameters
    ----------
    correction : ndarray of shape (n_observations,), optional
        Added to what the responses give: `correction_at`.
    noise : ndarray of shape (n_observations,), optional
        Standard deviation of the simulated values, in the observations' units, joined to their own: what is
        simulated badly shall not pull the fit. Without it that of the responses at the start.
    """
    added = np.zeros(len(observations)) if correction is None else correction
    if noise is None:
        noise = np.array([one.sigma for one in predict(beam, 1.0, observations, responses)])
    steps = np.array([parameter.step for parameter in parameters])
    low = np.array([parameter.low for parameter in parameters]) / steps
    high = np.array([parameter.high for parameter in parameters]) / steps
    start = start_values(beam, parameters)
    averaged = responses.averaged()
    measured = np.array([seen.value for seen in observations])
    sigma = np.hypot(np.array([seen.sigma for seen in observations]), noise)

    def residuals(scaled: FloatArray) -> FloatArray:
        values = scaled * steps
        simulated = predict(with_values(beam, values, parameters), _spot_of(values, parameters), observations, averaged)
        found = np.array([one.value for one in simulated]) + added
        return np.concatenate([(found - measured) / sigma, _roughness(values, start, parameters)])

    solution = least_squares(
        residuals,
        np.clip(start / steps, low + 1e-6, high - 1e-6),
        bounds=(low, high),
        diff_step=None,
        x_scale=1.0,
        jac=lambda scaled: _jacobian(residuals, scaled, low, high),
    )
    values = solution.x * steps
    fitted_beam = with_values(beam, values, parameters)
    simulated = [
        one.shifted(float(by))
        for one, by in zip(
            predict(fitted_beam, _spot_of(values, parameters), observations, responses), added, strict=True
        )
    ]
    data = residuals(solution.x)[: len(observations)]
    freedom = max(len(observations) - len(parameters), 1)
    chi_squared = float((data**2).sum())
    covariance = np.linalg.pinv(solution.jac.T @ solution.jac) * max(chi_squared / freedom, 1.0)
    uncertainties = np.sqrt(np.diag(covariance)) * steps
    return FitResult(
        beam=fitted_beam,
        parameters=tuple(
            FittedParameter(parameter, float(value), float(uncertainty), float(first))
            for parameter, value, uncertainty, first in zip(parameters, values, uncertainties, start, strict=True)
        ),
        observations=tuple(observations),
        simulated=tuple(simulated),
        chi_squared=chi_squared,
        degrees_of_freedom=freedom,
    )


def predict_directly(observations: Sequence[Observation], responses: ResponseSet) -> list[Simulated]:
    """What a machine's own source gives for each observation (responses of `simulate_beam`), with its sigma."""
    return [_predicted(seen, np.ones(1), 1.0, responses) for seen in observations]


def correction_at(result: FitResult, direct: Sequence[Simulated], responses: ResponseSet) -> FloatArray:
    """What direct simulation of a fitted beam gives beyond the responses, shape (n_observations,).

    The responses' weights differ from photon to photon, which makes their sums noisy; their change with a parameter
    is not, for the photons stay the same. With this correction the fit has the direct simulation's
    values and takes from the responses only how they change.
    """
    from_responses = predict(result.beam, result.spot_scale, result.observations, responses.averaged())
    return np.array([one.value - other.value for one, other in zip(direct, from_responses, strict=True)])


def penumbra_readings(observations: Sequence[Observation], direct: ResponseSet) -> FloatArray:
    """What a measured penumbra is unsure by because its doses are, mm, shape (n_observations,); 0 for all else."""
    found = np.zeros(len(observations))
    for index, seen in enumerate(observations):
        if seen.quantity == "penumbra_80_20":
            response = direct.response(seen.jaws, seen.source_surface_distance)
            found[index] = PERCENT_PROFILE * penumbra_per_percent(
                response,
                np.ones(1),
                profile=profile_index(response, seen.depth),
                axis=seen.axis,
                half_field=half_field(seen),
                detector=seen.detector,
            )
    return found


def judged_directly(result: FitResult, direct: Sequence[Simulated], readings: FloatArray) -> FitResult:
    """The fit with values of a direct simulation of its beam, and their chi squared by all the sigmas there are.

    Parameters
    ----------
    readings : ndarray of shape (n_observations,)
        See `penumbra_readings`.
    """
    simulated, measured = np.array([one.value for one in direct]), np.array([one.value for one in result.observations])
    noise, sigma = np.array([one.sigma for one in direct]), np.array([one.sigma for one in result.observations])
    chi_squared = float(((simulated - measured) ** 2 / (noise**2 + sigma**2 + readings**2)).sum())
    return replace(result, simulated=tuple(direct), chi_squared=chi_squared)


def _jacobian(function: object, place: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Central differences, one-sided at a bound."""
    columns = []
    for index in range(len(place)):
        up, down = place.copy(), place.copy()
        up[index] = min(place[index] + _DERIVATIVE_STEP, high[index])
        down[index] = max(place[index] - _DERIVATIVE_STEP, low[index])
        columns.append((function(up) - function(down)) / (up[index] - down[index]))  # type: ignore[operator]
    return np.array(columns).T


def _spot_of(values: FloatArray, parameters: Sequence[Parameter]) -> float:
    for parameter, value in zip(parameters, values, strict=True):
        if parameter.name == SPOT_SCALE.name:
            return float(value)
    return 1.0


def _roughness(values: FloatArray, start: FloatArray, parameters: Sequence[Parameter]) -> FloatArray:
    """Changes of slope, knot to knot, of fluence over that of the start: what the data leave open keeps its shape."""
    chosen = [index for index, parameter in enumerate(parameters) if "@" in parameter.name]
    if len(chosen) != len(FLUENCE_KNOTS):
        return np.zeros(0)
    knots = np.array([0.0, *FLUENCE_KNOTS])
    fluence = np.array([1.0, *(values[chosen] / start[chosen])])
    slope = np.diff(fluence) / np.diff(knots) * 20.0
    # On the axis the fluence is level: the first slope is measured against none.
    return np.asarray(np.diff(slope) / _ROUGHNESS)


def predict(
    beam: Beam, spot_scale: float, observations: Sequence[Observation], responses: ResponseSet
) -> list[Simulated]:
    """What the simulation gives for each observation, with its sigma.

    Parameters
    ----------
    spot_scale : float
        Of the focal spot, relative to the one that the responses of scale 1 were simulated with.
    """
    weighted = responses.weighted(basis_weights(responses.basis, beam))
    return [_predicted(seen, np.ones(1), spot_scale, weighted) for seen in observations]


def _predicted(seen: Observation, weights: FloatArray, spot_scale: float, responses: ResponseSet) -> Simulated:
    response = responses.response(seen.jaws, seen.source_surface_distance)
    if seen.quantity == "depth_dose":
        places = [seen.depth]
        is_shallow = seen.depth < _SHALLOW
        if is_shallow:
            places += [max(seen.depth - BUILD_UP_SHIFT, _SHALLOWEST), seen.depth + BUILD_UP_SHIFT]
        curve = percent_depth_dose(response, weights, places)
        nearby = (float(curve.value[1]), float(curve.value[2])) if is_shallow else None
        return Simulated(float(curve.value[0]), float(curve.sigma[0]), nearby)
    if seen.quantity == "output_factor":
        reference = responses.response(seen.reference, seen.source_surface_distance)
        field = depth_dose(response, weights, [seen.depth])
        other = depth_dose(reference, weights, [seen.depth])
        ratio = float(field.value[0] / other.value[0])
        return Simulated(ratio, ratio * float(np.hypot(field.sigma / field.value, other.sigma / other.value)[0]))
    half = half_field(seen)
    if seen.quantity == "profile":
        curve = off_axis_ratio(
            response,
            weights,
            profile=profile_index(response, seen.depth),
            axis=seen.axis,
            places=[seen.off_axis],
            half_field=half,
            detector=seen.detector,
        )
        return Simulated(float(curve.value[0]), float(curve.sigma[0]))
    return _edge_observed(seen, weights, spot_scale, responses, half)


def half_field(seen: Observation) -> float:
    """Half the field's width at the profile's depth, mm."""
    size = {"x": seen.jaws.size_x, "y": seen.jaws.size_y}.get(seen.axis, min(seen.jaws.size_x, seen.jaws.size_y))
    return size / 2 * (seen.source_surface_distance + seen.depth) / 1000.0


def _edge_observed(
    seen: Observation, weights: FloatArray, spot_scale: float, responses: ResponseSet, half: float
) -> Simulated:
    """Interpolated between the sizes of the focal spot that were simulated, in the spot's variance."""
    scales = responses.spot_scales(seen.jaws, seen.source_surface_distance)
    edges: list[Edge] = []
    for scale in scales:
        response = responses.response(seen.jaws, seen.source_surface_distance, scale)
        edges.append(
            edge(
                response,
                weights,
                profile=profile_index(response, seen.depth),
                axis=seen.axis,
                half_field=half,
                detector=seen.detector,
            )
        )
    values = np.array([one.width_50 if seen.quantity == "width_50" else one.penumbra_80_20 for one in edges])
    sigmas = np.array([one.width_sigma if seen.quantity == "width_50" else one.penumbra_sigma for one in edges])
    shares = _lagrange(np.array(scales) ** 2, spot_scale**2)
    return Simulated(float(shares @ values), float(np.sqrt(((shares * sigmas) ** 2).sum())))


def _lagrange(nodes: FloatArray, place: float) -> FloatArray:
    """Shares of the nodes' values in the interpolating polynomial at a place."""
    shares = np.ones(len(nodes))
    for index, node in enumerate(nodes):
        for other in nodes:
            if other != node:
                shares[index] *= (place - other) / (node - other)
    return shares
