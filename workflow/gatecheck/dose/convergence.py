"""How the standard deviation fell as chunk was added to chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gatecheck.dose.model import ConvergenceStep
from gatecheck.dose.statistics import BatchSums
from gatecheck.patient.model import Grid, VoxelBox
from gatecheck.transport.model import ChunkResult
from gatecheck.transport.patient_files import placement

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Convergence:
    """Keeps the sigma of the fine boxes after 2, 4, 8 and so on chunks, while these are added up.

    Attributes
    ----------
    chunks : int
        How many there will be.
    boxes : sequence of VoxelBox
        Those of fine voxels; all where there are none.
    factor : float
        Gy per unit of the sums.
    """

    chunks: int
    boxes: Sequence[VoxelBox]
    factor: float
    _kept: dict[str, dict[int, Float32Array]] = field(default_factory=dict, init=False)

    def look_at(self, box: VoxelBox, sums: BatchSums) -> None:
        """To be called after each chunk of a box; keeps what is wanted."""
        if sums.batches in doublings(self.chunks) and box in self.boxes:
            sigma = (self.factor * sums.sigma()).astype(np.float32)
            self._kept.setdefault(box.name, {})[sums.batches] = sigma

    def steps(
        self, results: Sequence[ChunkResult], dose_zyx: Float32Array, chosen_zyx: BoolArray, grid: Grid
    ) -> tuple[ConvergenceStep, ...]:
        """Mean relative sigma after each of these numbers of chunks, without what few chunks take from it.

        Parameters
        ----------
        results : the chunks, in the order in which they were added
        dose_zyx : ndarray of the grid's shape
            Of all chunks, Gy; above zero where chosen.
        chosen_zyx : ndarray of the grid's shape
            Voxels of the boxes over which the mean goes.
        """
        number = int(chosen_zyx.sum())
        if not number or len(results) < 2:
            return ()
        sums = {
            count: sum(self._sum(box, count, dose_zyx, chosen_zyx, grid) for box in self.boxes)
            for count in doublings(self.chunks)
        }
        found = [(count, total / number / mean_of_sample_sigma(count)) for count, total in sums.items()]
        histories = np.cumsum([result.histories for result in results])
        seconds = np.cumsum([sum(result.seconds.values()) for result in results])
        last = found[-1][1]
        return tuple(
            ConvergenceStep(
                batches=count,
                histories=int(histories[count - 1]),
                seconds=float(seconds[count - 1]),
                fine_relative_sigma=sigma,
                expected_relative_sigma=float(last * math.sqrt(histories[-1] / histories[count - 1])),
            )
            for count, sigma in found
        )

    def _sum(self, box: VoxelBox, count: int, dose_zyx: Float32Array, chosen_zyx: BoolArray, grid: Grid) -> float:
        """Of sigma over dose, over the joined voxels chosen in a box."""
        factors, start = placement(box, grid)
        part = tuple(slice(start[axis], start[axis] + factors[axis] * box.size[axis]) for axis in (2, 1, 0))  # z, y, x
        sigma = self._kept[box.name][count]
        for axis, factor in enumerate(factors[::-1]):
            sigma = np.repeat(sigma, factor, axis=axis)
        chosen = chosen_zyx[part]
        return float(np.sum(sigma[chosen] / dose_zyx[part][chosen], dtype=np.float64))


def doublings(chunks: int) -> tuple[int, ...]:
    """2, 4, 8 and so on below a number of chunks, and that number."""
    counts = [2**power for power in range(1, chunks.bit_length()) if 2**power < chunks]
    return (*counts, chunks)


def mean_of_sample_sigma(batches: int) -> float:
    """Expectation of a standard deviation estimated from so many normal values, in units of the true one.

    Known as c4 in statistical process control (e.g. Montgomery, Introduction to Statistical Quality Control, appendix
    VI). A mean of many such sigmas is low by it, however many there are.
    """
    degrees = batches - 1
    return math.sqrt(2 / degrees) * math.exp(math.lgamma(batches / 2) - math.lgamma(degrees / 2))
