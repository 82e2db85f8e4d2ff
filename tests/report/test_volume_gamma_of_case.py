"""Gamma of the whole dose of a case on disc, from the batches to its files and the report of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from made_results import MadeResults, Wanted, make_results

from gatecheck.case.model import Case
from gatecheck.compare.volume_gamma.analysis import VolumeGammaAnalysis
from gatecheck.compare.volume_gamma.model import UNREACHED, VolumeGamma
from gatecheck.config_comparison import ComparisonConfig, GammaCriterionConfig
from gatecheck.errors import ResultError
from gatecheck.files import array_zyx, image_from_zyx, read_image, read_json, sha256_of_file, write_image, write_json

BATCHES = 10
SETTINGS = ComparisonConfig(gamma=(GammaCriterionConfig(dose_percent=3, distance=2),))


@dataclass(frozen=True)
class _Compared:
    made: MadeResults
    gamma: VolumeGamma
    batches: list[np.ndarray]


def _analysis(made: MadeResults, settings: ComparisonConfig = SETTINGS) -> VolumeGammaAnalysis:
    layout = made.layout
    return VolumeGammaAnalysis(
        case_folder=layout.case, patient_folder=layout.patient, dose_folder=layout.dose, settings=settings
    )


def _rest_of_batches(made: MadeResults) -> list[np.ndarray]:
    """The dose without each of ten batches, whose spread is that of mc_sigma and whose mean is mc_dose."""
    dose, sigma = (array_zyx(read_image(made.layout.dose / f"mc_{name}.mha")) for name in ("dose", "sigma"))
    noise = np.random.default_rng(7).normal(size=(BATCHES, *dose.shape)) * sigma * np.sqrt(BATCHES)
    noise -= noise.mean(axis=0)
    return [dose - one / (BATCHES - 1) for one in noise]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> _Compared:
    """The TPS dose ends at z = 26 mm: above it, the Monte Carlo's voxels find nothing to be compared with."""
    made = make_results(tmp_path_factory.mktemp("gamma") / "case", Wanted(organs=0))
    _cut_tps_dose(made, highest_z=26.0)
    analysis, rest = _analysis(made), _rest_of_batches(made)
    for one in rest:
        analysis.add_left_out(one)
    return _Compared(made, analysis.finish(made.layout.compare), rest)


def _cut_tps_dose(made: MadeResults, *, highest_z: float) -> None:
    layout = made.layout
    image = read_image(layout.case / "tps_dose.mha")
    number = int((highest_z - image.GetOrigin()[2]) // image.GetSpacing()[2]) + 1
    part = sitk.RegionOfInterest(image, [*image.GetSize()[:2], number], [0, 0, 0])
    path = layout.case / "tps_dose.mha"
    write_image(path, image_from_zyx(array_zyx(part), origin=part.GetOrigin(), spacing=part.GetSpacing()))
    case = read_json(layout.case / "case.json", Case)
    assert case.tps_dose is not None
    described = case.tps_dose.image.model_copy(update={"sha256": sha256_of_file(path), "size": part.GetSize()})
    tps = case.tps_dose.model_copy(update={"image": described})
    write_json(layout.case / "case.json", case.model_copy(update={"tps_dose": tps}))


def test_points_are_the_voxels_of_the_reference_above_the_cut_off(compared: _Compared) -> None:
    layout = compared.made.layout
    tps = array_zyx(read_image(layout.case / "tps_dose.mha"))
    by_region = {one.least_percent: one for one in compared.gamma.rates if one.reference == "TPS"}
    assert set(by_region) == {10.0, 50.0, 80.0}
    for percent, rate in by_region.items():
        assert rate.points == int((tps >= percent / 100 * 40.0).sum())  # all of it lies in the body
        assert rate.as_computed_percent == pytest.approx(100 * rate.passed / rate.points)
        assert rate.unreached == 0


def test_what_lies_beyond_the_other_dose_is_counted_and_marked_as_not_reached(compared: _Compared) -> None:
    (rate,) = (one for one in compared.gamma.rates if one.reference == "MC" and one.least_percent == 50.0)
    (kept,) = (one for one in compared.gamma.maps if one.reference == "MC")
    image = read_image(compared.made.layout.compare / kept.file)
    gamma, dose = array_zyx(image), array_zyx(read_image(compared.made.layout.dose / "mc_dose.mha"))
    z = image.GetOrigin()[2] + image.GetSpacing()[2] * np.arange(len(gamma))
    in_region = dose >= 20.0
    assert rate.unreached == int((in_region & (gamma == UNREACHED)).sum()) > 0
    # 4 mm, the search's reach, above the last voxel of the TPS dose.
    assert set(z[np.unique(np.nonzero(gamma == UNREACHED)[0])]) == set(z[(z > 26.0 + 4.0) & (z < 60.0)]) & set(
        z[np.unique(np.nonzero(np.isfinite(gamma))[0])]
    )
    assert np.isnan(gamma[dose < 3.9]).all()
    assert rate.passed <= rate.points - rate.unreached


def test_rates_without_noise_carry_an_interval_and_how_many_points_were_looked_at(compared: _Compared) -> None:
    for rate in compared.gamma.rates:
        assert rate.pass_percent is not None
        assert rate.pass_percent.as_computed == rate.as_computed_percent
        assert rate.pass_percent.low <= rate.pass_percent.value <= rate.pass_percent.high
        assert rate.sampled_points >= 10
    assert compared.gamma.high_dose_relative_sigma == 0.0249
    # Where the noisy dose is the reference, noise makes points fail that would pass.
    (noisy,) = (one for one in compared.gamma.rates if one.reference == "MC" and one.least_percent == 10.0)
    assert noisy.pass_percent is not None
    assert noisy.pass_percent.value > noisy.as_computed_percent


def test_batches_that_are_missing_are_refused_and_no_result_is_left(compared: _Compared, tmp_path: Path) -> None:
    analysis = _analysis(compared.made)
    analysis.add_left_out(compared.batches[0])
    (tmp_path / "gamma.json").write_text("of an earlier run")
    with pytest.raises(ResultError, match="1 batches found, 10 expected"):
        analysis.finish(tmp_path)
    assert not (tmp_path / "gamma.json").exists()


def test_without_criteria_or_a_tps_dose_a_note_says_why(compared: _Compared, tmp_path: Path) -> None:
    none = _analysis(compared.made, ComparisonConfig(gamma=())).finish(tmp_path)
    assert (none.rates, none.maps) == ((), ())
    assert re.search("comparison.gamma holds no criteria", none.notes[0])
    without = _analysis(make_results(tmp_path / "case", Wanted(tps=False, organs=0))).finish(tmp_path)
    assert without.rates == ()
    assert "No TPS dose" in without.notes[0]
