"""The comparison of two doses where a tumour meets the cord: one public entry, one result."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.gamma import GammaCriteria
from gatecheck.compare.interface.cord_maximum import compare_cord_maximum
from gatecheck.compare.interface.decisions import decide
from gatecheck.compare.interface.dose_fit import LEAST_DOSE, DoseFit, fit_doses
from gatecheck.compare.interface.doses import (
    RegionDoses,
    is_within,
    sampled,
)
from gatecheck.compare.interface.gamma_rates import choose_points
from gatecheck.compare.interface.geometry import Surface, fractions_around, surface_of
from gatecheck.compare.interface.isodoses import ISODOSES, IsodoseMap, compare_fall_off, compare_isodose
from gatecheck.compare.interface.joint_fit import described
from gatecheck.compare.interface.model import CordMaximum, InterfaceComparison
from gatecheck.compare.interface.notes import (
    notes_on_grid,
    notes_on_shape,
    notes_on_statistics,
    relation_of,
)
from gatecheck.compare.interface.preparation import (
    POINTS_REACH,
    RAYS_REACH,
    InterfaceInput,
    check,
    cord_of,
    doses_round,
    other_tumours,
)
from gatecheck.compare.interface.profiles import Rays, rays_from
from gatecheck.compare.interface.regions import (
    compare_gamma,
    compare_plateau,
    compare_shells,
    slopes_along,
)
from gatecheck.compare.interface.shells import InterfacePoints, fill
from gatecheck.compare.interface.surface_map import SurfaceMap
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.config_comparison import ComparisonConfig

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_RAYS = 600
_FIT_REACH = 6.0


@dataclass(frozen=True, slots=True)
class InterfaceResult:
    """The comparison, and the map over the tumour's surface where there is one."""

    comparison: InterfaceComparison
    surface_map: SurfaceMap | None


def compare_interface(given: InterfaceInput, settings: ComparisonConfig) -> InterfaceResult:
    """Compare both doses round one tumour.

    What cannot be compared is left out of the result, and its notes say why.

    Raises
    ------
    ResultError
        When the batches are not those of the dose, there are fewer than four, or a mask is damaged.
    """
    check(given)
    fractions = fractions_around(given.tumour_mask, name=given.tumour_name)
    tumour = surface_of(fractions)
    notes = [*notes_on_shape(fractions, given.tumour_name), *notes_on_statistics(len(given.batches_zyx))]
    if tumour is None:
        return _refused(given, settings, [*notes, f"{given.tumour_name} has no volume."])
    doses = doses_round(given, tumour, notes)
    if doses is None:
        return _refused(given, settings, notes, tumour)
    cord = cord_of(given, tumour, notes)
    others = other_tumours(given)
    points = fill(tumour, cord, reach=POINTS_REACH, others=others)
    relation = relation_of(tumour, cord, points)
    within = is_within(doses.grid, points.points_xyz)
    points = points.select(within)
    notes += notes_on_grid(doses, points, given.prescription_gy)
    hottest = compare_cord_maximum(given, (tumour, *others), notes)
    return _compared(given, settings, _Prepared(tumour, doses, points, relation, hottest, tuple(notes)))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that was found round one tumour."""

    tumour: Surface
    doses: RegionDoses
    points: InterfacePoints
    relation: str
    cord_maximum: CordMaximum | None
    notes: tuple[str, ...]


def _compared(given: InterfaceInput, settings: ComparisonConfig, prepared: _Prepared) -> InterfaceResult:
    tumour, doses, points, notes = prepared.tumour, prepared.doses, prepared.points, list(prepared.notes)
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
    rays = _rays_within(rays_from(tumour, count=_RAYS, reach=RAYS_REACH), doses.grid)
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
        notes.append(
            "No fit of shift and widening: the dose is too plain round the tumour, or differs from the TPS's by more "
            "than output, a shift of up to 5 mm and a widening."
        )
    comparison = InterfaceComparison(
        tumour=given.tumour_name,
        cord=given.cord_name,
        relation=prepared.relation,
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
        cord_maximum=prepared.cord_maximum,
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


def _refused(
    given: InterfaceInput, settings: ComparisonConfig, notes: list[str], tumour: Surface | None = None
) -> InterfaceResult:
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
    return InterfaceResult(comparison.model_copy(update={"verdicts": decide(comparison, settings)}), None)


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
