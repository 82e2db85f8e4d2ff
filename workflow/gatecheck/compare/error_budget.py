"""What the Monte Carlo dose of tumour and cord is uncertain by, and from what: compare/error_budget.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict, Field

from gatecheck.case.storage import read_case
from gatecheck.compare.biology.structures import configured_roles
from gatecheck.compare.model import Comparison, DoseMetrics, Metric
from gatecheck.compare.recalculation.model import Recalculation
from gatecheck.compare.recalculation.points import PlacesToLook, places_to_look
from gatecheck.compare.setup_errors.followed import METRICS
from gatecheck.compare.structures import COMPARISON_FILE, read_mc_dose
from gatecheck.config import Config
from gatecheck.config_setup import SetupMetric
from gatecheck.dose.joining import empty, put
from gatecheck.dose.model import MergeResult
from gatecheck.errors import ResultError
from gatecheck.files import HandedOn, array_zyx, read_image, read_json, sha256_of_file, write_json
from gatecheck.layout import CaseLayout
from gatecheck.transport.electron_replay.grouping import water_to_medium
from gatecheck.transport.patient_files import read_patient

FloatArray = npt.NDArray[np.float64]

ERROR_BUDGET_FILE = "error_budget.json"

Source = Literal["noise", "calibration", "output", "leaf_gap", "materials", "control_points", "dose_to"]
_RECALCULATED: dict[Source, Literal["leaf_gap", "density", "control_points"]] = {
    "leaf_gap": "leaf_gap",
    "materials": "density",
    "control_points": "control_points",
}
_IN_TOTAL: tuple[Source, ...] = ("noise", "calibration", "output", "leaf_gap", "materials")
_FIELDS: dict[SetupMetric, str] = {"d0_03cc_gy": "d003cc_gy", "d95_gy": "d95_gy", "mean_gy": "mean_gy"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BudgetTerm(_Part):
    """What one source of uncertainty does to a metric."""

    source: Source
    gy: float | None = Field(
        description="for a change of the size stated, k = 1 of what is in the total; null: unknown"
    )
    sigma_gy: float | None = Field(None, description="of that number, by noise, k = 1")
    in_total: bool = Field(description="false: a choice or a model's difference, with its sign, and no uncertainty")


class BudgetOfMetric(_Part):
    """One metric of one structure, Gy for the whole course."""

    structure: str
    metric: SetupMetric
    value_gy: float
    terms: tuple[BudgetTerm, ...]
    total_gy: float = Field(
        description="k = 1: the root of the sum of squares of what is in the total and known, less what noise adds"
    )
    unknown: tuple[Source, ...] = Field(description="in the total, but not looked at: the total is too small")


class ErrorBudget(HandedOn):
    """Written as compare/error_budget.json."""

    made_from: dict[str, str]
    leaf_gap_mm: float
    density_percent: float
    calibration_relative_sigma: float
    output_percent: float | None
    dose_to: str
    metrics: tuple[BudgetOfMetric, ...]
    notes: tuple[str, ...] = ()


def error_budget(layout: CaseLayout, config: Config) -> ErrorBudget:
    """Gather what is known, and write error_budget.json.

    Noise is the Monte Carlo's; calibration the sigma of its own simulation, common to all doses; output what the
    configuration says of the machine's; leaf gap, materials and control
    points are what the case's recalculations gave, where the configuration asked for them; dose_to is what the metric
    would be more in the other of dose to medium and dose to water.

    Raises
    ------
    ResultError
        When a file is missing, damaged, or made from another dose.
    """
    merged = read_json(layout.dose / "merge.json", MergeResult)
    comparison = read_json(layout.compare / COMPARISON_FILE, Comparison)
    case = read_case(layout.case)
    roles = configured_roles(case.structures, config.setup, config.comparison)
    dose = read_mc_dose(layout.dose, layout.patient)
    notes: list[str] = []
    made_from = {"mc_dose": sha256_of_file(layout.dose / "mc_dose.mha")}
    changes = _recalculations(layout, config, made_from["mc_dose"])
    chosen = [one.name for one in (*roles.tumours, *([] if roles.cord is None else [roles.cord]))]
    if not chosen:
        notes.append("No tumour and no cord was found: the budget is that of all structures.")
        chosen = [one.name for one in case.structures if one.mask is not None]
    places = places_to_look(case_folder=layout.case, case=case, roles=roles, more=chosen, dose=dose, notes=[])
    otherwise = _in_the_other_medium(layout, places, dose, merged.dose_to)
    output = config.recalculation.output_percent
    common: dict[Source, float | None] = {
        "calibration": merged.calibration_relative_sigma,
        "output": None if output is None else output / 100,
    }
    compared = {one.name: one.mc for one in comparison.structures}
    metrics: list[BudgetOfMetric] = []
    for name in dict.fromkeys(chosen):
        found = compared.get(name)
        if found is not None:
            metrics += _of_structure(name, found, common, changes, otherwise)
    result = ErrorBudget(
        made_from=made_from | {change: sha256_of_file(layout.recalculation(change)) for change in changes},
        leaf_gap_mm=config.recalculation.leaf_gap_mm,
        density_percent=config.recalculation.density_percent,
        calibration_relative_sigma=merged.calibration_relative_sigma,
        output_percent=config.recalculation.output_percent,
        dose_to=merged.dose_to,
        metrics=tuple(metrics),
        notes=tuple(notes),
    )
    write_json(layout.compare / ERROR_BUDGET_FILE, result)
    return result


def _recalculations(layout: CaseLayout, config: Config, dose_sha256: str) -> dict[str, Recalculation]:
    found: dict[str, Recalculation] = {}
    sizes = {"leaf_gap": config.recalculation.leaf_gap_mm, "density": config.recalculation.density_percent}
    for change in config.recalculation.changes:
        one = read_json(layout.recalculation(change), Recalculation)
        if one.size != sizes.get(change):
            raise ResultError(f"recalculated/{change}.json: of another size than configured. Run recalculate again.")
        if one.made_from["mc_dose"] != dose_sha256:
            raise ResultError(f"recalculated/{change}.json: made from another mc_dose.mha. Run recalculate again.")
        found[change] = one
    return found


def _in_the_other_medium(
    layout: CaseLayout, places: PlacesToLook, dose: sitk.Image, dose_to: str
) -> dict[tuple[str, str], float]:
    """What each metric would be more, Gy, as dose to water (or to the medium, where it is to water)."""
    patient = read_patient(layout.patient)
    ratio_of = {one.label: water_to_medium(one) for one in patient.materials}
    table = np.ones(max(ratio_of) + 1)
    table[list(ratio_of)] = list(ratio_of.values())
    ratio = empty(patient.joined_grid)
    for box in patient.boxes:
        put(ratio, patient.joined_grid, box, table[array_zyx(read_image(layout.patient / box.labels))])
    nearest = tuple(
        np.clip(np.rint(place).astype(int), 0, size - 1)
        for place, size in zip(places.place_zyx, ratio.shape, strict=True)
    )
    factors = ratio[nearest].astype(np.float64)
    doses = places.doses(sitk.GetArrayViewFromImage(dose))
    before = places.metrics(doses)
    after = places.metrics(doses * factors if dose_to == "medium" else doses / factors)
    return {
        (name.structure, name.metric): float(shift)
        for name, shift in zip(places.names, after - before, strict=True)
        if not name.region
    }


def _of_structure(
    name: str,
    dose: DoseMetrics,
    common: Mapping[Source, float | None],
    changes: dict[str, Recalculation],
    otherwise: dict[tuple[str, str], float],
) -> list[BudgetOfMetric]:
    found = []
    for metric in METRICS:
        value: Metric | None = getattr(dose, _FIELDS[metric])
        if value is None or not math.isfinite(value.value):
            continue
        terms = [
            BudgetTerm(source="noise", gy=value.sigma, in_total=True),
            *(
                BudgetTerm(source=source, gy=None if share is None else share * value.value, in_total=True)
                for source, share in common.items()
            ),
            *(_recalculated(source, changes.get(change), name, metric) for source, change in _RECALCULATED.items()),
            BudgetTerm(source="dose_to", gy=otherwise.get((name, metric)), in_total=False),
        ]
        found.append(_summed(name, metric, value.value, terms))
    return found


def _recalculated(source: Source, change: Recalculation | None, structure: str, metric: str) -> BudgetTerm:
    in_total = source in _IN_TOTAL
    for one in () if change is None else change.metrics:
        if (one.structure, one.metric, one.region) == (structure, metric, ""):
            return BudgetTerm(source=source, gy=one.difference_gy, sigma_gy=one.sigma_gy, in_total=in_total)
    return BudgetTerm(source=source, gy=None, in_total=in_total)


def _summed(name: str, metric: SetupMetric, value: float, terms: Sequence[BudgetTerm]) -> BudgetOfMetric:
    counted = [one for one in terms if one.in_total]
    return BudgetOfMetric(
        structure=name,
        metric=metric,
        value_gy=value,
        terms=tuple(terms),
        total_gy=math.sqrt(sum(_square(one) for one in counted)),
        unknown=tuple(one.source for one in counted if one.gy is None),
    )


def _square(term: BudgetTerm) -> float:
    """Of what a term is without its own noise: that of a difference found with noise is too large by its variance."""
    if term.gy is None:
        return 0.0
    return max(term.gy**2 - (term.sigma_gy or 0.0) ** 2, 0.0)
