"""Many verifications on one page: a table that can be sorted, and each quantity over time with control limits."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pydantic import BaseModel, ConfigDict, Field

from gatecheck import __version__
from gatecheck.compare.control_chart import ENOUGH, ControlChart, control_chart
from gatecheck.compare.interface.model import Outcome
from gatecheck.config import load_config
from gatecheck.errors import GatecheckError, ResultError
from gatecheck.files import HandedOn, read_json, write_atomically, write_json
from gatecheck.layout import CaseLayout
from gatecheck.report.figures import as_svg, drawing_settings
from gatecheck.report.html import template_environment
from gatecheck.report.style import OKABE_ITO
from gatecheck.report.summary import Summary

OVERVIEW_JSON, OVERVIEW_PAGE = "batch.json", "batch.html"

State = Literal["verified", "refused", "waiting"]
_WORST_FIRST: tuple[Outcome, ...] = ("fail", "undecided", "not assessed", "pass")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchMetric(_Part):
    """One finding of one verdict."""

    tumour: str
    question: str
    quantity: str
    unit: str
    value: float
    low: float
    high: float
    tolerance: float
    is_limit: bool = Field(description="a dose against a limit, not a difference: not charted")
    outcome: Outcome

    @property
    def badness(self) -> tuple[int, float]:
        """By which the finding to be shown is chosen: the worst outcome, then the most of its tolerance."""
        return _WORST_FIRST.index(self.outcome), -abs(self.value) / self.tolerance


class BatchEntry(_Part):
    """One plan of a batch. Folders are named by their place in the alphabet: their names may be patients'."""

    number: int = Field(description="place among the batch's folders, from 1")
    state: State
    case: str = Field("", description="name of its results folder")
    verified_at: datetime.datetime | None = Field(None, description="when its dose had been simulated, UTC")
    machine: str = ""
    site: str = ""
    outcome: Outcome = "not assessed"
    relative_sigma: float | None = None
    metrics: tuple[BatchMetric, ...] = ()
    warnings: int = 0
    clinical: bool = False
    message: str = Field("", description="why it was refused")


class Batch(HandedOn):
    """Written as batch.json beside the cases' folders."""

    gatecheck: str = __version__
    entries: tuple[BatchEntry, ...]
    earlier: tuple[BatchEntry, ...] = Field(
        (), description="cases verified before that lie beside these; they count in the charts over time alone"
    )


def earlier_entries(results_folder: Path) -> tuple[BatchEntry, ...]:
    """Cases of a results folder that have a summary of this version."""
    found = []
    for path in sorted(results_folder.glob("*/report/summary.json")):
        with contextlib.suppress(ResultError):  # of another version, or damaged: it is no part of the record
            found.append(entry_of(0, results_folder, path.parent.parent.name))
    return tuple(found)


def entry_of(number: int, results_folder: Path, case: str) -> BatchEntry:
    """What a verified case's summary says.

    Raises
    ------
    ResultError
        When its summary.json cannot be read.
    """
    layout = CaseLayout(results_folder / case)
    path = layout.report / "summary.json"
    summary = read_json(path, Summary)
    verdicts = [verdict for tumour in summary.interface.tumours for verdict in tumour.verdicts]
    return BatchEntry(
        number=number,
        state="verified",
        case=case,
        verified_at=summary.simulated_at or datetime.datetime.fromtimestamp(int(path.stat().st_mtime), datetime.UTC),
        machine=summary.machine,
        site=_site(layout),
        outcome=min((verdict.outcome for verdict in verdicts), key=_WORST_FIRST.index, default="not assessed"),
        relative_sigma=summary.fine_relative_sigma or summary.mean_relative_sigma,
        metrics=tuple(_metrics(summary)),
        warnings=len(summary.warnings),
        clinical=summary.clinical,
    )


def _site(layout: CaseLayout) -> str:
    try:
        return load_config(layout.config, check_inputs=False).case.site or ""
    except GatecheckError:  # of another version; the summary is what counts
        return ""


def _metrics(summary: Summary) -> Iterator[BatchMetric]:
    for tumour in summary.interface.tumours:
        for verdict in tumour.verdicts:
            for one in verdict.findings:
                yield BatchMetric(
                    tumour=tumour.tumour,
                    question=verdict.question,
                    quantity=one.quantity,
                    unit=one.unit,
                    value=one.value,
                    low=one.low,
                    high=one.high,
                    tolerance=one.tolerance,
                    is_limit=one.is_limit,
                    outcome=one.outcome,
                )


def _worst_of_each_question(entry: BatchEntry) -> dict[str, BatchMetric]:
    worst: dict[str, BatchMetric] = {}
    for one in sorted(entry.metrics, key=lambda one: one.badness):
        worst.setdefault(one.question, one)
    return worst


def write_overview(folder: Path, entries: Sequence[BatchEntry], earlier: Sequence[BatchEntry] = ()) -> Path:
    """Write batch.json and, made from it alone, batch.html.

    Parameters
    ----------
    earlier : sequence of BatchEntry
        Cases of the same folder of results that were there before; of a case that is verified again the new one counts.

    Raises
    ------
    WriteError
        When a file cannot be written.
    """
    cases = {entry.case for entry in entries}
    batch = Batch(entries=tuple(entries), earlier=tuple(entry for entry in earlier if entry.case not in cases))
    write_json(folder / OVERVIEW_JSON, batch)
    target = folder / OVERVIEW_PAGE
    text = (
        template_environment()
        .get_template("overview.html.j2")
        .render(
            batch=batch,
            rows=[(entry, _worst_of_each_question(entry)) for entry in batch.entries],
            charts=list(charts_of(batch)),
            worst_first=list(_WORST_FIRST),
            questions=list(dict.fromkeys(one.question for entry in entries for one in entry.metrics)),
            enough=ENOUGH,
            script=Markup((Path(__file__).parent / "overview.js").read_text(encoding="utf-8")),
        )
    )
    with write_atomically(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


@dataclass(frozen=True, slots=True)
class QuantityChart:
    """One quantity of one machine and site over time.

    Attributes
    ----------
    image : str
        Data URI of an SVG.
    outside : tuple of str
        Cases beyond the limits.
    """

    title: str
    chart: ControlChart
    unit: str
    image: str
    outside: tuple[str, ...]


def charts_of(batch: Batch) -> Iterator[QuantityChart]:
    """By machine, site and whether for clinical use, in the order of time; of three plans and more.

    Of a plan with several tumours the worst finding counts: two of one plan are no two deliveries of a machine.
    """
    verified = [entry for entry in (*batch.earlier, *batch.entries) if entry.verified_at is not None]
    verified.sort(key=lambda entry: (entry.verified_at, entry.number))
    keys = dict.fromkeys(
        (entry.machine, entry.site, entry.clinical, one.question, one.quantity, one.unit)
        for entry in verified
        for one in entry.metrics
        if not one.is_limit
    )
    for machine, site, clinical, question, quantity, unit in keys:
        points = []
        for entry in verified:
            asked = (question, quantity, unit)
            found = [one for one in entry.metrics if (one.question, one.quantity, one.unit) == asked]
            if (entry.machine, entry.site, entry.clinical) == (machine, site, clinical) and found:
                points.append((entry, min(found, key=lambda one: one.badness)))
        chart = control_chart([one.value for _, one in points])
        if chart is not None:
            where = " · ".join(part for part in (machine, site, "" if clinical else "not for clinical use") if part)
            yield QuantityChart(
                title=f"{where}: {quantity}",
                chart=chart,
                unit=unit,
                image=_drawn(chart, f"{question} ({unit})"),
                outside=tuple(points[place][0].case for place in chart.outside),
            )


def _drawn(chart: ControlChart, label: str) -> str:
    with drawing_settings():
        figure = Figure(figsize=(6.4, 2.6), layout="constrained")
        axes = figure.add_subplot()
        number = range(1, len(chart.values) + 1)
        axes.plot(number, chart.values, color=OKABE_ITO[0], marker="o", markersize=4, linewidth=1)
        outside = [place + 1 for place in chart.outside]
        axes.plot(
            outside,
            [chart.values[place] for place in chart.outside],
            linestyle="",
            marker="s",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=OKABE_ITO[1],
        )
        axes.axhline(chart.centre, color="#333333", linewidth=0.8)
        for limit in (chart.lower, chart.upper):
            axes.axhline(limit, color=OKABE_ITO[1], linewidth=1, linestyle=(0, (5, 3)))
        axes.set(xlabel="Plan, in the order of verification", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        return as_svg(figure)
