"""The interface of a case from its files: the batches collected on a part of the grid, and what cannot be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from course_case import (
    CORD_HALF_LENGTH,
    CORD_RADIUS,
    TUMOUR_RADIUS,
    CourseCase,
    axis,
    cord_mask,
    dose_image_of,
    steep,
    tumour_mask,
    write_course_case,
)

from gatecheck.case.model import Case
from gatecheck.case.storage import read_case
from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.interface.analysis import INTERFACE_FILE, InterfaceAnalysis
from gatecheck.compare.interface.interface import compare_interface
from gatecheck.compare.interface.model import Interface
from gatecheck.compare.interface.preparation import InterfaceInput
from gatecheck.config_comparison import ComparisonConfig
from gatecheck.dose.model import MergeResult
from gatecheck.errors import InputError, ResultError
from gatecheck.files import read_image, read_json, sha256_of_file, write_image, write_json
from gatecheck.patient.model import Grid, PatientModel
from gatecheck.transport.model import Engine

PHOTONS = 5_000_000


def _write_rest(case: CourseCase) -> None:
    """The patient's grid and what merging says of the dose."""
    along = axis()
    grid = Grid(size=(len(along),) * 3, spacing=(2.0,) * 3, origin=(float(along[0]),) * 3)
    write_json(
        case.folder / "patient" / "patient.json",
        PatientModel(made_from={}, boxes=(), materials=(), joined_grid=grid, body_mask="body.mha", calibration="none"),
    )
    engine = Engine(
        gatecheck="0",
        opengate="0",
        geant4="0",
        data_set="made",
        data_set_sha256="0" * 64,
        data_set_kind="embedded",
        clinical=False,
        physics_list="none",
        settings={},
    )
    write_json(
        case.folder / "dose" / "merge.json",
        MergeResult(
            inputs_sha256="0" * 64,
            chunks=tuple(range(len(case.batches))),
            chunk_sha256={},
            batches=len(case.batches),
            histories=PHOTONS,
            particles=PHOTONS,
            nominal_photons=1.0,
            meterset_per_fraction=1.0,
            fractions=13,
            dose_to="medium",
            nominal_photons_per_mu=1.0,
            calibration_relative_sigma=0.004,
            calibration_key_sha256="0" * 64,
            mean_relative_sigma=0.01,
            mean_relative_sigma_history=0.01,
            voxels_above_half_maximum=1,
            maximum_gy=46.0,
            engine=engine,
            seconds_of_chunks=1.0,
            peak_memory_mb=1.0,
        ),
    )


def _analysed(case: CourseCase, settings: ComparisonConfig | None = None) -> Interface:
    _write_rest(case)
    analysis = InterfaceAnalysis(
        **case.folders, patient_folder=case.folder / "patient", settings=settings or ComparisonConfig()
    )
    for left_out in case.left_out():
        analysis.add_left_out(left_out)
    return analysis.finish(case.folder / "compare")


def _with_tps(case: CourseCase) -> None:
    """The noise-free dose in place of a TPS's, on the same voxels."""
    folder = case.folder / "case"
    along = axis()
    dose = steep(along[None, None, :], along[None, :, None], along[:, None, None])
    write_image(folder / "tps_dose.mha", dose_image_of(dose))
    image = {
        "file": "tps_dose.mha",
        "sha256": sha256_of_file(folder / "tps_dose.mha"),
        "size": (len(along),) * 3,
        "spacing": (2.0, 2.0, 2.0),
        "origin": (float(along[0]),) * 3,
    }
    tps = {"image": image, "maximum_gy": 46.0, "summation_type": "PLAN", "dose_type": "PHYSICAL"}
    content = read_case(folder).model_dump(mode="json") | {"tps_dose": tps}
    write_json(folder / "case.json", Case.model_validate(content))


def test_a_part_of_the_grid_gives_what_the_whole_gives(tmp_path: Path) -> None:
    case = write_course_case(tmp_path, steep, relative_noise=0.01)
    _with_tps(case)
    (found,) = _analysed(case).tumours
    mc = DoseImage.of(read_image(tmp_path / "dose" / "mc_dose.mha"))
    given = InterfaceInput(
        tumour_name="GTV",
        tumour_mask=tumour_mask(),
        cord_name="SpinalCord",
        cord_mask=cord_mask(),
        mc=mc,
        batches_zyx=case.batches,
        tps=DoseImage.of(read_image(tmp_path / "case" / "tps_dose.mha")),
        prescription_gy=39.0,
        calibration_relative_sigma=0.004,
        photons=float(PHOTONS),
    )
    whole = compare_interface(given, ComparisonConfig()).comparison
    assert [one.outcome for one in found.verdicts] == [one.outcome for one in whole.verdicts]
    assert found.plateau is not None
    assert whole.plateau is not None
    assert found.plateau.mc_mean_gy.value == pytest.approx(whole.plateau.mc_mean_gy.value, abs=0.002)
    assert found.plateau.mc_mean_gy.sigma == pytest.approx(whole.plateau.mc_mean_gy.sigma, rel=0.01)
    assert found.cord_maximum is not None
    assert whole.cord_maximum is not None
    assert found.cord_maximum.mc_gy.value == pytest.approx(whole.cord_maximum.mc_gy.value, abs=0.01)
    for one, other in zip(found.shells, whole.shells, strict=True):
        assert one.volume_ml == pytest.approx(other.volume_ml)
        if one.mc_mean_gy is not None and other.mc_mean_gy is not None:
            assert one.mc_mean_gy.value == pytest.approx(other.mc_mean_gy.value, abs=0.002)


def test_what_is_written_is_what_is_returned_with_a_map_beside_it(tmp_path: Path) -> None:
    case = write_course_case(tmp_path, steep, relative_noise=0.01)
    _with_tps(case)
    stale = tmp_path / "compare" / "surface_map_7.csv"
    stale.parent.mkdir()
    stale.write_text("x\n", encoding="utf-8")
    result = _analysed(case)
    assert read_json(tmp_path / "compare" / INTERFACE_FILE, Interface) == result
    assert result.made_from["mc_dose"] == sha256_of_file(tmp_path / "dose" / "mc_dose.mha")
    assert result.tumours[0].surface_map == "surface_map_0.csv"
    lines = (tmp_path / "compare" / "surface_map_0.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 100
    assert not stale.exists()


def test_without_a_tps_dose_nothing_is_judged_and_it_is_said(tmp_path: Path) -> None:
    (tumour,) = _analysed(write_course_case(tmp_path, steep, relative_noise=0.01)).tumours
    assert {one.outcome for one in tumour.verdicts} == {"not assessed"}
    assert any("No TPS dose" in note for note in tumour.notes)
    assert tumour.plateau is None or tumour.shells[0].tps_mean_gy is None


def test_without_a_tumour_there_is_nothing_to_compare_at(tmp_path: Path) -> None:
    case = write_course_case(tmp_path, steep, structures=(("SpinalCord", "ORGAN", cord_mask()),))
    result = _analysed(case)
    assert result.tumours == ()
    assert any("No tumour structure" in note for note in result.notes)


def test_each_of_two_tumours_is_compared(tmp_path: Path) -> None:
    structures = (("A", "GTV", tumour_mask()), ("B", "GTV", tumour_mask()))
    result = _analysed(write_course_case(tmp_path, steep, relative_noise=0.01, structures=structures))
    assert [one.tumour for one in result.tumours] == ["A", "B"]
    assert [one.surface_map for one in result.tumours] == ["surface_map_0.csv", "surface_map_1.csv"]
    assert any("2 tumours" in note for note in result.notes)


def test_the_normal_cord_of_each_tumour_has_none_of_the_other(tmp_path: Path) -> None:
    other = tumour_mask()
    x, y, z = other.GetOrigin()
    other.SetOrigin((x, y, z + 16.0))
    structures = (("SpinalCord", "ORGAN", cord_mask()), ("A", "GTV", tumour_mask()), ("B", "GTV", other))
    case = write_course_case(tmp_path, steep, relative_noise=0.01, structures=structures)
    cords = [one.cord_maximum for one in _analysed(case, ComparisonConfig(gamma=())).tumours]
    left_ml = np.pi * (CORD_RADIUS**2 * 2 * CORD_HALF_LENGTH - 2 * 4 / 3 * TUMOUR_RADIUS**3) / 1000
    assert [cord is not None and cord.cord_volume_ml for cord in cords] == pytest.approx([left_ml] * 2, rel=0.01)


def test_no_prescription_is_said_and_one_can_be_given(tmp_path: Path) -> None:
    case = write_course_case(tmp_path, steep, relative_noise=0.01)
    content = read_case(tmp_path / "case").model_dump(mode="json") | {"target_prescription_gy": None}
    write_json(tmp_path / "case" / "case.json", Case.model_validate(content))
    without = _analysed(case)
    assert without.tumours == ()
    assert any("comparison.prescription_gy" in note for note in without.notes)
    (given,) = _analysed(case, ComparisonConfig(prescription_gy=40.0)).tumours
    assert given.prescription_gy == 40.0


def test_a_named_structure_that_is_missing_is_refused_by_key(tmp_path: Path) -> None:
    case = write_course_case(tmp_path, steep)
    with pytest.raises(InputError, match=r"^comparison\.cord_structure: no structure 'Myelon'"):
        _analysed(case, ComparisonConfig(cord_structure="Myelon"))


def test_too_few_batches_and_another_grid_are_refused(tmp_path: Path) -> None:
    case = write_course_case(tmp_path, steep)
    _write_rest(case)
    analysis = InterfaceAnalysis(**case.folders, patient_folder=tmp_path / "patient", settings=ComparisonConfig())
    with pytest.raises(ResultError, match="not on the grid"):
        analysis.add_left_out(np.zeros((2, 2, 2)))
    with pytest.raises(ResultError, match="0 batches found, 10 expected"):
        analysis.finish(tmp_path / "compare")
    assert not (tmp_path / "compare" / INTERFACE_FILE).exists()
