"""The patient displaced against the machine: six numbers, as rigid transforms of the patient's own coordinates.

A displaced patient is described by where each of its points comes to lie: a point that was planned at r (DICOM LPS)
lies at the place in the room that the plan calls

    T(r) = isocentre + R (r - isocentre) + t

with R the rotation about the isocentre, about the patient's axes x, y, z in this order, and t the translation. Seen
from the patient the machine has then moved by the inverse of T. No setting of gantry, couch and collimator is needed
for that, so it is exact for every rotation: the head does not know the patient, and what it lets through is carried
over into the displaced patient's coordinates as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.coordinates import RigidTransform, rotations_about_patient_axes

FloatArray = npt.NDArray[np.float64]
Vector = tuple[float, float, float]

SIX = ("x", "y", "z", "about_x", "about_y", "about_z")
"""Order of a displacement's numbers: mm along, then degrees about the patient's axes (DICOM LPS)."""

_SAME_PLACE = 1e-3  # mm


@dataclass(frozen=True, slots=True)
class Displacement:
    """How far the patient lies from where it was planned.

    Attributes
    ----------
    translation : (float, float, float)
        mm along x (to the patient's left), y (to the back) and z (to the head).
    rotation : (float, float, float)
        Degrees about x, y and z through the isocentre, right-handed, in this order.
    """

    translation: Vector
    rotation: Vector


def displacement_of(six: npt.ArrayLike) -> Displacement:
    """A displacement from its six numbers, in the order of `SIX`."""
    x, y, z, about_x, about_y, about_z = (float(value) for value in np.asarray(six, dtype=float))
    return Displacement((x, y, z), (about_x, about_y, about_z))


def patient_transform(displacement: Displacement, isocentre: npt.ArrayLike) -> RigidTransform:
    """From where a point of the patient was planned to where it lies, both LPS mm.

    Parameters
    ----------
    isocentre : array_like of shape (3,)
        LPS mm.
    """
    matrix = patient_affines((*displacement.translation, *displacement.rotation), isocentre)[0]
    return RigidTransform(matrix[:, :3], matrix[:, 3])


def patient_affines(six: npt.ArrayLike, isocentre: npt.ArrayLike) -> FloatArray:
    """`patient_transform` for many displacements: matrices A with T(r) = A[:, :3] r + A[:, 3].

    Parameters
    ----------
    six : array_like of shape (n, 6)
        In the order of `SIX`.
    isocentre : array_like of shape (3,)
        LPS mm.

    Returns
    -------
    ndarray of shape (n, 3, 4)
    """
    values = np.atleast_2d(np.asarray(six, dtype=float))
    centre = np.asarray(isocentre, dtype=float)
    rotations = rotations_about_patient_axes(values[:, 3:])
    translations = centre + values[:, :3] - rotations @ centre
    return np.concatenate([rotations, translations[:, :, np.newaxis]], axis=2)


def carried_over(
    positions: FloatArray, directions: FloatArray, transform: RigidTransform
) -> tuple[FloatArray, FloatArray]:
    """Particles of the machine as a displaced patient sees them.

    Parameters
    ----------
    positions, directions : ndarray of shape (n, 3)
        In the patient's coordinates as planned.
    transform : RigidTransform
        From `patient_transform`.

    Returns
    -------
    (ndarray, ndarray)
        Positions and directions in the displaced patient's own coordinates, those of its CT.
    """
    machine = transform.inverse()
    return machine.apply(positions), machine.rotate(directions)


def common_isocentre(isocentres: npt.ArrayLike) -> Vector | None:
    """The one isocentre of all control points, LPS mm; None when they have several, or none.

    Parameters
    ----------
    isocentres : array_like of shape (n, 3)
    """
    nodes = np.asarray(isocentres, dtype=float).reshape(-1, 3)
    if not len(nodes) or np.abs(nodes - nodes[0]).max() > _SAME_PLACE:
        return None
    x, y, z = (float(value) for value in nodes[0])
    return x, y, z
