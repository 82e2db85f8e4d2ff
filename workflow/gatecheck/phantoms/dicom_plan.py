"""The parts of a made RTPLAN: prescription, fraction group, beams and their control points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from gatecheck.case.model import Beam, ControlPoint
from gatecheck.report.dicom_file import decimal, decimals

FloatArray = npt.NDArray[np.floating]


def prescription_item(prescription_gy: float) -> Dataset:
    """Item of the Dose Reference Sequence: dose of the course to the target."""
    item = Dataset()
    item.DoseReferenceNumber = 1
    item.DoseReferenceStructureType = "SITE"
    item.DoseReferenceDescription = "prescription"
    item.DoseReferenceType = "TARGET"
    item.TargetPrescriptionDose = decimal(prescription_gy)
    return item


def fraction_group_item(beams: Sequence[Beam], fractions: int) -> Dataset:
    """The one item of the Fraction Group Sequence; a beam of zero meterset gets no Beam Meterset."""
    group = Dataset()
    group.FractionGroupNumber = 1
    group.NumberOfFractionsPlanned = fractions
    group.NumberOfBeams = len(beams)
    group.NumberOfBrachyApplicationSetups = 0
    references = []
    for beam in beams:
        reference = Dataset()
        if beam.meterset > 0:
            reference.BeamMeterset = decimal(beam.meterset)
        reference.ReferencedBeamNumber = beam.number
        references.append(reference)
    group.ReferencedBeamSequence = DicomSequence(references)
    return group


def beam_item(beam: Beam, jaw_types: tuple[str, str], changes_only: bool) -> Dataset:
    """Item of the Beam Sequence."""
    item = Dataset()
    fluence = Dataset()
    fluence.FluenceMode = "STANDARD" if beam.fluence_mode == "STANDARD" else "NON_STANDARD"
    if beam.fluence_mode != "STANDARD":
        fluence.FluenceModeID = beam.fluence_mode
    item.PrimaryFluenceModeSequence = DicomSequence([fluence])
    item.TreatmentMachineName = beam.machine_name
    item.PrimaryDosimeterUnit = "MU"
    item.SourceAxisDistance = decimal(beam.source_axis_distance)
    item.BeamLimitingDeviceSequence = DicomSequence(_devices(beam, jaw_types))
    item.BeamNumber = beam.number
    item.BeamName = beam.name
    item.BeamType = beam.beam_type
    item.RadiationType = beam.radiation_type
    item.TreatmentDeliveryType = "TREATMENT" if beam.meterset > 0 else "SETUP"
    item.NumberOfWedges = 0
    item.NumberOfCompensators = 0
    item.NumberOfBoli = 0
    item.NumberOfBlocks = 0
    item.FinalCumulativeMetersetWeight = decimal(beam.final_cumulative_meterset_weight)
    item.NumberOfControlPoints = len(beam.control_points)
    item.ControlPointSequence = DicomSequence(_control_points(beam, jaw_types, changes_only))
    item.ReferencedPatientSetupNumber = 1
    return item


def _devices(beam: Beam, jaw_types: tuple[str, str]) -> list[Dataset]:
    devices = []
    for jaw_type in jaw_types:
        jaw = Dataset()
        jaw.RTBeamLimitingDeviceType = jaw_type
        jaw.NumberOfLeafJawPairs = 1
        devices.append(jaw)
    if beam.leaf_boundaries is not None:
        mlc = Dataset()
        mlc.RTBeamLimitingDeviceType = "MLCX"
        mlc.NumberOfLeafJawPairs = len(beam.leaf_boundaries) - 1
        mlc.LeafPositionBoundaries = decimals(beam.leaf_boundaries)
        devices.append(mlc)
    return devices


def _control_points(beam: Beam, jaw_types: tuple[str, str], changes_only: bool) -> Iterator[Dataset]:
    previous: ControlPoint | None = None
    for index, point in enumerate(beam.control_points):
        item = Dataset()
        item.ControlPointIndex = index
        if index == 0:
            item.NominalBeamEnergy = decimal(beam.nominal_energy_mv)
        positions = _positions(point, previous if changes_only else None, jaw_types)
        if positions:
            item.BeamLimitingDevicePositionSequence = DicomSequence(positions)
        changed = _axes(point)
        if changes_only and previous is not None:
            before = _axes(previous)
            changed = {keyword: value for keyword, value in changed.items() if before[keyword] != value}
        for keyword, value in changed.items():
            setattr(item, keyword, value)
        if index == 0:
            _set_unused_axes(item)
        item.CumulativeMetersetWeight = decimal(point.cumulative_meterset_weight)
        yield item
        previous = point


def _axes(point: ControlPoint) -> dict[str, str | list[str]]:
    return {
        "GantryAngle": decimal(point.gantry_angle),
        "GantryRotationDirection": point.gantry_rotation_direction,
        "BeamLimitingDeviceAngle": decimal(point.collimator_angle),
        "BeamLimitingDeviceRotationDirection": point.collimator_rotation_direction,
        "PatientSupportAngle": decimal(point.couch_angle),
        "PatientSupportRotationDirection": point.couch_rotation_direction,
        "IsocenterPosition": decimals(point.isocentre),
    }


def _set_unused_axes(item: Dataset) -> None:
    """Axes that every first control point has to state and that stand still at zero."""
    item.TableTopEccentricAngle = "0"
    item.TableTopEccentricRotationDirection = "NONE"
    item.TableTopPitchAngle = 0.0
    item.TableTopPitchRotationDirection = "NONE"
    item.TableTopRollAngle = 0.0
    item.TableTopRollRotationDirection = "NONE"
    item.TableTopVerticalPosition = None
    item.TableTopLongitudinalPosition = None
    item.TableTopLateralPosition = None


def _positions(point: ControlPoint, previous: ControlPoint | None, jaw_types: tuple[str, str]) -> list[Dataset]:
    now = _device_positions(point, jaw_types)
    before = {} if previous is None else _device_positions(previous, jaw_types)
    items = []
    for device, positions in now.items():
        if before.get(device) != positions:
            item = Dataset()
            item.RTBeamLimitingDeviceType = device
            item.LeafJawPositions = decimals(positions)
            items.append(item)
    return items


def _device_positions(point: ControlPoint, jaw_types: tuple[str, str]) -> dict[str, tuple[float, ...]]:
    positions: dict[str, tuple[float, ...]] = {jaw_types[0]: point.jaw_x, jaw_types[1]: point.jaw_y}
    if point.leaf_positions is not None:
        positions["MLCX"] = point.leaf_positions[0] + point.leaf_positions[1]
    return positions
