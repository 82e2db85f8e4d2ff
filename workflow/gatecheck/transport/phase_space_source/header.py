"""The text header of an IAEA phase space: what each binary record holds, and how many there are.

Format: Capote, Jeraj, Ma, Rogers, Sánchez-Doblado, Sempau, Seuntjens and Siebers, "Phase-space database for external
beam radiotherapy", IAEA technical report INDC(NDS)-0484 (2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gatecheck.errors import InputError

PARTICLES_SUFFIX = ".IAEAphsp"

PHOTON, ELECTRON, POSITRON, NEUTRON, PROTON = range(1, 6)
PARTICLE_NAMES = {
    PHOTON: "photons",
    ELECTRON: "electrons",
    POSITRON: "positrons",
    NEUTRON: "neutrons",
    PROTON: "protons",
}

QUANTITIES = ("x", "y", "z", "u", "v", "w", "weight")
"""In the order of RECORD_CONTENTS and RECORD_CONSTANT. w itself is in no record: its sign is the type's."""

INCREMENTAL_HISTORY_NUMBER = 1
EXTRA_LONGS = {
    0: "generic",
    INCREMENTAL_HISTORY_NUMBER: "incremental history number",
    2: "LATCH of EGS",
    3: "ILB5 of PENELOPE",
    4: "ILB4 of PENELOPE",
    5: "ILB3 of PENELOPE",
    6: "ILB2 of PENELOPE",
    7: "ILB1 of PENELOPE",
}
EXTRA_FLOATS = {0: "generic", 1: "x of the last interaction", 2: "y of it", 3: "z of it"}

_BYTE_ORDERS = {1234: "<", 4321: ">"}
_NUMBERS_OF_CONTENTS = len(QUANTITIES) + 2
_TYPE_AND_ENERGY = 5
_WORD = 4


@dataclass(frozen=True, slots=True)
class ParticleStatistics:
    """One line of STATISTICAL_INFORMATION_PARTICLES: energies in MeV."""

    weight: float
    smallest_weight: float
    largest_weight: float
    mean_energy: float
    smallest_energy: float
    largest_energy: float


@dataclass(frozen=True, slots=True)
class Header:
    """What an .IAEAheader says.

    Attributes
    ----------
    byte_order : str
        < little endian (1234), > big endian (4321).
    stored : tuple of str
        Of x, y, z, u, v, w and weight, those that vary from particle to particle.
    constants : dict of str to float
        The others; lengths in cm, as in the file.
    extra_floats, extra_longs : tuple of int
        Their types, in the order of the record.
    record_length : int
        Bytes.
    particles, original_histories : int
    counts : dict of int to int
        Particles by type, for the types that the header names.
    statistics : dict of int to ParticleStatistics
    coordinate_system : str
        What the header says about it, on one line.
    warnings : tuple of str
        What was missing and had to be assumed.
    """

    name: str
    byte_order: str
    stored: tuple[str, ...]
    constants: dict[str, float]
    extra_floats: tuple[int, ...]
    extra_longs: tuple[int, ...]
    record_length: int
    particles: int
    original_histories: int
    counts: dict[int, int]
    statistics: dict[int, ParticleStatistics]
    coordinate_system: str
    warnings: tuple[str, ...]


def read_header(path: Path) -> Header:
    """Read and check an .IAEAheader.

    Raises
    ------
    InputError
        Naming the file, the keyword, what was found and what was expected.
    """
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(f"{path.name}: the phase space's header cannot be read ({error.strerror}).") from None
    return _HeaderReader(path.name, _blocks(text)).header()


def _blocks(text: str) -> dict[str, list[str]]:
    """Lines of each block that are not empty, by its keyword."""
    blocks: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("$") and ":" in stripped:
            keyword, _, rest = stripped[1:].partition(":")
            current = blocks.setdefault(keyword.strip().upper(), [])
            stripped = rest.strip()
        if stripped:
            current.append(stripped)
    return blocks


@dataclass(frozen=True, slots=True)
class _HeaderReader:
    name: str
    blocks: dict[str, list[str]]

    def header(self) -> Header:
        self._check_file_type()
        stored, floats, longs = self._contents()
        constants, warnings = self._constants(stored)
        header = Header(
            name=self.name,
            byte_order=self._byte_order(),
            stored=stored,
            constants=constants,
            extra_floats=floats,
            extra_longs=longs,
            record_length=self._whole("RECORD_LENGTH"),
            particles=self._whole("PARTICLES"),
            original_histories=self._whole("ORIG_HISTORIES"),
            counts={
                kind: self._whole(name.upper())
                for kind, name in PARTICLE_NAMES.items()
                if self.blocks.get(name.upper())
            },
            statistics=self._statistics(),
            coordinate_system=" ".join(_data(self.blocks.get("COORDINATE_SYSTEM_DESCRIPTION", []))),
            warnings=warnings,
        )
        self._check(header)
        return header

    def _numbers(self, keyword: str) -> list[float]:
        """The first number of each line of a block."""
        if keyword not in self.blocks:
            raise InputError(f"{self.name}: {keyword} is missing, and an IAEA phase space cannot be read without it.")
        numbers = []
        for line in _data(self.blocks[keyword]):
            word = line.split()[0]
            try:
                numbers.append(float(word))
            except ValueError:
                raise InputError(f"{self.name}: {keyword}: {word!r} found, expected a number.") from None
        return numbers

    def _whole(self, keyword: str) -> int:
        numbers = self._numbers(keyword)
        if not numbers or numbers[0] < 0 or numbers[0] != int(numbers[0]):
            found = f"{numbers[0]:g}" if numbers else "nothing"
            raise InputError(f"{self.name}: {keyword}: {found} found, expected a whole number.")
        return int(numbers[0])

    def _check_file_type(self) -> None:
        if "FILE_TYPE" in self.blocks and self._whole("FILE_TYPE") != 0:
            raise InputError(
                f"{self.name}: FILE_TYPE: {self._whole('FILE_TYPE')} found, expected 0 (a phase space). The input of "
                "an event generator cannot be used as a source."
            )

    def _contents(self) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
        numbers = [int(number) for number in self._numbers("RECORD_CONTENTS")]
        if len(numbers) < _NUMBERS_OF_CONTENTS:
            raise InputError(
                f"{self.name}: RECORD_CONTENTS: {len(numbers)} lines found, expected {_NUMBERS_OF_CONTENTS} "
                f"({', '.join(QUANTITIES)}, number of extra floats, number of extra longs) and one more for each extra."
            )
        flags = numbers[: len(QUANTITIES)]
        floats, longs = numbers[len(QUANTITIES) : _NUMBERS_OF_CONTENTS]
        types = numbers[_NUMBERS_OF_CONTENTS:]
        if not set(flags) <= {0, 1} or floats < 0 or longs < 0:
            raise InputError(
                f"{self.name}: RECORD_CONTENTS: {flags} and {floats}, {longs} extras found, expected a 0 or 1 for "
                f"each of {', '.join(QUANTITIES)} and numbers of extras."
            )
        if len(types) != floats + longs:
            raise InputError(
                f"{self.name}: RECORD_CONTENTS: types of {len(types)} extras found, expected {floats} floats and "
                f"{longs} longs."
            )
        for kind, known, what in (
            *((kind, EXTRA_FLOATS, "float") for kind in types[:floats]),
            *((kind, EXTRA_LONGS, "long") for kind in types[floats:]),
        ):
            if kind not in known:
                raise InputError(
                    f"{self.name}: RECORD_CONTENTS: an extra {what} of type {kind} found, expected one of 0 to "
                    f"{max(known)}."
                )
        stored = tuple(name for name, flag in zip(QUANTITIES, flags, strict=True) if flag)
        return stored, tuple(types[:floats]), tuple(types[floats:])

    def _constants(self, stored: tuple[str, ...]) -> tuple[dict[str, float], tuple[str, ...]]:
        missing = [name for name in QUANTITIES if name not in stored]
        numbers = self._numbers("RECORD_CONSTANT") if missing and "RECORD_CONSTANT" in self.blocks else []
        warnings: tuple[str, ...] = ()
        if missing[len(numbers) :] == ["weight"]:
            # Some vendors' files leave the weight out altogether.
            numbers = [*numbers, 1.0]
            warnings = (f"{self.name}: RECORD_CONSTANT states no weight; all weights are taken to be 1.",)
        if len(numbers) < len(missing):
            raise InputError(
                f"{self.name}: RECORD_CONSTANT: {len(numbers)} numbers found, expected one for each of "
                f"{', '.join(missing)}, which RECORD_CONTENTS says are not stored."
            )
        return dict(zip(missing, numbers, strict=False)), warnings

    def _byte_order(self) -> str:
        order = self._whole("BYTE_ORDER")
        if order not in _BYTE_ORDERS:
            raise InputError(
                f"{self.name}: BYTE_ORDER: {order} found, expected 1234 (little endian) or 4321 (big endian)."
            )
        return _BYTE_ORDERS[order]

    def _statistics(self) -> dict[int, ParticleStatistics]:
        """Lines that end in a particle's name; it is optional, so that other lines are passed over."""
        kinds = {name.upper(): kind for kind, name in PARTICLE_NAMES.items()}
        found = {}
        for line in _data(self.blocks.get("STATISTICAL_INFORMATION_PARTICLES", [])):
            *words, name = line.split()
            if name.upper() not in kinds or len(words) != len(ParticleStatistics.__slots__):
                continue
            try:
                found[kinds[name.upper()]] = ParticleStatistics(*(float(word) for word in words))
            except ValueError:
                raise InputError(
                    f"{self.name}: STATISTICAL_INFORMATION_PARTICLES: {line!r} found, expected six numbers and "
                    "a particle."
                ) from None
        return found

    def _check(self, header: Header) -> None:
        words = sum(name != "w" for name in header.stored) + len(header.extra_floats) + len(header.extra_longs)
        expected = _TYPE_AND_ENERGY + _WORD * words
        if header.record_length != expected:
            raise InputError(
                f"{self.name}: RECORD_LENGTH: {header.record_length} found, but what RECORD_CONTENTS lists takes "
                f"{expected} bytes (type 1, energy and {words} more of 4 each; w is never stored)."
            )
        size, checksum = header.record_length * header.particles, self._whole("CHECKSUM")
        if checksum != size:
            raise InputError(
                f"{self.name}: CHECKSUM: {checksum} found, expected RECORD_LENGTH x PARTICLES = {size}. The header "
                "does not fit itself; ask for the file again."
            )
        if header.particles == 0 or header.original_histories == 0:
            raise InputError(
                f"{self.name}: {header.particles} PARTICLES of {header.original_histories} ORIG_HISTORIES found, "
                "expected at least one of each."
            )
        if header.counts and sum(header.counts.values()) != header.particles:
            counts = ", ".join(f"{count} {PARTICLE_NAMES[kind]}" for kind, count in header.counts.items())
            raise InputError(f"{self.name}: PARTICLES: {header.particles} found, but it lists {counts}.")


def _data(lines: list[str]) -> list[str]:
    """Lines without comments, and without those that held nothing else."""
    without = (line.partition("//")[0].strip() for line in lines)
    return [line for line in without if line]
