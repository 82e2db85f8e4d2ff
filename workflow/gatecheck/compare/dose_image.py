"""A dose with the voxels that it lies on, as every comparison of two doses needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.compare.sampling import VoxelGrid
from gatecheck.errors import InputError

DoseArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Direction cosines off an axis by more than this are a tilt: 0.05 mm across 500 mm.
_COSINE_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class DoseImage:
    """A dose on an axis-aligned grid; between the centres of voxels it is trilinear.

    Attributes
    ----------
    values_zyx : ndarray of shape (nz, ny, nx), float32 or float64
        Gy. NaN where there is no dose.
    grid : VoxelGrid

    Raises
    ------
    ValueError
        When the array is not of the grid's size, or holds other than floats.
    """

    values_zyx: DoseArray
    grid: VoxelGrid

    def __post_init__(self) -> None:
        if self.values_zyx.shape != self.grid.size[::-1]:
            raise ValueError(f"an array of shape {self.values_zyx.shape} on a grid of {self.grid.size} (x, y, z)")
        if self.values_zyx.dtype not in (np.float32, np.float64):
            raise ValueError(f"dose of {self.values_zyx.dtype}, float32 or float64 expected")

    @classmethod
    def of(cls, image: sitk.Image) -> DoseImage:
        """The dose of an axis-aligned image whose axes are x, y, z; whole numbers become float64."""
        values = sitk.GetArrayFromImage(image)
        if values.dtype not in (np.float32, np.float64):
            values = values.astype(np.float64)
        return cls(values, VoxelGrid.of(image))


def read_dose_image(path: Path, name: str) -> DoseImage:
    """Read a dose in Gy from a MetaImage.

    Axes that run backwards or are stored in another order are turned to x, y, z.

    Parameters
    ----------
    name : str
        What messages call the file, whose own name may be a patient's.

    Raises
    ------
    InputError
        When the file is missing, no image of three dimensions and one component, oblique, or holds infinite doses.
    """
    image = read_aligned_image(path, name)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{name}: {image.GetNumberOfComponentsPerPixel()} values a voxel, one dose expected.")
    dose = DoseImage.of(image)
    if np.isinf(dose.values_zyx).any():
        raise InputError(f"{name}: holds infinite doses. Calculate the dose again.")
    return dose


def read_inside(path: Path, grid: VoxelGrid, name: str) -> BoolArray:
    """Which voxels of a grid lie in a mask (inside fractions of 0 to 1, on any axis-aligned grid), [z, y, x].

    The mask is interpolated at the voxels' centres; half and more is inside, beyond the mask's grid is outside.

    Raises
    ------
    InputError
        When the file cannot be read as such a mask, or none of the voxels lies inside.
    """
    mask = read_aligned_image(path, name)
    values = sitk.GetArrayViewFromImage(mask)
    if values.max() == 0:
        raise InputError(f"{name}: 0 in every voxel, nothing lies inside this mask.")
    if values.ndim != 3 or not (values.min() >= 0 and 0 < values.max() <= 1):
        raise InputError(f"{name}: not a mask; one fraction of 0 to 1 a voxel expected, 1 inside.")
    inside: BoolArray = (
        sitk.GetArrayFromImage(
            sitk.Resample(
                sitk.Cast(mask, sitk.sitkFloat32),
                grid.size,
                sitk.Transform(),
                sitk.sitkLinear,
                grid.origin,
                grid.spacing,
                np.eye(3).ravel().tolist(),
                0.0,
                sitk.sitkFloat32,
            )
        )
        >= 0.5
    )
    if not inside.any():
        raise InputError(f"{name}: no voxel of the reference dose lies inside this mask.")
    return inside


def read_aligned_image(path: Path, name: str) -> sitk.Image:
    """Read an image of three dimensions with its axes in the order and direction of x, y and z.

    Raises
    ------
    InputError
        When the file is missing, damaged, of another number of dimensions, or oblique.
    """
    if not path.is_file():
        raise InputError(f"{name}: not found.")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        raise InputError(f"{name}: cannot be read as an image. A whole MetaImage is expected.") from None
    if image.GetDimension() != 3:
        raise InputError(f"{name}: {image.GetDimension()} dimensions found, 3 expected.")
    cosines = np.abs(np.array(image.GetDirection()).reshape(3, 3))
    if np.abs(cosines - np.rint(cosines)).max() > _COSINE_TOLERANCE:
        raise InputError(f"{name}: its grid is oblique. Resample it to one along x, y and z.")
    aligned: sitk.Image = sitk.DICOMOrient(image, "LPS")
    return aligned
