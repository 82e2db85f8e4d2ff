"""Mean and standard deviation from batches, added up one batch at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(slots=True)
class BatchSums:
    """Sums over batches of different size, from which mean and sigma follow; adding is associative.

    A batch of weight w (nominal photons) has the sum of dose S. With x = S / w and var(x) = v / w,

        mean = sum(S) / sum(w)
        v = sum(w (x - mean)^2) / (n - 1) = (sum(S^2 / w) - sum(S)^2 / sum(w)) / (n - 1)
        var(mean) = v / sum(w)

    which is the weighted form of the batch method (e.g. Salvat, PENELOPE, NEA 2015, section 1.7).

    Attributes
    ----------
    batches : int
    weight : float
    histories : int
    dose : ndarray
        Sum of dose, Gy.
    dose_by_weight : ndarray
        Sum of S^2 / w.
    dose_squared : ndarray
        Sum over histories of squared dose, Gy².
    """

    shape: tuple[int, ...]
    batches: int = 0
    weight: float = 0.0
    histories: int = 0
    dose: FloatArray = field(init=False)
    dose_by_weight: FloatArray = field(init=False)
    dose_squared: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.dose = np.zeros(self.shape)
        self.dose_by_weight = np.zeros(self.shape)
        self.dose_squared = np.zeros(self.shape)

    def add(self, dose: FloatArray, dose_squared: FloatArray, *, weight: float, histories: int) -> None:
        """Add one batch."""
        if weight <= 0 or histories <= 0:
            raise ValueError("a batch needs photons")
        self.batches += 1
        self.weight += weight
        self.histories += histories
        self.dose += dose
        self.dose_by_weight += dose**2 / weight
        self.dose_squared += dose_squared

    def join(self, other: BatchSums) -> None:
        """Add the batches that another sum holds."""
        self.batches += other.batches
        self.weight += other.weight
        self.histories += other.histories
        self.dose += other.dose
        self.dose_by_weight += other.dose_by_weight
        self.dose_squared += other.dose_squared

    def mean(self) -> FloatArray:
        """Dose per unit weight (nominal photon)."""
        return self.dose / self.weight

    def sigma(self) -> FloatArray:
        """Standard deviation (k = 1) of `mean`, from the spread of the batches."""
        spread = self.dose_by_weight - self.dose**2 / self.weight
        return np.asarray(np.sqrt(np.maximum(spread, 0.0) / ((self.batches - 1) * self.weight)))

    def sigma_by_history(self) -> FloatArray:
        """Standard deviation of `mean` from squared doses, history by history, zeros included.

        Takes histories as independent and of equal nominal weight (Walters et al., Med. Phys. 29:2745, 2002,
        equation 2).
        """
        number = self.histories
        mean = self.dose / number
        variance = np.maximum(self.dose_squared / number - mean**2, 0.0) / (number - 1)
        return np.asarray(np.sqrt(variance) * number / self.weight)
