"""Made results folders, written once for all tests of the report room."""

from __future__ import annotations

import pytest
from made_results import Wanted, Written, write


@pytest.fixture(scope="session")
def with_tps(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Embedded data set, TPS dose, awkward and equal structure names; the folder's name holds an identity."""
    return write(tmp_path_factory.mktemp("with_tps") / "DOE_JANE_19450101", Wanted())


@pytest.fixture(scope="session")
def clinical(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Official data set, no TPS dose, no prescription, several isocentres, a plan label that is wanted."""
    wanted = Wanted(
        tps=False, clinical=True, isocentres=2, beams=3, prescription_gy=None, plan_label="PLAN <7>", organs=12
    )
    return write(tmp_path_factory.mktemp("clinical") / "case", wanted)
