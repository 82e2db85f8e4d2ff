"""How DICOM's rows and columns lie on the axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from gatecheck.case.attributes import required_integer, required_numbers
from gatecheck.case.grid import Vector
from gatecheck.errors import InputError, UnsupportedPlanError

# Direction cosines off an axis by more than this are a tilt: 0.05 mm across 500 mm.
_COSINE_TOLERANCE = 1e-4
_PIXEL_SPACING_RANGE = (0.05, 20.0)


@dataclass(frozen=True, slots=True)
class AxialPlane:
    """One axial image plane as DICOM describes it.

    Attributes
    ----------
    row_sign, column_sign : int
        +1 where x increases along an image row (y along a column), else -1.
    position : (float, float, float)
        Centre of the first pixel stored, LPS mm.
    rows, columns : int
    spacing_y, spacing_x : float
        Between rows, and between columns.
    """

    row_sign: int
    column_sign: int
    position: Vector
    rows: int
    columns: int
    spacing_y: float
    spacing_x: float

    @property
    def normal_sign(self) -> int:
        """Direction along z of the cross product of row and column direction."""
        return self.row_sign * self.column_sign

    @property
    def first_xy(self) -> tuple[float, float]:
        """Centre of the pixel of lowest x and y."""
        x, y, _ = self.position
        if self.row_sign < 0:
            x -= (self.columns - 1) * self.spacing_x
        if self.column_sign < 0:
            y -= (self.rows - 1) * self.spacing_y
        return x, y

    def to_lps(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Turn an array indexed [..., row, column] so that y and x increase."""
        return array[..., :: self.column_sign, :: self.row_sign]


def axial_plane(dataset: Dataset, place: str) -> AxialPlane:
    """Read the plane of a CT slice or of an RTDOSE's first frame.

    Raises
    ------
    UnsupportedPlanError
        When rows do not run along x and columns along y (tilted gantry, coronal or sagittal).
    InputError
        For missing attributes.
    """
    cosines = required_numbers(dataset, "ImageOrientationPatient", place, count=6)
    row_sign = 1 if cosines[0] > 0 else -1
    column_sign = 1 if cosines[4] > 0 else -1
    expected = np.array([row_sign, 0, 0, 0, column_sign, 0], dtype=float)
    if np.abs(cosines - expected).max() > _COSINE_TOLERANCE:
        raise UnsupportedPlanError(
            f"{place}: Image Orientation (Patient) (0020,0037) is oblique, coronal or sagittal; "
            "axial without tilt expected. Reconstruct or export axial images without gantry tilt."
        )
    position = required_numbers(dataset, "ImagePositionPatient", place, count=3)
    spacing = required_numbers(dataset, "PixelSpacing", place, count=2)
    low, high = _PIXEL_SPACING_RANGE
    if spacing.min() < low or spacing.max() > high:
        raise InputError(
            f"{place}: Pixel Spacing (0028,0030) is {spacing[0]:g} by {spacing[1]:g} mm, "
            f"{low:g} to {high:g} mm expected. Export it again."
        )
    return AxialPlane(
        row_sign=row_sign,
        column_sign=column_sign,
        position=(float(position[0]), float(position[1]), float(position[2])),
        rows=required_integer(dataset, "Rows", place),
        columns=required_integer(dataset, "Columns", place),
        spacing_y=float(spacing[0]),
        spacing_x=float(spacing[1]),
    )
