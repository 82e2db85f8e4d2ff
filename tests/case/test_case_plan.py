"""The plan: what is carried forward, what is named how, what is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from synthetic_dicom import LEAF_BOUNDARIES, PAIRS, DicomSet, beam, control_point, leaves

from gatecheck.case.model import Beam, Case, ControlPoint

Ingested = Callable[[], Case]
Refusal = Callable[[], str]


def arc(weights: list[float], shifts: list[float], **changes: Any) -> Beam:
    last = len(weights) - 1
    points = [
        control_point(
            weight,
            gantry_angle=(181.0 + 2.0 * index) % 360,
            gantry_rotation_direction="CW" if index < last else "NONE",
            leaf_positions=leaves(shift),
        )
        for index, (weight, shift) in enumerate(zip(weights, shifts, strict=True))
    ]
    return beam(1, beam_type="DYNAMIC", technique="vmat", control_points=tuple(points), **changes)


@pytest.mark.parametrize("changes_only", [True, False])
def test_beams_come_back_as_they_were_written(dicom_set: DicomSet, ingested: Ingested, changes_only: bool) -> None:
    """Everything moves at one control point or other, and later control points leave out what stays."""
    points = (
        control_point(0.0, couch_angle=10.0, collimator_angle=5.5),
        control_point(0.1, couch_angle=10.0, collimator_angle=5.5, leaf_positions=leaves(1.25)),
        control_point(0.1, couch_angle=10.0, collimator_angle=5.5, leaf_positions=leaves(1.25), jaw_x=(-5.0, 20.0)),
        control_point(
            0.5,
            couch_angle=10.0,
            couch_rotation_direction="CW",
            collimator_angle=5.5,
            collimator_rotation_direction="CC",
            leaf_positions=leaves(3.0),
            jaw_x=(-5.0, 20.0),
        ),
        control_point(
            1.0,
            couch_angle=350.0,
            collimator_angle=6.5,
            leaf_positions=leaves(3.0),
            jaw_x=(-5.0, 20.0),
            jaw_y=(0.0, 25.0),
        ),
    )
    written = beam(4, beam_type="DYNAMIC", technique="sliding-window", control_points=points)
    dicom_set.plan([written], changes_only=changes_only)
    assert ingested().beams == (written,)


def test_an_empty_attribute_of_a_later_control_point_means_no_change(dicom_set: DicomSet, ingested: Ingested) -> None:
    def empty(item: Dataset) -> None:
        later = item.ControlPointSequence[1]
        later.GantryAngle = None
        later.GantryRotationDirection = ""
        later.IsocenterPosition = None

    dicom_set.edit_beam(empty, index=1)
    before, after = ingested().beams[1].control_points
    assert after.gantry_angle == 90.0
    assert after.isocentre == before.isocentre == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("jaw_types", [("X", "Y"), ("ASYMX", "ASYMY"), ("X", "ASYMY")])
def test_jaws_are_read_by_either_name(dicom_set: DicomSet, ingested: Ingested, jaw_types: tuple[str, str]) -> None:
    dicom_set.plan([beam(1)], jaw_types=jaw_types)
    point = ingested().beams[0].control_points[1]
    assert point.jaw_x == (-20.0, 20.0)
    assert point.jaw_y == (-25.0, 25.0)


def test_leaf_banks_keep_the_order_of_dicom(dicom_set: DicomSet, ingested: Ingested) -> None:
    banks = (
        tuple(-20.0 - pair for pair in range(PAIRS)),
        tuple(5.0 + pair for pair in range(PAIRS)),
    )
    points = (control_point(0.0, leaf_positions=banks), control_point(1.0, leaf_positions=banks))
    dicom_set.plan([beam(1, control_points=points)])
    read = ingested().beams[0]
    assert read.control_points[1].leaf_positions == banks
    assert read.leaf_boundaries == LEAF_BOUNDARIES


def test_a_beam_without_mlc_has_no_leaves(dicom_set: DicomSet, ingested: Ingested) -> None:
    points = (control_point(0.0, leaf_positions=None), control_point(1.0, leaf_positions=None))
    dicom_set.plan([beam(1, leaf_boundaries=None, control_points=points)])
    read = ingested().beams[0]
    assert read.leaf_boundaries is None
    assert read.control_points[0].leaf_positions is None


def test_several_isocentres_are_kept(dicom_set: DicomSet, ingested: Ingested) -> None:
    other = tuple(control_point(weight, isocentre=(10.0, -20.0, 30.5)) for weight in (0.0, 1.0))
    dicom_set.plan([beam(1), beam(2, control_points=other)])
    assert [read.control_points[1].isocentre for read in ingested().beams] == [(1.0, 2.0, 3.0), (10.0, -20.0, 30.5)]


def test_meterset_follows_the_beam_number_and_not_the_order(dicom_set: DicomSet, ingested: Ingested) -> None:
    def turn_round(plan: Dataset) -> None:
        group = plan.FractionGroupSequence[0]
        group.ReferencedBeamSequence = Sequence(list(group.ReferencedBeamSequence)[::-1])

    dicom_set.edit("RTPLAN", turn_round)
    assert {read.number: read.meterset for read in ingested().beams} == {1: 101.0, 2: 102.0}


STATIC = (control_point(0.0), control_point(1.0))
STEP_AND_SHOOT = (
    control_point(0.0),
    control_point(0.4),
    control_point(0.4, leaf_positions=leaves(5.0)),
    control_point(1.0, leaf_positions=leaves(5.0)),
)
SLIDING_WINDOW = (
    control_point(0.0),
    control_point(0.4, leaf_positions=leaves(5.0)),
    control_point(1.0, leaf_positions=leaves(7.0)),
)
JUMP_BETWEEN_WINDOWS = (
    control_point(0.0),
    control_point(0.5, leaf_positions=leaves(5.0)),
    control_point(0.5, leaf_positions=leaves(-5.0)),
    control_point(1.0, leaf_positions=leaves(0.0)),
)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (STATIC, "static"),
        (STEP_AND_SHOOT, "step-and-shoot"),
        (SLIDING_WINDOW, "sliding-window"),
        (JUMP_BETWEEN_WINDOWS, "sliding-window"),
        (arc([0.0, 0.5, 1.0], [0.0, 0.0, 0.0]).control_points, "conformal-arc"),
        (arc([0.0, 0.5, 1.0], [0.0, 3.0, 4.0]).control_points, "conformal-arc"),
        (arc([0.0, 0.3, 1.0], [0.0, 3.0, 4.0]).control_points, "vmat"),
    ],
)
def test_the_technique_is_named_by_what_the_control_points_do(
    dicom_set: DicomSet, ingested: Ingested, points: tuple[ControlPoint, ...], expected: str
) -> None:
    dicom_set.plan([beam(1, beam_type="DYNAMIC", control_points=points)])
    assert ingested().beams[0].technique == expected


def test_a_non_standard_fluence_mode_is_passed_on(dicom_set: DicomSet, ingested: Ingested) -> None:
    dicom_set.plan([beam(1, fluence_mode="FFF")])
    assert ingested().beams[0].fluence_mode == "FFF"
    dicom_set.edit_beam(lambda item: delattr(item, "PrimaryFluenceModeSequence"))
    assert ingested().beams[0].fluence_mode == "STANDARD"


@pytest.mark.parametrize("delivery", ["SETUP", "OPEN_PORTFILM", "TRMT_PORTFILM"])
def test_a_setup_beam_with_meterset_is_left_out_and_said(
    dicom_set: DicomSet, ingested: Ingested, delivery: str
) -> None:
    dicom_set.edit_beam(lambda item: setattr(item, "TreatmentDeliveryType", delivery))
    case = ingested()
    assert [read.number for read in case.beams] == [2]
    warning = next(w for w in case.warnings if w.code == "setup-beam-with-meterset")
    assert "Beam 1" in warning.message
    assert "101 MU" in warning.message


def test_what_a_beam_without_meterset_carries_does_not_matter(dicom_set: DicomSet, ingested: Ingested) -> None:
    dicom_set.edit_beam(lambda item: setattr(item, "RadiationType", "ELECTRON"), index=2)
    assert len(ingested().beams) == 2


def test_several_prescriptions_give_the_highest_with_a_warning(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    def prescribe_more(plan: Dataset) -> None:
        other = Dataset()
        other.DoseReferenceType = "TARGET"
        other.TargetPrescriptionDose = "25"
        plan.DoseReferenceSequence.append(other)

    dicom_set.edit("RTPLAN", prescribe_more)
    case = ingested()
    assert case.target_prescription_gy == 25.0
    assert "several-prescriptions" in codes(case)


def test_a_plan_without_prescription_has_none(dicom_set: DicomSet, ingested: Ingested) -> None:
    dicom_set.edit("RTPLAN", lambda plan: delattr(plan, "DoseReferenceSequence"))
    assert ingested().target_prescription_gy is None


def compensator(**values: Any) -> Callable[[Dataset], None]:
    def add(item: Dataset) -> None:
        device = Dataset()
        device.CompensatorNumber = 1
        device.CompensatorType = "OPTIMAL"
        device.MaterialID = ""
        device.SourceToCompensatorTrayDistance = None
        device.CompensatorTransmissionData = ["0.5"] * 4
        for keyword, value in values.items():
            setattr(device, keyword, value)
        item.NumberOfCompensators = 1
        item.CompensatorSequence = Sequence([device])

    return add


@pytest.mark.parametrize("kind", ["OPTIMAL", "TOTAL_ACTUAL"])
def test_fluence_maps_coded_as_compensators_pass_with_a_warning(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]], kind: str
) -> None:
    dicom_set.plan([beam(1, beam_type="DYNAMIC", control_points=SLIDING_WINDOW)])
    dicom_set.edit_beam(compensator(CompensatorType=kind))
    assert "fluence-compensators-not-used" in codes(ingested())


@pytest.mark.parametrize(
    "values",
    [
        {"CompensatorType": "STANDARD"},
        {"CompensatorType": ""},
        {"MaterialID": "BRASS"},
        {"SourceToCompensatorTrayDistance": "650"},
        {"CompensatorThicknessData": ["1.0"] * 4},
    ],
)
def test_a_compensator_of_metal_is_refused(dicom_set: DicomSet, refusal: Refusal, values: dict[str, Any]) -> None:
    dicom_set.plan([beam(1, beam_type="DYNAMIC", control_points=SLIDING_WINDOW)])
    dicom_set.edit_beam(compensator(**values))
    assert "Beam 1 uses a compensator" in refusal()


def test_an_optimal_fluence_that_no_leaf_motion_delivers_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.edit_beam(compensator())
    assert "optimal fluence without leaf motions" in refusal()


def sequence_of(keyword: str, **values: Any) -> Callable[[Dataset], None]:
    def add(item: Dataset) -> None:
        entry = Dataset()
        for name, value in values.items():
            setattr(entry, name, value)
        setattr(item, keyword, Sequence([entry]))

    return add


def first_point(keyword: str, value: Any) -> Callable[[Dataset], None]:
    return lambda item: setattr(item.ControlPointSequence[0], keyword, value)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda item: setattr(item, "NumberOfWedges", 1), "a wedge"),
        (sequence_of("WedgeSequence", WedgeType="DYNAMIC"), "an enhanced dynamic (virtual) wedge"),
        (sequence_of("WedgeSequence", WedgeType="STANDARD"), "a physical wedge"),
        (sequence_of("WedgeSequence", WedgeType="MOTORIZED"), "a motorised wedge"),
        (lambda item: setattr(item, "NumberOfBlocks", 2), "a block"),
        (sequence_of("BlockSequence", BlockNumber=1), "a block"),
        (lambda item: setattr(item, "NumberOfBoli", 1), "a bolus"),
        (sequence_of("ReferencedBolusSequence", ReferencedROINumber=1), "a bolus"),
        (lambda item: setattr(item, "NumberOfCompensators", 1), "a compensator"),
        (sequence_of("ApplicatorSequence", ApplicatorType="STEREOTACTIC"), "a stereotactic cone"),
        (sequence_of("ApplicatorSequence", ApplicatorType="ELECTRON_SQUARE"), "an applicator"),
        (sequence_of("GeneralAccessorySequence", GeneralAccessoryNumber=1), "an accessory"),
        (lambda item: setattr(item, "HighDoseTechniqueType", "TBI"), "a special technique"),
        (lambda item: setattr(item, "PrimaryDosimeterUnit", "MINUTE"), "a meterset that is not in MU"),
        (
            lambda item: setattr(item.BeamLimitingDeviceSequence[2], "RTBeamLimitingDeviceType", "MLCY"),
            "an MLC moving along Y",
        ),
        (lambda item: item.BeamLimitingDeviceSequence.pop(1), "no Y jaws"),
        (sequence_of("EnhancedRTBeamLimitingDeviceSequence"), "a dual-layer MLC"),
        (first_point("TableTopPitchAngle", 1.5), "Table Top Pitch Angle (300A,0140) is 1.5 degrees"),
        (first_point("TableTopRollAngle", 358.5), "Table Top Roll Angle (300A,0144) is 358.5 degrees"),
        (first_point("TableTopEccentricAngle", "5"), "Table Top Eccentric Angle (300A,0125) is 5 degrees"),
        (first_point("GantryPitchAngle", 2.0), "Gantry Pitch Angle (300A,014A) is 2 degrees"),
        (sequence_of("FixationDeviceSequence"), None),
        (lambda item: setattr(item, "HighDoseTechniqueType", "SRS"), None),
        (first_point("TableTopPitchAngle", 360.0), None),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    dicom_set: DicomSet,
    ingested: Ingested,
    refusal: Refusal,
    spoil: Callable[[Dataset], None],
    name: str | None,
) -> None:
    dicom_set.edit_beam(spoil)
    if name is None:
        assert len(ingested().beams) == 2
    else:
        message = refusal()
        assert name in message
        assert message.startswith("Beam 1")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda plan: setattr(plan.BeamSequence[0], "NumberOfControlPoints", 3), "2 control points found, 3 expected"),
        (lambda plan: plan.BeamSequence.pop(1), "references beam 2, missing in Beam Sequence"),
        (lambda plan: plan.FractionGroupSequence[0].ReferencedBeamSequence.pop(), "references 2 beams, 3 expected"),
        (lambda plan: setattr(plan.BeamSequence[1], "BeamNumber", 1), "two beams have number 1"),
        (
            lambda plan: plan.FractionGroupSequence.append(plan.FractionGroupSequence[0]),
            "2 fraction groups found",
        ),
        (
            lambda plan: setattr(plan.FractionGroupSequence[0], "NumberOfFractionsPlanned", None),
            "Number of Fractions Planned (300A,0078) is missing",
        ),
        (
            lambda plan: setattr(plan.BeamSequence[0], "TreatmentDeliveryType", "CONTINUATION"),
            "is not TREATMENT",
        ),
        (
            lambda plan: setattr(plan.BeamSequence[0].ControlPointSequence[1], "NominalBeamEnergy", "10"),
            "the energy changes from 6 to 10 MV",
        ),
        (
            lambda plan: delattr(plan.BeamSequence[0].ControlPointSequence[0], "GantryAngle"),
            "Beam 1, control point 0: Gantry Angle (300A,011E) is missing",
        ),
        (
            lambda plan: delattr(plan.BeamSequence[0].ControlPointSequence[0], "IsocenterPosition"),
            "Isocenter Position (300A,012C) is missing",
        ),
        (
            lambda plan: plan.BeamSequence[0].ControlPointSequence[0].BeamLimitingDevicePositionSequence.pop(),
            "its leaf positions are missing",
        ),
        (
            lambda plan: plan.BeamSequence[0].ControlPointSequence[0].BeamLimitingDevicePositionSequence.pop(0),
            "positions of the X jaws are missing",
        ),
        (
            lambda plan: delattr(plan.BeamSequence[0].BeamLimitingDeviceSequence[2], "LeafPositionBoundaries"),
            "0 values of Leaf Position Boundaries (300A,00BE) found, 11 expected",
        ),
        (
            lambda plan: setattr(
                plan.BeamSequence[0].ControlPointSequence[0].BeamLimitingDevicePositionSequence[2],
                "LeafJawPositions",
                ["1"] * 18,
            ),
            "18 leaf positions found in Leaf/Jaw Positions (300A,011C), 20 expected",
        ),
        (
            lambda plan: setattr(
                plan.BeamSequence[0].ControlPointSequence[0].BeamLimitingDevicePositionSequence[2],
                "LeafJawPositions",
                ["5"] * 10 + ["4"] * 10,
            ),
            "leaf pair 1 is closed past itself by 1.00 mm",
        ),
    ],
)
def test_a_damaged_plan_is_refused_with_its_place(
    dicom_set: DicomSet, refusal: Refusal, spoil: Callable[[Dataset], None], expected: str
) -> None:
    dicom_set.edit("RTPLAN", spoil)
    assert expected in refusal()


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((0.0, 0.6, 0.5, 1.0), "control point 2"), ((0.1, 0.5, 0.6, 1.0), "control point 0")],
)
def test_cumulative_weights_begin_at_zero_and_never_fall(
    dicom_set: DicomSet, refusal: Refusal, weights: tuple[float, ...], expected: str
) -> None:
    dicom_set.plan([beam(1, control_points=tuple(control_point(weight) for weight in weights))])
    message = refusal()
    assert expected in message
    assert "Cumulative Meterset Weight (300A,0134)" in message


def test_cumulative_weights_may_end_within_rounding_of_the_final_one(dicom_set: DicomSet, ingested: Ingested) -> None:
    dicom_set.plan([beam(1, control_points=(control_point(0.0), control_point(0.99995)))])
    assert ingested().beams[0].control_points[-1].cumulative_meterset_weight == 0.99995
