"""The worst setup errors simulated again: in water that reaches far beyond the beam the dose does stand still."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import yaml

from gatecheck.case.model import Beam, Case, ControlPoint, Image, Structure
from gatecheck.case.storage import read_case
from gatecheck.cli.setup_check import run_setup_check
from gatecheck.compare.biology.structures import roles_of
from gatecheck.compare.setup_errors.model import SetupCheck
from gatecheck.compare.setup_errors.recalculation import SETUP_CHECK_FILE
from gatecheck.compare.setup_errors.robustness import analyse_setup
from gatecheck.config import Config, project_folder, validate_config
from gatecheck.delivery.storage import write_delivery
from gatecheck.dose.batches import leave_one_out_doses
from gatecheck.dose.merge import merge
from gatecheck.files import image_from_zyx, read_json, sha256_of_file, write_image, write_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import LinacModel
from gatecheck.patient.model import Grid, PatientModel, VoxelBox
from gatecheck.transport.chunk import ChunkInputs, simulate_chunks
from gatecheck.transport.engine import describe_engine
from gatecheck.transport.materials import water
from gatecheck.transport.model import CalibrationResult
from gatecheck.transport.plan import plan_chunks
from gatecheck.transport.reference_field import reference_delivery

pytestmark = [pytest.mark.physics, pytest.mark.gate]

logger = logging.getLogger(__name__)

PHOTONS = 2_000_000
VOXEL = 3.0
COUNT = 22


def _config() -> Config:
    off = [0.0, 0.0, 0.0]
    content = {
        "machine": {"models_folder": str(project_folder() / "linac_models"), "model": "truebeam_stx"},
        "transport": {"pilot_photons": 20_000, "source_photons": PHOTONS, "minimum_chunks": 4},
        "setup": {
            "courses": 100,
            "systematic_translation": [2.5, 0.0, 0.0],
            "random_translation": off,
            "intrafraction_translation": off,
            "systematic_rotation": [0.0, 0.0, 2.0],
            "random_rotation": off,
            "worst_courses": 1,
        },
    }
    return validate_config(content, source="test", check_inputs=False)


def _ball(centre: tuple[float, float, float], radius: float) -> sitk.Image:
    along = np.arange(-20, 21) * 1.0
    z, y, x = np.meshgrid(along, along, along, indexing="ij")
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    return image_from_zyx((distance < radius).astype(np.float32), origin=(-20.0,) * 3, spacing=(1.0,) * 3)


def _write_case(layout: CaseLayout) -> None:
    """A tumour in the middle of the field and a cord at its edge on +x."""
    structures = []
    for number, (name, kind, mask) in enumerate(
        [("GTV", "GTV", _ball((0.0, 0.0, 0.0), 6.0)), ("Cord", "ORGAN", _ball((12.0, 0.0, 0.0), 5.0))], start=1
    ):
        file = f"structures/{number:02d}.mha"
        write_image(layout.case / file, mask)
        structures.append(Structure(number=number, name=name, interpreted_type=kind, volume_ml=0.5, mask=file))
    point = ControlPoint(
        cumulative_meterset_weight=0.0,
        gantry_angle=0.0,
        gantry_rotation_direction="NONE",
        collimator_angle=0.0,
        couch_angle=0.0,
        jaw_x=(-12.0, 12.0),
        jaw_y=(-12.0, 12.0),
        leaf_positions=None,
        isocentre=(0.0, 0.0, 0.0),
    )
    beam = Beam(
        number=1,
        name="beam",
        machine_name="machine",
        radiation_type="PHOTON",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        beam_type="STATIC",
        technique="static",
        source_axis_distance=1000.0,
        meterset=100.0,
        final_cumulative_meterset_weight=1.0,
        leaf_boundaries=None,
        control_points=(point, point.model_copy(update={"cumulative_meterset_weight": 1.0})),
    )
    write_json(
        layout.case / "case.json",
        Case(
            case_id="case-01234567",
            content_sha256="0" * 64,
            plan_label="",
            patient_position="HFS",
            fractions=5,
            target_prescription_gy=None,
            ct=Image(file="ct.mha", sha256="", size=(1, 1, 1), spacing=(1, 1, 1), origin=(0, 0, 0)),
            structures=tuple(structures),
            beams=(beam,),
            tps_dose=None,
            warnings=(),
            files={},
        ),
    )


def _write_patient(folder: Path) -> None:
    origin = (-(COUNT - 1) / 2 * VOXEL,) * 3
    labels = image_from_zyx(np.zeros((COUNT,) * 3, np.uint16), origin=origin, spacing=(VOXEL,) * 3)
    write_image(folder / "all.mha", labels)
    write_image(
        folder / "body.mha", image_from_zyx(np.ones((COUNT,) * 3, np.uint8), origin=origin, spacing=(VOXEL,) * 3)
    )
    box = VoxelBox(
        name="all",
        role="fine",
        labels="all.mha",
        sha256=sha256_of_file(folder / "all.mha"),
        size=(COUNT,) * 3,
        spacing=(VOXEL,) * 3,
        origin=origin,
    )
    write_json(
        folder / "patient.json",
        PatientModel(
            made_from={"test": "0"},
            boxes=(box,),
            materials=(water(0),),
            joined_grid=Grid(size=(COUNT,) * 3, spacing=(VOXEL,) * 3, origin=origin),
            body_mask="body.mha",
            calibration="made for a test",
        ),
    )


def _write_calibration(layout: CaseLayout, linac: LinacModel, config: Config) -> CalibrationResult:
    result = CalibrationResult(
        key_sha256="0" * 64,
        machine=linac.name,
        linac_sha256=linac.content_sha256,
        engine=describe_engine(config.transport, config.machine.head),
        reference={},
        dose_per_nominal_photon=1e-16,
        relative_sigma=0.005,
        nominal_photons_per_mu=1e12,
        histories=1,
        seconds=1.0,
    )
    write_json(layout.calibration, result)
    return result


def test_a_displaced_patient_is_simulated_as_the_dose_that_stands_still_says(tmp_path: Path) -> None:
    """Within 4 sigma in every metric; and the displacement changes the cord's dose by far more than that."""
    layout, config = CaseLayout(tmp_path), _config()
    linac = load_linac_model(project_folder() / "linac_models" / "truebeam_stx", "beam_6x")
    layout.config.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    _write_case(layout)
    _write_patient(layout.patient)
    plan = reference_delivery(linac)
    beams = tuple(
        replace(beam, jaw_x=0 * beam.jaw_x + (-12.0, 12.0), jaw_y=0 * beam.jaw_y + (-12.0, 12.0)) for beam in plan.beams
    )
    write_delivery(replace(plan, beams=beams, fractions=5), layout.delivery)
    calibration = _write_calibration(layout, linac, config)
    common = {
        "delivery_path": layout.delivery,
        "linac": linac,
        "patient_folder": layout.patient,
        "settings": config.transport,
        "dose_to": "medium",
        "out_folder": layout.transport,
    }
    chunks = plan_chunks(**common)
    simulate_chunks(ChunkInputs(**common, inputs_sha256=chunks.inputs_sha256), chunks.chunks)
    merged = merge(
        transport_folder=layout.transport,
        patient_folder=layout.patient,
        delivery_path=layout.delivery,
        calibration=calibration,
        out_folder=layout.dose,
    )
    setup = analyse_setup(
        case_folder=layout.case,
        dose_folder=layout.dose,
        out_folder=layout.compare,
        settings=config.setup,
        biology=config.biology,
        roles=roles_of(read_case(layout.case).structures),
        leave_one_out=leave_one_out_doses(layout.transport, layout.patient, merged),
    )
    run_setup_check(tmp_path, photons=PHOTONS, count=1, cores=1)
    check = read_json(layout.compare / SETUP_CHECK_FILE, SetupCheck)
    (displacement,) = check.displacements
    assert displacement.batches == 4
    assert displacement.photons == PHOTONS
    assert abs(displacement.displacement[0]) > 3.0
    nominal = {(one.name, metric.metric): metric.nominal.value for one in setup.structures for metric in one.metrics}
    for one in displacement.metrics:
        logger.info("%s", one)
        assert abs(one.difference) < 4 * one.sigma
    (cord,) = [one for one in displacement.metrics if (one.structure, one.metric) == ("Cord", "mean_gy")]
    assert abs(cord.recalculated.value - nominal["Cord", "mean_gy"]) > 6 * cord.sigma
