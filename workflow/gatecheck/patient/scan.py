"""The CT of a case and inside fractions of its structures, on one grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.model import Case, Structure
from gatecheck.case.storage import read_mask
from gatecheck.errors import ResultError
from gatecheck.files import array_zyx, read_image
from gatecheck.patient.boxes import Extent, VoxelGrid
from gatecheck.patient.resample import ImageGrid

FloatImage = npt.NDArray[np.float32]

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
# Largest distance (voxels) between a mask's voxels and the CT's that still is the same grid.
_SAME_GRID = 0.01


@dataclass(frozen=True, slots=True)
class Scan:
    """A CT, or a block cut out of it.

    Attributes
    ----------
    ct_zyx : ndarray of shape (nz, ny, nx)
        CT numbers.
    grid : ImageGrid
    folder : Path
        The case's folder.
    """

    ct_zyx: npt.NDArray[np.number]
    grid: ImageGrid
    folder: Path

    def cut_to(self, target: VoxelGrid) -> Scan:
        """The block of CT voxels that overlap a grid (at least one voxel along each axis)."""
        blocks = []
        for axis in range(3):
            edges = self.grid.edges(axis)
            first, last = target.corner[axis], target.corner[axis] + target.spacing * target.size[axis]
            start = int(np.searchsorted(edges, first, side="right")) - 1
            stop = int(np.searchsorted(edges, last, side="left"))
            start = min(max(start, 0), self.grid.size[axis] - 1)
            blocks.append(slice(start, min(max(stop, start + 1), self.grid.size[axis])))
        x, y, z = blocks
        corner = tuple(float(self.grid.edges(axis)[block.start]) for axis, block in enumerate(blocks))
        grid = replace(
            self.grid,
            size=(x.stop - x.start, y.stop - y.start, z.stop - z.start),
            corner=(corner[0], corner[1], corner[2]),
        )
        return Scan(self.ct_zyx[z, y, x], grid, self.folder)

    def inside_fraction(self, structure: Structure) -> FloatImage:
        """Part of every voxel that lies inside a structure, 0 to 1, shape (nz, ny, nx)."""
        if structure.mask is None:
            return np.zeros(self.ct_zyx.shape, dtype=np.float32)
        mask = read_mask(self.folder, structure)
        values = array_zyx(mask)
        offset = self._offset_xyz(mask, structure)
        whole = np.zeros(self.ct_zyx.shape, dtype=np.float32)
        target, source = [], []
        for axis in (2, 1, 0):
            start, count = offset[axis], mask.GetSize()[axis]
            low, high = max(start, 0), min(start + count, self.grid.size[axis])
            if high <= low:
                return whole
            target.append(slice(low, high))
            source.append(slice(low - start, high - start))
        whole[tuple(target)] = values[tuple(source)]
        return whole

    def _offset_xyz(self, mask: sitk.Image, structure: Structure) -> tuple[int, int, int]:
        offset = []
        for axis in range(3):
            spacing = self.grid.spacing[axis]
            steps = (mask.GetOrigin()[axis] - spacing / 2 - self.grid.corner[axis]) / spacing
            same_spacing = abs(mask.GetSpacing()[axis] / spacing - 1) * mask.GetSize()[axis] < _SAME_GRID
            if not same_spacing or abs(steps - round(steps)) > _SAME_GRID:
                raise ResultError(
                    f"mask of structure {structure.number}: not on the grid of the CT. Delete the case folder "
                    "and run again."
                )
            offset.append(round(steps))
        return (offset[0], offset[1], offset[2])

    def extent_of(self, inside_zyx: npt.NDArray[np.generic]) -> Extent | None:
        """The cuboid of whole voxels that holds all that is not 0; None where all is 0."""
        lower, upper = [], []
        for axis, others in ((0, (0, 1)), (1, (0, 2)), (2, (1, 2))):
            used = np.flatnonzero(inside_zyx.any(axis=others))
            if used.size == 0:
                return None
            edges = self.grid.edges(axis)
            lower.append(float(edges[used[0]]))
            upper.append(float(edges[used[-1] + 1]))
        return Extent((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def read_scan(case_folder: Path, case: Case) -> Scan:
    """Read the CT of a case.

    Raises
    ------
    ResultError
        When it is missing, damaged, or not along the patient's axes.
    """
    image = read_image(case_folder / case.ct.file)
    if not np.allclose(image.GetDirection(), _IDENTITY, atol=1e-6):
        raise ResultError(f"{case.ct.file}: not along the patient's axes. Delete the case folder and run again.")
    origin, spacing, size = image.GetOrigin(), image.GetSpacing(), image.GetSize()
    corner = tuple(o - s / 2 for o, s in zip(origin, spacing, strict=True))
    grid = ImageGrid(
        size=(size[0], size[1], size[2]),
        spacing=(spacing[0], spacing[1], spacing[2]),
        corner=(corner[0], corner[1], corner[2]),
    )
    return Scan(sitk.GetArrayFromImage(image), grid, case_folder)
