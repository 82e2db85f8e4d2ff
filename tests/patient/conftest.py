"""A case made of arrays: CT numbers and inside fractions, written as the case room writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from gatecheck.case.model import Case, Image, Structure
from gatecheck.files import image_from_zyx, sha256_of_file, write_image, write_json


@dataclass
class MadeCase:
    """Collects structures, then writes a case folder."""

    folder: Path
    ct_zyx: npt.NDArray[np.number]
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    structures: list[Structure] = field(default_factory=list)

    @property
    def points_xyz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates of the voxels' centres, each of a shape that broadcasts to (nz, ny, nx)."""
        z, y, x = np.ogrid[tuple(slice(0, n) for n in self.ct_zyx.shape)]
        return tuple(o + s * i for o, s, i in zip(self.origin, self.spacing, (x, y, z), strict=True))

    def add(self, name: str, inside_zyx: npt.NDArray[np.number], interpreted_type: str = "") -> MadeCase:
        number = len(self.structures) + 1
        inside = np.asarray(inside_zyx, dtype=np.float32)
        mask = None
        if inside.any():
            used = [np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
            cut = tuple(slice(indices[0], indices[-1] + 1) for indices in used)
            corner = tuple(o + s * c.start for o, s, c in zip(self.origin, self.spacing, cut[::-1], strict=True))
            mask = f"structures/{number:03d}.mha"
            write_image(self.folder / mask, image_from_zyx(inside[cut], origin=corner, spacing=self.spacing))
        volume = float(inside.sum() * np.prod(self.spacing) / 1000)
        self.structures.append(
            Structure(number=number, name=name, interpreted_type=interpreted_type, volume_ml=volume, mask=mask)
        )
        return self

    def write(self) -> Path:
        image: sitk.Image = image_from_zyx(self.ct_zyx, origin=self.origin, spacing=self.spacing)
        write_image(self.folder / "ct.mha", image)
        case = Case(
            case_id="case-01234567",
            content_sha256="0" * 64,
            plan_label="",
            patient_position="HFS",
            fractions=1,
            target_prescription_gy=None,
            ct=Image(
                file="ct.mha",
                sha256=sha256_of_file(self.folder / "ct.mha"),
                size=image.GetSize(),
                spacing=image.GetSpacing(),
                origin=image.GetOrigin(),
            ),
            structures=tuple(self.structures),
            beams=(),
            tps_dose=None,
            warnings=(),
            files={},
        )
        write_json(self.folder / "case.json", case)
        return self.folder


def make_torso(folder: Path, *, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> MadeCase:
    """An elliptic trunk along z (180 x 120 mm) with two lungs, a spine and a noise of CT numbers, on a hollow table."""
    size = [round(length / step) for length, step in zip((240.0, 200.0, 60.0), spacing, strict=True)]
    made = MadeCase(folder, np.zeros(size[::-1]), spacing, origin=(-120.0, -80.0, -30.0))
    x, y, _ = made.points_xyz
    ct = np.full(made.ct_zyx.shape, -1000.0)
    trunk = np.broadcast_to((x / 90) ** 2 + (y / 60) ** 2 < 1, ct.shape)
    lungs = np.broadcast_to(((np.abs(x) - 42) / 26) ** 2 + ((y + 5) / 38) ** 2 < 1, ct.shape)
    spine = np.broadcast_to((x / 16) ** 2 + ((y - 38) / 14) ** 2 < 1, ct.shape)
    ct[trunk], ct[lungs], ct[spine] = 40.0, -780.0, 350.0
    table = np.broadcast_to((np.abs(x) < 110) & (y > 68) & (y < 92), ct.shape)
    core = np.broadcast_to((np.abs(x) < 107) & (y > 71) & (y < 89), ct.shape)
    ct[table], ct[core] = -150.0, -950.0
    noise = np.random.default_rng(5).normal(0.0, 15.0, ct.shape)
    made.ct_zyx = np.round(ct + noise).astype(np.int16)
    return made


@pytest.fixture
def torso(tmp_path: Path) -> MadeCase:
    """A trunk without any structure yet."""
    return make_torso(tmp_path / "case")


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., MadeCase]:
    """Make a case of CT numbers indexed [z, y, x], without any structure yet."""

    def make(ct_zyx: npt.NDArray[np.number], **grid: Any) -> MadeCase:
        return MadeCase(tmp_path / "case", ct_zyx, **grid)

    return make
