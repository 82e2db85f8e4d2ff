"""What the comparison sees of each fault: rows read off its results, and the rule that they must keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import hypot
from typing import Literal

from fault_case import Work
from fault_run import FINISHED_FILE, Finished
from pydantic import BaseModel, ConfigDict, Field

from gatecheck.compare.interface.analysis import INTERFACE_FILE
from gatecheck.compare.interface.model import Finding, Interface, InterfaceComparison, Outcome, ShellComparison, Verdict
from gatecheck.compare.interface.statistics import t_quantile_as_rare_as
from gatecheck.compare.interface.verdicts import SEEN
from gatecheck.compare.model import Comparison, DoseMetrics, Metric
from gatecheck.compare.structures import COMPARISON_FILE
from gatecheck.dose.model import MergeResult
from gatecheck.files import HandedOn, read_json
from gatecheck.layout import CaseLayout
from gatecheck.phantoms.faults import Fault

Question = Literal["output", "position", "spread", "cord maximum"]
QUESTIONS: tuple[Question, ...] = ("output", "position", "spread", "cord maximum")
FAULT_FREE = "none"

_WORST_FIRST: tuple[Outcome, ...] = ("fail", "undecided", "not assessed", "pass")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FindingRow(_Part):
    """One quantity at one tumour."""

    tumour: str
    quantity: str
    value: float
    unit: str
    significance: float | None = Field(description="as the comparison states it")
    noise_sigma: float
    change: float | None = Field(None, description="from the fault-free case")
    change_significance: float | None = Field(
        None,
        description="over both noises' sigma, over one where both are of the same photons; the calibration is shared",
    )
    is_seen: bool = Field(description="differs from zero by the comparison's own mark")
    is_changed: bool = Field(
        False, description="differs from the fault-free case beyond what noise does once in 370 times, by Student's t"
    )
    degrees_of_freedom: int = Field(description="of the noise's sigma")


class QuestionRow(_Part):
    """One question of all tumours: the worst outcome, and the findings, the most significant first."""

    question: Question
    outcome: Outcome
    is_seen: bool
    findings: tuple[FindingRow, ...]


class GammaRow(_Part):
    """Pass rates in the shells, per cent, with the TPS dose as the reference and without what noise does to them."""

    tumour: str
    criteria: str
    pass_percent: float = Field(description="of all points within 5 mm of the surface and inside")
    lowest_percent: float = Field(description="of the shell with the lowest")
    lowest_sigma: float
    lowest_shell: str


class MetricRow(_Part):
    """A dose to a volume, Monte Carlo less TPS."""

    name: str
    difference_gy: float
    sigma_gy: float = Field(description="of noise and calibration")
    significance: float


class FaultRow(_Part):
    """What is seen of one fault."""

    fault: str
    is_gross: bool
    must_be_seen: bool
    work: str = Field(description="the step from which it was done again")
    photons: int
    mean_relative_sigma: float
    seconds_of_chunks: float = Field(description="wall clock, one process each")
    core_seconds: float = Field(description="processor time of the run that finished it")
    questions: tuple[QuestionRow, ...]
    gamma: tuple[GammaRow, ...]
    metrics: tuple[MetricRow, ...]

    @property
    def seen_by(self) -> tuple[Question, ...]:
        """Questions with a finding that differs from zero."""
        return tuple(one.question for one in self.questions if one.is_seen)


class FaultTable(HandedOn):
    """All faults of a case."""

    case: str
    calibration_relative_sigma: float
    clinical: bool = Field(description="False: the Geant4 data are not for clinical use")
    rows: tuple[FaultRow, ...]

    @property
    def fault_free(self) -> FaultRow | None:
        """The row of the case without any fault."""
        return next((row for row in self.rows if row.fault == FAULT_FREE), None)


def read_row(fault: Fault, layout: CaseLayout, work: str) -> FaultRow:
    """Read a finished fault's results.

    Raises
    ------
    ResultError
        When one is missing or damaged.
    """
    interface = read_json(layout.compare / INTERFACE_FILE, Interface)
    comparison = read_json(layout.compare / COMPARISON_FILE, Comparison)
    merged = read_json(layout.dose / "merge.json", MergeResult)
    return FaultRow(
        fault=fault.name,
        is_gross=fault.is_gross,
        must_be_seen=fault.must_be_seen,
        work=work,
        photons=merged.histories,
        mean_relative_sigma=merged.mean_relative_sigma,
        seconds_of_chunks=merged.seconds_of_chunks,
        core_seconds=read_json(layout.folder / FINISHED_FILE, Finished).core_seconds,
        questions=tuple(question_row(question, interface.tumours) for question in QUESTIONS),
        gamma=tuple(row for tumour in interface.tumours for row in gamma_rows(tumour)),
        metrics=metric_rows(interface.tumours, comparison, merged.calibration_relative_sigma),
    )


def question_row(question: Question, tumours: Sequence[InterfaceComparison]) -> QuestionRow:
    """One question of all tumours together."""
    asked: list[tuple[str, Verdict]] = [
        (tumour.tumour, verdict) for tumour in tumours for verdict in tumour.verdicts if verdict.question == question
    ]
    batches = {tumour.tumour: tumour.batches for tumour in tumours}
    findings = [
        _finding_row(tumour, finding, batches[tumour] - 1) for tumour, verdict in asked for finding in verdict.findings
    ]
    outcomes: list[Outcome] = [verdict.outcome for _, verdict in asked] or ["not assessed"]
    return QuestionRow(
        question=question,
        outcome=min(outcomes, key=_WORST_FIRST.index),
        is_seen=any(one.is_seen for one in findings),
        findings=tuple(sorted(findings, key=lambda one: -abs(one.significance or 0.0))),
    )


def _finding_row(tumour: str, finding: Finding, degrees_of_freedom: int) -> FindingRow:
    return FindingRow(
        tumour=tumour,
        quantity=finding.quantity,
        value=finding.value,
        unit=finding.unit,
        significance=finding.significance,
        noise_sigma=finding.noise_sigma,
        is_seen=finding.is_seen,
        degrees_of_freedom=degrees_of_freedom,
    )


def gamma_rows(tumour: InterfaceComparison) -> tuple[GammaRow, ...]:
    """One row for each pair of criteria."""
    rates: dict[str, list[tuple[ShellComparison, int, float, float]]] = {}
    for shell in tumour.shells:
        for rate in shell.gamma:
            if rate.reference == "TPS":
                found = (shell, rate.points, rate.pass_percent.value, rate.pass_percent.sigma)
                rates.setdefault(rate.criteria, []).append(found)
    rows = []
    for criteria, of_shells in rates.items():
        # "all" holds the cord's points too, so that tumour and all count each point once.
        once = [(points, value) for shell, points, value, _ in of_shells if shell.region != "cord"]
        shell, _, lowest, sigma = min(of_shells, key=lambda one: one[2])
        rows.append(
            GammaRow(
                tumour=tumour.tumour,
                criteria=criteria,
                pass_percent=sum(points * value for points, value in once) / sum(points for points, _ in once),
                lowest_percent=lowest,
                lowest_sigma=sigma,
                lowest_shell=f"{shell.name}, {shell.region}",
            )
        )
    return tuple(rows)


def metric_rows(
    tumours: Sequence[InterfaceComparison], comparison: Comparison, calibration_relative_sigma: float
) -> tuple[MetricRow, ...]:
    """D95 of each tumour and D0.03cc of the cord."""
    wanted = [(tumour.tumour, "d95_gy", "D95") for tumour in tumours]
    wanted += sorted({(tumour.cord, "d003cc_gy", "D0.03cc") for tumour in tumours if tumour.cord is not None})
    structures = {one.name: one for one in comparison.structures}
    rows = []
    for name, key, label in wanted:
        mc, tps = (_metric(doses, key) for doses in (structures[name].mc, structures[name].tps))
        if mc is None or tps is None or mc.sigma is None:
            continue
        sigma = hypot(mc.sigma, calibration_relative_sigma * mc.value)
        difference = mc.value - tps.value
        rows.append(
            MetricRow(name=f"{name} {label}", difference_gy=difference, sigma_gy=sigma, significance=difference / sigma)
        )
    return tuple(rows)


def _metric(doses: DoseMetrics | None, key: str) -> Metric | None:
    found: Metric | None = None if doses is None else getattr(doses, key)
    return found


def with_changes(rows: Sequence[FaultRow]) -> tuple[FaultRow, ...]:
    """Rows with what each finding has changed by since the fault-free case."""
    fault_free = next((row for row in rows if row.fault == FAULT_FREE), None)
    if fault_free is None:
        return tuple(rows)
    before = {(one.tumour, one.quantity): one for question in fault_free.questions for one in question.findings}
    changed = []
    for row in rows:
        same_photons = row.work != Work.SIMULATE.value
        questions = tuple(_changed(question, before, same_photons=same_photons) for question in row.questions)
        changed.append(row if row is fault_free else row.model_copy(update={"questions": questions}))
    return tuple(changed)


def _changed(question: QuestionRow, before: dict[tuple[str, str], FindingRow], *, same_photons: bool) -> QuestionRow:
    findings = []
    for one in question.findings:
        was = before.get((one.tumour, one.quantity))
        if was is None:
            findings.append(one)
            continue
        change = one.value - was.value
        # Two readings of the same photons have one noise, and its size is what a change has to stand out from.
        sigma = one.noise_sigma if same_photons else hypot(one.noise_sigma, was.noise_sigma)
        significance = change / sigma if sigma > 0 else None
        freedom = min(one.degrees_of_freedom, was.degrees_of_freedom)
        is_changed = significance is not None and abs(significance) >= t_quantile_as_rare_as(SEEN, freedom)
        update = {"change": change, "change_significance": significance, "is_changed": is_changed}
        findings.append(one.model_copy(update=update))
    return question.model_copy(update={"findings": tuple(findings)})


def told_by(row: FaultRow) -> tuple[Question, ...]:
    """Questions that see the fault itself: a finding that differs from zero, and from the fault-free case's.

    Either alone is not enough: what the fault-free case shows as well is no sign of the fault, and a fault that brings
    a difference to zero would not be noticed by who has no fault-free case to compare with.
    """
    return tuple(
        question.question
        for question in row.questions
        if any(finding.is_seen and finding.is_changed for finding in question.findings)
    )


def shortcomings(table: FaultTable) -> tuple[str, ...]:
    """What the requirement asks for and the table does not show; empty when it is met."""
    fault_free = table.fault_free
    if fault_free is None:
        return ("The fault-free case is not in the table.",)
    found = [
        f"The fault-free case does not pass: {question.question} is {question.outcome}."
        for question in fault_free.questions
        if question.outcome != "pass"
    ]
    for row in table.rows:
        if row.must_be_seen and not told_by(row):
            found.append(f'"{row.fault}" must be seen and is not ({_nearest(row.questions)}).')
    return tuple(found)


def _nearest(questions: Iterable[QuestionRow]) -> str:
    findings = [(question.question, one) for question in questions for one in question.findings]
    if not findings:
        return "nothing was assessed"
    question, most = max(findings, key=lambda one: abs(one[1].significance or 0.0))
    text = f"most significant: {question} at {abs(most.significance or 0.0):.1f} sigma"
    if most.change_significance is None:
        return text
    return f"{text}, {abs(most.change_significance):.1f} from the fault-free case"
