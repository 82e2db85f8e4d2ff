"""What a page holds for its slice viewer, read back as a browser does, without one."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from made_results import MadeResults

import gatecheck.report.html
from gatecheck.config import ReportConfig
from gatecheck.report.html import write_report
from gatecheck.report.viewer import GammaLayer, viewer_of
from gatecheck.report.viewer_volumes import NO_VALUE, NOT_REACHED

FloatArray = npt.NDArray[np.float64]


def content_of(html: str) -> dict[str, Any]:
    """The viewer's data."""
    found = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def script_of(html: str) -> str:
    """The viewer's script."""
    found = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert found is not None
    return found[1]


def unpacked(volume: dict[str, Any]) -> FloatArray:
    """Values of a volume, [z, y, x]; NaN and minus infinity as they were given."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(volume["data"])), dtype=np.uint8)
    low, high = planes.reshape(2, *volume["size"][::-1]).astype(np.uint16)
    codes = np.cumsum(low + 256 * high, axis=0, dtype=np.uint16).view(np.int16)
    values = codes * float(volume["step"])
    return np.where(codes == NO_VALUE, np.nan, np.where(codes == NOT_REACHED, -np.inf, values))


def array_at(image: Path, grid: dict[str, Any]) -> FloatArray:
    """An image at the voxels of a viewer's grid, of which it must hold each as one of its own, [z, y, x]."""
    read = sitk.ReadImage(str(image))
    places = []
    for axis in range(3):
        centres = grid["origin"][axis] + grid["spacing"][axis] * np.arange(grid["size"][axis])
        index = (centres - read.GetOrigin()[axis]) / read.GetSpacing()[axis]
        np.testing.assert_allclose(index, index.round(), atol=1e-6)
        places.append(index.round().astype(int))
    values: FloatArray = sitk.GetArrayFromImage(read)[np.ix_(places[2], places[1], places[0])].astype(float)
    return values


def made_gamma(made: MadeResults) -> GammaLayer:
    """0 to 2.2 by x, the half with large y not evaluated, one slice not reached."""
    dose = sitk.ReadImage(str(made.layout.dose / "mc_dose.mha"))
    nx, ny, nz = dose.GetSize()
    gamma = np.broadcast_to(np.linspace(0, 2.2, nx), (nz, ny, nx)).clip(0, 2).copy()
    gamma[:, ny // 2 + 5 :] = np.nan
    gamma[nz // 2 + 4] = -np.inf
    image = sitk.GetImageFromArray(gamma)
    image.CopyInformation(dose)
    return GammaLayer(image, "Gamma 2 %/1 mm, TPS points", "Global, of 40 Gy; the Monte Carlo dose is searched.", 2.0)


def with_gamma(made: MadeResults, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report of a made case with a map of gamma in its viewer."""

    def viewer(*arguments: Any, **settings: Any) -> Any:
        return viewer_of(*arguments, **settings | {"gammas": (made_gamma(made),)})

    monkeypatch.setattr(gatecheck.report.html, "viewer_of", viewer)
    return write_report(made.layout.folder, made.calibration, ReportConfig())
