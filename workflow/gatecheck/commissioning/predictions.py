"""What a commissioned machine gives in fields that were, or were not, measured: a table for later comparison.

The machine's own source is sampled, not the basis of the fit: an independent look at the fitted model.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.observe import Curve, depth_dose, edge, off_axis_ratio, percent_depth_dose
from gatecheck.commissioning.responses import share_of
from gatecheck.commissioning.water.field import expected_field
from gatecheck.commissioning.water.pencil import PencilTables
from gatecheck.commissioning.water.source_basis import BeamSampling
from gatecheck.commissioning.water.tank import Response, TankSetup
from gatecheck.files import write_atomically
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head.tables import source_of
from gatecheck.transport.process import run_in_processes

FloatArray = npt.NDArray[np.float64]

COLUMNS = ("quantity", "field_x_mm", "field_y_mm", "ssd_mm", "depth_mm", "off_axis_mm", "value", "sigma")

DEPTH_DOSE_SQUARES = (30.0, 40.0, 60.0, 80.0, 100.0, 200.0, 300.0, 400.0)
DEPTH_DOSE_SSD = 1000.0
DEPTHS = (5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 80.0, 100.0, 150.0, 200.0, 250.0, 300.0)
PROFILE_DEPTHS = (15.0, 50.0, 100.0, 200.0)
OUTPUT_SQUARES = (30.0, 40.0, 50.0, 70.0, 100.0, 150.0, 200.0, 300.0, 400.0)
OUTPUT_RECTANGLES = ((30.0, 400.0), (400.0, 30.0))
OUTPUT_SSD, OUTPUT_DEPTH = 950.0, 50.0
REFERENCE = JawField.of_size(100.0, 100.0)

_ONE = np.ones(1)
_BELOW = 15.0
_OUTPUT_DEEPEST = 200.0
_OFF_AXIS_STEP = 20.0


@dataclass(frozen=True, slots=True)
class Predicted:
    """One line of the table; lengths in mm, doses in %, output as a ratio."""

    quantity: str
    jaws: JawField
    source_surface_distance: float
    depth: float
    off_axis: float
    value: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """The table, and how long each field took, s."""

    lines: tuple[Predicted, ...]
    seconds: dict[str, float]


def predict_fields(
    linac: LinacModel,
    tables: PencilTables,
    *,
    histories: int,
    batches: int = 10,
    seed: int = 90_001,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Depth doses, profiles, widths and penumbrae of squares, output factors of squares and rectangles."""
    fields = _fields()
    sampling = BeamSampling(source_of(linac))
    arguments = [
        {
            "field": jaws,
            "setups": setups,
            "linac": linac,
            "sampling": sampling,
            "tables": tables,
            "histories": max(round(histories * share_of(jaws) / batches), 1),
            "batches": batches,
            "seed": seed + number,
        }
        for number, (jaws, setups) in enumerate(fields)
    ]
    responses: dict[tuple[JawField, float], Response] = {}
    seconds: dict[str, float] = {}
    every = run_in_processes(timed_field, arguments, processes=processes, progress=progress)
    for (jaws, setups), (took, found) in zip(fields, every, strict=True):
        seconds[str(jaws)] = took
        for setup, response in zip(setups, found, strict=True):
            responses[jaws, setup.source_surface_distance] = response
    return Predictions(tuple(_lines(responses)), seconds)


def timed_field(**arguments: object) -> tuple[float, list[Response]]:
    """`expected_field` with the seconds that it took."""
    started = time.perf_counter()
    responses = expected_field(**arguments)  # type: ignore[arg-type]
    return time.perf_counter() - started, responses


def _fields() -> list[tuple[JawField, tuple[TankSetup, ...]]]:
    setups: dict[JawField, list[TankSetup]] = {}
    for side in DEPTH_DOSE_SQUARES:
        setups.setdefault(JawField.of_size(side, side), []).append(
            TankSetup(DEPTH_DOSE_SSD, max(DEPTHS) + _BELOW, PROFILE_DEPTHS)
        )
    squares = [(side, side) for side in OUTPUT_SQUARES]
    for x, y in (*squares, *OUTPUT_RECTANGLES):
        setups.setdefault(JawField.of_size(x, y), []).append(TankSetup(OUTPUT_SSD, _OUTPUT_DEEPEST))
    rows = [(jaws, tuple(tanks)) for jaws, tanks in setups.items()]
    return sorted(rows, key=lambda row: -row[0].size_x * row[0].size_y)


def _lines(responses: dict[tuple[JawField, float], Response]) -> list[Predicted]:
    lines: list[Predicted] = []
    for side in DEPTH_DOSE_SQUARES:
        jaws = JawField.of_size(side, side)
        response = responses[jaws, DEPTH_DOSE_SSD]
        curve = percent_depth_dose(response, _ONE, DEPTHS)
        lines += _curve_lines("depth_dose_percent", jaws, DEPTHS, curve)
        for number, depth in enumerate(PROFILE_DEPTHS):
            lines += _profile_lines(jaws, response, number, depth)
    reference = depth_dose(responses[REFERENCE, OUTPUT_SSD], _ONE, [OUTPUT_DEPTH])
    for x, y in (*((side, side) for side in OUTPUT_SQUARES), *OUTPUT_RECTANGLES):
        jaws = JawField.of_size(x, y)
        field = depth_dose(responses[jaws, OUTPUT_SSD], _ONE, [OUTPUT_DEPTH])
        ratio = float(field.value[0] / reference.value[0])
        # Fields of different seeds are independent.
        relative = (
            0.0
            if jaws == REFERENCE
            else float(np.hypot(field.sigma / field.value, reference.sigma / reference.value)[0])
        )
        lines.append(Predicted("output_factor", jaws, OUTPUT_SSD, OUTPUT_DEPTH, 0.0, ratio, ratio * relative))
    return lines


def _curve_lines(quantity: str, jaws: JawField, depths: Sequence[float], curve: Curve) -> list[Predicted]:
    return [
        Predicted(quantity, jaws, DEPTH_DOSE_SSD, depth, 0.0, float(value), float(sigma))
        for depth, value, sigma in zip(depths, curve.value, curve.sigma, strict=True)
    ]


def _profile_lines(jaws: JawField, response: Response, number: int, depth: float) -> list[Predicted]:
    half = jaws.size_x / 2 * (DEPTH_DOSE_SSD + depth) / 1000.0
    places = np.arange(_OFF_AXIS_STEP, 0.8 * half + 0.1, _OFF_AXIS_STEP)
    lines = []
    for axis in ("x", "y"):
        if places.size:
            curve = off_axis_ratio(response, _ONE, profile=number, axis=axis, places=places, half_field=half)
            lines += [
                Predicted(
                    f"profile_{axis}_percent", jaws, DEPTH_DOSE_SSD, depth, float(place), float(value), float(sigma)
                )
                for place, value, sigma in zip(places, curve.value, curve.sigma, strict=True)
            ]
        found = edge(response, _ONE, profile=number, axis=axis, half_field=half)
        lines += [
            Predicted(f"width_50_{axis}_mm", jaws, DEPTH_DOSE_SSD, depth, 0.0, found.width_50, found.width_sigma),
            Predicted(
                f"penumbra_80_20_{axis}_mm",
                jaws,
                DEPTH_DOSE_SSD,
                depth,
                0.0,
                found.penumbra_80_20,
                found.penumbra_sigma,
            ),
        ]
    return lines


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the table as CSV.

    Raises
    ------
    WriteError
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in predictions.lines:
        writer.writerow(
            (
                line.quantity,
                f"{line.jaws.size_x:g}",
                f"{line.jaws.size_y:g}",
                f"{line.source_surface_distance:g}",
                f"{line.depth:g}",
                f"{line.off_axis:g}",
                f"{line.value:.5g}",
                f"{line.sigma:.2g}",
            )
        )
    with write_atomically(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
