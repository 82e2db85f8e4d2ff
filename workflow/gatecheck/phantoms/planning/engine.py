"""Dose of a plan in a CT: pencil beams below the radiological depth of each ray.

For each segment the dose is calculated in two planes across the beam for a set of water depths, and each point
takes it at its own place, distance and radiological depth. Dose is to the medium: what a gram of water would get,
times the medium's electrons per gram relative to water (Compton effect alone). Across the beam the kernels are as
narrow as the electron density round the isocentre makes them. What a pencil beam cannot know is left out: the
side-scatter from air cavities and bone, and electrons that cross from one into the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.case.model import PatientPosition
from gatecheck.phantoms.planning.geometry import beam_axes, in_beam
from gatecheck.phantoms.planning.openings import SOURCE_AXIS_DISTANCE, Segment
from gatecheck.phantoms.planning.plane_dose import CommissionedBeam, dose_in_plane
from gatecheck.phantoms.planning.tissue import electron_density, electrons_per_gram
from gatecheck.phantoms.solids import Raster

FloatArray = npt.NDArray[np.float64]

_PLANES = np.array([-70.0, 70.0])  # mm beyond the isocentre, seen from the source
_DEPTHS = np.array([
    0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 17.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 120.0,
    140.0, 170.0, 200.0, 240.0,
])  # fmt: skip
_DEPTH_PART = 1.0  # mm that depths are looked up by
_FINE_STEP, _FINE_HALF, _COARSE_STEPS, _GROWTH = 0.5, 13.0, 14, 1.22
_RAY_STEP, _RAY_HALF = 2.5, 80.0  # mm at the isocentre plane
_MARCH_STEP, _MARCH_HALF = 1.0, 140.0  # mm along the beam
_ROUND_ISOCENTRE = 5.0  # mm to each side: four fifths of the dose round a pencil are nearer
_LEAST_TISSUE = 0.8


@dataclass(frozen=True, slots=True)
class Patient:
    """The CT that dose is calculated in.

    Attributes
    ----------
    ct_numbers_zyx : ndarray of shape (nz, ny, nx)
        Hounsfield units.
    raster : Raster
        Its grid, LPS mm.
    """

    ct_numbers_zyx: npt.NDArray[np.int16]
    raster: Raster
    position: PatientPosition


class DoseEngine:
    """Dose of segments at points of a patient, Gy."""

    def __init__(self, beam: CommissionedBeam, patient: Patient) -> None:
        self._beam = beam
        self._patient = patient
        self._electron_density_zyx = electron_density(patient.ct_numbers_zyx)
        self._lateral = _lateral_places()
        self._first_places = _first_cells(self._lateral, _FINE_STEP)
        self._first_depths = _first_cells(_DEPTHS, _DEPTH_PART)
        self._densities: dict[tuple[float, float, float], float] = {}

    def dose(self, segments: Sequence[Segment], points_xyz: FloatArray) -> FloatArray:
        """Dose of one fraction at points, Gy to medium, shape (n_points,).

        Parameters
        ----------
        points_xyz : ndarray of shape (n_points, 3)
            LPS mm.
        """
        total = np.zeros(len(points_xyz))
        for index, depth_of_rays in self._by_angle(segments):
            total += segments[index].meterset * self._per_meterset(segments[index], depth_of_rays, points_xyz)
        return total * self._to_medium(points_xyz)

    def influence(self, segments: Sequence[Segment], points_xyz: FloatArray) -> FloatArray:
        """Dose per MU of each segment at points, Gy to medium, shape (n_segments, n_points)."""
        matrix = np.empty((len(segments), len(points_xyz)))
        for index, depth_of_rays in self._by_angle(segments):
            matrix[index] = self._per_meterset(segments[index], depth_of_rays, points_xyz)
        return matrix * self._to_medium(points_xyz)

    def _by_angle(self, segments: Sequence[Segment]) -> Iterator[tuple[int, FloatArray]]:
        """Segments in an order that needs the radiological depths of each direction once."""
        order = sorted(range(len(segments)), key=lambda i: (segments[i].gantry, segments[i].couch))
        known: tuple[object, FloatArray] | None = None
        for index in order:
            segment = segments[index]
            direction = (round(segment.gantry, 3), segment.couch, segment.isocentre)
            if known is None or known[0] != direction:
                known = direction, self._radiological_depths(segment)
            yield index, known[1]

    def _radiological_depths(self, segment: Segment) -> FloatArray:
        """mm of water above places on rays from the source, shape (n_rays, n_rays, n_steps) along y_g, x_g and -z_g."""
        raster = self._patient.raster
        return _march(
            self._electron_density_zyx,
            np.array(raster.origin),
            np.array(raster.spacing),
            beam_axes(segment.gantry, 0.0, segment.couch, self._patient.position),
            np.array(segment.isocentre),
        )

    def _per_meterset(self, segment: Segment, depth_of_rays: FloatArray, points_xyz: FloatArray) -> FloatArray:
        """Gy per MU to water."""
        axes = beam_axes(segment.gantry, 0.0, segment.couch, self._patient.position)
        in_gantry = in_beam(points_xyz, axes, segment.isocentre)
        planes = np.stack(
            [
                dose_in_plane(
                    self._beam,
                    segment.rectangles,
                    self._lateral * distance / SOURCE_AXIS_DISTANCE,
                    self._lateral * distance / SOURCE_AXIS_DISTANCE,
                    distance=distance,
                    depths=_DEPTHS,
                    electron_density=self._density_round(segment.isocentre),
                )
                * (distance / SOURCE_AXIS_DISTANCE) ** 2
                for distance in SOURCE_AXIS_DISTANCE + _PLANES
            ]
        )
        angle = np.radians(segment.collimator)
        return _at_points(
            planes,
            self._lateral,
            self._first_places,
            self._first_depths,
            in_gantry,
            np.cos(angle),
            np.sin(angle),
            depth_of_rays,
        )

    def _density_round(self, isocentre: tuple[float, float, float]) -> float:
        """Mean electron density relative to water round an isocentre; 1 where there is little or no tissue."""
        if isocentre not in self._densities:
            raster = self._patient.raster
            centre = (np.array(isocentre) - np.array(raster.origin)) / np.array(raster.spacing)
            reach = _ROUND_ISOCENTRE / np.array(raster.spacing)
            first = np.clip(np.ceil(centre - reach), 0, raster.size).astype(int)
            last = np.clip(np.floor(centre + reach) + 1, first, raster.size).astype(int)
            x, y, z = (slice(*ends) for ends in zip(first, last, strict=True))
            near = self._electron_density_zyx[z, y, x]
            mean = float(near.mean()) if near.size else 0.0
            self._densities[isocentre] = mean if mean > _LEAST_TISSUE else 1.0
        return self._densities[isocentre]

    def _to_medium(self, points_xyz: FloatArray) -> FloatArray:
        """Electrons per gram relative to water at the nearest voxel; 0 outside of the CT."""
        raster = self._patient.raster
        indices = np.rint((points_xyz - np.array(raster.origin)) / np.array(raster.spacing)).astype(int)
        inside = np.all((indices >= 0) & (indices < np.array(raster.size)), axis=1)
        factor = np.zeros(len(points_xyz))
        i, j, k = indices[inside].T
        factor[inside] = electrons_per_gram(self._patient.ct_numbers_zyx[k, j, i])
        return factor


def _lateral_places() -> FloatArray:
    """Places along x and y at the isocentre plane, close together round the axis, mm."""
    fine = np.arange(0.0, _FINE_HALF + 0.5 * _FINE_STEP, _FINE_STEP)
    coarse = _FINE_HALF + np.cumsum(_FINE_STEP * _GROWTH ** np.arange(1, _COARSE_STEPS + 1))
    half = np.concatenate([fine, coarse])
    places: FloatArray = np.concatenate([-half[:0:-1], half])
    return places


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _march(
    density_zyx: FloatArray, origin: FloatArray, spacing: FloatArray, rotation: FloatArray, isocentre: FloatArray
) -> FloatArray:
    """Radiological depth along diverging rays, of the voxels that they pass at every step; 0 outside of the CT."""
    nz, ny, nx = density_zyx.shape
    rays = int(2 * _RAY_HALF / _RAY_STEP) + 1
    steps = int(2 * _MARCH_HALF / _MARCH_STEP) + 1
    depth = np.zeros((rays, rays, steps))
    inverse = 1.0 / spacing
    for row in range(rays):
        for column in range(rays):
            x_iso, y_iso = column * _RAY_STEP - _RAY_HALF, row * _RAY_STEP - _RAY_HALF
            length = np.sqrt(x_iso**2 + y_iso**2 + SOURCE_AXIS_DISTANCE**2) / SOURCE_AXIS_DISTANCE * _MARCH_STEP
            # Voxel indices are linear in the step; 0.5 turns truncation into the nearest voxel.
            start, change = np.empty(3), np.empty(3)
            for axis in range(3):
                across = (rotation[axis, 0] * x_iso + rotation[axis, 1] * y_iso) / SOURCE_AXIS_DISTANCE
                along = rotation[axis, 2] - across
                first = rotation[axis, 2] * _MARCH_HALF + across * (SOURCE_AXIS_DISTANCE - _MARCH_HALF)
                start[axis] = (first + isocentre[axis] - origin[axis]) * inverse[axis] + 0.5
                change[axis] = -along * _MARCH_STEP * inverse[axis]
            before, sum_so_far = 0.0, 0.0
            for step in range(steps):
                i, j, k = start[0] + step * change[0], start[1] + step * change[1], start[2] + step * change[2]
                here = 0.0
                if 0 <= i < nx and 0 <= j < ny and 0 <= k < nz:
                    here = density_zyx[int(k), int(j), int(i)]
                sum_so_far += 0.5 * (before + here) * length
                before = here
                depth[row, column, step] = sum_so_far
    return depth


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _place(value: float, start: float, step: float, count: int) -> tuple[int, float]:
    """Cell and fraction of a value on an even grid, held at its ends."""
    at = min(max((value - start) / step, 0.0), count - 1.000001)
    cell = int(at)
    return cell, at - cell


def _first_cells(nodes: FloatArray, width: float) -> npt.NDArray[np.int64]:
    """Cell of an uneven grid where each of its even parts begins: as a table it is faster than a search."""
    begins = nodes[0] + width * np.arange(int((nodes[-1] - nodes[0]) / width) + 1)
    # A little below, so that no rounding puts a value before the cell where its part begins.
    found = np.searchsorted(nodes, begins - 1e-6, "right") - 1
    first: npt.NDArray[np.int64] = np.clip(found, 0, len(nodes) - 2)
    return first


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _cell(value: float, nodes: FloatArray, first_cells: npt.NDArray[np.int64], width: float) -> tuple[int, float]:
    """Cell and fraction of a value on an uneven grid, held at its ends."""
    held = min(max(value, nodes[0]), nodes[-1])
    cell = first_cells[int((held - nodes[0]) / width)]
    while cell < len(nodes) - 2 and nodes[cell + 1] <= held:
        cell += 1
    return cell, (held - nodes[cell]) / (nodes[cell + 1] - nodes[cell])


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _at_points(  # noqa: PLR0917 - compiled code knows arguments by place
    planes: FloatArray,
    lateral: FloatArray,
    first_places: npt.NDArray[np.int64],
    first_depths: npt.NDArray[np.int64],
    in_gantry: FloatArray,
    cosine: float,
    sine: float,
    depth_of_rays: FloatArray,
) -> FloatArray:
    """Dose at points of the gantry system from (planes, depths, y, x), each index linear."""
    rays, _, steps = depth_of_rays.shape
    dose = np.zeros(len(in_gantry))
    for n in range(len(in_gantry)):
        z = in_gantry[n, 2]
        scale = SOURCE_AXIS_DISTANCE / (SOURCE_AXIS_DISTANCE - z)
        xg, yg = in_gantry[n, 0] * scale, in_gantry[n, 1] * scale
        a, fa = _place(_MARCH_HALF - z, 0.0, _MARCH_STEP, steps)
        b, fb = _place(yg, -_RAY_HALF, _RAY_STEP, rays)
        c, fc = _place(xg, -_RAY_HALF, _RAY_STEP, rays)
        depth = 0.0
        for da in range(2):
            for db in range(2):
                for dc in range(2):
                    depth += (
                        (fa if da else 1.0 - fa)
                        * (fb if db else 1.0 - fb)
                        * (fc if dc else 1.0 - fc)
                        * depth_of_rays[b + db, c + dc, a + da]
                    )
        x, y = cosine * xg + sine * yg, cosine * yg - sine * xg
        p, fp = _place(-z, _PLANES[0], _PLANES[1] - _PLANES[0], len(_PLANES))
        d, fd = _cell(depth, _DEPTHS, first_depths, _DEPTH_PART)
        j, fj = _cell(y, lateral, first_places, _FINE_STEP)
        i, fi = _cell(x, lateral, first_places, _FINE_STEP)
        value = 0.0
        for dp in range(2):
            for dd in range(2):
                weight = (fp if dp else 1.0 - fp) * (fd if dd else 1.0 - fd)
                value += weight * (
                    (1.0 - fj) * ((1.0 - fi) * planes[p + dp, d + dd, j, i] + fi * planes[p + dp, d + dd, j, i + 1])
                    + fj * ((1.0 - fi) * planes[p + dp, d + dd, j + 1, i] + fi * planes[p + dp, d + dd, j + 1, i + 1])
                )
        dose[n] = value * scale**2
    return dose
