"""The file of an earlier course's dose on its way to the case: linked, and named without the site's path."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatecheck.config import load_config, project_folder, validate_config
from gatecheck.config_biology import BiologyConfig
from gatecheck.errors import InputError
from gatecheck.layout import prepare_case


def _content(folder: Path, file: Path) -> dict[str, object]:
    return {
        "results_folder": str(folder / "results"),
        "case": {"name": "one"},
        "machine": {"models_folder": str(project_folder() / "linac_models")},
        "biology": {"earlier_courses": [{"dose_file": str(file), "fractions": 10}]},
    }


def test_the_case_names_an_earlier_dose_without_the_sites_path(tmp_path: Path) -> None:
    file = tmp_path / "SMITH" / "dose.dcm"
    file.parent.mkdir()
    file.write_bytes(b"first")
    config = validate_config(_content(tmp_path, file), source="test")
    layout = prepare_case(config).layout
    assert "SMITH" not in layout.config.read_text(encoding="utf-8")
    kept = load_config(layout.config, check_inputs=False).biology.earlier_courses[0]
    assert kept.dose_file == Path("earlier_dose_0.dcm")
    assert (layout.folder / kept.dose_file).read_bytes() == b"first"
    other = tmp_path / "JONES.dcm"
    other.write_bytes(b"second")
    layout = prepare_case(validate_config(_content(tmp_path, other), source="test")).layout
    assert layout.earlier_dose(0).read_bytes() == b"second"


def test_an_earlier_dose_that_is_missing_is_refused_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"biology\.earlier_courses\.0\.dose_file"):
        validate_config(_content(tmp_path, tmp_path / "no.dcm"), source="test")


def test_default_limits_name_their_source() -> None:
    limits = BiologyConfig().limits
    assert [(one.courses, one.limit_gy, one.alpha_beta) for one in limits] == [
        ("this_course", 54.0, 2.0),
        ("all_courses", 70.0, 2.0),
        ("all_courses", 67.75, 2.0),
    ]
    assert all("Int J Radiat Oncol Biol Phys" in one.reference for one in limits)
