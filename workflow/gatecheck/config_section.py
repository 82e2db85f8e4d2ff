"""What every section of the configuration is: unknown keys are refused, and nothing is changed once it was read."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Millimetres = Annotated[float, Field(gt=0, le=1000)]


class ConfigSection(BaseModel):
    """Keys with their types, limits and defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)
