"""What the configuration names is found, or refused by its key, before anything is simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from course_case import steep, write_course_case

from gatecheck.compare.check import CHECKED_FILE, CheckedComparison, check_comparison
from gatecheck.config import validate_config
from gatecheck.errors import GatecheckError
from gatecheck.files import read_json
from gatecheck.layout import CaseLayout


def _checked(folder: Path, **sections: Any) -> CheckedComparison:
    write_course_case(folder, steep)
    return check_comparison(CaseLayout(folder), validate_config(sections, source="test", check_inputs=False))


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
    ],
)
def test_what_is_missing_is_refused_by_its_key(
    tmp_path: Path, section: str, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(GatecheckError, match=message):
        _checked(tmp_path, **{section: content})
    assert not (tmp_path / "compare" / CHECKED_FILE).exists()
