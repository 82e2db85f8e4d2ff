"""What a photon does where it interacts, for compiled code: energies and directions of what comes out."""

from __future__ import annotations

import math

from gatecheck.compiled import part_of_kernel
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.transport.fast_head.random import State, uniform

_REST = ELECTRON_REST_ENERGY
_SCREENING_NUMBER = 7.4  # of water's electrons; screening hardly matters below 10 MeV
_SYMMETRIC_BELOW = 2.0  # MeV: any division of a pair's energy is as likely, as Geant4 has it


@part_of_kernel
def compton_electron(
    energy: float,
    u: tuple[float, float, float],
    scattered: float,
    v: tuple[float, float, float],
) -> tuple[float, float, float]:
    """Direction of the electron, from momentum conservation."""
    x = energy * u[0] - scattered * v[0]
    y = energy * u[1] - scattered * v[1]
    z = energy * u[2] - scattered * v[2]
    length = math.sqrt(x * x + y * y + z * z)
    if length <= 0.0:
        return u
    return x / length, y / length, z / length


@part_of_kernel
def photoelectron_cosine(kinetic: float, state: State) -> float:
    """Cosine between photon and photoelectron: Sauter's K-shell distribution in Gavrila's form.

    Rejection as in the Geant4 Physics Reference Manual, "Photoelectric effect".
    """
    tau = kinetic / _REST
    gamma = tau + 1.0
    beta = math.sqrt(tau * (tau + 2.0)) / gamma
    a = (1.0 - beta) / beta
    b = 0.5 * beta * gamma * tau * (gamma - 2.0)
    largest = 2.0 * (1.0 + a * b) / a
    while True:
        q = uniform(state)
        z = 2.0 * a * (2.0 * q + (a + 2.0) * math.sqrt(q)) / ((a + 2.0) * (a + 2.0) - 4.0 * q)
        if uniform(state) * largest <= (2.0 - z) * (1.0 / (a + z) + b):
            return 1.0 - z


@part_of_kernel
def pair_share(energy: float, state: State) -> float:
    """Share of the photon's energy (rest masses included) that the electron gets.

    Bethe-Heitler with screening (Physics Reference Manual, "Gamma conversion"), by rejection.
    """
    smallest = _REST / energy
    if energy < _SYMMETRIC_BELOW:
        return smallest + (1.0 - 2.0 * smallest) * uniform(state)
    screening = 136.0 * smallest / _SCREENING_NUMBER ** (1.0 / 3.0)
    coulomb = 4.0 / 3.0 * math.log(_SCREENING_NUMBER)
    largest = _screened_1(4.0 * screening) - coulomb
    while True:
        share = smallest + (1.0 - 2.0 * smallest) * uniform(state)
        delta = screening / (share * (1.0 - share))
        value = (share * share + (1.0 - share) * (1.0 - share)) * (_screened_1(delta) - coulomb)
        value += 2.0 / 3.0 * share * (1.0 - share) * (_screened_2(delta) - coulomb)
        if uniform(state) * largest <= value:
            return share


@part_of_kernel
def _screened_1(delta: float) -> float:
    if delta <= 1.0:
        return 20.867 - 3.242 * delta + 0.625 * delta * delta
    return 21.12 - 4.184 * math.log(delta + 0.952)


@part_of_kernel
def _screened_2(delta: float) -> float:
    if delta <= 1.0:
        return 20.209 - 1.930 * delta - 0.086 * delta * delta
    return 21.12 - 4.184 * math.log(delta + 0.952)


@part_of_kernel
def pair_angle(total_energy: float, state: State) -> float:
    """Angle of an electron or positron of a pair to the photon (Tsai's distribution, as Geant4 simplifies it)."""
    while True:
        rate = 0.625 if uniform(state) < 0.25 else 1.875
        angle = -math.log((1.0 - uniform(state)) * (1.0 - uniform(state))) / rate * _REST / total_energy
        if angle <= math.pi:
            return angle
