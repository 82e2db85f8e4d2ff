"""The stored plans, kernels and beam of the stand-in planning system are what their calculations give."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.config import project_folder
from gatecheck.phantoms import clinical_case_1, clinical_case_2
from gatecheck.phantoms.planning import commissioning
from gatecheck.phantoms.planning.beam_model import stored_beam
from gatecheck.phantoms.planning.optimise import optimised
from gatecheck.phantoms.planning.pencil_kernels import energy_kernel, stored_kernels

pytestmark = [pytest.mark.physics]


@pytest.mark.parametrize("case", [clinical_case_1.CASE, clinical_case_2.CASE], ids=lambda case: case.name)
def test_stored_plan_is_the_result_of_the_optimisation(case):
    """Some 40 s of one core each; the rounding of the parameters hides what machines differ in."""
    found, stored = optimised(case), case.parameters()
    assert found.aperture_margin == pytest.approx(stored.aperture_margin, abs=0.011)
    np.testing.assert_allclose(found.angle_weights, stored.angle_weights, atol=0.02)
    assert found.total_meterset == pytest.approx(stored.total_meterset, rel=0.003)


def test_stored_beam_is_the_result_of_the_fit():
    """From a start 5 % away; what is not held by a measurement (electrons) is not compared."""
    stored = stored_beam()
    moved = {
        name: getattr(stored.fitted, name) * 1.05
        for name in ("hardening", "spot_sigma", "extra_focal_fraction", "extra_focal_sigma")
    }
    start = stored.model_copy(update={"fitted": stored.fitted.model_copy(update=moved)})
    file = project_folder() / "linac_models" / "truebeam_stx" / "beam_data_6x.csv"
    fitted = commissioning.fit(start, commissioning.read_measurements(file), stored_kernels()).fitted
    for name, allowed in (("spot_sigma", 0.05), ("extra_focal_fraction", 0.05), ("extra_focal_sigma", 0.05)):
        assert getattr(fitted, name) == pytest.approx(getattr(stored.fitted, name), rel=allowed), name
    assert fitted.hardening == pytest.approx(stored.fitted.hardening, abs=0.5)
    assert fitted.jaw_scale == pytest.approx(stored.fitted.jaw_scale, abs=2e-4)


def test_stored_kernel_is_the_result_of_its_calculation_bit_for_bit():
    """One interval of nine, with all of its histories: about a minute."""
    kernels = stored_kernels()
    again = energy_kernel(0, kernels.histories)
    np.testing.assert_allclose(again, np.array(kernels.weights[0]), rtol=1e-3, atol=1e-9)
