"""Files that do not belong together never become a report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from made_results import MadeResults, Written

from gatecheck.case.model import Case
from gatecheck.compare.biology.model import Biology
from gatecheck.compare.interface.model import Interface
from gatecheck.compare.model import Comparison
from gatecheck.compare.profiles import Profiles
from gatecheck.compare.setup_errors.model import SetupCheck, SetupRobustness
from gatecheck.compare.volume_gamma.model import VolumeGamma
from gatecheck.config import ReportConfig
from gatecheck.dose.model import MergeResult
from gatecheck.errors import ResultError
from gatecheck.files import read_json, sha256_of_file, write_json
from gatecheck.layout import CaseLayout
from gatecheck.report.html import write_report
from gatecheck.report.inputs import read_images, read_inputs
from gatecheck.transport.model import CalibrationResult


@pytest.fixture
def copy(with_tps: Written, tmp_path: Path) -> MadeResults:
    """A copy that a test may spoil; it has no report yet."""
    folder = tmp_path / "case"
    shutil.copytree(with_tps.made.layout.folder, folder, ignore=shutil.ignore_patterns("report"))
    layout = CaseLayout(folder)
    return MadeResults(layout, layout.calibration, with_tps.made.case, with_tps.made.comparison)


def refuse(made: MadeResults, expected: str) -> None:
    with pytest.raises(ResultError, match=expected):
        write_report(made.layout.folder, made.calibration, ReportConfig())
    assert not made.layout.report.exists()


def change(path: Path, model: type, **update: object) -> None:
    write_json(path, read_json(path, model).model_copy(update=update))


def change_merge(made: MadeResults, **update: object) -> None:
    """Change merge.json, and let the comparisons know, so that the change itself is what is found."""
    change(made.layout.dose / "merge.json", MergeResult, **update)
    merge = {"merge": sha256_of_file(made.layout.dose / "merge.json")}
    models = {"comparison": Comparison, "interface": Interface, "gamma": VolumeGamma, "profiles": Profiles}
    for name, model in models.items():
        path = made.layout.compare / f"{name}.json"
        change(path, model, made_from=read_json(path, model).made_from | merge)


def test_the_copy_itself_is_accepted(copy: MadeResults) -> None:
    assert read_inputs(copy.layout, copy.calibration).case.case_id == "case-0123abcd"


@pytest.mark.parametrize(
    "name",
    [
        "case/case.json",
        "case/ct.mha",
        "case/tps_dose.mha",
        "delivery/timeline.parquet",
        "patient/patient.json",
        "patient/body.mha",
        "dose/merge.json",
        "dose/mc_dose.mha",
        "dose/mc_sigma.mha",
        "compare/comparison.json",
        "compare/interface.json",
        "compare/biology.json",
        "compare/setup.json",
        "compare/gamma.json",
        "compare/gamma.mha",
        "compare/profiles.json",
        "compare/surface_map_1.csv",
        "compare/difference.mha",
        "transport/calibration.json",
        "case/structures/02.mha",
    ],
)
def test_a_missing_file_is_named(copy: MadeResults, name: str) -> None:
    (copy.layout.folder / name).unlink()
    refuse(copy, Path(name).name)


def test_a_dose_made_after_the_comparison_is_refused(copy: MadeResults) -> None:
    path = copy.layout.dose / "mc_dose.mha"
    sitk.WriteImage(sitk.ReadImage(str(path)) * 1.05, str(path), useCompression=True)
    refuse(copy, "not made from the mc_dose that is there now.*Run compare again")


def test_a_comparison_that_does_not_say_its_dose_is_refused(copy: MadeResults) -> None:
    change(copy.layout.compare / "comparison.json", Comparison, made_from={})
    refuse(copy, "comparison.json: not made from the case")


def test_a_case_that_was_ingested_again_is_refused(copy: MadeResults) -> None:
    change(copy.layout.case / "case.json", Case, target_prescription_gy=50.0)
    refuse(copy, "timeline.parquet: made from another case.json")


def test_a_ct_that_is_not_the_cases_is_refused(copy: MadeResults) -> None:
    path = copy.layout.case / "ct.mha"
    sitk.WriteImage(sitk.ReadImage(str(path)) + 1, str(path), useCompression=True)
    refuse(copy, "ct.mha: its SHA-256")


def test_a_meterset_that_got_lost_on_the_way_is_refused(copy: MadeResults) -> None:
    change_merge(copy, meterset_per_fraction=312.25)
    refuse(copy, "312.25 MU a fraction found, the plan has 625.5 MU")


def test_another_number_of_fractions_is_refused(copy: MadeResults) -> None:
    change_merge(copy, fractions=19)
    refuse(copy, "19 fractions, timeline.parquet: 20")


def test_another_calibration_is_refused(copy: MadeResults) -> None:
    change(copy.calibration, CalibrationResult, key_sha256="8" * 64)
    refuse(copy, "not the calibration that the dose was made with")


def test_a_calibration_of_another_data_set_is_refused(copy: MadeResults) -> None:
    engine = read_json(copy.calibration, CalibrationResult).engine
    change(copy.calibration, CalibrationResult, engine=engine.model_copy(update={"data_set_sha256": "9" * 64}))
    refuse(copy, "made with another data_set_sha256")


def test_a_comparison_with_a_structure_of_another_case_is_refused(copy: MadeResults) -> None:
    path = copy.layout.compare / "comparison.json"
    first, *others = read_json(path, Comparison).structures
    change(path, Comparison, structures=(first.model_copy(update={"name": "STRANGER"}), *others))
    refuse(copy, "holds a structure that case.json does not")


def test_a_comparison_without_the_cases_tps_dose_is_refused(copy: MadeResults) -> None:
    change(copy.layout.compare / "comparison.json", Comparison, has_tps_dose=False)
    refuse(copy, "its TPS dose is not the one of case.json")


@pytest.mark.parametrize(
    ("role", "model", "made_from"),
    [
        ("interface", Interface, "merge"),
        ("interface", Interface, "mc_dose"),
        ("biology", Biology, "mc_sigma"),
        ("biology", Biology, "case"),
        ("setup", SetupRobustness, "mc_dose"),
        ("setup", SetupRobustness, "case"),
    ],
)
def test_a_stale_part_of_the_comparison_is_refused_with_the_step_to_run(
    copy: MadeResults, role: str, model: type, made_from: str
) -> None:
    path = copy.layout.compare / f"{role}.json"
    change(path, model, made_from=read_json(path, model).made_from | {made_from: "0" * 64})
    refuse(copy, f"{role}.json: not made from the {made_from} that is there now.*Run compare again")


def test_a_part_of_the_comparison_that_does_not_say_its_dose_is_refused(copy: MadeResults) -> None:
    change(copy.layout.compare / "setup.json", SetupRobustness, made_from={})
    refuse(copy, "setup.json: not made from the case")


@pytest.mark.parametrize("content", ["x,y\n1,2\n", "x,y,z,dta_50,dta_50_sigma\n1,2,three,4,5\n", "x,y,z\n1,2\n", ""])
def test_a_damaged_map_of_a_surface_is_refused(copy: MadeResults, content: str) -> None:
    (copy.layout.compare / "surface_map_0.csv").write_text(content)
    refuse(copy, "surface_map_0.csv: not a map of a surface. Run compare again")


def test_a_check_of_the_setup_errors_is_no_condition(copy: MadeResults) -> None:
    (copy.layout.compare / "setup_check.json").unlink()
    inputs = read_inputs(copy.layout, copy.calibration)
    assert inputs.compared.setup_check is None
    assert inputs.compared.setup_check_left_out == ""
    assert "setup_check" not in inputs.hashes


@pytest.mark.parametrize("role", ["mc_dose", "setup"])
def test_a_stale_check_of_the_setup_errors_is_left_out_with_the_step_to_run(copy: MadeResults, role: str) -> None:
    path = copy.layout.compare / "setup_check.json"
    change(path, SetupCheck, made_from=read_json(path, SetupCheck).made_from | {role: "0" * 64})
    inputs = read_inputs(copy.layout, copy.calibration)
    assert inputs.compared.setup_check is None
    assert inputs.compared.setup_check_left_out.endswith("Run setup-check again.")
    assert "setup_check" not in inputs.hashes


def test_a_damaged_check_of_the_setup_errors_keeps_no_report_from_being_made(copy: MadeResults) -> None:
    (copy.layout.compare / "setup_check.json").write_text("{")
    compared = read_inputs(copy.layout, copy.calibration).compared
    assert compared.setup_check is None
    assert "damaged" in compared.setup_check_left_out


def test_every_file_of_the_comparison_is_known_by_its_hash(with_tps: Written) -> None:
    made = with_tps.made
    hashes = read_inputs(made.layout, made.calibration).hashes
    for name in ("interface.json", "biology.json", "setup.json", "setup_check.json", "surface_map_1.csv"):
        path = made.layout.compare / name
        assert hashes[path.stem] == sha256_of_file(path)


def _shifted(image: sitk.Image) -> sitk.Image:
    image.SetOrigin([value + 1.0 for value in image.GetOrigin()])
    return image


def _rotated(image: sitk.Image) -> sitk.Image:
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    return image


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [(_shifted, "mc_sigma.mha: on another grid than mc_dose.mha"), (_rotated, "mc_sigma.mha: not aligned")],
)
def test_a_standard_deviation_that_does_not_lie_on_the_dose_is_refused(
    copy: MadeResults, spoil: Callable[[sitk.Image], sitk.Image], expected: str
) -> None:
    path = copy.layout.dose / "mc_sigma.mha"
    sitk.WriteImage(spoil(sitk.ReadImage(str(path))), str(path), useCompression=True)
    documents: tuple[tuple[str, type[Biology | Profiles]], ...] = (
        ("biology.json", Biology),
        ("profiles.json", Profiles),
    )
    for name, model in documents:
        document = copy.layout.compare / name
        made_from = read_json(document, model).made_from | {"mc_sigma": sha256_of_file(path)}
        change(document, model, made_from=made_from)
    inputs = read_inputs(copy.layout, copy.calibration)
    with pytest.raises(ResultError, match=expected):
        read_images(inputs)


def test_the_images_read_are_the_ones_written(with_tps: Written) -> None:
    inputs = read_inputs(with_tps.made.layout, with_tps.made.calibration)
    images = read_images(inputs)
    dose = sitk.GetArrayFromImage(images.dose)
    assert np.isclose(dose.max(), inputs.merge.maximum_gy)
    assert images.difference is not None
