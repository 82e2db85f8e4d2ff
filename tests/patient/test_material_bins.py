"""Binning into materials keeps mass, of every element, and keeps bins narrow where it matters."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.patient.composition import ELEMENTS, MASS_FRACTIONS, STEEL_BIN, TITANIUM_BIN, composition_bin
from gatecheck.patient.materials import DENSITY_BIN_EDGES, Matter, bin_materials


def _matter(seed: int, *, voxel_volume: float, shape: tuple[int, int, int] = (20, 18, 16)) -> Matter:
    generator = np.random.default_rng(seed)
    density = generator.choice([0.0012, 0.25, 0.95, 1.03, 1.1, 1.5], size=shape)
    density = (density * generator.normal(1.0, 0.03, shape)).astype(np.float32)
    number = np.where(density < 0.002, -1000, generator.uniform(-500, 1500, shape))
    return _inside(density, composition_bin(number), voxel_volume)


def _inside(density: np.ndarray, composition: np.ndarray, voxel_volume: float) -> Matter:
    return Matter(density, composition, voxel_volume, np.zeros(density.shape, dtype=bool))


def _mass_of_elements(boxes: tuple[Matter, ...]) -> np.ndarray:
    return sum(
        box.voxel_volume
        * np.einsum("v,ve->e", box.density.ravel().astype(float), MASS_FRACTIONS[box.composition.ravel()])
        for box in boxes
    )


def test_mass_of_every_element_is_kept() -> None:
    boxes = (_matter(1, voxel_volume=8.0), _matter(2, voxel_volume=64.0))
    labelled = bin_materials(boxes)
    kept = np.zeros(len(ELEMENTS))
    for box, labels in zip(boxes, labelled.labels, strict=True):
        voxels = np.bincount(labels.ravel(), minlength=len(labelled.materials))
        for material, number in zip(labelled.materials, voxels, strict=True):
            fractions = [material.mass_fractions.get(element, 0.0) for element in ELEMENTS]
            kept += number * box.voxel_volume * material.density * np.array(fractions)
    np.testing.assert_allclose(kept, _mass_of_elements(boxes), rtol=1e-6)


def test_every_voxel_has_the_density_of_its_bin_within_the_bins_width() -> None:
    box = _matter(3, voxel_volume=1.0)
    labelled = bin_materials((box,))
    density = np.array([material.density for material in labelled.materials])[labelled.labels[0]]
    error = np.abs(density - box.density)
    soft = (box.density > 0.9) & (box.density < 1.15)
    assert (error[soft] <= 0.0101 * np.maximum(1.0, box.density[soft])).all()
    assert (error[~soft] <= np.maximum(0.01, 0.05 * box.density[~soft])).all()


def test_bins_are_as_narrow_as_promised() -> None:
    edges = DENSITY_BIN_EDGES
    widths, middles = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    limit = np.select([middles < 0.9, middles < 1.15, middles < 2.0], [0.05, 0.01, 0.025], 0.05)
    # A sliver before the end of a range is added to its last bin: at most half of the narrowest bin.
    assert (widths <= np.maximum(0.01, limit * middles) + 0.005 + 1e-9).all()
    assert (widths > 0).all()
    soft = (middles > 0.9) & (middles < 1.15)
    assert (widths[soft] / middles[soft] <= 0.0112).all()


def test_labels_count_from_0_by_density_and_only_materials_that_occur_are_there() -> None:
    labelled = bin_materials((_matter(4, voxel_volume=1.0),))
    assert [material.label for material in labelled.materials] == list(range(len(labelled.materials)))
    assert set(np.unique(labelled.labels[0])) == {material.label for material in labelled.materials}
    assert labelled.labels[0].dtype == np.uint16
    bins = np.searchsorted(DENSITY_BIN_EDGES, [material.density for material in labelled.materials])
    assert (np.diff(bins) >= 0).all()
    assert len({material.name for material in labelled.materials}) == len(labelled.materials)
    for material in labelled.materials:
        assert sum(material.mass_fractions.values()) == pytest.approx(1.0, abs=1e-9)


def test_connective_tissue_and_marrow_of_equal_density_stay_apart() -> None:
    density = np.full((1, 1, 4), 1.1, dtype=np.float32)
    labelled = bin_materials((_inside(density, composition_bin(np.array([[[90, 90, 140, 140]]])), 1.0),))
    tissue, bone = labelled.materials
    assert "Ca" not in tissue.mass_fractions
    assert bone.mass_fractions["Ca"] == pytest.approx(0.045, abs=1e-3)


def test_metals_are_materials_of_their_own() -> None:
    density = np.array([[[4.5, 7.9, 1.0]]], dtype=np.float32)
    composition = np.array([[[TITANIUM_BIN, STEEL_BIN, 6]]], dtype=np.uint8)
    labelled = bin_materials((_inside(density, composition, 1.0),))
    by_density = {round(material.density, 3): material for material in labelled.materials}
    assert by_density[4.5].mass_fractions == {"Ti": 1.0}
    assert by_density[7.9].mass_fractions == pytest.approx({"Cr": 0.18, "Fe": 0.68, "Ni": 0.14})


def test_a_uniform_box_is_one_material_with_exactly_that_density_and_composition() -> None:
    density = np.full((3, 3, 3), 1.018, dtype=np.float32)
    labelled = bin_materials((_inside(density, composition_bin(np.zeros((3, 3, 3))), 64.0),))
    (material,) = labelled.materials
    assert material.density == pytest.approx(1.018, rel=1e-6)
    assert material.mass_fractions["O"] == pytest.approx(0.509, abs=1e-6)


def test_air_around_the_body_is_a_material_of_its_own() -> None:
    density = np.full((1, 1, 3), 0.00120479, dtype=np.float32)
    is_outside = np.array([[[True, True, False]]])
    labelled = bin_materials((Matter(density, composition_bin(np.full((1, 1, 3), -1000)), 1.0, is_outside),))
    inside, outside = labelled.materials
    assert (inside.is_outside, outside.is_outside) == (False, True)
    assert labelled.labels[0].ravel().tolist() == [1, 1, 0]
    assert inside.density == pytest.approx(outside.density)
