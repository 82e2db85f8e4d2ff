"""Setup robustness of a whole case: bands against a noise-free dose, noise that is not taken for setup errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from course_case import steep, write_course_case

from gatecheck.case.storage import read_case
from gatecheck.compare.biology.structures import roles_of
from gatecheck.compare.setup_errors import followed
from gatecheck.compare.setup_errors.dose_limits import interval_of
from gatecheck.compare.setup_errors.model import MetricRobustness, SetupRobustness
from gatecheck.compare.setup_errors.robustness import SETUP_FILE, analyse_setup
from gatecheck.compare.setup_errors.spread import PERCENTILES, SampledMetric, spread_of
from gatecheck.config_biology import BiologyConfig, EarlierCourseConfig, EffectiveLimitConfig
from gatecheck.config_setup import SetupConfig, SetupLimitConfig
from gatecheck.errors import ResultError
from gatecheck.files import read_json

QUICK = {"courses": 200}


@pytest.fixture(autouse=True)
def _few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the points, so that these tests take less time."""
    monkeypatch.setattr(followed, "HOTTEST_POINTS", 1000)
    monkeypatch.setattr(followed, "OTHER_POINTS", 1000)


def _analysed(folder: Path, field: Any = steep, *, settings: SetupConfig | None = None, **made: Any) -> SetupRobustness:
    case = write_course_case(folder, field, **made)
    return analyse_setup(
        **case.folders,
        out_folder=folder / "compare",
        settings=settings or SetupConfig(**QUICK),
        biology=BiologyConfig(),
        roles=roles_of(read_case(folder / "case").structures),
        leave_one_out=case.left_out(),
    )


def _metric(result: SetupRobustness, structure: str, metric: str) -> MetricRobustness:
    (found,) = [one for one in result.structures if one.name == structure]
    (value,) = [one for one in found.metrics if one.metric == metric]
    return value


def test_noise_does_not_change_the_bands_and_makes_their_sigma(tmp_path: Path) -> None:
    """3 % of noise in the merged dose; each percentile lies within 4 of its own sigma of the noise-free one."""
    clean = _analysed(tmp_path / "clean")
    noisy = _analysed(tmp_path / "noisy", relative_noise=0.03)
    for structure, metric in [
        ("SpinalCord", "d0_03cc_gy"),
        ("normal cord", "d0_03cc_gy"),
        ("GTV", "d95_gy"),
        ("GTV", "mean_gy"),
    ]:
        expected, found = _metric(clean, structure, metric), _metric(noisy, structure, metric)
        assert expected.spread_of_noise == pytest.approx(0.0, abs=1e-6)
        assert found.nominal.sigma is not None
        assert found.nominal.sigma > 0.02
        assert found.nominal.value == pytest.approx(expected.nominal.value, abs=4 * found.nominal.sigma)
        for one, other in zip(found.bands, expected.bands, strict=True):
            assert 0 < one.noise_sigma < 1.0
            assert one.value == pytest.approx(other.value, abs=4 * one.noise_sigma)
        assert found.spread == pytest.approx(expected.spread, rel=0.35)


def test_noise_alone_is_not_taken_for_setup_errors(tmp_path: Path) -> None:
    """A dose without gradient: what spreads the courses is noise alone, of which next to nothing is left."""
    flat = _analysed(tmp_path, lambda x, y, z: 40.0 + 0 * (x + y + z), relative_noise=0.03)
    for structure, metric in [("SpinalCord", "d0_03cc_gy"), ("GTV", "d95_gy"), ("GTV", "mean_gy")]:
        found = _metric(flat, structure, metric)
        # Of the noise of a voxel, 1.2 Gy, less than a tenth is left.
        assert found.spread < 0.12
    assert _metric(flat, "GTV", "d95_gy").spread_of_noise > 0.03
    mean = _metric(flat, "GTV", "mean_gy")
    assert mean.spread < 0.5 * mean.spread_of_noise
    assert mean.is_noise_dominated


def test_files_and_notes(tmp_path: Path) -> None:
    result = _analysed(tmp_path, settings=SetupConfig(**QUICK, structures=("GTV", "no such")))
    assert read_json(tmp_path / "compare" / SETUP_FILE, SetupRobustness) == result
    assert [one.name for one in result.structures] == ["SpinalCord", "GTV", "normal cord"]
    assert "no such" in " ".join(result.notes)
    assert result.structures[1].volume_ml == pytest.approx(0.3, abs=0.01)
    rest = result.structures[0].volume_ml - result.structures[1].volume_ml
    assert result.structures[2].volume_ml == pytest.approx(rest, rel=1e-4)


def test_a_uniform_shift_of_a_linear_dose_is_known_by_formula(tmp_path: Path) -> None:
    """Mean dose follows the mean place: deviation = slope sqrt(systematic^2 + random^2 / fractions), to 4 sigma."""
    settings = SetupConfig(
        courses=400,
        systematic_translation=(1.0, 0.0, 0.0),
        random_translation=(2.0, 0.0, 0.0),
        intrafraction_translation=(0.0, 0.0, 0.0),
        systematic_rotation=(0.0, 0.0, 0.0),
        random_rotation=(0.0, 0.0, 0.0),
    )
    result = _analysed(tmp_path, lambda x, y, z: 40.0 + 0.8 * x + 0 * (y + z), settings=settings)
    found = _metric(result, "GTV", "mean_gy")
    expected = 0.8 * np.sqrt(1.0 + 4.0 / 13)
    assert found.spread == pytest.approx(expected, rel=4 / np.sqrt(2 * 400))
    assert found.nominal.value == pytest.approx(40.0, abs=0.01)
    assert found.bands[2].value == pytest.approx(40.0, abs=4 * expected * 1.25 / np.sqrt(400))
    assert found.bands[4].value - found.bands[2].value == pytest.approx(1.645 * expected, rel=0.25)
    worst = found.worst[0]
    assert worst.mean_displacement[0] == pytest.approx((worst.value - 40.0) / 0.8, abs=0.02)
    assert worst.value > found.bands[4].value
    assert worst.mean_displacement[1:] == (0.0,) * 5


def test_a_turned_cord_moves_by_the_angle_times_the_distance(tmp_path: Path) -> None:
    """About x, 1 degree, with the isocentre 100 mm away along z: the mean place moves along y."""
    settings = SetupConfig(
        courses=400,
        systematic_translation=(0.0, 0.0, 0.0),
        random_translation=(0.0, 0.0, 0.0),
        intrafraction_translation=(0.0, 0.0, 0.0),
        systematic_rotation=(1.0, 0.0, 0.0),
        random_rotation=(0.0, 0.0, 0.0),
    )
    result = _analysed(
        tmp_path, lambda x, y, z: 40.0 + 0.8 * y + 0 * (x + z), settings=settings, isocentres=((0.0, 0.0, -100.0),)
    )
    expected = 0.8 * 100 * np.radians(1.0)
    assert _metric(result, "GTV", "mean_gy").spread == pytest.approx(expected, rel=4 / np.sqrt(2 * 400))
    # A positive turn about x takes what lies to the head (+z) to the front (-y).
    worst = _metric(result, "GTV", "mean_gy").worst[0]
    assert worst.mean_displacement[3] < -2


def test_limits_of_the_cord_and_the_coverage_have_a_probability(tmp_path: Path) -> None:
    own = SetupLimitConfig(structure="spinal_cord", limit_gy=30.0, reference="site")
    result = _analysed(tmp_path, settings=SetupConfig(**QUICK, limits=(own,)))
    cord = _metric(result, "SpinalCord", "d0_03cc_gy")
    # D = 13 / 2 (sqrt(4 + 16 L / 13) - 2) for 54, 70 and 67.75 Gy of EQD2 at alpha/beta 2 Gy.
    assert [one.limit_gy for one in cord.exceedances] == pytest.approx([30.0, 41.56, 48.72, 47.76], abs=0.01)
    assert [one.probability for one in cord.exceedances] == [1.0, 0.0, 0.0, 0.0]
    assert cord.exceedances[2].upper == pytest.approx(0.018, abs=0.001)
    coverage = _metric(result, "GTV", "d95_gy").exceedances[0]
    assert coverage.is_least
    assert coverage.limit_gy == pytest.approx(37.05)
    assert coverage.lower <= coverage.probability <= coverage.upper


def test_an_earlier_uniform_course_lowers_the_limits_of_all_courses(tmp_path: Path) -> None:
    case = write_course_case(tmp_path, steep)
    of_mean = EffectiveLimitConfig(
        structures=("SpinalCord",), metric="mean_gy", limit_gy=20.0, alpha_beta=2.0, reference="site"
    )
    result = analyse_setup(
        **case.folders,
        out_folder=tmp_path / "compare",
        settings=SetupConfig(**QUICK),
        biology=BiologyConfig(
            earlier_courses=(EarlierCourseConfig(uniform_dose=30.0, fractions=10),),
            limits=(*BiologyConfig().limits, of_mean),
        ),
        roles=roles_of(read_case(tmp_path / "case").structures),
        leave_one_out=case.left_out(),
    )
    limits = _metric(result, "normal cord", "d0_03cc_gy").exceedances
    # 70 - 37.5 = 32.5 Gy of EQD2 left.
    assert limits[1].limit_gy == pytest.approx(30.12, abs=0.01)
    assert len(limits) == 3
    assert [note for note in result.notes if "mean_gy" in note] == list(result.notes)
    assert len(result.notes) == 1


def test_several_isocentres_and_missing_structures_are_said(tmp_path: Path) -> None:
    several = _analysed(tmp_path / "several", isocentres=((0.0, 0.0, 0.0), (0.0, 0.0, 20.0)))
    assert several.structures == ()
    assert several.isocentre is None
    assert "several isocentres" in " ".join(several.notes)
    nothing = _analysed(tmp_path / "nothing", structures=(("Brain", "ORGAN", None),))
    assert nothing.structures == ()
    assert "nothing is said of the cord" in " ".join(nothing.notes)


def test_one_batch_is_refused(tmp_path: Path) -> None:
    case = write_course_case(tmp_path, steep)
    with pytest.raises(ResultError, match="expected at least 2"):
        analyse_setup(
            **case.folders,
            out_folder=tmp_path / "compare",
            settings=SetupConfig(**QUICK),
            biology=BiologyConfig(),
            roles=roles_of(read_case(tmp_path / "case").structures),
            leave_one_out=list(case.left_out())[:1],
        )
    assert not (tmp_path / "compare" / SETUP_FILE).exists()


def test_sampling_error_is_that_of_repeated_samples() -> None:
    """Percentiles of 500 normal courses, 2000 times: the stated error agrees within 10 % in the mean."""
    generator = np.random.default_rng(9)
    percentiles, errors = [], []
    for _ in range(2000):
        courses = generator.normal(size=500)
        zero = np.zeros((2, 60, 2))
        zero[:] = courses[:60, np.newaxis]
        spread = spread_of(SampledMetric(0.0, np.zeros((2, 2)), courses, zero))
        percentiles.append([band.value for band in spread.bands])
        errors.append([band.sampling_error for band in spread.bands])
    assert np.mean(errors, axis=0) == pytest.approx(np.std(percentiles, axis=0), rel=0.1)
    assert len(PERCENTILES) == 5


def test_interval_of_a_probability_is_that_of_clopper_and_pearson() -> None:
    """Tabulated: 0 of 10 and 1 of 10."""
    assert interval_of(0, 10) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert interval_of(1, 10) == pytest.approx((0.0025, 0.4450), abs=1e-4)
    assert interval_of(10, 10) == pytest.approx((0.6915, 1.0), abs=1e-4)
