"""Where a change of the dose is looked at: structures, and shells round the tumour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Case, Structure
from gatecheck.case.storage import read_mask
from gatecheck.compare.biology.structures import Roles
from gatecheck.compare.interface.geometry import fractions_around, surface_of
from gatecheck.compare.interface.preparation import POINTS_REACH, cord_round
from gatecheck.compare.interface.shells import fill, shells_of
from gatecheck.compare.interpolation import interpolated
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.compare.setup_errors.followed import METRICS, FollowedStructure, follow_all, metrics_of
from gatecheck.errors import ResultError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NamedMetric:
    """What a number is of."""

    structure: str
    metric: str
    region: str = ""


@dataclass(frozen=True, slots=True)
class PlacesToLook:
    """Points of structures and of shells, and what is read from the doses there.

    Attributes
    ----------
    place_zyx : ndarray of shape (3, n), float32
        In voxels of the dose's grid: of all structures' points, then of the shells'.
    structures : tuple of FollowedStructure
    shells : tuple of (NamedMetric, ndarray of int)
        With places among all points.
    """

    place_zyx: Float32Array
    structures: tuple[FollowedStructure, ...]
    shells: tuple[tuple[NamedMetric, npt.NDArray[np.int64]], ...]

    @property
    def names(self) -> tuple[NamedMetric, ...]:
        """Of the numbers of `metrics`, in their order."""
        whole = [NamedMetric(one.name, metric) for one in self.structures for metric in METRICS]
        return (*whole, *(name for name, _ in self.shells))

    def doses(self, dose_zyx: npt.NDArray[np.floating]) -> FloatArray:
        """At all points, Gy."""
        return interpolated(dose_zyx, self.place_zyx)

    def metrics(self, doses: FloatArray) -> FloatArray:
        """All numbers of doses at the points, Gy; not a number where there is none."""
        found, first = [], 0
        for one in self.structures:
            last = first + len(one.volumes)
            found.append(metrics_of(doses[first:last], one.volumes))
            first = last
        return np.concatenate([*found, np.array([doses[chosen].mean() for _, chosen in self.shells])])


def places_to_look(
    *, case_folder: Path, case: Case, roles: Roles, more: Sequence[str], dose: sitk.Image, notes: list[str]
) -> PlacesToLook:
    """Tumour, cord, the cord outside the tumour, further structures by name, and shells round every tumour.

    Without a tumour and a cord all structures that have a volume are looked at.

    Parameters
    ----------
    notes : list of str
        What is missing is added.

    Raises
    ------
    ResultError
        When a mask is missing or damaged.
    """
    grid = VoxelGrid.of(dose)
    if not roles.tumours and roles.cord is None:
        more = [one.name for one in case.structures if one.mask is not None]
    structures = follow_all(
        case_folder=case_folder,
        case=case,
        roles=roles,
        more=more,
        dose_zyx=sitk.GetArrayViewFromImage(dose),
        grid=grid,
        notes=notes,
    )
    points = [one.points_xyz.astype(np.float64) for one in structures]
    shells: list[tuple[NamedMetric, npt.NDArray[np.int64]]] = []
    for tumour in roles.tumours:
        filled = sum(len(one) for one in points)
        found = _shells_round(case_folder, tumour, roles, notes)
        if found is None:
            continue
        round_tumour, named = found
        within = grid.holds(round_tumour)
        points.append(round_tumour)
        kept = [(name, np.flatnonzero(chosen & within) + filled) for name, chosen in named]
        shells += [(name, chosen) for name, chosen in kept if len(chosen)]
    if not points:
        raise ResultError("No structure lies within the Monte Carlo dose: there is nothing to look at.")
    index_xyz = (np.concatenate(points) - np.array(grid.origin)) / np.array(grid.spacing)
    return PlacesToLook(np.ascontiguousarray(index_xyz[:, ::-1].T, np.float32), tuple(structures), tuple(shells))


def _shells_round(
    case_folder: Path, tumour: Structure, roles: Roles, notes: list[str]
) -> tuple[FloatArray, list[tuple[NamedMetric, npt.NDArray[np.bool_]]]] | None:
    """Points round one tumour, and the shells that they are in; those of the cord are named so."""
    mask = read_mask(case_folder, tumour)
    surface = surface_of(fractions_around(mask, name=tumour.name))
    if surface is None:
        notes.append(f"{tumour.name} has no volume: no shells.")
        return None
    cord = None
    if roles.cord is not None:
        cord = cord_round(mask, surface, roles.cord.name, read_mask(case_folder, roles.cord), notes)
    masks = [read_mask(case_folder, one) for one in roles.tumours if one is not tumour]
    others = [found for one in masks if (found := surface_of(fractions_around(one, name="another tumour"))) is not None]
    points = fill(surface, cord, reach=POINTS_REACH, others=others)
    shells = shells_of(points, has_cord=bool(points.in_cord.any()))
    return points.points_xyz, [
        (
            NamedMetric(tumour.name, "mean_gy", f"{shell.name}, cord" if shell.region == "cord" else shell.name),
            shell.chosen,
        )
        for shell in shells
    ]
