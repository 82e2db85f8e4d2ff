"""The table of faults as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from fault_rows import FAULT_FREE, FaultRow, FaultTable, FindingRow, QuestionRow, shortcomings, told_by

_NONE = "-"


def markdown(table: FaultTable) -> str:
    """The whole page."""
    blocks = [
        f"# Faults put into {table.case}",
        _introduction(table),
        _verdict(table),
        _seen_table(table),
        "Differences of doses to volumes and gamma, for contrast:",
        _contrast_table(table),
        "All findings, the most significant of each question first:",
        _findings_table(table),
        "What it took:",
        _cost_table(table),
    ]
    return "\n\n".join(blocks) + "\n"


def _introduction(table: FaultTable) -> str:
    data = "" if table.clinical else " The Geant4 data are the embedded ones, not for clinical use."
    return (
        "The TPS dose is that of the plan as it was meant, what is simulated has the fault. "
        "A cell of a question gives the outcome against its tolerance and its most significant finding: value, and "
        "significance in sigma (noise and calibration together, the grid's error taken off). A question sees "
        "what differs from zero beyond what chance does once in 370 times, by Student's t for its batches, as the "
        "report does; it tells the fault, in bold, when that finding differs as surely from the fault-free case's, by "
        "both noises, or by the one noise where both are of the same photons. "
        f"Calibration: {100 * table.calibration_relative_sigma:.2g} % (k = 1).{data}"
    )


def _verdict(table: FaultTable) -> str:
    found = shortcomings(table)
    if not found:
        return "**The fault-free case passes, and every fault here that must be seen is seen.**"
    return "**Not met:**\n\n" + "\n".join(f"- {one}" for one in found)


def _seen_table(table: FaultTable) -> str:
    fault_free = table.fault_free
    names = [question.question for question in table.rows[0].questions] if table.rows else []
    rows = []
    for row in table.rows:
        told = () if fault_free is None or row.fault == FAULT_FREE else told_by(row)
        seen = ", ".join(f"**{name}**" if name in told else name for name in row.seen_by) or _NONE
        must = "gross" if row.is_gross else "yes" if row.must_be_seen else ""
        rows.append([row.fault, must, seen, *(_question_cell(question) for question in row.questions)])
    return _table(["fault", "must be seen", "seen by", *names], rows)


def _question_cell(question: QuestionRow) -> str:
    if not question.findings:
        return question.outcome
    most = question.findings[0]
    return f"{question.outcome}, {_value(most)} ({_sigmas(most.significance)})"


def _contrast_table(table: FaultTable) -> str:
    metrics = list(dict.fromkeys(one.name for row in table.rows for one in row.metrics))
    gammas = list(dict.fromkeys((one.tumour, one.criteria) for row in table.rows for one in row.gamma))
    rows = []
    for row in table.rows:
        of_metrics = {one.name: one for one in row.metrics}
        of_gamma = {(one.tumour, one.criteria): one for one in row.gamma}
        cells = [
            _NONE
            if (found := of_metrics.get(name)) is None
            else f"{found.difference_gy:+.2f} Gy ({_sigmas(found.significance)})"
            for name in metrics
        ]
        cells += [
            _NONE
            if (rate := of_gamma.get(key)) is None
            else f"{rate.pass_percent:.1f}; {rate.lowest_percent:.1f} ± {rate.lowest_sigma:.1f} ({rate.lowest_shell})"
            for key in gammas
        ]
        rows.append([row.fault, *cells])
    heads = [f"{name}, MC less TPS" for name in metrics]
    heads += [f"{tumour} gamma {criteria}: passing, %; lowest shell" for tumour, criteria in gammas]
    return _table(["fault", *heads], rows)


def _findings_table(table: FaultTable) -> str:
    rows = []
    for row in table.rows:
        for question in row.questions:
            for one in question.findings:
                change = _NONE if one.change is None else f"{one.change:+.2f} {one.unit}"
                changed = _NONE if one.change is None else _sigmas(one.change_significance)
                place = f"{one.tumour}: {one.quantity}"
                cells = [row.fault, question.question, place, _value(one), _sigmas(one.significance), change, changed]
                rows.append(cells)
    heads = ["fault", "question", "quantity", "value", "significance", "change from fault-free", "in sigma of noise"]
    return _table(heads, rows)


def _cost_table(table: FaultTable) -> str:
    rows = [
        [
            row.fault,
            row.work,
            f"{row.photons / 1e6:.2f}",
            f"{100 * row.mean_relative_sigma:.1f} %",
            f"{row.seconds_of_chunks / 60:.1f}",
            f"{row.core_seconds / 60:.1f}",
        ]
        for row in table.rows
    ]
    heads = ["fault", "done again from", "million photons", "mean sigma", "minutes of its chunks", "core-minutes here"]
    return _table(heads, rows)


def _value(one: FindingRow) -> str:
    return f"{one.value:+.2f} {one.unit}"


def _sigmas(significance: float | None) -> str:
    return _NONE if significance is None else f"{significance:+.1f} sigma"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def one_line(row: FaultRow) -> str:
    """For the terminal."""
    told = "" if row.fault == FAULT_FREE else f"told by {', '.join(told_by(row)) or 'none'}, "
    cells = "; ".join(f"{question.question} {_question_cell(question)}" for question in row.questions)
    return f"{row.fault}: {told}{cells}"
