"""Measured curves brought to one form: per cent, centred, checked against their field, and their widths."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from gatecheck.commissioning.analysis import (
    Estimate,
    centre_of_field,
    field_width,
    normalised_to_axis,
    normalised_to_maximum,
    penumbra,
)
from gatecheck.commissioning.beam_data import Axis, BeamData, DepthDose, JawField, Profile, ProfileWidth

logger = logging.getLogger(__name__)

SOURCE_AXIS_DISTANCE = 1000.0


def normalised_depth_dose(curve: DepthDose) -> DepthDose:
    """The same depth dose in % of its maximum; one that is already so is returned as it is.

    Raises
    ------
    ValueError
        As `depth_dose_maximum`.
    """
    if curve.normalisation == "maximum":
        return curve
    percent = normalised_to_maximum(curve.depth, curve.dose, curve.sigma)
    return replace(curve, dose=percent.dose, sigma=percent.sigma, normalisation="maximum")


def normalised_profile(profile: Profile) -> Profile:
    """The same profile in % of the dose on the axis; one that is already so is returned as it is.

    Raises
    ------
    ValueError
        When the profile does not reach the axis.
    """
    if profile.normalisation == "axis":
        return profile
    percent = normalised_to_axis(profile.position, profile.dose, profile.sigma)
    return replace(profile, dose=percent.dose, sigma=percent.sigma, normalisation="axis")


def centred_profile(profile: Profile) -> Profile:
    """The same profile, moved so that its two edges at 50 % are equally far from 0; half profiles stay.

    A water tank's zero is a few tenths of a millimetre off the beam's axis. Only a field that is centred on the axis
    can show by how much, so others are left as they are.

    Raises
    ------
    ValueError
        When the profile does not pass through 50 % on both sides.
    """
    if profile.is_half or not profile.jaws.is_centred:
        return profile
    shift = centre_of_field(profile.position, profile.dose)
    return replace(profile, position=profile.position - shift)


def expected_width(jaws: JawField, axis: Axis, source_surface_distance: float, depth: float) -> float:
    """Geometric width of a field at a depth, for a source-axis distance of 1000 mm; the smaller of both for `mean`."""
    sizes: dict[str, float] = {
        "x": jaws.size_x,
        "y": jaws.size_y,
        "mean": min(jaws.size_x, jaws.size_y),
        "diagonal": float(np.sqrt(2)) * min(jaws.size_x, jaws.size_y),
        "antidiagonal": float(np.sqrt(2)) * min(jaws.size_x, jaws.size_y),
    }
    return sizes[axis] * (source_surface_distance + depth) / SOURCE_AXIS_DISTANCE


def check_width(profile: Profile) -> None:
    """Refuse a profile whose edges contradict its stated field; one that shows no edge passes.

    The limit, 10 mm or 10 % of the geometric width, tells centimetres from millimetres and x from y; it is no test of
    the machine.

    Raises
    ------
    ValueError
    """
    if profile.axis == "mean" and profile.field_x != profile.field_y:
        return
    try:
        found = _field_width_of(profile).value
    except ValueError:
        # Profiles that end within the field, or do not reach the axis, have no width to compare.
        return
    expected = expected_width(profile.jaws, profile.axis, profile.source_surface_distance, profile.depth)
    if abs(found - expected) > max(10.0, 0.1 * expected):
        raise ValueError(
            f"the profile on axis {profile.axis} is {found:.0f} mm wide at 50 %; its field of {profile.jaws} at "
            f"{profile.source_surface_distance + profile.depth:g} mm from the source is {expected:.0f} mm wide"
        )


def _field_width_of(profile: Profile) -> Estimate:
    if profile.is_half and not profile.jaws.is_centred:
        raise ValueError(f"a half profile has no width in a field of {profile.jaws}, which is not centred on the axis")
    if not (profile.jaws.x1 < 0 < profile.jaws.x2 and profile.jaws.y1 < 0 < profile.jaws.y2):
        raise ValueError(f"a field of {profile.jaws} does not hold the axis, so its profile has no 50 %")
    return field_width(profile.position, profile.dose, profile.sigma, on_axis=_stated_on_axis(profile))


def _stated_on_axis(profile: Profile) -> float | None:
    return 100.0 if profile.normalisation == "axis" else None


def width_of(profile: Profile) -> ProfileWidth:
    """Width and penumbra of a measured profile.

    Raises
    ------
    ValueError
        When the profile does not show its edges, or the axis does not lie in its field.
    """
    width = _field_width_of(profile)
    fall = penumbra(profile.position, profile.dose, profile.sigma, on_axis=_stated_on_axis(profile))
    return ProfileWidth(
        jaws=profile.jaws,
        source_surface_distance=profile.source_surface_distance,
        detector_diameter=profile.detector_diameter,
        label=profile.label,
        depth=profile.depth,
        axis=profile.axis,
        width_50=width.value,
        penumbra_80_20=fall.value,
        width_sigma=width.sigma,
        penumbra_sigma=fall.sigma,
    )


def all_widths(data: BeamData) -> tuple[ProfileWidth, ...]:
    """Widths that the data state, then those of profiles that show their edges and reach the axis."""
    found = list(data.widths)
    for profile in data.profiles:
        try:
            found.append(width_of(profile))
        except ValueError as reason:
            logger.debug("no width of %s at %g mm: %s", profile.jaws, profile.depth, reason)
    return tuple(found)
