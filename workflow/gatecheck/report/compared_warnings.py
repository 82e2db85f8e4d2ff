"""What of the comparison a signing physicist has to know before anything else, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from gatecheck.compare.biology.model import Biology, JudgedLimit
from gatecheck.compare.interface.model import Interface, InterfaceComparison, Outcome
from gatecheck.compare.setup_errors.model import SetupRobustness
from gatecheck.report.compared import Compared
from gatecheck.report.compared_words import courses, metric_name

_NOT_PASSED: tuple[tuple[Outcome, str], ...] = (
    ("fail", "beyond tolerance"),
    ("undecided", "not decided"),
    ("not assessed", "not assessed"),
)


def compared_warnings(compared: Compared) -> list[tuple[str, str]]:
    """Code and message of each, in the order of the report."""
    found = [*_of_interface(compared.interface), *_of_biology(compared.biology), *_of_setup(compared.setup)]
    if compared.gamma.normalisation_gy is not None:  # without a TPS dose nothing was to be compared
        found += [("gamma", note) for note in compared.gamma.notes]
    if compared.setup_check_left_out:
        found.append(("setup-check-left-out", compared.setup_check_left_out))
    return found


def _of_interface(interface: Interface) -> Iterator[tuple[str, str]]:
    for note in interface.notes:
        yield "interface", note
    for tumour in interface.tumours:
        yield from _of_tumour(tumour)


def _of_tumour(tumour: InterfaceComparison) -> Iterator[tuple[str, str]]:
    for outcome, words in _NOT_PASSED:
        questions = [verdict.question for verdict in tumour.verdicts if verdict.outcome == outcome]
        if questions:
            yield f"interface-{outcome.replace(' ', '-')}", f"{tumour.tumour}: {', '.join(questions)}: {words}."
    for note in tumour.notes:
        yield "interface", note if note.startswith(tumour.tumour) else f"{tumour.tumour}: {note}"


def _of_biology(biology: Biology) -> Iterator[tuple[str, str]]:
    for warning in biology.warnings:
        yield "biology", warning
    for limit in biology.limits:
        if limit.verdict != "pass":
            yield f"eqd2-limit-{limit.verdict}", _limit(limit)


def _limit(limit: JudgedLimit) -> str:
    value = "no value" if limit.value is None else f"{limit.value.value:.2f} Gy"
    verdict = "above the limit" if limit.verdict == "fail" else "not decided"
    note = f" {limit.note}" if limit.note else ""
    return (
        f"{limit.structure}: EQD2, {metric_name(limit.metric).lower()}, {courses(limit.courses)}: {value}, limit "
        f"{limit.limit_gy:g} Gy: {verdict}.{note}"
    )


def _of_setup(setup: SetupRobustness) -> Iterator[tuple[str, str]]:
    for note in setup.notes:
        yield "setup", note
    noisy = [
        f"{structure.name} {metric_name(one.metric)}"
        for structure in setup.structures
        for one in structure.metrics
        if one.is_noise_dominated
    ]
    if noisy:
        yield (
            "setup-noise",
            f"The noise of the dose spreads more than the setup errors, so that their bands are not to be used: "
            f"{', '.join(noisy)}.",
        )
