"""Volumes for the slice viewer: rounded to 16 bit by a stated step, compressed, as text inside the page.

A browser has them back by `DecompressionStream`: bytes of a zlib stream in base64; in it the low bytes of all voxels,
then the high bytes; in these each slice but the first as its difference from the slice below, modulo 2^16.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.patient.model import Grid

FloatArray = npt.NDArray[np.floating]
CodeArray = npt.NDArray[np.int16]

NO_VALUE = -32768
"""Code of a voxel of which there is no value (NaN)."""

NOT_REACHED = -32767
"""Code of a voxel whose gamma found no dose to compare with near enough (minus infinity)."""

_LARGEST_CODE = 32_000
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Volume:
    """Values of a quantity on a grid, rounded.

    Attributes
    ----------
    codes_zyx : ndarray of shape (nz, ny, nx), int16
        Values in steps, to the nearest; or `NO_VALUE`, or `NOT_REACHED`.
    step : float
        In the quantity's unit. A value is off by half of it at most.
    """

    codes_zyx: CodeArray
    step: float

    def packed(self) -> dict[str, object]:
        """What the page holds: step, size (x, y, z) and text."""
        unsigned = np.ascontiguousarray(self.codes_zyx).view(np.uint16)
        steps = unsigned.copy()
        steps[1:] -= unsigned[:-1]
        planes = (steps & 0xFF).astype(np.uint8).tobytes() + (steps >> 8).astype(np.uint8).tobytes()
        text = base64.b64encode(zlib.compress(planes, 6)).decode("ascii")
        return {"step": self.step, "size": list(self.codes_zyx.shape[::-1]), "data": text}


def rounded(values_zyx: FloatArray, step: float) -> Volume:
    """Round to steps; to larger ones where these would not hold the largest value.

    Parameters
    ----------
    values_zyx : ndarray of shape (nz, ny, nx)
        NaN: no value; minus infinity: not reached.
    step : float
        More than 0.

    Raises
    ------
    ValueError
        For plus infinity, which is neither, and for a step that is none.
    """
    if not step > 0:
        raise ValueError(f"a step of {step:g}, more than 0 expected")
    if np.isposinf(values_zyx).any():
        raise ValueError("infinite values")
    finite = np.isfinite(values_zyx)
    largest = float(np.abs(values_zyx[finite]).max(initial=0.0))
    step = max(step, largest / _LARGEST_CODE)
    codes = np.full(values_zyx.shape, NO_VALUE, dtype=np.int16)
    codes[np.isneginf(values_zyx)] = NOT_REACHED
    codes[finite] = np.rint(values_zyx[finite].astype(np.float64) / step).astype(np.int16)
    return Volume(codes, step)


def on_grid(image: sitk.Image, grid: Grid, *, outside: float, nearest: bool = False) -> npt.NDArray[np.float64]:
    """Values of an axis-aligned image at the centres of a grid's voxels, shape (nz, ny, nx).

    Parameters
    ----------
    outside : value beyond the image, may be NaN
    nearest : no interpolation; else linear between the centres of the image's voxels
    """
    resampled = sitk.Resample(
        image,
        list(grid.size),
        sitk.Transform(),
        sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear,
        list(grid.origin),
        list(grid.spacing),
        _IDENTITY,
        outside,
        sitk.sitkFloat64,
    )
    values: npt.NDArray[np.float64] = sitk.GetArrayFromImage(resampled)
    return values
