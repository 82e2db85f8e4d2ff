"""Who took a machine model for which machine, and whether the model is still the one that was taken.

A model gives doses as soon as it can be read; that it agrees with the machine that treats is known only to
those who measured. What they say is kept beside the model with the hash of its values, so that a report
can tell a model that nobody took, or one that was edited since, from one that stands for a machine.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gatecheck.files import read_json, write_json
from gatecheck.linac.model import LinacModel

_DOUBT = (
    "Output, penumbra and leaves of the machine that treats may differ from the model's, and no sigma of this report "
    "holds that."
)

Words = Annotated[str, Field(min_length=1, max_length=200)]


class Acceptance(BaseModel):
    """accepted_<beam>.json beside a machine model: the physicist's word that it stands for machines that treat."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    machines: tuple[Words, ...] = Field(min_length=1, description="that treat, as plans name them (300A,00B2)")
    accepted_by: Words
    accepted_on: datetime.date
    grounds: str = Field("", max_length=1000, description="measurements, audits, reports that it rests on")
    content_sha256: str = Field(description="of the model's values when it was taken")


class AcceptedMachine(BaseModel):
    """What is known of a model's acceptance when a report is drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acceptance: Acceptance | None = Field(description="null: nobody took the model for a machine")
    is_current: bool = Field(description="the model's values are those that were taken")
    source_fitted_to: str = Field(description="where the photon source's numbers come from, in the model's words")


def acceptance_path(folder: Path, beam: str) -> Path:
    """Of the acceptance of one beam of the model in `folder`."""
    return folder / f"accepted_{beam}.json"


def read_acceptance(folder: Path, beam: str) -> Acceptance | None:
    """What was written when the model was taken; None where nobody did.

    Raises
    ------
    ResultError
        When the file is damaged.
    """
    path = acceptance_path(folder, beam)
    return read_json(path, Acceptance) if path.exists() else None


def write_acceptance(folder: Path, beam: str, acceptance: Acceptance) -> Path:
    """Write it beside the model, in place of an earlier one."""
    path = acceptance_path(folder, beam)
    write_json(path, acceptance)
    return path


def accepted_machine(linac: LinacModel, acceptance: Acceptance | None) -> AcceptedMachine:
    """Hold an acceptance against the model that is there."""
    beam = linac.beam
    return AcceptedMachine(
        acceptance=acceptance,
        is_current=acceptance is not None and acceptance.content_sha256 == linac.content_sha256,
        source_fitted_to=beam.source if beam.fit is None else beam.fit.source,
    )


def acceptance_warning(
    linac: LinacModel, accepted: AcceptedMachine, planned: Collection[str]
) -> tuple[str, str] | None:
    """Code and message, where nobody says that the model stands for the machines of a plan.

    Parameters
    ----------
    planned : collection of str
        Treatment Machine Name of the plan's beams.
    """
    acceptance = accepted.acceptance
    if acceptance is None:
        return (
            "machine-not-accepted",
            f"Nobody has said that the machine model {linac.name} stands for the machine that treats. Its photon "
            f"source: {accepted.source_fitted_to.rstrip('.')}. {_DOUBT}",
        )
    taken = f"The machine model {linac.name} was accepted for {', '.join(acceptance.machines)}"
    if not accepted.is_current:
        return "machine-changed", f"{taken}, and its values have changed since. {_DOUBT}"
    others = sorted(set(planned) - set(acceptance.machines))
    if others:
        return "machine-of-another-name", f"{taken}, and the plan is for {', '.join(map(_named, others))}. {_DOUBT}"
    return None


def _named(machine: str) -> str:
    return machine or "a machine without a name"
