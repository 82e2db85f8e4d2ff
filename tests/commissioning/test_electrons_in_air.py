"""Electrons through the air above the tank: stopping power, spread, and what does not arrive."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatecheck.commissioning.water.air import scattering_power, stopping_power, through_air
from gatecheck.transport.materials import air

# NIST, ESTAR: collision stopping power of dry air, MeV cm²/g.
ESTAR = {0.1: 3.633, 0.5: 1.809, 1.0: 1.661, 2.0: 1.684, 5.0: 1.811}
WAY = 450.0


def flown(energy: float, number: int, *, surface: float = WAY) -> np.ndarray:
    state = np.array([12345], dtype=np.uint64)
    return np.array([through_air(energy, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, surface, state) for _ in range(number)])


@pytest.mark.parametrize(("energy", "power"), ESTAR.items())
def test_stopping_power_is_that_of_estar(energy: float, power: float) -> None:
    """Within 0.5 %; at 5 MeV 2 %, where air's density effect begins."""
    assert stopping_power(energy) == pytest.approx(power, rel=0.02 if energy > 2.0 else 0.005)


def test_a_fast_electron_spreads_as_fermi_and_eyges_say() -> None:
    """Angles and places at the surface: their variances are integrals over the way; 3 sigma and 2 %."""
    number, energy = 20_000, 6.0
    found = flown(energy, number)
    depth = np.linspace(0.0, WAY, 451)
    losing = energy - 0.1 * depth * air().density * stopping_power(energy)
    power = np.array([scattering_power(value) for value in losing]) * air().density * 0.1 / 2.0
    angle = float(np.trapezoid(power, depth))
    place = float(np.trapezoid(power * (WAY - depth) ** 2, depth))
    slope, x = found[:, 4] / found[:, 5], found[:, 1]
    tolerance = 3.0 * math.sqrt(2.0 / number) + 0.02
    assert float((slope**2).mean()) == pytest.approx(angle, rel=tolerance)
    assert float((x**2).mean()) == pytest.approx(place, rel=tolerance)
    assert np.all(found[:, 2] >= WAY)
    assert found[:, 0].mean() == pytest.approx(losing[-1], rel=0.003)


def test_a_slow_electron_does_not_arrive() -> None:
    """0.1 MeV reaches 0.016 g/cm², 135 mm of air: none crosses 450 mm."""
    assert np.all(flown(0.1, 50)[:, 0] == 0.0)


def test_one_that_flies_up_does_not_come_back() -> None:
    state = np.array([1], dtype=np.uint64)
    assert through_air(2.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 10.0, state)[0] == 0.0
