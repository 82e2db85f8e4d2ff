"""Several chunks in children of one process: each is what it is alone, and one that fails costs no other."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from fast_head_deliveries import STX, beam, delivery
from made_patient import write_patient

from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.storage import write_delivery
from gatecheck.errors import InputError, SimulationError
from gatecheck.files import read_json, sha256_of_file
from gatecheck.transport import chunk as chunk_module
from gatecheck.transport.chunk import ChunkInputs, simulate_chunk, simulate_chunks, simulate_chunks_here
from gatecheck.transport.model import Chunk, ChunkPlan, ChunkResult
from gatecheck.transport.process import run_in_process
from gatecheck.transport.reproduce import reproduce

pytestmark = pytest.mark.gate

CHUNKS = tuple(Chunk(index=index, histories=20_000, seed=70 + index) for index in range(1, 5))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ChunkInputs:
    folder = tmp_path_factory.mktemp("case")
    write_patient(folder / "patient")
    write_delivery(delivery(beam()), folder / "timeline.parquet")
    return ChunkInputs(
        delivery_path=folder / "timeline.parquet",
        linac=STX,
        patient_folder=folder / "patient",
        inputs_sha256="a" * 64,
        settings=TransportConfig(),
        dose_to="medium",
        out_folder=folder,
    )


@pytest.fixture(scope="module")
def together(inputs: ChunkInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four chunks, two at a time."""
    folder = tmp_path_factory.mktemp("together")
    said: list[tuple[int, int]] = []
    simulate_chunks(
        replace(inputs, out_folder=folder), CHUNKS, at_a_time=2, progress=lambda done, of: said.append((done, of))
    )
    assert said[0] == (0, 4)
    assert said[-1] == (4, 4)
    return folder


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_leaves_its_images_and_its_json_and_nothing_else_is_left(together: Path) -> None:
    of_one = ("-coarse-1.mha", "-fine.mha", ".json")
    assert _names(together) == sorted(f"chunk-{one.index:04d}{end}" for one in CHUNKS for end in of_one)


def test_a_chunk_alone_is_the_same_bit_for_bit(together: Path, inputs: ChunkInputs, tmp_path: Path) -> None:
    """The third of four, after others and beside one; and alone in a process that forks nothing."""
    alone = run_in_process(simulate_chunk, inputs=replace(inputs, out_folder=tmp_path), chunk=CHUNKS[2])
    beside = read_json(together / "chunk-0003.json", ChunkResult)
    assert alone.boxes == beside.boxes
    assert alone.energy == beside.energy
    for box in alone.boxes:
        assert sha256_of_file(tmp_path / box.file) == box.sha256 == sha256_of_file(together / box.file)


def test_chunks_differ(together: Path) -> None:
    results = [read_json(together / f"chunk-{one.index:04d}.json", ChunkResult) for one in CHUNKS]
    assert len({result.boxes[0].sha256 for result in results}) == len(CHUNKS)


def test_a_chunk_is_reproduced_unless_an_image_changed(together: Path, inputs: ChunkInputs, tmp_path: Path) -> None:
    shutil.copytree(together, tmp_path, dirs_exist_ok=True)
    here, plan = replace(inputs, out_folder=tmp_path), _plan()
    found = reproduce(here, plan, 2)
    assert (found.chunk, found.histories, found.images, found.different) == (2, 20_000, 2, ())
    assert _names(tmp_path) == _names(together)
    image = tmp_path / "chunk-0002-fine.mha"
    content = bytearray(image.read_bytes())
    content[-5] ^= 1
    image.write_bytes(content)
    assert reproduce(here, plan, 2).different == ("chunk-0002-fine.mha",)
    with pytest.raises(InputError, match=r"^--chunk 5: the plan has chunks 1 to 4\.$"):
        reproduce(here, plan, 5)


def _plan() -> ChunkPlan:
    return ChunkPlan(
        inputs_sha256="a" * 64,
        chunks=CHUNKS,
        target_relative_sigma=None,
        expected_relative_sigma=None,
        seconds_per_history=1.0,
        pilot_histories=0,
    )


def _with_a_second_that(happens: str, inputs: ChunkInputs, at_a_time: int) -> None:
    """The four chunks where something happens to the second, in this process."""
    original = chunk_module.follow_photons

    def followed(*arguments: Any, seed: int, **keywords: Any) -> Any:
        if seed == CHUNKS[1].seed:
            if happens == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise SimulationError("no photons today") if happens == "fails" else RuntimeError("broken")
        return original(*arguments, seed=seed, **keywords)

    chunk_module.follow_photons = followed
    simulate_chunks_here(inputs, CHUNKS, at_a_time=at_a_time)


@pytest.mark.parametrize(
    ("happens", "message"),
    [
        ("fails", "^no photons today$"),
        ("breaks", "^A simulation process failed: RuntimeError: broken$"),
        ("is killed", "ended without a result.*run the same command again"),
    ],
)
def test_one_that_ends_early_is_told_and_leaves_nothing_and_those_before_it_are_kept(
    inputs: ChunkInputs, tmp_path: Path, happens: str, message: str
) -> None:
    here = replace(inputs, out_folder=tmp_path)
    with pytest.raises(SimulationError, match=message):
        run_in_process(_with_a_second_that, happens=happens, inputs=here, at_a_time=1)
    assert [name for name in _names(tmp_path) if name.endswith(".json")] == ["chunk-0001.json"]
    assert not [name for name in _names(tmp_path) if "0002" in name and not name.startswith(".partial")]


def test_one_that_is_killed_does_not_cost_the_one_beside_it(inputs: ChunkInputs, tmp_path: Path) -> None:
    here = replace(inputs, out_folder=tmp_path)
    with pytest.raises(SimulationError, match="ended without a result"):
        run_in_process(_with_a_second_that, happens="is killed", inputs=here, at_a_time=2)
    assert [name for name in _names(tmp_path) if name.endswith(".json")] == ["chunk-0001.json"]


def _with_a_rehearsal_that_breaks(inputs: ChunkInputs) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("broken")

    chunk_module._ChunkTask.rehearse = broken
    simulate_chunks_here(inputs, CHUNKS[:2], at_a_time=2)


def test_a_rehearsal_that_breaks_costs_no_chunk(together: Path, inputs: ChunkInputs, tmp_path: Path) -> None:
    run_in_process(_with_a_rehearsal_that_breaks, inputs=replace(inputs, out_folder=tmp_path))
    for chunk in CHUNKS[:2]:
        name = f"chunk-{chunk.index:04d}-fine.mha"
        assert sha256_of_file(tmp_path / name) == sha256_of_file(together / name)


def _with_slow_photons(inputs: ChunkInputs) -> None:
    chunk_module.follow_photons = lambda *_, **__: time.sleep(600)
    chunk_module._rehearse = lambda *_: None
    simulate_chunks_here(inputs, CHUNKS, at_a_time=2)


def test_children_end_with_their_parent(inputs: ChunkInputs, tmp_path: Path) -> None:
    """A workflow that was killed must not go on writing into a case that the next one works on."""
    import multiprocessing

    process = multiprocessing.get_context("spawn").Process(
        target=_with_slow_photons, args=(replace(inputs, out_folder=tmp_path),)
    )
    process.start()
    deadline = time.monotonic() + 120
    children: list[psutil.Process] = []
    while len(children) < 2 and time.monotonic() < deadline:
        children = psutil.Process(process.pid).children()
        time.sleep(0.2)
    assert len(children) == 2
    process.kill()
    process.join()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
