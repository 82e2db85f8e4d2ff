"""A source as a weighted sum of elements is the source itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.water.source_basis import BasisSampling, basis_for, entries, proposal_source, weights
from gatecheck.commissioning.water.tank import field_delivery
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.photon_source import mean_energy
from gatecheck.transport.fast_head.rays import (
    ELECTRON_PDG,
    RAY_ENERGY,
    RAY_IS_FOCUSED,
    RAY_PDG,
    RAY_START,
    RAY_WEIGHT,
)
from gatecheck.transport.fast_head.sample import emitted_rays, plan_emission

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
HISTORIES = 400_000


@pytest.fixture(scope="module")
def linac():
    return load_linac_model(MODELS / "truebeam_stx")


def _sums(linac, source, weight_of):
    """Number and energy per nominal photon of each component aimed at a 100 mm opening, with their sigmas."""
    plan = plan_emission(field_delivery(JawField.of_size(100.0, 100.0), linac), linac, HISTORIES, source=source)
    sums, squares = np.zeros((3, 2)), np.zeros((3, 2))
    for rays in emitted_rays(plan, 11):
        rows = rays.rows[rays.rows[:, RAY_IS_FOCUSED] > 0]
        weight = rows[:, RAY_WEIGHT] * weight_of(rows)
        electron = rows[:, RAY_PDG] == ELECTRON_PDG
        focal = ~electron & (rows[:, RAY_START] == 0.0)
        for component, chosen in enumerate((focal, ~focal & ~electron, electron)):
            for column, value in enumerate((weight[chosen], weight[chosen] * rows[chosen, RAY_ENERGY])):
                sums[component, column] += value.sum()
                squares[component, column] += (value**2).sum()
    return sums / plan.nominal_photons, np.sqrt(squares) / plan.nominal_photons


def test_weighted_elements_emit_what_the_source_emits(linac) -> None:
    """Number and energy of focal and extra-focal photons and electrons through an opening; 4 sigma of 6 numbers."""
    basis = basis_for(linac.beam, opening_radius=250.0, axis_distance=1000.0)
    sampling = BasisSampling(basis, proposal_source(basis, linac.beam))
    of_element = weights(basis, linac.beam)

    def weight_of(rows):
        index, share = entries(basis, rows)
        return (of_element[index] * share).sum(axis=1)

    found, found_sigma = _sums(linac, sampling.source, weight_of)
    direct, direct_sigma = _sums(linac, None, lambda rows: np.ones(len(rows)))
    # Hats over nodes of energy and radius are not exact: 0.5 % are allowed for besides.
    limit = 4.0 * np.hypot(found_sigma, direct_sigma) + 0.005 * direct
    assert np.all(np.abs(found - direct) < limit), (found / direct - 1.0, limit / direct)


def test_shares_of_a_ray_sum_to_one(linac) -> None:
    basis = basis_for(linac.beam, opening_radius=250.0, axis_distance=1000.0)
    sampling = BasisSampling(basis, proposal_source(basis, linac.beam))
    plan = plan_emission(field_delivery(JawField.of_size(100.0, 100.0), linac), linac, 20_000, source=sampling.source)
    for rays in emitted_rays(plan, 3):
        index, share = sampling.entries(rays.rows)
        assert np.allclose(share.sum(axis=1), 1.0)
        assert index.min() >= 0
        assert index.max() < sampling.size


def test_a_harder_spectrum_has_larger_weights_at_high_energy(linac) -> None:
    basis = basis_for(linac.beam, opening_radius=250.0, axis_distance=1000.0)
    harder = linac.beam.model_copy(update={"spectrum": linac.beam.spectrum.model_copy(update={"aluminium": 60.0})})
    assert mean_energy(harder.spectrum) > mean_energy(linac.beam.spectrum)
    ratio = (weights(basis, harder) / np.maximum(weights(basis, linac.beam), 1e-12))[: basis.sizes[0]]
    on_axis = ratio.reshape(-1, len(basis.radius))[:, 0]
    assert on_axis[3] < 1.0 < on_axis[20]
