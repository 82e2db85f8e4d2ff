"""A phase space through the patient: photons by gatecheck's own tracking or by GATE, electrons by GATE or its steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.patient.model import Material
from gatecheck.transport.electron_replay.grouping import is_gas
from gatecheck.transport.electron_replay.provide import electron_steps, recorded_with
from gatecheck.transport.electron_replay.replay import Replayed, replay_charged
from gatecheck.transport.gate import (
    MARGIN_FOR_HEAD,
    GateRun,
    Progress,
    Score,
    check_starts,
    check_tiling,
    labels_in,
    no_dose,
    run_gate,
)
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.photon_tracker import Roulette, TrackedPhotons, track_photons
from gatecheck.transport.volumes import Volume


def run_transport(
    *,
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    phase_space: PhaseSpace,
    settings: TransportConfig,
    seed: int,
    dose_to: str = "medium",
    work_folder: Path | None = None,
    progress: Progress | None = None,
    batches: int = 1,
    of_interest: Volume | None = None,
    flights_of: Sequence[Material] | None = None,
) -> GateRun:
    """As `run_gate`, with photons followed as `settings.photon_transport` says.

    With gatecheck's own tracking every photon is followed `settings.photon_copies` times. Electrons
    that cannot leave their scoring voxel are deposited in it at once; for dose to water all go to GATE,
    which knows the stopping powers.

    Parameters
    ----------
    of_interest : Volume, optional
        Electrons set free too far from it to reach it are followed with a probability of
        `settings.far_electron_survival`, and stand for those that are not.
    flights_of : sequence of Material, optional
        As `track_photons`; where GATE follows the photons it is not looked at.

    Raises
    ------
    SimulationError
        As `run_gate`.
    """
    if not settings.tracks_photons:
        return run_gate(
            volumes=volumes,
            materials=materials,
            phase_space=phase_space,
            settings=settings,
            seed=seed,
            dose_to=dose_to,
            work_folder=work_folder,
            progress=progress,
            batches=batches,
        )
    followed = follow_photons(
        phase_space,
        volumes,
        materials,
        settings,
        seed=seed,
        dose_to=dose_to,
        batches=batches,
        of_interest=of_interest,
        flights_of=flights_of,
    )
    return follow_charged(
        followed,
        volumes,
        materials,
        settings,
        seed=seed,
        dose_to=dose_to,
        work_folder=work_folder,
        progress=progress,
        of_interest=of_interest,
    )


@dataclass(frozen=True, slots=True)
class FollowedPhotons:
    """What gatecheck's own tracking made of a phase space; GATE has yet to follow what it set free.

    Attributes
    ----------
    tracked : TrackedPhotons
    particles : int
        Of the phase space.
    seconds : float
        That the photons took.
    replayed : Replayed, optional
        What became of the charged particles along recorded steps, where they were followed so.
    """

    tracked: TrackedPhotons
    particles: int
    seconds: float
    replayed: Replayed | None = None

    @property
    def charged(self) -> PhaseSpace:
        """What is to be followed yet."""
        return self.tracked.charged if self.replayed is None else self.replayed.left

    @property
    def batches(self) -> Sequence[int]:
        """Charged particles of each batch."""
        return self.tracked.batch_sizes if self.replayed is None else self.replayed.left_in_batches

    def in_particles(self, progress: Progress | None) -> Progress | None:
        """Progress in charged particles, said in particles of the phase space.

        What recorded steps leave to GATE takes too little time to tell of.
        """
        if progress is None or self.replayed is not None:
            return None
        say, particles, charged = progress, self.particles, max(len(self.charged), 1)
        return lambda given: say(particles * given // charged)

    def with_deposits(self, run: GateRun) -> GateRun:
        """GATE's run of the charged particles with what all others deposited."""
        whole = replace(
            run,
            scores=_with_deposits(run.scores, self.tracked),
            particles=self.particles,
            seconds_transport=run.seconds_transport + self.seconds,
            seconds_photons=self.seconds,
        )
        if self.replayed is None:
            return whole
        steps = self.replayed.run
        return replace(
            whole,
            scores=tuple(_sum_of(one, other) for one, other in zip(whole.scores, steps.scores, strict=True)),
            seconds_transport=whole.seconds_transport + steps.seconds_transport,
            seconds_along_steps=steps.seconds_transport,
            shared_memory_mb=steps.shared_memory_mb,
            electron_steps_sha256=steps.electron_steps_sha256,
            left_to_gate=self.replayed.left_energy,
        )


def follow_photons(
    phase_space: PhaseSpace,
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    settings: TransportConfig,
    *,
    seed: int,
    dose_to: str = "medium",
    batches: int = 1,
    of_interest: Volume | None = None,
    flights_of: Sequence[Material] | None = None,
) -> FollowedPhotons:
    """The part of `run_transport` before GATE, where gatecheck follows the photons.

    Parameters
    ----------
    flights_of : sequence of Material, optional
        As `track_photons`.

    Raises
    ------
    SimulationError
        When volumes overlap, or particles start inside them.
    """
    check_tiling(volumes)
    check_starts(volumes, phase_space)
    started = time.perf_counter()
    tracked = track_photons(
        phase_space,
        volumes,
        materials,
        seed=seed,
        score_on_the_spot=dose_to == "medium",
        copies=settings.photon_copies,
        batches=batches,
        roulette=_roulette(of_interest, settings),
        flights_of=flights_of,
    )
    return FollowedPhotons(tracked, len(phase_space), time.perf_counter() - started)


def follow_charged(
    followed: FollowedPhotons,
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    settings: TransportConfig,
    *,
    seed: int,
    dose_to: str = "medium",
    work_folder: Path | None = None,
    progress: Progress | None = None,
    of_interest: Volume | None = None,
) -> GateRun:
    """The rest of `run_transport`: what the photons set free, by GATE or along its recorded steps.

    Raises
    ------
    SimulationError
        As `run_gate` or `follow_along_steps`.
    """
    if settings.replays_electrons:
        followed = follow_along_steps(
            followed,
            volumes,
            materials,
            settings,
            seed=seed,
            dose_to=dose_to,
            progress=progress,
            of_interest=of_interest,
        )
        if not len(followed.charged):
            return followed.with_deposits(no_dose(volumes, len(followed.batches)))
        settings = recorded_with(settings)
    run = run_gate(
        volumes=volumes,
        materials=materials,
        phase_space=followed.charged,
        settings=settings,
        seed=seed,
        dose_to=dose_to,
        work_folder=work_folder,
        progress=followed.in_particles(progress),
        batches=followed.batches,
        starts_inside=True,
        world_margin=MARGIN_FOR_HEAD,
    )
    return followed.with_deposits(run)


def follow_along_steps(
    followed: FollowedPhotons,
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    settings: TransportConfig,
    *,
    seed: int,
    dose_to: str = "medium",
    progress: Progress | None = None,
    of_interest: Volume | None = None,
) -> FollowedPhotons:
    """Charged particles along recorded steps; of those that come into a gas in the patient a share is left to GATE.

    Raises
    ------
    SimulationError
        As `replay_charged`.
    """
    if dose_to != "medium":
        raise SimulationError("transport.electron_transport: replayed electrons give dose to medium only.")
    replayed = replay_charged(
        followed.charged,
        volumes,
        materials,
        electron_steps(settings, materials),
        seed=seed,
        batches=followed.batches,
        roulette=_roulette(of_interest, settings),
        survival_in_gas=settings.air_electron_survival,
        progress=followed.in_particles(progress),
    )
    return replace(followed, replayed=replayed)


def leaves_electrons_to_gate(volumes: Sequence[Volume], materials: Sequence[Material]) -> bool:
    """Whether there are voxels in which recorded steps do not serve."""
    present = set().union(*(labels_in(volume) for volume in volumes))
    return any(is_gas(one) for one in materials if one.label in present)


def _roulette(of_interest: Volume | None, settings: TransportConfig) -> Roulette | None:
    if of_interest is None:
        return None
    survivals = settings.far_electron_survival, settings.far_photon_survival
    return Roulette(of_interest.lower, of_interest.upper, *survivals)


def _sum_of(one: Score, other: Score) -> Score:
    return Score(
        one.energy_zyx + other.energy_zyx,
        one.energy_squared_zyx + other.energy_squared_zyx,
        tuple(a + b for a, b in zip(one.batches, other.batches, strict=True)),
    )


def _with_deposits(scores: Sequence[Score], tracked: TrackedPhotons) -> tuple[Score, ...]:
    several = len(tracked.deposits) > 1
    result = []
    for index, score in enumerate(scores):
        local = [batch[index] for batch in tracked.deposits]
        result.append(
            Score(
                score.energy_zyx + np.sum([part.energy_zyx for part in local], axis=0),
                score.energy_squared_zyx + np.sum([part.energy_squared_zyx for part in local], axis=0),
                tuple(b + part.energy_zyx for b, part in zip(score.batches, local, strict=True)) if several else (),
            )
        )
    return tuple(result)
