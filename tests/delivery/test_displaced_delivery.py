"""A patient displaced against the machine: against the same displacement said with the machine's own axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatecheck.config import project_folder
from gatecheck.delivery.coordinates import beam_limiting_device_to_patient, rotations_about_patient_axes
from gatecheck.delivery.displacement import (
    Displacement,
    carried_over,
    common_isocentre,
    displacement_of,
    patient_affines,
    patient_transform,
)
from gatecheck.delivery.model import Delivery
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.displaced import displaced
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.reference_field import reference_delivery

ISOCENTRE = (12.0, -30.0, 55.0)
SMALL = st.floats(-5.0, 5.0)
PARTICLES = np.random.default_rng(3).normal(scale=100.0, size=(50, 3))
DIRECTIONS = PARTICLES / np.linalg.norm(PARTICLES, axis=1)[:, np.newaxis]


def _from_machine(position: str = "HFS", **angles: float) -> tuple[np.ndarray, np.ndarray]:
    """Particles of the beam limiting device system in the patient."""
    axes = {"gantry": 0.0, "collimator": 0.0, "couch": 0.0} | angles
    transform = beam_limiting_device_to_patient(**axes, isocentre=ISOCENTRE, patient_position=position)
    return transform.apply(PARTICLES), transform.rotate(DIRECTIONS)


@pytest.mark.parametrize(
    ("rotation", "planned", "moved"),
    [
        # HFS: y_p points down, so a patient turned about it by +a is a couch turned clockwise seen from above: -a; the
        # machine seen from the patient then stands as with a couch angle that is smaller by a.
        ((0.0, 2.0, 0.0), {"gantry": 40.0, "collimator": 15.0, "couch": 10.0}, {"couch": 8.0}),
        # z_p is y_f: a patient turned about it by +a sees the gantry turned back by a.
        ((0.0, 0.0, 1.5), {"gantry": 40.0, "collimator": 15.0}, {"gantry": 38.5}),
        # At gantry 90 the beam comes along -x_p, and the collimator turns about x_p.
        ((1.0, 0.0, 0.0), {"gantry": 90.0, "collimator": 15.0}, {"collimator": 14.0}),
    ],
)
def test_a_turned_patient_sees_the_machine_turned_the_other_way(
    rotation: tuple[float, float, float], planned: dict[str, float], moved: dict[str, float]
) -> None:
    transform = patient_transform(Displacement((0.0, 0.0, 0.0), rotation), ISOCENTRE)
    positions, directions = carried_over(*_from_machine(**planned), transform)
    expected_positions, expected_directions = _from_machine(**(planned | moved))
    assert positions == pytest.approx(expected_positions, abs=1e-9)
    assert directions == pytest.approx(expected_directions, abs=1e-12)


def test_a_rotation_turns_all_directions_about_the_isocentre_and_leaves_it_in_place() -> None:
    rotation = (1.0, -2.0, 0.5)
    transform = patient_transform(Displacement((0.0, 0.0, 0.0), rotation), ISOCENTRE)
    assert transform.apply(ISOCENTRE) == pytest.approx(np.array(ISOCENTRE))
    positions, directions = carried_over(np.array([ISOCENTRE]) + PARTICLES, DIRECTIONS, transform)
    turned = np.linalg.inv(rotations_about_patient_axes(rotation)[0])
    assert directions == pytest.approx(DIRECTIONS @ turned.T)
    assert positions - np.array(ISOCENTRE) == pytest.approx(PARTICLES @ turned.T)


@given(x=SMALL, y=SMALL, z=SMALL)
def test_rotations_are_about_x_then_y_then_z_and_right_handed(x: float, y: float, z: float) -> None:
    about_x, about_y, about_z = (rotations_about_patient_axes(np.diag((x, y, z))[n])[0] for n in range(3))
    assert rotations_about_patient_axes((x, y, z))[0] == pytest.approx(about_z @ about_y @ about_x, abs=1e-12)
    assert (about_x @ (0, 1, 0))[2] == pytest.approx(np.sin(np.radians(x)))
    assert (about_y @ (0, 0, 1))[0] == pytest.approx(np.sin(np.radians(y)))
    assert (about_z @ (1, 0, 0))[1] == pytest.approx(np.sin(np.radians(z)))


@given(six=st.tuples(SMALL, SMALL, SMALL, SMALL, SMALL, SMALL))
def test_a_displacement_keeps_distances_and_is_undone_by_its_inverse(six: tuple[float, ...]) -> None:
    transform = patient_transform(displacement_of(six), ISOCENTRE)
    there = transform.apply(PARTICLES)
    distances = np.linalg.norm(there - transform.apply(ISOCENTRE), axis=1)
    assert distances == pytest.approx(np.linalg.norm(PARTICLES - np.array(ISOCENTRE), axis=1))
    assert transform.inverse().apply(there) == pytest.approx(PARTICLES, abs=1e-9)
    assert transform.apply(ISOCENTRE) - np.array(ISOCENTRE) == pytest.approx(six[:3], abs=1e-9)


def test_many_displacements_at_once_are_each_alone() -> None:
    six = np.random.default_rng(4).normal(size=(7, 6))
    for row, affine in zip(six, patient_affines(six, ISOCENTRE), strict=True):
        transform = patient_transform(displacement_of(row), ISOCENTRE)
        assert affine[:, :3] == pytest.approx(transform.rotation)
        assert affine[:, 3] == pytest.approx(transform.translation)


def _moved(delivery: Delivery, **change: np.ndarray) -> Delivery:
    beams = [
        replace(beam, **{key: getattr(beam, key) + value for key, value in change.items()}) for beam in delivery.beams
    ]
    return replace(delivery, beams=tuple(beams))


def test_phase_space_of_a_shifted_patient_is_that_of_the_isocentre_moved_the_other_way() -> None:
    linac = load_linac_model(project_folder() / "linac_models" / "truebeam_stx", "beam_6x")
    delivery, shift = reference_delivery(linac), (1.0, -2.0, 3.0)
    found = displaced(
        sample_phase_space(delivery, linac, 2000, 5),
        patient_transform(Displacement(shift, (0.0, 0.0, 0.0)), (0.0, 0.0, 0.0)),
    )
    expected = sample_phase_space(_moved(delivery, isocentre=-np.array(shift)), linac, 2000, 5)
    assert len(found) > 500
    assert found.position == pytest.approx(expected.position, abs=1e-9)
    assert np.array_equal(found.direction, expected.direction)
    assert np.array_equal(found.weight, expected.weight)
    assert np.array_equal(found.energy, expected.energy)


def test_phase_space_of_a_turned_patient_is_that_of_the_gantry_turned_back() -> None:
    linac = load_linac_model(project_folder() / "linac_models" / "truebeam_stx", "beam_6x")
    delivery = reference_delivery(linac)
    found = displaced(
        sample_phase_space(delivery, linac, 2000, 5),
        patient_transform(Displacement((0.0, 0.0, 0.0), (0.0, 0.0, 2.0)), (0.0, 0.0, 0.0)),
    )
    expected = sample_phase_space(_moved(delivery, gantry=np.array(-2.0)), linac, 2000, 5)
    assert found.position == pytest.approx(expected.position, abs=1e-9)
    assert found.direction == pytest.approx(expected.direction, abs=1e-12)


def test_several_isocentres_have_no_common_one() -> None:
    assert common_isocentre([ISOCENTRE, ISOCENTRE]) == ISOCENTRE
    assert common_isocentre([ISOCENTRE, (12.0, -30.0, 60.0)]) is None
