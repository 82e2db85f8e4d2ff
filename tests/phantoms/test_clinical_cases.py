"""The clinical cases: plans that show the tumours from every side and can be delivered, doses as they were aimed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import shapely

from gatecheck.case.ingest import ingest
from gatecheck.case.model import ControlPoint
from gatecheck.cli.dvh import doses_of_structures
from gatecheck.config import project_folder
from gatecheck.delivery.coordinates import project_to_isocentre_plane
from gatecheck.delivery.timeline import deliver, timeline_of
from gatecheck.errors import InputError
from gatecheck.linac.load import check_beam, load_linac_model
from gatecheck.phantoms import clinical_case_1, clinical_case_2, write_phantom
from gatecheck.phantoms.clinical_case import (
    FRACTIONS,
    all_segments,
    dose_engine,
    relative_dose_rate,
    write_clinical_case,
)

# TrueBeam: 6 degrees/s, 600 MU/min with the flattened beam, leaves 25 mm/s at the isocentre plane.
GANTRY_SPEED, MU_PER_SECOND, LEAF_SPEED = 6.0, 10.0, 25.0


CASES = {module.CASE.name: module.CASE for module in (clinical_case_1, clinical_case_2)}
VOLUMES = {"clinical_case_1": 0.30, "clinical_case_2": 0.50}  # ml


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def beams(case):
    return case.beams()


@pytest.fixture(scope="module")
def written(request, tmp_path_factory):
    """A case, and the folder that `gatecheck phantom` writes it into."""
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp(case.name)
    write_phantom(case.name, folder)
    return case, folder


# The dose of a case's arcs takes a minute or two: the second one's is left to `make test-physics`.
WRITTEN = pytest.mark.parametrize(
    "written", ["clinical_case_1", pytest.param("clinical_case_2", marks=pytest.mark.physics)], indirect=True
)


def _leaves(beam):
    return np.array([point.leaf_positions for point in beam.control_points])


def _shown(point: ControlPoint, boundaries, marker_lps) -> np.ndarray:
    """Which markers the leaves leave open."""
    x, y = project_to_isocentre_plane(
        marker_lps,
        gantry=point.gantry_angle,
        collimator=point.collimator_angle,
        couch=point.couch_angle,
        isocentre=point.isocentre,
        patient_position="HFS",
    ).T
    pair = np.searchsorted(boundaries, y) - 1
    leaves = np.array(point.leaf_positions)
    return (leaves[0, pair] < x) & (x < leaves[1, pair])


def test_two_full_arcs_of_178_control_points_there_and_back(case, beams):
    first, second = (timeline_of(beam) for beam in beams)
    assert [len(beam.control_points) for beam in beams] == [178, 178]
    np.testing.assert_allclose(first.gantry[[0, -1]], (181, 539))
    np.testing.assert_allclose(second.gantry[[0, -1]], (179, -179))
    assert first.collimator[0] == 30
    assert second.collimator[0] == 330
    assert first.total_meterset + second.total_meterset == pytest.approx(case.parameters().total_meterset)


def _aperture(leaves, boundaries):
    return shapely.union_all(
        [
            shapely.box(x1, lower, x2, upper)
            for x1, x2, lower, upper in zip(*leaves, boundaries[:-1], boundaries[1:], strict=True)
            if x2 > x1
        ]
    )


def test_every_aperture_shows_the_tumour_with_its_margin_and_at_most_a_leaf_width_around_it(case, beams):
    surface, margin = case.neck.tumour_surface(), case.parameters().aperture_margin
    for beam in beams:
        for point in beam.control_points:
            seen = project_to_isocentre_plane(
                surface,
                gantry=point.gantry_angle,
                collimator=point.collimator_angle,
                couch=0.0,
                isocentre=point.isocentre,
                patient_position="HFS",
            )
            projection = shapely.MultiPoint(seen).convex_hull
            aperture = _aperture(point.leaf_positions, beam.leaf_boundaries)
            # 0.01 mm for the rounding of leaf positions
            assert aperture.buffer(0.01).covers(projection.buffer(min(margin, 0.0)))
            assert projection.buffer(margin + 2.5 + 0.01).covers(aperture)


def test_aperture_from_the_front_is_where_a_hand_says():
    # Gantry 1.01 degrees, collimator 30: the tumour's centre is 1.6 mm to the left of the isocentre, so at
    # x_g = 1.6 (gantry 1 degree changes that by 0.0003), x_b = 1.6 cos 30 = 1.386, y_b = -1.6 sin 30 = -0.8.
    beam = CASES["clinical_case_1"].beams()[0]
    point = min(beam.control_points, key=lambda p: abs(p.gantry_angle - 1.0))
    aperture = _aperture(point.leaf_positions, beam.leaf_boundaries)
    assert aperture.centroid.x == pytest.approx(1.386, abs=0.3)
    # In y the leaves' steps of 2.5 mm hide 0.8 mm; the aperture leans with the neck, to +x_b where y_b is up:
    # superior is at x_b = sin 30, y_b = cos 30.
    upper = aperture.intersection(shapely.box(-50, 2.5, 50, 50)).centroid.x
    lower = aperture.intersection(shapely.box(-50, -50, 50, -2.5)).centroid.x
    assert upper - lower > 2.0


def test_leaves_follow_the_tumour_and_would_miss_its_mirror_image(case, beams):
    mirrored = case.neck.tumour_surface() * [-1, 1, 1]
    for beam in beams:
        shown = [_shown(point, beam.leaf_boundaries, mirrored).mean() for point in beam.control_points]
        from_the_front = [s for s, p in zip(shown, beam.control_points, strict=True) if abs(p.gantry_angle) < 30]
        assert max(from_the_front) < 0.8


def test_open_pairs_are_neighbours_and_lie_inside_the_jaws(beams):
    for beam in beams:
        boundaries = np.array(beam.leaf_boundaries)
        for point, leaves in zip(beam.control_points, _leaves(beam), strict=True):
            is_open = np.flatnonzero(leaves[1] > leaves[0])
            assert np.all(np.diff(is_open) == 1)
            assert point.jaw_x[0] < leaves[0, is_open].min()
            assert leaves[1, is_open].max() < point.jaw_x[1]
            assert point.jaw_y[0] < boundaries[is_open[0]]
            assert boundaries[is_open[-1] + 1] < point.jaw_y[1]


def test_pairs_that_never_open_are_closed_behind_a_jaw(beams):
    for beam in beams:
        leaves = _leaves(beam)
        assert np.all(leaves[:, 1] >= leaves[:, 0])
        never_open = np.all(leaves[:, 1] == leaves[:, 0], axis=0)
        assert never_open.sum() > 50
        assert np.all(leaves[:, :, never_open] > beam.control_points[0].jaw_x[1] + 5)


def test_jaws_stay_close_to_the_aperture(beams):
    for beam in beams:
        point = beam.control_points[0]
        assert max(map(abs, point.jaw_x + point.jaw_y)) <= 15


def test_machine_can_deliver_the_arcs(beams):
    for beam in beams:
        timeline = timeline_of(beam)
        meterset, turn = np.diff(timeline.meterset), np.abs(np.diff(timeline.gantry))
        seconds = np.maximum(meterset / MU_PER_SECOND, turn / GANTRY_SPEED)
        way = np.abs(np.diff(timeline.leaf_positions, axis=0)).max(axis=(1, 2))
        assert np.all(way / seconds < LEAF_SPEED)
        assert np.all(meterset > 0)
        # TrueBeam delivers between 0.1 and 20 MU per degree.
        assert np.all((meterset / turn > 0.1) & (meterset / turn < 20))


def test_machine_model_of_the_stx_accepts_the_arcs(beams):
    linac = load_linac_model(project_folder() / "linac_models" / "truebeam_stx", "beam_6x")
    np.testing.assert_allclose(linac.machine.mlc.boundaries, beams[0].leaf_boundaries)
    for beam in beams:
        check_beam(linac, beam)


def test_meterset_follows_the_gantry_angle_as_the_plan_parameters_say(case, beams):
    weights = case.parameters().angle_weights
    assert np.mean(weights) == pytest.approx(1.0, abs=0.001)
    for beam in beams:
        timeline = timeline_of(beam)
        rate = np.diff(timeline.meterset) / np.abs(np.diff(timeline.gantry))
        middle = 0.5 * (timeline.gantry[:-1] + timeline.gantry[1:])
        expected = np.array([relative_dose_rate(weights, angle) for angle in middle])
        np.testing.assert_allclose(rate / rate.mean(), expected / expected.mean(), atol=0.03)


def test_dose_rate_is_linear_between_its_angles_and_round_the_circle():
    weights = (1.0, 2.0, 3.0, 2.0)
    assert relative_dose_rate(weights, 45.0) == pytest.approx(1.5)
    assert relative_dose_rate(weights, 315.0) == pytest.approx(1.5)
    assert relative_dose_rate(weights, 360.0) == pytest.approx(1.0)


@WRITTEN
def test_dicom_set_is_complete_and_says_what_the_paper_says(written):
    case, dicom_folder = written
    plan = pydicom.dcmread(dicom_folder / "RTPLAN.dcm")
    assert plan.FractionGroupSequence[0].NumberOfFractionsPlanned == 13
    assert plan.DoseReferenceSequence[0].TargetPrescriptionDose == 39
    assert [beam.NumberOfControlPoints for beam in plan.BeamSequence] == [178, 178]
    structures = pydicom.dcmread(dicom_folder / "RTSTRUCT.dcm")
    names = {roi.ROIName for roi in structures.StructureSetROISequence}
    assert {"BODY", "GTV", "SpinalCord", "SpinalCord_PRV01", "SpinalCanal"} <= names
    assert len(list(dicom_folder.glob("CT_*.dcm"))) == case.neck.size[2]
    assert sum(file.stat().st_size for file in dicom_folder.iterdir()) < 25e6


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@WRITTEN
@pytest.mark.parametrize("name", ["CT_001.dcm", "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE.dcm"])
def test_a_dicom_validator_finds_nothing_to_complain_of(written, name):
    _, dicom_folder = written
    found = subprocess.run(["dciodvfy", dicom_folder / name], capture_output=True, text=True, check=False, timeout=60)
    said = (found.stdout + found.stderr).split()
    assert len(said) == 1, said  # the name of the object's definition, nothing else
    assert said[0] in {"CTImage", "RTStructureSet", "RTPlan", "RTDose"}


@WRITTEN
def test_dose_refers_to_the_plan_and_says_what_it_is(written):
    case, dicom_folder = written
    dose, plan = (pydicom.dcmread(dicom_folder / name) for name in ("RTDOSE.dcm", "RTPLAN.dcm"))
    assert (dose.DoseUnits, dose.DoseType, dose.DoseSummationType) == ("GY", "PHYSICAL", "PLAN")
    assert dose.FrameOfReferenceUID == plan.FrameOfReferenceUID
    assert dose.StudyInstanceUID == plan.StudyInstanceUID
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    assert len(dose.GridFrameOffsetVector) == dose.NumberOfFrames
    assert max(dose.PixelSpacing) <= 1.5
    assert dose.pixel_array.max() * float(dose.DoseGridScaling) == pytest.approx(case.wanted_maximum_gy, abs=0.7)


@WRITTEN
def test_ingest_reads_the_set_back_without_a_complaint(written, tmp_path):
    case, dicom_folder = written
    ingested = ingest(dicom_folder, tmp_path)
    assert ingested.warnings == ()
    assert (ingested.patient_position, ingested.fractions, ingested.target_prescription_gy) == ("HFS", 13, 39.0)
    volumes = {structure.name: structure.volume_ml for structure in ingested.structures}
    assert volumes["GTV"] == pytest.approx(VOLUMES[case.name], rel=0.02)
    assert volumes["SpinalCord"] < volumes["SpinalCord_PRV01"] < volumes["SpinalCanal"] < volumes["BODY"]
    assert ingested.tps_dose is not None
    assert ingested.tps_dose.summation_type == "PLAN"
    read, made = deliver(ingested), [timeline_of(beam) for beam in case.beams()]
    for found, expected in zip(read.beams, made, strict=True):
        for axis in ("meterset", "gantry", "collimator", "couch", "jaw_x", "jaw_y", "leaf_positions", "isocentre"):
            np.testing.assert_allclose(getattr(found, axis), getattr(expected, axis), atol=1e-6, err_msg=axis)


def test_same_case_is_written_with_the_same_bytes(tmp_path):
    """With few control points, for the time's sake: the dose of the full plan takes a minute."""
    for folder in ("first", "again"):
        write_clinical_case(CASES["clinical_case_2"], tmp_path / folder, control_points=4)
    files = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert {"RTDOSE.dcm", "RTPLAN.dcm", "RTSTRUCT.dcm", "CT_001.dcm"} <= set(files)
    for name in files:
        first, again = (hashlib.sha256((tmp_path / folder / name).read_bytes()) for folder in ("first", "again"))
        assert first.hexdigest() == again.hexdigest(), name


@WRITTEN
def test_tumour_gets_the_wanted_coverage_and_maximum(written):
    """D95 of 37.05 Gy and the paper's maximum, as `gatecheck dvh` reads them from the files, and as the dose is."""
    case, dicom_folder = written
    found = doses_of_structures(dicom_folder / "RTDOSE.dcm", dicom_folder / "RTSTRUCT.dcm").structures["GTV"].metrics
    assert found["d95_gy"] == pytest.approx(37.05, abs=0.15)
    assert found["max_gy"] == pytest.approx(case.wanted_maximum_gy, abs=0.5)
    steps = [np.arange(-8.25, 8.3, 0.3)] * 3
    lattice = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = lattice[((lattice / case.neck.tumour_semi_axes) ** 2).sum(axis=1) <= 1] + np.array(case.neck.tumour_centre)
    dose = FRACTIONS * dose_engine(case, case.ct()).dose(all_segments(case.beams()), inside)
    assert np.percentile(dose, 5) == pytest.approx(37.05, abs=0.15)
    assert dose.max() == pytest.approx(case.wanted_maximum_gy, abs=0.5)


def test_fewer_control_points_can_be_asked_for(case):
    beams = case.beams(control_points=12)
    assert [len(beam.control_points) for beam in beams] == [12, 12]
    np.testing.assert_allclose(timeline_of(beams[1]).gantry[[0, -1]], (179, -179))


def test_unknown_phantom_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="expected one of clinical_case_1, clinical_case_2"):
        write_phantom("clinical_case_9", tmp_path)
