"""timeline.parquet gives back what was written, the same bytes each time, and refuses what it is not."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from gatecheck.config import project_folder
from gatecheck.delivery.storage import read_delivery, write_delivery
from gatecheck.delivery.timeline import deliver
from gatecheck.errors import ResultError


@pytest.fixture
def delivery(plans):
    with_leaves = plans.beam(
        [
            plans.control_point(
                weight,
                gantry_angle=(181 + 100 * weight) % 360,
                gantry_rotation_direction="CW",
                leaf_positions=((-1.1, -2.2, -3.3), (1.5 + weight, 2.5, 3.5)),
                isocentre=(0.1, 0.2, 0.3 * weight),
            )
            for weight in (0, 0.25, 1)
        ],
        leaf_boundaries=(-10.0, -5.0, 0.0, 5.0),
        name="arc 1",
    )
    without_leaves = plans.beam([plans.control_point(0), plans.control_point(1)], number=7, fluence_mode="FFF")
    return deliver(plans.case([with_leaves, without_leaves], patient_position="HFP"))


def test_delivery_comes_back_as_it_was(delivery, tmp_path):
    path = tmp_path / "delivery" / "timeline.parquet"
    write_delivery(delivery, path)
    back = read_delivery(path)
    assert (back.patient_position, back.fractions, back.made_from_sha256) == (
        delivery.patient_position,
        delivery.fractions,
        delivery.made_from_sha256,
    )
    for found, expected in zip(back.beams, delivery.beams, strict=True):
        for field in dataclasses.fields(expected):
            one, other = getattr(found, field.name), getattr(expected, field.name)
            if isinstance(other, np.ndarray):
                np.testing.assert_array_equal(one, other)
                assert one.shape == other.shape
            else:
                assert one == other


def test_same_delivery_gives_same_bytes(delivery, tmp_path):
    for name in ("a", "b"):
        write_delivery(delivery, tmp_path / name / "timeline.parquet")
    one, other = ((tmp_path / name / "timeline.parquet").read_bytes() for name in ("a", "b"))
    assert one == other


def test_file_is_a_plain_table_that_a_person_can_open(delivery, tmp_path):
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery, path)
    table = pq.read_table(path)
    assert table["beam_number"].to_pylist() == [1, 1, 1, 7, 7]
    assert table["meterset"].to_pylist() == [0, 25, 100, 0, 100]
    assert table["leaf_x2"].to_pylist()[1] == [1.75, 2.5, 3.5]
    assert table["leaf_x1"].to_pylist()[3] is None


def test_missing_timeline_names_the_step_to_run(tmp_path):
    with pytest.raises(ResultError, match="deliver"):
        read_delivery(tmp_path / "timeline.parquet")


def test_truncated_timeline_is_refused(delivery, tmp_path):
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ResultError, match="Delete it and run again"):
        read_delivery(path)


def test_other_parquet_file_is_refused(delivery, tmp_path):
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery, path)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(ResultError, match="not a timeline"):
        read_delivery(path)


def test_timeline_that_lost_a_beam_is_refused(delivery, tmp_path):
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery, path)
    pq.write_table(pq.read_table(path).slice(0, 3), path)
    with pytest.raises(ResultError, match="beam 7 has 0 nodes"):
        read_delivery(path)


def test_timeline_with_nodes_of_two_beams_mixed_is_refused(delivery, tmp_path):
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery, path)
    pq.write_table(pq.read_table(path).take([0, 1, 3, 2, 4]), path)
    with pytest.raises(ResultError, match="nodes of other beams among those of beam 1"):
        read_delivery(path)


def test_timeline_in_several_row_groups_is_read_whole(delivery, tmp_path):
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery, path)
    pq.write_table(pq.read_table(path), path, row_group_size=2)
    for found, expected in zip(read_delivery(path).beams, delivery.beams, strict=True):
        np.testing.assert_array_equal(found.meterset, expected.meterset)


def test_a_timeline_is_read_without_pandas(delivery, tmp_path):
    """Half a second of each step that reads it."""
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery, path)
    code = (
        "import pathlib, sys, gatecheck.delivery.storage as s; s.read_delivery(pathlib.Path(sys.argv[1]));"
        "sys.exit('pandas' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(project_folder() / "workflow")}
    assert subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False).returncode == 0


def test_timeline_of_another_version_is_refused(delivery, tmp_path):
    path = tmp_path / "timeline.parquet"
    write_delivery(delivery, path)
    table = pq.read_table(path)
    key = b"gatecheck.delivery"
    header = table.schema.metadata[key].replace(b'"schema_version": 1', b'"schema_version": 2')
    pq.write_table(table.replace_schema_metadata({key: header}), path)
    with pytest.raises(ResultError, match="schema version 2 found, 1 expected"):
        read_delivery(path)
