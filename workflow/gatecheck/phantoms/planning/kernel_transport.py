"""Energy deposition round a pencil of photons in water, by a small transport calculation of its own.

This is where the planning engine's kernels come from, as those of planning systems come from EGS. It shares
nothing with the Monte Carlo path of the verification: analytic Klein-Nishina, published attenuation and
stopping powers, electrons slowed down continuously. Many small deflections are taken together, at a random hinge in
each step; the larger ones, which carry half of the mean deflection, come one by one: spread evenly over all steps they
would make the middle of a kernel too wide.

Left out: coherent scatter, straggling and secondary electrons (deposited where they are made), bremsstrahlung
(1 % of the energy of a 2 MeV electron, which leaves), polarisation, binding in Compton scatter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.phantoms.planning import photon_data
from gatecheck.phantoms.planning.photon_data import ELECTRON_REST_ENERGY

FloatArray = npt.NDArray[np.float64]

_LOWEST_PHOTON = 0.015  # MeV; what is below is deposited
_LOWEST_ELECTRON = 0.08  # MeV; goes 0.1 mm at most
_ENERGY_LOSS_PER_STEP = 0.06
_LONGEST_STEP = 0.6  # mm
_BACKSCATTERER = 0.0  # the surface: what crosses it is lost
_GRID = 400
_ATTENUATION, _COMPTON, _PAIR, _COLLISION, _RADIATIVE, _SOFT, _HARD, _SCREENING, _CUT = range(9)
_BY_ELECTRONS, _FARTHEST, _SQUARED_SPEED = range(9, 12)
_LOG_LOW, _LOG_HIGH = math.log(0.01), math.log(6.5)


@dataclass(frozen=True, slots=True)
class Tally:
    """Cylindrical bins round the pencil.

    Attributes
    ----------
    depth_edges : ndarray of shape (n_depths + 1,)
        mm below the surface.
    radius_edges : ndarray of shape (n_radii + 1,)
        mm, from 0.
    """

    depth_edges: FloatArray
    radius_edges: FloatArray


def deposited_energy(energies: FloatArray, tally: Tally, *, seed: int) -> FloatArray:
    """Energy per photon and mm of depth of a pencil of photons, MeV/mm, shape (n_depths, n_radii).

    Parameters
    ----------
    energies : ndarray of shape (n,)
        Of the photons, MeV, 0.1 to 6; one history each.
    """
    scored = np.zeros((len(tally.depth_edges) - 1, len(tally.radius_edges) - 1))
    _follow(energies, tally.depth_edges, tally.radius_edges, _tables(), seed, scored)
    per_photon: FloatArray = scored / len(energies) / np.diff(tally.depth_edges)[:, np.newaxis]
    return per_photon


def _tables() -> FloatArray:
    """On a grid of log energy, lengths in mm; the rows are named above."""
    energy = np.exp(np.linspace(_LOG_LOW, _LOG_HIGH, _GRID))
    total = photon_data.water_attenuation(energy)
    compton = np.minimum(photon_data.klein_nishina(energy), total)
    rest = total - compton
    is_pair = energy > 2 * ELECTRON_REST_ENERGY
    # Below 0.2 MeV the rest holds coherent scatter too, which deposits nothing: photoelectric absorption in
    # water follows E^-3.1 from 0.00277 cm2/g at 0.1 MeV (NISTIR 5632's difference; XCOM).
    photoelectric = np.minimum(0.00277 * (energy / 0.1) ** -3.1, rest)
    pair = np.where(is_pair, rest, 0.0)
    photoelectric = np.where(is_pair, 0.0, photoelectric)
    attenuation = compton + pair + photoelectric
    log, at = np.log(energy), np.log(photon_data.ELECTRON_ENERGY)
    collision, radiative = (
        np.exp(np.interp(log, at, np.log(values)))
        for values in (photon_data.COLLISION_STOPPING_POWER, photon_data.RADIATIVE_STOPPING_POWER)
    )
    elastic = photon_data.elastic(energy)
    return np.stack([
        attenuation / 10, compton / attenuation, pair / attenuation, collision / 10, radiative / 10,
        elastic.soft / 10, elastic.hard / 10, elastic.screening, elastic.cut, elastic.by_electrons, elastic.farthest,
        elastic.squared_speed,
    ])  # fmt: skip


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _lookup(tables: FloatArray, row: int, energy: float) -> float:
    place = (math.log(energy) - _LOG_LOW) / (_LOG_HIGH - _LOG_LOW) * (_GRID - 1)
    index = min(max(int(place), 0), _GRID - 2)
    value: float = tables[row, index] + (place - index) * (tables[row, index + 1] - tables[row, index])
    return value


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _turned(u: float, v: float, w: float, cosine: float, azimuth: float) -> tuple[float, float, float]:
    """A direction deflected by an angle."""
    sine = math.sqrt(max(0.0, 1.0 - cosine * cosine))
    a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
    across = math.sqrt(u * u + v * v)
    if across < 1e-9:
        return a, b, math.copysign(cosine, w * cosine)
    return (
        u * cosine + (a * u * w - b * v) / across,
        v * cosine + (a * v * w + b * u) / across,
        w * cosine - a * across,
    )


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _score(  # noqa: PLR0917 - compiled code knows arguments by place
    scored: FloatArray, depths: FloatArray, radii: FloatArray, x: float, y: float, z: float, e: float
) -> None:
    if z < depths[0] or z >= depths[-1]:
        return
    r = math.sqrt(x * x + y * y)
    if r >= radii[-1]:
        return
    scored[np.searchsorted(depths, z, "right") - 1, np.searchsorted(radii, r, "right") - 1] += e


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _after_hard_collision(
    tables: FloatArray, energy: float, u: float, v: float, w: float
) -> tuple[float, float, float]:
    """The direction after a collision found by the hard rate, which is the old one where it is not allowed."""
    screening, cut = _lookup(tables, _SCREENING, energy), _lookup(tables, _CUT, energy)
    high, low = 1.0 / (cut + screening), 1.0 / (1.0 + screening)
    deflection = 1.0 / (high - np.random.random() * (high - low)) - screening  # (1 - cos θ) / 2
    if np.random.random() < _lookup(tables, _BY_ELECTRONS, energy):
        is_allowed = deflection < _lookup(tables, _FARTHEST, energy)
    else:
        is_allowed = np.random.random() > _lookup(tables, _SQUARED_SPEED, energy) * deflection
    if not is_allowed:
        return u, v, w
    return _turned(u, v, w, 1.0 - 2.0 * deflection, 2 * math.pi * np.random.random())


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _slow_down(  # noqa: PLR0917 - compiled code knows arguments by place
    scored: FloatArray, depths: FloatArray, radii: FloatArray, tables: FloatArray,
    x: float, y: float, z: float, u: float, v: float, w: float, energy: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Follow an electron to its end, which is returned."""
    while energy > _LOWEST_ELECTRON:
        collision, radiative = _lookup(tables, _COLLISION, energy), _lookup(tables, _RADIATIVE, energy)
        step = min(_ENERGY_LOSS_PER_STEP * energy / (collision + radiative), _LONGEST_STEP)
        # <cos θ> of many soft collisions is exp(-step/λ1), and 1 - cos θ nearly exponential. The hinge at a
        # random place in the step keeps both moments of the displacement (Fernandez-Varea et al., Nucl.
        # Instrum. Methods B 73 (1993) 447, who also treat soft and hard collisions apart).
        middle = max(energy - 0.5 * step * (collision + radiative), _LOWEST_ELECTRON)
        mean = 1.0 - math.exp(-step * _lookup(tables, _SOFT, middle))
        cosine = 2.0
        while cosine < -1.0 or cosine > 1.0:
            cosine = 1.0 + mean * math.log(1.0 - np.random.random())
        hinge = step * np.random.random()
        place = step * np.random.random()
        lost = step * collision
        before_u, before_v, before_w = u, v, w
        u, v, w = _turned(u, v, w, cosine, 2 * math.pi * np.random.random())
        left = -math.log(1.0 - np.random.random()) / _lookup(tables, _HARD, middle)
        while left < step:
            left -= math.log(1.0 - np.random.random()) / _lookup(tables, _HARD, middle)
            u, v, w = _after_hard_collision(tables, middle, u, v, w)
        first, second = min(place, hinge), max(place - hinge, 0.0)
        _score(
            scored, depths, radii,
            x + first * before_u + second * u,
            y + first * before_v + second * v,
            z + first * before_w + second * w,
            lost,
        )  # fmt: skip
        rest = step - hinge
        x += hinge * before_u + rest * u
        y += hinge * before_v + rest * v
        z += hinge * before_w + rest * w
        energy -= step * (collision + radiative)
        if z < _BACKSCATTERER:
            return x, y, z
    _score(scored, depths, radii, x, y, z, max(energy, 0.0))
    return x, y, z


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _compton(energy: float) -> tuple[float, float]:
    """Energy of the scattered photon and cosine of its angle (Kahn's rejection, AECU-3259 (1954))."""
    k = energy / ELECTRON_REST_ENERGY
    while True:
        r1, r2, r3 = np.random.random(), np.random.random(), np.random.random()
        if r1 * (2 * k + 9) <= 2 * k + 1:
            ratio = 1 + 2 * k * r2
            if r3 <= 4 * (1 / ratio - 1 / ratio**2):
                return energy / ratio, 1 - (ratio - 1) / k
        else:
            ratio = (1 + 2 * k) / (1 + 2 * k * r2)
            cosine = 1 - (ratio - 1) / k
            if r3 <= 0.5 * (cosine * cosine + 1 / ratio):
                return energy / ratio, cosine


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _pair_cosine(kinetic: float, share: float) -> float:
    """Cosine of the angle between a photon and an electron of its pair that this share of them exceeds in angle.

    The leading term of the Sauter-Gluckstern-Hull distribution, sin θ / (E - p cos θ)² (Bielajew, NRC report PIRS-0287
    (1991)).
    """
    total = kinetic + ELECTRON_REST_ENERGY
    momentum = math.sqrt(kinetic * (kinetic + 2 * ELECTRON_REST_ENERGY))
    even = 2.0 * share - 1.0
    return (even * total + momentum) / (even * momentum + total)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _follow(  # noqa: PLR0917 - compiled code knows arguments by place
    energies: FloatArray, depths: FloatArray, radii: FloatArray, tables: FloatArray, seed: int, scored: FloatArray
) -> None:
    """Every history: its photons on a stack of (x, y, z, u, v, w, energy)."""
    np.random.seed(seed)
    stack = np.zeros((16, 7))
    for start in energies:
        stack[0, :5] = 0.0
        stack[0, 5], stack[0, 6] = 1.0, start
        waiting = 1
        while waiting > 0:
            waiting -= 1
            x, y, z, u, v, w, energy = (
                stack[waiting, 0], stack[waiting, 1], stack[waiting, 2], stack[waiting, 3], stack[waiting, 4],
                stack[waiting, 5], stack[waiting, 6],
            )  # fmt: skip
            while energy > _LOWEST_PHOTON:
                way = -math.log(1.0 - np.random.random()) / _lookup(tables, _ATTENUATION, energy)
                x, y, z = x + way * u, y + way * v, z + way * w
                if z < _BACKSCATTERER or z > depths[-1] + 100.0 or x * x + y * y > 2.5e5:
                    energy = 0.0
                    break
                kind = np.random.random()
                compton, pair = _lookup(tables, _COMPTON, energy), _lookup(tables, _PAIR, energy)
                if kind < compton:
                    left, cosine = _compton(energy)
                    electron = energy - left
                    azimuth = 2 * math.pi * np.random.random()
                    before = (u, v, w)
                    u, v, w = _turned(before[0], before[1], before[2], cosine, azimuth)
                    momentum = math.sqrt(electron * (electron + 2 * ELECTRON_REST_ENERGY))
                    if momentum > 0:
                        eu, ev, ew = (
                            (energy * before[0] - left * u) / momentum,
                            (energy * before[1] - left * v) / momentum,
                            (energy * before[2] - left * w) / momentum,
                        )
                        _slow_down(scored, depths, radii, tables, x, y, z, eu, ev, ew, electron)
                    energy = left
                elif kind < compton + pair:
                    kinetic = energy - 2 * ELECTRON_REST_ENERGY
                    share = np.random.random()
                    ends = (0.0, 0.0, 0.0)
                    for part in range(2):
                        one = kinetic * (share if part == 0 else 1 - share)
                        cosine = _pair_cosine(one, np.random.random())
                        eu, ev, ew = _turned(u, v, w, cosine, 2 * math.pi * np.random.random())
                        ends = _slow_down(scored, depths, radii, tables, x, y, z, eu, ev, ew, one)
                    cosine, azimuth = 2 * np.random.random() - 1, 2 * math.pi * np.random.random()
                    sine = math.sqrt(1 - cosine * cosine)
                    pu, pv = sine * math.cos(azimuth), sine * math.sin(azimuth)
                    if ends[2] >= _BACKSCATTERER and waiting + 2 <= len(stack):
                        for sign in (-1.0, 1.0):
                            stack[waiting, :3] = ends
                            stack[waiting, 3], stack[waiting, 4] = sign * pu, sign * pv
                            stack[waiting, 5], stack[waiting, 6] = sign * cosine, ELECTRON_REST_ENERGY
                            waiting += 1
                    energy = 0.0
                else:
                    break
            if energy > 0.0:
                _score(scored, depths, radii, x, y, z, energy)


def warm_up() -> Any:
    """Compile, so that what is timed is the calculation."""
    return deposited_energy(np.array([1.0]), Tally(np.array([0.0, 10.0]), np.array([0.0, 10.0])), seed=1)
