"""Fits the planning engine's beam to measurements in water, as a planning system is commissioned.

The measurements are those of `linac_models/truebeam_stx/beam_data_6x.csv`: depth doses, profiles, penumbrae, field
widths and output factors of jaw-defined fields (Chang et al., Med. Phys. 39 (2012) 6981). Small fields are not among
them: they follow from the kernel and the two sources.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, least_squares

from gatecheck.phantoms.planning.beam_model import BeamModel, Fitted, Kernel
from gatecheck.phantoms.planning.openings import jaw_rectangle
from gatecheck.phantoms.planning.pencil_kernels import PencilKernels
from gatecheck.phantoms.planning.plane_dose import CommissionedBeam, commissioned, dose_in_plane

FloatArray = npt.NDArray[np.float64]

# One sigma of each kind of measurement: per cent of the value, per cent of the axis, mm, mm, ratio.
_UNCERTAINTY = {"depth_dose": 0.7, "profile": 0.7, "width_50": 0.4, "penumbra_80_20": 0.3, "output_factor": 0.4}
_FIRST_DEPTH_OF_PHOTONS = 10.0
_PARAMETERS = (
    "hardening", "spot_sigma", "extra_focal_fraction", "extra_focal_sigma", "jaw_scale", "electron_dose",
    "electron_depth", "softening",
)  # fmt: skip
_LOWER = (-8.0, 0.2, 0.01, 5.0, 0.99, 0.0, 2.0, -1e-3)
_UPPER = (20.0, 2.0, 0.15, 40.0, 1.01, 2.0, 15.0, 3e-3)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured number: a row of the file."""

    quantity: str
    field: float
    source_surface_distance: float
    depth: float
    off_axis: float
    value: float
    detector: float


def read_measurements(path: Path) -> list[Measurement]:
    """The rows of a beam data file of square fields."""
    with path.open(encoding="utf-8") as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        return [
            Measurement(
                row["quantity"],
                float(row["field_x_mm"]),
                float(row["ssd_mm"]),
                float(row["depth_mm"]),
                float(row["off_axis_mm"] or 0.0),
                float(row["value"]),
                float(row["detector_mm"]),
            )
            for row in rows
        ]


def fit(start: BeamModel, measurements: Sequence[Measurement], kernels: PencilKernels) -> BeamModel:
    """The model that agrees best with the measurements, by least squares; the horn's nodes are fitted with the rest."""
    first = [getattr(start.fitted, name) for name in _PARAMETERS] + list(start.fitted.horn[1:])
    count = len(start.fitted.horn) - 1
    bounds = (list(_LOWER) + [0.8] * count, list(_UPPER) + [1.5] * count)

    def residuals(values: FloatArray) -> FloatArray:
        model = _with(start, values)
        return residuals_of(model, measurements, Kernel(model.fitted.hardening, kernels))

    found = least_squares(residuals, first, bounds=bounds, x_scale=np.maximum(np.abs(first), 1e-3), diff_step=1e-3)
    return _with(start, np.array([float(f"{value:.5g}") for value in found.x]))


def _with(model: BeamModel, values: FloatArray) -> BeamModel:
    changed = dict(zip(_PARAMETERS, map(float, values), strict=False))
    horn = (1.0, *map(float, values[len(_PARAMETERS) :]))
    return model.model_copy(update={"fitted": Fitted(**{**model.fitted.model_dump(), **changed, "horn": horn})})


def residuals_of(model: BeamModel, measurements: Sequence[Measurement], kernel: Kernel) -> FloatArray:
    """Calculated less measured, in units of the uncertainty, shape (n,)."""
    calculated = predictions(model, measurements, kernel)
    measured = np.array([m.value for m in measurements])
    difference = calculated - measured
    scale = np.array([_UNCERTAINTY[m.quantity] for m in measurements])
    relative = np.array([m.quantity in ("depth_dose", "output_factor") for m in measurements])
    weighted: FloatArray = np.where(relative, 100.0 * difference / measured, difference) / scale
    return weighted


def predictions(model: BeamModel, measurements: Sequence[Measurement], kernel: Kernel) -> FloatArray:
    """What the model gives for each measurement, in its unit."""
    beam = commissioned(model, kernel)
    curves: dict[tuple[float, float, float], FloatArray] = {}
    values = []
    for measurement in measurements:
        if measurement.quantity == "depth_dose":
            values.append(_depth_dose(beam, measurement))
        elif measurement.quantity == "output_factor":
            values.append(_output(beam, measurement, measurement.field) / _output(beam, measurement, 100.0))
        else:
            key = (measurement.field, measurement.source_surface_distance, measurement.depth)
            if key not in curves:
                curves[key] = _profile(beam, measurement)
            values.append(_of_profile(curves[key], measurement))
    return np.array(values)


def _on_axis(beam: CommissionedBeam, field: float, surface: float, depths: FloatArray) -> FloatArray:
    half = 0.5 * field * beam.model.fitted.jaw_scale
    opening = jaw_rectangle(np.array([-half, half]), np.array([-half, half]), beam.model)
    axis = np.zeros(1)
    return np.array(
        [
            dose_in_plane(beam, opening, axis, axis, distance=surface + depth, depths=np.array([depth]))[0, 0, 0]
            for depth in depths
        ]
    )


def _depth_dose(beam: CommissionedBeam, measurement: Measurement) -> float:
    """Per cent of the maximum, which lies between 12 and 18 mm."""
    depths = np.array([measurement.depth, 12.0, 13.5, 15.0, 16.5])
    dose = _on_axis(beam, measurement.field, measurement.source_surface_distance, depths)
    return float(100.0 * dose[0] / dose[1:].max())


def _output(beam: CommissionedBeam, measurement: Measurement, field: float) -> float:
    return float(_on_axis(beam, field, measurement.source_surface_distance, np.array([measurement.depth]))[0])


def _profile(beam: CommissionedBeam, measurement: Measurement) -> FloatArray:
    """Off-axis distance and per cent of the axis, along x and y averaged, with the chamber's width: shape (2, n)."""
    model = beam.model
    half = 0.5 * measurement.field * model.fitted.jaw_scale
    opening = jaw_rectangle(np.array([-half, half]), np.array([-half, half]), model)
    distance = measurement.source_surface_distance + measurement.depth
    edge = 0.5 * measurement.field * distance / 1000.0
    step = 0.5
    places = np.concatenate([np.arange(0.0, edge - 25.0, 5.0), np.arange(edge - 25.0, edge + 30.0, step)])
    samples = (np.arange(5) - 2) / 5 * measurement.detector
    wide = (places[:, np.newaxis] + samples).ravel()
    depths, axis = np.array([measurement.depth]), np.zeros(1)
    along_x = dose_in_plane(beam, opening, wide, axis, distance=distance, depths=depths)[0, 0]
    along_y = dose_in_plane(beam, opening, axis, wide, distance=distance, depths=depths)[0, :, 0]
    seen = (0.5 * (along_x + along_y)).reshape(-1, len(samples)).mean(axis=1)
    return np.stack([places, 100.0 * seen / seen[0]])


def _of_profile(curve: FloatArray, measurement: Measurement) -> float:
    places, seen = curve
    if measurement.quantity == "profile":
        return float(np.interp(measurement.off_axis, places, seen))
    if measurement.quantity == "width_50":
        return 2 * _place_of(curve, 50.0)
    return _place_of(curve, 20.0) - _place_of(curve, 80.0)


def _place_of(curve: FloatArray, level: float) -> float:
    places, seen = curve
    return float(brentq(lambda x: np.interp(x, places, seen) - level, 0.5 * places[-1], places[-1]))
