"""The configuration is validated before anything runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gatecheck.config import Config, load_config, project_folder, validate_config
from gatecheck.errors import InputError


def _refusal(content: object) -> str:
    with pytest.raises(InputError) as caught:
        validate_config(content, source="config.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_documented_default_is_valid_and_is_the_demonstration_case() -> None:
    config = load_config(project_folder() / "config.yaml")
    assert config.case.dicom_folder is None
    assert config.case.name == "demo"


def test_the_documented_example_of_a_phase_space_is_valid_once_its_marks_are_taken_away() -> None:
    text = (project_folder() / "config.yaml").read_text(encoding="utf-8")
    shown, found = re.subn(r"^  # (?=source:|phase_space:|  \w+:)", "  ", text, flags=re.MULTILINE)
    config = validate_config(yaml.safe_load(shown), source="config.yaml", check_inputs=False)
    assert found == 7
    assert config.machine.source == "phase_space"
    assert [path.suffix for path in config.machine.phase_space.files] == [".IAEAheader"]
    assert config.machine.phase_space.recycle > 1


def test_an_unknown_key_is_refused_by_name_with_the_key_that_was_meant() -> None:
    message = _refusal({"transport": {"physics_lst": "G4EmStandardPhysics"}})
    assert "transport.physics_lst" in message
    assert "did you mean physics_list" in message


def test_an_unknown_section_is_refused_by_name() -> None:
    assert "transprot" in _refusal({"transprot": {}})


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("patient", "coarse_voxel_size", "4 cm"),
        ("patient", "fine_voxel_size", -1),
        ("transport", "target_relative_sigma", 2.5),
        ("transport", "physics_list", "QGSP_BIC"),
        ("transport", "electron_production_cut", 0),
        ("case", "name", "../elsewhere"),
        ("patient", "density_overrides", {"Implant": 4500}),
    ],
)
def test_a_wrong_value_or_unit_is_refused_and_the_key_named(section: str, key: str, value: object) -> None:
    assert f"{section}.{key}" in _refusal({section: {key: value}})


def test_fine_voxels_that_do_not_divide_coarse_ones_are_refused() -> None:
    message = _refusal({"patient": {"fine_voxel_size": 1.5, "coarse_voxel_size": 4}})
    assert "fine_voxel_size" in message
    assert "tile" in message


def test_the_head_is_fast_unless_the_full_one_is_asked_for() -> None:
    assert Config().machine.head == "fast"
    config = validate_config({"machine": {"head": "full"}}, source="config.yaml")
    assert config.machine.head == "full"
    assert "machine.head" in _refusal({"machine": {"head": "slow"}})


def test_a_full_head_with_a_phase_space_is_refused_by_both_keys(tmp_path: Path) -> None:
    space = {"files": [str(tmp_path / "beam.IAEAheader")]}
    message = _refusal({"machine": {"head": "full", "source": "phase_space", "phase_space": space}})
    assert "machine.head is full" in message
    assert "machine.source is phase_space" in message


def test_a_dicom_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "case.dicom_folder" in _refusal({"case": {"dicom_folder": str(tmp_path / "nowhere")}})


def test_a_missing_file_of_the_ct_calibration_is_refused(tmp_path: Path) -> None:
    assert "patient.ct_calibration" in _refusal({"patient": {"ct_calibration": str(tmp_path / "scanner.csv")}})


def test_a_configuration_that_is_not_yaml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("case: [unclosed", encoding="utf-8")
    with pytest.raises(InputError, match="not valid YAML"):
        load_config(file)


def test_a_list_at_the_top_level_is_refused() -> None:
    assert "list found" in _refusal(["case"])


def test_a_configuration_survives_being_written_and_read(tmp_path: Path) -> None:
    config = Config.model_validate({"patient": {"density_overrides": {"Mouth": 1.0}}})
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    assert load_config(file) == config


def test_every_key_of_the_default_is_described() -> None:
    schema = Config.model_json_schema()
    undocumented = [
        f"{name}.{key}"
        for name, section in schema["$defs"].items()
        for key, value in section["properties"].items()
        if "description" not in value
    ]
    assert undocumented == []
