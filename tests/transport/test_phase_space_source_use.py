"""What plan and calibration hand on of a phase space: how much of it was used, and its latent uncertainty."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast_head_deliveries import STX
from iaea_files import particles, write_phase_space

from gatecheck.config import PhaseSpaceConfig
from gatecheck.config_transport import CalibrationConfig, TransportConfig
from gatecheck.files import read_json
from gatecheck.transport import calibrate as calibrate_module
from gatecheck.transport.calibrate import calibrate
from gatecheck.transport.model import CalibrationResult, ChunkPlan, PhaseSpaceUse
from gatecheck.transport.phase_space_source import PhaseSpaceSource, open_source
from gatecheck.transport.plan import phase_space_use
from gatecheck.transport.reference_run import ReferenceRun

HISTORIES = 100_000


def opened(folder: Path, **config: Any) -> PhaseSpaceSource:
    """Two photons a history that cross the isocentre plane evenly in 120 x 120 mm, but none in the innermost 20 mm."""
    random = np.random.default_rng(8)
    x, y = random.uniform(-6, 6, (2, HISTORIES))  # cm at 100 cm
    x = np.where(np.abs(x) < 1, np.sign(x) * 1.001, x)
    length = np.sqrt(x**2 + y**2 + 100.0**2)
    once = {"x": 0.267 * x, "y": 0.267 * y, "u": x / length, "v": y / length}
    content = particles(
        2 * HISTORIES, new=np.arange(2 * HISTORIES) % 2 == 0, **{name: np.repeat(v, 2) for name, v in once.items()}
    )
    # Far too low an energy for 6 MV: the files' own warning.
    return open_source(PhaseSpaceConfig(files=(write_phase_space(folder / "beam", content),), **config), STX)


def test_the_use_is_of_the_different_histories_whatever_each_was_used_for(tmp_path: Path) -> None:
    source = opened(tmp_path, recycle=3, rotate=True)
    use, quarter = (phase_space_use(source, number) for number in (HISTORIES, HISTORIES // 4))
    assert (use.files, use.particles, use.histories) == (1, 2 * HISTORIES, HISTORIES)
    assert (quarter.histories_used, quarter.recycle, quarter.rotate) == (HISTORIES // 4, 3, True)
    assert use.warnings == source.summary.warnings
    assert any("MeV" in warning for warning in use.warnings)
    assert use.latent_relative_sigma["10"] is None
    # A history crosses the 100 mm square with p = (100 / 120)^2, each time with the same energy but for 1 / cosine.
    p = (100 / 120) ** 2
    expected = math.sqrt((1 - p) / (p * HISTORIES))
    assert use.latent_relative_sigma["100"] == pytest.approx(expected, rel=0.02)
    assert quarter.latent_relative_sigma["100"] == pytest.approx(2 * expected, rel=0.02)


def test_the_floor_is_of_the_smallest_square_that_is_crossed(tmp_path: Path) -> None:
    use = phase_space_use(opened(tmp_path), HISTORIES)
    assert use.latent_floor == (40.0, use.latent_relative_sigma["40"])
    nowhere = use.model_copy(update={"latent_relative_sigma": {"10": None, "40": None, "100": None}})
    assert nowhere.latent_floor is None


def test_plans_and_calibrations_of_before_are_of_the_machine_models_source(tmp_path: Path) -> None:
    plan = ChunkPlan(
        inputs_sha256="",
        chunks=(),
        target_relative_sigma=None,
        expected_relative_sigma=None,
        seconds_per_history=1.0,
        pilot_histories=1,
    )
    document = json.loads(plan.model_dump_json())
    del document["phase_space"]
    (tmp_path / "chunks.json").write_text(json.dumps(document), encoding="utf-8")
    assert read_json(tmp_path / "chunks.json", ChunkPlan).phase_space is None


@pytest.mark.parametrize("recorded", [True, False])
def test_the_calibration_counts_the_histories_of_all_its_rounds(
    recorded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(tmp_path, recycle=7) if recorded else None
    asked: list[dict[str, Any]] = []

    def pretended(
        _simulate: object, requests: list[dict[str, Any]], *, processes: int, longest_seconds: float
    ) -> list[ReferenceRun]:
        """Two batches a run, 2 % apart in the first round and 0.1 % in those after it."""
        spread = 0.02 if not asked else 0.001
        asked.extend(requests)
        assert len(requests) == processes
        return [ReferenceRun((1.0 - spread, 1.0 + spread), request["histories"], 10.0) for request in requests]

    monkeypatch.setattr(calibrate_module, "run_in_processes", pretended)
    result = calibrate(
        STX, TransportConfig(), CalibrationConfig(relative_sigma=0.009), "medium", tmp_path / "linac", source=source
    )
    assert len(asked) > 2
    (path,) = (tmp_path / "linac").glob("*/calibration.json")
    assert read_json(path, CalibrationResult) == result
    if source is None:
        assert result.phase_space is None
        return
    used = set()
    for request in asked:
        used |= set(range(request["run"].first, request["run"].end))
    assert isinstance(result.phase_space, PhaseSpaceUse)
    assert result.phase_space == phase_space_use(source, len(used))
    assert result.histories / 7 <= len(used) < result.histories / 7 + len(asked)
