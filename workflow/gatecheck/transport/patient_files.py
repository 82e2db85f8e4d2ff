"""The patient's files, read and placed: boxes, body, and where each box lies on the joined grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.errors import ResultError
from gatecheck.files import array_zyx, read_image, read_json, sha256_of_file
from gatecheck.patient.model import Grid, Material, PatientModel, VoxelBox
from gatecheck.transport.volumes import Volume, VoxelVolume

FloatArray = npt.NDArray[np.float64]


def read_patient(patient_folder: Path) -> PatientModel:
    """Read patient.json."""
    return read_json(patient_folder / "patient.json", PatientModel)


def read_body(patient_folder: Path, patient: PatientModel) -> npt.NDArray[np.bool_]:
    """Body mask on the joined grid, indexed [z, y, x]."""
    mask = np.asarray(array_zyx(read_image(patient_folder / patient.body_mask)), dtype=np.uint8)
    if mask.shape != patient.joined_grid.size[::-1]:
        raise ResultError(f"{patient.body_mask}: not on the joined grid of patient.json. Run the voxelise step again.")
    return np.asarray(mask > 0)


def read_box(patient_folder: Path, box: VoxelBox) -> VoxelVolume:
    """Read one box of the patient and check that it is the one that patient.json describes."""
    path = patient_folder / box.labels
    image = read_image(path)
    labels = array_zyx(image)
    if sha256_of_file(path) != box.sha256 or labels.shape != box.size[::-1]:
        raise ResultError(f"{box.labels}: differs from what patient.json describes. Run the voxelise step again.")
    return VoxelVolume(box.name, labels.astype(np.uint16), box.spacing, box.origin)


def body_voxels_per_box_voxel(box: VoxelBox, body_zyx: npt.NDArray[np.bool_], grid: Grid) -> FloatArray:
    """How many body voxels of the joined grid lie in each voxel of a box, indexed [z, y, x]."""
    ratio, start = placement(box, grid)
    nx, ny, nz = box.size
    fx, fy, fz = ratio
    x, y, z = start
    part = body_zyx[z : z + nz * fz, y : y + ny * fy, x : x + nx * fx]
    return np.asarray(part.reshape(nz, fz, ny, fy, nx, fx).sum(axis=(1, 3, 5)), dtype=np.float64)


def placement(box: VoxelBox, grid: Grid) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Joined voxels per voxel of a box along x, y, z, and the first joined voxel of the box.

    Raises
    ------
    ResultError
        When the box's voxels are not whole numbers of joined voxels, or stick out of the grid.
    """
    ratio, start = [], []
    for axis in range(3):
        factor = box.spacing[axis] / grid.spacing[axis]
        lower = (box.origin[axis] - box.spacing[axis] / 2) - (grid.origin[axis] - grid.spacing[axis] / 2)
        first = lower / grid.spacing[axis]
        whole = round(factor), round(first)
        fits = whole[1] >= 0 and whole[1] + whole[0] * box.size[axis] <= grid.size[axis]
        if abs(factor - whole[0]) > 1e-4 or abs(first - whole[1]) > 1e-3 or whole[0] < 1 or not fits:
            raise ResultError(f"Box {box.name} does not fit the joined grid. Run the voxelise step again.")
        ratio.append(whole[0])
        start.append(whole[1])
    return (ratio[0], ratio[1], ratio[2]), (start[0], start[1], start[2])


@dataclass(frozen=True, slots=True)
class PatientMatter:
    """What lies in the beam, read once.

    Attributes
    ----------
    patient : PatientModel
    volumes : list of Volume
        One for each of its boxes.
    flights_of : tuple of Material, optional
        As `gatecheck.transport.photon_tracker.track_photons`.
    """

    patient: PatientModel
    volumes: list[Volume]
    flights_of: tuple[Material, ...] | None = None

    @classmethod
    def read(cls, patient_folder: Path) -> PatientMatter:
        """From patient.json and its images."""
        patient = read_patient(patient_folder)
        return cls(patient, [read_box(patient_folder, box) for box in patient.boxes])

    @property
    def fine(self) -> Volume | None:
        """The volume of fine voxels, where there is one."""
        boxes = zip(self.patient.boxes, self.volumes, strict=True)
        fine = [volume for box, volume in boxes if box.role == "fine"]
        return fine[0] if len(fine) == 1 else None
