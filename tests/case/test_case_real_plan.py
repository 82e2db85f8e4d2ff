"""The public esophagus plan: several broken links and odd attributes, that must pass with warnings."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import config, dcmread

from gatecheck.case.ingest import ingest, read_mask
from gatecheck.case.model import Case
from gatecheck.files import array_zyx, read_image

HD120_BOUNDARIES = (*range(-110, -40, 5), *np.arange(-40, 40, 2.5), *range(40, 111, 5))


@pytest.fixture(scope="module")
def source(shared_folder: Callable[[str], Path]) -> Path:
    return shared_folder("data/esophagus_stx_imrt")


@pytest.fixture(scope="module")
def real(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path, float]:
    out = tmp_path_factory.mktemp("real") / "case"
    begin = time.perf_counter()
    case = ingest(source, out)
    return case, out, time.perf_counter() - begin


def test_it_is_read_in_under_a_minute(real: tuple[Case, Path, float]) -> None:
    assert real[2] < 60


def test_it_passes_with_a_warning_for_each_oddity(real: tuple[Case, Path, float]) -> None:
    assert {warning.code for warning in real[0].warnings} == {
        "beams-without-meterset",
        "fluence-compensators-not-used",
        "rtstruct-not-the-one-of-the-plan",
        "rtstruct-names-no-series",
        "no-tps-dose",
    }


def test_its_beams_are_those_that_treat(real: tuple[Case, Path, float]) -> None:
    case = real[0]
    assert [beam.number for beam in case.beams] == [1, 2, 3, 4, 5, 6, 7]
    assert {beam.technique for beam in case.beams} == {"sliding-window"}
    assert {len(beam.control_points) for beam in case.beams} == {166}
    assert {beam.nominal_energy_mv for beam in case.beams} == {6.0}
    assert {beam.leaf_boundaries for beam in case.beams} == {tuple(float(y) for y in HD120_BOUNDARIES)}
    assert case.beams[0].control_points[100].collimator_angle == 90.0
    assert sum(beam.meterset for beam in case.beams) == pytest.approx(1105.5608, abs=1e-3)
    assert case.fractions == 23
    assert case.target_prescription_gy == 41.4
    assert case.patient_position == "HFS"


def test_its_control_points_are_those_of_the_file(real: tuple[Case, Path, float], source: Path) -> None:
    with config.disable_value_validation():
        plan = dcmread(source / "RTPLAN.dcm")
        by_number = {int(item.BeamNumber): item for item in plan.BeamSequence}
        for beam in real[0].beams:
            sequence = by_number[beam.number].ControlPointSequence
            for point, item in zip(beam.control_points, sequence, strict=True):
                devices = {
                    device.RTBeamLimitingDeviceType: [float(value) for value in device.LeafJawPositions]
                    for device in item.BeamLimitingDevicePositionSequence
                }
                assert point.leaf_positions is not None
                assert [*point.leaf_positions[0], *point.leaf_positions[1]] == devices["MLCX"]
                assert list(point.jaw_x) == devices.get("ASYMX", list(point.jaw_x))
                assert point.cumulative_meterset_weight == float(item.CumulativeMetersetWeight)


def test_its_ct_is_that_of_the_files(real: tuple[Case, Path, float], source: Path) -> None:
    case, out, _ = real
    values = array_zyx(read_image(out / case.ct.file))
    assert values.shape == (105, 512, 512)
    with config.disable_value_validation():
        for name, index in (("CT_001", 104), ("CT_040", 65), ("CT_105", 0)):
            dataset = dcmread(source / "CT" / f"{name}.dcm")
            assert float(dataset.ImagePositionPatient[2]) == case.ct.origin[2] + index * case.ct.spacing[2]
            np.testing.assert_array_equal(values[index], dataset.pixel_array.astype(int) - 1024)


def test_its_structures_have_the_volumes_of_their_polygons(real: tuple[Case, Path, float], source: Path) -> None:
    """Second implementation: polygon areas by shapely, each contour one slice of 4 mm thick, holes by even-odd."""
    import shapely

    case, out, _ = real
    with config.disable_value_validation():
        dataset = dcmread(source / "RTSTRUCT.dcm")
        contours = {int(item.ReferencedROINumber): item.ContourSequence for item in dataset.ROIContourSequence}
        for structure in case.structures:
            by_plane: dict[float, shapely.Geometry] = {}
            for item in contours[structure.number]:
                points = np.array(item.ContourData, dtype=float).reshape(-1, 3)
                polygon = shapely.make_valid(shapely.Polygon(points[:, :2]))
                before = by_plane.get(points[0, 2], shapely.Polygon())
                by_plane[points[0, 2]] = shapely.symmetric_difference(before, polygon)
            volume = 4.0 * sum(shapely.area(area) for area in by_plane.values()) / 1000
            assert structure.volume_ml == pytest.approx(volume, rel=5e-4), structure.name
            mask = array_zyx(read_mask(out, structure))
            assert mask.min() >= 0.0
            assert mask.max() <= 1.0
