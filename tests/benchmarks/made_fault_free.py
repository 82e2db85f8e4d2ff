"""A finished case of a few voxels without any fault, on a clinical plan's beams; no photon was simulated for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from fault_case import FaultFree
from tests.dose.made_chunks import made_calibration, made_doses, write_one_chunk, write_patient, write_plan

from gatecheck.case.grid import Grid
from gatecheck.case.model import Case, Structure, TpsDose
from gatecheck.case.storage import mask_file, write_grid
from gatecheck.cli import steps
from gatecheck.config import Config, project_folder
from gatecheck.dose.merge import merge
from gatecheck.files import write_json
from gatecheck.layout import CaseLayout
from gatecheck.phantoms.clinical_case_1 import CASE

CT_GRID = Grid((30, 30, 20), (2.0, 2.0, 2.0), (-29.0, -29.0, -19.0))
TPS_GRID = Grid((12, 11, 10), (3.0, 2.5, 2.0), (-16.0, -12.0, -9.0))
CHUNKS = 5


def write_fault_free(folder: Path) -> FaultFree:
    """Write it and read it back."""
    layout = CaseLayout(folder)
    content = Config().model_dump(mode="json")
    content["machine"]["models_folder"] = str(project_folder() / "linac_models")
    content["transport"]["source_photons"] = 3000
    folder.mkdir(parents=True)
    layout.config.write_text(yaml.safe_dump(content), encoding="utf-8")
    write_json(layout.case / "case.json", _case(layout.case))
    steps.deliver(folder)
    write_patient(layout.patient)
    random = np.random.default_rng(3)
    results = [write_one_chunk(layout.transport, index, made_doses(random)) for index in range(1, CHUNKS + 1)]
    write_plan(layout.transport, results)
    calibration = made_calibration()
    write_json(layout.calibration, calibration)
    merge(
        transport_folder=layout.transport,
        patient_folder=layout.patient,
        delivery_path=layout.delivery,
        calibration=calibration,
        out_folder=layout.dose,
    )
    return FaultFree.read(folder)


def _case(case_folder: Path) -> Case:
    z, y, x = (
        CT_GRID.origin[axis] + CT_GRID.spacing[axis] * np.arange(CT_GRID.size[axis]).reshape(shape)
        for axis, shape in ((2, (-1, 1, 1)), (1, (1, -1, 1)), (0, (1, 1, -1)))
    )
    inside = {"BODY": (x**2 + y**2 + 0 * z) < 22.0**2, "GTV": (x**2 + y**2 + z**2) < 6.0**2}
    numbers = np.where(inside["BODY"], 40, -1000).astype(np.int16)
    structures = []
    for number, (name, mask) in enumerate(inside.items(), start=1):
        write_grid(case_folder, mask_file(number), mask.astype(np.float32), CT_GRID)
        structures.append(
            Structure(
                number=number,
                name=name,
                interpreted_type="EXTERNAL" if name == "BODY" else "GTV",
                volume_ml=float(mask.sum()) * 8e-3,
                mask=mask_file(number),
            )
        )
    dose = np.full(TPS_GRID.size[::-1], 39.0, dtype=np.float32)
    return Case(
        case_id="case-01234567",
        content_sha256="0" * 64,
        plan_label="",
        patient_position="HFS",
        fractions=13,
        target_prescription_gy=39.0,
        ct=write_grid(case_folder, "ct.mha", numbers, CT_GRID),
        structures=tuple(structures),
        beams=CASE.beams(control_points=24),
        tps_dose=TpsDose(
            image=write_grid(case_folder, "tps_dose.mha", dose, TPS_GRID),
            maximum_gy=39.0,
            summation_type="PLAN",
            dose_type="PHYSICAL",
        ),
        warnings=(),
        files={},
    )
