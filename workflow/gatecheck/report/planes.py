"""Planes cut through the volumes, seen as a radiologist sees them.

Axial planes are seen from the feet (patient's right on the left), coronal planes from the front,
sagittal planes from the patient's left (anterior on the left). DICOM LPS throughout: x to the
patient's left, y to posterior, z to the head, whatever the patient position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

FloatArray = npt.NDArray[np.float64]
Orientation = Literal["axial", "coronal", "sagittal"]
Vector = tuple[float, float, float]

ORIENTATIONS: tuple[Orientation, ...] = ("axial", "coronal", "sagittal")
PIXELS = 560

_AXES: dict[Orientation, tuple[int, int, int]] = {  # across, up or down, normal: indices into x, y, z
    "axial": (0, 1, 2),
    "coronal": (0, 2, 1),
    "sagittal": (1, 2, 0),
}
_LABELS: dict[Orientation, tuple[str, str, str, str]] = {  # left, right, top, bottom
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "H", "F"),
    "sagittal": ("A", "P", "H", "F"),
}
_SEEN_FROM: dict[Orientation, str] = {
    "axial": "seen from the feet",
    "coronal": "seen from the front",
    "sagittal": "seen from the patient's left",
}
_NAMES = "xyz"


@dataclass(frozen=True, slots=True)
class Plane:
    """A square window of `side` mm in the plane through `point`, with square pixels.

    Attributes
    ----------
    orientation : "axial", "coronal" or "sagittal"
    point : (x, y, z)
        A point of the plane, LPS mm.
    centre : (x, y, z)
        Centre of the window; its coordinate along the normal is that of `point`.
    side : float
        mm.
    """

    orientation: Orientation
    point: Vector
    centre: Vector
    side: float

    @property
    def axes(self) -> tuple[int, int, int]:
        """Indices into x, y, z of the axis across, the axis up or down, and the normal."""
        return _AXES[self.orientation]

    @property
    def labels(self) -> tuple[str, str, str, str]:
        """Anatomical directions at the left, right, top and bottom edge."""
        return _LABELS[self.orientation]

    @property
    def position(self) -> str:
        """Where the plane lies, for a title."""
        normal = self.axes[2]
        return f"{_NAMES[normal]} = {self.point[normal]:.1f} mm".replace("-", "\N{MINUS SIGN}")

    @property
    def seen_from(self) -> str:
        """Where the one who looks at the drawing stands."""
        return _SEEN_FROM[self.orientation]

    @property
    def vertical_axis_points_down(self) -> bool:
        """Posterior is at the bottom of an axial plane; the head is at the top of the others."""
        return self.orientation == "axial"

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in mm, for drawing with the first row of the array at its own end."""
        across, vertical, _ = self.axes
        left, right = self.centre[across] - self.side / 2, self.centre[across] + self.side / 2
        low, high = self.centre[vertical] - self.side / 2, self.centre[vertical] + self.side / 2
        return (left, right, high, low) if self.vertical_axis_points_down else (left, right, low, high)

    def pixel_centres(self) -> tuple[FloatArray, FloatArray]:
        """Coordinates of the columns and rows of a sampled plane, mm, each of shape (PIXELS,)."""
        offsets = (np.arange(PIXELS) + 0.5) / PIXELS * self.side - self.side / 2
        across, vertical, _ = self.axes
        return self.centre[across] + offsets, self.centre[vertical] + offsets

    def sample(self, image: sitk.Image, *, outside: float, nearest: bool = False) -> FloatArray:
        """Values of an axis-aligned volume on this plane.

        Parameters
        ----------
        image : axis-aligned volume, LPS mm
        outside : value beyond the volume, may be NaN
        nearest : no interpolation, for labels

        Returns
        -------
        ndarray of shape (PIXELS, PIXELS)
            Row by the vertical axis, column by the axis across, both by ascending coordinate.
        """
        across, vertical, normal = self.axes
        pixel = self.side / PIXELS
        size, origin, spacing = [1, 1, 1], list(self.point), [1.0, 1.0, 1.0]
        columns, rows = self.pixel_centres()
        for axis, first in ((across, columns[0]), (vertical, rows[0])):
            size[axis], spacing[axis], origin[axis] = PIXELS, pixel, float(first)
        resampled = sitk.Resample(
            image,
            size,
            sitk.Transform(),
            sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear,
            origin,
            spacing,
            (1, 0, 0, 0, 1, 0, 0, 0, 1),
            outside,
            sitk.sitkFloat32,
        )
        array_zyx: FloatArray = sitk.GetArrayFromImage(resampled).astype(np.float64)
        return np.squeeze(array_zyx, axis=2 - normal)


def planes_through(point: Vector, centre: Vector, side: float) -> tuple[Plane, ...]:
    """The three planes through a point, windows of one scale round a centre."""
    planes = []
    for orientation in ORIENTATIONS:
        normal = _AXES[orientation][2]
        middle = list(centre)
        middle[normal] = point[normal]
        planes.append(Plane(orientation, point, (middle[0], middle[1], middle[2]), side))
    return tuple(planes)


def bounds(image: sitk.Image) -> tuple[Vector, Vector]:
    """Lowest and highest corner of a volume, faces of its outermost voxels, LPS mm."""
    low = [o - s / 2 for o, s in zip(image.GetOrigin(), image.GetSpacing(), strict=True)]
    high = [a + s * n for a, s, n in zip(low, image.GetSpacing(), image.GetSize(), strict=True)]
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
