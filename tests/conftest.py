"""Fixtures that every room's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
_LONGEST_FIRST = {"workflow": 0, "docs": 1, "transport": 2}


@pytest.fixture(scope="session")
def shared_folder() -> Callable[[str], Path]:
    """Give a folder of public data beside the checkout, or skip where it is absent."""

    def find(name: str) -> Path:
        folder = PROJECT.parent / "shared" / name
        if not folder.exists():
            pytest.skip(f"public data {name} is not beside the checkout")
        return folder

    return find


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole workflows come first: last, one of them would leave the other core without work."""
    items.sort(key=lambda item: _LONGEST_FIRST.get(item.path.parent.name, len(_LONGEST_FIRST)))
