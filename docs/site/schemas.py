"""The JSON schemas that are published: of the configuration, and of every JSON file that one room hands to the next.

`python docs/site/schemas.py` (or `make schemas`) writes them to docs/schemas/ from the models that write the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from gatecheck.case.model import Case
from gatecheck.compare.biology.model import Biology
from gatecheck.compare.check import CheckedComparison
from gatecheck.compare.error_budget import ErrorBudget
from gatecheck.compare.interface.model import Interface
from gatecheck.compare.model import Comparison
from gatecheck.compare.profiles import Profiles
from gatecheck.compare.recalculation.model import Recalculation
from gatecheck.compare.setup_errors.model import SetupCheck, SetupRobustness
from gatecheck.compare.volume_gamma.model import VolumeGamma
from gatecheck.config import Config
from gatecheck.delivery.logs_followed import LogsFollowed
from gatecheck.dose.model import MergeResult
from gatecheck.files import write_atomically
from gatecheck.patient.model import PatientModel
from gatecheck.report.overview import Batch
from gatecheck.report.summary import Summary
from gatecheck.transport.jobs import JobResult
from gatecheck.transport.model import CalibrationResult, ChunkPlan, ChunkResult, TopUp
from gatecheck.transport.phase_space_source.inspection import SourceSummary

FOLDER = Path(__file__).resolve().parents[1] / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Published:
    """A kind of JSON file, and the model that it is written from.

    Attributes
    ----------
    name : str
        Of the schema: <name>.schema.json.
    file : str
        Where such files lie below a case's folder, or below the folder of results.
    """

    name: str
    file: str
    model: type[BaseModel]

    @property
    def path(self) -> Path:
        """The published file."""
        return FOLDER / f"{self.name}.schema.json"

    def schema(self) -> dict[str, Any]:
        """Of what is written: keys with a default are always there. Of the configuration: of what is read."""
        mode: Literal["validation", "serialization"] = "validation" if self.model is Config else "serialization"
        return {"$schema": DIALECT, **self.model.model_json_schema(mode=mode)}

    def text(self) -> str:
        """The published file's content."""
        return json.dumps(self.schema(), indent=1, ensure_ascii=False) + "\n"


CONFIGURATION = Published("config", "config.yaml", Config)
HANDED_ON = (
    Published("summary", "report/summary.json", Summary),
    Published("batch", "batch.json", Batch),
    Published("case", "case/case.json", Case),
    Published("patient", "patient/patient.json", PatientModel),
    Published("calibration", "transport/calibration.json", CalibrationResult),
    Published("chunks", "transport/chunks.json", ChunkPlan),
    Published("chunk", "transport/chunk-0001.json", ChunkResult),
    Published("job", "transport/job-0001.json", JobResult),
    Published("top-up", "transport/top-up-1.json", TopUp),
    Published("phase-space", "transport/phase_space.json", SourceSummary),
    Published("merge", "dose/merge.json", MergeResult),
    Published("checked", "compare/checked.json", CheckedComparison),
    Published("comparison", "compare/comparison.json", Comparison),
    Published("interface", "compare/interface.json", Interface),
    Published("biology", "compare/biology.json", Biology),
    Published("setup", "compare/setup.json", SetupRobustness),
    Published("setup-check", "compare/setup_check.json", SetupCheck),
    Published("gamma", "compare/gamma.json", VolumeGamma),
    Published("profiles", "compare/profiles.json", Profiles),
    Published("error-budget", "compare/error_budget.json", ErrorBudget),
    Published("logs", "delivery/logs.json", LogsFollowed),
    Published("recalculated", "recalculated/leaf_gap.json", Recalculation),
)
PUBLISHED = (CONFIGURATION, *HANDED_ON)


def main() -> None:
    """Write every schema, and remove those of models that are no more."""
    FOLDER.mkdir(exist_ok=True)
    wanted = {one.path for one in PUBLISHED}
    for path in set(FOLDER.glob("*.schema.json")) - wanted:
        path.unlink()
    for one in PUBLISHED:
        with write_atomically(one.path) as temporary:
            temporary.write_text(one.text(), encoding="utf-8")


if __name__ == "__main__":
    main()
