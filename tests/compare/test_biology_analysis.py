"""EQD2 of a whole case: metrics and their noise, earlier courses, overlapping structures, limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from course_case import FRAME, axis, cord_mask, steep, tumour_mask, write_course_case

from gatecheck.case.storage import read_case
from gatecheck.compare import sampling
from gatecheck.compare.biology.analysis import BIOLOGY_FILE, BiologyAnalysis
from gatecheck.compare.biology.effective_dose import equivalent_dose
from gatecheck.compare.biology.model import Biology, JudgedLimit, StructureBiology
from gatecheck.compare.biology.structures import NORMAL_CORD, configured_roles
from gatecheck.config_biology import AlphaBetaConfig, BiologyConfig, EarlierCourseConfig, EffectiveLimitConfig
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.config_setup import SetupConfig
from gatecheck.errors import InputError, UnsupportedPlanError
from gatecheck.files import array_zyx, read_image, read_json

COURSE_30_IN_10 = EarlierCourseConfig(uniform_dose=30.0, fractions=10)


@pytest.fixture(autouse=True)
def _few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "AIMED_POINTS", 10_000)


def _analysed(folder: Path, field: Any = steep, settings: BiologyConfig | None = None, **made: Any) -> Biology:
    case = write_course_case(folder, field, **made)
    analysis = BiologyAnalysis(
        **case.folders,
        settings=settings or BiologyConfig(),
        roles=configured_roles(read_case(folder / "case").structures, SetupConfig(), ComparisonConfig()),
        calibration_relative_sigma=0.0,
    )
    return analysis.finish(folder / "compare", case.noise())


def _structure(result: Biology, name: str) -> StructureBiology:
    (found,) = [one for one in result.structures if one.name == name]
    return found


def _map(folder: Path, name: str) -> np.ndarray:
    return array_zyx(read_image(folder / "compare" / f"{name}.mha")).astype(float)


def test_a_flat_dose_has_its_equivalent_in_every_metric_and_map(tmp_path: Path) -> None:
    """39 Gy in 13: 48.75 Gy in the cord (alpha/beta 2), 42.25 Gy in the tumour (10), 46.8 Gy elsewhere (3)."""
    result = _analysed(tmp_path, lambda x, y, z: 39.0 + 0 * (x + y + z))
    for name, expected in (("SpinalCord", 48.75), (NORMAL_CORD, 48.75), ("GTV", 42.25)):
        metrics = _structure(result, name).this_course
        assert metrics is not None
        for metric in (metrics.mean_gy, metrics.max_gy, metrics.d0_03cc_gy, metrics.d0_01cc_gy):
            assert metric is not None
            assert metric.value == pytest.approx(expected, abs=1e-3)
    equivalent = _map(tmp_path, "eqd2")
    middle = len(axis()) // 2
    assert equivalent[0, 0, 0] == pytest.approx(46.8, abs=1e-3)
    # The tumour lies in the cord, which is listed: its value stands.
    assert equivalent[middle, middle, middle] == pytest.approx(48.75, abs=1e-3)
    assert _map(tmp_path, "bed")[middle, middle, middle] == pytest.approx(97.5, abs=1e-3)
    assert not (tmp_path / "compare" / "eqd2_all_courses.mha").exists()
    assert read_json(tmp_path / "compare" / BIOLOGY_FILE, Biology) == result


def test_a_cord_by_another_name_has_the_alpha_beta_and_the_limits_of_the_cord(tmp_path: Path) -> None:
    """39 Gy in 13 is 48.75 Gy at the cord's alpha/beta of 2 Gy; 46.8 Gy at the 3 Gy of all else."""
    structures = (("Myelon", "ORGAN", cord_mask()), ("GTV", "GTV", tumour_mask()))
    result = _analysed(tmp_path, lambda x, y, z: 39.0 + 0 * (x + y + z), structures=structures)
    for name in ("Myelon", NORMAL_CORD):
        assert _structure(result, name).alpha_beta == 2.0
    middle = len(axis()) // 2
    assert _map(tmp_path, "eqd2")[middle + 8, middle, middle] == pytest.approx(48.75, abs=1e-3)
    assert [(one.structure, one.limit_gy, one.verdict) for one in result.limits] == [
        ("Myelon", 54.0, "pass"),
        ("Myelon", 70.0, "pass"),
        ("Myelon", 67.75, "pass"),
    ]
    assert result.warnings == ()


def test_a_cord_without_a_limit_and_a_tumour_that_is_not_found_are_said(tmp_path: Path) -> None:
    result = _analysed(tmp_path, settings=BiologyConfig(limits=()), structures=(("Cord", "ORGAN", cord_mask()),))
    assert result.warnings[0].startswith("Cord: no limit of EQD2")
    assert "nothing is said of a tumour" in result.warnings[1]


def test_the_structure_listed_first_has_the_voxels_that_both_hold(tmp_path: Path) -> None:
    entries = (
        AlphaBetaConfig(structures=("gtv",), value=6.0, reference="site"),
        AlphaBetaConfig(structures=("Spinal cord",), value=2.0),
    )
    result = _analysed(tmp_path, settings=BiologyConfig(alpha_beta=entries))
    values = _map(tmp_path, "alpha_beta")
    middle = len(axis()) // 2
    assert values[middle, middle, middle] == 6.0
    assert values[middle + 8, middle, middle] == 2.0
    assert values[0, 0, 0] == 3.0
    assert _structure(result, "GTV").alpha_beta_source == "site"


def test_maps_of_sigma_are_those_of_the_formula(tmp_path: Path) -> None:
    _analysed(tmp_path, relative_noise=0.02)
    dose, sigma = (
        array_zyx(read_image(tmp_path / "dose" / f"mc_{name}.mha")).astype(float) for name in ("dose", "sigma")
    )
    ratio = _map(tmp_path, "alpha_beta")
    assert _map(tmp_path, "eqd2_sigma") == pytest.approx((2 * dose / 13 + ratio) / (2 + ratio) * sigma, rel=1e-5)
    assert _map(tmp_path, "bed_sigma") == pytest.approx((1 + 2 * dose / 13 / ratio) * sigma, rel=1e-5)


def test_metrics_have_the_sigma_of_repeated_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 % of noise, 25 times: values differ from the noise-free one by their sigma; a spread of 25 is known to 14 %."""
    monkeypatch.setattr(sampling, "AIMED_POINTS", 2000)
    only = (("GTV", "GTV", tumour_mask()),)
    clean = _analysed(tmp_path / "clean", structures=only)
    found: dict[str, list[tuple[float, float]]] = {"mean_gy": [], "d0_03cc_gy": []}
    for seed in range(25):
        noisy = _analysed(tmp_path / str(seed), relative_noise=0.01, seed=seed + 100, structures=only)
        metrics = _structure(noisy, "GTV").this_course
        for name, values in found.items():
            metric = getattr(metrics, name)
            values.append((metric.value, metric.sigma))
    for name, pairs in found.items():
        values, sigmas = np.array(pairs).T
        expected = getattr(_structure(clean, "GTV").this_course, name).value
        stated = np.sqrt(np.mean(sigmas**2))
        assert values.std(ddof=1) == pytest.approx(stated, rel=4 * 0.14)
        assert values.mean() == pytest.approx(expected, abs=4 * stated / 5)


def test_an_earlier_uniform_course_adds_its_equivalent(tmp_path: Path) -> None:
    """30 Gy in 10 is 37.5 Gy at alpha/beta 2 Gy; half of it is left with a recovery of a half."""
    whole = _analysed(tmp_path / "whole", settings=BiologyConfig(earlier_courses=(COURSE_30_IN_10,)))
    half_recovered = COURSE_30_IN_10.model_copy(update={"recovery": 0.5})
    half = _analysed(tmp_path / "half", settings=BiologyConfig(earlier_courses=(half_recovered,)))
    for result, added in ((whole, 37.5), (half, 18.75)):
        cord = _structure(result, "SpinalCord")
        assert cord.earlier_covered_fraction == 1.0
        for name in ("mean_gy", "max_gy", "d0_03cc_gy"):
            this, all_of_it = getattr(cord.this_course, name), getattr(cord.all_courses, name)
            assert all_of_it.value - this.value == pytest.approx(added, abs=1e-6)
            assert all_of_it.sigma == pytest.approx(this.sigma, abs=1e-9)
    middle = len(axis()) // 2
    added = _map(tmp_path / "whole", "eqd2_all_courses") - _map(tmp_path / "whole", "eqd2")
    assert added[middle, middle, middle] == pytest.approx(37.5, abs=1e-4)
    # 30 Gy in 10 at alpha/beta 2 Gy: 30 (1 + 3 / 2) Gy.
    added = _map(tmp_path / "whole", "bed_all_courses") - _map(tmp_path / "whole", "bed")
    assert added[middle, middle, middle] == pytest.approx(75.0, abs=1e-4)
    assert "everywhere" in whole.warnings[0]


def _earlier_image(lower_z: float = -40.0) -> sitk.Image:
    """Earlier dose on a grid of its own: 20 Gy + 0.2 Gy/mm along z, from `lower_z` on."""
    z = np.arange(lower_z, 40.1, 2.5)
    values = np.broadcast_to((20.0 + 0.2 * z)[:, None, None], (len(z), 33, 33))
    image = sitk.GetImageFromArray(np.ascontiguousarray(values, dtype=np.float32))
    image.SetOrigin((-40.0, -40.0, float(z[0])))
    image.SetSpacing((2.5, 2.5, 2.5))
    return image


@pytest.fixture
def earlier_rtdose(tmp_path: Path) -> Callable[..., EarlierCourseConfig]:
    """Write an RTDOSE and say it as an earlier course of 10 fractions."""

    def make(image: sitk.Image, **changes: Any) -> EarlierCourseConfig:
        from pydicom import dcmwrite
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, RTDoseStorage

        values = sitk.GetArrayFromImage(image)
        scaling = 1e-4
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = RTDoseStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "2.25.77"
        dataset.Modality, dataset.FrameOfReferenceUID = "RTDOSE", FRAME
        dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType = "GY", "PHYSICAL", "PLAN"
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = list(image.GetOrigin())
        dataset.PixelSpacing = [image.GetSpacing()[1], image.GetSpacing()[0]]
        dataset.GridFrameOffsetVector = (np.arange(len(values)) * image.GetSpacing()[2]).tolist()
        dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 32
        dataset.HighBit, dataset.PixelRepresentation = 31, 0
        dataset.DoseGridScaling = scaling
        dataset.PixelData = np.rint(values / scaling).astype("<u4").tobytes()
        for key, value in changes.items():
            setattr(dataset, key, value)
        path = tmp_path / "SMITH_earlier.dcm"
        dcmwrite(path, dataset, enforce_file_format=True)
        return EarlierCourseConfig(dose_file=path, fractions=10)

    return make


def test_an_earlier_rtdose_adds_its_equivalent_at_each_point(tmp_path: Path, earlier_rtdose: Any) -> None:
    settings = BiologyConfig(earlier_courses=(earlier_rtdose(_earlier_image()),))
    result = _analysed(tmp_path, settings=settings)
    z = axis()
    inside = np.abs(z) < 38
    expected = equivalent_dose(20.0 + 0.2 * z, 10, 3.0)
    added = (_map(tmp_path, "eqd2_all_courses") - _map(tmp_path, "eqd2"))[:, 2, 2]
    assert added[inside] == pytest.approx(expected[inside], abs=0.01)
    cord = _structure(result, "SpinalCord")
    assert cord.this_course is not None
    assert cord.all_courses is not None
    # The mean of EQD2 over the cord, 60 mm along z: that of 20 Gy and the variance of 0.2 z.
    mean = float(equivalent_dose(20.0, 10, 2.0)) + 0.04 * 30.0**2 / 3 / 10 / 4
    assert cord.all_courses.mean_gy.value - cord.this_course.mean_gy.value == pytest.approx(mean, abs=0.05)
    assert result.earlier_courses[0].maximum_gy == pytest.approx(28.0, abs=0.01)


def test_where_the_earlier_dose_is_not_known_nothing_passes(tmp_path: Path, earlier_rtdose: Any) -> None:
    """The earlier grid ends in the middle of the cord."""
    settings = BiologyConfig(earlier_courses=(earlier_rtdose(_earlier_image(lower_z=0.0)),))
    result = _analysed(tmp_path, lambda x, y, z: 10.0 + 0 * (x + y + z), settings)
    cord = _structure(result, "SpinalCord")
    assert cord.earlier_covered_fraction == pytest.approx(0.5, abs=0.05)
    assert "not known" in cord.note
    assert np.isnan(_map(tmp_path, "eqd2_all_courses")[0, 5, 5])
    verdicts = {(one.courses, one.limit_gy): one for one in result.limits}
    assert verdicts["this_course", 54.0].verdict == "pass"
    assert verdicts["all_courses", 70.0].verdict == "undecided"
    assert verdicts["all_courses", 70.0].photons_factor is None


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"FrameOfReferenceUID": "2.25.1"}, InputError, "Frame of Reference UID"),
        ({"DoseSummationType": "FRACTION"}, UnsupportedPlanError, "whole course"),
        ({"DoseUnits": "RELATIVE"}, UnsupportedPlanError, "GY"),
        ({"DoseType": "EFFECTIVE"}, UnsupportedPlanError, "PHYSICAL"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, InputError, "RTDOSE expected"),
    ],
)
def test_an_earlier_dose_that_cannot_be_added_is_refused(
    tmp_path: Path, earlier_rtdose: Any, changes: dict[str, str], error: type[Exception], message: str
) -> None:
    settings = BiologyConfig(earlier_courses=(earlier_rtdose(_earlier_image(), **changes),))
    with pytest.raises(error, match=message) as raised:
        _analysed(tmp_path, settings=settings)
    assert str(raised.value).startswith("biology.earlier_courses.0.dose_file")
    assert "SMITH" not in str(raised.value)


def test_an_earlier_dose_that_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = BiologyConfig(earlier_courses=(EarlierCourseConfig(dose_file=tmp_path / "no.dcm", fractions=10),))
    with pytest.raises(InputError, match="no such file"):
        _analysed(tmp_path, settings=settings)


@pytest.mark.parametrize("given", [{}, {"dose_file": "a.dcm", "uniform_dose": 30.0}])
def test_an_earlier_course_has_one_dose(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either dose_file or uniform_dose"):
        EarlierCourseConfig(fractions=10, **given)


def _judged(folder: Path, limit: float, **values: Any) -> JudgedLimit:
    entry = {"structures": ("cord", "SpinalCord"), "metric": "mean_gy", "alpha_beta": 2.0, "reference": "test"} | values
    settings = BiologyConfig(limits=(EffectiveLimitConfig(limit_gy=limit, **entry),))
    (judged,) = _analysed(folder, lambda x, y, z: 39.0 + 0 * (x + y + z), settings, relative_noise=0.03).limits
    return judged


def test_a_limit_is_passed_failed_or_undecided_with_the_photons_that_decide(tmp_path: Path) -> None:
    value = _judged(tmp_path / "a", 60.0).value
    assert value is not None
    assert value.interval_95 is not None
    half = (value.interval_95[1] - value.interval_95[0]) / 2
    assert _judged(tmp_path / "b", value.value + 1.05 * half).verdict == "pass"
    assert _judged(tmp_path / "c", value.value - 1.05 * half).verdict == "fail"
    near = _judged(tmp_path / "d", value.value + 0.5 * half)
    assert near.verdict == "undecided"
    assert near.photons_factor == pytest.approx(4.0)


def test_a_limit_of_another_alpha_beta_judges_nothing(tmp_path: Path) -> None:
    judged = _judged(tmp_path, 60.0, alpha_beta=3.0)
    assert judged.verdict == "undecided"
    assert "cannot be held against it" in judged.note
