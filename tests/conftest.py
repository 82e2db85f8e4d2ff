"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from .calibrations import Calibrations

PROJECT = Path(__file__).resolve().parents[1]
_LONGEST_FIRST = {"workflow": 0, "docs": 1, "transport": 2, "report": 3}
_OF_ONE_VERIFICATION = ("test_survival.py", "test_verify.py")
# The others of the report room look at the same three made reports.
_OF_OTHER_REPORTS = ("test_viewer_browser.py", "test_recalculated_page.py", "test_recorded_source.py")
# While the first workflow compiles and calibrates, the other worker does what needs neither; later ones find both made.
_BESIDE_THE_FIRST = ("test_as_delivered.py", "test_clinical_cases.py")


@pytest.fixture(scope="session")
def calibrations(tmp_path_factory: pytest.TempPathFactory) -> Calibrations:
    """What the workflows of all workers calibrated; where xdist is, each has a folder of its own below a common one."""
    own = tmp_path_factory.getbasetemp()
    return Calibrations((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "calibrations")


@pytest.fixture(scope="session")
def shared_folder() -> Callable[[str], Path]:
    """Give a folder of public data beside the checkout, or skip where it is absent."""

    def find(name: str) -> Path:
        folder = PROJECT.parent / "shared" / name
        if not folder.exists():
            pytest.skip(f"public data {name} is not beside the checkout")
        return folder

    return find


class _ByFile(LoadFileScheduling):
    """Each file to one worker, and all that look at one undisturbed verification to the same one: it is made once.

    So are the reports that most files of the report room look at.
    """

    def _split_scope(self, nodeid: str) -> str:
        scope = super()._split_scope(nodeid)
        path = Path(scope)
        if path.name in _OF_ONE_VERIFICATION:
            return "verified"
        return "made reports" if path.parent.name == "report" and path.name not in _OF_OTHER_REPORTS else scope


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole workflows come first: last, one of them would leave the other core without work."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, int]:
    if item.path.name in _BESIDE_THE_FIRST:
        return -1, _BESIDE_THE_FIRST.index(item.path.name)
    return _LONGEST_FIRST.get(item.path.parent.name, len(_LONGEST_FIRST)), 0
