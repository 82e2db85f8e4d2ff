"""What the recalculations hand on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.config_recalculation import Change
from gatecheck.files import HandedOn


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChangedMetric(_Part):
    """One metric, Gy for the whole course, as it is and what the change adds to it.

    The difference is between two simulations of the same photons; `sigma_apart_gy` is what its sigma would be if each
    had photons of its own, as many.
    """

    structure: str
    metric: str = Field(description="d0_03cc_gy, d95_gy, mean_gy, or mean_gy of a shell round the tumour")
    region: str = Field("", description="the shell; empty: the whole structure")
    planned_gy: float = Field(description="of the case's own dose as compared; of a shell the mean there")
    difference_gy: float = Field(description="changed minus planned, to first order in the change")
    sigma_gy: float = Field(description="of the difference, k = 1, from the spread of pairs of chunks")
    sigma_apart_gy: float

    @property
    def gain(self) -> float | None:
        """How many times as many photons of their own would be needed; None without noise."""
        return (self.sigma_apart_gy / self.sigma_gy) ** 2 if self.sigma_gy > 0 else None


class Recalculation(HandedOn):
    """Written as recalculated/<change>.json."""

    made_from: dict[str, str] = Field(description="role of each input: SHA-256")
    change: Change
    size: float | None = Field(description="of the change")
    unit: str = Field("", description="of the size: mm or %")
    photons: int = Field(description="source photons of all pairs")
    pairs: int
    prescription_gy: float | None
    mean_relative_difference: float = Field(
        description="changed minus planned dose over planned, mean over the body voxels above half the planned maximum"
    )
    mean_relative_sigma: float = Field(description="of that mean, k = 1")
    metrics: tuple[ChangedMetric, ...]
    gain: float | None = Field(
        description="median over the mean doses: how many times as many photons of their own would give the same "
        "sigma; from few pairs it is known to a factor of two"
    )
    difference: str = Field(description="changed minus planned dose beside this file, Gy, on the grid of mc_dose.mha")
    difference_sha256: str
    notes: tuple[str, ...] = ()
