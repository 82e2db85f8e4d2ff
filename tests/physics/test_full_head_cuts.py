"""The full head's production cut and electron steps, against five times finer ones.

What they decide is what leaves the metal beside the photons that pass: scattered and annihilation photons,
bremsstrahlung, and electrons. A field of two narrow leaf openings has much of both edge and tip.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pytest
from two_heads import Both, Emerging, both_heads, summed

from gatecheck.transport.full_head.simulate import PRODUCTION_CUT, STEP_FUNCTION
from gatecheck.transport.process import run_in_process

pytestmark = [pytest.mark.physics, pytest.mark.gate]

logger = logging.getLogger(__name__)

HISTORIES = 150_000
FINER = 5.0


def leaving_metal(emerging: Emerging, pdg_codes: tuple[int, ...]) -> tuple[float, float]:
    """Energy of the particles of a kind that met metal, per nominal photon, MeV, with sigma."""
    space = emerging.phase_space
    chosen: npt.NDArray[np.bool_] = ~emerging.is_open & np.isin(space.pdg_code, pdg_codes)
    return summed(emerging, space.weight * space.energy, chosen)


@pytest.fixture(scope="module")
def runs() -> tuple[Both, Both]:
    usual = run_in_process(both_heads, field_name="off-axis 20 mm MLC", histories=HISTORIES, seed=41)
    finer = run_in_process(
        both_heads,
        field_name="off-axis 20 mm MLC",
        histories=HISTORIES,
        seed=42,
        production_cut=PRODUCTION_CUT / FINER,
        step_function=(STEP_FUNCTION[0] / 2, STEP_FUNCTION[1] / FINER),
    )
    return usual, finer


@pytest.mark.parametrize("pdg_codes", [(22,), (11, -11)], ids=["photons", "electrons and positrons"])
def test_finer_cuts_and_steps_let_nothing_more_out(runs: tuple[Both, Both], pdg_codes: tuple[int, ...]) -> None:
    """Within 3 sigma; sigma below 10 % of what leaves the metal, which is itself some percent of the beam."""
    (usual, sigma_usual), (finer, sigma_finer) = (leaving_metal(run.full, pdg_codes) for run in runs)
    sigma = float(np.hypot(sigma_usual, sigma_finer))
    logger.info(
        "%s: %.3g +- %.2g MeV, finer %.3g +- %.2g; %.0f s and %.0f s",
        pdg_codes, usual, sigma_usual, finer, sigma_finer, runs[0].seconds, runs[1].seconds,
    )  # fmt: skip
    assert usual > 0
    assert sigma < 0.1 * usual
    assert abs(usual - finer) < 3 * sigma
