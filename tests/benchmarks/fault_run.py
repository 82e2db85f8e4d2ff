"""One fault from its case folder to its comparison, by gatecheck's own steps; what is finished is kept."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fault_case import FaultFree, Work, config_of, folder_name, simulation_key, work_of, write_fault_case
from pydantic import Field

from gatecheck.cli import steps
from gatecheck.compare.interface.analysis import INTERFACE_FILE
from gatecheck.compare.structures import COMPARISON_FILE
from gatecheck.config import Config
from gatecheck.dose.merge import merge
from gatecheck.errors import ResultError
from gatecheck.files import HandedOn, read_json, sha256_of_file, sha256_of_json, write_json
from gatecheck.layout import CaseLayout
from gatecheck.phantoms.faults import Fault
from gatecheck.provenance import code_sha256
from gatecheck.transport.model import CalibrationResult, ChunkPlan
from gatecheck.transport.process import called_every_second, run_in_process

PREPARED_FILE = "fault.json"
FINISHED_FILE = "finished.json"

Say = Callable[[str], None]


class Prepared(HandedOn):
    """Written as fault.json in a case folder that has a fault, before the folder gets its name."""

    fault: str
    work: Work
    simulation_sha256: str = Field(description="over all that the dose depends on")


class Finished(HandedOn):
    """Written as finished.json, last."""

    simulation_sha256: str
    comparison_sha256: str = Field(description="over the dose, and the comparison's settings and code")
    core_seconds: float = Field(
        description="processor time of the run that finished it, chunks of an interrupted one not included"
    )
    seconds: float = Field(description="wall clock of that run")


@dataclass(frozen=True, slots=True)
class FaultOptions:
    """How faults are simulated.

    Attributes
    ----------
    root : Path
        Folder in which each fault has its case folder.
    photons : int
        Source photons of each fault that is simulated, times its `photon_factor`.
    chunks : int or None
        None: as `config_of` says.
    cores : int
        Chunks at a time.
    """

    root: Path
    photons: int
    chunks: int | None = None
    cores: int = 1


def layout_of(fault: Fault, options: FaultOptions) -> CaseLayout:
    """Where a fault's case lies."""
    return CaseLayout(options.root / folder_name(fault))


def _config_of(base: FaultFree, fault: Fault, options: FaultOptions) -> Config:
    return config_of(base, photons=options.photons * fault.photon_factor, chunks=options.chunks)


def is_finished(base: FaultFree, fault: Fault, options: FaultOptions) -> bool:
    """Whether the fault has been compared, and nothing that this depends on has changed."""
    layout = layout_of(fault, options)
    config = _config_of(base, fault, options)
    try:
        finished = read_json(layout.folder / FINISHED_FILE, Finished)
        return (
            finished.simulation_sha256 == simulation_key(base, fault, config)
            and finished.comparison_sha256 == _comparison_key(layout, config)
            and (layout.compare / INTERFACE_FILE).exists()
            and (layout.compare / COMPARISON_FILE).exists()
        )
    except (ResultError, FileNotFoundError):
        return False


def run_fault(base: FaultFree, fault: Fault, options: FaultOptions, say: Say) -> None:
    """Prepare, simulate, merge and compare one fault, from where an earlier run of it stood.

    Raises
    ------
    GatecheckError
        When a step fails.
    """
    started, cores_before = time.perf_counter(), _core_seconds()
    config = _config_of(base, fault, options)
    key, layout = simulation_key(base, fault, config), layout_of(fault, options)
    prepared = _prepared(layout.folder, key) or _prepare(base, fault, layout.folder, config, key)
    if prepared.work is Work.SIMULATE:
        _simulate(layout, options.cores, say)
        steps.merge(layout.folder)
    elif prepared.work is Work.MERGE:
        # Not by the step: it would refuse chunks that were planned for another total meterset.
        merge(
            transport_folder=layout.transport,
            patient_folder=layout.patient,
            delivery_path=layout.delivery,
            calibration=read_json(layout.calibration, CalibrationResult),
            out_folder=layout.dose,
        )
    say("comparing")
    steps.compare(layout.folder)
    finished = Finished(
        simulation_sha256=key,
        comparison_sha256=_comparison_key(layout, config),
        core_seconds=_core_seconds() - cores_before,
        seconds=time.perf_counter() - started,
    )
    write_json(layout.folder / FINISHED_FILE, finished)


def _prepared(folder: Path, key: str) -> Prepared | None:
    """What an earlier run prepared of the same inputs; it may have chunks already."""
    try:
        prepared = read_json(folder / PREPARED_FILE, Prepared)
    except ResultError:
        return None
    return prepared if prepared.simulation_sha256 == key else None


def _prepare(base: FaultFree, fault: Fault, folder: Path, config: Config, key: str) -> Prepared:
    """Write the case folder under a temporary name, and give it its own when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    prepared = Prepared(fault=fault.name, work=work_of(fault, base), simulation_sha256=key)
    with tempfile.TemporaryDirectory(prefix=f".partial-{folder.name}-", dir=folder.parent) as partial:
        made = Path(partial) / folder.name
        write_fault_case(base, fault, made, config)
        write_json(made / PREPARED_FILE, prepared)
        if folder.exists():
            shutil.rmtree(folder)
        made.replace(folder)
    return prepared


def _simulate(layout: CaseLayout, cores: int, say: Say) -> None:
    """Plan, unless that is done, and simulate the chunks that are not there."""
    if not layout.chunk_plan.exists():
        steps.plan_chunks(layout.folder)
    chunks = read_json(layout.chunk_plan, ChunkPlan).chunks
    said = [-1]

    def look() -> None:
        done = sum(layout.chunk(chunk.index).exists() for chunk in chunks)
        if done != said[0]:
            said[0] = done
            say(f"{done} of {len(chunks)} chunks")

    with called_every_second(look):
        run_in_process(steps.simulate, case_folder=layout.folder, cores=cores)


def _comparison_key(layout: CaseLayout, config: Config) -> str:
    sections = config.model_dump(mode="json", include={"comparison", "biology", "setup"})
    dose = sha256_of_file(layout.dose / "merge.json")
    return sha256_of_json({"dose": dose, "settings": sections, "code": code_sha256("compare")})


def _core_seconds() -> float:
    """Processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
