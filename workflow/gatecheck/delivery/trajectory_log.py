"""Reads TrueBeam trajectory logs: what every axis was told and what it did, 50 times a second.

The format is Varian's (TrueBeam Trajectory Log File Specification): a header of 1024 bytes, which from version 4 on
ends with text about patient and plan, sub-beams, and for each snapshot the expected and the actual value of each axis
as 32-bit floats. Lengths are in cm there, angles in the machine's own scale; here all is IEC 61217, mm and degrees, as
in the rest of gatecheck.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.errors import InputError

FloatArray = npt.NDArray[np.float64]

_SIGNATURE = b"VOSTL"
_HEADER = 1024  # bytes
_VERSIONS = (2.0, 6.0)
_TEXT = 745  # bytes, about patient and plan, at the header's end from version 4 on
_TEXT_FROM = 4.0
_MACHINE_SCALE = 1
_MOST_AXES = 64
_CHECKSUM = 2  # bytes

# Codes of axes.
_COLLIMATOR, _GANTRY, _Y1, _Y2, _X1, _X2 = range(6)
_COUCH_VERTICAL, _COUCH_LONGITUDINAL, _COUCH_LATERAL, _COUCH_ROTATION, _COUCH_PITCH, _COUCH_ROLL = range(6, 12)
_MU, _BEAM_HOLD, _CONTROL_POINT, _MLC = 40, 41, 42, 50
_NEEDED = {
    _COLLIMATOR: "collimator",
    _GANTRY: "gantry",
    _Y1: "jaw Y1",
    _Y2: "jaw Y2",
    _X1: "jaw X1",
    _X2: "jaw X2",
    _COUCH_ROTATION: "couch rotation",
    _MU: "MU",
    _BEAM_HOLD: "beam hold",
    _CONTROL_POINT: "control point",
    _MLC: "MLC",
}
_CARRIAGES = 2
_MLC_MODELS = {2: "Millennium 120", 3: "HD120"}
_LEAF_PAIRS = 60
_MM_PER_CM = 10.0


@dataclass(frozen=True, slots=True)
class Axes:
    """All axes at every snapshot, IEC 61217, either as expected or as they were.

    Attributes
    ----------
    gantry, collimator, couch : ndarray of shape (n,)
        Degrees, unwrapped: no jump at 360.
    jaw_x, jaw_y : ndarray of shape (n, 2)
        X1, X2 and Y1, Y2, mm.
    leaf_positions : ndarray of shape (n, 2, 60)
        Bank X1 (Varian's B) and X2 (A), from Y1 to Y2, mm.
    couch_translation : ndarray of shape (n, 3)
        Vertical, longitudinal and lateral, mm, in the machine's own scale.
    couch_tilt : ndarray of shape (n, 2) or None
        Pitch and roll, degrees, in the machine's own scale.
    meterset : ndarray of shape (n,)
        MU.
    control_point : ndarray of shape (n,)
        With its fraction.
    beam_hold : ndarray of shape (n,)
        0 where the beam is on.
    """

    gantry: FloatArray
    collimator: FloatArray
    couch: FloatArray
    jaw_x: FloatArray
    jaw_y: FloatArray
    leaf_positions: FloatArray
    couch_translation: FloatArray
    couch_tilt: FloatArray | None
    meterset: FloatArray
    control_point: FloatArray
    beam_hold: FloatArray


@dataclass(frozen=True, slots=True)
class SubBeam:
    """One of several beams that were delivered in a sequence; name and number say nothing of the patient.

    Attributes
    ----------
    first_control_point : int
    meterset : float
        MU as delivered.
    name : str
    """

    first_control_point: int
    meterset: float
    name: str


@dataclass(frozen=True, slots=True)
class PlanOfLog:
    """What a log of version 4 or later says of its plan.

    Attributes
    ----------
    plan_uid_sha256 : str
        Of the RTPLAN's SOP Instance UID.
    beam_name : str
    planned_meterset : float
        MU.
    """

    plan_uid_sha256: str
    beam_name: str
    planned_meterset: float


@dataclass(frozen=True, slots=True)
class TrajectoryLog:
    """A log; `sampling_interval` in seconds."""

    version: float
    mlc_model: str
    sampling_interval: float
    is_truncated: bool
    sub_beams: tuple[SubBeam, ...]
    plan: PlanOfLog | None
    expected: Axes
    actual: Axes
    sha256: str

    @property
    def snapshots(self) -> int:
        """How many there are."""
        return len(self.actual.meterset)


def read_trajectory_log(path: Path, place: str = "trajectory log") -> TrajectoryLog:
    """Read a .bin file.

    Parameters
    ----------
    place : str
        Names the file in messages: its own name often holds the patient's.

    Raises
    ------
    InputError
        When the file is none, is cut off, or is of a kind that is not read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror}).") from error
    try:
        return _Reader(content, place).read()
    except struct.error:
        raise InputError(f"{place}: {len(content)} bytes found, more expected. The file is cut off.") from None


class _Reader:
    """Goes through the bytes once, in their order."""

    def __init__(self, content: bytes, place: str) -> None:
        self._content, self._place, self._at = content, place, 0

    def read(self) -> TrajectoryLog:
        version = self._read_version()
        header_size, interval, axes = self._integers(3)
        self._check(header_size == _HEADER, f"a header of {header_size} bytes found, {_HEADER} expected")
        self._check(0 < axes <= _MOST_AXES, f"{axes} axes found, up to {_MOST_AXES} expected")
        self._check(0 < interval <= 1000, f"a sampling interval of {interval} ms found, 20 expected")
        codes, samples = self._integers(axes), self._integers(axes)
        scale, sub_beams, truncated, snapshots, mlc = self._integers(5)
        self._check_axes(codes, samples)
        self._check(
            scale == _MACHINE_SCALE,
            f"axis scale {scale} found, 1 (machine scale) expected; other scales are not read",
        )
        self._check(mlc in _MLC_MODELS, f"MLC model {mlc} found, 2 (Millennium 120) or 3 (HD120) expected")
        self._check(snapshots > 0, f"{snapshots} snapshots found, at least one expected")
        self._check(0 <= sub_beams <= snapshots, f"{sub_beams} sub-beams found")
        plan = self._read_plan(version)
        self._at = _HEADER
        beams = tuple(self._read_sub_beam(version) for _ in range(sub_beams))
        expected, actual = self._read_axes(codes, samples, snapshots)
        return TrajectoryLog(
            version=version,
            mlc_model=_MLC_MODELS[mlc],
            sampling_interval=interval / 1000,
            is_truncated=bool(truncated),
            sub_beams=beams,
            plan=plan,
            expected=expected,
            actual=actual,
            sha256=hashlib.sha256(self._content).hexdigest(),
        )

    def _check(self, holds: bool, found: str) -> None:
        if not holds:
            raise InputError(f"{self._place}: {found}.")

    def _integers(self, number: int) -> tuple[int, ...]:
        values: tuple[int, ...] = struct.unpack_from(f"<{number}i", self._content, self._at)
        self._at += 4 * number
        return values

    def _text(self, size: int) -> str:
        content = self._content[self._at : self._at + size]
        self._at += size
        return content.split(b"\0")[0].decode("latin-1").strip()

    def _read_version(self) -> float:
        self._check(self._content[:5] == _SIGNATURE, "is no TrueBeam trajectory log (it does not begin with VOSTL)")
        self._at = 16
        text = self._text(16)
        try:
            version = float(text)
        except ValueError:
            version = 0.0
        self._check(_VERSIONS[0] <= version < _VERSIONS[1], f"version {text[:8]!r} found, 2.0 to 5.x expected")
        return version

    def _check_axes(self, codes: tuple[int, ...], samples: tuple[int, ...]) -> None:
        for code, name in _NEEDED.items():
            self._check(codes.count(code) == 1, f"axis {code} ({name}) found {codes.count(code)} times, once expected")
        for code, number in zip(codes, samples, strict=True):
            wanted = _CARRIAGES + 2 * _LEAF_PAIRS if code == _MLC else 1
            self._check(
                number == wanted or (code not in _NEEDED and 0 < number < 1000),
                f"{number} samples of axis {code} found, {wanted} expected",
            )

    def _read_plan(self, version: float) -> PlanOfLog | None:
        """Lines of a name, a tab and a value; patient and plan's name are not looked at."""
        if version < _TEXT_FROM:
            return None
        self._at = _HEADER - _TEXT
        lines = [line.split("\t", 1) for line in self._text(_TEXT).split("\n")]
        values = [line[1].strip() if len(line) > 1 else "" for line in lines]
        if len(values) < 7 or not values[2]:
            return None
        try:
            planned = float(values[3])
        except ValueError:
            planned = float("nan")
        return PlanOfLog(hashlib.sha256(values[2].encode()).hexdigest(), values[6], planned)

    def _read_sub_beam(self, version: float) -> SubBeam:
        control_point, meterset, _, _ = struct.unpack_from("<iffi", self._content, self._at)
        self._at += 16
        name = self._text(512 if version >= 3.0 else 32)
        self._at += 32
        return SubBeam(control_point, float(meterset), name)

    def _read_axes(self, codes: tuple[int, ...], samples: tuple[int, ...], snapshots: int) -> tuple[Axes, Axes]:
        width = 2 * sum(samples)
        rest = len(self._content) - self._at
        self._check(
            rest - 4 * width * snapshots in {0, _CHECKSUM},
            f"{rest} bytes of snapshots found, {4 * width * snapshots} expected for {snapshots}. The file is cut off "
            "or damaged",
        )
        values = np.frombuffer(self._content, "<f4", width * snapshots, self._at).reshape(snapshots, width)
        self._check(bool(np.isfinite(values).all()), "values that are no numbers found")
        first = np.concatenate([[0], 2 * np.cumsum(samples)])
        of_code = {code: values[:, first[n] : first[n + 1]].astype(np.float64) for n, code in enumerate(codes)}
        expected, actual = (_axes({code: block[:, which::2] for code, block in of_code.items()}) for which in (0, 1))
        self._check(bool((np.diff(actual.meterset) > -0.5).all()), "a meterset that falls found")
        return expected, actual


def _axes(of_code: dict[int, FloatArray]) -> Axes:
    """From the machine's own scale: angles count the other way from 180 degrees, lengths go from the middle."""

    def lengths(*codes_and_signs: tuple[int, float]) -> FloatArray:
        return np.concatenate([sign * _MM_PER_CM * of_code[code] for code, sign in codes_and_signs], axis=1)

    def angle(code: int) -> FloatArray:
        return np.asarray(np.unwrap((180.0 - of_code[code][:, 0]) % 360.0, period=360.0))

    leaves = _MM_PER_CM * of_code[_MLC][:, _CARRIAGES:]
    nowhere = np.full_like(of_code[_MU], np.nan)
    translation = [of_code.get(code, nowhere) for code in (_COUCH_VERTICAL, _COUCH_LONGITUDINAL, _COUCH_LATERAL)]
    tilt = [of_code[code] for code in (_COUCH_PITCH, _COUCH_ROLL) if code in of_code]
    return Axes(
        gantry=angle(_GANTRY),
        collimator=angle(_COLLIMATOR),
        couch=angle(_COUCH_ROTATION),
        jaw_x=lengths((_X1, -1.0), (_X2, 1.0)),
        jaw_y=lengths((_Y1, -1.0), (_Y2, 1.0)),
        leaf_positions=np.stack([-leaves[:, _LEAF_PAIRS:], leaves[:, :_LEAF_PAIRS]], axis=1),
        couch_translation=_MM_PER_CM * np.concatenate(translation, axis=1),
        couch_tilt=np.concatenate(tilt, axis=1) if len(tilt) == 2 else None,
        meterset=of_code[_MU][:, 0],
        control_point=of_code[_CONTROL_POINT][:, 0],
        beam_hold=of_code[_BEAM_HOLD][:, 0],
    )
