"""Our reader of trajectory logs against pylinac's, every axis of two real logs and of made ones of versions 4 and 5."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gatecheck.delivery.trajectory_log import Axes, read_trajectory_log

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "delivery"))
from made_logs import MadeLog  # noqa: E402

pytestmark = pytest.mark.physics

FloatArray = npt.NDArray[np.float64]
ORACLE = TESTS.parent / ".venv-oracle" / "bin" / "python"
# pylinac gives cm and the machine's own angles.
SCRIPT = """
import sys
import numpy as np
from pylinac import TrajectoryLog

log = TrajectoryLog(sys.argv[1], exclude_beam_off=False)
data, found = log.axis_data, {}
for which in ("expected", "actual"):
    of = lambda axis: np.asarray(getattr(axis, which), float)
    found[which + "_gantry"], found[which + "_collimator"] = of(data.gantry), of(data.collimator)
    found[which + "_couch"] = of(data.couch.rotn)
    found[which + "_jaws"] = np.stack([of(data.jaws.x1), of(data.jaws.x2), of(data.jaws.y1), of(data.jaws.y2)], 1)
    found[which + "_couch_translation"] = np.stack([of(data.couch.vert), of(data.couch.long), of(data.couch.latl)], 1)
    found[which + "_meterset"], found[which + "_beam_hold"] = of(data.mu), of(data.beam_hold)
    found[which + "_control_point"] = of(data.control_point)
    found[which + "_leaves"] = np.stack([of(data.mlc.leaf_axes[leaf]) for leaf in range(1, 121)], 1)
np.savez(sys.argv[2], **found)
"""


def by_pylinac(log: Path, folder: Path) -> dict[str, FloatArray]:
    if not ORACLE.exists():
        pytest.skip("no environment with pylinac (.venv-oracle): make test-physics makes it")
    out = folder / "pylinac.npz"
    done = subprocess.run([str(ORACLE), "-c", SCRIPT, str(log), str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as content:
        return dict(content)


def same_angle(ours: FloatArray, machine: FloatArray) -> None:
    np.testing.assert_allclose((ours - (180.0 - machine) + 180.0) % 360.0 - 180.0, 0.0, atol=1e-4)


def check(axes: Axes, theirs: dict[str, FloatArray], which: str) -> None:
    for name in ("gantry", "collimator", "couch"):
        same_angle(getattr(axes, name), theirs[f"{which}_{name}"])
    jaws = np.concatenate([axes.jaw_x, axes.jaw_y], axis=1) * [-1, 1, -1, 1] / 10.0
    np.testing.assert_allclose(jaws, theirs[f"{which}_jaws"], atol=1e-5)
    np.testing.assert_allclose(axes.couch_translation / 10.0, theirs[f"{which}_couch_translation"], atol=1e-5)
    for name in ("meterset", "beam_hold", "control_point"):
        np.testing.assert_allclose(getattr(axes, name), theirs[f"{which}_{name}"], atol=1e-5)
    # Leaves 1 to 60 are bank A's, at X2, 61 to 120 bank B's, at X1.
    leaves = np.concatenate([axes.leaf_positions[:, 1], -axes.leaf_positions[:, 0]], axis=1) / 10.0
    np.testing.assert_allclose(leaves, theirs[f"{which}_leaves"], atol=1e-5)


@pytest.mark.parametrize("name", ["hd120_arc_225deg_113cp.bin", "m120_arc_352deg_480mu.bin"])
def test_every_axis_of_a_real_log_is_pylinacs(shared_folder: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    path = shared_folder("data/trajectory_logs") / name
    theirs, ours = by_pylinac(path, tmp_path), read_trajectory_log(path)
    check(ours.expected, theirs, "expected")
    check(ours.actual, theirs, "actual")


@pytest.mark.parametrize("version", ["2.1", "3.0", "4.0", "5.0"])
def test_every_axis_of_a_made_log_is_pylinacs(version: str, tmp_path: Path) -> None:
    plan = ("patient", "plan", "1.2.3", "100", "0", "6x", "arc 1") if version >= "4" else ()
    error = {"gantry": 0.4, "X1": -1.0, "leaf X1": 0.3, "meterset": 0.2}
    path = tmp_path / "made.bin"
    path.write_bytes(MadeLog(version=version, plan=plan, error=error).content())
    theirs, ours = by_pylinac(path, tmp_path), read_trajectory_log(path)
    check(ours.expected, theirs, "expected")
    check(ours.actual, theirs, "actual")
