"""The head that the configuration asks for: from a delivery to the phase space below the collimators."""

from __future__ import annotations

from pathlib import Path

from gatecheck.config import HeadKind
from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.model import Delivery
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.full_head import run_full_head
from gatecheck.transport.model import PhaseSpace
from gatecheck.transport.phase_space_source import HistoryRun, PhaseSpaceSource, sample_histories


def sample_head(
    delivery: Delivery,
    linac: LinacModel,
    *,
    head: HeadKind,
    histories: int,
    seed: int,
    settings: TransportConfig,
    work_folder: Path,
    source: PhaseSpaceSource | None = None,
    run: HistoryRun | None = None,
) -> PhaseSpace:
    """Bring source particles through the configured head.

    The full head runs in a process of its own, so that this one is free for the patient's simulation. Its phase space
    says how long it took to start.

    Parameters
    ----------
    head : "fast" or "full"
    histories : int
        Source photons to sample from the machine model's source.
    settings : TransportConfig
        The full head takes its physics list and Geant4 data from them.
    work_folder : Path
        Where the full head keeps its files while it runs.
    source, run : PhaseSpaceSource and HistoryRun, optional
        Recorded histories in place of the source model's; for the fast head alone.

    Raises
    ------
    UnsupportedPlanError
        When the delivery was not made for this machine.
    InputError
        When a phase space's file cannot be read, or jaws of this machine would run into each other.
    SimulationError
        When GATE fails in the full head, naming the segment.
    ValueError
        For no histories, a delivery without meterset, or recorded histories with the full head.
    """
    if source is not None and run is not None:
        if head != "fast":
            raise ValueError("the full head follows the machine model's source, not recorded histories")
        return sample_histories(source, delivery, linac, run, seed).phase_space
    if head == "fast":
        return sample_phase_space(delivery, linac, histories, seed)
    return run_full_head(delivery, linac, histories=histories, seed=seed, settings=settings, work_folder=work_folder)
