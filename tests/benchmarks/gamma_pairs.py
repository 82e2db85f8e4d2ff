"""Pairs of doses made by formula and by chance, and pymedphys's gamma of them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.gamma import GammaCriteria
from gatecheck.compare.sampling import VoxelGrid

ORACLE_SCRIPT = Path(__file__).with_name("pymedphys_gamma.py")
PRESCRIPTION = 50.0


def axes_zyx(grid: VoxelGrid) -> list[np.ndarray]:
    return [grid.origin[i] + grid.spacing[i] * np.arange(grid.size[i]) for i in (2, 1, 0)]


def treatment(
    grid: VoxelGrid,
    *,
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scale: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
    half_widths: tuple[float, float, float] = (14.0, 11.0, 12.0),
    penumbra: float = 3.0,
) -> DoseImage:
    """A box of 50 Gy with soft edges and slow waves inside; noise is a part of 50 Gy."""
    dose = np.full(grid.size[::-1], PRESCRIPTION * scale)
    for number, (axis, off, half) in enumerate(zip(axes_zyx(grid), shift[::-1], half_widths[::-1], strict=True)):
        place = axis - off
        edge = 1 / (1 + np.exp((np.abs(place) - half) / penumbra))
        wave = 1 + 0.05 * np.sin(place / 6 + number)
        dose *= (edge * wave).reshape([-1 if number == k else 1 for k in range(3)])
    dose += noise * PRESCRIPTION * np.random.default_rng(seed).normal(size=dose.shape)
    return DoseImage(dose.astype(np.float32), grid)


def pymedphys_gamma(
    oracle: Path,
    reference: DoseImage,
    evaluated: DoseImage,
    criteria: GammaCriteria,
    *,
    interp_fraction: int,
    normalisation: float,
) -> tuple[np.ndarray, float]:
    """Gamma [z, y, x] and the seconds it took."""
    given: dict[str, Any] = {
        "dose_percent": criteria.dose_percent,
        "distance": criteria.distance,
        "cutoff_percent": criteria.cutoff_percent,
        "cap": criteria.cap,
        "is_local": criteria.is_local,
        "interp_fraction": interp_fraction,
        "normalisation": normalisation,
    }
    for which, dose in (("reference", reference), ("evaluated", evaluated)):
        given[which] = dose.values_zyx.astype(np.float64)
        given |= {f"{which}_axes_{name}": axis for name, axis in zip("zyx", axes_zyx(dose.grid), strict=True)}
    with tempfile.TemporaryDirectory() as folder:
        inside, outside = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(inside, **given)
        subprocess.run([str(oracle), str(ORACLE_SCRIPT), str(inside), str(outside)], check=True, capture_output=True)
        found = np.load(outside)
        return found["gamma"], float(found["seconds"])
