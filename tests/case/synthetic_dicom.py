"""A small complete DICOM set for tests, with an identity planted in it that must come out nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import config, dcmread, dcmwrite
from pydicom.dataset import Dataset

from gatecheck.case.model import Beam, ControlPoint
from gatecheck.phantoms.dicom_writer import (
    Identity,
    StructureDrawing,
    Uids,
    write_ct,
    write_dose,
    write_plan,
    write_structures,
)

SECRETS = ("Plantedname", "PLANTED-ID", "19230405", "PLANTEDLABEL", "planted-uuid", "Planted text")
IDENTITY = Identity(
    patient_name="Plantedname^Jane",
    patient_id="PLANTED-ID",
    birth_date="19230405",
    plan_label="PLANTEDLABEL",
    structure_set_label="PLANTEDLABEL",
)
UIDS = Uids("case tests")

ORIGIN = (-29.0, -33.0, -12.0)
SPACING = (2.0, 3.0, 4.0)
SHAPE = (7, 23, 30)

LEAF_BOUNDARIES = tuple(float(y) for y in range(-50, 51, 10))
PAIRS = len(LEAF_BOUNDARIES) - 1


def hu_zyx() -> np.ndarray:
    """CT numbers that tell every voxel from every other."""
    z, y, x = np.indices(SHAPE)
    return (-1000 + x + 30 * y + 690 * z // 4).astype(np.int16)


def circle(radius: float, z: float, *, centre: tuple[float, float] = (0.0, 0.0), points: int = 400) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack(
        [centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), np.full(points, float(z))]
    )


def rectangle(x0: float, x1: float, y0: float, y1: float, z: float) -> np.ndarray:
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], dtype=float)


def slice_positions() -> list[float]:
    return [ORIGIN[2] + index * SPACING[2] for index in range(SHAPE[0])]


def structures() -> list[StructureDrawing]:
    z = slice_positions()
    return [
        StructureDrawing(1, "BODY", "EXTERNAL", (0, 255, 0), [rectangle(-26, 26, -30, 30, at) for at in z]),
        StructureDrawing(2, "GTV", "GTV", (255, 0, 0), [circle(8.0, at, centre=(3.0, -2.0)) for at in z[2:5]]),
    ]


def control_point(weight: float, **changes: Any) -> ControlPoint:
    values: dict[str, Any] = {
        "cumulative_meterset_weight": weight,
        "gantry_angle": 0.0,
        "gantry_rotation_direction": "NONE",
        "collimator_angle": 0.0,
        "couch_angle": 0.0,
        "jaw_x": (-20.0, 20.0),
        "jaw_y": (-25.0, 25.0),
        "leaf_positions": ((-10.0,) * PAIRS, (10.0,) * PAIRS),
        "isocentre": (1.0, 2.0, 3.0),
    }
    return ControlPoint(**(values | changes))


def beam(number: int = 1, **changes: Any) -> Beam:
    values: dict[str, Any] = {
        "number": number,
        "name": f"Field {number}",
        "machine_name": "TEST",
        "radiation_type": "PHOTON",
        "nominal_energy_mv": 6.0,
        "fluence_mode": "STANDARD",
        "beam_type": "STATIC",
        "technique": "static",
        "source_axis_distance": 1000.0,
        "meterset": 100.0 + number,
        "final_cumulative_meterset_weight": 1.0,
        "leaf_boundaries": LEAF_BOUNDARIES,
        "control_points": (control_point(0.0), control_point(1.0)),
    }
    return Beam(**(values | changes))


def leaves(shift: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (-10.0 + shift,) * PAIRS, (10.0 + shift,) * PAIRS


def write_set(folder: Path) -> None:
    """CT, RTSTRUCT, RTPLAN with two beams and one without meterset, and RTDOSE."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = write_ct(folder, hu_zyx(), origin=ORIGIN, spacing=SPACING, identity=IDENTITY, uids=UIDS)
    write_structures(folder, structures(), ct_slices=slices, identity=IDENTITY, uids=UIDS)
    write_plan(
        folder,
        [
            beam(1),
            beam(2, control_points=(control_point(0.0, gantry_angle=90.0), control_point(1.0, gantry_angle=90.0))),
            beam(3, meterset=0.0, leaf_boundaries=None, control_points=(control_point(0.0, leaf_positions=None),) * 2),
        ],
        fractions=5,
        prescription_gy=20.0,
        identity=IDENTITY,
        uids=UIDS,
    )
    z, y, x = np.indices((4, 5, 6))
    write_dose(
        folder, 1.0 + x + 10.0 * y + 100.0 * z, origin=(-10, -8, -6), spacing=(4, 4, 4), identity=IDENTITY, uids=UIDS
    )


@dataclass
class DicomSet:
    """A folder of DICOM files that a test may spoil."""

    folder: Path

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.dcm"

    def edit(self, name: str, change: Callable[[Dataset], object]) -> None:
        """Change one file in place."""
        with config.disable_value_validation():
            dataset = dcmread(self.file(name))
            change(dataset)
            dcmwrite(self.file(name), dataset)

    def edit_ct(self, change: Callable[[Dataset], object]) -> None:
        for path in sorted(self.folder.glob("CT_*.dcm")):
            self.edit(path.stem, change)

    def edit_beam(self, change: Callable[[Dataset], object], *, index: int = 0) -> None:
        self.edit("RTPLAN", lambda plan: change(plan.BeamSequence[index]))

    def plan(self, beams: list[Beam], **changes: Any) -> None:
        """Write another plan over the first."""
        values: dict[str, Any] = {"fractions": 5, "prescription_gy": 20.0, "identity": IDENTITY, "uids": UIDS}
        write_plan(self.folder, beams, **(values | changes))

    def draw(self, drawings: list[StructureDrawing]) -> None:
        """Write another structure set over the first."""
        slices = [
            type("Slice", (), {"sop_instance_uid": UIDS.ct_slice(index), "z": z})()
            for index, z in enumerate(slice_positions())
        ]
        write_structures(self.folder, drawings, ct_slices=slices, identity=IDENTITY, uids=UIDS)
