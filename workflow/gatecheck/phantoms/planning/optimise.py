"""Finds the aperture margin, the meterset over the gantry angle and the total meterset of a clinical case.

Three steps, each of which a reader can check:

1. For a given margin the dose per weight of each gantry angle is calculated in the tumour and in a shell of cord
   and canal round it. The weights are those of bounded least squares that give the tumour one dose and the shell as
   little as possible.
2. The margin is where the tumour's maximum is the wanted multiple of its D95: a wider margin makes the dose flatter.
3. The meterset makes D95 what is prescribed.

D95 and maximum are those of the dose itself at an even lattice in the tumour, not of a dose grid: linear between the
voxels of a dose grid of 1.25 mm, D95 of so small a tumour would be 0.9 Gy less. A cubic spline between them, as
`gatecheck dvh` has, sees what the lattice sees.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, lsq_linear

from gatecheck.phantoms.clinical_case import (
    FRACTIONS,
    WANTED_D95_GY,
    ClinicalCase,
    PlanParameters,
    all_segments,
    dose_engine,
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
_LATTICE = 0.2  # mm; D95 of a tumour of 8 mm moves by 0.2 % with the places of a lattice of 0.4 mm
_SHELL = (3.0, 6.0)  # mm outside the tumour's semi-axes
_SHELL_LATTICE = 1.5
_IMPORTANCE_OF_SHELL = 0.5
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class _Points:
    """Places where dose is calculated, LPS mm.

    Attributes
    ----------
    tumour : ndarray of shape (n, 3)
    shell : ndarray of shape (m, 3)
    """

    tumour: FloatArray
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
    dose = engine.dose(all_segments(case.beams(one_mu)), points.tumour)
    meterset = round(WANTED_D95_GY / FRACTIONS / _covering(dose), 1)
    return one_mu.model_copy(update={"total_meterset": meterset})


def _points_of(neck: Neck) -> _Points:
    """Lattices in the tumour and in the shell."""
    axes = np.array(neck.tumour_semi_axes)
    centre = np.array(neck.tumour_centre)
    inside = _lattice(axes, _LATTICE)
    inside = inside[_within(inside, axes)] + centre
    shell = _lattice(axes + _SHELL[1], _SHELL_LATTICE)
    shell = shell[_within(shell, axes + _SHELL[1]) & ~_within(shell, axes + _SHELL[0])] + centre
    return _Points(inside, shell)


def _lattice(reach: FloatArray, step: float) -> FloatArray:
    axes = [np.arange(-np.ceil(r / step), np.ceil(r / step) + 1) * step for r in reach]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _within(points: FloatArray, semi_axes: FloatArray) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = ((points / semi_axes) ** 2).sum(axis=1) <= 1.0
    return inside


def _weighted(
    case: ClinicalCase, engine: DoseEngine, points: _Points, margin: float
) -> tuple[tuple[float, ...], FloatArray]:
    """Weights of the gantry angles by bounded least squares, and the tumour's dose with them in any unit."""
    even = PlanParameters(aperture_margin=margin, angle_weights=(1.0,) * _ANGLES, total_meterset=1.0)
    segments = all_segments(case.beams(even, control_points=_COARSE_CONTROL_POINTS))
    places = np.concatenate([points.tumour, points.shell])
    metersets = np.array([segment.meterset for segment in segments])
    hats = np.array([_hats(segment.gantry) for segment in segments])
    per_angle = (hats * metersets[:, np.newaxis]).T @ engine.influence(segments, places)
    in_tumour = per_angle[:, : len(points.tumour)].T
    in_shell = per_angle[:, len(points.tumour) :].T
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
