"""The slice viewer in a real browser: by mouse, keys and fingers, at the widths of a desk and of a telephone."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import SimpleITK as sitk
from made_results import Wanted, make_results
from matplotlib.image import imread
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from test_browser import BROWSERS
from viewer_pages import content_of, made_gamma, with_gamma

AXIAL, CORONAL, SAGITTAL = 0, 1, 2
SPACING = 4.0  # of made_results' dose grid, mm


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed here (looked for {', '.join(BROWSERS)})")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Report:
    """A report with gamma in its viewer, and the images it was made from by their names in the page."""

    file: Path
    images: dict[str, sitk.Image]

    def at(self, name: str, point: tuple[float, float, float]) -> float:
        image = self.images[name]
        return float(image[image.TransformPhysicalPointToIndex(point)])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    made = make_results(tmp_path_factory.mktemp("viewer") / "case", Wanted(noise_hu=0.0))
    with pytest.MonkeyPatch.context() as patch:
        file = with_gamma(made, patch)
    layout = made.layout
    files = {
        "mc": layout.dose / "mc_dose.mha",
        "sigma": layout.dose / "mc_sigma.mha",
        "tps": layout.case / "tps_dose.mha",
        "ct": layout.case / "ct.mha",
        "body": layout.patient / "body.mha",
    }
    images = {name: sitk.ReadImage(str(path)) for name, path in files.items()}
    return Report(file, images | {"gamma": made_gamma(made).image})


def opened(browser: Browser, file: Path, width: int = 1280, **settings: Any) -> Page:
    page = browser.new_context(viewport={"width": width, "height": 900}, **settings).new_page()
    page.said = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.said.append(message.text))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.said.append(str(error)))  # type: ignore[attr-defined]
    page.on("request", lambda request: page.said.append(request.url) if request.url.startswith("http") else None)  # type: ignore[attr-defined]
    page.goto(file.as_uri())
    return page


def ready(page: Page) -> Page:
    page.wait_for_selector('#viewer[data-ready="true"][data-index]')
    return page


@pytest.fixture
def page(chromium: Browser, report: Report) -> Iterator[Page]:
    found = ready(opened(chromium, report.file))
    yield found
    assert found.said == []  # type: ignore[attr-defined]
    found.context.close()


def drawn(page: Page) -> None:
    """Wait until the page has drawn what it was told."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def index(page: Page) -> list[int]:
    drawn(page)
    return [int(n) for n in page.locator("#viewer").get_attribute("data-index").split(",")]  # type: ignore[union-attr]


def side(page: Page) -> float:
    drawn(page)
    return float(page.locator("#viewer").get_attribute("data-side") or "nan")


def plane(page: Page, number: int) -> Locator:
    return page.locator(f'[data-plane="{number}"]')


def part(page: Page, name: str) -> Locator:
    return page.locator(f'[data-viewer="{name}"]')


def numbers(text: str) -> list[float]:
    return [float(one.replace("\N{MINUS SIGN}", "-")) for one in re.findall(r"[\N{MINUS SIGN}\d.]*\d", text)]


def position(page: Page) -> tuple[float, float, float]:
    drawn(page)
    x, y, z = numbers(part(page, "read-position").inner_text().replace(",", " "))
    return x, y, z


def go(page: Page, place: tuple[int, int, int]) -> None:
    """To voxels along x, y, z, by the sliders."""
    for number, at in ((SAGITTAL, place[0]), (CORONAL, place[1]), (AXIAL, place[2])):
        page.locator(f'[data-slider="{number}"]').fill(str(at))
    assert index(page) == list(place)


def pixels(page: Page, number: int) -> np.ndarray:
    """Red, green and blue of a plane as it is drawn, shape (height, width, 3)."""
    drawn(page)
    url = page.evaluate("n => document.querySelector(`[data-plane=\"${n}\"] canvas`).toDataURL('image/png')", number)
    image = imread(io.BytesIO(base64.b64decode(url.split(",", 1)[1])), format="png")
    return np.rint(255 * image[..., :3]).astype(int)


def coloured(image: np.ndarray) -> np.ndarray:
    return np.ptp(image, axis=2) > 12


def without_lines(page: Page) -> None:
    for name in ("mc", "tps", "structures", "cross"):
        part(page, f"show-{name}").uncheck()


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (390, 1)])
def test_it_opens_fits_and_asks_nobody(chromium: Browser, report: Report, width: int, columns: int) -> None:
    page = ready(opened(chromium, report.file, width))
    assert page.locator("#viewer-message").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    wide = page.evaluate(
        "[...document.querySelectorAll('#viewer *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    styles = page.locator(".viewer-planes").evaluate("e => getComputedStyle(e).gridTemplateColumns")
    assert len(styles.split(" ")) == columns
    small = page.evaluate(
        "[...document.querySelectorAll('#viewer *')].filter(e => e.innerText && "
        "parseFloat(getComputedStyle(e).fontSize) < 11.5).length"
    )
    assert small == 0
    assert page.said == []  # type: ignore[attr-defined]


def test_without_scripts_it_says_what_is_missing(chromium: Browser, report: Report) -> None:
    page = opened(chromium, report.file, java_script_enabled=False)
    assert page.locator("#viewer-message").is_visible()
    assert page.locator("#viewer").is_hidden()


def test_a_browser_that_is_too_old_is_told_so(chromium: Browser, report: Report) -> None:
    context = chromium.new_context()
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    page.goto(report.file.as_uri())
    page.get_by_text("What this browser said: DecompressionStream is not defined").wait_for()
    assert page.locator("#viewer").is_hidden()


def test_a_script_that_was_changed_does_not_run(chromium: Browser, report: Report, tmp_path: Path) -> None:
    text = report.file.read_text(encoding="utf-8")
    changed = text.replace('const AMBER = "#ffd479"', 'const AMBER = "#ffd478"')
    assert changed != text
    (tmp_path / "page.html").write_text(changed, encoding="utf-8")
    page = opened(chromium, tmp_path / "page.html")
    assert page.locator("#viewer").is_hidden()
    assert page.locator("#viewer-message").is_visible()
    assert any("Content Security Policy" in one for one in page.said)  # type: ignore[attr-defined]


def test_it_is_not_printed(page: Page) -> None:
    page.emulate_media(media="print")
    assert page.locator("#viewer-title").is_hidden()
    assert page.locator("#isodoses").is_visible()


# ---------------------------------------------------------------- moving


@pytest.mark.parametrize(
    ("number", "key", "axis", "by"),
    [
        (AXIAL, "PageUp", 2, 1),
        (AXIAL, "PageDown", 2, -1),
        (CORONAL, "PageUp", 1, 1),
        (SAGITTAL, "PageUp", 0, 1),
        (SAGITTAL, "Shift+PageDown", 0, -5),
        (AXIAL, "ArrowRight", 0, 1),  # to the patient's left
        (AXIAL, "ArrowUp", 1, -1),  # to anterior
        (CORONAL, "ArrowUp", 2, 1),  # to the head
        (CORONAL, "ArrowLeft", 0, -1),
        (SAGITTAL, "ArrowRight", 1, 1),  # to posterior
        (SAGITTAL, "ArrowDown", 2, -1),
    ],
)
def test_keys_move_the_cross_hair(page: Page, number: int, key: str, axis: int, by: int) -> None:
    before = index(page)
    plane(page, number).press(key)
    moved = [b - a for a, b in zip(before, index(page), strict=True)]
    assert moved == [by if one == axis else 0 for one in range(3)]


def test_home_and_end_are_the_first_and_the_last_slice(page: Page) -> None:
    plane(page, AXIAL).press("End")
    last = index(page)[2]
    assert last == int(page.locator('[data-slider="0"]').get_attribute("max") or "")
    plane(page, AXIAL).press("PageUp")
    assert index(page)[2] == last
    plane(page, AXIAL).press("Home")
    assert index(page)[2] == 0


@pytest.mark.parametrize(("number", "axis"), [(AXIAL, 2), (CORONAL, 1), (SAGITTAL, 0)])
def test_the_wheel_turns_slices_up_and_down(page: Page, number: int, axis: int) -> None:
    before = index(page)
    plane(page, number).scroll_into_view_if_needed()
    plane(page, number).click()
    before[axis] = index(page)[axis]
    page.mouse.wheel(0, -120)
    page.wait_for_timeout(100)
    assert index(page)[axis] == before[axis] + 1
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(100)
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(100)
    assert index(page)[axis] == before[axis] - 1


def test_the_wheel_goes_on_scrolling_a_page_that_is_scrolled_past(page: Page) -> None:
    turn = """element => {
      const event = new WheelEvent("wheel", {deltaY: 120, bubbles: true, cancelable: true});
      element.dispatchEvent(event);
      return event.defaultPrevented;
    }"""
    page.evaluate("document.activeElement.blur()")
    page.locator("#dvh").evaluate(turn)
    assert plane(page, AXIAL).evaluate(turn) is False
    page.wait_for_timeout(600)
    assert plane(page, AXIAL).evaluate(turn) is True


def test_a_click_in_one_plane_moves_the_others(page: Page, report: Report) -> None:
    before = position(page)
    box = plane(page, AXIAL).bounding_box()
    assert box is not None
    plane(page, AXIAL).click(position={"x": 0.25 * box["width"], "y": 0.4 * box["height"]})
    x, y, z = position(page)
    assert x < before[0] - 20  # the patient's right is on the left
    assert z == before[2]
    words = [page.locator(f'[data-position="{number}"]').inner_text() for number in range(3)]
    assert [numbers(text)[0] for text in words] == pytest.approx([z, y, x])
    for name in ("mc", "tps", "structures"):
        part(page, f"show-{name}").uncheck()
    part(page, "hidden").fill("100")
    for number in (AXIAL, CORONAL, SAGITTAL):
        column, row = seen_at(page, report, number, (x, y, z))
        image = pixels(page, number)
        without = image.sum(axis=2)
        plane(page, number).press("x")
        line = np.abs(without - pixels(page, number).sum(axis=2))  # what the cross-hair alone has drawn
        plane(page, number).press("x")
        assert (np.argmax(line.sum(axis=0)) + 0.5) / len(line) == pytest.approx(column, abs=0.006)
        assert (np.argmax(line.sum(axis=1)) + 0.5) / len(line) == pytest.approx(row, abs=0.006)


# ---------------------------------------------------------------- numbers


def test_the_numbers_at_the_cross_hair_are_those_of_the_images(page: Page, report: Report) -> None:
    sliders = [int(page.locator(f'[data-slider="{n}"]').get_attribute("max") or "") for n in (SAGITTAL, CORONAL, AXIAL)]
    generator = np.random.default_rng(5)
    inside = 0
    for _ in range(12):
        place = tuple(int(generator.integers(top // 5, top - top // 5)) for top in sliders)
        go(page, place)  # type: ignore[arg-type]
        point = position(page)
        if report.at("body", point) == 0:
            assert part(page, "read-mc").inner_text() == "outside of the body"
            continue
        inside += 1
        step = 50 * 1e-4 / 2 + 0.0051  # rounding of the volume and of what is written
        mc, sigma, percent = numbers(part(page, "read-mc").inner_text())
        tps = numbers(part(page, "read-tps").inner_text())[0]
        difference = numbers(part(page, "read-difference").inner_text())[0]
        assert mc == pytest.approx(report.at("mc", point), abs=step)
        assert sigma == pytest.approx(report.at("sigma", point), abs=step)
        assert tps == pytest.approx(report.at("tps", point), abs=step)
        assert difference == pytest.approx(report.at("mc", point) - report.at("tps", point), abs=2 * step)
        assert percent == pytest.approx(100 * report.at("mc", point) / 40.0, abs=0.07)
        assert numbers(part(page, "read-sigma").inner_text())[0] == pytest.approx(100 * sigma / 40, abs=0.03)
        assert_gamma(part(page, "read-gamma-0").inner_text(), report.at("gamma", point))
    assert inside >= 6


def assert_gamma(text: str, expected: float) -> None:
    if np.isnan(expected):
        assert text == "not evaluated"
    elif np.isinf(expected):
        assert text == "not reached: counts as failed"
    else:
        assert numbers(text)[0] == pytest.approx(expected, abs=0.0101)
        assert ("at least" in text) == (expected > 1.99)


def test_the_structures_at_the_cross_hair_are_named(page: Page) -> None:
    assert "GTVp" in part(page, "read-structures").inner_text()
    plane(page, AXIAL).press("Home")
    go(page, (2, 2, 2))
    assert part(page, "read-structures").inner_text() == "none of those listed"


def test_gamma_that_is_not_reached_is_squares_of_black_and_white(page: Page, report: Report) -> None:
    without_lines(page)
    page.locator('[name="viewer-layer"][value="3"]').check()
    image = report.images["gamma"]
    z = image.GetOrigin()[2] + (image.GetSize()[2] // 2 + 4) * SPACING
    while position(page)[2] != z:
        plane(page, AXIAL).press("PageUp" if position(page)[2] < z else "PageDown")
    middle = pixels(page, AXIAL)
    middle = middle[len(middle) // 2 - 40 : len(middle) // 2 + 40, len(middle) // 2 - 40 : len(middle) // 2 + 40]
    black, white = (middle.max(axis=2) < 5).mean(), (middle.min(axis=2) > 250).mean()
    assert black == pytest.approx(0.5, abs=0.1)
    assert white == pytest.approx(0.5, abs=0.1)


# ---------------------------------------------------------------- colours


def test_what_is_below_the_threshold_is_hidden(page: Page) -> None:
    without_lines(page)
    page.locator('[data-viewer="hidden"]').fill("0")
    whole = coloured(pixels(page, AXIAL)).sum()
    page.locator('[data-viewer="hidden"]').fill("20")
    half = coloured(pixels(page, AXIAL)).sum()
    assert "Hidden below 20.00 Gy (50.0" in part(page, "scale-words").inner_text()
    page.locator('[data-viewer="hidden"]').fill("60")
    assert whole > 2 * half > 0
    assert coloured(pixels(page, AXIAL))[60:-60, 60:-60].sum() == 0


def test_a_difference_can_be_hidden_where_there_is_little_dose(page: Page) -> None:
    without_lines(page)
    plane(page, AXIAL).press("3")
    page.locator('[data-viewer="low"]').fill("1")  # all differences but the largest in the lowest colour
    page.locator('[data-viewer="high"]').fill("2")
    whole = coloured(pixels(page, AXIAL)).sum()
    part(page, "dose-hidden").fill("50")
    assert 0 < coloured(pixels(page, AXIAL)).sum() < whole / 2


def test_the_numbers_choose_the_layer_and_its_scale(page: Page) -> None:
    plane(page, AXIAL).press("3")
    assert page.locator('[name="viewer-layer"][value="2"]').is_checked()
    drawn(page)
    assert part(page, "ticks").inner_text().split()[0].startswith("\N{MINUS SIGN}4.00")
    assert "Difference" in part(page, "scale-words").inner_text()
    plane(page, AXIAL).press("5")
    drawn(page)
    assert "% of 40.00 Gy, k = 1" in part(page, "scale-words").inner_text()


def test_another_range_gives_other_colours_and_a_wrong_one_is_marked_and_not_used(page: Page) -> None:
    without_lines(page)
    first = pixels(page, AXIAL)
    part(page, "high").fill("90")
    wider = pixels(page, AXIAL)
    assert np.abs(wider - first).max() > 30
    part(page, "low").fill("95")
    drawn(page)
    assert part(page, "low").get_attribute("aria-invalid") == "true"
    assert part(page, "scale-error").is_visible()
    np.testing.assert_array_equal(pixels(page, AXIAL), wider)
    part(page, "low").fill("0")
    assert part(page, "scale-error").is_hidden()


def seen_at(page: Page, report: Report, number: int, point: tuple[float, float, float]) -> tuple[float, float]:
    """Column and row of a point as shares of a plane that shows the whole grid: R and A at the left, A and H on top."""
    grid = content_of(report.file.read_text(encoding="utf-8"))["grid"]
    x, y, z = (
        (p - o - (n - 1) / 2 * s) / side(page)
        for p, o, n, s in zip(point, grid["origin"], grid["size"], grid["spacing"], strict=True)
    )
    return {AXIAL: (0.5 + x, 0.5 + y), CORONAL: (0.5 + x, 0.5 - z), SAGITTAL: (0.5 + y, 0.5 - z)}[number]


@pytest.mark.parametrize("number", [AXIAL, CORONAL, SAGITTAL])
@pytest.mark.parametrize("shown", [(0, "mc", "plasma"), (2, "difference", "cividis")])
def test_full_opacity_shows_the_colour_of_each_number_where_it_is(
    page: Page, report: Report, number: int, shown: tuple[int, str, str]
) -> None:
    layer, reading, colours = shown
    without_lines(page)
    page.locator(f'[name="viewer-layer"][value="{layer}"]').check()
    part(page, "opacity").fill("100")
    part(page, "hidden").fill("0")
    low, high = (float(part(page, name).input_value()) for name in ("low", "high"))
    table, seen = mpl.colormaps[colours], []
    first = index(page)
    for shift in ((0, 0, 0), (6, -4, 3), (-8, 5, -3), (4, 4, 4)):  # into the fall of the dose, to all sides
        go(page, tuple(a + b for a, b in zip(first, shift, strict=True)))  # type: ignore[arg-type]
        value = numbers(part(page, f"read-{reading}").inner_text())[0]
        expected = [255 * one for one in table(int(np.clip(256 * (value - low) / (high - low), 0, 255)))[:3]]
        column, row = seen_at(page, report, number, position(page))
        image = pixels(page, number)
        np.testing.assert_allclose(image[int(row * len(image)), int(column * len(image))], expected, atol=6)
        seen.append(value)
    assert np.ptp(seen) > 0.2 * (high - low)


# ---------------------------------------------------------------- zoom


@pytest.mark.parametrize(("low", "high"), [(0.0, 2.0), (0.0, 1.0), (0.0, 0.5), (1.0, 3.0), (1.5, 3.0)])
def test_gamma_that_fails_never_has_a_colour_of_passing(page: Page, low: float, high: float) -> None:
    """Whatever the scale: the first 128 colours are those that pass."""
    scale = {"low": low, "high": high, "breaksAt": 1.0}
    for value in (0.0, 0.2, 0.6, 0.99, 1.0, 1.01, 1.2, 1.9, 5.0):
        colour = page.evaluate("([scale, value]) => colourOf(scale, value)", [scale, value])
        assert 0 <= colour <= 255
        assert (colour < 128) == (value <= 1.0)


def test_zoom_pan_and_back(page: Page) -> None:
    whole, first = side(page), pixels(page, CORONAL)
    plane(page, CORONAL).press("+")
    assert side(page) == pytest.approx(0.8 * whole)
    assert np.abs(pixels(page, CORONAL) - first).max() > 50
    part(page, "zoom-in").click()
    assert side(page) == pytest.approx(0.64 * whole)
    zoomed, at = pixels(page, AXIAL), index(page)
    plane(page, AXIAL).press("Shift+ArrowRight")
    assert np.abs(pixels(page, AXIAL) - zoomed).max() > 50
    assert index(page) == at
    plane(page, AXIAL).press("PageUp")
    plane(page, AXIAL).press("0")
    assert side(page) == whole
    assert index(page) == at
    np.testing.assert_array_equal(pixels(page, CORONAL), first)


def test_control_and_wheel_zoom_round_the_pointer(page: Page) -> None:
    whole, at = side(page), index(page)
    plane(page, AXIAL).hover()
    page.wait_for_timeout(500)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -60)
    page.wait_for_timeout(200)
    page.keyboard.up("Control")
    assert side(page) < 0.9 * whole
    assert index(page) == at


def test_shift_and_drag_pan_and_leave_the_cross_hair(page: Page) -> None:
    for _ in range(4):
        plane(page, AXIAL).press("+")
    at, before = index(page), pixels(page, AXIAL)
    box = plane(page, AXIAL).bounding_box()
    assert box is not None
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 150, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 190, box["y"] + 150)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert index(page) == at
    after = pixels(page, AXIAL)
    core = slice(80, 320)  # without the words at the edges
    moved = np.abs(after[core, 120:320] - before[core, 80:280]).mean()
    assert moved < 0.5 * np.abs(after[core, 120:320] - before[core, 120:320]).mean()


def test_lines_are_switched_off_and_on(page: Page) -> None:
    for key, name in (("m", "mc"), ("t", "tps"), ("s", "structures"), ("x", "cross")):
        before = pixels(page, AXIAL)
        plane(page, AXIAL).press(key)
        assert not part(page, f"show-{name}").is_checked()
        assert np.abs(pixels(page, AXIAL) - before).max() > 50, name
        plane(page, AXIAL).press(key)
        np.testing.assert_array_equal(pixels(page, AXIAL), before)


def test_a_structure_is_drawn_when_it_is_ticked(page: Page) -> None:
    before = pixels(page, AXIAL)
    page.locator('[data-structure="0"]').uncheck()
    assert np.abs(pixels(page, AXIAL) - before).max() > 50


# ---------------------------------------------------------------- fingers and readers


def test_a_tap_moves_the_cross_hair_on_a_telephone(chromium: Browser, report: Report) -> None:
    page = ready(opened(chromium, report.file, 390, has_touch=True, is_mobile=True, device_scale_factor=2))
    before = position(page)
    box = plane(page, CORONAL).bounding_box()
    assert box is not None
    plane(page, CORONAL).tap(position={"x": 0.7 * box["width"], "y": 0.4 * box["height"]})
    found = position(page)
    assert found[1] == before[1]
    column, row = seen_at(page, report, CORONAL, found)
    voxel = SPACING / side(page)
    assert (column, row) == pytest.approx((0.7, 0.4), abs=0.51 * voxel + 0.003)
    page.context.close()


def test_every_control_has_a_name_and_every_plane_can_be_reached_by_tab(page: Page) -> None:
    nameless = page.evaluate(
        "[...document.querySelectorAll('#viewer :is(input, button)')].filter(e => !e.labels?.[0]?.textContent.trim() "
        "&& !e.textContent.trim()).length"
    )
    assert nameless == 0
    page.locator('[name="viewer-layer"][value="0"]').focus()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.plane ?? null"))
    assert {"0", "1", "2"} <= set(reached)
    label = plane(page, AXIAL).get_attribute("aria-label") or ""
    assert label.startswith("Axial plane, seen from the feet")
    assert page.locator('[data-slider="0"]').get_attribute("aria-valuetext") == f"z = {position(page)[2]:.1f} mm"
