"""One structure's dose: the histogram of the whole, and of its hottest part in finer points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.compare.debias import Estimates, curve_without_noise, in_order, joined, width_in_sigma, without_noise
from gatecheck.compare.dvh import (
    METRICS,
    SMALL_VOLUMES,
    DoseDistribution,
    distribution,
    hot_metrics,
    whole_metrics,
)
from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.model import DoseMetrics, Metric
from gatecheck.compare.noise import NoisyDose, NoisyFields
from gatecheck.compare.sampling import PlacedPoints, StructurePoints, VoxelGrid, part_round, place, points_of
from gatecheck.compare.smoothing import values_at_centres

FloatArray = npt.NDArray[np.float64]

HOT_PART = 20_000.0
"""mm3 of a larger structure that is looked at in finer points for its maximum and its hottest 0.03 ml."""

POINTS_WITH_NOISE = 25_000
"""Of equal volume: noise is added to these, hundreds of times."""

_FRACTIONS = (0.95, 0.50, 0.02)  # D95, D50, D2


@dataclass(frozen=True, slots=True)
class Dose:
    """A dose on its grid, with its noise where it has any.

    Attributes
    ----------
    values : SplineFields
        Of one field, Gy.
    noisy : NoisyFields or None
        The same dose with its noise.
    """

    grid: VoxelGrid
    values: SplineFields
    noisy: NoisyFields | None = None

    @classmethod
    def of(cls, image: sitk.Image, noisy: NoisyFields | None = None) -> Dose:
        """From an image of values at the centres of voxels, Gy."""
        values_zyx = sitk.GetArrayFromImage(image)
        return cls(VoxelGrid.of(image), SplineFields.of(values_zyx[..., None]), noisy)

    @classmethod
    def of_means(cls, image: sitk.Image, noisy: NoisyFields | None = None) -> Dose:
        """From an image of means over voxels, as a Monte Carlo scores them, Gy."""
        x, y, z = image.GetSpacing()
        values_zyxf = values_at_centres(sitk.GetArrayFromImage(image)[..., None], (z, y, x))
        return cls(VoxelGrid.of(image), SplineFields.of(values_zyxf), noisy)


@dataclass(frozen=True, slots=True)
class StructureDose:
    """Doses of one structure.

    Attributes
    ----------
    whole, hot : DoseDistribution
        Of all of it, and of the hottest part (the same for a small structure).
    whole_noise, hot_noise : NoisyDose or None
        At points of equal volume.
    mean_sigma : float or None
        Standard deviation of the mean, Gy.
    """

    covered_fraction: float
    whole: DoseDistribution
    hot: DoseDistribution
    whole_noise: NoisyDose | None
    hot_noise: NoisyDose | None
    mean_sigma: float | None

    def metrics(self) -> DoseMetrics:
        """All metrics; without what noise adds, and with their intervals, where the dose has noise."""
        values = np.concatenate([whole_metrics(self.whole), hot_metrics(self.hot)])
        if self.whole_noise is None or self.hot_noise is None or self.mean_sigma is None:
            return _metrics(values, None, self.whole.volume)
        small = tuple(volume / self.hot.volume for volume in SMALL_VOLUMES.values())
        if self.hot_noise is self.whole_noise:
            parts = [without_noise(self.whole_noise, lambda doses: _doses_to(doses, (*_FRACTIONS, *small)))]
        else:
            parts = [
                without_noise(self.whole_noise, lambda doses: _doses_to(doses, _FRACTIONS)[:-1]),
                without_noise(self.hot_noise, lambda doses: _doses_to(doses, small)),
            ]
        # A mean is linear in the dose: noise leaves it where it is.
        mean = Estimates(
            np.zeros(1),
            np.array([self.mean_sigma]),
            np.array([self.mean_sigma * width_in_sigma(len(self.whole_noise.noise))]),
        )
        return _metrics(values, joined([mean, *parts]), self.whole.volume)

    def curve(self, dose_axis: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Fraction of volume that receives at least each dose, and its standard deviation."""
        volume = self.whole.volume_receiving(dose_axis)
        if self.whole_noise is None:
            return volume, None
        found = curve_without_noise(self.whole_noise, lambda doses: _receiving(doses, dose_axis))
        return np.minimum.accumulate(np.clip(volume + found.shift, 0.0, 1.0)), found.sigma


def structure_dose(
    mask: sitk.Image, points: StructurePoints, dose: Dose, *, largest_step: float
) -> StructureDose | None:
    """Read a structure's dose; None when it lies wholly outside of the dose grid.

    Parameters
    ----------
    mask : image of float, 0 to 1
    points : made from the mask by `points_of`
    largest_step : float
        mm between points that must not be exceeded.
    """
    placed = place(points, dose.grid)
    if not placed.volumes.size:
        return None
    hot = placed
    if points.total_volume > HOT_PART:
        finer = points_of(part_round(mask, _hottest(placed, dose), part=points.whole), largest_step=largest_step)
        hot = place(finer, dose.grid)
    whole = distribution(placed, dose.values)
    whole_noise = _noise(placed, dose)
    return StructureDose(
        covered_fraction=placed.covered_fraction,
        whole=whole,
        hot=whole if hot is placed else distribution(hot, dose.values),
        whole_noise=whole_noise,
        hot_noise=whole_noise if hot is placed else _noise(hot, dose),
        mean_sigma=_mean_sigma(placed, dose),
    )


def _hottest(placed: PlacedPoints, dose: Dose) -> FloatArray:
    """The points, LPS mm, of the hottest HOT_PART; of a noisy dose by its smoothed values, which noise chooses less."""
    fields = dose.values if dose.noisy is None else dose.noisy.smooth_dose()
    order = np.argsort(-fields.at(placed.place_zyx)[0])
    number = int(np.searchsorted(np.cumsum(placed.volumes[order], dtype=np.float64), HOT_PART)) + 1
    index_xyz = placed.place_zyx[::-1, order[:number]].T.astype(np.float64)
    points_xyz: FloatArray = index_xyz * np.array(dose.grid.spacing) + np.array(dose.grid.origin)
    return points_xyz


def _noise(placed: PlacedPoints, dose: Dose) -> NoisyDose | None:
    """The dose with its noise at points of equal volume."""
    if dose.noisy is None:
        return None
    return dose.noisy.at(placed.equal_places_zyx(POINTS_WITH_NOISE))


def _mean_sigma(placed: PlacedPoints, dose: Dose) -> float | None:
    """Standard deviation of the mean over all points."""
    if dose.noisy is None:
        return None
    means = dose.noisy.of_sum(placed.place_zyx, placed.volumes / placed.volumes.sum(dtype=np.float64))
    return math.sqrt(np.square(means).mean())


def _doses_to(doses: npt.NDArray[np.floating], fractions: tuple[float, ...]) -> FloatArray:
    """Least doses to the hottest fractions of points of equal volume (not a number for more than all), and maximum."""
    rising = np.sort(doses)
    middles = (np.arange(len(rising)) + 0.5) / len(rising)
    wanted = np.array(fractions)
    return np.append(np.where(wanted <= 1, np.interp(1 - wanted, middles, rising), np.nan), rising[-1])


def _receiving(doses: npt.NDArray[np.floating], dose_axis: FloatArray) -> FloatArray:
    return 1.0 - np.searchsorted(np.sort(doses), dose_axis, side="left") / len(doses)


def _volumes(volume: float) -> FloatArray:
    """What the metrics but the mean are least doses to, mm3, in their order."""
    return np.array([*(fraction * volume for fraction in _FRACTIONS), *SMALL_VOLUMES.values(), 0.0])


def _metrics(values: FloatArray, noise: Estimates | None, volume: float) -> DoseMetrics:
    if noise is not None:
        values = values + noise.shift
        values[1:] = in_order(values[1:], noise.sigma[1:], _volumes(volume))
    found: dict[str, Metric | None] = {}
    for index, name in enumerate(METRICS):
        value = float(values[index])
        if math.isnan(value):
            found[name] = None
        elif noise is None:
            found[name] = Metric(value=value, sigma=None)
        else:
            width = float(noise.half_width[index])
            sigma = float(noise.sigma[index])
            found[name] = Metric(value=value, sigma=sigma, interval_95=(value - width, value + width))
    return DoseMetrics.model_validate(found)
