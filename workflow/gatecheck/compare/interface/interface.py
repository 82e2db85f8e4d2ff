"""The comparison of two doses where a tumour meets the cord: one public entry, one result."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.gamma import GammaCriteria
from gatecheck.compare.interface.decisions import decide
from gatecheck.compare.interface.dose_fit import LEAST_DOSE, DoseFit, fit_doses
from gatecheck.compare.interface.doses import (
    RegionDoses,
    averaged_over_voxels,
    cropped,
    cropped_grid,
    is_within,
    read_otherwise,
    sampled,
    window_round,
)
from gatecheck.compare.interface.gamma_rates import choose_points
from gatecheck.compare.interface.geometry import Surface, fractions_around, surface_of
from gatecheck.compare.interface.isodoses import ISODOSES, IsodoseMap, compare_fall_off, compare_isodose
from gatecheck.compare.interface.joint_fit import described
from gatecheck.compare.interface.model import InterfaceComparison
from gatecheck.compare.interface.notes import (
    is_in_region,
    notes_on_grid,
    notes_on_shape,
    notes_on_statistics,
    relation_of,
)
from gatecheck.compare.interface.profiles import Rays, rays_from
from gatecheck.compare.interface.regions import (
    compare_cord_maximum,
    compare_gamma,
    compare_plateau,
    compare_shells,
    slopes_along,
)
from gatecheck.compare.interface.shells import SHELL_EDGES, InterfacePoints, fill
from gatecheck.compare.interface.surface_map import SurfaceMap
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.config import ComparisonConfig
from gatecheck.errors import ResultError

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_REACH = 12.0
"""mm outside of the tumour that rays go."""

_POINTS_REACH = 6.0
_MARGIN = 6.0
_RAYS = 600
_FIT_REACH = 6.0
_LEAST_BATCHES = 4
_DIFFERENT = 0.005


@dataclass(frozen=True, slots=True)
class InterfaceResult:
    """The comparison, and the map over the tumour's surface where there is one."""

    comparison: InterfaceComparison
    surface_map: SurfaceMap | None


@dataclass(frozen=True, slots=True)
class InterfaceInput:
    """One tumour with both doses.

    Attributes
    ----------
    tumour_name : str
    tumour_mask : image of float, 0 to 1
        Inside fractions on the CT's voxels, cropped to the structure.
    cord_name, cord_mask : as those of the tumour, or None
        On the voxels of the same CT.
    mc : DoseImage
        Monte Carlo dose of the whole course, Gy.
    batches_zyx : ndarray of shape (n, nz, ny, nx)
        Each batch by itself as the dose of the course, on the same grid. Their mean is the dose.
    tps : DoseImage or None
    prescription_gy : float
        Of the whole course.
    calibration_relative_sigma : float
        Standard deviation of the Monte Carlo's Gy per MU, common to all batches.
    photons : float or None
        Used in all, for how many more would decide.
    fine_region : VoxelGrid or None
        The voxels of the Monte Carlo's grid that are not copies of coarser ones; None where all are fine.
    """

    tumour_name: str
    tumour_mask: sitk.Image
    cord_name: str | None
    cord_mask: sitk.Image | None
    mc: DoseImage
    batches_zyx: npt.NDArray[np.floating]
    tps: DoseImage | None
    prescription_gy: float
    calibration_relative_sigma: float = 0.0
    photons: float | None = None
    fine_region: VoxelGrid | None = None


def compare_interface(given: InterfaceInput, settings: ComparisonConfig) -> InterfaceResult:
    """Compare both doses round one tumour.

    What cannot be compared is left out of the result, and its notes say why.

    Raises
    ------
    ResultError
        When the batches are not those of the dose, there are fewer than four, or a mask is damaged.
    """
    _check(given)
    fractions = fractions_around(given.tumour_mask, name=given.tumour_name)
    tumour = surface_of(fractions)
    notes = [*notes_on_shape(fractions, given.tumour_name), *notes_on_statistics(len(given.batches_zyx))]
    if tumour is None:
        return _refused(given, [*notes, f"{given.tumour_name} has no volume."])
    doses = _doses_round(given, tumour, notes)
    if doses is None:
        return _refused(given, notes, tumour)
    cord = _cord_round(given, tumour, notes)
    points = fill(tumour, cord, reach=_POINTS_REACH)
    relation = relation_of(tumour, cord, points)
    within = is_within(doses.grid, points.points_xyz)
    points = points.select(within)
    notes += notes_on_grid(doses, points, given.prescription_gy)
    if cord is not None and not points.in_cord.any():
        notes.append(f"No cord within {_POINTS_REACH:g} mm of the tumour, so its maximum here is not assessed.")
    return _compared(given, settings, tumour, doses, points, relation, notes)


def _compared(
    given: InterfaceInput,
    settings: ComparisonConfig,
    tumour: Surface,
    doses: RegionDoses,
    points: InterfacePoints,
    relation: str,
    notes: list[str],
) -> InterfaceResult:
    prescription, has_cord = given.prescription_gy, bool(points.in_cord.any())
    at = sampled(doses, points.points_xyz)
    criteria = [GammaCriteria(one.dose_percent, one.distance) for one in settings.gamma]
    by_shell, by_gradient = compare_gamma(
        doses, choose_points(points), criteria, has_cord=has_cord, prescription_gy=prescription
    )
    shells = compare_shells(
        points,
        at,
        slopes_along(doses, points.points_xyz, points.normals_xyz),
        has_cord=has_cord,
        prescription_gy=prescription,
        gamma=by_shell,
    )
    rays = _rays_within(rays_from(tumour, count=_RAYS, reach=_REACH), doses.grid)
    along = sampled(doses, rays.points_xyz)
    isodoses = [compare_isodose(rays, along, percent, prescription) for percent in ISODOSES]
    plateau = compare_plateau(
        points,
        at,
        doses,
        prescription_gy=prescription,
        largest_gradient=settings.plateau_gradient_percent_per_mm,
        least_depth=settings.plateau_depth,
    )
    fit = _fit(doses, tumour, prescription)
    if doses.tps_zyx is not None and fit is None:
        notes.append("The dose is too plain round the tumour for a fit of shift and widening.")
    comparison = InterfaceComparison(
        tumour=given.tumour_name,
        cord=given.cord_name,
        relation=relation,
        tumour_volume_ml=tumour.volume / 1000,
        prescription_gy=prescription,
        batches=len(given.batches_zyx),
        photons=given.photons,
        calibration_relative_sigma=given.calibration_relative_sigma,
        shells=shells,
        gradient_classes=by_gradient,
        isodoses=tuple(table for table, _ in isodoses),
        fall_off=None if fit is None else compare_fall_off(rays, along, prescription, fit.of_batches[:, 0]),
        plateau=plateau,
        fit=None if fit is None else described(fit, prescription),
        cord_maximum=compare_cord_maximum(points, at) if has_cord else None,
        notes=tuple(notes),
    )
    comparison = comparison.model_copy(update={"verdicts": decide(comparison, settings)})
    logger.info("%s compared at its surface: %d rays, %d points", "Tumour", len(rays.feet_xyz), len(points.distance))
    return InterfaceResult(comparison, _map(rays, [one for _, one in isodoses]))


def _map(rays: Rays, maps: list[IsodoseMap]) -> SurfaceMap:
    return SurfaceMap(
        points_xyz=rays.feet_xyz,
        normals_xyz=rays.normals_xyz,
        percents=tuple(one.percent for one in maps),
        agreement=np.stack([one.agreement for one in maps], axis=1),
        sigma=np.stack([one.sigma for one in maps], axis=1),
    )


def _check(given: InterfaceInput) -> None:
    n = len(given.batches_zyx)
    if n < _LEAST_BATCHES:
        raise ResultError(f"{n} batches found, expected at least {_LEAST_BATCHES} for intervals. Run merge again.")
    if given.batches_zyx.shape[1:] != given.mc.values_zyx.shape:
        raise ResultError("A batch is not on the grid of mc_dose.mha. Run merge again.")
    if not given.prescription_gy > 0:
        raise ResultError(f"A prescription of {given.prescription_gy:g} Gy found, expected more than 0.")
    mean = given.batches_zyx.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise ResultError("A batch holds values that are not numbers. Run merge again.")
    apart = float(np.abs(mean - given.mc.values_zyx).max())
    if apart > _DIFFERENT * float(given.mc.values_zyx.max()):
        raise ResultError(
            f"The mean of the batches differs from mc_dose.mha by up to {apart:.3g} Gy: they are not those that were "
            "merged, or not of equal weight. Run merge again."
        )


def _refused(given: InterfaceInput, notes: list[str], tumour: Surface | None = None) -> InterfaceResult:
    comparison = InterfaceComparison(
        tumour=given.tumour_name,
        cord=given.cord_name,
        relation="not determined",
        tumour_volume_ml=0.0 if tumour is None else tumour.volume / 1000,
        prescription_gy=given.prescription_gy,
        batches=len(given.batches_zyx),
        photons=given.photons,
        calibration_relative_sigma=given.calibration_relative_sigma,
        notes=tuple(notes),
    )
    settings = ComparisonConfig()
    return InterfaceResult(comparison.model_copy(update={"verdicts": decide(comparison, settings)}), None)


def _doses_round(given: InterfaceInput, tumour: Surface, notes: list[str]) -> RegionDoses | None:
    """Both doses on a window round the tumour; None where the Monte Carlo's grid does not hold the tumour."""
    if not is_in_region(tumour.points_xyz, given.mc.grid):
        notes.append(f"{given.tumour_name} is not wholly within the Monte Carlo dose grid, and is not compared.")
        return None
    if given.fine_region is not None and not is_in_region(_grown(tumour, SHELL_EDGES[-1]), given.fine_region):
        notes.append(
            f"{given.tumour_name} and {SHELL_EDGES[-1]:g} mm round it do not lie wholly in the fine voxels; beyond "
            "the dose is that of coarse voxels, in steps. Enlarge patient.fine_region_margin."
        )
    window = window_round(tumour.points_xyz, _REACH + _MARGIN, given.mc.grid)
    if window is None:
        notes.append("The Monte Carlo dose grid has fewer than four voxels along an axis round the tumour.")
        return None
    grid = cropped_grid(given.mc.grid, window)
    batches = np.asarray(given.batches_zyx[(slice(None), *window)], dtype=np.float64)
    if given.tps is None:
        notes.append("No TPS dose: values of the Monte Carlo alone, and nothing to compare them with.")
        return RegionDoses(grid, batches, None, None)
    return _with_tps(given.tps, RegionDoses(grid, batches, None, None), tumour, notes)


def _with_tps(tps: DoseImage, doses: RegionDoses, tumour: Surface, notes: list[str]) -> RegionDoses:
    """With the TPS dose on the same voxels, the window cut to where there is one."""
    if not is_in_region(tumour.points_xyz, tps.grid):
        notes.append("The TPS dose grid does not hold the tumour: values of the Monte Carlo alone.")
        return doses
    if not is_in_region(_grown(tumour, SHELL_EDGES[-1]), tps.grid):
        notes.append(
            f"The TPS dose grid ends within {SHELL_EDGES[-1]:g} mm of the tumour: shells, rays and volumes are of what "
            "lies within it."
        )
    window = window_round(tumour.points_xyz, _REACH + 2 * _MARGIN, tps.grid)
    near = tps if window is None else cropped(tps, window)
    if not np.isfinite(near.values_zyx).all():
        notes.append("The TPS dose round the tumour holds values that are not numbers: the Monte Carlo alone.")
        return doses
    on_mc = averaged_over_voxels(near, doses.grid)
    finite = np.isfinite(on_mc)
    box = tuple(
        slice(int(along.min()), int(along.max()) + 1)
        for along in (np.flatnonzero(finite.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    )
    cut = (box[0], box[1], box[2])
    return RegionDoses(
        grid=cropped_grid(doses.grid, cut),
        batches_zyx=doses.batches_zyx[(slice(None), *cut)],
        tps_zyx=on_mc[cut],
        tps_otherwise_zyx=averaged_over_voxels(read_otherwise(near), doses.grid)[cut],
    )


def _grown(tumour: Surface, margin: float) -> FloatArray:
    return tumour.points_xyz + margin * tumour.normals_xyz


def _cord_round(given: InterfaceInput, tumour: Surface, notes: list[str]) -> Surface | None:
    """The cord's surface near the tumour."""
    if given.cord_mask is None:
        notes.append("No cord: shells are of whatever lies there, and the cord's maximum is not assessed.")
        return None
    mask = VoxelGrid.of(given.tumour_mask)
    margin = 2 * _POINTS_REACH
    first = [round((tumour.points_xyz[:, a].min() - margin - mask.origin[a]) / mask.spacing[a]) for a in range(3)]
    last = [round((tumour.points_xyz[:, a].max() + margin - mask.origin[a]) / mask.spacing[a]) for a in range(3)]
    origin = [mask.origin[a] + first[a] * mask.spacing[a] for a in range(3)]
    size = [last[a] - first[a] + 1 for a in range(3)]
    window = VoxelGrid((size[0], size[1], size[2]), mask.spacing, (origin[0], origin[1], origin[2]))
    name = given.cord_name or "the cord"
    fractions = fractions_around(given.cord_mask, window, name=name)
    cord = surface_of(fractions, is_closed=False)
    if cord is None:
        notes.append(f"{name} does not come within {margin:g} mm of the tumour.")
    return cord


def _rays_within(rays: Rays, grid: VoxelGrid) -> Rays:
    """Rays ended where the doses end."""
    holds = rays.of_rays(is_within(grid, rays.points_xyz))
    index = np.arange(len(rays.marks))
    beyond = np.where(~holds & (rays.marks > 0), index, len(rays.marks)).min(axis=1)
    return dataclasses.replace(rays, last=np.minimum(rays.last, beyond - 1))


def _fit(doses: RegionDoses, tumour: Surface, prescription_gy: float) -> DoseFit | None:
    if doses.tps_zyx is None:
        return None
    grid = doses.grid
    along = [grid.origin[a] + grid.spacing[a] * np.arange(grid.size[a]) for a in (2, 1, 0)]
    mesh = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
    distance = tumour.signed_distance(mesh).reshape(doses.tps_zyx.shape)
    return fit_doses(doses, (distance <= _FIT_REACH) & (doses.tps_zyx >= LEAST_DOSE * prescription_gy))
