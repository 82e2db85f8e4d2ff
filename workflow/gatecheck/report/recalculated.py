"""What the report reads of recalculations with the same photons: as delivered, and the error budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gatecheck.compare.error_budget import ERROR_BUDGET_FILE, ErrorBudget
from gatecheck.compare.recalculation.model import Recalculation
from gatecheck.config_recalculation import Change
from gatecheck.delivery.logs_followed import LogsFollowed
from gatecheck.errors import ResultError
from gatecheck.files import read_json, sha256_of_file
from gatecheck.layout import CaseLayout

AS_DELIVERED: Change = "as_delivered"


@dataclass(frozen=True, slots=True)
class Recalculated:
    """Nothing of it has to be there.

    Attributes
    ----------
    recalculations : dict of change to Recalculation
        Those that the configuration asks for.
    logs : LogsFollowed, optional
        How the machine followed, where the configuration names its logs.
    budget : ErrorBudget, optional
        None where it was not made.
    hashes : dict of str to str
        SHA-256 of each file read.
    """

    recalculations: dict[Change, Recalculation] = field(default_factory=dict)
    logs: LogsFollowed | None = None
    budget: ErrorBudget | None = None
    hashes: dict[str, str] = field(default_factory=dict)


def read_recalculated(layout: CaseLayout, changes: Sequence[Change], hashes: Mapping[str, str]) -> Recalculated:
    """Read what there has to be for these changes, and the budget where there is one.

    Parameters
    ----------
    hashes : mapping of str to str
        Role of each file that the report is drawn from: its SHA-256.

    Raises
    ------
    ResultError
        When a file is missing or damaged, or of another dose than that which is drawn.
    """
    files = {change: layout.recalculation(change) for change in changes}
    found = {change: read_json(path, Recalculation) for change, path in files.items()}
    read = {f"recalculated {change}": sha256_of_file(path) for change, path in files.items()}
    for change, one in found.items():
        _check(one.made_from, hashes, f"recalculated/{change}.json", "recalculate")
    logs = None
    if AS_DELIVERED in found:
        logs = read_json(layout.logs_followed, LogsFollowed)
        read["logs"] = sha256_of_file(layout.logs_followed)
    budget, path = None, layout.compare / ERROR_BUDGET_FILE
    if path.exists():
        budget = read_json(path, ErrorBudget)
        _check(budget.made_from, hashes, path.name, "error-budget")
        read["error_budget"] = sha256_of_file(path)
    return Recalculated(found, logs, budget, read)


def _check(made_from: Mapping[str, str], hashes: Mapping[str, str], name: str, step: str) -> None:
    if made_from.get("mc_dose") != hashes["mc_dose"]:
        raise ResultError(f"{name}: not made from the mc_dose that is there now (by SHA-256). Run {step} again.")
