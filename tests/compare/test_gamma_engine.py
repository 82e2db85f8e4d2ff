"""Gamma against formulas, against an exhaustive search, and against itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatecheck.compare.dose_image import DoseImage
from gatecheck.compare.gamma import ACCURACY, GammaCriteria, gamma_at, gamma_map
from gatecheck.compare.sampling import VoxelGrid
from gatecheck.errors import InputError

FloatArray = npt.NDArray[np.float64]


def axes(grid: VoxelGrid) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coordinates of voxels' centres that broadcast to [z, y, x]."""
    x, y, z = (grid.origin[i] + grid.spacing[i] * np.arange(grid.size[i]) for i in range(3))
    return x[None, None, :], y[None, :, None], z[:, None, None]


def dose_of(values: npt.ArrayLike, grid: VoxelGrid) -> DoseImage:
    return DoseImage(np.ascontiguousarray(np.broadcast_to(np.asarray(values, float), grid.size[::-1])), grid)


def cube(count: int = 21, spacing: float = 1.0) -> VoxelGrid:
    return VoxelGrid((count,) * 3, (spacing,) * 3, (-(count - 1) / 2 * spacing,) * 3)


def noisy(grid: VoxelGrid, seed: int, noise: float) -> DoseImage:
    """A Gaussian of 8 mm off the centre, 50 Gy high, with noise."""
    x, y, z = axes(grid)
    values = 50 * np.exp(-((x - 0.7) ** 2 + (y + 0.4) ** 2 + (z - 0.2) ** 2) / (2 * 8.0**2))
    return dose_of(values + noise * 50 * np.random.default_rng(seed).normal(size=grid.size[::-1]), grid)


@pytest.mark.parametrize("gradient", [0.05, 0.6, 4.0])
@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.48, -0.6, 0.64)])
def test_shifted_linear_dose_has_the_gamma_of_the_formula(gradient: float, direction: tuple[float, ...]) -> None:
    # Least of ((e + g s) / D)^2 + (s / d)^2 over s: |e| / sqrt(D^2 + g^2 d^2).
    grid, criteria = cube(), GammaCriteria(2, 1.5)
    along = sum(n * axis for n, axis in zip(direction, axes(grid), strict=True))
    reference, difference = dose_of(100 + gradient * along, grid), 1.2
    evaluated = dose_of(reference.values_zyx + difference, grid)
    result = gamma_map(reference, evaluated, criteria, normalisation=100.0)
    expected = difference / np.hypot(2.0, gradient * 1.5)
    inner = result.gamma_zyx[4:-4, 4:-4, 4:-4]
    assert result.points == 21**3
    assert (inner >= expected - 1e-6).all()
    assert (inner <= expected + 1e-4).all()


@pytest.mark.parametrize("spacing", [0.3, 1.0, 2.5])
def test_linear_dose_has_the_gamma_of_the_formula_anywhere_between_voxels(spacing: float) -> None:
    grid, gradient, direction = cube(max(21, int(16 / spacing)), spacing), 0.05, np.array([0.48, -0.6, 0.64])
    along = sum(n * axis for n, axis in zip(direction, axes(grid), strict=True))
    evaluated = dose_of(101.2 + gradient * along, grid)
    points = np.random.default_rng(5).uniform(-2, 2, (300, 3))
    found = gamma_at(
        points, 100 + gradient * points @ direction, evaluated, GammaCriteria(2, 1.5), normalisation=100.0
    ).gamma
    assert np.abs(found - 1.2 / np.hypot(2.0, gradient * 1.5)).max() <= 1e-4


@pytest.mark.parametrize("gradient", [100.0, 300.0, 3000.0])
def test_steep_linear_dose_has_the_gamma_of_the_formula_and_the_search_ends(gradient: float) -> None:
    """Hundreds of dose tolerances within the distance tolerance, in all directions: a search once never ended there."""
    random = np.random.default_rng(int(gradient))
    grid = cube(9)
    x, y, z = axes(grid)
    for _ in range(20):
        slope = random.normal(size=3)
        slope *= gradient / np.linalg.norm(slope)
        values = slope[0] * x + slope[1] * y + slope[2] * z
        points = random.uniform(-1.5, 1.5, (50, 3))
        off = random.uniform(-2.0, 2.0, 50) * np.sqrt(1 + gradient**2)
        evaluated = DoseImage(values, grid)  # in double precision
        found = gamma_at(points, points @ slope + off, evaluated, GammaCriteria(1, 1, cap=2), normalisation=100.0)
        expected = np.minimum(np.abs(off) / np.sqrt(1 + gradient**2), 2.0)
        assert found.gamma == pytest.approx(expected, abs=1e-3)


def test_a_point_beyond_a_dose_of_few_slices_reaches_it() -> None:
    grid = VoxelGrid((2, 9, 9), (1.0, 1.0, 1.0), (0.0, -4.0, -4.0))
    evaluated = DoseImage(np.full((9, 9, 2), 50.0), grid)
    point = np.array([[-1.33, 0.2, 0.1]])
    found = gamma_at(point, np.array([50.0]), evaluated, GammaCriteria(2, 1, cap=2), normalisation=50.0)
    assert found.is_reached.all()
    assert found.gamma[0] == pytest.approx(1.33, abs=1e-6)


def test_scaled_linear_dose_with_local_tolerance_has_the_gamma_of_the_formula() -> None:
    grid, criteria = cube(), GammaCriteria(3, 2, is_local=True)
    x, _, _ = axes(grid)
    reference = dose_of(60 + 1.5 * x, grid)
    evaluated = dose_of(1.02 * reference.values_zyx, grid)
    gamma = gamma_map(reference, evaluated, criteria).gamma_zyx[5:-5, 5:-5, 5:-5]
    tolerance = 0.03 * reference.values_zyx
    expected = (0.02 * reference.values_zyx / np.hypot(tolerance, 1.02 * 1.5 * 2))[5:-5, 5:-5, 5:-5]
    assert np.abs(gamma - expected).max() <= 1e-4


def test_shifted_gaussian_has_the_gamma_of_its_continuous_form() -> None:
    # A Gaussian shifted along x by a, at points on the x axis: the nearest place lies on the axis too.
    sigma, shift, spacing = 6.0, 0.8, 0.1
    grid = VoxelGrid((120, 45, 45), (spacing,) * 3, (-1.03, -2.21, -2.18))
    x, y, z = axes(grid)
    evaluated = dose_of(50 * np.exp(-((x - shift) ** 2 + y**2 + z**2) / (2 * sigma**2)), grid)
    points = np.column_stack([np.linspace(1, 8.6, 20), np.zeros(20), np.zeros(20)])
    doses = 50 * np.exp(-(points[:, 0] ** 2) / (2 * sigma**2))
    found = gamma_at(points, doses, evaluated, GammaCriteria(2, 1), normalisation=50.0).gamma
    s = np.linspace(-2, 2, 40001)[None, :]
    there = 50 * np.exp(-((points[:, :1] + s - shift) ** 2) / (2 * sigma**2))
    expected = np.sqrt(((there - doses[:, None]) / 1.0) ** 2 + s**2).min(axis=1)
    # Trilinear interpolation is off by at most spacing^2 / 8 of the second derivatives, of a dose tolerance of 1 Gy.
    interpolation = spacing**2 / 8 * 3 * 50 / sigma**2
    assert interpolation < 0.006
    assert (found >= expected - interpolation).all()
    assert (found <= expected + interpolation + ACCURACY).all()
    assert found.max() > 0.5


def exhaustive(
    point: FloatArray, dose: float, evaluated: DoseImage, criteria: GammaCriteria, tolerance: float
) -> float:
    """The least gamma at 8^3 places of every cell within reach, and then ever closer round the best 40 of them."""
    grid = evaluated.grid
    low = np.floor((point - criteria.reach - grid.origin) / grid.spacing).astype(int)
    high = np.ceil((point + criteria.reach - grid.origin) / grid.spacing).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, np.array(grid.size) - 1)
    lines = [np.linspace(a, b, 8 * (b - a) + 1) for a, b in zip(low, high, strict=True)]
    places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
    step = 1 / 8

    def gamma_of(places: FloatArray) -> FloatArray:
        base = np.clip(np.floor(places).astype(int), 0, np.array(grid.size) - 2)
        part, value = places - base, np.zeros(len(places))
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, part, 1 - part), axis=1)
            value += weight * evaluated.values_zyx[tuple((base + corner)[:, ::-1].T)]
        away = ((places * grid.spacing + grid.origin - point) ** 2).sum(axis=1) / criteria.distance**2
        return np.sqrt(((value - dose) / tolerance) ** 2 + away)

    around = np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    gammas = gamma_of(places)
    for _ in range(4):
        best = places[np.argpartition(gammas, 40)[:40]]
        places = np.clip((best[:, None] + step * around).reshape(-1, 3), 0, np.array(grid.size) - 1.0)
        gammas, step = gamma_of(places), step / 3
    return min(float(gammas.min()), criteria.cap)


@pytest.mark.parametrize("is_local", [False, True])
@pytest.mark.parametrize(
    ("spacings", "noise"),
    [((1.0, 1.0), 0.02), ((2.0, 1.3), 0.01), ((1.5, 2.5), 0.03), ((1.0, 3.0), 0.0), ((3.0, 2.0), 0.05)],
)
def test_gamma_is_the_exhaustive_search_s(spacings: tuple[float, float], noise: float, is_local: bool) -> None:
    grids = [
        VoxelGrid((17, 16, 15), (s, 0.9 * s, 1.2 * s), (-8 * s + 0.3, -7 * s - 0.1, -8 * s + 0.7)) for s in spacings
    ]
    reference, evaluated = noisy(grids[0], 1, noise), noisy(grids[1], 2, noise)
    criteria = GammaCriteria(2, 1.2, is_local=is_local)
    chosen = np.random.default_rng(3).choice(np.flatnonzero(reference.values_zyx > 10), 10, replace=False)
    z, y, x = np.unravel_index(chosen, grids[0].size[::-1])
    points = np.array(grids[0].origin) + np.column_stack([x, y, z]) * grids[0].spacing
    doses = reference.values_zyx.ravel()[chosen]
    found = gamma_at(points, doses, evaluated, criteria, normalisation=50.0)
    for index in np.flatnonzero(found.is_reached):
        tolerance = 0.02 * (doses[index] if is_local else 50.0)
        least = exhaustive(points[index], doses[index], evaluated, criteria, tolerance)
        # The engine's is a gamma that occurs; the exhaustive search's is at most some 1e-3 above the least.
        assert -2e-3 <= found.gamma[index] - least <= 0.02
    assert found.is_reached.sum() >= 6


def test_points_without_dose_in_reach_are_counted_and_fail() -> None:
    large, small = cube(21), cube(11)
    result = gamma_map(dose_of(50.0, large), dose_of(50.0, small), GammaCriteria(2, 1))
    x, y, z = axes(large)
    away = np.sqrt(sum(np.maximum(np.abs(axis) - 5, 0) ** 2 for axis in (x, y, z)))
    assert result.points == 21**3
    assert result.unreachable == np.count_nonzero(away > 2)
    assert result.passed == np.count_nonzero(away <= 1)
    assert (result.gamma_zyx[away > 2] == 2).all()
    assert np.abs(result.gamma_zyx - np.minimum(away, 2)).max() < ACCURACY


def test_cells_with_a_nan_are_no_dose() -> None:
    grid = cube(11)
    evaluated = dose_of(50.0, grid)
    evaluated.values_zyx[:, :, 6:] = np.nan
    result = gamma_map(dose_of(50.0, grid), evaluated, GammaCriteria(2, 1))
    assert result.unreachable == 11 * 11 * 3
    assert (result.gamma_zyx[:, :, :6] == 0).all()
    assert np.allclose(result.gamma_zyx[:, :, 6], 1, atol=ACCURACY)


def test_voxels_outside_of_the_body_are_left_out_and_may_hold_anything() -> None:
    grid = cube(9)
    reference = dose_of(50.0, grid)
    inside = np.zeros(grid.size[::-1], dtype=bool)
    inside[2:6, 2:6, 2:6] = True
    reference.values_zyx[~inside] = np.nan
    reference.values_zyx[0, 0, 0] = 1e6
    result = gamma_map(reference, dose_of(50.0, grid), GammaCriteria(2, 1), inside_zyx=inside)
    assert (result.points, result.passed, result.normalisation) == (64, 64, 50.0)
    assert (np.isfinite(result.gamma_zyx) == inside).all()
    with pytest.raises(InputError, match="no finite dose"):
        gamma_map(reference, dose_of(50.0, grid), GammaCriteria(2, 1))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_cut_off_itself_counts_and_a_gamma_of_one_passes(kind: type) -> None:
    grid = cube(5)
    values = np.full(grid.size[::-1], 50.0)
    values[0], values[1] = 5.0, 4.999
    reference = DoseImage(values.astype(kind), grid)
    evaluated = DoseImage(values.astype(kind) + kind(1.0), grid)
    result = gamma_map(reference, evaluated, GammaCriteria(2, 0.001))
    assert result.points == 4 * 25
    assert result.passed == result.points
    # Where the dose jumps, 0.001 mm along it is a little less.
    assert np.nanmax(result.gamma_zyx) == pytest.approx(1.0, abs=1e-5)


def test_no_local_dose_matches_no_dose_and_nothing_else() -> None:
    grid = cube(5)
    zero, some = dose_of(0.0, grid), dose_of(0.1, grid)
    criteria = GammaCriteria(3, 1, is_local=True)
    point, dose = np.zeros((1, 3)), np.zeros(1)
    assert gamma_at(point, dose, zero, criteria, normalisation=50.0).gamma[0] == 0
    found = gamma_at(point, dose, some, criteria, normalisation=50.0)
    assert found.gamma[0] == criteria.cap
    assert found.is_reached[0]
    assert not found.is_passed[0]


def test_either_dose_may_be_the_reference_and_a_uniform_difference_is_seen_alike() -> None:
    a, b = dose_of(50.0, cube(21)), dose_of(50.6, cube(15, 1.4))
    for reference, evaluated in ((a, b), (b, a)):
        result = gamma_map(reference, evaluated, GammaCriteria(2, 3), normalisation=50.0)
        inner = result.gamma_zyx[3:-3, 3:-3, 3:-3]
        assert np.abs(inner - 0.6).max() < 1e-6


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.01, 100), spacing=st.floats(0.8, 3), is_local=st.booleans())
def test_a_dose_equals_itself_and_gamma_knows_no_unit_of_dose(
    seed: int, factor: float, spacing: float, is_local: bool
) -> None:
    grid, criteria = cube(9, spacing), GammaCriteria(2, 1, is_local=is_local)
    a, b = noisy(grid, seed, 0.02), noisy(grid, seed + 1, 0.02)
    itself = gamma_map(a, a, criteria)
    assert itself.p99 == itself.mean == 0
    assert itself.passed == itself.points
    plain = gamma_map(a, b, criteria)
    scaled = gamma_map(dose_of(a.values_zyx * factor, grid), dose_of(b.values_zyx * factor, grid), criteria)
    # The searches may part where they stop early, by rounding.
    assert np.allclose(plain.gamma_zyx, scaled.gamma_zyx, atol=ACCURACY, equal_nan=True)


def test_what_cannot_be_compared_is_refused() -> None:
    dose = dose_of(50.0, cube(5))
    apart = DoseImage(dose.values_zyx, VoxelGrid((5, 5, 5), (1.0, 1.0, 1.0), (-2.0, 30.0, -2.0)))
    with pytest.raises(InputError, match=r"do not overlap: along y the reference dose lies from -2.5 to 2.5 mm"):
        gamma_map(dose, apart, GammaCriteria(2, 1))
    with pytest.raises(InputError, match="largest reference dose inside is 0 Gy"):
        gamma_map(dose_of(0.0, cube(5)), dose, GammaCriteria(2, 1))
    with pytest.raises(InputError, match="no reference voxel inside has 10 %"):
        gamma_map(dose, dose, GammaCriteria(2, 1), normalisation=1000.0)
    with pytest.raises(InputError, match="at least 2 along each"):
        gamma_map(dose, dose_of(50.0, VoxelGrid((5, 5, 1), (1.0,) * 3, (-2.0, -2.0, 0.0))), GammaCriteria(2, 1))
    with pytest.raises(ValueError, match="not finite"):
        gamma_at(np.zeros((1, 3)), np.array([np.nan]), dose, GammaCriteria(2, 1), normalisation=50.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dose_percent": 0}, "dose tolerance of 0 found"),
        ({"distance": float("nan")}, "distance tolerance of nan found"),
        ({"cap": 1.0}, "cap of 1 found, above 1"),
        ({"cutoff_percent": 100}, "cut-off of 100 found"),
    ],
)
def test_criteria_out_of_range_are_refused_by_name(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GammaCriteria(**({"dose_percent": 2, "distance": 1} | values))
