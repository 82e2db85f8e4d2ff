"""Merging chunks into absolute dose: the numbers, and what is refused."""

from __future__ import annotations

import datetime
import errno
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_chunks import (
    BOXES,
    ENGINE,
    FRACTIONS,
    INPUTS,
    METERSET,
    PHOTONS_PER_MU,
    made_calibration,
    made_doses,
    write_case,
    write_one_chunk,
    write_plan,
)

from gatecheck.dose import batches
from gatecheck.dose.batches import leave_one_out_doses
from gatecheck.dose.chunks import check_belong_together, read_chunks
from gatecheck.dose.merge import course_factor, merge, per_fraction
from gatecheck.dose.model import MergeResult
from gatecheck.errors import RemovedResultError, ResultError, WriteError
from gatecheck.files import array_zyx, read_image, read_json, write_json
from gatecheck.transport.jobs import job_file, missing_chunks, write_job
from gatecheck.transport.model import CalibrationResult, Chunk, ChunkResult
from gatecheck.transport.rounds import read_plan

FACTOR = PHOTONS_PER_MU * METERSET * FRACTIONS


def _merge(folder: Path, out: str = "dose", calibration: CalibrationResult | None = None) -> MergeResult:
    return merge(
        transport_folder=folder / "transport",
        patient_folder=folder / "patient",
        delivery_path=folder / "timeline.parquet",
        calibration=calibration or made_calibration(),
        out_folder=folder / out,
    )


def _repeated(coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Boxes joined in the plainest way: repeat the coarse voxels, stack along z."""
    return np.concatenate([coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2), fine], axis=0)


def test_dose_is_the_sum_over_photons_times_photons_of_the_course(tmp_path: Path) -> None:
    doses = write_case(tmp_path)
    result = _merge(tmp_path)
    nominal = sum(2000.0 * index for index in range(1, 6))
    expected = _repeated(*(FACTOR * sum(dose[name] for dose in doses) / nominal for name, *_ in BOXES))
    image = read_image(tmp_path / "dose" / "mc_dose.mha")
    np.testing.assert_allclose(array_zyx(image), expected, rtol=1e-5)
    assert image.GetSpacing() == (2.0, 2.0, 2.0)
    assert image.GetOrigin() == (-1.0, -1.0, -1.0)
    assert result.nominal_photons == nominal
    assert course_factor(result) == FACTOR
    assert result.maximum_gy == pytest.approx(expected.max(), rel=1e-5)
    assert result.maximum_gy_per_fraction == pytest.approx(result.maximum_gy / result.fractions)
    assert 0 < result.maximum_sigma_gy < result.maximum_gy


def test_dose_of_a_fraction_is_that_of_the_course_by_the_fractions(tmp_path: Path) -> None:
    write_case(tmp_path)
    result = _merge(tmp_path)
    assert (result.meterset_per_fraction, result.fractions) == (METERSET, FRACTIONS)
    np.testing.assert_allclose(per_fraction(np.array([10.0]), result.fractions), [2.0])


def test_sigma_of_equal_chunks_is_the_standard_error_of_their_mean(tmp_path: Path) -> None:
    write_case(tmp_path)
    random = np.random.default_rng(8)
    doses = [made_doses(random) for _ in range(6)]
    results = [write_one_chunk(tmp_path / "transport", index + 1, dose) for index, dose in enumerate(doses)]
    write_plan(tmp_path / "transport", results)
    _merge(tmp_path)
    values = np.array([_repeated(dose["coarse-1"], dose["fine"]) / 2000.0 for dose in doses])
    expected = FACTOR * values.std(axis=0, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(array_zyx(read_image(tmp_path / "dose" / "mc_sigma.mha")), expected, rtol=1e-4)


@pytest.mark.parametrize("most_kept", [0.0, 1e9], ids=["read twice", "kept"])
def test_leave_one_out_doses_are_merges_of_the_other_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_kept: float
) -> None:
    monkeypatch.setattr(batches, "MOST_KEPT", most_kept)
    doses = write_case(tmp_path)
    result = _merge(tmp_path)
    left_out = list(leave_one_out_doses(tmp_path / "transport", tmp_path / "patient", result))
    assert len(left_out) == 5
    for index, joined in enumerate(left_out):
        others = [dose for number, dose in enumerate(doses) if number != index]
        nominal = result.nominal_photons - 2000.0 * (index + 1)
        expected = _repeated(*(FACTOR * sum(dose[name] for dose in others) / nominal for name, *_ in BOXES))
        np.testing.assert_allclose(joined, expected, rtol=1e-5)
        assert joined.dtype == np.float32


def test_merge_json_says_what_was_merged_and_warns_of_data_not_for_clinical_use(tmp_path: Path) -> None:
    write_case(tmp_path)
    result = _merge(tmp_path)
    assert read_json(tmp_path / "dose" / "merge.json", MergeResult) == result
    assert result.inputs_sha256 == INPUTS
    assert result.batches == 5
    assert result.histories == 15_000
    assert len(result.chunk_sha256) == 10
    assert result.simulated_at == datetime.datetime(2024, 2, 29, 12, 5, tzinfo=datetime.UTC)  # of the last chunk
    assert any("Not for clinical use" in warning for warning in result.warnings)
    assert any("5 batches" in warning for warning in result.warnings)


@pytest.mark.parametrize(("chunks", "warns"), [(10, True), (19, True), (20, False)])
def test_fewer_than_20_batches_are_warned_of_with_what_their_intervals_hold(
    tmp_path: Path, chunks: int, warns: bool
) -> None:
    write_case(tmp_path, chunks)
    found = [warning for warning in _merge(tmp_path).warnings if "batches only" in warning]
    assert len(found) == warns
    if warns:
        assert f"from {chunks} batches only" in found[0]
        assert "88 % held the true value with ten" in found[0]


def test_chunks_of_different_inputs_are_refused(tmp_path: Path) -> None:
    write_case(tmp_path)
    write_one_chunk(tmp_path / "transport", 2, made_doses(np.random.default_rng(1)), histories=2000, inputs="5" * 64)
    with pytest.raises(ResultError, match="chunk-0002: simulated from other inputs"):
        _merge(tmp_path)


def test_chunks_of_equal_seeds_are_refused(tmp_path: Path) -> None:
    write_case(tmp_path)
    results = list(read_chunks(tmp_path / "transport"))
    results[3] = write_one_chunk(
        tmp_path / "transport", 4, made_doses(np.random.default_rng(1)), histories=4000, seed=results[1].seed
    )
    write_plan(tmp_path / "transport", results)
    with pytest.raises(ResultError, match="chunk-0002 and chunk-0004 have the same seed"):
        _merge(tmp_path)


def test_chunks_of_different_physics_are_refused(tmp_path: Path) -> None:
    write_case(tmp_path)
    other = ENGINE.model_copy(update={"physics_list": "G4EmStandardPhysics_option4"})
    write_one_chunk(tmp_path / "transport", 3, made_doses(np.random.default_rng(1)), histories=3000, engine=other)
    with pytest.raises(ResultError, match="different engine or physics"):
        _merge(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"linac_sha256": "6" * 64}, "another machine model"),
        ({"engine": ENGINE.model_copy(update={"data_set_sha256": "7" * 64})}, "another data_set_sha256"),
    ],
)
def test_a_calibration_of_another_machine_or_physics_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_case(tmp_path)
    with pytest.raises(ResultError, match=message):
        _merge(tmp_path, calibration=made_calibration(**changes))


def test_one_chunk_alone_is_refused(tmp_path: Path) -> None:
    write_case(tmp_path)
    with pytest.raises(ResultError, match="1 chunk found, expected at least 2"):
        check_belong_together(read_chunks(tmp_path / "transport")[:1])


def test_a_missing_chunk_is_named(tmp_path: Path) -> None:
    write_case(tmp_path)
    (tmp_path / "transport" / "chunk-0004.json").unlink()
    with pytest.raises(ResultError, match="1 of 5 chunks are not there, the first is chunk-0004"):
        _merge(tmp_path)


def test_a_missing_chunk_is_asked_for_again_whatever_jobs_there_were(tmp_path: Path) -> None:
    """A job of fewer chunks was done; with `execution.chunks_per_job` raised it stands for one of all of them."""
    write_case(tmp_path)
    transport = tmp_path / "transport"
    write_job(transport, 1, [Chunk(index=index, histories=1, seed=1) for index in (1, 2)])
    (transport / "chunk-0004.json").unlink()
    with pytest.raises(RemovedResultError, match="The same command simulates them again"):
        _merge(tmp_path)
    assert not job_file(transport, 1).exists()


def test_chunks_along_different_recordings_are_not_added_up(tmp_path: Path) -> None:
    write_case(tmp_path)
    results = [
        result.model_copy(update={"electron_steps_sha256": 64 * recording})
        for result, recording in zip(read_chunks(tmp_path / "transport"), "aabaa", strict=True)
    ]
    with pytest.raises(ResultError, match=r"chunk-0001 and chunk-0003 .* different recorded electron steps"):
        check_belong_together(tuple(results))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"electron_steps_sha256": "a" * 64}, "simulated along other recorded electron steps than the pilot"),
        ({"inputs_sha256": "9" * 64}, r"simulated from other inputs \(99999999\) than planned"),
        ({"seed": 77}, "seed or photons differ from chunks.json"),
    ],
)
def test_chunks_that_were_not_planned_are_removed_and_asked_for_again(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    """Whatever jobs were done: a run that stops at the same chunk each time is no use to anyone."""
    write_case(tmp_path)
    transport = tmp_path / "transport"
    write_job(transport, 1, [Chunk(index=index, histories=1, seed=1) for index in (1, 2, 3, 4, 5)])
    path = transport / "chunk-0003.json"
    write_json(path, read_json(path, ChunkResult).model_copy(update={**changed, "content_sha256": ""}).sealed())
    with pytest.raises(RemovedResultError, match=f"chunk-0003: {message}"):
        _merge(tmp_path)
    assert not list(transport.glob("chunk-0003*"))
    assert len(list(transport.glob("chunk-000?.json"))) == 4
    assert not job_file(transport, 1).exists()


def test_one_digit_that_changes_in_a_chunks_json_is_found(tmp_path: Path) -> None:
    """A flipped bit makes another digit of a digit: every number of it stays a number."""
    write_case(tmp_path)
    transport = tmp_path / "transport"
    path = transport / "chunk-0002.json"
    write_json(path, read_json(path, ChunkResult).sealed())
    content = path.read_text(encoding="utf-8")
    photons = re.search(r'"nominal_photons": ([1-8])', content)
    assert photons is not None
    flipped = chr(ord(photons[1]) ^ 1)
    path.write_text(content[: photons.start(1)] + flipped + content[photons.end(1) :], encoding="utf-8")
    plan = read_plan(transport)
    assert [chunk.index for chunk in missing_chunks(transport, plan, plan.chunks)] == [2]
    with pytest.raises(RemovedResultError, match=r"chunk-0002.json: .* it has changed since it was written"):
        _merge(tmp_path)
    assert not list(transport.glob("chunk-0002*"))


def test_a_truncated_chunk_is_named_and_removed_so_that_it_alone_is_simulated_anew(tmp_path: Path) -> None:
    write_case(tmp_path)
    image = tmp_path / "transport" / "chunk-0003-fine.mha"
    image.write_bytes(image.read_bytes()[:-20])
    message = r"chunk-0003-fine.mha: cut short or changed .* chunk-0003 cannot be used and was removed\. "
    with pytest.raises(RemovedResultError, match=message):
        _merge(tmp_path)
    assert not list((tmp_path / "transport").glob("chunk-0003*"))
    assert len(list((tmp_path / "transport").glob("chunk-000?.json"))) == 4
    assert not (tmp_path / "dose" / "merge.json").exists()


def test_all_versions_that_chunks_were_made_with_are_said(tmp_path: Path) -> None:
    write_case(tmp_path)
    for number, version in ((2, "2.1.0"), (4, "2.0.9")):
        path = tmp_path / "transport" / f"chunk-000{number}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(content | {"made_with": {"numpy": version}}), encoding="utf-8")
    assert _merge(tmp_path).made_with == {"numpy": "2.0.9 and 2.1.0"}


def test_all_damaged_chunks_are_removed_at_once(tmp_path: Path) -> None:
    write_case(tmp_path)
    transport = tmp_path / "transport"
    (transport / "chunk-0002-fine.mha").write_bytes(b"")
    (transport / "chunk-0004-fine.mha").unlink()
    with pytest.raises(RemovedResultError, match=r"chunk-0002-fine.mha: .* and 1 more chunks \(chunk-0004\)"):
        _merge(tmp_path)
    assert sorted(path.name for path in transport.glob("chunk-*.json")) == [f"chunk-000{n}.json" for n in (1, 3, 5)]


def test_a_chunk_whose_json_is_damaged_is_removed(tmp_path: Path) -> None:
    write_case(tmp_path)
    result = tmp_path / "transport" / "chunk-0002.json"
    result.write_bytes(result.read_bytes()[:40])
    with pytest.raises(RemovedResultError, match=r"chunk-0002.json: not a valid ChunkResult"):
        _merge(tmp_path)
    assert not list((tmp_path / "transport").glob("chunk-0002*"))
    assert len(list((tmp_path / "transport").glob("chunk-000?.json"))) == 4


def test_a_full_disk_while_merging_leaves_nothing_and_the_next_run_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match="no space left"):
            _merge(tmp_path)
    assert not list((tmp_path / "dose").iterdir())
    _merge(tmp_path)
    assert (tmp_path / "dose" / "merge.json").exists()


def test_a_file_system_that_is_really_full_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A tmpfs of 4 kB; where this user may not mount one, the test above stands alone."""
    write_case(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(small)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("this user may not mount a file system")
    try:
        (small / "filled").write_bytes(b"0" * 4096)
        with pytest.raises(WriteError, match="no space left"):
            _merge(tmp_path, out="small")
        assert [path.name for path in small.iterdir()] == ["filled"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_merging_again_replaces_an_older_result_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second merge fails half-way, no merge.json vouches for a mixture of old and new."""
    write_case(tmp_path)
    _merge(tmp_path)
    real = os.fsync
    calls = []

    def full_at_the_second(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_at_the_second)
        with pytest.raises(WriteError):
            _merge(tmp_path)
    assert not (tmp_path / "dose" / "merge.json").exists()
