"""The four questions at one tumour's surface: output, position, spread, and the cord's maximum."""

from __future__ import annotations

import numpy as np

from gatecheck.compare.interface.model import (
    CordMaximum,
    Estimate,
    Finding,
    InterfaceComparison,
    JointFit,
    Plateau,
    Verdict,
)
from gatecheck.compare.interface.verdicts import Measured, judge, not_assessed, verdict
from gatecheck.config_comparison import ComparisonConfig


def decide(found: InterfaceComparison, settings: ComparisonConfig) -> tuple[Verdict, ...]:
    """Answer all four; what cannot be answered says why."""
    return (
        _output(found, settings),
        _position(found, settings),
        _spread(found, settings),
        _cord_maximum(found, settings),
    )


def _why_not(found: InterfaceComparison) -> str:
    return " ".join(found.notes) or "There is nothing to assess it by."


def _output(found: InterfaceComparison, settings: ComparisonConfig) -> Verdict:
    plateau, tolerance = found.plateau, settings.output_tolerance_percent
    if plateau is None:
        return not_assessed("output", f"Output: not assessed. {_why_not(found)}")
    measured = Measured(
        quantity="Dose in the tumour's core, MC less TPS",
        unit="%",
        value=plateau.difference_percent.value,
        noise_sigma=plateau.difference_percent.sigma,
        degrees_of_freedom=found.batches - 1,
        grid_error=plateau.grid_error_percent,
        common_sigma=100 * found.calibration_relative_sigma,
    )
    finding = _with_shape(judge(measured, tolerance.value, tolerance.source, photons=found.photons), plateau)
    answer = verdict("output", [finding])
    fitted = _output_of_fit(found, settings)
    if fitted is None or finding.outcome != "pass" or fitted.outcome != "fail":
        return answer
    reason = (
        "Undecided all the same: the joint fit, which tells output from shift and widening, finds "
        f"{fitted.value:.3g} % (95 % from {fitted.low:.3g} to {fitted.high:.3g} %), wholly beyond the tolerance."
    )
    return answer.model_copy(update={"outcome": "undecided", "statement": f"{finding.statement} {reason}"})


def _with_shape(finding: Finding, plateau: Plateau) -> Finding:
    """The finding of the core's dose, which says so where that is not a matter of output alone."""
    if plateau.is_flat:
        return finding
    text = f"{finding.statement} The core is not flat: shift and blur lower the dose there too."
    return finding.model_copy(update={"statement": text})


def _output_of_fit(found: InterfaceComparison, settings: ComparisonConfig) -> Finding | None:
    """The joint fit's output, held against the tolerance as that of the core is."""
    fit, tolerance = found.fit, settings.output_tolerance_percent
    if fit is None:
        return None
    measured = Measured(
        quantity="Output by the joint fit, MC less TPS",
        unit="%",
        value=fit.output_percent.value,
        noise_sigma=fit.output_percent.sigma,
        degrees_of_freedom=found.batches - 1,
        grid_error=fit.grid_error["output"],
        common_sigma=100 * found.calibration_relative_sigma,
    )
    return judge(measured, tolerance.value, tolerance.source, photons=None)


def _position(found: InterfaceComparison, settings: ComparisonConfig) -> Verdict:
    fit, tolerance = found.fit, settings.position_tolerance_mm
    if fit is None:
        return not_assessed("position", f"Position: not assessed. {_why_not(found)}")
    size, sigma = shift_length(fit)
    grid = float(np.linalg.norm([fit.grid_error[name] for name in ("shift_x", "shift_y", "shift_z")]))
    measured = Measured("Shift of the MC's dose from the TPS's", "mm", size, sigma, found.batches - 1, grid)
    return verdict("position", [judge(measured, tolerance.value, tolerance.source, photons=found.photons)])


def shift_length(fit: JointFit) -> tuple[float, float]:
    """Length of the shift without what noise adds, mm, and its sigma.

    Noise adds the trace of the covariance to the square of the length. The sigma is that along the shift, or, as far
    as the shift itself is no longer than that, the largest along any direction.
    """
    shift = np.array([one.value for one in fit.shift_xyz])
    covariance = np.array(fit.shift_covariance)
    largest = float(np.sqrt(max(np.linalg.eigvalsh(covariance)[-1], 0.0)))
    length = float(np.linalg.norm(shift))
    if length <= 3 * largest:
        return float(np.sqrt(max(length**2 - np.trace(covariance), 0.0))), largest
    along = shift / length
    return float(np.sqrt(length**2 - np.trace(covariance))), float(np.sqrt(along @ covariance @ along))


def _spread(found: InterfaceComparison, settings: ComparisonConfig) -> Verdict:
    fit, tolerance = found.fit, settings.spread_tolerance_mm
    if fit is None:
        return not_assessed("spread", f"Spread: not assessed. {_why_not(found)}")
    wide = Measured(
        quantity="Isodoses of the MC further out at equal output",
        unit="mm",
        value=fit.widening.value,
        noise_sigma=fit.widening.sigma,
        degrees_of_freedom=found.batches - 1,
        grid_error=fit.grid_error["widening"],
    )
    further = judge(wide, tolerance.value, tolerance.source, photons=found.photons)
    equal = f"{further.statement} {_equal_output(fit.output_percent)}"
    findings = [further.model_copy(update={"statement": equal})]
    fall = found.fall_off
    if fall is not None:
        width = Measured(
            quantity=f"Fall-off from {fall.from_percent:g} to {fall.to_percent:g} % wider in the MC",
            unit="mm",
            value=fall.difference.value,
            noise_sigma=fall.difference.sigma,
            degrees_of_freedom=found.batches - 1,
            grid_error=fall.grid_error,
        )
        findings.append(judge(width, tolerance.value, tolerance.source, photons=found.photons))
    return verdict("spread", findings)


def _equal_output(output: Estimate) -> str:
    """What is taken off the Monte Carlo's dose before isodoses are held against each other."""
    return (
        f"Equal output: without the {output.value:+.3g} % (95 % by noise from {output.low:.3g} to {output.high:.3g} %) "
        "by which the joint fit finds the MC's dose higher."
    )


def _cord_maximum(found: InterfaceComparison, settings: ComparisonConfig) -> Verdict:
    cord = found.cord_maximum
    if cord is None:
        return not_assessed("cord maximum", f"Cord maximum: not assessed. {_why_not(found)}")
    findings = _findings_of_cord(found, cord, settings)
    if not findings:
        return not_assessed(
            "cord maximum",
            "Cord maximum: not assessed. Neither a TPS dose nor a limit (comparison.cord_limit).",
        )
    answer = verdict("cord maximum", findings)
    if settings.cord_limit is None or cord.is_of_whole_cord or answer.outcome == "fail":
        return answer
    reason = "The limit is not assessed: not all of the cord lies in a dose grid."
    return answer.model_copy(update={"outcome": "not assessed", "statement": f"{reason} {answer.statement}"})


def _findings_of_cord(found: InterfaceComparison, cord: CordMaximum, settings: ComparisonConfig) -> list[Finding]:
    common = found.calibration_relative_sigma * cord.mc_gy.value
    freedom = cord.degrees_of_freedom
    findings = []
    if cord.difference_gy is not None and cord.grid_error_gy is not None:
        scale, tolerance = 100 / found.prescription_gy, settings.cord_maximum_tolerance_percent
        measured = Measured(
            quantity="Dose to the hottest 0.03 ml of cord, MC less TPS, of the prescription",
            unit="%",
            value=scale * cord.difference_gy.value,
            noise_sigma=scale * cord.difference_gy.sigma,
            degrees_of_freedom=freedom,
            grid_error=scale * cord.grid_error_gy,
            common_sigma=scale * common,
        )
        findings.append(judge(measured, tolerance.value, tolerance.source, photons=found.photons))
    if settings.cord_limit is not None:
        limited = Measured(
            quantity="MC dose to the hottest 0.03 ml of cord",
            unit="Gy",
            value=cord.mc_gy.value,
            noise_sigma=cord.mc_gy.sigma,
            degrees_of_freedom=freedom,
            common_sigma=common,
        )
        limit = settings.cord_limit
        findings.append(judge(limited, limit.dose_gy, limit.source, photons=found.photons, is_limit=True))
    return findings
