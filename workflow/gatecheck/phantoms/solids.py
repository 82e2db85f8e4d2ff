"""Bodies described slice by slice as superellipses: painted into CT numbers and drawn as contours.

The same description gives both, so that a structure's volume and the matter under it are those of one
analytic solid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

AIR = -1000.0
_SAMPLES_PER_PIXEL = 4


@dataclass(frozen=True, slots=True)
class Section:
    """The superellipse |x/a|^n + |y/b|^n <= 1 in a plane of constant z.

    Attributes
    ----------
    centre : (float, float)
        LPS x and y, mm.
    semi_axes : (float, float)
        a and b, mm.
    exponent : float
        n; 2 is an ellipse, larger is closer to a rectangle.
    """

    centre: tuple[float, float]
    semi_axes: tuple[float, float]
    exponent: float = 2.0

    def contains(self, x: FloatArray, y: FloatArray) -> npt.NDArray[np.bool_]:
        """Which of the points are inside."""
        across = np.abs((x - self.centre[0]) / self.semi_axes[0]) ** self.exponent
        along = np.abs((y - self.centre[1]) / self.semi_axes[1]) ** self.exponent
        inside: npt.NDArray[np.bool_] = across + along <= 1.0
        return inside

    @property
    def area(self) -> float:
        """In mm²: 4ab Γ(1 + 1/n)² / Γ(1 + 2/n)."""
        n = self.exponent
        return 4.0 * self.semi_axes[0] * self.semi_axes[1] * math.gamma(1 + 1 / n) ** 2 / math.gamma(1 + 2 / n)

    def grown(self, margin: float) -> Section | None:
        """With both semi-axes larger by a margin (smaller for a negative one); None when nothing is left."""
        a, b = self.semi_axes[0] + margin, self.semi_axes[1] + margin
        return Section(self.centre, (a, b), self.exponent) if min(a, b) > 0 else None

    def contour(self, points: int = 96) -> FloatArray:
        """A polygon of exactly the section's area.

        Returns
        -------
        ndarray of shape (points, 2)
            LPS x and y, counter-clockwise in x and y, not closed.
        """
        angle = 2 * np.pi * np.arange(points) / points
        cosine, sine = np.cos(angle), np.sin(angle)
        power = 2.0 / self.exponent
        x = np.sign(cosine) * np.abs(cosine) ** power * self.semi_axes[0]
        y = np.sign(sine) * np.abs(sine) ** power * self.semi_axes[1]
        inscribed = 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
        polygon: FloatArray = np.stack([x, y], axis=1) * math.sqrt(self.area / inscribed) + np.array(self.centre)
        return polygon


# z (LPS mm) -> the sections of a body in that plane; overlaps count once.
Sections = Callable[[float], tuple[Section, ...]]


@dataclass(frozen=True, slots=True)
class Solid:
    """A body of one CT number.

    Attributes
    ----------
    name : str
    ct_number : float
        Hounsfield units.
    sections : callable
        The body, plane by plane.
    """

    name: str
    ct_number: float
    sections: Sections


@dataclass(frozen=True, slots=True)
class Raster:
    """The voxel grid of a CT.

    Attributes
    ----------
    size : (int, int, int)
        Voxels along x, y, z.
    spacing : (float, float, float)
    origin : (float, float, float)
        Centre of the first voxel, LPS mm.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]

    def centres(self, axis: int) -> FloatArray:
        """Coordinates of the voxel centres along an axis (0 is x)."""
        positions: FloatArray = self.origin[axis] + self.spacing[axis] * np.arange(self.size[axis], dtype=float)
        return positions


def paint(solids: Sequence[Solid], raster: Raster) -> npt.NDArray[np.int16]:
    """CT numbers of bodies in air; a later body replaces an earlier one.

    Each pixel is the mean of 4 x 4 samples, each slice is the plane of its centre.

    Returns
    -------
    ndarray of shape (nz, ny, nx), int16
    """
    x, y = (_sample_positions(raster, axis) for axis in (0, 1))
    ct_numbers_zyx = np.empty(raster.size[::-1], dtype=np.int16)
    for index, z in enumerate(raster.centres(2)):
        plane_yx = np.full((len(y), len(x)), AIR)
        for solid in solids:
            for section in solid.sections(float(z)):
                _paint_section(plane_yx, section, solid.ct_number, x, y)
        ct_numbers_zyx[index] = np.rint(_mean_of_samples(plane_yx))
    return ct_numbers_zyx


def contours_of(sections: Sections, planes: FloatArray, points: int = 96) -> list[FloatArray]:
    """Contours of a body on planes of constant z.

    Parameters
    ----------
    sections : callable
        At most one section a plane.
    planes : ndarray of shape (n,)
        z, LPS mm.

    Returns
    -------
    list of ndarray of shape (points, 3)
        LPS mm; none for planes that miss the body.

    Raises
    ------
    ValueError
        When a plane meets the body in several sections, whose overlap even-odd contours would cut out.
    """
    contours: list[FloatArray] = []
    for z in planes:
        met = sections(float(z))
        if len(met) > 1:
            raise ValueError(f"{len(met)} sections found at z = {z:g} mm, at most one can be drawn")
        for section in met:
            outline = section.contour(points)
            contours.append(np.column_stack([outline, np.full(len(outline), float(z))]))
    return contours


def _sample_positions(raster: Raster, axis: int) -> FloatArray:
    offsets = (np.arange(_SAMPLES_PER_PIXEL) + 0.5) / _SAMPLES_PER_PIXEL - 0.5
    return (raster.centres(axis)[:, np.newaxis] + raster.spacing[axis] * offsets).ravel()


def _paint_section(plane_yx: FloatArray, section: Section, ct_number: float, x: FloatArray, y: FloatArray) -> None:
    (x0, y0), (a, b) = section.centre, section.semi_axes
    columns = slice(*np.searchsorted(x, (x0 - a, x0 + a)))
    rows = slice(*np.searchsorted(y, (y0 - b, y0 + b)))
    inside = section.contains(x[columns][np.newaxis, :], y[rows][:, np.newaxis])
    plane_yx[rows, columns][inside] = ct_number


def _mean_of_samples(plane_yx: FloatArray) -> FloatArray:
    rows, columns = (length // _SAMPLES_PER_PIXEL for length in plane_yx.shape)
    mean: FloatArray = plane_yx.reshape(rows, _SAMPLES_PER_PIXEL, columns, _SAMPLES_PER_PIXEL).mean(axis=(1, 3))
    return mean
