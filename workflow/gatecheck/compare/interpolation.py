"""Dose between the centres of voxels, by cubic splines.

A trilinear dose is cut off at every maximum: half-way between voxels h apart, a Gaussian of standard deviation s is
lowered by h^2 / (8 s^2) along each axis, in all by 4 % for a hot spot of 6 mm on voxels of 2 mm. The interpolating
cubic spline (Unser et al., IEEE Trans. Signal Process. 41 (1993) 821) has the voxels' values at their centres and an
error of the order (h / s)^4. It is linear in the dose, so that noise passes through it as it is. At a step it
overshoots by about a tenth of the step within a voxel; trilinear interpolation would smear the step instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import scipy.ndimage

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SplineFields:
    """Several fields on one grid, as coefficients of cubic B-splines.

    Attributes
    ----------
    coefficients_zyxf : ndarray of shape (nz, ny, nx, n_fields), float32
    """

    coefficients_zyxf: Float32Array

    @classmethod
    def of(cls, fields_zyxf: npt.NDArray[np.floating]) -> SplineFields:
        """Fit splines to fields, shape (nz, ny, nx, n_fields); beyond the outermost centres they are mirrored."""
        coefficients = np.ascontiguousarray(fields_zyxf, dtype=np.float32)
        for axis in range(3):
            if coefficients.shape[axis] > 1:
                coefficients = scipy.ndimage.spline_filter1d(coefficients, 3, axis, output=np.float32, mode="mirror")
        return cls(coefficients)

    def at(self, place_zyx: Float32Array) -> Float32Array:
        """Values at points, shape (n_fields, n_points).

        Parameters
        ----------
        place_zyx : ndarray of shape (3, n_points), float32
            In voxels, 0 at the centre of the first; beyond the outermost centres the value at the nearest of these
            planes is taken.
        """
        values = np.zeros((place_zyx.shape[1], self.coefficients_zyxf.shape[3]), dtype=np.float32)
        _sample(self.coefficients_zyxf, place_zyx, values)
        return np.ascontiguousarray(values.T)


def interpolated(dose_zyx: npt.NDArray[np.floating], place_zyx: Float32Array) -> npt.NDArray[np.float64]:
    """One dose at points, shape (n_points,); places as in `SplineFields.at`."""
    values: npt.NDArray[np.float64] = SplineFields.of(dose_zyx[..., None]).at(place_zyx)[0].astype(np.float64)
    return values


@numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _sample(coefficients: Float32Array, place: Float32Array, values: Float32Array) -> None:
    index = np.zeros((3, 4), dtype=np.int64)
    weight = np.zeros((3, 4), dtype=np.float32)
    for point in range(place.shape[1]):
        for axis in range(3):
            last = coefficients.shape[axis] - 1
            at = min(max(float(place[axis, point]), 0.0), float(last))
            first = min(int(at), max(last - 1, 0))
            f = at - first
            weight[axis, 0] = (1 - f) ** 3 / 6
            weight[axis, 1] = (4 - 6 * f**2 + 3 * f**3) / 6
            weight[axis, 2] = (1 + 3 * f + 3 * f**2 - 3 * f**3) / 6
            weight[axis, 3] = f**3 / 6
            for step in range(4):
                reflected = abs(first + step - 1)
                if reflected > last:
                    reflected = 2 * last - reflected
                # Grids of one or two voxels are narrower than the spline.
                index[axis, step] = min(max(reflected, 0), last)
        for a in range(4):
            for b in range(4):
                for c in range(4):
                    w = weight[0, a] * weight[1, b] * weight[2, c]
                    i, j, k = index[0, a], index[1, b], index[2, c]
                    for field in range(values.shape[1]):
                        values[point, field] += w * coefficients[i, j, k, field]
