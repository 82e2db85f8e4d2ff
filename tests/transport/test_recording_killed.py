"""Recording electron steps: what a killed process leaves lies where the next one removes it, and no part is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatecheck.config_transport import TransportConfig
from gatecheck.errors import SimulationError
from gatecheck.files import remove_partial
from gatecheck.transport.electron_replay import provide
from gatecheck.transport.electron_replay.record import Recording
from gatecheck.transport.electron_replay.steps import RecordedTracks
from gatecheck.transport.materials import water

TRACKS = 3


def _tracks(number: int) -> RecordedTracks:
    """Of one step each."""
    return RecordedTracks(
        energy=np.ones(number, np.float32),
        deposit=np.ones(number, np.float32),
        chord=np.ones((number, 3), np.float32),
        direction=np.ones((number, 3), np.float32),
        is_last=np.ones(number, np.bool_),
        freed_first=np.zeros(number + 1, np.int32),
        freed_pdg=np.zeros(0, np.int32),
        freed_energy=np.zeros(0, np.float32),
        freed_direction=np.zeros((0, 3), np.float32),
    )


@pytest.mark.parametrize("recorded", [TRACKS, TRACKS - 1])
def test_a_recording_is_kept_with_all_its_tracks_and_has_its_temporary_files_beside_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: int
) -> None:
    before = tempfile.gettempdir()
    folders: list[Path] = []

    def record_tracks(*_: Any) -> list[RecordedTracks]:
        folders.append(Path(tempfile.mkdtemp(prefix="electron-steps-")))
        return [_tracks(1), _tracks(recorded - 1)]

    monkeypatch.setattr(provide, "record_tracks", record_tracks)
    monkeypatch.setattr(provide, "describe_engine", lambda _: None)
    monkeypatch.setattr(provide, "merged", lambda tracks, *_, **__: tracks)
    path = tmp_path / "key.npz"
    recording = Recording("e-", ((1.0, TRACKS - 1), (2.0, 1)), seed=1)
    if recorded == TRACKS:
        provide.record_and_keep(recording, water(0), path, TransportConfig())
        assert len(RecordedTracks.load(path).energy) == TRACKS
    else:
        with pytest.raises(SimulationError, match="gave 2 tracks, 3 expected: it is not kept"):
            provide.record_and_keep(recording, water(0), path, TransportConfig())
        assert not path.exists()
    (folder,) = folders
    assert folder.parent.parent == tmp_path
    assert tempfile.gettempdir() == before
    assert {one.name for one in tmp_path.iterdir()} <= {path.name}


def test_what_a_killed_recording_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    with provide._temporary_files_beside(tmp_path / "key.npz"):
        folder = Path(tempfile.mkdtemp(prefix="electron-steps-"))
        remove_partial(tmp_path)  # as the next run does, were this one killed
        assert not folder.exists()
    assert not list(tmp_path.iterdir())
