"""What GATE is asked to simulate: volumes of matter in air, each with a grid on which dose is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.patient.model import Material

Vector = tuple[float, float, float]
LabelArray = npt.NDArray[np.uint16]

# Volumes that share a face may differ by rounding of their corners, not by more (mm).
_FACE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class VoxelVolume:
    """A box of voxels of different materials; dose is scored on the same voxels.

    Attributes
    ----------
    labels_zyx : ndarray of shape (nz, ny, nx), uint16
        Material labels.
    spacing, origin : (x, y, z)
        Voxel size and centre of the first voxel, LPS mm.
    """

    name: str
    labels_zyx: LabelArray
    spacing: Vector
    origin: Vector

    @property
    def scoring_size(self) -> tuple[int, int, int]:
        """Scoring voxels along x, y, z."""
        nz, ny, nx = self.labels_zyx.shape
        return nx, ny, nz

    @property
    def lower(self) -> Vector:
        """Lower corner, LPS mm."""
        x, y, z = (start - step / 2 for start, step in zip(self.origin, self.spacing, strict=True))
        return x, y, z

    @property
    def upper(self) -> Vector:
        """Upper corner, LPS mm."""
        x, y, z = (
            low + count * step for low, count, step in zip(self.lower, self.scoring_size, self.spacing, strict=True)
        )
        return x, y, z


@dataclass(frozen=True, slots=True)
class HomogeneousVolume:
    """A box of one material; the scoring grid divides it without any voxel face for the particles.

    Attributes
    ----------
    lower, upper : (x, y, z)
        Corners, LPS mm.
    scoring_size : (nx, ny, nz)
        Scoring voxels along x, y, z; they fill the box.
    """

    name: str
    material_label: int
    lower: Vector
    upper: Vector
    scoring_size: tuple[int, int, int]

    @property
    def spacing(self) -> Vector:
        """Size of a scoring voxel, mm."""
        x, y, z = (
            (high - low) / count for low, high, count in zip(self.lower, self.upper, self.scoring_size, strict=True)
        )
        return x, y, z


Volume = VoxelVolume | HomogeneousVolume


def centre(volume: Volume) -> Vector:
    """Centre of a volume, LPS mm."""
    x, y, z = ((low + high) / 2 for low, high in zip(volume.lower, volume.upper, strict=True))
    return x, y, z


def hull(volumes: Sequence[Volume]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lower and upper corner of the smallest box around all volumes, LPS mm."""
    return (
        np.min([volume.lower for volume in volumes], axis=0),
        np.max([volume.upper for volume in volumes], axis=0),
    )


def overlapping(volumes: Sequence[Volume]) -> tuple[str, str] | None:
    """Names of two volumes that overlap, or None; volumes may share faces."""
    for index, first in enumerate(volumes):
        for second in volumes[index + 1 :]:
            apart = any(
                low + _FACE_TOLERANCE >= high
                for low, high in [
                    *zip(second.lower, first.upper, strict=True),
                    *zip(first.lower, second.upper, strict=True),
                ]
            )
            if not apart:
                return first.name, second.name
    return None


def density_zyx(volume: Volume, materials: Sequence[Material]) -> npt.NDArray[np.float64]:
    """Density of every scoring voxel, g/cm3, indexed [z, y, x]."""
    by_label = {material.label: material.density for material in materials}
    if isinstance(volume, HomogeneousVolume):
        return np.full(volume.scoring_size[::-1], by_label[volume.material_label])
    table = np.full(max(by_label) + 1, np.nan)
    for label, density in by_label.items():
        table[label] = density
    return np.asarray(table[volume.labels_zyx], dtype=np.float64)
