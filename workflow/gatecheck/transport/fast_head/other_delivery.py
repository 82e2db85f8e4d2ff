"""One delivery's source photons sent through another: what both let pass is the same in both.

A log's delivery lies within tenths of a millimetre of its plan's, and a leaf gap is doubted by as much. Two simulations
with photons of their own would have to be far less noisy than such a difference. With the same photons, the same random
numbers behind the head (`PhaseSpace.stream`) and the same interactions, whatever is alike in both cancels out, and the
difference has the noise of what differs alone (correlated sampling: Spanier and Gelbard, Monte Carlo Principles and
Neutron Transport Problems, 1969).

A photon stays at its share of its beam's meterset and on its ray; only jaws, leaves, angles and its beam's meterset
are the other delivery's (the spot of the source, nearly round, stays as the first one's collimator turns it). It was
aimed where the first delivery is open, which says how often a ray is tried and with what weight, never where one can
pass: the whole solid angle is sampled. So nothing is biased however far the two are apart; they are only noisier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.model import Delivery
from gatecheck.transport.fast_head.collimation import LABEL
from gatecheck.transport.fast_head.proposal import Stretches
from gatecheck.transport.fast_head.rays import RAY_LABEL, RAY_SHARE, RAY_STRETCH

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Where stretches lie in their beams.

    Attributes
    ----------
    beam : ndarray of shape (n,), int64
        Place of the beam in the delivery.
    start, end : ndarray of shape (n,)
        As shares of the beam's meterset, from 0 to 1.
    emission : ndarray of shape (n,)
        What is emitted per share of the beam's meterset.
    """

    beam: IntArray
    start: FloatArray
    end: FloatArray
    emission: FloatArray

    @classmethod
    def of(cls, stretches: Stretches, delivery: Delivery) -> Moments:
        """Of a delivery's own stretches."""
        sizes = [len(beam.meterset) for beam in delivery.beams]
        first = np.cumsum([0, *sizes])
        beam = np.searchsorted(first, stretches.node, side="right") - 1
        total = np.array([one.total_meterset for one in delivery.beams])[beam]
        meterset = np.concatenate([one.meterset for one in delivery.beams])
        begin = meterset[stretches.node]
        length = meterset[stretches.node + 1] - begin
        start = (begin + stretches.share_start * length) / total
        end = (begin + stretches.share_end * length) / total
        return cls(beam.astype(np.int64), start, end, stretches.emission / (end - start))


@dataclass(frozen=True, slots=True)
class OtherDelivery:
    """From the stretches of the delivery that photons were emitted for to those of the one they are sent through.

    Attributes
    ----------
    stretches, other_stretches : Stretches
    moments, other_moments : Moments
    """

    stretches: Stretches
    other_stretches: Stretches
    moments: Moments
    other_moments: Moments

    @classmethod
    def between(
        cls, delivery: Delivery, stretches: Stretches, other: Delivery, other_stretches: Stretches
    ) -> OtherDelivery:
        """For two deliveries of the same beams.

        Raises
        ------
        ValueError
            When their beams are not the same.
        """
        numbers = [[beam.number for beam in one.beams] for one in (delivery, other)]
        if numbers[0] != numbers[1]:
            raise ValueError(f"beams {numbers[1]} found, expected {numbers[0]} as in the first delivery")
        return cls(stretches, other_stretches, Moments.of(stretches, delivery), Moments.of(other_stretches, other))

    def carried_over(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Rays at the other delivery's moments, and how much more of each it emits.

        Parameters
        ----------
        rows : ndarray of shape (n, RAY_COLUMNS)
            As emitted.
        """
        before, after = self.moments, self.other_moments
        row = rows[:, RAY_STRETCH].astype(np.int64)
        start, end = self.stretches.share_start[row], self.stretches.share_end[row]
        part = (rows[:, RAY_SHARE] - start) / (end - start)
        moment = before.start[row] + part * (before.end[row] - before.start[row])
        # Beams lie one after another, each of length 1; a moment at a beam's very end stays in its last stretch.
        places = after.beam + after.start
        other = np.searchsorted(places, before.beam[row] + np.minimum(moment, 1.0 - 1e-12), side="right") - 1
        other = np.maximum(other, np.searchsorted(after.beam, before.beam[row]))
        length = after.end[other] - after.start[other]
        part = np.clip((moment - after.start[other]) / length, 0.0, 1.0)
        carried = rows.copy()
        carried[:, RAY_STRETCH] = other
        first, last = self.other_stretches.share_start[other], self.other_stretches.share_end[other]
        carried[:, RAY_SHARE] = first + part * (last - first)
        return carried, after.emission[other] / before.emission[row]


def ratio_of_particles(rows: FloatArray, ratio: FloatArray, particles: FloatArray) -> FloatArray:
    """Each particle's ratio, from that of its ray by the label that both carry; labels of rays ascend."""
    return np.asarray(ratio[np.searchsorted(rows[:, RAY_LABEL], particles[:, LABEL])])
