"""By how much the Monte Carlo's dose is higher, shifted and wider than the TPS's, all at once.

A shift, a wider field and a higher output all raise the dose somewhere on a slope. Read one by one they masquerade as
each other; fitted together round the tumour, from the plateau to the foot of the fall-off, each takes its own part:

    MC(x) = (1 + output) [ T(x - shift) + widening |grad T| ]

with T the TPS dose as the Monte Carlo's voxels see it. T has no noise, so that the fit, linear in the Monte Carlo's
dose, has no bias from noise, and its sigma comes from fitting batches. A blur is left out on purpose: on a tumour of
some mm it is nearly a sum of the others, and would make output and widening unknowable; the width of the fall-off is
measured apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.interface.doses import RegionDoses, at_places
from gatecheck.compare.interface.statistics import MeanOverBatches, mean_over_batches

FloatArray = npt.NDArray[np.float64]

PARAMETERS = ("output", "shift_x", "shift_y", "shift_z", "widening")
"""Fraction; mm, LPS; mm by which every isodose lies further out."""

LEAST_DOSE = 0.2
"""Of the prescription, of voxels that take part."""

_STEP = 0.5
_ITERATIONS = 20
_SETTLED, _LARGEST_LAST_STEP = 1e-5, 1e-3
"""mm, or of the dose: a step after which no more are taken, and one after which the last is not an answer."""

_LARGEST_SHIFT = 5.0
"""mm; beyond, the fit has gone to another part of the dose than the tumour's surroundings."""

_LEAST_VOXELS_PER_PARAMETER = 5
_LARGEST_CONDITION = 1e4


@dataclass(frozen=True, slots=True)
class DoseFit:
    """The fit.

    Attributes
    ----------
    parameters : MeanOverBatches
        Of shape (5,), as PARAMETERS.
    of_batches : ndarray of shape (n, 5)
        From each batch's dose.
    of_grid : ndarray of shape (5,)
        What the fit finds in the TPS dose with its own grid read the other way.
    voxels : int
    residual : float
        Root mean square, Gy, of what the fit leaves, less what noise explains; zero where noise explains all.
    """

    parameters: MeanOverBatches
    of_batches: FloatArray
    of_grid: FloatArray
    voxels: int
    residual: float


def fit_doses(doses: RegionDoses, used_zyx: npt.NDArray[np.bool_]) -> DoseFit | None:
    """Fit the Monte Carlo's dose by the TPS's; None without a TPS dose, or where the fit does not settle.

    It does not where the doses are too plain to tell, or differ by more than the fit describes. The same is asked of
    the fit to the TPS dose read the other way, without which the grid's error is not known.

    Parameters
    ----------
    used_zyx : ndarray of bool
        Voxels that may take part; those on the window's rim never do.
    """
    if doses.tps_zyx is None or doses.tps_otherwise_zyx is None:
        return None
    place = _inner(used_zyx & np.isfinite(doses.tps_zyx))
    if place.shape[1] < _LEAST_VOXELS_PER_PARAMETER * len(PARAMETERS):
        return None
    tps = np.nan_to_num(doses.tps_zyx)
    spacing_zyx = np.array(doses.grid.spacing[::-1])
    index = tuple(place.astype(int))
    target = doses.batches_zyx.mean(axis=0)[index]
    found = _minimum(tps, place, spacing_zyx, target)
    grid = _minimum(tps, place, spacing_zyx, np.nan_to_num(doses.tps_otherwise_zyx)[index])
    if found is None or grid is None:
        return None
    parameters, inverse, model = found
    of_batches = parameters + np.stack([one[index] - target for one in doses.batches_zyx]) @ inverse.T
    noise = np.stack([one[index] for one in doses.batches_zyx]).var(axis=0, ddof=1) / len(doses.batches_zyx)
    rest = float(((target - model) ** 2).sum() / (len(target) - len(PARAMETERS)) - noise.mean())
    return DoseFit(
        parameters=mean_over_batches(of_batches),
        of_batches=of_batches,
        of_grid=grid[0],
        voxels=len(target),
        residual=max(rest, 0.0) ** 0.5,
    )


def _inner(used_zyx: npt.NDArray[np.bool_]) -> FloatArray:
    """Places (3, n) of voxels used that have neighbours on all sides."""
    inner = np.zeros_like(used_zyx)
    inner[1:-1, 1:-1, 1:-1] = used_zyx[1:-1, 1:-1, 1:-1]
    return np.argwhere(inner).T.astype(np.float64)


def _minimum(
    tps_zyx: FloatArray, place: FloatArray, spacing_zyx: FloatArray, target: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Parameters by Gauss and Newton's method, the inverse (5, n) from doses to them, and the model's doses.

    None where they are not told apart, or do not settle.
    """
    parameters: FloatArray = np.zeros(len(PARAMETERS))
    for _ in range(_ITERATIONS):
        model, columns = _model(tps_zyx, place, spacing_zyx, parameters)
        scaled = columns / np.linalg.norm(columns, axis=0).clip(1e-12)
        if not np.linalg.cond(scaled) <= _LARGEST_CONDITION:
            return None
        inverse: FloatArray = np.asarray(np.linalg.pinv(columns), dtype=np.float64)
        step = inverse @ (target - model)
        parameters = parameters + step
        if np.abs(step).max() < _SETTLED:
            break
    if np.abs(step).max() > _LARGEST_LAST_STEP or np.linalg.norm(parameters[1:4]) > _LARGEST_SHIFT:
        return None
    return parameters, inverse, model


def _model(
    tps_zyx: FloatArray, place: FloatArray, spacing_zyx: FloatArray, parameters: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Doses of the model and their derivatives by the parameters, (n,) and (n, 5)."""
    output, widening = parameters[0], parameters[4]
    shifted = place - (parameters[3:0:-1] / spacing_zyx)[:, None]
    values = {}
    for axis in range(3):
        for sign in (-1, 1):
            step = np.zeros((3, 1))
            step[axis] = sign * _STEP / spacing_zyx[axis]
            values[axis, sign] = at_places(tps_zyx, shifted + step)
    middle = at_places(tps_zyx, shifted)
    gradient_xyz = [(values[a, 1] - values[a, -1]) / (2 * _STEP) for a in (2, 1, 0)]
    slope = np.sqrt(sum(g**2 for g in gradient_xyz))
    plain = middle + widening * slope
    columns = [plain, *(-(1 + output) * g for g in gradient_xyz), (1 + output) * slope]
    return (1 + output) * plain, np.stack(columns, axis=1)
