"""What the comparison hands on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.files import HandedOn
from gatecheck.transport.model import Precision


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metric(_Part):
    """A value with its standard deviation (k = 1); sigma is None for a dose without noise (a TPS's)."""

    value: float
    sigma: float | None
    interval_95: tuple[float, float] | None = Field(
        None, description="95 % confidence interval for the noise; None for a dose without noise"
    )


class DoseMetrics(_Part):
    """Dose of one structure, Gy, whole course; a Monte Carlo's without the bias that noise gives it.

    Sigma is that of the noise; the calibration's, common to all, is not part of it. The least doses to the hottest
    0.03 and 0.01 ml are None where less than that of the structure lies in the dose grid.
    """

    mean_gy: Metric
    d95_gy: Metric
    d50_gy: Metric
    d2_gy: Metric
    d003cc_gy: Metric | None = Field(
        None, description="least dose to the hottest 0.03 ml; None: less is in the dose grid"
    )
    d001cc_gy: Metric | None = Field(
        None, description="least dose to the hottest 0.01 ml; None: less is in the dose grid"
    )
    max_gy: Metric


class DvhCurve(_Part):
    """Cumulative dose-volume histogram: fraction of volume that receives at least each dose."""

    dose_gy: tuple[float, ...]
    volume_fraction: tuple[float, ...]
    volume_fraction_sigma: tuple[float, ...] | None


class StructureComparison(_Part):
    """One structure's Monte Carlo dose and, where there is one, TPS dose."""

    name: str
    interpreted_type: str
    volume_ml: float
    covered_fraction: float = Field(description="part of the structure's volume inside the dose grid")
    mc: DoseMetrics | None
    tps: DoseMetrics | None
    mc_dvh: DvhCurve | None
    tps_dvh: DvhCurve | None
    note: str = ""


class Comparison(HandedOn):
    """Written as compare/comparison.json; with a TPS dose beside it compare/difference.mha (MC - TPS, Gy)."""

    made_from: dict[str, str]
    structures: tuple[StructureComparison, ...]
    has_tps_dose: bool
    precisions: tuple[Precision, ...] = Field(
        (), description="what was to be known how well, and is; empty: nothing was"
    )
    warnings: tuple[str, ...] = ()
