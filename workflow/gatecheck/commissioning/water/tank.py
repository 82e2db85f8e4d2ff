"""Jaw-defined fields in a water tank: depth doses and profiles for every element of the source's basis."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water import air as air_transport
from gatecheck.commissioning.water import scoring
from gatecheck.commissioning.water.electron_library import ElectronLibrary
from gatecheck.commissioning.water.scoring import Bins, Detectors, Library, as_library, room_for_photons, score_charged
from gatecheck.commissioning.water.source_basis import Sampling
from gatecheck.compiled import digest_of_sources
from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head import collimation, compton, random
from gatecheck.transport.fast_head.rays import RAY_LABEL
from gatecheck.transport.fast_head.sample import Rays, collimated, emitted_rays, plan_emission
from gatecheck.transport.materials import air, water
from gatecheck.transport.photon_tracker import cross_sections, kernel
from gatecheck.transport.photon_tracker.kernel import Boxes
from gatecheck.transport.photon_tracker.track import boxes_of, charged_of
from gatecheck.transport.volumes import HomogeneousVolume

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PICKS = 2  # points of the library for each electron
_GENERATIONS = 4  # photons, what their electrons radiate, and so on; later ones carry below 1e-6 of the energy
_MARGIN = 150.0  # mm of water beside the field
_BESIDE_PROFILE = 40.0  # mm beyond the field that a profile reaches
_BEYOND = 150.0  # mm of water below the last depth
DEPTH_STEP = 1.0
PROFILE_STEP = 1.0
_HALF_THICKNESS = 4.0
CHAMBER_RADIUS = 3.05  # mm: of a compact ionisation chamber of 0.13 cm3
_CURVED_SHARE = 0.3  # radius of the scored disc, as a share of the field's shorter side
_MOST_RADIUS = 36.0
_STRIP_SHARE = 0.1
_MOST_STRIP = 15.0


@dataclass(frozen=True, slots=True)
class TankSetup:
    """Where the water's surface is and what is scored below it.

    Attributes
    ----------
    source_surface_distance : float
    deepest : float
        Of the depth dose.
    profile_depth : tuple of float
    """

    source_surface_distance: float
    deepest: float
    profile_depth: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """Dose of one field in one tank for every element of the source's basis, batch by batch.

    Attributes
    ----------
    depth : ndarray of shape (n_depths,)
        Centres of the bins, mm.
    depth_dose : ndarray of shape (n_batches, n_depths, n_basis)
        Dose on the axis, MeV/g per nominal photon.
    position : ndarray of shape (n_bins,)
        Distance from the axis, mm; both sides together.
    profile : ndarray of shape (n_batches, n_profiles, 2, n_bins, n_basis)
        Along x and y, MeV/g per nominal photon.
    nominal_photons : ndarray of shape (n_batches,)
    """

    field: JawField
    setup: TankSetup
    depth: FloatArray
    depth_dose: FloatArray
    position: FloatArray
    profile: FloatArray
    nominal_photons: FloatArray


def field_delivery(field: JawField, linac: LinacModel) -> Delivery:
    """A static field at gantry 0 without MLC, isocentre at the origin of a head-first supine patient."""
    nodes = np.zeros(2)
    beam = BeamTimeline(
        number=1,
        name="field",
        nominal_energy_mv=linac.beam.nominal_energy_mv,
        fluence_mode=linac.beam.fluence_mode,
        meterset=np.array([0.0, 100.0]),
        gantry=nodes,
        collimator=nodes,
        couch=nodes,
        jaw_x=np.tile([field.x1, field.x2], (2, 1)),
        jaw_y=np.tile([field.y1, field.y2], (2, 1)),
        leaf_positions=None,
        leaf_boundaries=None,
        isocentre=np.zeros((2, 3)),
    )
    return Delivery(beams=(beam,), patient_position="HFS", fractions=1, made_from_sha256=linac.content_sha256)


def depth_bins(setup: TankSetup) -> FloatArray:
    """Centres of the depth dose's bins, mm."""
    return np.asarray(DEPTH_STEP * (np.arange(round(setup.deepest / DEPTH_STEP)) + 0.5), dtype=float)


def profile_bins(field: JawField, setup: TankSetup, axis_distance: float) -> FloatArray:
    """Centres of the profiles' bins, mm from the axis: beyond the field at its deepest."""
    reach = _half_at_bottom(field, setup, axis_distance) + _BESIDE_PROFILE
    return np.asarray(PROFILE_STEP * (np.arange(round(reach / PROFILE_STEP)) + 0.5), dtype=float)


def _half_at_bottom(field: JawField, setup: TankSetup, axis_distance: float) -> float:
    magnified = (setup.source_surface_distance + setup.deepest) / axis_distance
    return magnified * max(abs(field.x1), field.x2, abs(field.y1), field.y2)


def shorter_side(field: JawField) -> float:
    """The smaller of both openings, mm."""
    return min(field.size_x, field.size_y)


def detectors_for(field: JawField, setup: TankSetup, linac: LinacModel) -> Detectors:
    """The chamber in small fields; in large ones more of the flat middle, with its curvature taken off."""
    wide = min(_CURVED_SHARE * shorter_side(field), _MOST_RADIUS)
    # The curved estimate has the noise of a plain mean over half the radius.
    is_curved = wide > 2.0 * CHAMBER_RADIUS
    return Detectors(
        surface=setup.source_surface_distance - linac.machine.source_axis_distance,
        depth_step=DEPTH_STEP,
        radius=wide if is_curved else CHAMBER_RADIUS,
        is_curved=is_curved,
        profile_depth=np.array(setup.profile_depth),
        half_thickness=_HALF_THICKNESS,
        half_width=max(min(_STRIP_SHARE * shorter_side(field), _MOST_STRIP), CHAMBER_RADIUS),
        profile_step=PROFILE_STEP,
    )


def simulate_field(
    *,
    field: JawField,
    setups: Sequence[TankSetup],
    linac: LinacModel,
    sampling: Sampling,
    library: ElectronLibrary,
    histories: int,
    batches: int,
    seed: int,
    detectors: Sequence[Detectors] | None = None,
    delivery: Delivery | None = None,
) -> list[Response]:
    """One field in several tanks, from the same source photons.

    Parameters
    ----------
    sampling : Sampling
        What is sampled: a basis, or the machine's own source as its only element.
    histories : int
        Source photons in each batch.
    detectors : sequence of Detectors, optional
        For each setup; those of `detectors_for` otherwise.
    delivery : Delivery, optional
        What is delivered instead of the static field without MLC; `field` then only says how far the water and the
        profiles reach.
    """
    delivered = delivery or field_delivery(field, linac)
    plan = plan_emission(delivered, linac, histories, source=sampling.source)
    chosen = detectors or [detectors_for(field, setup, linac) for setup in setups]
    tanks = [
        _Tank(field, setup, linac, sampling.size, library, bins) for setup, bins in zip(setups, chosen, strict=True)
    ]
    for batch in range(batches):
        batch_seed = seed * 1_000 + batch
        for block, rays in enumerate(emitted_rays(plan, batch_seed)):
            index, share = sampling.entries(rays.rows)
            rays.rows[:, RAY_LABEL] = np.arange(len(rays.rows))
            tally = np.zeros(len(collimation.FATES))
            for particles in collimated(Rays(rays.rows, rays.states), plan.setting, tally):
                charged_and_photons = as_tracked(particles)
                for tank in tanks:
                    tank.score(charged_and_photons, index, share, seed=batch_seed * 10_000 + block)
        for tank in tanks:
            tank.end_batch(plan.nominal_photons)
    return [tank.response() for tank in tanks]


def as_tracked(particles: FloatArray) -> FloatArray:
    """Columns of the fast head in the order of the photon tracker."""
    rows = np.zeros((len(particles), kernel.COLUMNS))
    rows[:, kernel.ENERGY] = particles[:, collimation.ENERGY]
    rows[:, kernel.X : kernel.X + 3] = particles[:, collimation.X : collimation.X + 3]
    rows[:, kernel.U : kernel.U + 3] = particles[:, collimation.U : collimation.U + 3]
    rows[:, kernel.WEIGHT] = particles[:, collimation.WEIGHT]
    rows[:, kernel.PDG] = particles[:, collimation.PDG]
    rows[:, kernel.LABEL] = particles[:, collimation.LABEL]
    return rows


class _Tank:
    """One tank of water and its scores."""

    def __init__(
        self,
        field: JawField,
        setup: TankSetup,
        linac: LinacModel,
        elements: int,
        library: ElectronLibrary,
        detectors: Detectors,
    ) -> None:
        self.field, self.setup = field, setup
        self.detectors = detectors
        axis_distance = linac.machine.source_axis_distance
        half = _half_at_bottom(field, setup, axis_distance) + _MARGIN
        surface = self.detectors.surface
        self.water = water_below(surface, surface + setup.deepest + _BEYOND, half, library)
        reach = _half_at_bottom(field, setup, axis_distance) + _BESIDE_PROFILE
        self._bins = round(reach / detectors.profile_step)
        self._shape = (round(setup.deepest / detectors.depth_step), elements)
        self._profile_shape = (len(setup.profile_depth), 2, self._bins, elements)
        self._batches: list[tuple[FloatArray, FloatArray, float]] = []
        self._new_batch()

    def _new_batch(self) -> None:
        self.bins = Bins(np.zeros(self._shape), np.zeros(self._profile_shape))

    def score(self, particles: FloatArray, index: IntArray, share: FloatArray, *, seed: int) -> None:
        """Particles below the collimators, with the basis' elements of their rays."""
        score_particles(
            particles,
            self.water,
            self.detectors,
            self.bins,
            index=index,
            share=share,
            seed=seed,
        )

    def end_batch(self, nominal_photons: float) -> None:
        """Close a batch."""
        self._batches.append((self.bins.depth_dose, self.bins.profile, nominal_photons))
        self._new_batch()

    def response(self) -> Response:
        """Energies over masses and nominal photons."""
        area = math.pi * self.detectors.radius**2
        depth_mass = area * self.detectors.depth_step * 1e-3
        # Both sides of the axis fall into one bin.
        profile_mass = (
            2 * self.detectors.profile_step * 2 * self.detectors.half_width * 2 * self.detectors.half_thickness * 1e-3
        )
        nominal = np.array([batch[2] for batch in self._batches])
        return Response(
            field=self.field,
            setup=self.setup,
            depth=np.asarray(self.detectors.depth_step * (np.arange(self._shape[0]) + 0.5), dtype=float),
            depth_dose=np.array([batch[0] / batch[2] for batch in self._batches]) / depth_mass,
            position=np.asarray(self.detectors.profile_step * (np.arange(self._bins) + 0.5), dtype=float),
            profile=np.array([batch[1] / batch[2] for batch in self._batches]) / profile_mass,
            nominal_photons=nominal,
        )


class Water(NamedTuple):
    """A tank's matter, for compiled code."""

    boxes: Boxes
    matter: cross_sections.Matter
    library: Library


def water_below(surface: float, bottom: float, half_width: float, library: ElectronLibrary) -> Water:
    """A box of water from the plane y = surface down to y = bottom, mm."""
    volume = HomogeneousVolume(
        "water tank", 0, (-half_width, surface, -half_width), (half_width, bottom, half_width), (1, 1, 1)
    )
    return Water(
        boxes_of([volume], {0: 0}, air_row=1),
        cross_sections.matter_of([water(), air()]),
        as_library(library.energy, library.radiated, library.points),
    )


def score_particles(
    particles: FloatArray,
    tank: Water,
    detectors: Detectors,
    bins: Bins,
    *,
    index: IntArray,
    share: FloatArray,
    seed: int,
    picks: int = PICKS,
) -> None:
    """Follow particles through water, with what they radiate, and add what they leave to `bins`.

    Parameters
    ----------
    particles : ndarray of shape (n, gatecheck.transport.photon_tracker.kernel.COLUMNS)
    index, share : ndarray of shape (n_labels, 4)
        Elements of the source's basis and shares in them, by the particles' labels.
    picks : int
        Points of the library for each electron.
    """
    run = _compiled()
    for generation in range(_GENERATIONS):
        if len(particles) == 0:
            return
        stream = seed * _GENERATIONS + generation
        charged = charged_of(particles, tank.boxes, tank.matter, seed=stream)
        photons = room_for_photons(len(charged))
        count = run(
            charged,
            tank.library,
            picks,
            index,
            share,
            detectors,
            bins,
            np.uint64(stream),
            photons,
            np.zeros(1, np.uint64),
        )
        particles = photons[:count]


@functools.cache
def _compiled() -> Callable[..., Any]:
    """The compiled score, kept on disk."""
    return _cached_score(digest_of_sources(compton, random, kernel, air_transport, scoring))


def _cached_score(digest_of_sources: int) -> Callable[..., Any]:
    @numba.njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def run(
        charged: FloatArray,
        library: Library,
        picks: int,
        basis_index: IntArray,
        basis_share: FloatArray,
        detectors: Detectors,
        bins: Bins,
        seed: np.uint64,
        photons: FloatArray,
        state: random.State,
    ) -> int:
        # Captured, and so a part of numba's cache key.
        if digest_of_sources < 0:
            return 0
        return score_charged(charged, library, picks, basis_index, basis_share, detectors, bins, seed, photons, state)

    score: Callable[..., Any] = run
    return score
