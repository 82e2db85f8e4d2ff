"""Rounds of the calibration: none is lost, enough are made, and what nobody waits for is refused early."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast_head_deliveries import STX

from gatecheck.config_transport import CalibrationConfig, TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.transport import calibrate as calibrate_module
from gatecheck.transport.calibrate import calibrate
from gatecheck.transport.model import CalibrationResult
from gatecheck.transport.reference_run import ReferenceRun

SIGMA_OF_ONE = 10.0  # relative, of the dose by one photon: 0.29 % takes 11 million


class _Pretended:
    """Processes whose batches scatter as photons do, the same from the same seed; they may break off."""

    def __init__(self, breaks_off_after: int | None = None) -> None:
        self.seeds: list[int] = []
        self.histories: list[int] = []
        self.left = breaks_off_after

    def __call__(
        self, _function: Any, requests: list[dict[str, Any]], *, processes: int, longest_seconds: float
    ) -> list[ReferenceRun]:
        assert processes == len(requests) == 2
        if self.left is not None:
            if self.left == 0:
                raise SimulationError("killed")
            self.left -= 1
        self.seeds += [request["seed"] for request in requests]
        self.histories += [request["histories"] for request in requests]
        return [self._run(request) for request in requests]

    @staticmethod
    def _run(request: dict[str, Any]) -> ReferenceRun:
        batches, histories = 10, request["histories"]
        noise = np.random.default_rng(request["seed"]).normal(size=batches)
        # Seeds change with the engine; what it takes to reach a sigma must not.
        noise = (noise - noise.mean()) / noise.std(ddof=1)
        doses = 3e-15 * (1 + SIGMA_OF_ONE / np.sqrt(histories / batches) * noise)
        return ReferenceRun(tuple(doses.tolist()), histories, 85e-6 * histories)


def _calibrated(
    folder: Path, pretended: _Pretended, wanted: float, monkeypatch: pytest.MonkeyPatch
) -> CalibrationResult:
    monkeypatch.setattr(calibrate_module, "run_in_processes", pretended)
    return calibrate(STX, TransportConfig(), CalibrationConfig(relative_sigma=wanted), "medium", folder)


@pytest.mark.parametrize("broken_after", [1, 2])
def test_an_interrupted_calibration_goes_on_and_gives_what_an_undisturbed_one_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_after: int
) -> None:
    whole = _Pretended()
    undisturbed = _calibrated(tmp_path / "whole", whole, 0.004, monkeypatch)
    first, second = _Pretended(broken_after), _Pretended()
    with pytest.raises(SimulationError, match="killed"):
        _calibrated(tmp_path / "broken", first, 0.004, monkeypatch)
    result = _calibrated(tmp_path / "broken", second, 0.004, monkeypatch)
    assert first.seeds + second.seeds == whole.seeds
    assert len(set(whole.seeds)) == len(whole.seeds)
    assert result.model_copy(update={"seconds": 0.0}) == undisturbed.model_copy(update={"seconds": 0.0})
    assert sorted(path.name for path in (tmp_path / "broken").glob("*/*")) == [".lock", "calibration.json"]


class _Slow(_Pretended):
    """Its first round lasts until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.may_end = threading.Event(), threading.Event()

    def __call__(
        self, _function: Any, requests: list[dict[str, Any]], *, processes: int, longest_seconds: float
    ) -> list[ReferenceRun]:
        self.began.set()
        assert self.may_end.wait(60)
        return super().__call__(_function, requests, processes=processes, longest_seconds=longest_seconds)


def test_plans_that_begin_together_have_one_calibration_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = _Slow()
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(2) as threads:
        first = threads.submit(_calibrated, tmp_path, slow, 0.004, monkeypatch)
        assert slow.began.wait(60)
        second = threads.submit(_calibrated, tmp_path, slow, 0.004, monkeypatch)
        deadline = time.monotonic() + 60
        while "another gatecheck calibrates: waiting for it" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
        slow.may_end.set()
        assert first.result(60) == second.result(60)
    assert "another gatecheck calibrates: waiting for it" in caplog.text
    assert len(set(slow.seeds)) == len(slow.seeds)


def test_damaged_notes_of_an_interrupted_calibration_cost_its_rounds_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SimulationError, match="killed"):
        _calibrated(tmp_path, _Pretended(2), 0.004, monkeypatch)
    (notes,) = tmp_path.glob("*/reference-runs.json")
    notes.write_text(notes.read_text(encoding="utf-8")[:50], encoding="utf-8")
    again = _Pretended()
    assert _calibrated(tmp_path, again, 0.004, monkeypatch).relative_sigma <= 0.004
    assert len(again.seeds) > 4


def test_a_sigma_that_takes_many_rounds_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.15 % took more rounds than there once were."""
    pretended = _Pretended()
    result = _calibrated(tmp_path, pretended, 0.0015, monkeypatch)
    assert result.relative_sigma <= 0.0015
    assert len(pretended.seeds) > 24
    assert 20e6 < result.histories < 80e6


def test_what_would_take_half_a_day_is_refused_within_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = _Pretended()
    with pytest.raises(SimulationError, match=r"0\.03 % would take about 1\d\d\d million .* \d\d hours"):
        _calibrated(tmp_path, pretended, 0.0003, monkeypatch)
    assert len(pretended.seeds) <= 4


def test_a_coarse_sigma_takes_few_photons_and_a_fine_one_begins_with_as_many_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse, fine = _Pretended(), _Pretended()
    result = _calibrated(tmp_path, coarse, 0.03, monkeypatch)
    assert result.relative_sigma <= 0.03
    assert result.histories == sum(coarse.histories) < 150_000
    assert _calibrated(tmp_path, fine, 0.01, monkeypatch).relative_sigma <= 0.01
    assert fine.histories[:2] == [100_000, 100_000]
