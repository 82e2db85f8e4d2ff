"""docs/images/report.png: the beginning of a report, as a browser draws it.

`python docs/site/picture.py results/demo/report/report.html` (or `make docs-picture`) needs a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).resolve().parents[1] / "images" / "report.png"
LARGEST = 300_000  # bytes
WIDTH, HEIGHT = 1280, 1500
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_COLOURS = (256, 128, 64)
_QUIET = (
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
)


def draw(report: Path, target: Path) -> None:
    """Draw the beginning of a report, in as many colours as fit into LARGEST bytes.

    Raises
    ------
    SystemExit
        When there is no report, no browser, or the picture does not fit.
    """
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"picture: none of {', '.join(_BROWSERS)} found on the PATH.")
    if not report.is_file():
        raise SystemExit(f"picture: {report} is not there. Run make demo first, or name another report.")
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "taken.png"
        words = [f"--user-data-dir={folder}/browser", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={taken}"]
        subprocess.run(
            [browser, *_QUIET, *words, report.resolve().as_uri()], check=True, capture_output=True, timeout=120
        )
        with Image.open(taken) as image:
            whole = image.convert("RGB")
    for colours in _COLOURS:
        whole.quantize(colours, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size < LARGEST:
            return
    raise SystemExit(f"picture: {target.stat().st_size} bytes found, expected less than {LARGEST}.")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), PICTURE)
