"""What the rooms before and after transport exchange with it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gatecheck.files import HandedOn, sha256_of_json

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PhaseSpace:
    """Particles below the collimators, in patient coordinates (DICOM LPS, mm).

    Attributes
    ----------
    pdg_code : ndarray of shape (n,), int32
        22 photon, 11 electron, -11 positron.
    energy : ndarray of shape (n,)
        Kinetic energy, MeV.
    position, direction : ndarray of shape (n, 3)
    weight : ndarray of shape (n,)
    beam_number : ndarray of shape (n,), int32
    histories : int
        Source photons sampled for it.
    nominal_photons : float
        Photons that the source would have emitted over its whole reference solid angle for the
        weights to be 1: dose per nominal photon = sum(weighted dose) / nominal_photons, and one MU
        is a fixed number of nominal photons (the calibration).
    fates : dict of str to float
        Where the weight of the histories went: reached, absorbed in jaws, absorbed in leaves, ...
    seconds_start_up : float
        Of the time that sampling it took, what does not grow with the histories.
    stream : ndarray of shape (n,), int64, optional
        The number of each particle's random numbers behind the head, from where it comes: a particle that two
        deliveries share has the same in both. Without it, its place.
    history : ndarray of shape (n,), int64, optional
        Particles of one number, next to each other, are one history's: what they leave in a voxel is added up before it
        is squared. Without it each is one alone.
    """

    pdg_code: npt.NDArray[np.int32]
    energy: FloatArray
    position: FloatArray
    direction: FloatArray
    weight: FloatArray
    beam_number: npt.NDArray[np.int32]
    histories: int
    nominal_photons: float
    fates: dict[str, float] = field(default_factory=dict)
    seconds_start_up: float = 0.0
    stream: npt.NDArray[np.int64] | None = None
    history: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """A part that forgot to take its share of the streams would follow others' random numbers."""
        for name, numbers in (("streams", self.stream), ("histories", self.history)):
            if numbers is not None and len(numbers) != len(self.energy):
                raise ValueError(f"{len(numbers)} {name} for {len(self.energy)} particles")

    def __len__(self) -> int:
        return len(self.energy)

    def chosen(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> PhaseSpace:
        """Some of the particles, in the order asked for; histories and fates stay those of all."""
        return replace(
            self,
            pdg_code=self.pdg_code[which],
            energy=self.energy[which],
            position=self.position[which],
            direction=self.direction[which],
            weight=self.weight[which],
            beam_number=self.beam_number[which],
            stream=None if self.stream is None else self.stream[which],
            history=None if self.history is None else self.history[which],
        )


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Engine(_Part):
    """Which engine, physics and data made a dose; stated in every result."""

    gatecheck: str
    opengate: str
    geant4: str
    physics_list: str
    data_set: str = Field(description="one line naming the Geant4 data set")
    data_set_kind: str
    data_set_sha256: str
    clinical: bool = Field(description="False: the data set is not for clinical use")
    settings: dict[str, str] = Field(description="cuts, step function, step limit, ...")


class PhaseSpaceUse(_Part):
    """How a recorded phase space served as the source, and what its finite number of histories leaves uncertain.

    No two runs share a history, so a standard deviation from their spread holds the latent part already; using the
    same histories more often does not lower that part. Sums of squares over single uses take these for
    independent, and miss it.
    """

    files: int
    particles: int = Field(description="in the files")
    histories: int = Field(description="original histories that left particles, in the files")
    histories_used: int = Field(description="different ones of them")
    recycle: int = Field(description="times that each of these was used")
    rotate: bool = Field(description="each use turned about the beam axis by an angle of its own")
    latent_relative_sigma: dict[str, float | None] = Field(
        description="k = 1, of the histories used: photons' energy fluence in centred squares of this side (mm) at the "
        "isocentre plane, before jaws and leaves; null: none crosses it"
    )
    warnings: tuple[str, ...] = ()

    @property
    def latent_floor(self) -> tuple[float, float] | None:
        """Side (mm) and latent relative sigma of the smallest square that is crossed: the nearest to one voxel's."""
        crossed = [(float(side), sigma) for side, sigma in self.latent_relative_sigma.items() if sigma is not None]
        return min(crossed, default=None)


class Chunk(_Part):
    """One process' share of the simulation."""

    index: int
    histories: int
    seed: int


class Pilot(HandedOn):
    """Written by plan_chunks into transport/pilots: planning again from the same inputs gives the same chunks."""

    inputs_sha256: str
    histories: int
    seed: int
    relative_sigma_of_one: float = Field(description="see gatecheck.transport.pilot.PilotEstimate")
    seconds_per_history: float
    seconds_start_up: float
    peak_memory_mb: float
    shared_memory_mb: float
    electron_steps_sha256: str | None = Field(None, description="of recorded steps; null: GATE followed electrons")


class ChunkPlan(HandedOn):
    """Written by plan_chunks as transport/chunks.json."""

    inputs_sha256: str = Field(description="one hash over delivery, machine model, patient, physics and code version")
    chunks: tuple[Chunk, ...]
    target_relative_sigma: float | None
    expected_relative_sigma: float | None
    seconds_per_history: float
    seconds_start_up: float = Field(0.0, description="that every chunk takes before and beside its photons")
    pilot_histories: int
    peak_memory_mb: float = Field(0.0, description="of the pilot's process")
    shared_memory_mb: float = Field(0.0, description="of it, what the chunks of a job share")
    electron_steps_sha256: str | None = Field(
        None, description="of the recorded steps that all chunks are to follow; null: GATE follows electrons"
    )
    phase_space: PhaseSpaceUse | None = Field(None, description="null: the machine model's source")
    chunks_of_rounds: tuple[int, ...] = Field(
        (), description="how many of the chunks the pilot and each round after it asked for; empty: all by the pilot"
    )


NOISE_OF_REACHED = 1.05
"""A sigma is itself known to a few per cent: this much above what was wanted counts as reached."""


class Precision(_Part):
    """How well something was to be known, and is."""

    name: str = Field(description="relative_sigma, cord_d003cc, tumour_d95 or shell_means")
    wanted: float = Field(description="per cent: relative_sigma k = 1, the others half of the 95 % interval")
    reached: float | None = Field(description="per cent; null: not to be had from this case")

    @property
    def is_reached(self) -> bool:
        """Whether it is known as well as was wanted, but for the noise of how well it is."""
        return self.reached is not None and self.reached <= NOISE_OF_REACHED * self.wanted

    @property
    def more_photons(self) -> float:
        """Times the photons so far that it takes: the square of what is reached over what is wanted."""
        return 0.0 if self.reached is None else (self.reached / self.wanted) ** 2


class TopUp(HandedOn):
    """Written as transport/top-up-1.json and so on: what a round after the pilot's still asks for."""

    number: int
    inputs_sha256: str
    precisions: tuple[Precision, ...] = Field(description="before this round")
    chunks: tuple[Chunk, ...] = Field(description="none: all is reached, or no more photons are allowed")
    phase_space: PhaseSpaceUse | None = Field(None, description="with the chunks of this round")


class ScoredBox(_Part):
    """The score of one box in one chunk: two-component float64 image, sum and sum of squares of dose."""

    name: str
    file: str
    sha256: str


class ChunkResult(HandedOn):
    """Written last, sealed, so that a chunk counts as done only when all of it is there, and as it was written."""

    content_sha256: str = Field("", description="of all else in this document; empty: not sealed")
    inputs_sha256: str
    index: int
    seed: int
    histories: int
    nominal_photons: float
    dose_to: str = Field("medium", description="medium or water")
    linac_sha256: str = Field("", description="content of the machine model; empty: a phase space from elsewhere")
    particles: int = Field(description="phase-space particles aimed at the patient")
    boxes: tuple[ScoredBox, ...]
    engine: Engine
    made_with: dict[str, str] = Field(
        {}, description="versions of Python and libraries, and code_sha256; empty: of an earlier version"
    )
    fates: dict[str, float]
    energy: dict[str, float] = Field(
        description="MeV, weighted: entered (into the boxes' hull), deposited (per box and total), left_to_gate (by "
        "electrons along recorded steps that came into air)"
    )
    electron_steps_sha256: str | None = Field(None, description="of recorded steps; null: GATE followed electrons")
    seconds: dict[str, float] = Field(description="head, start_up (of head and transport), transport, writing")
    seconds_of_transport: dict[str, float] = Field(
        {}, description="photons, along_steps (electrons along recorded steps), gate; empty: of an earlier version"
    )
    seconds_into_job: float | None = Field(
        None,
        description="from the start of its job's process to its own first photon: of a job's first chunk what the job "
        "takes to start; null: a process of its own, or a system that does not say",
    )
    ended_at: datetime.datetime | None = Field(None, description="UTC; null: of an earlier version")
    peak_memory_mb: float
    shared_memory_mb: float = Field(0.0, description="of it, recorded steps, which processes that fork from one share")

    @property
    def _of_content(self) -> str:
        return sha256_of_json(self.model_dump(mode="json", exclude={"content_sha256"}))

    def sealed(self) -> ChunkResult:
        """With the hash of its own content: a digit that changes on a disk is a valid digit."""
        return self.model_copy(update={"content_sha256": self._of_content})

    @model_validator(mode="after")
    def _check_content(self) -> ChunkResult:
        if self.content_sha256 not in ("", self._of_content):
            raise ValueError("it has changed since it was written")
        return self


class CalibrationResult(HandedOn):
    """The reference field, simulated. Written as calibration.json in a folder named by its key."""

    key_sha256: str
    machine: str
    linac_sha256: str = Field("", description="content of the machine model")
    engine: Engine
    reference: dict[str, float | str] = Field(description="field, SSD, depth, Gy per MU")
    dose_per_nominal_photon: float = Field(description="Gy at the reference point per nominal photon")
    relative_sigma: float
    nominal_photons_per_mu: float
    histories: int = Field(description="source photons whose dose was simulated")
    photon_histories: int = Field(0, description="source photons followed besides without their electrons")
    seconds: float
    phase_space: PhaseSpaceUse | None = Field(None, description="null: the machine model's source")
