"""Statistical process control of one quantity over many verifications, by the chart that AAPM TG-218 uses for QA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SIGMAS_PER_MOVING_RANGE = 2.660
"""Three standard deviations in mean moving ranges of two: 3 / 1.128 (Montgomery, Statistical Quality Control)."""

FEWEST = 3
ENOUGH = 20
"""Values from which limits are more than provisional (Miften et al., Med. Phys. 45 (2018) e53, section 4.B)."""


@dataclass(frozen=True, slots=True)
class ControlChart:
    """A chart of individual values.

    Attributes
    ----------
    centre : float
        Their mean.
    lower, upper : float
        Limits by the mean moving range: the process's own scatter, that a shift does not widen.
    outside : tuple of int
        Places of values beyond the limits.
    is_provisional : bool
        There are fewer than ENOUGH.
    """

    values: tuple[float, ...]
    centre: float
    lower: float
    upper: float
    outside: tuple[int, ...]
    is_provisional: bool


def control_chart(values: Sequence[float]) -> ControlChart | None:
    """Of values in the order of time; None of fewer than FEWEST."""
    given = np.asarray(values, dtype=np.float64)
    if len(given) < FEWEST:
        return None
    centre = float(given.mean())
    reach = _SIGMAS_PER_MOVING_RANGE * float(np.abs(np.diff(given)).mean())
    rounding = 1e-9 * float(np.abs(given).max())
    outside = np.flatnonzero(np.abs(given - centre) > reach + rounding)
    return ControlChart(
        values=tuple(given.tolist()),
        centre=centre,
        lower=centre - reach,
        upper=centre + reach,
        outside=tuple(int(place) for place in outside),
        is_provisional=len(given) < ENOUGH,
    )
