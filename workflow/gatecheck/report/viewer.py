"""The slice viewer of the report: what it is given, ready to be put into the page.

Nothing is computed: doses, sigma and gamma are those of earlier rooms at the centres of the Monte Carlo's voxels,
rounded by steps that the page states, and what the browser shows as a difference is one of them minus the other.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from markupsafe import Markup
from matplotlib.colors import LinearSegmentedColormap

from gatecheck.compare.gamma import PASS_LIMIT
from gatecheck.errors import WriteError
from gatecheck.files import read_image
from gatecheck.patient.model import Grid
from gatecheck.report import style
from gatecheck.report.case_figures import STAMP, structures_in_drawing_order
from gatecheck.report.figures import Overlay
from gatecheck.report.gamma_figures import FAILING, PASSING
from gatecheck.report.inputs import ReportImages, ReportInputs
from gatecheck.report.numbers import number
from gatecheck.report.planes import Plane, planes_through
from gatecheck.report.style import Normalisation
from gatecheck.report.summary import Summary
from gatecheck.report.viewer_region import Region, nearest_voxel, regions
from gatecheck.report.viewer_volumes import Volume, on_grid, rounded

MOST_CHARACTERS = 5_000_000
"""Of the page, for the data of the viewer; a third of what the whole report may be."""

DOSE_STEP = 1e-4
"""Rounding of doses, of the largest dose in either: a value is off by half of it at most."""
SIGMA_STEP = 1e-4
"""Rounding of sigma, of what 100 % is."""
CT_STEP = 10.0
"""Rounding of CT numbers, HU: a fiftieth of the window."""
GAMMA_STEP = 0.01
_MASK_STEP = 0.01

_GAMMA_COLOURS = "gamma"
_FIRST_FAILING = 128  # of the 256 colours of gamma
_STRUCTURES = 12
_SCRIPTS = ("viewer_volumes.js", "viewer_plane.js", "viewer.js")
_DOSE_OPACITY = 0.55
_HIDDEN_PERCENT = 10.0  # of what 100 % is: doses below are hidden when the viewer opens


@dataclass(frozen=True, slots=True)
class GammaLayer:
    """A map of gamma that `compare` made.

    Attributes
    ----------
    image : sitk.Image
        Axis-aligned, LPS mm; NaN where not evaluated, minus infinity where no dose to compare with was near enough.
    name : str
        Criteria and direction, for the choice of layers.
    words : str
        What it is, in one sentence: whose points, which dose is searched, normalisation, cut-off.
    largest : float
        Larger gammas are given as this.
    """

    image: sitk.Image
    name: str
    words: str
    largest: float


@dataclass(frozen=True, slots=True)
class ViewerLayer:
    """What can be chosen to be shown in colours.

    Attributes
    ----------
    minus : str or None
        Volume that is subtracted.
    factor : float
        By which values are multiplied to be in `unit`.
    low, high : float
        Ends of the colour scale when the viewer opens, in `unit`.
    hidden_below : float
        Smaller magnitudes are not shown when the viewer opens.
    largest : float or None
        Values that are given as this are that or more.
    breaks_at : float or None
        Where the colours jump.
    opacity : float
        Of the colours over the CT, when the viewer opens.
    """

    key: str
    name: str
    volume: str
    unit: str
    colours: str
    low: float
    high: float
    minus: str | None = None
    factor: float = 1.0
    digits: int = 2
    hidden_below: float = 0.0
    percent_of_gy: float | None = None
    largest: float | None = None
    breaks_at: float | None = None
    opacity: float = 0.9


@dataclass(frozen=True, slots=True)
class ViewerPage:
    """The viewer, ready for the template.

    Attributes
    ----------
    data : Markup
        JSON, safe inside a script element.
    script : Markup
    script_hash : str
        Of the script, as a source of the Content-Security-Policy.
    words : str
        What part of the dose is held, on what voxels.
    rounding : str
        By how much values are off at most.
    """

    data: Markup
    script: Markup
    script_hash: str
    layers: tuple[ViewerLayer, ...]
    structures: tuple[Overlay, ...]
    shown_at_first: int
    planes: tuple[Plane, ...]
    gammas: tuple[GammaLayer, ...]
    words: str
    rounding: str
    has_tps: bool


def viewer_of(
    inputs: ReportInputs,
    images: ReportImages,
    summary: Summary,
    scale: Normalisation,
    *,
    overlays: Sequence[Overlay] = (),
    preferred: Sequence[str] = (),
    gammas: Sequence[GammaLayer] = (),
    most_characters: int = MOST_CHARACTERS,
) -> ViewerPage:
    """Prepare the viewer of a case.

    Parameters
    ----------
    overlays : structures of the report's figures, which keep their letters
    preferred : names of the structures that come first
    gammas : maps of gamma, if there are any
    most_characters : what the page may spend on its data: less of the dose is held, or coarser, where there is less

    Raises
    ------
    ResultError
        When an image or mask is missing or damaged.
    WriteError
        When even the smallest part of the dose would be more than the page may hold.
    """
    layers = tuple(_layers(summary, scale, gammas, has_tps=images.tps is not None))
    structures = tuple(_with_others(overlays, inputs, preferred))
    x, y, z = inputs.delivery.beams[0].isocentre[0].tolist()
    planes = planes_through((x, y, z), (x, y, z), 1.0)
    for region in regions(images, inputs.patient, scale.gray):
        grid = region.grid_in(images.dose)
        volumes = _volumes(grid, images, scale, gammas)
        content = {
            "grid": grid.model_dump(),
            "start": nearest_voxel(grid, (x, y, z)),
            "planes": [_plane(plane) for plane in planes],
            "layers": [_layer(layer) for layer in layers],
            "volumes": {key: volume.packed() for key, volume in volumes.items()},
            "structures": [_structure(one, grid) for one in structures],
            "isodoses": [{"percent": one.percent, "gray": one.gray, "colour": one.colour} for one in scale.isodoses],
            "hundredPercentGy": scale.gray,
            "colours": {name: _colours(name) for name in sorted({layer.colours for layer in layers})},
            "window": [style.WINDOW_LEVEL, style.WINDOW_WIDTH],
            "stamp": "" if summary.clinical else STAMP,
        }
        data = _json_in_html(content)
        if len(data) <= most_characters:
            script = "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in _SCRIPTS)
            return ViewerPage(
                data=data,
                script=Markup(script),
                script_hash=csp_hash(script),
                layers=layers,
                structures=structures,
                shown_at_first=len(overlays),
                planes=planes,
                gammas=tuple(gammas),
                words=_words(region, grid, inputs),
                rounding=_rounding(volumes, scale),
                has_tps=images.tps is not None,
            )
    raise WriteError("report.html: the slice viewer does not fit into the page. Please report this.")


def csp_hash(script: str) -> str:
    """The source of a Content-Security-Policy that allows this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}"


def _layers(
    summary: Summary, scale: Normalisation, gammas: Sequence[GammaLayer], *, has_tps: bool
) -> Iterator[ViewerLayer]:
    highest = float(math.ceil(max(scale.gray, scale.isodoses[-1].gray)))
    hidden = round(_HIDDEN_PERCENT / 100 * scale.gray, 2)

    def dose(key: str, name: str) -> ViewerLayer:
        return ViewerLayer(
            key,
            name,
            key,
            "Gy",
            style.DOSE_MAP,
            0.0,
            highest,
            hidden_below=hidden,
            percent_of_gy=scale.gray,
            opacity=_DOSE_OPACITY,
        )

    yield dose("mc", "Monte Carlo dose")
    if has_tps:
        yield dose("tps", "TPS dose")
        limit = round(style.DIFFERENCE_RANGE_PERCENT / 100 * scale.gray, 2)
        yield ViewerLayer(
            "difference",
            "Difference, Monte Carlo \N{MINUS SIGN} TPS",
            "mc",
            "Gy",
            style.DIFFERENCE_MAP,
            -limit,
            limit,
            minus="tps",
            percent_of_gy=scale.gray,
        )
    for place, gamma in enumerate(gammas):
        yield ViewerLayer(
            f"gamma-{place}",
            gamma.name,
            f"gamma-{place}",
            "",
            _GAMMA_COLOURS,
            0.0,
            2.0,
            largest=gamma.largest,
            breaks_at=1.0,
        )
    yield ViewerLayer(
        "sigma",
        "\N{GREEK SMALL LETTER SIGMA} of the Monte Carlo dose",
        "sigma",
        f"% of {number(scale.gray, 2)} Gy, k = 1",
        style.SIGMA_MAP,
        0.0,
        max(1.0, math.ceil(200 * summary.mean_relative_sigma)),
        factor=100 / scale.gray,
    )


def _with_others(overlays: Sequence[Overlay], inputs: ReportInputs, preferred: Sequence[str]) -> Iterator[Overlay]:
    """Those of the figures, and then others under the letters that follow."""
    yield from overlays
    drawn = {overlay.name for overlay in overlays}
    others = (
        (name, structure.mask)
        for name, structure in structures_in_drawing_order(inputs.case.structures, preferred)
        if name not in drawn and structure.mask is not None
    )
    for place, (name, mask) in enumerate(others, start=len(drawn)):
        if place == _STRUCTURES:
            return
        padded = sitk.ConstantPad(read_image(inputs.layout.case / mask), (1, 1, 1), (1, 1, 1), 0.0)
        yield Overlay(name, string.ascii_uppercase[place], style.DASHES[place % len(style.DASHES)], padded)


def _volumes(grid: Grid, images: ReportImages, scale: Normalisation, gammas: Sequence[GammaLayer]) -> dict[str, Volume]:
    """Doses and sigma inside the body; CT and TPS dose interpolated linearly, all else by the nearest voxel."""
    inside = on_grid(images.body, grid, outside=0.0, nearest=True) > 0.5
    nan = float("nan")

    def in_body(image: sitk.Image, *, nearest: bool) -> npt.NDArray[np.float64]:
        return np.where(inside, on_grid(image, grid, outside=nan, nearest=nearest), nan)

    doses = {"mc": in_body(images.dose, nearest=True)}
    if images.tps is not None:
        # As `compare` does for its difference.
        doses["tps"] = in_body(images.tps, nearest=False)
    largest = max(float(np.nanmax(np.abs(dose), initial=0.0)) for dose in doses.values())
    volumes = {key: rounded(dose, DOSE_STEP * (largest or 1.0)) for key, dose in doses.items()}
    volumes["sigma"] = rounded(in_body(images.sigma, nearest=True), SIGMA_STEP * scale.gray)
    volumes["ct"] = rounded(on_grid(images.ct, grid, outside=nan), CT_STEP)
    for place, gamma in enumerate(gammas):
        volumes[f"gamma-{place}"] = rounded_gamma(on_grid(gamma.image, grid, outside=nan, nearest=True))
    return volumes


def rounded_gamma(values_zyx: npt.NDArray[np.float64]) -> Volume:
    """Gamma rounded to `GAMMA_STEP`, but what fails by less than that not to a pass."""
    barely = (values_zyx > PASS_LIMIT) & (values_zyx < 1.0 + GAMMA_STEP)
    return rounded(np.where(barely, 1.0 + GAMMA_STEP, values_zyx), GAMMA_STEP)


def _layer(layer: ViewerLayer) -> dict[str, object]:
    return {
        "key": layer.key,
        "name": layer.name,
        "volume": layer.volume,
        "minus": layer.minus,
        "factor": layer.factor,
        "unit": layer.unit,
        "colours": layer.colours,
        "low": layer.low,
        "high": layer.high,
        "hiddenBelow": layer.hidden_below,
        "digits": layer.digits,
        "percentOfGy": layer.percent_of_gy,
        "largest": layer.largest,
        "breaksAt": layer.breaks_at,
        "opacity": layer.opacity,
    }


def _plane(plane: Plane) -> dict[str, object]:
    return {
        "name": plane.orientation,
        "axes": plane.axes,
        "isDown": plane.vertical_axis_points_down,
        "labels": plane.labels,
    }


def _structure(overlay: Overlay, grid: Grid) -> dict[str, object]:
    """The mask in the part of the grid that holds it; none of it outside of the grid."""
    mask = overlay.mask
    start, stop = [], []
    for axis in range(3):
        first = (mask.GetOrigin()[axis] - grid.origin[axis]) / grid.spacing[axis]
        last = first + (mask.GetSize()[axis] - 1) * mask.GetSpacing()[axis] / grid.spacing[axis]
        start.append(max(0, math.floor(first)))
        stop.append(min(grid.size[axis], math.ceil(last) + 1))
    drawn: dict[str, object] = {"letter": overlay.letter, "name": overlay.name, "dashes": overlay.dashes}
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        return drawn | {"start": None, "mask": None}
    x, y, z = (o + s * n for o, s, n in zip(grid.origin, grid.spacing, start, strict=True))
    nx, ny, nz = (b - a for a, b in zip(start, stop, strict=True))
    part = Grid(size=(nx, ny, nz), spacing=grid.spacing, origin=(x, y, z))
    return drawn | {"start": start, "mask": rounded(on_grid(mask, part, outside=0.0), _MASK_STEP).packed()}


def _colours(name: str) -> str:
    """256 colours, red, green and blue of each, base64; of gamma those of its figures, with a jump in the middle."""
    if name == _GAMMA_COLOURS:
        halves = [LinearSegmentedColormap.from_list(name, ends, N=_FIRST_FAILING) for ends in (PASSING, FAILING)]
        table = np.concatenate([half(np.arange(_FIRST_FAILING), bytes=True)[:, :3] for half in halves])
    else:
        table = mpl.colormaps[name](np.arange(256), bytes=True)[:, :3]
    return base64.b64encode(np.ascontiguousarray(table).tobytes()).decode("ascii")


def _json_in_html(content: object) -> Markup:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _words(region: Region, grid: Grid, inputs: ReportInputs) -> str:
    size = " \N{MULTIPLICATION SIGN} ".join(number(n) for n in grid.size)
    spacing = _lengths(grid.spacing)
    text = f"Held here: {region.words}; {size} voxels of {spacing} mm"
    if region.stride > 1:
        text += (
            f", which are one in {region.stride} of the dose grid's voxels along each axis, each with its own value; "
            "those between are not shown"
        )
    finest = max(inputs.patient.joined_grid.spacing)
    coarse = {_lengths(box.spacing) for box in inputs.patient.boxes if max(box.spacing) > finest}
    if coarse:
        text += f". Where the Monte Carlo's own voxels are larger ({', '.join(sorted(coarse))} mm), they show as blocks"
    return f"{text}."


def _lengths(spacing: Sequence[float]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(f"{length:g}" for length in spacing)


def _upwards(value: float) -> str:
    """One digit, and no less than the value."""
    step = 10.0 ** math.floor(math.log10(value))
    return f"{math.ceil(value / step - 1e-9) * step:.1g}"


def _rounding(volumes: dict[str, Volume], scale: Normalisation) -> str:
    dose = max(volumes[key].step for key in ("mc", "tps") if key in volumes) / 2
    sigma = volumes["sigma"].step / 2
    gammas = [volume.step / 2 for key, volume in volumes.items() if key.startswith("gamma-")]
    parts = itertools.chain(
        [
            f"doses by ±{_upwards(dose)} Gy, their difference by twice that",
            f"\N{GREEK SMALL LETTER SIGMA} by ±{_upwards(100 * sigma / scale.gray)} %",
            f"CT numbers by ±{volumes['ct'].step / 2:g} HU",
        ],
        [f"gamma by ±{max(gammas):g}, just above 1 by {2 * max(gammas):g}, so that none passes by it"]
        if gammas
        else [],
    )
    return ", ".join(parts)
