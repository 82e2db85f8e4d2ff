"""GATE simulations of one geometry in children of one process, which builds Geant4's tables once for all of them."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gatecheck.config_transport import TransportConfig
from gatecheck.patient.model import Material
from gatecheck.transport.children import ChildOf, end_child, fork_each
from gatecheck.transport.gate import (
    MARGIN_FOR_HEAD,
    GateRun,
    ParticleFeed,
    PreparedGate,
    Progress,
    batch_ends_of,
    check_tiling,
    no_dose,
    prepared_gate,
    world_reach,
)
from gatecheck.transport.gate_run import (
    PARTICLES_AT_A_TIME,
    add_memory_source,
    as_geant4_reads,
    check_process_is_free,
    end_run_after_next_particle,
    hand_over,
    run_simulation,
)
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.volumes import Volume, hull

_PHOTON = 22
_MOST_PARTICLES = 2_000_000_000
"""More than any child has; each ends the run itself."""


class Task(Protocol):
    """What a child simulates."""

    @property
    def seed(self) -> int:
        """Of Geant4's random numbers."""

    def particles(self) -> tuple[PhaseSpace, Sequence[int], Progress | None]:
        """Called in the child: particles that start inside the volumes, how many each batch has, and its progress."""

    def finish(self, run: GateRun) -> None:
        """Called in the child with its run."""


def run_gate_for_each(
    tasks: Sequence[Task],
    *,
    volumes: Sequence[Volume],
    materials: Sequence[Material],
    settings: TransportConfig,
    dose_to: str = "medium",
    work_folder: Path | None = None,
    at_a_time: int = 1,
    longest_seconds: float = math.inf,
) -> None:
    """As `gatecheck.transport.gate.run_gate` for each task, in children of this process.

    Every child starts Geant4's random numbers anew from its task's seed, so that its run is what `run_gate` gives, bit
    for bit, whatever ran before.

    Parameters
    ----------
    at_a_time : int
        Children that run at a time.
    longest_seconds : float
        A child that runs longer is killed.

    Raises
    ------
    GatecheckError
        As `run_gate`, of the first child to fail, when those beside it have ended.
    """
    check_process_is_free()
    check_tiling(volumes)
    with tempfile.TemporaryDirectory(prefix="gate-", dir=work_folder) as folder:
        reach = world_reach(volumes, None, MARGIN_FOR_HEAD)
        gate = prepared_gate(volumes, materials, settings, dose_to=dose_to, folder=Path(folder), reach=reach)
        feed = _FeedOfChildren(tasks, gate, at_a_time, longest_seconds)
        add_memory_source(gate.simulation, feed)
        try:
            run_simulation(gate.simulation)
            feed.finish()
        except BaseException as error:
            feed.end(error)
            raise
        feed.end()


class _FeedOfChildren:
    """Forks a child for each task when GATE asks for its first particle; in a child, hands over that child's own."""

    numbers = _MOST_PARTICLES
    size = PARTICLES_AT_A_TIME

    def __init__(
        self,
        tasks: Sequence[Task],
        gate: PreparedGate,
        at_a_time: int,
        longest_seconds: float,
    ) -> None:
        self._tasks = tasks
        self._gate = gate
        self._at_a_time = at_a_time
        self._longest_seconds = longest_seconds
        self._ready_at: float | None = None
        self._child: ChildOf | None = None
        self._feed: ParticleFeed | None = None
        self._batches = 1
        self._error: BaseException | None = None

    def next_batch(self, g4_source: Any) -> int:
        """Set the source's arrays and give their length."""
        if self._ready_at is None:
            self._ready_at = time.perf_counter()
            self._fork()
        if self._feed is None or self._feed.given == self._feed.numbers:
            return self._last(g4_source)
        return self._feed.next_batch(g4_source)

    def _fork(self) -> None:
        try:
            self._child = fork_each(len(self._tasks), at_a_time=self._at_a_time, longest_seconds=self._longest_seconds)
            if self._child is not None:
                particles, batches, progress = self._tasks[self._child.number].particles()
                world_reach(self._gate.volumes, particles, MARGIN_FOR_HEAD)  # it refuses what starts beyond
                self._batches = len(batches)
                if len(particles) > 0:
                    ends = batch_ends_of(len(particles), batches)
                    seed = self._tasks[self._child.number].seed
                    self._feed = ParticleFeed(particles, self._gate.actors, progress, ends, seed)
        except BaseException as error:
            self._error = error

    def _last(self, g4_source: Any) -> int:
        """A photon of no weight that leaves at once: GATE ends its runs after a particle only."""
        end_run_after_next_particle()
        corner = hull(self._gate.volumes)[1] + 1.0
        self._arrays = as_geant4_reads(
            pdg_code=np.array([_PHOTON]),
            energy=np.array([1.0]),
            weight=np.zeros(1),
            position=corner[np.newaxis],
            direction=np.array([[0.0, 0.0, 1.0]]),
        )
        hand_over(g4_source, self._arrays)
        return 1

    def finish(self) -> None:
        """Raise what went wrong; in a child, hand the run to its task."""
        if self._error is not None:
            raise self._error
        if self._child is not None and self._ready_at is not None:
            run = no_dose(self._gate.volumes, self._batches) if self._feed is None else self._gate.run_of(self._feed)
            share = (self._ready_at - self._gate.started) / len(self._tasks)
            self._tasks[self._child.number].finish(replace(run, seconds_start_up=share))

    def end(self, error: BaseException | None = None) -> None:
        """In a child, the end of it."""
        if self._child is not None:
            end_child(self._child, error)
