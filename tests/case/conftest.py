"""Synthetic DICOM sets, and how the tests of the case room look at what comes out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_dicom import SECRETS, DicomSet, write_set

from gatecheck.case.ingest import ingest
from gatecheck.case.model import Case
from gatecheck.errors import GatecheckError, InputError


@pytest.fixture(scope="session")
def pristine_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "dicom"
    write_set(folder)
    return folder


@pytest.fixture
def dicom_set(pristine_set: Path, tmp_path: Path) -> DicomSet:
    """A whole set: CT, RTSTRUCT, RTPLAN, RTDOSE."""
    shutil.copytree(pristine_set, tmp_path / "dicom")
    return DicomSet(tmp_path / "dicom")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "case"


@pytest.fixture
def ingested(dicom_set: DicomSet, out: Path) -> Callable[[], Case]:
    """Ingest the set as the test left it."""
    return lambda: ingest(dicom_set.folder, out)


@pytest.fixture
def refusal(dicom_set: DicomSet, out: Path) -> Callable[[], str]:
    """Ingest the set as the test left it, expect a refusal that names nobody, and give its message."""

    def refused() -> str:
        with pytest.raises(GatecheckError) as caught:
            ingest(dicom_set.folder, out)
        assert isinstance(caught.value, InputError)
        assert caught.value.exit_code == 2
        message = str(caught.value)
        for secret in SECRETS:
            assert secret.lower() not in message.lower()
        assert "\n" not in message
        assert not (out / "case.json").exists()
        return message

    return refused


@pytest.fixture
def codes() -> Callable[[Case], set[str]]:
    return lambda case: {warning.code for warning in case.warnings}
