"""The verb `export`: doses of a case as RTDOSE files for the planning system."""

from __future__ import annotations

from collections.abc import Sequence

import SimpleITK as sitk
import typer

from gatecheck.case.model import Case
from gatecheck.case.storage import read_case
from gatecheck.compare.dose_image import read_dose_image
from gatecheck.compare.gamma import GammaCriteria, gamma_map
from gatecheck.compare.model import Comparison
from gatecheck.compare.structures import COMPARISON_FILE, read_mc_dose
from gatecheck.config import Config, DicomDoseKind
from gatecheck.dose.model import MergeResult
from gatecheck.errors import InputError
from gatecheck.files import image_from_zyx, read_image, read_json, sha256_of_file
from gatecheck.layout import CaseLayout
from gatecheck.report.dicom_dose import DoseToExport, find_plan_files, write_dose

_NEEDS_TPS_DOSE = ("difference", "gamma")


def run_export(layout: CaseLayout, config: Config, kinds: Sequence[DicomDoseKind]) -> None:
    """Write the files into the case's report folder and name them.

    Raises
    ------
    InputError
        When what is asked for needs a TPS dose and the case has none.
    ResultError
        When a file that is needed is missing or damaged.
    """
    case = read_case(layout.case)
    for kind in kinds:
        if kind in _NEEDS_TPS_DOSE and case.tps_dose is None:
            raise InputError(f"export {kind}: the case has no TPS dose to compare with.")
    merged = read_json(layout.dose / "merge.json", MergeResult)
    comparison = read_json(layout.compare / COMPARISON_FILE, Comparison)
    files = find_plan_files(layout.dicom.resolve(), case)
    dose = read_mc_dose(layout.dose, layout.patient)
    layout.report.mkdir(exist_ok=True)
    for kind in kinds:
        image, made_from, words = _image(kind, layout, config, case, dose)
        comment = f"{words} Dose to {merged.dose_to}, all {case.fractions} fractions, as planned."
        write_dose(
            layout.dicom_dose(kind),
            DoseToExport(kind, image, made_from, comment, comparison if kind == "dose" else None),
            case,
            files,
            show_identity=config.report.dicom_identity,
            bits=config.report.dicom_bits,
            uid_root=config.report.dicom_uid_root,
        )
        typer.echo(layout.dicom_dose(kind).name)


def _image(
    kind: DicomDoseKind, layout: CaseLayout, config: Config, case: Case, dose: sitk.Image
) -> tuple[sitk.Image, str, str]:
    """What is exported, the hash of what it was made from, and what it is."""
    of_dose = sha256_of_file(layout.dose / "mc_dose.mha")
    if kind == "dose":
        return dose, f"{of_dose} {sha256_of_file(layout.compare / COMPARISON_FILE)}", "Monte Carlo."
    if kind == "sigma":
        path = layout.dose / "mc_sigma.mha"
        return read_image(path), sha256_of_file(path), "Standard deviation (k=1) of the Monte Carlo dose, no dose."
    if case.tps_dose is None:
        raise InputError(f"export {kind}: the case has no TPS dose to compare with.")
    path = layout.case / case.tps_dose.image.file
    made_from = f"{of_dose} {sha256_of_file(path)}"
    if kind == "difference":
        tps = sitk.Resample(read_image(path), dose, sitk.Transform(), sitk.sitkLinear, float("nan"), sitk.sitkFloat64)
        return sitk.Cast(dose, sitk.sitkFloat64) - tps, made_from, "Monte Carlo minus the plan's dose."
    if not config.comparison.gamma:
        raise InputError("export gamma: comparison.gamma holds no criteria, one pair at least expected.")
    wanted = config.comparison.gamma[0]
    criteria = GammaCriteria(dose_percent=wanted.dose_percent, distance=wanted.distance)
    prescription = config.comparison.prescription_gy or case.target_prescription_gy
    found = gamma_map(
        read_dose_image(layout.dose / "mc_dose.mha", "mc_dose.mha"),
        read_dose_image(path, "tps_dose.mha"),
        criteria,
        normalisation=prescription,
    )
    image = image_from_zyx(found.gamma_zyx, origin=found.grid.origin, spacing=found.grid.spacing)
    return (
        image,
        f"{made_from} {wanted.dose_percent} {wanted.distance} {found.normalisation}",
        f"Gamma of the plan's dose, {wanted.dose_percent:g} % of {found.normalisation:.3f} Gy and "
        f"{wanted.distance:g} mm, no dose; 0 where there is none.",
    )
