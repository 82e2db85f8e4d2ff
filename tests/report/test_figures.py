"""The drawings themselves, read back as pixels and paths."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as PilImage

from gatecheck.compare.model import DvhCurve
from gatecheck.files import image_from_zyx
from gatecheck.report import style
from gatecheck.report.figures import (
    ColourScale,
    DvhSeries,
    Overlay,
    Scene,
    dvh_figure,
    end_of_curve,
    isodose_figure,
    map_figure,
)
from gatecheck.report.planes import ORIENTATIONS, Plane, planes_through
from gatecheck.report.style import Isodose, Normalisation

SIDE = 100.0
SIZE = 61  # voxels of 2 mm: -60 to 60 mm
AXIS = np.arange(SIZE) * 2.0 - 60.0
POINT = (0.0, 0.0, 0.0)


def volume(values_zyx: np.ndarray) -> sitk.Image:
    values = np.broadcast_to(values_zyx, (SIZE, SIZE, SIZE)).astype(np.float32)
    return image_from_zyx(values, origin=(-60.0, -60.0, -60.0), spacing=(2.0, 2.0, 2.0))


AIR = volume(np.array(-1000.0))
BODY = volume(np.array(1.0))
NO_DOSE = volume(np.array(0.0))
HALF = Normalisation(10.0, "", "", (Isodose(50.0, 5.0, "#ff0000"),))


def plane(orientation: str) -> Plane:
    return planes_through(POINT, POINT, SIDE)[ORIENTATIONS.index(orientation)]  # type: ignore[arg-type]


def pixels(uri: str) -> np.ndarray:
    kind, content = uri.split(",", 1)
    assert kind == "data:image/png;base64"
    image = PilImage.open(io.BytesIO(base64.b64decode(content)))
    return np.asarray(image.convert("RGB")).astype(int)


def svg(uri: str) -> str:
    kind, content = uri.split(",", 1)
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def scene(*overlays: Overlay, stamp: str = "") -> Scene:
    return Scene(overlays, BODY, POINT, stamp)


def middle_of(mask: np.ndarray) -> tuple[float, float]:
    """Column and row of the middle of a mask, as shares of the image from left and top."""
    rows, columns = np.nonzero(mask)
    return (columns.mean() + 0.5) / mask.shape[1], (rows.mean() + 0.5) / mask.shape[0]


@pytest.mark.parametrize(
    ("orientation", "place"),
    [("axial", (0.7, 0.3)), ("coronal", (0.7, 0.25)), ("sagittal", (0.3, 0.25))],
)
def test_bone_left_anterior_and_cranial_is_drawn_where_a_radiologist_looks_for_it(
    orientation: str, place: tuple[float, float]
) -> None:
    """Block centred at x = +20 (left), y = -20 (anterior), z = +25 (head); window of 100 mm."""
    x, y, z = AXIS[None, None, :], AXIS[None, :, None], AXIS[:, None, None]
    block = (abs(x - 20) <= 8) & (abs(y + 20) <= 8) & (abs(z - 25) <= 8)
    point = (20.0, -20.0, 25.0)
    drawn = planes_through(point, POINT, SIDE)[ORIENTATIONS.index(orientation)]  # type: ignore[arg-type]
    marked = Scene((), BODY, (-999.0, -999.0, -999.0), "")
    image = pixels(isodose_figure(drawn, volume(np.where(block, 1000.0, -1000.0)), NO_DOSE, marked, HALF))
    white = image.min(axis=2) > 200
    count = white.shape[0] // 8  # look at the block only, not at the letters at the edges
    row, column = round(place[1] * white.shape[0]), round(place[0] * white.shape[1])
    window = np.zeros_like(white)
    window[max(0, row - count) : row + count, max(0, column - count) : column + count] = True
    assert (white & window).sum() > 0.8 * (0.16 * white.shape[0]) ** 2
    assert middle_of(white & window) == pytest.approx(place, abs=0.005)


@pytest.mark.parametrize(("orientation", "axis"), [("axial", "x"), ("coronal", "x"), ("sagittal", "y")])
def test_an_isodose_lies_where_the_dose_has_its_value(orientation: str, axis: str) -> None:
    """Dose 5 Gy at +12 mm, rising by 0.1 Gy per mm across the picture: the line is at 0.62 of its width."""
    ramp = 5.0 + 0.1 * (AXIS - 12.0)
    dose = volume(ramp[None, None, :] if axis == "x" else ramp[None, :, None])
    image = pixels(isodose_figure(plane(orientation), AIR, dose, scene(), HALF))
    red = (image[..., 0] > 180) & (image[..., 1] < 60) & (image[..., 2] < 60)
    assert red.any()
    columns = np.nonzero(red)[1] / image.shape[1]
    assert np.median(columns) == pytest.approx(0.62, abs=0.003)


def test_isodoses_end_at_the_body() -> None:
    x = AXIS[None, None, :]
    half_body = Scene((), volume(x < 0), POINT, "")
    ramp = volume(5.0 + 0.1 * AXIS[None, :, None])
    image = pixels(isodose_figure(plane("axial"), AIR, ramp, half_body, HALF))
    red = (image[..., 0] > 180) & (image[..., 1] < 60) & (image[..., 2] < 60)
    columns = np.nonzero(red)[1] / image.shape[1]
    assert columns.min() < 0.02
    assert columns.max() < 0.52


def test_a_structure_is_drawn_at_the_half_of_its_mask() -> None:
    x, y = AXIS[None, None, :], AXIS[None, :, None]
    disc = volume(np.clip(0.5 + (20.0 - np.hypot(x, y)) / 2, 0, 1))
    image = pixels(isodose_figure(plane("axial"), AIR, NO_DOSE, scene(Overlay("disc", "A", (), disc)), HALF))
    white = image.min(axis=2) > 200
    middle = image.shape[0] // 2
    columns = np.nonzero(white[middle])[0] / image.shape[1]
    ring = columns[(columns > 0.1) & (columns < 0.9) & (abs(columns - 0.5) > 0.1)]
    assert sorted({round(float(column), 2) for column in ring} & {0.3, 0.7}) == [0.3, 0.7]


def test_in_the_difference_map_higher_is_lighter_than_equal_and_equal_than_lower() -> None:
    difference = volume(np.where(AXIS[None, None, :] > 20, 3.0, np.where(AXIS[None, None, :] < -20, -3.0, 0.0)))
    image = pixels(map_figure(plane("axial"), difference, scene(), ColourScale(style.DIFFERENCE_MAP, -4, 4, "Gy")))
    row = image[int(0.3 * image.shape[1])].mean(axis=1)
    lower, equal, higher = (row[int(share * image.shape[1])] for share in (0.15, 0.5, 0.85))
    assert lower + 30 < equal < higher - 30


def test_a_plane_without_any_dose_is_drawn_all_the_same() -> None:
    away = image_from_zyx(np.ones((4, 4, 4), np.float32), origin=(500.0, 500.0, 500.0), spacing=(2.0, 2.0, 2.0))
    assert pixels(isodose_figure(plane("axial"), AIR, away, scene(), HALF)).size
    assert pixels(map_figure(plane("axial"), away, scene(), ColourScale(style.SIGMA_MAP, 0, 4, "%"))).size


def test_the_stamp_is_on_every_kind_of_figure() -> None:
    scale = ColourScale(style.SIGMA_MAP, 0, 4, "%")
    for draw in (
        lambda stamp: isodose_figure(plane("axial"), AIR, NO_DOSE, scene(stamp=stamp), HALF),
        lambda stamp: map_figure(plane("axial"), NO_DOSE, scene(stamp=stamp), scale),
        lambda stamp: dvh_figure([series()], 10.0, stamp, narrow=False),
    ):
        assert draw("") != draw("not for clinical use")


def test_the_same_case_is_drawn_in_the_same_bytes() -> None:
    scale = ColourScale(style.SIGMA_MAP, 0, 4, "%")
    ramp = volume(0.1 * AXIS[None, None, :])
    for draw in (
        lambda: isodose_figure(plane("axial"), AIR, ramp, scene(Overlay("ramp", "A", (), ramp)), HALF),
        lambda: map_figure(plane("axial"), ramp, scene(), scale),
        lambda: dvh_figure([series(tps=True), series()], 10.0, "", narrow=False),
    ):
        assert draw() == draw()


def curve(points: int = 50, sigma: bool = True) -> DvhCurve:
    dose = np.linspace(0, 10, points)
    volume_fraction = np.clip(1.2 - dose / 8, 0, 1)
    return DvhCurve(
        dose_gy=tuple(dose),
        volume_fraction=tuple(volume_fraction),
        volume_fraction_sigma=tuple(np.full(points, 0.01)) if sigma else None,
    )


def series(*, tps: bool = False, sigma: bool = True, points: int = 50) -> DvhSeries:
    return DvhSeries("#0072B2", "o", curve(points, sigma), curve(points, sigma=False) if tps else None)


@pytest.mark.parametrize("sigma", [True, False])
def test_a_band_is_drawn_only_where_there_is_a_standard_deviation(sigma: bool) -> None:
    text = svg(dvh_figure([series(sigma=sigma)], 10.0, "", narrow=False))
    assert ("fill-opacity: 0.25" in text) is sigma


@pytest.mark.parametrize("tps", [True, False])
def test_the_tps_curve_is_dashed(tps: bool) -> None:
    text = svg(dvh_figure([series(tps=tps)], 10.0, "", narrow=False))
    assert (text.count("stroke-dasharray") == 1) is tps


def test_a_curve_ends_where_no_volume_is_left() -> None:
    assert end_of_curve(curve(1001)) == pytest.approx(9.6, abs=0.03)


def test_a_curve_of_very_many_points_stays_small_and_keeps_its_shape() -> None:
    few, many = (len(svg(dvh_figure([series(points=n)], 10.0, "", narrow=False))) for n in (400, 100_000))
    assert many < 1.3 * few


def test_a_curve_of_zeros_is_drawn_without_complaint() -> None:
    nothing = DvhCurve(dose_gy=(0.0, 1.0), volume_fraction=(0.0, 0.0), volume_fraction_sigma=None)
    assert svg(dvh_figure([DvhSeries("#000000", "o", nothing, None)], 1.0, "", narrow=True))


def lightness(colour: str) -> float:
    """CIE lightness L* of an sRGB colour."""
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return 116 * float(linear @ (0.2126, 0.7152, 0.0722)) ** (1 / 3) - 16


def test_isodose_colours_rise_in_lightness_so_that_their_order_survives_in_grey() -> None:
    steps = np.diff([lightness(colour) for colour in style.ISODOSE_COLOURS])
    assert steps.min() > 5


def test_curves_of_one_chart_differ_in_marker_and_colour() -> None:
    assert len(set(style.MARKERS)) == len(set(style.OKABE_ITO)) == style.CURVES_PER_CHART
    assert len(set(style.DASHES)) == style.STRUCTURES_ON_CT
