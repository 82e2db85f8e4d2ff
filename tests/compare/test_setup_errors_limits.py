"""Limits whose chance of being broken by setup errors is stated: where they come from, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from course_case import steep, write_course_case

from gatecheck.case.model import Case, Structure
from gatecheck.case.storage import read_case
from gatecheck.compare.biology.structures import NORMAL_CORD, Roles
from gatecheck.compare.setup_errors.dose_limits import DoseLimits, exceedances, limits_of
from gatecheck.config_biology import BiologyConfig, EarlierCourseConfig, EffectiveLimitConfig
from gatecheck.config_setup import SetupConfig, SetupLimitConfig

UNIFORM = EarlierCourseConfig(uniform_dose=60.0, fractions=20)
ON_A_GRID = EarlierCourseConfig(dose_file=Path("earlier.dcm"), fractions=10)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    write_course_case(folder, steep)
    return read_case(folder / "case")


def _roles(cord: str = "Myelon") -> Roles:
    def of(name: str) -> Structure:
        return Structure(number=1, name=name, interpreted_type="", volume_ml=1.0, mask="a.mha")

    return Roles(of(cord), of("GTV"))


def _limits(case: Case, *, earlier: tuple[EarlierCourseConfig, ...] = (), **changes: Any) -> DoseLimits:
    entry = {"structures": ("SpinalCord",), "courses": "all_courses", "limit_gy": 70.0, "alpha_beta": 2.0}
    limit = EffectiveLimitConfig.model_validate(entry | {"reference": "site"} | changes)
    biology = BiologyConfig(limits=(limit,), earlier_courses=earlier)
    return limits_of(case, _roles(), SetupConfig(), biology, None)


def test_a_limit_that_earlier_courses_use_up_is_broken_by_every_course(case: Case) -> None:
    """60 Gy in 20 is 75 Gy of EQD2 at alpha/beta 2 Gy."""
    for earlier in ((UNIFORM,), (UNIFORM, ON_A_GRID), (ON_A_GRID, UNIFORM)):
        found = _limits(case, earlier=earlier)
        assert [(one.structure, one.limit_gy) for one in found.limits] == [("Myelon", 0.0), (NORMAL_CORD, 0.0)]
        assert "use up" in found.limits[0].reference
        (broken,) = exceedances(found.limits, "Myelon", "d0_03cc_gy", np.array([20.0, 0.0, -0.01]))
        assert broken.probability == 1.0
        assert broken.limit_gy == 0.0


def test_a_limit_that_an_earlier_dose_on_a_grid_leaves_without_a_number_is_said(case: Case) -> None:
    found = _limits(case, earlier=(ON_A_GRID,))
    assert found.limits == ()
    (note,) = found.notes
    assert "70 Gy" in note
    assert "on a grid" in note
    assert len(_limits(case, earlier=(ON_A_GRID,), courses="this_course").limits) == 2


def test_a_limit_of_the_mean_is_no_limit_of_the_hottest_part(case: Case) -> None:
    found = _limits(case, metric="mean_gy")
    assert found.limits == ()
    assert "mean_gy" in found.notes[0]
    for metric in ("max_gy", "d0_03cc_gy", "d0_01cc_gy"):
        assert len(_limits(case, metric=metric).limits) == 2


@pytest.mark.parametrize(
    ("names", "limited"),
    [
        (("SpinalCord",), ["Myelon", NORMAL_CORD]),
        (("myelon",), ["Myelon", NORMAL_CORD]),
        (("normal_cord",), [NORMAL_CORD]),
        (("normal cord", "SpinalCord"), ["Myelon", NORMAL_CORD]),
        (("ThecalSac",), []),
    ],
)
def test_a_limit_counts_for_what_it_names(case: Case, names: tuple[str, ...], limited: list[str]) -> None:
    assert [one.structure for one in _limits(case, structures=names).limits] == limited


def test_a_limit_of_the_section_setup_finds_the_cord_by_its_role(case: Case) -> None:
    settings = SetupConfig(limits=(SetupLimitConfig(structure="SpinalCord", limit_gy=30.0),))
    found = limits_of(case, _roles(), settings, BiologyConfig(limits=()), None)
    assert [one.limit_gy for one in exceedances(found.limits, "Myelon", "d0_03cc_gy", np.zeros(2))] == [30.0]
    assert exceedances(found.limits, "GTV", "d0_03cc_gy", np.zeros(2)) == ()
