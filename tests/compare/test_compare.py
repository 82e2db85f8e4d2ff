"""A whole comparison from files: with and without a TPS dose, empty and uncovered structures, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from gatecheck.case.model import Case, Image, Structure, TpsDose
from gatecheck.compare import sampling
from gatecheck.compare.model import Comparison
from gatecheck.compare.noise import noisy_fields
from gatecheck.compare.structures import compare_structures, difference, read_mc_dose
from gatecheck.errors import ResultError
from gatecheck.files import array_zyx, image_from_zyx, read_image, read_json, sha256_of_file, write_image, write_json
from gatecheck.patient.model import Grid, Material, PatientModel, VoxelBox

BATCHES = 10


@dataclass
class Made:
    """Folders of a case, a patient and a dose; `batches` are what each batch alone gives."""

    folder: Path
    batches: np.ndarray

    def compare(self, leave_one_out: Any = None) -> Comparison:
        total = self.batches.sum(axis=0)
        left_out = [(total - one) / (len(self.batches) - 1) for one in self.batches]
        given = left_out if leave_one_out is None else leave_one_out
        merged = read_mc_dose(self.folder / "dose", self.folder / "patient")
        x, y, z = merged.GetSpacing()
        noise = noisy_fields(array_zyx(merged), iter(given), batches=len(given), spacing_zyx=(z, y, x))
        return compare_structures(
            case_folder=self.folder / "case",
            patient_folder=self.folder / "patient",
            dose_folder=self.folder / "dose",
            out_folder=self.folder / "compare",
            noise=noise,
        )


def _half_of(patient: Path, image: sitk.Image, z: np.ndarray) -> VoxelBox:
    """Voxels of the second material above z = 4 mm, of the first below."""
    labels = np.broadcast_to((z > 4.0)[:, None, None], image.GetSize()[::-1]).astype(np.uint16)
    path = patient / "fine.mha"
    write_image(path, image_from_zyx(labels, origin=image.GetOrigin(), spacing=image.GetSpacing()))
    return VoxelBox(
        name="fine",
        role="fine",
        labels=path.name,
        sha256=sha256_of_file(path),
        size=image.GetSize(),
        spacing=image.GetSpacing(),
        origin=image.GetOrigin(),
    )


def _matter(gas: float) -> tuple[Material, ...]:
    water = Material(label=0, name="water", density=1.0, mass_fractions={"H": 0.1119, "O": 0.8881})
    return water, water.model_copy(update={"label": 1, "name": "gas", "density": gas})


def _described(path: Path) -> Image:
    image = read_image(path)
    return Image(
        file=path.name,
        sha256=sha256_of_file(path),
        size=image.GetSize(),
        spacing=image.GetSpacing(),
        origin=image.GetOrigin(),
    )


@pytest.fixture
def made(tmp_path: Path, sphere: Any, dose_image: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    """Three spheres and an empty structure in a linear dose with noise in ten batches."""

    monkeypatch.setattr(sampling, "AIMED_POINTS", 10_000)

    def make(
        *,
        tps: sitk.Image | None = None,
        target_centre: tuple[float, ...] = (0.0, 0.0, 0.0),
        gas: float | None = None,
    ) -> Made:
        case, patient, dose = tmp_path / "case", tmp_path / "patient", tmp_path / "dose"
        clean = array_zyx(dose_image(lambda x, y, z: 20.0 + 0.1 * x + 0 * (y + z)))
        batches = clean * (1 + 0.02 * np.random.default_rng(5).normal(size=(BATCHES, *clean.shape)))
        image = dose_image(lambda x, y, z: 0 * x)
        merged = sitk.GetImageFromArray(batches.mean(axis=0).astype(np.float32))
        merged.CopyInformation(image)
        write_image(dose / "mc_dose.mha", merged)
        (dose / "merge.json").write_text("{}")
        structures = []
        for number, (name, mask) in enumerate(
            [
                ("PTV", sphere(8.0, centre=target_centre)),
                ("half", sphere(6.0, centre=(30.0, 0.0, 0.0))),
                ("far", sphere(6.0, centre=(90.0, 0.0, 0.0))),
                ("empty", None),
            ]
        ):
            file = None if mask is None else f"structures/{number}.mha"
            if mask is not None:
                write_image(case / file, mask)
            structures.append(Structure(number=number, name=name, interpreted_type="", volume_ml=1.0, mask=file))
        write_image(case / "ct.mha", image)
        tps_dose = None
        if tps is not None:
            write_image(case / "tps_dose.mha", tps)
            tps_dose = TpsDose(
                image=_described(case / "tps_dose.mha"), maximum_gy=1.0, summation_type="PLAN", dose_type="PHYSICAL"
            )
        write_json(
            case / "case.json",
            Case(
                case_id="case-01234567",
                content_sha256="0" * 64,
                plan_label="",
                patient_position="HFS",
                fractions=1,
                target_prescription_gy=None,
                ct=_described(case / "ct.mha"),
                structures=tuple(structures),
                beams=(),
                tps_dose=tps_dose,
                warnings=(),
                files={},
            ),
        )
        x, y, z = (np.arange(30) * 2.0 - 29.0,) * 3
        body = (x[None, None, :] ** 2 + y[None, :, None] ** 2 + 0 * z[:, None, None]) < 25.0**2
        body_image = sitk.GetImageFromArray(body.astype(np.uint8))
        body_image.CopyInformation(image)
        write_image(patient / "body.mha", body_image)
        grid = Grid(size=image.GetSize(), spacing=image.GetSpacing(), origin=image.GetOrigin())
        write_json(
            patient / "patient.json",
            PatientModel(
                made_from={},
                boxes=() if gas is None else (_half_of(patient, image, z),),
                materials=() if gas is None else _matter(gas),
                joined_grid=grid,
                body_mask="body.mha",
                calibration="none",
            ),
        )
        return Made(tmp_path, batches)

    return make


def test_a_comparison_without_a_tps_dose_has_metrics_with_sigma(made: Any) -> None:
    one = made()
    comparison = one.compare()
    assert read_json(one.folder / "compare" / "comparison.json", Comparison) == comparison
    assert not comparison.has_tps_dose
    assert not (one.folder / "compare" / "difference.mha").exists()
    target = comparison.structures[0]
    assert target.tps is None
    assert target.tps_dvh is None
    assert target.mc is not None
    assert target.mc.mean_gy.value == pytest.approx(20.0, abs=0.05)
    # 0.8 Gy either side of the middle; noise of 2 % / sqrt(10) widens it a little.
    assert 19.2 < target.mc.d95_gy.value < 19.7
    assert 20.3 < target.mc.d2_gy.value < 20.9
    for metric in (target.mc.mean_gy, target.mc.d95_gy, target.mc.d50_gy, target.mc.d2_gy, target.mc.max_gy):
        assert metric.sigma is not None
        assert 0 < metric.sigma < 0.2


def test_sigma_of_the_mean_is_that_of_the_mean_of_the_batches(made: Any) -> None:
    one = made()
    target = one.compare().structures[0]
    means = []
    for batch in one.batches:
        # Each batch on its own, as if it were the merged dose: the mean dose is linear in the dose.
        again = Made(one.folder, np.stack([batch, batch]))
        image = read_image(one.folder / "dose" / "mc_dose.mha")
        replaced = sitk.GetImageFromArray(batch.astype(np.float32))
        replaced.CopyInformation(image)
        write_image(one.folder / "dose" / "mc_dose.mha", replaced)
        means.append(again.compare().structures[0].mc.mean_gy.value)
    assert target.mc.mean_gy.value == pytest.approx(np.mean(means), rel=1e-5)
    assert target.mc.mean_gy.sigma == pytest.approx(np.std(means, ddof=1) / BATCHES**0.5, rel=1e-3)


def test_structures_empty_or_outside_of_the_dose_say_so_and_have_no_numbers(made: Any) -> None:
    comparison = made().compare()
    _, half, far, empty = comparison.structures
    assert half.covered_fraction == pytest.approx(0.5, abs=0.02)
    assert "lies outside of the Monte Carlo dose grid" in half.note
    assert half.mc is not None
    for structure, note in ((far, "Wholly outside"), (empty, "Empty")):
        assert structure.mc is None
        assert structure.mc_dvh is None
        assert structure.covered_fraction == 0
        assert note in structure.note
    assert any("half, far" in warning for warning in comparison.warnings)


def test_structures_with_much_air_are_warned_of_with_how_much_and_what_is_known(made: Any) -> None:
    """Above z = 4 mm lie 15.6 % of a ball of 8 mm, and 7.4 % of one of 6 mm, of which half is outside of the grid."""
    (warning,) = [one for one in made(gas=0.0012).compare().warnings if "air" in one]
    assert "PTV 16 %, half 7 %" in warning
    assert "far" not in warning.split(":")[1]
    assert "13.8 %" in warning
    assert "5.1 %" in warning


def test_lung_is_no_air_nor_is_a_structure_with_little_of_it(made: Any) -> None:
    assert not [one for one in made(gas=0.1).compare().warnings if "air" in one]
    low = made(gas=0.0012, target_centre=(0.0, 0.0, -3.0)).compare()  # 1.1 % of the ball are above z = 4 mm
    assert "PTV" not in next(one for one in low.warnings if "air" in one)


def test_a_tps_dose_on_another_grid_is_compared_without_sigma(made: Any, dose_image: Any) -> None:
    tps = dose_image(lambda x, y, z: 21.0 + 0.1 * x + 0 * (y + z), half=24.0, spacing=3.0)
    comparison = made(tps=tps).compare()
    target = comparison.structures[0]
    assert comparison.has_tps_dose
    assert target.tps.mean_gy.sigma is None
    assert target.tps.mean_gy.value == pytest.approx(21.0, abs=0.02)
    assert target.tps_dvh.volume_fraction_sigma is None
    assert target.tps_dvh.dose_gy == target.mc_dvh.dose_gy
    assert target.note == ""
    assert "TPS dose grid" in comparison.structures[1].note


def test_the_difference_is_mc_minus_tps_in_the_body_where_the_tps_dose_is_and_nan_elsewhere(
    made: Any, dose_image: Any
) -> None:
    tps = dose_image(lambda x, y, z: 21.0 + 0.1 * x + 0 * (y + z), half=15.0, spacing=3.0)
    one = made(tps=tps)
    one.compare()
    image = read_image(one.folder / "compare" / "difference.mha")
    mc = read_image(one.folder / "dose" / "mc_dose.mha")
    assert (image.GetSize(), image.GetOrigin(), image.GetSpacing()) == (mc.GetSize(), mc.GetOrigin(), mc.GetSpacing())
    values = array_zyx(image)
    assert values.dtype == np.float32
    x = np.arange(30) * 2.0 - 29.0
    in_body = x[None, None, :] ** 2 + x[None, :, None] ** 2 + 0 * x[:, None, None] < 25.0**2
    # The TPS dose is known between the centres of its outermost voxels, 13.5 mm from the middle.
    near = np.abs(x) <= 13.5
    in_tps = near[:, None, None] & near[None, :, None] & near[None, None, :]
    surely_out = ~(np.abs(x) <= 15.0)
    outside = surely_out[:, None, None] | surely_out[None, :, None] | surely_out[None, None, :]
    expected = array_zyx(mc) - (21.0 + 0.1 * x[None, None, :])
    np.testing.assert_allclose(
        values[in_body & in_tps], np.broadcast_to(expected, values.shape)[in_body & in_tps], atol=1e-4
    )
    assert np.isnan(values[outside | ~in_body]).all()


def test_nothing_is_a_difference_of_zero(dose_image: Any) -> None:
    dose = dose_image(lambda x, y, z: 20.0 + 0.1 * x * y + z)
    values = array_zyx(difference(dose, dose, np.ones((30, 30, 30), dtype=bool)))
    np.testing.assert_allclose(values, 0.0, atol=1e-5)


def test_curves_of_all_structures_share_one_axis_beyond_the_highest_dose(made: Any) -> None:
    comparison = made().compare()
    first, second = comparison.structures[0].mc_dvh, comparison.structures[1].mc_dvh
    assert first.dose_gy == second.dose_gy
    assert first.volume_fraction[0] == 1.0
    assert first.volume_fraction[-1] == 0.0
    assert len(first.volume_fraction_sigma) == len(first.dose_gy)
    assert max(first.volume_fraction_sigma) > 0


def test_a_comparison_names_what_it_was_made_from(made: Any, dose_image: Any) -> None:
    one = made(tps=dose_image(lambda x, y, z: 21.0 + 0 * x))
    made_from = one.compare().made_from
    assert made_from["mc_dose"] == sha256_of_file(one.folder / "dose" / "mc_dose.mha")
    assert made_from["tps_dose"] == sha256_of_file(one.folder / "case" / "tps_dose.mha")
    assert made_from["case"] == sha256_of_file(one.folder / "case" / "case.json")
    assert set(made_from) == {"case", "patient", "merge", "mc_dose", "tps_dose"}


def test_a_difference_of_an_earlier_tps_dose_does_not_stay(made: Any) -> None:
    one = made()
    stale = one.folder / "compare" / "difference.mha"
    write_image(stale, image_from_zyx(np.zeros((2, 2, 2)), origin=(0, 0, 0), spacing=(1, 1, 1)))
    one.compare()
    assert not stale.exists()


def test_fewer_than_two_batches_are_refused(made: Any) -> None:
    one = made()
    with pytest.raises(ResultError, match="1 batches found, expected at least 2"):
        one.compare(leave_one_out=[one.batches[0]])
    assert not (one.folder / "compare" / "comparison.json").exists()


def test_a_batch_on_another_grid_is_refused(made: Any) -> None:
    one = made()
    with pytest.raises(ResultError, match=r"not on the grid of mc_dose\.mha"):
        one.compare(leave_one_out=[np.zeros((2, 2, 2))] * 3)


def test_a_dose_on_another_grid_than_the_patients_is_refused(made: Any, dose_image: Any) -> None:
    one = made()
    write_image(one.folder / "dose" / "mc_dose.mha", dose_image(lambda x, y, z: 0 * x, half=20.0))
    with pytest.raises(ResultError, match=r"not on the grid of patient\.json"):
        one.compare()


def test_a_dose_with_values_that_are_not_numbers_is_refused(made: Any, dose_image: Any) -> None:
    one = made()
    write_image(one.folder / "dose" / "mc_dose.mha", dose_image(lambda x, y, z: float("nan") * x))
    with pytest.raises(ResultError, match="not numbers"):
        one.compare()


def test_a_tps_dose_that_was_changed_after_ingest_is_refused(made: Any, dose_image: Any) -> None:
    one = made(tps=dose_image(lambda x, y, z: 21.0 + 0 * x))
    write_image(one.folder / "case" / "tps_dose.mha", dose_image(lambda x, y, z: 22.0 + 0 * x))
    with pytest.raises(ResultError, match=r"tps_dose\.mha: its SHA-256"):
        one.compare()


def test_a_tps_dose_in_a_part_of_a_structure_is_compared_with_the_same_part(made: Any, dose_image: Any) -> None:
    """A sphere of 8 mm of which the TPS grid has the half at x < 0, in a dose that rises by 0.1 Gy/mm along x.

    The mean place of half a ball is 3/8 of its radius from its flat side. The hotter half is said to be so.
    """
    whole = dose_image(lambda x, y, z: 20.0 + 0.1 * x + 0 * (y + z))
    half = whole[:15, :, :]
    comparison = made(tps=half).compare()
    target = comparison.structures[0]
    assert target.tps is not None
    assert target.mc is not None
    assert target.tps.mean_gy.value == pytest.approx(20.0 - 0.1 * 3 / 8 * 8.0, abs=0.02)
    assert target.mc.mean_gy.value == pytest.approx(target.tps.mean_gy.value, abs=4 * target.mc.mean_gy.sigma)
    assert target.covered_fraction == pytest.approx(1.0)
    assert " % of the volume lies outside of the TPS dose grid; the values of both doses" in target.note
    assert "more than within it" in target.note


def test_a_tps_dose_beyond_the_monte_carlos_grid_is_taken_of_the_same_part(made: Any, dose_image: Any) -> None:
    """A sphere of 6 mm at the edge of the Monte Carlo's grid, x = 30 mm, in a dose that rises by 0.1 Gy/mm along x."""
    wide = dose_image(lambda x, y, z: 20.0 + 0.1 * x + 0 * (y + z), half=60.0)
    half = made(tps=wide).compare().structures[1]
    assert half.tps is not None
    assert half.mc is not None
    assert half.covered_fraction == pytest.approx(0.5, abs=0.02)
    # Whole voxels of the mask are cut off, so that the flat side lies up to half a mm from the grid's.
    assert half.tps.mean_gy.value == pytest.approx(20.0 + 0.1 * (30.0 - 3 / 8 * 6.0), abs=0.04)
    assert half.mc.mean_gy.value == pytest.approx(half.tps.mean_gy.value, abs=4 * half.mc.mean_gy.sigma)
    assert " % of the volume lies outside of the Monte Carlo dose grid; the values of both doses" in half.note
