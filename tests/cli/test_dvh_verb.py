"""`gatecheck dvh DOSE RTSTRUCT`: one JSON object, or one clear error."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from gatecheck.cli.dvh import doses_of_structures
from gatecheck.cli.main import app
from gatecheck.errors import GatecheckError, InputError
from gatecheck.files import image_from_zyx, write_image
from gatecheck.phantoms.dicom_writer import Identity, StructureDrawing, Uids, write_ct, write_dose, write_structures

IDENTITY = Identity(patient_name="Plantedname^Jane", patient_id="PLANTED-ID")
UIDS = Uids("dvh verb tests")
ORIGIN, SPACING = (-20.0, -20.0, -20.0), (2.0, 2.0, 2.0)
SIZE = 21
RADIUS = 4.0
METRICS = {"mean_gy", "d95_gy", "d50_gy", "d2_gy", "d003cc_gy", "d001cc_gy", "max_gy"}


def cylinder(radius: float, planes: Sequence[float], *, centre: float = 0.0) -> list[np.ndarray]:
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    x, y = centre + radius * np.cos(angle), radius * np.sin(angle)
    return [np.column_stack([x, y, np.full(200, z)]) for z in planes]


def dose_zyx() -> np.ndarray:
    z, _, x = np.indices((SIZE, SIZE, SIZE))
    return 30.0 + 0.4 * (ORIGIN[0] + 2.0 * x) + 0.1 * (ORIGIN[2] + 2.0 * z)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dvh")
    slices = write_ct(
        folder, np.zeros((41, 21, 21), dtype=np.int16), origin=ORIGIN, spacing=(2, 2, 1), identity=IDENTITY, uids=UIDS
    )
    drawings = [
        StructureDrawing(1, "GTV", "GTV", (255, 0, 0), cylinder(RADIUS, range(-3, 3))),
        StructureDrawing(2, "dot", "", (0, 255, 0), cylinder(1.5, range(2))),
        StructureDrawing(3, "far", "", (0, 0, 255), cylinder(3.0, range(4), centre=90.0)),
    ]
    write_structures(folder, drawings, ct_slices=slices, identity=IDENTITY, uids=UIDS)
    write_dose(folder, dose_zyx(), origin=ORIGIN, spacing=SPACING, identity=IDENTITY, uids=UIDS)
    write_image(folder / "dose.mha", image_from_zyx(dose_zyx(), origin=ORIGIN, spacing=SPACING))
    return folder


@pytest.mark.parametrize("dose", ["RTDOSE.dcm", "dose.mha"])
def test_a_cylinder_in_a_linear_dose_has_the_doses_of_its_formula(files: Path, dose: str) -> None:
    done = CliRunner().invoke(app, ["dvh", str(files / dose), str(files / "RTSTRUCT.dcm")])
    assert done.exit_code == 0
    found: dict[str, Any] = json.loads(done.stdout)
    assert "Plantedname" not in done.stdout
    gtv = found["structures"]["GTV"]
    # Six slices of 1 mm, half of one beyond the first and last contour.
    assert gtv["volume_ml"] == pytest.approx(math.pi * RADIUS**2 * 6 / 1000, rel=2e-3)
    assert gtv["covered_fraction"] == 1.0
    assert set(gtv["metrics"]) == METRICS
    assert gtv["metrics"]["mean_gy"] == pytest.approx(30.0 - 0.05, abs=0.01)
    # At x = 4 mm, z = 2.5 mm.
    assert gtv["metrics"]["max_gy"] == pytest.approx(30.0 + 0.4 * RADIUS + 0.1 * 2.5, abs=0.05)
    assert any("1 mm apart" in one for one in found["assumed"])
    assert any("LPS" in one for one in found["assumed"]) == (dose == "dose.mha")


def test_structures_too_small_or_outside_say_why_there_is_no_dose(files: Path) -> None:
    found = doses_of_structures(files / "dose.mha", files / "RTSTRUCT.dcm").structures
    dot, far = found["dot"], found["far"]
    assert dot.volume_ml == pytest.approx(math.pi * 1.5**2 * 2 / 1000, rel=0.02)  # 0.014 ml
    assert dot.metrics["d003cc_gy"] is None
    assert dot.metrics["d001cc_gy"] is not None
    assert "d003cc_gy: only 0.014" in dot.note
    assert far.covered_fraction == 0.0
    assert set(far.metrics.values()) == {None}
    assert far.note == "Wholly outside of the dose grid."


def _spoilt(files: Path, out: Path, change: Any) -> Path:
    dataset = dcmread(files / "RTSTRUCT.dcm")
    change(dataset)
    dataset.save_as(out / "RTSTRUCT.dcm")
    return out / "RTSTRUCT.dcm"


def test_a_structure_set_of_another_frame_than_the_dose_is_refused(files: Path, tmp_path: Path) -> None:
    def change(dataset: Any) -> None:
        for roi in dataset.StructureSetROISequence:
            roi.ReferencedFrameOfReferenceUID = "1.2.3"

    with pytest.raises(InputError, match=r"another Frame of Reference \(0020,0052\)"):
        doses_of_structures(files / "RTDOSE.dcm", _spoilt(files, tmp_path, change))


def test_contours_in_one_plane_alone_do_not_say_how_thick_a_slice_is(files: Path, tmp_path: Path) -> None:
    def change(dataset: Any) -> None:
        for roi in dataset.ROIContourSequence:
            roi.ContourSequence = roi.ContourSequence[:1]

    with pytest.raises(InputError, match="how far slices are apart"):
        doses_of_structures(files / "dose.mha", _spoilt(files, tmp_path, change))


@pytest.mark.parametrize(
    ("dose", "structures", "message"),
    [
        ("RTSTRUCT.dcm", "RTSTRUCT.dcm", "DOSE: RTSTRUCT found, RTDOSE expected"),
        ("dose.mha", "RTDOSE.dcm", "RTSTRUCT: RTDOSE found"),
        ("dose.mha", "dose.mha", "RTSTRUCT: not DICOM found"),
        ("missing.mha", "RTSTRUCT.dcm", "DOSE: there is no such file"),
        ("broken.mha", "RTSTRUCT.dcm", "DOSE: the MetaImage is damaged"),
        ("nan.mha", "RTSTRUCT.dcm", "DOSE: the image holds values that are not numbers"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_message(
    files: Path, dose: str, structures: str, message: str
) -> None:
    (files / "broken.mha").write_text("ObjectType = Image\n")
    spoilt = dose_zyx()
    spoilt[3, 3, 3] = np.nan
    write_image(files / "nan.mha", image_from_zyx(spoilt, origin=ORIGIN, spacing=SPACING))
    with pytest.raises(GatecheckError, match=message) as refused:
        doses_of_structures(files / dose, files / structures)
    assert refused.value.exit_code == 2
    assert str(files) not in str(refused.value)
