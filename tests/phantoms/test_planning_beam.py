"""The stand-in planning system against the measurements that it was commissioned to, and its parts against hands.

Residuals as found (calculated less measured): depth doses beyond 10 mm at most 0.9 %, output factors 0.2 %, profiles
inside the field 0.6 % of the axis, widths 0.5 mm, penumbrae 0.2 mm. In the build-up, at 5 and 10 mm, up to 1.0 %, but
for -3.0 % at 5 mm in the 40 mm field.
"""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.config import project_folder
from gatecheck.linac.load import load_linac_model
from gatecheck.phantoms.planning import commissioning, photon_data, tissue
from gatecheck.phantoms.planning.beam_model import (
    Kernel,
    half_height_transmission,
    interleaf_gap,
    leaf_tip_edges,
    stored_beam,
    through_leaf,
)
from gatecheck.phantoms.planning.kernel_transport import Tally, _pair_cosine, deposited_energy
from gatecheck.phantoms.planning.openings import blurred, jaw_rectangle, leaf_rectangles
from gatecheck.phantoms.planning.pencil_kernels import DEPTH_EDGES, RADIUS_EDGES, energies_of, stored_kernels
from gatecheck.phantoms.planning.photon_data import ELECTRON_REST_ENERGY
from gatecheck.phantoms.planning.plane_dose import CommissionedBeam, commissioned, dose_in_plane

ALLOWED = {"profile": 1.0, "width_50": 0.7, "penumbra_80_20": 0.5}


@pytest.fixture(scope="module")
def model():
    return stored_beam()


@pytest.fixture(scope="module")
def compared(model):
    """Measurements and what the engine gives for them."""
    file = project_folder() / "linac_models" / "truebeam_stx" / "beam_data_6x.csv"
    measurements = commissioning.read_measurements(file)
    return measurements, commissioning.predictions(model, measurements, Kernel(model.fitted.hardening))


def _depth_doses(compared, field, low, high):
    return [
        (found, one)
        for one, found in zip(*compared, strict=True)
        if one.quantity == "depth_dose" and one.field == field and low < one.depth <= high
    ]


@pytest.mark.parametrize("field", [40.0, 100.0, 300.0])
def test_depth_doses_are_within_1_percent_beyond_the_build_up(compared, field):
    chosen = _depth_doses(compared, field, 10.0, np.inf)
    assert len(chosen) > 3
    for found, one in chosen:
        assert found == pytest.approx(one.value, rel=0.01), f"{one.depth} mm"


_SHALLOW = pytest.mark.xfail(strict=True, reason="-2.98 % at 5 mm, the worst residual of the fit; cause not found")


@pytest.mark.parametrize("field", [pytest.param(40.0, marks=_SHALLOW), 100.0, 300.0])
def test_depth_doses_are_within_2_5_percent_in_the_build_up(compared, field):
    chosen = _depth_doses(compared, field, 0.0, 10.0)
    assert chosen
    for found, one in chosen:
        assert found == pytest.approx(one.value, rel=0.025), f"{one.depth} mm"


def test_output_factors_are_within_half_a_percent(compared):
    found = {m.field: (value, m.value) for m, value in zip(*compared, strict=True) if m.quantity == "output_factor"}
    assert set(found) == {40.0, 100.0, 300.0}
    for value, measured in found.values():
        assert value == pytest.approx(measured, rel=0.005)


@pytest.mark.parametrize("quantity", sorted(ALLOWED))
def test_profiles_widths_and_penumbrae_are_as_measured(compared, quantity):
    for measurement, found in zip(*compared, strict=True):
        if measurement.quantity == quantity:
            where = f"{measurement.field} mm, depth {measurement.depth} mm, x {measurement.off_axis}"
            assert found == pytest.approx(measurement.value, abs=ALLOWED[quantity]), where


def test_fitted_beam_is_a_minimum_of_the_residuals(model, compared):
    """A step of any fitted number either way makes the agreement worse, or no better by more than a tenth."""
    measurements, _ = compared
    few = [m for m in measurements if m.quantity in ("output_factor", "depth_dose") and m.depth > 10]

    def squares(name, factor):
        changed = model.fitted.model_copy(update={name: getattr(model.fitted, name) * factor})
        moved = model.model_copy(update={"fitted": changed})
        return np.sum(commissioning.residuals_of(moved, few, Kernel(changed.hardening)) ** 2)

    best = squares("hardening", 1.0)
    for name in ("hardening", "extra_focal_fraction", "extra_focal_sigma"):
        assert min(squares(name, 0.7), squares(name, 1.4)) > best, name


def test_reference_condition_is_that_of_the_machine_and_gives_1_cgy_per_mu(model):
    reference = load_linac_model(project_folder() / "linac_models" / "truebeam_stx").calibration.reference
    own = model.reference
    assert (own.field_size, own.source_surface_distance) == (reference.field_size, reference.source_surface_distance)
    assert (own.depth, own.gray_per_mu) == (reference.depth, reference.gray_per_mu)
    half = np.array([-50.0, 50.0]) * model.fitted.jaw_scale
    dose = dose_in_plane(
        commissioned(model), jaw_rectangle(half, half, model), np.zeros(1), np.zeros(1), distance=1015.0,
        depths=np.array([15.0]),
    )  # fmt: skip
    assert dose[0, 0, 0] == pytest.approx(0.01, rel=1e-9)


def test_stored_kernel_is_what_the_transport_gives():
    """2000 photons of 2 to 2.75 MeV: energy below 10 mm within 6 mm of the pencil, and all of it, by 4 sigma."""
    kernels = stored_kernels()
    interval, batches = 5, 20
    depths = np.array(kernels.depths)
    thickness, deep = np.diff(DEPTH_EDGES), depths > 10
    weights, sigmas = np.array(kernels.weights[interval]), np.array(kernels.sigmas)
    rings = RADIUS_EDGES[1:] < 6.0
    radius = RADIUS_EDGES[1:][rings][-1]
    near = (weights * (1 - np.exp(-0.5 * (radius / sigmas) ** 2))).sum(axis=1)
    tally = Tally(DEPTH_EDGES, RADIUS_EDGES)
    energies = energies_of(interval, 100)
    runs = np.array([deposited_energy(energies, tally, seed=1000 + batch) for batch in range(batches)])
    for found, expected in (
        ((runs[:, :, rings].sum(axis=2) * thickness)[:, deep].sum(axis=1), (near * thickness)[deep].sum()),
        ((runs.sum(axis=2) * thickness).sum(axis=1), (weights.sum(axis=1) * thickness).sum()),
    ):
        sigma = found.std(ddof=1) / np.sqrt(batches)
        assert sigma < 0.03 * expected
        assert abs(found.mean() - expected) < 4 * sigma + 0.01 * expected


def test_build_up_of_2_2_mev_photons_ends_within_the_range_of_their_electrons():
    """Electrons of 2 MeV at most go 9.8 mm (ESTAR): the dose rises until there, then falls as photons are attenuated.

    Within 25 mm of the pencil scatter counts little, so 57 mm of water leave exp(-0.27) = 0.77 of it (NISTIR 5632).
    Each layer holds the energy of more than 2000 electrons, 2 % of noise: the limit of 1.15 is 4 sigma from 1.30.
    """
    edges = np.array([0.0, 1.0, 8.0, 18.0, 60.0, 80.0])
    dose = deposited_energy(np.full(20_000, 2.2), Tally(edges, np.array([0.0, 25.0])), seed=3)[:, 0]
    assert dose[0] < 0.5 * dose[2]
    assert 1.15 * dose[4] < dose[2]


@pytest.mark.parametrize("kinetic", [0.3, 3.0])
def test_electrons_of_pairs_leave_at_the_published_angles(kinetic):
    """Below a cosine c lies the integral of 1 / (E - p c)² from -1 to c."""
    energy = kinetic + ELECTRON_REST_ENERGY
    momentum = np.sqrt(kinetic * (kinetic + 2 * ELECTRON_REST_ENERGY))
    shares = np.linspace(0.01, 0.99, 50)
    cosines = np.array([_pair_cosine(kinetic, share) for share in shares])
    least, most = 1 / (energy + momentum), 1 / (energy - momentum)
    below = (1 / (energy - momentum * cosines) - least) / (most - least)
    assert below == pytest.approx(shares, abs=1e-9)


def test_a_denser_medium_narrows_the_kernels_as_a_wider_field_would(model):
    """O'Connor's theorem: all lengths across the beam times the density, the source's blur with them."""
    density, half, at = 1.2, 5.0, np.array([0.0, 4.0, 7.0])
    wider = model.model_copy(
        update={
            "fitted": model.fitted.model_copy(
                update={
                    "spot_sigma": density * model.fitted.spot_sigma,
                    "extra_focal_sigma": density * model.fitted.extra_focal_sigma,
                    "electron_sigma": density * model.fitted.electron_sigma,
                }
            )
        }
    )
    kernel = Kernel(model.fitted.hardening)

    def along(beam_model, scale, electron_density):
        edges = scale * np.array([-half, half])
        field = jaw_rectangle(edges, edges, beam_model)
        return dose_in_plane(
            CommissionedBeam(beam_model, kernel, 1.0),
            field,
            scale * at,
            np.zeros(1),
            distance=1000.0,
            depths=np.array([60.0]),
            electron_density=electron_density,
        )[0, 0]

    dense = along(model, 1.0, density)
    # The horn, 1 % at 20 mm, is not stretched.
    assert dense == pytest.approx(along(wider, density, 1.0), rel=2e-3)
    assert dense[0] > 1.02 * along(model, 1.0, 1.0)[0]


def test_attenuation_of_water_at_1_mev_is_that_of_klein_nishina():
    at = np.array([1.0])
    assert photon_data.klein_nishina(at)[0] == pytest.approx(photon_data.water_attenuation(at)[0], rel=0.003)


def test_edge_is_half_way_at_the_projected_collimator_and_as_wide_as_the_source_makes_it(model):
    opening = jaw_rectangle(np.array([-1000.0, 20.0]), np.array([-1000.0, 1000.0]), model)
    plane = model.collimators.jaw_x_plane
    width = 0.7 * (1000 - plane) / plane
    seen = blurred(
        opening, np.array([20.0, 20.0 - width]), np.zeros(1), distance=1000.0, sigmas=np.zeros(1), source_plane=0.0,
        source_sigma=0.7,
    )[0, 0]  # fmt: skip
    np.testing.assert_allclose(seen, [0.5, 0.841345], atol=1e-5)


def test_rounded_tip_opens_a_field_as_far_as_its_tungsten_lets_through(model):
    """At one attenuation μ the tip lets through the integral of exp(-2μ√(2Ru)): 1/(4μ²R), times 1000/510.

    Between 1 and 3 MeV tungsten alloy of 17.5 g/cm3 has μ = 0.116 to 0.071 per mm, so from 0.23 to 0.61 mm.
    """
    shares, depths = leaf_tip_edges(model.collimators, model.fitted.hardening)
    assert shares.sum() == pytest.approx(1.0)
    assert 0.23 < shares @ depths < 0.61


def test_closed_leaves_let_their_leakage_through_and_open_ones_everything(model):
    boundaries = np.arange(-40.0, 40.1, 2.5)
    jaws = np.array([-30.0, 30.0])
    centre, axis = {"distance": 1000.0, "source_plane": 0.0, "source_sigma": 0.7}, np.zeros(1)
    parked = np.full((2, len(boundaries) - 1), 60.0)
    closed = blurred(leaf_rectangles(parked, boundaries, jaws, jaws, model), axis, axis, sigmas=axis, **centre)
    assert closed.item() == pytest.approx(model.collimators.leaf_transmission, rel=1e-6)
    opened = np.stack([np.full(len(boundaries) - 1, -20.0), np.full(len(boundaries) - 1, 20.0)])
    through = blurred(leaf_rectangles(opened, boundaries, jaws, jaws, model), axis, axis, sigmas=axis, **centre)
    assert through.item() == pytest.approx(1.0, abs=1e-6)


def test_sides_of_open_leaves_are_narrowed_by_their_neighbours_steps_and_not_by_each_other(model):
    """Two pairs, 5 mm: at each end a strip of s = 0.4 · 1000 / 510 mm lets half a leaf's transmission t through.

    Air of g before the neighbour narrows it: 5 - s + g + 2 (s - g) t in all. At 0.116 to 0.071 per mm of its alloy t is
    0.018 to 0.086 for half of 69 mm, and g is some tenths of a millimetre at most.
    """
    collimators = model.collimators
    boundaries, jaws = np.arange(-40.0, 40.1, 2.5), np.array([-30.0, 30.0])
    leaves = np.full((2, len(boundaries) - 1), 25.0)
    leaves[:, 16:18] = np.array([[-20.0], [20.0]])
    y = np.arange(-3.0, 8.0, 0.01) + 0.005
    source = {"distance": 1000.0, "source_plane": 0.0, "source_sigma": 1e-3, "sigmas": np.zeros(1)}
    seen = blurred(leaf_rectangles(leaves, boundaries, jaws, jaws, model), np.zeros(1), y, **source)[0, :, 0]
    half = half_height_transmission(collimators, model.fitted.hardening)
    gap = interleaf_gap(collimators, model.fitted.hardening)
    assert 0.018 < half < 0.086
    assert 0.05 < gap < 0.25
    step = collimators.leaf_step * 1000.0 / collimators.leaf_plane
    above_leakage = (seen - collimators.leaf_transmission) / (1 - collimators.leaf_transmission)
    assert 0.01 * above_leakage.sum() == pytest.approx(5.0 - step + gap + 2 * (step - gap) * half, abs=0.02)
    # The air that is seen through lies on the open pair's side of each step.
    open_half = 2.5 - 0.5 * step + 0.5 * gap - 0.02
    assert seen[np.abs(y - 2.5) < open_half].min() == pytest.approx(1.0, abs=1e-6)


def test_closed_leaves_with_air_between_them_let_the_published_mean_through(model):
    """A solid leaf, and two lines of air for each leaf behind which half of one stands, make the mean."""
    collimators, hardening = model.collimators, model.fitted.hardening
    half, whole = through_leaf(np.array([0.5, 1.0]) * collimators.leaf_height, collimators, hardening)
    lines = 2 * interleaf_gap(collimators, hardening) / collimators.leaf_width
    assert (1 - lines) * whole + lines * half == pytest.approx(collimators.leaf_transmission, rel=1e-9)
    assert whole < 0.6 * collimators.leaf_transmission


@pytest.mark.parametrize("offset", [0.0, 1.0, 4.0])
def test_beside_a_leaf_that_stands_further_in_half_a_tip_lets_through_what_half_its_chord_does(model, offset):
    """Along the step between a pair and one that stands `offset` mm further in, from both leaves' chords of tungsten.

    The few edges of a tip make its integral, that of the product of two to some hundredths of a millimetre.
    """
    collimators, hardening = model.collimators, model.fitted.hardening
    boundaries, jaws = np.arange(-40.0, 40.1, 2.5), np.array([-30.0, 30.0])
    leaves = np.stack([np.full(32, -10.0), np.full(32, 29.0)])
    leaves[0, 16:] += offset
    x = np.arange(-25.0, 10.0, 0.01) + 0.005
    source = {"distance": 1000.0, "source_plane": 0.0, "source_sigma": 1e-3, "sigmas": np.zeros(1)}
    edge = np.array([boundaries[16]])
    seen = blurred(leaf_rectangles(leaves, boundaries, jaws, jaws, model), x, edge, **source)[0, 0]
    inside = (np.array([[-10.0], [-10.0 + offset]]) - x) * collimators.leaf_plane / 1000.0
    radius = collimators.leaf_tip_radius
    chord = np.where(inside > 0, 2 * np.sqrt(np.clip(2 * radius * inside - inside**2, 0.0, None)), 0.0)
    expected = through_leaf(0.5 * np.minimum(chord, collimators.leaf_height).sum(axis=0), collimators, hardening)
    assert 0.01 * (seen - expected).sum() == pytest.approx(0.0, abs=0.15)


def test_water_has_the_electrons_of_water_and_bone_fewer_per_gram():
    assert tissue.electron_density(0.0) == pytest.approx(1.0, abs=0.02)
    assert tissue.electron_density(-1000.0) < 0.002
    assert tissue.electrons_per_gram(1050.0) == pytest.approx(0.94, abs=0.01)
    assert np.all(np.diff(tissue.electron_density(np.array([-900.0, -500.0, -100.0, 40.0, 300.0, 1000.0]))) > 0)
