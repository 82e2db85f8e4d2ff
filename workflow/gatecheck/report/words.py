"""Numbers as a physicist reads them: the filters of the HTML template."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gatecheck.compare.model import Metric
from gatecheck.report import compared_words
from gatecheck.report.numbers import MINUS, NO_BREAK, THIN, number, power, signed, significant
from gatecheck.report.summary import AxisRange, Summary, SummaryBeam
from gatecheck.transport.model import PhaseSpaceUse, Precision

WHOLE_REGION = "body voxels of the joined grid above half the maximum, coarse ones as often as fine ones fit in them"
"""Which voxels the other mean relative sigma, that a run is not ended by, is of."""

_STILL = 0.05  # degrees or mm: less than the last digit written

_TECHNIQUES = {
    "static": "static",
    "step-and-shoot": "step and shoot",
    "sliding-window": "sliding window",
    "conformal-arc": "conformal arc",
    "vmat": "VMAT",
}


def gray(metric: Metric) -> str:
    """A dose with its standard deviation, Gy."""
    value = number(metric.value, 2)
    if metric.sigma is None:
        return value
    sigma = "<" + THIN + "0.01" if 0 < metric.sigma < 0.005 else number(metric.sigma, 2)
    return f"{value}{NO_BREAK}±{NO_BREAK}{sigma}"


def millilitres(value: float) -> str:
    """A volume with the digits that a small target needs."""
    return number(value, 3 if value < 1 else 2 if value < 10 else 1)


def percent(fraction: float, digits: int = 2) -> str:
    return f"{number(100 * fraction, digits)}{THIN}%"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{number(seconds)}{THIN}s"
    if seconds < 7200:
        return f"{number(seconds / 60, 1)}{THIN}min"
    return f"{number(seconds / 3600, 1)}{THIN}h"


def technique(name: str) -> str:
    return _TECHNIQUES.get(name, name)


def energy(beam: SummaryBeam) -> str:
    mode = "" if beam.fluence_mode.upper() == "STANDARD" else f" {beam.fluence_mode}"
    return f"{beam.nominal_energy_mv:g}{THIN}MV{mode}"


def angle(axis: AxisRange, *, moves_have_direction: bool = False) -> str:
    """Start, stop, direction and extent of a rotation; one angle where nothing turns."""
    span = axis.highest - axis.lowest
    if span < _STILL:
        return _degrees(axis.start)
    text = f"{_degrees(axis.start)} → {_degrees(axis.stop)}"
    turned = axis.stop - axis.start
    if span - abs(turned) > _STILL:
        return f"{text}, back and forth over {number(span, 1)}°"
    sense = ("clockwise" if turned > 0 else "counter-clockwise") + " " if moves_have_direction else ""
    return f"{text}, {sense}{number(abs(turned), 1)}°"


def gantry(axis: AxisRange) -> str:
    """As `angle`; clockwise as seen from in front of the gantry is towards larger angles (IEC 61217)."""
    return angle(axis, moves_have_direction=True)


def jaw(axis: AxisRange) -> str:
    """A jaw's position, or the positions between which it moves, mm."""
    if axis.highest - axis.lowest < _STILL:
        return number(axis.start, 1)
    return f"{number(axis.lowest, 1)} to {number(axis.highest, 1)}"


def position(point: tuple[float, float, float]) -> str:
    return ", ".join(number(value, 1) for value in point)


def recorded_source(use: PhaseSpaceUse) -> str:
    """A phase space and how much of it was used."""
    held = f"{number(use.particles)} particles of {number(use.histories)} histories"
    each = f"{number(use.histories_used)} of the histories used {_times(use.recycle)} each"
    turned = ", each use turned about the beam axis by an angle of its own" if use.rotate else ""
    return f"{_files(use.files)} with {held}; {each}{turned}"


def latent(use: PhaseSpaceUse) -> str:
    """The latent relative sigma of each square, and that no simulation lowers it."""
    squares = "; ".join(
        f"{side}{THIN}mm: {'no photon crosses it' if sigma is None else percent(sigma)}"
        for side, sigma in use.latent_relative_sigma.items()
    )
    return (
        f"{squares}: energy fluence in centred squares of this side at the isocentre plane, before jaws and leaves. It "
        "cannot be simulated away: using the same histories more often leaves it as it is, only more histories lower it"
    )


def reached(precision: Precision) -> str:
    """What was to be known how well, and is."""
    what = _PRECISIONS[precision.name]
    if precision.reached is None:
        return f"{what}: not to be had from this case; {precision.wanted:.2g}{THIN}% was wanted"
    missed = "" if precision.is_reached else ", not reached"
    return f"{what}: {precision.reached:.2f}{THIN}%; {precision.wanted:.2g}{THIN}% was wanted{missed}"


def fine_region(voxels: int, spacing: Sequence[float] | None, above_gy: float | None) -> str:
    """Which voxels the sigma that was asked for is the mean of."""
    size = "" if spacing is None else f" of {edges(spacing)}{NO_BREAK}mm"
    least = "half the prescription (without one, half the maximum)"
    above = least if above_gy is None else f"{number(above_gy, 1)}{NO_BREAK}Gy"
    return f"{number(voxels)} fine voxels{size} above {above}"


def edges(lengths: Sequence[float]) -> str:
    """Of a voxel, mm: one for a cube."""
    several = lengths[:1] if len(set(lengths)) == 1 else lengths
    return " \N{MULTIPLICATION SIGN} ".join(f"{length:g}" for length in several)


def mean_sigma(summary: Summary) -> str:
    """The mean relative sigma that was asked for, over what, and how much was wanted."""
    if not summary.fine_voxels:
        return f"{percent(summary.mean_relative_sigma)} (k = 1), of {WHOLE_REGION}; no fine voxel has a dose so high"
    where = fine_region(summary.fine_voxels, summary.fine_spacing, summary.fine_above_gy)
    target = summary.target_relative_sigma
    wanted = "" if target is None else f"; {_wanted(target)} was wanted"
    return f"{percent(summary.fine_relative_sigma)} (k = 1), mean over the {where}{wanted}"


def _wanted(fraction: float) -> str:
    return f"{100 * fraction:.2g}{THIN}%"


def _files(count: int) -> str:
    return f"{count} {'file' if count == 1 else 'files'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{number(count)} times"


def setting_name(key: str) -> str:
    """A key of the configuration or of a JSON file, as words with its unit."""
    words = re.sub(r"[_\s]+", " ", key).strip()
    return re.sub(r" mm$", " (mm)", re.sub(r"\b(mu|ct|tps|mc)\b", lambda found: found[0].upper(), words))


def setting_value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}".replace("-", MINUS)


def hash_groups(digest: str) -> str:
    """A hash with break opportunities, so that it wraps on a narrow screen."""
    return "\N{ZERO WIDTH SPACE}".join(digest[start : start + 8] for start in range(0, len(digest), 8))


def _degrees(value: float) -> str:
    return f"{number(round(value, 1) % 360, 1)}°"


_SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
_PRECISIONS = {
    "relative_sigma": f"Mean relative {_SIGMA} (k = 1) of the fine voxels above half the prescription",
    "cord_d003cc": f"D0.03{THIN}cc of the cord, half of its 95{THIN}% interval, of the prescription",
    "tumour_d95": f"D95{THIN}% of the tumour, half of its 95{THIN}% interval, of the prescription",
    "shell_means": f"Means of the shells, half of the widest 95{THIN}% interval, of the prescription",
}

FILTERS = {
    function.__name__: function
    for function in (
        number,
        signed,
        significant,
        power,
        gray,
        millilitres,
        percent,
        duration,
        technique,
        energy,
        angle,
        gantry,
        jaw,
        position,
        recorded_source,
        latent,
        mean_sigma,
        setting_name,
        setting_value,
        hash_groups,
        reached,
    )
} | compared_words.FILTERS
