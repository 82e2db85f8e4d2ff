"""The materials that occur: voxels binned by density, each bin one Geant4 material.

A bin's density is the mean of its voxels and its mass fractions are the mass-weighted mean of
theirs, so that binning neither makes nor loses mass of any element.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.patient.composition import (
    ELEMENTS,
    FIRST_BONE_BIN,
    HIGHEST_DENSITY,
    MASS_FRACTIONS,
    STEEL_BIN,
    TITANIUM_BIN,
)
from gatecheck.patient.model import Material

Labels = npt.NDArray[np.uint16]

NARROWEST_BIN = 0.01
"""g/cm3: below 0.2 g/cm3 bins are this wide, the width of a soft tissue bin."""

_PURE_AIR_BELOW = 0.002
_BINS_SPLIT_BY_KIND_ABOVE = 1.0
# Upper end of a range of density (g/cm3), and the largest relative width of its bins.
_RELATIVE_WIDTHS = ((0.9, 0.05), (1.15, 0.01), (2.0, 0.025), (HIGHEST_DENSITY, 0.05))

_KINDS = ("tissue", "bone", "titanium", "steel", "outside")


def _density_bin_edges() -> npt.NDArray[np.float64]:
    edges = [0.0, _PURE_AIR_BELOW]
    for end, relative_width in _RELATIVE_WIDTHS:
        while edges[-1] < end:
            edges.append(min(edges[-1] + max(NARROWEST_BIN, relative_width * edges[-1]), end))
            # A sliver left before the end of a range would be a bin for nothing.
            if end - edges[-1] < NARROWEST_BIN / 2:
                edges[-1] = end
    return np.array(edges)


DENSITY_BIN_EDGES = _density_bin_edges()
"""g/cm3, from 0 to HIGHEST_DENSITY."""


@dataclass(frozen=True, slots=True)
class Matter:
    """What the voxels of one box consist of.

    Attributes
    ----------
    density : ndarray of shape (nz, ny, nx), float32
        g/cm3.
    composition : ndarray of shape (nz, ny, nx), uint8
        Row of `composition.MASS_FRACTIONS`.
    voxel_volume : float
        mm3.
    is_outside : ndarray of shape (nz, ny, nx), bool
        Where nothing but the air around the body is.
    """

    density: npt.NDArray[np.float32]
    composition: npt.NDArray[np.uint8]
    voxel_volume: float
    is_outside: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LabelledMatter:
    """Materials that occur, by increasing density, and each box's labels (nz, ny, nx)."""

    materials: tuple[Material, ...]
    labels: tuple[Labels, ...]


def bin_materials(boxes: tuple[Matter, ...]) -> LabelledMatter:
    """Bin the voxels of all boxes into materials.

    Bins are at most 1 % of density wide from 0.9 to 1.15 g/cm3, 2.5 % up to 2.0 g/cm3 and 5 %
    elsewhere, but nowhere narrower than 0.01 g/cm3. From 1.0 g/cm3 on, tissue and bone of equal density
    (connective tissue and bone marrow) are different materials, and so are metals everywhere, and air around the body.
    """
    keys = [_keys(box) for box in boxes]
    n_keys = (len(DENSITY_BIN_EDGES) - 1) * len(_KINDS)
    volume = np.zeros(n_keys)
    mass = np.zeros((n_keys, len(MASS_FRACTIONS)))
    for box, key in zip(boxes, keys, strict=True):
        voxel_volume = box.voxel_volume
        volume += voxel_volume * np.bincount(key.ravel(), minlength=n_keys)
        pair = key.ravel().astype(np.int64) * len(MASS_FRACTIONS) + box.composition.ravel()
        mass += voxel_volume * np.bincount(pair, weights=box.density.ravel(), minlength=mass.size).reshape(mass.shape)
    used = np.flatnonzero(volume)
    labels_of_keys = np.zeros(n_keys, dtype=np.uint16)
    labels_of_keys[used] = np.arange(len(used))
    materials = tuple(
        _material(label, _KINDS[key % len(_KINDS)], float(mass[key].sum() / volume[key]), mass[key])
        for label, key in enumerate(used)
    )
    return LabelledMatter(materials=materials, labels=tuple(labels_of_keys[key] for key in keys))


def _keys(box: Matter) -> npt.NDArray[np.uint16]:
    """Density bin and kind of matter of every voxel as one number, ordered by density first."""
    density_bin = np.searchsorted(DENSITY_BIN_EDGES, box.density, side="right") - 1
    density_bin = np.clip(density_bin, 0, len(DENSITY_BIN_EDGES) - 2)
    kind = np.zeros(box.density.shape, dtype=np.int64)
    kind[(box.composition >= FIRST_BONE_BIN) & (box.density >= _BINS_SPLIT_BY_KIND_ABOVE)] = 1
    kind[box.composition == TITANIUM_BIN] = 2
    kind[box.composition == STEEL_BIN] = 3
    kind[box.is_outside] = 4
    return (density_bin * len(_KINDS) + kind).astype(np.uint16)


def _material(label: int, kind: str, density: float, mass: npt.NDArray[np.float64]) -> Material:
    fractions = mass @ MASS_FRACTIONS / mass.sum()
    is_outside = kind == "outside"
    if density < _PURE_AIR_BELOW and not is_outside:
        kind = "air"
    return Material(
        label=label,
        name=f"{kind}-{label:03d}",
        is_outside=is_outside,
        density=density,
        mass_fractions={element: float(f) for element, f in zip(ELEMENTS, fractions, strict=True) if f > 0},
    )
