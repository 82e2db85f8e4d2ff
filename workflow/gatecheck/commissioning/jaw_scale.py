"""Where the jaws really stand: the scale of their positions that the measured field widths ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatecheck.commissioning.judgement import Judged


@dataclass(frozen=True, slots=True)
class JawScale:
    """The position scale of both jaw pairs, by which machine.yaml is to be corrected.

    Attributes
    ----------
    assumed : float
        Of the machine that was simulated.
    value, uncertainty : float
        What the widths ask for, with its standard uncertainty.
    widths : int
        How many there are.
    """

    assumed: float
    value: float
    uncertainty: float
    widths: int

    @property
    def differs(self) -> bool:
        """Whether the widths say that the machine's scale is another, by two standard uncertainties."""
        return abs(self.value - self.assumed) > 2.0 * self.uncertainty


def jaw_scale(judged: Sequence[Judged], *, assumed: float) -> JawScale | None:
    """The scale from measured over simulated widths, a straight line through zero; None without any width.

    A field's width goes with the position of its jaws, and the dose elsewhere hardly changes with a scale of some
    thousandths: it needs no new simulation. Its uncertainty is that of the widths, more where they scatter more.
    """
    pairs = [
        (one.observation.value, one.simulated.value, float(np.hypot(one.observation.sigma, one.simulated.sigma)))
        for one in judged
        if one.observation.quantity == "width_50"
    ]
    if not pairs:
        return None
    measured, simulated, sigma = np.array(pairs).T
    weight = float((simulated**2 / sigma**2).sum())
    ratio = float((measured * simulated / sigma**2).sum()) / weight
    freedom = max(len(pairs) - 1, 1)
    chi_squared = float((((measured - ratio * simulated) / sigma) ** 2).sum())
    uncertainty = max(chi_squared / freedom, 1.0) ** 0.5 / weight**0.5
    return JawScale(assumed, assumed * ratio, assumed * uncertainty, len(pairs))
