"""What the report reads: every earlier room's files, checked to belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk

from gatecheck.case.model import Case
from gatecheck.compare.model import Comparison
from gatecheck.config_recalculation import Change
from gatecheck.delivery.model import Delivery
from gatecheck.delivery.storage import read_delivery
from gatecheck.dose.model import MergeResult
from gatecheck.errors import ResultError
from gatecheck.files import read_image, read_json, sha256_of_file, sha256_of_json
from gatecheck.layout import CaseLayout
from gatecheck.patient.model import PatientModel
from gatecheck.report.compared import Compared, check_compared, compared_files, read_compared
from gatecheck.report.recalculated import AS_DELIVERED, Recalculated, read_recalculated
from gatecheck.transport.model import CalibrationResult, ChunkPlan, PhaseSpaceUse, TopUp
from gatecheck.transport.rounds import read_plan, read_top_ups

_METERSET_TOLERANCE = 1e-6  # relative; the same number went through several files
_DIRECTION_TOLERANCE = 1e-6
_COMPARED = ("case", "merge", "mc_dose")
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything that a report is drawn from.

    Attributes
    ----------
    layout : CaseLayout
    hashes : dict of str to str
        Role of each file read: its SHA-256.
    chunk_plan : ChunkPlan, optional
        None where chunks.json is not kept.
    top_ups : tuple of TopUp
        What each round after the pilot's found and asked for.
    """

    layout: CaseLayout
    case: Case
    delivery: Delivery
    patient: PatientModel
    merge: MergeResult
    calibration: CalibrationResult
    comparison: Comparison
    compared: Compared
    hashes: dict[str, str]
    chunk_plan: ChunkPlan | None = None
    recalculated: Recalculated = field(default_factory=Recalculated)
    top_ups: tuple[TopUp, ...] = ()

    @property
    def has_tps_dose(self) -> bool:
        return self.comparison.has_tps_dose

    @property
    def phase_space(self) -> PhaseSpaceUse | None:
        """The recorded source; None where the machine model's own was used, or chunks.json is not kept."""
        return None if self.chunk_plan is None else self.chunk_plan.phase_space


@dataclass(frozen=True, slots=True)
class ReportImages:
    """The volumes that planes are cut from, LPS mm, dose in Gy for the whole course."""

    ct: sitk.Image
    dose: sitk.Image
    sigma: sitk.Image
    body: sitk.Image
    difference: sitk.Image | None
    delivered: sitk.Image | None
    """Delivered minus planned dose, where there are trajectory logs."""
    gamma: dict[str, sitk.Image]
    """File in the comparison's folder: gamma, on the grid of its reference dose."""
    tps: sitk.Image | None = None


def read_inputs(layout: CaseLayout, calibration_path: Path, changes: Sequence[Change] = ()) -> ReportInputs:
    """Read every document of a case and refuse documents that do not belong together.

    Parameters
    ----------
    changes : sequence of str
        What the configuration asks to have been recalculated.

    Raises
    ------
    ResultError
        When a file is missing or damaged, or an earlier step was run again and a later one was not.
    """
    files = _files(layout, calibration_path)
    case = read_json(files["case"], Case)
    hashes = {role: _hash(path) for role, path in _with_images(files, layout, case).items()}
    compared = read_compared(layout.compare, hashes)
    recalculated = read_recalculated(layout, changes, hashes)
    chunk_plan = _read_chunk_plan(layout)
    inputs = ReportInputs(
        layout=layout,
        case=case,
        delivery=read_delivery(files["delivery"]),
        patient=read_json(files["patient"], PatientModel),
        merge=read_json(files["merge"], MergeResult),
        calibration=read_json(files["calibration"], CalibrationResult),
        comparison=read_json(files["comparison"], Comparison),
        compared=compared,
        hashes=hashes | compared.hashes | recalculated.hashes,
        recalculated=recalculated,
        chunk_plan=chunk_plan,
        top_ups=() if chunk_plan is None else tuple(read_top_ups(layout.transport, chunk_plan)),
    )
    _check_case(inputs)
    _check_delivery(inputs)
    _check_calibration(inputs)
    _check_chunk_plan(inputs)
    _check_comparison(inputs)
    check_compared(inputs.compared, inputs.hashes)
    return inputs


def read_images(inputs: ReportInputs) -> ReportImages:
    """Read the volumes that planes are cut from.

    Raises
    ------
    ResultError
        When an image is missing, damaged, not aligned with the patient's axes, or on another grid.
    """
    layout, tps = inputs.layout, inputs.case.tps_dose
    images = ReportImages(
        ct=_aligned(layout.case / inputs.case.ct.file),
        dose=_aligned(layout.dose / "mc_dose.mha"),
        sigma=_aligned(layout.dose / "mc_sigma.mha"),
        body=_aligned(layout.patient / inputs.patient.body_mask),
        difference=_aligned(layout.compare / "difference.mha") if inputs.has_tps_dose else None,
        delivered=_delivered(inputs),
        gamma={one.file: _aligned(layout.compare / one.file) for one in inputs.compared.gamma.maps},
        tps=_aligned(layout.case / tps.image.file) if tps is not None else None,
    )
    _check_same_grid(images.sigma, images.dose, "mc_sigma.mha", "merge")
    _check_same_grid(images.body, images.dose, inputs.patient.body_mask, "voxelise")
    if images.difference is not None:
        _check_same_grid(images.difference, images.dose, "difference.mha", "compare")
    if images.delivered is not None:
        _check_same_grid(images.delivered, images.dose, "as_delivered-difference.mha", "recalculate")
    return images


def _delivered(inputs: ReportInputs) -> sitk.Image | None:
    found = inputs.recalculated.recalculations.get(AS_DELIVERED)
    if found is None:
        return None
    path = inputs.layout.recalculations / found.difference
    if _hash(path) != found.difference_sha256:
        raise ResultError(f"{path.name}: not the one that as_delivered.json is of (by SHA-256). Run recalculate again.")
    return _aligned(path)


def _files(layout: CaseLayout, calibration_path: Path) -> dict[str, Path]:
    return {
        "case": layout.case / "case.json",
        "delivery": layout.delivery,
        "patient": layout.patient / "patient.json",
        "merge": layout.dose / "merge.json",
        "calibration": calibration_path,
        "comparison": layout.compare / "comparison.json",
    }


def _with_images(files: dict[str, Path], layout: CaseLayout, case: Case) -> dict[str, Path]:
    images = {
        "ct": layout.case / case.ct.file,
        "mc_dose": layout.dose / "mc_dose.mha",
        "mc_sigma": layout.dose / "mc_sigma.mha",
    }
    if case.tps_dose is not None:
        images["tps_dose"] = layout.case / case.tps_dose.image.file
    kept = {"chunk_plan": layout.chunk_plan} if layout.chunk_plan.exists() else {}
    return files | images | kept | compared_files(layout.compare)


def _read_chunk_plan(layout: CaseLayout) -> ChunkPlan | None:
    return read_plan(layout.transport) if layout.chunk_plan.exists() else None


def _hash(path: Path) -> str:
    if not path.exists():
        raise ResultError(f"{path.name}: not found in {path.parent.name}/. Run the step before it first.")
    return sha256_of_file(path)


def _aligned(path: Path) -> sitk.Image:
    image = read_image(path)
    direction = image.GetDirection()
    if image.GetDimension() != 3 or max(abs(a - b) for a, b in zip(direction, _IDENTITY, strict=True)) > (
        _DIRECTION_TOLERANCE
    ):
        raise ResultError(f"{path.name}: not aligned with the patient's axes. Delete it and run its step again.")
    return image


def _check_same_grid(image: sitk.Image, other: sitk.Image, name: str, step: str) -> None:
    near = all(
        math.isclose(a, b, rel_tol=0, abs_tol=1e-4)
        for a, b in zip(
            (*image.GetOrigin(), *image.GetSpacing()), (*other.GetOrigin(), *other.GetSpacing()), strict=True
        )
    )
    if image.GetSize() != other.GetSize() or not near:
        raise ResultError(f"{name}: on another grid than mc_dose.mha. Run {step} again.")


def _check_case(inputs: ReportInputs) -> None:
    case, hashes = inputs.case, inputs.hashes
    if hashes["ct"] != case.ct.sha256:
        raise ResultError("ct.mha: its SHA-256 is not the one in case.json. Run ingest again.")
    if case.tps_dose is not None and hashes["tps_dose"] != case.tps_dose.image.sha256:
        raise ResultError("tps_dose.mha: its SHA-256 is not the one in case.json. Run ingest again.")
    if inputs.has_tps_dose != (case.tps_dose is not None):
        raise ResultError("comparison.json: its TPS dose is not the one of case.json. Run compare again.")


def _check_delivery(inputs: ReportInputs) -> None:
    """The doses are for the whole course of this plan: the meterset must be the plan's all the way."""
    case, delivery, merge = inputs.case, inputs.delivery, inputs.merge
    if delivery.made_from_sha256 != sha256_of_json(case.model_dump(mode="json")):
        raise ResultError(
            "timeline.parquet: made from another case.json than the one that is there. Run deliver again."
        )
    planned = {beam.number: beam.meterset for beam in case.beams}
    delivered = {beam.number: beam.total_meterset for beam in delivery.beams}
    if planned.keys() != delivered.keys():
        raise ResultError(
            f"timeline.parquet: beams {sorted(delivered)} found, the plan has {sorted(planned)}. Run deliver again."
        )
    for number, meterset in planned.items():
        if not math.isclose(delivered[number], meterset, rel_tol=_METERSET_TOLERANCE):
            raise ResultError(
                f"timeline.parquet: beam {number} ends at {delivered[number]:.6g} MU, the plan gives "
                f"{meterset:.6g} MU. Run deliver again."
            )
    total = sum(planned.values())
    if not math.isclose(merge.meterset_per_fraction, total, rel_tol=_METERSET_TOLERANCE):
        raise ResultError(
            f"merge.json: {merge.meterset_per_fraction:.6g} MU a fraction found, the plan has {total:.6g} MU. "
            "Run merge again."
        )
    if not case.fractions == delivery.fractions == merge.fractions:
        raise ResultError(
            f"merge.json: {merge.fractions} fractions, timeline.parquet: {delivery.fractions}, the plan: "
            f"{case.fractions}. They must be the same. Run deliver and merge again."
        )


def _check_calibration(inputs: ReportInputs) -> None:
    merge, calibration = inputs.merge, inputs.calibration
    if merge.calibration_key_sha256 != calibration.key_sha256:
        raise ResultError("calibration.json: not the calibration that the dose was made with. Run merge again.")
    if merge.engine != calibration.engine:
        named, other = merge.engine.model_dump(), calibration.engine.model_dump()
        differing = ", ".join(key for key in named if named[key] != other[key])
        raise ResultError(
            f"calibration.json: made with another {differing} than the dose. Run calibrate and merge again."
        )


def _check_chunk_plan(inputs: ReportInputs) -> None:
    plan = inputs.chunk_plan
    if plan is not None and plan.inputs_sha256 != inputs.merge.inputs_sha256:
        raise ResultError("chunks.json: made from other inputs than merge.json. Run merge again.")


def _check_comparison(inputs: ReportInputs) -> None:
    """The comparison must be of the very files that are drawn."""
    made_from = inputs.comparison.made_from
    expected = set(_COMPARED) | ({"tps_dose"} if inputs.has_tps_dose else set())
    for role in sorted(expected | (made_from.keys() & inputs.hashes.keys())):
        if made_from.get(role) != inputs.hashes[role]:
            raise ResultError(
                f"comparison.json: not made from the {role} that is there now (by SHA-256). Run compare again."
            )
    known = {structure.name for structure in inputs.case.structures}
    for structure in inputs.comparison.structures:
        if structure.name not in known:
            raise ResultError("comparison.json: holds a structure that case.json does not. Run compare again.")
