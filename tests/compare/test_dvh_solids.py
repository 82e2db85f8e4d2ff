"""Volume and doses of solids from their drawn contours, through the case room's masks, against fine integration.

Spheres, cylinders and cones of 0.1 to 50 ml on CT slices of 1 mm, in linear and Gaussian doses on grids of 1 to 3 mm.
Truth is the dose at a random place in each cell of a grid round the solid, 110 along each axis, and on its surface: on
the grid's own planes a dose along an axis would be known to half a cell only. Contours are slabs: the solids' flat
ends lie half a slice beyond the last contour.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from gatecheck.case.attributes import Notes
from gatecheck.case.contours import DrawnStructure, Plane
from gatecheck.case.grid import Grid
from gatecheck.case.masks import make_mask
from gatecheck.compare.model import DoseMetrics
from gatecheck.compare.sampling import points_of
from gatecheck.compare.structure_dose import Dose, structure_dose
from gatecheck.files import image_from_zyx

Field = Callable[..., np.ndarray]
AXIS = (0.31, -0.47)
CT = Grid((80, 80, 81), (1.0, 1.0, 1.0), (-39.7, -39.6, -40.0))
ALONG = 110


@dataclass(frozen=True)
class Solid:
    """A solid of revolution about an axis along z."""

    volume: float
    low: float
    high: float
    radius_at: Callable[[float], float]
    widest: float


def _sphere(ml: float) -> Solid:
    radius, middle = (3000 * ml / (4 * math.pi)) ** (1 / 3), 0.3
    return Solid(
        1000 * ml, middle - radius, middle + radius, lambda z: math.sqrt(max(radius**2 - (z - middle) ** 2, 0)), radius
    )


def _cylinder(ml: float) -> Solid:
    slices = max(2, round((2000 * ml / math.pi) ** (1 / 3)))
    radius, low = math.sqrt(1000 * ml / math.pi / slices), -round(slices / 2) - 0.5
    return Solid(1000 * ml, low, low + slices, lambda z: radius, radius)


def _cone(ml: float) -> Solid:
    height = round((12000 * ml / math.pi) ** (1 / 3)) + 0.3
    radius, low = math.sqrt(3000 * ml / math.pi / height), -round(height / 3) - 0.5
    return Solid(1000 * ml, low, low + height, lambda z: radius * max(0.0, 1 - (z - low) / height), radius)


SOLIDS = {"sphere": _sphere, "cylinder": _cylinder, "cone": _cone}


def _linear(slope: float, direction: tuple[float, float, float]) -> Field:
    u, v, w = direction
    return lambda x, y, z: 40.0 * (1 + slope * (u * x + v * y + w * z))


def _gaussian(width: float) -> Field:
    return lambda x, y, z: 47.0 * np.exp(-((x - 1) ** 2 + (y - 0.5) ** 2 + (z + 0.7) ** 2) / (2 * width**2))


def _found(solid: Solid, field: Field, spacing: float, *, is_mean: bool = False) -> tuple[float, DoseMetrics]:
    mask = make_mask(_drawn(solid), CT, Notes())
    assert mask is not None
    image = image_from_zyx(mask.values_zyx, origin=mask.grid.origin, spacing=mask.grid.spacing)
    count = math.ceil(76 / spacing)
    x, y, z = (-38 + spacing * (np.arange(count) + shift) for shift in (0.37, 0.18, 0.29))
    values_zyx = _over_voxels(field, x, y, z, spacing) if is_mean else _at(field, x, y, z)
    image_of_dose = image_from_zyx(values_zyx.astype(np.float32), origin=(x[0], y[0], z[0]), spacing=(spacing,) * 3)
    dose = Dose.of_means(image_of_dose) if is_mean else Dose.of(image_of_dose)
    found = structure_dose(image, points_of(image, largest_step=spacing / 2), dose, largest_step=spacing / 2)
    assert found is not None
    return mask.volume_ml * 1000, found.metrics()


def _at(field: Field, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.broadcast_to(field(x, y[:, None], z[:, None, None]), (len(z), len(y), len(x)))


def _over_voxels(field: Field, x: np.ndarray, y: np.ndarray, z: np.ndarray, spacing: float) -> np.ndarray:
    """Means over voxels, by Gauss and Legendre's three points along each axis."""
    places, weights = np.polynomial.legendre.leggauss(3)
    shifts = list(zip(places * spacing / 2, weights / 2, strict=True))
    return sum(
        a * b * c * _at(field, x + u, y + v, z + w)
        for (u, a), (v, b), (w, c) in itertools.product(shifts, shifts, shifts)
    )


def _drawn(solid: Solid) -> DrawnStructure:
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    # Of the circle's area.
    unit = math.sqrt(math.pi / 180 / math.sin(math.pi / 180)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    slices = [z for z in np.arange(-39.0, 40.0) if solid.low < z < solid.high]
    planes = tuple(Plane(float(z), (AXIS + solid.radius_at(z) * unit,)) for z in slices)
    return DrawnStructure(1, "solid", "GTV", planes, frozenset())


def _radii(solid: Solid) -> tuple[np.ndarray, np.ndarray]:
    heights = np.linspace(solid.low, solid.high, 20_001)
    return heights, np.array([solid.radius_at(float(z)) for z in heights])


def _true(solid: Solid, field: Field) -> dict[str, float]:
    random = np.random.default_rng(3)
    cells = np.stack(np.meshgrid(*3 * [np.arange(ALONG)], indexing="ij"))
    z, y, x = (cells + random.random(cells.shape)) / ALONG
    x, y = (solid.widest * (2 * across - 1) for across in (x, y))
    z = solid.low + (solid.high - solid.low) * z
    radius = np.interp(z, *_radii(solid))
    inside = x**2 + y**2 < radius**2
    doses = np.broadcast_to(field(AXIS[0] + x, AXIS[1] + y, z), inside.shape)
    falling = np.sort(doses[inside])[::-1]

    def to(volume: float) -> float:
        return float(np.interp(volume / solid.volume * len(falling), np.arange(len(falling)) + 0.5, falling))

    angle = np.linspace(0, 2 * np.pi, 361)
    rim_z = np.linspace(solid.low, solid.high, 401)[:, None]
    rim = np.array([solid.radius_at(float(one)) for one in rim_z[:, 0]])[:, None]
    surface = field(AXIS[0] + rim * np.cos(angle), AXIS[1] + rim * np.sin(angle), rim_z).max()
    return {
        "d95_gy": to(0.95 * solid.volume),
        "d2_gy": to(0.02 * solid.volume),
        "d003cc_gy": to(30.0),
        "d001cc_gy": to(10.0),
        "max_gy": max(float(falling[0]), float(surface)),
    }


CASES = [
    ("2 % a mm across", _linear(0.02, (1.0, 0.0, 0.0)), 1.0),
    ("1 % a mm oblique", _linear(0.01, (0.6, 0.0, 0.8)), 2.0),
    ("1 % a mm along, up", _linear(0.01, (0.0, 0.0, 1.0)), 3.0),
    ("Gaussian of 12 mm", _gaussian(12.0), 3.0),
    ("Gaussian of 6 mm", _gaussian(6.0), 2.0),
]


@pytest.mark.parametrize("is_mean", [False, True], ids=["values at centres", "means over voxels"])
@pytest.mark.parametrize(("field", "spacing"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("ml", [0.1, 0.3, 50.0])
@pytest.mark.parametrize("shape", list(SOLIDS))
def test_doses_of_a_solid_are_right_within_half_a_per_cent(
    shape: str, ml: float, field: Field, spacing: float, *, is_mean: bool, request: pytest.FixtureRequest
) -> None:
    if shape == "cone" and ml > 10 and field is CASES[1][1] and not is_mean:
        reason = "0.9 % in the maximum: the last contour, 0.8 mm wide at the tip, fills half of no voxel"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    solid = SOLIDS[shape](ml)
    volume, found = _found(solid, field, spacing, is_mean=is_mean)
    assert volume == pytest.approx(solid.volume, rel=0.01)
    # A tip along z lies anywhere within half a slice of where the slab ends, and contours do not say where.
    tip = 0.01 * 0.5 * 40 if shape != "cylinder" and field in {CASES[1][1], CASES[2][1]} else 0.0
    truth = _true(solid, field)
    for name, true in truth.items():
        metric = getattr(found, name)
        allowed = 0.005 * true + (tip if name == "max_gy" else 0.0)
        if true < 0.001 * truth["max_gy"] and (is_mean or shape == "cone"):
            # Almost four standard deviations from a Gaussian's top, where it is nothing: known to 0.5 mGy.
            allowed = 1e-5 * truth["max_gy"]
        assert metric.value == pytest.approx(true, abs=allowed), name


def test_means_over_voxels_taken_for_values_would_lower_a_hot_spot_by_more_than_1_per_cent() -> None:
    """By 3 h^2 / (24 s^2): 1.4 % for a Gaussian of 6 mm on voxels of 2 mm."""
    solid = _sphere(0.3)
    true = _true(solid, _gaussian(6.0))
    x, y, z = (-38 + 2.0 * (np.arange(38) + shift) for shift in (0.37, 0.18, 0.29))
    taken = _over_voxels(_gaussian(6.0), x, y, z, 2.0).max() / _at(_gaussian(6.0), x, y, z).max()
    assert taken == pytest.approx(1 - 3 * 2.0**2 / (24 * 6.0**2), abs=0.001)
    _, found = _found(solid, _gaussian(6.0), 2.0, is_mean=True)
    assert found.max_gy.value == pytest.approx(true["max_gy"], rel=0.002)


def test_a_trilinear_dose_would_miss_the_top_of_a_gaussian_on_3_mm_by_more_than_2_per_cent() -> None:
    """Half-way between eight voxels: 3 h^2 / (8 s^2) is 2.3 % for s = 12 mm; the spline is right to 0.1 %."""
    solid = _sphere(0.3)
    _, found = _found(solid, _gaussian(12.0), 3.0)
    assert found.max_gy.value == pytest.approx(47.0, rel=0.001)
    assert 47.0 * math.exp(-3 * 1.5**2 / (2 * 12.0**2)) < 0.98 * 47.0


@pytest.mark.parametrize("middle", np.arange(0.0, 1.0, 0.1))
def test_a_sphere_of_0_1_ml_keeps_its_volume_within_what_half_slices_at_its_poles_allow(middle: float) -> None:
    """Worst where a pole lies on a slice: the slab formula is off by pi R / 6 mm3 at each pole (Euler-Maclaurin)."""
    radius = (3 * 100.0 / (4 * math.pi)) ** (1 / 3)
    solid = Solid(
        100.0, middle - radius, middle + radius, lambda z: math.sqrt(max(radius**2 - (z - middle) ** 2, 0)), radius
    )
    mask = make_mask(_drawn(solid), CT, Notes())
    assert mask is not None

    def periodic(depth: float) -> float:
        part = depth % 1.0
        return math.pi * radius * (part**2 - part + 1 / 6)

    # The area's slope rises by 2 pi R at each pole: the sum over slices lacks half of that times B2 of the place.
    expected = 100.0 - periodic(solid.high) - periodic(-solid.low)
    assert mask.volume_ml * 1000 == pytest.approx(expected, abs=0.2)
    assert abs(expected - 100.0) < 2 * math.pi * radius / 6 + 1e-9
