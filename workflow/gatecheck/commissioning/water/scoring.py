"""Electrons' deposits into depth-dose and profile bins, kept apart by what the source photon was. Compiled."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.water.air import through_air
from gatecheck.linac.attenuation import ELECTRON_REST_ENERGY
from gatecheck.transport.fast_head.compton import turned
from gatecheck.transport.fast_head.random import start_stream, uniform
from gatecheck.transport.photon_tracker.kernel import (
    COLUMNS,
    ENERGY,
    LABEL,
    PDG,
    PHOTON_PDG,
    POSITRON_PDG,
    WEIGHT,
    U,
    X,
    Y,
    Z,
    longest_range,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BASIS_ENTRIES = 4
# Below this the range is shorter than 0.05 mm.
_LOCAL_BELOW = 0.05  # MeV
_SOFTEST_PHOTON = 0.01  # of the electron's energy: bremsstrahlung below is left where it is
_V, _W = U + 1, U + 2
_NO_RINGS: FloatArray = np.empty(0)


class Library(NamedTuple):
    """gatecheck.commissioning.water.electron_library.ElectronLibrary, for compiled code."""

    log_lowest: float
    inverse_step: float
    radiated: FloatArray
    points: FloatArray


class Detectors(NamedTuple):
    """Bins in the tank, which lies below the plane y = surface with the beam's axis at x = z = 0; mm.

    Attributes
    ----------
    surface : float
    depth_step : float
        Of the depth dose's bins.
    radius : float
        Of the disc across the axis in which the depth dose is scored.
    is_curved : bool
        Whether the dose across the disc is taken as a constant and a term in r²; otherwise as a constant.
    profile_depth : ndarray of shape (n_profiles,)
    half_thickness : float
        Of the layer in which a profile is scored.
    half_width : float
        Of the strip on both sides of a profile's line.
    profile_step : float
        Of bins along a profile, counted from the axis, both sides together.
    rings : ndarray of shape (n_rings,)
        Squares of rings' outer radii, rising. Where there are any, nothing but the energy between rings is
        scored, into `Bins.depth_dose` with the rings in place of the basis' elements.
    """

    surface: float
    depth_step: float
    radius: float
    is_curved: bool
    profile_depth: FloatArray
    half_thickness: float
    half_width: float
    profile_step: float
    rings: FloatArray = _NO_RINGS


class Bins(NamedTuple):
    """Energy, MeV, for every element of the source's basis.

    Attributes
    ----------
    depth_dose : ndarray of shape (n_depths, n_basis)
    profile : ndarray of shape (n_profiles, 2, n_bins, n_basis)
        Along x and along y of the beam limiting device (patient x and z).
    """

    depth_dose: FloatArray
    profile: FloatArray


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _add(x: float, y: float, z: float, energy: float, index: Any, share: Any, detectors: Detectors, bins: Bins) -> None:
    """One deposit at a point of the tank."""
    depth = y - detectors.surface
    if depth <= 0.0:
        return
    squared = x * x + z * z
    if len(detectors.rings) > 0:
        row = int(depth / detectors.depth_step)
        ring = np.searchsorted(detectors.rings, squared, side="right")
        if row < len(bins.depth_dose) and ring < len(detectors.rings):
            bins.depth_dose[row, ring] += energy
        return
    limit = detectors.radius * detectors.radius
    if squared < limit:
        row = int(depth / detectors.depth_step)
        if row < len(bins.depth_dose):
            # With this weight the mean over the disc is the value at its centre, whatever the term in r².
            value = energy * (4.0 - 6.0 * squared / limit) if detectors.is_curved else energy
            for entry in range(BASIS_ENTRIES):
                bins.depth_dose[row, index[entry]] += value * share[entry]
    for profile in range(len(detectors.profile_depth)):
        if abs(depth - detectors.profile_depth[profile]) >= detectors.half_thickness:
            continue
        for axis in range(2):
            along, across = (x, z) if axis == 0 else (z, x)
            if abs(across) >= detectors.half_width:
                continue
            place = int(abs(along) / detectors.profile_step)
            if place < bins.profile.shape[2]:
                for entry in range(BASIS_ENTRIES):
                    bins.profile[profile, axis, place, index[entry]] += energy * share[entry]


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def score_charged(
    charged: FloatArray,
    library: Library,
    picks: int,
    basis_index: IntArray,
    basis_share: FloatArray,
    detectors: Detectors,
    bins: Bins,
    seed: np.uint64,
    photons: FloatArray,
    state: Any,
) -> int:
    """Score electrons and positrons; what they radiate is put into `photons`.

    Parameters
    ----------
    charged : ndarray of shape (n, COLUMNS)
        Those above the surface fly to it through air.
    picks : int
        Points of the library for each electron.
    basis_index, basis_share : ndarray of shape (n_rays, BASIS_ENTRIES)
        By the particles' label.
    photons : ndarray of shape (m, COLUMNS)
        With room for three times as many as there are charged particles.

    Returns
    -------
    int
        How many photons there are.
    """
    kept = 0
    most = library.points.shape[1]
    for row in range(len(charged)):
        start_stream(state, seed, np.uint64(row))
        energy, weight = charged[row, ENERGY], charged[row, WEIGHT]
        x, y, z = charged[row, X], charged[row, Y], charged[row, Z]
        u, v, w = charged[row, U], charged[row, _V], charged[row, _W]
        if y < detectors.surface:
            energy, x, y, z, u, v, w = through_air(energy, x, y, z, u, v, w, detectors.surface, state)
            if energy <= 0.0:
                continue
        label = int(charged[row, LABEL])
        index, share = basis_index[label], basis_share[label]
        reach = 0.0
        node = 0
        if energy < _LOCAL_BELOW:
            _add(x, y, z, weight * energy, index, share, detectors, bins)
        else:
            place = (math.log(energy) - library.log_lowest) * library.inverse_step
            node = min(int(place), len(library.radiated) - 2)
            part = min(place - node, 1.0)
            lost = (1.0 - part) * library.radiated[node] + part * library.radiated[node + 1]
            if uniform(state) < part:
                node += 1
            reach = longest_range(energy, 1.0)
            first = int(uniform(state) * most)
            each = weight * energy * (1.0 - lost) / picks
            for pick in range(picks):
                point = library.points[node, (first + pick) % most]
                px, py, pz = _placed(point, reach, u, v, w, 2.0 * math.pi * uniform(state))
                _add(x + px, y + py, z + pz, each, index, share, detectors, bins)
            # Kramers' spectrum, (1 - k/T)/k: as many photons as carry the energy that is radiated.
            logarithm = -math.log(_SOFTEST_PHOTON)
            mean = energy * (0.5 - _SOFTEST_PHOTON) / (logarithm - 1.0 + _SOFTEST_PHOTON)
            if uniform(state) * mean < lost * energy:
                while True:
                    photon_energy = energy * _SOFTEST_PHOTON ** uniform(state)
                    if uniform(state) < 1.0 - photon_energy / energy:
                        break
                kept = _radiate(photons, kept, photon_energy, x, y, z, u, v, w, weight, label)
        if charged[row, PDG] == POSITRON_PDG:
            if reach > 0.0:
                point = library.points[node, int(uniform(state) * most)]
                px, py, pz = _placed(point, reach, u, v, w, 2.0 * math.pi * uniform(state))
                x, y, z = x + px, y + py, z + pz
            cosine = 2.0 * uniform(state) - 1.0
            azimuth = 2.0 * math.pi * uniform(state)
            sine = math.sqrt(1.0 - cosine * cosine)
            a, b = sine * math.cos(azimuth), sine * math.sin(azimuth)
            kept = _radiate(photons, kept, ELECTRON_REST_ENERGY, x, y, z, a, b, cosine, weight, label)
            kept = _radiate(photons, kept, ELECTRON_REST_ENERGY, x, y, z, -a, -b, -cosine, weight, label)
    return kept


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _placed(
    point: FloatArray, reach: float, u: float, v: float, w: float, azimuth: float
) -> tuple[float, float, float]:
    """A point of the library, relative to the electron's start, mm."""
    along, across = point[0] * reach, point[1] * reach
    a, b, c = turned(u, v, w, 0.0, azimuth)
    return along * u + across * a, along * v + across * b, along * w + across * c


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _radiate(
    photons: FloatArray,
    kept: int,
    energy: float,
    x: float,
    y: float,
    z: float,
    u: float,
    v: float,
    w: float,
    weight: float,
    label: float,
) -> int:
    photons[kept, ENERGY] = energy
    photons[kept, X], photons[kept, Y], photons[kept, Z] = x, y, z
    photons[kept, U], photons[kept, _V], photons[kept, _W] = u, v, w
    photons[kept, WEIGHT] = weight
    photons[kept, PDG] = PHOTON_PDG
    photons[kept, LABEL] = label
    return kept + 1


def as_library(energy: FloatArray, radiated: FloatArray, points: FloatArray) -> Library:
    """Tables as compiled code reads them."""
    log_energy = np.log(energy)
    return Library(
        log_lowest=float(log_energy[0]),
        inverse_step=float(1.0 / (log_energy[1] - log_energy[0])),
        radiated=np.ascontiguousarray(radiated),
        points=np.ascontiguousarray(points),
    )


def room_for_photons(charged: int) -> FloatArray:
    """Space for what charged particles radiate: bremsstrahlung and two annihilation photons each."""
    return np.empty((3 * max(charged, 1), COLUMNS))
