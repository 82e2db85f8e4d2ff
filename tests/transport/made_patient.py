"""A small patient of two boxes, and a parallel beam for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gatecheck.files import image_from_zyx, sha256_of_file, write_image, write_json
from gatecheck.patient.model import Grid, Material, PatientModel, VoxelBox
from gatecheck.transport.materials import air, water
from gatecheck.transport.model import PhaseSpace

BONE = Material(
    label=1,
    name="bone",
    density=1.92,
    mass_fractions={"H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.226},
)
"""Cortical bone, ICRU Report 44."""


def write_patient(folder: Path, *, has_cavity: bool = False) -> PatientModel:
    """A cube of 40 mm: voxels of 4 mm below z = 0, 2 mm above; bone where y > 8 mm, a cavity from -8 to 0."""
    boxes = [
        _write_box(folder, "coarse-1", (10, 10, 5), 4.0, (-18.0, -18.0, -18.0), has_cavity=has_cavity),
        _write_box(folder, "fine", (20, 20, 10), 2.0, (-19.0, -19.0, 1.0), has_cavity=has_cavity),
    ]
    body = np.ones((20, 20, 20), dtype=np.uint8)
    write_image(folder / "body.mha", image_from_zyx(body, origin=(-19.0,) * 3, spacing=(2.0,) * 3))
    patient = PatientModel(
        made_from={"test": "0"},
        boxes=tuple(boxes),
        materials=(water(0), BONE, *((air(2),) if has_cavity else ())),
        joined_grid=Grid(size=(20, 20, 20), spacing=(2.0,) * 3, origin=(-19.0,) * 3),
        body_mask="body.mha",
        calibration="made for a test",
    )
    write_json(folder / "patient.json", patient)
    return patient


def _write_box(
    folder: Path,
    name: str,
    size: tuple[int, int, int],
    spacing: float,
    origin: tuple[float, float, float],
    *,
    has_cavity: bool,
) -> VoxelBox:
    labels = np.zeros(size[::-1], dtype=np.uint16)
    y = origin[1] + spacing * np.arange(size[1])
    labels[:, y > 8.0, :] = 1
    if has_cavity:
        labels[:, (y > -8.0) & (y < 0.0), :] = 2
    path = folder / f"{name}.mha"
    write_image(path, image_from_zyx(labels, origin=origin, spacing=(spacing,) * 3))
    return VoxelBox(
        name=name,
        role="fine" if name == "fine" else "coarse",
        labels=path.name,
        sha256=sha256_of_file(path),
        size=size,
        spacing=(spacing,) * 3,
        origin=origin,
    )


def parallel_beam(
    photons: int, *, half_width: float = 10.0, energy: float = 2.0, seed: int = 1, start: float = -200.0
) -> PhaseSpace:
    """Photons along +y in a square around the y axis."""
    random = np.random.default_rng(seed)
    position = np.full((photons, 3), start)
    position[:, 0] = random.uniform(-half_width, half_width, photons)
    position[:, 2] = random.uniform(-half_width, half_width, photons)
    return PhaseSpace(
        pdg_code=np.full(photons, 22, dtype=np.int32),
        energy=np.full(photons, energy),
        position=position,
        direction=np.tile([0.0, 1.0, 0.0], (photons, 1)),
        weight=np.ones(photons),
        beam_number=np.ones(photons, dtype=np.int32),
        histories=photons,
        nominal_photons=float(photons),
        fates={"reached": float(photons)},
    )
