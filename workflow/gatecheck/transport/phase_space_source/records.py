"""The binary records of an IAEA phase space, a block at a time: files hold tens of millions of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatecheck.errors import InputError
from gatecheck.transport.phase_space_source.header import (
    INCREMENTAL_HISTORY_NUMBER,
    PARTICLE_NAMES,
    PARTICLES_SUFFIX,
    Header,
    read_header,
)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

BLOCK = 200_000
"""Records read at a time."""

HIGHEST_ENERGY = 20.0  # MeV: the attenuation tables end there
_MM_PER_CM = 10.0
# u and v are single precision: their squares sum to 1 within some 1e-7.
_UNIT_TOLERANCE = 1e-5
_CONSTANT_TOLERANCE = 1e-3
_LOOKED_AT_FOR_BYTE_ORDER = 10_000
# In the wrong byte order almost any number is far outside of these.
_PLAUSIBLE_ENERGY = (1e-6, 1e3)  # MeV
_PLAUSIBLE_LENGTH = 1e4  # cm


@dataclass(frozen=True, slots=True)
class Records:
    """Particles in the file's own axes, lengths in mm.

    Attributes
    ----------
    kind : ndarray of shape (n,), int8
        1 photon, 2 electron, 3 positron, 4 neutron, 5 proton.
    energy : ndarray of shape (n,)
        Kinetic, MeV.
    position, direction : ndarray of shape (n, 3)
    weight : ndarray of shape (n,)
    has_negative_energy : ndarray of shape (n,), bool
        As stored: the sign by which files mark the first particle of an original history.
    increment : ndarray of shape (n,), int64, or None
        Original histories since the last particle of an earlier one; 0 within a history.
    """

    kind: npt.NDArray[np.int8]
    energy: FloatArray
    position: FloatArray
    direction: FloatArray
    weight: FloatArray
    has_negative_energy: BoolArray
    increment: IntArray | None

    def __len__(self) -> int:
        return len(self.kind)

    def chosen(self, which: BoolArray) -> Records:
        """Some of the particles, in the same order."""
        return Records(
            self.kind[which],
            self.energy[which],
            self.position[which],
            self.direction[which],
            self.weight[which],
            self.has_negative_energy[which],
            None if self.increment is None else self.increment[which],
        )


def record_type(header: Header, byte_order: str | None = None) -> np.dtype[np.void]:
    """One record: type, energy, what is stored of x, y, z, u, v and weight, extra floats, extra longs."""
    order = byte_order or header.byte_order
    fields = [("kind", "i1"), ("energy", f"{order}f4")]
    fields += [(name, f"{order}f4") for name in header.stored if name != "w"]
    fields += [(f"extra_float_{place}", f"{order}f4") for place in range(len(header.extra_floats))]
    fields += [(f"extra_long_{place}", f"{order}i4") for place in range(len(header.extra_longs))]
    return np.dtype(fields)


@dataclass(frozen=True, slots=True)
class PhaseSpaceFile:
    """An IAEA phase space on disk."""

    header: Header
    header_path: Path
    path: Path

    @property
    def name(self) -> str:
        """The name of the particles' file, for messages."""
        return self.path.name

    def read(self, first: int, last: int) -> Records:
        """Particles `first` to `last` - 1.

        Raises
        ------
        InputError
            Naming the first record that cannot be a particle, and what is wrong with it.
        """
        raw = _raw(self.path, record_type(self.header), first, last)
        kind = np.abs(raw["kind"].astype(np.int16))
        self._refuse(
            ~np.isin(kind, list(PARTICLE_NAMES)),
            first,
            lambda at: f"particle type {kind[at]} found, expected 1 to 5 (photon, electron, positron, neutron, proton)",
        )
        stored_energy = raw["energy"].astype(np.float64)
        position = _MM_PER_CM * np.stack([self._values(raw, name) for name in ("x", "y", "z")], axis=1)
        u, v, weight = (self._values(raw, name) for name in ("u", "v", "weight"))
        self._check_numbers(first, stored_energy, position, {"u": u, "v": v, "weight": weight})
        return Records(
            kind=kind.astype(np.int8),
            energy=np.abs(stored_energy),
            position=position,
            direction=self._directions(first, u, v, np.where(raw["kind"] < 0, -1.0, 1.0)),
            weight=weight,
            has_negative_energy=np.signbit(stored_energy),
            increment=self._increments(raw, first),
        )

    def _values(self, raw: npt.NDArray[np.void], name: str) -> FloatArray:
        if name in self.header.stored:
            return np.asarray(raw[name], dtype=np.float64)
        return np.full(len(raw), self.header.constants[name])

    def _increments(self, raw: npt.NDArray[np.void], first: int) -> IntArray | None:
        if INCREMENTAL_HISTORY_NUMBER not in self.header.extra_longs:
            return None
        place = self.header.extra_longs.index(INCREMENTAL_HISTORY_NUMBER)
        increment = raw[f"extra_long_{place}"].astype(np.int64)
        self._refuse(
            increment < 0,
            first,
            lambda at: f"an incremental history number of {increment[at]} found, expected 0 or more",
        )
        return increment

    def _check_numbers(
        self, first: int, energy: FloatArray, position: FloatArray, others: dict[str, FloatArray]
    ) -> None:
        numbers = {"energy": energy, **{name: position[:, axis] for axis, name in enumerate("xyz")}, **others}
        for name, values in numbers.items():
            self._refuse(~np.isfinite(values), first, _not_a_number(name, values))
        self._refuse(
            np.abs(energy) > HIGHEST_ENERGY,
            first,
            lambda at: f"an energy of {abs(energy[at]):g} MeV found, expected at most {HIGHEST_ENERGY:g}",
        )
        weight = others["weight"]
        self._refuse(weight < 0, first, lambda at: f"a weight of {weight[at]:g} found, expected none below 0")

    def _directions(self, first: int, u: FloatArray, v: FloatArray, sign: FloatArray) -> FloatArray:
        across = u**2 + v**2
        self._refuse(
            across > 1 + _UNIT_TOLERANCE,
            first,
            lambda at: f"direction cosines u = {u[at]:g}, v = {v[at]:g} found, whose squares sum to more than 1",
        )
        if "w" in self.header.stored:
            w = sign * np.sqrt(np.maximum(1 - across, 0.0))
        else:
            w = np.full(len(u), self.header.constants["w"])
            self._refuse(
                np.abs(across + w**2 - 1) > _CONSTANT_TOLERANCE,
                first,
                lambda at: f"u = {u[at]:g}, v = {v[at]:g} and the constant w = {w[at]:g} found, expected a unit vector",
            )
        vectors = np.stack([u, v, w], axis=1)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def _refuse(self, wrong: BoolArray, first: int, said: Callable[[int], str]) -> None:
        if not wrong.any():
            return
        at = int(np.argmax(wrong))
        length = self.header.record_length
        raise InputError(
            f"{self.name}: record {first + at} (byte {length * (first + at)}): {said(at)}. Either the file is damaged "
            f"or {self.header.name} describes another record."
        )


def _not_a_number(name: str, values: FloatArray) -> Callable[[int], str]:
    return lambda at: f"{name} = {values[at]} found, expected a number"


def open_phase_space(header_path: Path) -> PhaseSpaceFile:
    """Open the particles that lie beside an .IAEAheader, and check that both fit.

    Raises
    ------
    InputError
        When a file is missing, its size is not what the header says, or the byte order is the other one.
    """
    data_path = header_path.with_suffix(PARTICLES_SUFFIX)
    header = read_header(header_path)
    try:
        size = data_path.stat().st_size
    except OSError as error:
        raise InputError(
            f"{data_path.name}: the particles of {header_path.name} cannot be read ({error.strerror})."
        ) from None
    expected = header.record_length * header.particles
    if size != expected:
        raise InputError(
            f"{data_path.name}: {size} bytes found, but {header.name} says {header.particles} records of "
            f"{header.record_length} bytes, {expected} in all. The file is incomplete or belongs to another header."
        )
    _check_byte_order(header, data_path)
    return PhaseSpaceFile(header, header_path, data_path)


def _raw(path: Path, kind: np.dtype[np.void], first: int, last: int) -> npt.NDArray[np.void]:
    try:
        return np.fromfile(path, dtype=kind, count=last - first, offset=first * kind.itemsize)
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}).") from None


def _check_byte_order(header: Header, path: Path) -> None:
    other = ">" if header.byte_order == "<" else "<"
    count = min(header.particles, _LOOKED_AT_FOR_BYTE_ORDER)
    as_stated, swapped = (
        _plausible(_raw(path, record_type(header, order), 0, count)) for order in (header.byte_order, other)
    )
    if as_stated < 0.5 < swapped:
        numbers = {"<": 1234, ">": 4321}
        raise InputError(
            f"{header.name}: BYTE_ORDER: {numbers[header.byte_order]} found, but the numbers in {path.name} make sense "
            f"only as {numbers[other]}. Correct the header."
        )


def _plausible(raw: npt.NDArray[np.void]) -> float:
    """Share of records whose numbers can be energies, places and cosines."""
    with np.errstate(invalid="ignore", over="ignore"):
        energy = np.abs(raw["energy"].astype(np.float64))
        good = (energy > _PLAUSIBLE_ENERGY[0]) & (energy < _PLAUSIBLE_ENERGY[1])
        for name in raw.dtype.names or ():
            if name in ("x", "y", "z"):
                good &= np.abs(raw[name].astype(np.float64)) < _PLAUSIBLE_LENGTH
            if name in ("u", "v"):
                good &= np.abs(raw[name].astype(np.float64)) <= 1 + _UNIT_TOLERANCE
    return float(good.mean())
