"""What merging hands on."""

from __future__ import annotations

import datetime

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.files import HandedOn
from gatecheck.transport.model import Engine


class ConvergenceStep(BaseModel):
    """How well the dose was known from the first chunks alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batches: int = Field(description="chunks so far, in the order of their numbers")
    histories: int
    seconds: float = Field(description="of all these chunks together")
    fine_relative_sigma: float = Field(
        description="over the same voxels as MergeResult.fine_relative_sigma, of the final dose; from these batches, "
        "without what so few take from a mean of sigmas"
    )
    expected_relative_sigma: float = Field(
        description="from that of all chunks by one over the square root of the histories"
    )


class MergeResult(HandedOn):
    """Written as dose/merge.json beside mc_dose.mha and mc_sigma.mha (both float32, Gy, whole course)."""

    inputs_sha256: str
    chunks: tuple[int, ...]
    chunk_sha256: dict[str, str] = Field(description="chunk file: SHA-256")
    batches: int
    histories: int
    particles: int
    nominal_photons: float
    meterset_per_fraction: float
    fractions: int
    dose_to: str
    nominal_photons_per_mu: float
    calibration_relative_sigma: float = Field(description="common to all voxels; not part of mc_sigma")
    calibration_key_sha256: str
    mean_relative_sigma: float = Field(
        description="over body voxels above half the maximum, all on the joined grid: a coarse voxel counts as often "
        "as fine ones fit in it; from batches, without what few take from a mean of sigmas"
    )
    fine_relative_sigma: float = Field(
        0.0,
        description="over body voxels of the fine region above half the prescription, or half the maximum without one; "
        "from batches, without what few take from a mean of sigmas",
    )
    fine_voxels: int = Field(0, description="how many these are, on the joined grid")
    fine_above_gy: float | None = Field(
        None, description="the dose that they are above, whole course; null: of an earlier version"
    )
    convergence: tuple[ConvergenceStep, ...] = Field(
        (), description="after 2, 4, 8 and so on chunks, and all; empty: no fine voxel is above that dose"
    )
    target_relative_sigma: float | None = Field(
        None, description="what fine_relative_sigma was to be; None when a number of photons was asked for"
    )
    mean_relative_sigma_history: float = Field(description="the same from squared doses, history by history")
    voxels_above_half_maximum: int
    maximum_gy: float = Field(description="of a voxel of the body; noise picks the highest of many and so raises it")
    maximum_sigma_gy: float = Field(
        0.0, description="sigma (k = 1) of the voxel that has the maximum; not that of a maximum, which noise raises"
    )
    maximum_gy_per_fraction: float = 0.0
    engine: Engine
    made_with: dict[str, str] = Field(
        {}, description="versions of Python and libraries, and code_sha256, of all chunks; empty: of an earlier version"
    )
    electron_steps_sha256: str | None = Field(
        None, description="of the recorded steps that electrons took; null: GATE followed electrons"
    )
    seconds_of_chunks: float
    simulated_at: datetime.datetime | None = Field(
        None, description="when the last chunk ended, UTC; null: of an earlier version"
    )
    peak_memory_mb: float
    warnings: tuple[str, ...] = ()
