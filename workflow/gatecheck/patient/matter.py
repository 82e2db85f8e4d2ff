"""Density and composition on the grid of the CT, and their averages over the voxels of a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gatecheck.patient.boxes import VoxelGrid
from gatecheck.patient.calibration import AIR_CT_NUMBER, AIR_DENSITY, Calibration
from gatecheck.patient.composition import composition_bin, composition_number_of_density
from gatecheck.patient.materials import Matter
from gatecheck.patient.resample import ImageGrid, average_onto

FloatImage = npt.NDArray[np.float32]

# CT numbers are whole; keeps rounding from moving one that begins a bin of compositions into the bin below.
_ROUNDING = 0.05
# Part of a voxel inside the patient below which it is none, as far as rounding lets one tell.
_NOTHING = 1e-5
# Part of a voxel inside the patient from which on it is no surface voxel.
_WHOLE = 0.99


@dataclass(frozen=True, slots=True)
class MatterOnCt:
    """Density on the grid of the CT, and the mean CT number of Schneider's table carried by mass.

    Attributes
    ----------
    excess_density : ndarray of shape (nz, ny, nx), float32
        Density above that of air, g/cm3: 0 where there is air outside of the body.
    moment : ndarray of shape (nz, ny, nx), float32
        Density times (composition number + 1000): 0 in air.
    kept : ndarray of shape (nz, ny, nx), float32
        Part of each voxel that is not air around the body.
    """

    excess_density: FloatImage
    moment: FloatImage
    kept: FloatImage
    grid: ImageGrid


@dataclass(frozen=True, slots=True)
class Override:
    """A structure whose density is prescribed."""

    inside: FloatImage
    density: float


def matter_on_ct(
    ct_zyx: npt.NDArray[np.number],
    grid: ImageGrid,
    *,
    calibration: Calibration,
    kept: FloatImage,
    overrides: tuple[Override, ...],
) -> MatterOnCt:
    """Turn CT numbers into matter.

    Parameters
    ----------
    ct_zyx : ndarray of shape (nz, ny, nx)
    kept : ndarray of the same shape
        Part of each voxel that is the patient (or a couch that is kept); the rest is air.
    overrides : tuple of Override
        In this order, later ones over earlier ones, whether kept or not.
    """
    scanned = np.empty(ct_zyx.shape, dtype=np.float32)
    number = np.empty(ct_zyx.shape, dtype=np.float32)
    for z, plane in enumerate(ct_zyx):
        density = calibration.density(plane)
        scanned[z] = density - AIR_DENSITY
        number[z] = calibration.composition_number(plane, density)
    excess = _of_the_patient(scanned, kept)
    moment = np.where(kept > 0, (excess + AIR_DENSITY) * (number - AIR_CT_NUMBER), 0).astype(np.float32)
    whole = kept
    for override in overrides:
        whole = np.maximum(whole, override.inside)
        prescribed = float(composition_number_of_density(override.density))
        excess += override.inside * (override.density - AIR_DENSITY - excess)
        moment += override.inside * (override.density * (prescribed - AIR_CT_NUMBER) - moment)
    return MatterOnCt(excess, moment, whole, grid)


def _of_the_patient(scanned: FloatImage, kept: FloatImage) -> FloatImage:
    """Excess density of the patient's part of every voxel.

    The CT number of a voxel at the surface already is that of tissue and air together: its density counts
    in full, but not for more than its part of the patient filled as densely as the patient beside it,
    which leaves out a couch or a mask that lies against the skin.
    """
    inner = np.where(kept >= _WHOLE, scanned, 0)
    beside = ndimage.maximum_filter(inner, size=3, mode="nearest")
    rim = (kept > 0) & (kept < _WHOLE)
    filled = np.where(beside > 0, np.minimum(scanned, kept * beside), kept * scanned)
    return np.where(rim, filled, kept * scanned).astype(np.float32)


def average_matter(matter: MatterOnCt, target: VoxelGrid) -> Matter:
    """Average over the voxels of a box; beyond the CT there is air.

    Density is averaged, not the CT number: density is not linear in it (Schneider's slope changes
    from 1.03e-3 to 0.59e-3 g/cm3), so that the density of a mean CT number has not the mass of the
    voxels it stands for. For the composition the CT number is averaged by mass, because mass
    fractions are: a voxel half bone and half gas consists of bone.
    """
    density = average_onto(target, matter.grid, matter.excess_density) + np.float32(AIR_DENSITY)
    number = average_onto(target, matter.grid, matter.moment) / density + np.float32(AIR_CT_NUMBER)
    return Matter(
        density=density,
        composition=composition_bin(number + np.float32(_ROUNDING)),
        is_outside=average_onto(target, matter.grid, matter.kept) < _NOTHING,
        voxel_volume=target.spacing**3,
    )
