"""Distance to agreement over the tumour's surface, as a table."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.files import write_atomically

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SurfaceMap:
    """One row a ray.

    Attributes
    ----------
    points_xyz, normals_xyz : ndarray of shape (n, 3)
        On the surface, LPS mm, and outward unit vectors.
    percents : tuple of float
        Isodoses, per cent of the prescription.
    agreement, sigma : ndarray of shape (n, isodoses)
        mm by which the Monte Carlo's isodose lies further out, and its sigma (k = 1) by noise; NaN where either dose
        does not meet it.
    """

    points_xyz: FloatArray
    normals_xyz: FloatArray
    percents: tuple[float, ...]
    agreement: FloatArray
    sigma: FloatArray

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the table's columns."""
        pairs = [name for percent in self.percents for name in (f"dta_{percent:g}", f"dta_{percent:g}_sigma")]
        return ("x", "y", "z", "nx", "ny", "nz", *pairs)

    @property
    def rows(self) -> FloatArray:
        """The table, (n, columns)."""
        pairs = np.stack([self.agreement, self.sigma], axis=2).reshape(len(self.points_xyz), -1)
        return np.concatenate([self.points_xyz, self.normals_xyz, pairs], axis=1)


def write_surface_map(path: Path, surface_map: SurfaceMap) -> None:
    """Write the table as CSV, mm to 0.001; a field is empty where an isodose is not met.

    Raises
    ------
    WriteError
    """
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(surface_map.columns)
        for row in surface_map.rows:
            writer.writerow("" if not np.isfinite(value) else f"{value:.3f}" for value in row)
