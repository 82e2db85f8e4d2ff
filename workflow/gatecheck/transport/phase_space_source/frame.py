"""Where a phase space lies in the machine: from the file's axes to the IEC gantry system.

The file's z axis lies along the beam axis, either way, and meets the target at `target_z`; x and y lie along x_g and
y_g of the IEC 61217 gantry system (see gatecheck.delivery.coordinates), either way and either way round, as the
configuration says. Where the particles fly towards +z,

    s = z - target_z

is their distance from the target, and where they fly towards -z, s = target_z - z. Two usual conventions:

- origin at the target, z along the beam (BEAMnrc; Varian's TrueBeam files state z = 26.7 cm): target_z = 0.
- IEC gantry system, origin at the isocentre, z towards the target: target_z = the source-axis distance.

Which way x and y point is the recording program's choice, and together with z they may be left-handed: a file from
elsewhere is best compared with the measured profile of a wide field, or with an off-axis one, before it is trusted.

The phase space turns with the gantry. It does not turn with the collimator: jaws and leaves turn below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.config import PhaseSpaceConfig
from gatecheck.delivery.coordinates import rotation_arrays_for
from gatecheck.transport.phase_space_source.header import NEUTRON
from gatecheck.transport.phase_space_source.records import Records

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_UNIT_VECTORS = {"+x": (1.0, 0.0), "-x": (-1.0, 0.0), "+y": (0.0, 1.0), "-y": (0.0, -1.0)}

SMALLEST_COSINE = 0.2
"""Particles that leave flatter than this do not reach the patient."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A file's axes in the gantry system.

    Attributes
    ----------
    x_axis, y_axis : (float, float)
        Unit vectors of the file's axes along x_g and y_g.
    target_z : float
        mm.
    flies_up_z : bool
        Whether the beam goes towards +z of the file.
    """

    x_axis: tuple[float, float]
    y_axis: tuple[float, float]
    target_z: float
    flies_up_z: bool


@dataclass(frozen=True, slots=True)
class GantryRays:
    """Straight lines through the beam, x(s) = x0 + slope_x s, in the gantry system, and s where they start.

    Attributes
    ----------
    intercept, slope : ndarray of shape (n, 2)
        Along x_g and y_g; mm and mm per mm.
    start : ndarray of shape (n,)
        Distance from the target, mm.
    cosine : ndarray of shape (n,)
        Of the angle to the beam axis; lines with a cosine below SMALLEST_COSINE have neither intercept nor slope.
    """

    intercept: FloatArray
    slope: FloatArray
    start: FloatArray
    cosine: FloatArray


def frame_of(config: PhaseSpaceConfig, *, flies_up_z: bool) -> Frame:
    """The frame that the configuration describes, given which way the particles fly."""
    x_axis = _UNIT_VECTORS[config.x_axis]
    if config.y_axis is not None:
        return Frame(x_axis, _UNIT_VECTORS[config.y_axis], config.target_z, flies_up_z)
    # Right-handed, y = z cross x: z_file is -z_g where the beam goes towards +z, else z_g.
    z = -1.0 if flies_up_z else 1.0
    return Frame(x_axis, (-z * x_axis[1] + 0.0, z * x_axis[0] + 0.0), config.target_z, flies_up_z)


def distance_from_target(z: FloatArray, frame: Frame) -> FloatArray:
    """s of a place on the file's z axis, mm."""
    return z - frame.target_z if frame.flies_up_z else frame.target_z - z


def rays_in_gantry(records: Records, frame: Frame) -> GantryRays:
    """The straight lines along which particles fly."""
    axes = np.array([frame.x_axis, frame.y_axis])
    along = records.direction[:, 2] if frame.flies_up_z else -records.direction[:, 2]
    safe = np.where(along >= SMALLEST_COSINE, along, np.nan)[:, np.newaxis]
    slope = records.direction[:, :2] @ axes / safe
    start = distance_from_target(records.position[:, 2], frame)
    return GantryRays(records.position[:, :2] @ axes - slope * start[:, np.newaxis], slope, start, along)


def is_followed(records: Records, frame: Frame) -> BoolArray:
    """Which particles are brought to the patient: photons, electrons and positrons that fly towards it."""
    towards = records.direction[:, 2] if frame.flies_up_z else -records.direction[:, 2]
    return np.asarray((records.kind < NEUTRON) & (records.energy > 0) & (towards >= SMALLEST_COSINE))


def in_beam_limiting_device(vectors: FloatArray, collimator: FloatArray) -> FloatArray:
    """Vectors across the beam, shape (n, 2), from the gantry to the beam limiting device system at n angles."""
    # With gantry and couch at zero, x and z of a patient lying head first and supine are x_g and y_g.
    to_gantry = rotation_arrays_for(0.0, collimator, 0.0, "HFS")[:, (0, 2), :2]
    turned: FloatArray = np.einsum("nij,ni->nj", to_gantry, vectors)
    return turned
