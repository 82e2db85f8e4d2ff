"""From whole scans to the few numbers that a fit compares: smooth values at round places, widths and penumbrae.

A scan has hundreds of points that are not independent of each other, and those in its penumbra say the same as its
width does, only in a form in which 0.1 mm of position looks like a large error in dose. What the fit cannot use is
left out, and said.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.analysis import smoothed_at, symmetric_mean
from gatecheck.commissioning.beam_data import BeamData, DepthDose, Profile, ProfileWidth
from gatecheck.commissioning.measured import expected_width, normalised_depth_dose, normalised_profile, width_of

FloatArray = npt.NDArray[np.float64]

DEPTHS = np.array([*range(2, 10, 2), 10, 12, 15, 18, 20, 25, *range(30, 100, 10), *range(100, 401, 20)], dtype=float)
"""mm, at which a scanned depth dose is compared."""

# Curves of no more points than this are tables made by somebody, and stay as they are.
_TABLE = 30

_BUILD_UP_DEPTH, _STEEP_DEPTH = 10.0, 25.0
_BUILD_UP_WINDOW, _STEEP_WINDOW, _DEEP_WINDOW = 1.0, 2.5, 6.0
_PROFILE_WINDOW = 4.0
_SHARE_TO_EDGE = 0.4

# A profile is compared as far as this share of the way to the field's edge, or to this distance from it.
_FIELD_SHARE = 0.8
_FROM_EDGE = 10.0

_SMALL_FIELD = 60.0
_SMALL_STEP, _STEP = 5.0, 10.0


def condensed(data: BeamData) -> BeamData:
    """The same data as a fit takes them: on the axis, in per cent, at round places, with widths of full profiles.

    Depth doses beside the axis, diagonal profiles, profiles of fields that are not centred on the axis and curves that
    cannot be brought to per cent are left out, each with a note. Profiles of centred fields become means of both
    halves; curves of up to 30 points keep their points but those in the penumbra and outside of the field.
    """
    notes = list(data.notes)
    depth_doses = [made for curve in data.depth_doses if (made := _depth_dose(curve, notes)) is not None]
    profiles: list[Profile] = []
    widths = list(data.widths)
    for profile in data.profiles:
        usable = _usable_profile(profile, notes)
        if usable is None:
            continue
        widths += _width_of(usable, widths)
        inside = _inside_field(usable)
        if inside is not None:
            profiles.append(inside)
    return replace(
        data, depth_doses=tuple(depth_doses), profiles=tuple(profiles), widths=tuple(widths), notes=tuple(notes)
    )


def _depth_dose(curve: DepthDose, notes: list[str]) -> DepthDose | None:
    name = f"depth dose of {curve.jaws}"
    if curve.off_axis != 0:
        notes.append(f"The {name} {curve.off_axis:g} mm beside the axis is not used.")
        return None
    try:
        percent = normalised_depth_dose(curve)
    except ValueError as error:
        notes.append(f"The {name} is not used, its maximum is not known: {error}.")
        return None
    if percent.depth.size <= _TABLE:
        return percent
    at = DEPTHS[(percent.depth[0] <= DEPTHS) & (percent.depth[-1] >= DEPTHS)]
    reach = np.where(at < _BUILD_UP_DEPTH, _BUILD_UP_WINDOW, np.where(at < _STEEP_DEPTH, _STEEP_WINDOW, _DEEP_WINDOW))
    smooth = smoothed_at(percent.depth, percent.dose, at, reach, percent.sigma)
    return replace(percent, depth=smooth.place, dose=smooth.dose, sigma=smooth.sigma)


def _usable_profile(profile: Profile, notes: list[str]) -> Profile | None:
    name = f"profile of {profile.jaws} at {profile.depth:g} mm depth"
    if profile.axis in ("diagonal", "antidiagonal"):
        notes.append(f"The {profile.axis} {name} is not used.")
        return None
    if not profile.jaws.is_centred:
        notes.append(f"The {name} is not used: its field is not centred on the axis.")
        return None
    try:
        return normalised_profile(profile)
    except ValueError as error:
        notes.append(f"The {name} is not used, the dose on the axis is not known: {error}.")
        return None


def _width_of(profile: Profile, stated: list[ProfileWidth]) -> list[ProfileWidth]:
    """Width and penumbra of a curve that shows its edges, unless they are stated beside it."""
    try:
        found = width_of(profile)
    except ValueError:
        return []
    return [] if any(_same_profile(width, found) for width in stated) else [found]


def _same_profile(first: ProfileWidth, second: ProfileWidth) -> bool:
    names = ("jaws", "source_surface_distance", "depth", "axis", "detector_diameter", "label")
    return all(getattr(first, name) == getattr(second, name) for name in names)


def _inside_field(profile: Profile) -> Profile | None:
    """The part of a profile inside of its field, both halves averaged; None when nothing is left."""
    half = expected_width(profile.jaws, profile.axis, profile.source_surface_distance, profile.depth) / 2
    end = max(_FIELD_SHARE * half, half - _FROM_EDGE)
    position, dose, sigma = profile.position, profile.dose, profile.sigma
    if position[0] < 0 < position[-1]:
        mean = symmetric_mean(position, dose, sigma)
        position, dose, sigma = mean.place, mean.dose, mean.sigma
    elif position[-1] <= 0:
        position, dose, sigma = -position[::-1], dose[::-1], None if sigma is None else sigma[::-1]
    if profile.position.size > _TABLE:
        step = _SMALL_STEP if half < _SMALL_FIELD else _STEP
        at = np.arange(step, end, step)
        at = at[(at >= position[0]) & (at <= position[-1])]
        # The window keeps clear of the shoulder.
        reach = np.minimum(_PROFILE_WINDOW, _SHARE_TO_EDGE * (half - at))
        smooth = smoothed_at(position, dose, at, reach, sigma)
        position, dose, sigma = smooth.place, smooth.dose, smooth.sigma
    # On the axis it is 100 by definition.
    kept = (position > 0) & (position <= end)
    if not kept.any():
        return None
    return replace(profile, position=position[kept], dose=dose[kept], sigma=None if sigma is None else sigma[kept])
