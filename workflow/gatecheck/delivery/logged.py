"""From trajectory logs to what was delivered: each beam of the plan with the log that belongs to it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gatecheck.delivery.model import BeamTimeline, Delivery, FloatArray
from gatecheck.delivery.timeline import states_at
from gatecheck.delivery.trajectory_log import Axes, TrajectoryLog
from gatecheck.errors import InputError
from gatecheck.files import sha256_of_json

_LOOKS = 101
"""Places along a beam's meterset at which a log is held against the plan."""

# MU between two snapshots from which the beam is on, and of the whole meterset: a 32-bit float is exact to 6e-8.
_BEAM_ON, _BEAM_ON_SHARE = 1e-4, 2e-7
_LEAST_DELIVERED = 0.01  # of what was expected, that may be missing or too much
_NARROW_LEAF = 4.0  # mm: an HD120's narrowest leaves are 2.5, a Millennium 120's 5
_ISOCENTRE_STANDS = 0.01  # mm


@dataclass(frozen=True, slots=True)
class Limits:
    """What a log's expected positions may lie from those planned, root mean square along the beam.

    A log's expected positions are the plan's between control points, but for the machine's own acceleration.
    """

    meterset_share: float = 0.01
    angle: float = 1.0  # degrees
    jaw: float = 1.0  # mm
    leaf: float = 1.0  # mm


@dataclass(frozen=True, slots=True)
class LoggedBeam:
    """One beam of a log.

    Attributes
    ----------
    log : TrajectoryLog
    number : int
        Among the log's sub-beams, from 0.
    expected, actual : Axes
        Of its snapshots, the meterset counted from its start.
    """

    log: TrajectoryLog
    number: int
    expected: Axes
    actual: Axes

    @property
    def meterset(self) -> float:
        """MU delivered."""
        return float(self.actual.meterset[-1])


def beams_of(log: TrajectoryLog, place: str = "trajectory log") -> tuple[LoggedBeam, ...]:
    """The beams of a log: one for each sub-beam, by the control point at which that begins.

    Raises
    ------
    InputError
        When a beam delivered nothing.
    """
    starts = [beam.first_control_point for beam in log.sub_beams] or [0]
    point = log.actual.control_point
    edges = [0, *(int(np.searchsorted(point, start)) for start in starts[1:]), len(point)]
    beams = []
    for number, (first, last) in enumerate(itertools.pairwise(edges)):
        if last - first < 2 or log.actual.meterset[last - 1] - log.actual.meterset[first] <= 0:
            raise InputError(f"{place}: beam {number + 1} of {len(starts)} delivered no MU.")
        expected, actual = (_cut(axes, first, last) for axes in (log.expected, log.actual))
        beams.append(LoggedBeam(log, number, expected, actual))
    return tuple(beams)


def _cut(axes: Axes, first: int, last: int) -> Axes:
    names = [name for name in axes.__dataclass_fields__ if getattr(axes, name) is not None]
    cut = replace(axes, **{name: getattr(axes, name)[first:last] for name in names})
    # A real meterset is read anew at each snapshot, and may seem to fall by as little as that is exact.
    return replace(cut, meterset=np.maximum.accumulate(cut.meterset - cut.meterset[0]))


def assigned(
    delivery: Delivery, logs: Sequence[TrajectoryLog], plan_uid_sha256: str = ""
) -> dict[int, tuple[int, LoggedBeam]]:
    """For every beam of a delivery, by its number, the place of its log (from 1) and what that holds of it.

    Parameters
    ----------
    delivery : Delivery
        As planned.
    plan_uid_sha256 : str
        Of the plan's SOP Instance UID: a log that names another plan is refused.

    Raises
    ------
    InputError
        When a log belongs to no beam or to several, or a beam has no log or several.
    """
    without = [beam.number for beam in delivery.beams if beam.leaf_positions is None]
    if without:
        raise InputError(
            f"trajectory logs: beam {', '.join(map(str, without))} of the plan has no MLC, by which logs are matched."
        )
    of_beam: dict[int, tuple[int, LoggedBeam]] = {}
    for place, log in enumerate(logs, start=1):
        check_plan(log, plan_uid_sha256, f"trajectory log {place}")
        if log.is_truncated:
            raise InputError(f"trajectory log {place}: it says that it is truncated; a log of the whole beam expected.")
        for logged in beams_of(log, f"trajectory log {place}"):
            beam = matched(logged, delivery.beams, place=f"trajectory log {place}")
            _check_is_whole(logged, place)
            if beam.number in of_beam:
                raise InputError(f"trajectory log {place}: beam {beam.number} of the plan has a log already.")
            of_beam[beam.number] = place, logged
    missing = [beam.number for beam in delivery.beams if beam.number not in of_beam]
    if missing:
        raise InputError(
            f"trajectory logs: none belongs to beam {', '.join(map(str, missing))} of the plan, one for every beam "
            "expected."
        )
    return of_beam


def delivered(delivery: Delivery, logs: Sequence[TrajectoryLog], plan_uid_sha256: str = "") -> Delivery:
    """What the machine did, as far as its logs say: the planned delivery with each beam's actual positions.

    Isocentre, energy and leaf boundaries are those planned: a log says where the couch stood, not the patient.

    Raises
    ------
    InputError
        As `assigned`.
    """
    of_beam = assigned(delivery, logs, plan_uid_sha256)
    beams = tuple(as_timeline(of_beam[beam.number][1].actual, beam) for beam in delivery.beams)
    digest = sha256_of_json([delivery.made_from_sha256, *(log.sha256 for log in logs)])
    return replace(delivery, beams=beams, made_from_sha256=digest)


def _check_is_whole(logged: LoggedBeam, place: int) -> None:
    expected = float(logged.expected.meterset[-1])
    if abs(logged.meterset / expected - 1) > _LEAST_DELIVERED:
        raise InputError(
            f"trajectory log {place}: {logged.meterset:.2f} of {expected:.2f} MU delivered. A beam that was "
            "interrupted is not simulated from one of its logs."
        )


def check_plan(log: TrajectoryLog, plan_uid_sha256: str, place: str) -> None:
    """Refuse a log that names another plan.

    Raises
    ------
    InputError
        When it does.
    """
    if log.plan is not None and plan_uid_sha256 and log.plan.plan_uid_sha256 != plan_uid_sha256:
        raise InputError(f"{place}: names another plan (SOP Instance UID) than the one verified.")


def matched(
    logged: LoggedBeam, beams: Sequence[BeamTimeline], *, place: str = "trajectory log", limits: Limits | None = None
) -> BeamTimeline:
    """The beam that a log belongs to, by what was expected of the machine.

    Raises
    ------
    InputError
        When it belongs to none, with what is nearest, or to several.
    """
    limits = limits or Limits()
    found = {beam.number: differences(logged, beam) for beam in beams}
    fitting = [number for number, apart in found.items() if apart is not None and apart.within(limits)]
    if len(fitting) == 1:
        return next(beam for beam in beams if beam.number == fitting[0])
    if len(fitting) > 1:
        raise InputError(
            f"{place}: belongs to beams {', '.join(map(str, fitting))} of the plan alike, to one expected."
        )
    comparable = {number: apart for number, apart in found.items() if apart is not None}
    if not comparable:
        raise InputError(f"{place}: an MLC of {logged.log.mlc_model} found, the plan's beams have none like it.")
    nearest = min(comparable, key=lambda number: comparable[number].total(limits))
    raise InputError(f"{place}: belongs to no beam of the plan. Nearest is beam {nearest}: {comparable[nearest]}.")


@dataclass(frozen=True, slots=True)
class Difference:
    """How a log's expected positions differ from a beam's planned ones, root mean square at equal shares of meterset.

    Attributes
    ----------
    meterset_share : float
        Of the planned meterset, with its sign.
    gantry, collimator, couch : float
        Degrees.
    jaw, leaf : float
        mm; leaves that stand under the jaws are not looked at.
    """

    meterset_share: float
    gantry: float
    collimator: float
    couch: float
    jaw: float
    leaf: float

    def __str__(self) -> str:
        return (
            f"meterset {100 * self.meterset_share:+.1f} %, gantry {self.gantry:.1f} degrees, collimator "
            f"{self.collimator:.1f} degrees, couch {self.couch:.1f} degrees, jaws {self.jaw:.1f} mm, leaves "
            f"{self.leaf:.1f} mm away"
        )

    def _shares(self, limits: Limits) -> tuple[float, ...]:
        angles = (self.gantry, self.collimator, self.couch)
        return (
            abs(self.meterset_share) / limits.meterset_share,
            *(angle / limits.angle for angle in angles),
            self.jaw / limits.jaw,
            self.leaf / limits.leaf,
        )

    def within(self, limits: Limits) -> bool:
        """Whether all are."""
        return max(self._shares(limits)) <= 1.0

    def total(self, limits: Limits) -> float:
        """All together, in limits."""
        return math.hypot(*self._shares(limits))


def differences(logged: LoggedBeam, beam: BeamTimeline) -> Difference | None:
    """How a log differs from a planned beam; None where their leaves are not alike."""
    if beam.leaf_positions is None or beam.leaf_positions.shape[2] != logged.expected.leaf_positions.shape[2]:
        return None
    if beam.leaf_boundaries is not None and _is_narrow(beam.leaf_boundaries) != (logged.log.mlc_model == "HD120"):
        return None
    # The log's own meterset says where along the beam it is; of what was expected, for what was done may lag behind.
    as_expected = as_timeline(logged.expected, beam)
    shares = (np.arange(_LOOKS) + 0.5) / _LOOKS
    planned = states_at(beam, shares * beam.total_meterset)
    told = states_at(as_expected, shares * as_expected.total_meterset)
    if planned.leaf_positions is None or told.leaf_positions is None or beam.leaf_boundaries is None:
        return None
    low, high = beam.leaf_boundaries[:-1], beam.leaf_boundaries[1:]
    in_field = (high > planned.jaw_y[:, :1]) & (low < planned.jaw_y[:, 1:])
    leaves = (told.leaf_positions - planned.leaf_positions).transpose(0, 2, 1)[in_field]
    return Difference(
        meterset_share=as_expected.total_meterset / beam.total_meterset - 1,
        gantry=_rms(_apart(told.gantry, planned.gantry)),
        collimator=_rms(_apart(told.collimator, planned.collimator)),
        couch=_rms(_apart(told.couch, planned.couch)),
        jaw=_rms(np.concatenate([told.jaw_x - planned.jaw_x, told.jaw_y - planned.jaw_y])),
        leaf=_rms(leaves),
    )


def _is_narrow(leaf_boundaries: FloatArray) -> bool:
    return float(np.diff(leaf_boundaries).min()) < _NARROW_LEAF


def _apart(first: FloatArray, second: FloatArray) -> FloatArray:
    """Angles' difference, within half a turn."""
    return np.asarray((first - second + 180.0) % 360.0 - 180.0)


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.square(values).mean())) if values.size else 0.0


def as_timeline(axes: Axes, beam: BeamTimeline) -> BeamTimeline:
    """A planned beam with a log's positions; snapshots between which nothing is delivered are left out.

    Of a stretch without beam the last snapshot is kept: what the machine did meanwhile is a jump.

    Raises
    ------
    InputError
        When the planned isocentre moves.
    """
    if np.abs(beam.isocentre - beam.isocentre[0]).max() > _ISOCENTRE_STANDS:
        raise InputError(f"beam {beam.number}: its isocentre moves, which a log does not tell.")
    kept = _kept(axes.meterset)
    count = len(kept)
    return replace(
        beam,
        # Less than makes a beam-on may have been counted before the first snapshot that is kept.
        meterset=axes.meterset[kept] - axes.meterset[kept[0]],
        gantry=axes.gantry[kept],
        collimator=axes.collimator[kept],
        couch=axes.couch[kept],
        jaw_x=axes.jaw_x[kept],
        jaw_y=axes.jaw_y[kept],
        leaf_positions=None if beam.leaf_boundaries is None else axes.leaf_positions[kept],
        isocentre=np.repeat(beam.isocentre[:1], count, axis=0),
    )


def _rises(meterset: FloatArray) -> npt.NDArray[np.bool_]:
    return np.asarray(np.diff(meterset) > max(_BEAM_ON, _BEAM_ON_SHARE * float(meterset[-1])))


def _kept(meterset: FloatArray) -> npt.NDArray[np.int64]:
    """Snapshots at either end of what is delivered."""
    rises = _rises(meterset)
    kept = np.concatenate([rises, [False]]) | np.concatenate([[False], rises])
    return np.flatnonzero(kept)


@dataclass(frozen=True, slots=True)
class AxisError:
    """Actual minus expected of one axis while the beam was on."""

    axis: str
    unit: str
    root_mean_square: float
    largest: float


@dataclass(frozen=True, slots=True)
class LogErrors:
    """How the machine followed.

    Attributes
    ----------
    axes : tuple of AxisError
    leaves : ndarray of shape (2, n_pairs)
        Root mean square of each leaf, mm.
    gantry_lag : float or None
        Seconds that the gantry was behind; None where it did not turn.
    seconds : float
        Of the log.
    """

    axes: tuple[AxisError, ...]
    leaves: FloatArray
    gantry_lag: float | None
    seconds: float


def errors_of(logged: LoggedBeam) -> LogErrors:
    """Actual minus expected, over the snapshots between which something was delivered."""
    expected, actual = logged.expected, logged.actual
    on = np.concatenate([[False], _rises(actual.meterset)])
    if not on.any():
        raise InputError("trajectory log: no snapshot with beam found.")
    leaves = (actual.leaf_positions - expected.leaf_positions)[on]
    of_axis: list[tuple[str, str, FloatArray]] = [
        ("gantry", "degrees", _apart(actual.gantry, expected.gantry)[on]),
        ("collimator", "degrees", _apart(actual.collimator, expected.collimator)[on]),
        ("couch", "degrees", _apart(actual.couch, expected.couch)[on]),
        ("jaw X1", "mm", (actual.jaw_x - expected.jaw_x)[on, 0]),
        ("jaw X2", "mm", (actual.jaw_x - expected.jaw_x)[on, 1]),
        ("jaw Y1", "mm", (actual.jaw_y - expected.jaw_y)[on, 0]),
        ("jaw Y2", "mm", (actual.jaw_y - expected.jaw_y)[on, 1]),
        ("leaves X1", "mm", leaves[:, 0]),
        ("leaves X2", "mm", leaves[:, 1]),
        ("meterset", "MU", (actual.meterset - expected.meterset)[on]),
    ]
    return LogErrors(
        axes=tuple(
            AxisError(name, unit, _rms(values), float(values.flat[int(np.abs(values).argmax())]))
            for name, unit, values in of_axis
        ),
        leaves=np.sqrt(np.square(leaves).mean(axis=0)),
        gantry_lag=_lag(expected.gantry, actual.gantry, on, logged.log.sampling_interval),
        seconds=len(on) * logged.log.sampling_interval,
    )


def _lag(expected: FloatArray, actual: FloatArray, on: npt.NDArray[np.bool_], interval: float) -> float | None:
    """The delay that explains most of the difference, by least squares: actual(t) = expected(t - delay)."""
    speed = np.gradient(expected, interval)[on]
    if np.square(speed).mean() < 0.01:  # degrees per second, squared
        return None
    behind = _apart(expected, actual)[on]
    return float((behind * speed).sum() / np.square(speed).sum())
