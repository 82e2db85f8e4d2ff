"""A phase space through the patient: photons by gatecheck's own tracking or by GATE, electrons always by GATE."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gatecheck.config import TransportConfig
from gatecheck.patient.model import Material
from gatecheck.transport.gate import GateRun, Progress, Score, check_starts, check_tiling, run_gate
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
) -> GateRun:
    """As `run_gate`, with photons followed as `settings.photon_transport` says.

    With gatecheck's own tracking every photon is followed `settings.photon_splitting` times. Electrons
    that cannot leave their scoring voxel are deposited in it at once; for dose to water all go to GATE,
    which knows the stopping powers.

    Parameters
    ----------
    of_interest : Volume, optional
        Electrons set free too far from it to reach it are followed with a probability of
        `settings.far_electron_survival`, and stand for those that are not.

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
    check_tiling(volumes)
    check_starts(volumes, phase_space)
    started = time.perf_counter()
    tracked = track_photons(
        phase_space,
        volumes,
        materials,
        seed=seed,
        score_on_the_spot=dose_to == "medium",
        copies=settings.photon_splitting,
        batches=batches,
        roulette=None
        if of_interest is None
        else Roulette(of_interest.lower, of_interest.upper, settings.far_electron_survival),
    )
    seconds = time.perf_counter() - started
    run = run_gate(
        volumes=volumes,
        materials=materials,
        phase_space=tracked.charged,
        settings=settings,
        seed=seed,
        dose_to=dose_to,
        work_folder=work_folder,
        progress=_in_particles(progress, len(phase_space), len(tracked.charged)),
        batches=tracked.batch_sizes,
        starts_inside=True,
    )
    return replace(
        run,
        scores=_with_deposits(run.scores, tracked),
        particles=len(phase_space),
        seconds_transport=run.seconds_transport + seconds,
    )


def _in_particles(progress: Progress | None, particles: int, charged: int) -> Progress | None:
    """Progress in charged particles, said in particles of the phase space."""
    if progress is None:
        return None
    say = progress
    return lambda given: say(particles * given // max(charged, 1))


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
