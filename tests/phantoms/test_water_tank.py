"""The water box has its faces, slabs and beams where they were asked for."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import shapely

from gatecheck.phantoms.water_tank import Slab, static_beam, write_water_phantom


def _hu_zyx(folder):
    slices = sorted(
        (pydicom.dcmread(file) for file in folder.glob("CT_*.dcm")), key=lambda s: s.ImagePositionPatient[2]
    )
    return np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]), slices


def test_box_of_water_has_its_anterior_face_at_y_0(tmp_path):
    write_water_phantom(tmp_path, (60.0, 40.0, 20.0), (4.0, 2.0, 5.0), [static_beam()])
    hu_zyx, slices = _hu_zyx(tmp_path)
    # 10 mm of air or more all round: 3, 5 and 2 voxels.
    assert hu_zyx.shape == (4 + 4, 20 + 10, 15 + 6)
    assert (hu_zyx == 0).sum() == 4 * 20 * 15
    assert np.all(hu_zyx[2:-2, 5:-5, 3:-3] == 0)
    x, y, z = map(float, slices[2].ImagePositionPatient)
    # The first water voxel's centre is half a voxel below the anterior face and inside the other faces.
    assert (x + 3 * 4.0, y + 5 * 2.0, z) == pytest.approx((-30 + 2, 1.0, -10 + 2.5))


def test_slabs_lie_at_their_depths(tmp_path):
    write_water_phantom(
        tmp_path, (20.0, 100.0, 20.0), (5.0, 5.0, 5.0), [static_beam()], slabs=[Slab(30, 50, 1000), Slab(50, 60, -700)]
    )
    hu_zyx, _ = _hu_zyx(tmp_path)
    along_depth = hu_zyx[4, 2:-2, 4]
    np.testing.assert_array_equal(along_depth, [0] * 6 + [1000] * 4 + [-700] * 2 + [0] * 8)


def test_body_contour_encloses_the_box(tmp_path):
    write_water_phantom(tmp_path, (60.0, 40.0, 20.0), (2.0, 2.0, 2.0), [static_beam()])
    contours = pydicom.dcmread(tmp_path / "RTSTRUCT.dcm").ROIContourSequence[0].ContourSequence
    points = [np.array(c.ContourData, dtype=float).reshape(-1, 3) for c in contours]
    assert sum(shapely.Polygon(p[:, :2]).area * 2.0 for p in points) == pytest.approx(60 * 40 * 20)


def test_beam_keeps_its_geometry(tmp_path):
    beam = static_beam(
        number=3,
        jaw_x=(-20, 30),
        jaw_y=(-40, 50),
        gantry=270,
        collimator=45,
        couch=15,
        isocentre=(1, 2, 3),
        meterset=42,
    )
    write_water_phantom(tmp_path, (20.0, 20.0, 20.0), (5.0, 5.0, 5.0), [beam], fractions=4)
    plan = pydicom.dcmread(tmp_path / "RTPLAN.dcm")
    first = plan.BeamSequence[0].ControlPointSequence[0]
    assert (first.GantryAngle, first.BeamLimitingDeviceAngle, first.PatientSupportAngle) == (270, 45, 15)
    assert list(first.IsocenterPosition) == [1, 2, 3]
    jaws = {d.RTBeamLimitingDeviceType: list(d.LeafJawPositions) for d in first.BeamLimitingDevicePositionSequence}
    assert jaws == {"ASYMX": [-20, 30], "ASYMY": [-40, 50]}
    assert plan.FractionGroupSequence[0].ReferencedBeamSequence[0].BeamMeterset == 42
    assert plan.FractionGroupSequence[0].NumberOfFractionsPlanned == 4


@pytest.mark.parametrize(("size", "slabs"), [((61.0, 40.0, 20.0), []), ((60.0, 40.0, 20.0), [Slab(3, 10, 1000)])])
def test_face_between_voxels_is_refused(tmp_path, size, slabs):
    with pytest.raises(ValueError, match="not a whole number"):
        write_water_phantom(tmp_path, size, (4.0, 4.0, 4.0), [static_beam()], slabs=slabs)
