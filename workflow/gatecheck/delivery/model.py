"""What the machine does: one timeline of machine states for each beam, against the meterset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MachineState:
    """The machine at one instant of a beam, IEC 61217, mm at the isocentre plane, degrees.

    Attributes
    ----------
    meterset : float
        Monitor units delivered since the start of the beam, MU.
    gantry, collimator, couch : float
        Angles; continuous (unwrapped) along a timeline.
    jaw_x, jaw_y : (float, float)
        X1, X2 and Y1, Y2.
    leaf_positions : ndarray of shape (2, n_pairs) or None
        Bank X1 (row 0) and X2 (row 1), ordered from Y1 to Y2, as DICOM (300A,011C) orders them.
    isocentre : (float, float, float)
        DICOM LPS.
    """

    meterset: float
    gantry: float
    collimator: float
    couch: float
    jaw_x: tuple[float, float]
    jaw_y: tuple[float, float]
    leaf_positions: FloatArray | None
    isocentre: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class BeamTimeline:
    """One beam as nodes between which every axis moves linearly in meterset.

    Two successive nodes of equal meterset are a jump (step-and-shoot): nothing is delivered
    between them.

    Attributes
    ----------
    meterset : ndarray of shape (n_nodes,)
        Non-decreasing, from 0 to the beam's meterset, MU per fraction.
    gantry, collimator, couch : ndarray of shape (n_nodes,)
        Unwrapped degrees: successive nodes differ by the rotation that the machine makes.
    jaw_x, jaw_y : ndarray of shape (n_nodes, 2)
    leaf_positions : ndarray of shape (n_nodes, 2, n_pairs) or None
    leaf_boundaries : ndarray of shape (n_pairs + 1,) or None
    isocentre : ndarray of shape (n_nodes, 3)
    """

    number: int
    name: str
    nominal_energy_mv: float
    fluence_mode: str
    meterset: FloatArray
    gantry: FloatArray
    collimator: FloatArray
    couch: FloatArray
    jaw_x: FloatArray
    jaw_y: FloatArray
    leaf_positions: FloatArray | None
    leaf_boundaries: FloatArray | None
    isocentre: FloatArray

    @property
    def total_meterset(self) -> float:
        """MU per fraction."""
        return float(self.meterset[-1])


@dataclass(frozen=True, slots=True)
class Delivery:
    """All beams of one fraction.

    Attributes
    ----------
    patient_position : str
        HFS, HFP, FFS or FFP: needed to turn the machine's frame into the patient's.
    """

    beams: tuple[BeamTimeline, ...]
    patient_position: str
    fractions: int
    made_from_sha256: str

    @property
    def total_meterset(self) -> float:
        """MU per fraction over all beams."""
        return float(sum(beam.total_meterset for beam in self.beams))
