"""What a reader has to know about one tumour's comparison before its numbers: what is missing, small or coarse."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from gatecheck.compare.interface.doses import RegionDoses, is_within
from gatecheck.compare.interface.geometry import Fractions, Surface
from gatecheck.compare.interface.shells import SHELL_EDGES, InterfacePoints
from gatecheck.compare.sampling import VoxelGrid

_INSIDE, _APART = 0.95, 0.02
_TOUCHING = 1.0
_LARGEST_VOXEL = 2.0
_COARSE_ERROR = 1.0
_FEWEST_BATCHES = 10
_SMALLEST_TUMOUR = 27


def relation_of(tumour: Surface, cord: Surface | None, tumour_points: InterfacePoints) -> str:
    """How the tumour lies to the cord, in words."""
    if cord is None:
        return "no cord to compare with"
    inside = tumour_points.points_xyz[tumour_points.distance < 0]
    share = float((cord.signed_distance(inside) < 0).mean()) if len(inside) else 0.0
    gap = float(cord.signed_distance(tumour.points_xyz).min())
    if share >= _INSIDE:
        return "inside the cord"
    if share > _APART:
        return f"partly in the cord: {100 * share:.0f} % of its volume"
    if gap <= _TOUCHING:
        return f"against the cord: it only touches it, {100 * share:.0f} % of its volume overlap"
    return f"apart from the cord by {gap:.1f} mm"


def notes_on_shape(fractions: Fractions, name: str) -> list[str]:
    """Holes, separate pieces, and too few voxels."""
    inside = fractions.values_zyx > 0.5
    notes = []
    if np.count_nonzero(inside) < _SMALLEST_TUMOUR:
        notes.append(
            f"{name} is {np.count_nonzero(inside)} CT voxels large: its surface is known to about a third of a voxel, "
            "and distances from it no better."
        )
    pieces = scipy.ndimage.label(inside)[1]
    if pieces > 1:
        notes.append(f"{name} has {pieces} separate pieces; distances are from the nearest of them.")
    if np.count_nonzero(scipy.ndimage.binary_fill_holes(inside)) > np.count_nonzero(inside):
        notes.append(
            f"{name} has a hole: its inner wall is a part of its surface, and what lies in the hole counts as outside."
        )
    return notes


def notes_on_grid(doses: RegionDoses, points: InterfacePoints, prescription_gy: float) -> list[str]:
    """Voxels too coarse for the fall of the dose, with the error to expect."""
    spacing = doses.grid.spacing
    dose = doses.tps_zyx if doses.tps_zyx is not None else doses.batches_zyx.mean(axis=0)
    notes = []
    if doses.tps_zyx is not None:
        # A voxel's mean differs from the value at its centre by h^2 / 24 of the second derivative along each axis.
        bend = sum(scipy.ndimage.correlate1d(dose, [1.0, -2.0, 1.0], axis=axis, mode="nearest") for axis in range(3))
        index = np.rint((points.points_xyz - np.array(doses.grid.origin)) / np.array(spacing)).astype(int)
        index = np.clip(index, 0, np.array(doses.grid.size) - 1)
        near = np.abs(points.distance) <= SHELL_EDGES[-1]
        z, y, x = index[near].T[::-1]
        error = 100 / prescription_gy * float(np.abs(np.asarray(bend)[z, y, x]).max(initial=0.0)) / 24
        if error > _COARSE_ERROR:
            notes.append(
                f"Monte Carlo voxels of {_by(spacing)} mm flatten the dose by up to {error:.1f} % of the prescription. "
                "Both doses are compared as these voxels see them, so that differences hold; absolute doses do not."
            )
    if max(spacing) > _LARGEST_VOXEL + 1e-6:
        notes.append(
            f"Monte Carlo voxels of {_by(spacing)} mm: AAPM TG-101 (Benedict et al., Med. Phys. 37 (2010) 4078) asks "
            "for 2 mm or less where the dose falls as steeply as here."
        )
    return notes


def notes_on_statistics(batches: int) -> list[str]:
    """Few batches."""
    if batches >= _FEWEST_BATCHES:
        return []
    return [f"{batches} batches: intervals are wide because sigma itself is known to {_of_sigma(batches):.0f} % only."]


def _of_sigma(batches: int) -> float:
    return 100 / math.sqrt(2 * (batches - 1))


def is_in_region(points_xyz: npt.NDArray[np.float64], region: VoxelGrid) -> bool:
    """Whether all points lie within a grid's outermost centres."""
    return bool(is_within(region, points_xyz).all())


def _by(spacing: tuple[float, float, float]) -> str:
    return " x ".join(f"{one:g}" for one in spacing)
