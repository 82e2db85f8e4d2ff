"""Sampling of Compton scattering off a free electron, for compiled code."""

from __future__ import annotations

import math

from gatecheck.compiled import part_of_kernel
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.transport.fast_head.random import State, uniform

_REST = ELECTRON_REST_ENERGY


@part_of_kernel
def klein_nishina(energy: float, state: State) -> tuple[float, float]:
    """Sample the scattered photon's energy (MeV) and the cosine of its angle.

    Composition and rejection after Butcher and Messel, Nucl. Phys. 20 (1960) 15, as Geant4's
    Klein-Nishina model does (Physics Reference Manual, "Compton scattering").
    """
    smallest = 1.0 / (1.0 + 2.0 * energy / _REST)
    weight_1 = -math.log(smallest)
    weight_2 = 0.5 * (1.0 - smallest * smallest)
    while True:
        if uniform(state) * (weight_1 + weight_2) < weight_1:
            part = math.exp(-weight_1 * uniform(state))
        else:
            part = math.sqrt(smallest * smallest + (1.0 - smallest * smallest) * uniform(state))
        one_minus_cosine = _REST * (1.0 - part) / (energy * part)
        sine_squared = one_minus_cosine * (2.0 - one_minus_cosine)
        if uniform(state) < 1.0 - part * sine_squared / (1.0 + part * part):
            return part * energy, 1.0 - one_minus_cosine


@part_of_kernel
def turned(ux: float, uy: float, uz: float, cosine: float, azimuth: float) -> tuple[float, float, float]:
    """A unit vector turned by an angle of given cosine, at a given azimuth about itself."""
    sine = math.sqrt(max(0.0, 1.0 - cosine * cosine))
    ca, sa = math.cos(azimuth), math.sin(azimuth)
    across = math.sqrt(ux * ux + uy * uy)
    if across < 1e-9:
        sign = 1.0 if uz > 0 else -1.0
        return sine * ca, sine * sa, sign * cosine
    return (
        ux * cosine + sine * (ux * uz * ca - uy * sa) / across,
        uy * cosine + sine * (uy * uz * ca + ux * sa) / across,
        uz * cosine - sine * across * ca,
    )
