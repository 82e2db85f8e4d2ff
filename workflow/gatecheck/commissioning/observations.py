"""Measured values as the fit compares them: one number each, with its conditions, tolerance and weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gatecheck.commissioning.beam_data import BeamData, JawField

Quantity = Literal["depth_dose", "profile", "width_50", "penumbra_80_20", "output_factor"]

# Standard uncertainties that a fit gives its data where they state none: positioning, chamber, reading.
_PERCENT_DEPTH_DOSE, _PERCENT_BUILD_UP = 0.5, 1.5
_BUILD_UP_DEPTH = 10.0
# An output factor is a ratio of readings at one place, in which most of these drop out.
PERCENT_PROFILE = 0.4
_MILLIMETRES, _OUTPUT = 0.3, 0.002
# A smaller one that is stated would let one number rule the fit.
_LEAST_PERCENT, _LEAST_MILLIMETRES, _LEAST_OUTPUT = 0.05, 0.05, 0.0005


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured number.

    Attributes
    ----------
    quantity : str
    jaws, reference : JawField
        `reference` is the field whose output factor is 1; the field itself otherwise.
    depth, off_axis : float
        mm.
    axis : str
        Of a profile, as in gatecheck.commissioning.beam_data.AXES.
    value : float
        Per cent of the maximum (depth dose) or of the axis (profile), mm (width, penumbra), or a ratio.
    sigma : float
        Standard uncertainty, in the value's unit.
    detector : float
        Width over which the detector averages, mm.
    """

    quantity: Quantity
    jaws: JawField
    reference: JawField
    source_surface_distance: float
    depth: float
    off_axis: float
    axis: str
    value: float
    sigma: float
    detector: float


def observations_of(data: BeamData, *, detector: float) -> tuple[Observation, ...]:
    """All numbers of the beam data, one after another.

    Parameters
    ----------
    detector : float
        Width of the detector in mm where the data do not state it.
    """
    return (
        *_depth_doses(data, detector),
        *_profiles(data, detector),
        *_widths(data, detector),
        *_outputs(data, detector),
    )


def _depth_doses(data: BeamData, detector: float) -> list[Observation]:
    result = []
    for curve in data.depth_doses:
        top = float(curve.dose.max()) if curve.normalisation == "as measured" else 100.0
        for index, (depth, dose) in enumerate(zip(curve.depth.tolist(), curve.dose.tolist(), strict=True)):
            usual = _PERCENT_BUILD_UP if depth < _BUILD_UP_DEPTH else _PERCENT_DEPTH_DOSE
            stated = float(curve.sigma[index]) * 100 / top if curve.sigma is not None else usual
            result.append(
                Observation(
                    "depth_dose",
                    curve.jaws,
                    curve.jaws,
                    curve.source_surface_distance,
                    depth,
                    curve.off_axis,
                    "x",
                    100 * dose / top,
                    max(stated, _LEAST_PERCENT),
                    _width(curve.detector_diameter, detector),
                )
            )
    return result


def _profiles(data: BeamData, detector: float) -> list[Observation]:
    result = []
    for profile in data.profiles:
        if profile.normalisation != "axis":
            continue
        for index, (place, dose) in enumerate(zip(profile.position.tolist(), profile.dose.tolist(), strict=True)):
            stated = float(profile.sigma[index]) if profile.sigma is not None else PERCENT_PROFILE
            result.append(
                Observation(
                    "profile",
                    profile.jaws,
                    profile.jaws,
                    profile.source_surface_distance,
                    profile.depth,
                    place,
                    profile.axis,
                    dose,
                    max(stated, _LEAST_PERCENT),
                    _width(profile.detector_diameter, detector),
                )
            )
    return result


def _widths(data: BeamData, detector: float) -> list[Observation]:
    result = []
    for width in data.widths:
        values: Sequence[tuple[Quantity, float | None, float | None]] = (
            ("width_50", width.width_50, width.width_sigma),
            ("penumbra_80_20", width.penumbra_80_20, width.penumbra_sigma),
        )
        for quantity, value, sigma in values:
            if value is not None:
                result.append(
                    Observation(
                        quantity,
                        width.jaws,
                        width.jaws,
                        width.source_surface_distance,
                        width.depth,
                        0.0,
                        width.axis,
                        value,
                        _MILLIMETRES if sigma is None else max(sigma, _LEAST_MILLIMETRES),
                        _width(width.detector_diameter, detector),
                    )
                )
    return result


def _outputs(data: BeamData, detector: float) -> list[Observation]:
    return [
        Observation(
            "output_factor",
            factor.jaws,
            factor.reference,
            factor.source_surface_distance,
            factor.depth,
            0.0,
            "x",
            factor.value,
            _OUTPUT if factor.sigma is None else max(factor.sigma, _LEAST_OUTPUT),
            _width(factor.detector_diameter, detector),
        )
        for factor in data.output_factors
        if factor.jaws != factor.reference
    ]


def _width(stated: float | None, otherwise: float) -> float:
    return otherwise if stated is None else stated
