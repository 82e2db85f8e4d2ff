"""The real sliding-window plan of seven fields, delivered."""

from __future__ import annotations

import itertools

import numpy as np
import pydicom
import pytest

from gatecheck.case.ingest import ingest
from gatecheck.delivery.coordinates import project_to_isocentre_plane
from gatecheck.delivery.storage import read_delivery, write_delivery
from gatecheck.delivery.timeline import deliver, states_at


@pytest.fixture(scope="module")
def plan_folder(shared_folder):
    return shared_folder("data/esophagus_stx_imrt")


@pytest.fixture(scope="module")
def case(plan_folder, tmp_path_factory):
    return ingest(plan_folder, tmp_path_factory.mktemp("case"))


def test_meterset_is_that_of_the_plan_file(case, plan_folder):
    plan = pydicom.dcmread(plan_folder / "RTPLAN.dcm")
    planned = sum(float(beam.get("BeamMeterset", 0.0)) for beam in plan.FractionGroupSequence[0].ReferencedBeamSequence)
    delivery = deliver(case)
    assert len(delivery.beams) == 7
    assert delivery.total_meterset == pytest.approx(planned)


def test_leaves_stay_between_those_of_the_control_points_and_never_cross(case):
    for beam in deliver(case).beams:
        states = states_at(beam, np.linspace(0, beam.total_meterset, 500))
        assert states.leaf_positions.min() >= beam.leaf_positions.min()
        assert states.leaf_positions.max() <= beam.leaf_positions.max()
        assert np.all(states.leaf_positions[:, 0] <= states.leaf_positions[:, 1])
        np.testing.assert_array_equal(states.gantry, beam.gantry[0])


@pytest.fixture(scope="module")
def target_points(plan_folder):
    """Contour points of PTV4140 straight from the RTSTRUCT, independent of how the case room reads it."""
    structures = pydicom.dcmread(plan_folder / "RTSTRUCT.dcm")
    (number,) = (r.ROINumber for r in structures.StructureSetROISequence if r.ROIName == "PTV4140")
    (drawn,) = (c for c in structures.ROIContourSequence if c.ReferencedROINumber == number)
    return np.concatenate([np.array(c.ContourData, dtype=float).reshape(-1, 3) for c in drawn.ContourSequence])


def _share_of_pairs_that_frame_the_target(beam, target_points, *, gantry_sign=1, collimator_sign=1, position="HFS"):
    """Share of leaf pairs whose sweep ends, on both sides, between 3 mm inside and 10 mm outside of the target.

    Planners let the leaves open on the target and a few millimetres around it.
    """
    seen = project_to_isocentre_plane(
        target_points,
        gantry=gantry_sign * beam.gantry[0],
        collimator=collimator_sign * beam.collimator[0],
        couch=beam.couch[0],
        isocentre=beam.isocentre[0],
        patient_position=position,
    )
    is_open = beam.leaf_positions[:, 1] - beam.leaf_positions[:, 0] > 1.0
    framed = []
    for pair in np.flatnonzero(is_open.any(axis=0)):
        in_pair = (beam.leaf_boundaries[pair] <= seen[:, 1]) & (seen[:, 1] < beam.leaf_boundaries[pair + 1])
        if in_pair.sum() < 10:
            continue
        x = seen[in_pair, 0]
        beyond = np.array(
            [
                x.min() - beam.leaf_positions[is_open[:, pair], 0, pair].min(),
                beam.leaf_positions[is_open[:, pair], 1, pair].max() - x.max(),
            ]
        )
        framed.append(bool(np.all((beyond > -3) & (beyond < 10))))
    assert len(framed) > 30
    return np.mean(framed)


def test_leaves_of_every_field_frame_the_target(case, target_points):
    shares = [_share_of_pairs_that_frame_the_target(beam, target_points) for beam in deliver(case).beams]
    assert min(shares) > 0.55


@pytest.mark.parametrize(
    ("gantry_sign", "collimator_sign", "position"),
    [
        combination
        for combination in itertools.product((1, -1), (1, -1), ("HFS", "HFP", "FFS", "FFP"))
        if combination != (1, 1, "HFS")
    ],
)
def test_no_mirrored_machine_and_no_other_patient_position_would_do(
    case, target_points, gantry_sign, collimator_sign, position
):
    # Field 1 tells the collimator's sign (it alone has collimator 90), fields 2 to 7 the gantry's; the
    # plan was made by another program, so this is a check from outside of all conventions together.
    shares = [
        _share_of_pairs_that_frame_the_target(
            beam, target_points, gantry_sign=gantry_sign, collimator_sign=collimator_sign, position=position
        )
        for beam in deliver(case).beams
    ]
    assert min(shares) < 0.3


def test_timeline_survives_its_file(case, tmp_path):
    delivery = deliver(case)
    write_delivery(delivery, tmp_path / "timeline.parquet")
    for found, expected in zip(read_delivery(tmp_path / "timeline.parquet").beams, delivery.beams, strict=True):
        np.testing.assert_array_equal(found.leaf_positions, expected.leaf_positions)
        np.testing.assert_array_equal(found.meterset, expected.meterset)
