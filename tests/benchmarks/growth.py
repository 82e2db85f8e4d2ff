"""How cost grows: with photons, voxels, control points and chunks."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from efficiency import OWN, PLAIN, Case, Way, transported

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.delivery.storage import read_delivery, write_delivery
from gatecheck.dose.merge import merge
from gatecheck.files import image_from_zyx, sha256_of_file, write_image, write_json
from gatecheck.linac.load import load_linac_model
from gatecheck.patient.model import Grid, Material, PatientModel, VoxelBox
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.model import CalibrationResult, Chunk, ChunkPlan, ChunkResult, Engine, ScoredBox
from gatecheck.transport.process import run_in_process

Rows = list[dict[str, float]]


def with_photons(case: Case, histories: list[int]) -> Rows:
    """Core-seconds of the patient's transport and peak memory."""
    way = Way("gatecheck", OWN, coarse=4.0, fine=1.0)
    rows = []
    for number in histories:
        outcome = transported(case, way, number, on_fine=True)
        rows.append(
            {
                "source_photons": number,
                "core_seconds": outcome.core_seconds,
                "microseconds_per_photon": 1e6 * outcome.core_seconds / number,
                "peak_memory_mb": outcome.peak_memory_mb,
            }
        )
    return rows


def with_voxels(case: Case, sizes: list[float], histories: int, plain_histories: int) -> Rows:
    """Microseconds of the patient's transport per source photon, with one size of voxels everywhere."""
    rows = []
    for size in sizes:
        plain = transported(case, Way("plain", PLAIN, coarse=size), plain_histories, on_fine=False)
        own = transported(case, Way("gatecheck", OWN, coarse=size), histories, on_fine=False)
        rows.append(
            {
                "voxel_mm": size,
                "voxels": plain.doses.shape[1],
                "plain_microseconds_per_photon": 1e6 * plain.core_seconds / plain_histories,
                "gatecheck_microseconds_per_photon": 1e6 * own.core_seconds / histories,
            }
        )
    return rows


def with_control_points(case: Case, strides: list[int], histories: int) -> Rows:
    """Microseconds of the fast head per source photon, of deliveries with every n-th node of the case's."""
    delivery, linac = read_delivery(case.delivery), load_linac_model(case.machine)
    sample_phase_space(delivery, linac, 1000, 1)  # compiles
    rows = []
    for stride in strides:
        thinned = replace(delivery, beams=tuple(_thinned(beam, stride) for beam in delivery.beams))
        started = time.perf_counter()
        sample_phase_space(thinned, linac, histories, 1)
        seconds = time.perf_counter() - started
        rows.append(
            {
                "control_points": sum(len(beam.meterset) for beam in thinned.beams),
                "head_microseconds_per_photon": 1e6 * seconds / histories,
            }
        )
    return rows


def _thinned(beam: BeamTimeline, stride: int) -> BeamTimeline:
    kept = np.unique([*range(0, len(beam.meterset), stride), len(beam.meterset) - 1])
    names = ("meterset", "gantry", "collimator", "couch", "jaw_x", "jaw_y", "leaf_positions", "isocentre")
    return replace(beam, **{name: None if getattr(beam, name) is None else getattr(beam, name)[kept] for name in names})


def with_chunks(numbers: list[int], side: int) -> Rows:
    """Seconds and peak memory of merging chunks of side^3 voxels, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            seconds, memory = run_in_process(_merge_time, folder=Path(folder) / str(number), chunks=number, side=side)
            rows.append({"chunks": number, "voxels": side**3, "seconds": seconds, "peak_memory_mb": memory})
    return rows


_ENGINE = Engine(
    gatecheck="0",
    opengate="0",
    geant4="0",
    physics_list="G4EmStandardPhysics",
    data_set="none",
    data_set_kind="embedded",
    data_set_sha256="2" * 64,
    clinical=False,
    settings={},
)
_INPUTS = "1" * 64


def _merge_time(folder: Path, chunks: int, side: int) -> tuple[float, float]:
    transport, patient = folder / "transport", folder / "patient"
    transport.mkdir(parents=True)
    patient.mkdir()
    _write_patient(patient, side)
    _write_chunks(transport, chunks, side)
    write_delivery(_delivery(), folder / "timeline.parquet")
    calibration = CalibrationResult(
        key_sha256="4" * 64,
        machine="made",
        engine=_ENGINE,
        reference={"gray_per_mu": 0.01},
        dose_per_nominal_photon=1e-6,
        relative_sigma=0.004,
        nominal_photons_per_mu=1e4,
        histories=1,
        seconds=1.0,
    )
    started = time.perf_counter()
    merge(
        transport_folder=transport,
        patient_folder=patient,
        delivery_path=folder / "timeline.parquet",
        calibration=calibration,
        out_folder=folder / "dose",
    )
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _write_patient(folder: Path, side: int) -> None:
    size, step, origin = (side,) * 3, (1.0,) * 3, (0.0,) * 3
    write_image(folder / "fine.mha", image_from_zyx(np.zeros(size, np.uint16), origin=origin, spacing=step))
    write_image(folder / "body.mha", image_from_zyx(np.ones(size, np.uint8), origin=origin, spacing=step))
    digest = sha256_of_file(folder / "fine.mha")
    box = VoxelBox(name="fine", role="fine", labels="fine.mha", sha256=digest, size=size, spacing=step, origin=origin)
    patient = PatientModel(
        made_from={},
        boxes=(box,),
        materials=(Material(label=0, name="water", density=1.0, mass_fractions={"H": 0.1119, "O": 0.8881}),),
        joined_grid=Grid(size=size, spacing=step, origin=origin),
        body_mask="body.mha",
        calibration="made for a benchmark",
    )
    write_json(folder / "patient.json", patient)


def _write_chunks(folder: Path, chunks: int, side: int) -> None:
    """One image under the names of all chunks: each is read, checked and summed as if it were its own."""
    dose = np.random.default_rng(1).random((side,) * 3).astype(np.float32)
    image = sitk.GetImageFromArray(np.stack([dose, dose**2 / 500], -1), isVector=True)
    first = folder / "chunk-0001-fine.mha"
    write_image(first, image)
    digest, planned = sha256_of_file(first), []
    for index in range(1, chunks + 1):
        name = f"chunk-{index:04d}"
        if index > 1:
            os.link(first, folder / f"{name}-fine.mha")
        result = ChunkResult(
            inputs_sha256=_INPUTS,
            index=index,
            seed=100 + index,
            histories=1000,
            nominal_photons=2000.0,
            particles=1000,
            boxes=(ScoredBox(name="fine", file=f"{name}-fine.mha", sha256=digest),),
            engine=_ENGINE,
            fates={},
            energy={},
            seconds={"transport": 1.0},
            peak_memory_mb=100.0,
        )
        write_json(folder / f"{name}.json", result)
        planned.append(Chunk(index=index, histories=1000, seed=100 + index))
    plan = ChunkPlan(
        inputs_sha256=_INPUTS,
        chunks=tuple(planned),
        target_relative_sigma=0.02,
        expected_relative_sigma=0.02,
        seconds_per_history=1e-4,
        pilot_histories=1000,
    )
    write_json(folder / "chunks.json", plan)


def _delivery() -> Delivery:
    nodes = np.zeros(2)
    beam = BeamTimeline(
        number=1,
        name="static",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        meterset=np.array([0.0, 100.0]),
        gantry=nodes,
        collimator=nodes,
        couch=nodes,
        jaw_x=np.array([[-50.0, 50.0]] * 2),
        jaw_y=np.array([[-50.0, 50.0]] * 2),
        leaf_positions=None,
        leaf_boundaries=None,
        isocentre=np.zeros((2, 3)),
    )
    return Delivery(beams=(beam,), patient_position="HFS", fractions=5, made_from_sha256="3" * 64)
