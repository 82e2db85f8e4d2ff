"""Dose to the hottest part of the normal cord, wherever in the Monte Carlo's grid that lies.

The points, the spline and the removal of what noise adds are those of the dose-volume histograms (`compare.sampling`,
`compare.interpolation`, `compare.debias`), so that both tables say the same of the same cord. What differs is that the
tumours are taken out of the cord, and that the TPS dose is averaged over the Monte Carlo's voxels first: what is lost
when means become values at centres again, both have lost.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.compare.debias import degrees_of_freedom, without_noise
from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.dvh import distribution
from gatecheck.compare.interface.doses import (
    at_places,
    averaged_over_voxels,
    cropped,
    cropped_grid,
    finite_box,
    is_within,
    places_in,
    read_otherwise,
    window_round,
)
from gatecheck.compare.interface.geometry import Surface, is_outside
from gatecheck.compare.interface.model import CordMaximum, Estimate
from gatecheck.compare.interface.preparation import InterfaceInput
from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.noise import NoisyFields, noisy_fields
from gatecheck.compare.sampling import StructurePoints, VoxelGrid, part_round, place, points_of
from gatecheck.compare.smoothing import values_at_centres
from gatecheck.compare.structure_dose import HOT_PART, POINTS_WITH_NOISE

FloatArray = npt.NDArray[np.float64]

HOT_VOLUME = 30.0
"""mm3: 0.03 ml."""

_MARGIN = 8.0
"""mm of dose round the cord, for the smoothing and the spline."""

_TPS_MARGIN = 12.0
_ALL = 0.999


@dataclass(frozen=True, slots=True)
class _CordDoses:
    """The Monte Carlo's dose with its noise, and the TPS's on the same voxels where it reaches."""

    grid: VoxelGrid
    mc: NoisyFields
    mc_alone: SplineFields
    tps: DoseImage | None
    tps_otherwise: DoseImage | None


def compare_cord_maximum(given: InterfaceInput, tumours: Sequence[Surface], notes: list[str]) -> CordMaximum | None:
    """Least dose to the hottest 0.03 ml of the cord without tumours; None, and a note why, where it is not known.

    It is of the cord within the Monte Carlo's grid. When the TPS dose shows a hotter place of the cord beyond that
    grid, the maximum is refused.
    """
    if given.cord_mask is None:
        return None
    step = min(given.mc.grid.spacing) / 2
    cord = _without(points_of(given.cord_mask, largest_step=step), tumours)
    doses = _doses_along(given, cord, notes) if len(cord.volumes) else None
    if doses is None:
        notes.append("No normal cord within the Monte Carlo dose grid, so its maximum is not assessed.")
        return None
    hot = _hot_part(given.cord_mask, cord, doses, tumours, step)
    placed = place(hot, doses.grid)
    covered = place(cord, given.mc.grid).covered_fraction
    if float(placed.volumes.sum()) <= HOT_VOLUME:
        notes.append("Less than 0.03 ml of normal cord within the Monte Carlo dose grid: its maximum is not assessed.")
        return None
    found = _maximum(given, hot, doses, notes)
    is_whole: bool | None = True if covered >= _ALL else _is_hottest_within(given, cord, found, covered, notes)
    if is_whole is None:
        return None
    volume = covered * cord.total_volume / 1000
    return found.model_copy(update={"cord_volume_ml": volume, "is_of_whole_cord": is_whole})


def _without(points: StructurePoints, tumours: Sequence[Surface]) -> StructurePoints:
    """Points outside of all tumours."""
    outside = is_outside(points.points_xyz.astype(np.float64), tumours)
    return dataclasses.replace(points, points_xyz=points.points_xyz[outside], volumes=points.volumes[outside])


def _doses_along(given: InterfaceInput, cord: StructurePoints, notes: list[str]) -> _CordDoses | None:
    points = cord.points_xyz.astype(np.float64)
    window = window_round(points, _MARGIN, given.mc.grid)
    if window is None:
        return None
    grid = cropped_grid(given.mc.grid, window)
    batches = np.asarray(given.batches_zyx[(slice(None), *window)], dtype=np.float64)
    n, mean = len(batches), batches.mean(axis=0)
    spacing = (grid.spacing[2], grid.spacing[1], grid.spacing[0])
    left_out = (mean + (mean - one) / (n - 1) for one in batches)
    doses = _CordDoses(
        grid=grid,
        mc=noisy_fields(mean, left_out, batches=n, spacing_zyx=spacing),
        mc_alone=SplineFields.of(values_at_centres(mean[..., None], spacing)),
        tps=None,
        tps_otherwise=None,
    )
    return doses if given.tps is None else _with_tps(given, given.tps, doses, points, notes)


def _with_tps(
    given: InterfaceInput, tps: DoseImage, doses: _CordDoses, points: FloatArray, notes: list[str]
) -> _CordDoses:
    window = window_round(points, _TPS_MARGIN, tps.grid)
    near = tps if window is None else cropped(tps, window)
    if not np.isfinite(near.values_zyx).all():
        notes.append("The TPS dose along the cord holds values that are not numbers: the Monte Carlo alone there.")
        return doses
    on_mc = averaged_over_voxels(near, doses.grid)
    box = finite_box(on_mc)
    if box is None:
        notes.append("The TPS dose grid does not reach the cord: the cord of the Monte Carlo alone.")
        return doses
    grid = cropped_grid(doses.grid, box)
    otherwise = read_otherwise(near, at_centres=given.tps_values_at_centres)
    return dataclasses.replace(
        doses,
        tps=DoseImage(on_mc[box], grid),
        tps_otherwise=DoseImage(averaged_over_voxels(otherwise, doses.grid)[box], grid),
    )


def _hot_part(
    mask: sitk.Image, cord: StructurePoints, doses: _CordDoses, tumours: Sequence[Surface], step: float
) -> StructurePoints:
    """The cord, or the hottest part of a long one in finer points; by the smoothed dose, which noise chooses less."""
    if cord.total_volume <= HOT_PART:
        return cord
    placed = place(cord, doses.grid)
    order = np.argsort(-doses.mc.smooth_dose().at(placed.place_zyx)[0])
    number = int(np.searchsorted(np.cumsum(placed.volumes[order], dtype=np.float64), HOT_PART)) + 1
    index_xyz = placed.place_zyx[::-1, order[:number]].T.astype(np.float64)
    hottest = index_xyz * np.array(doses.grid.spacing) + np.array(doses.grid.origin)
    return _without(points_of(part_round(mask, hottest, part=cord.whole), largest_step=step), tumours)


def _maximum(given: InterfaceInput, hot: StructurePoints, doses: _CordDoses, notes: list[str]) -> CordMaximum:
    placed = place(hot, doses.grid)
    as_computed = distribution(placed, doses.mc_alone).dose_to_small_volume(HOT_VOLUME)
    noise = doses.mc.at(placed.equal_places_zyx(POINTS_WITH_NOISE))
    fraction = HOT_VOLUME / float(placed.volumes.sum(dtype=np.float64))
    found = without_noise(noise, lambda dose: _hottest(dose, fraction))
    value, sigma = as_computed + float(found.shift[0]), float(found.sigma[0])
    half = float(found.half_width[0])
    mc = Estimate(value=value, sigma=sigma, low=value - half, high=value + half)
    tps = None if doses.tps is None else _of_tps(hot, doses.tps)
    if doses.tps is not None and _is_hotter_beyond(hot, doses, doses.tps.grid, value):
        notes.append(
            "The hottest normal cord of the Monte Carlo lies where the TPS has no dose: its maximum is not compared."
        )
        tps = None
    other = None if tps is None or doses.tps_otherwise is None else _of_tps(hot, doses.tps_otherwise)
    _note_on_voxels(given, hot, doses, value, notes)
    return CordMaximum(
        volume_ml=HOT_VOLUME / 1000,
        cord_volume_ml=0.0,
        is_of_whole_cord=False,
        mc_gy=mc,
        mc_as_computed_gy=as_computed,
        degrees_of_freedom=degrees_of_freedom(len(noise.noise)),
        tps_gy=tps,
        difference_gy=None if tps is None else _moved(mc, -tps),
        grid_error_gy=None if tps is None or other is None else abs(other - tps),
    )


def _moved(of: Estimate, by: float) -> Estimate:
    return Estimate(value=of.value + by, sigma=of.sigma, low=of.low + by, high=of.high + by)


def _hottest(dose: npt.NDArray[np.floating], fraction: float) -> FloatArray:
    rising = np.sort(dose)
    middles = (np.arange(len(rising)) + 0.5) / len(rising)
    return np.array([np.interp(1 - fraction, middles, rising)])


def _of_tps(hot: StructurePoints, tps: DoseImage) -> float | None:
    placed = place(hot, tps.grid)
    if float(placed.volumes.sum()) <= HOT_VOLUME:
        return None
    x, y, z = tps.grid.spacing
    values_zyxf = values_at_centres(np.asarray(tps.values_zyx, dtype=np.float32)[..., None], (z, y, x))
    found = distribution(placed, SplineFields.of(values_zyxf)).dose_to_small_volume(HOT_VOLUME)
    return None if math.isnan(found) else found


def _is_hotter_beyond(hot: StructurePoints, doses: _CordDoses, grid: VoxelGrid, level: float) -> bool:
    """Whether the Monte Carlo reaches a level where another grid has no voxels."""
    placed = place(hot, doses.grid)
    points = placed.place_zyx[::-1].T * np.array(doses.grid.spacing) + np.array(doses.grid.origin)
    beyond = ~grid.holds(points.astype(np.float64))
    return bool((doses.mc.smooth_dose().at(placed.place_zyx[:, beyond])[0] > level).any()) if beyond.any() else False


def _note_on_voxels(
    given: InterfaceInput, hot: StructurePoints, doses: _CordDoses, level: float, notes: list[str]
) -> None:
    fine = given.fine_region
    if fine is not None and _is_hotter_beyond(hot, doses, fine, level):
        notes.append(
            "The hottest normal cord lies beyond the fine voxels: its maximum is that of coarse voxels. Enlarge "
            "patient.fine_region_margin."
        )


def _is_hottest_within(
    given: InterfaceInput, cord: StructurePoints, found: CordMaximum, covered: float, notes: list[str]
) -> bool | None:
    """Whether the TPS shows all cord beyond the Monte Carlo's grid to be colder; None where it shows hotter cord.

    A note says what is not looked at.
    """
    part = f"{100 * (1 - covered):.0f} % of the normal cord lies beyond the Monte Carlo dose grid"
    points = cord.points_xyz.astype(np.float64)
    beyond = points[~given.mc.grid.holds(points)]
    seen = None if given.tps is None else beyond[is_within(given.tps.grid, beyond)]
    if given.tps is None or seen is None:
        notes.append(f"{part}: the cord's maximum is of the rest.")
        return False
    window = window_round(seen, _TPS_MARGIN, given.tps.grid) if len(seen) else None
    near = None if window is None else cropped(given.tps, window)
    is_known = near is not None and bool(np.isfinite(near.values_zyx).all())
    if near is not None and is_known:
        level = found.mc_gy.value if found.tps_gy is None else found.tps_gy
        there = float(at_places(near.values_zyx.astype(np.float64), places_in(near.grid, seen)).max())
        if there > level:
            notes.append(f"{part}, where the TPS shows up to {there:.3g} Gy, more than within: not assessed.")
            return None
    unseen = "" if len(seen) == len(beyond) else ", some of it beyond the TPS dose grid too"
    notes.append(f"{part}{unseen}: the cord's maximum is of the rest.")
    return is_known and len(seen) == len(beyond)
