"""Lines through a dose: the values of the dose, at the right place, and nothing beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.compare.profiles import along, point_of_planes
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.files import image_from_zyx

SPACING = (2.0, 3.0, 4.0)
ORIGIN = (-20.0, -30.0, -40.0)


def _linear() -> np.ndarray:
    """x + 10 y + 100 z, which trilinear interpolation leaves as it is."""
    x, y, z = (o + s * np.arange(21) for o, s in zip(ORIGIN, SPACING, strict=True))
    return x[None, None, :] + 10 * y[None, :, None] + 100 * z[:, None, None]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_line_holds_the_dose_at_its_places(axis: int) -> None:
    image = image_from_zyx(_linear(), origin=ORIGIN, spacing=SPACING)
    point = (1.3, -2.4, 5.1)
    positions = np.linspace(-15.0, 15.0, 7)
    expected = [sum(f * (p if a == axis else point[a]) for a, f in enumerate((1, 10, 100))) for p in positions]
    np.testing.assert_allclose(along(image, axis, point, positions), expected, rtol=1e-6)


def test_beyond_the_voxels_there_is_no_dose() -> None:
    image = image_from_zyx(_linear(), origin=ORIGIN, spacing=SPACING)
    values = along(image, 0, (0.0, 0.0, 0.0), np.array([-24.0, -20.0, 20.0, 24.0])[[0, 3]])
    assert np.isnan(values).all()
    outside = along(image, 0, (0.0, 32.0, 0.0), np.array([0.0, 2.0]))
    assert np.isnan(outside).all()


def _delivery(*isocentres: tuple[float, float, float]) -> Delivery:
    two = np.zeros(2)
    beams = tuple(
        BeamTimeline(
            number=number,
            name=str(number),
            nominal_energy_mv=6,
            fluence_mode="STANDARD",
            meterset=np.array([0.0, 100.0]),
            gantry=two,
            collimator=two,
            couch=two,
            jaw_x=np.array([(-50.0, 50.0)] * 2),
            jaw_y=np.array([(-50.0, 50.0)] * 2),
            leaf_positions=None,
            leaf_boundaries=None,
            isocentre=np.array([point] * 2),
        )
        for number, point in enumerate(isocentres, start=1)
    )
    return Delivery(beams=beams, patient_position="HFS", fractions=1, made_from_sha256="0" * 64)


CT = VoxelGrid((100, 100, 50), (2.0, 2.0, 3.0), (-99.0, -99.0, -73.5))
DOSE = VoxelGrid((10, 10, 10), (4.0, 4.0, 4.0), (2.0, 2.0, 2.0))


def test_the_point_is_the_isocentre_without_a_note() -> None:
    assert point_of_planes(_delivery((1.0, 2.0, 3.0)), CT, DOSE) == ((1.0, 2.0, 3.0), ())


def test_of_several_isocentres_it_is_the_first_beams_and_a_note_says_so() -> None:
    point, notes = point_of_planes(_delivery((1.0, 2.0, 3.0), (40.0, 2.0, 3.0)), CT, DOSE)
    assert point == (1.0, 2.0, 3.0)
    assert notes == ("The plan has 2 isocentres. These planes pass through that of beam 1.",)


def test_outside_of_the_ct_it_is_the_middle_of_the_dose() -> None:
    point, notes = point_of_planes(_delivery((500.0, 2.0, 3.0)), CT, DOSE)
    assert point == (20.0, 20.0, 20.0)
    assert "outside the CT" in notes[0]
