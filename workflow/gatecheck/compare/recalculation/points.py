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
from gatecheck.config_setup import SetupMetric
from gatecheck.errors import ResultError

# Share of the volume about D95, and mm3 of the hottest volume, whose dose's change is taken for that of the metric: 4 %
# to either side, and none to twice as much.
_D95, _D95_BAND = 0.95, 0.04
_HOT_VOLUME = 30.0

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NamedMetric:
    """What a number is of."""

    structure: str
    metric: str
    region: str = ""


@dataclass(frozen=True, slots=True)
class LinearMetric:
    """A number to first order in a small change of the dose: a weighted mean of the change at some points.

    A mean dose is one. The least dose to a volume changes by what the doses that are just it change by; those are
    found in the smoothed dose, once and for all, so that noise of the change adds nothing to the number: the one read
    from a noisier dose would rise (D0.03cc) or fall (D95) by that alone.

    Attributes
    ----------
    points : ndarray of int
        Places among all points.
    weights : ndarray, as many
        Their sum is 1.
    """

    name: NamedMetric
    points: npt.NDArray[np.int64]
    weights: FloatArray

    def of(self, doses: FloatArray) -> float:
        """Of doses, or of a change of doses, at all points."""
        return float(doses[self.points] @ self.weights)


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
        return tuple(NamedMetric(one.name, metric) for one in self.structures for metric in METRICS)

    def linear(self, smooth_doses: FloatArray) -> tuple[LinearMetric, ...]:
        """The metrics of the structures and the means of the shells, by the smoothed dose at the points.

        A structure without the 0.03 ml has no dose to them.
        """
        found, first = [], 0
        for one in self.structures:
            places = np.arange(first, first + len(one.volumes))
            first += len(one.volumes)
            found += [
                LinearMetric(
                    NamedMetric(one.name, metric), places[chosen], one.volumes[chosen] / one.volumes[chosen].sum()
                )
                for metric, chosen in _bands(smooth_doses[places], one.volumes).items()
            ]
        found += [LinearMetric(name, chosen, np.full(len(chosen), 1 / len(chosen))) for name, chosen in self.shells]
        return tuple(found)

    def doses(self, dose_zyx: npt.NDArray[np.floating]) -> FloatArray:
        """At all points, Gy."""
        return interpolated(dose_zyx, self.place_zyx)

    def metrics(self, doses: FloatArray) -> FloatArray:
        """Numbers of the structures from doses at the points, Gy; not a number where there is none."""
        found, first = [], 0
        for one in self.structures:
            last = first + len(one.volumes)
            found.append(metrics_of(doses[first:last], one.volumes))
            first = last
        return np.concatenate(found) if found else np.empty(0)


def _bands(smooth_doses: FloatArray, volumes: FloatArray) -> dict[SetupMetric, npt.NDArray[np.int64]]:
    """Which of a structure's points decide each metric: those whose volume from the hottest down lies about its own."""
    order = np.argsort(-smooth_doses, kind="stable")
    total = float(volumes.sum())
    middles = np.cumsum(volumes[order]) - volumes[order] / 2
    bands: dict[SetupMetric, npt.NDArray[np.int64]] = {"mean_gy": order}
    bands["d95_gy"] = order[np.abs(middles / total - _D95) <= _D95_BAND]
    if total >= _HOT_VOLUME:
        bands["d0_03cc_gy"] = order[middles <= 2 * _HOT_VOLUME]
    return {metric: bands[metric] for metric in METRICS if len(bands.get(metric, ()))}


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
