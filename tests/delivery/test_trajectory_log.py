"""Trajectory logs of every version, and what is no log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_logs import MadeLog

from gatecheck.delivery.trajectory_log import read_trajectory_log
from gatecheck.errors import InputError

SECRET = "PLANTED-PATIENT"
PLAN = (SECRET, "PLANTED-PLAN", "1.2.3.4", "100.5", "0", "6x", "arc 1")


def written(folder: Path, made: MadeLog) -> Path:
    path = folder / f"{SECRET}.bin"
    path.write_bytes(made.content())
    return path


@pytest.mark.parametrize("version", ["2.1", "3.0", "4.0", "5.0"])
@pytest.mark.parametrize(("mlc", "name"), [(2, "Millennium 120"), (3, "HD120")])
def test_positions_come_back_as_iec_61217(tmp_path: Path, version: str, mlc: int, name: str) -> None:
    made = MadeLog(version=version, mlc=mlc, plan=PLAN if version >= "4" else ())
    log = read_trajectory_log(written(tmp_path, made))
    assert (log.version, log.mlc_model, log.snapshots, log.sampling_interval) == (float(version), name, 200, 0.02)
    for axes in (log.expected, log.actual):
        np.testing.assert_allclose(axes.gantry, np.linspace(200, 350, 200), atol=1e-4)
        np.testing.assert_allclose(axes.collimator, 30.0, atol=1e-4)
        np.testing.assert_allclose(axes.couch, 15.0, atol=1e-4)
        np.testing.assert_allclose(axes.jaw_x, np.tile([-40.0, 35.0], (200, 1)), atol=1e-5)
        np.testing.assert_allclose(axes.jaw_y, np.tile([-30.0, 25.0], (200, 1)), atol=1e-5)
        np.testing.assert_allclose(axes.leaf_positions, made.leaves(), atol=1e-5)
        np.testing.assert_allclose(axes.meterset, np.linspace(0, 100, 200), atol=1e-5)
    assert (log.actual.couch_tilt is None) == (version < "3")


def test_expected_and_actual_are_not_mixed_up(tmp_path: Path) -> None:
    error = {"gantry": 0.4, "X1": -1.0, "Y2": 0.5, "leaf X1": 0.3, "leaf X2": -0.2}
    log = read_trajectory_log(written(tmp_path, MadeLog(error=error)))
    np.testing.assert_allclose(log.actual.gantry - log.expected.gantry, 0.4, atol=1e-4)
    np.testing.assert_allclose(log.actual.jaw_x - log.expected.jaw_x, np.tile([-1.0, 0.0], (200, 1)), atol=1e-5)
    np.testing.assert_allclose(log.actual.jaw_y - log.expected.jaw_y, np.tile([0.0, 0.5], (200, 1)), atol=1e-5)
    leaves = log.actual.leaf_positions - log.expected.leaf_positions
    np.testing.assert_allclose(leaves[:, 0], 0.3, atol=1e-5)
    np.testing.assert_allclose(leaves[:, 1], -0.2, atol=1e-5)


def test_angles_go_on_beyond_360_degrees(tmp_path: Path) -> None:
    log = read_trajectory_log(written(tmp_path, MadeLog(gantry=(181.0, 540.0))))
    assert np.diff(log.actual.gantry).min() > 0
    assert np.ptp(log.actual.gantry) == pytest.approx(359.0, abs=1e-3)


def test_what_a_log_says_of_its_plan_is_kept_without_the_patient(tmp_path: Path) -> None:
    log = read_trajectory_log(written(tmp_path, MadeLog(version="4.0", plan=PLAN)))
    assert log.plan is not None
    assert log.plan.plan_uid_sha256 == hashlib.sha256(b"1.2.3.4").hexdigest()
    assert (log.plan.beam_name, log.plan.planned_meterset) == ("arc 1", 100.5)
    assert SECRET not in repr(log.plan)
    assert "PLANTED-PLAN" not in repr(log.plan)
    assert read_trajectory_log(written(tmp_path, MadeLog(version="4.0"))).plan is None


def changed(at: int, content: bytes) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:at] + content + whole[at + len(content) :]


# The header of version 3 has 16 axes: their codes are at byte 44, their samples at 108, what follows at 172.
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda whole: b"not a log", "is no TrueBeam trajectory log"),
        (lambda whole: b"", "is no TrueBeam trajectory log"),
        (changed(16, b"1.5"), r"version '1.5' found, 2.0 to 5.x expected"),
        (changed(16, b"abc"), r"version 'abc' found"),
        (lambda whole: whole[:60], "60 bytes found, more expected. The file is cut off"),
        (lambda whole: whole[:-1000], "bytes of snapshots found"),
        (lambda whole: whole + bytes(500), "bytes of snapshots found"),
        (changed(32, (2048).to_bytes(4, "little")), "a header of 2048 bytes found"),
        (changed(36, (0).to_bytes(4, "little")), "a sampling interval of 0 ms found"),
        (changed(40, (5000).to_bytes(4, "little")), "5000 axes found"),
        (changed(44, (9).to_bytes(4, "little")), r"axis 0 \(collimator\) found 0 times, once expected"),
        (changed(108 + 4, (3).to_bytes(4, "little")), "3 samples of axis 1 found, 1 expected"),
        (changed(108 + 60, (82).to_bytes(4, "little")), "82 samples of axis 50 found, 122 expected"),
        (changed(172, (2).to_bytes(4, "little")), r"axis scale 2 found, 1 \(machine scale\) expected"),
        (changed(184, (0).to_bytes(4, "little")), "0 snapshots found"),
        (changed(188, (0).to_bytes(4, "little")), "MLC model 0 found"),
        (changed(2000, b"\xff\xff\xff\x7f"), "values that are no numbers found"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / f"{SECRET}.bin"
    path.write_bytes(spoil(MadeLog().content()))
    with pytest.raises(InputError, match=message) as refused:
        read_trajectory_log(path, "trajectory log 1")
    assert str(refused.value).startswith("trajectory log 1: ")
    assert SECRET not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_trajectory_log(tmp_path / f"{SECRET}.bin")


def test_real_logs(shared_folder: Callable[[str], Path]) -> None:
    folder = shared_folder("data/trajectory_logs")
    arc = read_trajectory_log(folder / "hd120_arc_225deg_113cp.bin")
    assert (arc.version, arc.mlc_model, arc.is_truncated, arc.plan) == (3.0, "HD120", False, None)
    assert np.ptp(arc.actual.gantry) == pytest.approx(225.0, abs=0.2)
    assert arc.actual.control_point[-1] == pytest.approx(113)
    assert arc.actual.meterset[-1] == pytest.approx(118.0, abs=0.01)
    other = read_trajectory_log(folder / "m120_arc_352deg_480mu.bin")
    assert (other.version, other.mlc_model) == (2.1, "Millennium 120")
    assert np.ptp(other.actual.gantry) == pytest.approx(352.0, abs=0.2)
    for log in (arc, other):  # with the banks' or their signs' being others, leaves would lie across each other
        assert (log.actual.leaf_positions[:, 1] - log.actual.leaf_positions[:, 0]).min() > 0.0
