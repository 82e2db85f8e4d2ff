"""Where the system lacks what opengate's wheel takes from it, that is said, with what to install."""

from __future__ import annotations

import sys

import pytest

from gatecheck.config import project_folder
from gatecheck.errors import SimulationError
from gatecheck.transport import engine


def test_an_engine_that_cannot_be_loaded_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opengate_core", None)
    with pytest.raises(SimulationError, match=r"opengate cannot be loaded \(.*opengate_core.*\).*libglib2\.0-0"):
        engine._geant4_version()


def test_the_container_installs_the_packages_that_the_refusal_names_and_the_readme_too() -> None:
    definition = project_folder() / "workflow" / "apptainer" / "gatecheck.def"
    assert f"--no-install-recommends {engine.SYSTEM_PACKAGES}\n" in definition.read_text(encoding="utf-8")
    assert f"`{engine.SYSTEM_PACKAGES}`" in (project_folder() / "README.md").read_text(encoding="utf-8")
