"""Leaf density and leaf gap offset from a stated transmission and a stated dosimetric leaf gap.

Each is one step of Newton's method: the logarithm of the transmission is straight in the leaves' density, the
dosimetric leaf gap in the offset. The slope is measured by a second simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gatecheck.commissioning.analysis import Estimate
from gatecheck.commissioning.beam_data import BeamData, DosimetricLeafGap, LeafTransmission
from gatecheck.commissioning.leaf_checks import transmission_and_gap
from gatecheck.commissioning.water.electron_library import ElectronLibrary
from gatecheck.errors import InputError
from gatecheck.linac.model import LinacModel

Progress = Callable[[str, int, int], None]

DENSITY = "mlc.alloy.density"
GAP_OFFSET = "mlc.physical_gap_offset"

_DENSITY_STEP = 0.5  # g/cm3
_OFFSET_STEP = 0.4  # mm
# Tungsten alloys of which leaves are made have 17 to 18.5 g/cm3; beyond this, something else is wrong.
_DENSITIES = (16.0, 19.3)
_LARGEST_OFFSET = 2.0  # mm
# An offset below 0, which closed leaves cannot have, is 0 where it may be by its uncertainty; otherwise it is refused.
_SIGMAS_BELOW = 2.0


@dataclass(frozen=True, slots=True)
class FittedLeafValue:
    """One value of machine.yaml.

    Attributes
    ----------
    name : str
        Its place in machine.yaml.
    value, start : float
    uncertainty : float
        From the stated value's sigma and both simulations'.
    unit : str
    stated, simulated : Estimate
        What it was fitted to: in the beam data, and simulated with `start`.
    slope : float
        Change of what it was fitted to (for the density: of its natural logarithm) per unit.
    """

    name: str
    value: float
    uncertainty: float
    unit: str
    start: float
    stated: Estimate
    simulated: Estimate
    slope: float


def with_density(linac: LinacModel, density: float) -> LinacModel:
    """The machine with another density of its leaves, g/cm3."""
    alloy = linac.machine.mlc.alloy.model_copy(update={"density": density})
    return _with_mlc(linac, {"alloy": alloy})


def with_gap_offset(linac: LinacModel, offset: float) -> LinacModel:
    """The machine with another physical gap offset, mm."""
    return _with_mlc(linac, {"physical_gap_offset": offset})


def with_interleaf_gap(linac: LinacModel, gap: float) -> LinacModel:
    """The machine with another air gap between neighbouring leaves, mm at their mid-height."""
    return _with_mlc(linac, {"interleaf_gap": gap})


def _with_mlc(linac: LinacModel, changes: dict[str, object]) -> LinacModel:
    mlc = linac.machine.mlc.model_copy(update=changes)
    return linac.model_copy(update={"machine": linac.machine.model_copy(update={"mlc": mlc})})


def fit_leaves(
    linac: LinacModel,
    data: BeamData,
    library: ElectronLibrary,
    *,
    share: float = 1.0,
    processes: int = 1,
    progress: Progress | None = None,
) -> tuple[FittedLeafValue, ...]:
    """Fit what the beam data state: the leaves' density to a transmission, then the gap offset to a leaf gap.

    Nothing is simulated when they state neither. Several values of one kind count as their mean. A gap offset that
    comes out below 0 by no more than two of its sigma is 0.

    Parameters
    ----------
    share : float
        Of the usual number of photons.

    Raises
    ------
    InputError
        When a stated value asks for a density or an offset that no MLC has: closed leaves cannot stand in each other.
    SimulationError
    """

    def simulated(what: str, machine: LinacModel) -> tuple[Estimate, Estimate]:
        def say(done: int, total: int) -> None:
            if progress is not None:
                progress(what, done, total)

        return transmission_and_gap(machine, library, share=share, processes=processes, progress=say)

    fitted: list[FittedLeafValue] = []
    if not (data.leaf_transmissions or data.leaf_gaps):
        return ()
    transmission, gap = simulated("leaves", linac)
    if data.leaf_transmissions:
        start = linac.machine.mlc.alloy.density
        denser, _ = simulated("denser leaves", with_density(linac, start + _DENSITY_STEP))
        stated = stated_value(data.leaf_transmissions)
        logarithms = [_logarithm(one) for one in (transmission, denser, stated)]
        value, uncertainty, slope = one_step(start, _DENSITY_STEP, *logarithms)
        because = f"a leaf transmission of {stated.value:g}"
        _check(DENSITY, value, _DENSITIES, unit="g/cm3", because=because, source=data.source)
        fitted.append(FittedLeafValue(DENSITY, value, uncertainty, "g/cm3", start, stated, transmission, slope))
        linac = with_density(linac, value)
    if data.leaf_gaps:
        if data.leaf_transmissions:
            # Denser leaves have tips that let less through.
            _, gap = simulated("leaves of the fitted density", linac)
        start = linac.machine.mlc.physical_gap_offset
        _, wider = simulated("a wider gap", with_gap_offset(linac, start + _OFFSET_STEP))
        stated = stated_value(data.leaf_gaps)
        value, uncertainty, slope = one_step(start, _OFFSET_STEP, gap, wider, stated)
        if -_SIGMAS_BELOW * uncertainty <= value < 0.0:
            value = 0.0
        limits = (0.0, _LARGEST_OFFSET)
        because = f"a dosimetric leaf gap of {stated.value:g} mm"
        _check(GAP_OFFSET, value, limits, unit="mm", because=because, source=data.source)
        fitted.append(FittedLeafValue(GAP_OFFSET, value, uncertainty, "mm", start, stated, gap, slope))
    return tuple(fitted)


def one_step(
    start: float, step: float, at_start: Estimate, at_step: Estimate, stated: Estimate
) -> tuple[float, float, float]:
    """Where a straight line through two simulations has the stated value, its uncertainty, and the line's slope.

    The slope's own uncertainty is part of it; both simulations count as independent, which is cautious.

    Raises
    ------
    ValueError
        When both simulations agree, so that nothing can be found.
    """
    if at_start.value == at_step.value:
        raise ValueError(f"the same value {at_start.value:g} simulated at {start:g} and {start + step:g}")
    slope = (at_step.value - at_start.value) / step
    change = (stated.value - at_start.value) / slope
    share = change / step
    noise = np.array(
        [stated.sigma or 0.0, (1.0 - share) * (at_start.sigma or 0.0), share * (at_step.sigma or 0.0)], dtype=float
    )
    return start + change, float(np.linalg.norm(noise) / abs(slope)), slope


def stated_value(measured: Sequence[LeafTransmission] | Sequence[DosimetricLeafGap]) -> Estimate:
    """The mean of stated values, with the sigma of a mean; that of values without sigma counts as 0."""
    sigmas = [one.sigma or 0.0 for one in measured]
    return Estimate(float(np.mean([one.value for one in measured])), float(np.linalg.norm(sigmas) / len(measured)))


def _logarithm(one: Estimate) -> Estimate:
    return Estimate(math.log(one.value), (one.sigma or 0.0) / one.value)


def _check(name: str, value: float, limits: tuple[float, float], *, unit: str, because: str, source: str) -> None:
    low, high = limits
    if not low <= value <= high:
        raise InputError(
            f"beam data ({source}): {because} needs {name} at {value:.2f} {unit}, expected {low:g} to {high:g} {unit}. "
            "Check the measurement, its unit and the rest of mlc in machine.yaml."
        )
