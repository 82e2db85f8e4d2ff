"""Expected dose from tables: discs, energy, one particle's dose, and the lattice that spreads photons."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water.expected_dose import POINT, Points, add_expected_dose, pencils_of
from gatecheck.commissioning.water.field import disc_radii, expected_field
from gatecheck.commissioning.water.pencil import (
    ELECTRON_ENERGY,
    RINGS,
    PencilTables,
    averaged_over_disc,
    layer_centres,
    ring_areas,
)
from gatecheck.commissioning.water.source_basis import PHOTON_ENERGY, BeamSampling
from gatecheck.commissioning.water.tank import TankSetup, field_delivery
from gatecheck.linac.load import load_linac_model
from gatecheck.transport.fast_head.rays import RAY_ENERGY, RAY_IS_FOCUSED, RAY_SLOPE_X, RAY_X0
from gatecheck.transport.fast_head.sample import emitted_rays, plan_emission, sample_phase_space
from gatecheck.transport.fast_head.tables import source_of
from gatecheck.transport.photon_tracker import kernel

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
SPREAD, ATTENUATION = 40.0, 0.005  # mm, 1/mm
SQUARED = (np.concatenate([[0.0], RINGS[:-1]]) ** 2 + RINGS**2) / 2  # mean square radius of each ring


def gaussian_tables() -> PencilTables:
    """Dose exp(-mu s) exp(-t² / 2 sigma²) whatever the energy, in two replicas."""
    depth = np.exp(-ATTENUATION * layer_centres())
    inner = np.concatenate([[0.0], RINGS[:-1]])
    # The mean of the Gaussian over each ring.
    ring = 2 * math.pi * SPREAD**2 * (np.exp(-(inner**2) / 2 / SPREAD**2) - np.exp(-(RINGS**2) / 2 / SPREAD**2))
    one = np.outer(depth, ring / ring_areas())
    return PencilTables(
        layer_centres(),
        np.tile(one, (2, len(PHOTON_ENERGY), 1, 1)),
        np.zeros((2, len(ELECTRON_ENERGY), *one.shape)),
    )


@pytest.mark.parametrize("radius", [3.0, 15.0, 30.0])
def test_a_disc_sees_the_value_at_its_centre_of_whatever_is_quadratic(radius: float) -> None:
    quadratic = 5.0 - 0.001 * SQUARED
    seen = averaged_over_disc(quadratic[np.newaxis], radius)[0]
    # Beyond the tables' end there is nothing to see, and coarse rings are not quadratic within themselves.
    near = RINGS < 38.0
    assert seen[near] == pytest.approx(quadratic[near], abs=0.02)


@pytest.mark.parametrize("radius", [3.0, 15.0, 30.0])
def test_a_disc_neither_makes_nor_loses_energy(radius: float) -> None:
    for ring in (0, 5, 15):
        table = np.zeros(len(RINGS))
        table[ring] = 1.0
        seen = averaged_over_disc(table[np.newaxis], radius)[0]
        assert float(seen @ ring_areas()) == pytest.approx(ring_areas()[ring], rel=1e-9)


def test_a_slanted_particle_gives_its_dose_by_depth_and_distance_along_its_own_way() -> None:
    pencils = pencils_of(gaussian_tables(), 0, axis_radius=6.0, inner_radius=0.0)
    direction = np.array([0.1, 1.0, 0.0]) / math.hypot(0.1, 1.0)
    particle = np.zeros((1, kernel.COLUMNS))
    particle[0, kernel.ENERGY], particle[0, kernel.WEIGHT], particle[0, kernel.PDG] = 2.1, 3.0, kernel.PHOTON_PDG
    particle[0, kernel.Y] = -100.0
    particle[0, kernel.U : kernel.U + 3] = direction
    places = np.array([[30.0, 50.0, 0.0], [0.0, 100.0, 20.0], [10.0, 1.0, 0.0]])
    dose = np.zeros((3, 1))
    share = np.array([[1.0, 0.0, 0.0, 0.0]])
    add_expected_dose(
        particle,
        pencils,
        Points(places, np.full(3, POINT)),
        0.0,
        np.zeros((1, 4), dtype=np.int64),
        share,
        dose,
        np.uint64(1),
        np.zeros(1, np.uint64),
    )
    entry = np.array([10.0, 0.0, 0.0])  # 100 mm further down
    along = (places - entry) @ direction
    squared = ((places - entry) ** 2).sum(axis=1) - along**2
    expected = 3.0 * np.exp(-ATTENUATION * along - squared / 2 / SPREAD**2)
    assert dose[:, 0] == pytest.approx(expected, rel=0.02)


def test_a_field_of_expected_dose_is_the_sum_over_its_particles() -> None:
    """Against the formula summed over another sample of particles, not spread evenly: 3 sigma of both, and 0.5 %."""
    linac = load_linac_model(MODELS / "truebeam_stx")
    field, setup = JawField.of_size(100.0, 100.0), TankSetup(1000.0, 100.0, (50.0,))
    (response,) = expected_field(
        field=field,
        setups=[setup],
        linac=linac,
        sampling=BeamSampling(source_of(linac)),
        tables=gaussian_tables(),
        histories=20_000,
        batches=6,
        seed=11,
    )
    found = [response.depth_dose[:, 50, 0], response.profile[:, 0, 0, 30, 0]]
    phase_space = sample_phase_space(field_delivery(field, linac), linac, 200_000, 5)
    photons = phase_space.pdg_code == kernel.PHOTON_PDG
    way = -phase_space.position[photons, 1] / phase_space.direction[photons, 1]
    entry = phase_space.position[photons] + way[:, np.newaxis] * phase_space.direction[photons]
    for dose, place in zip(found, ([0.0, 50.5, 0.0], [30.5, 50.0, 0.0]), strict=True):
        apart = np.array(place) - entry
        along = (apart * phase_space.direction[photons]).sum(axis=1)
        squared = (apart**2).sum(axis=1) - along**2
        each = phase_space.weight[photons] * np.exp(-ATTENUATION * along - squared / 2 / SPREAD**2)
        expected = each.sum() / phase_space.nominal_photons
        sigma = math.hypot(
            math.sqrt((each**2).sum()) / phase_space.nominal_photons, dose.std(ddof=1) / math.sqrt(len(dose))
        )
        assert sigma < 0.01 * expected
        assert abs(dose.mean() - expected) < 3.0 * sigma + 0.005 * expected
    assert disc_radii(field) == (20.0, 10.0)


def test_the_lattice_spreads_photons_more_evenly_and_keeps_their_distribution() -> None:
    linac = load_linac_model(MODELS / "truebeam_stx")
    plan = plan_emission(field_delivery(JawField.of_size(100.0, 100.0), linac), linac, 40_000)
    spread, energy = {}, {}
    for evenly in (False, True):
        counts, means = [], []
        for seed in range(12):
            rows = np.concatenate([rays.rows for rays in emitted_rays(plan, seed, evenly=evenly)])
            focal = rows[rows[:, RAY_IS_FOCUSED] == 1.0]
            x = focal[:, RAY_X0] + 1000.0 * focal[:, RAY_SLOPE_X]
            counts.append(np.histogram(x, bins=np.arange(-40.0, 41.0, 10.0))[0])
            means.append(focal[:, RAY_ENERGY].mean())
        spread[evenly] = np.array(counts).std(axis=0).mean()
        energy[evenly] = (np.mean(means), np.std(means, ddof=1) / math.sqrt(12))
    assert spread[True] < 0.7 * spread[False]
    difference = energy[True][0] - energy[False][0]
    assert abs(difference) < 4 * math.hypot(energy[True][1], energy[False][1])
