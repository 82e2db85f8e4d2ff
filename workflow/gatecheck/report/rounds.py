"""What each round of more photons found, and asked for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.report.inputs import ReportInputs
from gatecheck.transport.model import Precision


class SummaryRound(BaseModel):
    """What was known before a round of more photons, and what it then asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(description="from 1")
    chunks_before: int
    histories_before: int
    precisions: tuple[Precision, ...] = Field(description="before the round")
    chunks_asked_for: int = Field(description="0: all is reached, or no more photons are allowed")


def rounds_of(inputs: ReportInputs) -> tuple[SummaryRound, ...]:
    """Every round after the pilot's; none where nothing was to be reached, or the plan is not kept."""
    plan = inputs.chunk_plan
    if plan is None:
        return ()
    before = len(plan.chunks) - sum(len(one.chunks) for one in inputs.top_ups)
    found = []
    for one in inputs.top_ups:
        found.append(
            SummaryRound(
                number=one.number,
                chunks_before=before,
                histories_before=sum(chunk.histories for chunk in plan.chunks[:before]),
                precisions=one.precisions,
                chunks_asked_for=len(one.chunks),
            )
        )
        before += len(one.chunks)
    return tuple(found)
