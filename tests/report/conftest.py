"""Made results folders, written once for all tests of the report room."""

from __future__ import annotations

import pytest
from made_results import AWKWARD_NAME, Wanted, Written, write


@pytest.fixture(scope="session")
def with_tps(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Embedded data set, TPS dose, awkward and equal structure names; the folder's name holds an identity.

    Two tumours, an earlier course, and setup errors simulated again.
    """
    wanted = Wanted(tumours=("GTVp", AWKWARD_NAME), earlier_course=True, setup_check="fresh")
    return write(tmp_path_factory.mktemp("with_tps") / "DOE_JANE_19450101", wanted)


@pytest.fixture(scope="session")
def clinical(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Official data set, no TPS dose, no prescription, several isocentres, a plan label that is wanted.

    No tumour to compare at, and no structure followed through setup errors.
    """
    wanted = Wanted(
        tps=False,
        clinical=True,
        isocentres=2,
        beams=3,
        prescription_gy=None,
        plan_label="PLAN <7>",
        organs=12,
        followed=(),
    )
    return write(tmp_path_factory.mktemp("clinical") / "case", wanted)


@pytest.fixture(scope="session")
def without_tps(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A tumour with a prescription, but no TPS dose, no cord and no limit of it; bands that noise dominates.

    The check of the setup errors is of other sampled courses.
    """
    wanted = Wanted(
        tps=False, organs=0, cord=None, cord_limit_gy=None, is_setup_noisy=True, setup_check="stale", noise_hu=0.0
    )
    return write(tmp_path_factory.mktemp("without_tps") / "case", wanted)
