"""Steps that read no DICOM do without pydicom, whose import takes a third of a second of each."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["gatecheck.delivery.timeline", "gatecheck.transport.chunk", "gatecheck.dose.merge"])
def test_a_step_that_reads_no_dicom_imports_no_pydicom(module: str) -> None:
    look = f"import sys, {module}; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
