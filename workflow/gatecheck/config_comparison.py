"""The configuration's section `comparison`: structures, tolerances and where they come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gatecheck.config_section import ConfigSection


class ToleranceConfig(ConfigSection):
    """A tolerance, and where it comes from."""

    value: Annotated[float, Field(gt=0, le=100)] = Field(description="largest magnitude that passes")
    source: Annotated[str, Field(min_length=3)] = Field(description="the report or paper, or why the site chose it")


class GammaCriterionConfig(ConfigSection):
    """One pair of gamma criteria, global, of the prescription."""

    dose_percent: Annotated[float, Field(gt=0, le=20)] = Field(description="per cent of the prescription")
    distance: Annotated[float, Field(gt=0, le=20)] = Field(description="mm")


class CordLimitConfig(ConfigSection):
    """The highest dose that the cord may receive from this course."""

    dose_gy: Annotated[float, Field(gt=0, le=200)] = Field(description="Gy to the hottest 0.03 ml outside the tumour")
    source: Annotated[str, Field(min_length=3)] = Field(description="the report or paper, or why the site chose it")


_MPPG_5B = "AAPM MPPG 5.b (Geurts et al., J. Appl. Clin. Med. Phys. 23 (2022) e13641)"
_MPPG_9A = "AAPM-RSS MPPG 9.a (Halvorsen et al., J. Appl. Clin. Med. Phys. 18:5 (2017) 10)"


class ComparisonConfig(ConfigSection):
    """How the Monte Carlo and the TPS dose are compared where the tumour meets the cord."""

    tumour_structures: tuple[str, ...] = Field(
        (), description="names; empty: those of type GTV, without any CTV, without any those named so"
    )
    cord_structure: str | None = Field(
        None, description="name; empty: the one named spinal cord or the like, margins and canal left out"
    )
    prescription_gy: Annotated[float, Field(gt=0, le=200)] | None = Field(
        None, description="Gy of the whole course that per cents are of; empty: the plan's target prescription dose"
    )
    tps_dose_values: Literal["unknown", "at_centres"] = Field(
        "unknown",
        description="what the TPS's values are: doses at its voxels' centres, or unknown, perhaps means over them; "
        "unknown widens every interval by the difference",
    )
    output_tolerance_percent: ToleranceConfig = Field(
        ToleranceConfig(value=2.0, source=f"{_MPPG_5B}: 2 % of the dose where the gradient is low"),
        description="difference of dose in the tumour's core, per cent of the TPS dose there",
    )
    position_tolerance_mm: ToleranceConfig = Field(
        ToleranceConfig(
            value=0.5,
            source=f"gatecheck's choice: half of the 1 mm end-to-end of {_MPPG_9A}, which imaging and couch share",
        ),
        description="length of the shift between the two doses, mm",
    )
    spread_tolerance_mm: ToleranceConfig = Field(
        ToleranceConfig(
            value=0.5,
            source=f"gatecheck's choice: at 6 %/mm it is the 3 % of {_MPPG_5B} where the gradient is high",
        ),
        description="difference of the isodoses' mean place at equal output, and of the fall-off's width, mm",
    )
    cord_maximum_tolerance_percent: ToleranceConfig = Field(
        ToleranceConfig(value=3.0, source=f"{_MPPG_5B}: 3 % of the prescription where the gradient is high"),
        description="difference of dose to the cord's hottest 0.03 ml, per cent of the prescription",
    )
    cord_limit: CordLimitConfig | None = Field(None, description="empty: the cord's dose is compared, not limited")
    gamma: Annotated[tuple[GammaCriterionConfig, ...], Field(max_length=4)] = Field(
        (GammaCriterionConfig(dose_percent=2, distance=1), GammaCriterionConfig(dose_percent=3, distance=2)),
        description="criteria of gamma, at the interface and of the whole dose; 3 %/2 mm are those of AAPM TG-218 "
        "(Miften et al., Med. Phys. 45 (2018) e53), whose tolerance and action limits are for measurements: no rate is "
        "judged here",
    )
    plateau_gradient_percent_per_mm: Annotated[float, Field(gt=0, le=20)] = Field(
        2.0, description="of the prescription; the tumour's core is where the dose changes by less"
    )
    plateau_depth: Annotated[float, Field(ge=0, le=20)] = Field(1.0, description="mm of tumour round that core")
