"""A beam that treats is not lost for want of its meterset: missing is not zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from synthetic_dicom import DicomSet, beam, control_point, leaves

from gatecheck.case.model import Beam, Case
from gatecheck.delivery.timeline import timeline_of

Ingested = Callable[[], Case]
Refusal = Callable[[], str]

BARE = (control_point(0.0, leaf_positions=None), control_point(1.0, leaf_positions=None))


def lost_beam(dicom_set: DicomSet, second: Beam, *, dose: str | None = None, **changes: Any) -> None:
    """A plan whose second beam lost its meterset, as the fraction group shows it."""
    dicom_set.plan([beam(1), second])

    def lose(plan: Dataset) -> None:
        reference = plan.FractionGroupSequence[0].ReferencedBeamSequence[1]
        del reference.BeamMeterset
        if dose is not None:
            reference.BeamDose = dose
        for keyword, value in changes.items():
            setattr(plan.BeamSequence[1], keyword, value)

    dicom_set.edit("RTPLAN", lose)


def no_longer_referenced(plan: Dataset) -> None:
    group = plan.FractionGroupSequence[0]
    group.ReferencedBeamSequence.pop()
    group.NumberOfBeams = len(group.ReferencedBeamSequence)


SLIDING_WINDOW = (control_point(0.0), control_point(1.0, leaf_positions=leaves(5.0)))
THREE_POINTS = (control_point(0.0), control_point(0.5), control_point(1.0))


@pytest.mark.parametrize("delivery", ["TREATMENT", ""])
@pytest.mark.parametrize(
    ("points", "dose", "sign"),
    [
        (None, "1.8", "has Beam Dose (300A,0084) 1.8 Gy"),
        (SLIDING_WINDOW, None, "moves its leaves (Leaf/Jaw Positions (300A,011C))"),
        (THREE_POINTS, "0", "has 3 control points"),
    ],
)
def test_a_treating_beam_whose_meterset_is_missing_is_refused(
    dicom_set: DicomSet, refusal: Refusal, *, delivery: str, points: Any, dose: str | None, sign: str
) -> None:
    second = beam(2) if points is None else beam(2, beam_type="DYNAMIC", control_points=points)
    lost_beam(dicom_set, second, dose=dose, TreatmentDeliveryType=delivery)
    message = refusal()
    assert message.startswith("Beam 2: Beam Meterset (300A,0086) is missing, but the beam " + sign)


def test_a_treating_beam_that_the_fraction_group_forgot_is_refused(dicom_set: DicomSet, refusal: Refusal) -> None:
    dicom_set.plan([beam(1), beam(2, beam_type="DYNAMIC", control_points=SLIDING_WINDOW)])
    dicom_set.edit("RTPLAN", no_longer_referenced)
    message = refusal()
    assert message.startswith("Beam 2: the fraction group does not reference it, but the beam moves its leaves")


def test_leaves_that_are_written_again_where_they_stand_do_not_move(dicom_set: DicomSet, ingested: Ingested) -> None:
    dicom_set.plan([beam(1), beam(2)], changes_only=False)
    dicom_set.edit("RTPLAN", no_longer_referenced)
    assert [read.number for read in ingested().beams] == [1]


@pytest.mark.parametrize("forget", [True, False])
def test_a_static_beam_without_meterset_is_left_out_loudly(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]], forget: bool
) -> None:
    lost_beam(dicom_set, beam(2))
    if forget:
        dicom_set.edit("RTPLAN", no_longer_referenced)
    case = ingested()
    assert [read.number for read in case.beams] == [1]
    assert codes(case) == {"treatment-beams-without-meterset"}
    (warning,) = case.warnings
    assert warning.message.startswith("NOT VERIFIED: beam 2 left out.")
    assert "Beam Meterset (300A,0086)" in warning.message


def test_a_beam_of_bare_jaws_beside_beams_with_leaves_is_taken_for_imaging(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    """As Eclipse exports setup fields: TREATMENT, two control points, neither MLC nor dose nor meterset."""
    lost_beam(dicom_set, beam(2, leaf_boundaries=None, control_points=BARE))
    assert codes(ingested()) == {"beams-without-meterset"}


@pytest.mark.parametrize("change", ["no-leaves-anywhere", "dynamic", "not-referenced"])
def test_a_beam_of_bare_jaws_that_may_treat_is_left_out_loudly(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]], change: str
) -> None:
    bare = beam(2, leaf_boundaries=None, control_points=BARE)
    lost_beam(dicom_set, bare, BeamType="DYNAMIC" if change == "dynamic" else "STATIC")
    if change == "no-leaves-anywhere":
        dicom_set.plan([beam(1, leaf_boundaries=None, control_points=BARE), bare])
        dicom_set.edit("RTPLAN", lambda plan: delattr(reference_of(plan, 1), "BeamMeterset"))
    if change == "not-referenced":
        dicom_set.edit("RTPLAN", no_longer_referenced)
    assert codes(ingested()) == {"treatment-beams-without-meterset"}


def reference_of(plan: Dataset, index: int) -> Dataset:
    return plan.FractionGroupSequence[0].ReferencedBeamSequence[index]


def test_a_treatment_beam_of_explicitly_no_meterset_is_left_out_as_before(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]]
) -> None:
    dicom_set.plan([beam(1), beam(2)])
    dicom_set.edit("RTPLAN", lambda plan: setattr(reference_of(plan, 1), "BeamMeterset", "0"))
    case = ingested()
    assert [read.number for read in case.beams] == [1]
    assert codes(case) == {"beams-without-meterset"}


@pytest.mark.parametrize("delivery", ["SETUP", "OPEN_PORTFILM", "TRMT_PORTFILM"])
def test_a_setup_beam_needs_no_meterset(
    dicom_set: DicomSet, ingested: Ingested, codes: Callable[[Case], set[str]], delivery: str
) -> None:
    lost_beam(dicom_set, beam(2, beam_type="DYNAMIC", control_points=SLIDING_WINDOW), TreatmentDeliveryType=delivery)
    assert codes(ingested()) == {"beams-without-meterset"}


@pytest.mark.parametrize("weights", [(0.0, 0.99995), (0.00005, 1.00005), (0.0, 0.4, 0.99991, 0.99991)])
def test_weights_that_ingest_accepts_are_delivered_whole(
    dicom_set: DicomSet, ingested: Ingested, weights: tuple[float, ...]
) -> None:
    dicom_set.plan([beam(1, control_points=tuple(control_point(weight) for weight in weights))])
    read = ingested().beams[0]
    delivered = timeline_of(read).meterset
    assert delivered[0] == 0.0
    assert delivered[-1] == read.meterset
