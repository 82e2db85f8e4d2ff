"""Where a ray lies on the map, which colour it has, and what is drawn at all."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from made_results import Written
from PIL import Image

from gatecheck.report import style
from gatecheck.report.compared import SurfaceTable
from gatecheck.report.figures import ColourScale
from gatecheck.report.inputs import read_inputs
from gatecheck.report.interface_figures import draw_interface, limit_of_scale, map_angles, surface_map_figure

# A point to each side, LPS mm, about a middle of its own: left, right, posterior, anterior, head, feet.
_SIDES = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
_MIDDLE = np.array([10.0, -20.0, 30.0])
_SCALE = ColourScale(style.DIFFERENCE_MAP, -1.0, 1.0, "mm")


def test_the_patients_front_is_in_the_middle_and_left_at_the_right() -> None:
    longitude, latitude = map_angles(_MIDDLE + 5 * _SIDES)
    assert longitude[0] == pytest.approx(np.pi / 2)
    assert longitude[1] == pytest.approx(-np.pi / 2)
    assert abs(longitude[2]) == pytest.approx(np.pi)
    assert longitude[3] == pytest.approx(0.0)
    assert latitude == pytest.approx([0, 0, 0, 0, np.pi / 2, -np.pi / 2])


def _drawn(agreement: float, direction: int) -> np.ndarray:
    """The map of twenty rays of one side with one agreement, all other rays not met, as RGB."""
    near = _MIDDLE + 5 * _SIDES[direction] + np.random.default_rng(1).normal(0, 0.8, (20, 3))
    points = np.concatenate([near, 2 * _MIDDLE - near])  # so that the middle is where it should be
    values = np.concatenate([np.full(20, agreement), np.full(20, np.nan)])
    table = SurfaceTable(points, {50.0: values}, {50.0: np.full(40, 0.01)})
    image = surface_map_figure(table, 50.0, _SCALE, "")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image.split(",")[1]))).convert("RGB")).astype(int)


def _centre_of(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[float, float]:
    """Across and down, of the map's width and height, without the colour scale below."""
    upper = picture[: int(0.75 * len(picture))]
    rows, columns = np.nonzero(np.abs(upper - np.array(colour)).sum(axis=2) < 30)
    assert len(rows) > 20
    return columns.mean() / picture.shape[1], rows.mean() / len(picture)


YELLOW, BLUE = (254, 232, 56), (0, 34, 78)


@pytest.mark.parametrize(("direction", "across"), [(0, 0.72), (1, 0.28), (3, 0.5)])
def test_a_ray_is_drawn_where_it_lies(direction: int, across: float) -> None:
    assert _centre_of(_drawn(5.0, direction), YELLOW)[0] == pytest.approx(across, abs=0.05)


def test_the_head_is_above_and_further_in_is_dark() -> None:
    assert _centre_of(_drawn(-5.0, 4), BLUE)[1] < 0.15
    assert _centre_of(_drawn(-5.0, 5), BLUE)[1] > 0.55


def test_the_scale_holds_the_95th_percentiles_and_never_less_than_a_mm(with_tps: Written) -> None:
    isodoses = with_tps.summary.interface.tumours[0].isodoses
    assert limit_of_scale(isodoses) == 1.5  # 1.15 mm as computed
    assert limit_of_scale(()) == 1.0


def test_what_is_not_there_is_not_drawn(with_tps: Written, without_tps: Written) -> None:
    for written, maps in ((with_tps, 3), (without_tps, 0)):
        compared = read_inputs(written.made.layout, written.made.calibration).compared
        drawn = draw_interface(compared.interface.tumours[0], compared.surface_maps[0], "")
        assert len(drawn.maps) == maps
        assert drawn.chart_wide.startswith("data:image/svg+xml")
    bare = compared.interface.tumours[0].model_copy(update={"shells": ()})
    nothing = draw_interface(bare, None, "")
    assert (nothing.maps, nothing.chart_wide, nothing.regions) == ((), "", ())
