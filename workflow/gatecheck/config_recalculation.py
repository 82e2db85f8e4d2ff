"""The section `recalculation`: what is simulated again with the same photons, for what a small change does."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from gatecheck.config_section import ConfigSection

Change = Literal["as_delivered", "leaf_gap", "density", "control_points"]
"""What differs from the plan on the machine as commissioned."""

CHANGES: tuple[Change, ...] = get_args(Change)

BudgetChange = Literal["leaf_gap", "density", "control_points"]


class RecalculationConfig(ConfigSection):
    """What the dose depends on, by simulating it again with the same photons and something changed."""

    changes: tuple[BudgetChange, ...] = Field(
        (),
        description="for the error budget. leaf_gap: the gap between opposed leaf tips; density: of all tissues; "
        "control_points: the machine standing still at the middle between control points, as many TPSs take it",
    )
    leaf_gap_mm: Annotated[float, Field(gt=0, le=2)] = Field(
        0.1, description="by which every gap is wider; about how well a gap is known (k = 1)"
    )
    density_percent: Annotated[float, Field(gt=0, le=10)] = Field(
        1.0, description="by which tissues are less dense; about how well CT numbers tell densities (k = 1)"
    )
    output_percent: Annotated[float, Field(gt=0, le=10)] | None = Field(
        None,
        description="of the dose, k = 1: how well the machine's output is known (reference dosimetry, its constancy), "
        "for the error budget; empty: unknown, and the budget says so",
    )
    chunks: Annotated[int, Field(ge=4, le=1000)] = Field(
        10, description="of the plan's chunks, whose photons are used again; those of the trajectory logs too"
    )
