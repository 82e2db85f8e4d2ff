"""What every GATE simulation of this package shares: its process, its engine settings, its source in memory, its run.

opengate is imported inside functions only: importing it needs the Geant4 data to be resolved first, and each
process may run one simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.transport.engine import geant4_commands

PARTICLES_AT_A_TIME = 20_000
"""Particles handed to GATE in one piece."""

_process = {"used": False}


class Feed(Protocol):
    """What hands particles to GATE piece by piece.

    Attributes
    ----------
    numbers : int or list of int
        Particles in all, or in every run of the simulation.
    size : int
        Particles of the largest piece.
    """

    @property
    def numbers(self) -> int | list[int]: ...

    @property
    def size(self) -> int: ...

    def next_batch(self, g4_source: Any) -> int:
        """Set the source's arrays with `hand_over`, and give their length."""


def check_process_is_free() -> None:
    """Raise SimulationError when this process has run a simulation before."""
    if _process["used"]:
        raise SimulationError("A second simulation in one process was asked for; GATE runs one per process.")


def take_process() -> None:
    """Say that this process runs its one simulation now.

    Raises
    ------
    SimulationError
        As `check_process_is_free`.
    """
    check_process_is_free()
    _process["used"] = True


def new_simulation(settings: TransportConfig, seed: int, folder: Path) -> Any:
    """A quiet opengate simulation of one thread with the physics of the settings and an empty world."""
    import opengate  # noqa: PLC0415

    simulation = opengate.Simulation()
    simulation.output_dir = folder
    simulation.verbose_level = "NONE"
    simulation.running_verbose_level = 0
    simulation.g4_verbose = False
    simulation.visu = False
    simulation.progress_bar = False
    simulation.check_volumes_overlap = False
    simulation.number_of_threads = 1
    simulation.random_engine = "MixMaxRng"
    simulation.random_seed = seed
    physics = simulation.physics_manager
    physics.physics_list_name = settings.physics_list
    physics.apply_cuts = False
    physics.global_production_cuts.gamma = settings.photon_production_cut
    physics.global_production_cuts.electron = settings.electron_production_cut
    physics.global_production_cuts.positron = settings.electron_production_cut
    physics.global_production_cuts.proton = settings.electron_production_cut
    simulation.g4_commands_before_init = geant4_commands(settings)
    return simulation


def add_memory_source(simulation: Any, feed: Feed) -> None:
    """A phase-space source that reads from memory: no file of particles between the head and GATE."""
    from opengate.sources.phspsources import PhaseSpaceSourceGenerator  # noqa: PLC0415

    numbers = feed.numbers

    class MemoryGenerator(PhaseSpaceSourceGenerator):  # type: ignore[misc]
        """Takes the place of opengate's reader of ROOT files."""

        def read_phsp_and_keys(self) -> None:
            self.num_entries = numbers if isinstance(numbers, int) else sum(numbers)

        def generate(self, g4_source: Any, pid: int) -> int:
            return feed.next_batch(g4_source)

    source = simulation.add_source("PhaseSpaceSource", "phase_space")
    source.attached_to = "world"
    source.phsp_file = "memory"
    source.global_flag = True
    source.particle = ""
    source.batch_size = feed.size
    source.n = numbers
    source.entry_start = 0
    source.particle_generators[0] = MemoryGenerator(0)


def as_geant4_reads(
    *,
    pdg_code: npt.NDArray[Any],
    energy: npt.NDArray[Any],
    weight: npt.NDArray[Any],
    position: npt.NDArray[Any],
    direction: npt.NDArray[Any],
) -> dict[str, npt.NDArray[Any]]:
    """Particles by the names of GATE's phase-space source, in its single precision.

    Parameters
    ----------
    position, direction : ndarray of shape (n, 3)
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "Energy": np.ascontiguousarray(energy, dtype=np.float32),
        "Weight": np.ascontiguousarray(weight, dtype=np.float32),
        "PDGCode": np.ascontiguousarray(pdg_code, dtype=np.int32),
    }
    for axis, name in enumerate("XYZ"):
        arrays[f"Position{name}"] = np.ascontiguousarray(position[:, axis], dtype=np.float32)
        arrays[f"Direction{name}"] = np.ascontiguousarray(direction[:, axis], dtype=np.float32)
    return arrays


def hand_over(g4_source: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Set a source's arrays. GATE keeps pointers into them, so the caller must keep them until the next piece."""
    for name, array in arrays.items():
        getattr(g4_source, f"Set{name}Batch")(array)


def start_random_numbers(seed: int) -> None:
    """Start Geant4's random numbers anew."""
    import opengate_core  # noqa: PLC0415

    opengate_core.G4Random.setTheSeed(seed, 0)


def end_run_after_next_particle() -> None:
    """Have GATE end its run when the particle that is asked for next is done."""
    import opengate_core  # noqa: PLC0415

    opengate_core.G4RunManager.GetRunManager().AbortRun(True)


def run_simulation(simulation: Any) -> None:
    """Run it in this process.

    Raises
    ------
    SimulationError
        When GATE ends with an error.
    """
    try:
        simulation.run(start_new_process=False)
    except Exception as error:
        raise SimulationError(f"GATE ended with an error: {' '.join(str(error).split())[:400]}") from error
