"""What the doses along lines tell of an MLC: transmission, leaf gap, tongue and groove, where the openings are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatecheck.commissioning import leaf_fields
from gatecheck.commissioning.analysis import Estimate
from gatecheck.commissioning.leaf_fields import GAPS, Opening
from gatecheck.commissioning.leaf_gap import gap_line
from gatecheck.commissioning.leaf_lines import LineDose
from gatecheck.commissioning.leaf_statistics import Spread, dip, jackknife, opening_edges
from gatecheck.linac.model import LinacModel

FloatArray = npt.NDArray[np.float64]

REGION = 40.0
"""mm: mean doses are those of a square of twice this side on the axis."""
STEP = 0.25
"""mm between places of the lines along y."""
COLLIMATORS = (0.0, 90.0)
"""Degrees at which the asymmetric pattern is looked at."""

_UNIFORM_WITHIN = 40.0  # mm from the axis along y: away from the jaws' penumbra
_NEAR = 0.2  # of a leaf's width on both sides of a boundary or a middle
_JUNCTION_WITHIN = 10.0


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


def pattern_name(collimator: float, opening: Opening) -> str:
    """Name of the field in which one opening of the pattern is looked at."""
    return f"pattern {collimator:g} {opening.pair}"


def results_of(linac: LinacModel, found: Mapping[str, LineDose], seconds: float) -> LeafResults:
    """Read all results off the doses of the fields, by name."""
    place = found["open"].position
    transmission = transmission_spread(found)
    line = gap_spread(found)
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


def transmission_spread(found: Mapping[str, LineDose]) -> Spread:
    """Mean of both banks, then each."""
    inside = _region(found["open"].position)

    def statistic(unblocked: FloatArray, x1: FloatArray, x2: FloatArray) -> FloatArray:
        shares = np.array([x1[inside].mean(), x2[inside].mean()]) / unblocked[inside].mean()
        return np.array([shares.mean(), *shares])

    return jackknife(statistic, *_batches(found, "open", "closed X1", "closed X2"))


def gap_spread(found: Mapping[str, LineDose]) -> Spread:
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
    dose = found[pattern_name(collimator, opening)]
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
    bins = np.arange(-width / 2 + STEP / 2, width / 2, STEP)
    row = np.floor((from_edge + width / 2) / STEP + 1e-6).astype(int)
    members = [within & (row == number) for number in range(len(bins))]

    def statistic(unblocked: FloatArray, *parts: FloatArray) -> FloatArray:
        summed = np.sum(parts, axis=0) / divided_by
        return 100.0 * np.array([summed[member].mean() / unblocked[member].mean() for member in members])

    return LeafCurve(bins, jackknife(statistic, *_batches(found, "open", *names)))
