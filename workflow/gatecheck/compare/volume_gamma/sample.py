"""What noise does to pass rates of the whole dose, from some of its voxels chosen at random."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.dose_image import BoolArray, DoseImage
from gatecheck.compare.gamma import PASS_LIMIT, GammaCriteria, gamma_at
from gatecheck.compare.interface.model import NoiseFreeEstimate
from gatecheck.compare.interface.statistics import t_quantile, without_noise
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.compare.volume_gamma.patches import Patches

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

CAP = 1.001
"""Whether a point passes needs no search beyond gamma 1."""

_POINTS_PER_STRATUM = 300
_MOST_BYTES = 150e6  # of all batches' blocks
_LEAST_POINTS = 10
_DRAWS = 2
_GROUPS = 10
_SEED = 60_218


@dataclass(frozen=True, slots=True)
class SampledPoints:
    """Voxels of the reference dose, as many in each range of dose where there are as many.

    Attributes
    ----------
    flat : ndarray of shape (n,), int
        Index in the reference dose.
    points_xyz : ndarray of shape (n, 3), LPS mm
    doses : ndarray of shape (n,)
        Of the reference, Gy.
    volumes : ndarray of shape (n,)
        How many voxels each stands for.
    group : ndarray of shape (n,), int
        0 to 9, each of which has its share of every range: their spread tells what the choice of points matters.
    """

    flat: npt.NDArray[np.int64]
    points_xyz: FloatArray
    doses: FloatArray
    volumes: FloatArray
    group: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.doses)


def choose_points(
    reference: DoseImage, inside_zyx: BoolArray, least_gy: Sequence[float], *, most: int | None = None
) -> SampledPoints:
    """Choose voxels between each dose and the next.

    Parameters
    ----------
    least_gy : ascending doses at which ranges begin, Gy; the last has no end
    most : of each range
    """
    generator = np.random.default_rng(_SEED)
    edges = [*least_gy, np.inf]
    values = reference.values_zyx
    chosen, volumes, group = [], [], []
    for low, high in itertools.pairwise(edges):
        there = np.flatnonzero(inside_zyx & (values >= low) & (values < high))
        some = generator.permutation(there)[: most or _POINTS_PER_STRATUM]
        chosen.append(some)
        volumes.append(np.full(len(some), len(there) / max(len(some), 1)))
        group.append(np.arange(len(some)) % _GROUPS)
    flat = np.concatenate(chosen)
    return SampledPoints(
        flat,
        centres_of(flat, reference.grid),
        values.ravel()[flat].astype(np.float64),
        np.concatenate(volumes),
        np.concatenate(group),
    )


def points_that_fit(batches: int, grid: VoxelGrid, reach: float) -> int:
    """How many of each of three ranges keep the batches' blocks within memory."""
    voxels = np.prod(np.floor(2 * reach / np.array(grid.spacing)) + 3)
    return int(min(_POINTS_PER_STRATUM, max(_MOST_BYTES / (3 * 4 * batches * voxels), _LEAST_POINTS)))


def centres_of(flat: npt.NDArray[np.int64], grid: VoxelGrid) -> FloatArray:
    """Centres of voxels by their flat index, LPS mm, shape (n, 3)."""
    z, y, x = np.unravel_index(flat, grid.size[::-1])
    centres: FloatArray = np.stack([x, y, z], axis=1) * np.array(grid.spacing) + np.array(grid.origin)
    return centres


@dataclass(frozen=True, slots=True)
class PartOfNoise:
    """Of a rate, per cent: what extrapolation to a dose without noise adds to it, and how well that is known.

    `sigma` is that of the extrapolated rate by noise, `form` by the form of the extrapolation, `choice` by the choice
    of points, all k = 1.
    """

    points: int
    added: float
    sigma: float
    form: float
    choice: float
    degrees_of_freedom: int

    def applied_to(self, as_computed: float) -> NoiseFreeEstimate:
        """The rate of all points without its part of noise."""
        sigma = float(np.sqrt(self.sigma**2 + self.form**2 + self.choice**2))
        half, value = t_quantile(self.degrees_of_freedom) * sigma, as_computed + self.added
        low, value, high = (float(np.clip(one, 0.0, 100.0)) for one in (value - half, value, value + half))
        return NoiseFreeEstimate(
            value=value, sigma=sigma, low=low, high=high, as_computed=as_computed, extrapolation_sigma=self.form
        )


@dataclass(frozen=True, slots=True)
class SampledDoses:
    """Both doses at the points chosen.

    Attributes
    ----------
    batches : ndarray of shape (n_batches, n_points) or (n_batches, n_points, nz, ny, nx), float32
        The Monte Carlo's at the points where it is the reference, else in blocks round them, Gy.
    patches : Patches, optional
        The blocks; None: the Monte Carlo is the reference.
    tps : DoseImage
    """

    points: SampledPoints
    batches: Float32Array
    patches: Patches | None
    tps: DoseImage

    def passed(self, weights: FloatArray, criteria: GammaCriteria, normalisation: float) -> BoolArray:
        """Which points pass with a Monte Carlo dose that is the sum of batches so weighted, shape (n,)."""
        dose = np.tensordot(weights.astype(np.float32), self.batches, axes=1)
        if self.patches is None:
            found = gamma_at(self.points.points_xyz, dose, self.tps, criteria, normalisation=normalisation)
        else:
            found = gamma_at(
                self.patches.points_xyz,
                self.points.doses,
                self.patches.image_of(dose),
                criteria,
                normalisation=normalisation,
            )
        is_passed: BoolArray = found.is_reached & (found.gamma <= PASS_LIMIT)
        return is_passed


def parts_of_noise(
    sampled: SampledDoses, criteria: GammaCriteria, normalisation: float, least_gy: Sequence[float]
) -> list[PartOfNoise | None]:
    """Of the rate of each region (reference doses from each of `least_gy` on); None where it has too few points."""
    points = sampled.points
    regions = [points.doses >= least for least in least_gy]
    parts = regions + [region & (points.group == group) for region in regions for group in range(_GROUPS)]

    def rates(weights: FloatArray) -> FloatArray:
        passed = points.volumes * sampled.passed(weights, criteria, normalisation)
        return np.array([100 * passed[part].sum() / max(points.volumes[part].sum(), 1e-9) for part in parts])

    free = without_noise(rates, len(sampled.batches), draws=_DRAWS)
    added = free.value - free.as_computed
    by_group = added[len(regions) :].reshape(len(regions), _GROUPS)
    found: list[PartOfNoise | None] = []
    for index, region in enumerate(regions):
        if int(region.sum()) < _LEAST_POINTS:
            found.append(None)
            continue
        found.append(
            PartOfNoise(
                points=int(region.sum()),
                added=float(added[index]),
                sigma=float(free.sigma[index]),
                form=float(free.extrapolation[index]),
                choice=max(
                    float(by_group[index].std(ddof=1) / np.sqrt(_GROUPS)), _least_choice(points.volumes[region])
                ),
                degrees_of_freedom=free.degrees_of_freedom,
            )
        )
    return found


def _least_choice(volumes: FloatArray) -> float:
    """Sigma of a rate that so many points stand for where all of them say the same: by half a point, per cent."""
    effective = float(volumes.sum() ** 2 / (volumes**2).sum())
    return float(100 * np.sqrt(0.5) / effective)
