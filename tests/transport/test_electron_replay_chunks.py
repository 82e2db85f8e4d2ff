"""Chunks whose electrons follow steps that GATE recorded: few tracks, so that what is tested is how they come about.

The patient has a cavity, or none: what comes into it is left to GATE.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fast_head_deliveries import STX, beam, delivery
from made_patient import write_patient

from gatecheck.config_transport import TransportConfig
from gatecheck.delivery.storage import write_delivery
from gatecheck.errors import SimulationError
from gatecheck.files import read_json
from gatecheck.transport.chunk import ChunkInputs, simulate_chunk, simulate_chunks_here
from gatecheck.transport.counterpart import Counterpart
from gatecheck.transport.electron_replay import provide
from gatecheck.transport.electron_replay.steps import RecordedTracks
from gatecheck.transport.model import Chunk, ChunkResult
from gatecheck.transport.patient_files import PatientMatter
from gatecheck.transport.process import run_in_process

pytestmark = pytest.mark.gate

CHUNKS = tuple(Chunk(index=index, histories=20_000, seed=70 + index) for index in range(1, 4))


def with_few_tracks(cache: Path, inputs: ChunkInputs, chunks: tuple[Chunk, ...]) -> None:
    """In a process of its own: several in its children, one in itself."""
    os.environ["GATECHECK_CACHE"] = str(cache)
    provide._STARTS = {"e-": ((provide.HIGHEST_ENERGY, 40), (2.0, 20)), "e+": ((provide.HIGHEST_ENERGY, 30), (2.0, 10))}
    if len(chunks) > 1:
        simulate_chunks_here(inputs, chunks, at_a_time=2)
    else:
        simulate_chunk(inputs, chunks[0])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "with a cavity"])
def inputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ChunkInputs:
    folder = tmp_path_factory.mktemp("case")
    write_patient(folder / "patient", has_cavity=request.param)
    write_delivery(delivery(beam()), folder / "timeline.parquet")
    return ChunkInputs(
        delivery_path=folder / "timeline.parquet",
        linac=STX,
        patient_folder=folder / "patient",
        inputs_sha256="a" * 64,
        settings=TransportConfig(electron_transport="replayed"),
        dose_to="medium",
        out_folder=folder,
    )


@pytest.fixture(scope="module")
def together(inputs: ChunkInputs, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    run_in_process(with_few_tracks, cache=cache, inputs=replace(inputs, out_folder=folder), chunks=CHUNKS)
    return folder


@pytest.mark.parametrize("number", [1, 2], ids=["alone", "in children"])
def test_other_recorded_steps_than_the_plans_are_refused(
    inputs: ChunkInputs, cache: Path, together: Path, tmp_path: Path, number: int
) -> None:
    others = replace(inputs, out_folder=tmp_path, electron_steps_sha256="0" * 64)
    with pytest.raises(SimulationError, match=r"found, 00000000 expected.* transport/pilots and transport/chunks.json"):
        run_in_process(with_few_tracks, cache=cache, inputs=others, chunks=CHUNKS[:number])
    assert not list(tmp_path.glob("chunk-*"))


def test_steps_are_recorded_once_for_each_material_and_particle(together: Path, cache: Path) -> None:
    kept = sorted((cache / "electron-steps").glob("[!.]*.npz"))
    assert len(kept) == 6  # water, bone and air; electrons and positrons
    for path in kept:
        tracks = RecordedTracks.load(path)
        assert tracks.energy.max() == pytest.approx(provide.HIGHEST_ENERGY)
        assert tracks.is_last.sum() in {60, 40, 6, 4}  # a tenth in air
        assert (tracks.deposit >= -1e-5).all()


def test_a_chunk_alone_is_the_same_as_beside_others(
    together: Path, inputs: ChunkInputs, cache: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (cache / "electron-steps").glob("[!.]*.npz")}
    run_in_process(with_few_tracks, cache=cache, inputs=replace(inputs, out_folder=tmp_path), chunks=CHUNKS[1:2])
    alone, beside = (read_json(folder / "chunk-0002.json", ChunkResult) for folder in (tmp_path, together))
    assert alone.boxes == beside.boxes
    assert alone.energy == beside.energy
    assert alone.electron_steps_sha256 == beside.electron_steps_sha256
    assert {path: path.stat().st_mtime_ns for path in (cache / "electron-steps").glob("[!.]*.npz")} == before


def test_result_says_how_electrons_went_and_energy_is_near_gates(
    together: Path, inputs: ChunkInputs, tmp_path: Path
) -> None:
    """60 tracks are few: 5 % of the energy that is deposited, where photons are the same."""
    same_photons = TransportConfig(photon_splitting=inputs.settings.photon_copies)
    by_gate = replace(inputs, out_folder=tmp_path, settings=same_photons)
    gate = run_in_process(simulate_chunk, inputs=by_gate, chunk=CHUNKS[0])
    replayed = read_json(together / "chunk-0001.json", ChunkResult)
    told = "along steps recorded by GATE with a step function of 0.025, 0.005 mm; GATE's own in gas"
    assert replayed.engine.settings["electron_transport"] == told
    assert gate.engine.settings["electron_transport"] == "GATE"
    assert gate.electron_steps_sha256 is None
    assert len(replayed.electron_steps_sha256 or "") == 64
    assert replayed.seconds["start_up"] > 0.0
    assert replayed.particles == gate.particles
    assert replayed.energy["deposited"] == pytest.approx(gate.energy["deposited"], rel=0.05)
    has_cavity = len(PatientMatter.read(inputs.patient_folder).patient.materials) > 2
    assert (replayed.energy["left_to_gate"] > 0.01 * replayed.energy["deposited"]) == has_cavity
    assert (replayed.energy["left_to_gate"] == 0.0) != has_cavity
    assert "left_to_gate" not in gate.energy


def test_thinner_matter_is_followed_where_the_plans_steps_are_the_same(
    together: Path, inputs: ChunkInputs, cache: Path, tmp_path: Path
) -> None:
    """As in a recalculation: at half its density matter may be grouped with another, which the plan never asked for."""
    planned = read_json(together / "chunk-0001.json", ChunkResult)
    cache = Path(shutil.copytree(cache, tmp_path / "cache"))  # whose other tests count what it holds
    thinner = replace(
        inputs,
        out_folder=tmp_path,
        counterpart=Counterpart(inputs.delivery_path, STX, density_factor=0.5),
        electron_steps_sha256=planned.electron_steps_sha256,
    )
    run_in_process(with_few_tracks, cache=cache, inputs=thinner, chunks=CHUNKS[:1])
    assert read_json(tmp_path / "chunk-0001.json", ChunkResult).electron_steps_sha256 != planned.electron_steps_sha256
    others = replace(thinner, out_folder=tmp_path / "others", electron_steps_sha256="0" * 64)
    with pytest.raises(SimulationError, match="Recorded electron steps differ"):
        run_in_process(with_few_tracks, cache=cache, inputs=others, chunks=CHUNKS[:1])
