"""All conversions between the machine's IEC 61217 systems and the patient's DICOM LPS system.

Systems, each right-handed, lengths in mm:

fixed (f)
    Origin at the isocentre. An observer in front of the machine, facing the gantry, has x_f to the
    right, y_f ahead (towards the gantry) and z_f up.
gantry (g)
    The fixed system turned about y_f by the gantry angle. The source lies on z_g, at the source-axis
    distance. The observer sees an increasing angle turn clockwise: at 90 degrees the source is at his
    right, on +x_f.
beam limiting device (b)
    The gantry system turned about z_g by the collimator angle; seen from the source, an increasing
    angle turns counter-clockwise. **Its origin is kept at the isocentre** (IEC 61217 lets it lie at
    any distance along z), so the source is at (0, 0, +source_axis_distance) and jaw and leaf
    positions, which IEC states at the isocentre plane, are x_b and y_b at z_b = 0.
patient support (s)
    The fixed system turned about z_f by the couch angle; seen from above, an increasing angle turns
    counter-clockwise. Eccentric, pitch and roll angles are zero.
patient (p)
    DICOM LPS: x to the patient's left, y to the back (posterior), z to the head (superior). The
    patient position says how its axes lie along those of the patient support.

A point r_b of the beam limiting device system is, in the patient,

    r_p = isocentre + M^T · R_z(-couch) · R_y(gantry) · R_z(collimator) · r_b

with M the signed permutation of the patient position and R the right-handed rotations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatecheck.compiled import part_of_kernel
from gatecheck.errors import UnsupportedPlanError

FloatArray = npt.NDArray[np.float64]

PATIENT_POSITION_CODES = {"HFS": 0, "HFP": 1, "FFS": 2, "FFP": 3}

# In every patient position x_p lies along x_s, y_p along z_s and z_p along y_s, each either way.
# Columns: sign of x_p along x_s, of y_p along z_s, of z_p along y_s. Rows in the order of the codes.
# Head first supine: left is at the right of an observer at the feet who faces the gantry, the back is
# down, the head is towards the gantry. Prone turns this by half a turn about y_s, feet first about z_s.
_SIGNS = np.array(
    [
        (+1.0, -1.0, +1.0),
        (-1.0, +1.0, +1.0),
        (-1.0, -1.0, -1.0),
        (+1.0, +1.0, -1.0),
    ]
)


@dataclass(frozen=True, slots=True)
class RigidTransform:
    """A rotation followed by a translation: r -> rotation · r + translation.

    Attributes
    ----------
    rotation : ndarray of shape (3, 3)
    translation : ndarray of shape (3,)
    """

    rotation: FloatArray
    translation: FloatArray

    def apply(self, points: npt.ArrayLike) -> FloatArray:
        """Transform points of shape (n, 3), or one point of shape (3,)."""
        transformed: FloatArray = np.asarray(points, dtype=float) @ self.rotation.T + self.translation
        return transformed

    def rotate(self, directions: npt.ArrayLike) -> FloatArray:
        """Rotate directions of shape (n, 3), or one direction of shape (3,), without the translation."""
        rotated: FloatArray = np.asarray(directions, dtype=float) @ self.rotation.T
        return rotated

    def inverse(self) -> RigidTransform:
        """The transform that undoes this one."""
        return RigidTransform(self.rotation.T, -self.rotation.T @ self.translation)


def position_code_of(patient_position: str) -> int:
    """The number by which compiled code knows a patient position.

    Raises
    ------
    UnsupportedPlanError
        When the position is none of HFS, HFP, FFS and FFP.
    """
    if patient_position not in PATIENT_POSITION_CODES:
        raise UnsupportedPlanError(
            f"Patient Position (0018,5100): {patient_position!r} found, expected one of "
            f"{', '.join(PATIENT_POSITION_CODES)}. Other positions are not modelled."
        )
    return PATIENT_POSITION_CODES[patient_position]


def _entries(  # noqa: PLR0917 - compiled code knows arguments by place
    cg: Any, sg: Any, cb: Any, sb: Any, cs: Any, ss: Any, sx: Any, sy: Any, sz: Any
) -> Any:
    """The nine entries, row by row, of M^T · R_z(-couch) · R_y(gantry) · R_z(collimator).

    c and s are cosine and sine; g, b and s stand for gantry, beam limiting device and patient support;
    sx, sy, sz are the signs of the patient position. Works alike on numbers and on arrays.
    """
    # R_y(gantry) · R_z(collimator): beam limiting device to fixed
    xx, xy, xz = cg * cb, -cg * sb, sg
    yx, yy, yz = sb, cb, 0.0 * sg
    zx, zy, zz = -sg * cb, sg * sb, cg
    return (
        sx * (cs * xx + ss * yx),
        sx * (cs * xy + ss * yy),
        sx * (cs * xz + ss * yz),
        sy * zx,
        sy * zy,
        sy * zz,
        sz * (cs * yx - ss * xx),
        sz * (cs * yy - ss * xy),
        sz * (cs * yz - ss * xz),
    )


_compiled_entries = part_of_kernel(_entries)


@part_of_kernel
def bld_to_patient_entries(
    gantry: float, collimator: float, couch: float, position_code: int
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Rotation from the beam limiting device system to the patient row by row, for compiled code.

    Parameters
    ----------
    gantry, collimator, couch : float
        Degrees.
    position_code : int
        From `position_code_of`.
    """
    g, b, s = math.radians(gantry), math.radians(collimator), math.radians(couch)
    entries: tuple[float, float, float, float, float, float, float, float, float] = _compiled_entries(
        math.cos(g),
        math.sin(g),
        math.cos(b),
        math.sin(b),
        math.cos(s),
        math.sin(s),
        _SIGNS[position_code, 0],
        _SIGNS[position_code, 1],
        _SIGNS[position_code, 2],
    )
    return entries


def rotation_arrays_for(
    gantry: npt.ArrayLike, collimator: npt.ArrayLike, couch: npt.ArrayLike, patient_position: str
) -> FloatArray:
    """Rotations from the beam limiting device system to the patient, one for each set of angles.

    Parameters
    ----------
    gantry, collimator, couch : array_like of shape (n,), or numbers
        Degrees; broadcast against each other.
    patient_position : str
        HFS, HFP, FFS or FFP.

    Returns
    -------
    ndarray of shape (n, 3, 3)

    Raises
    ------
    UnsupportedPlanError
        For another patient position.
    """
    g, b, s = np.broadcast_arrays(
        *(np.atleast_1d(np.radians(np.asarray(angle, dtype=float))) for angle in (gantry, collimator, couch))
    )
    signs = _SIGNS[position_code_of(patient_position)]
    entries = _entries(np.cos(g), np.sin(g), np.cos(b), np.sin(b), np.cos(s), np.sin(s), *signs)
    rotations: FloatArray = np.stack(entries, axis=-1).reshape(*g.shape, 3, 3)
    return rotations


def rotations_about_patient_axes(angles: npt.ArrayLike) -> FloatArray:
    """Right-handed rotations about the patient's axes: about x first, then about y, then about z.

    Parameters
    ----------
    angles : array_like of shape (n, 3)
        Degrees about x, y and z of DICOM LPS.

    Returns
    -------
    ndarray of shape (n, 3, 3)
    """
    x, y, z = np.radians(np.atleast_2d(np.asarray(angles, dtype=float))).T
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    rows = (
        (cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz),
        (cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz),
        (-sy, sx * cy, cx * cy),
    )
    rotations: FloatArray = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    return rotations


def beam_limiting_device_to_patient(
    *,
    gantry: float,
    collimator: float,
    couch: float,
    isocentre: npt.ArrayLike,
    patient_position: str,
) -> RigidTransform:
    """From the beam limiting device system (origin at the isocentre, source at +z) to the patient (LPS).

    Parameters
    ----------
    gantry, collimator, couch : float
        IEC 61217 degrees.
    isocentre : array_like of shape (3,)
        LPS mm.
    patient_position : str
        HFS, HFP, FFS or FFP.
    """
    rotation = rotation_arrays_for(gantry, collimator, couch, patient_position)[0]
    return RigidTransform(rotation, np.asarray(isocentre, dtype=float).copy())


def source_position(
    *,
    gantry: float,
    couch: float,
    isocentre: npt.ArrayLike,
    patient_position: str,
    source_axis_distance: float = 1000.0,
) -> FloatArray:
    """Where the source is in the patient's system (LPS mm), shape (3,). The collimator does not move it."""
    transform = beam_limiting_device_to_patient(
        gantry=gantry, collimator=0.0, couch=couch, isocentre=isocentre, patient_position=patient_position
    )
    return transform.apply((0.0, 0.0, source_axis_distance))


def project_to_isocentre_plane(
    points_lps: npt.ArrayLike,
    *,
    gantry: float,
    collimator: float,
    couch: float,
    isocentre: npt.ArrayLike,
    patient_position: str,
    source_axis_distance: float = 1000.0,
) -> FloatArray:
    """Where points of the patient are seen in the beam's-eye view.

    Parameters
    ----------
    points_lps : array_like of shape (n, 3)
        Patient coordinates, mm.
    gantry, collimator, couch : float
        IEC 61217 degrees.
    isocentre : array_like of shape (3,)
        LPS mm.
    patient_position : str
        HFS, HFP, FFS or FFP.
    source_axis_distance : float
        mm.

    Returns
    -------
    ndarray of shape (n, 2)
        x_b and y_b where the ray from the source through the point meets the isocentre plane: the
        plane in which jaw and leaf positions are stated.

    Raises
    ------
    ValueError
        When a point is not below the source.
    """
    transform = beam_limiting_device_to_patient(
        gantry=gantry, collimator=collimator, couch=couch, isocentre=isocentre, patient_position=patient_position
    )
    points = transform.inverse().apply(np.atleast_2d(np.asarray(points_lps, dtype=float)))
    distance_below_source = source_axis_distance - points[:, 2]
    if np.any(distance_below_source <= 0):
        raise ValueError("a point at or above the source has no place in the beam's-eye view")
    magnification = source_axis_distance / distance_below_source
    seen: FloatArray = points[:, :2] * magnification[:, np.newaxis]
    return seen
