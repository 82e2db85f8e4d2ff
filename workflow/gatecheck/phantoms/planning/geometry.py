"""Where the planning engine's beam stands: its own, so that a wrong sign would not be in both doses.

IEC 61217: x_f to the right of who faces the gantry, y_f to the gantry, z_f up. The gantry turns about +y_f, from above
to +x_f; the collimator about the beam's axis to the source; the couch, with the patient, about +z_f.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gatecheck.phantoms.planning.openings import SOURCE_AXIS_DISTANCE

FloatArray = npt.NDArray[np.float64]

# Left, posterior and superior along x_f, y_f, z_f with the couch at 0, by Patient Position (0018,5100).
_PATIENT_AXES: Final = {
    "HFS": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "HFP": ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),
    "FFS": ((-1, 0, 0), (0, 0, -1), (0, -1, 0)),
    "FFP": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
}


def beam_axes(gantry: float, collimator: float, couch: float, patient_position: str) -> FloatArray:
    """x, y and z of the beam, which goes along -z, as columns in patient coordinates (LPS), shape (3, 3); degrees."""
    g, c, t = np.radians([gantry, collimator, couch])
    # The beam's axes in the room: first across (x) and towards the gantry (y), then turned by the collimator.
    across, towards = np.array([np.cos(g), 0.0, -np.sin(g)]), np.array([0.0, 1.0, 0.0])
    to_source = np.array([np.sin(g), 0.0, np.cos(g)])
    x = np.cos(c) * across + np.sin(c) * towards
    y = np.cos(c) * towards - np.sin(c) * across
    room = np.stack([x, y, to_source], axis=1)
    # The couch turns the patient; seen from the patient the room turns back.
    turned = np.array([
        np.cos(t) * room[0] + np.sin(t) * room[1],
        np.cos(t) * room[1] - np.sin(t) * room[0],
        room[2],
    ])  # fmt: skip
    axes: FloatArray = np.array(_PATIENT_AXES[patient_position], dtype=float) @ turned
    return axes


def in_beam(points_xyz: npt.ArrayLike, axes: FloatArray, isocentre: npt.ArrayLike) -> FloatArray:
    """Points, LPS mm, shape (n, 3), along the beam's axes from the isocentre."""
    apart: FloatArray = np.atleast_2d(np.asarray(points_xyz, dtype=float)) - np.asarray(isocentre, dtype=float)
    return apart @ axes


def seen_from_source(points_xyz: npt.ArrayLike, axes: FloatArray, isocentre: npt.ArrayLike) -> FloatArray:
    """x and y, shape (n, 2), where rays from the source through points below it meet the isocentre's plane, mm."""
    points = in_beam(points_xyz, axes, isocentre)
    seen: FloatArray = points[:, :2] * (SOURCE_AXIS_DISTANCE / (SOURCE_AXIS_DISTANCE - points[:, 2]))[:, np.newaxis]
    return seen
