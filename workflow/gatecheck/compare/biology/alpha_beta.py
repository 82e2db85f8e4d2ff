"""The alpha/beta of each structure and of each voxel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Structure
from gatecheck.compare.biology.structures import NOT_TISSUE, TARGET_TYPES, is_meant
from gatecheck.config_biology import BiologyConfig

FloatArray = npt.NDArray[np.float64]

RULE = (
    "A voxel belongs to a structure when more than half of the CT is inside at its centre. In several structures it "
    "has the alpha/beta of the one that the configuration lists first; targets come after all that are listed, and "
    "voxels in none of these have the default. A structure's own metrics use its own alpha/beta throughout."
)


@dataclass(frozen=True, slots=True)
class AlphaBeta:
    """A value in Gy, and where it comes from; `rank` orders structures where they overlap, the lowest first."""

    value: float
    source: str
    rank: int


def alpha_beta_of(name: str, interpreted_type: str, settings: BiologyConfig, *, cord: str | None = None) -> AlphaBeta:
    """A structure's alpha/beta: listed by name, else by being a target, else the default.

    Parameters
    ----------
    cord : str, optional
        Name of the structure that is the cord, whatever it is called.
    """
    for rank, entry in enumerate(settings.alpha_beta):
        if is_meant(name, entry.structures, cord=cord):
            return AlphaBeta(entry.value, entry.reference or "configuration", rank)
    if interpreted_type in TARGET_TYPES:
        return AlphaBeta(settings.target_alpha_beta, "target_alpha_beta", len(settings.alpha_beta))
    return AlphaBeta(settings.default_alpha_beta, "default_alpha_beta", len(settings.alpha_beta) + 1)


def alpha_beta_map(
    structures: Sequence[Structure],
    read_mask: Callable[[Structure], sitk.Image],
    settings: BiologyConfig,
    grid: sitk.Image,
    *,
    cord: str | None = None,
) -> FloatArray:
    """The alpha/beta of each voxel of a grid, Gy, by `RULE`; an array indexed [z, y, x].

    Parameters
    ----------
    read_mask : callable
        Gives a structure's inside fractions.
    grid : image
        Only its geometry is used.
    cord : str, optional
        As for `alpha_beta_of`.
    """
    size_x, size_y, size_z = grid.GetSize()
    values = np.full((size_z, size_y, size_x), settings.default_alpha_beta)
    tissue = [one for one in structures if one.mask is not None and one.interpreted_type not in NOT_TISSUE]
    ranked = [(alpha_beta_of(one.name, one.interpreted_type, settings, cord=cord), one) for one in tissue]
    listed = [(found, one) for found, one in ranked if found.rank <= len(settings.alpha_beta)]
    # The first of the list is written last.
    for found, structure in sorted(listed, key=lambda pair: pair[0].rank, reverse=True):
        inside = sitk.Resample(read_mask(structure), grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        values[sitk.GetArrayViewFromImage(inside) > 0.5] = found.value
    return values
