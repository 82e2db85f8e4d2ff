"""Writes complete, valid DICOM sets (CT, RTSTRUCT, RTPLAN, RTDOSE) of cases that were made.

The same input gives the same bytes: UIDs come from a seed, dates are fixed, and the file meta
information does not name the library that wrote it. So the hashes of a made case are stable.

All geometry is given in DICOM LPS mm on axis-aligned arrays indexed [z, y, x] with x, y and z
increasing; the writer turns it into the image orientation that a scanner would export for the
patient position.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
)

from gatecheck.case.model import Beam, PatientPosition
from gatecheck.phantoms.dicom_plan import beam_item, fraction_group_item, prescription_item
from gatecheck.report.dicom_file import decimal, decimals, new_dataset, reference, save, set_pixels

FloatArray = npt.NDArray[np.floating]
Vector = tuple[float, float, float]

_NAMESPACE = uuid.UUID("b92f5b0e-3cf5-5ee6-9ba4-16b2b9f2a9b7")

STORED_OFFSET = 1024
"""Stored CT value = HU + 1024, as most scanners export."""

FIXED_DATE = "20200101"
FIXED_TIME = "120000"

ROW_AND_COLUMN_SIGNS: dict[str, tuple[int, int]] = {
    "HFS": (1, 1),
    "HFP": (-1, -1),
    "FFS": (-1, 1),
    "FFP": (1, -1),
}
"""Direction of image rows along x and of columns along y, as an observer at the table's foot sees the scan."""

_SAME_PLANE = 0.01  # mm, between a contour and the CT slice that it was drawn on


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the made patient is, and what the made plan is called."""

    patient_name: str = "GATECHECK^PHANTOM"
    patient_id: str = "GATECHECK-PHANTOM"
    birth_date: str = "19000101"
    sex: str = "O"
    plan_label: str = "PHANTOM"
    structure_set_label: str = "PHANTOM"


@dataclass(frozen=True, slots=True)
class Uids:
    """The UIDs of one DICOM set, all from one seed."""

    seed: str

    def _uid(self, role: str) -> UID:
        return UID(f"2.25.{uuid.uuid5(_NAMESPACE, f'{self.seed}/{role}').int}")

    @property
    def study(self) -> UID:
        """Study Instance UID of all files."""
        return self._uid("study")

    @property
    def frame_of_reference(self) -> UID:
        """Frame of Reference UID of all files."""
        return self._uid("frame of reference")

    @property
    def structure_set(self) -> UID:
        """SOP Instance UID of the RTSTRUCT."""
        return self._uid("RTSTRUCT")

    @property
    def plan(self) -> UID:
        """SOP Instance UID of the RTPLAN."""
        return self._uid("RTPLAN")

    def ct_slice(self, index: int) -> UID:
        """SOP Instance UID of a CT slice, counted from 0 at the lowest z."""
        return self._uid(f"CT {index}")

    def dose(self, role: str = "plan") -> UID:
        """SOP Instance UID of an RTDOSE."""
        return self._uid(f"RTDOSE {role}")

    def series(self, modality: str) -> UID:
        """Series Instance UID of a modality."""
        return self._uid(f"series {modality}")


@dataclass(frozen=True, slots=True)
class CtSlice:
    """A CT slice written: what structures refer to."""

    sop_instance_uid: UID
    z: float


@dataclass(frozen=True, slots=True)
class StructureDrawing:
    """One structure as closed planar contours.

    Attributes
    ----------
    contours : sequence of ndarray of shape (n_points, 3)
        LPS mm, all points of a contour at one z; contours of one plane combine by even-odd.
    """

    number: int
    name: str
    interpreted_type: str
    color: tuple[int, int, int]
    contours: Sequence[FloatArray]


def write_ct(
    folder: Path,
    hu_zyx: npt.NDArray[np.int16],
    *,
    origin: Vector,
    spacing: Vector,
    patient_position: PatientPosition = "HFS",
    body_part: str = "WHOLEBODY",
    identity: Identity,
    uids: Uids,
) -> tuple[CtSlice, ...]:
    """Write one CT file a slice, `CT_001.dcm` at the lowest z.

    Parameters
    ----------
    hu_zyx : ndarray of shape (nz, ny, nx)
        CT numbers, -1024 and above.
    origin, spacing : (x, y, z)
        Centre of voxel [0, 0, 0] and voxel size, mm.
    body_part : str
        Body Part Examined; an unpaired one, or Laterality would be asked for.

    Returns
    -------
    The slices from the lowest z, to give to `write_structures`.
    """
    if hu_zyx.min() < -STORED_OFFSET:
        raise ValueError(f"CT numbers from {hu_zyx.min()} found, at least {-STORED_OFFSET} expected")
    row_sign, column_sign = ROW_AND_COLUMN_SIGNS[patient_position]
    _, rows, columns = hu_zyx.shape
    first_x = origin[0] + (0 if row_sign > 0 else (columns - 1) * spacing[0])
    first_y = origin[1] + (0 if column_sign > 0 else (rows - 1) * spacing[1])
    stored = (hu_zyx.astype(np.int32) + STORED_OFFSET).astype("<u2")[:, ::column_sign, ::row_sign]
    written = []
    for index, pixels in enumerate(stored):
        z = origin[2] + index * spacing[2]
        dataset = _file(CTImageStorage, uids.ct_slice(index), "CT", identity, uids)
        dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
        dataset.InstanceNumber = index + 1
        dataset.AcquisitionNumber = 1
        dataset.KVP = decimal(120)
        dataset.BodyPartExamined = body_part
        dataset.PatientPosition = patient_position
        dataset.ImagePositionPatient = decimals((first_x, first_y, z))
        dataset.ImageOrientationPatient = decimals((row_sign, 0, 0, 0, column_sign, 0))
        dataset.PixelSpacing = decimals((spacing[1], spacing[0]))
        dataset.SliceThickness = decimal(spacing[2])
        dataset.SliceLocation = decimal(z)
        dataset.RescaleIntercept = decimal(-STORED_OFFSET)
        dataset.RescaleSlope = decimal(1)
        dataset.RescaleType = "HU"
        set_pixels(dataset, np.ascontiguousarray(pixels))
        save(dataset, folder / f"CT_{index + 1:03d}.dcm")
        written.append(CtSlice(uids.ct_slice(index), z))
    return tuple(written)


def write_structures(
    folder: Path,
    structures: Sequence[StructureDrawing],
    *,
    ct_slices: Sequence[CtSlice],
    identity: Identity,
    uids: Uids,
) -> None:
    """Write `RTSTRUCT.dcm`, linked to the CT slices that `write_ct` returned."""
    dataset = _file(RTStructureSetStorage, uids.structure_set, "RTSTRUCT", identity, uids)
    dataset.StructureSetLabel = identity.structure_set_label
    dataset.StructureSetDate = FIXED_DATE
    dataset.StructureSetTime = FIXED_TIME
    dataset.ReferencedFrameOfReferenceSequence = DicomSequence([_referenced_frame(ct_slices, uids)])
    dataset.StructureSetROISequence = DicomSequence([_roi(drawing, uids) for drawing in structures])
    dataset.ROIContourSequence = DicomSequence([_roi_contour(drawing, ct_slices) for drawing in structures])
    dataset.RTROIObservationsSequence = DicomSequence([_observation(drawing) for drawing in structures])
    dataset.ApprovalStatus = "UNAPPROVED"
    save(dataset, folder / "RTSTRUCT.dcm")


def write_plan(
    folder: Path,
    beams: Sequence[Beam],
    *,
    fractions: int,
    prescription_gy: float | None,
    patient_position: PatientPosition = "HFS",
    identity: Identity,
    uids: Uids,
    jaw_types: tuple[str, str] = ("ASYMX", "ASYMY"),
    changes_only: bool = True,
) -> None:
    """Write `RTPLAN.dcm`, linked to the structure set of the same UIDs.

    Parameters
    ----------
    beams
        A beam of zero meterset is written without BeamMeterset, as planning systems write setup
        fields.
    changes_only
        Later control points leave out what did not change, as most planning systems do.
    """
    dataset = _file(RTPlanStorage, uids.plan, "RTPLAN", identity, uids)
    dataset.RTPlanLabel = identity.plan_label
    dataset.RTPlanDate = FIXED_DATE
    dataset.RTPlanTime = FIXED_TIME
    dataset.PlanIntent = "VERIFICATION"
    dataset.RTPlanGeometry = "PATIENT"
    if prescription_gy is not None:
        dataset.DoseReferenceSequence = DicomSequence([prescription_item(prescription_gy)])
    dataset.FractionGroupSequence = DicomSequence([fraction_group_item(beams, fractions)])
    dataset.BeamSequence = DicomSequence([beam_item(beam, jaw_types, changes_only) for beam in beams])
    setup = Dataset()
    setup.PatientPosition = patient_position
    setup.PatientSetupNumber = 1
    setup.SetupTechnique = "ISOCENTRIC"
    dataset.PatientSetupSequence = DicomSequence([setup])
    dataset.ReferencedStructureSetSequence = DicomSequence([reference(RTStructureSetStorage, uids.structure_set)])
    dataset.ApprovalStatus = "UNAPPROVED"
    save(dataset, folder / "RTPLAN.dcm")


def write_dose(
    folder: Path,
    dose_zyx: FloatArray,
    *,
    origin: Vector,
    spacing: Vector,
    identity: Identity,
    uids: Uids,
    bits: Literal[16, 32] = 32,
    name: str = "RTDOSE.dcm",
) -> None:
    """Write a physical dose of the whole plan, linked to the plan of the same UIDs.

    Parameters
    ----------
    dose_zyx : ndarray of shape (nz, ny, nx)
        Gy, all fractions.
    origin, spacing : (x, y, z)
        Centre of voxel [0, 0, 0] and voxel size, mm.
    """
    dataset = _file(RTDoseStorage, uids.dose(name), "RTDOSE", identity, uids)
    dataset.InstanceNumber = 1
    dataset.ImagePositionPatient = decimals(origin)
    dataset.ImageOrientationPatient = decimals((1, 0, 0, 0, 1, 0))
    dataset.PixelSpacing = decimals((spacing[1], spacing[0]))
    dataset.SliceThickness = decimal(spacing[2])
    dataset.DoseUnits = "GY"
    dataset.DoseType = "PHYSICAL"
    dataset.DoseSummationType = "PLAN"
    dataset.TissueHeterogeneityCorrection = ["IMAGE"]
    dataset.GridFrameOffsetVector = decimals([index * spacing[2] for index in range(dose_zyx.shape[0])])
    dataset.ReferencedRTPlanSequence = DicomSequence([reference(RTPlanStorage, uids.plan)])
    dataset.NumberOfFrames = dose_zyx.shape[0]
    dataset.FrameIncrementPointer = 0x3004000C
    largest = float(dose_zyx.max())
    scaling = decimal(largest / (2**bits - 2) if largest > 0 else 1.0)
    dataset.DoseGridScaling = scaling
    set_pixels(dataset, np.rint(np.asarray(dose_zyx, dtype=float) / float(scaling)).astype(f"<u{bits // 8}"))
    save(dataset, folder / name)


def _file(sop_class: UID, sop_instance: UID, modality: str, identity: Identity, uids: Uids) -> Dataset:
    """A file with the modules that all four kinds share."""
    dataset = new_dataset(sop_class, sop_instance)
    dataset.InstanceCreationDate = FIXED_DATE
    dataset.InstanceCreationTime = FIXED_TIME
    dataset.StudyDate = FIXED_DATE
    dataset.StudyTime = FIXED_TIME
    dataset.AccessionNumber = ""
    dataset.Modality = modality
    dataset.Manufacturer = "gatecheck"
    dataset.ManufacturerModelName = "phantoms"
    dataset.ReferringPhysicianName = ""
    dataset.OperatorsName = ""
    dataset.PatientName = identity.patient_name
    dataset.PatientID = identity.patient_id
    dataset.PatientBirthDate = identity.birth_date
    dataset.PatientSex = identity.sex
    dataset.SoftwareVersions = "1"
    dataset.StudyInstanceUID = uids.study
    dataset.SeriesInstanceUID = uids.series(modality)
    dataset.StudyID = "1"
    dataset.SeriesNumber = {"CT": 1, "RTSTRUCT": 2, "RTPLAN": 3, "RTDOSE": 4}[modality]
    dataset.FrameOfReferenceUID = uids.frame_of_reference
    dataset.PositionReferenceIndicator = ""
    return dataset


def _referenced_frame(ct_slices: Sequence[CtSlice], uids: Uids) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = uids.series("CT")
    series.ContourImageSequence = DicomSequence(
        [reference(CTImageStorage, ct_slice.sop_instance_uid) for ct_slice in ct_slices]
    )
    study = Dataset()
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, retired but required here
    study.ReferencedSOPInstanceUID = uids.study
    study.RTReferencedSeriesSequence = DicomSequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = uids.frame_of_reference
    frame.RTReferencedStudySequence = DicomSequence([study])
    return frame


def _roi(drawing: StructureDrawing, uids: Uids) -> Dataset:
    item = Dataset()
    item.ROINumber = drawing.number
    item.ReferencedFrameOfReferenceUID = uids.frame_of_reference
    item.ROIName = drawing.name
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    return item


def _roi_contour(drawing: StructureDrawing, ct_slices: Sequence[CtSlice]) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(drawing.color)
    item.ReferencedROINumber = drawing.number
    if len(drawing.contours) > 0:
        item.ContourSequence = DicomSequence([_contour(np.asarray(points), ct_slices) for points in drawing.contours])
    return item


def _contour(points: FloatArray, ct_slices: Sequence[CtSlice]) -> Dataset:
    item = Dataset()
    drawn_on = [ct_slice for ct_slice in ct_slices if abs(ct_slice.z - points[0, 2]) < _SAME_PLANE]
    if drawn_on:
        item.ContourImageSequence = DicomSequence([reference(CTImageStorage, drawn_on[0].sop_instance_uid)])
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{value:.4f}" for value in points.ravel() + 0.0]
    return item


def _observation(drawing: StructureDrawing) -> Dataset:
    item = Dataset()
    item.ObservationNumber = drawing.number
    item.ReferencedROINumber = drawing.number
    item.RTROIInterpretedType = drawing.interpreted_type
    item.ROIInterpreter = ""
    return item
