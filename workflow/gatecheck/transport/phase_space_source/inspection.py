"""One look at every particle of a phase space: that the file is sound, where its histories begin, what it can tell."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gatecheck.config import PhaseSpaceConfig
from gatecheck.errors import InputError
from gatecheck.files import HandedOn, sha256_of_file, sha256_of_json
from gatecheck.linac.model import LinacModel
from gatecheck.transport.phase_space_source.frame import (
    Frame,
    distance_from_target,
    frame_of,
    is_followed,
    rays_in_gantry,
)
from gatecheck.transport.phase_space_source.header import (
    NEUTRON,
    PARTICLE_NAMES,
    PARTICLES_SUFFIX,
    PHOTON,
    ParticleStatistics,
)
from gatecheck.transport.phase_space_source.latent import SQUARES, EnergyFluence, latent_uncertainty
from gatecheck.transport.phase_space_source.records import BLOCK, PhaseSpaceFile, Records, open_phase_space

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

INDEX_STRIDE = 65_536
"""Histories between two entries of the index of their first records."""

# Relative; headers print few digits.
_STATISTICS_TOLERANCE = 0.01
_WORTH_SAYING = 0.01  # of the energy, when it is not followed
# Bremsstrahlung ends at the electrons' energy, which a nominal energy is named after.
_USUAL_HIGHEST_ENERGY = (0.5, 1.3)  # of the nominal energy


class HistoryMarks(StrEnum):
    """How a file says where an original history begins."""

    INCREMENTS = "incremental history number"
    ENERGY_SIGN = "sign of the energy"
    NONE = "none"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileSummary(_Part):
    """What one file holds."""

    name: str
    size: int = Field(description="bytes of the particles' file")
    modified_ns: int = Field(description="time of its last change")
    header_sha256: str
    data_sha256: str
    particles: int
    counts: dict[str, int] = Field(description="particles of each type")
    original_histories: int = Field(description="ORIG_HISTORIES, those that left no particle included")
    histories: int = Field(description="original histories that left particles")
    marks: HistoryMarks
    index: tuple[int, ...] = Field(description=f"first record of every {INDEX_STRIDE}th of these histories")
    flies_up_z: bool
    plane: tuple[float, float] = Field(description="smallest and largest distance from the target, mm")
    highest_energy: float = Field(description="of the photons, MeV")
    typical_weight: float = Field(description="median of the first photons' weights")
    not_followed: float = Field(
        description="share of the energy in neutrons, protons and what flies back or nearly across the beam"
    )
    energy_fluence: tuple[float, ...] = Field(description="sum over histories, for each square")
    energy_fluence_squared: tuple[float, ...]


class SourceSummary(HandedOn):
    """What the files of a phase-space source hold together."""

    settings_sha256: str = Field(description="frame and machine that it was looked at with")
    files: tuple[FileSummary, ...]
    latent_relative_sigma: dict[str, float | None] = Field(
        description="of the photons' energy fluence in centred squares of this side (mm) at the isocentre plane; null: "
        "none crosses it"
    )
    warnings: tuple[str, ...]

    @property
    def histories(self) -> int:
        """Original histories that left particles."""
        return sum(file.histories for file in self.files)

    @property
    def original_histories(self) -> int:
        """Original histories, those that left no particle included."""
        return sum(file.original_histories for file in self.files)

    @property
    def content_sha256(self) -> str:
        """Over headers and particles, whatever the files are called and wherever they lie."""
        return sha256_of_json([[file.header_sha256, file.data_sha256] for file in self.files])


def inspect_phase_space(config: PhaseSpaceConfig, linac: LinacModel) -> SourceSummary:
    """Read all files once, check every particle and sum up what they hold.

    Raises
    ------
    InputError
        When a file cannot be what its header says, its histories contradict each other or its plane does not lie
        between the target and the upper jaws.
    """
    files: list[FileSummary] = []
    warnings: list[str] = []
    for path in config.files:
        summary, said = _inspect_file(open_phase_space(path), config, linac)
        files.append(summary)
        warnings += said
    _check_different(files)
    latent = {
        f"{side:g}": latent_uncertainty(
            [file.energy_fluence[place] for file in files],
            [file.energy_fluence_squared[place] for file in files],
            [max(file.original_histories, file.histories) for file in files],
        )
        for place, side in enumerate(SQUARES)
    }
    for warning in warnings:
        logger.warning("%s", warning)
    return SourceSummary(
        settings_sha256=settings_sha256(config, linac),
        files=tuple(files),
        latent_relative_sigma=latent,
        warnings=tuple(warnings),
    )


def settings_sha256(config: PhaseSpaceConfig, linac: LinacModel) -> str:
    """Hash over what a look at the files depends on besides them."""
    frame = config.model_dump(mode="json", include={"target_z", "x_axis", "y_axis"})
    machine = {
        "jaws": _upper_jaws(linac),
        "axis": linac.machine.source_axis_distance,
        "energy": linac.beam.nominal_energy_mv,
    }
    return sha256_of_json({"frame": frame, "machine": machine})


def is_of(summary: SourceSummary, config: PhaseSpaceConfig, linac: LinacModel) -> bool:
    """Whether a summary was made of these headers and (by name, size and time) particles, in this frame."""
    if summary.settings_sha256 != settings_sha256(config, linac) or len(summary.files) != len(config.files):
        return False
    for path, file in zip(config.files, summary.files, strict=True):
        data = path.with_suffix(PARTICLES_SUFFIX)
        if not data.exists() or sha256_of_file(path) != file.header_sha256:
            return False
        status = data.stat()
        if (data.name, status.st_size, status.st_mtime_ns) != (file.name, file.size, file.modified_ns):
            return False
    return True


def history_starts(records: Records, marks: HistoryMarks) -> BoolArray:
    """Which particles are the first of an original history; all, where a file marks none."""
    if marks is HistoryMarks.INCREMENTS and records.increment is not None:
        return np.asarray(records.increment > 0)
    if marks is HistoryMarks.ENERGY_SIGN:
        return records.has_negative_energy
    return np.ones(len(records), dtype=bool)


def _upper_jaws(linac: LinacModel) -> float:
    return min(linac.machine.jaws.y.top, linac.machine.jaws.x.top)


def _check_different(files: list[FileSummary]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        if file.data_sha256 in seen:
            raise InputError(
                f"machine.phase_space.files: {file.name} holds the same particles as {seen[file.data_sha256]}. Name "
                "each file once; machine.phase_space.recycle says how often its particles are used."
            )
        seen[file.data_sha256] = file.name


def _inspect_file(file: PhaseSpaceFile, config: PhaseSpaceConfig, linac: LinacModel) -> tuple[FileSummary, list[str]]:
    first = file.read(0, min(BLOCK, file.header.particles))
    frame = frame_of(config, flies_up_z=_flies_up_z(first))
    look = _look(file, frame, _marks(first), linac)
    if look.marks is not look.marks_found:
        # The beginning of the file showed less than what came after it.
        look = _look(file, frame, look.marks_found, linac)
    _check_histories(file, look)
    _check_counts(file, look)
    status = file.path.stat()
    summary = FileSummary(
        name=file.name,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        header_sha256=sha256_of_file(file.header_path),
        data_sha256=sha256_of_file(file.path),
        particles=file.header.particles,
        counts={PARTICLE_NAMES[kind]: count for kind, count in sorted(look.counts.items())},
        original_histories=file.header.original_histories,
        histories=look.histories,
        marks=look.marks,
        index=tuple(look.index),
        flies_up_z=frame.flies_up_z,
        plane=(look.nearest, look.farthest),
        highest_energy=look.highest_energy,
        typical_weight=_typical_weight(first),
        not_followed=look.not_followed,
        energy_fluence=tuple(look.fluence.total.tolist()),
        energy_fluence_squared=tuple(look.fluence.squares.tolist()),
    )
    return summary, [*file.header.warnings, *_doubts(file, look, linac)]


def _flies_up_z(records: Records) -> bool:
    return float((records.direction[:, 2] * records.weight * records.energy).sum()) >= 0


def _typical_weight(records: Records) -> float:
    """The median: variance reduction leaves many photons of one weight and a few far heavier ones."""
    weight = records.weight[(records.kind == PHOTON) & (records.weight > 0)]
    return float(np.median(weight)) if len(weight) else 1.0


def _marks(records: Records) -> HistoryMarks:
    if records.increment is not None and records.increment.any():
        return HistoryMarks.INCREMENTS
    return HistoryMarks.ENERGY_SIGN if records.has_negative_energy.any() else HistoryMarks.NONE


@dataclass(slots=True)
class _Look:
    """What is gathered on the way through a file."""

    marks: HistoryMarks
    histories: int = 0
    index: list[int] = field(default_factory=list)
    increments: int = 0
    has_increments: bool = False
    has_signs: bool = False
    nearest: float = math.inf
    farthest: float = -math.inf
    highest_energy: float = 0.0
    counts: dict[int, int] = field(default_factory=dict)
    weight: dict[int, float] = field(default_factory=dict)
    weighted_energy: dict[int, float] = field(default_factory=dict)
    followed_energy: float = 0.0
    fluence: EnergyFluence = field(default_factory=EnergyFluence)

    @property
    def not_followed(self) -> float:
        """Share of the energy."""
        energy = sum(self.weighted_energy.values())
        return 1 - self.followed_energy / energy if energy > 0 else 0.0

    @property
    def marks_found(self) -> HistoryMarks:
        """By what the file marks histories: increments come first, as they also tell of those without particles."""
        if self.has_increments:
            return HistoryMarks.INCREMENTS
        return HistoryMarks.ENERGY_SIGN if self.has_signs else HistoryMarks.NONE


def _look(file: PhaseSpaceFile, frame: Frame, marks: HistoryMarks, linac: LinacModel) -> _Look:
    look = _Look(marks)
    for first, records in _whole_histories(file, marks):
        starts = history_starts(records, marks).copy()
        starts[0] = True
        _check_marks_agree(file, first, records, marks)
        _check_plane(file, first, records, frame, linac)
        _count_histories(look, first, records, starts)
        _count_particles(look, records)
        followed = is_followed(records, frame)
        look.followed_energy += float((records.weight * records.energy)[followed].sum())
        distance = distance_from_target(records.position[:, 2], frame)
        look.nearest = min(look.nearest, float(distance.min()))
        look.farthest = max(look.farthest, float(distance.max()))
        look.fluence.add(
            rays_in_gantry(records, frame),
            records.weight * records.energy,
            records.kind == PHOTON,
            np.cumsum(starts) - 1,
            linac.machine.source_axis_distance,
        )
    return look


def _whole_histories(file: PhaseSpaceFile, marks: HistoryMarks) -> Iterator[tuple[int, Records]]:
    """The file's records in blocks that begin where a history does, each with the number of its first record."""
    first, length = 0, BLOCK
    while first < file.header.particles:
        last = min(first + length, file.header.particles)
        records = file.read(first, last)
        if last < file.header.particles:
            later_starts = np.flatnonzero(history_starts(records, marks)[1:])
            if not len(later_starts):
                length *= 2
                continue
            last = first + int(later_starts[-1]) + 1
            records = records.chosen(np.arange(len(records)) < last - first)
        yield first, records
        first, length = last, BLOCK


def _count_histories(look: _Look, first: int, records: Records, starts: BoolArray) -> None:
    at = np.flatnonzero(starts)
    number = look.histories + np.arange(len(at))
    look.index += (first + at[number % INDEX_STRIDE == 0]).tolist()
    look.histories += len(at)
    look.has_signs |= bool(records.has_negative_energy.any())
    if records.increment is not None:
        look.increments += int(records.increment.sum())
        look.has_increments |= bool(records.increment.any())


def _count_particles(look: _Look, records: Records) -> None:
    photons = records.energy[records.kind == PHOTON]
    look.highest_energy = max(look.highest_energy, float(photons.max(initial=0.0)))
    for kind in np.unique(records.kind):
        of_kind = records.kind == kind
        key = int(kind)
        look.counts[key] = look.counts.get(key, 0) + int(of_kind.sum())
        look.weight[key] = look.weight.get(key, 0.0) + float(records.weight[of_kind].sum())
        energy = float((records.weight[of_kind] * records.energy[of_kind]).sum())
        look.weighted_energy[key] = look.weighted_energy.get(key, 0.0) + energy


def _check_marks_agree(file: PhaseSpaceFile, first: int, records: Records, marks: HistoryMarks) -> None:
    if marks is not HistoryMarks.INCREMENTS or records.increment is None or not records.has_negative_energy.any():
        return
    differs = records.has_negative_energy != (records.increment > 0)
    if differs.any():
        at = int(np.argmax(differs))
        raise InputError(
            f"{file.name}: record {first + at}: an incremental history number of {records.increment[at]} and "
            f"{'a negative' if records.has_negative_energy[at] else 'a positive'} energy found, and they contradict "
            "each other on whether a history begins here. The file is damaged or was put together wrongly."
        )


def _check_plane(file: PhaseSpaceFile, first: int, records: Records, frame: Frame, linac: LinacModel) -> None:
    distance = distance_from_target(records.position[:, 2], frame)
    jaws = _upper_jaws(linac)
    outside = (distance <= 0) | (distance > jaws)
    if outside.any():
        at = int(np.argmax(outside))
        way = "+z" if frame.flies_up_z else "-z"
        raise InputError(
            f"{file.name}: record {first + at}: z = {records.position[at, 2]:g} mm found, which with particles flying "
            f"towards {way} and machine.phase_space.target_z = {frame.target_z:g} lies {distance[at]:g} mm from the "
            f"target. Expected between the target and the upper jaws ({jaws:g} mm): set target_z to where the target "
            "lies on the file's z axis, or use a phase space recorded above the jaws."
        )


def _check_histories(file: PhaseSpaceFile, look: _Look) -> None:
    stated = file.header.original_histories
    if look.marks is HistoryMarks.NONE:
        return
    if look.histories > stated:
        raise InputError(
            f"{file.name}: {look.histories} original histories begin in it, but {file.header.name} says "
            f"ORIG_HISTORIES {stated}. The dose would be scaled wrongly; ask for the right header."
        )
    if look.marks is HistoryMarks.INCREMENTS and look.increments > stated:
        raise InputError(
            f"{file.name}: its incremental history numbers add up to {look.increments}, but {file.header.name} says "
            f"ORIG_HISTORIES {stated}. The dose would be scaled wrongly; ask for the right header."
        )


def _check_counts(file: PhaseSpaceFile, look: _Look) -> None:
    for kind, stated in file.header.counts.items():
        found = look.counts.get(kind, 0)
        if found != stated:
            raise InputError(
                f"{file.name}: {found} {PARTICLE_NAMES[kind]} found, but {file.header.name} says {stated}. The file is "
                "damaged or belongs to another header."
            )


def _doubts(file: PhaseSpaceFile, look: _Look, linac: LinacModel) -> list[str]:
    """What does not forbid the use of a file, but should be known."""
    doubts = []
    if look.marks is HistoryMarks.NONE:
        doubts.append(
            f"{file.name}: it marks no beginnings of histories, so each particle counts as a history of its own; "
            "uncertainties, the latent one too, come out too small where particles of one history belong together."
        )
    low, high = (part * linac.beam.nominal_energy_mv for part in _USUAL_HIGHEST_ENERGY)
    if not low <= look.highest_energy <= high:
        doubts.append(
            f"{file.name}: photons of up to {look.highest_energy:.3g} MeV found, unusual for a beam of "
            f"{linac.beam.nominal_energy_mv:g} MV. Is it the right beam's phase space?"
        )
    heavy = {kind: count for kind, count in look.counts.items() if kind >= NEUTRON}
    if heavy:
        names = " and ".join(f"{count} {PARTICLE_NAMES[kind]}" for kind, count in sorted(heavy.items()))
        doubts.append(f"{file.name}: {names} are not transported.")
    if look.not_followed > _WORTH_SAYING:
        doubts.append(
            f"{file.name}: {100 * look.not_followed:.2g} % of the energy are not followed: neutrons, protons, and what "
            "flies back or nearly across the beam."
        )
    for kind, stated in file.header.statistics.items():
        doubts += _statistics_doubts(file, look, kind, stated)
    return doubts


def _statistics_doubts(file: PhaseSpaceFile, look: _Look, kind: int, stated: ParticleStatistics) -> list[str]:
    weight = look.weight.get(kind, 0.0)
    mean = look.weighted_energy.get(kind, 0.0) / weight if weight > 0 else 0.0
    pairs = (("weight", weight, stated.weight), ("mean energy", mean, stated.mean_energy))
    return [
        f"{file.name}: {what} of the {PARTICLE_NAMES[kind]}: {found:.6g} found, but {file.header.name} says {said:.6g}."
        for what, found, said in pairs
        if abs(found - said) > _STATISTICS_TOLERANCE * max(abs(found), abs(said))
    ]
