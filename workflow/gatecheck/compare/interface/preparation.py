"""What is read before a tumour's comparison: that its parts fit together, both doses round it, and the cord."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.interface.doses import (
    RegionDoses,
    averaged_over_voxels,
    cropped,
    cropped_grid,
    finite_box,
    read_otherwise,
    window_round,
)
from gatecheck.compare.interface.geometry import Surface, fractions_around, surface_of
from gatecheck.compare.interface.notes import is_in_region
from gatecheck.compare.interface.shells import SHELL_EDGES
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.errors import ResultError

FloatArray = npt.NDArray[np.float64]

RAYS_REACH = 12.0
"""mm outside of the tumour that rays go."""

POINTS_REACH = 6.0
_MARGIN = 6.0
TPS_MARGIN = RAYS_REACH + 2 * _MARGIN
"""mm round the tumour that the doses are looked at in, with what interpolation needs."""

LEAST_BATCHES = 4
_DIFFERENT = 0.005


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
    other_tumour_masks : tuple of images, as those of the tumour
        Of tumours that are compared by themselves: no part of them is normal cord.
    tps_values_at_centres : bool
        The TPS is known to give doses at its voxels' centres; otherwise they may be means over them.
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
    other_tumour_masks: tuple[sitk.Image, ...] = ()
    tps_values_at_centres: bool = False


def check(given: InterfaceInput) -> None:
    """Refuse parts that do not fit together.

    Raises
    ------
    ResultError
    """
    n = len(given.batches_zyx)
    if n < LEAST_BATCHES:
        raise ResultError(f"{n} batches found, expected at least {LEAST_BATCHES} for intervals. Run merge again.")
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


def doses_round(given: InterfaceInput, tumour: Surface, notes: list[str]) -> RegionDoses | None:
    """Both doses on a window round the tumour; None where the Monte Carlo's grid does not hold the tumour."""
    if not is_in_region(tumour.points_xyz, given.mc.grid):
        notes.append(f"{given.tumour_name} is not wholly within the Monte Carlo dose grid, and is not compared.")
        return None
    if given.fine_region is not None and not is_in_region(_grown(tumour, SHELL_EDGES[-1]), given.fine_region):
        notes.append(
            f"{given.tumour_name} and {SHELL_EDGES[-1]:g} mm round it do not lie wholly in the fine voxels; beyond "
            "the dose is that of coarse voxels, in steps. Enlarge patient.fine_region_margin."
        )
    window = window_round(tumour.points_xyz, RAYS_REACH + _MARGIN, given.mc.grid)
    if window is None:
        notes.append("The Monte Carlo dose grid has fewer than four voxels along an axis round the tumour.")
        return None
    grid = cropped_grid(given.mc.grid, window)
    batches = np.asarray(given.batches_zyx[(slice(None), *window)], dtype=np.float64)
    if given.tps is None:
        notes.append("No TPS dose: values of the Monte Carlo alone, and nothing to compare them with.")
        return RegionDoses(grid, batches, None, None)
    return _with_tps(given, given.tps, RegionDoses(grid, batches, None, None), tumour, notes)


def _with_tps(
    given: InterfaceInput,
    tps: DoseImage,
    doses: RegionDoses,
    tumour: Surface,
    notes: list[str],
) -> RegionDoses:
    """With the TPS dose on the same voxels, the window cut to where there is one."""
    if not is_in_region(tumour.points_xyz, tps.grid):
        notes.append("The TPS dose grid does not hold the tumour: values of the Monte Carlo alone.")
        return doses
    if not is_in_region(_grown(tumour, SHELL_EDGES[-1]), tps.grid):
        notes.append(
            f"The TPS dose grid ends within {SHELL_EDGES[-1]:g} mm of the tumour: shells, rays and volumes are of what "
            "lies within it."
        )
    window = window_round(tumour.points_xyz, TPS_MARGIN, tps.grid)
    near = tps if window is None else cropped(tps, window)
    if not np.isfinite(near.values_zyx).all():
        notes.append("The TPS dose round the tumour holds values that are not numbers: the Monte Carlo alone.")
        return doses
    on_mc = averaged_over_voxels(near, doses.grid)
    cut = finite_box(on_mc)
    if cut is None:
        notes.append("No voxel of the Monte Carlo round the tumour lies in the TPS dose grid: the Monte Carlo alone.")
        return doses
    otherwise = read_otherwise(near, at_centres=given.tps_values_at_centres)
    return RegionDoses(
        grid=cropped_grid(doses.grid, cut),
        batches_zyx=doses.batches_zyx[(slice(None), *cut)],
        tps_zyx=on_mc[cut],
        tps_otherwise_zyx=averaged_over_voxels(otherwise, doses.grid)[cut],
    )


def _grown(tumour: Surface, margin: float) -> FloatArray:
    return tumour.points_xyz + margin * tumour.normals_xyz


def other_tumours(given: InterfaceInput) -> tuple[Surface, ...]:
    """The surfaces of the tumours that are compared by themselves; those without volume have none.

    Raises
    ------
    ResultError
        When a mask is damaged.
    """
    found = (surface_of(fractions_around(mask, name="another tumour")) for mask in given.other_tumour_masks)
    return tuple(surface for surface in found if surface is not None)


def cord_of(given: InterfaceInput, tumour: Surface, notes: list[str]) -> Surface | None:
    """The cord's surface near the tumour, where there is one."""
    if given.cord_mask is None:
        notes.append("No cord: shells are of whatever lies there, and the cord's maximum is not assessed.")
        return None
    return cord_round(given.tumour_mask, tumour, given.cord_name or "the cord", given.cord_mask, notes)


def cord_round(
    tumour_mask: sitk.Image, tumour: Surface, name: str, cord_mask: sitk.Image, notes: list[str]
) -> Surface | None:
    """The surface near the tumour of the cord called `name`.

    Raises
    ------
    ResultError
        When its mask is damaged or on other voxels.
    """
    mask = VoxelGrid.of(tumour_mask)
    margin = 2 * POINTS_REACH
    first = [round((tumour.points_xyz[:, a].min() - margin - mask.origin[a]) / mask.spacing[a]) for a in range(3)]
    last = [round((tumour.points_xyz[:, a].max() + margin - mask.origin[a]) / mask.spacing[a]) for a in range(3)]
    origin = [mask.origin[a] + first[a] * mask.spacing[a] for a in range(3)]
    size = [last[a] - first[a] + 1 for a in range(3)]
    window = VoxelGrid((size[0], size[1], size[2]), mask.spacing, (origin[0], origin[1], origin[2]))
    fractions = fractions_around(cord_mask, window, name=name)
    cord = surface_of(fractions, is_closed=False)
    if cord is None:
        notes.append(f"{name} does not come within {margin:g} mm of the tumour.")
    return cord
