"""Case folders in which what is simulated has a fault, and the TPS dose is that of the plan without it.

Everything that a fault does not touch is the fault-free case's own file, linked where the file system can.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from gatecheck.case.grid import Grid
from gatecheck.case.model import Beam, Case, CaseWarning, TpsDose
from gatecheck.case.storage import CASE_FILE, read_case, write_grid
from gatecheck.cli import steps
from gatecheck.config import Config, load_config, resolve_models_folder
from gatecheck.dose.model import MergeResult
from gatecheck.errors import InputError
from gatecheck.files import (
    array_zyx,
    read_image,
    read_json,
    sha256_of_file,
    sha256_of_json,
    write_atomically,
    write_json,
)
from gatecheck.layout import CaseLayout
from gatecheck.linac.load import choose_linac_model
from gatecheck.phantoms.faults import Fault, faults
from gatecheck.transport.model import ChunkPlan
from gatecheck.transport.plan import check_plan

PILOT_PHOTONS = 20_000
"""The number of photons is given, so that the pilot only finds the speed."""

_LONGEST_CHUNK = 600.0  # minutes, the most that a configuration can ask for: minimum_chunks alone decides

CtNumbers = npt.NDArray[np.int16]


class Work(Enum):
    """What has to be done for a fault, from the step at which it enters."""

    COMPARE = "compare"
    MERGE = "merge"
    SIMULATE = "simulate"


@dataclass(frozen=True, slots=True)
class FaultFree:
    """A finished case without any fault.

    Attributes
    ----------
    layout : CaseLayout
    case : Case
    config : Config
        That it was made with.
    plan : ChunkPlan
    merged : MergeResult
    """

    layout: CaseLayout
    case: Case
    config: Config
    plan: ChunkPlan
    merged: MergeResult

    @classmethod
    def read(cls, folder: Path) -> FaultFree:
        """Read a case folder that `gatecheck verify`, or the steps to `merge`, have finished.

        Raises
        ------
        InputError
            When it has no TPS dose, or its source is a recorded phase space.
        ResultError
            When something is missing or damaged.
        """
        layout = CaseLayout(folder)
        case = read_case(layout.case, check_images=True)
        config = load_config(layout.config, check_inputs=False)
        if case.tps_dose is None:
            raise InputError(f"{folder.name}: no TPS dose, so that no fault can be seen.")
        if config.machine.source != "model":
            raise InputError("machine.source: phase_space found; faults are simulated with the machine model's source.")
        merged = read_json(layout.dose / "merge.json", MergeResult)
        return cls(layout, case, config, read_json(layout.chunk_plan, ChunkPlan), merged)

    @property
    def tps_dose(self) -> TpsDose:
        """The TPS dose, which is there."""
        assert self.case.tps_dose is not None
        return self.case.tps_dose

    def faults(self) -> dict[str, Fault]:
        """All faults of this case, by name, "none" first."""
        return dict(faults(tps_dose_spacing=self.tps_dose.image.spacing))

    def ct_numbers_zyx(self) -> CtNumbers:
        """CT numbers as they were planned on."""
        return array_zyx(read_image(self.layout.case / self.case.ct.file)).astype(np.int16)

    def check_is_current(self) -> None:
        """Refuse chunks made by other code or data than would simulate the faults.

        Raises
        ------
        ResultError
        """
        machine, transport = self.config.machine, self.config.transport
        linac = choose_linac_model(
            resolve_models_folder(self.config), self.case, model=machine.model, beam=machine.beam
        )
        check_plan(
            self.plan,
            delivery_path=self.layout.delivery,
            linac=linac,
            patient_folder=self.layout.patient,
            settings=transport,
            dose_to=self.config.dose.dose_to,
            head=machine.head,
        )


def work_of(fault: Fault, base: FaultFree) -> Work:
    """What a fault makes necessary.

    A factor that all metersets share leaves each chunk as it is: chunks hold dose per nominal photon, in beams'
    shares of the meterset, and merging multiplies by the total meterset.
    """
    numbers = base.ct_numbers_zyx()
    if not np.array_equal(fault.of_ct_numbers(numbers), numbers):
        return Work.SIMULATE
    beams = fault.of_beams(base.case.beams)
    if beams == base.case.beams:
        return Work.COMPARE
    return Work.MERGE if only_scales(base.case.beams, beams) else Work.SIMULATE


def only_scales(planned: tuple[Beam, ...], simulated: tuple[Beam, ...]) -> bool:
    """Whether all metersets differ by one factor, and nothing else does."""
    if len(planned) != len(simulated):
        return False
    pairs = list(zip(planned, simulated, strict=True))
    factors = [after.meterset / before.meterset for before, after in pairs]
    same = all(after.model_copy(update={"meterset": before.meterset}) == before for before, after in pairs)
    return same and np.allclose(factors, factors[0], rtol=1e-12, atol=0.0)


def config_of(base: FaultFree, *, photons: int, chunks: int | None = None) -> Config:
    """The fault-free case's configuration with a number of photons in place of a wanted sigma.

    Seeds follow from what is simulated, so that each fault has its own with the same `transport.seed`, to which the
    calibration belongs.

    Parameters
    ----------
    chunks : int, optional
        Without it the configuration's least number, or more, so that none has more photons than the fault-free case's.
    """
    transport = base.config.transport
    largest = max(chunk.histories for chunk in base.plan.chunks)
    number = chunks or max(transport.minimum_chunks, -(-photons // largest))
    content = base.config.model_dump(mode="json")
    content["transport"] |= {
        "source_photons": photons,
        "maximum_source_photons": max(photons, transport.maximum_source_photons),
        "pilot_photons": min(PILOT_PHOTONS, transport.pilot_photons),
        "minimum_chunks": number,
        "chunk_minutes": _LONGEST_CHUNK,
    }
    return Config.model_validate(content)


def write_fault_case(base: FaultFree, fault: Fault, folder: Path, config: Config) -> None:
    """Write the rooms up to `transport`, and `dose` where the dose stays as it was.

    Delivery and patient are made again by their own steps where the fault changes what they are made from. In
    `case.json` a warning says that there is a fault, and which.

    Raises
    ------
    GatecheckError
        When a step refuses the fault.
    """
    layout, work = CaseLayout(folder), work_of(fault, base)
    _write_config(layout.config, config)
    _link_tree(base.layout.case, layout.case)
    write_json(layout.case / CASE_FILE, _case_with(fault, base, layout.case))
    if work is Work.COMPARE:
        _link(base.layout.delivery, layout.delivery)
        _link_tree(base.layout.dose, layout.dose)
    else:
        steps.deliver(folder)
    if read_case(layout.case).ct == base.case.ct:
        _link_tree(base.layout.patient, layout.patient)
    else:
        steps.voxelise(folder)
    _link(base.layout.calibration, layout.calibration)
    if work is not Work.SIMULATE:
        for path in sorted(base.layout.transport.glob("chunk*.*")):
            _link(path, layout.transport / path.name)


def simulation_key(base: FaultFree, fault: Fault, config: Config) -> str:
    """SHA-256 over what the dose of a fault depends on; of the code by the calibration, which names it."""
    numbers = fault.of_ct_numbers(base.ct_numbers_zyx())
    of_config = config.model_dump(mode="json", include={"machine", "patient", "transport", "calibration", "dose"})
    of_base = (base.layout.case / CASE_FILE, base.layout.calibration, base.layout.patient / "patient.json")
    work = work_of(fault, base)
    return sha256_of_json(
        {
            "fault": fault.name,
            "beams": [beam.model_dump(mode="json") for beam in fault.of_beams(base.case.beams)],
            "ct": hashlib.sha256(numbers.tobytes()).hexdigest(),
            "tps_dose_shift": fault.tps_dose_shift,
            "config": of_config if work is Work.SIMULATE else {},
            "base": [sha256_of_file(path) for path in of_base],
            "base_dose": "" if work is Work.SIMULATE else sha256_of_file(base.layout.dose / "merge.json"),
        }
    )


def folder_name(fault: Fault) -> str:
    """A fault's name as a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", fault.name.lower().replace("+", "plus ")).strip("-")


def _case_with(fault: Fault, base: FaultFree, case_folder: Path) -> Case:
    """The case that is simulated; images that the fault changes are written anew beside it."""
    case = base.case
    changes: dict[str, object] = {"beams": fault.of_beams(case.beams)}
    numbers = base.ct_numbers_zyx()
    simulated = fault.of_ct_numbers(numbers)
    if not np.array_equal(simulated, numbers):
        changes["ct"] = write_grid(
            case_folder, case.ct.file, simulated, Grid(case.ct.size, case.ct.spacing, case.ct.origin)
        )
    if any(fault.tps_dose_shift):
        changes["tps_dose"] = _displaced(base, fault.tps_dose_shift, case_folder)
    if fault.name != "none":
        text = f'Simulated with a fault put in on purpose, "{fault.name}"; the TPS dose is that of the plan without it.'
        changes["warnings"] = (*case.warnings, CaseWarning(code="fault-on-purpose", message=text))
    return case.model_copy(update=changes)


def _displaced(base: FaultFree, shift: tuple[float, float, float], case_folder: Path) -> TpsDose:
    image = base.tps_dose.image
    x, y, z = (place + by for place, by in zip(image.origin, shift, strict=True))
    values = array_zyx(read_image(base.layout.case / image.file))
    displaced = write_grid(case_folder, image.file, values, Grid(image.size, image.spacing, (x, y, z)))
    return base.tps_dose.model_copy(update={"image": displaced})


def _write_config(path: Path, config: Config) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def _link_tree(source: Path, target: Path) -> None:
    """Link a folder's files. Results are replaced and never written into, so that the source's stay as they are."""
    shutil.copytree(source, target, copy_function=_link, ignore=shutil.ignore_patterns(".*"))


def _link(source: Path | str, target: Path | str) -> None:
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        raise  # a copy would write into what the source shares
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
