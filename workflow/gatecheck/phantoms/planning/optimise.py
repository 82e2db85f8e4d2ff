"""Finds the aperture margin, the meterset over the gantry angle and the total meterset of a clinical case.

Three steps, each of which a reader can check:

1. For a given margin the dose per weight of each gantry angle is calculated in the tumour and in a shell of cord
   and canal round it. The weights are those of bounded least squares that give the tumour one dose and the shell as
   little as possible.
2. The margin is where the tumour's maximum is the wanted multiple of its D95: a wider margin makes the dose flatter.
3. The meterset makes D95 what is prescribed.

D95 and maximum are those of the dose grid that is written, linear between its voxels, as a planning system's
histogram sees them. In so small a tumour that is not the same: D95 is 0.5 Gy less than without a grid.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, lsq_linear
from scipy.sparse import csr_array

from gatecheck.phantoms.clinical_case import (
    FRACTIONS,
    WANTED_D95_GY,
    ClinicalCase,
    PlanParameters,
    all_segments,
    dose_engine,
    dose_raster,
)
from gatecheck.phantoms.neck import Neck
from gatecheck.phantoms.planning.engine import DoseEngine

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

_ANGLES = 12
_WEIGHT_BOUNDS = (0.6, 1.6)
_MARGINS = (-0.3, 0.3)
_MARGIN_TOLERANCE = 0.02
_COARSE_CONTROL_POINTS = 40  # of each arc, for all but the last step
_LATTICE = 0.15  # mm; D95 of a tumour of 8 mm moves by 0.2 % with the places of a lattice of 0.4 mm
_AROUND = 2.5  # mm of dose grid round the tumour
_SHELL = (3.0, 6.0)  # mm outside the tumour's semi-axes
_SHELL_LATTICE = 1.5
_IMPORTANCE_OF_SHELL = 0.5
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class _Points:
    """Places where dose is calculated, LPS mm.

    Attributes
    ----------
    grid : ndarray of shape (n, 3)
        Voxels of the dose grid round the tumour.
    to_tumour : sparse matrix of shape (n_lattice, n)
        From dose in them to dose on an even lattice in the tumour.
    shell : ndarray of shape (m, 3)
    """

    grid: FloatArray
    to_tumour: csr_array
    shell: FloatArray


def optimised(case: ClinicalCase) -> PlanParameters:
    """The plan parameters for a case's aims; the same on every run.

    Raises
    ------
    ValueError
        When no margin within 0.3 mm gives the wanted maximum.
    """
    engine = dose_engine(case, case.ct())
    points = _points_of(case.neck)
    wanted = case.wanted_maximum_gy / WANTED_D95_GY

    def excess(margin: float) -> float:
        _, dose = _weighted(case, engine, points, margin)
        ratio = float(dose.max()) / _covering(dose)
        logger.info("margin %.3f mm: maximum %.3f of D95, %.3f wanted", margin, ratio, wanted)
        return ratio - wanted

    margin = round(brentq(excess, *_MARGINS, xtol=_MARGIN_TOLERANCE), 2)
    weights, _ = _weighted(case, engine, points, margin)
    one_mu = PlanParameters(aperture_margin=margin, angle_weights=weights, total_meterset=1.0)
    dose = points.to_tumour @ engine.dose(all_segments(case.beams(one_mu)), points.grid)
    meterset = round(WANTED_D95_GY / FRACTIONS / _covering(dose), 1)
    return one_mu.model_copy(update={"total_meterset": meterset})


def _points_of(neck: Neck) -> _Points:
    """The dose grid round the tumour, a lattice in it and one in the shell."""
    axes = np.array(neck.tumour_semi_axes)
    centre = np.array(neck.tumour_centre)
    inside = _lattice(axes, _LATTICE)
    inside = inside[_within(inside, axes)] + centre
    shell = _lattice(axes + _SHELL[1], _SHELL_LATTICE)
    shell = shell[_within(shell, axes + _SHELL[1]) & ~_within(shell, axes + _SHELL[0])] + centre
    raster = dose_raster(neck)
    near = [np.flatnonzero(np.abs(raster.centres(axis) - centre[axis]) < axes[axis] + _AROUND) for axis in range(3)]
    nodes = [raster.centres(axis)[near[axis]] for axis in range(3)]
    grid = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    return _Points(grid, _linear(nodes, inside), shell)


def _lattice(reach: FloatArray, step: float) -> FloatArray:
    axes = [np.arange(-np.ceil(r / step), np.ceil(r / step) + 1) * step for r in reach]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _within(points: FloatArray, semi_axes: FloatArray) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = ((points / semi_axes) ** 2).sum(axis=1) <= 1.0
    return inside


def _linear(nodes: list[FloatArray], points: FloatArray) -> csr_array:
    """Weights of linear interpolation from a grid's nodes, flattened in the order of the axes, to points."""
    cells, fractions = [], []
    for axis, positions in enumerate(nodes):
        cell = np.clip(np.searchsorted(positions, points[:, axis], side="right") - 1, 0, len(positions) - 2)
        cells.append(cell)
        fractions.append((points[:, axis] - positions[cell]) / (positions[cell + 1] - positions[cell]))
    shape = [len(positions) for positions in nodes]
    rows, columns, values = [], [], []
    for corner in itertools.product((0, 1), repeat=3):
        rows.append(np.arange(len(points)))
        columns.append(np.ravel_multi_index([cell + step for cell, step in zip(cells, corner, strict=True)], shape))
        shares = [f if step else 1 - f for f, step in zip(fractions, corner, strict=True)]
        values.append(shares[0] * shares[1] * shares[2])
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(entries, shape=(len(points), int(np.prod(shape))))


def _weighted(
    case: ClinicalCase, engine: DoseEngine, points: _Points, margin: float
) -> tuple[tuple[float, ...], FloatArray]:
    """Weights of the gantry angles by bounded least squares, and the tumour's dose with them in any unit."""
    even = PlanParameters(aperture_margin=margin, angle_weights=(1.0,) * _ANGLES, total_meterset=1.0)
    segments = all_segments(case.beams(even, control_points=_COARSE_CONTROL_POINTS))
    places = np.concatenate([points.grid, points.shell])
    metersets = np.array([segment.meterset for segment in segments])
    hats = np.array([_hats(segment.gantry) for segment in segments])
    per_angle = (hats * metersets[:, np.newaxis]).T @ engine.influence(segments, places)
    in_tumour = points.to_tumour @ per_angle[:, : len(points.grid)].T
    in_shell = per_angle[:, len(points.grid) :].T
    unit = in_tumour.sum(axis=1).mean()
    columns = np.concatenate(
        [in_tumour / len(in_tumour) ** 0.5, in_shell * (_IMPORTANCE_OF_SHELL / len(in_shell)) ** 0.5]
    )
    wanted = np.concatenate([np.full(len(in_tumour), len(in_tumour) ** -0.5), np.zeros(len(in_shell))])
    found = lsq_linear(columns / unit, wanted, bounds=_WEIGHT_BOUNDS).x
    weights = tuple(round(float(weight), _DECIMALS) for weight in found / found.mean())
    return weights, in_tumour @ np.array(weights)


def _hats(gantry: float) -> FloatArray:
    """How much each angle's weight counts at a gantry angle: linear interpolation round the circle."""
    place = gantry % 360.0 / 360.0 * _ANGLES
    distance = np.abs((np.arange(_ANGLES) - place + _ANGLES / 2) % _ANGLES - _ANGLES / 2)
    hats: FloatArray = np.maximum(1.0 - distance, 0.0)
    return hats


def _covering(dose: FloatArray) -> float:
    """D95 of an even lattice."""
    return float(np.percentile(dose, 5))
