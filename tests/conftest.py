"""Fixtures that every room's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_folder() -> Callable[[str], Path]:
    """Give a folder of public data beside the checkout, or skip where it is absent."""

    def find(name: str) -> Path:
        folder = PROJECT.parent / "shared" / name
        if not folder.exists():
            pytest.skip(f"public data {name} is not beside the checkout")
        return folder

    return find
