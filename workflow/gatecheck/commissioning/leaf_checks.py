"""What an MLC lets through, as a water tank would show it: the fields, simulated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gatecheck.commissioning import leaf_fields
from gatecheck.commissioning.analysis import Estimate
from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.leaf_fields import GAPS, PATTERN_FIELD, Opening
from gatecheck.commissioning.leaf_lines import Line, LineDose, simulate_line
from gatecheck.commissioning.leaf_results import (
    COLLIMATORS,
    REGION,
    STEP,
    LeafResults,
    gap_spread,
    pattern_name,
    results_of,
    transmission_spread,
)
from gatecheck.commissioning.water.electron_library import ElectronLibrary
from gatecheck.delivery.model import Delivery
from gatecheck.linac.model import LinacModel
from gatecheck.transport.process import run_in_processes

Progress = Callable[[int, int], None]

BATCHES = 20
_PATTERN_STEP = 0.5
_SEED = 30_001

# Source photons of each field, in all, for sigmas of about 1 % of the transmission and 0.03 mm of the leaf gap.
PHOTONS: Mapping[str, int] = {
    "open": 6_000_000,
    "closed": 16_000_000,
    "gap": 8_000_000,
    "interdigitated": 4_000_000,
    "half": 8_000_000,
    "pattern": 8_000_000,
}


def check_leaves(
    linac: LinacModel,
    library: ElectronLibrary,
    *,
    share: float = 1.0,
    processes: int = 1,
    progress: Progress | None = None,
) -> LeafResults:
    """Simulate all fields and read off what a physicist would measure.

    Parameters
    ----------
    share : float
        Of the usual number of photons.
    processes : int
        1 simulates in this process.

    Raises
    ------
    SimulationError
        When a process dies.
    """
    started = time.perf_counter()
    found = _simulated(
        _fields(linac) | _pattern_fields(linac),
        linac=linac,
        library=library,
        share=share,
        processes=processes,
        progress=progress,
    )
    return results_of(linac, found, time.perf_counter() - started)


def transmission_and_gap(
    linac: LinacModel,
    library: ElectronLibrary,
    *,
    share: float = 1.0,
    processes: int = 1,
    progress: Progress | None = None,
) -> tuple[Estimate, Estimate]:
    """Mean transmission and dosimetric leaf gap alone, with the same photons as in `check_leaves`."""
    fields = {name: field for name, field in _fields(linac).items() if name.split()[0] in ("open", "closed", "gap")}
    found = _simulated(fields, linac=linac, library=library, share=share, processes=processes, progress=progress)
    line = gap_spread(found)
    return transmission_spread(found).estimate(), line.estimate(0)


_Field = tuple[Delivery, JawField, Line]


def _fields(linac: LinacModel) -> dict[str, _Field]:
    """All fields that are scored along y at x = 0."""
    line = Line(along="z", across=0.0, half_width=REGION, step=STEP)
    deliveries = {
        "open": leaf_fields.open_field(linac),
        "closed X1": leaf_fields.closed_leaves(linac, "X1"),
        "closed X2": leaf_fields.closed_leaves(linac, "X2"),
        **{f"gap {gap:g}": leaf_fields.sweeping_gap(linac, gap) for gap in GAPS},
        "interdigitated 0": leaf_fields.interdigitated(linac, first_open=0),
        "interdigitated 1": leaf_fields.interdigitated(linac, first_open=1),
        "half Y1": leaf_fields.half_open(linac, "Y1"),
        "half Y2": leaf_fields.half_open(linac, "Y2"),
    }
    return {name: (delivery, leaf_fields.FIELD, line) for name, delivery in deliveries.items()}


def pattern_line(opening: Opening, collimator: float) -> Line:
    """The line along a pair of the pattern.

    Written out for both angles, and not by the conversions that the simulation uses, so that these are tested: the
    collimator turns counter-clockwise as seen from the source, so that x_b lies along the patient's z at 90 degrees,
    and y_b along -x.

    Raises
    ------
    ValueError
        For an angle other than 0 and 90.
    """
    if collimator == 0.0:
        return Line("x", opening.y, 0.8 * opening.half_width, _PATTERN_STEP)
    if collimator == 90.0:
        return Line("z", -opening.y, 0.8 * opening.half_width, _PATTERN_STEP)
    raise ValueError(f"collimator at {collimator:g} degrees, expected 0 or 90")


def _pattern_fields(linac: LinacModel) -> dict[str, _Field]:
    return {
        pattern_name(collimator, opening): (
            leaf_fields.asymmetric_pattern(linac, collimator),
            PATTERN_FIELD,
            pattern_line(opening, collimator),
        )
        for collimator in COLLIMATORS
        for opening in leaf_fields.asymmetric_openings(linac.machine.mlc)
    }


def _simulated(
    fields: Mapping[str, _Field],
    *,
    linac: LinacModel,
    library: ElectronLibrary,
    share: float,
    processes: int,
    progress: Progress | None,
) -> dict[str, LineDose]:
    requests: list[dict[str, Any]] = [
        {
            "delivery": delivery,
            "jaws": jaws,
            "line": line,
            "linac": linac,
            "library": library,
            "photons": round(share * PHOTONS[name.split()[0]]),
            "batches": BATCHES,
            "seed": _SEED + number,
        }
        for number, (name, (delivery, jaws, line)) in enumerate(fields.items())
    ]
    if processes > 1:
        doses = run_in_processes(simulate_line, requests, processes=processes, progress=progress)
        return dict(zip(fields, doses, strict=True))
    found = {}
    for number, (name, request) in enumerate(zip(fields, requests, strict=True), start=1):
        found[name] = simulate_line(**request)
        if progress is not None:
            progress(number, len(fields))
    return found
