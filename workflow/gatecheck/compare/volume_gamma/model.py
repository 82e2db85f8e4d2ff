"""What gamma over the whole dose hands on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.compare.interface.model import NoiseFreeEstimate
from gatecheck.files import HandedOn

Reference = Literal["TPS", "MC"]

UNREACHED = -1.0
"""In a map: no dose to compare with near enough. NaN: not evaluated."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VolumeGammaRate(_Part):
    """Part of the reference dose's voxels in one region that passes gamma; never without what it rests on."""

    least_percent: float = Field(description="region: voxels of the body with a reference dose of this much or more")
    criteria: str
    reference: Reference = Field(description="whose voxels are asked; the other dose is searched")
    points: int = Field(description="voxels of the region, each of which was asked")
    unreached: int = Field(description="of them, without dose near enough to be compared with; they count as failed")
    passed: int
    as_computed_percent: float = Field(description="passed of points, from the dose with its noise")
    mean_gamma: float = Field(description="over all points; one not reached counts with the largest gamma looked for")
    pass_percent: NoiseFreeEstimate | None = Field(
        description="extrapolated to a dose without noise; null: too few batches or points"
    )
    sampled_points: int = Field(description="chosen at random, at which the part of noise was found")


class GammaMap(_Part):
    """One image beside gamma.json: -1 not reached, NaN not evaluated."""

    file: str
    criteria: str
    reference: Reference
    largest: float = Field(description="gammas above are given as this")


class VolumeGamma(HandedOn):
    """Written as compare/gamma.json. Gamma is global: its dose tolerance is in per cent of the normalisation."""

    made_from: dict[str, str]
    normalisation_gy: float | None = Field(description="null: nothing was compared")
    normalisation_of: str
    cutoff_percent: float = Field(description="of the normalisation; reference doses below are not evaluated")
    high_dose_relative_sigma: float = Field(description="k = 1, mean over body voxels above half the maximum")
    high_dose_voxels: int
    batches: int
    rates: tuple[VolumeGammaRate, ...] = ()
    maps: tuple[GammaMap, ...] = ()
    notes: tuple[str, ...] = ()
