"""Averages over voxels of another grid, by exact overlap: what is summed over the volume stays the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse

from gatecheck.patient.boxes import VoxelGrid

FloatImage = npt.NDArray[np.float32]
_SLICES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class ImageGrid:
    """The grid of an image: size and spacing along x, y, z; `corner` is the lower corner of the first voxel."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    corner: tuple[float, float, float]

    def edges(self, axis: int) -> npt.NDArray[np.float64]:
        """Faces of the voxels along one axis (0 is x), mm."""
        return self.corner[axis] + self.spacing[axis] * np.arange(self.size[axis] + 1, dtype=np.float64)


def overlap_fractions(
    target_edges: npt.NDArray[np.float64], source_edges: npt.NDArray[np.float64]
) -> scipy.sparse.csr_matrix:
    """Fraction of each target interval that lies in each source interval.

    Parameters
    ----------
    target_edges : ndarray of shape (n_target + 1,)
    source_edges : ndarray of shape (n_source + 1,)

    Returns
    -------
    csr_matrix of shape (n_target, n_source)
        Rows sum to 1, or to less where a target interval reaches beyond the source.
    """
    # Cut the line at every edge of both; each piece belongs to at most one interval of each.
    cuts = np.union1d(target_edges, source_edges)
    lengths, middles = np.diff(cuts), (cuts[1:] + cuts[:-1]) / 2
    target = np.searchsorted(target_edges, middles) - 1
    source = np.searchsorted(source_edges, middles) - 1
    n_target, n_source = len(target_edges) - 1, len(source_edges) - 1
    inside = (target >= 0) & (target < n_target) & (source >= 0) & (source < n_source)
    fractions = lengths[inside] / np.diff(target_edges)[target[inside]]
    shape = (n_target, n_source)
    return scipy.sparse.csr_matrix((fractions.astype(np.float32), (target[inside], source[inside])), shape=shape)


def average_onto(target: VoxelGrid, source: ImageGrid, values_zyx: npt.NDArray[np.generic]) -> FloatImage:
    """Average an image over the voxels of a grid; the image is 0 outside of its own grid.

    The sum of value times volume is kept exactly, whatever the two spacings (a box filter with
    exact overlaps, separable because both grids have the same axes).

    Returns
    -------
    ndarray of shape (nz, ny, nx) of the target, float32
    """
    along_x, along_y, along_z = (_along(axis, target, source) for axis in range(3))
    rows_x, rows_y = _used(along_x), _used(along_y)
    first, last = _used(along_z).start, _used(along_z).stop
    averaged = np.zeros((values_zyx.shape[0], target.size[1], target.size[0]), dtype=np.float32)
    narrow_x, narrow_y = along_x[:, rows_x], along_y[:, rows_y]
    for start in range(first, last, _SLICES_AT_ONCE):
        slab = np.asarray(values_zyx[start : min(start + _SLICES_AT_ONCE, last), rows_y, rows_x], dtype=np.float32)
        nz, ny, nx = slab.shape
        in_x = (narrow_x @ slab.reshape(nz * ny, nx).T).reshape(-1, nz, ny)
        in_y = narrow_y @ in_x.transpose(2, 1, 0).reshape(ny, -1)
        averaged[start : start + nz] = in_y.reshape(-1, nz, target.size[0]).transpose(1, 0, 2)
    result: FloatImage = (along_z @ averaged.reshape(averaged.shape[0], -1)).reshape(target.shape_zyx)
    return result


def _along(axis: int, target: VoxelGrid, source: ImageGrid) -> scipy.sparse.csr_matrix:
    edges = target.corner[axis] + target.spacing * np.arange(target.size[axis] + 1, dtype=np.float64)
    return overlap_fractions(edges, source.edges(axis))


def _used(fractions: scipy.sparse.csr_matrix) -> slice:
    """The source intervals that any target interval touches."""
    if fractions.nnz == 0:
        return slice(0, 0)
    return slice(int(fractions.indices.min()), int(fractions.indices.max()) + 1)
