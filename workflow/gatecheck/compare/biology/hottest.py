"""Dose to the hottest part of a structure, as an absolute volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gatecheck.compare.interpolation import interpolated
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
    (value,) = hottest_volume_values(
        interpolated(dose_zyx, points.place_zyx), points.volumes.astype(np.float64), (volume_ml,)
    )
    return value


def hottest_volume_values(values: FloatArray, volumes: FloatArray, volumes_ml: Sequence[float]) -> tuple[float, ...]:
    """The same of any values at points of some volumes (mm3), both of shape (n,), for several volumes at once."""
    total = volumes.sum()
    order = np.argsort(-values)
    middles = np.cumsum(volumes[order]) - volumes[order] / 2
    return tuple(
        float(np.interp(volume * MM3_PER_ML, middles, values[order])) if total >= volume * MM3_PER_ML else float("nan")
        for volume in volumes_ml
    )
