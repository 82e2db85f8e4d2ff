"""How well that is known which the configuration wants known: what rounds of more photons are for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gatecheck.compare.interface.model import Estimate, Interface
from gatecheck.compare.model import StructureComparison
from gatecheck.config_transport import TransportConfig
from gatecheck.dose.model import MergeResult
from gatecheck.transport.model import Precision


def precisions_of(
    settings: TransportConfig,
    merged: MergeResult,
    interface: Interface | None,
    structures: Sequence[StructureComparison],
) -> tuple[Precision, ...]:
    """What was to be known how well, and is, in per cent.

    Half of an interval is that by noise alone, which more photons lower; the calibration's part is stated with the
    verdicts. Of several tumours or shells the one that is known least counts.

    Parameters
    ----------
    interface : Interface, optional
        None where sigma is all that was asked for.
    structures : of comparison.json
        Empty likewise.
    """
    wanted: list[Precision] = []
    if merged.target_relative_sigma is not None:
        wanted.append(
            Precision(
                name="relative_sigma",
                wanted=100 * merged.target_relative_sigma,
                reached=100 * merged.fine_relative_sigma if merged.fine_voxels else None,
            )
        )
    widths = _half_widths(interface, structures) if interface is not None and settings.target_half_widths else {}
    wanted.extend(
        Precision(name=one.metric, wanted=one.percent, reached=widths.get(one.metric))
        for one in settings.target_half_widths
    )
    return tuple(wanted)


def _half_widths(interface: Interface, structures: Sequence[StructureComparison]) -> dict[str, float]:
    """Half of the widest 95 % interval of each metric that there is, per cent of the prescription."""
    found: dict[str, list[float]] = {"cord_d003cc": [], "tumour_d95": [], "shell_means": []}
    metrics = {one.name: one.mc for one in structures}
    for tumour in interface.tumours:
        if not tumour.prescription_gy:
            continue
        percent = 100 / tumour.prescription_gy
        cord = [] if tumour.cord_maximum is None else [tumour.cord_maximum.mc_gy]
        found["cord_d003cc"] += _half(cord, percent)
        found["shell_means"] += _half((shell.mc_mean_gy for shell in tumour.shells), percent)
        of_tumour = metrics.get(tumour.tumour)
        if of_tumour is not None and of_tumour.d95_gy.interval_95 is not None:
            low, high = of_tumour.d95_gy.interval_95
            found["tumour_d95"].append(0.5 * (high - low) * percent)
    return {name: max(widths) for name, widths in found.items() if widths}


def _half(estimates: Iterable[Estimate | None], percent: float) -> list[float]:
    return [0.5 * (one.high - one.low) * percent for one in estimates if one is not None]
