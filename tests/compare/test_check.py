"""What the configuration names is found, or refused by its key, before anything is simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from course_case import cord_mask, steep, tumour_mask, write_course_case
from typer.testing import CliRunner

from gatecheck.cli.main import app
from gatecheck.compare.check import CHECKED_FILE, CheckedComparison, write_checked
from gatecheck.config import validate_config
from gatecheck.errors import GatecheckError
from gatecheck.files import read_json
from gatecheck.layout import CaseLayout

LIMIT = {"limit_gy": 50.0, "alpha_beta": 2.0, "reference": "site"}
STRUCTURES = (("SpinalCord", "ORGAN", cord_mask()), ("GTV", "GTV", tumour_mask()), ("Heart", "ORGAN", None))
MYELON = (("Myelon", "ORGAN", cord_mask()), ("GTV", "GTV", tumour_mask()), ("Body", "EXTERNAL", cord_mask()))


def _checked(folder: Path, structures: Any = STRUCTURES[:2], **sections: Any) -> CheckedComparison:
    write_course_case(folder, steep, structures=structures)
    return write_checked(CaseLayout(folder), validate_config(sections, source="test", check_inputs=False))


def test_what_is_there_is_found_and_written(tmp_path: Path) -> None:
    result = _checked(tmp_path, biology={"earlier_courses": [{"uniform_dose": 30.0, "fractions": 10}]})
    assert result.tumours == ("GTV",)
    assert result.cord == "SpinalCord"
    assert result.earlier_doses_sha256 == ()
    assert read_json(tmp_path / "compare" / CHECKED_FILE, CheckedComparison) == result


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        ("comparison", {"tumour_structures": ["GTV2"]}, r"^comparison\.tumour_structures: no structure 'GTV2'"),
        ("comparison", {"cord_structure": "Myelon"}, r"^comparison\.cord_structure: no structure 'Myelon'"),
        ("setup", {"cord": "Myelon"}, r"^setup\.cord: no structure 'Myelon'"),
        ("setup", {"tumour": "GTV2"}, r"^setup\.tumour: no structure 'GTV2'"),
        ("setup", {"structures": ["Heart"]}, r"^setup\.structures: no structure 'Heart'"),
        (
            "biology",
            {"earlier_courses": [{"dose_file": "earlier_dose_0.dcm", "fractions": 10}]},
            r"^biology\.earlier_courses\.0\.dose_file",
        ),
        (
            "biology",
            {"limits": [LIMIT | {"structures": ["GTV"]}, LIMIT | {"structures": ["Spinalcrod", "Heart"]}]},
            r"^biology\.limits\.1\.structures: .*'Spinalcrod' or 'Heart'\. Structures there: SpinalCord, GTV",
        ),
        (
            "biology",
            {"alpha_beta": [{"structures": ["Heart"], "value": 2.5}]},
            r"^biology\.alpha_beta\.0\.structures: .*'Heart'.*Structures there",
        ),
        (
            "biology",
            {"alpha_beta": [{"structures": ["normal cord"], "value": 2.5}]},
            r"^biology\.alpha_beta\.0\.structures",
        ),
        (
            "setup",
            {"limits": [{"structure": "Heart", "limit_gy": 30.0}]},
            r"^setup\.limits\.0\.structure: .*'Heart'.*SpinalCord, GTV, normal cord.*Structures there",
        ),
    ],
)
def test_what_is_missing_is_refused_by_its_key(
    tmp_path: Path, section: str, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(GatecheckError, match=message):
        _checked(tmp_path, **{section: content})
    assert not (tmp_path / "compare" / CHECKED_FILE).exists()


def test_an_empty_structure_and_the_body_have_no_limit(tmp_path: Path) -> None:
    with pytest.raises(GatecheckError, match=r"^biology\.limits\.0\.structures"):
        _checked(tmp_path / "empty", STRUCTURES, biology={"limits": [LIMIT | {"structures": ["Heart"]}]})
    with pytest.raises(GatecheckError, match=r"^biology\.limits\.0\.structures"):
        _checked(tmp_path / "body", MYELON, biology={"limits": [LIMIT | {"structures": ["Body"]}]})


def test_the_cord_counts_by_its_role_and_the_normal_cord_where_there_is_one(tmp_path: Path) -> None:
    names = ("SpinalCord", "Myelon", "normal_cord", "GTV")
    limits = {
        "biology": {"limits": [LIMIT | {"structures": [name]} for name in names]},
        "setup": {"limits": [{"structure": name, "limit_gy": 30.0} for name in names]},
    }
    assert _checked(tmp_path / "both", MYELON, **limits).cord == "Myelon"
    for section, content in limits.items():
        normal = {section: {"limits": content["limits"][2:3]}}
        with pytest.raises(GatecheckError, match=rf"^{section}\.limits\.0\.structures?: "):
            _checked(tmp_path / section, MYELON[:1], **normal)


def test_defaults_that_find_nothing_are_no_mistake(tmp_path: Path) -> None:
    assert _checked(tmp_path, STRUCTURES[1:2]).cord is None


@pytest.mark.parametrize("verb", ["calibrate", "plan-chunks"])
def test_what_takes_hours_refuses_first(tmp_path: Path, verb: str) -> None:
    write_course_case(tmp_path, steep, structures=STRUCTURES)
    (tmp_path / "config.yaml").write_text("comparison:\n  tumour_structures: [GTV2]\n", encoding="utf-8")
    result = CliRunner().invoke(app, [verb, str(tmp_path)])
    assert isinstance(result.exception, GatecheckError)
    assert str(result.exception).startswith("comparison.tumour_structures: no structure 'GTV2'")
