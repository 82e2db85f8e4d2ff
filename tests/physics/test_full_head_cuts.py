"""The full head's production cut and electron steps, against five times finer ones.

What they decide is what leaves the metal beside the photons that pass: scattered and annihilation photons,
bremsstrahlung, and electrons. A field of two narrow leaf openings has much of both edge and tip.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pytest
from two_heads import Both, Emerging, at_isocentre_plane, both_heads, summed

from gatecheck.transport.full_head.simulate import PRODUCTION_CUT, STEP_FUNCTION
from gatecheck.transport.process import run_in_processes

pytestmark = [pytest.mark.physics, pytest.mark.gate]

logger = logging.getLogger(__name__)

HISTORIES = 1_500_000
FINER = 5.0
FIELD, CENTRE, HALF = "off-axis 20 mm MLC", (50.0, 40.0), 10.0
NEAR = 10.0  # mm beyond the field's edge: farther out it is leakage, which the leaves' own tests look at


def near_field(emerging: Emerging) -> npt.NDArray[np.bool_]:
    x, y = at_isocentre_plane(emerging.phase_space)
    return np.maximum(np.abs(x - CENTRE[0]), np.abs(y - CENTRE[1])) < HALF + NEAR


def energy(emerging: Emerging, chosen: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Of chosen particles, per nominal photon, MeV, with sigma."""
    return summed(emerging, emerging.phase_space.weight * emerging.phase_space.energy, chosen & near_field(emerging))


@pytest.fixture(scope="module")
def runs() -> tuple[Both, Both]:
    # The same source particles, so that what reaches the metal is the same.
    usual = {"field_name": FIELD, "histories": HISTORIES, "seed": 41}
    finer = {
        **usual,
        "production_cut": PRODUCTION_CUT / FINER,
        "step_function": (STEP_FUNCTION[0] / 2, STEP_FUNCTION[1] / FINER),
    }
    found = run_in_processes(both_heads, [usual, finer], processes=2)
    return found[0], found[1]


@pytest.mark.parametrize("pdg_codes", [(22,), (11, -11)], ids=["photons", "electrons and positrons"])
def test_finer_cuts_and_steps_let_nothing_more_out(runs: tuple[Both, Both], pdg_codes: tuple[int, ...]) -> None:
    """Within 0.3 % of the open field's energy and 3 sigma, in the field and 10 mm round it; sigma at most 0.15 %."""
    metal = [energy(run.full, ~run.full.is_open & np.isin(run.full.phase_space.pdg_code, pdg_codes)) for run in runs]
    beam = energy(runs[0].full, runs[0].full.is_open)[0]
    (usual, sigma_usual), (finer, sigma_finer) = ((value / beam, sigma / beam) for value, sigma in metal)
    sigma = float(np.hypot(sigma_usual, sigma_finer))
    report = (
        f"{pdg_codes}: {100 * usual:.2f} +- {100 * sigma_usual:.2f} % of the open beam, finer {100 * finer:.2f} +- "
        f"{100 * sigma_finer:.2f} %; {runs[0].seconds:.0f} s and {runs[1].seconds:.0f} s"
    )
    logger.info("%s", report)
    assert usual > 0, report
    assert sigma < 0.0015, report
    assert abs(usual - finer) < 0.003 + 3 * sigma, report
