"""Trajectory logs and the beams of a plan that they belong to."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_logs import LEAF_PAIRS, MadeLog

from gatecheck.delivery.logged import as_timeline, beams_of, delivered, differences, errors_of, matched
from gatecheck.delivery.logs_followed import LogsFollowed, logs_followed
from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.delivery.timeline import states_at
from gatecheck.delivery.trajectory_log import TrajectoryLog, read_trajectory_log
from gatecheck.errors import InputError


def log_of(folder: Path, made: MadeLog) -> TrajectoryLog:
    path = folder / "log.bin"
    path.write_bytes(made.content())
    return read_trajectory_log(path)


def planned(made: MadeLog, number: int = 1) -> BeamTimeline:
    """The beam whose perfect delivery the log is: its nodes every tenth of the snapshots."""
    nodes = np.linspace(0, made.snapshots - 1, 21).round().astype(int)
    count = len(nodes)
    return BeamTimeline(
        number=number,
        name=f"arc {number}",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        meterset=made.meterset * made.share()[nodes],
        gantry=np.linspace(*made.gantry, made.snapshots)[nodes],
        collimator=np.full(count, made.collimator),
        couch=np.full(count, made.couch),
        jaw_x=np.tile(made.jaw_x, (count, 1)),
        jaw_y=np.tile(made.jaw_y, (count, 1)),
        leaf_positions=made.leaves()[nodes],
        leaf_boundaries=np.linspace(-110.0, 110.0, LEAF_PAIRS + 1),
        isocentre=np.tile([1.0, 2.0, 3.0], (count, 1)),
    )


def delivery_of(*beams: BeamTimeline) -> Delivery:
    return Delivery(beams, "HFS", 5, "a" * 64)


FIRST = MadeLog()
SECOND = MadeLog(gantry=(350.0, 200.0), collimator=330.0)


def test_each_log_finds_its_beam_and_gives_what_was_done(tmp_path: Path) -> None:
    error = {"gantry": 0.5, "leaf X2": 0.4, "meterset": 0.5}
    logs = [log_of(tmp_path, replace(SECOND, error=error)), log_of(tmp_path, FIRST)]
    plan = delivery_of(planned(FIRST, 1), planned(SECOND, 2))
    found = delivered(plan, logs)
    first, second = found.beams
    assert (first.number, second.number) == (1, 2)
    assert found.made_from_sha256 != plan.made_from_sha256
    assert second.total_meterset == pytest.approx(100.5, abs=1e-4)
    shares = np.linspace(0, 1, 37)
    done, told = (states_at(beam, shares * beam.total_meterset) for beam in (second, plan.beams[1]))
    np.testing.assert_allclose((done.gantry - told.gantry + 180) % 360 - 180, 0.5, atol=1e-3)
    assert done.leaf_positions is not None
    assert told.leaf_positions is not None
    np.testing.assert_allclose((done.leaf_positions - told.leaf_positions)[:, 1], 0.4, atol=1e-2)
    np.testing.assert_allclose((done.leaf_positions - told.leaf_positions)[:, 0], 0.0, atol=1e-2)
    np.testing.assert_array_equal(second.isocentre[0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"meterset": 120.0}, r"meterset \+20.0 %"),
        ({"gantry": (203.0, 353.0)}, "gantry 3.0 degrees"),
        ({"gantry": (350.0, 200.0)}, "gantry "),
        ({"collimator": 60.0}, "collimator 30.0 degrees"),
        ({"couch": 0.0}, "couch 15.0 degrees"),
        ({"jaw_x": (-43.0, 35.0)}, "jaws 1.5 mm"),
        ({"gap": 24.0}, "leaves 2.0 mm"),
    ],
)
def test_a_log_of_another_beam_is_refused_with_what_is_wrong(
    tmp_path: Path, wrong: dict[str, object], words: str
) -> None:
    log = log_of(tmp_path, replace(FIRST, **wrong))  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=f"trajectory log 1: belongs to no beam of the plan. Nearest is beam 1: .*{words}"
    ):
        delivered(delivery_of(planned(FIRST)), [log])


def test_a_log_that_belongs_to_two_beams_or_a_beam_without_a_log_is_refused(tmp_path: Path) -> None:
    log = log_of(tmp_path, FIRST)
    with pytest.raises(InputError, match="belongs to beams 1, 2 of the plan alike"):
        delivered(delivery_of(planned(FIRST, 1), planned(FIRST, 2)), [log])
    with pytest.raises(InputError, match="none belongs to beam 2 of the plan"):
        delivered(delivery_of(planned(FIRST, 1), planned(SECOND, 2)), [log])
    with pytest.raises(InputError, match="trajectory log 2: beam 1 of the plan has a log already"):
        delivered(delivery_of(planned(FIRST)), [log, log])


def test_a_log_that_names_another_plan_is_refused(tmp_path: Path) -> None:
    made = replace(FIRST, version="4.0", plan=("patient", "plan", "1.2.3", "100", "0", "6x", "arc 1"))
    log, plan = log_of(tmp_path, made), delivery_of(planned(FIRST))
    assert delivered(plan, [log], hashlib.sha256(b"1.2.3").hexdigest()).beams[0].number == 1
    with pytest.raises(InputError, match="names another plan"):
        delivered(plan, [log], hashlib.sha256(b"1.2.4").hexdigest())


def test_a_truncated_log_or_an_interrupted_beam_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trajectory log 1: it says that it is truncated"):
        delivered(delivery_of(planned(FIRST)), [log_of(tmp_path, replace(FIRST, truncated=1))])
    half = replace(FIRST, error={"meterset": -FIRST.meterset / 2})
    with pytest.raises(InputError, match=r"trajectory log 1: 50.00 of 100.00 MU delivered"):
        delivered(delivery_of(planned(FIRST)), [log_of(tmp_path, half)])


def test_a_log_of_the_other_mlc_a_beam_without_one_and_a_moving_isocentre_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an MLC of Millennium 120 found"):
        delivered(delivery_of(planned(FIRST)), [log_of(tmp_path, replace(FIRST, mlc=2))])
    bare = replace(planned(FIRST), leaf_positions=None, leaf_boundaries=None)
    with pytest.raises(InputError, match="beam 1 of the plan has no MLC"):
        delivered(delivery_of(bare), [log_of(tmp_path, FIRST)])
    moving = planned(FIRST)
    moving.isocentre[-1, 2] += 1.0
    with pytest.raises(InputError, match="beam 1: its isocentre moves"):
        delivered(delivery_of(moving), [log_of(tmp_path, FIRST)])


def test_a_beam_begins_at_no_meterset_whatever_crept_before_it(tmp_path: Path) -> None:
    (logged,) = beams_of(log_of(tmp_path, FIRST))
    meterset = logged.actual.meterset + 0.05
    meterset[0] = 0.0
    meterset[1:4] = [2e-5, 4e-5, 6e-5]
    assert as_timeline(replace(logged.actual, meterset=meterset), planned(FIRST)).meterset[0] == 0.0


def test_leaves_under_the_jaws_do_not_matter_and_another_mlc_does(tmp_path: Path) -> None:
    log = log_of(tmp_path, FIRST)
    beam = planned(FIRST)
    assert beam.leaf_positions is not None
    elsewhere = beam.leaf_positions.copy()
    elsewhere[:, :, :10] += 30.0  # from -110 to -73 mm, and jaw Y1 is at -30
    (logged,) = beams_of(log)
    assert matched(logged, [replace(beam, leaf_positions=elsewhere)]).number == 1
    fewer = replace(beam, leaf_positions=beam.leaf_positions[:, :, :40])
    assert differences(logged, fewer) is None
    with pytest.raises(InputError, match="an MLC of HD120 found"):
        matched(logged, [fewer])


def test_several_sub_beams_are_several_beams(tmp_path: Path) -> None:
    made = MadeLog(sub_beams=((0, 40.0, "one"), (20, 30.0, "two"), (35, 30.0, "three")), control_points=50)
    beams = beams_of(log_of(tmp_path, made))
    assert [beam.number for beam in beams] == [0, 1, 2]
    assert sum(len(beam.actual.meterset) for beam in beams) == made.snapshots
    assert [beam.meterset for beam in beams] == pytest.approx([40.0, 30.0, 30.0], abs=1.1)  # a snapshot is 0.5 MU
    assert all(beam.actual.meterset[0] == 0.0 for beam in beams)
    with pytest.raises(InputError, match="beam 2 of 2 delivered no MU"):
        beams_of(log_of(tmp_path, replace(made, sub_beams=((0, 40.0, "one"), (60, 30.0, "two")))))


def test_snapshots_without_beam_are_left_out_and_what_moves_meanwhile_is_a_jump(tmp_path: Path) -> None:
    (logged,) = beams_of(log_of(tmp_path, FIRST))
    meterset = logged.actual.meterset.copy()
    meterset[50:100] = meterset[50]
    meterset[100:] -= meterset[100] - meterset[50]
    beam = as_timeline(replace(logged.actual, meterset=np.maximum.accumulate(meterset)), planned(FIRST))
    assert len(beam.meterset) == FIRST.snapshots - 49
    jump = int(np.argmin(np.diff(beam.meterset)))
    assert beam.meterset[jump] == beam.meterset[jump + 1]
    assert beam.gantry[jump + 1] - beam.gantry[jump] == pytest.approx(150 * 50 / 199, rel=0.03)


def test_errors_are_those_put_in(tmp_path: Path) -> None:
    error = {"gantry": -0.3, "X1": 0.2, "Y2": -0.1, "leaf X1": 0.15, "leaf X2": -0.05}
    (logged,) = beams_of(log_of(tmp_path, MadeLog(error=error)))
    found = errors_of(logged)
    by_name = {one.axis: one for one in found.axes}
    for name, value in (("gantry", -0.3), ("jaw X1", 0.2), ("jaw Y2", -0.1), ("leaves X1", 0.15), ("leaves X2", -0.05)):
        assert by_name[name].largest == pytest.approx(value, abs=1e-3)
        assert by_name[name].root_mean_square == pytest.approx(abs(value), abs=1e-3)
    assert by_name["jaw X2"].root_mean_square < 1e-4
    np.testing.assert_allclose(found.leaves[0], 0.15, atol=1e-4)
    assert found.seconds == pytest.approx(200 * 0.02)
    # 150 degrees in 4 seconds; 0.3 degrees behind are 8 ms.
    assert found.gantry_lag == pytest.approx(0.3 / (150 / 3.98), rel=0.01)


def test_how_every_beam_was_followed_is_handed_on(tmp_path: Path) -> None:
    made = replace(SECOND, error={"leaf X2": 0.4}, version="4.0", plan=("p", "p", "1.2.3", "100", "0", "6x", "arc 2"))
    logs = [log_of(tmp_path, made), log_of(tmp_path, FIRST)]
    plan = delivery_of(planned(FIRST, 1), planned(SECOND, 2))
    found = logs_followed(plan, logs, "b" * 64, hashlib.sha256(b"1.2.3").hexdigest())
    of_beam = {beam.number: beam for beam in found.beams}
    assert {number: beam.log for number, beam in of_beam.items()} == {1: 2, 2: 1}
    assert (of_beam[2].names_plan, of_beam[1].names_plan) == (True, False)
    errors = {axis.axis: axis for axis in of_beam[2].axes}
    assert errors["leaves X2"].largest == pytest.approx(0.4, abs=1e-3)
    assert of_beam[2].leaf_root_mean_square_x2 == pytest.approx([0.4] * LEAF_PAIRS, abs=1e-3)
    assert of_beam[1].meterset_delivered == pytest.approx(of_beam[1].meterset_planned, abs=1e-3)
    assert "1.2.3" not in found.model_dump_json()
    assert LogsFollowed.model_validate_json(found.model_dump_json()) == found


def test_a_gantry_that_stands_has_no_lag(tmp_path: Path) -> None:
    (logged,) = beams_of(log_of(tmp_path, MadeLog(gantry=(10.0, 10.0))))
    assert errors_of(logged).gantry_lag is None
