"""What the beam meets: boxes of voxels that tile the patient, and the materials in them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.files import HandedOn

Vector = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Material(_Part):
    """One Geant4 material.

    `mass_fractions` maps element symbols (H, C, N, O, ...) to mass fractions that sum to 1.
    """

    label: int = Field(description="value of its voxels in the boxes' label images, from 0")
    name: str
    density: float = Field(gt=0, description="g/cm3")
    mass_fractions: dict[str, float]
    is_outside: bool = Field(False, description="the air around the body, where no dose is asked for")


class VoxelBox(_Part):
    """One axis-aligned box of voxels; boxes tile the patient without overlap."""

    name: str = Field(description="fine, coarse-1, coarse-2, ...")
    role: Literal["fine", "coarse"]
    labels: str = Field(description="label image beside patient.json, uint16, value = material label")
    sha256: str
    size: tuple[int, int, int] = Field(description="voxels along x, y, z")
    spacing: Vector
    origin: Vector = Field(description="centre of the first voxel, LPS mm")


class Grid(_Part):
    """The uniform grid on which the boxes' doses are joined."""

    size: tuple[int, int, int]
    spacing: Vector
    origin: Vector


class PatientModel(HandedOn):
    """Everything that GATE needs to know of the patient. Written as patient/patient.json."""

    made_from: dict[str, str] = Field(description="role of each input: SHA-256")
    boxes: tuple[VoxelBox, ...]
    materials: tuple[Material, ...]
    joined_grid: Grid = Field(
        description="covers all boxes at the finest spacing; every box's voxel is a whole number of its voxels"
    )
    body_mask: str = Field(description="body mask on the joined grid (uint8) beside patient.json")
    calibration: str = Field(description="what turned CT numbers into density and material, with its source")
    warnings: tuple[str, ...] = ()
