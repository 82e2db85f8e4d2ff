"""Dose along a line through a field with leaves, in a water tank at SSD 900 mm.

Doses are scored in layers of 10 mm from 50 to 150 mm depth that are joined at the isocentre plane's scale. Every
number read from them is a ratio of fields, which changes little and evenly with depth: over these layers, weighted
by dose, it is the ratio at 96 mm.

The tank's bins hold both sides of its own axis together. Profiles here have signs, so the beam's axis is put far
beside the tank's, and all of a field lies on one side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning import leaf_fields
from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water.electron_library import ElectronLibrary
from gatecheck.commissioning.water.source_basis import BeamSampling
from gatecheck.commissioning.water.tank import TankSetup, detectors_for, simulate_field
from gatecheck.delivery.model import Delivery
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head.tables import source_of

FloatArray = npt.NDArray[np.float64]
PatientAxis = Literal["x", "z"]

SOURCE_SURFACE_DISTANCE = 900.0
DEPTH = 100.0
LAYERS = tuple(float(depth) for depth in range(55, 146, 10))
SHALLOW = 15.0
"""mm: of the layer in which the cold line is looked at as film in the depth of maximum shows it."""

_HALF_LAYER = 5.0
_DEEPEST = 160.0
_BESIDE = 130.0  # mm from the tank's axis to the beam's


@dataclass(frozen=True, slots=True)
class LineDose:
    """Dose along a line through a field, batch by batch.

    Attributes
    ----------
    position : ndarray of shape (n,)
        From the beam's axis along an axis of the patient's system, mm at the isocentre plane.
    batches : ndarray of shape (n_batches, n)
        MeV/g per nominal photon, mean of all layers.
    shallow : ndarray of shape (n_batches, n)
        The same 15 mm deep.
    """

    position: FloatArray
    batches: FloatArray
    shallow: FloatArray


@dataclass(frozen=True, slots=True)
class Line:
    """Where a dose is scored.

    Attributes
    ----------
    along : {"x", "z"}
        Axis of the patient's system (head first, supine, gantry 0: x is x_b and z is y_b at collimator 0).
    across : float
        Distance of the line from the beam's axis along the other one, mm.
    half_width : float
    step : float
    """

    along: PatientAxis
    across: float
    half_width: float
    step: float


def simulate_line(
    *,
    delivery: Delivery,
    jaws: JawField,
    line: Line,
    linac: LinacModel,
    library: ElectronLibrary,
    photons: int,
    batches: int,
    seed: int,
) -> LineDose:
    """Dose along a line at the isocentre plane.

    Parameters
    ----------
    jaws : JawField
        That the dose is scored over, with some distance beyond.
    photons : int
        Of the source, in all batches.
    """
    shift = {line.along: _BESIDE, _other(line.along): -line.across}
    reach = JawField.of_size(*[2.0 * (_BESIDE + max(jaws.size_x, jaws.size_y) / 2)] * 2)
    setup = TankSetup(SOURCE_SURFACE_DISTANCE, _DEEPEST, (*LAYERS, SHALLOW))
    detectors = detectors_for(reach, setup, linac)._replace(
        half_thickness=_HALF_LAYER, half_width=line.half_width, profile_step=line.step
    )
    (response,) = simulate_field(
        field=reach,
        setups=[setup],
        linac=linac,
        sampling=BeamSampling(source_of(linac)),
        library=library,
        histories=max(1, photons // batches),
        batches=batches,
        seed=seed,
        detectors=[detectors],
        delivery=leaf_fields.moved(delivery, shift["x"], shift["z"]),
    )
    half = max(jaws.size_x, jaws.size_y) / 2 + 20.0
    place = np.arange(-half + line.step / 2, half, line.step)
    axis = 0 if line.along == "x" else 1
    layers = np.zeros((len(setup.profile_depth), batches, len(place)))
    for layer, depth in enumerate(setup.profile_depth):
        seen = _BESIDE + place * (SOURCE_SURFACE_DISTANCE + depth) / linac.machine.source_axis_distance
        for batch in range(batches):
            # The bins' mass is that of both sides of the tank's axis; the beam is on one of them.
            dose = 2.0 * response.profile[batch, layer, axis, :, 0]
            layers[layer, batch] = np.interp(seen, response.position, dose)
    return LineDose(place, layers[: len(LAYERS)].mean(axis=0), layers[-1])


def _other(axis: PatientAxis) -> PatientAxis:
    return "z" if axis == "x" else "x"
