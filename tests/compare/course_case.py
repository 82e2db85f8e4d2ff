"""A cord with a tumour in it, and a dose with noise in batches, as the files of a case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from gatecheck.case.earlier_dose import sha256_of_frame
from gatecheck.case.model import Beam, Case, ControlPoint, Image, Structure
from gatecheck.compare.noise import NoisyFields, noisy_fields
from gatecheck.files import array_zyx, image_from_zyx, read_image, write_image, write_json

Array = npt.NDArray[np.float64]
Field = Callable[[Array, Array, Array], Array]

FRAME = "2.25.4242"
BATCHES = 10
HALF = 40.0
SPACING = 2.0
CORD_RADIUS, CORD_HALF_LENGTH, TUMOUR_RADIUS = 6.0, 30.0, 4.15
_SUBVOXELS = 5


@dataclass(frozen=True)
class CourseCase:
    """Folders of a case and its dose; `batches` are what each batch alone gives."""

    folder: Path
    batches: Array

    @property
    def folders(self) -> dict[str, Path]:
        return {"case_folder": self.folder / "case", "dose_folder": self.folder / "dose"}

    def left_out(self) -> Iterator[Array]:
        total = self.batches.sum(axis=0)
        for one in self.batches:
            yield ((total - one) / (len(self.batches) - 1)).astype(np.float32)

    def noise(self) -> NoisyFields:
        dose = array_zyx(read_image(self.folder / "dose" / "mc_dose.mha"))
        return noisy_fields(dose, self.left_out(), batches=len(self.batches), spacing_zyx=(SPACING,) * 3)


def mask_of(inside: Callable[[Array, Array, Array], npt.NDArray[np.bool_]], half: tuple[int, int, int]) -> sitk.Image:
    """Inside fractions on a grid of 1 mm that all masks share, `half` mm either way of the origin."""
    n = _SUBVOXELS
    x, y, z = (-one + (np.arange(2 * one * n) + 0.5) / n for one in half)
    fine = inside(x[None, None, :], y[None, :, None], z[:, None, None])
    size = tuple(2 * one for one in half)
    fraction = fine.reshape(size[2], n, size[1], n, size[0], n).mean(axis=(1, 3, 5)).astype(np.float32)
    origin = (0.5 - half[0], 0.5 - half[1], 0.5 - half[2])
    return image_from_zyx(fraction, origin=origin, spacing=(1.0, 1.0, 1.0))


def cord_mask() -> sitk.Image:
    """A cylinder along z, 6.8 ml."""
    return mask_of(
        lambda x, y, z: (x**2 + y**2 < CORD_RADIUS**2) & (np.abs(z) < CORD_HALF_LENGTH),
        (8, 8, int(CORD_HALF_LENGTH) + 1),
    )


def tumour_mask() -> sitk.Image:
    """A sphere of 0.3 ml in the middle of the cord."""
    return mask_of(lambda x, y, z: x**2 + y**2 + z**2 < TUMOUR_RADIUS**2, (6, 6, 6))


def axis() -> Array:
    """Centres of the dose voxels along each axis."""
    return -HALF + SPACING * (np.arange(round(2 * HALF / SPACING)) + 0.5)


def field_zyx(field: Field) -> Array:
    """A field at the centres of the dose voxels."""
    along = axis()
    values = field(along[None, None, :], along[None, :, None], along[:, None, None])
    return np.broadcast_to(values, (len(along),) * 3).astype(np.float64)


def dose_image_of(values_zyx: Array) -> sitk.Image:
    """An image on the dose grid."""
    first = float(axis()[0])
    return image_from_zyx(values_zyx.astype(np.float32), origin=(first,) * 3, spacing=(SPACING,) * 3)


def steep(x: Array, y: Array, z: Array) -> Array:
    """A plateau of 46 Gy that falls by up to 8 %/mm, as round a small tumour in the cord."""
    distance = np.sqrt(x**2 + y**2 + z**2)
    return 46.0 / (1 + np.exp((distance - 8.0) / 3.0))


def write_course_case(
    folder: Path,
    field: Field,
    *,
    relative_noise: float = 0.0,
    seed: int = 1,
    fractions: int = 13,
    isocentres: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),),
    structures: tuple[tuple[str, str, sitk.Image | None], ...] | None = None,
) -> CourseCase:
    """Write a case; the merged dose has a noise of `relative_noise` of the dose, a batch sqrt(BATCHES) times that."""
    case, dose = folder / "case", folder / "dose"
    clean = field_zyx(field)
    noise = np.random.default_rng(seed).normal(size=(BATCHES, *clean.shape))
    batches = clean * (1 + relative_noise * np.sqrt(BATCHES) * noise)
    write_image(dose / "mc_dose.mha", dose_image_of(batches.mean(axis=0)))
    write_image(dose / "mc_sigma.mha", dose_image_of(batches.std(axis=0, ddof=1) / np.sqrt(BATCHES)))
    if structures is None:
        structures = (("SpinalCord", "ORGAN", cord_mask()), ("GTV", "GTV", tumour_mask()))
    described = []
    for number, (name, kind, mask) in enumerate(structures, start=1):
        file = None if mask is None else f"structures/{number:02d}.mha"
        volume = 0.0
        if mask is not None and file is not None:
            write_image(case / file, mask)
            volume = float(sitk.GetArrayFromImage(mask).sum()) / 1000
        described.append(Structure(number=number, name=name, interpreted_type=kind, volume_ml=volume, mask=file))
    write_json(
        case / "case.json",
        Case(
            case_id="case-01234567",
            content_sha256="0" * 64,
            plan_label="",
            patient_position="HFS",
            frame_of_reference_sha256=sha256_of_frame(FRAME),
            fractions=fractions,
            target_prescription_gy=39.0,
            ct=Image(file="ct.mha", sha256="", size=(1, 1, 1), spacing=(1, 1, 1), origin=(0, 0, 0)),
            structures=tuple(described),
            beams=tuple(_beam(number, isocentre) for number, isocentre in enumerate(isocentres, start=1)),
            tps_dose=None,
            warnings=(),
            files={},
        ),
    )
    return CourseCase(folder, batches)


def _beam(number: int, isocentre: tuple[float, float, float]) -> Beam:
    point: dict[str, Any] = {
        "gantry_angle": 0.0,
        "gantry_rotation_direction": "NONE",
        "collimator_angle": 0.0,
        "couch_angle": 0.0,
        "jaw_x": (-50.0, 50.0),
        "jaw_y": (-50.0, 50.0),
        "leaf_positions": None,
        "isocentre": isocentre,
    }
    return Beam(
        number=number,
        name="beam",
        machine_name="machine",
        radiation_type="PHOTON",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        beam_type="STATIC",
        technique="static",
        source_axis_distance=1000.0,
        meterset=100.0,
        final_cumulative_meterset_weight=1.0,
        leaf_boundaries=None,
        control_points=tuple(ControlPoint(cumulative_meterset_weight=weight, **point) for weight in (0.0, 1.0)),
    )
