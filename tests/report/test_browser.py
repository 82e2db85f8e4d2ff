"""The report in a real browser, at the widths of a desk and of a telephone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from made_results import Written

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROBE = """<script>
window.alert = () => { window.alerted = true; };
addEventListener("load", () => {
  const all = [...document.querySelectorAll("body *")], images = [...document.images];
  const named = elements => elements.map(e => e.tagName + "." + e.className + ": " + e.textContent.slice(0, 30));
  const banner = document.querySelector(".banner");
  const found = {
    width: innerWidth,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    wide: named(all.filter(e => e.getBoundingClientRect().right > innerWidth + 1)),
    small: named(all.filter(e => e.innerText && parseFloat(getComputedStyle(e).fontSize) < 11.5)),
    images: images.length,
    blank: images.filter(i => !i.complete || i.naturalWidth === 0).length,
    narrow: images.filter(i => i.parentElement.tagName === "PICTURE").map(i => i.naturalWidth < 400),
    columns: getComputedStyle(document.querySelector(".planes")).gridTemplateColumns.split(" ").length,
    banner: banner && banner.getBoundingClientRect().top,
    alert: Boolean(window.alerted),
  };
  const note = document.createElement("pre");
  note.id = "probe";
  note.textContent = JSON.stringify(found);
  parent.document.body.append(note);
});
</script>"""


@pytest.fixture(scope="session")
def browser() -> str:
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"no browser is installed here (looked for {', '.join(BROWSERS)})")


def run(browser: str, page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def probed(browser: str, html: str, folder: Path, width: int) -> dict[str, Any]:
    """What the page measures of itself in a frame of a width; its own rule against scripts is lifted for that.

    A frame, because a browser's own window does not become as narrow as a telephone.
    """
    opened = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    assert opened != html
    framed = escape(opened.replace("</head>", PROBE + "</head>"))
    page = folder / "page.html"
    page.write_text(f'<!DOCTYPE html><body><iframe width="{width}" height="2000" frameborder="0" srcdoc="{framed}">')
    done = run(browser, page, folder / "profile", "--dump-dom", "--window-size=1400,2400")
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    measured: dict[str, Any] = json.loads(unescape(found[1]))
    return measured


@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (390, 1)])
def test_the_page_fits_its_window_and_every_figure_shows(
    browser: str, with_tps: Written, tmp_path: Path, width: int, columns: int
) -> None:
    found = probed(browser, with_tps.html, tmp_path, width)
    assert found["width"] == width
    assert found["wide"] == []
    assert found["overflow"] == 0
    assert found["blank"] == 0
    assert found["images"] == with_tps.html.count("<img ")
    assert found["columns"] == columns
    assert set(found["narrow"]) == {width == 390}
    assert found["small"] == []
    assert found["alert"] is False
    assert 0 < found["banner"] < 250


def test_the_page_as_it_is_breaks_none_of_its_own_rules(browser: str, with_tps: Written, tmp_path: Path) -> None:
    page = with_tps.made.layout.report / "report.html"
    done = run(browser, page, tmp_path / "profile", "--dump-dom", "--enable-logging=stderr", "--v=0")
    assert "the plan as a whole is not judged" in done.stdout
    assert "CONSOLE" not in done.stderr
    assert "Refused to" not in done.stderr
