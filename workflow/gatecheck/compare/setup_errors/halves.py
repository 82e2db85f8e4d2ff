"""Noise of a dose from its batches, as differences between halves of them.

Anything computed from a dose D of n batches can be computed from half of them and from the other half. With A and B two
halves, (D_A - D_B) / 2 is a field of noise alone, with the variance and the correlations of the noise of D, and D + it
and D - it are the doses of the halves. A few such divisions, by orthogonal signs as in balanced half-samples
(McCarthy, Rev. Int. Stat. Inst. 37 (1969) 239), tell what the noise does to a quantity that is dear to compute.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.linalg

Float32Array = npt.NDArray[np.float32]

DIVISIONS = 8
"""A power of two."""

_SEED = 20100


class Halves:
    """Adds batches up to fields of noise.

    Batches are taken in pairs, one of each going to either half; the last of an odd number is left out, so that the
    noise comes out too small by a part in twice their number.
    """

    def __init__(self) -> None:
        self._batches = 0
        self._previous: Float32Array | None = None
        self._sum: Float32Array | None = None
        self._signs = np.random.default_rng(_SEED)

    @property
    def batches(self) -> int:
        """Taken in so far."""
        return self._batches

    def add_left_out(self, dose: Float32Array) -> None:
        """Take in the dose without one batch; arrays of one shape, batches of about one size."""
        if self._sum is None:
            self._sum = np.zeros((*dose.shape, DIVISIONS), dtype=np.float32)
        pair, is_second = divmod(self._batches, 2)
        self._batches += 1
        if not is_second or self._previous is None:
            self._previous = dose.astype(np.float32)
            return
        # A pair's signs are a column of orthogonal rows; beyond as many pairs as rows columns come again, turned by
        # chance, so that two pairs with one column still cancel in the mean.
        turn = 1 if pair < DIVISIONS else self._signs.choice((-1, 1))
        signs = turn * scipy.linalg.hadamard(DIVISIONS)[:, pair % DIVISIONS].astype(np.float32)
        # Leaving a batch out moves the dose against the batch: the second's own less the first's.
        self._sum += (self._previous - dose)[..., None] * signs
        self._previous = None

    def noise(self) -> Float32Array:
        """Fields of noise, shape (..., DIVISIONS), each to be added to and taken from the dose.

        With d_i the dose of batch i alone, D_(-i) = D - (d_i - D) / (n - 1), and half of the difference between halves
        is sum_i s_i d_i / n over signs s_i: of pairs of left-out doses, (n - 1) / n times their difference.

        Raises
        ------
        ValueError
            With less than two batches.
        """
        if self._sum is None or self._batches < 2:
            raise ValueError(f"{self._batches} batches, expected at least 2")
        scale = np.float32((self._batches - 1) / self._batches)
        noise: Float32Array = self._sum * scale
        return noise
