"""What the report reads of recalculations with the same photons: as delivered, and the error budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gatecheck.compare.error_budget import ERROR_BUDGET_FILE, ErrorBudget
from gatecheck.compare.recalculation.model import Recalculation
from gatecheck.config_recalculation import CHANGES, Change
from gatecheck.delivery.logs_followed import LogsFollowed
from gatecheck.delivery.storage import read_delivery
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
        _check_logs(layout, logs, found[AS_DELIVERED])
    budget, path = None, layout.compare / ERROR_BUDGET_FILE
    if path.exists():
        budget = read_json(path, ErrorBudget)
        _check(budget.made_from, hashes, path.name, "error-budget")
        named = {name for name in budget.made_from if name in CHANGES}
        if named != set(changes) - {AS_DELIVERED}:
            raise ResultError(f"{path.name}: made for other changes than are configured. Run error-budget again.")
        for name in named:
            if read.get(f"recalculated {name}") != budget.made_from[name]:
                raise ResultError(
                    f"{path.name}: made from another recalculated/{name}.json than is shown. Run error-budget again."
                )
        read["error_budget"] = sha256_of_file(path)
    return Recalculated(found, logs, budget, read)


def _check_logs(layout: CaseLayout, logs: LogsFollowed, recalculation: Recalculation) -> None:
    """What is said of the machine and of the dose has to be of the same logs."""
    delivered = read_delivery(layout.delivered)
    if logs.made_from_sha256 != delivered.made_from_sha256:
        raise ResultError("logs.json: of other logs than delivered.parquet. Run deliver-logged again.")
    if recalculation.made_from.get("delivery") != sha256_of_file(layout.delivered):
        raise ResultError("recalculated/as_delivered.json: of another delivered.parquet. Run recalculate again.")


def _check(made_from: Mapping[str, str], hashes: Mapping[str, str], name: str, step: str) -> None:
    if made_from.get("mc_dose") != hashes["mc_dose"]:
        raise ResultError(f"{name}: not made from the mc_dose that is there now (by SHA-256). Run {step} again.")


_FEW_PAIRS = 10
_SMALL_GAIN = 2.0
_MUCH_METERSET = 0.005


def recalculated_warnings(recalculated: Recalculated) -> list[tuple[str, str]]:
    """Code and message of what has to be known before the numbers are used."""
    found = []
    for change, one in recalculated.recalculations.items():
        if one.pairs < _FEW_PAIRS:
            found.append(
                (
                    "few-pairs",
                    f"Recalculation {change}: {one.pairs} pairs of runs; its sigma is itself known to "
                    f"{100 / (2 * (one.pairs - 1)) ** 0.5:.0f} % only.",
                )
            )
        if one.gain is not None and one.gain < _SMALL_GAIN:
            found.append(
                (
                    "little-in-common",
                    f"Recalculation {change}: the same photons save {one.gain:.1f} times as many, so that its "
                    "differences are nearly as noisy as those of two doses. With transport.electron_transport replayed "
                    "they have more in common.",
                )
            )
        found += [("recalculation", f"Recalculation {change}: {note}") for note in one.notes]
    for beam in () if recalculated.logs is None else recalculated.logs.beams:
        share = beam.meterset_delivered / beam.meterset_planned - 1
        if abs(share) > _MUCH_METERSET:
            found.append(
                (
                    "meterset-delivered",
                    f"Beam {beam.number}: its log says {beam.meterset_delivered:.2f} MU were delivered, "
                    f"{beam.meterset_planned:.2f} are planned ({100 * share:+.2f} %).",
                )
            )
    return found
