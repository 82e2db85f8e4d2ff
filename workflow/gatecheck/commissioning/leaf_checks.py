"""What an MLC lets through, as a water tank would show it: transmission, leakage between leaves, dosimetric leaf gap.

SSD 900 mm, about 100 mm deep, the depth of the isocentre plane. Doses are scored along one line per field, in layers
of 10 mm from 50 to 150 mm depth that are joined at the isocentre plane's scale. Every number is a ratio of fields,
which changes little and evenly with depth: over these layers, weighted by dose, it is the ratio at 96 mm.

The tank's bins hold both sides of its own axis together. Profiles here have signs, so the beam's axis is put far
beside the tank's, and all of a field lies on one side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning import leaf_fields
from gatecheck.commissioning.analysis import Estimate
from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.leaf_fields import GAPS, PATTERN_FIELD, Opening
from gatecheck.commissioning.leaf_gap import gap_line
from gatecheck.commissioning.leaf_statistics import Spread, dip, jackknife, opening_edges
from gatecheck.commissioning.water.electron_library import ElectronLibrary
from gatecheck.commissioning.water.source_basis import BeamSampling
from gatecheck.commissioning.water.tank import TankSetup, detectors_for, simulate_field
from gatecheck.delivery.model import Delivery
from gatecheck.linac.model import LinacModel
from gatecheck.transport.fast_head.tables import source_of
from gatecheck.transport.process import run_in_processes

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
PatientAxis = Literal["x", "z"]

SOURCE_SURFACE_DISTANCE = 900.0
DEPTH = 100.0
LAYERS = tuple(float(depth) for depth in range(55, 146, 10))
SHALLOW = 15.0
"""mm: of the layer in which the cold line is looked at as film in the depth of maximum shows it."""
REGION = 40.0
"""mm: mean doses are those of a square of twice this side on the axis."""

BATCHES = 20
_HALF_LAYER = 5.0
_DEEPEST = 160.0
_BESIDE = 130.0  # mm from the tank's axis to the beam's
_STEP = 0.25
_PATTERN_STEP = 0.5
_UNIFORM_WITHIN = 40.0  # mm from the axis along y: away from the jaws' penumbra
_NEAR = 0.2  # of a leaf's width on both sides of a boundary or a middle
_JUNCTION_WITHIN = 10.0
_SEED = 30_001

# Source photons of each field, in all, for sigmas of about 1 % of the transmission and 0.03 mm of the leaf gap.
PHOTONS: Mapping[str, int] = {
    "open": 6_000_000,
    "closed": 16_000_000,
    "gap": 8_000_000,
    "interdigitated": 4_000_000,
    "half": 8_000_000,
    "pattern": 8_000_000,
}
COLLIMATORS = (0.0, 90.0)


@dataclass(frozen=True, slots=True)
class LineDose:
    """Dose along a line through a field, batch by batch.

    Attributes
    ----------
    position : ndarray of shape (n,)
        From the beam's axis along an axis of the patient's system, mm at the isocentre plane.
    batches : ndarray of shape (n_batches, n)
        MeV/g per nominal photon, mean of all layers.
    shallow : ndarray of shape (n_batches, n)
        The same 15 mm deep.
    """

    position: FloatArray
    batches: FloatArray
    shallow: FloatArray


@dataclass(frozen=True, slots=True)
class Line:
    """Where a dose is scored.

    Attributes
    ----------
    along : {"x", "z"}
        Axis of the patient's system (head first, supine, gantry 0: x is x_b and z is y_b at collimator 0).
    across : float
        Distance of the line from the beam's axis along the other one, mm.
    half_width : float
    step : float
    """

    along: PatientAxis
    across: float
    half_width: float
    step: float


@dataclass(frozen=True, slots=True)
class GapDose:
    """A sweeping gap: planned gap, mm; dose per MU relative to the open field; its distance from the line, in %."""

    gap: float
    dose: Estimate
    residual_percent: float


@dataclass(frozen=True, slots=True)
class LeafCurve:
    """A curve for the page.

    Attributes
    ----------
    place : ndarray of shape (n,)
        mm at the isocentre plane.
    per_cent : Spread of shape (n,)
        Of the open field's dose near its axis.
    """

    place: FloatArray
    per_cent: Spread


@dataclass(frozen=True, slots=True)
class FoundOpening:
    """One opening of the asymmetric pattern.

    Attributes
    ----------
    collimator : float
    opening : Opening
        As planned.
    shift : Estimate
        Found minus planned position of the opening's middle along the leaves' travel, mm.
    width : Estimate
        Between the points at half of the dose in the middle, mm.
    profile : LeafCurve
        Along the leaves' travel, through the pair.
    """

    collimator: float
    opening: Opening
    shift: Estimate
    width: Estimate
    profile: LeafCurve


@dataclass(frozen=True, slots=True)
class LeafResults:
    """What was found of an MLC.

    Attributes
    ----------
    transmission : Estimate
        Mean dose under closed leaves relative to the open field, mean of both banks.
    transmission_by_bank : dict of str to Estimate
        By the bank whose leaves cover the field.
    peak_to_valley : Estimate
        Dose under boundaries between closed leaves relative to that under their middles.
    tongue_and_groove_mean, tongue_and_groove_boundary : Estimate
        Per cent that is missing when two fields of every other pair are summed: mean, and at the boundaries.
    junction_depth, junction_width : Estimate
        Of the cold line where two fields meet between two leaves: per cent, and its width at half its depth in mm.
    shallow_junction_depth, shallow_junction_width : Estimate
        The same 15 mm deep.
    leaf_gap, gap_slope : Estimate
        See `GapLine`.
    closed_curve, tongue_and_groove_curve : LeafCurve
        Mean over equal leaves, by the distance along y from the nearest boundary between two.
    junction_curve : LeafCurve
        Along y.
    seconds : float
        That the simulation took.
    """

    transmission: Estimate
    transmission_by_bank: dict[str, Estimate]
    peak_to_valley: Estimate
    tongue_and_groove_mean: Estimate
    tongue_and_groove_boundary: Estimate
    junction_depth: Estimate
    junction_width: Estimate
    shallow_junction_depth: Estimate
    shallow_junction_width: Estimate
    gaps: tuple[GapDose, ...]
    leaf_gap: Estimate
    gap_slope: Estimate
    openings: tuple[FoundOpening, ...]
    closed_curve: LeafCurve
    tongue_and_groove_curve: LeafCurve
    junction_curve: LeafCurve
    seconds: float


def simulate_line(
    *,
    delivery: Delivery,
    jaws: JawField,
    line: Line,
    linac: LinacModel,
    library: ElectronLibrary,
    photons: int,
    batches: int,
    seed: int,
) -> LineDose:
    """Dose along a line at the isocentre plane.

    Parameters
    ----------
    jaws : JawField
        That the dose is scored over, with some distance beyond.
    photons : int
        Of the source, in all batches.
    """
    shift = {line.along: _BESIDE, _other(line.along): -line.across}
    reach = JawField.of_size(*[2.0 * (_BESIDE + max(jaws.size_x, jaws.size_y) / 2)] * 2)
    setup = TankSetup(SOURCE_SURFACE_DISTANCE, _DEEPEST, (*LAYERS, SHALLOW))
    detectors = detectors_for(reach, setup, linac)._replace(
        half_thickness=_HALF_LAYER, half_width=line.half_width, profile_step=line.step
    )
    (response,) = simulate_field(
        field=reach,
        setups=[setup],
        linac=linac,
        sampling=BeamSampling(source_of(linac)),
        library=library,
        histories=max(1, photons // batches),
        batches=batches,
        seed=seed,
        detectors=[detectors],
        delivery=leaf_fields.moved(delivery, shift["x"], shift["z"]),
    )
    half = max(jaws.size_x, jaws.size_y) / 2 + 20.0
    place = np.arange(-half + line.step / 2, half, line.step)
    axis = 0 if line.along == "x" else 1
    layers = np.zeros((len(setup.profile_depth), batches, len(place)))
    for layer, depth in enumerate(setup.profile_depth):
        seen = _BESIDE + place * (SOURCE_SURFACE_DISTANCE + depth) / linac.machine.source_axis_distance
        for batch in range(batches):
            # The bins' mass is that of both sides of the tank's axis; the beam is on one of them.
            dose = 2.0 * response.profile[batch, layer, axis, :, 0]
            layers[layer, batch] = np.interp(seen, response.position, dose)
    return LineDose(place, layers[: len(LAYERS)].mean(axis=0), layers[-1])


def _other(axis: PatientAxis) -> PatientAxis:
    return "z" if axis == "x" else "x"


def check_leaves(
    linac: LinacModel,
    library: ElectronLibrary,
    *,
    share: float = 1.0,
    processes: int = 1,
    progress: Progress | None = None,
) -> LeafResults:
    """Simulate all fields and read off what a physicist would measure.

    Parameters
    ----------
    share : float
        Of the usual number of photons.
    processes : int
        1 simulates in this process.

    Raises
    ------
    SimulationError
        When a process dies.
    """
    started = time.perf_counter()
    found = _simulated(
        _fields(linac) | _pattern_fields(linac),
        linac=linac,
        library=library,
        share=share,
        processes=processes,
        progress=progress,
    )
    return _results(linac, found, time.perf_counter() - started)


def transmission_and_gap(
    linac: LinacModel,
    library: ElectronLibrary,
    *,
    share: float = 1.0,
    processes: int = 1,
    progress: Progress | None = None,
) -> tuple[Estimate, Estimate]:
    """Mean transmission and dosimetric leaf gap alone, with the same photons as in `check_leaves`."""
    fields = {name: field for name, field in _fields(linac).items() if name.split()[0] in ("open", "closed", "gap")}
    found = _simulated(fields, linac=linac, library=library, share=share, processes=processes, progress=progress)
    line = _gap_spread(found)
    return _transmission(found).estimate(), line.estimate(0)


_Field = tuple[Delivery, JawField, Line]


def _fields(linac: LinacModel) -> dict[str, _Field]:
    """All fields that are scored along y at x = 0."""
    line = Line(along="z", across=0.0, half_width=REGION, step=_STEP)
    deliveries = {
        "open": leaf_fields.open_field(linac),
        "closed X1": leaf_fields.closed_leaves(linac, "X1"),
        "closed X2": leaf_fields.closed_leaves(linac, "X2"),
        **{f"gap {gap:g}": leaf_fields.sweeping_gap(linac, gap) for gap in GAPS},
        "interdigitated 0": leaf_fields.interdigitated(linac, first_open=0),
        "interdigitated 1": leaf_fields.interdigitated(linac, first_open=1),
        "half Y1": leaf_fields.half_open(linac, "Y1"),
        "half Y2": leaf_fields.half_open(linac, "Y2"),
    }
    return {name: (delivery, leaf_fields.FIELD, line) for name, delivery in deliveries.items()}


def pattern_line(opening: Opening, collimator: float) -> Line:
    """The line along a pair of the pattern.

    Written out for both angles, and not by the conversions that the simulation uses, so that these are tested: the
    collimator turns counter-clockwise as seen from the source, so that x_b lies along the patient's z at 90 degrees,
    and y_b along -x.

    Raises
    ------
    ValueError
        For an angle other than 0 and 90.
    """
    if collimator == 0.0:
        return Line("x", opening.y, 0.8 * opening.half_width, _PATTERN_STEP)
    if collimator == 90.0:
        return Line("z", -opening.y, 0.8 * opening.half_width, _PATTERN_STEP)
    raise ValueError(f"collimator at {collimator:g} degrees, expected 0 or 90")


def _pattern_fields(linac: LinacModel) -> dict[str, _Field]:
    return {
        _pattern_name(collimator, opening): (
            leaf_fields.asymmetric_pattern(linac, collimator),
            PATTERN_FIELD,
            pattern_line(opening, collimator),
        )
        for collimator in COLLIMATORS
        for opening in leaf_fields.asymmetric_openings(linac.machine.mlc)
    }


def _pattern_name(collimator: float, opening: Opening) -> str:
    return f"pattern {collimator:g} {opening.pair}"


def _simulated(
    fields: Mapping[str, _Field],
    *,
    linac: LinacModel,
    library: ElectronLibrary,
    share: float,
    processes: int,
    progress: Progress | None,
) -> dict[str, LineDose]:
    requests: list[dict[str, Any]] = [
        {
            "delivery": delivery,
            "jaws": jaws,
            "line": line,
            "linac": linac,
            "library": library,
            "photons": round(share * PHOTONS[name.split()[0]]),
            "batches": BATCHES,
            "seed": _SEED + number,
        }
        for number, (name, (delivery, jaws, line)) in enumerate(fields.items())
    ]
    if processes > 1:
        doses = run_in_processes(simulate_line, requests, processes=processes, progress=progress)
        return dict(zip(fields, doses, strict=True))
    found = {}
    for number, (name, request) in enumerate(zip(fields, requests, strict=True), start=1):
        found[name] = simulate_line(**request)
        if progress is not None:
            progress(number, len(fields))
    return found


def _results(linac: LinacModel, found: Mapping[str, LineDose], seconds: float) -> LeafResults:
    place = found["open"].position
    transmission = _transmission(found)
    line = _gap_spread(found)
    near = _near_edges(linac, place)
    tongue = jackknife(_interdigitated(place, near), *_batches(found, "open", "interdigitated 0", "interdigitated 1"))
    halves = ("open", "half Y1", "half Y2")
    junction = jackknife(_junction(place), *_batches(found, *halves))
    shallow = jackknife(_junction(place), *(found[name].shallow for name in halves))
    return LeafResults(
        transmission=transmission.estimate(0),
        transmission_by_bank={"X1": transmission.estimate(1), "X2": transmission.estimate(2)},
        peak_to_valley=jackknife(
            lambda a, b: (a + b)[near[0]].mean() / (a + b)[near[1]].mean(), *_batches(found, "closed X1", "closed X2")
        ).estimate(),
        tongue_and_groove_mean=tongue.estimate(0),
        tongue_and_groove_boundary=tongue.estimate(1),
        junction_depth=junction.estimate(0),
        junction_width=junction.estimate(1),
        shallow_junction_depth=shallow.estimate(0),
        shallow_junction_width=shallow.estimate(1),
        gaps=_gap_doses(found, line),
        leaf_gap=line.estimate(0),
        gap_slope=line.estimate(1),
        openings=tuple(_opening(linac, found, collimator, number) for collimator in COLLIMATORS for number in range(2)),
        closed_curve=_folded(linac, found, "closed X1", "closed X2", divided_by=2.0),
        tongue_and_groove_curve=_folded(linac, found, "interdigitated 0", "interdigitated 1"),
        junction_curve=_summed(found, "half Y1", "half Y2"),
        seconds=seconds,
    )


def _batches(found: Mapping[str, LineDose], *names: str) -> list[FloatArray]:
    return [found[name].batches for name in names]


def _region(place: FloatArray) -> npt.NDArray[np.bool_]:
    return np.asarray(np.abs(place) < REGION)


def _transmission(found: Mapping[str, LineDose]) -> Spread:
    """Mean of both banks, then each."""
    inside = _region(found["open"].position)

    def statistic(unblocked: FloatArray, x1: FloatArray, x2: FloatArray) -> FloatArray:
        shares = np.array([x1[inside].mean(), x2[inside].mean()]) / unblocked[inside].mean()
        return np.array([shares.mean(), *shares])

    return jackknife(statistic, *_batches(found, "open", "closed X1", "closed X2"))


def _gap_spread(found: Mapping[str, LineDose]) -> Spread:
    """Leaf gap, slope, then the relative dose of each gap and its distance from the line in per cent."""
    inside = _region(found["open"].position)
    travel = [leaf_fields.gap_travel(gap) for gap in GAPS]

    def statistic(unblocked: FloatArray, x1: FloatArray, x2: FloatArray, *gaps: FloatArray) -> FloatArray:
        normal = unblocked[inside].mean()
        transmission = (x1[inside].mean() + x2[inside].mean()) / (2.0 * normal)
        doses = np.array([gap[inside].mean() for gap in gaps]) / normal
        line = gap_line(GAPS, doses, travel, transmission)
        fitted = line.slope * (np.array(GAPS) + line.leaf_gap)
        return np.concatenate([[line.leaf_gap, line.slope], doses, 100.0 * (line.effective / fitted - 1.0)])

    names = [f"gap {gap:g}" for gap in GAPS]
    return jackknife(statistic, *_batches(found, "open", "closed X1", "closed X2", *names))


def _gap_doses(found: Mapping[str, LineDose], line: Spread) -> tuple[GapDose, ...]:
    count = len(GAPS)
    return tuple(
        GapDose(gap, line.estimate(2 + number), float(line.value[2 + count + number]))
        for number, gap in enumerate(GAPS)
    )


def _near_edges(linac: LinacModel, place: FloatArray) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Places near boundaries between equal leaves, and near these leaves' middles."""
    edges = leaf_fields.uniform_edges(linac.machine.mlc, _UNIFORM_WITHIN)
    width = edges[1] - edges[0]
    middles = edges[:-1] + width / 2

    def near(centres: FloatArray) -> npt.NDArray[np.bool_]:
        return np.asarray(np.abs(place[:, np.newaxis] - centres).min(axis=1) < _NEAR * width)

    return near(edges[1:-1]), near(middles)


def _interdigitated(
    place: FloatArray, near: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
) -> Callable[..., FloatArray]:
    inside = _region(place)

    def statistic(unblocked: FloatArray, even: FloatArray, odd: FloatArray) -> FloatArray:
        summed = even + odd
        shares = [summed[part].mean() / unblocked[part].mean() for part in (inside, near[0])]
        return 100.0 * (1.0 - np.array(shares))

    return statistic


def _junction(place: FloatArray) -> Callable[..., FloatArray]:
    near = np.abs(place) < _JUNCTION_WITHIN

    def statistic(unblocked: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
        # The open field is flat here: its mean has less noise than its bins.
        depth, width = dip(place[near], (lower + upper)[near] / unblocked[near].mean())
        return np.array([100.0 * depth, width])

    return statistic


def _opening(linac: LinacModel, found: Mapping[str, LineDose], collimator: float, number: int) -> FoundOpening:
    opening = leaf_fields.asymmetric_openings(linac.machine.mlc)[number]
    dose = found[_pattern_name(collimator, opening)]
    middle = (opening.x1 + opening.x2) / 2

    def statistic(mean: FloatArray) -> FloatArray:
        low, high = opening_edges(dose.position, mean)
        return np.array([(low + high) / 2 - middle, high - low])

    spread = jackknife(statistic, dose.batches)
    inside = _region(found["open"].position)
    curve = jackknife(
        lambda unblocked, mean: 100.0 * mean / unblocked[inside].mean(), *_batches(found, "open"), dose.batches
    )
    return FoundOpening(collimator, opening, spread.estimate(0), spread.estimate(1), LeafCurve(dose.position, curve))


def _summed(found: Mapping[str, LineDose], *names: str) -> LeafCurve:
    place = found["open"].position
    inside = _region(place)
    spread = jackknife(
        lambda unblocked, *parts: 100.0 * np.sum(parts, axis=0) / unblocked[inside].mean(),
        *_batches(found, "open", *names),
    )
    return LeafCurve(place, spread)


def _folded(linac: LinacModel, found: Mapping[str, LineDose], *names: str, divided_by: float = 1.0) -> LeafCurve:
    """Sum of fields over the open field, averaged over equal leaves by the distance from the nearest boundary."""
    place = found["open"].position
    edges = leaf_fields.uniform_edges(linac.machine.mlc, _UNIFORM_WITHIN)
    width = float(edges[1] - edges[0])
    from_edge = (place - edges[0] + width / 2) % width - width / 2
    within = (place > edges[0]) & (place < edges[-1])
    bins = np.arange(-width / 2 + _STEP / 2, width / 2, _STEP)
    row = np.floor((from_edge + width / 2) / _STEP + 1e-6).astype(int)
    members = [within & (row == number) for number in range(len(bins))]

    def statistic(unblocked: FloatArray, *parts: FloatArray) -> FloatArray:
        summed = np.sum(parts, axis=0) / divided_by
        return 100.0 * np.array([summed[member].mean() / unblocked[member].mean() for member in members])

    return LeafCurve(bins, jackknife(statistic, *_batches(found, "open", *names)))
