"""A tumour of 0.3 ml in a cord, with doses known by formula, for tests of the comparison at its surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.special import erf

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.interface.preparation import InterfaceInput
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.files import image_from_zyx

FloatArray = npt.NDArray[np.float64]

PRESCRIPTION = 39.0
TUMOUR_RADIUS = 4.15
CORD_RADIUS = 7.5
MC_GRID = VoxelGrid((24, 24, 32), (2.0, 2.0, 2.0), (-22.7, -23.4, -30.45))
TPS_GRID = VoxelGrid((40, 40, 50), (1.5, 1.5, 1.5), (-29.9, -29.8, -36.7))


@dataclass(frozen=True)
class Fault:
    """What is done to the Monte Carlo's dose."""

    output: float = 0.0
    shift: float = 0.0
    wide: float = 0.0


NO_FAULT = Fault()


def dose(grid: VoxelGrid, parts: int, fault: Fault = NO_FAULT) -> FloatArray:
    """A ball of 9 mm blurred by 5 mm, falling by 5 to 8 % a mm at 60 to 95 %; mean over each voxel's parts, Gy.

    `shift` moves it along x, `wide` moves every isodose out by so much along its radius.
    """
    x, y, z = (
        (o + s * (np.arange(n)[:, None] + (np.arange(parts) + 0.5) / parts - 0.5)).ravel()
        for o, s, n in zip(grid.origin, grid.spacing, grid.size, strict=True)
    )
    r = np.sqrt((x[None, None, :] - fault.shift) ** 2 + y[None, :, None] ** 2 + z[:, None, None] ** 2)
    edge, s, r = 9.0, 5.0, np.maximum(r - fault.wide, 1e-6)
    ball = (erf((edge + r) / (2**0.5 * s)) + erf((edge - r) / (2**0.5 * s))) / 2
    ball -= (
        s
        / (r * (2 * np.pi) ** 0.5)
        * (np.exp(-((edge - r) ** 2) / (2 * s * s)) - np.exp(-((edge + r) ** 2) / (2 * s * s)))
    )
    nz, ny, nx = grid.size[::-1]
    mean: FloatArray = ball.reshape(nz, parts, ny, parts, nx, parts).mean(axis=(1, 3, 5))
    return (1 + fault.output) * (2.0 + 66.0 * mean)


def mask(
    inside: Callable[[FloatArray, FloatArray, FloatArray], npt.NDArray[np.bool_]], half: tuple[int, ...]
) -> sitk.Image:
    """Inside fractions of CT voxels of 1 mm whose centres lie at whole mm, by 8 x 8 x 8 subvoxels."""
    n = 8
    x, y, z = ((np.arange((2 * h + 1) * n) + 0.5) / n - h - 0.5 for h in half)
    fine = inside(x[None, None, :], y[None, :, None], z[:, None, None])
    size = [2 * h + 1 for h in half]
    fraction = fine.reshape(size[2], n, size[1], n, size[0], n).mean(axis=(1, 3, 5)).astype(np.float32)
    return image_from_zyx(fraction, origin=tuple(float(-h) for h in half), spacing=(1.0, 1.0, 1.0))


def tumour_mask() -> sitk.Image:
    """A ball round the origin."""
    return mask(lambda x, y, z: x**2 + y**2 + z**2 < TUMOUR_RADIUS**2, (5, 5, 5))


def cord_mask(half_length: int = 25) -> sitk.Image:
    """A cylinder along z, the tumour in its middle."""
    return mask(lambda x, y, z: (x**2 + y**2 + 0 * z) < CORD_RADIUS**2, (8, 8, half_length))


def noisy_batches(mean: FloatArray, *, batches: int, relative: float, seed: int) -> FloatArray:
    """Batches whose mean has the relative sigma at the maximum, and less with the root of the dose below."""
    noise = np.random.default_rng(seed).normal(size=(batches, *mean.shape))
    found: FloatArray = mean + relative * batches**0.5 * np.sqrt(mean * mean.max()) * noise
    return found


def case(fault: Fault = NO_FAULT, *, batches: int = 12, relative: float = 0.006, seed: int = 7) -> InterfaceInput:
    """The whole input, with noise."""
    of_batches = noisy_batches(dose(MC_GRID, 4, fault), batches=batches, relative=relative, seed=seed)
    return InterfaceInput(
        tumour_name="GTV",
        tumour_mask=tumour_mask(),
        cord_name="Spinal Cord",
        cord_mask=cord_mask(),
        mc=DoseImage(of_batches.mean(axis=0), MC_GRID),
        batches_zyx=of_batches,
        tps=DoseImage(dose(TPS_GRID, 1), TPS_GRID),
        prescription_gy=PRESCRIPTION,
        calibration_relative_sigma=0.002,
        photons=1e9,
    )
