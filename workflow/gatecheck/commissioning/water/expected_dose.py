"""Particles below the collimators to the dose that they are expected to give at points in water. Compiled."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.water.air import through_air
from gatecheck.commissioning.water.pencil import ELECTRON_ENERGY, RINGS, PencilTables, averaged_over_disc, layer_centres
from gatecheck.commissioning.water.scoring import BASIS_ENTRIES
from gatecheck.commissioning.water.source_basis import PHOTON_ENERGY
from gatecheck.transport.fast_head.random import start_stream, uniform
from gatecheck.transport.photon_tracker.kernel import ENERGY, LABEL, PDG, PHOTON_PDG, WEIGHT, U, X, Y, Z

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

POINT, AXIS, INNER = range(3)
"""Kinds of detectors: as good as a point; discs across the axis, and across the inner part of a profile."""

SMALL = 3.0
"""mm: radius of the disc that stands for a point. Its weights take off what is quadratic in place: the rest changes an
edge as steep as a penumbra of 5 mm by 0.1 % of the dose."""

FAR = 60.0
"""mm from the way: the smooth dose beyond is looked at for one point in `_EVERY`, with that weight."""

_EVERY = 8
_COPIES = 10  # of each electron through the air: there are few
_PER_MM = 4  # cells of the look-up tables
_V, _W = U + 1, U + 2


class Points(NamedTuple):
    """Where the dose is looked at, in patient coordinates, mm.

    Attributes
    ----------
    place : ndarray of shape (n, 3)
    kind : ndarray of shape (n,)
        POINT, AXIS or INNER.
    """

    place: FloatArray
    kind: IntArray


class Pencils(NamedTuple):
    """The tables of one replica as compiled code reads them.

    Attributes
    ----------
    photons, electrons : ndarray of shape (3, n_energies, n_depths, n_rings)
        For each kind of detector.
    low, centre : ndarray
        The layer below which a depth lies, by quarters of a millimetre; layers' centres.
    ring : ndarray
        By quarters of a millimetre; the number of rings beyond the last.
    """

    photons: FloatArray
    electrons: FloatArray
    photon_energy: FloatArray
    log_electron_energy: FloatArray
    low: IntArray
    centre: FloatArray
    ring: IntArray


def pencils_of(tables: PencilTables, replica: int, *, axis_radius: float, inner_radius: float) -> Pencils:
    """One replica, with discs of these radii, mm; SMALL at least."""
    centre = layer_centres()
    depth = (np.arange(int(_PER_MM * (centre[-1] + 5.0))) + 0.5) / _PER_MM
    distance = (np.arange(int(_PER_MM * RINGS[-1])) + 0.5) / _PER_MM

    def kinds(table: FloatArray) -> FloatArray:
        radii = (SMALL, axis_radius, inner_radius)
        return np.ascontiguousarray(np.array([averaged_over_disc(table, max(radius, SMALL)) for radius in radii]))

    return Pencils(
        photons=kinds(tables.photons[replica]),
        electrons=kinds(tables.electrons[replica]),
        photon_energy=PHOTON_ENERGY,
        log_electron_energy=np.log(ELECTRON_ENERGY),
        low=np.clip(np.searchsorted(centre, depth) - 1, 0, len(centre) - 2).astype(np.int64),
        centre=centre,
        ring=np.searchsorted(RINGS, distance, side="right").astype(np.int64),
    )


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _node(nodes: FloatArray, value: float, u: float) -> int:
    """One of the two nodes round a value, by chance as near as it is: linear between nodes on the mean."""
    if value <= nodes[0]:
        return 0
    if value >= nodes[-1]:
        return len(nodes) - 1
    low = np.searchsorted(nodes, value, side="right") - 1
    share = (value - nodes[low]) / (nodes[low + 1] - nodes[low])
    return int(low + 1 if u < share else low)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def add_expected_dose(
    particles: FloatArray,
    pencils: Pencils,
    points: Points,
    surface: float,
    index: IntArray,
    share: FloatArray,
    dose: FloatArray,
    seed: np.uint64,
    state: Any,
) -> None:
    """Add each particle's expected dose, MeV/g, to every point.

    Parameters
    ----------
    particles : ndarray of shape (n, COLUMNS)
        Above the plane y = surface; those that go up are passed over.
    index, share : ndarray of shape (n_rows, BASIS_ENTRIES)
        Elements of the source's basis by the particles' label.
    dose : ndarray of shape (n_points, n_basis)
    """
    for row in range(len(particles)):
        start_stream(state, seed, np.uint64(row))
        if particles[row, _V] <= 0.0:
            continue
        label = int(particles[row, LABEL])
        x, y, z = particles[row, X], particles[row, Y], particles[row, Z]
        u, v, w = particles[row, U], particles[row, _V], particles[row, _W]
        if particles[row, PDG] == PHOTON_PDG:
            way = (surface - y) / v
            tables = pencils.photons[:, _node(pencils.photon_energy, particles[row, ENERGY], uniform(state))]
            _add(
                x + way * u,
                z + way * w,
                u,
                v,
                w,
                particles[row, WEIGHT],
                tables,
                pencils,
                points,
                surface,
                index[label],
                share[label],
                dose,
                state,
            )
            continue
        for _ in range(_COPIES):
            energy, x_s, _, z_s, u_s, v_s, w_s = through_air(particles[row, ENERGY], x, y, z, u, v, w, surface, state)
            if energy <= 0.0:
                continue
            tables = pencils.electrons[:, _node(pencils.log_electron_energy, math.log(energy), uniform(state))]
            _add(
                x_s,
                z_s,
                u_s,
                v_s,
                w_s,
                particles[row, WEIGHT] / _COPIES,
                tables,
                pencils,
                points,
                surface,
                index[label],
                share[label],
                dose,
                state,
            )


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
def _add(
    x: float,
    z: float,
    u: float,
    v: float,
    w: float,
    weight: float,
    tables: FloatArray,
    pencils: Pencils,
    points: Points,
    surface: float,
    index: IntArray,
    share: FloatArray,
    dose: FloatArray,
    state: Any,
) -> None:
    """One particle at the surface, with the tables (kind, depth, ring) of its energy."""
    deepest = len(pencils.low) / _PER_MM
    widest = len(pencils.ring) / _PER_MM
    phase = int(uniform(state) * _EVERY)
    for point in range(len(points.kind)):
        dx, dy, dz = points.place[point, 0] - x, points.place[point, 1] - surface, points.place[point, 2] - z
        along = dx * u + dy * v + dz * w
        squared = dx * dx + dy * dy + dz * dz - along * along
        if along <= 0.0 or along >= deepest or squared >= widest * widest:
            continue
        value = weight
        if squared > FAR * FAR:
            if (point + phase) % _EVERY != 0:
                continue
            value *= _EVERY
        ring = pencils.ring[int(math.sqrt(max(squared, 0.0)) * _PER_MM)]
        low = pencils.low[int(along * _PER_MM)]
        part = (along - pencils.centre[low]) / (pencils.centre[low + 1] - pencils.centre[low])
        table = tables[points.kind[point]]
        value *= (1.0 - part) * table[low, ring] + part * table[low + 1, ring]
        for entry in range(BASIS_ENTRIES):
            dose[point, index[entry]] += value * share[entry]
