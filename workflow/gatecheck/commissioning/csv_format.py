"""Beam data as one long CSV file: one measured point per row, every condition in a column of its own.

The format is described for physicists in docs/commissioning.md; the columns are those of `COLUMNS`. Lines that begin
with `#` are comments, except that `# machine:`, `# beam:`, `# detector:` and `# source:` before the header describe
the data. Points of a curve may stand in any order and between those of others.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning.beam_data import (
    AXES,
    DEEPEST,
    LARGEST_DETECTOR,
    LEAF_GAPS,
    LEAF_TRANSMISSIONS,
    LONGEST_SSD,
    NOT_STATED,
    OUTPUT_FACTORS,
    PERCENT_OF_AXIS,
    PERCENT_OF_MAXIMUM,
    SHORTEST_SSD,
    WIDTHS,
    Axis,
    BeamData,
    DepthDose,
    DosimetricLeafGap,
    JawField,
    LeafTransmission,
    Normalisation,
    OutputFactor,
    Profile,
    ProfileWidth,
    check_line,
)
from gatecheck.commissioning.csv_table import COLUMNS, DESCRIPTIONS, REQUIRED_COLUMNS, Row, read_table
from gatecheck.commissioning.measured import check_width
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_file, write_atomically

FloatArray = npt.NDArray[np.float64]
Measurement = DepthDose | Profile | ProfileWidth | OutputFactor | LeafTransmission | DosimetricLeafGap
Kind = Literal["depth_dose", "profile", "width", "output_factor", "leaf_transmission", "dosimetric_leaf_gap"]

UNITS: dict[str, tuple[str, ...]] = {
    "depth_dose": ("percent_of_maximum", "as_measured"),
    "profile": ("percent_of_axis", "as_measured"),
    "width_50": ("mm",),
    "penumbra_80_20": ("mm",),
    "output_factor": ("ratio",),
    "leaf_transmission": ("ratio",),
    "dosimetric_leaf_gap": ("mm",),
}
"""The quantities, and the units that each may have."""

_LIMITS = {
    "percent_of_maximum": PERCENT_OF_MAXIMUM,
    "percent_of_axis": PERCENT_OF_AXIS,
    "as_measured": (-math.inf, math.inf),
    "mm": WIDTHS,
    "ratio": OUTPUT_FACTORS,
}
# Of quantities that have narrower or other limits than their unit.
_LIMITS_OF_QUANTITY = {"leaf_transmission": LEAF_TRANSMISSIONS, "dosimetric_leaf_gap": LEAF_GAPS}

_NORMALISATIONS: dict[str, Normalisation] = {
    "percent_of_maximum": "maximum",
    "percent_of_axis": "axis",
    "as_measured": "as measured",
}
_UNIT_OF = {normalisation: unit for unit, normalisation in _NORMALISATIONS.items()}

_KIND_OF: dict[str, Kind] = {
    "depth_dose": "depth_dose",
    "profile": "profile",
    "width_50": "width",
    "penumbra_80_20": "width",
    "output_factor": "output_factor",
    "leaf_transmission": "leaf_transmission",
    "dosimetric_leaf_gap": "dosimetric_leaf_gap",
}

_JAWS = ("jaw_x1_mm", "jaw_x2_mm", "jaw_y1_mm", "jaw_y2_mm")
_REFERENCE = ("reference_x_mm", "reference_y_mm")

_USUAL_REFERENCE = JawField.of_size(100.0, 100.0)

# Columns that say something only of some quantities; a value elsewhere is a mistake.
_ONLY_FOR: dict[str, tuple[str, ...]] = {
    "axis": ("profile", "width_50", "penumbra_80_20"),
    "off_axis_mm": ("profile", "depth_dose"),
    "reference_x_mm": ("output_factor",),
    "reference_y_mm": ("output_factor",),
}

# Sizes stated beside jaw positions have to be theirs.
_SIZE_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class _Conditions:
    """What all points of one curve share; None for what a quantity does not have."""

    quantity: Kind
    jaws: JawField
    source_surface_distance: float
    depth: float | None
    axis: Axis | None
    off_axis: float
    normalisation: Normalisation | None
    detector_diameter: float | None
    reference: JawField | None
    label: str


@dataclass(frozen=True, slots=True)
class _Point:
    """One value with the row that it comes from."""

    row: Row
    quantity: str
    place: float
    value: float
    sigma: float | None


def read_csv(path: Path) -> BeamData:
    """Read beam data.

    Raises
    ------
    InputError
        Naming file, line and column, what was found and what was expected.
    """
    table = read_table(path)
    curves: dict[_Conditions, list[_Point]] = {}
    for row in table.rows:
        conditions, point = _parsed(row)
        curves.setdefault(conditions, []).append(point)
    if not curves:
        raise InputError(f"{path.name}: no row of data found, expected one or more below the header.")
    made = [_measurement(conditions, points) for conditions, points in curves.items()]
    return BeamData(
        machine=table.machine,
        beam=table.beam,
        detector=table.detector,
        source=table.source,
        sha256=sha256_of_file(path),
        depth_doses=tuple(m for m in made if isinstance(m, DepthDose)),
        profiles=tuple(m for m in made if isinstance(m, Profile)),
        widths=tuple(m for m in made if isinstance(m, ProfileWidth)),
        output_factors=tuple(m for m in made if isinstance(m, OutputFactor)),
        leaf_transmissions=tuple(m for m in made if isinstance(m, LeafTransmission)),
        leaf_gaps=tuple(m for m in made if isinstance(m, DosimetricLeafGap)),
    )


# Cells to points


def _parsed(row: Row) -> tuple[_Conditions, _Point]:
    quantity = row.text("quantity", tuple(UNITS))
    unit = row.text("unit", UNITS[quantity])
    for column, quantities in _ONLY_FOR.items():
        if row.has(column) and quantity not in quantities:
            raise row.refuse(column, f"an empty cell: it says nothing of {quantity}")
    axis = cast(Axis, row.text("axis", AXES)) if quantity in _ONLY_FOR["axis"] else None
    depth = row.number("depth_mm", 0, DEEPEST)
    off_axis = _off_axis(row, quantity, axis)
    conditions = _Conditions(
        quantity=_KIND_OF[quantity],
        jaws=_jaws(row),
        source_surface_distance=row.number("ssd_mm", SHORTEST_SSD, LONGEST_SSD),
        depth=None if quantity == "depth_dose" else depth,
        axis=axis,
        off_axis=off_axis if quantity == "depth_dose" else 0.0,
        normalisation=_NORMALISATIONS.get(unit),
        detector_diameter=row.optional_number("detector_mm", 0, LARGEST_DETECTOR),
        reference=_reference(row) if quantity == "output_factor" else None,
        label=_label(row),
    )
    place = depth if quantity == "depth_dose" else off_axis
    value = row.number("value", *_LIMITS_OF_QUANTITY.get(quantity, _LIMITS[unit]))
    return conditions, _Point(row, quantity, place, value, row.optional_number("sigma", 0))


def _off_axis(row: Row, quantity: str, axis: Axis | None) -> float:
    if quantity == "profile":
        return row.number("off_axis_mm", 0 if axis == "mean" else -DEEPEST, DEEPEST)
    return row.optional_number("off_axis_mm", -DEEPEST, DEEPEST) or 0.0


def _label(row: Row) -> str:
    label = row.cells.get("label", "")
    try:
        check_line("label", label)
    except ValueError:
        raise row.refuse("label", "printable text without doubled blanks") from None
    return label


def _jaws(row: Row) -> JawField:
    size_x, size_y = row.number("field_x_mm"), row.number("field_y_mm")
    if not any(row.has(column) for column in _JAWS):
        return _checked_jaws(row, "field_x_mm", lambda: JawField.of_size(size_x, size_y))
    x1, x2, y1, y2 = (row.number(column) for column in _JAWS)
    jaws = _checked_jaws(row, "jaw_x1_mm", lambda: JawField(x1=x1, x2=x2, y1=y1, y2=y2))
    for column, size, found in (("field_x_mm", jaws.size_x, size_x), ("field_y_mm", jaws.size_y, size_y)):
        if abs(size - found) > _SIZE_TOLERANCE:
            raise row.refuse(column, f"{size:g} between the jaws of this row")
    return jaws


def _reference(row: Row) -> JawField:
    if not any(row.has(column) for column in _REFERENCE):
        return _USUAL_REFERENCE
    size_x, size_y = (row.number(column) for column in _REFERENCE)
    return _checked_jaws(row, "reference_x_mm", lambda: JawField.of_size(size_x, size_y))


def _checked_jaws(row: Row, column: str, make: Callable[[], JawField]) -> JawField:
    try:
        return make()
    except ValueError as error:
        raise InputError(f"{row.file}, line {row.line}, column {column}: {error}.") from error


# Points to measurements


def _measurement(conditions: _Conditions, points: list[_Point]) -> Measurement:
    points = sorted(points, key=lambda point: (point.quantity, point.place))
    for earlier, later in pairwise(points):
        if (earlier.quantity, earlier.place) == (later.quantity, later.place):
            first, second = sorted((earlier, later), key=lambda point: point.row.line)
            raise InputError(
                f"{second.row.file}, line {second.row.line}, column value: the same point as line {first.row.line} "
                "found, expected once. Tell repeated measurements apart by the column label."
            )
    try:
        made = _MAKERS[conditions.quantity](conditions, points)
        if isinstance(made, Profile):
            check_width(made)
    except ValueError as error:
        first_line, last_line = (f(point.row.line for point in points) for f in (min, max))
        where = f"line {first_line}" if first_line == last_line else f"lines {first_line} to {last_line}"
        raise InputError(f"{points[0].row.file}, {where}, {_name(conditions)}: {error}.") from error
    return made


def _name(conditions: _Conditions) -> str:
    depth = "" if conditions.depth is None else f" at {conditions.depth:g} mm depth"
    return f"{conditions.quantity} of {conditions.jaws}{depth}"


def _depth_dose(conditions: _Conditions, points: list[_Point]) -> DepthDose:
    return DepthDose(
        jaws=conditions.jaws,
        source_surface_distance=conditions.source_surface_distance,
        detector_diameter=conditions.detector_diameter,
        label=conditions.label,
        depth=np.array([point.place for point in points]),
        dose=np.array([point.value for point in points]),
        sigma=_sigmas(points),
        normalisation=conditions.normalisation or "maximum",
        off_axis=conditions.off_axis,
    )


def _profile(conditions: _Conditions, points: list[_Point]) -> Profile:
    assert conditions.depth is not None
    assert conditions.axis is not None
    return Profile(
        jaws=conditions.jaws,
        source_surface_distance=conditions.source_surface_distance,
        detector_diameter=conditions.detector_diameter,
        label=conditions.label,
        depth=conditions.depth,
        axis=conditions.axis,
        position=np.array([point.place for point in points]),
        dose=np.array([point.value for point in points]),
        sigma=_sigmas(points),
        normalisation=conditions.normalisation or "axis",
    )


def _width(conditions: _Conditions, points: list[_Point]) -> ProfileWidth:
    assert conditions.depth is not None
    assert conditions.axis is not None
    by_quantity = {point.quantity: point for point in points}
    width, fall = by_quantity.get("width_50"), by_quantity.get("penumbra_80_20")
    return ProfileWidth(
        jaws=conditions.jaws,
        source_surface_distance=conditions.source_surface_distance,
        detector_diameter=conditions.detector_diameter,
        label=conditions.label,
        depth=conditions.depth,
        axis=conditions.axis,
        width_50=width.value if width else None,
        penumbra_80_20=fall.value if fall else None,
        width_sigma=width.sigma if width else None,
        penumbra_sigma=fall.sigma if fall else None,
    )


def _output_factor(conditions: _Conditions, points: list[_Point]) -> OutputFactor:
    assert conditions.depth is not None
    assert conditions.reference is not None
    return OutputFactor(
        jaws=conditions.jaws,
        source_surface_distance=conditions.source_surface_distance,
        detector_diameter=conditions.detector_diameter,
        label=conditions.label,
        depth=conditions.depth,
        value=points[0].value,
        sigma=points[0].sigma,
        reference=conditions.reference,
    )


def _leaf_transmission(conditions: _Conditions, points: list[_Point]) -> LeafTransmission:
    assert conditions.depth is not None
    return LeafTransmission(
        jaws=conditions.jaws,
        source_surface_distance=conditions.source_surface_distance,
        detector_diameter=conditions.detector_diameter,
        label=conditions.label,
        depth=conditions.depth,
        value=points[0].value,
        sigma=points[0].sigma,
    )


def _dosimetric_leaf_gap(conditions: _Conditions, points: list[_Point]) -> DosimetricLeafGap:
    assert conditions.depth is not None
    return DosimetricLeafGap(
        jaws=conditions.jaws,
        source_surface_distance=conditions.source_surface_distance,
        detector_diameter=conditions.detector_diameter,
        label=conditions.label,
        depth=conditions.depth,
        value=points[0].value,
        sigma=points[0].sigma,
    )


_MAKERS: dict[str, Callable[[_Conditions, list[_Point]], Measurement]] = {
    "depth_dose": _depth_dose,
    "profile": _profile,
    "width": _width,
    "output_factor": _output_factor,
    "leaf_transmission": _leaf_transmission,
    "dosimetric_leaf_gap": _dosimetric_leaf_gap,
}


def _sigmas(points: list[_Point]) -> FloatArray | None:
    """All or none: a curve of which only some points have a sigma can't be weighed."""
    given = [point.sigma for point in points if point.sigma is not None]
    if given and len(given) < len(points):
        bare = next(point for point in points if point.sigma is None)
        raise bare.row.refuse("sigma", "a number, since other points of the same curve have one")
    return np.array(given) if given else None


# Measurements to lines


def write_csv(path: Path, data: BeamData) -> None:
    """Write beam data so that `read_csv` gives the same measurements back (notes become comments).

    Raises
    ------
    ValueError
        When two measurements share all conditions, so that their points could not be told apart.
    WriteError
        When the file cannot be written.
    """
    text = io.StringIO()
    for key in DESCRIPTIONS:
        if getattr(data, key) != NOT_STATED:
            text.write(f"# {key}: {getattr(data, key)}\n")
    for note in data.notes:
        text.write(f"# Note. {note}\n")
    rows = list(_rows_of(data))
    used = [column for column in COLUMNS if column in REQUIRED_COLUMNS or any(row.get(column) for row in rows)]
    writer = csv.DictWriter(text, used, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with write_atomically(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _rows_of(data: BeamData) -> Iterator[dict[str, str]]:
    written: set[_Conditions] = set()
    measurements: tuple[Measurement, ...] = (
        *data.depth_doses,
        *data.profiles,
        *data.widths,
        *data.output_factors,
        *data.leaf_transmissions,
        *data.leaf_gaps,
    )
    for measurement in measurements:
        conditions = _conditions_of(measurement)
        if conditions in written:
            raise ValueError(f"{_name(conditions)} is there twice; tell them apart by their labels")
        written.add(conditions)
        for quantity, place, value, sigma in _values_of(measurement):
            yield _cells_of(conditions, quantity, place, value, sigma)


def _conditions_of(measurement: Measurement) -> _Conditions:
    return _Conditions(
        quantity=_KINDS[type(measurement)],
        jaws=measurement.jaws,
        source_surface_distance=measurement.source_surface_distance,
        depth=None if isinstance(measurement, DepthDose) else measurement.depth,
        axis=measurement.axis if isinstance(measurement, Profile | ProfileWidth) else None,
        off_axis=measurement.off_axis if isinstance(measurement, DepthDose) else 0.0,
        normalisation=measurement.normalisation if isinstance(measurement, DepthDose | Profile) else None,
        detector_diameter=measurement.detector_diameter,
        reference=measurement.reference if isinstance(measurement, OutputFactor) else None,
        label=measurement.label,
    )


_KINDS: dict[type[Measurement], Kind] = {
    DepthDose: "depth_dose",
    Profile: "profile",
    ProfileWidth: "width",
    OutputFactor: "output_factor",
    LeafTransmission: "leaf_transmission",
    DosimetricLeafGap: "dosimetric_leaf_gap",
}

_Value = tuple[str, float | None, float, float | None]


def _values_of(measurement: Measurement) -> Iterator[_Value]:
    """Quantity, place along the curve, value and sigma of every point."""
    if isinstance(measurement, DepthDose | Profile):
        quantity = _KINDS[type(measurement)]
        places = measurement.depth if isinstance(measurement, DepthDose) else measurement.position
        for index, (place, dose) in enumerate(zip(places, measurement.dose, strict=True)):
            sigma = None if measurement.sigma is None else float(measurement.sigma[index])
            yield quantity, float(place), float(dose), sigma
    elif isinstance(measurement, OutputFactor | LeafTransmission | DosimetricLeafGap):
        yield _KINDS[type(measurement)], None, measurement.value, measurement.sigma
    else:
        if measurement.width_50 is not None:
            yield "width_50", None, measurement.width_50, measurement.width_sigma
        if measurement.penumbra_80_20 is not None:
            yield "penumbra_80_20", None, measurement.penumbra_80_20, measurement.penumbra_sigma


def _cells_of(
    conditions: _Conditions, quantity: str, place: float | None, value: float, sigma: float | None
) -> dict[str, str]:
    jaws, reference = conditions.jaws, conditions.reference
    is_depth_dose = quantity == "depth_dose"
    off_axis = (conditions.off_axis or None) if is_depth_dose else place
    cells: dict[str, float | None] = {
        "field_x_mm": jaws.size_x,
        "field_y_mm": jaws.size_y,
        "ssd_mm": conditions.source_surface_distance,
        "depth_mm": place if is_depth_dose else conditions.depth,
        "off_axis_mm": off_axis,
        "value": value,
        "sigma": sigma,
        "detector_mm": conditions.detector_diameter,
    }
    if not jaws.is_centred:
        cells |= dict(zip(_JAWS, (jaws.x1, jaws.x2, jaws.y1, jaws.y2), strict=True))
    if reference is not None and reference != _USUAL_REFERENCE:
        cells |= dict(zip(_REFERENCE, (reference.size_x, reference.size_y), strict=True))
    unit = _UNIT_OF[conditions.normalisation] if conditions.normalisation else UNITS[quantity][0]
    texts = {"quantity": quantity, "unit": unit, "axis": conditions.axis or "", "label": conditions.label}
    return texts | {column: "" if number is None else _text_of(number) for column, number in cells.items()}


def _text_of(number: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(float(number)).removesuffix(".0")
