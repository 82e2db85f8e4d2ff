"""Beams of an RTPLAN, with everything carried forward that later control points leave out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
from pydicom.dataset import Dataset

from gatecheck.case.attributes import (
    FloatArray,
    Notes,
    called,
    code,
    items,
    number,
    numbers,
    required_integer,
    required_number,
    required_numbers,
    text,
)
from gatecheck.case.model import WEIGHT_TOLERANCE, Beam, ControlPoint
from gatecheck.case.rotation import (
    COLLIMATOR,
    COUCH,
    GANTRY,
    SAME_LENGTH,
    Rotation,
    RotationAxis,
    Turning,
    shape_moves,
    turning,
)
from gatecheck.errors import InputError, UnsupportedPlanError

Technique = Literal["static", "step-and-shoot", "sliding-window", "conformal-arc", "vmat"]

JAW_X_TYPES = ("X", "ASYMX")
JAW_Y_TYPES = ("Y", "ASYMY")
MLC_TYPE = "MLCX"

_LEAF_OVERLAP = 0.1  # mm that opposite leaves may be written past each other by rounding
_SAME_ANGLE = 0.01  # degrees
_CONSTANT_RATE = 0.01  # largest relative spread of meterset per degree that still is constant

_ANGLES = ("GantryAngle", "BeamLimitingDeviceAngle", "PatientSupportAngle")
_ROTATIONS = ("GantryRotationDirection", "BeamLimitingDeviceRotationDirection", "PatientSupportRotationDirection")

_FLATTENING_FREE = ("FFF", "SRS")
"""Words in a Fluence Mode ID that name a beam of another profile than the flattened one."""


def read_beam(dataset: Dataset, meterset: float, notes: Notes) -> Beam:
    """Read one beam that passed `check_supported`.

    Parameters
    ----------
    meterset : float
        MU per fraction, from the fraction group.

    Raises
    ------
    InputError, UnsupportedPlanError
        Naming the beam, the control point and the attribute.
    """
    beam_number = required_integer(dataset, "BeamNumber", "RTPLAN")
    place = f"Beam {beam_number}"
    beam_type = code(dataset, "BeamType")
    if beam_type not in {"STATIC", "DYNAMIC"}:
        raise InputError(f"{place}: {called('BeamType')} is neither STATIC nor DYNAMIC. Export the plan again.")
    boundaries = _leaf_boundaries(dataset, place)
    final_weight = required_number(dataset, "FinalCumulativeMetersetWeight", place)
    sequence = _control_point_items(dataset, place)
    points = _Carrier(place, boundaries).control_points(sequence)
    _check_weights(points, final_weight, place)
    gantry, _, _ = (
        _noted_turning(axis, points, is_arc=beam_type == "DYNAMIC", place=place, notes=notes)
        for axis in (GANTRY, COLLIMATOR, COUCH)
    )
    return Beam(
        number=beam_number,
        name=text(dataset, "BeamName"),
        machine_name=text(dataset, "TreatmentMachineName"),
        radiation_type="PHOTON",
        nominal_energy_mv=_energy(sequence, place),
        fluence_mode=_fluence_mode(dataset, place),
        beam_type=cast(Literal["STATIC", "DYNAMIC"], beam_type),
        technique=technique(points, gantry.angles),
        source_axis_distance=required_number(dataset, "SourceAxisDistance", place),
        meterset=meterset,
        final_cumulative_meterset_weight=final_weight,
        leaf_boundaries=None if boundaries is None else tuple(boundaries),
        control_points=points,
    )


def technique(points: Sequence[ControlPoint], gantry: FloatArray) -> Technique:
    """Name what the control points do.

    An arc whose leaves move at a changing meterset per degree is VMAT; with leaves that stand still
    or meterset that goes evenly with the angle it is a conformal arc.

    Parameters
    ----------
    points : sequence of ControlPoint
    gantry : ndarray of shape (n_control_points,)
        Unwrapped degrees, from `turning`.
    """
    weights = np.array([point.cumulative_meterset_weight for point in points])
    moves = shape_moves(points)
    turns = np.abs(np.diff(gantry))
    delivers = np.diff(weights) > 0
    if (turns[delivers] > _SAME_ANGLE).any():
        rate = np.diff(weights)[delivers] / np.maximum(turns[delivers], _SAME_ANGLE)
        is_even = np.ptp(rate) <= _CONSTANT_RATE * rate.mean()
        return "conformal-arc" if is_even or not moves.any() else "vmat"
    if not moves.any():
        return "static"
    return "sliding-window" if moves[delivers].any() else "step-and-shoot"


def _noted_turning(
    axis: RotationAxis, points: Sequence[ControlPoint], *, is_arc: bool, place: str, notes: Notes
) -> Turning:
    read = turning(axis, points, is_arc=is_arc, place=place)
    if read.held:
        notes.add(
            "direction-without-rotation",
            f"{place}: the {axis.name} angle stays after {len(read.held)} of {len(points)} control points (first: "
            f"{read.held[0]}) that have {axis.direction} CW or CC, which DICOM reads as full turns; "
            f"the {axis.name} was taken to stand still there. Check that it does.",
        )
    return read


def leaves_move(dataset: Dataset, place: str) -> bool:
    """Whether leaves of any MLC of a beam stand at one control point where they do not at the first."""
    first: dict[str, FloatArray] = {}
    for point in items(dataset, "ControlPointSequence", place):
        for device in items(point, "BeamLimitingDevicePositionSequence", place):
            kind = code(device, "RTBeamLimitingDeviceType")
            if not kind.startswith("MLC"):
                continue
            now = numbers(device, "LeafJawPositions", place)
            before = first.setdefault(kind, now)
            if now.shape != before.shape or np.abs(now - before).max(initial=0.0) > SAME_LENGTH:
                return True
    return False


def _control_point_items(dataset: Dataset, place: str) -> list[Dataset]:
    sequence = items(dataset, "ControlPointSequence", place)
    stated = required_integer(dataset, "NumberOfControlPoints", place)
    if stated != len(sequence) or stated < 2:
        raise InputError(
            f"{place}: {len(sequence)} control points found, {max(stated, 2)} expected. Export the plan again."
        )
    for index, item in enumerate(sequence):
        if required_integer(item, "ControlPointIndex", place) != index:
            raise InputError(f"{place}: control points are not in order of {called('ControlPointIndex')}.")
    return sequence


def _check_weights(points: Sequence[ControlPoint], final_weight: float, place: str) -> None:
    weights = [point.cumulative_meterset_weight for point in points]
    name = called("CumulativeMetersetWeight")
    if final_weight <= 0:
        raise InputError(f"{place}: {called('FinalCumulativeMetersetWeight')} is {final_weight:g}, above 0 expected.")
    if abs(weights[0]) > WEIGHT_TOLERANCE * final_weight:
        raise InputError(f"{place}, control point 0: {name} is {weights[0]:g}, 0 expected. Export the plan again.")
    for index in range(1, len(weights)):
        if weights[index] < weights[index - 1]:
            raise InputError(
                f"{place}, control point {index}: {name} falls from {weights[index - 1]:g} to {weights[index]:g}. "
                "Export the plan again."
            )
    if abs(weights[-1] - final_weight) > WEIGHT_TOLERANCE * final_weight:
        raise UnsupportedPlanError(
            f"{place}: {name} ends at {weights[-1]:g}, {called('FinalCumulativeMetersetWeight')} {final_weight:g} "
            "expected: a part of the beam's meterset would be delivered nowhere. Export the complete plan."
        )


def _energy(sequence: Sequence[Dataset], place: str) -> float:
    energies = [number(item, "NominalBeamEnergy", place) for item in sequence]
    if energies[0] is None:
        raise InputError(f"{place}, control point 0: {called('NominalBeamEnergy')} is missing. Export the plan again.")
    for index, energy in enumerate(energies):
        if energy is not None and energy != energies[0]:
            raise UnsupportedPlanError(
                f"{place}, control point {index}: the energy changes from {energies[0]:g} to {energy:g} MV within the "
                "beam, which is not supported."
            )
    return energies[0]


def _fluence_mode(dataset: Dataset, place: str) -> str:
    modes = items(dataset, "PrimaryFluenceModeSequence", place)
    if not modes:
        return "STANDARD"
    mode = code(modes[0], "FluenceMode")
    if len(modes) > 1 or mode not in {"STANDARD", "NON_STANDARD"}:
        raise InputError(f"{place}: {called('FluenceMode')} is neither STANDARD nor NON_STANDARD.")
    identifier = text(modes[0], "FluenceModeID")
    if mode == "STANDARD":
        if any(word in identifier.upper() for word in _FLATTENING_FREE):
            raise UnsupportedPlanError(
                f"{place}: {called('FluenceMode')} is STANDARD, but {called('FluenceModeID')} says FFF or SRS, so that "
                "the beam's profile is not known. Expected NON_STANDARD for FFF or SRS. Export the plan again."
            )
        return mode
    if not identifier:
        raise InputError(
            f"{place}: {called('FluenceMode')} is NON_STANDARD, but {called('FluenceModeID')} is missing. "
            "Export the plan again."
        )
    return identifier


def _leaf_boundaries(dataset: Dataset, place: str) -> FloatArray | None:
    """Leaf boundaries of the MLC, shape (n_pairs + 1,), or None for a beam without one."""
    for device in items(dataset, "BeamLimitingDeviceSequence", place):
        if code(device, "RTBeamLimitingDeviceType") != MLC_TYPE:
            continue
        pairs = required_integer(device, "NumberOfLeafJawPairs", place)
        boundaries = numbers(device, "LeafPositionBoundaries", place)
        if len(boundaries) != pairs + 1:
            raise InputError(
                f"{place}: {len(boundaries)} values of {called('LeafPositionBoundaries')} found, {pairs + 1} expected "
                f"for {pairs} leaf pairs. Export the plan with its MLC."
            )
        if (np.diff(boundaries) <= 0).any():
            raise InputError(f"{place}: {called('LeafPositionBoundaries')} do not increase. Export the plan again.")
        return boundaries
    return None


class _Carrier:
    """Goes through the control points of one beam, keeping what is left out."""

    def __init__(self, place: str, boundaries: FloatArray | None) -> None:
        self._beam = place
        self._pairs = None if boundaries is None else len(boundaries) - 1
        self._angles: dict[str, float] = {}
        self._rotations: dict[str, Rotation] = {}
        self._devices: dict[str, FloatArray] = {}
        self._isocentre: FloatArray | None = None

    def control_points(self, sequence: Sequence[Dataset]) -> tuple[ControlPoint, ...]:
        return tuple(self._next(item, f"{self._beam}, control point {index}") for index, item in enumerate(sequence))

    def _next(self, item: Dataset, place: str) -> ControlPoint:
        for keyword in _ANGLES:
            angle = number(item, keyword, place)
            if angle is not None:
                self._angles[keyword] = angle
        for keyword in _ROTATIONS:
            rotation = code(item, keyword)
            if rotation:
                self._rotations[keyword] = _checked_rotation(rotation, keyword, place)
        isocentre = numbers(item, "IsocenterPosition", place)
        if len(isocentre):
            self._isocentre = required_numbers(item, "IsocenterPosition", place, count=3)
        for device in items(item, "BeamLimitingDevicePositionSequence", place):
            self._take_device(device, place)
        return self._state(required_number(item, "CumulativeMetersetWeight", place), place)

    def _take_device(self, device: Dataset, place: str) -> None:
        kind = code(device, "RTBeamLimitingDeviceType")
        axis = "x" if kind in JAW_X_TYPES else "y" if kind in JAW_Y_TYPES else kind
        positions = numbers(device, "LeafJawPositions", place)
        if axis == MLC_TYPE:
            self._check_leaves(positions, place)
        elif axis not in {"x", "y"}:
            raise UnsupportedPlanError(f"{place}: positions of a device {kind or 'without type'} are not supported.")
        elif len(positions) != 2 or positions[0] > positions[1]:
            raise InputError(
                f"{place}: {called('LeafJawPositions')} of jaws {kind} are not two increasing positions. "
                "Export the plan again."
            )
        self._devices[axis] = positions

    def _check_leaves(self, positions: FloatArray, place: str) -> None:
        if self._pairs is None:
            raise InputError(f"{place}: leaf positions of an MLC found that the beam does not have. Export again.")
        if len(positions) != 2 * self._pairs:
            raise InputError(
                f"{place}: {len(positions)} leaf positions found in {called('LeafJawPositions')}, {2 * self._pairs} "
                "expected. Export the plan with its MLC."
            )
        overlap = positions[: self._pairs] - positions[self._pairs :]
        if overlap.max() > _LEAF_OVERLAP:
            raise InputError(
                f"{place}: leaf pair {int(overlap.argmax()) + 1} is closed past itself by {overlap.max():.2f} mm "
                f"({called('LeafJawPositions')}). Export the plan again."
            )

    def _state(self, weight: float, place: str) -> ControlPoint:
        for keyword in _ANGLES:
            if keyword not in self._angles:
                raise InputError(f"{place}: {called(keyword)} is missing. Export the plan again.")
        for axis in ("x", "y"):
            if axis not in self._devices:
                raise InputError(f"{place}: positions of the {axis.upper()} jaws are missing. Export the plan again.")
        if self._pairs is not None and MLC_TYPE not in self._devices:
            raise InputError(f"{place}: the beam has an MLC, but its leaf positions are missing. Export with the MLC.")
        if self._isocentre is None:
            raise InputError(f"{place}: {called('IsocenterPosition')} is missing. Export the plan again.")
        gantry, collimator, couch = (self._rotations.get(keyword, "NONE") for keyword in _ROTATIONS)
        x, y, z = (float(value) for value in self._isocentre)
        return ControlPoint(
            cumulative_meterset_weight=weight,
            gantry_angle=self._angles["GantryAngle"],
            gantry_rotation_direction=gantry,
            collimator_angle=self._angles["BeamLimitingDeviceAngle"],
            collimator_rotation_direction=collimator,
            couch_angle=self._angles["PatientSupportAngle"],
            couch_rotation_direction=couch,
            jaw_x=_pair(self._devices["x"]),
            jaw_y=_pair(self._devices["y"]),
            leaf_positions=self._leaves(),
            isocentre=(x, y, z),
        )

    def _leaves(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        if self._pairs is None:
            return None
        positions = self._devices[MLC_TYPE].tolist()
        return tuple(positions[: self._pairs]), tuple(positions[self._pairs :])


def _pair(values: FloatArray) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _checked_rotation(rotation: str, keyword: str, place: str) -> Rotation:
    if rotation not in {"CW", "CC", "NONE"}:
        raise InputError(f"{place}: {called(keyword)} is none of CW, CC and NONE. Export the plan again.")
    return cast(Rotation, rotation)
