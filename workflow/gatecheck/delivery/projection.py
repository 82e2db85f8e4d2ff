"""What the source sees of the patient: points and structures cast on the isocentre plane.

The plane is that of the beam limiting device system (see `coordinates`): x_b and y_b at z_b = 0, where jaw and
leaf positions are stated. A point is seen where the ray from the target through it meets that plane.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.delivery.coordinates import (
    RigidTransform,
    beam_limiting_device_to_patient,
    project_to_isocentre_plane,
    source_position,
)
from gatecheck.delivery.model import BeamTimeline, MachineState

FloatArray = npt.NDArray[np.float64]

_WHOLLY_INSIDE = 0.999  # of a voxel: a ray that met it need not look further


def state_at_control_point(beam: BeamTimeline, index: int) -> MachineState:
    """The machine at one node of a timeline, which is a control point of the plan.

    Unlike `timeline.state_at` it can tell two nodes of one meterset apart.

    Parameters
    ----------
    index : int
        From 0, as DICOM's Control Point Index (300A,0112).

    Raises
    ------
    IndexError
        When the beam has no such control point.
    """
    if not 0 <= index < len(beam.meterset):
        raise IndexError(f"beam {beam.number} has control points 0 to {len(beam.meterset) - 1}, not {index}")
    x, y, z = beam.isocentre[index].tolist()
    (x1, x2), (y1, y2) = beam.jaw_x[index].tolist(), beam.jaw_y[index].tolist()
    return MachineState(
        meterset=float(beam.meterset[index]),
        gantry=float(beam.gantry[index]),
        collimator=float(beam.collimator[index]),
        couch=float(beam.couch[index]),
        jaw_x=(x1, x2),
        jaw_y=(y1, y2),
        leaf_positions=None if beam.leaf_positions is None else beam.leaf_positions[index],
        isocentre=(x, y, z),
    )


def project_points(
    points_lps: npt.ArrayLike, state: MachineState, *, patient_position: str, source_axis_distance: float
) -> FloatArray:
    """Where points of the patient are seen, x_b and y_b, shape (n, 2).

    Parameters
    ----------
    points_lps : array_like of shape (n, 3)
        mm.
    patient_position : str
        HFS, HFP, FFS or FFP.
    source_axis_distance : float

    Raises
    ------
    ValueError
        When a point is not below the source.
    """
    return project_to_isocentre_plane(
        points_lps,
        gantry=state.gantry,
        collimator=state.collimator,
        couch=state.couch,
        isocentre=state.isocentre,
        patient_position=patient_position,
        source_axis_distance=source_axis_distance,
    )


def patient_axes_in_view(state: MachineState, *, patient_position: str) -> FloatArray:
    """Directions of the patient's left, back and head in the beam limiting device system.

    Returns
    -------
    ndarray of shape (3, 3)
        One row each for x, y and z of DICOM LPS; columns x_b, y_b and z_b, the last towards the source.
    """
    return _to_patient(state, patient_position).inverse().rotate(np.eye(3))


def shadow_of_mask(
    mask: sitk.Image,
    state: MachineState,
    *,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    patient_position: str,
    source_axis_distance: float,
) -> FloatArray:
    """The largest inside fraction that each ray from the source meets in a structure.

    The structure is seen where this exceeds one half. Between voxel centres the mask is interpolated linearly; a ray
    is sampled at steps of the smallest voxel spacing, so that an outline is off by a hundredth of a voxel or so.

    Parameters
    ----------
    mask : axis-aligned volume
        Inside fractions, 0 to 1, LPS mm; nothing lies outside of it.
    x, y : array_like of shape (nx,) and (ny,)
        x_b and y_b at the isocentre plane.

    Returns
    -------
    ndarray of shape (ny, nx)
    """
    columns, rows = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    # One layer of nothing, so that a structure cropped to its last voxel ends half a voxel behind it.
    padded = sitk.ConstantPad(mask, (1, 1, 1), (1, 1, 1), 0.0)
    origin, spacing = np.array(padded.GetOrigin()), np.array(padded.GetSpacing())
    source = source_position(
        gantry=state.gantry,
        couch=state.couch,
        isocentre=state.isocentre,
        patient_position=patient_position,
        source_axis_distance=source_axis_distance,
    )
    plane = np.stack([*np.meshgrid(columns, rows), np.zeros((len(rows), len(columns)))], axis=-1).reshape(-1, 3)
    rays = _to_patient(state, patient_position).apply(plane) - source
    largest = _largest_along(
        sitk.GetArrayFromImage(padded).astype(np.float32),
        (source - origin) / spacing,
        rays / spacing,
        float(spacing.min()) / np.linalg.norm(rays, axis=1),
    )
    return largest.reshape(len(rows), len(columns))


def _to_patient(state: MachineState, patient_position: str) -> RigidTransform:
    return beam_limiting_device_to_patient(
        gantry=state.gantry,
        collimator=state.collimator,
        couch=state.couch,
        isocentre=state.isocentre,
        patient_position=patient_position,
    )


@numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _largest_along(
    values_zyx: npt.NDArray[np.float32], source: FloatArray, rays: FloatArray, steps: FloatArray
) -> FloatArray:
    """Largest interpolated value along each ray, shape (n,).

    Parameters
    ----------
    source : ndarray of shape (3,)
        In voxel indices x, y, z.
    rays : ndarray of shape (n, 3)
        From the source to the isocentre plane, in voxel indices; followed beyond.
    steps : ndarray of shape (n,)
        As a share of the ray.
    """
    largest = np.zeros(len(rays))
    nz, ny, nx = values_zyx.shape
    for index in range(len(rays)):
        first, last = _inside_box(source, rays[index], (nx, ny, nz))
        share = first
        while share < last and largest[index] < _WHOLLY_INSIDE:
            value = _interpolated(
                values_zyx,
                source[0] + share * rays[index, 0],
                source[1] + share * rays[index, 1],
                source[2] + share * rays[index, 2],
            )
            largest[index] = max(largest[index], value)
            share += steps[index]
    return largest


@numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _inside_box(source: FloatArray, ray: FloatArray, size: tuple[int, int, int]) -> tuple[float, float]:
    """Shares of a ray between which it runs within the voxel centres; the second is not larger where it does not."""
    first, last = 0.0, np.inf
    for axis in range(3):
        if abs(ray[axis]) < 1e-12:
            if not 0.0 <= source[axis] <= size[axis] - 1:
                return 0.0, 0.0
            continue
        near = -source[axis] / ray[axis]
        far = (size[axis] - 1 - source[axis]) / ray[axis]
        first = max(first, min(near, far))
        last = min(last, max(near, far))
    return first, last


@numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _interpolated(values_zyx: npt.NDArray[np.float32], x: float, y: float, z: float) -> float:
    """Trilinear between voxel centres; x, y, z in indices."""
    nz, ny, nx = values_zyx.shape
    i = min(max(int(x), 0), nx - 2)
    j = min(max(int(y), 0), ny - 2)
    k = min(max(int(z), 0), nz - 2)
    a, b, c = x - i, y - j, z - k
    total = 0.0
    for dk in range(2):
        for dj in range(2):
            for di in range(2):
                weight = (a if di else 1.0 - a) * (b if dj else 1.0 - b) * (c if dk else 1.0 - c)
                total += weight * values_zyx[k + dk, j + dj, i + di]
    return total
