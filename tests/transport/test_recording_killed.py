"""Recording electron steps: what a killed process leaves lies where the next one removes it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gatecheck.files import remove_partial
from gatecheck.transport.electron_replay.provide import _temporary_files_beside


def test_a_recording_has_its_temporary_files_beside_its_place_in_the_cache(tmp_path: Path) -> None:
    before = tempfile.gettempdir()
    with _temporary_files_beside(tmp_path / "key.npz"):
        folder = Path(tempfile.mkdtemp(prefix="electron-steps-"))
        assert folder.parent.parent == tmp_path
        remove_partial(tmp_path)  # as the next run does, were this one killed
        assert not folder.exists()
    assert tempfile.gettempdir() == before
    assert not list(tmp_path.iterdir())
