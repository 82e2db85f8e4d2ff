"""Plans by hand, for the tests of the delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gatecheck.case.model import Beam, Case, ControlPoint, Image


class Plans:
    """Makes beams and cases with only what a test wants to say."""

    def control_point(self, weight: float, **changes: Any) -> ControlPoint:
        values: dict[str, Any] = {
            "cumulative_meterset_weight": weight,
            "gantry_angle": 0.0,
            "gantry_rotation_direction": "NONE",
            "collimator_angle": 0.0,
            "couch_angle": 0.0,
            "jaw_x": (-50.0, 50.0),
            "jaw_y": (-50.0, 50.0),
            "leaf_positions": None,
            "isocentre": (0.0, 0.0, 0.0),
        }
        return ControlPoint(**(values | changes))

    def beam(self, control_points: Sequence[ControlPoint], **changes: Any) -> Beam:
        values: dict[str, Any] = {
            "number": 1,
            "name": "beam",
            "machine_name": "machine",
            "radiation_type": "PHOTON",
            "nominal_energy_mv": 6.0,
            "fluence_mode": "STANDARD",
            "beam_type": "DYNAMIC",
            "technique": "vmat",
            "source_axis_distance": 1000.0,
            "meterset": 100.0,
            "final_cumulative_meterset_weight": 1.0,
            "leaf_boundaries": None,
            "control_points": tuple(control_points),
        }
        return Beam(**(values | changes))

    def arc(self, angles: Sequence[float], direction: str, **changes: Any) -> Beam:
        """Control points at equal steps of meterset; the last one's direction is NONE, as in real plans."""
        last = len(angles) - 1
        return self.beam(
            [
                self.control_point(
                    index / last,
                    gantry_angle=angle,
                    gantry_rotation_direction=direction if index < last else "NONE",
                )
                for index, angle in enumerate(angles)
            ],
            **changes,
        )

    def case(self, beams: Sequence[Beam], **changes: Any) -> Case:
        values: dict[str, Any] = {
            "case_id": "case-00000000",
            "content_sha256": "0" * 64,
            "plan_label": "",
            "patient_position": "HFS",
            "fractions": 13,
            "target_prescription_gy": None,
            "ct": Image(file="ct.mha", sha256="0" * 64, size=(1, 1, 1), spacing=(1, 1, 1), origin=(0, 0, 0)),
            "structures": (),
            "beams": tuple(beams),
            "tps_dose": None,
            "warnings": (),
            "files": {},
        }
        return Case(**(values | changes))


@pytest.fixture(scope="session")
def plans() -> Plans:
    return Plans()
