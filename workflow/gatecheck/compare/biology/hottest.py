"""Dose to the hottest part of a structure, as an absolute volume."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatecheck.compare.sampling import PlacedPoints

FloatArray = npt.NDArray[np.float64]

MM3_PER_ML = 1000.0


def hottest_volume_dose(points: PlacedPoints, dose_zyx: npt.NDArray[np.floating], volume_ml: float) -> float:
    """Least dose to the `volume_ml` that receives most (D0.03cc is `hottest_volume_dose(points, dose, 0.03)`).

    Returns
    -------
    float
        Gy; not a number for a structure that is smaller than that.
    """
    return hottest_volume_value(points.dose(dose_zyx), points.volumes.astype(np.float64), volume_ml)


def hottest_volume_value(values: FloatArray, volumes: FloatArray, volume_ml: float) -> float:
    """The same of any values at points of some volumes (mm3), both of shape (n,)."""
    wanted = volume_ml * MM3_PER_ML
    if not len(values) or volumes.sum() < wanted:
        return float("nan")
    order = np.argsort(-values, kind="stable")
    middles = np.cumsum(volumes[order]) - volumes[order] / 2
    return float(np.interp(wanted, middles, values[order]))
