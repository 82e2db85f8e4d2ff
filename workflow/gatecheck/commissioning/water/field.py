"""Jaw-defined fields in water by expected dose: what `tank.simulate_field` gives, with a hundredth of its particles.

The dose is found at chosen depths on the axis and places along profiles, close together where it changes, and
handed on in the tank's bins by cubic splines.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numba
import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water import air, expected_dose
from gatecheck.commissioning.water.expected_dose import AXIS, INNER, POINT, Pencils, Points, pencils_of
from gatecheck.commissioning.water.pencil import PencilTables
from gatecheck.commissioning.water.source_basis import Sampling
from gatecheck.commissioning.water.tank import (
    PROFILE_STEP,
    Response,
    TankSetup,
    as_tracked,
    depth_bins,
    field_delivery,
    profile_bins,
    shorter_side,
)
from gatecheck.compiled import digest_of_sources
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head import collimation, compton, random
from gatecheck.transport.fast_head.rays import RAY_LABEL
from gatecheck.transport.fast_head.sample import Rays, collimated, emitted_rays, plan_emission
from gatecheck.transport.photon_tracker import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# fmt: off
_DEPTHS = np.array(
    [
        0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 8.0, 9.5, 11.0, 12.5, 14.0, 16.0, 18.0, 20.0, 23.0, 26.0, 30.0, 35.0, 40.0,
        50.0, 65.0, 80.0, 100.0, 125.0, 150.0, 180.0, 210.0, 240.0, 270.0, 300.0, 330.0, 360.0, 400.0,
    ]
)
# fmt: on
_EDGE = 14.0  # mm on both sides of a field's edge, where places are 1 mm apart
_INNER_STEP = 7.0
_OUTER_STEP = 20.0
_BEYOND = np.array([17.0, 21.0, 26.0, 32.0, 40.0])
_AXIS_SHARE, _MOST_AXIS = 0.2, 30.0
_INNER_SHARE, _MOST_INNER, _LEAST_INNER = 0.1, 15.0, 8.0


def expected_field(
    *,
    field: JawField,
    setups: Sequence[TankSetup],
    linac: LinacModel,
    sampling: Sampling,
    tables: PencilTables,
    histories: int,
    batches: int,
    seed: int,
) -> list[Response]:
    """One field in several tanks, from the same source photons.

    The field is centred on the axis; profiles are looked at on the side of positive x and y. Each batch has its own
    photons, evenly spread, and its own replica of the tables, so that the spread of batches holds the noise of both.

    Parameters
    ----------
    histories : int
        Source photons in each batch.
    """
    plan = plan_emission(field_delivery(field, linac), linac, histories, source=sampling.source)
    tanks = [_Tank(field, setup, linac, sampling.size) for setup in setups]
    axis_radius, inner_radius = disc_radii(field)
    for batch in range(batches):
        pencils = pencils_of(tables, batch % len(tables.photons), axis_radius=axis_radius, inner_radius=inner_radius)
        batch_seed = seed * 1_000 + batch
        for block, rays in enumerate(emitted_rays(plan, batch_seed, evenly=True)):
            index, share = sampling.entries(rays.rows)
            rays.rows[:, RAY_LABEL] = np.arange(len(rays.rows))
            tally = np.zeros(len(collimation.FATES))
            for particles in collimated(Rays(rays.rows, rays.states), plan.setting, tally):
                rows = as_tracked(particles)
                for tank in tanks:
                    tank.add(rows, pencils, index, share, seed=batch_seed * 10_000 + block)
        for tank in tanks:
            tank.end_batch(plan.nominal_photons)
    return [tank.response() for tank in tanks]


def disc_radii(field: JawField) -> tuple[float, float]:
    """Radii of the discs on the axis and within a profile, mm; 0 where a disc would be too small to help."""
    side = shorter_side(field)
    inner = min(_INNER_SHARE * side, _MOST_INNER)
    return min(_AXIS_SHARE * side, _MOST_AXIS), inner if inner >= _LEAST_INNER else 0.0


class _Tank:
    """One tank of water and the doses at its points."""

    def __init__(self, field: JawField, setup: TankSetup, linac: LinacModel, elements: int) -> None:
        self.field, self.setup, self.elements = field, setup, elements
        axis_distance = linac.machine.source_axis_distance
        self.surface = setup.source_surface_distance - axis_distance
        deeper = _DEPTHS[setup.deepest + 25.0 > _DEPTHS]
        self.depths = deeper
        self.depth_bins = depth_bins(setup)
        self.profile_bins = profile_bins(field, setup, axis_distance)
        reach = float(self.profile_bins[-1] + PROFILE_STEP)
        inner = disc_radii(field)[1]
        place = [np.stack([np.zeros_like(deeper), self.surface + deeper, np.zeros_like(deeper)], axis=1)]
        kind = [np.full(len(deeper), AXIS)]
        self.along: list[list[FloatArray]] = []
        for depth in setup.profile_depth:
            magnified = (setup.source_surface_distance + depth) / axis_distance
            both = []
            for axis, size in enumerate((field.size_x, field.size_y)):
                half = size / 2 * magnified
                along = _places(half, reach)
                across = np.zeros((len(along), 3))
                across[:, 1] = self.surface + depth
                across[:, 2 * axis] = along
                place.append(across)
                kind.append(np.where((inner > 0) & (along + inner < half - _EDGE), INNER, POINT))
                both.append(along)
            self.along.append(both)
        self.points = Points(np.ascontiguousarray(np.concatenate(place)), np.concatenate(kind).astype(np.int64))
        self._batches: list[tuple[FloatArray, float]] = []
        self._dose = np.zeros((len(self.points.kind), elements))

    def add(self, particles: FloatArray, pencils: Pencils, index: IntArray, share: FloatArray, *, seed: int) -> None:
        """Particles below the collimators, with the basis' elements of their rays."""
        _compiled()(
            particles,
            pencils,
            self.points,
            self.surface,
            index,
            share,
            self._dose,
            np.uint64(seed),
            np.zeros(1, np.uint64),
        )

    def end_batch(self, nominal_photons: float) -> None:
        """Close a batch."""
        self._batches.append((self._dose / nominal_photons, nominal_photons))
        self._dose = np.zeros_like(self._dose)

    def response(self) -> Response:
        """Splines through the points, read at the tank's bins."""
        dose = np.array([batch[0] for batch in self._batches])
        at_depth = CubicSpline(self.depths, np.eye(len(self.depths)))(self.depth_bins)
        first = len(self.depths)
        profile = np.zeros((len(dose), len(self.along), 2, len(self.profile_bins), self.elements))
        for number, both in enumerate(self.along):
            for axis, along in enumerate(both):
                part = dose[:, first : first + len(along)]
                first += len(along)
                # Level on the axis: the other side is its mirror image.
                spline = CubicSpline(along, np.eye(len(along)), bc_type=((1, np.zeros(len(along))), "not-a-knot"))
                profile[:, number, axis] = np.einsum("bp,npe->nbe", spline(self.profile_bins), part)
        return Response(
            field=self.field,
            setup=self.setup,
            depth=self.depth_bins,
            depth_dose=np.einsum("dp,npe->nde", at_depth, dose[:, : len(self.depths)]),
            position=self.profile_bins,
            profile=profile,
            nominal_photons=np.array([batch[1] for batch in self._batches]),
        )


def _places(half: float, reach: float) -> FloatArray:
    """Distances from the axis at which a profile is looked at, mm, the first 0."""
    inside = max(half - _EDGE, 0.5 * half)
    inner = np.linspace(0.0, inside, max(int(np.ceil(inside / _INNER_STEP)), 3))
    edge = np.arange(inside + 1.0, half + _EDGE + 0.5, 1.0)
    beyond = half + _BEYOND
    # A spline over a long gap would swing.
    outer = np.arange(reach, beyond[-1] + _OUTER_STEP / 2, -_OUTER_STEP)[::-1]
    return np.concatenate([inner, edge, beyond, outer])


@functools.cache
def _compiled() -> Callable[..., None]:
    """The compiled score, kept on disk."""
    return _cached(digest_of_sources(compton, random, kernel, air, expected_dose))


def _cached(digest: int) -> Callable[..., None]:
    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def run(
        particles: FloatArray,
        pencils: Pencils,
        points: Points,
        surface: float,
        index: IntArray,
        share: FloatArray,
        dose: FloatArray,
        seed: np.uint64,
        state: random.State,
    ) -> None:
        # Captured, and so a part of numba's cache key.
        if digest < 0:
            return
        expected_dose.add_expected_dose(particles, pencils, points, surface, index, share, dose, seed, state)

    found: Callable[..., None] = run
    return found
