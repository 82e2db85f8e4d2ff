"""The noise of a Monte Carlo dose as fields that can be added to it again.

Of n batches of equal weight, d_i with mean m, and numbers g_i with sum 0 and sum of squares 1,

    e = sum_i g_i (d_i - m) / sqrt(n)

is noise of exactly the covariance that m has, and for normal noise independent of m; orthogonal vectors g give
independent fields, n - 1 at most. Whatever correlates neighbouring voxels (a coarse voxel repeated on a fine grid,
a recorded particle used several times) is in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.compare.interpolation import SplineFields
from gatecheck.compare.smoothing import smoothed, values_at_centres
from gatecheck.compiled import blocks_of, in_threads
from gatecheck.errors import ResultError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

MOST_FIELDS = 16
_TOGETHER = 8  # batches
_FIELDS_TOGETHER = 4  # on the way to splines: a million voxels by 16 fields take 64 MB each time that they are copied
_SEED_OF_DIRECTIONS = 20001
_WITHOUT_NOISE = 3  # dose, smoothed once, smoothed twice


@dataclass(frozen=True, slots=True)
class NoisyDose:
    """A dose with its noise at a structure's points.

    Attributes
    ----------
    dose, smooth, twice_smooth : ndarray of shape (n_points,), float32
        The dose, smoothed once, and smoothed twice, Gy.
    noise, smooth_noise : ndarray of shape (n_fields, n_points), float32
        Independent fields of the dose's own noise, and what smoothing leaves of them, Gy.
    """

    dose: Float32Array
    smooth: Float32Array
    twice_smooth: Float32Array
    noise: Float32Array
    smooth_noise: Float32Array


@dataclass(frozen=True, slots=True)
class NoisyFields:
    """A dose with its noise on its grid, to be taken at points."""

    splines: SplineFields

    @property
    def number(self) -> int:
        """Independent fields of noise."""
        return (int(self.splines.coefficients_zyxf.shape[3]) - _WITHOUT_NOISE) // 2

    def smooth_dose(self) -> SplineFields:
        """The smoothed dose alone."""
        return SplineFields(np.ascontiguousarray(self.splines.coefficients_zyxf[..., 1:2]))

    def at(self, place_zyx: Float32Array) -> NoisyDose:
        """Sample at points; places as in `SplineFields.at`. For as many as are used: there are some 35 fields."""
        values = self.splines.at(place_zyx)
        middle = _WITHOUT_NOISE + self.number
        return NoisyDose(values[0], values[1], values[2], values[_WITHOUT_NOISE:middle], values[middle:])

    def of_sum(self, place_zyx: Float32Array, weights: npt.NDArray[np.floating]) -> FloatArray:
        """Noise of a weighted sum of the dose at points, one number for each field, shape (n_fields,)."""
        values = self.splines.weighted_sum(place_zyx, weights)
        return values[_WITHOUT_NOISE : _WITHOUT_NOISE + self.number]


def noisy_fields(
    dose_zyx: npt.NDArray[np.floating],
    leave_one_out: Iterable[npt.NDArray[np.floating]],
    *,
    batches: int,
    spacing_zyx: tuple[float, float, float],
) -> NoisyFields:
    """Gather a dose and its noise from the dose without one batch at a time.

    Parameters
    ----------
    dose_zyx : ndarray of shape (nz, ny, nx)
        From all batches, Gy.
    leave_one_out : iterable of ndarray of that shape, Gy
    batches : int
        How many there are.

    Raises
    ------
    ResultError
        When there are fewer than two, not that many, or one is on another grid.
    """
    collector = NoiseCollector(dose_zyx, batches=batches, spacing_zyx=spacing_zyx)
    for left_out_zyx in leave_one_out:
        collector.add_left_out(left_out_zyx)
    return collector.finish()


class NoiseCollector:
    """`noisy_fields`, one batch at a time, for a caller that needs the batches for more than that.

    Parameters
    ----------
    dose_zyx, batches, spacing_zyx
        As of `noisy_fields`.

    Raises
    ------
    ResultError
        When there are fewer than two batches.
    """

    def __init__(
        self, dose_zyx: npt.NDArray[np.floating], *, batches: int, spacing_zyx: tuple[float, float, float]
    ) -> None:
        if batches < 2:
            raise ResultError(
                f"{batches} batches found, expected at least 2 for a standard deviation. Run merge again."
            )
        self._dose, self._batches, self._spacing = dose_zyx, batches, spacing_zyx
        self._directions = _directions(batches)
        self._noise = np.zeros((*dose_zyx.shape, len(self._directions)), dtype=np.float32)
        self._waiting: list[Float32Array] = []
        self._seen = 0

    def add_left_out(self, dose_zyx: npt.NDArray[np.floating]) -> None:
        """Take in the dose without one batch.

        Raises
        ------
        ResultError
            When it is on another grid.
        """
        if dose_zyx.shape != self._dose.shape:
            raise ResultError("A batch is not on the grid of mc_dose.mha. Run merge again.")
        self._seen += 1
        if self._seen <= self._batches:
            # A batch lies (n - 1) times as far on the other side of the mean as the rest without it.
            apart = (-(self._batches - 1) / math.sqrt(self._batches)) * (dose_zyx - self._dose)
            self._waiting.append(apart.astype(np.float32))
            if len(self._waiting) == _TOGETHER or self._seen == self._batches:
                self._add_waiting()

    def _add_waiting(self) -> None:
        """Several batches in one product of matrices, which reads the fields once for all of them."""
        waiting, self._waiting = self._waiting, []
        weights = self._directions[:, self._seen - len(waiting) : self._seen].T.astype(np.float32)
        for plane in range(len(self._noise)):
            self._noise[plane] += np.stack([apart[plane] for apart in waiting], axis=-1) @ weights

    def finish(self) -> NoisyFields:
        """The fields of all batches taken in.

        Raises
        ------
        ResultError
            When they are not as many as there should be.
        """
        if self._seen != self._batches:
            raise ResultError(f"{self._seen} batches found, {self._batches} expected. Run merge again.")
        number = self._noise.shape[-1]
        fields = np.empty((*self._dose.shape, _WITHOUT_NOISE + 2 * number), dtype=np.float32)
        dose = values_at_centres(np.asarray(self._dose, dtype=np.float32)[..., None], self._spacing)
        smooth = smoothed(dose, self._spacing)
        fields[..., :_WITHOUT_NOISE] = np.concatenate([dose, smooth, smoothed(smooth, self._spacing)], axis=-1)

        def put(chosen: slice) -> None:
            noise = values_at_centres(self._noise[..., chosen], self._spacing)
            at, smooth_at = (
                slice(by + chosen.start, by + chosen.stop) for by in (_WITHOUT_NOISE, _WITHOUT_NOISE + number)
            )
            fields[..., at] = noise
            fields[..., smooth_at] = smoothed(noise, self._spacing)

        in_threads(put, blocks_of(number, _FIELDS_TOGETHER))
        self._noise = np.empty(0, dtype=np.float32)
        return NoisyFields(SplineFields.in_place(fields))


def _directions(batches: int) -> FloatArray:
    """Orthonormal vectors of sum 0, shape (n_fields, batches), the same in every run."""
    drawn = np.random.default_rng(_SEED_OF_DIRECTIONS).normal(size=(batches, min(batches - 1, MOST_FIELDS)))
    drawn -= drawn.mean(axis=0)
    directions: FloatArray = np.linalg.qr(drawn)[0].T
    return directions
