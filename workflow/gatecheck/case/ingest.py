"""`ingest`: a DICOM folder becomes one checked, pseudonymous Case."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from gatecheck.case.attributes import Notes, quiet_dicom
from gatecheck.case.contours import DrawnStructure, read_structures
from gatecheck.case.ct import CtVolume, read_ct
from gatecheck.case.dose import PlannedDose, read_dose
from gatecheck.case.earlier_dose import sha256_of_frame
from gatecheck.case.folder import DicomFile, read_folder
from gatecheck.case.grid import Grid
from gatecheck.case.identity import remove_identity
from gatecheck.case.links import (
    check_isocentres_against_ct,
    check_one_patient,
    check_plan_against_ct,
    check_structures_against_ct,
    choose_structure_set,
    treatment_position,
)
from gatecheck.case.masks import Mask, make_mask
from gatecheck.case.model import Case, Structure, TpsDose
from gatecheck.case.overrides import warn_of_unused_matter
from gatecheck.case.plan import Plan, read_plan
from gatecheck.case.storage import (
    CASE_FILE,
    CT_FILE,
    DOSE_FILE,
    mask_file,
    read_case,
    read_mask,
    remove_earlier_case,
    write_grid,
)
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_json, write_json

__all__ = ["ingest", "read_case", "read_mask"]

logger = logging.getLogger(__name__)

_DIGITS_OF_PSEUDONYM = 8


def ingest(dicom_folder: Path, out_folder: Path, *, show_identity: bool = False) -> Case:
    """Read and check a DICOM folder, and write the case.

    An earlier case in the folder is taken away first, so that a refusal leaves none. When all checks have
    passed, it writes `ct.mha` (HU), `structures/*.mha` (inside fractions), `tps_dose.mha` (Gy, whole course)
    where there is an RTDOSE of the plan, and last `case.json`.

    Parameters
    ----------
    dicom_folder
        CT, RTSTRUCT, RTPLAN and perhaps RTDOSE in any order and nesting, with strangers among them.
    show_identity
        Keep the plan's label, and what structures and beams are called as it is. Else names, IDs and dates of the
        patient in them are taken out.

    Raises
    ------
    InputError, UnsupportedPlanError
        With one clear message that does not identify the patient.
    WriteError
        When the case cannot be written.
    """
    notes = Notes()
    remove_earlier_case(out_folder)
    with quiet_dicom():
        folder = read_folder(dicom_folder, notes)
        if not show_identity:
            remove_identity(folder, notes)
        plan = read_plan(folder.plans, notes)
        ct = read_ct(folder.ct, notes)
        check_plan_against_ct(plan, ct, notes)
        position = treatment_position(plan, ct, notes)
        structure_set = choose_structure_set(folder.structure_sets, plan, ct, notes)
        drawn = read_structures(structure_set.dataset, ct.frame_of_reference, notes)
        check_structures_against_ct(structure_set.dataset, drawn, ct, notes)
        warn_of_unused_matter(structure_set.dataset, drawn, notes)
        dose = read_dose(folder.doses, plan, ct, notes)
    check_one_patient(ct, plan, structure_set, () if dose is None else dose.files)
    check_isocentres_against_ct(plan.beams, ct.grid, notes)
    masks = _masks(drawn, ct.grid, notes)
    files = _files(ct, plan, structure_set, dose)
    content = sha256_of_json(sorted(files.values()))
    case = Case(
        case_id=f"case-{content[:_DIGITS_OF_PSEUDONYM]}",
        content_sha256=content,
        plan_label=plan.label if show_identity else "",
        patient_position=position,
        frame_of_reference_sha256=sha256_of_frame(ct.frame_of_reference),
        plan_uid_sha256=hashlib.sha256(plan.file.sop_instance_uid.encode("utf-8")).hexdigest(),
        fractions=plan.fractions,
        target_prescription_gy=plan.target_prescription_gy,
        ct=write_grid(out_folder, CT_FILE, ct.values_zyx, ct.grid),
        structures=_write_structures(out_folder, drawn, masks),
        beams=plan.beams,
        tps_dose=None if dose is None else _write_dose(out_folder, dose),
        warnings=tuple(notes.warnings),
        files=files,
    )
    write_json(out_folder / CASE_FILE, case)
    logger.info("%s: %d beams, %d structures", case.case_id, len(case.beams), len(case.structures))
    return case


def _files(ct: CtVolume, plan: Plan, structure_set: DicomFile, dose: PlannedDose | None) -> dict[str, str]:
    """SHA-256 of every file used, by its role."""
    files = {f"ct-{index + 1:03d}": file.sha256 for index, file in enumerate(ct.files)}
    files["rtstruct"] = structure_set.sha256
    files["rtplan"] = plan.file.sha256
    doses = () if dose is None else dose.files
    for index, file in enumerate(doses):
        files["rtdose" if len(doses) == 1 else f"rtdose-{index + 1:02d}"] = file.sha256
    return files


def _masks(drawn: tuple[DrawnStructure, ...], ct: Grid, notes: Notes) -> tuple[Mask | None, ...]:
    masks = tuple(make_mask(drawing, ct, notes) for drawing in drawn)
    if all(mask is None for mask in masks):
        raise InputError(
            "No structure of the RTSTRUCT has a volume inside the CT. Export the structure set drawn on this CT."
        )
    return masks


def _write_structures(
    out_folder: Path, drawn: tuple[DrawnStructure, ...], masks: tuple[Mask | None, ...]
) -> tuple[Structure, ...]:
    structures = []
    for place, (drawing, mask) in enumerate(zip(drawn, masks, strict=True), start=1):
        file = None if mask is None else mask_file(place)
        if mask is not None and file is not None:
            write_grid(out_folder, file, mask.values_zyx, mask.grid)
        structures.append(
            Structure(
                number=drawing.number,
                name=drawing.name,
                interpreted_type=drawing.interpreted_type,
                volume_ml=0.0 if mask is None else mask.volume_ml,
                mask=file,
            )
        )
    return tuple(structures)


def _write_dose(out_folder: Path, dose: PlannedDose) -> TpsDose:
    return TpsDose(
        image=write_grid(out_folder, DOSE_FILE, dose.values_zyx, dose.grid),
        maximum_gy=float(dose.values_zyx.max()),
        summation_type=dose.summation_type,
        dose_type="PHYSICAL",
    )
