"""From a case to boxes of materials: mass, air outside, overrides, fine region, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatecheck.config import PatientConfig
from gatecheck.errors import InputError, ResultError
from gatecheck.files import array_zyx, read_image
from gatecheck.patient.calibration import AIR_DENSITY, schneider_2000
from gatecheck.patient.model import PatientModel, VoxelBox
from gatecheck.patient.voxelise import read_patient, voxelise

VOLUME_OF_ML = 1000.0


def _density(folder: Path, model: PatientModel, box: VoxelBox) -> np.ndarray:
    densities = np.array([material.density for material in model.materials])
    return densities[array_zyx(read_image(folder / box.labels))]


def _on_joined_grid(folder: Path, model: PatientModel) -> np.ndarray:
    """Density of every voxel of the joined grid, NaN where no box is."""
    joined = model.joined_grid
    density = np.full(joined.size[::-1], np.nan)
    for box in model.boxes:
        ratio = round(box.spacing[0] / joined.spacing[0])
        lower = np.array(box.origin) - np.array(box.spacing) / 2
        start = np.round((lower - np.array(joined.origin) + np.array(joined.spacing) / 2) / joined.spacing).astype(int)
        values = _density(folder, model, box)
        for axis in range(3):
            values = np.repeat(values, ratio, axis=axis)
        x, y, z = start
        nz, ny, nx = values.shape
        density[z : z + nz, y : y + ny, x : x + nx] = values
    return density


def _at(model: PatientModel, density: np.ndarray, point: tuple[float, float, float]) -> float:
    joined = model.joined_grid
    x, y, z = (round((p - o) / s) for p, o, s in zip(point, joined.origin, joined.spacing, strict=True))
    return float(density[z, y, x])


def _mass(density: np.ndarray, spacing: tuple[float, float, float]) -> float:
    return float((density.astype(float) - AIR_DENSITY).sum() * np.prod(spacing) / VOLUME_OF_ML)


def _trunk(torso: Any) -> np.ndarray:
    x, y, _ = torso.points_xyz
    return np.broadcast_to((x / 90) ** 2 + (y / 60) ** 2 < 1, torso.ct_zyx.shape)


@pytest.mark.parametrize(("coarse", "fine"), [(4.0, None), (5.0, None), (4.0, 2.0), (3.0, 1.0)])
def test_mass_of_the_model_is_that_of_the_ct_within_a_tenth_of_a_per_cent(
    torso: Any, tmp_path: Path, coarse: float, fine: float | None
) -> None:
    trunk = _trunk(torso)
    x, y, z = torso.points_xyz
    torso.add("BODY", trunk, "EXTERNAL").add("GTV", (x**2 + y**2 + z**2 < 100) & trunk, "GTV")
    settings = PatientConfig(coarse_voxel_size=coarse, fine_voxel_size=fine)
    model = voxelise(torso.write(), tmp_path / "out", settings)
    density = _on_joined_grid(tmp_path / "out", model)
    assert np.isfinite(density).all()
    exact = _mass(np.where(trunk, schneider_2000().density(torso.ct_zyx), AIR_DENSITY), torso.spacing)
    assert _mass(density, model.joined_grid.spacing) == pytest.approx(exact, rel=1e-4)
    assert len(model.materials) < 120


@pytest.mark.parametrize("against_the_skin", ["air", "a couch"])
def test_mass_is_kept_for_a_ct_of_1_27_by_4_mm_and_fractions_at_the_skin(
    make_case: Any, tmp_path: Path, against_the_skin: str
) -> None:
    """30 % of the rim's voxels are tissue: their CT number is that of the mixture, or of a couch that touches."""
    generator = np.random.default_rng(3)
    ct = generator.integers(-200, 1200, (12, 60, 50)).astype(np.int16)
    ct[:, 4:7] = 40
    tissue = float(schneider_2000().density(np.array([40]))[0])
    numbers = np.arange(-1000, 41)
    mixture = AIR_DENSITY + 0.3 * (tissue - AIR_DENSITY)
    if against_the_skin == "air":
        ct[:, 5] = numbers[np.argmin(np.abs(schneider_2000().density(numbers) - mixture))]
    made = make_case(ct, spacing=(1.26953125, 1.26953125, 4.0), origin=(3.3, -7.7, 11.1))
    inside = np.zeros(ct.shape)
    inside[2:10, 5:55, 5:45] = 1.0
    inside[2:10, 5, 5:45] = 0.3
    made.add("BODY", inside, "EXTERNAL")
    model = voxelise(made.write(), tmp_path / "out", PatientConfig(coarse_voxel_size=5.0))
    true_density = schneider_2000().density(ct)
    true_density[:, 5] = tissue
    exact = _mass(AIR_DENSITY + inside * (true_density - AIR_DENSITY), made.spacing)
    density = _on_joined_grid(tmp_path / "out", model)
    assert _mass(density, model.joined_grid.spacing) == pytest.approx(exact, rel=1e-4)


def test_outside_of_the_body_there_is_air_and_inside_the_density_of_the_ct(torso: Any, tmp_path: Path) -> None:
    torso.add("outline", _trunk(torso), "EXTERNAL")
    model = voxelise(torso.write(), tmp_path / "out", PatientConfig())
    density = _on_joined_grid(tmp_path / "out", model)
    assert _at(model, density, (-85.0, -60.0, 0.0)) == pytest.approx(AIR_DENSITY, rel=1e-5)
    assert _at(model, density, (0.0, 0.0, 0.0)) == pytest.approx(1.05, abs=0.01)  # 40 in Schneider's curve
    assert _at(model, density, (42.0, -5.0, 0.0)) == pytest.approx(0.228, abs=0.02)  # -780
    assert _at(model, density, (0.0, 38.0, 0.0)) == pytest.approx(1.224, abs=0.03)  # 350
    assert model.materials[0].name == "outside-000"
    assert [one.is_outside for one in model.materials] == [True] + [False] * (len(model.materials) - 1)
    assert model.materials[0].mass_fractions["N"] == pytest.approx(0.755)
    # The table ends the model: 5 mm of margin, at most one voxel more.
    assert model.joined_grid.origin[1] + model.joined_grid.size[1] * 4.0 < 60 + 5 + 4 + 4


def test_the_body_mask_lies_on_the_joined_grid_and_has_the_bodys_volume(torso: Any, tmp_path: Path) -> None:
    trunk = _trunk(torso)
    x, y, z = torso.points_xyz
    torso.add("outline", trunk, "EXTERNAL").add("CTV", x**2 + y**2 + z**2 < 100, "CTV")
    model = voxelise(torso.write(), tmp_path / "out", PatientConfig(fine_voxel_size=2.0))
    image = read_image(tmp_path / "out" / model.body_mask)
    mask = array_zyx(image)
    assert image.GetSize() == model.joined_grid.size
    assert image.GetOrigin() == pytest.approx(model.joined_grid.origin)
    assert mask.dtype == np.uint8
    assert mask.sum() * 8.0 == pytest.approx(trunk.sum() * 8.0, rel=0.01)


def test_a_body_is_found_with_a_warning_where_there_is_no_contour(torso: Any, tmp_path: Path) -> None:
    model = voxelise(torso.write(), tmp_path / "out", PatientConfig())
    density = _on_joined_grid(tmp_path / "out", model)
    assert any("found in the CT" in warning for warning in model.warnings)
    exact = _mass(np.where(_trunk(torso), schneider_2000().density(torso.ct_zyx), AIR_DENSITY), torso.spacing)
    assert _mass(density, model.joined_grid.spacing) == pytest.approx(exact, rel=0.005)


def test_a_couch_is_kept_where_it_is_named_and_is_air_where_not(torso: Any, tmp_path: Path) -> None:
    _, y, _ = torso.points_xyz
    table = np.broadcast_to((y > 68) & (y < 92), torso.ct_zyx.shape)
    torso.add("BODY", _trunk(torso)).add("CouchSurface", table, "SUPPORT")
    case = torso.write()
    with_couch = voxelise(case, tmp_path / "with", PatientConfig(couch_structures=("CouchSurface",)))
    without = voxelise(case, tmp_path / "without", PatientConfig(margin_around_body=60.0))
    point = (50.0, 70.0, 0.0)
    kept = _at(with_couch, _on_joined_grid(tmp_path / "with", with_couch), point)
    # A shell of 2 mm of -150 (0.876 g/cm3), voxels of 4 mm on a lattice 2 mm off: neighbours share it.
    assert 0.4 < kept < 0.95
    assert _at(without, _on_joined_grid(tmp_path / "without", without), point) == pytest.approx(AIR_DENSITY, rel=1e-5)


def test_a_density_override_sets_density_and_composition_also_outside_of_the_body(torso: Any, tmp_path: Path) -> None:
    x, y, z = torso.points_xyz
    implant = (np.abs(x) < 10) & (np.abs(y) < 10) & (np.abs(z) < 12)
    bolus = np.broadcast_to((np.abs(x) < 30) & (y < -62) & (y > -72), torso.ct_zyx.shape)
    torso.add("BODY", _trunk(torso)).add("Implant", implant).add("Bolus", bolus)
    settings = PatientConfig(density_overrides={"Implant": 4.5, "Bolus": 1.03})
    model = voxelise(torso.write(), tmp_path / "out", settings)
    density = _on_joined_grid(tmp_path / "out", model)
    assert _at(model, density, (0.0, 0.0, 0.0)) == pytest.approx(4.5, rel=1e-5)
    assert _at(model, density, (0.0, -67.0, 0.0)) == pytest.approx(1.03, rel=0.01)
    densest = model.materials[-1]
    assert densest.density == pytest.approx(4.5, rel=1e-5)
    assert densest.mass_fractions == {"Ti": 1.0}


def test_overrides_are_weighted_by_the_part_of_the_voxel_inside(make_case: Any, tmp_path: Path) -> None:
    made = make_case(np.full((8, 8, 8), 0, dtype=np.int16), spacing=(4.0, 4.0, 4.0))
    inside = np.zeros((8, 8, 8))
    inside[4, 4, 4] = 0.25
    made.add("BODY", np.ones((8, 8, 8)), "EXTERNAL").add("Clip", inside)
    settings = PatientConfig(density_overrides={"Clip": 7.9}, margin_around_body=0)
    model = voxelise(made.write(), tmp_path / "out", settings)
    density = _on_joined_grid(tmp_path / "out", model)
    assert density[4, 4, 4] == pytest.approx(0.25 * 7.9 + 0.75 * 1.018, rel=1e-5)
    assert density[0, 0, 0] == pytest.approx(1.018, rel=1e-5)


def test_density_is_averaged_and_not_the_ct_number(make_case: Any, tmp_path: Path) -> None:
    ct = np.zeros((8, 8, 8), dtype=np.int16)
    ct[:, :, 1::2] = 1200
    made = make_case(ct, spacing=(2.0, 2.0, 2.0)).add("BODY", np.ones(ct.shape), "EXTERNAL")
    model = voxelise(made.write(), tmp_path / "out", PatientConfig(margin_around_body=0))
    (box,) = model.boxes
    expected = (1.018 + (1.017 + 0.592e-3 * 1200)) / 2
    np.testing.assert_allclose(_density(tmp_path / "out", model, box), expected, rtol=1e-5)
    # Mean of the CT numbers by mass: (0 * 1.018 + 1200 * 1.7274) / (1.018 + 1.7274) = 755, 14.6 % calcium.
    assert model.materials[0].mass_fractions["Ca"] == pytest.approx(0.146, abs=1e-3)


def test_moving_the_split_moves_no_mass(torso: Any, tmp_path: Path) -> None:
    """Each coarse cell holds the same mass, whether one coarse voxel or eight fine ones stand for it."""
    trunk = _trunk(torso)
    x, y, z = torso.points_xyz
    torso.add("BODY", trunk, "EXTERNAL")
    for name, centre in (("GTV_a", -20), ("GTV_b", 40)):
        torso.add(name, ((x - centre) ** 2 + y**2 + z**2 < 150) & trunk, "GTV")
    case = torso.write()
    masses = []
    for name in ("GTV_a", "GTV_b"):
        settings = PatientConfig(fine_voxel_size=2.0, fine_region_structures=(name,), fine_region_margin=5.0)
        model = voxelise(case, tmp_path / name, settings)
        density = _on_joined_grid(tmp_path / name, model)
        nz, ny, nx = (n // 2 for n in density.shape)
        masses.append(density.reshape(nz, 2, ny, 2, nx, 2).mean(axis=(1, 3, 5)))
    # A voxel differs from its bin's mean by at most half a bin, up or down.
    soft = masses[0] > 1.0
    assert np.abs(masses[0][soft] / masses[1][soft] - 1).max() < 0.015
    assert masses[0].sum() == pytest.approx(masses[1].sum(), rel=1e-5)


def test_the_fine_region_holds_the_target_with_its_margin(torso: Any, tmp_path: Path) -> None:
    x, y, z = torso.points_xyz
    torso.add("BODY", _trunk(torso)).add("GTV", (np.abs(x) < 9) & (np.abs(y) < 9) & (np.abs(z) < 9), "GTV")
    settings = PatientConfig(fine_voxel_size=1.0, fine_region_margin=7.0)
    model = voxelise(torso.write(), tmp_path / "out", settings)
    fine = next(box for box in model.boxes if box.role == "fine")
    assert fine.spacing == (1.0, 1.0, 1.0)
    for axis in range(3):
        lower = fine.origin[axis] - 0.5
        # The target's voxels reach from -9 to 9 mm; rounding outward adds less than one coarse voxel.
        assert -16 - 4 < lower <= -16
        assert 16 <= lower + fine.size[axis] < 16 + 4


def test_a_model_read_back_is_the_one_written_and_a_changed_image_is_refused(torso: Any, tmp_path: Path) -> None:
    torso.add("BODY", _trunk(torso))
    model = voxelise(torso.write(), tmp_path / "out", PatientConfig())
    assert read_patient(tmp_path / "out") == model
    labels = tmp_path / "out" / model.boxes[0].labels
    content = labels.read_bytes()
    labels.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ResultError, match=r"coarse-1\.mha"):
        read_patient(tmp_path / "out")
    labels.unlink()
    with pytest.raises(ResultError, match=r"coarse-1\.mha: not found"):
        read_patient(tmp_path / "out")


def test_the_same_case_gives_the_same_model_and_other_settings_another(torso: Any, tmp_path: Path) -> None:
    torso.add("BODY", _trunk(torso))
    case = torso.write()
    first, second = (voxelise(case, tmp_path / name, PatientConfig()) for name in ("a", "b"))
    third = voxelise(case, tmp_path / "c", PatientConfig(coarse_voxel_size=5.0))
    assert first == second
    assert first.made_from["settings"] != third.made_from["settings"]


def test_a_calibration_of_the_site_changes_the_density(torso: Any, tmp_path: Path) -> None:
    torso.add("BODY", _trunk(torso))
    curve = tmp_path / "curve.csv"
    curve.write_text("ct_number,density_g_cm3\n-1000,0.0012\n0,1.0\n1000,1.5\n")
    model = voxelise(torso.write(), tmp_path / "out", PatientConfig(ct_calibration=curve))
    density = _on_joined_grid(tmp_path / "out", model)
    assert _at(model, density, (0.0, 0.0, 0.0)) == pytest.approx(1.02, abs=0.01)
    assert model.calibration.startswith("calibration of the site, 3 rows")


def test_ct_numbers_of_metal_are_counted_in_a_warning_unless_overridden(torso: Any, tmp_path: Path) -> None:
    clip = np.zeros(torso.ct_zyx.shape, dtype=bool)
    clip[10:12, 40:42, 60:63] = True
    torso.ct_zyx[clip] = 3071
    torso.add("BODY", _trunk(torso)).add("Clip", clip)
    case = torso.write()
    model = voxelise(case, tmp_path / "a", PatientConfig())
    assert any("12 CT voxels" in warning and "above 1600" in warning for warning in model.warnings)
    model = voxelise(case, tmp_path / "b", PatientConfig(density_overrides={"Clip": 4.5}))
    assert not any("CT voxels" in warning for warning in model.warnings)


def test_a_body_cut_off_by_the_field_of_view_or_near_the_target_is_warned_of(torso: Any, tmp_path: Path) -> None:
    x, y, z = torso.points_xyz
    wide = np.broadcast_to((np.abs(y) < 50) & (x > -1000), torso.ct_zyx.shape)
    torso.add("BODY", wide).add("PTV", (x**2 + y**2 < 100) & (z > 0) & (z < 20), "PTV")
    model = voxelise(torso.write(), tmp_path / "out", PatientConfig())
    assert any("field of view (right, left)" in warning for warning in model.warnings)
    assert any("PTV lies" in warning and "end of the scan" in warning for warning in model.warnings)


Arrange = Callable[[Any], None]


def _only_trunk(torso: Any) -> None:
    torso.add("BODY", _trunk(torso)).add("Heart", _trunk(torso))


def _shell(torso: Any) -> None:
    x, y, _ = torso.points_xyz
    torso.add("Skin", _trunk(torso) & ~np.broadcast_to((x / 85) ** 2 + (y / 55) ** 2 < 1, torso.ct_zyx.shape))


def _nothing(torso: Any) -> None:
    torso.ct_zyx[:] = -1000


@pytest.mark.parametrize(
    ("arrange", "settings", "message"),
    [
        (_only_trunk, {"body_structure": "Outline"}, r"patient\.body_structure: no structure 'Outline'.*Heart"),
        (_only_trunk, {"couch_structures": ("Couch",)}, r"patient\.couch_structures"),
        (_only_trunk, {"density_overrides": {"Gold": 1.0}}, r"patient\.density_overrides: no structure 'Gold'"),
        (_only_trunk, {"density_overrides": {"Heart": 19.3}}, r"patient\.density_overrides: 19\.3"),
        (_only_trunk, {"fine_voxel_size": 2.0}, r"patient\.fine_voxel_size: .*Heart"),
        (
            _only_trunk,
            {"fine_voxel_size": 2.0, "fine_region_structures": ("GTV",)},
            r"patient\.fine_region_structures: no structure 'GTV'",
        ),
        (
            _only_trunk,
            {"fine_voxel_size": 0.25, "coarse_voxel_size": 4.0, "fine_region_structures": ("Heart",)},
            r"patient\.fine_voxel_size: 0\.25 mm makes 1\d\d million voxels",
        ),
        (_only_trunk, {"coarse_voxel_size": 0.25}, r"patient\.coarse_voxel_size: 0\.25 mm"),
        (_shell, {}, r"patient\.body_structure: structure 'Skin' leaves out"),
        (_nothing, {}, r"patient\.body_structure: no body found"),
    ],
)
def test_what_cannot_be_voxelised_is_refused_naming_the_key(
    torso: Any, tmp_path: Path, arrange: Arrange, settings: dict[str, Any], message: str
) -> None:
    arrange(torso)
    with pytest.raises(InputError, match=message):
        voxelise(torso.write(), tmp_path / "out", PatientConfig(**settings))
    assert not (tmp_path / "out" / "patient.json").exists()
