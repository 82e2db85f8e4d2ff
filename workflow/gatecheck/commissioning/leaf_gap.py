"""The dosimetric leaf gap from sweeping gaps, after LoSasso, Chui and Ling (Med. Phys. 25 (1998) 1919)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GapLine:
    """The straight line through the doses of sweeping gaps.

    Attributes
    ----------
    leaf_gap : float
        Dosimetric leaf gap: minus the gap at which the line reaches zero, mm.
    slope : float
        Effective gap per planned gap; 1 when scatter does not depend on the gap.
    effective : ndarray of shape (n_gaps,)
        Gap that would give the dose without the leaves' transmission, mm.
    """

    leaf_gap: float
    slope: float
    effective: FloatArray


def effective_gaps(
    gaps: npt.ArrayLike, relative_dose: npt.ArrayLike, travel: npt.ArrayLike, transmission: float
) -> FloatArray:
    """Gaps, mm, that the doses stand for once what the leaves let through is taken off.

    Parameters
    ----------
    gaps : array_like of shape (n_gaps,)
        As planned, mm.
    relative_dose : array_like of shape (n_gaps,)
        Dose per MU relative to the open field.
    travel : array_like of shape (n_gaps,)
        Way of each gap during the meterset, mm.
    transmission : float
        Mean of closed leaves, relative to the open field; a point sees it while the gap is elsewhere.
    """
    planned, dose, way = (np.asarray(values, dtype=float) for values in (gaps, relative_dose, travel))
    return np.asarray((dose - transmission * (1.0 - planned / way)) * way)


def gap_line(gaps: npt.ArrayLike, relative_dose: npt.ArrayLike, travel: npt.ArrayLike, transmission: float) -> GapLine:
    """Fit effective against planned gaps; each dose counts with the inverse of its own square (equal per cent).

    Parameters as `effective_gaps`.

    Raises
    ------
    ValueError
        For fewer than two different gaps.
    """
    planned = np.asarray(gaps, dtype=float)
    if len(np.unique(planned)) < 2:
        raise ValueError(f"{len(np.unique(planned))} different gaps found, expected two or more")
    effective = effective_gaps(gaps, relative_dose, travel, transmission)
    columns = np.stack([np.ones_like(planned), planned], axis=1) / effective[:, np.newaxis]
    intercept, slope = np.linalg.lstsq(columns, np.ones_like(planned), rcond=None)[0]
    return GapLine(leaf_gap=float(intercept / slope), slope=float(slope), effective=effective)
