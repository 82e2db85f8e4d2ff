"""What compiled kernels share."""

from __future__ import annotations

import os
import subprocess
import sys

from gatecheck.config import project_folder


def test_the_first_call_of_a_kernel_imports_no_package_that_extends_numba() -> None:
    """Awkward, which comes with opengate, would be 0.7 s of every step."""
    code = (
        "import sys, numba, gatecheck.compiled\n"
        "assert numba.njit(lambda number: number + 1)(1) == 2\n"
        "sys.exit('awkward' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(project_folder() / "workflow")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
