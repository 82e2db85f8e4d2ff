"""Finds the aperture margin, the meterset over the gantry angle and the total meterset of a clinical case.

Three steps, each of which a reader can check:

1. For a given margin the dose per weight of each gantry angle is calculated in the tumour and in a shell of cord
   and canal round it. The weights are those of bounded least squares that give the tumour one dose and the shell as
   little as possible.
2. The margin is where the tumour's maximum is the wanted multiple of its D95: a wider margin makes the dose flatter.
3. The meterset makes D95 what is prescribed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, lsq_linear

from gatecheck.phantoms.clinical_case import (
    CONTROL_POINTS,
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
_MARGINS = (-0.4, 0.4)
_MARGIN_TOLERANCE = 0.02
_COARSE_CONTROL_POINTS = 60  # of each arc, for all but the last step
_LATTICE = 0.6
_SHELL = (3.0, 6.0)  # mm outside the tumour's semi-axes
_IMPORTANCE_OF_SHELL = 0.5
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class _Points:
    tumour: FloatArray
    shell: FloatArray


def optimised(case: ClinicalCase) -> PlanParameters:
    """The plan parameters for a case's aims; the same on every run.

    Raises
    ------
    ValueError
        When no margin within 0.4 mm gives the wanted maximum.
    """
    engine = dose_engine(case, case.ct())
    points = _points_of(case.neck)
    wanted = case.wanted_maximum_gy / WANTED_D95_GY

    def excess(margin: float) -> float:
        weights = _angle_weights(case, engine, points, margin)
        ratio = _ratio(
            _dose(case, engine, points.tumour, margin=margin, weights=weights, control_points=_COARSE_CONTROL_POINTS)
        )
        logger.info("margin %.3f mm: maximum %.3f of D95, %.3f wanted", margin, ratio, wanted)
        return ratio - wanted

    margin = round(brentq(excess, *_MARGINS, xtol=_MARGIN_TOLERANCE), 2)
    weights = _angle_weights(case, engine, points, margin)
    per_mu = _dose(case, engine, points.tumour, margin=margin, weights=weights, control_points=CONTROL_POINTS)
    meterset = round(WANTED_D95_GY / FRACTIONS / _covering(per_mu), 1)
    return PlanParameters(aperture_margin=margin, angle_weights=weights, total_meterset=meterset)


def _points_of(neck: Neck) -> _Points:
    """Even lattices in the tumour and in the shell."""
    reach = np.array(neck.tumour_semi_axes) + _SHELL[1]
    axes = [np.arange(-np.ceil(r / _LATTICE), np.ceil(r / _LATTICE) + 1) * _LATTICE for r in reach]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)

    def within(margin: float) -> npt.NDArray[np.bool_]:
        inside: npt.NDArray[np.bool_] = ((lattice / (np.array(neck.tumour_semi_axes) + margin)) ** 2).sum(axis=1) <= 1.0
        return inside

    centre = np.array(neck.tumour_centre)
    shell = within(_SHELL[1]) & ~within(_SHELL[0])
    return _Points(lattice[within(0.0)] + centre, lattice[shell][::8] + centre)


def _angle_weights(case: ClinicalCase, engine: DoseEngine, points: _Points, margin: float) -> tuple[float, ...]:
    """Bounded least squares: one dose in the tumour, none in the shell."""
    even = PlanParameters(aperture_margin=margin, angle_weights=(1.0,) * _ANGLES, total_meterset=1.0)
    segments = all_segments(case.beams(even, control_points=_COARSE_CONTROL_POINTS))
    places = np.concatenate([points.tumour[::4], points.shell])
    per_segment = (
        engine.influence(segments, places) * np.array([segment.meterset for segment in segments])[:, np.newaxis]
    )
    hats = np.array([_hats(segment.gantry) for segment in segments])
    columns = (hats.T @ per_segment).T
    columns /= columns[: len(points.tumour[::4])].sum(axis=1).mean()
    in_tumour = len(points.tumour[::4])
    importance = np.concatenate(
        [
            np.full(in_tumour, in_tumour**-0.5),
            np.full(len(points.shell), (_IMPORTANCE_OF_SHELL / len(points.shell)) ** 0.5),
        ]
    )
    wanted = np.concatenate([np.ones(in_tumour), np.zeros(len(points.shell))])
    found = lsq_linear(columns * importance[:, np.newaxis], wanted * importance, bounds=_WEIGHT_BOUNDS)
    relative = found.x / found.x.mean()
    return tuple(round(float(weight), _DECIMALS) for weight in relative)


def _hats(gantry: float) -> FloatArray:
    """How much each angle's weight counts at a gantry angle: linear interpolation round the circle."""
    place = gantry % 360.0 / 360.0 * _ANGLES
    distance = np.abs((np.arange(_ANGLES) - place + _ANGLES / 2) % _ANGLES - _ANGLES / 2)
    hats: FloatArray = np.maximum(1.0 - distance, 0.0)
    return hats


def _dose(
    case: ClinicalCase,
    engine: DoseEngine,
    points_xyz: FloatArray,
    *,
    margin: float,
    weights: tuple[float, ...],
    control_points: int,
) -> FloatArray:
    """Gy per fraction at one MU in total."""
    parameters = PlanParameters(aperture_margin=margin, angle_weights=weights, total_meterset=1.0)
    return engine.dose(all_segments(case.beams(parameters, control_points=control_points)), points_xyz)


def _covering(dose: FloatArray) -> float:
    """D95 of an even lattice."""
    return float(np.percentile(dose, 5))


def _ratio(dose: FloatArray) -> float:
    return float(dose.max()) / _covering(dose)
