"""Dose along lines through the point that all planes of a case pass through."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict, Field

from gatecheck.case.model import Case
from gatecheck.case.storage import read_case
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.delivery.model import Delivery
from gatecheck.delivery.storage import read_delivery
from gatecheck.files import HandedOn, read_image, read_json, sha256_of_file, write_json
from gatecheck.layout import CaseLayout
from gatecheck.patient.model import PatientModel

logger = logging.getLogger(__name__)

PROFILES_FILE = "profiles.json"

FloatArray = npt.NDArray[np.float64]
Point = tuple[float, float, float]
Values = tuple[float | None, ...]

_DIGITS = 4
_AXES: tuple[Literal["x", "y", "z"], ...] = ("x", "y", "z")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Profile(_Part):
    """Dose of the whole course along one line, Gy; null outside of the body or of a dose's grid."""

    axis: Literal["x", "y", "z"] = Field(description="of the patient: x to the left, y to posterior, z to the head")
    position: tuple[float, ...] = Field(description="along the axis, LPS mm")
    mc_gy: Values
    mc_sigma_gy: Values = Field(
        description="k = 1, interpolated as the dose is: of a value between two voxels at most this"
    )
    tps_gy: Values | None = Field(description="null: no TPS dose")


class Profiles(HandedOn):
    """Written as compare/profiles.json. Doses are trilinear between the centres of voxels."""

    made_from: dict[str, str]
    point: Point = Field(description="on all three lines, LPS mm")
    notes: tuple[str, ...] = Field((), description="what the point is, where it is not the plan's one isocentre")
    profiles: tuple[Profile, ...]


def point_of_planes(delivery: Delivery, ct: VoxelGrid, dose: VoxelGrid) -> tuple[Point, tuple[str, ...]]:
    """The isocentre of the first beam, LPS mm, with a note where that does not say all.

    Where it lies outside the CT it is the middle of the dose grid.
    """
    isocentres = {tuple(node) for beam in delivery.beams for node in beam.isocentre.tolist()}
    first = delivery.beams[0]
    x, y, z = (float(value) for value in first.isocentre[0])
    notes = []
    if len(isocentres) > 1:
        notes.append(
            f"The plan has {len(isocentres)} isocentres. These planes pass through that of beam {first.number}."
        )
    if bool(ct.holds(np.array([[x, y, z]]))[0]):
        return (x, y, z), tuple(notes)
    a, b, c = (o + s * (n - 1) / 2 for o, s, n in zip(dose.origin, dose.spacing, dose.size, strict=True))
    notes.append("The isocentre lies outside the CT. These planes pass through the middle of the dose grid instead.")
    return (a, b, c), tuple(notes)


def write_profiles(layout: CaseLayout, *, dose_folder: Path, out_folder: Path) -> Profiles:
    """Sample both doses along x, y and z through the point of the planes, and write profiles.json.

    Raises
    ------
    ResultError
        When a file is missing or damaged.
    WriteError
        When it cannot be written.
    """
    case = read_case(layout.case)
    dose = read_image(dose_folder / "mc_dose.mha")
    body = read_image(layout.patient / read_json(layout.patient / "patient.json", PatientModel).body_mask)
    grid, ct = VoxelGrid.of(dose), VoxelGrid(case.ct.size, case.ct.spacing, case.ct.origin)
    point, notes = point_of_planes(read_delivery(layout.delivery), ct, grid)
    images = {"mc": dose, "sigma": read_image(dose_folder / "mc_sigma.mha")} | _tps_image(layout, case)
    result = Profiles(
        made_from={
            "case": sha256_of_file(layout.case / "case.json"),
            "merge": sha256_of_file(dose_folder / "merge.json"),
            "mc_dose": sha256_of_file(dose_folder / "mc_dose.mha"),
            "mc_sigma": sha256_of_file(dose_folder / "mc_sigma.mha"),
        },
        point=point,
        notes=notes,
        profiles=tuple(_profile(axis, point, grid, images, body) for axis in range(3)),
    )
    write_json(out_folder / PROFILES_FILE, result)
    logger.info("profiles sampled")
    return result


def _tps_image(layout: CaseLayout, case: Case) -> dict[str, sitk.Image]:
    return {} if case.tps_dose is None else {"tps": read_image(layout.case / case.tps_dose.image.file)}


def _profile(axis: int, point: Point, grid: VoxelGrid, images: dict[str, sitk.Image], body: sitk.Image) -> Profile:
    """Along the centres of the Monte Carlo's voxels."""
    positions: FloatArray = grid.origin[axis] + grid.spacing[axis] * np.arange(grid.size[axis], dtype=np.float64)
    is_inside = along(body, axis, point, positions, is_label=True) > 0.5
    used = np.flatnonzero(is_inside)
    kept = slice(used[0], used[-1] + 1) if used.size else slice(0, 0)
    lines = {
        name: _listed(np.where(is_inside, along(image, axis, point, positions), np.nan)[kept])
        for name, image in images.items()
    }
    return Profile(
        axis=_AXES[axis],
        position=tuple(round(float(value), _DIGITS) for value in positions[kept]),
        mc_gy=lines["mc"],
        mc_sigma_gy=lines["sigma"],
        tps_gy=lines.get("tps"),
    )


def along(image: sitk.Image, axis: int, point: Point, positions: FloatArray, *, is_label: bool = False) -> FloatArray:
    """Values of an axis-aligned volume on a line, trilinear; NaN beyond the outer faces of its voxels.

    Parameters
    ----------
    axis : 0, 1 or 2 for x, y or z
    point : on the line, LPS mm
    positions : evenly spaced coordinates along the axis, mm
    is_label : the nearest voxel's value, nothing in between; 0 beyond
    """
    size, origin, spacing = [1, 1, 1], list(point), [1.0, 1.0, 1.0]
    size[axis], origin[axis] = len(positions), float(positions[0])
    if len(positions) > 1:
        spacing[axis] = float(positions[-1] - positions[0]) / (len(positions) - 1)
    sampled = sitk.Resample(
        image,
        size,
        sitk.Transform(),
        sitk.sitkNearestNeighbor if is_label else sitk.sitkLinear,
        origin,
        spacing,
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
        0.0 if is_label else float("nan"),
        sitk.sitkFloat64,
    )
    values: FloatArray = sitk.GetArrayFromImage(sampled).ravel()
    return values


def _listed(values: FloatArray) -> Values:
    return tuple(round(float(value), _DIGITS) if np.isfinite(value) else None for value in values)
