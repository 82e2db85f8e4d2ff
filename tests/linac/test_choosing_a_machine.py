"""The machine is chosen by the plan's MLC, and a plan it cannot deliver is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatecheck.case.model import Beam, Case, ControlPoint, Image
from gatecheck.errors import InputError, UnsupportedPlanError
from gatecheck.linac.load import choose_linac_model, load_linac_model

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
HD120 = load_linac_model(MODELS / "truebeam_stx").machine.mlc.boundaries
MILLENNIUM = load_linac_model(MODELS / "truebeam_m120").machine.mlc.boundaries


def case_of(**changes: Any) -> Case:
    boundaries = changes.pop("leaf_boundaries", HD120)
    jaw_x = changes.pop("jaw_x", (-50.0, 50.0))
    leaf_positions = changes.pop("leaf_positions", None)
    if leaf_positions is None and boundaries is not None:
        pairs = len(boundaries) - 1
        leaf_positions = ((-20.0,) * pairs, (20.0,) * pairs)
    point = ControlPoint(
        cumulative_meterset_weight=0.0,
        gantry_angle=0.0,
        gantry_rotation_direction="NONE",
        couch_angle=0.0,
        collimator_angle=0.0,
        jaw_x=jaw_x,
        jaw_y=(-50.0, 50.0),
        leaf_positions=leaf_positions,
        isocentre=(0.0, 0.0, 0.0),
    )
    beam = Beam(
        **{
            "number": 3,
            "name": "arc",
            "machine_name": "any",
            "radiation_type": "PHOTON",
            "nominal_energy_mv": 6.0,
            "fluence_mode": "STANDARD",
            "beam_type": "STATIC",
            "technique": "static",
            "source_axis_distance": 1000.0,
            "meterset": 100.0,
            "final_cumulative_meterset_weight": 1.0,
            "leaf_boundaries": boundaries,
            "control_points": (point, point.model_copy(update={"cumulative_meterset_weight": 1.0})),
            **changes,
        }
    )
    image = Image(file="ct.mha", sha256="0", size=(1, 1, 1), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0))
    return Case(
        case_id="case-00000000",
        content_sha256="0",
        plan_label="",
        patient_position="HFS",
        fractions=1,
        target_prescription_gy=None,
        ct=image,
        structures=(),
        beams=(beam,),
        tps_dose=None,
        warnings=(),
        files={},
    )


def choose(case: Case, model: str | None = None) -> str:
    return choose_linac_model(MODELS, case, model=model, beam="beam_6x").name


def test_hd120_leaves_choose_the_stx() -> None:
    assert choose(case_of()) == "truebeam_stx"


def test_millennium_leaves_choose_the_m120() -> None:
    assert choose(case_of(leaf_boundaries=MILLENNIUM)) == "truebeam_m120"


def test_leaves_of_no_known_machine_are_refused() -> None:
    with pytest.raises(UnsupportedPlanError, match=r"28 leaf pairs.*MLC unknown to the machine"):
        choose(case_of(leaf_boundaries=tuple(float(edge) for edge in range(-140, 141, 10))))


def test_a_named_machine_with_another_mlc_is_refused() -> None:
    with pytest.raises(
        UnsupportedPlanError, match=r"MLC unknown to the machine \(known: Millennium 120 of truebeam_m120"
    ):
        choose(case_of(), "truebeam_m120")


def test_a_plan_without_an_mlc_needs_a_named_machine() -> None:
    case = case_of(leaf_boundaries=None)
    with pytest.raises(InputError, match=r"machine\.model: no beam of the plan has an MLC"):
        choose(case)
    assert choose(case, "truebeam_m120") == "truebeam_m120"


@pytest.mark.parametrize("changes", [{"nominal_energy_mv": 10.0}, {"fluence_mode": "FFF"}])
def test_another_energy_or_fluence_mode_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedPlanError, match=r"Beam 3: Nominal Beam Energy.*expected 6 MV STANDARD"):
        choose(case_of(**changes))


def test_a_jaw_beyond_its_travel_is_refused() -> None:
    with pytest.raises(UnsupportedPlanError, match=r"control point 0: jaw X1 at 35 mm found, expected -200 to 20 mm"):
        choose(case_of(jaw_x=(35.0, 80.0)))


def test_colliding_jaws_are_refused() -> None:
    with pytest.raises(UnsupportedPlanError, match="they would collide"):
        choose(case_of(jaw_x=(10.0, 0.0)))


def test_overlapping_leaves_are_refused() -> None:
    positions = ([-20.0] * 60, [20.0] * 60)
    positions[0][7], positions[1][7] = 5.0, 2.0
    with pytest.raises(UnsupportedPlanError, match="leaves of pair 8 overlap by 3 mm"):
        choose(case_of(leaf_positions=(tuple(positions[0]), tuple(positions[1]))))


@pytest.mark.parametrize(("bank", "position"), [(0, -300.0), (1, 300.0), (1, 202.5)])
@pytest.mark.parametrize("boundaries", [HD120, MILLENNIUM])
def test_a_leaf_beyond_its_reach_is_refused(boundaries: tuple[float, ...], bank: int, position: float) -> None:
    positions = ([-20.0] * 60, [20.0] * 60)
    positions[bank][7] = position
    expected = rf"Beam 3, control point 0: leaf 8 of bank X{bank + 1} at {position:g} mm found, expected -200 to 200 mm"
    with pytest.raises(UnsupportedPlanError, match=expected):
        choose(case_of(leaf_boundaries=boundaries, leaf_positions=(tuple(positions[0]), tuple(positions[1]))))


def test_leaves_parked_just_behind_the_largest_field_pass() -> None:
    assert choose(case_of(leaf_positions=((-201.0,) * 60, (201.0,) * 60))) == "truebeam_stx"


def test_another_source_axis_distance_is_refused() -> None:
    with pytest.raises(UnsupportedPlanError, match=r"Source-Axis Distance.*800 mm"):
        choose(case_of(source_axis_distance=800.0))
