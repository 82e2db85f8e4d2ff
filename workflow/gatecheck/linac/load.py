"""Reading machine models, and choosing the one that a plan was made for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, ValidationError

from gatecheck.case.model import Beam as PlannedBeam
from gatecheck.case.model import Case, ControlPoint
from gatecheck.errors import InputError, UnsupportedPlanError
from gatecheck.files import sha256_of_json
from gatecheck.linac.model import Beam, Calibration, JawPair, LinacModel, Machine

logger = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=BaseModel)

# Leaf position boundaries are decimal strings; the narrowest leaf is 2.5 mm wide.
BOUNDARY_TOLERANCE = 0.05
POSITION_TOLERANCE = 0.5

# Half of the largest field, 400 mm, at the isocentre plane; parked leaves are drawn back a little behind it.
LEAF_REACH = 200.0
LEAF_PARKING = 2.0


def load_linac_model(folder: Path, beam: str = "beam_6x") -> LinacModel:
    """Read one machine model.

    Parameters
    ----------
    folder : Path
        Holds machine.yaml, calibration.yaml and the beam file.
    beam : str
        Name of the beam file without its suffix.

    Raises
    ------
    InputError
        Naming the file and the key.
    """
    if not folder.is_dir():
        raise InputError(f"machine.model: there is no machine model {folder.name} in {folder.parent.name}/.")
    machine = _read(folder / "machine.yaml", Machine)
    beam_model = _read(folder / f"{beam}.yaml", Beam)
    calibration = _read(folder / "calibration.yaml", Calibration)
    _check_together(folder, machine, beam_model, beam)
    content = [part.model_dump(mode="json") for part in (machine, beam_model, calibration)]
    return LinacModel(
        name=folder.name,
        machine=machine,
        beam=beam_model,
        calibration=calibration,
        content_sha256=sha256_of_json(content),
    )


def _read(path: Path, model: type[ModelT]) -> ModelT:
    name = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{name}: not found; a machine model needs this file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not valid YAML ({' '.join(str(error).split())}).") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InputError(f"{name}: {key}: {first['msg']}.{more}") from error


def _check_together(folder: Path, machine: Machine, beam: Beam, beam_name: str) -> None:
    lowest_jaw = machine.jaws.y.top
    for part in ("extra_focal", "contaminant_electrons"):
        distance = getattr(beam, part).distance
        if distance >= lowest_jaw:
            raise InputError(
                f"{folder.name}/{beam_name}.yaml: {part}.distance: {distance:g} mm found, expected above the "
                f"jaws, whose top is at {lowest_jaw:g} mm."
            )


def choose_linac_model(models_folder: Path, case: Case, *, model: str | None, beam: str) -> LinacModel:
    """The machine model whose MLC is the plan's, checked against every beam of the plan.

    Parameters
    ----------
    models_folder : Path
    case : Case
    model : str or None
        A model's folder name; None to choose by the plan's leaf boundaries.
    beam : str
        Name of the beam file without its suffix.

    Raises
    ------
    InputError
        When a model cannot be read, or none can be chosen.
    UnsupportedPlanError
        For an MLC, an energy or positions that the machine does not have.
    """
    linac = (
        load_linac_model(models_folder / model, beam) if model is not None else _by_leaves(models_folder, case, beam)
    )
    for planned in case.beams:
        check_beam(linac, planned)
    logger.info("Machine model %s, beam %s", linac.name, linac.beam.name)
    return linac


def _by_leaves(models_folder: Path, case: Case, beam: str) -> LinacModel:
    planned = next((b for b in case.beams if b.leaf_boundaries is not None), None)
    if planned is None:
        raise InputError(
            "machine.model: no beam of the plan has an MLC, so the machine cannot be told from it. "
            f"Name one of {', '.join(_names(models_folder)) or '(none found)'}."
        )
    for name in _names(models_folder):
        linac = load_linac_model(models_folder / name, beam)
        if _has_leaves(linac, planned):
            return linac
    raise UnsupportedPlanError(_unknown_mlc(planned, ", ".join(_names(models_folder))))


def _names(models_folder: Path) -> list[str]:
    return sorted(path.parent.name for path in models_folder.glob("*/machine.yaml"))


def _has_leaves(linac: LinacModel, planned: PlannedBeam) -> bool:
    known = np.array(linac.machine.mlc.boundaries)
    found = np.array(planned.leaf_boundaries)
    return known.shape == found.shape and bool(np.all(np.abs(known - found) <= BOUNDARY_TOLERANCE))


def _unknown_mlc(planned: PlannedBeam, known: str) -> str:
    boundaries = planned.leaf_boundaries or ()
    return (
        f"Beam {planned.number}: Leaf Position Boundaries (300A,00BE) of {len(boundaries) - 1} leaf pairs from "
        f"{boundaries[0]:g} to {boundaries[-1]:g} mm belong to an MLC unknown to the machine (known: {known}). "
        "Add its machine model, or name the right one in machine.model."
    )


def check_beam(linac: LinacModel, planned: PlannedBeam) -> None:
    """Refuse a beam that this machine cannot have delivered.

    Raises
    ------
    UnsupportedPlanError
        Naming beam, control point and DICOM attribute.
    """
    if planned.nominal_energy_mv != linac.beam.nominal_energy_mv or planned.fluence_mode != linac.beam.fluence_mode:
        raise UnsupportedPlanError(
            f"Beam {planned.number}: Nominal Beam Energy (300A,0114) {planned.nominal_energy_mv:g} MV with fluence "
            f"mode {planned.fluence_mode} found, expected "
            f"{linac.beam.nominal_energy_mv:g} MV {linac.beam.fluence_mode} ({linac.name}, {linac.beam.name}). "
            "Name the right beam file in machine.beam, if there is one."
        )
    if planned.source_axis_distance != linac.machine.source_axis_distance:
        raise UnsupportedPlanError(
            f"Beam {planned.number}: Source-Axis Distance (300A,00B4) {planned.source_axis_distance:g} mm found, "
            f"expected {linac.machine.source_axis_distance:g} mm ({linac.name})."
        )
    if planned.leaf_boundaries is not None and not _has_leaves(linac, planned):
        raise UnsupportedPlanError(_unknown_mlc(planned, f"{linac.machine.mlc.name} of {linac.name}"))
    for index, point in enumerate(planned.control_points):
        where = f"Beam {planned.number}, control point {index}"
        _check_jaws(where, "X", point.jaw_x, linac.machine.jaws.x)
        _check_jaws(where, "Y", point.jaw_y, linac.machine.jaws.y)
        _check_leaf_pairs(where, point)


def _check_jaws(where: str, axis: str, positions: tuple[float, float], jaws: JawPair) -> None:
    for name, position, (low, high) in zip("12", positions, (jaws.travel_1, jaws.travel_2), strict=True):
        if not low - POSITION_TOLERANCE <= position <= high + POSITION_TOLERANCE:
            raise UnsupportedPlanError(
                f"{where}: jaw {axis}{name} at {position:g} mm found, expected {low:g} to {high:g} mm, its travel on "
                "this machine (Leaf/Jaw Positions (300A,011C)). Choose the machine that the plan was made for."
            )
    if positions[1] < positions[0]:
        raise UnsupportedPlanError(
            f"{where}: jaw {axis}2 at {positions[1]:g} mm lies below jaw {axis}1 at {positions[0]:g} mm; "
            "they would collide."
        )


def _check_leaf_pairs(where: str, point: ControlPoint) -> None:
    if point.leaf_positions is None:
        return
    banks = np.array(point.leaf_positions)
    beyond = np.abs(banks) > LEAF_REACH + LEAF_PARKING
    if np.any(beyond):
        bank, pair = np.argwhere(beyond)[0]
        raise UnsupportedPlanError(
            f"{where}: leaf {pair + 1} of bank X{bank + 1} at {banks[bank, pair]:g} mm found, expected "
            f"{-LEAF_REACH:g} to {LEAF_REACH:g} mm, its reach (Leaf/Jaw Positions (300A,011C)). "
            "Choose the machine that the plan was made for."
        )
    opening = banks[1] - banks[0]
    if np.any(opening < -POSITION_TOLERANCE):
        pair = int(np.argmin(opening)) + 1
        raise UnsupportedPlanError(
            f"{where}: the leaves of pair {pair} overlap by {-float(opening.min()):g} mm "
            "(Leaf/Jaw Positions (300A,011C)); expected bank X1 below bank X2."
        )
