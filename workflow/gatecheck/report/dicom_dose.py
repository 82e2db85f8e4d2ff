"""Doses back to the planning system: RTDOSE files that belong to the plan that was verified.

An RTDOSE is filed with a patient by its identity, so it can only be imported with that of the plan; without
`report.dicom_identity` it carries the case's pseudonym instead, and nothing that the plan says of the patient.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, RTDoseStorage, RTPlanStorage, RTStructureSetStorage

import gatecheck
from gatecheck.case.attributes import quiet_dicom
from gatecheck.case.folder import read_one
from gatecheck.case.model import Case
from gatecheck.compare.model import Comparison, DvhCurve
from gatecheck.config import DicomDoseKind
from gatecheck.errors import ResultError
from gatecheck.files import sha256_of_file
from gatecheck.report.dicom_file import decimal, decimals, new_dataset, reference, save, set_pixels

_DESCRIPTION: dict[DicomDoseKind, str] = {
    "dose": "gatecheck Monte Carlo dose",
    "sigma": "gatecheck standard deviation (k=1) of the dose",
    "difference": "gatecheck Monte Carlo dose minus plan's dose",
    "gamma": "gatecheck gamma of the plan's dose, no dose",
}
_NAMESPACE = uuid.UUID("1f7a4b0a-0d9c-5e0b-8d52-35a0b7f3b1c4")
_WHOLLY = 0.999  # of a structure's volume
_LARGEST_ROUNDING = 1e-4  # of the largest magnitude
# Attributes of patient and study that a file of the same patient repeats.
_OF_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_OF_STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")


@dataclass(frozen=True, slots=True)
class PlanFiles:
    """What a dose refers to.

    Attributes
    ----------
    plan : Dataset
    frame_of_reference : str
        Of the CT.
    structure_set_uid : str or None
        SOP Instance UID of the RTSTRUCT that was used.
    row_sign, column_sign : int
        Directions of image rows along x and of columns along y in the CT, +1 or -1.
    """

    plan: Dataset
    frame_of_reference: str
    structure_set_uid: str | None
    row_sign: int
    column_sign: int

    @property
    def normal_sign(self) -> int:
        """Direction of the slices' normal along z."""
        return self.row_sign * self.column_sign


def find_plan_files(dicom_folder: Path, case: Case) -> PlanFiles:
    """The files of a case among a folder's, by their content.

    Raises
    ------
    ResultError
        When the plan or its CT is not there any more as it was read.
    """
    wanted = {digest: role for role, digest in case.files.items() if role.startswith(("rtplan", "rtstruct", "ct-001"))}
    found = {wanted[digest]: path for path, digest in _hashed(dicom_folder) if digest in wanted}
    for role, name in (("rtplan", "RTPLAN"), ("ct-001", "CT")):
        if role not in found:
            raise ResultError(f"The {name} of the case is not in its DICOM folder as it was read. Run ingest again.")
    with quiet_dicom():
        ct = read_one(found["ct-001"], "CT", "CT").dataset
        plan = read_one(found["rtplan"], "RTPLAN", "RTPLAN").dataset
        structure_set = None
        if "rtstruct" in found:
            structure_set = read_one(found["rtstruct"], "RTSTRUCT", "RTSTRUCT").sop_instance_uid
    return PlanFiles(
        plan=plan,
        frame_of_reference=str(ct.FrameOfReferenceUID),
        structure_set_uid=structure_set,
        row_sign=int(np.sign(float(ct.ImageOrientationPatient[0]))),
        column_sign=int(np.sign(float(ct.ImageOrientationPatient[4]))),
    )


def _hashed(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size > 0:
            yield path, sha256_of_file(path)


@dataclass(frozen=True, slots=True)
class DoseToExport:
    """A dose, or what is handed on as one.

    Attributes
    ----------
    kind : "dose", "sigma", "difference" or "gamma"
    image : sitk.Image
        Axis-aligned, LPS mm; Gy, or gamma. What is not a number becomes 0.
    made_from : str
        SHA-256 of what it was made from: another result has another UID.
    comment : str
        What it is, for Image Comments.
    comparison : Comparison or None
        Whose dose-volume histograms of this dose go along with it.
    """

    kind: DicomDoseKind
    image: sitk.Image
    made_from: str
    comment: str
    comparison: Comparison | None = None


def write_dose(
    path: Path,
    dose: DoseToExport,
    case: Case,
    files: PlanFiles,
    *,
    show_identity: bool = False,
    bits: Literal[16, 32] = 16,
    uid_root: str | None = None,
) -> None:
    """Write one RTDOSE of the plan (DICOM PS3.3, A.18.3).

    With the dose go the dose-volume histograms that gatecheck made of it, and with these the structure set: DICOM has a
    reference to that nowhere else.

    Parameters
    ----------
    show_identity : bool
        Give it the plan's patient and study; else the case's pseudonym, and a study of its own.
    uid_root : str, optional
        Root of new UIDs; without one they are UUIDs under 2.25.

    Raises
    ------
    WriteError
        When the file cannot be written.
    """
    # Another patient, other rounding or another version's content is another object.
    made_from = f"{dose.made_from} {show_identity} {bits} {gatecheck.__version__}"
    dose = replace(dose, made_from=made_from)
    dataset = new_dataset(RTDoseStorage, _uid(uid_root, case, dose, "instance"))
    _set_patient(dataset, case, files.plan, show_identity=show_identity, uid_root=uid_root)
    dataset.InstanceCreationDate = ""
    dataset.InstanceCreationTime = ""
    dataset.Modality = "RTDOSE"
    dataset.Manufacturer = "gatecheck"
    dataset.ManufacturerModelName = "gatecheck"
    dataset.SoftwareVersions = gatecheck.__version__
    dataset.SeriesInstanceUID = _uid(uid_root, case, dose, "series")
    dataset.SeriesNumber = None
    dataset.SeriesDescription = _DESCRIPTION[dose.kind]
    dataset.OperatorsName = ""
    dataset.InstanceNumber = 1
    dataset.FrameOfReferenceUID = files.frame_of_reference
    dataset.PositionReferenceIndicator = ""
    _set_grid(dataset, dose.image, files)
    dataset.DoseUnits = "RELATIVE" if dose.kind == "gamma" else "GY"
    dataset.DoseType = "ERROR" if dose.kind == "difference" else "PHYSICAL"
    dataset.DoseComment = _DESCRIPTION[dose.kind]
    dataset.ImageComments = dose.comment
    dataset.DoseSummationType = "PLAN"
    dataset.TissueHeterogeneityCorrection = ["IMAGE"]
    dataset.ReferencedRTPlanSequence = DicomSequence([reference(RTPlanStorage, files.plan.SOPInstanceUID)])
    if dose.comparison is not None and files.structure_set_uid is not None:
        _set_histograms(dataset, dose.comparison, case, files.structure_set_uid)
    _set_values(dataset, sitk.GetArrayFromImage(dose.image), files, bits, signed=dose.kind == "difference")
    save(dataset, path)


def _uid(root: str | None, case: Case, dose: DoseToExport, part: str) -> UID:
    """The same for the same result, another for another."""
    return _uid_of(root, f"{case.content_sha256} {dose.kind} {dose.made_from} {part}")


def _uid_of(root: str | None, text: str) -> UID:
    number = uuid.uuid5(_NAMESPACE, text).int
    if root is None:
        return UID(f"2.25.{number}")
    # A UID has 64 characters at most.
    return UID(f"{root}.{str(number)[: 63 - len(root)]}")


def _set_patient(dataset: Dataset, case: Case, plan: Dataset, *, show_identity: bool, uid_root: str | None) -> None:
    if show_identity:
        for name in (*_OF_PATIENT, *_OF_STUDY):
            if name in plan:
                dataset[name] = plan[name]
            else:
                setattr(dataset, name, "")
        dataset.StudyInstanceUID = plan.StudyInstanceUID
        return
    for name in (*_OF_PATIENT, *_OF_STUDY):
        setattr(dataset, name, "")
    dataset.PatientName, dataset.PatientID = f"{case.case_id}^", case.case_id
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "gatecheck: written without the plan's patient and study"
    dataset.StudyInstanceUID = _uid_of(uid_root, f"{case.content_sha256} study")


def _set_grid(dataset: Dataset, image: sitk.Image, files: PlanFiles) -> None:
    """As the CT's slices lie; frames follow each other along their normal, on which the offsets are counted."""
    spacing, size, origin = image.GetSpacing(), image.GetSize(), image.GetOrigin()
    first = [
        origin[axis] + (0.0 if sign > 0 else (size[axis] - 1) * spacing[axis])
        for axis, sign in ((0, files.row_sign), (1, files.column_sign), (2, files.normal_sign))
    ]
    dataset.ImagePositionPatient = decimals(first)
    dataset.ImageOrientationPatient = decimals((files.row_sign, 0, 0, 0, files.column_sign, 0))
    dataset.PixelSpacing = decimals((spacing[1], spacing[0]))
    dataset.SliceThickness = decimal(spacing[2])
    dataset.GridFrameOffsetVector = decimals([index * spacing[2] for index in range(size[2])])
    dataset.NumberOfFrames = size[2]
    dataset.FrameIncrementPointer = 0x3004000C  # GridFrameOffsetVector


def _set_histograms(dataset: Dataset, comparison: Comparison, case: Case, structure_set_uid: str) -> None:
    """The RT DVH module: of structures that lie wholly in the dose and have a name of their own."""
    numbers = {one.name: one.number for one in case.structures}
    names = [one.name for one in comparison.structures]
    items = [
        _histogram(one.mc_dvh, one.volume_ml, numbers[one.name])
        for one in comparison.structures
        if one.mc_dvh is not None
        and one.covered_fraction > _WHOLLY
        and not one.note  # of which nothing is out of the TPS's grid either
        and names.count(one.name) == 1
    ]
    if items:
        dataset.ReferencedStructureSetSequence = DicomSequence([reference(RTStructureSetStorage, structure_set_uid)])
        dataset.DVHSequence = DicomSequence(items)


def _histogram(curve: DvhCurve, volume: float, number: int) -> Dataset:
    """Item of the DVH Sequence: pairs of a bin's width, Gy, and the ml with at least the dose where it begins."""
    of_structure = Dataset()
    of_structure.ReferencedROINumber = number
    of_structure.DVHROIContributionType = "INCLUDED"
    widths = np.diff(curve.dose_gy)
    item = Dataset()
    item.DVHReferencedROISequence = DicomSequence([of_structure])
    item.DVHType = "CUMULATIVE"
    item.DoseUnits = "GY"
    item.DoseType = "PHYSICAL"
    item.DVHDoseScaling = decimal(1.0)
    item.DVHVolumeUnits = "CM3"
    item.DVHNumberOfBins = len(widths)
    volumes = volume * np.array(curve.volume_fraction[:-1])
    item.DVHData = decimals(np.stack([widths, volumes], axis=1).round(7).ravel())
    return item


def _set_values(
    dataset: Dataset, values_zyx: npt.NDArray[np.floating], files: PlanFiles, bits: Literal[16, 32], *, signed: bool
) -> None:
    turned = np.asarray(values_zyx, dtype=np.float64)[:: files.normal_sign, :: files.column_sign, :: files.row_sign]
    values = np.nan_to_num(turned)
    if not signed:
        values = np.maximum(values, 0.0)
    largest = float(np.abs(values).max())
    most = 2 ** (bits - 1) - 2 if signed else 2**bits - 2
    scaling = decimal(largest / most if largest > 0 else 1.0)
    # Written with 16 characters, a scaling may have been rounded down, and the largest value not fit any more.
    stored = np.minimum(np.rint(values / float(scaling)), most + 1)
    if np.abs(stored * float(scaling) - values).max(initial=0.0) > _LARGEST_ROUNDING * largest:
        raise ResultError("RTDOSE: rounding is more than 0.01 % of the largest value. Please report this.")
    dataset.DoseGridScaling = scaling
    set_pixels(dataset, np.ascontiguousarray(stored.astype(f"<{'i' if signed else 'u'}{bits // 8}")))
