"""Random numbers for compiled code: one stream for each source photon, from the seed and its index.

SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the same photon gives the same particle whatever was
sampled before it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gatecheck.compiled import part_of_kernel

State = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 1.0 / 9007199254740992.0  # 2^-53


@part_of_kernel
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


@part_of_kernel
def start_stream(state: State, seed: np.uint64, index: np.uint64) -> None:
    """Set `state` (shape (1,)) to the beginning of the stream of photon `index`."""
    state[0] = _mixed(_mixed(seed + _GAMMA) + (index + np.uint64(1)) * _GAMMA)


@part_of_kernel
def uniform(state: State) -> float:
    """The stream's next number in [0, 1)."""
    state[0] += _GAMMA
    return float(_mixed(state[0]) >> _S11) * _UNIT


@part_of_kernel
def child_stream(state: State, number: int) -> float:
    """A number for `start_stream`, whole and below 2^53: of a particle whose parent is here in its own stream.

    The parent's stream goes on as if it had not been asked for. `number` tells apart what is set free at once.
    """
    return float(_mixed(_mixed(state[0] ^ _MIX_1) + np.uint64(number + 1) * _MIX_2) >> _S11)


@part_of_kernel
def uniform_aside(state: State, number: int) -> float:
    """A number in [0, 1) for a choice after which the stream goes on as if it had not been asked for.

    `number` tells apart what is chosen at once. So whoever wins a Russian roulette does what it would do without one.
    """
    return float(_mixed(_mixed(state[0] ^ _MIX_2) + np.uint64(number + 1) * _MIX_1) >> _S11) * _UNIT


@part_of_kernel
def normal_pair(state: State) -> tuple[float, float]:
    """Two independent standard normal numbers (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    angle = 2.0 * math.pi * uniform(state)
    return radius * math.cos(angle), radius * math.sin(angle)
