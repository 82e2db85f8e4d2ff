"""`gatecheck beams-eye-view`, as a user types it, on a case without any dose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from gatecheck.case.model import Beam, Case, ControlPoint
from gatecheck.case.model import Image as CaseImage
from gatecheck.config import project_folder
from gatecheck.delivery.storage import write_delivery
from gatecheck.delivery.timeline import deliver
from gatecheck.files import write_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.load import load_linac_model


def gatecheck(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gatecheck.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=os.environ | {"PYTHONPATH": str(project_folder() / "workflow")},
    )


@pytest.fixture
def case_folder(tmp_path: Path) -> Path:
    """A sliding window of three control points, without structures; ingested and delivered."""
    boundaries = load_linac_model(project_folder() / "linac_models" / "truebeam_stx").machine.mlc.boundaries
    pairs = len(boundaries) - 1
    points = tuple(
        ControlPoint(
            cumulative_meterset_weight=weight,
            gantry_angle=30.0,
            gantry_rotation_direction="NONE",
            collimator_angle=90.0,
            couch_angle=0.0,
            jaw_x=(-40.0, 40.0),
            jaw_y=(-30.0, 30.0),
            leaf_positions=((place - 15.0,) * pairs, (place,) * pairs),
            isocentre=(0.0, 0.0, 0.0),
        )
        for weight, place in ((0.0, -25.0), (0.5, 5.0), (1.0, 40.0))
    )
    beam = Beam(
        number=7,
        name="window",
        machine_name="machine",
        radiation_type="PHOTON",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        beam_type="DYNAMIC",
        technique="sliding-window",
        source_axis_distance=1000.0,
        meterset=80.0,
        final_cumulative_meterset_weight=1.0,
        leaf_boundaries=boundaries,
        control_points=points,
    )
    case = Case(
        case_id="case-00000000",
        content_sha256="0" * 64,
        plan_label="",
        patient_position="HFS",
        fractions=1,
        target_prescription_gy=None,
        ct=CaseImage(file="ct.mha", sha256="0", size=(1, 1, 1), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)),
        structures=(),
        beams=(beam,),
        tps_dose=None,
        warnings=(),
        files={},
    )
    layout = CaseLayout(tmp_path / "case")
    write_json(layout.case / "case.json", case)
    write_delivery(deliver(case), layout.delivery)
    layout.config.write_text("machine: {model: truebeam_stx}\n", encoding="utf-8")
    return layout.folder


def test_without_options_three_control_points_are_drawn_into_the_report_folder(case_folder: Path) -> None:
    result = gatecheck("beams-eye-view", str(case_folder))
    assert result.returncode == 0, result.stderr
    names = [f"beams-eye-view-beam-7-control-point-{index:03d}.png" for index in range(3)]
    assert result.stdout.splitlines() == names
    assert sorted(path.name for path in (case_folder / "report").iterdir()) == names
    for name in names:
        with Image.open(case_folder / "report" / name) as picture:
            assert picture.format == "PNG"


def test_one_instant_is_drawn_to_the_file_that_was_named(case_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "view.svg"
    result = gatecheck("beams-eye-view", str(case_folder), "--beam", "7", "--meterset", "20", "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert out.read_text(encoding="utf-8").startswith("<?xml")
    assert not (case_folder / "report").exists()


def test_a_beam_that_is_not_there_is_refused_in_one_line_with_code_2(case_folder: Path) -> None:
    result = gatecheck("beams-eye-view", str(case_folder), "--beam", "3")
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert lines[-1] == "gatecheck: --beam 3: the plan's beams with meterset are 7."
    assert "Traceback" not in result.stderr
