"""What the answers say where the core is not flat, where the fit says otherwise, and what equal output is."""

from __future__ import annotations

from gatecheck.compare.interface.decisions import decide
from gatecheck.compare.interface.model import Estimate, InterfaceComparison, JointFit, Plateau, Verdict
from gatecheck.config_comparison import ComparisonConfig


def _estimate(value: float, sigma: float) -> Estimate:
    return Estimate(value=value, sigma=sigma, low=value - 2.2 * sigma, high=value + 2.2 * sigma)


def _decided(core: float, fitted: float, *, sigma: float = 0.2, is_flat: bool = True) -> dict[str, Verdict]:
    """Answers by the core's difference and the fit's, %, both with one sigma by noise, from 12 batches."""
    nothing = _estimate(0.0, 0.02)
    found = InterfaceComparison(
        tumour="GTV",
        cord=None,
        relation="no cord to compare with",
        tumour_volume_ml=0.3,
        prescription_gy=39.0,
        batches=12,
        photons=1e6,
        calibration_relative_sigma=0.002,
        plateau=Plateau(
            definition="a core",
            is_flat=is_flat,
            volume_ml=0.05,
            depth=1.0,
            gradient_percent_per_mm=1.0,
            mc_mean_gy=_estimate(39.0, 0.1),
            tps_mean_gy=39.0,
            difference_percent=_estimate(core, sigma),
            grid_error_percent=0.1,
        ),
        fit=JointFit(
            voxels=500,
            output_percent=_estimate(fitted, sigma),
            shift_xyz=(nothing, nothing, nothing),
            shift_covariance=((4e-4, 0.0, 0.0), (0.0, 4e-4, 0.0), (0.0, 0.0, 4e-4)),
            widening=nothing,
            residual_percent=0.1,
            grid_error={"output": 0.1, "shift_x": 0.0, "shift_y": 0.0, "shift_z": 0.0, "widening": 0.0},
        ),
    )
    return {one.question: one for one in decide(found, ComparisonConfig())}


def test_a_core_that_passes_against_the_fit_is_undecided_and_both_numbers_are_said() -> None:
    output = _decided(0.25, 3.1)["output"]
    assert output.outcome == "undecided"
    assert "0.25 %" in output.statement
    assert "3.1 % (95 % from 2.4" in output.statement
    assert output.findings[0].statement in output.statement


def test_a_fit_that_is_not_sure_or_agrees_leaves_the_core_its_answer() -> None:
    assert _decided(0.25, 2.6)["output"].outcome == "pass"
    assert _decided(0.25, 0.4)["output"].outcome == "pass"
    assert _decided(4.0, 4.1)["output"].outcome == "fail"
    assert _decided(-0.25, -3.1)["output"].outcome == "undecided"


def test_a_core_that_is_not_flat_is_said_to_be_lowered_by_more_than_output() -> None:
    assert "not flat" in _decided(0.25, 0.4, is_flat=False)["output"].statement
    assert "not flat" not in _decided(0.25, 0.4)["output"].statement


def test_the_output_that_isodoses_are_brought_to_is_said() -> None:
    assert "without the +1.3 % (95 % by noise from 0.86 to 1.74 %)" in _decided(0.25, 1.3)["spread"].statement
