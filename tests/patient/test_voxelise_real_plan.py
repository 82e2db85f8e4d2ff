"""The real oesophagus patient: no body contour, a table, a CT of 1.27 x 1.27 x 4 mm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gatecheck.case.ingest import ingest
from gatecheck.config import PatientConfig
from gatecheck.files import array_zyx, read_image
from gatecheck.patient.calibration import AIR_DENSITY, schneider_2000
from gatecheck.patient.model import PatientModel
from gatecheck.patient.voxelise import voxelise


@pytest.fixture(scope="module")
def real_case(shared_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real") / "case"
    ingest(shared_folder("data/esophagus_stx_imrt"), folder)
    return folder


def _grams_above_air(folder: Path, model: PatientModel) -> float:
    densities = np.array([material.density for material in model.materials]) - AIR_DENSITY
    total = 0.0
    for box in model.boxes:
        voxels = np.bincount(array_zyx(read_image(folder / box.labels)).ravel(), minlength=len(densities))
        total += float(voxels @ densities) * float(np.prod(box.spacing)) / 1000
    return total


def test_the_real_patient_becomes_a_model_of_its_mass_without_the_table(real_case: Path, tmp_path: Path) -> None:
    model = voxelise(real_case, tmp_path, PatientConfig(fine_voxel_size=2.0))
    assert any("found in the CT" in warning for warning in model.warnings)
    assert len(model.materials) <= 120
    assert [box.role for box in model.boxes].count("fine") == 1
    body = array_zyx(read_image(tmp_path / model.body_mask))
    # 3,514,000 CT voxels of 6.45 mm3 (looked at): trunk, neck, jaw and arms, without table and arm rests.
    litres = float(body.sum()) * float(np.prod(model.joined_grid.spacing)) / 1e6
    assert 21 < litres < 25
    # Trunk and arms of an adult: a mean density between fat and muscle, with 2 l of lung.
    mass = _grams_above_air(tmp_path, model)
    assert 0.90 < mass / litres / 1000 < 1.0
    ct = read_image(real_case / "ct.mha")
    values, spacing = array_zyx(ct), ct.GetSpacing()
    lower = [o - s / 2 for o, s in zip(model.joined_grid.origin, model.joined_grid.spacing, strict=True)]
    upper = [low + n * s for low, n, s in zip(lower, model.joined_grid.size, model.joined_grid.spacing, strict=True)]
    x, y, z = (
        slice(*np.searchsorted(o + s * np.arange(n), [low, high]))
        for o, s, n, low, high in zip(ct.GetOrigin(), spacing, ct.GetSize(), lower, upper, strict=True)
    )
    block = values[z, y, x]
    tissue = schneider_2000().density(np.where(block > -350, block, -1000)).astype(float).sum()
    tissue *= float(np.prod(spacing)) / 1000
    # What is denser than -350 in the block lacks the lungs (2.06 l of about 0.27 g/cm3, 0.56 kg) and gas.
    assert tissue + 400 < mass < tissue + 700
