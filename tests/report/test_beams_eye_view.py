"""Beam's-eye views: what is drawn, where it is drawn, which control points, and how it stands in the report."""

from __future__ import annotations

import base64
import io
import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from made_results import MadeResults, Wanted, Written, make_results
from PIL import Image

from gatecheck.config import ReportConfig
from gatecheck.delivery.model import BeamTimeline, Delivery, MachineState
from gatecheck.errors import InputError, ResultError
from gatecheck.files import image_from_zyx, read_json, write_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.acceptance import Acceptance
from gatecheck.linac.load import load_linac_model
from gatecheck.linac.model import LinacModel
from gatecheck.report import case_beams_eye_views as views
from gatecheck.report.beams_eye_view import (
    JAW_COLOUR,
    STRUCTURE_COLOUR,
    BeamsEyeView,
    Window,
    leaf_shadows,
    view_as_data_uri,
    view_figure,
    write_view,
)
from gatecheck.report.case_beams_eye_views import (
    Moment,
    ViewRequest,
    moments_of_thirds,
    view_of,
    window_of,
    write_views,
)
from gatecheck.report.figures import Overlay
from gatecheck.report.html import write_report
from gatecheck.report.inputs import read_inputs
from gatecheck.report.summary import Summary, summarise
from gatecheck.transport.model import CalibrationResult

MODELS = Path(__file__).resolve().parents[2] / "linac_models"
PAIRS = 60
WINDOW = Window((0.0, 0.0), 120.0)
REPORT_BYTES = 1_000_000
Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def linac() -> LinacModel:
    return load_linac_model(MODELS / "truebeam_stx")


def beam_of(nodes: int = 2, **changes: Any) -> BeamTimeline:
    """Leaves at -32 mm but for pairs 43 to 46 (y from 30 to 40 mm), open from 12 to 38 mm; jaws at 50 mm."""
    leaves = np.full((nodes, 2, PAIRS), -32.0)
    leaves[:, :, 42:46] = [[12.0], [38.0]]
    standard = BeamTimeline(
        number=4,
        name="a name",
        nominal_energy_mv=6,
        fluence_mode="STANDARD",
        meterset=np.linspace(0, 100, nodes),
        gantry=np.zeros(nodes),
        collimator=np.zeros(nodes),
        couch=np.zeros(nodes),
        jaw_x=np.tile([-50.0, 50.0], (nodes, 1)),
        jaw_y=np.tile([-50.0, 50.0], (nodes, 1)),
        leaf_positions=leaves,
        leaf_boundaries=None,
        isocentre=np.zeros((nodes, 3)),
    )
    return replace(standard, **changes)


def marker(centre: tuple[float, float, float], radius: float = 6.0) -> Overlay:
    """A ball at a place of the patient, LPS mm."""
    places = np.arange(-60.0, 61.0)
    x, y, z = places[None, None, :], places[None, :, None], places[:, None, None]
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    mask = image_from_zyx(
        np.clip(0.5 + radius - distance, 0, 1).astype(np.float32), origin=(-60.0, -60.0, -60.0), spacing=(1.0, 1.0, 1.0)
    )
    return Overlay("marker", "A", (), mask)


def drawn(
    linac: LinacModel, beam: BeamTimeline | None = None, overlays: tuple[Overlay, ...] = (), position: str = "HFS"
) -> BeamsEyeView:
    beam = beam or beam_of()
    moment = views.moments_first_middle_last(beam)[0]
    return view_of(beam, moment, WINDOW, linac=linac, overlays=overlays, patient_position=position)


class Picture:
    """The drawing's pixels, by mm of the window."""

    def __init__(self, view: BeamsEyeView, stamp: str = "") -> None:
        kind, content = view_as_data_uri(view, stamp).split(",", 1)
        assert kind == "data:image/png;base64"
        self.bytes = base64.b64decode(content)
        self.colours = np.asarray(Image.open(io.BytesIO(self.bytes)).convert("RGB")).astype(int)
        figure = view_figure(view, stamp)
        self.box = figure.axes[0].get_position()
        self.window = view.window

    def near(self, x: float, y: float, reach: float = 1.0) -> Array:
        """Colours of the pixels round a place, shape (n, 3)."""
        rows, columns = self.colours.shape[:2]
        left, right, bottom, top = self.window.extent
        across = self.box.x0 + (x - left) / (right - left) * self.box.width
        up = self.box.y0 + (y - bottom) / (top - bottom) * self.box.height
        half = max(1, round(reach / self.window.side * self.box.width * columns))
        row, column = round((1 - up) * rows), round(across * columns)
        return self.colours[row - half : row + half + 1, column - half : column + half + 1].reshape(-1, 3)

    def middle_of(self, colour: str, reach: float = 60.0) -> tuple[float, float]:
        """Middle, in mm, of the pixels of a colour inside of the axes."""
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        rows, columns = np.nonzero(np.abs(self.colours - wanted).max(axis=2) < 12)
        height, width = self.colours.shape[:2]
        left, right, bottom, top = self.window.extent
        x = left + ((columns + 0.5) / width - self.box.x0) / self.box.width * (right - left)
        y = bottom + ((1 - (rows + 0.5) / height) - self.box.y0) / self.box.height * (top - bottom)
        assert len(x)
        return float((x.min() + x.max()) / 2), float((y.min() + y.max()) / 2)


def test_the_opening_is_drawn_to_the_right_of_x1_and_above_y1_and_white(linac: LinacModel) -> None:
    picture = Picture(drawn(linac))
    assert picture.near(25, 36).min() == 255
    for x, y in ((-25, 36), (25, -36), (-25, -36), (36, 25)):
        assert picture.near(x, y).max() < 200


@pytest.mark.parametrize("collimator", [0.0, 90.0])
def test_the_collimator_turns_the_patient_in_the_drawing_and_not_the_leaves(
    collimator: float, linac: LinacModel
) -> None:
    """25 mm to the left and 35 mm to the head: behind the opening at collimator 0, beside it at 90."""
    overlay = marker((25.0, 0.0, 35.0))
    beam = beam_of(collimator=np.full(2, collimator))
    picture = Picture(replace(drawn(linac, beam, (replace(overlay, letter=""),)), title=("", "")))
    assert picture.near(17, 37, 0.5).min() == 255
    # Collimator 90: x_b points to the head, y_b to the patient's right.
    expected = (25.0, 35.0) if collimator == 0 else (35.0, -25.0)
    assert picture.middle_of(STRUCTURE_COLOUR) == pytest.approx(expected, abs=0.7)


def test_every_leaf_is_drawn_from_behind_to_its_end_between_its_sides(linac: LinacModel) -> None:
    random = np.random.default_rng(8)
    leaves = np.sort(random.uniform(-50, 50, (2, PAIRS)), axis=0)
    view = drawn(linac, beam_of(leaf_positions=np.stack([leaves, leaves])))
    corners = leaf_shadows(view.edges, WINDOW.extent)
    assert corners.shape == (2 * PAIRS, 4, 2)
    half = linac.machine.mlc.physical_gap_offset / 2
    for bank, shadows in ((0, corners[:PAIRS]), (1, corners[PAIRS:])):
        behind = WINDOW.extent[bank]
        assert np.all(shadows[:, [0, 3], 0] == behind)
        planned = leaves[bank] + (half if bank else -half)
        np.testing.assert_allclose(shadows[:, [1, 2], 0], np.stack([planned, planned], axis=1), atol=1e-6)
    boundaries = np.array(linac.machine.mlc.boundaries)
    assert np.abs(corners[:PAIRS, 0, 1] - boundaries[:-1]).max() < 1.0
    assert np.abs(corners[:PAIRS, 2, 1] - boundaries[1:]).max() < 1.0


def test_only_leaves_that_reach_into_the_window_are_drawn(linac: LinacModel) -> None:
    """Bank X2 is out of the window. Of bank X1 stand 32 + 2 x 4 leaves within 60 mm, and two neighbours' tongues."""
    leaves = np.stack([np.full(PAIRS, 0.0), np.full(PAIRS, 90.0)])
    figure = view_figure(drawn(linac, beam_of(leaf_positions=np.stack([leaves, leaves]))), "")
    polygons = figure.axes[0].collections[0].get_paths()
    assert len(polygons) == 32 + 2 * 4 + 2
    assert max(path.vertices[:, 0].max() for path in polygons) == pytest.approx(0.0, abs=0.1)


def test_jaws_are_drawn_where_they_stand(linac: LinacModel) -> None:
    beam = beam_of(jaw_x=np.tile([-22.0, 41.0], (2, 1)), jaw_y=np.tile([-13.0, 52.0], (2, 1)), leaf_positions=None)
    picture = Picture(replace(drawn(linac, beam), title=("", "")))
    wanted = np.array([int(JAW_COLOUR[i : i + 2], 16) for i in (1, 3, 5)])
    for x, y in ((-22, 30), (41, -30), (10, -13), (10, 52)):
        assert (np.abs(picture.near(x, y, 0.6) - wanted).max(axis=1) < 12).any()
    for x, y in ((22, 30), (-41, -30), (10, 13), (10, -52)):
        assert not (np.abs(picture.near(x, y, 0.6) - wanted).max(axis=1) < 12).any()


def test_axes_are_named_by_iec_and_the_title_says_where_and_when(linac: LinacModel) -> None:
    beam = beam_of(3, gantry=np.array([350.0, 359.98, 370.0]), couch=np.full(3, 12.5), collimator=np.full(3, 30.0))
    moment = views.moments_first_middle_last(beam)[1]
    view = view_of(beam, moment, WINDOW, linac=linac, overlays=(), patient_position="HFS")
    assert view.title[0] == "Beam 4, control point 1 of 0 to 2"
    assert view.title[1] == "50.0 of 100.0 MU, gantry 0.0°, collimator 30.0°, couch 12.5°"
    figure = view_figure(view, "not for clinical use")
    texts = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert (texts["X1"][0] < 0.1, texts["X2"][0] > 0.9) == (True, True)
    assert (texts["Y1"][1] < 0.1, texts["Y2"][1] > 0.9) == (True, True)
    assert "not for clinical use" in texts
    assert [text.get_text() for text in figure.texts] == list(view.title)
    assert "(mm)" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize(
    ("position", "angles", "expected"),
    [
        # Overhead source, head first supine: left to the right, head up; the back points away from the source.
        ("HFS", (0, 0, 0), {"L": (1, 0), "H": (0, 1)}),
        ("FFS", (0, 0, 0), {"L": (-1, 0), "H": (0, -1)}),
        # From the patient's left, x_b points to his back.
        ("HFS", (90, 0, 0), {"P": (1, 0), "H": (0, 1)}),
        ("HFS", (0, 90, 0), {"L": (0, -1), "H": (1, 0)}),
    ],
)
def test_arrows_point_to_the_patients_left_back_and_head(
    position: str, angles: tuple[float, float, float], expected: dict[str, tuple[float, float]], linac: LinacModel
) -> None:
    gantry, collimator, couch = (np.full(2, float(angle)) for angle in angles)
    beam = beam_of(gantry=gantry, collimator=collimator, couch=couch)
    figure = view_figure(drawn(linac, beam, position=position), "")
    foot = np.array(WINDOW.extent)[[0, 2]] + 0.13 * WINDOW.side
    letters = {t.get_text(): np.array(t.get_position()) - foot for t in figure.axes[0].texts if t.get_text() in "LPH"}
    letters.pop("", None)
    assert letters.keys() == expected.keys()
    for letter, direction in expected.items():
        np.testing.assert_allclose(letters[letter] / np.hypot(*letters[letter]), direction, atol=1e-9)


def test_arrows_of_one_direction_have_letters_apart(linac: LinacModel) -> None:
    """At 51 degrees both the left and the back point along x_b."""
    figure = view_figure(drawn(linac, beam_of(gantry=np.full(2, 51.0))), "")
    places = {t.get_text(): np.array(t.get_position()) for t in figure.axes[0].texts}
    assert np.hypot(*(places["L"] - places["P"])) > 0.03 * WINDOW.side


def test_a_structure_outside_of_the_window_is_not_drawn(linac: LinacModel) -> None:
    far = marker((25.0, 0.0, 35.0))
    far.mask.SetOrigin((340.0, -60.0, -60.0))
    figure = view_figure(drawn(linac, overlays=(far,)), "")
    assert "A" not in {text.get_text() for text in figure.axes[0].texts}


def test_a_busy_drawing_is_small_enough_for_twenty_one_in_a_report(linac: LinacModel) -> None:
    random = np.random.default_rng(2)
    leaves = np.sort(random.uniform(-50, 50, (2, PAIRS)), axis=0)
    overlays = tuple(
        replace(marker((0.0, 0.0, 0.0), 8.0 * (n + 1)), letter="ABCDEF"[n], dashes=(5, 2) if n else ())
        for n in range(6)
    )
    view = drawn(linac, beam_of(leaf_positions=np.stack([leaves, leaves])), overlays)
    assert 21 * len(view_as_data_uri(view, "not for clinical use")) < REPORT_BYTES


def test_files_are_png_or_svg_by_their_names(linac: LinacModel, tmp_path: Path) -> None:
    view = drawn(linac)
    write_view(view, tmp_path / "one.png")
    write_view(view, tmp_path / "two.svg")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.format == "PNG"
    text = (tmp_path / "two.svg").read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    assert JAW_COLOUR.lower() in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.svg"]


def test_one_view_drawn_twice_is_the_same_file(linac: LinacModel) -> None:
    assert view_as_data_uri(drawn(linac), "") == view_as_data_uri(drawn(linac), "")


def test_the_window_holds_every_opening_and_a_margin() -> None:
    state = MachineState(0, 0, 0, 0, (-20.0, 10.0), (-60.0, 40.0), None, (0.0, 0.0, 0.0))
    other = replace(state, jaw_x=(-30.0, 5.0))
    window = window_of([state, other])
    assert window.centre == (-10.0, -10.0)
    assert window.side == 120.0
    assert window_of([replace(state, jaw_x=(-1.0, 1.0), jaw_y=(-1.0, 1.0))]).side == 60.0


def test_the_report_shows_the_middle_of_each_third_of_the_meterset() -> None:
    """Meterset rises late: by control points the middle would be another."""
    meterset = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 16.0, 50.0, 70.0, 84.0, 100.0])
    leaves = np.zeros((10, 2, PAIRS)) + np.arange(10.0)[:, None, None]
    beam = beam_of(10, meterset=meterset, leaf_positions=leaves)
    assert [moment.control_point for moment in moments_of_thirds(beam)] == [5, 6, 8]


def test_a_beam_that_stands_still_is_drawn_once() -> None:
    assert [moment.control_point for moment in moments_of_thirds(beam_of(5))] == [1]
    assert len(views.moments_first_middle_last(beam_of(5))) == 1


def test_a_beam_of_which_only_the_gantry_turns_is_drawn_three_times() -> None:
    beam = beam_of(5, gantry=np.linspace(0, 40, 5))
    assert [moment.control_point for moment in views.moments_first_middle_last(beam)] == [0, 2, 4]


@pytest.fixture
def made(tmp_path: Path) -> MadeResults:
    return make_results(tmp_path / "case", Wanted(tps=False, organs=0))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ViewRequest(beam=9), r"--beam 9: the plan's beams with meterset are 1, 2\."),
        (ViewRequest(beam=1, control_point=2), r"--control-point 2: beam 1 has control points 0 to 1, not 2\."),
        (ViewRequest(beam=1, meterset=1e4), r"--meterset 10000: beam 1 runs from 0 to 312\.25 MU\."),
        (ViewRequest(beam=1, meterset=float("nan")), r"--meterset nan: beam 1 runs from 0"),
        (ViewRequest(beam=1, control_point=0, meterset=1.0), "both found, expected one"),
        (ViewRequest(control_point=0), "without --beam"),
        (ViewRequest(out=Path("x.png")), "a file holds one drawing"),
        (ViewRequest(beam=1, control_point=0, out=Path("x.pdf")), r"'x\.pdf' found, expected .*\.png or \.svg"),
    ],
)
def test_a_request_for_what_is_not_there_is_refused_in_one_line(
    request_: ViewRequest, message: str, made: MadeResults, linac: LinacModel
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        write_views(made.layout, linac, request_)
    assert "\n" not in str(refused.value)
    assert not made.layout.report.exists()


def test_without_wishes_every_beams_first_middle_and_last_are_written(made: MadeResults, linac: LinacModel) -> None:
    written = write_views(made.layout, linac, ViewRequest())
    # Beam 1 is an arc of two control points, beam 2 stands still.
    assert [path.name for path in written.files] == [
        "beams-eye-view-beam-1-control-point-000.png",
        "beams-eye-view-beam-1-control-point-001.png",
        "beams-eye-view-beam-2-control-point-000.png",
    ]
    assert all(path.parent == made.layout.report and path.stat().st_size > 5000 for path in written.files)
    assert list(written.letters.items())[:2] == [("A", "GTVp"), ("B", "PTV4140")]


def test_a_delivery_of_another_plan_is_refused(made: MadeResults, linac: LinacModel) -> None:
    write_json(made.layout.case / "case.json", made.case.model_copy(update={"fractions": 3}))
    with pytest.raises(ResultError, match="made from another case"):
        write_views(made.layout, linac, ViewRequest())


@pytest.fixture(scope="module")
def of_same_machine(with_tps: Written, linac: LinacModel) -> LinacModel:
    """The machine that the made case says its dose was made with."""
    sha256 = read_json(with_tps.made.calibration, CalibrationResult).linac_sha256
    return linac.model_copy(update={"content_sha256": sha256})


@pytest.fixture(scope="module")
def with_views(with_tps: Written, of_same_machine: LinacModel, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The made case with its report made anew, with a machine model."""
    folder = tmp_path_factory.mktemp("with views") / "case"
    shutil.copytree(with_tps.made.layout.folder, folder, ignore=shutil.ignore_patterns("report"))
    calibration = folder / with_tps.made.calibration.relative_to(with_tps.made.layout.folder)
    page = write_report(folder, calibration, ReportConfig(), linac=of_same_machine)
    made = replace(with_tps.made, layout=CaseLayout(folder), calibration=calibration)
    return Written(made, page.read_text(encoding="utf-8"), read_json(page.parent / "summary.json", Summary))


def test_the_report_holds_the_views_of_every_beam(with_tps: Written, with_views: Written) -> None:
    html = with_views.html
    section = html[html.index('id="views"') : html.index('id="simulation"')]
    assert section.count("<img ") == 2 + 1
    assert "<h3>Beam 1 · Arc CW</h3>" in section
    assert "<h3>Beam 2 · Field 2 &lt;lat&gt;</h3>" in section
    assert re.search(r"<figcaption>Control point 0 of 0 to 1, 0\.0 of 312\.2 MU, gantry 181\.0°", section)
    assert 'id="views"' not in with_tps.html
    assert len(html) - len(with_tps.html) < 3 * REPORT_BYTES / 21 + 20_000


def test_the_report_warns_of_a_machine_model_until_it_is_accepted(
    with_views: Written, of_same_machine: LinacModel
) -> None:
    machines = tuple({beam.machine_name for beam in with_views.made.case.beams})
    accepted = Acceptance(
        machines=machines,
        accepted_by="A. Physicist",
        accepted_on=date(2026, 5, 4),
        content_sha256=of_same_machine.content_sha256,
    )
    inputs = read_inputs(with_views.made.layout, with_views.made.calibration)
    known = summarise(inputs, linac=of_same_machine, acceptance=accepted).warnings
    summary = with_views.summary
    assert [one.code for one in summary.warnings] == ["machine-not-accepted", *(one.code for one in known)]
    assert f"the report holds {len(known) + 1} warnings" in summary.statement
    assert "<small>accepted for no machine</small>" in with_views.html


def test_the_report_refuses_a_machine_that_the_dose_was_not_made_with(made: MadeResults, linac: LinacModel) -> None:
    with pytest.raises(ResultError, match="truebeam_stx is not the one that the dose was made with"):
        write_report(made.layout.folder, made.calibration, ReportConfig(), linac=linac)
    assert not made.layout.report.exists()


def test_a_moment_between_control_points_says_so(linac: LinacModel) -> None:
    beam = beam_of()
    state = replace(views.moments_first_middle_last(beam)[0].state, meterset=33.3)
    view = view_of(beam, Moment(None, state), WINDOW, linac=linac, overlays=(), patient_position="HFS")
    assert view.title == (
        "Beam 4, between control points",
        "33.3 of 100.0 MU, gantry 0.0°, collimator 0.0°, couch 0.0°",
    )


def test_views_of_a_beam_are_named_after_it(linac: LinacModel) -> None:
    second = beam_of(number=5, name="other")
    delivery = Delivery((beam_of(), second), "HFS", 1, "0")
    sets = [views.views_of_beam(beam, delivery, linac, (), "") for beam in delivery.beams]
    assert [one.title for one in sets] == ["Beam 4 · a name", "Beam 5 · other"]
    assert "120 mm wide" in sets[0].figures[0].description
